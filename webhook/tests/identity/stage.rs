//! The role in this process, an API server that does as it is told, and clients with addresses of their own.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use agent_creds_runtime::server::{self, Limits};
use agent_creds_webhook::pod::decide::{Decision, decide};
use agent_creds_webhook::pod::seal_keys::Keys;
use agent_creds_webhook::policy::Policy;
use agent_creds_webhook::roles::identity::{self, Timing};
use agent_creds_webhook::roles::{Cli, Role};
use agent_creds_webhook::serve::exchange::Bounds;
use agent_creds_webhook::token_exchange::rate_limiter::Rate;
use axum::body::Bytes;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::Parser as _;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio_rustls::{TlsAcceptor, TlsConnector};

const POLICY: &str = "{sidecar: {image: 'registry.example/agent-creds-sidecar@sha256:0000'}, \
                      identity: {mode: exchange, server: 'https://identity', caConfigMap: system/ca}}";
const KEY: [u8; 32] = [7; 32];

type Stream = tokio_rustls::client::TlsStream<TcpStream>;

/// How the API server behaves.
#[derive(Clone, Copy, Default)]
pub(crate) enum Api {
    /// All is well.
    #[default]
    Willing,
    /// It does not know tokens that end so.
    Refuses(&'static str),
    /// It never answers.
    Silent,
    /// It answers everything with this status.
    Status(u16),
    /// Its answers are larger than any object.
    Huge,
    /// Its answers are no JSON.
    Nonsense,
    /// It is not there.
    Down,
}

/// Bounds that a test meets only where it sets them.
pub(crate) fn bounds() -> Bounds {
    let often = Rate { burst: 1000, every: Duration::from_secs(1) };
    let far = Duration::from_secs(20);
    Bounds { body: far, turn: far, exchange: far, at_once: 4, source: often, pod: often }
}

/// A token that looks like one of a pod.
pub(crate) fn forged() -> String {
    let claims = json!({"aud": ["agent-creds"], "iss": "x", "exp": 4_000_000_000_u64,
        "kubernetes.io": {"pod": {"name": "agent-1", "uid": "u1"}}});
    format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims.to_string()))
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) retry_after: Option<String>,
    pub(crate) body: Value,
}

pub(crate) struct Stage {
    address: SocketAddr,
    probes: SocketAddr,
    connector: TlsConnector,
    _stop: (watch::Sender<u8>, watch::Sender<bool>),
    _folder: TempDir,
}

impl Stage {
    pub(crate) async fn start(api: Api, bounds: Bounds) -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let folder = tempfile::tempdir().expect("a folder");
        let write =
            |name: &str, content: &[u8]| fs::write(folder.path().join(name), content).expect("written");
        let ca_key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = params.self_signed(&ca_key).expect("a certificate");
        let issuer = Issuer::new(params, ca_key);
        let key = KeyPair::generate().expect("a key");
        let leaf = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("a name");
        let leaf = leaf.signed_by(&key, &issuer).expect("a certificate");
        write("ca.crt", ca.pem().as_bytes());
        write("tls.crt", leaf.pem().as_bytes());
        write("tls.key", key.serialize_pem().as_bytes());
        write("policy.yaml", POLICY.as_bytes());
        write("current", &KEY);
        write("token", b"own");

        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let server = listener.local_addr().expect("an address");
        let (stop_api, api_stopped) = watch::channel(false);
        if matches!(api, Api::Down) {
            drop(listener);
        } else {
            let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).expect("a key");
            let config = ServerConfig::builder().with_no_client_auth();
            let config = config.with_single_cert(vec![leaf.der().clone()], key).expect("a pair");
            let pod = Arc::new(pod(ca.pem().as_bytes()));
            let router = axum::Router::new().fallback(move |uri: Uri, body: Bytes| {
                let pod = Arc::clone(&pod);
                async move { answer(api, &uri, &body, &pod).await }
            });
            let acceptor = TlsAcceptor::from(Arc::new(config));
            tokio::spawn(server::serve(listener, Some(acceptor), router, Limits::default(), api_stopped));
        }

        let path = |name: &str| folder.path().join(name).display().to_string();
        let arguments = [
            "agent-creds-webhook".to_owned(),
            "identity".to_owned(),
            format!("--api-server=https://{server}"),
            format!("--api-ca={}", path("ca.crt")),
            format!("--token-file={}", path("token")),
            format!("--policy={}", path("policy.yaml")),
            format!("--seal-keys={}", folder.path().display()),
            format!("--tls-cert={}", path("tls.crt")),
            format!("--tls-key={}", path("tls.key")),
            "--listen=127.0.0.1:0".to_owned(),
            "--probe-listen=127.0.0.1:0".to_owned(),
        ];
        let Role::Identity(config) = Cli::try_parse_from(arguments).expect("arguments").role else {
            unreachable!("it was identity")
        };
        let limits = Limits { per_source: 2, ..Limits::default() };
        let timing = Timing { limits, bounds, api: Duration::from_millis(300), ..Timing::default() };
        let prepared = config.prepare(timing).await.expect("prepared");
        let (address, probes) = prepared.addresses().expect("addresses");
        let (stop, stopping) = watch::channel(0);
        tokio::spawn(identity::run(prepared, stopping));
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(ca.der().to_vec())).expect("a root");
        let client = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let connector = TlsConnector::from(Arc::new(client));
        Self { address, probes, connector, _stop: (stop, stop_api), _folder: folder }
    }

    /// A connection from `127.0.0.<source>`.
    async fn connect(&self, source: u8) -> std::io::Result<Stream> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::from((Ipv4Addr::new(127, 0, 0, source), 0)))?;
        let stream = socket.connect(self.address).await?;
        self.connector.connect(ServerName::try_from("127.0.0.1").expect("a name"), stream).await
    }

    /// A connection with an open request, of which the body is still to come.
    pub(crate) async fn busy(&self, source: u8) -> Stream {
        let mut stream = self.connect(source).await.expect("a connection");
        let head = "POST /identity HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\n\
                    content-type: application/json\r\ncontent-length: 9\r\n\r\n";
        stream.write_all(head.as_bytes()).await.expect("sent");
        stream.read_exact(&mut [0; 25]).await.expect("the server asks for the body");
        stream
    }

    pub(crate) async fn is_closed(&self, source: u8) -> bool {
        self.connect(source).await.is_err()
    }

    pub(crate) async fn show(&self, source: u8, token: &str) -> Answer {
        self.post(source, "application/json", json!({"token": token}).to_string()).await
    }

    pub(crate) async fn post(&self, source: u8, media_type: &str, body: String) -> Answer {
        let stream = TokioIo::new(self.connect(source).await.expect("a connection"));
        let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await.expect("HTTP");
        let connection = tokio::spawn(connection);
        let request =
            hyper::Request::post("/identity").header("host", "a").header("content-type", media_type);
        let request = request.body(Full::new(Bytes::from(body))).expect("a request");
        let response = sender.send_request(request).await.expect("an answer");
        let status = response.status().as_u16();
        let retry_after = response.headers().get("retry-after").and_then(|value| value.to_str().ok());
        let retry_after = retry_after.map(str::to_owned);
        let body = response.into_body().collect().await.expect("a body").to_bytes();
        drop(sender);
        let _ = connection.await;
        Answer { status, retry_after, body: serde_json::from_slice(&body).expect("JSON") }
    }

    /// Sends a part of a body, and nothing more; the status.
    pub(crate) async fn half_a_body(&self) -> u16 {
        let mut stream = self.connect(1).await.expect("a connection");
        let head = "POST /identity HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{";
        stream.write_all(head.as_bytes()).await.expect("sent");
        let mut status = [0; 12];
        stream.read_exact(&mut status).await.expect("an answer");
        String::from_utf8_lossy(&status[9..]).parse().expect("a status")
    }

    pub(crate) async fn counted(&self, reason: &str) -> u64 {
        let mut stream = TcpStream::connect(self.probes).await.expect("a connection");
        let request = b"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        stream.write_all(request).await.expect("sent");
        let mut page = String::new();
        stream.read_to_string(&mut page).await.expect("a page");
        let label = format!("reason=\"{reason}\"");
        let line =
            page.lines().find(|line| line.starts_with("agent_creds_identity_total") && line.contains(&label));
        line.and_then(|line| line.rsplit(' ').next()).map_or(0, |count| count.parse().expect("a number"))
    }
}

/// The pod as the API server has it.
fn pod(ca: &[u8]) -> Value {
    let now = Timestamp::now();
    let mut pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "agent-1", "namespace": "ops", "uid": "u1", "creationTimestamp": now.to_string(),
            "annotations": {"agent-creds/inject": "true", "agent-creds/grants": "pagerduty"},
        },
        "spec": {"serviceAccountName": "agent", "containers": [{"name": "main", "image": "agent:1"}]},
    });
    let policy = Policy::parse(POLICY, ca).expect("a policy");
    let keys = Keys::new(&KEY, None).expect("a key");
    let Decision::Injected { patch, .. } = decide(&pod, &policy, &keys, "ops", now.as_second()) else {
        panic!("not injected")
    };
    patch.apply(&mut pod).expect("the patch fits");
    pod
}

async fn answer(api: Api, uri: &Uri, body: &[u8], pod: &Value) -> Response {
    let refused = match api {
        Api::Willing | Api::Down => None,
        Api::Refuses(end) => Some(end),
        Api::Silent => std::future::pending().await,
        Api::Status(status) => {
            return (StatusCode::from_u16(status).expect("a status"), "{}").into_response();
        }
        Api::Huge => {
            return vec![b' '; 5 * 1024 * 1024].into_response();
        }
        Api::Nonsense => return "<html>".into_response(),
    };
    let path = uri.path();
    let object = if path.ends_with("/tokenreviews") {
        let asked: Value = serde_json::from_slice(body).expect("a review");
        let token = asked["spec"]["token"].as_str().expect("a token");
        let extra = json!({
            "authentication.kubernetes.io/pod-name": ["agent-1"], "authentication.kubernetes.io/pod-uid": ["u1"],
        });
        let user = json!({"username": "system:serviceaccount:ops:agent", "extra": extra});
        let known = refused.is_none_or(|end| !token.ends_with(end));
        json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {},
            "status": {"authenticated": known, "audiences": ["agent-creds"], "user": user}})
    } else if path.ends_with("/subjectaccessreviews") {
        json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": {},
            "status": {"allowed": true}})
    } else if path == "/api/v1/namespaces/ops/serviceaccounts/agent-creds/token" {
        json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"audiences": []},
            "status": {"token": "a.b.c", "expirationTimestamp": "2026-01-01T00:00:00Z"}})
    } else if path == "/api/v1/namespaces/ops/pods/agent-1" {
        pod.clone()
    } else {
        return StatusCode::NOT_FOUND.into_response();
    };
    object.to_string().into_response()
}
