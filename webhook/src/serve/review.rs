//! `POST /mutate` and `POST /validate`: the AdmissionReview of `admission.k8s.io/v1` around a decision. Every JSON
//! request gets HTTP 200 and a review with its uid, because an API server takes any other answer for a failure of the
//! webhook.

mod wire;

use std::sync::Arc;
use std::time::{Duration, Instant};

use agent_creds_core::words::Word as _;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use http_body_util::{BodyExt as _, Limited};
use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::metrics::{Metrics, Operation};
use crate::outcome::{Reason, Refusal};
use crate::pod::decide::{Decision, confirm, decide};
use crate::pod::seal_keys::Keys;
use crate::policy::Policy;
use crate::serve::seal_keys::SealKeys;
use wire::{API_VERSION, KIND, Reply, Request, Review};

/// Largest review, in bytes. API servers send an object of 3 MiB at most, and two objects for an update.
const MAX_BODY: usize = 8 * 1024 * 1024;
/// Reviews above this size share [`LARGE_AT_ONCE`], and wait until it has room.
const LARGE: u32 = 256 * 1024;
/// Total size of the large reviews that are received at the same time.
const LARGE_AT_ONCE: usize = 32 * 1024 * 1024;
const JSON: &str = "application/json";
/// Most refusals in one answer.
const MOST_REFUSALS: usize = 10;

/// State of the endpoint.
#[derive(Debug)]
pub struct Context {
    /// The policy.
    pub policy: Policy,
    /// The keys that make and verify seals.
    pub keys: Arc<SealKeys>,
    /// Counts the requests.
    pub metrics: Metrics,
    /// Time limit for receiving a body.
    pub body_timeout: Duration,
    /// Budget for receiving large bodies.
    pub large: LargeBodies,
}

/// A budget of bytes.
#[derive(Debug)]
pub struct LargeBodies(Semaphore);

impl Default for LargeBodies {
    fn default() -> Self {
        Self(Semaphore::new(LARGE_AT_ONCE))
    }
}

impl LargeBodies {
    /// Waits until a body with these headers may be received. Small bodies do not wait.
    async fn room(&self, headers: &HeaderMap) -> Option<SemaphorePermit<'_>> {
        let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        let length: u32 = length.unwrap_or(u32::MAX);
        if length <= LARGE {
            return None;
        }
        // Never closed.
        self.0.acquire_many(length.min(MAX_BODY as u32)).await.ok()
    }
}

/// The admission endpoint.
pub fn router(context: Arc<Context>) -> Router {
    let mutate = |state, headers, body| review(Question::Mutate, state, headers, body);
    let validate = |state, headers, body| review(Question::Validate, state, headers, body);
    Router::new().route("/mutate", post(mutate)).route("/validate", post(validate)).with_state(context)
}

/// The question of a request.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Question {
    /// What to add to a new pod.
    Mutate,
    /// Whether the final pod, or a container that is added to a running one, is allowed.
    Validate,
}

async fn review(
    question: Question,
    State(context): State<Arc<Context>>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let bytes = match received(&headers, body, &context.large, context.body_timeout).await {
        Ok(bytes) => bytes,
        Err((status, text)) => {
            context.metrics.admitted(Operation::Unknown, Reason::BodyRefused, Duration::ZERO);
            tracing::warn!(status = status.as_u16(), reason = Reason::BodyRefused.as_str(), "admission");
            // The rest of the body is not read.
            return (status, [(CONNECTION, "close")], text).into_response();
        }
    };
    // Receiving the body does not count as admission time.
    let started = Instant::now();
    let keys = context.keys.current();
    let answer = answer(&bytes, question, &context.policy, keys.as_deref(), Timestamp::now().as_second());
    context.metrics.admitted(answer.operation, answer.reason, started.elapsed());
    match answer.review {
        Some(review) => ([(CONTENT_TYPE, JSON)], review).into_response(),
        None => (StatusCode::BAD_REQUEST, "the body is not JSON\n").into_response(),
    }
}

async fn received(
    headers: &HeaderMap,
    body: Body,
    large: &LargeBodies,
    limit: Duration,
) -> Result<Bytes, (StatusCode, &'static str)> {
    let media_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = media_type.split(';').next().unwrap_or_default().trim();
    if !media_type.eq_ignore_ascii_case(JSON) {
        return Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, "send application/json\n"));
    }
    let collected = async {
        let _room = large.room(headers).await;
        Limited::new(body, MAX_BODY).collect().await
    };
    match tokio::time::timeout(limit, collected).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(_)) => Err((StatusCode::PAYLOAD_TOO_LARGE, "the body is too large or was cut off\n")),
        Err(_) => Err((StatusCode::REQUEST_TIMEOUT, "the body took too long\n")),
    }
}

/// An answer, with the labels that it is counted by.
struct Answer {
    operation: Operation,
    reason: Reason,
    /// `None` where the request was not JSON.
    review: Option<Vec<u8>>,
}

/// Answers a review that arrived at `now` (Unix seconds).
fn answer(bytes: &[u8], question: Question, policy: &Policy, keys: Option<&Keys>, now: i64) -> Answer {
    match serde_json::from_slice::<Review>(bytes) {
        Ok(review) if review.is_v1() => reviewed(&review.request, question, policy, keys, now),
        Ok(review) => invalid(Some(review.request.uid)),
        Err(_) => match serde_json::from_slice::<Value>(bytes) {
            Ok(value) => invalid(Some(value["request"]["uid"].as_str().unwrap_or_default().to_owned())),
            Err(_) => invalid(None),
        },
    }
}

fn reviewed(request: &Request, question: Question, policy: &Policy, keys: Option<&Keys>, now: i64) -> Answer {
    let operation = Operation::parse(&request.operation);
    let about = match request.subresource() {
        Some("") if operation == Operation::Create => Ok(()),
        // Ephemeral containers are the only other way to add a container to a pod.
        Some("ephemeralcontainers") if question == Question::Validate => Ok(()),
        Some("") => Err(Reason::NotCreate),
        _ => Err(Reason::NotPod),
    };
    let (pod, namespace) = (&request.object, request.namespace.as_str());
    let decision = match (about, question, keys) {
        (Err(reason), ..) => Decision::Unchanged(reason),
        (Ok(()), _, None) => Decision::Refused(vec![keys_missing()]),
        (Ok(()), Question::Mutate, Some(keys)) => decide(pod, policy, keys, namespace, now),
        (Ok(()), Question::Validate, Some(keys)) => confirm(pod, policy, keys, namespace, now),
    };
    let reason = decision.reason();
    let metadata = &request.object["metadata"];
    let name = metadata["name"].as_str().or_else(|| metadata["generateName"].as_str()).unwrap_or_default();
    let (uid, outcome) = (request.uid.as_str(), reason.outcome().as_str());
    let detail = match &decision {
        Decision::Refused(refusals) => Some(sentence(refusals)),
        _ => None,
    };
    tracing::info!(
        namespace = request.namespace,
        name,
        operation = operation.as_str(),
        dry_run = request.dry_run,
        uid,
        outcome,
        reason = reason.as_str(),
        detail,
        "admission"
    );
    let reply = match decision {
        Decision::Unchanged(_) => Reply::allowed(uid),
        Decision::Injected { patch, warnings, .. } => Reply::patched(uid, &patch, warnings),
        Decision::Refused(_) => Reply::denied(uid, detail.unwrap_or_default()),
    };
    Answer { operation, reason, review: Some(reply.review()) }
}

/// Returns the refusal while there are no seal keys. The role is not ready then, so an API server rarely calls it.
fn keys_missing() -> Refusal {
    let sentence =
        "the webhook has no seal keys yet; they are made within a minute of the installation, so try again";
    Refusal { reason: Reason::KeysMissing, message: sentence.to_owned() }
}

fn invalid(uid: Option<String>) -> Answer {
    let reason = Reason::ReviewInvalid;
    tracing::warn!(uid, outcome = reason.outcome().as_str(), reason = reason.as_str(), "admission");
    let text = || format!("agent-creds: the body is not an {KIND} of {API_VERSION}");
    let review = uid.map(|uid| Reply::denied(&uid, text()).review());
    Answer { operation: Operation::Unknown, reason, review }
}

/// Returns all refusals as one text.
fn sentence(refusals: &[Refusal]) -> String {
    let mut text = "agent-creds: ".to_owned();
    for (i, refusal) in refusals.iter().take(MOST_REFUSALS).enumerate() {
        text.push_str(if i == 0 { "" } else { "; " });
        text.push_str(&refusal.message);
    }
    if refusals.len() > MOST_REFUSALS {
        text.push_str(&format!("; and {} more", refusals.len() - MOST_REFUSALS));
    }
    text
}

#[cfg(test)]
mod tests;
