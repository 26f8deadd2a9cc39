//! What an answer of the identity server means. Nothing of a body gets out of here but the token and its end.

use agent_creds_core::identity::{MAX_ANSWER, Missing};
use http::HeaderValue;
use jiff::Timestamp;
use serde::Deserialize;

use super::trouble::Hitch;
use crate::grant::answer::Reply;

/// What came back.
#[derive(Debug)]
pub enum Answer {
    /// A token of the credential ServiceAccount.
    Granted {
        /// As it goes into a request of the API server; it hides itself in every print.
        bearer: HeaderValue,
        /// Its end, by the API server's clock.
        expires_at: Timestamp,
    },
    /// The pod gets none; to one that has proved itself it is said what is missing.
    Refused(Option<Missing>),
    /// No answer, or none that says anything about the pod.
    Failed {
        /// What happened instead.
        hitch: Hitch,
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

impl Answer {
    /// Reads a reply.
    pub fn of(reply: Reply) -> Self {
        let (status, retry_after_s, body) = match reply {
            Reply::NotSent(reason) => return Self::failed(Hitch::Connecting(reason)),
            Reply::Lost(_) | Reply::Http { complete: false, .. } => return Self::failed(Hitch::Unanswered),
            Reply::Http { status, retry_after_s, body, complete: true } => (status, retry_after_s, body),
        };
        match status {
            200 => Self::granted(&body).unwrap_or(Self::failed(Hitch::Unreadable)),
            403 => {
                let said = serde_json::from_slice::<Refused>(&body).ok().and_then(|refused| refused.reason);
                Self::Refused(said.as_deref().and_then(Missing::from_word))
            }
            status => Self::Failed { hitch: Hitch::Status(status), retry_after_s },
        }
    }

    fn failed(hitch: Hitch) -> Self {
        Self::Failed { hitch, retry_after_s: None }
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
    use super::*;
    use crate::outcome::{Cause, Reason};

    const TOKEN: &str = "eyJhbGciOi.J9_-";

    fn http(status: u16, body: &str) -> Answer {
        let body = body.as_bytes().to_vec();
        Answer::of(Reply::Http { status, retry_after_s: Some(7), body, complete: true })
    }

    fn hitch(answer: Answer) -> Hitch {
        match answer {
            Answer::Failed { hitch, .. } => hitch,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_token_comes_with_its_end_and_shows_itself_to_nobody() {
        let body = format!(r#"{{"token":"{TOKEN}","expirationTimestamp":"2026-01-01T00:00:00Z","more":1}}"#);
        let answer = http(200, &body);
        assert!(!format!("{answer:?}").contains(TOKEN));
        let Answer::Granted { bearer, expires_at } = answer else { panic!("{answer:?}") };
        assert_eq!(bearer, format!("Bearer {TOKEN}"));
        assert_eq!(expires_at, "2026-01-01T00:00:00Z".parse().unwrap());
    }

    #[test]
    fn a_success_that_brings_no_usable_token_is_none() {
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
            assert_eq!(hitch(http(200, &body)), Hitch::Unreadable, "{short}");
        }
    }

    #[test]
    fn a_refusal_says_what_is_missing_where_that_is_said() {
        for missing in Missing::ALL {
            let body = format!(r#"{{"error":"access_denied","reason":"{}"}}"#, missing.as_str());
            assert!(matches!(http(403, &body), Answer::Refused(Some(said)) if said == missing));
        }
        for body in
            [r#"{"error":"access_denied"}"#, r#"{"reason":"made_up"}"#, r#"{"reason":1}"#, "", "<html>"]
        {
            assert!(matches!(http(403, body), Answer::Refused(None)), "{body}");
        }
    }

    #[test]
    fn what_is_no_answer_about_the_pod_is_tried_again() {
        for status in [201, 302, 400, 401, 404, 429, 500, 503] {
            let answer = http(status, r#"{"reason":"assume_missing"}"#);
            assert!(matches!(answer, Answer::Failed { retry_after_s: Some(7), .. }), "{status}: {answer:?}");
            assert_eq!(hitch(answer), Hitch::Status(status));
        }
        let cut_off = Reply::Http { status: 200, retry_after_s: None, body: b"{".to_vec(), complete: false };
        assert_eq!(hitch(Answer::of(cut_off)), Hitch::Unanswered);
        assert_eq!(hitch(Answer::of(Reply::Lost(Cause::Timeout))), Hitch::Unanswered);
        assert_eq!(hitch(Answer::of(Reply::NotSent(Reason::Dns))), Hitch::Connecting(Reason::Dns));
    }
}
