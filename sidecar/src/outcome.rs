//! The closed sets of words that metrics, the local API and logs share: states, reasons and outcomes. A word
//! that is not here cannot be a label.

use prometheus_client::encoding::EncodeLabelValue;
use serde::{Deserialize, Serialize};

/// Declares an enum whose variants have one text each.
macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$doc])* #[serde(rename = $text)] $variant,)+
        }

        impl $name {
            /// All of them, in the order of the README's table.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The word.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }

            /// The variant of a word that was stored; `None` for one of another version.
            pub fn from_word(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|known| known.as_str() == word)
            }
        }

        impl EncodeLabelValue for $name {
            fn encode(
                &self,
                encoder: &mut prometheus_client::encoding::LabelValueEncoder<'_>,
            ) -> Result<(), std::fmt::Error> {
                EncodeLabelValue::encode(&self.as_str(), encoder)
            }
        }
    };
}

words! {
    /// State of a grant.
    State {
        /// No token yet.
        Pending = "pending",
        /// The token is valid and will be renewed.
        Ready = "ready",
        /// Trouble, and the token is still valid.
        Degraded = "degraded",
        /// Trouble, and the token has ended.
        Expired = "expired",
        /// The refresh token is dead: a person logs in again.
        ReauthRequired = "reauth_required",
        /// The provider granted less than was asked.
        ScopeDenied = "scope_denied",
        /// A Secret or a right is missing or wrong.
        Misconfigured = "misconfigured",
    }
}

words! {
    /// Why a grant is in its state, and why a refresh failed.
    Reason {
        /// Nothing is wrong.
        Ok = "ok",
        /// The first token is on its way.
        Starting = "starting",
        /// The grant Secret holds an old login again; it is not used.
        StaleSeed = "stale_seed",
        /// The new login was refused; the old one goes on.
        NewSeedRejected = "new_seed_rejected",
        /// An answer went missing: the refresh token may be spent.
        InDoubt = "in_doubt",
        /// The provider's host name has no address.
        Dns = "dns",
        /// The provider cannot be reached.
        Connect = "connect",
        /// The provider's certificate or TLS failed.
        Tls = "tls",
        /// `token_url` has a private address, and `allow_private` is not set.
        PrivateAddress = "private_address",
        /// The claim could not be followed up in time; nothing was sent.
        GaveUp = "gave_up",
        /// The spool volume cannot be written; nothing was sent.
        SpoolFailed = "spool_failed",
        /// 503 of a provider that documents it as "nothing was done".
        ServerError = "server_error",
        /// 429.
        RateLimited = "rate_limited",
        /// RFC 6749 §5.2.
        InvalidRequest = "invalid_request",
        /// RFC 6749 §5.2.
        InvalidClient = "invalid_client",
        /// RFC 6749 §5.2: the refresh token is dead.
        InvalidGrant = "invalid_grant",
        /// The refresh token was never presented by us, and is dead: it was used or revoked elsewhere.
        SpentElsewhere = "spent_elsewhere",
        /// RFC 6749 §5.2.
        UnauthorizedClient = "unauthorized_client",
        /// RFC 6749 §5.2.
        UnsupportedGrantType = "unsupported_grant_type",
        /// RFC 6749 §5.2.
        InvalidScope = "invalid_scope",
        /// Another OAuth error.
        OauthError = "oauth_error",
        /// The token carries less than the grant asks for.
        ScopeDowngraded = "scope_downgraded",
        /// A success without a new refresh token, after an answer had gone missing.
        RotationLost = "rotation_lost",
        /// The grant Secret does not exist.
        GrantMissing = "grant_missing",
        /// The grant Secret is incomplete or wrong.
        GrantInvalid = "grant_invalid",
        /// The state Secret does not exist.
        StateMissing = "state_missing",
        /// The state Secret lacks its label, or its content is no state document.
        StateInvalid = "state_invalid",
        /// The state was written by a newer version that excludes this one.
        StateNewer = "state_newer",
        /// The state was copied from another cluster.
        ForeignState = "foreign_state",
        /// Another grant of this pod has the same login.
        SharedLogin = "shared_login",
        /// Provider, endpoint or client changed, and the refresh token did not.
        BindingChanged = "binding_changed",
        /// The store refuses us: a right is missing.
        StoreForbidden = "store_forbidden",
        /// The store does not answer.
        StoreUnavailable = "store_unavailable",
        /// There is no valid token of the credential ServiceAccount, and the identity server gives none now.
        IdentityUnavailable = "identity_unavailable",
        /// The identity server refuses the pod.
        IdentityRefused = "identity_refused",
        /// The pod's ServiceAccount may not assume the credential ServiceAccount.
        AssumeMissing = "assume_missing",
        /// The credential ServiceAccount does not exist.
        AccountMissing = "account_missing",
        /// The identity server may not make tokens of the credential ServiceAccount.
        MintMissing = "mint_missing",
    }
}

words! {
    /// What happened instead of an answer.
    Cause {
        /// None came in time.
        Timeout = "timeout",
        /// The connection broke after the request had left.
        Reset = "reset",
        /// 5xx.
        ServerError = "server_error",
        /// Neither success nor an OAuth error.
        UnexpectedStatus = "unexpected_status",
        /// A success that breaks off, or is larger than any token answer.
        Truncated = "truncated",
        /// A success that is no JSON object.
        NotJson = "not_json",
        /// A success whose refresh token is no token.
        BadRefreshToken = "bad_refresh_token",
        /// A success without an access token.
        NoAccessToken = "no_access_token",
        /// The holder of the claim was not heard of for its whole term.
        Silent = "silent",
        /// The holder of the claim ended between sending and the answer.
        Crashed = "crashed",
        /// It was missing already when a login came that has been refused since.
        BeforeNewLogin = "before_new_login",
    }
}

words! {
    /// What became of a presentation.
    Outcome {
        /// A token came and is stored.
        Success = "success",
        /// Nothing was sent.
        NotSent = "not_sent",
        /// The provider refused without touching the grant.
        NotCommitted = "not_committed",
        /// No usable answer: the provider may have rotated the token.
        InDoubt = "in_doubt",
        /// The provider says that the refresh token is dead.
        InvalidGrant = "invalid_grant",
        /// The token carries less than was asked; it is not served.
        ScopeDenied = "scope_denied",
    }
}

impl Reason {
    /// Whether it is over as soon as the store can be read again: nothing was learnt about the Secrets.
    pub fn is_about_the_way(self) -> bool {
        let refused = [Self::IdentityRefused, Self::AssumeMissing, Self::AccountMissing, Self::MintMissing];
        self.is_outage() || refused.contains(&self)
    }

    /// Whether the store cannot be asked for a while, and nobody is to blame.
    pub fn is_outage(self) -> bool {
        matches!(self, Self::StoreUnavailable | Self::IdentityUnavailable)
    }

    /// The reason for an `error` of RFC 6749 §5.2. The provider's own text is never passed on.
    pub fn of_oauth_error(error: &str) -> Self {
        match error {
            "invalid_request" => Self::InvalidRequest,
            "invalid_client" => Self::InvalidClient,
            "invalid_grant" => Self::InvalidGrant,
            "unauthorized_client" => Self::UnauthorizedClient,
            "unsupported_grant_type" => Self::UnsupportedGrantType,
            "invalid_scope" => Self::InvalidScope,
            _ => Self::OauthError,
        }
    }

    /// One sentence for on-call. It names what to look at, never what a peer said.
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::Ok => "",
            Self::Starting => "the first token is on its way",
            Self::StaleSeed => {
                "the grant Secret holds an old login again, which is not used; write the current one, or leave it"
            }
            Self::NewSeedRejected => {
                "the provider refused the new login in the grant Secret; the old one goes on; log in again"
            }
            Self::InDoubt => {
                "an answer of the provider went missing; the refresh token is not presented again before the provider's rule allows it"
            }
            Self::Dns => {
                "the host of the token endpoint has no address; check the cluster's DNS and the grant"
            }
            Self::Connect => {
                "the token endpoint cannot be reached; check network policies and the provider's status"
            }
            Self::Tls => {
                "the TLS handshake with the token endpoint failed; for a private CA set the chart value providerRoots"
            }
            Self::PrivateAddress => {
                "key grant.yaml: token_url: its host has a private address; write allow_private: true if that is meant"
            }
            Self::GaveUp => "the refresh was not followed up in time and nothing was sent; it is tried again",
            Self::SpoolFailed => {
                "the spool volume cannot be written, so nothing is sent; check the space of agent-creds-spool"
            }
            Self::ServerError => "the token endpoint answers 503; it is tried again",
            Self::SpentElsewhere => {
                "the refresh token was used or revoked outside of agent-creds; log in again, and give this login to no other program"
            }
            Self::RateLimited => "the token endpoint answers 429; it is tried again when the provider allows",
            Self::InvalidRequest => {
                "the token endpoint answers invalid_request; check scopes and account in grant.yaml"
            }
            Self::InvalidClient => {
                "the token endpoint answers invalid_client; check client_id and client_secret in the grant Secret"
            }
            Self::InvalidGrant => {
                "the provider refuses the refresh token; log in again and write the new refresh_token into the grant Secret"
            }
            Self::UnauthorizedClient => {
                "the token endpoint answers unauthorized_client; allow this flow for the client at the provider"
            }
            Self::UnsupportedGrantType => {
                "the token endpoint answers unsupported_grant_type; check flow in grant.yaml"
            }
            Self::InvalidScope => "the token endpoint answers invalid_scope; check scopes in grant.yaml",
            Self::OauthError => {
                "the token endpoint answers an OAuth error that is not in RFC 6749; check the grant at the provider"
            }
            Self::ScopeDowngraded => {
                "the provider granted less than grant.yaml asks for; correct scopes, or log in again with them"
            }
            Self::RotationLost => {
                "after a missing answer the provider sent no new refresh token; log in again before the access token ends"
            }
            Self::GrantMissing => "the grant Secret does not exist; create it",
            Self::GrantInvalid => "the grant Secret is incomplete or wrong",
            Self::StateMissing => {
                "the state Secret does not exist; create it empty, with the label agent-creds/state-of"
            }
            Self::StateInvalid => {
                "the state Secret lacks its label or holds no state document; it is not overwritten"
            }
            Self::StateNewer => "the state was written by a newer version; upgrade this sidecar",
            Self::BindingChanged => {
                "provider, token endpoint or client_id changed and the refresh token did not; log in again at the new one"
            }
            Self::ForeignState => {
                "the state Secret was copied from another cluster, whose replicas may be using it; log in again here"
            }
            Self::SharedLogin => {
                "two grants of this pod have the same refresh token, and each use replaces it; log in once for each"
            }
            Self::StoreForbidden => {
                "the store refuses to read or write a Secret; grant the rights to the sidecar's account"
            }
            Self::StoreUnavailable => {
                "the store does not answer; the last known token is served while it lives"
            }
            Self::IdentityUnavailable => {
                "there is no valid token of the credential ServiceAccount, and the identity server gives none now"
            }
            Self::IdentityRefused => {
                "the identity server refuses this pod; its log says why; make the pod anew if it was changed or its seal is withdrawn"
            }
            Self::AssumeMissing => {
                "the pod's ServiceAccount may not assume the credential ServiceAccount; the message has the commands"
            }
            Self::AccountMissing => {
                "the credential ServiceAccount does not exist; the message has the command"
            }
            Self::MintMissing => {
                "the identity server may not make tokens of the credential ServiceAccount; the message has the commands"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_come_back_from_their_text() {
        for reason in Reason::ALL {
            assert_eq!(Reason::from_word(reason.as_str()), Some(*reason));
        }
        assert_eq!(Reason::from_word("made_up"), None);
        assert_eq!(State::from_word("reauth_required"), Some(State::ReauthRequired));
    }

    #[test]
    fn an_oauth_error_outside_the_rfc_is_one_word() {
        assert_eq!(Reason::of_oauth_error("invalid_grant"), Reason::InvalidGrant);
        assert_eq!(Reason::of_oauth_error("<script>"), Reason::OauthError);
    }
}
