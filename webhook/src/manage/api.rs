//! What manage asks of the API server, and answers as JSON: so fields that we do not know survive a write. No error
//! carries a body.

use std::path::Path;
use std::time::Duration;

use http::header::{ACCEPT, CONTENT_TYPE};
use http::{Method, Request};
use serde_json::Value;

use crate::cluster::{Bounds, ClientError, Cluster};

/// Largest answer, in bytes: a page of five hundred pods' metadata, which managed fields make long.
const MAX_ANSWER: usize = 64 * 1024 * 1024;
/// Longest wait for an answer. Shorter than what a Lease lasts after its holder stops (`authority/lease.rs`), so that no
/// write arrives after somebody else began.
const TIMEOUT: Duration = Duration::from_secs(8);
const JSON: &str = "application/json";

/// The Kubernetes API as our ServiceAccount sees it.
#[derive(Clone)]
pub struct Api {
    cluster: Cluster,
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

/// What came back.
pub(super) struct Answer {
    /// The object.
    pub(super) body: Value,
    /// The API server's time, in Unix seconds.
    pub(super) date: Option<i64>,
}

impl Api {
    /// The API that `server` serves ([`Cluster::connect`]).
    pub fn connect(server: &str, roots: &[u8], token_file: &Path) -> Result<Self, ClientError> {
        let bounds = Bounds { timeout: TIMEOUT, answer: MAX_ANSWER };
        Ok(Self { cluster: Cluster::connect(server, roots, token_file, bounds)? })
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
        let Ok(answered) = self.cluster.send(request).await else {
            return Err(ApiError::Unavailable(what));
        };
        match answered.status {
            200..300 => {}
            409 => return Err(ApiError::Conflict(what)),
            404 => return Err(ApiError::NotFound(what)),
            401 | 403 => return Err(ApiError::Forbidden(what)),
            status => return Err(ApiError::Refused(what, status)),
        }
        let body = serde_json::from_slice(&answered.body).map_err(|_| ApiError::Malformed(what))?;
        Ok(Answer { body, date: answered.date })
    }
}
