//! A TLS proxy before the stand-in that holds back requests or answers. A request that has arrived is delivered, also
//! if its sender has ended.

use std::net::SocketAddr;

use agent_creds_tests::authority::Authority;
use agent_creds_tests::https::{Answer, Client};
use agent_creds_tests::standin::Standin;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use super::LOOPBACK;

/// The messages that are held back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hold {
    Nothing,
    Requests,
    Answers,
}

/// A proxy before a stand-in; dropping it closes its port and its connections.
pub(crate) struct Gate {
    address: SocketAddr,
    held: watch::Sender<Hold>,
    arrived: watch::Receiver<usize>,
    task: JoinHandle<()>,
}

/// The state that all connections share.
#[derive(Clone)]
struct Passage {
    held: watch::Receiver<Hold>,
    arrived: watch::Sender<usize>,
    provider: Client,
}

impl Gate {
    pub(crate) async fn before(standin: &Standin, authority: &Authority) -> Self {
        let listener = TcpListener::bind(LOOPBACK).await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let tls = authority.leaf(["127.0.0.1"]).server_config().into();
        let held = watch::Sender::new(Hold::Nothing);
        let (counter, arrived) = watch::channel(0);
        let passage = Passage { held: held.subscribe(), arrived: counter, provider: standin.https() };
        let task = tokio::spawn(serve(listener, tls, passage));
        Self { address, held, arrived, task }
    }

    /// Returns the URL of the token endpoint.
    pub(crate) fn token_url(&self) -> String {
        format!("https://{}/oauth/token", self.address)
    }

    /// Holds these messages back from now on, and releases all others.
    pub(crate) fn hold(&self, what: Hold) {
        self.held.send_replace(what);
    }

    /// Returns the number of requests that have arrived.
    pub(crate) fn arrived(&self) -> usize {
        *self.arrived.borrow()
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, tls: TlsAcceptor, passage: Passage) {
    let mut connections = JoinSet::new();
    loop {
        let (tcp, _) = listener.accept().await.expect("a test has few connections");
        connections.spawn(connection(tcp, tls.clone(), passage.clone()));
    }
}

async fn connection(tcp: TcpStream, tls: TlsAcceptor, passage: Passage) {
    // The process may be killed during the handshake.
    let Ok(stream) = tls.accept(tcp).await else { return };
    let service = service_fn(move |request: http::Request<Incoming>| {
        let passage = passage.clone();
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.map_err(|_| "an incomplete request")?.to_bytes();
            // A separate task: a request that has arrived is delivered, even if its connection ends.
            let delivered = tokio::spawn(passage.deliver(head, body)).await;
            let answer = delivered.ok().flatten().ok_or("closed without an answer")?;
            let mut response = http::Response::new(Full::new(answer.body));
            (*response.status_mut(), *response.headers_mut()) = (answer.status, answer.headers);
            Ok::<_, &str>(response)
        }
    });
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

impl Passage {
    async fn deliver(mut self, head: http::request::Parts, body: Bytes) -> Option<Answer> {
        self.arrived.send_modify(|arrived| *arrived += 1);
        let open = |not: Hold| move |held: &Hold| *held != not;
        self.held.wait_for(open(Hold::Requests)).await.ok()?;
        let body = String::from_utf8(body.to_vec()).expect("a form is text");
        let host = self.provider.address().to_string();
        let answer = self.provider.send(&host, &host, http::Request::from_parts(head, body)).await.ok();
        self.held.wait_for(open(Hold::Answers)).await.ok()?;
        answer
    }
}
