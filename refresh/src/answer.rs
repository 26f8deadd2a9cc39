//! What an answer of the token endpoint means for the refresh token that was presented. The classes are those after which
//! something different follows: commit, back off, wait in doubt, or ask a person. Of a body, only tokens, scopes and a
//! lifetime leave this module.

use agent_creds_core::grant::MAX_TOKEN;
use agent_creds_core::provider::Unavailable;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use strum::{EnumMessage, IntoStaticStr, VariantArray};

use super::document::Token;
use super::login::Asked;
use crate::reason::{NotSent, Refused};

/// What came back over the wire. Not `Debug`: a body holds tokens.
pub enum Reply {
    /// Nothing was sent.
    NotSent(NotSent),
    /// The request was sent, and no complete head of an answer came: timeout, reset.
    Lost(Cause),
    /// An answer.
    Http {
        /// Its status.
        status: u16,
        /// `Retry-After` or the provider's own header, in seconds from now.
        retry_after_s: Option<i64>,
        /// Its body, as far as it was received.
        body: Vec<u8>,
        /// Whether the whole body was received, within its size limit.
        complete: bool,
    },
}

impl Reply {
    /// Whether the status is 2xx.
    pub fn is_success(&self) -> bool {
        matches!(self, Self::Http { status: 200..=299, .. })
    }
}

/// What a reply means.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// A new access token.
    Granted(Tokens),
    /// Nothing was sent.
    NotSent(NotSent),
    /// The provider refused the request and left the refresh token untouched.
    Refused {
        /// Why.
        reason: Refused,
        /// Seconds after which the provider allows the next request.
        retry_after_s: Option<i64>,
    },
    /// The provider may have replaced the refresh token.
    InDoubt {
        /// What happened instead of an answer.
        cause: Cause,
        /// A complete refresh token in a broken body. It is kept, since its parent is spent by now.
        salvaged: Option<Token>,
    },
    /// The provider says that the refresh token is dead.
    InvalidGrant,
}

/// The tokens of RFC 6749 §5.1.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Tokens {
    /// `access_token`.
    pub access: Token,
    /// `refresh_token`; absent: the old one stays.
    pub refresh: Option<Token>,
    /// `expires_in` in seconds; absent: the definition's default.
    pub expires_in: Option<i64>,
    /// `scope`, split at spaces; absent: as asked.
    pub scopes: Option<Vec<String>>,
}

/// What happened instead of an answer.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, IntoStaticStr, VariantArray, EnumMessage,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Cause {
    /// No answer within the time limit.
    Timeout,
    /// The connection broke after the request was sent.
    Reset,
    /// 5xx.
    ServerError,
    /// Neither a success nor an OAuth error.
    UnexpectedStatus,
    /// A success whose body ends early, or is larger than any token answer.
    Truncated,
    /// A success whose body is no JSON object.
    NotJson,
    /// A success whose refresh token is no token.
    BadRefreshToken,
    /// A success without an access token.
    NoAccessToken,
    /// The holder of the claim was silent for its whole term.
    Silent,
    /// The holder of the claim ended between sending and the answer.
    Crashed,
    /// The answer was missing already when a login was adopted that has been refused since.
    BeforeNewLogin,
}

/// Most scopes of an answer that are kept: they go into the document, whose size is limited.
const MAX_SCOPES: usize = 128;
/// Longest lifetime that is believed: ten years, in seconds.
const MAX_LIFE: i64 = 10 * 365 * 86_400;

#[derive(Deserialize)]
struct Body {
    access_token: Option<String>,
    refresh_token: Option<String>,
    expires_in: Option<Value>,
    scope: Option<Value>,
    error: Option<Value>,
    /// Slack says `false` in a 200.
    ok: Option<bool>,
}

impl Answer {
    /// Reads a reply to what was `asked`.
    pub fn of(reply: Reply, asked: &Asked) -> Self {
        let (status, retry_after_s, body, complete) = match reply {
            Reply::NotSent(reason) => return Self::NotSent(reason),
            Reply::Lost(cause) => return Self::InDoubt { cause, salvaged: None },
            Reply::Http { status, retry_after_s, body, complete } => (status, retry_after_s, body, complete),
        };
        let parsed = if complete { serde_json::from_slice::<Body>(&body).ok() } else { None };
        let failed = match status {
            400..=499 => true,
            // Slack's way: a failure is a 200 whose body says so.
            200..=299 => parsed.as_ref().is_some_and(|body| body.ok == Some(false)),
            _ => false,
        };
        let error = parsed.as_ref().and_then(|body| body.error.as_ref()).and_then(Value::as_str);
        let refused = |reason| Self::Refused { reason, retry_after_s };
        match (status, error.filter(|_| failed)) {
            (429, _) | (_, Some("ratelimited")) => refused(Refused::RateLimited),
            (503, _) if asked.unavailable == Unavailable::NotCommitted => refused(Refused::ServerError),
            (_, Some("invalid_grant")) | (200..=299, Some("invalid_refresh_token")) => Self::InvalidGrant,
            (_, Some(error)) => refused(Refused::of_oauth_error(error)),
            (200..=299, None) => Self::success(parsed, &body, complete),
            (500..=599, _) => Self::InDoubt { cause: Cause::ServerError, salvaged: None },
            _ => Self::InDoubt { cause: Cause::UnexpectedStatus, salvaged: None },
        }
    }

    /// The refresh token that came with it.
    pub fn child(&self) -> Option<&Token> {
        match self {
            Self::Granted(tokens) => tokens.refresh.as_ref(),
            Self::InDoubt { salvaged, .. } => salvaged.as_ref(),
            _ => None,
        }
    }

    /// Whether the answer holds a token that must not be lost.
    pub fn brought_a_token(&self) -> bool {
        matches!(self, Self::Granted(_)) || self.child().is_some()
    }

    fn success(parsed: Option<Body>, raw: &[u8], complete: bool) -> Self {
        let doubt = |cause, salvaged| Self::InDoubt { cause, salvaged };
        if !complete {
            return doubt(Cause::Truncated, salvage(raw));
        }
        // The body is complete but not that of RFC 6749 §5.1: the parent is spent all the same.
        let Some(body) = parsed else {
            return doubt(Cause::NotJson, salvage(raw));
        };
        let refresh = match body.refresh_token.filter(|text| !text.is_empty()).map(token) {
            Some(None) => return doubt(Cause::BadRefreshToken, None),
            refresh => refresh.flatten(),
        };
        let Some(access) = body.access_token.and_then(token) else {
            return doubt(Cause::NoAccessToken, refresh);
        };
        Self::Granted(Tokens {
            access,
            refresh,
            expires_in: body.expires_in.as_ref().and_then(seconds),
            scopes: body.scope.as_ref().and_then(scopes),
        })
    }
}

/// A token as RFC 6749 appendices A.12 and A.17 have it: printable ASCII, and of a bounded size.
fn token(text: String) -> Option<Token> {
    let good = !text.is_empty() && text.len() <= MAX_TOKEN && text.chars().all(|c| matches!(c, ' '..='~'));
    good.then(|| Token::from(text))
}

/// Some servers send the number as a string.
fn seconds(value: &Value) -> Option<i64> {
    let number = value
        .as_i64()
        .or_else(|| value.as_f64().map(|seconds| seconds as i64))
        .or_else(|| value.as_str().and_then(|text| text.trim().parse().ok()))?;
    (number > 0).then_some(number.min(MAX_LIFE))
}

/// Separated by spaces (RFC 6749 §3.3); some servers use commas or a JSON array.
fn scopes(value: &Value) -> Option<Vec<String>> {
    let split = |text: &str| -> Vec<String> {
        text.split([' ', ',']).filter(|scope| !scope.is_empty()).map(str::to_owned).collect()
    };
    let found = match value {
        Value::String(text) => split(text),
        Value::Array(items) => items.iter().filter_map(Value::as_str).flat_map(split).collect(),
        _ => return None,
    };
    let bounded = |scope: &String| scope.len() <= 512 && scope.chars().all(|c| c.is_ascii_graphic());
    Some(found.into_iter().filter(bounded).take(MAX_SCOPES).collect())
}

/// Finds `"refresh_token":"…"` in a body that cannot be parsed. Only a value with its closing quote and without escapes
/// counts, so that nothing is guessed.
fn salvage(raw: &[u8]) -> Option<Token> {
    let text = std::str::from_utf8(raw).unwrap_or_else(|e| {
        std::str::from_utf8(raw.get(..e.valid_up_to()).unwrap_or_default()).unwrap_or_default()
    });
    // `"refresh_token"` may also be a value, as in `"issued_token_type": "refresh_token"`.
    text.split("\"refresh_token\"").skip(1).find_map(|after| {
        let (value, _) =
            after.trim_start().strip_prefix(':')?.trim_start().strip_prefix('"')?.split_once('"')?;
        if value.contains('\\') { None } else { token(value.to_owned()) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::login;

    fn of(reply: Reply) -> Answer {
        Answer::of(reply, &login("r1").asked())
    }

    fn http(status: u16, body: &str) -> Answer {
        of(Reply::Http { status, retry_after_s: None, body: body.as_bytes().to_vec(), complete: true })
    }

    fn cut(body: &str) -> Answer {
        let body = body.as_bytes().to_vec();
        of(Reply::Http { status: 200, retry_after_s: None, body, complete: false })
    }

    #[test]
    fn a_success_is_read_leniently() {
        let Answer::Granted(tokens) = http(
            200,
            r#"{"access_token":"a","refresh_token":"r","expires_in":"3600","scope":"x y,z","extra":[1]}"#,
        ) else {
            panic!("granted")
        };
        assert_eq!(tokens.access.expose(), "a");
        assert_eq!(tokens.refresh.unwrap().expose(), "r");
        assert_eq!(tokens.expires_in, Some(3600));
        assert_eq!(tokens.scopes.unwrap(), ["x", "y", "z"]);

        let Answer::Granted(tokens) = http(201, r#"{"access_token":"a","refresh_token":"","expires_in":-1}"#)
        else {
            panic!("granted")
        };
        assert!(tokens.refresh.is_none(), "an empty refresh token is none: the old one stays");
        assert_eq!((tokens.expires_in, tokens.scopes), (None, None));
    }

    #[test]
    fn only_invalid_grant_condemns_a_refresh_token() {
        assert!(matches!(http(400, r#"{"error":"invalid_grant"}"#), Answer::InvalidGrant));
        assert!(matches!(http(401, r#"{"error":"invalid_grant"}"#), Answer::InvalidGrant));
        for (status, error, expected) in [
            (401, "invalid_client", Refused::InvalidClient),
            (400, "invalid_request", Refused::InvalidRequest),
            (400, "invalid_scope", Refused::InvalidScope),
            (400, "something", Refused::OauthError),
        ] {
            let Answer::Refused { reason, .. } = http(status, &format!(r#"{{"error":"{error}"}}"#)) else {
                panic!("{error}")
            };
            assert_eq!(reason, expected);
        }
    }

    #[test]
    fn what_is_neither_a_grant_nor_an_oauth_error_is_doubt() {
        for (status, body, expected) in [
            (200, "<html>welcome</html>", Cause::NotJson),
            (200, "", Cause::NotJson),
            (200, "{}", Cause::NoAccessToken),
            (200, r#"{"access_token":"a\nb"}"#, Cause::NoAccessToken),
            (200, r#"{"error":"invalid_grant"}"#, Cause::NoAccessToken),
            (302, "", Cause::UnexpectedStatus),
            (404, "<html>", Cause::UnexpectedStatus),
            (400, "invalid_grant", Cause::UnexpectedStatus),
            (500, r#"{"error":"invalid_grant"}"#, Cause::ServerError),
            (503, "", Cause::ServerError),
        ] {
            let Answer::InDoubt { cause, salvaged: None } = http(status, body) else {
                panic!("{status} {body}")
            };
            assert_eq!(cause, expected, "{status} {body}");
        }
        assert!(matches!(of(Reply::Lost(Cause::Timeout)), Answer::InDoubt { cause: Cause::Timeout, .. }));
    }

    #[test]
    fn a_whole_refresh_token_in_a_broken_body_is_saved() {
        let saved = |body| match cut(body) {
            Answer::InDoubt { salvaged, .. } => salvaged.map(|token| token.expose().to_owned()),
            _ => panic!("doubt"),
        };
        assert_eq!(saved(r#"{"refresh_token" : "r+1", "access_tok"#).as_deref(), Some("r+1"));
        assert_eq!(saved(r#"{"refresh_token":"r+1"#), None, "perhaps cut off");
        assert_eq!(saved(r#"{"refresh_token":"r\u002b","#), None, "escaped: not guessed");
        assert_eq!(saved(r#"{"access_token":"a"#), None);
        let Answer::InDoubt { salvaged: Some(_), .. } = http(200, r#"{"refresh_token":"r"}"#) else {
            panic!("a refresh token without an access token is kept too")
        };
    }

    #[test]
    fn a_refresh_token_that_cannot_be_kept_is_doubt_and_never_taken_for_none() {
        let answer = http(200, r#"{"access_token":"a","refresh_token":"x\u00e9y"}"#);
        assert!(matches!(answer, Answer::InDoubt { cause: Cause::BadRefreshToken, .. }));
        let huge = format!(r#"{{"access_token":"a","refresh_token":"{}"}}"#, "x".repeat(MAX_TOKEN + 1));
        assert!(matches!(http(200, &huge), Answer::InDoubt { .. }));
        let Answer::Granted(tokens) = http(200, r#"{"access_token":"a","refresh_token":"x y"}"#) else {
            panic!()
        };
        assert_eq!(tokens.refresh.unwrap().expose(), "x y", "RFC 6749 appendix A.17 has the space");
    }

    #[test]
    fn a_whole_answer_that_cannot_be_parsed_gives_up_its_refresh_token() {
        for body in [
            r#"{"access_token":"a","access_token":"a","refresh_token":"r1"}"#,
            r#"{"access_token":"a","refresh_token":"r1"} <!-- proxy -->"#,
            r#"{"access_token":7,"token_kind":"refresh_token","refresh_token":"r1"}"#,
        ] {
            let Answer::InDoubt { salvaged: Some(token), .. } = http(200, body) else { panic!("{body}") };
            assert_eq!(token.expose(), "r1");
        }
    }

    #[test]
    fn scopes_of_an_answer_are_bounded() {
        let many = "s ".repeat(50_000);
        let Answer::Granted(tokens) = http(200, &format!(r#"{{"access_token":"a","scope":"{many}"}}"#))
        else {
            panic!()
        };
        assert_eq!(tokens.scopes.unwrap().len(), MAX_SCOPES);
    }

    #[test]
    fn a_429_and_what_was_never_sent_are_tried_again() {
        let reply = Reply::Http { status: 429, retry_after_s: Some(7), body: Vec::new(), complete: true };
        let Answer::Refused { reason: Refused::RateLimited, retry_after_s: Some(7) } = of(reply) else {
            panic!("rate limited")
        };
        let Answer::NotSent(NotSent::Dns) = of(Reply::NotSent(NotSent::Dns)) else { panic!("not sent") };
    }
}
