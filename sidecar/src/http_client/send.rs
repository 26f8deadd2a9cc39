//! Sends the one request of a connection and receives its answer, both limited in time and size. Redirects are not followed
//! and nothing is repeated.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{HeaderMap, RETRY_AFTER};
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use tokio::time::{Instant, timeout_at};

use super::connect::Connection;
use agent_creds_refresh::answer::{Cause, Reply};
use agent_creds_refresh::reason::NotSent;

/// Longest body that is read, in bytes. Tokens have at most 32 KiB each.
const MAX_BODY: usize = 128 * 1024;

/// Sends the request and waits at most `budget` for the whole answer.
pub async fn send(mut connection: Connection, request: Request<Full<Bytes>>, budget: Duration) -> Reply {
    let (mut head, mut body) = (None, Vec::new());
    let talk = async {
        let response = match connection.sender.try_send_request(request).await {
            Ok(response) => response,
            // The request is returned where no byte of it was written: the provider had closed the idle connection.
            Err(mut error) => {
                let unsent = error.take_message().is_some();
                return Err(if unsent {
                    Reply::NotSent(NotSent::Connect)
                } else {
                    Reply::Lost(Cause::Reset)
                });
            }
        };
        let retry_after_s = retry_after(response.headers(), SystemTime::now());
        head = Some((response.status().as_u16(), retry_after_s));
        Ok(read(response, &mut body).await)
    };
    let complete = match within(budget, talk).await {
        Some(Err(reply)) => return reply,
        Some(Ok(complete)) => complete,
        None => false,
    };
    let Some((status, retry_after_s)) = head else { return Reply::Lost(Cause::Timeout) };
    Reply::Http { status, retry_after_s, body, complete }
}

/// Returns the output of `talk` if it is ready within `budget`. If the process was suspended past the deadline, the timer
/// restarts: the answer may already be buffered in the socket, and would be lost.
async fn within<T>(budget: Duration, talk: impl Future<Output = T>) -> Option<T> {
    let mut talk = std::pin::pin!(talk);
    let mut end = Instant::now() + budget;
    loop {
        if let Ok(output) = timeout_at(end, talk.as_mut()).await {
            return Some(output);
        }
        let now = Instant::now();
        if now.duration_since(end) < budget / 10 {
            return None;
        }
        end = now + budget;
    }
}

/// Reads the body into `body`. Returns whether it is complete and within its size limit.
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
    fn reads_seconds_dates_and_the_header_of_pagerduty() {
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

    #[tokio::test(start_paused = true)]
    async fn reads_an_answer_that_came_while_the_process_was_suspended() {
        let budget = Duration::from_secs(15);
        let (answer, answered) = tokio::sync::oneshot::channel();
        let waiting = tokio::spawn(within(budget, answered));
        tokio::task::yield_now().await;
        tokio::time::advance(budget * 8).await;
        tokio::task::yield_now().await;
        answer.send(()).unwrap();
        assert_eq!(waiting.await.unwrap(), Some(Ok(())));
    }

    #[tokio::test(start_paused = true)]
    async fn gives_up_in_time_on_an_answer_that_does_not_come() {
        let (budget, began) = (Duration::from_secs(15), Instant::now());
        assert_eq!(within(budget, std::future::pending::<()>()).await, None);
        assert!(began.elapsed() < budget + Duration::from_millis(10));
    }
}
