//! The ways in which a request is refused: what the client is told, and what the log is told.

/// A refusal. The client gets `error` and `description` and never `reason`.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: u16,
    /// An error code of RFC 6749 §5.2, or one of our own for what is no token request at all.
    pub(super) error: &'static str,
    pub(super) description: &'static str,
    pub(super) reason: String,
    /// The client tried HTTP Basic, so that the answer must name the scheme (RFC 6749 §5.2).
    pub(super) challenge: bool,
}

impl Refusal {
    fn new(status: u16, error: &'static str, description: &'static str, reason: impl Into<String>) -> Self {
        Self { status, error, description, reason: reason.into(), challenge: false }
    }

    pub(super) fn invalid_request(reason: impl Into<String>) -> Self {
        Self::new(400, "invalid_request", "The request is malformed", reason)
    }

    /// PagerDuty's own answer to scopes that an app token can't have.
    pub(super) fn pagerduty_scope(reason: impl Into<String>) -> Self {
        Self::new(400, "invalid_request", "Invalid scope", reason)
    }

    pub(super) fn invalid_client(status: u16, reason: impl Into<String>) -> Self {
        Self::new(status, "invalid_client", "Client authentication failed", reason)
    }

    /// The same answer for unknown, used, revoked and foreign tokens: a client must not learn which.
    pub(super) fn invalid_grant(reason: impl Into<String>) -> Self {
        Self::new(400, "invalid_grant", "The grant is invalid", reason)
    }

    pub(super) fn invalid_scope(reason: impl Into<String>) -> Self {
        Self::new(400, "invalid_scope", "The scope exceeds what was granted", reason)
    }

    pub(super) fn unauthorized_client(reason: impl Into<String>) -> Self {
        Self::new(400, "unauthorized_client", "The client may not use this grant type", reason)
    }

    pub(super) fn unsupported_grant_type(reason: impl Into<String>) -> Self {
        Self::new(400, "unsupported_grant_type", "The grant type is not supported", reason)
    }

    pub(super) fn not_found(reason: impl Into<String>) -> Self {
        Self::new(404, "not_found", "There is nothing here", reason)
    }

    pub(super) fn method_not_allowed(reason: impl Into<String>) -> Self {
        Self::new(405, "method_not_allowed", "Tokens are asked for by POST", reason)
    }

    pub(super) fn misdirected(reason: impl Into<String>) -> Self {
        Self::new(421, "misdirected", "This connection is for another host", reason)
    }

    /// What stands in the log when a fault kept a request from being carried out.
    pub(super) fn unprocessed() -> Self {
        Self::new(500, "unprocessed", "", "a fault came first")
    }
}
