//! The exchange of a pod's token for a token of its credential ServiceAccount: what each step of `POST /identity` asks and what the
//! answer means. The steps:
//!
//! 1. [`claims`]: cheap refusals on the unverified claims of the token.
//! 2. [`caller`]: TokenReview, which verifies the token and names its pod.
//! 3. [`pod`]: the pod as it is now: it has not ended, and it is what was sealed ([`sealed`]).
//! 4. [`token_request`]: SubjectAccessReview (may the pod's account `assume` the credential account?), then TokenRequest.
//!
//! [`rate_limiter`] limits how often an address or a pod may ask. Nothing here does I/O or reads a clock.

pub mod caller;
pub mod claims;
pub mod outcome;
pub mod pod;
pub mod rate_limiter;
pub mod sealed;
pub mod token_request;

use std::fmt;

use agent_creds_core::names::{ObjectName, is_label, is_subdomain};

use outcome::Reason;

/// Returns the name of an account; `None` where it is not valid. A valid name in a path cannot lead to another object.
fn account(namespace: &str, name: &str) -> Option<ObjectName> {
    let valid = is_label(namespace) && is_subdomain(name);
    valid.then(|| ObjectName { namespace: namespace.to_owned(), name: name.to_owned() })
}

/// Why a request ends without a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// The reason.
    pub reason: Reason,
    /// For the log: what is wrong, where the reason alone does not tell. Never shown to the caller.
    pub detail: Option<String>,
}

impl Stopped {
    /// With a sentence for the log.
    pub fn because(reason: Reason, detail: impl fmt::Display) -> Self {
        Self { reason, detail: Some(detail.to_string()) }
    }
}

impl From<Reason> for Stopped {
    fn from(reason: Reason) -> Self {
        Self { reason, detail: None }
    }
}

/// An answer of the API server.
pub struct Answer<'a> {
    /// HTTP status.
    pub status: u16,
    /// Body, JSON.
    pub body: &'a [u8],
}

impl Answer<'_> {
    /// The object that was asked for. What is `None` here is the asker's business: 403 and 404 can mean something.
    fn object<T: serde::de::DeserializeOwned>(&self) -> Result<T, Reason> {
        match self.status {
            200..=299 => serde_json::from_slice(self.body).map_err(|_| Reason::ApiAnswer),
            401 | 403 => Err(Reason::OwnRights),
            _ => Err(Reason::ApiError),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn an_account_cannot_lead_elsewhere() {
        assert_eq!(account("ops", "a.b-creds").unwrap().to_string(), "ops/a.b-creds");
        let long = "a".repeat(254);
        for (namespace, name) in [
            ("", "a"),
            ("ops", ""),
            ("ops", ".."),
            ("..", "a"),
            ("ops", "a/token"),
            ("ops", "a?x"),
            ("ops/x", "a"),
            ("ops", "a%2f"),
            ("Ops", "a"),
            ("a.b", "a"),
            ("ops", &long),
        ] {
            assert_eq!(account(namespace, name), None, "{namespace}/{name}");
        }
    }

    #[test]
    fn what_the_api_server_does_not_answer_is_nobodys_fault_outside() {
        let reason = |status, body: &'static [u8]| Answer { status, body }.object::<Value>().err();
        assert_eq!(reason(200, b"{}"), None);
        assert_eq!(reason(201, b"{"), Some(Reason::ApiAnswer));
        assert_eq!(reason(403, b"{}"), Some(Reason::OwnRights));
        assert_eq!(reason(401, b"{}"), Some(Reason::OwnRights));
        for status in [301, 404, 409, 429, 500, 503] {
            assert_eq!(reason(status, b"{}"), Some(Reason::ApiError), "{status}");
        }
    }
}
