//! Requests to the API server, and answers as JSON: so fields that we do not know survive a write. Nothing is repeated
//! by itself, and no error or log carries a body.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, DATE};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use kube::config::AuthInfo;
use kube::{Client, Config};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::Value;

/// Largest answer, in bytes: a page of five hundred pods' metadata, which managed fields make long.
const MAX_ANSWER: usize = 64 * 1024 * 1024;
/// Longest wait for an answer. Shorter than what a Lease lasts after its holder stops (`authority/lease.rs`), so that no
/// write arrives after somebody else began.
const TIMEOUT: Duration = Duration::from_secs(8);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// The Kubernetes API as our ServiceAccount sees it.
#[derive(Clone)]
pub struct Api {
    client: Client,
}

/// Why a request came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The object changed since it was read.
    #[error("{0}: changed meanwhile")]
    Conflict(String),
    /// It is not there.
    #[error("{0}: not found; helm upgrade makes it")]
    NotFound(String),
    /// A right is missing.
    #[error("{0}: forbidden")]
    Forbidden(String),
    /// Refused for another reason.
    #[error("{0}: status {1}")]
    Refused(String, u16),
    /// No answer; a write may have taken place.
    #[error("{0}: no answer")]
    Unavailable(String),
    /// Not what was asked for.
    #[error("{0}: unreadable")]
    Malformed(String),
    /// The Lease is not ours any more.
    #[error("the Lease is not ours any more")]
    NotOurs,
    /// A certificate could not be made.
    #[error("making a certificate")]
    Mint(#[from] crate::authority::MintError),
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// `--api-server` is no URL.
    #[error("--api-server: not a URL")]
    Url(#[source] http::uri::InvalidUri),
    /// `--api-ca` has no certificate.
    #[error("--api-ca: no certificate in PEM")]
    Roots,
    /// The token, or TLS.
    #[error("preparing the client of the API server")]
    Client(#[source] kube::Error),
}

/// What came back.
pub(super) struct Answer {
    /// The object.
    pub(super) body: Value,
    /// The API server's time, in Unix seconds.
    pub(super) date: Option<i64>,
}

impl Api {
    /// A client for `server`, whose certificates `roots` (PEM) sign, with the token in `token_file`, which is read again.
    pub fn connect(server: &str, roots: &[u8], token_file: &Path) -> Result<Self, ClientError> {
        let roots: Vec<_> = CertificateDer::pem_slice_iter(roots).filter_map(Result::ok).collect();
        if roots.is_empty() {
            return Err(ClientError::Roots);
        }
        let mut config = Config::new(server.parse().map_err(ClientError::Url)?);
        config.root_cert = Some(roots.iter().map(|der| der.to_vec()).collect());
        config.connect_timeout = Some(CONNECT_TIMEOUT);
        // A repeated write conflicts with itself.
        config.default_retry = false;
        config.auth_info =
            AuthInfo { token_file: Some(token_file.display().to_string()), ..AuthInfo::default() };
        Ok(Self { client: Client::try_from(config).map_err(ClientError::Client)? })
    }

    /// Reads an object.
    pub(super) async fn get(&self, path: &str) -> Result<Answer, ApiError> {
        self.call(Method::GET, path, [JSON, JSON], None).await
    }

    /// Reads a list's metadata alone.
    pub(super) async fn list_metadata(&self, path: &str) -> Result<Value, ApiError> {
        let accept = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io";
        Ok(self.call(Method::GET, path, [accept, JSON], None).await?.body)
    }

    /// Writes an object over the one that was read: it names its version.
    pub(super) async fn put(&self, path: &str, object: &Value) -> Result<(), ApiError> {
        self.call(Method::PUT, path, [JSON, JSON], Some(object)).await.map(drop)
    }

    /// Makes an object.
    pub(super) async fn post(&self, path: &str, object: &Value) -> Result<(), ApiError> {
        self.call(Method::POST, path, [JSON, JSON], Some(object)).await.map(drop)
    }

    /// A JSON patch.
    pub(super) async fn patch(&self, path: &str, patch: &Value) -> Result<(), ApiError> {
        self.call(Method::PATCH, path, [JSON, "application/json-patch+json"], Some(patch)).await.map(drop)
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        [accept, sent]: [&str; 2],
        body: Option<&Value>,
    ) -> Result<Answer, ApiError> {
        let what = format!("{method} {}", path.split('?').next().unwrap_or(path));
        let body = body.map(Value::to_string).unwrap_or_default();
        let request = Request::builder().method(method).uri(path).header(ACCEPT, accept);
        let request = request.header(CONTENT_TYPE, sent).body(body.into_bytes());
        let request = request.map_err(|_| ApiError::Malformed(what.clone()))?;
        let exchange = tokio::time::timeout(TIMEOUT, self.exchange(request));
        let Ok(Some((status, date, body))) = exchange.await else {
            return Err(ApiError::Unavailable(what));
        };
        match status {
            status if status.is_success() => {}
            StatusCode::CONFLICT => return Err(ApiError::Conflict(what)),
            StatusCode::NOT_FOUND => return Err(ApiError::NotFound(what)),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => return Err(ApiError::Forbidden(what)),
            status => return Err(ApiError::Refused(what, status.as_u16())),
        }
        let body = serde_json::from_slice(&body).map_err(|_| ApiError::Malformed(what))?;
        Ok(Answer { body, date })
    }

    async fn exchange(&self, request: Request<Vec<u8>>) -> Option<(StatusCode, Option<i64>, Bytes)> {
        let response = self.client.send(request.map(Into::into)).await.ok()?;
        let date = response.headers().get(DATE).and_then(|date| date.to_str().ok());
        let date = date.and_then(|date| httpdate::parse_http_date(date).ok());
        let date = date.and_then(|date| date.duration_since(std::time::UNIX_EPOCH).ok());
        let date = date.and_then(|date| i64::try_from(date.as_secs()).ok());
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await.ok()?;
        Some((status, date, body.to_bytes()))
    }
}

const JSON: &str = "application/json";
