//! The Kubernetes API, as one ServiceAccount may use it: one request, one answer, both of bounded size and time. What is
//! asked and what an answer means is decided elsewhere (`identity`). Nothing is asked twice by itself, and no body
//! is in an error or a log: tokens are in them.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Method, Request};
use http_body_util::{BodyExt as _, Limited};
use kube::config::AuthInfo;
use kube::{Client, Config};
use serde::Serialize;

/// Largest answer: the API server's limit for an object, and what JSON adds to it.
const MAX_ANSWER: usize = 4 * 1024 * 1024;
/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// The API as one ServiceAccount sees it.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
    timeout: Duration,
}

/// An answer, whatever its status.
pub struct Answered {
    /// HTTP status.
    pub status: u16,
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
    /// A client for `server`, whose certificates `roots` sign (DER), with the token in `token_file`, which is read again as
    /// the kubelet renews it. Each request has `timeout`.
    pub fn connect(
        server: &str,
        roots: Vec<Vec<u8>>,
        token_file: &Path,
        timeout: Duration,
    ) -> Result<Self, ClientError> {
        let mut config = Config::new(server.parse().map_err(ClientError::Url)?);
        config.root_cert = Some(roots);
        config.connect_timeout = Some(CONNECT_TIMEOUT);
        config.default_retry = false;
        config.auth_info =
            AuthInfo { token_file: Some(token_file.display().to_string()), ..AuthInfo::default() };
        Ok(Self { client: Client::try_from(config).map_err(ClientError::Client)?, timeout })
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
        let request = request.body(body.into()).map_err(|_| Unanswered::Connection)?;
        let exchange = async {
            let response = self.client.send(request).await.map_err(|_| Unanswered::Connection)?;
            let status = response.status().as_u16();
            let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
            Ok(Answered { status, body: body.map_err(|_| Unanswered::Body)?.to_bytes() })
        };
        tokio::time::timeout(self.timeout, exchange).await.unwrap_or(Err(Unanswered::Timeout))
    }
}
