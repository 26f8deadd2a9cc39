//! The API server: one request, one answer, bounded in time and size, with the token of one ServiceAccount.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use http::header::{AUTHORIZATION, DATE};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Limited};
use jiff::Timestamp;
use kube::api::WatchEvent;
use kube::config::AuthInfo;
use kube::{Client, Config};
use serde::de::DeserializeOwned;

use crate::clock::Clock;
use crate::identity::wallet::Wallet;
use crate::store::StoreError;

/// Largest answer, in bytes: the API server's limit for a Secret, base64-encoded, and its metadata.
const MAX_ANSWER: usize = 4 * 1024 * 1024;
/// Longest wait for an answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Longest wait for a connection. With the pause after a watch it is about the settle time of the protocol: who remembers
/// more hears of a state that was rolled back before anybody else claims on it.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Longest silence on a connection that something is expected on. A watch is not silent for longer: the API server sends
/// a bookmark every minute. Its peer is gone, though nothing said so: a control plane without power, a forgotten NAT entry.
const SILENCE: Duration = Duration::from_secs(75);

/// The way to it as one ServiceAccount.
#[derive(Clone)]
pub struct ApiServer {
    client: Client,
    clock: Clock,
    /// Where the token of each request comes from; `None`: the client has a file that the kubelet renews.
    wallet: Option<Wallet>,
}

/// Why the client could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// `--api-server` is no URL.
    #[error("--api-server: not a URL")]
    Url(#[source] http::uri::InvalidUri),
    /// The ServiceAccount token, or TLS.
    #[error("preparing the client of the API server")]
    Client(#[source] kube::Error),
}

/// Where a ServiceAccount's token is.
pub enum Account<'a> {
    /// In a file, which is read again as the kubelet renews it.
    File(&'a Path),
    /// In memory.
    Wallet(Wallet),
}

impl ApiServer {
    /// A client for `server`, whose certificates `roots` sign (DER). Each answer tells `clock` the API server's time.
    pub fn connect(
        server: &str,
        roots: Vec<Vec<u8>>,
        account: Account<'_>,
        clock: Clock,
    ) -> Result<Self, ClientError> {
        let mut config = Config::new(server.parse().map_err(ClientError::Url)?);
        config.root_cert = Some(roots);
        config.connect_timeout = Some(CONNECT_TIMEOUT);
        config.read_timeout = Some(SILENCE);
        // A repeated PUT conflicts with itself; and what is repeated here is decided by the protocol alone.
        config.default_retry = false;
        let wallet = match account {
            Account::File(path) => {
                let token_file = Some(path.display().to_string());
                config.auth_info = AuthInfo { token_file, ..AuthInfo::default() };
                None
            }
            Account::Wallet(wallet) => Some(wallet),
        };
        Ok(Self { client: Client::try_from(config).map_err(ClientError::Client)?, clock, wallet })
    }

    /// The wallet that its tokens come from, if they do.
    pub fn wallet(&self) -> Option<&Wallet> {
        self.wallet.as_ref()
    }

    /// The time, which its answers tell.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// One request and its answer. Not through kube's `Api`: its errors and logs carry bodies, and it hides the `Date`.
    pub async fn call<T: DeserializeOwned>(
        &self,
        mut request: Request<Vec<u8>>,
        verb: &'static str,
    ) -> Result<T, StoreError> {
        let number = self.sign(&mut request).await?;
        let body = tokio::time::timeout(TIMEOUT, self.exchange(request, number, verb))
            .await
            .unwrap_or(Err(StoreError::Unavailable("timeout")))?;
        serde_json::from_slice(&body).map_err(|_| StoreError::Malformed("not what was asked for".to_owned()))
    }

    /// What a watch tells, until it ends; `None` where it could not be opened.
    pub async fn watch<T: Clone + DeserializeOwned>(
        &self,
        mut request: Request<Vec<u8>>,
    ) -> Option<impl Stream<Item = Option<WatchEvent<T>>> + use<T>> {
        let number = self.sign(&mut request).await.ok()?;
        match tokio::time::timeout(TIMEOUT, self.client.request_events(request)).await.ok()? {
            Ok(events) => Some(events.map(Result::ok)),
            Err(kube::Error::Api(status)) if status.code == StatusCode::UNAUTHORIZED => {
                self.unauthorized(number, "watch");
                None
            }
            Err(_) => None,
        }
    }

    async fn exchange(
        &self,
        request: Request<Vec<u8>>,
        number: u64,
        verb: &'static str,
    ) -> Result<Bytes, StoreError> {
        let asked = self.clock.read().boot;
        let lost = |_| StoreError::Unavailable("connection");
        let response = self.client.send(request.map(Into::into)).await.map_err(lost)?;
        let date = response.headers().get(DATE).and_then(|date| date.to_str().ok());
        let date = date.and_then(|date| httpdate::parse_http_date(date).ok());
        if let Some(date) = date.and_then(|date| Timestamp::try_from(date).ok()) {
            self.clock.observe(date, asked);
        }
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
        let body: Bytes = body.map_err(|_| StoreError::Unavailable("body"))?.to_bytes();
        match status {
            status if status.is_success() => Ok(body),
            StatusCode::CONFLICT => Err(StoreError::Conflict),
            StatusCode::NOT_FOUND => Err(StoreError::NotFound),
            StatusCode::UNAUTHORIZED => Err(self.unauthorized(number, verb)),
            StatusCode::FORBIDDEN => Err(StoreError::Forbidden { verb }),
            StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE | StatusCode::UNPROCESSABLE_ENTITY => {
                Err(StoreError::Unacceptable)
            }
            _ => Err(StoreError::Unavailable("status")),
        }
    }

    /// Puts the token on a request, where the client has none of its own. Returns its number.
    async fn sign(&self, request: &mut Request<Vec<u8>>) -> Result<u64, StoreError> {
        let Some(wallet) = &self.wallet else { return Ok(0) };
        let bearer = tokio::time::timeout(TIMEOUT, wallet.bearer(|| self.clock.now())).await;
        let bearer = bearer.unwrap_or_else(|_| Err(wallet.late())).map_err(StoreError::NoIdentity)?;
        request.headers_mut().insert(AUTHORIZATION, bearer.header);
        Ok(bearer.number)
    }

    /// A token that was got in exchange is replaced; one of the kubelet's is a matter of rights, for a person.
    fn unauthorized(&self, number: u64, verb: &'static str) -> StoreError {
        match &self.wallet {
            Some(wallet) => StoreError::NoIdentity(wallet.reject(number)),
            None => StoreError::Forbidden { verb },
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
    async fn a_watch_whose_peer_is_gone_without_a_word_ends() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = format!("http://{}", listener.local_addr().unwrap());
        let wallet = Account::File(Path::new("/dev/null"));
        let api = ApiServer::connect(&server, Vec::new(), wallet, Clock::system()).unwrap();
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
        // It is there, and silent, as one whose machine has lost its power.
        tokio::time::pause();
        let end = tokio::time::timeout(SILENCE * 2, events.next()).await.expect("not for ever");
        assert!(!matches!(end, Some(Some(_))));
        drop(peer);
    }
}
