//! TLS and HTTP for the endpoint, with the ways to break a connection off.

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::{Extension, Router};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode, header};
use hyper::body::Frame;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::answer::Reply;
use super::control;
use super::request::Asked;
use super::shared::Shared;

/// Limit of a body, above the size of any token request.
const BODY_LIMIT: usize = 256 * 1024;
/// Limits how long a client without a handshake keeps its connection.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);

/// Accepts connections. Dropping the future closes all of them.
pub(super) async fn serve(listener: TcpListener, tls: TlsAcceptor, shared: Arc<Shared>) {
    let router = control::routes().fallback(token_request).with_state(shared);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((tcp, _)) => drop(connections.spawn(connection(tcp, tls.clone(), router.clone()))),
                // Most likely there are no file descriptors left, so wait until connections have ended.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// The server name in a connection's handshake.
#[derive(Clone)]
struct Sni(Option<String>);

/// The client's address of a connection.
#[derive(Clone, Copy)]
struct Peer(Option<IpAddr>);

/// Marks a response that closes the connection without an answer.
#[derive(Clone)]
struct Hangup;

async fn connection(tcp: TcpStream, tls: TlsAcceptor, router: Router) {
    // With Nagle's algorithm, small writes would wait 40 ms for an acknowledgement.
    let _ = tcp.set_nodelay(true);
    let peer = tcp.peer_addr().ok().map(|address| address.ip().to_canonical());
    let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE_LIMIT, tls.accept(tcp)).await else {
        return;
    };
    let sni = stream.get_ref().1.server_name().map(str::to_owned);
    let router = TowerToHyperService::new(router.layer(Extension(Sni(sni))).layer(Extension(Peer(peer))));
    let service = service_fn(move |request| {
        let response = router.call(request);
        async move {
            match response.await {
                Ok(response) if response.extensions().get::<Hangup>().is_some() => Err("told to hang up"),
                Ok(response) => Ok(response),
                Err(impossible) => match impossible {},
            }
        }
    });
    // The client has closed the connection, or a fault closes it here.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn token_request(
    State(shared): State<Arc<Shared>>,
    Extension(Sni(sni)): Extension<Sni>,
    Extension(Peer(peer)): Extension<Peer>,
    request: Request,
) -> Result<Response, StatusCode> {
    let (head, body) = request.into_parts();
    let body = axum::body::to_bytes(body, BODY_LIMIT).await.map_err(|_| StatusCode::BAD_REQUEST)?;
    // There is no await between here and the log, so a client that disconnects now does not stop its request.
    let asked = Asked { method: head.method, uri: head.uri, headers: head.headers, body, sni, peer };
    let reply = match shared.answer(&asked) {
        Reply::Held(reply) => {
            shared.released().await;
            *reply
        }
        reply => reply,
    };
    match reply {
        Reply::Hang | Reply::Held(_) => std::future::pending().await,
        Reply::Close => {
            let mut response = Response::new(Body::empty());
            response.extensions_mut().insert(Hangup);
            Ok(response)
        }
        Reply::Answer { status, headers, body, promised } => {
            let whole = body.len() == promised;
            let body = Bytes::from(body);
            let mut response =
                Response::new(if whole { Body::from(body) } else { Body::new(Broken::Whole(body)) });
            *response.status_mut() = StatusCode::from_u16(status).map_err(|_| StatusCode::NOT_IMPLEMENTED)?;
            response.headers_mut().insert(header::CONTENT_LENGTH, promised.into());
            for (name, value) in headers {
                let name = HeaderName::try_from(name).map_err(|_| StatusCode::NOT_IMPLEMENTED)?;
                let value = HeaderValue::try_from(value).map_err(|_| StatusCode::NOT_IMPLEMENTED)?;
                response.headers_mut().insert(name, value);
            }
            Ok(response)
        }
    }
}

/// A body after which the connection breaks.
enum Broken {
    Whole(Bytes),
    Sent,
    Flushed,
}

impl hyper::body::Body for Broken {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match std::mem::replace(&mut *self, Self::Flushed) {
            Self::Whole(bytes) => {
                *self = Self::Sent;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            // hyper writes its buffer during one round of waiting; an immediate error would discard it.
            Self::Sent => {
                context.waker().wake_by_ref();
                Poll::Pending
            }
            Self::Flushed => Poll::Ready(Some(Err("told to break off"))),
        }
    }
}
