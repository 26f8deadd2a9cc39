//! The local API. On loopback a caller has to send the caller key and to name a loopback host, which a web page that rebinds its DNS
//! name cannot. On the Unix socket access to the volume is the proof.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use agent_creds_core::names::LocalName;
use bytes::Bytes;
use futures_util::future::Either;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HOST, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::Full;
use prometheus_client::metrics::counter::Counter;
use serde::Serialize;
use serde_json::{Value, json};
use tower_service::Service;

use super::caller_key::CallerKey;
use super::rejected::rejected;
use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::token_cache::{Served, TokenCache};
use agent_creds_refresh::status::Status;

type Response = http::Response<Full<Bytes>>;
type Answered = Result<Response, Infallible>;

/// What the API serves.
#[derive(Clone)]
pub struct Api {
    grants: Arc<[Grant]>,
    clock: Clock,
}

/// A grant, and the counters of its requests.
struct Grant {
    cache: Arc<TokenCache>,
    served: Counter,
    unavailable: Counter,
    suppressed: Counter,
}

impl Api {
    /// Serves from `caches`.
    pub fn new(caches: &[Arc<TokenCache>], clock: Clock, metrics: &Metrics) -> Self {
        let grant = |cache: &Arc<TokenCache>| Grant {
            served: metrics.token_requests(&cache.secret, "served"),
            unavailable: metrics.token_requests(&cache.secret, "unavailable"),
            suppressed: metrics.forced_refresh_suppressed(&cache.secret),
            cache: cache.clone(),
        };
        Self { grants: caches.iter().map(grant).collect(), clock }
    }

    /// The API on the Unix socket.
    pub fn on_socket(&self) -> Endpoint {
        Endpoint { api: self.clone(), key: None }
    }

    /// The API on the loopback port.
    pub fn on_loopback(&self, key: CallerKey) -> Endpoint {
        Endpoint { api: self.clone(), key: Some(Arc::new(key)) }
    }
}

/// The API on one listener. It has no router, which would take longer than the answer: there are two paths, and an answer waits only
/// where a rejected token is reported.
#[derive(Clone)]
pub struct Endpoint {
    api: Api,
    /// The caller key that a request has to carry; `None` where access to the listener is the proof.
    key: Option<Arc<CallerKey>>,
}

impl<B> Service<Request<B>> for Endpoint {
    type Response = Response;
    type Error = Infallible;
    type Future = Either<Ready<Answered>, Pin<Box<dyn Future<Output = Answered> + Send>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        match self.answer(request.method(), request.uri(), request.headers()) {
            Ok(response) => Either::Left(ready(Ok(response))),
            Err(rejection) => Either::Right(Box::pin(self.api.clone().replaced(rejection))),
        }
    }
}

impl Endpoint {
    /// Returns the answer, or the report of a rejected token whose answer has to wait.
    fn answer(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<Response, Rejection> {
        if let Some(refused) = self.key.as_deref().and_then(|key| guard(key, uri, headers)) {
            return Ok(refused);
        }
        Ok(match Asked::parse(uri.path()) {
            None => refusal(StatusCode::NOT_FOUND, "not_found", "no such path; see GET /v1/grants"),
            Some(_) if !matches!(*method, Method::GET | Method::HEAD) => only_get(),
            Some(Asked::Grants) => self.api.grants(),
            Some(Asked::Token(name)) => match (self.api.grant(name), rejected(uri.query())) {
                (None, _) => self.api.unknown(name),
                (Some(_), Err(sentence)) => refusal(StatusCode::BAD_REQUEST, "invalid_request", sentence),
                (Some(grant), Ok(None)) => self.api.token(grant),
                (Some(_), Ok(Some(access_fp))) => {
                    return Err(Rejection { grant: name.to_owned(), access_fp });
                }
            },
        })
    }
}

/// The report that a provider's API rejected an access token.
struct Rejection {
    grant: String,
    access_fp: String,
}

/// What a path asks for.
#[derive(Debug, PartialEq)]
enum Asked<'a> {
    Grants,
    /// A token of the grant with this name. No name needs percent-encoding, so none is decoded.
    Token(&'a str),
}

impl<'a> Asked<'a> {
    fn parse(path: &'a str) -> Option<Self> {
        match path.strip_prefix("/v1/")? {
            "grants" => Some(Self::Grants),
            rest => {
                let grant = rest.strip_prefix("token/")?;
                (!grant.is_empty() && !grant.contains('/')).then_some(Self::Token(grant))
            }
        }
    }
}

/// Returns the refusal of a request that is not allowed. The host is checked first: a web page must not learn whether a key is right.
fn guard(key: &CallerKey, uri: &Uri, headers: &HeaderMap) -> Option<Response> {
    let mut hosts = headers.get_all(HOST).iter();
    let named = match (hosts.next(), hosts.next()) {
        (Some(host), None) => host.to_str().is_ok_and(is_loopback),
        _ => false,
    };
    let absolute = uri.authority().is_none_or(|authority| is_loopback(authority.as_str()));
    if !named || !absolute {
        let text = "the Host header must be one loopback name: localhost, 127.0.0.1 or [::1]";
        return Some(refusal(StatusCode::MISDIRECTED_REQUEST, "bad_host", text));
    }
    if !key.admits(headers) {
        let text = "send the caller key once, as Authorization: Bearer <content of $AGENT_CREDS_KEY_FILE>";
        return Some(refusal(StatusCode::UNAUTHORIZED, "invalid_client", text));
    }
    None
}

fn is_loopback(host: &str) -> bool {
    let (name, port) = match host.strip_prefix("[::1]") {
        Some(rest) => ("[::1]", rest),
        None => host.split_once(':').map_or((host, ""), |(name, _)| (name, &host[name.len()..])),
    };
    let port = port.is_empty() || port.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok());
    port && (name.eq_ignore_ascii_case("localhost") || name == "127.0.0.1" || name == "[::1]")
}

impl Api {
    fn grants(&self) -> Response {
        let now = self.clock.now();
        let grants: Vec<Value> = self
            .grants
            .iter()
            .map(|grant| {
                let Status { state, reason, message, expires_at, scopes, reauth_at } =
                    grant.cache.status(now);
                json!({
                    "name": grant.cache.name.as_str(),
                    "provider": grant.cache.provider(),
                    "state": state,
                    "reason": reason.word,
                    "message": message,
                    "expires_at": expires_at.map(jiff::Timestamp::as_second),
                    "scopes": scopes,
                    "expose": ["token"],
                    "reauth_at": reauth_at.map(jiff::Timestamp::as_second),
                })
            })
            .collect();
        answer(StatusCode::OK, &json!({ "grants": grants }))
    }

    fn grant(&self, name: &str) -> Option<&Grant> {
        self.grants.iter().find(|grant| grant.cache.name.as_str() == name)
    }

    /// Answers after a rejected token has been replaced, where it is the one that is served.
    async fn replaced(self, Rejection { grant: name, access_fp }: Rejection) -> Answered {
        let Some(grant) = self.grant(&name) else { return Ok(self.unknown(&name)) };
        let is_served = || grant.cache.serves(&access_fp, self.clock.now());
        if is_served() {
            grant.cache.rejected_tokens.report(&access_fp).await;
            if is_served() {
                grant.suppressed.inc();
            }
        }
        Ok(self.token(grant))
    }

    fn token(&self, grant: &Grant) -> Response {
        let now = self.clock.now();
        let served = grant.cache.token(now, |Served { token, expires_at, scopes }| {
            let token = TokenAnswer {
                access_token: token.expose(),
                expires_at: expires_at.as_second(),
                expires_in: expires_at.as_second() - now.as_second(),
                scope: scopes.join(" "),
                token_type: "Bearer",
            };
            answer(StatusCode::OK, &token)
        });
        match served {
            Some(response) => {
                grant.served.inc();
                response
            }
            None => {
                grant.unavailable.inc();
                unavailable(grant, now)
            }
        }
    }

    /// The answer for an unknown grant. The path is shown only where it is a valid name.
    fn unknown(&self, grant: &str) -> Response {
        let known: Vec<_> = self.grants.iter().map(|grant| grant.cache.name.as_str()).collect();
        let text = match LocalName::parse(grant) {
            Ok(name) => format!("this pod has no grant {name}; it has {}", known.join(", ")),
            Err(_) => format!("this pod has no such grant; it has {}", known.join(", ")),
        };
        refusal(StatusCode::NOT_FOUND, "unknown_grant", &text)
    }
}

/// RFC 6749 §5.1, and the end of the token in Unix seconds.
#[derive(Serialize)]
struct TokenAnswer<'a> {
    access_token: &'a str,
    expires_at: i64,
    expires_in: i64,
    scope: String,
    token_type: &'static str,
}

fn only_get() -> Response {
    let mut response =
        refusal(StatusCode::METHOD_NOT_ALLOWED, "invalid_request", "this path answers GET alone");
    response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    response
}

fn unavailable(grant: &Grant, now: jiff::Timestamp) -> Response {
    let status = grant.cache.status(now);
    let body = json!({
        "error": "temporarily_unavailable",
        "error_description": status.message,
        "grant": grant.cache.name.as_str(),
        "state": status.state,
    });
    let mut response = answer(StatusCode::SERVICE_UNAVAILABLE, &body);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("5"));
    response
}

/// RFC 6749 §5.2.
fn refusal(status: StatusCode, error: &str, description: &str) -> Response {
    answer(status, &json!({ "error": error, "error_description": description }))
}

fn answer(status: StatusCode, body: &impl Serialize) -> Response {
    let body = serde_json::to_vec(body)
        .unwrap_or_else(|_| unreachable!("text keys and plain values always serialise"));
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_paths_are_answered() {
        assert_eq!(Asked::parse("/v1/grants"), Some(Asked::Grants));
        assert_eq!(Asked::parse("/v1/token/one"), Some(Asked::Token("one")));
        assert_eq!(Asked::parse("/v1/token/%6fne"), Some(Asked::Token("%6fne")));
        let others =
            ["", "*", "/", "/v1/", "/v1/grants/", "//v1/grants", "/v1/token", "/v1/token/", "/v1/token/one/"];
        for path in others {
            assert_eq!(Asked::parse(path), None, "{path}");
        }
    }

    #[test]
    fn only_loopback_names_are_hosts() {
        for good in ["localhost", "LOCALHOST:9911", "127.0.0.1", "127.0.0.1:9911", "[::1]", "[::1]:80"] {
            assert!(is_loopback(good), "{good}");
        }
        for bad in [
            "",
            "evil.example.com",
            "localhost.evil.example.com",
            "127.0.0.1.evil.com",
            "127.0.0.2",
            "[::1",
            "[::1]x",
            "localhost:",
            "localhost:x",
            "localhost:99999",
            "localhost:1:2",
            "user@localhost",
            "0.0.0.0",
            "::1",
        ] {
            assert!(!is_loopback(bad), "{bad}");
        }
    }
}
