//! `POST /mutate` and `POST /validate`: the AdmissionReview of `admission.k8s.io/v1` around a decision. Every request that
//! is JSON gets HTTP 200 and a review with its uid, because an API server treats any other answer as a failure of the webhook.

mod receive;
mod wire;

use std::sync::Arc;
use std::time::{Duration, Instant};

use agent_creds_core::words::Word as _;
use agent_creds_runtime::server::{Peer, UntilWritten};
use axum::Router;
use axum::body::Body;
use axum::extract::{Extension, State};
use axum::http::header::{CONNECTION, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use jiff::Timestamp;
use serde_json::Value;

use crate::json_size::JsonSize;
use crate::metrics::{Metrics, Operation};
use crate::outcome::{Reason, Refusal, Refusals};
use crate::pod::decide::{Decision, confirm, decide};
use crate::pod::seal_keys::Keys;
use crate::pod::view;
use crate::policy::Policy;
use crate::serve::budget::{Budget, Charge};
use crate::serve::seal_keys::SealKeys;
use receive::{BUSY, MAX_BODY, Refused, receive};
use wire::{API_VERSION, KIND, Reply, Request, Review};

/// Bytes of all small reviews together: 256 of the usual size, 64 of them from one address.
const SMALL_REVIEWS: u32 = 4 * 1024 * 1024;
/// Bytes of all large reviews together, one of them of the largest size.
const LARGE_REVIEWS: u32 = 12 * 1024 * 1024;
/// Bytes of a parsed pod, at most. One is parsed at a time.
const MAX_POD: usize = 12 * 1024 * 1024;
/// Objects and lists within each other, at most. A review of a pod has about twenty, and `serde_json` reads 127.
const MAX_DEPTH: usize = 100;
const JSON: &str = "application/json";
/// Refusals that one answer names, at most.
const MOST_REFUSALS: usize = 10;

/// State of the endpoint.
#[derive(Debug)]
pub struct Context {
    /// The policy.
    pub policy: Policy,
    /// Seal keys.
    pub keys: Arc<SealKeys>,
    /// Counts the requests.
    pub metrics: Metrics,
    /// Time limit for receiving a body.
    pub body_timeout: Duration,
    /// Memory of all requests together.
    pub budget: Budget,
}

/// Returns the budget of an admission server.
pub fn budget() -> Budget {
    Budget::new(SMALL_REVIEWS, LARGE_REVIEWS, MAX_BODY)
}

/// Returns the routes of the admission server.
pub fn router(context: Arc<Context>) -> Router {
    let mutate = |state, peer, headers, body| review(Question::Mutate, state, peer, headers, body);
    let validate = |state, peer, headers, body| review(Question::Validate, state, peer, headers, body);
    Router::new().route("/mutate", post(mutate)).route("/validate", post(validate)).with_state(context)
}

/// The question of a request.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Question {
    /// What to add to a new pod.
    Mutate,
    /// Whether the final pod, or a container that joins a running one, is admitted.
    Validate,
}

async fn review(
    question: Question,
    State(context): State<Arc<Context>>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let received = receive(&headers, body, peer.0, &context.budget, context.body_timeout).await;
    let (bytes, mut charge) = match received {
        Ok(received) => received,
        Err(refused) => return refuse(&context, Operation::Unknown, refused),
    };
    // Without the time that the API server took to send the body.
    let started = Instant::now();
    let keys = context.keys.current();
    let answer = answer(&bytes, question, &context.policy, keys.as_deref(), Timestamp::now().as_second());
    drop(bytes);
    let length = answer.review.as_ref().map_or(0, Vec::len);
    if !context.budget.extend(&mut charge, peer.0, length) {
        return refuse(&context, answer.operation, BUSY);
    }
    context.metrics.admitted(answer.operation, answer.reason, started.elapsed());
    written_with(
        charge,
        match answer.review {
            Some(review) => ([(CONTENT_TYPE, JSON)], review).into_response(),
            None => (StatusCode::BAD_REQUEST, "the body is not JSON\n").into_response(),
        },
    )
}

/// Ends the charge when the answer is written.
fn written_with(charge: Charge, mut response: Response) -> Response {
    response.extensions_mut().insert(UntilWritten::new(charge));
    response
}

fn refuse(context: &Context, operation: Operation, (reason, status, text): Refused) -> Response {
    context.metrics.admitted(operation, reason, Duration::ZERO);
    tracing::warn!(
        status = status.as_u16(),
        outcome = reason.outcome().as_str(),
        reason = reason.as_str(),
        "admission"
    );
    // The rest of the body is not read.
    let mut response = (status, [(CONNECTION, "close")], text).into_response();
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(RETRY_AFTER, 1.into());
    }
    response
}

/// An answer, and the labels under which it is counted.
struct Answer {
    operation: Operation,
    reason: Reason,
    /// `None` if the request is not JSON.
    review: Option<Vec<u8>>,
}

/// Answers a review that arrived at `now` (Unix seconds).
fn answer(bytes: &[u8], question: Question, policy: &Policy, keys: Option<&Keys>, now: i64) -> Answer {
    // The parser needs a byte for each level, also where it skips.
    if JsonSize::of(bytes).depth > MAX_DEPTH {
        return invalid(Some(String::new()));
    }
    match serde_json::from_slice::<Review<'_>>(bytes) {
        Ok(review) if review.is_valid() => reviewed(&review.request, question, policy, keys, now),
        _ => invalid(wire::uid(bytes)),
    }
}

fn reviewed(
    request: &Request<'_>,
    question: Question,
    policy: &Policy,
    keys: Option<&Keys>,
    now: i64,
) -> Answer {
    let operation = Operation::parse(&request.operation);
    let about = match request.subresource() {
        Some("") if operation == Operation::Create => Ok(()),
        // Ephemeral containers are the only containers that join a running pod.
        Some("ephemeralcontainers") if question == Question::Validate => Ok(()),
        Some("") => Err(Reason::NotCreate),
        _ => Err(Reason::NotPod),
    };
    let namespace = request.namespace.as_str();
    let mut name = view::shortened(&request.name).to_owned();
    let decision = about.map_err(Decision::Unchanged).and_then(|()| {
        let refused = |refusal| Decision::Refused(vec![refusal]);
        let keys = keys.ok_or_else(|| refused(keys_missing()))?;
        let pod = parsed(request.object()).map_err(refused)?;
        name = name_of(&pod).to_owned();
        Ok(match question {
            Question::Mutate => decide(&pod, policy, keys, namespace, now),
            Question::Validate => confirm(&pod, policy, keys, namespace, now),
        })
    });
    let decision = decision.unwrap_or_else(|decision| decision);
    let reason = decision.reason();
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

/// Parses a pod, if there is memory for it.
fn parsed(object: &str) -> Result<Value, Refusal> {
    let memory = JsonSize::of(object.as_bytes()).memory;
    if memory > MAX_POD {
        let mib = |bytes: usize| bytes.div_ceil(1024 * 1024);
        let message = format!(
            "the pod has so many fields that reading it would take {} MiB of memory, and the webhook reads pods of up to {} \
             MiB; leave fields out, such as variables",
            mib(memory),
            mib(MAX_POD)
        );
        return Err(Refusal { reason: Reason::PodTooLarge, message });
    }
    serde_json::from_str(object).map_err(|error| {
        let message =
            format!("the pod cannot be read as JSON: {error}; write values that Kubernetes accepts");
        Refusal { reason: Reason::PodInvalid, message }
    })
}

/// Returns the name of a pod, or what its name will begin with, as the log has it.
fn name_of(pod: &Value) -> &str {
    let named = |key| view::text(&pod["metadata"], key).filter(|name| !name.is_empty());
    view::shortened(named("name").or_else(|| named("generateName")).unwrap_or_default())
}

/// Until the keys exist the webhook is not ready, so an API server rarely meets this.
fn keys_missing() -> Refusal {
    let sentence =
        "the webhook has no seal keys yet; they are made within a minute of the installation, so try again";
    Refusal { reason: Reason::KeysMissing, message: sentence.to_owned() }
}

fn invalid(uid: Option<String>) -> Answer {
    let reason = Reason::ReviewInvalid;
    tracing::warn!(uid, outcome = reason.outcome().as_str(), reason = reason.as_str(), "admission");
    let text = || format!("agent-creds: the body is not an {KIND} of {API_VERSION}, or nested too deeply");
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
        let more = refusals.len() - MOST_REFUSALS;
        let least = if refusals.len() >= Refusals::MOST { "at least " } else { "" };
        text.push_str(&format!("; and {least}{more} more"));
    }
    text
}

#[cfg(test)]
mod tests;
