//! A TLS proxy before the stand-in that can delay or hold back answers to processed requests, and change its
//! certificate.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use agent_creds_tests::authority::Authority;
use agent_creds_tests::https::Client;
use agent_creds_tests::standin::Standin;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use super::LOOPBACK;

/// A proxy before a stand-in; dropping it closes its port and its connections.
pub(crate) struct Front {
    address: SocketAddr,
    tls: watch::Sender<Arc<ServerConfig>>,
    held: watch::Sender<bool>,
    delay: watch::Sender<Duration>,
    task: JoinHandle<()>,
}

impl Front {
    /// Opens a proxy with a certificate of this authority.
    pub(crate) async fn before(standin: &Standin, authority: &Authority) -> Self {
        let listener = TcpListener::bind(LOOPBACK).await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let tls = watch::Sender::new(certificate(authority));
        let (held, delay) = (watch::Sender::new(false), watch::Sender::new(Duration::ZERO));
        let patience = (held.subscribe(), delay.subscribe());
        let task = tokio::spawn(serve(listener, tls.subscribe(), patience, standin.https()));
        Self { address, tls, held, delay, task }
    }

    /// Returns the URL of the token endpoint.
    pub(crate) fn token_url(&self) -> String {
        format!("https://{}/oauth/token", self.address)
    }

    /// Holds answers back from now on.
    pub(crate) fn hold(&self) {
        self.held.send_replace(true);
    }

    /// Delays each answer from now on.
    pub(crate) fn is_slow(&self, delay: Duration) {
        self.delay.send_replace(delay);
    }

    /// Releases all answers.
    pub(crate) fn release(&self) {
        self.held.send_replace(false);
    }

    /// Uses a certificate of another authority for new connections.
    pub(crate) fn is_of(&self, authority: &Authority) {
        self.tls.send_replace(certificate(authority));
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn certificate(authority: &Authority) -> Arc<ServerConfig> {
    authority.leaf(["127.0.0.1", "localhost"]).server_config()
}

async fn serve(
    listener: TcpListener,
    tls: watch::Receiver<Arc<ServerConfig>>,
    (held, delay): (watch::Receiver<bool>, watch::Receiver<Duration>),
    provider: Client,
) {
    let mut connections = JoinSet::new();
    loop {
        let (tcp, _) = listener.accept().await.expect("a test has few connections");
        let acceptor = TlsAcceptor::from(Arc::clone(&tls.borrow()));
        let (provider, held, delay) = (provider.clone(), held.clone(), *delay.borrow());
        connections.spawn(async move {
            // A client that does not trust the certificate closes the connection.
            let Ok(stream) = acceptor.accept(tcp).await else { return };
            let service = service_fn(move |request: http::Request<Incoming>| {
                let (provider, mut held) = (provider.clone(), held.clone());
                async move {
                    let response = forward(&provider, request.map(Body::new)).await;
                    tokio::time::sleep(delay).await;
                    let _ = held.wait_for(|held| !held).await;
                    Ok::<_, Infallible>(response)
                }
            });
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn forward(provider: &Client, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let body = to_bytes(body, 64 * 1024).await.expect("a small request");
    let body = String::from_utf8(body.to_vec()).expect("a form is text");
    let request = http::Request::from_parts(head, body);
    let host = provider.address().to_string();
    let answer = provider.send(&host, &host, request).await.expect("the stand-in answers");
    let mut response = Response::new(Body::from(answer.body));
    *response.status_mut() = answer.status;
    *response.headers_mut() = answer.headers;
    response
}
