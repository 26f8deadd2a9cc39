//! The client of the Kubernetes API: one request, one answer, both limited in time and size, with the token of one
//! ServiceAccount. It repeats nothing by itself: a repeated write conflicts with itself. No body is part of an error or a log
//! line, since bodies hold tokens and Secrets. It does not use kube's `Api`, whose errors and logs carry bodies.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use http::header::DATE;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use jiff::Timestamp;
use kube::api::WatchEvent;
use kube::config::AuthInfo;
use kube::{Client, Config};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde::de::DeserializeOwned;

/// Largest object, in bytes: the API server's limit, and what JSON adds to it.
pub const MAX_OBJECT: usize = 4 * 1024 * 1024;
/// Time limit for connecting. Together with the pause after a failed watch it is about the settle delay of the refresh
/// protocol, so that a replica hears of a restored state before another one claims on it.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Longest silence on a connection on which something is expected; the peer is then gone without a word. A watch is not silent
/// for longer: the API server sends a bookmark every minute.
const SILENCE: Duration = Duration::from_secs(75);

/// The API as one ServiceAccount sees it.
#[derive(Clone)]
pub struct ApiServer {
    client: Client,
    bounds: Bounds,
}

/// Limits of one request.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Time limit for the answer.
    pub timeout: Duration,
    /// Largest answer, in bytes.
    pub answer: usize,
}

/// Where the ServiceAccount token of a request comes from.
#[derive(Clone, Copy, Debug)]
pub enum Credentials<'a> {
    /// A file, which is read again as the kubelet renews it.
    TokenFile(&'a Path),
    /// Each request brings its own `Authorization` header.
    PerRequest,
}

/// An answer, whatever its status.
#[derive(Debug)]
pub struct Answered {
    /// HTTP status.
    pub status: StatusCode,
    /// The API server's time.
    pub date: Option<Timestamp>,
    /// Body.
    pub body: Bytes,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unanswered {
    /// Not within the time limit.
    #[error("no answer in time")]
    Timeout,
    /// No connection, or it broke.
    #[error("no connection, or it broke")]
    Connection,
    /// The answer is larger than an answer can be, or was cut off.
    #[error("the answer is too large, or was cut off")]
    Body,
}

/// Why a watch could not be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WatchError {
    /// The API server refused it with this status.
    #[error("refused with status {0}")]
    Status(StatusCode),
    /// No answer.
    #[error(transparent)]
    Unanswered(Unanswered),
}

/// Why the client could not be created.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The URL of the API server is none.
    #[error("--api-server: not a URL")]
    Url(#[source] http::uri::InvalidUri),
    /// The CA bundle holds no certificate.
    #[error("the CA bundle of the API server: no certificate in PEM")]
    Roots,
    /// The ServiceAccount token cannot be read, or TLS cannot be set up.
    #[error("preparing the client of the API server")]
    Client(#[source] kube::Error),
}

/// Parses a CA bundle in PEM.
///
/// # Errors
/// Where it holds no certificate.
pub fn roots(pem: &[u8]) -> Result<Vec<Vec<u8>>, ClientError> {
    let roots: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let roots = roots.ok().filter(|roots| !roots.is_empty()).ok_or(ClientError::Roots)?;
    Ok(roots.iter().map(|der| der.to_vec()).collect())
}

impl std::fmt::Debug for ApiServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ApiServer").finish_non_exhaustive()
    }
}

impl ApiServer {
    /// A client for `server`, whose certificate is signed by one of `roots` (DER).
    ///
    /// # Errors
    /// Where `server` is no URL, the token file cannot be read, or a root is no certificate.
    pub fn connect(
        server: &str,
        roots: Vec<Vec<u8>>,
        credentials: Credentials<'_>,
        bounds: Bounds,
    ) -> Result<Self, ClientError> {
        let mut config = Config::new(server.parse().map_err(ClientError::Url)?);
        config.root_cert = Some(roots);
        config.connect_timeout = Some(CONNECT_TIMEOUT);
        config.read_timeout = Some(SILENCE);
        config.default_retry = false;
        if let Credentials::TokenFile(path) = credentials {
            let token_file = Some(path.display().to_string());
            config.auth_info = AuthInfo { token_file, ..AuthInfo::default() };
        }
        Ok(Self { client: Client::try_from(config).map_err(ClientError::Client)?, bounds })
    }

    /// Sends a request and returns its answer, whatever its status.
    ///
    /// # Errors
    /// Where there is no complete answer. A write may have taken place all the same.
    pub async fn send(&self, request: Request<Vec<u8>>) -> Result<Answered, Unanswered> {
        let exchange = async {
            let response = self.client.send(request.map(Into::into)).await;
            let response = response.map_err(|_| Unanswered::Connection)?;
            let date = response.headers().get(DATE).and_then(|date| date.to_str().ok());
            let date = date.and_then(|date| httpdate::parse_http_date(date).ok());
            let date = date.and_then(|date| Timestamp::try_from(date).ok());
            let status = response.status();
            let body = Limited::new(response.into_body(), self.bounds.answer).collect().await;
            Ok(Answered { status, date, body: body.map_err(|_| Unanswered::Body)?.to_bytes() })
        };
        tokio::time::timeout(self.bounds.timeout, exchange).await.unwrap_or(Err(Unanswered::Timeout))
    }

    /// Opens a watch and returns its events until it ends; `None` is an event that cannot be read.
    ///
    /// # Errors
    /// Where the API server refuses the watch or does not answer.
    pub async fn watch<T: Clone + DeserializeOwned>(
        &self,
        request: Request<Vec<u8>>,
    ) -> Result<impl Stream<Item = Option<WatchEvent<T>>> + use<T>, WatchError> {
        match tokio::time::timeout(self.bounds.timeout, self.client.request_events(request)).await {
            Ok(Ok(events)) => Ok(events.map(Result::ok)),
            Ok(Err(kube::Error::Api(status))) => {
                let status = StatusCode::from_u16(status.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                Err(WatchError::Status(status))
            }
            Ok(Err(_)) => Err(WatchError::Unanswered(Unanswered::Connection)),
            Err(_) => Err(WatchError::Unanswered(Unanswered::Timeout)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use k8s_openapi::api::core::v1::Secret;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_watch_ends_when_its_peer_is_gone_without_a_word() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = format!("http://{}", listener.local_addr().unwrap());
        let bounds = Bounds { timeout: Duration::from_secs(10), answer: MAX_OBJECT };
        let api = ApiServer::connect(&server, Vec::new(), Credentials::PerRequest, bounds).unwrap();
        let request = Request::get("/api/v1/secrets?watch=true").body(Vec::new()).unwrap();
        let watched = tokio::spawn(async move { api.watch::<Secret>(request).await.expect("opened") });
        let (mut peer, _) = listener.accept().await.unwrap();
        let mut head = [0; 4096];
        assert!(peer.read(&mut head).await.unwrap() > 0);
        let event =
            r#"{"type":"ADDED","object":{"apiVersion":"v1","kind":"Secret","metadata":{"name":"a"}}}"#;
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n{event}\n");
        peer.write_all(answer.as_bytes()).await.unwrap();
        let mut events = pin!(watched.await.unwrap());
        assert!(matches!(events.next().await, Some(Some(WatchEvent::Added(_)))));
        // The connection stays open and silent, like that of a machine that has lost its power.
        tokio::time::pause();
        let end = tokio::time::timeout(SILENCE * 2, events.next()).await.expect("it ends");
        assert!(!matches!(end, Some(Some(_))));
        drop(peer);
    }
}
