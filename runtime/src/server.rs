//! Accepts connections, with or without TLS, and serves HTTP/1.1 on them. Any process that reaches a port may try to exhaust the
//! server, so every step has a limit: the handshake, the first request, each later request, reading an answer, and the number of
//! connections. When there are too many connections, the server closes one without an open request ([`connections`]). If a request
//! is answered before its body was read, the server reads the rest of the body for a short time, so that the peer can read the answer
//! ([`body`]). On shutdown the server finishes open requests and closes idle connections.

mod body;
mod connections;
mod limits;
mod listener;
mod state;
mod transport;

pub use body::RequestBody;
pub use limits::Limits;
pub use listener::Listener;
pub use state::UntilWritten;

use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::TokioIo;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tower_service::Service;

use body::Answered;
use connections::{Connections, Seat};
use transport::Transport;

/// The peer's address. An extension of each request that came over TCP.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub IpAddr);

/// Pause after a failed `accept`, for example because of too many open files. Files can be closed meanwhile.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Bytes of an answer that TLS buffers for a peer that does not read: one record. The default is 64 KiB.
const TLS_BUFFER: usize = 16 * 1024;

/// Serves until `stop` becomes true, then finishes the open requests within `limits.drain`.
pub async fn serve<L, S, B>(
    listener: L,
    tls: Option<TlsAcceptor>,
    service: S,
    limits: Limits,
    mut stop: watch::Receiver<bool>,
) where
    L: Listener,
    S: Service<Request<RequestBody>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: Body<Data = Bytes, Error: std::error::Error + Send + Sync> + Send + Unpin + 'static,
{
    let connections = Connections::new(limits.connections, limits.per_source);
    let graceful = GracefulShutdown::new();
    let mut tasks = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => break,
            Some(_) = tasks.join_next(), if !tasks.is_empty() => continue,
            accepted = listener.accept() => accepted,
        };
        let (stream, source) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "accepting a connection failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let seat = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => break,
            seat = connections.seat(source) => seat,
        };
        // Without a seat the connection is closed: all connections of its address have open requests.
        let Some(seat) = seat else { continue };
        let (tls, service, watcher, evicted) =
            (tls.clone(), service.clone(), graceful.watcher(), seat.evicted());
        tasks.spawn(async move {
            tokio::select! {
                () = evicted.notified() => {}
                ended = connection(stream, seat, tls, service, limits, watcher) => {
                    if let Err(error) = ended {
                        tracing::debug!(%error, "connection ended");
                    }
                }
            }
        });
    }
    drop(listener);
    if timeout(limits.drain, graceful.shutdown()).await.is_err() {
        tracing::warn!(open = tasks.len(), "open requests were cut off at shutdown");
    }
}

async fn connection<T, S, B>(
    stream: T,
    seat: Seat,
    tls: Option<TlsAcceptor>,
    service: S,
    limits: Limits,
    watcher: Watcher,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Service<Request<RequestBody>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: Body<Data = Bytes, Error: std::error::Error + Send + Sync> + Send + Unpin + 'static,
{
    match tls {
        None => requests(stream, seat, service, limits, watcher).await,
        Some(tls) => {
            let late = |_| io::Error::from(io::ErrorKind::TimedOut);
            let accepted = tls.accept_with(stream, |session| session.set_buffer_limit(Some(TLS_BUFFER)));
            let stream = timeout(limits.handshake, accepted).await.map_err(late)??;
            requests(stream, seat, service, limits, watcher).await
        }
    }
}

async fn requests<T, S, B>(
    stream: T,
    seat: Seat,
    service: S,
    limits: Limits,
    watcher: Watcher,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Service<Request<RequestBody>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: Body<Data = Bytes, Error: std::error::Error + Send + Sync> + Send + Unpin + 'static,
{
    let (progress, mut watchdog) = state::new(seat, limits);
    let stream = Transport::new(stream, progress.clone());
    let service = TowerToHyperService::new(service);
    let tracked = service_fn(move |request: Request<Incoming>| {
        let progress = progress.clone();
        progress.began();
        let mut request = request.map(RequestBody::new);
        if let Some(source) = progress.source() {
            request.extensions_mut().insert(Peer(source));
        }
        let answer = service.call(request);
        async move {
            answer.await.map(|mut response| {
                let kept = response.extensions_mut().remove::<UntilWritten>();
                response.map(|body| Answered::new(body, progress, kept))
            })
        }
    });
    let mut builder = http1::Builder::new();
    // Most answers are small: one copy is cheaper than a list of buffers for the kernel. The watchdog has all time limits, so hyper gets
    // no timer.
    builder.writev(false).max_buf_size(limits.head_bytes);
    let connection = watcher.watch(builder.serve_connection(TokioIo::new(stream), tracked));
    tokio::select! {
        ended = connection => Ok(ended?),
        () = watchdog.overdue() => Err(io::Error::from(io::ErrorKind::TimedOut).into()),
    }
}

#[cfg(test)]
mod tests;
