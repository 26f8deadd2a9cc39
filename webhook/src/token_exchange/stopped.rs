//! The end of a request without a token.

use std::fmt;

use super::outcome::Reason;

/// Why a request ends without a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// The reason.
    pub reason: Reason,
    /// Details for the log, where the reason is not enough. Never shown to the caller.
    pub detail: Option<String>,
}

impl Stopped {
    /// Creates a value with details for the log.
    pub fn because(reason: Reason, detail: impl fmt::Display) -> Self {
        Self { reason, detail: Some(detail.to_string()) }
    }
}

impl From<Reason> for Stopped {
    fn from(reason: Reason) -> Self {
        Self { reason, detail: None }
    }
}
