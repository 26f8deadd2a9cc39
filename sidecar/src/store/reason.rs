//! Reasons of this layer: what is wrong with the two Secrets, or with the way to them.

use agent_creds_refresh::reason::{ReasonSet, Severity};
use strum::{EnumMessage, IntoStaticStr, VariantArray};

/// Why the Secrets of a grant cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, IntoStaticStr, VariantArray, EnumMessage)]
#[strum(serialize_all = "snake_case")]
pub enum SecretReason {
    /// The grant Secret does not exist.
    #[strum(message = "the grant Secret does not exist; create it")]
    GrantMissing,
    /// The grant Secret is incomplete or wrong.
    #[strum(message = "the grant Secret is incomplete or wrong")]
    GrantInvalid,
    /// Another grant of this pod has the same login.
    #[strum(
        message = "two grants of this pod have the same refresh token, and each use replaces it; log in once for each"
    )]
    SharedLogin,
    /// The state Secret does not exist.
    #[strum(
        message = "the state Secret does not exist; create it empty, with the label agent-creds/state-of"
    )]
    StateMissing,
    /// The state Secret lacks its label, or its content is no state document.
    #[strum(message = "the state Secret lacks its label or holds no state document; it is not overwritten")]
    StateInvalid,
    /// The API server denied reading or writing a Secret.
    #[strum(
        message = "the API server denied reading or writing a Secret (403); grant the sidecar's account the rights listed in docs/identity.md"
    )]
    StoreForbidden,
    /// The store does not answer.
    #[strum(message = "the store does not answer; the last known token is served until it ends")]
    StoreUnavailable,
}

impl ReasonSet for SecretReason {
    fn severity(self) -> Severity {
        match self {
            Self::StoreUnavailable => Severity::Outage,
            Self::GrantMissing
            | Self::GrantInvalid
            | Self::SharedLogin
            | Self::StateMissing
            | Self::StateInvalid
            | Self::StoreForbidden => Severity::Misconfigured,
        }
    }
}
