//! The one request of a presentation, and its answer, bounded in time and size. Redirects are answers like any
//! other: nothing is followed, nothing is repeated.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{HeaderMap, RETRY_AFTER};
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;

use super::connect::Connection;
use crate::grant::answer::Reply;
use crate::outcome::{Cause, Reason};

/// Longest body that is read. Tokens have at most 32 KiB each.
const MAX_BODY: usize = 128 * 1024;

/// A process that stood still finds its time over and the answer in its socket: so long it may take to get it out.
const GRACE: Duration = Duration::from_millis(200);

/// Sends, and waits at most `budget` for the whole answer.
pub async fn send(mut connection: Connection, request: Request<Full<Bytes>>, budget: Duration) -> Reply {
    let deadline = tokio::time::Instant::now() + budget;
    let response = match within(deadline, connection.sender.try_send_request(request)).await {
        Some(Ok(response)) => response,
        // The request comes back where not a byte of it was written: the provider closed an idle connection.
        Some(Err(mut error)) => {
            let unsent = error.take_message().is_some();
            return if unsent { Reply::NotSent(Reason::Connect) } else { Reply::Lost(Cause::Reset) };
        }
        None => return Reply::Lost(Cause::Timeout),
    };
    let status = response.status().as_u16();
    let retry_after_s = retry_after(response.headers(), SystemTime::now());
    let mut body = Vec::new();
    let complete = within(deadline, read(response, &mut body)).await == Some(true);
    Reply::Http { status, retry_after_s, body, complete }
}

/// What comes of it until then, and whatever has come by then.
async fn within<T>(deadline: tokio::time::Instant, what: impl Future<Output = T>) -> Option<T> {
    let mut what = std::pin::pin!(what);
    if let Ok(done) = tokio::time::timeout_at(deadline, &mut what).await {
        return Some(done);
    }
    tokio::time::timeout(GRACE, what).await.ok()
}

/// Whether the body came whole and within bounds; `body` keeps what came.
async fn read(mut response: Response<Incoming>, body: &mut Vec<u8>) -> bool {
    while let Some(frame) = response.frame().await {
        let Ok(frame) = frame else { return false };
        let Some(data) = frame.data_ref() else { continue };
        let room = MAX_BODY.saturating_sub(body.len());
        body.extend_from_slice(data.get(..room.min(data.len())).unwrap_or_default());
        if data.len() > room {
            return false;
        }
    }
    true
}

/// `Retry-After` (RFC 9110 §10.2.3: seconds or a date), else PagerDuty's `ratelimit-reset` (seconds).
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<i64> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let seconds = |text: &str| text.parse::<i64>().ok().filter(|seconds| *seconds >= 0);
    let date = |text: &str| {
        let at = httpdate::parse_http_date(text).ok()?;
        i64::try_from(at.duration_since(now).unwrap_or_default().as_secs()).ok()
    };
    text(RETRY_AFTER.as_str())
        .and_then(|value| seconds(value).or_else(|| date(value)))
        .or_else(|| text("ratelimit-reset").and_then(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_seconds_dates_and_pagerdutys_own_header() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        let read = |name: &'static str, value: &str| {
            retry_after(&HeaderMap::from_iter([(name.parse().unwrap(), value.parse().unwrap())]), now)
        };
        assert_eq!(read("retry-after", "120"), Some(120));
        assert_eq!(read("retry-after", &httpdate::fmt_http_date(now + Duration::from_secs(30))), Some(30));
        assert_eq!(read("retry-after", &httpdate::fmt_http_date(now - Duration::from_secs(30))), Some(0));
        assert_eq!(read("ratelimit-reset", "7"), Some(7));
        assert_eq!(read("retry-after", "soon"), None);
        assert_eq!(read("retry-after", "-5"), None);
    }
}
