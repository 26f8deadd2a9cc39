//! Receives the body of a review, within the budget that all requests share.

use std::net::IpAddr;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use tokio::time::{Instant, timeout_at};

use super::JSON;
use crate::outcome::Reason;
use crate::serve::body::collect;
use crate::serve::budget::{Budget, Charge};

/// Largest review. API servers send an object of 3 MiB at most, and with an update also the old object.
pub(super) const MAX_BODY: u32 = 8 * 1024 * 1024;

/// The reason for which no body was received, with the HTTP status and text of the answer.
pub(super) type Refused = (Reason, StatusCode, &'static str);

/// There is no memory for a request or its answer.
pub(super) const BUSY: Refused = (
    Reason::Busy,
    StatusCode::SERVICE_UNAVAILABLE,
    "agent-creds: too many large requests at the same time; try again\n",
);

/// Receives the body within `limit`, and returns it with its charge.
pub(super) async fn receive(
    headers: &HeaderMap,
    body: Body,
    source: IpAddr,
    budget: &Budget,
    limit: Duration,
) -> Result<(Vec<u8>, Charge), Refused> {
    let refused = |status, text| Err((Reason::BodyRefused, status, text));
    let media_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = media_type.split(';').next().unwrap_or_default().trim();
    if !media_type.eq_ignore_ascii_case(JSON) {
        return refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, "send application/json\n");
    }
    let too_large =
        (Reason::BodyRefused, StatusCode::PAYLOAD_TOO_LARGE, "the body is too large or was cut off\n");
    let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    // A body without a length can be the largest.
    let length = u32::try_from(length.unwrap_or(MAX_BODY.into())).unwrap_or(u32::MAX);
    if length > MAX_BODY {
        return Err(too_large);
    }
    let deadline = Instant::now() + limit;
    let Ok(charge) = timeout_at(deadline, budget.charge(source, length)).await else { return Err(BUSY) };
    match timeout_at(deadline, collect(body, length as usize)).await {
        Ok(Some(bytes)) => Ok((bytes, charge)),
        Ok(None) => Err(too_large),
        Err(_) => refused(StatusCode::REQUEST_TIMEOUT, "the body took too long\n"),
    }
}
