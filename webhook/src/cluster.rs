//! The Kubernetes API, as one ServiceAccount may use it: one request, one answer, both of bounded size and time. What is
//! asked and what an answer means is decided elsewhere (`identity`, `manage/api.rs`). Nothing is asked twice by itself, and no body
//! is in an error or a log: tokens are in them.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, DATE};
use http::{Method, Request};
use http_body_util::{BodyExt as _, Limited};
use kube::config::AuthInfo;
use kube::{Client, Config};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde::Serialize;

/// Largest object, in bytes: the API server's limit, and what JSON adds to it.
pub const MAX_OBJECT: usize = 4 * 1024 * 1024;
/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// The API as one ServiceAccount sees it.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
    bounds: Bounds,
}

/// What a request may take and an answer may be.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Longest wait for an answer.
    pub timeout: Duration,
    /// Largest answer, in bytes.
    pub answer: usize,
}

/// An answer, whatever its status.
pub struct Answered {
    /// HTTP status.
    pub status: u16,
    /// The API server's time, in Unix seconds.
    pub date: Option<i64>,
    /// Body.
    pub body: Bytes,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unanswered {
    /// Not in time.
    #[error("no answer in time")]
    Timeout,
    /// No connection, or it broke.
    #[error("no connection, or it broke")]
    Connection,
    /// More than an answer can be.
    #[error("the answer is too large, or was cut off")]
    Body,
}

/// Why the client could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Not a URL.
    #[error("--api-server: not a URL")]
    Url(#[source] http::uri::InvalidUri),
    /// `--api-ca` has no certificate.
    #[error("--api-ca: no certificate in PEM")]
    Roots,
    /// The ServiceAccount token, or TLS.
    #[error("preparing the client of the API server")]
    Client(#[source] kube::Error),
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster").finish_non_exhaustive()
    }
}

impl Cluster {
    /// A client for `server`, whose certificates `roots` (PEM) sign, with the token in `token_file`, which is read again as
    /// the kubelet renews it.
    pub fn connect(
        server: &str,
        roots: &[u8],
        token_file: &Path,
        bounds: Bounds,
    ) -> Result<Self, ClientError> {
        let roots: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(roots).collect();
        let roots = roots.ok().filter(|roots| !roots.is_empty()).ok_or(ClientError::Roots)?;
        let mut config = Config::new(server.parse().map_err(ClientError::Url)?);
        config.root_cert = Some(roots.iter().map(|der| der.to_vec()).collect());
        config.connect_timeout = Some(CONNECT_TIMEOUT);
        // A repeated write conflicts with itself.
        config.default_retry = false;
        config.auth_info =
            AuthInfo { token_file: Some(token_file.display().to_string()), ..AuthInfo::default() };
        Ok(Self { client: Client::try_from(config).map_err(ClientError::Client)?, bounds })
    }

    /// `GET path`.
    pub async fn get(&self, path: &str) -> Result<Answered, Unanswered> {
        self.ask(Method::GET, path, Vec::new()).await
    }

    /// `POST path` with an object.
    pub async fn post(&self, path: &str, object: &impl Serialize) -> Result<Answered, Unanswered> {
        let body = serde_json::to_vec(object).unwrap_or_else(|_| unreachable!("text keys and plain values"));
        self.ask(Method::POST, path, body).await
    }

    async fn ask(&self, method: Method, path: &str, body: Vec<u8>) -> Result<Answered, Unanswered> {
        let request = Request::builder().method(method).uri(path).header(CONTENT_TYPE, "application/json");
        self.send(request.body(body).map_err(|_| Unanswered::Connection)?).await
    }

    /// A request, and what came of it.
    pub async fn send(&self, request: Request<Vec<u8>>) -> Result<Answered, Unanswered> {
        let exchange = async {
            let response =
                self.client.send(request.map(Into::into)).await.map_err(|_| Unanswered::Connection)?;
            let date = response.headers().get(DATE).and_then(|date| date.to_str().ok());
            let date = date.and_then(|date| httpdate::parse_http_date(date).ok());
            let date = date.and_then(|date| date.duration_since(std::time::UNIX_EPOCH).ok());
            let date = date.and_then(|date| i64::try_from(date.as_secs()).ok());
            let status = response.status().as_u16();
            let body = Limited::new(response.into_body(), self.bounds.answer).collect().await;
            Ok(Answered { status, date, body: body.map_err(|_| Unanswered::Body)?.to_bytes() })
        };
        tokio::time::timeout(self.bounds.timeout, exchange).await.unwrap_or(Err(Unanswered::Timeout))
    }
}
