//! Requests of the manager to the API server. Objects stay JSON, so that unknown fields survive a write. No error holds a body.

use std::path::Path;
use std::time::Duration;

use http::header::{ACCEPT, CONTENT_TYPE};
use http::{Method, Request};
use serde_json::Value;

use agent_creds_runtime::api_server::{self, ApiServer, Bounds, ClientError, Credentials};

/// Largest answer, in bytes: a page of metadata of five hundred pods, which managed fields make long.
const MAX_ANSWER: usize = 64 * 1024 * 1024;
/// Time limit for an answer. Shorter than the rest of the Lease after its holder stops ([`crate::leader_election`]), so that no write
/// arrives after another leader has begun.
const TIMEOUT: Duration = Duration::from_secs(8);
const JSON: &str = "application/json";

/// The Kubernetes API as the manager's ServiceAccount sees it.
#[derive(Clone)]
pub struct Api {
    api: ApiServer,
}

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The object changed since it was read.
    #[error("{0}: changed meanwhile")]
    Conflict(String),
    /// The object does not exist.
    #[error("{0}: not found; helm upgrade creates it")]
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
    /// The answer is not the object that was asked for.
    #[error("{0}: unreadable")]
    Malformed(String),
    /// This process is no longer the leader.
    #[error("no longer the leader")]
    NotLeader,
    /// A certificate could not be issued.
    #[error("issuing a certificate")]
    Issue(#[from] crate::rotation::IssueError),
}

/// An object, and the time of its answer.
pub(super) struct Answer {
    /// The object.
    pub(super) body: Value,
    /// The API server's time, in Unix seconds.
    pub(super) date: Option<i64>,
}

impl Api {
    /// A client for `server`, whose certificate is signed by one of `roots` (PEM).
    ///
    /// # Errors
    /// As [`ApiServer::connect`].
    pub fn connect(server: &str, roots: &[u8], token_file: &Path) -> Result<Self, ClientError> {
        let bounds = Bounds { timeout: TIMEOUT, answer: MAX_ANSWER };
        let credentials = Credentials::TokenFile(token_file);
        Ok(Self { api: ApiServer::connect(server, api_server::roots(roots)?, credentials, bounds)? })
    }

    /// Reads an object.
    pub(super) async fn get(&self, path: &str) -> Result<Answer, ApiError> {
        self.call(Method::GET, path, [JSON, JSON], None).await
    }

    /// Reads the metadata of a list.
    pub(super) async fn list_metadata(&self, path: &str) -> Result<Value, ApiError> {
        let accept = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io";
        Ok(self.call(Method::GET, path, [accept, JSON], None).await?.body)
    }

    /// Replaces an object. Its resourceVersion has to be the one that was read.
    pub(super) async fn put(&self, path: &str, object: &Value) -> Result<(), ApiError> {
        self.call(Method::PUT, path, [JSON, JSON], Some(object)).await.map(drop)
    }

    /// Creates an object.
    pub(super) async fn post(&self, path: &str, object: &Value) -> Result<(), ApiError> {
        self.call(Method::POST, path, [JSON, JSON], Some(object)).await.map(drop)
    }

    /// Applies a JSON patch.
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
        let Ok(answered) = self.api.send(request).await else {
            return Err(ApiError::Unavailable(what));
        };
        match answered.status.as_u16() {
            200..300 => {}
            409 => return Err(ApiError::Conflict(what)),
            404 => return Err(ApiError::NotFound(what)),
            401 | 403 => return Err(ApiError::Forbidden(what)),
            status => return Err(ApiError::Refused(what, status)),
        }
        let body = serde_json::from_slice(&answered.body).map_err(|_| ApiError::Malformed(what))?;
        Ok(Answer { body, date: answered.date.map(jiff::Timestamp::as_second) })
    }
}
