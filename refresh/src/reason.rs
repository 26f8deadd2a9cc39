//! Why a grant is in its state. Each layer has a closed set of reasons of its own, with one sentence each; a [`Reason`] is an
//! entry of any of them. The words are public: they are in the state document, in metrics, logs, Events and the local API.

use agent_creds_core::words::Word;
use serde::{Deserialize, Serialize};
use strum::{EnumMessage, IntoStaticStr, VariantArray};

/// What a reason makes of the state of a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Severity {
    /// Nothing has to be done: a grant with a valid token stays `ready`.
    Notice,
    /// The sidecar tries again by itself.
    Transient,
    /// The store, or the way to it, does not answer. Says nothing about the Secrets, and passes by itself.
    Outage,
    /// The way to the store is closed to this pod: `misconfigured`. Says nothing about the Secrets.
    Denied,
    /// A person has to correct a Secret or a right: `misconfigured`.
    Misconfigured,
    /// The provider granted less than was asked: `scope_denied`.
    ScopeDenied,
    /// A person has to log in again: `reauth_required`.
    ReauthRequired,
}

/// A closed set of reasons: one per layer.
pub trait ReasonSet: Word {
    /// What this reason makes of the state of a grant.
    fn severity(self) -> Severity;
}

/// An entry of a closed set of reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Reason {
    /// The word.
    pub word: &'static str,
    /// One sentence for on-call: what happened and what to look at. A message adds how the answer came (`document::Http`).
    pub sentence: &'static str,
    /// What it makes of the state of a grant.
    pub severity: Severity,
}

impl<T: ReasonSet> From<T> for Reason {
    fn from(reason: T) -> Self {
        Self { word: reason.as_str(), sentence: reason.sentence(), severity: reason.severity() }
    }
}

impl Reason {
    /// Whether the store, or the way to it, does not answer for a while, and no person has to act.
    pub fn is_outage(self) -> bool {
        self.severity == Severity::Outage
    }

    /// Whether the store could not be asked, so that nothing was learnt about the Secrets.
    pub fn is_about_access(self) -> bool {
        matches!(self.severity, Severity::Outage | Severity::Denied)
    }

    /// Whether only a person can correct it. Such a reason wins over every other.
    pub fn needs_a_person(self) -> bool {
        !matches!(self.severity, Severity::Notice | Severity::Transient | Severity::Outage)
    }

    /// Returns the reason for a word of the state document: of `retry.reason` or `verdict.error`.
    pub fn stored(word: &str) -> Option<Self> {
        NotSent::from_word(word)
            .map(Self::from)
            .or_else(|| Refused::from_word(word).map(Self::from))
            .or_else(|| Outlook::from_word(word).map(Self::from))
    }
}

/// Why a token request was not sent. The refresh token is untouched.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, IntoStaticStr, VariantArray, EnumMessage,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum NotSent {
    /// The host name has no address.
    #[strum(message = "the host of the token endpoint has no address; check the cluster's DNS and the grant")]
    Dns,
    /// No TCP connection.
    #[strum(
        message = "the token endpoint cannot be reached; check network policies and the provider's status"
    )]
    Connect,
    /// The TLS handshake failed.
    #[strum(
        message = "the TLS handshake with the token endpoint failed; for a private CA set the chart value providerRoots"
    )]
    Tls,
    /// `token_url` has a private address, and `allow_private` is not set.
    #[strum(
        message = "key grant.yaml: token_url: its host has a private address; write allow_private: true if that is meant"
    )]
    PrivateAddress,
    /// The send window of the claim was over.
    #[strum(message = "the claim was not followed up in time, so nothing was sent; the sidecar tries again")]
    GaveUp,
    /// The spool could not record that the request was about to be sent.
    #[strum(
        message = "the spool volume cannot be written, so nothing is sent; check the space of agent-creds-spool"
    )]
    SpoolFailed,
    /// The request cannot be built from the grant.
    #[strum(message = "no token request can be built from the grant Secret; check client_id and token_url")]
    GrantInvalid,
}

impl ReasonSet for NotSent {
    fn severity(self) -> Severity {
        match self {
            Self::Dns | Self::Connect | Self::Tls | Self::GaveUp | Self::SpoolFailed => Severity::Transient,
            Self::PrivateAddress | Self::GrantInvalid => Severity::Misconfigured,
        }
    }
}

/// Why a token endpoint granted nothing, in answers that leave the refresh token untouched (RFC 6749 §5.2), or where nothing
/// rotates, so that no answer leaves a doubt.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, IntoStaticStr, VariantArray, EnumMessage,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Refused {
    /// 5xx where nothing rotates, or 503 of a provider that documents it as "nothing was done".
    #[strum(message = "the token endpoint fails; the sidecar tries again")]
    ServerError,
    /// 429.
    #[strum(
        message = "the provider limits the rate of token requests; the sidecar tries again when the provider allows it"
    )]
    RateLimited,
    /// No answer, where nothing rotates.
    #[strum(message = "the token endpoint did not answer; the sidecar tries again")]
    NoAnswer,
    /// Neither a success nor an OAuth error, where nothing rotates.
    #[strum(
        message = "the token endpoint sends something that is not an OAuth answer; check token_url and the proxies before the provider"
    )]
    UnexpectedAnswer,
    /// 3xx. Redirects are not followed: the request carries credentials.
    #[strum(
        message = "the token endpoint redirects, and a redirect is not followed; write the final address into token_url in grant.yaml, often with or without a slash at its end"
    )]
    Redirected,
    /// `invalid_request`.
    #[strum(message = "the token endpoint answers invalid_request; check scopes and account in grant.yaml")]
    InvalidRequest,
    /// `invalid_client`.
    #[strum(
        message = "the token endpoint answers invalid_client; check client_id and client_secret in the grant Secret"
    )]
    InvalidClient,
    /// `unauthorized_client`.
    #[strum(
        message = "the token endpoint answers unauthorized_client; allow this flow for the client at the provider"
    )]
    UnauthorizedClient,
    /// `unsupported_grant_type`.
    #[strum(message = "the token endpoint answers unsupported_grant_type; check flow in grant.yaml")]
    UnsupportedGrantType,
    /// `invalid_scope`.
    #[strum(message = "the token endpoint answers invalid_scope; check scopes in grant.yaml")]
    InvalidScope,
    /// Another OAuth error.
    #[strum(
        message = "the token endpoint answers an OAuth error that is not in RFC 6749; check the grant at the provider"
    )]
    OauthError,
}

impl Refused {
    /// The reason for an `error` of RFC 6749 §5.2. The provider's own text is never passed on.
    pub fn of_oauth_error(error: &str) -> Self {
        match error {
            "invalid_request" => Self::InvalidRequest,
            // Of GitHub and of Slack.
            "invalid_client" | "incorrect_client_credentials" | "invalid_client_id" | "bad_client_secret" => {
                Self::InvalidClient
            }
            "unauthorized_client" => Self::UnauthorizedClient,
            "unsupported_grant_type" => Self::UnsupportedGrantType,
            "invalid_scope" => Self::InvalidScope,
            _ => Self::OauthError,
        }
    }
}

impl ReasonSet for Refused {
    fn severity(self) -> Severity {
        match self {
            Self::ServerError
            | Self::RateLimited
            | Self::NoAnswer
            | Self::UnexpectedAnswer
            | Self::OauthError => Severity::Transient,
            Self::InvalidScope => Severity::ScopeDenied,
            Self::Redirected
            | Self::InvalidRequest
            | Self::InvalidClient
            | Self::UnauthorizedClient
            | Self::UnsupportedGrantType => Severity::Misconfigured,
        }
    }
}

/// What the state document says about the lineage of refresh tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, IntoStaticStr, VariantArray, EnumMessage)]
#[strum(serialize_all = "snake_case")]
pub enum Outlook {
    /// Nothing is wrong.
    Ok,
    /// There is no token yet.
    #[strum(message = "the first token is on its way")]
    Starting,
    /// The grant Secret holds a login that was replaced before.
    #[strum(
        message = "the grant Secret holds an old login again, which is not used; write the current one, or leave it"
    )]
    StaleSeed,
    /// The provider refused the new login; the lineage before it stays in use.
    #[strum(
        message = "the provider refused the new login in the grant Secret; the login before it stays in use; log in again"
    )]
    NewSeedRejected,
    /// An answer went missing: the refresh token may be spent.
    #[strum(
        message = "an answer of the provider went missing; the refresh token is not presented again before the provider's rule allows it"
    )]
    InDoubt,
    /// An answer came and could not be read: the refresh token may be spent.
    #[strum(
        message = "the answer of the token endpoint cannot be read; it is kept in the spool of the pod that received it (docs/refresh-protocol.md); the refresh token is not presented again before the provider's rule allows it"
    )]
    UnreadableAnswer,
    /// A success without a new refresh token, after an answer had gone missing.
    #[strum(
        message = "after a missing answer the provider sent no new refresh token; log in again before the access token ends"
    )]
    RotationLost,
    /// The token carries less than the grant asks for.
    #[strum(
        message = "the provider granted less than grant.yaml asks for; correct scopes, or log in again with them"
    )]
    ScopeDowngraded,
    /// The provider issues access tokens that are no bearer tokens.
    #[strum(
        message = "the provider issues access tokens of another type than Bearer, such as DPoP, and they are not served; set the client to bearer tokens at the provider"
    )]
    UnsupportedTokenType,
    /// The provider says that the refresh token is dead.
    #[strum(
        message = "the provider refuses the refresh token; log in again and write the new refresh_token into the grant Secret"
    )]
    InvalidGrant,
    /// The refresh token was never presented by a sidecar, and is dead.
    #[strum(
        message = "the refresh token was used or revoked outside of agent-creds; log in again, and give this login to no other program"
    )]
    SpentElsewhere,
    /// A newer version wrote the state and excludes this one.
    #[strum(message = "the state was written by a newer version; upgrade this sidecar")]
    StateNewer,
    /// The state was copied from another cluster.
    #[strum(
        message = "the state Secret was copied from another cluster, whose replicas may be using it; log in again here"
    )]
    ForeignState,
    /// Provider, endpoint or client changed, and the refresh token did not.
    #[strum(
        message = "provider, token endpoint or client_id changed and the refresh token did not; log in again at the new one"
    )]
    BindingChanged,
    /// Another token endpoint accepted the client secret.
    #[strum(
        message = "another token endpoint accepted this client_secret, so it is not sent to this one; write a client_secret of this server, or confirm the move as docs/grants.md says"
    )]
    SecretBound,
}

impl ReasonSet for Outlook {
    fn severity(self) -> Severity {
        match self {
            Self::Ok | Self::StaleSeed => Severity::Notice,
            Self::Starting
            | Self::NewSeedRejected
            | Self::InDoubt
            | Self::UnreadableAnswer
            | Self::RotationLost => Severity::Transient,
            Self::ScopeDowngraded => Severity::ScopeDenied,
            Self::InvalidGrant | Self::SpentElsewhere => Severity::ReauthRequired,
            Self::UnsupportedTokenType
            | Self::StateNewer
            | Self::ForeignState
            | Self::BindingChanged
            | Self::SecretBound => Severity::Misconfigured,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back_every_stored_word() {
        for reason in NotSent::VARIANTS.iter().map(|r| Reason::from(*r)) {
            assert_eq!(Reason::stored(reason.word), Some(reason));
        }
        assert_eq!(Reason::stored("rate_limited"), Some(Refused::RateLimited.into()));
        assert_eq!(Reason::stored("rotation_lost"), Some(Outlook::RotationLost.into()));
        assert_eq!(Reason::stored("made_up"), None);
    }

    #[test]
    fn an_oauth_error_outside_the_rfc_is_one_word() {
        assert_eq!(Refused::of_oauth_error("invalid_client"), Refused::InvalidClient);
        assert_eq!(Refused::of_oauth_error("<script>"), Refused::OauthError);
    }
}
