//! Sends the one request of a connection and receives its answer, both limited in time and size. Redirects are not followed
//! and nothing is repeated.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, DATE, HOST, HeaderMap, LOCATION, RETRY_AFTER};
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use tokio::time::{Instant, timeout_at};
use url::{Position, Url};

use super::connect::Connection;
use agent_creds_refresh::cause::Cause;
use agent_creds_refresh::reason::NotSent;
use agent_creds_refresh::reply::{HttpReply, MAX_BODY, MediaType, Reply};

/// Longest place that is kept of a `Location`, in bytes.
const MAX_LOCATION: usize = 200;
/// Longest `Content-Encoding` that is kept, in bytes.
const MAX_CODINGS: usize = 64;

/// Sends the request and waits at most `budget` for the whole answer.
pub async fn send(mut connection: Connection, request: Request<Full<Bytes>>, budget: Duration) -> Reply {
    let endpoint = endpoint(&request);
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
        head = Some(described(response.status().as_u16(), response.headers(), endpoint.as_ref()));
        Ok(read(response, &mut body).await)
    };
    let complete = match within(budget, talk).await {
        Some(Err(reply)) => return reply,
        Some(Ok(complete)) => complete,
        None => false,
    };
    let Some(head) = head else { return Reply::Lost(Cause::Timeout) };
    Reply::Http(HttpReply { body, complete, ..head })
}

/// The URL that a request is for.
fn endpoint(request: &Request<Full<Bytes>>) -> Option<Url> {
    let host = request.headers().get(HOST)?.to_str().ok()?;
    Url::parse(&format!("https://{host}{}", request.uri())).ok()
}

/// Returns what is kept of the head of an answer.
fn described(status: u16, headers: &HeaderMap, endpoint: Option<&Url>) -> HttpReply {
    let media_type = headers
        .get(CONTENT_TYPE)
        .map(|value| MediaType::of_header(&String::from_utf8_lossy(value.as_bytes())));
    let codings: Vec<_> =
        headers.get_all(CONTENT_ENCODING).iter().filter_map(|value| value.to_str().ok()).collect();
    let mut content_encoding = codings.join(",");
    // `to_str` lets ASCII alone through.
    content_encoding.truncate(MAX_CODINGS);
    let retry_after_s = retry_after(headers, SystemTime::now());
    let location = location(headers, endpoint);
    HttpReply { status, retry_after_s, media_type, content_encoding, location, ..HttpReply::default() }
}

/// Host and path of `Location` (RFC 9110 §10.2.2), resolved against the request's URL: without user, query and fragment, where
/// credentials could be.
fn location(headers: &HeaderMap, endpoint: Option<&Url>) -> Option<String> {
    let reference = String::from_utf8_lossy(headers.get(LOCATION)?.as_bytes());
    let target = endpoint?.join(&reference).ok().filter(|url| matches!(url.scheme(), "https" | "http"))?;
    let mut place = format!("{}{}", &target[Position::BeforeHost..Position::AfterPort], target.path());
    if place.len() > MAX_LOCATION {
        // A URL is ASCII, so every place in it is between two characters.
        place.truncate(MAX_LOCATION);
        place.push_str("...");
    }
    Some(place)
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

/// `Retry-After` (RFC 9110 §10.2.3: seconds or a date), else PagerDuty's `ratelimit-reset` (seconds). A date is compared with the
/// `Date` of the same answer, since the clocks may differ; without one with `now`.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<i64> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let seconds = |text: &str| text.parse::<i64>().ok().filter(|seconds| *seconds >= 0);
    let time = |text: &str| httpdate::parse_http_date(text).ok();
    let date = |value: &str| {
        let now = text(DATE.as_str()).and_then(time).unwrap_or(now);
        i64::try_from(time(value)?.duration_since(now).unwrap_or_default().as_secs()).ok()
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
        // The server's clock is an hour ahead.
        let served = now + Duration::from_secs(3600);
        let headers = HeaderMap::from_iter([
            (DATE, httpdate::fmt_http_date(served).parse().unwrap()),
            (RETRY_AFTER, httpdate::fmt_http_date(served + Duration::from_secs(30)).parse().unwrap()),
        ]);
        assert_eq!(retry_after(&headers, now), Some(30));
    }

    #[test]
    fn a_location_is_shown_by_host_and_path_alone() {
        let endpoint = Url::parse("https://id.example.com/o/token").unwrap();
        let shown = |value: &[u8]| {
            let headers = HeaderMap::from_iter([(LOCATION, http::HeaderValue::from_bytes(value).unwrap())]);
            location(&headers, Some(&endpoint))
        };
        for (value, expected) in [
            ("/o/token/", "id.example.com/o/token/"),
            ("token/", "id.example.com/o/token/"),
            ("//other.example.com/t", "other.example.com/t"),
            ("https://user:pass@other.example.com:8443/t?code=secret#fragment", "other.example.com:8443/t"),
            ("http://other.example.com", "other.example.com/"),
            ("https://b\u{fc}cher.example/\u{fc}", "xn--bcher-kva.example/%C3%BC"),
        ] {
            assert_eq!(shown(value.as_bytes()).as_deref(), Some(expected), "{value}");
        }
        for value in ["javascript:alert(1)", "data:text/plain,x", "https://"] {
            assert_eq!(shown(value.as_bytes()), None, "{value}");
        }
        let long = shown(format!("/{}", "x".repeat(5000)).as_bytes()).unwrap();
        assert!(long.len() <= MAX_LOCATION + 3 && long.ends_with("x..."), "{long}");
    }

    #[test]
    fn several_codings_in_several_headers_are_one_list() {
        let mut headers = HeaderMap::new();
        for coding in ["deflate", "gzip"] {
            headers.append(CONTENT_ENCODING, coding.parse().unwrap());
        }
        headers.append(CONTENT_TYPE, "application/json; charset=utf-8".parse().unwrap());
        let head = described(200, &headers, None);
        assert_eq!(
            (head.content_encoding.as_str(), head.media_type),
            ("deflate,gzip", Some(MediaType::Json))
        );
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
