//! Every outcome of `POST /identity` and every reason for it: the label values of `agent_creds_identity_total`, the words
//! in the log, and the table that users read. Both sets are closed.

use agent_creds_core::identity::Missing;

use crate::reasons::reasons;

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// A token was handed out.
    Issued,
    /// No token: 403.
    Refused,
    /// Asked too often: 429.
    Limited,
    /// We or the API server cannot answer now: 503.
    Unavailable,
    /// Not a request that a sidecar sends: 400, 408, 413 or 415.
    Invalid,
}

impl Outcome {
    /// The label value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Issued => "issued",
            Self::Refused => "refused",
            Self::Limited => "limited",
            Self::Unavailable => "unavailable",
            Self::Invalid => "invalid",
        }
    }
}

reasons! {
    Issued {
        Issued = "issued": "a token of the credential ServiceAccount",
    }
    Refused {
        Malformed = "token_malformed": "not a JWT with the claims of a ServiceAccount's token",
        Audience = "audience": "the token is for another audience",
        Issuer = "issuer": "the token is of another issuer",
        Expired = "token_expired": "the token has ended",
        NotOfPod = "not_of_a_pod": "the token is bound to no pod",
        Unauthentic = "token_refused": "the API server refuses the token: forged, ended, or its pod is gone",
        PodMissing = "pod_missing": "the pod is gone",
        PodReplaced = "pod_replaced": "another pod has the name of the token's pod",
        PodAccount = "pod_account": "the pod runs under another ServiceAccount than the token's",
        PodEnded = "pod_ended": "the pod has finished, or should have been deleted by now",
        Seal = "seal": "the pod's seal does not hold, or the pod is not what was sealed",
        PodForbidden = "pod_forbidden": "something in the pod could reach into the sidecar",
        OwnAccount = "own_account": "the credential ServiceAccount is the pod's own",
        AssumeMissing = "assume_missing": "the pod's ServiceAccount may not assume the credential ServiceAccount",
        AccountMissing = "account_missing": "the credential ServiceAccount does not exist",
        MintMissing = "mint_missing": "the identity server may not mint tokens of the credential ServiceAccount",
    }
    Limited {
        SourceLimited = "source_limited": "too many tokens from one address that came to nothing",
        PodLimited = "pod_limited": "one pod asks too often",
    }
    Unavailable {
        Busy = "busy": "too many requests are under way",
        KeysMissing = "keys_missing": "there are no seal keys, so no pod can prove itself",
        ApiTimeout = "api_timeout": "the API server does not answer in time",
        ApiUnreachable = "api_unreachable": "no connection to the API server, or it broke",
        ApiError = "api_error": "the API server answers with an error",
        ApiAnswer = "api_answer": "the API server answers something else than what was asked for, or too much",
        OwnRights = "own_rights": "the identity server lacks a right of its own, or its token is not accepted",
    }
    Invalid {
        RequestInvalid = "request_invalid": "the body is not a request of a sidecar",
        BodyRefused = "body_refused": "the body is too large, too slow or of another media type",
    }
}

impl Reason {
    /// What a pod that has proved itself is told, so that its sidecar can say which right to give.
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

    use super::*;

    #[test]
    fn every_reason_has_its_own_label_and_a_line_for_the_table() {
        let labels: BTreeSet<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
        assert_eq!(labels.len(), Reason::ALL.len());
        for reason in Reason::ALL {
            assert!(reason.as_str().chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{reason:?}");
            let meaning = reason.meaning();
            assert!(meaning.len() < 100 && !meaning.contains('|') && !meaning.ends_with('.'), "{meaning}");
        }
    }

    #[test]
    fn what_is_told_outside_is_what_the_sidecar_can_read() {
        for reason in Reason::ALL {
            if let Some(missing) = reason.missing() {
                assert_eq!((missing.as_str(), reason.outcome()), (reason.as_str(), Outcome::Refused));
            }
        }
        assert_eq!(
            Reason::ALL.iter().filter(|reason| reason.missing().is_some()).count(),
            Missing::ALL.len()
        );
    }
}
