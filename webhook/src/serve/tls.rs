//! The loop that accepts connections, with TLS or without. Anything in the cluster can reach these ports, so
//! every step has a limit: the handshake, the head of a request, the number of connections. On the way out the
//! open requests are finished, and idle connections are closed.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::sources::Sources;

/// Where a request comes from: an extension of each.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub IpAddr);

/// How long a peer may take, and how many there may be.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// For the TLS handshake.
    pub handshake: Duration,
    /// For the head of a request; also how long an idle connection stays open.
    pub head: Duration,
    /// Open connections. Further ones wait in the kernel's queue.
    pub connections: usize,
    /// Of these, from one address. Further ones are closed at once.
    pub per_source: usize,
    /// For open requests, once we are asked to stop.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            head: Duration::from_secs(30),
            connections: 512,
            // An API server has a connection for each question that is open; behind a proxy, some share an address.
            per_source: 128,
            drain: Duration::from_secs(15),
        }
    }
}

impl Limits {
    /// For the plain port: the kubelet and Prometheus have a connection each, and nobody else has business there.
    pub fn plain() -> Self {
        Self { head: Duration::from_secs(5), per_source: 16, ..Self::default() }
    }
}

/// After an error of `accept`, such as too many open files: time for something to be closed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until `stop` turns true, then finishes what is open, for at most `limits.drain`.
pub async fn serve(
    listener: TcpListener,
    acceptor: Option<TlsAcceptor>,
    router: Router,
    limits: Limits,
    mut stop: watch::Receiver<bool>,
) {
    let slots = Arc::new(Semaphore::new(limits.connections));
    let sources = Sources::default();
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    loop {
        let accept = async {
            // A slot first: what cannot be served is not accepted. The semaphore is never closed.
            let slot = Arc::clone(&slots).acquire_owned().await.ok();
            listener.accept().await.map(|(stream, peer)| (stream, peer.ip().to_canonical(), slot))
        };
        let accepted = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            accepted = accept => accepted,
        };
        match accepted {
            Ok((stream, peer, slot)) => {
                let Some(seat) = sources.seat(peer, limits.per_source) else { continue };
                let (acceptor, router, watcher) = (acceptor.clone(), router.clone(), graceful.watcher());
                connections.spawn(async move {
                    if let Err(error) =
                        connection(stream, Peer(peer), acceptor, router, limits, watcher).await
                    {
                        tracing::debug!(%error, "connection ended");
                    }
                    drop((slot, seat));
                });
            }
            Err(error) => {
                tracing::warn!(%error, "accepting a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    if timeout(limits.drain, graceful.shutdown()).await.is_err() {
        tracing::warn!(open = connections.len(), "requests were cut off");
    }
}

async fn connection(
    stream: TcpStream,
    peer: Peer,
    acceptor: Option<TlsAcceptor>,
    router: Router,
    limits: Limits,
    watcher: Watcher,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    stream.set_nodelay(true)?;
    match acceptor {
        None => requests(stream, peer, router, limits, watcher).await?,
        Some(acceptor) => {
            let late = |_| io::Error::from(io::ErrorKind::TimedOut);
            let stream = timeout(limits.handshake, acceptor.accept(stream)).await.map_err(late)??;
            requests(stream, peer, router, limits, watcher).await?;
        }
    }
    Ok(())
}

async fn requests<S>(
    stream: S,
    peer: Peer,
    router: Router,
    limits: Limits,
    watcher: Watcher,
) -> hyper::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let router = TowerToHyperService::new(router);
    let with_peer = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(peer);
        router.call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .serve_connection(TokioIo::new(stream), with_peer);
    watcher.watch(connection).await
}
