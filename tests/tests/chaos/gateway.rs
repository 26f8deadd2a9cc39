//! Forwards one sidecar's requests to the API server. It terminates TLS, can be cut, and lets writes fail. It records
//! every write of the state with the API server's answer, also when the sidecar does not receive the answer.

use std::net::{Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use agent_creds_tests::api::NAME;
use agent_creds_tests::authority::Authority;
use agent_creds_tests::chaos::record::{Document, Write};
use agent_creds_tests::chaos::schedule::Spoilt;
use agent_creds_tests::https::{Client, Connection};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use super::ledger::{Ledger, now_ms};

type Body = BoxBody<Bytes, hyper::Error>;

/// The state of the connection to the API server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    Open,
    /// Connections are reset.
    Cut,
    /// No data is forwarded; at the end connections are reset.
    Stalled,
}

/// One sidecar's gateway; dropping it closes its port and its connections.
pub(crate) struct Gateway {
    address: SocketAddr,
    link: watch::Sender<Link>,
    task: JoinHandle<()>,
}

/// The state that all connections of a gateway share.
#[derive(Clone)]
struct Shared {
    sidecar: usize,
    upstream: Client,
    ledger: Arc<Ledger>,
    link: watch::Receiver<Link>,
}

impl Gateway {
    /// Opens a gateway for this sidecar, with a certificate of this authority.
    pub(crate) async fn open(
        sidecar: usize,
        authority: &Authority,
        upstream: Client,
        ledger: Arc<Ledger>,
    ) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let tls = TlsAcceptor::from(authority.leaf(["127.0.0.1"]).server_config());
        let (link, link_states) = watch::channel(Link::Open);
        let shared = Shared { sidecar, upstream, ledger, link: link_states };
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                tokio::select! {
                    accepted = listener.accept() => match accepted {
                        Ok((tcp, _)) => drop(connections.spawn(connection(tcp, tls.clone(), shared.clone()))),
                        Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                    },
                    Some(_) = connections.join_next() => {}
                }
            }
        });
        Self { address, link, task }
    }

    /// Returns the URL that the sidecar uses as the API server.
    pub(crate) fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// Opens, cuts or stalls the connection.
    pub(crate) fn set(&self, link: Link) {
        self.link.send_replace(link);
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn connection(tcp: TcpStream, tls: TlsAcceptor, shared: Shared) {
    let mut link = shared.link.clone();
    let serving = async move {
        let _ = tcp.set_nodelay(true);
        let Ok(stream) = tls.accept(tcp).await else { return };
        let upstream = Arc::new(Mutex::new(None));
        let service = service_fn(move |request| pass(request, Arc::clone(&upstream), shared.clone()));
        // An error means that one side has closed the connection.
        let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
    };
    let mut serving = pin!(serving);
    let closes = async {
        let closed = link.wait_for(|link| *link != Link::Open).await.map(|link| *link);
        closed.is_ok_and(|link| link == Link::Stalled)
    };
    let stalls = tokio::select! {
        () = &mut serving => false,
        stalls = closes => stalls,
    };
    // A stalled connection is not polled, so nothing is forwarded in either direction.
    if stalls {
        let _ = link.wait_for(|link| *link != Link::Stalled).await;
    }
}

/// Forwards one request and its answer. An error closes the connection.
async fn pass(
    request: Request<Incoming>,
    upstream: Arc<Mutex<Option<Connection>>>,
    shared: Shared,
) -> Result<Response<Body>, String> {
    let (head, body) = request.into_parts();
    let bytes = body.collect().await.map_err(|error| error.to_string())?.to_bytes();
    let writes = head.method == Method::PUT;
    let request = Request::from_parts(head, bytes);
    if !writes {
        let answer = forward(&upstream, &shared.upstream, request).await?;
        return Ok(answer.map(|body| body.boxed()));
    }
    let spoilt = shared.ledger.spoils_next(shared.sidecar);
    // A write that was accepted here is carried out even if the sidecar ends meanwhile.
    let write = tokio::spawn(write(request, upstream, shared, spoilt));
    match spoilt {
        None | Some(Spoilt::Unanswered) => {
            let answer = write.await.map_err(|error| error.to_string())??;
            if spoilt.is_some() { Err("the answer is lost".to_owned()) } else { Ok(answer) }
        }
        Some(Spoilt::Lost | Spoilt::Late { .. }) => Err("the write has no answer".to_owned()),
    }
}

async fn write(
    request: Request<Bytes>,
    upstream: Arc<Mutex<Option<Connection>>>,
    shared: Shared,
    spoilt: Option<Spoilt>,
) -> Result<Response<Body>, String> {
    match spoilt {
        Some(Spoilt::Lost) => return Err("the write is lost".to_owned()),
        Some(Spoilt::Late { by_ms }) => tokio::time::sleep(Duration::from_millis(by_ms)).await,
        Some(Spoilt::Unanswered) | None => {}
    }
    let document = document(request.body());
    let mut write = Write {
        at_ms: now_ms(),
        sidecar: Some(shared.sidecar),
        status: 0,
        spoilt: spoilt.map(|how| format!("{how:?}")),
        document,
    };
    let answer = match forward(&upstream, &shared.upstream, request).await {
        Ok(answer) => answer,
        Err(error) => {
            shared.ledger.record_write(write);
            return Err(error);
        }
    };
    write.status = answer.status().as_u16();
    shared.ledger.record_write(write);
    let (head, body) = answer.into_parts();
    let bytes = body.collect().await.map_err(|error| error.to_string())?.to_bytes();
    Ok(Response::from_parts(head, Full::new(bytes).map_err(|never| match never {}).boxed()))
}

async fn forward(
    upstream: &Mutex<Option<Connection>>,
    client: &Client,
    request: Request<Bytes>,
) -> Result<Response<Incoming>, String> {
    let mut upstream = upstream.lock().await;
    let mut connection = match upstream.take() {
        Some(connection) => connection,
        None => client.connect(NAME).await.map_err(|error| error.to_string())?,
    };
    let answer = connection.forward(request).await.map_err(|error| error.to_string())?;
    *upstream = Some(connection);
    Ok(answer)
}

/// Parses the state document in a Secret, without its tokens.
pub(crate) fn document(secret: &[u8]) -> Option<Document> {
    let secret: Value = serde_json::from_slice(secret).ok()?;
    let document = STANDARD.decode(secret["data"]["state"].as_str()?).ok()?;
    serde_json::from_slice(&document).ok()
}
