//! Every outcome of `POST /identity` and every reason for it: label values of `agent_creds_identity_total`, fields of log lines, and
//! the table in `docs/identity.md`.

use agent_creds_core::exchange_api::Missing;

use strum::{EnumMessage, IntoStaticStr, VariantArray};

/// The outcome of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, IntoStaticStr, VariantArray, EnumMessage)]
#[strum(serialize_all = "snake_case")]
pub enum Outcome {
    /// A token was issued.
    Issued,
    /// No token: 403.
    Refused,
    /// Too many requests: 429.
    Limited,
    /// The identity server or the API server cannot answer now: 503.
    Unavailable,
    /// Not a request that a sidecar sends: 400, 408, 413 or 415.
    Invalid,
}

/// Why a request ended as it did. The doc comment of each is its line in the generated table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, IntoStaticStr, VariantArray, EnumMessage)]
pub enum Reason {
    /// A token of the credential ServiceAccount.
    #[strum(serialize = "issued")]
    Issued,
    /// Not a JWT with the claims of a ServiceAccount's token.
    #[strum(serialize = "token_malformed")]
    Malformed,
    /// The token is for another audience.
    #[strum(serialize = "audience")]
    Audience,
    /// The token has another issuer.
    #[strum(serialize = "issuer")]
    Issuer,
    /// The token has expired.
    #[strum(serialize = "token_expired")]
    Expired,
    /// The token is not bound to a pod.
    #[strum(serialize = "not_of_a_pod")]
    NotOfPod,
    /// The API server refuses the token: it is forged or expired, or its pod was deleted.
    #[strum(serialize = "token_refused")]
    Unauthentic,
    /// The pod does not exist.
    #[strum(serialize = "pod_missing")]
    PodMissing,
    /// Another pod has the name of the token's pod.
    #[strum(serialize = "pod_replaced")]
    PodReplaced,
    /// The pod runs under another ServiceAccount than the token's.
    #[strum(serialize = "pod_account")]
    PodAccount,
    /// The pod has finished, or should have been deleted by now.
    #[strum(serialize = "pod_ended")]
    PodEnded,
    /// The pod's seal is not valid or of another time, or the pod differs from it.
    #[strum(serialize = "seal")]
    Seal,
    /// The pod contains something that could reach into the sidecar.
    #[strum(serialize = "pod_forbidden")]
    PodForbidden,
    /// The credential ServiceAccount is the pod's own.
    #[strum(serialize = "own_account")]
    OwnAccount,
    /// The pod's ServiceAccount may not assume the credential ServiceAccount.
    #[strum(serialize = "assume_missing")]
    AssumeMissing,
    /// The credential ServiceAccount does not exist.
    #[strum(serialize = "account_missing")]
    AccountMissing,
    /// The identity server may not create tokens of the credential ServiceAccount.
    #[strum(serialize = "mint_missing")]
    MintMissing,
    /// Too many requests without a valid token from one address.
    #[strum(serialize = "source_limited")]
    SourceLimited,
    /// Too many requests of one pod.
    #[strum(serialize = "pod_limited")]
    PodLimited,
    /// Too many requests at the same time.
    #[strum(serialize = "busy")]
    Busy,
    /// There are no seal keys, so no seal can be verified.
    #[strum(serialize = "keys_missing")]
    KeysMissing,
    /// The API server does not answer in time.
    #[strum(serialize = "api_timeout")]
    ApiTimeout,
    /// The connection to the API server failed.
    #[strum(serialize = "api_unreachable")]
    ApiUnreachable,
    /// The API server answers with an error.
    #[strum(serialize = "api_error")]
    ApiError,
    /// The API server's answer is too large or not the requested object.
    #[strum(serialize = "api_answer")]
    ApiAnswer,
    /// The identity server lacks a right of its own, or its token is not accepted.
    #[strum(serialize = "own_rights")]
    OwnRights,
    /// The body is not a request of a sidecar.
    #[strum(serialize = "request_invalid")]
    RequestInvalid,
    /// The body is too large, too slow or of another media type.
    #[strum(serialize = "body_refused")]
    BodyRefused,
}

impl Reason {
    /// Returns the outcome of this reason.
    pub fn outcome(self) -> Outcome {
        match self {
            Self::Issued => Outcome::Issued,
            Self::Malformed
            | Self::Audience
            | Self::Issuer
            | Self::Expired
            | Self::NotOfPod
            | Self::Unauthentic
            | Self::PodMissing
            | Self::PodReplaced
            | Self::PodAccount
            | Self::PodEnded
            | Self::Seal
            | Self::PodForbidden
            | Self::OwnAccount
            | Self::AssumeMissing
            | Self::AccountMissing
            | Self::MintMissing => Outcome::Refused,
            Self::SourceLimited | Self::PodLimited => Outcome::Limited,
            Self::Busy
            | Self::KeysMissing
            | Self::ApiTimeout
            | Self::ApiUnreachable
            | Self::ApiError
            | Self::ApiAnswer
            | Self::OwnRights => Outcome::Unavailable,
            Self::RequestInvalid | Self::BodyRefused => Outcome::Invalid,
        }
    }
}

impl Reason {
    /// Returns the missing right that the sidecar of a verified pod is told.
    pub fn missing(self) -> Option<Missing> {
        match self {
            Self::AssumeMissing => Some(Missing::Assume),
            Self::AccountMissing => Some(Missing::Account),
            Self::MintMissing => Some(Missing::Mint),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use agent_creds_core::words::Word as _;

    use super::*;

    #[test]
    fn every_reason_has_its_own_label_and_a_line_for_the_table() {
        let labels: BTreeSet<_> = Reason::VARIANTS.iter().map(|reason| reason.as_str()).collect();
        assert_eq!(labels.len(), Reason::VARIANTS.len());
        for reason in Reason::VARIANTS {
            assert!(reason.as_str().chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{reason:?}");
            let meaning = reason.meaning();
            assert!(!meaning.is_empty() && meaning.len() < 110 && !meaning.contains('|'), "{meaning}");
        }
    }

    #[test]
    fn what_is_told_outside_is_what_the_sidecar_can_read() {
        for reason in Reason::VARIANTS {
            if let Some(missing) = reason.missing() {
                assert_eq!((missing.as_str(), reason.outcome()), (reason.as_str(), Outcome::Refused));
            }
        }
        assert_eq!(
            Reason::VARIANTS.iter().filter(|reason| reason.missing().is_some()).count(),
            Missing::VARIANTS.len()
        );
    }
}
