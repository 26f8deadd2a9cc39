//! A TLS terminator before the stand-in that holds back requests which have arrived, or answers to what was carried
//! out. Whatever has arrived is delivered, also when its sender is gone.

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

/// What is held back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hold {
    Nothing,
    Requests,
    Answers,
}

/// Stands before a stand-in; dropping it closes its port and its connections.
pub(crate) struct Gate {
    address: SocketAddr,
    held: watch::Sender<Hold>,
    arrived: watch::Receiver<usize>,
    task: JoinHandle<()>,
}

/// What a connection knows.
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

    /// The token endpoint as a client sees it.
    pub(crate) fn token_url(&self) -> String {
        format!("https://{}/oauth/token", self.address)
    }

    /// From now on this is held back; what was held before and is not in it goes on.
    pub(crate) fn hold(&self, what: Hold) {
        self.held.send_replace(what);
    }

    /// How many requests have arrived.
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
    // Who was killed in the handshake is gone.
    let Ok(stream) = tls.accept(tcp).await else { return };
    let service = service_fn(move |request: http::Request<Incoming>| {
        let passage = passage.clone();
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.map_err(|_| "a request that does not come whole")?.to_bytes();
            // A task of its own: a request that has arrived is carried out, whatever becomes of its connection.
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
