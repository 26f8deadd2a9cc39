//! Conditions of the identity exchange, in words for a person.

use agent_creds_core::exchange_api::{CA_KEY, Missing};
use agent_creds_core::names::{ObjectName, is_label, is_subdomain};
use agent_creds_core::words::Word as _;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use strum::{EnumMessage, IntoStaticStr, VariantArray};

use super::commands;
use crate::http_client::connect::ConnectError;
use agent_creds_refresh::condition::Condition;
use agent_creds_refresh::reason::{ReasonSet, Severity};

/// Reasons of this layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, IntoStaticStr, VariantArray, EnumMessage)]
#[strum(serialize_all = "snake_case")]
pub enum IdentityReason {
    /// There is no valid token of the credential ServiceAccount, and the identity server gives none now.
    #[strum(
        message = "there is no valid token of the credential ServiceAccount, and the identity server gives none now"
    )]
    IdentityUnavailable,
    /// The identity server refuses the pod.
    #[strum(
        message = "the identity server refuses this pod; its log says why; create the pod again if it was changed or its seal was withdrawn"
    )]
    IdentityRefused,
    /// The pod's ServiceAccount may not assume the credential ServiceAccount.
    #[strum(
        message = "the pod's ServiceAccount may not assume the credential ServiceAccount; the message has the commands"
    )]
    AssumeMissing,
    /// The credential ServiceAccount does not exist.
    #[strum(message = "the credential ServiceAccount does not exist; the message has the command")]
    AccountMissing,
    /// The identity server may not create tokens of the credential ServiceAccount.
    #[strum(
        message = "the identity server may not create tokens of the credential ServiceAccount; the message has the commands"
    )]
    MintMissing,
}

impl ReasonSet for IdentityReason {
    fn severity(self) -> Severity {
        match self {
            Self::IdentityUnavailable => Severity::Outage,
            Self::IdentityRefused | Self::AssumeMissing | Self::AccountMissing | Self::MintMissing => {
                Severity::Denied
            }
        }
    }
}

/// Why the identity server gave no answer about the pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The pod's projected token cannot be read.
    NoToken,
    /// The CA of the identity server cannot be read; the text begins with `ConfigMap`.
    NoCa(String),
    /// No connection, or none whose certificate the CA signed.
    Connecting(ConnectError),
    /// No complete answer in time.
    Unanswered,
    /// An answer that the protocol does not have.
    Status(u16),
    /// A success without a token.
    Unreadable,
    /// A token that has ended already.
    Ended,
    /// The API server does not accept the token that the identity server gave.
    Rejected,
}

/// Accounts named in error messages; never used for authorization.
#[derive(Clone, Debug)]
pub struct Parties {
    /// The pod's ServiceAccount, as its unverified token says.
    pub agent: Option<ObjectName>,
    /// The credential ServiceAccount.
    pub credential: ObjectName,
    /// Namespace of the identity server.
    pub release: String,
}

impl Parties {
    /// The condition for a missing answer.
    pub fn failed(&self, failure: &Failure) -> Condition {
        let what = match failure {
            Failure::NoToken => {
                "the file identity-token of the volume agent-creds-identity cannot be read".to_owned()
            }
            Failure::NoCa(why) => why.clone(),
            Failure::Connecting(ConnectError::Dns) => "the identity server's host has no address".to_owned(),
            Failure::Connecting(ConnectError::Tls) => {
                format!(
                    "the identity server's certificate is not signed by the CA in key {CA_KEY} of the ConfigMap, or TLS failed"
                )
            }
            Failure::Connecting(_) => "the identity server cannot be reached".to_owned(),
            Failure::Unanswered => "the identity server does not answer in time".to_owned(),
            Failure::Status(status) => format!("the identity server answers {status}"),
            Failure::Unreadable => "the identity server's answer has no token".to_owned(),
            Failure::Ended => "the identity server's token has ended already".to_owned(),
            Failure::Rejected => "the API server does not accept the token any more".to_owned(),
        };
        let credential = &self.credential;
        let message = format!("ServiceAccount {credential}: no valid token: {what}; the sidecar tries again");
        Condition { reason: IdentityReason::IdentityUnavailable.into(), message }
    }

    /// The condition for a refusal.
    pub fn refused(&self, missing: Option<Missing>) -> Condition {
        let Self { agent, credential, release } = self;
        let agent = agent.clone().unwrap_or_else(|| ObjectName {
            namespace: "NAMESPACE".to_owned(),
            name: "SERVICEACCOUNT-OF-THE-POD".to_owned(),
        });
        let (reason, message) = match missing {
            Some(Missing::Assume) => (
                IdentityReason::AssumeMissing,
                format!(
                    "{agent}: may not assume {credential}; run: {}",
                    commands::assume(&agent, credential)
                ),
            ),
            Some(Missing::Account) => (
                IdentityReason::AccountMissing,
                format!("{credential}: does not exist; run: {}", commands::account(credential)),
            ),
            Some(Missing::Mint) => (
                IdentityReason::MintMissing,
                format!(
                    "{credential}: the identity server may not create tokens of it; run: {}",
                    commands::mint(release, credential)
                ),
            ),
            None => (
                IdentityReason::IdentityRefused,
                format!("{credential}: {}", IdentityReason::IdentityRefused.sentence()),
            ),
        };
        Condition { reason: reason.into(), message: format!("ServiceAccount {message}") }
    }
}

/// Returns the ServiceAccount that a token names, unverified.
pub fn account_of(token: &str) -> Option<ObjectName> {
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let claims: Value = serde_json::from_slice(&payload).ok()?;
    let (namespace, name) =
        claims["sub"].as_str()?.strip_prefix("system:serviceaccount:")?.split_once(':')?;
    // The name becomes part of a command line that a person pastes.
    let sound = is_label(namespace) && is_subdomain(name);
    sound.then(|| ObjectName { namespace: namespace.to_owned(), name: name.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parties(agent: Option<ObjectName>) -> Parties {
        let credential = ObjectName { namespace: "vault".to_owned(), name: "creds".to_owned() };
        Parties { agent, credential, release: "system".to_owned() }
    }

    fn token(claims: &str) -> String {
        format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims))
    }

    #[test]
    fn a_token_names_its_account() {
        let found = account_of(&token(r#"{"sub":"system:serviceaccount:ops:my.agent"}"#)).unwrap();
        assert_eq!(found.to_string(), "ops/my.agent");
        for other in [
            token(r#"{"sub":"system:serviceaccount:ops:a;reboot"}"#),
            token(r#"{"sub":"system:serviceaccount:$(reboot):a"}"#),
            token(r#"{"sub":"system:serviceaccount:ops"}"#),
            token(r#"{"sub":"jane"}"#),
            token(r#"{"sub":7}"#),
            token("<html>"),
            "a.!.b".to_owned(),
            "token".to_owned(),
            String::new(),
        ] {
            assert_eq!(account_of(&other), None, "{other}");
        }
    }

    #[test]
    fn prints_what_is_missing_for_the_right_accounts() {
        let agent = ObjectName { namespace: "ops".to_owned(), name: "agent".to_owned() };
        let said = |missing| parties(Some(agent.clone())).refused(missing);
        let assume = said(Some(Missing::Assume));
        assert_eq!(assume.reason, IdentityReason::AssumeMissing.into());
        assert!(
            assume.message.starts_with("ServiceAccount ops/agent: may not assume vault/creds; run: kubectl")
        );
        let account = said(Some(Missing::Account));
        assert_eq!(account.reason, IdentityReason::AccountMissing.into());
        assert!(account.message.ends_with("run: kubectl create serviceaccount creds -n vault"));
        let mint = said(Some(Missing::Mint));
        assert_eq!(mint.reason, IdentityReason::MintMissing.into());
        assert!(mint.message.ends_with("--serviceaccount=system:agent-creds-identity"));
        assert_eq!(said(None).reason, IdentityReason::IdentityRefused.into());
    }

    #[test]
    fn leaves_a_placeholder_where_the_agent_is_not_known() {
        let said = parties(None).refused(Some(Missing::Assume));
        assert!(
            said.message.ends_with("--serviceaccount=NAMESPACE:SERVICEACCOUNT-OF-THE-POD"),
            "{}",
            said.message
        );
    }

    #[test]
    fn every_failure_is_an_outage_that_names_the_account() {
        for failure in [
            Failure::NoToken,
            Failure::NoCa("ConfigMap a/b: does not exist".to_owned()),
            Failure::Connecting(ConnectError::Dns),
            Failure::Connecting(ConnectError::Tls),
            Failure::Connecting(ConnectError::Connect),
            Failure::Unanswered,
            Failure::Status(503),
            Failure::Unreadable,
            Failure::Ended,
            Failure::Rejected,
        ] {
            let condition = parties(None).failed(&failure);
            assert_eq!(condition.reason, IdentityReason::IdentityUnavailable.into());
            assert!(condition.message.starts_with("ServiceAccount vault/creds: "), "{}", condition.message);
        }
    }
}
