//! The API server as the sidecar uses it: requests with the token of one ServiceAccount, answers as [`StoreError`]s, and the API
//! server's time, which each answer tells.

use std::path::Path;
use std::time::Duration;

use agent_creds_runtime::api_server::{
    ApiServer, Bounds, ClientError, Credentials, MAX_OBJECT, Unanswered, WatchError,
};
use futures_util::Stream;
use http::header::AUTHORIZATION;
use http::{Request, StatusCode};
use kube::api::WatchEvent;
use serde::de::DeserializeOwned;

use crate::clock::Clock;
use crate::identity::token_source::TokenSource;
use crate::store::StoreError;

/// Time limit for an answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The API server as one ServiceAccount.
#[derive(Clone)]
pub struct ApiClient {
    api: ApiServer,
    clock: Clock,
    /// Where the token of each request comes from; `None`: the client has a file that the kubelet renews.
    tokens: Option<TokenSource>,
}

/// Where a ServiceAccount's token is.
pub enum Account<'a> {
    /// In a file, which is read again as the kubelet renews it.
    File(&'a Path),
    /// In memory.
    Source(TokenSource),
}

impl ApiClient {
    /// A client for `server`, whose certificate is signed by one of `roots` (DER). `clock` is set to the API server's time.
    ///
    /// # Errors
    /// Where `server` is no URL, the token file cannot be read, or a root is no certificate.
    pub fn connect(
        server: &str,
        roots: Vec<Vec<u8>>,
        account: Account<'_>,
        clock: Clock,
    ) -> Result<Self, ClientError> {
        let (credentials, tokens) = match account {
            Account::File(path) => (Credentials::TokenFile(path), None),
            Account::Source(tokens) => (Credentials::PerRequest, Some(tokens)),
        };
        let bounds = Bounds { timeout: TIMEOUT, answer: MAX_OBJECT };
        Ok(Self { api: ApiServer::connect(server, roots, credentials, bounds)?, clock, tokens })
    }

    /// The source of its tokens, where they do not come from a file.
    pub fn token_source(&self) -> Option<&TokenSource> {
        self.tokens.as_ref()
    }

    /// The clock that its answers set.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Sends one request and returns the object in its answer. `verb` names the right that it needs.
    ///
    /// # Errors
    /// For every answer that is not a success with the expected object.
    pub async fn call<T: DeserializeOwned>(
        &self,
        mut request: Request<Vec<u8>>,
        verb: &'static str,
    ) -> Result<T, StoreError> {
        let number = self.authorize(&mut request).await?;
        let asked = self.clock.read().boot;
        let answered = self.api.send(request).await.map_err(|unanswered| {
            StoreError::Unavailable(match unanswered {
                Unanswered::Timeout => "timeout",
                Unanswered::Connection => "connection",
                Unanswered::Body => "body",
            })
        })?;
        if let Some(date) = answered.date {
            self.clock.observe(date, asked);
        }
        if !answered.status.is_success() {
            return Err(self.refused(answered.status, number, verb));
        }
        serde_json::from_slice(&answered.body)
            .map_err(|_| StoreError::Malformed("not the object that was asked for".to_owned()))
    }

    /// Opens a watch and returns its events until it ends; `None` is an event that cannot be read.
    ///
    /// # Errors
    /// Where it could not be opened.
    pub async fn watch<T: Clone + DeserializeOwned>(
        &self,
        mut request: Request<Vec<u8>>,
    ) -> Result<impl Stream<Item = Option<WatchEvent<T>>> + use<T>, StoreError> {
        let number = self.authorize(&mut request).await?;
        self.api.watch(request).await.map_err(|error| match error {
            WatchError::Status(status) => self.refused(status, number, "watch"),
            WatchError::Unanswered(_) => StoreError::Unavailable("watch"),
        })
    }

    fn refused(&self, status: StatusCode, number: u64, verb: &'static str) -> StoreError {
        match status {
            StatusCode::CONFLICT => StoreError::Conflict,
            StatusCode::NOT_FOUND => StoreError::NotFound,
            StatusCode::FORBIDDEN => StoreError::Forbidden { verb },
            // A token of the identity server is replaced; one of the kubelet's is a matter of rights, for a person.
            StatusCode::UNAUTHORIZED => match &self.tokens {
                Some(tokens) => StoreError::NoIdentity(tokens.reject(number)),
                None => StoreError::Forbidden { verb },
            },
            StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE | StatusCode::UNPROCESSABLE_ENTITY => {
                StoreError::Unacceptable
            }
            _ => StoreError::Unavailable("status"),
        }
    }

    /// Adds the token to a request, where the client has none of its own. Returns the number of the token.
    async fn authorize(&self, request: &mut Request<Vec<u8>>) -> Result<u64, StoreError> {
        let Some(tokens) = &self.tokens else { return Ok(0) };
        let bearer = tokio::time::timeout(TIMEOUT, tokens.bearer(|| self.clock.now())).await;
        let bearer = bearer.unwrap_or_else(|_| Err(tokens.late())).map_err(StoreError::NoIdentity)?;
        request.headers_mut().insert(AUTHORIZATION, bearer.header);
        Ok(bearer.number)
    }
}
