//! `POST /identity`: HTTP around the steps of `identity`, and the questions to the API server between them. Anything in
//! the cluster reaches this port, so a body, a moment and a place at the API server are given out sparingly, and what
//! is refused reads the same outside, whatever the reason.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use agent_creds_core::identity::{MAX_REQUEST, PATH};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Extension, State};
use axum::http::header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use http_body_util::{BodyExt as _, Limited};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::seal_keys::SealKeys;
use super::tls::Peer;
use crate::cluster::{Answered, Cluster, Unanswered};
use crate::identity::caller::{self, Caller};
use crate::identity::grant::{self, Minted};
use crate::identity::limiter::{self, Limiter, Rate};
use crate::identity::outcome::{Outcome, Reason};
use crate::identity::sealed::sealed;
use crate::identity::{Answer, Stopped, claims, pod};
use crate::metrics::Metrics;
use crate::pod::fragment::Account;
use crate::policy::Policy;

const REVIEWS: &str = "/apis/authentication.k8s.io/v1/tokenreviews";
const ACCESS_REVIEWS: &str = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
const JSON: &str = "application/json";
/// Of this machine's keys: an address or a pod costs about 100 bytes.
const KEYS: usize = 16 * 1024;
/// When to come again, where the API server is the reason.
const AGAIN: Duration = Duration::from_secs(5);

/// How much may be asked.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// How long a body may take to arrive.
    pub body: Duration,
    /// How long a request may wait for its turn at the API server.
    pub turn: Duration,
    /// How long all questions about a request may take together.
    pub exchange: Duration,
    /// Requests about which the API server is asked at a time.
    pub at_once: usize,
    /// Of one address: tokens that come to nothing. A token of a pod does not count.
    pub source: Rate,
    /// Of one pod, of which the API server says that it is the one.
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

/// What the platform decided.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What an agent's pod may have.
    pub policy: Policy,
    /// The issuer of the cluster's ServiceAccount tokens, where it is known.
    pub issuer: Option<String>,
    /// Life of the tokens that are handed out, in seconds.
    pub token_seconds: u32,
}

/// What a request needs.
pub struct Context {
    cluster: Cluster,
    keys: Arc<SealKeys>,
    settings: Settings,
    bounds: Bounds,
    metrics: Arc<Metrics>,
    started: Instant,
    turns: Semaphore,
    sources: Mutex<Limiter<std::net::IpAddr>>,
    pods: Mutex<Limiter<String>>,
}

#[derive(Deserialize)]
struct Request {
    token: String,
}

/// What is known of a request, for its line in the log.
#[derive(Default)]
struct Known {
    caller: Option<Caller>,
    credential: Option<Account>,
}

/// How a request ended without a token.
struct Ended {
    stopped: Stopped,
    /// When it may be tried again.
    wait: Duration,
    /// Whether the log has heard of this already.
    known: bool,
}

impl<T: Into<Stopped>> From<T> for Ended {
    fn from(stopped: T) -> Self {
        Self { stopped: stopped.into(), wait: AGAIN, known: false }
    }
}

impl Context {
    /// With nobody known yet.
    pub fn new(
        cluster: Cluster,
        keys: Arc<SealKeys>,
        settings: Settings,
        bounds: Bounds,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            cluster,
            keys,
            settings,
            bounds,
            metrics,
            started: Instant::now(),
            turns: Semaphore::new(bounds.at_once),
            sources: Mutex::new(Limiter::new(bounds.source, KEYS)),
            pods: Mutex::new(Limiter::new(bounds.pod, KEYS)),
        }
    }

    fn take<K: Clone + Eq + std::hash::Hash>(
        &self,
        limiter: &Mutex<Limiter<K>>,
        key: &K,
        reason: Reason,
    ) -> Result<(), Ended> {
        let taken = locked(limiter).take(key, self.started.elapsed());
        taken.map_err(|limiter::Limited { wait, first }| Ended {
            stopped: reason.into(),
            wait,
            known: !first,
        })
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The endpoint.
pub fn router(context: Arc<Context>) -> Router {
    Router::new().route(PATH, post(identity)).with_state(context)
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

/// One line in the log. Of a token nothing is in it but what the API server made of it.
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
        let now = unix(SystemTime::now());
        match claims::check(&token, context.settings.issuer.as_deref(), now) {
            Ok(()) => Ok(token),
            Err(reason) => Err((None, reason)),
        }
    });
    // Whatever came: each of these costs a line in the log at least.
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

/// The token that was shown. The status is for who does not even speak the protocol.
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
    let bytes: Bytes = match timeout(limit, Limited::new(body, MAX_REQUEST).collect()).await {
        Ok(Ok(collected)) => collected.to_bytes(),
        Ok(Err(_)) => return refused(StatusCode::PAYLOAD_TOO_LARGE),
        Err(_) => return refused(StatusCode::REQUEST_TIMEOUT),
    };
    let request = serde_json::from_slice::<Request>(&bytes);
    request.map(|request| request.token).map_err(|_| (Some(StatusCode::BAD_REQUEST), Reason::RequestInvalid))
}

async fn exchange(context: &Context, peer: Peer, token: &str, known: &mut Known) -> Result<Minted, Ended> {
    let Context { cluster, keys, settings, .. } = context;
    let review = asked(cluster.post(REVIEWS, &caller::review(token)).await)?;
    let caller = known.caller.insert(caller::reviewed(&read(&review))?);
    // Only now: what an unverified token says must not count against the pod that it names.
    context.take(&context.pods, &caller.pod_uid, Reason::PodLimited)?;
    // Nor must a pod pay for what others do behind the same address.
    locked(&context.sources).give_back(&peer.0);

    let found = asked(cluster.get(&pod::path(caller)).await)?;
    let credential = pod::found(&read(&found), caller, unix(SystemTime::now()), |pod, namespace| {
        sealed(pod, namespace, &settings.policy, keys.current().as_deref())
    })?;
    let credential = known.credential.insert(credential);

    let access = asked(cluster.post(ACCESS_REVIEWS, &grant::question(caller, credential)).await)?;
    grant::allowed(&read(&access))?;

    let request = grant::request(settings.token_seconds);
    let minted = asked(cluster.post(&grant::path(credential), &request).await)?;
    Ok(grant::minted(&read(&minted))?)
}

fn asked(result: Result<Answered, Unanswered>) -> Result<Answered, Reason> {
    result.map_err(|unanswered| match unanswered {
        Unanswered::Timeout => Reason::ApiTimeout,
        Unanswered::Connection => Reason::ApiUnreachable,
        Unanswered::Body => Reason::ApiAnswer,
    })
}

fn read(answered: &Answered) -> Answer<'_> {
    Answer { status: answered.status, body: &answered.body }
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
        // What is left of the body is not worth reading.
        Outcome::Invalid => {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        Outcome::Issued | Outcome::Refused => {}
    }
    response
}

fn unix(time: SystemTime) -> i64 {
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    i64::try_from(seconds).unwrap_or(i64::MAX)
}
