//! The refusals of a request: the answer to the client, and the reason in the log.

/// A refusal. The client receives `error` and `description`, never `reason`.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: u16,
    /// An error code of RFC 6749 §5.2, or one of our own if the request is not a token request.
    pub(super) error: &'static str,
    pub(super) description: &'static str,
    pub(super) reason: String,
    /// Whether the client tried HTTP Basic, so that the answer must name the scheme (RFC 6749 §5.2).
    pub(super) challenge: bool,
}

impl Refusal {
    fn new(status: u16, error: &'static str, description: &'static str, reason: impl Into<String>) -> Self {
        Self { status, error, description, reason: reason.into(), challenge: false }
    }

    pub(super) fn invalid_request(reason: impl Into<String>) -> Self {
        Self::new(400, "invalid_request", "The request is malformed", reason)
    }

    /// PagerDuty's answer to scopes that an app token cannot have.
    pub(super) fn pagerduty_scope(reason: impl Into<String>) -> Self {
        Self::new(400, "invalid_request", "Invalid scope", reason)
    }

    pub(super) fn invalid_client(status: u16, reason: impl Into<String>) -> Self {
        Self::new(status, "invalid_client", "Client authentication failed", reason)
    }

    /// The same answer for unknown, used, revoked and foreign tokens, so that a client cannot distinguish them.
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

    /// The log entry of a request that a fault kept from being carried out.
    pub(super) fn unprocessed() -> Self {
        Self::new(500, "unprocessed", "", "a fault came first")
    }
}
