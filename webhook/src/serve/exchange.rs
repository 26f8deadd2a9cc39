//! `POST /identity`: HTTP around the steps of [`crate::token_exchange`], and the requests to the API server between
//! them. Every pod of the cluster reaches this port, so size, time and requests to the API server are limited. All
//! refusals look the same to a caller, except for a right that a verified pod lacks.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use agent_creds_core::exchange_api::{MAX_REQUEST, PATH};
use agent_creds_core::words::Word as _;
use axum::Router;
use axum::body::Body;
use axum::extract::{Extension, State};
use axum::http::header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing;
use http::request::Builder;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::body::collect;
use super::seal_keys::SealKeys;
use crate::metrics::Metrics;
use crate::policy::Policy;
use crate::token_exchange::caller::{self, Caller};
use crate::token_exchange::outcome::{Outcome, Reason};
use crate::token_exchange::rate_limiter::{self, Rate, RateLimiter};
use crate::token_exchange::sealed::sealed;
use crate::token_exchange::token_request::{self, Minted};
use crate::token_exchange::{Answer, Stopped, claims, pod};
use agent_creds_core::names::ObjectName;
use agent_creds_runtime::api_server::{Answered, ApiServer, Unanswered};
use agent_creds_runtime::server::Peer;

const REVIEWS: &str = "/apis/authentication.k8s.io/v1/tokenreviews";
const ACCESS_REVIEWS: &str = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
const JSON: &str = "application/json";
/// Most addresses, and most pods, that are limited at the same time; each takes about 100 bytes.
const KEYS: usize = 16 * 1024;
/// `Retry-After` after a failure of the API server.
const AGAIN: Duration = Duration::from_secs(5);

/// Limits of the exchange.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Time limit for receiving a body.
    pub body: Duration,
    /// Time limit for waiting until fewer than `at_once` exchanges use the API server.
    pub turn: Duration,
    /// Time limit for all requests to the API server that one exchange needs.
    pub exchange: Duration,
    /// Exchanges that use the API server at the same time.
    pub at_once: usize,
    /// Rate of refused tokens from one address. Valid tokens do not count.
    pub source: Rate,
    /// Rate of one pod, once the API server has verified its token.
    pub pod: Rate,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            body: Duration::from_secs(10),
            turn: Duration::from_secs(2),
            exchange: Duration::from_secs(10),
            at_once: 16,
            source: Rate { burst: 30, every: Duration::from_secs(1) },
            pod: Rate { burst: 20, every: Duration::from_secs(5) },
        }
    }
}

/// Settings of the platform.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The policy.
    pub policy: Policy,
    /// The issuer of the cluster's ServiceAccount tokens, if it is known.
    pub issuer: Option<String>,
    /// Lifetime of the issued tokens, in seconds.
    pub token_seconds: u32,
}

/// State of the endpoint.
pub struct Context {
    api: ApiServer,
    keys: Arc<SealKeys>,
    settings: Settings,
    bounds: Bounds,
    metrics: Metrics,
    started: Instant,
    turns: Semaphore,
    sources: Mutex<RateLimiter<std::net::IpAddr>>,
    pods: Mutex<RateLimiter<String>>,
}

#[derive(Deserialize)]
struct Request {
    token: String,
}

/// The verified parts of a request, for its log line.
#[derive(Default)]
struct Known {
    caller: Option<Caller>,
    credential: Option<ObjectName>,
}

/// How a request ended without a token.
struct Ended {
    stopped: Stopped,
    /// Time after which the request can be tried again.
    wait: Duration,
    /// Whether this refusal was logged before.
    known: bool,
}

impl<T: Into<Stopped>> From<T> for Ended {
    fn from(stopped: T) -> Self {
        Self { stopped: stopped.into(), wait: AGAIN, known: false }
    }
}

impl Context {
    /// Creates a state without known addresses and pods.
    pub fn new(
        api: ApiServer,
        keys: Arc<SealKeys>,
        settings: Settings,
        bounds: Bounds,
        metrics: Metrics,
    ) -> Self {
        Self {
            api,
            keys,
            settings,
            bounds,
            metrics,
            started: Instant::now(),
            turns: Semaphore::new(bounds.at_once),
            sources: Mutex::new(RateLimiter::new(bounds.source, KEYS)),
            pods: Mutex::new(RateLimiter::new(bounds.pod, KEYS)),
        }
    }

    fn take<K: Clone + Eq + std::hash::Hash>(
        &self,
        limiter: &Mutex<RateLimiter<K>>,
        key: &K,
        reason: Reason,
    ) -> Result<(), Ended> {
        let taken = locked(limiter).take(key, self.started.elapsed());
        taken.map_err(|rate_limiter::RateLimited { wait, first }| Ended {
            stopped: reason.into(),
            wait,
            known: !first,
        })
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the routes of the identity server.
pub fn router(context: Arc<Context>) -> Router {
    Router::new().route(PATH, routing::post(identity)).with_state(context)
}

async fn identity(
    State(context): State<Arc<Context>>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let mut known = Known::default();
    let (reason, response) = match answer(&context, peer, &headers, body, &mut known).await {
        Ok(minted) => {
            said(peer, Reason::Issued, None, &known);
            (Reason::Issued, issued(&minted))
        }
        Err((status, Ended { stopped: Stopped { reason, detail }, wait, known: told })) => {
            if !told {
                said(peer, reason, detail.as_deref(), &known);
            }
            (reason, refused(reason, status, wait))
        }
    };
    context.metrics.identified(reason);
    response
}

/// Logs one line. Of the token it contains only verified parts.
fn said(Peer(source): Peer, reason: Reason, detail: Option<&str>, known: &Known) {
    let caller = known.caller.as_ref();
    let account = caller.map(|caller| caller.account.to_string());
    let (pod, uid) = (caller.map(|caller| &caller.pod), caller.map(|caller| &caller.pod_uid));
    let credential = known.credential.as_ref().map(ToString::to_string);
    let (outcome, why) = (reason.outcome().as_str(), reason.as_str());
    if reason.outcome() == Outcome::Unavailable {
        tracing::warn!(%source, outcome, reason = why, detail, account, pod, uid, credential, "identity");
    } else {
        tracing::info!(%source, outcome, reason = why, detail, account, pod, uid, credential, "identity");
    }
}

async fn answer(
    context: &Context,
    peer: Peer,
    headers: &HeaderMap,
    body: Body,
    known: &mut Known,
) -> Result<Minted, (Option<StatusCode>, Ended)> {
    let received = received(headers, body, context.bounds.body).await;
    let plausible = received.and_then(|token| {
        let now = Timestamp::now().as_second();
        match claims::check(&token, context.settings.issuer.as_deref(), now) {
            Ok(()) => Ok(token),
            Err(reason) => Err((None, reason)),
        }
    });
    // Every request counts, because each causes at least a log line.
    context.take(&context.sources, &peer.0, Reason::SourceLimited).map_err(|ended| (None, ended))?;
    let token = plausible.map_err(|(status, reason)| (status, reason.into()))?;
    let turn = timeout(context.bounds.turn, context.turns.acquire()).await;
    let Ok(Ok(_turn)) = turn else { return Err((None, Reason::Busy.into())) };
    let exchange = timeout(context.bounds.exchange, exchange(context, peer, &token, known));
    match exchange.await {
        Ok(result) => result.map_err(|ended| (None, ended)),
        Err(_) => Err((None, Reason::ApiTimeout.into())),
    }
}

/// Returns the token of the request. A refusal has the HTTP status to answer with, or none for the status of its reason.
async fn received(
    headers: &HeaderMap,
    body: Body,
    limit: Duration,
) -> Result<String, (Option<StatusCode>, Reason)> {
    let refused = |status| Err((Some(status), Reason::BodyRefused));
    let media_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !media_type.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(JSON) {
        return refused(StatusCode::UNSUPPORTED_MEDIA_TYPE);
    }
    let bytes = match timeout(limit, collect(body, MAX_REQUEST)).await {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return refused(StatusCode::PAYLOAD_TOO_LARGE),
        Err(_) => return refused(StatusCode::REQUEST_TIMEOUT),
    };
    let request = serde_json::from_slice::<Request>(&bytes);
    request.map(|request| request.token).map_err(|_| (Some(StatusCode::BAD_REQUEST), Reason::RequestInvalid))
}

async fn exchange(context: &Context, peer: Peer, token: &str, known: &mut Known) -> Result<Minted, Ended> {
    let Context { api, keys, settings, .. } = context;
    let review = post(api, REVIEWS, &caller::review(token)).await?;
    let caller = known.caller.insert(caller::reviewed(&read(&review))?);
    // After the TokenReview, because an unverified token must not count against the pod that it names.
    context.take(&context.pods, &caller.pod_uid, Reason::PodLimited)?;
    // The request of a verified pod does not count against its address, which other pods may share.
    locked(&context.sources).give_back(&peer.0);

    let found = get(api, &pod::path(caller)).await?;
    let now = Timestamp::now().as_second();
    let credential = pod::found(&read(&found), caller, now, |pod, namespace| {
        sealed(pod, namespace, &settings.policy, keys.current().as_deref(), now)
    })?;
    let credential = known.credential.insert(credential);

    let access = post(api, ACCESS_REVIEWS, &token_request::question(caller, credential)).await?;
    token_request::allowed(&read(&access))?;

    let request = token_request::request(settings.token_seconds);
    let minted = post(api, &token_request::path(credential), &request).await?;
    Ok(token_request::minted(&read(&minted))?)
}

async fn get(api: &ApiServer, path: &str) -> Result<Answered, Reason> {
    send(api, http::Request::get(path), Vec::new()).await
}

async fn post(api: &ApiServer, path: &str, object: &impl Serialize) -> Result<Answered, Reason> {
    let body = serde_json::to_vec(object).unwrap_or_else(|_| unreachable!("text keys and plain values"));
    send(api, http::Request::post(path), body).await
}

async fn send(api: &ApiServer, request: Builder, body: Vec<u8>) -> Result<Answered, Reason> {
    let request = request.header(CONTENT_TYPE, JSON).body(body).map_err(|_| Reason::ApiUnreachable)?;
    api.send(request).await.map_err(|unanswered| match unanswered {
        Unanswered::Timeout => Reason::ApiTimeout,
        Unanswered::Connection => Reason::ApiUnreachable,
        Unanswered::Body => Reason::ApiAnswer,
    })
}

fn read(answered: &Answered) -> Answer<'_> {
    Answer { status: answered.status.as_u16(), body: &answered.body }
}

fn issued(Minted { token, ends }: &Minted) -> Response {
    let body = json!({"token": token, "expirationTimestamp": ends});
    ([(CONTENT_TYPE, JSON), (CACHE_CONTROL, "no-store")], body.to_string()).into_response()
}

fn refused(reason: Reason, status: Option<StatusCode>, wait: Duration) -> Response {
    let (status, body) = match (reason.outcome(), reason.missing()) {
        (Outcome::Invalid | Outcome::Issued, _) => {
            (status.unwrap_or(StatusCode::BAD_REQUEST), json!({"error": "invalid_request"}))
        }
        (Outcome::Refused, None) => (StatusCode::FORBIDDEN, json!({"error": "access_denied"})),
        (Outcome::Refused, Some(missing)) => {
            (StatusCode::FORBIDDEN, json!({"error": "access_denied", "reason": missing.as_str()}))
        }
        (Outcome::Limited, _) => (StatusCode::TOO_MANY_REQUESTS, json!({"error": "temporarily_unavailable"})),
        (Outcome::Unavailable, _) => {
            (StatusCode::SERVICE_UNAVAILABLE, json!({"error": "temporarily_unavailable"}))
        }
    };
    let headers = [(CONTENT_TYPE, JSON), (CACHE_CONTROL, "no-store")];
    let mut response = (status, headers, body.to_string()).into_response();
    match reason.outcome() {
        Outcome::Limited | Outcome::Unavailable => {
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            response.headers_mut().insert(RETRY_AFTER, seconds.max(1).into());
        }
        Outcome::Invalid => {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        Outcome::Issued | Outcome::Refused => {}
    }
    response
}
