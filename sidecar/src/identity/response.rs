//! What an answer of the identity server means. Of a body, only the token and its end leave this module.

use agent_creds_core::exchange_api::{MAX_ANSWER, Missing};
use agent_creds_core::words::Word as _;
use http::HeaderValue;
use jiff::Timestamp;
use serde::Deserialize;

use super::condition::Failure;
use crate::http_client::connect::ConnectError;
use agent_creds_refresh::reply::{HttpReply, Reply};

/// An answer of the identity server, or its absence.
#[derive(Debug)]
pub enum Response {
    /// A token of the credential ServiceAccount.
    Granted {
        /// The token as the header `Authorization`, marked as sensitive.
        bearer: HeaderValue,
        /// Its end, by the API server's clock.
        expires_at: Timestamp,
    },
    /// The pod gets no token. A pod that has proved itself is told what is missing.
    Refused(Option<Missing>),
    /// No answer, or one that says nothing about the pod.
    Failed {
        /// What happened instead.
        failure: Failure,
        /// When it may be tried again, in seconds.
        retry_after_s: Option<i64>,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Granted {
    token: String,
    expiration_timestamp: Timestamp,
}

#[derive(Deserialize)]
struct Refused {
    reason: Option<String>,
}

impl Response {
    /// Reads a reply.
    pub fn of(reply: Reply) -> Self {
        let (status, retry_after_s, body) = match reply {
            Reply::NotSent(_) => return Self::failed(Failure::Connecting(ConnectError::Connect)),
            Reply::Lost(_) | Reply::Http(HttpReply { complete: false, .. }) => {
                return Self::failed(Failure::Unanswered);
            }
            Reply::Http(HttpReply { status, retry_after_s, body, .. }) => (status, retry_after_s, body),
        };
        match status {
            200 => Self::granted(&body).unwrap_or(Self::failed(Failure::Unreadable)),
            403 => {
                let said = serde_json::from_slice::<Refused>(&body).ok().and_then(|refused| refused.reason);
                Self::Refused(said.as_deref().and_then(Missing::from_word))
            }
            status => Self::Failed { failure: Failure::Status(status), retry_after_s },
        }
    }

    fn failed(failure: Failure) -> Self {
        Self::Failed { failure, retry_after_s: None }
    }

    fn granted(body: &[u8]) -> Option<Self> {
        let granted: Granted = serde_json::from_slice(body).ok().filter(|_| body.len() <= MAX_ANSWER)?;
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~+/=".contains(&byte);
        if granted.token.is_empty() || !granted.token.bytes().all(is_token) {
            return None;
        }
        let mut bearer = HeaderValue::try_from(format!("Bearer {}", granted.token)).ok()?;
        bearer.set_sensitive(true);
        Some(Self::Granted { bearer, expires_at: granted.expiration_timestamp })
    }
}

#[cfg(test)]
mod tests {
    use strum::VariantArray as _;

    use super::*;
    use agent_creds_refresh::cause::Cause;
    use agent_creds_refresh::reason::NotSent;

    const TOKEN: &str = "eyJhbGciOi.J9_-";

    fn http(status: u16, body: &str) -> Response {
        let (retry_after_s, body) = (Some(7), body.into());
        let reply = HttpReply { status, retry_after_s, body, complete: true, ..HttpReply::default() };
        Response::of(Reply::Http(reply))
    }

    fn failure(answer: Response) -> Failure {
        match answer {
            Response::Failed { failure, .. } => failure,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_token_comes_with_its_end_and_is_never_printed() {
        let body = format!(r#"{{"token":"{TOKEN}","expirationTimestamp":"2026-01-01T00:00:00Z","more":1}}"#);
        let answer = http(200, &body);
        assert!(!format!("{answer:?}").contains(TOKEN));
        let Response::Granted { bearer, expires_at } = answer else { panic!("{answer:?}") };
        assert_eq!(bearer, format!("Bearer {TOKEN}"));
        assert_eq!(expires_at, "2026-01-01T00:00:00Z".parse().unwrap());
    }

    #[test]
    fn a_success_without_a_usable_token_is_unreadable() {
        let end = r#""expirationTimestamp":"2026-01-01T00:00:00Z""#;
        for body in [
            String::new(),
            "<html>".to_owned(),
            format!("{{{end}}}"),
            format!(r#"{{"token":"",{end}}}"#),
            format!(r#"{{"token":"a b",{end}}}"#),
            format!(r#"{{"token":"a\r\nHost: b",{end}}}"#),
            format!(r#"{{"token":7,{end}}}"#),
            r#"{"token":"a"}"#.to_owned(),
            r#"{"token":"a","expirationTimestamp":"soon"}"#.to_owned(),
            format!(r#"{{"token":"{}",{end}}}"#, "a".repeat(MAX_ANSWER)),
        ] {
            let short: String = body.chars().take(60).collect();
            assert_eq!(failure(http(200, &body)), Failure::Unreadable, "{short}");
        }
    }

    #[test]
    fn a_refusal_says_what_is_missing() {
        for missing in Missing::VARIANTS.iter().copied() {
            let body = format!(r#"{{"error":"access_denied","reason":"{}"}}"#, missing.as_str());
            assert!(matches!(http(403, &body), Response::Refused(Some(said)) if said == missing));
        }
        for body in
            [r#"{"error":"access_denied"}"#, r#"{"reason":"made_up"}"#, r#"{"reason":1}"#, "", "<html>"]
        {
            assert!(matches!(http(403, body), Response::Refused(None)), "{body}");
        }
    }

    #[test]
    fn an_answer_that_says_nothing_about_the_pod_is_a_failure() {
        for status in [201, 302, 400, 401, 404, 429, 500, 503] {
            let answer = http(status, r#"{"reason":"assume_missing"}"#);
            assert!(
                matches!(answer, Response::Failed { retry_after_s: Some(7), .. }),
                "{status}: {answer:?}"
            );
            assert_eq!(failure(answer), Failure::Status(status));
        }
        let cut_off = HttpReply { status: 200, body: b"{".to_vec(), ..HttpReply::default() };
        assert_eq!(failure(Response::of(Reply::Http(cut_off))), Failure::Unanswered);
        assert_eq!(failure(Response::of(Reply::Lost(Cause::Timeout))), Failure::Unanswered);
        let unsent = Reply::NotSent(NotSent::Connect);
        assert_eq!(failure(Response::of(unsent)), Failure::Connecting(ConnectError::Connect));
    }
}
