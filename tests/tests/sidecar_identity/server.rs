//! A minimal identity server that issues real tokens. It sends the same requests to the real API server as the shipped
//! one, with the same accounts.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use agent_creds_core::exchange_api::{Missing, SERVER_ACCOUNT};
use agent_creds_core::words::Word as _;
use agent_creds_tests::authority::Authority;
use agent_creds_tests::cluster::{kubectl, pipe};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

/// How it answers.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Behaviour {
    /// Like the shipped one, with tokens that claim to expire after `life`.
    Issues {
        /// The claimed lifetime; the real one is ten minutes.
        life: Duration,
    },
    /// With this status, and a `Retry-After` of one second.
    Status(u16),
    /// It accepts no connections.
    Down,
}

/// A running server; dropping it stops it.
pub(crate) struct IdentityServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    namespace: &'static str,
    inner: Mutex<Inner>,
}

struct Inner {
    behaviour: Behaviour,
    tls: TlsAcceptor,
    /// All issued tokens.
    issued: Vec<String>,
    requests: usize,
}

impl Shared {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("no panic under the lock")
    }
}

impl IdentityServer {
    /// Starts a server for an agent and its credential account in this namespace.
    pub(crate) async fn start(namespace: &'static str, authority: &Authority) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let behaviour = Behaviour::Issues { life: Duration::from_secs(600) };
        let inner = Inner { behaviour, tls: acceptor(authority), issued: Vec::new(), requests: 0 };
        let shared = Arc::new(Shared { namespace, inner: Mutex::new(inner) });
        let task = tokio::spawn(serve(listener, Arc::clone(&shared)));
        Self { address, shared, task }
    }

    pub(crate) fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    pub(crate) fn set_behaviour(&self, behaviour: Behaviour) {
        self.shared.inner().behaviour = behaviour;
    }

    /// Uses a certificate of this authority from now on.
    pub(crate) fn set_authority(&self, authority: &Authority) {
        self.shared.inner().tls = acceptor(authority);
    }

    /// Returns all issued tokens.
    pub(crate) fn issued(&self) -> Vec<String> {
        self.shared.inner().issued.clone()
    }

    /// Returns the number of requests.
    pub(crate) fn requests(&self) -> usize {
        self.shared.inner().requests
    }
}

impl Drop for IdentityServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn acceptor(authority: &Authority) -> TlsAcceptor {
    authority.leaf(["127.0.0.1"]).server_config().into()
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let router = Router::new().route("/identity", post(identity)).with_state(Arc::clone(&shared));
    let mut connections = JoinSet::new();
    while let Ok((tcp, _)) = listener.accept().await {
        let (behaviour, tls) = {
            let inner = shared.inner();
            (inner.behaviour, inner.tls.clone())
        };
        if !matches!(behaviour, Behaviour::Down) {
            connections.spawn(connection(tcp, tls, router.clone()));
        }
    }
}

async fn connection(tcp: TcpStream, tls: TlsAcceptor, router: Router) {
    let Ok(stream) = tls.accept(tcp).await else { return };
    // An error means that the client has closed the connection.
    let _ =
        http1::Builder::new().serve_connection(TokioIo::new(stream), TowerToHyperService::new(router)).await;
}

async fn identity(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Response {
    let behaviour = {
        let mut inner = shared.inner();
        inner.requests += 1;
        inner.behaviour
    };
    match behaviour {
        Behaviour::Status(status) => {
            let status = StatusCode::from_u16(status).expect("a status");
            (status, [(header::RETRY_AFTER, "1")], r#"{"error":"access_denied"}"#).into_response()
        }
        Behaviour::Down => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        Behaviour::Issues { life } => {
            assert_eq!(headers[header::CONTENT_TYPE], "application/json");
            let request: Value = serde_json::from_slice(&body).expect("JSON");
            let shown = request["token"].as_str().expect("a token").to_owned();
            let namespace = shared.namespace;
            let answer = tokio::task::spawn_blocking(move || judge(namespace, &shown));
            match answer.await.expect("no panic there") {
                Ok(token) => {
                    shared.inner().issued.push(token.clone());
                    let end = Timestamp::now() + life;
                    let end = end.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
                    axum::Json(json!({ "token": token, "expirationTimestamp": end })).into_response()
                }
                Err(missing) => {
                    let mut refusal = json!({ "error": "access_denied" });
                    if let Some(missing) = missing {
                        refusal["reason"] = json!(missing.as_str());
                    }
                    (StatusCode::FORBIDDEN, axum::Json(refusal)).into_response()
                }
            }
        }
    }
}

/// Returns a token of the credential account, or the missing right.
fn judge(namespace: &str, shown: &str) -> Result<String, Option<Missing>> {
    let review = json!({
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenReview",
        "spec": {"token": shown, "audiences": ["agent-creds"]},
    });
    let review = pipe(&review.to_string(), &["create", "--output=json"]).expect("a review");
    let review: Value = serde_json::from_str(&review).expect("JSON");
    let agent = format!("system:serviceaccount:{namespace}:agent");
    if review["status"]["user"]["username"] != json!(agent) {
        return Err(None);
    }
    let may = ["auth", "can-i", "assume", "serviceaccounts/agent-creds", "--namespace", namespace];
    if kubectl(&[&may[..], &["--as", &agent]].concat()).is_err() {
        return Err(Some(Missing::Assume));
    }
    let server = format!("system:serviceaccount:{namespace}:{SERVER_ACCOUNT}");
    let mint = ["create", "token", "agent-creds", "--namespace", namespace, "--duration=600s"];
    match kubectl(&[&mint[..], &["--as", &server]].concat()) {
        Ok(token) => Ok(token.trim().to_owned()),
        Err(said) if said.contains("cannot create resource") => Err(Some(Missing::Mint)),
        Err(said) if said.contains("not found") => Err(Some(Missing::Account)),
        Err(said) => panic!("{said}"),
    }
}
