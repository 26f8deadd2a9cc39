//! What stands between a pod and its identity, in words for a person.

use agent_creds_core::identity::{CA_KEY, Missing};
use agent_creds_core::names::is_label;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use super::rights;
use crate::grant::status::Trouble;
use crate::object_name::ObjectName;
use crate::outcome::Reason;

/// Why there was no answer about the pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hitch {
    /// The token to show cannot be read.
    NoToken,
    /// The CA of the identity server cannot be had; why, in words that begin with `ConfigMap`.
    NoCa(String),
    /// No connection, or none that the CA vouches for.
    Connecting(Reason),
    /// No answer in time, or half of one.
    Unanswered,
    /// An answer that is none of the agreed ones.
    Status(u16),
    /// A success without a token in it.
    Unreadable,
    /// A token that has ended already.
    Ended,
    /// The API server does not take the token that was got.
    Rejected,
}

/// Who wants what from whom. In messages alone.
#[derive(Clone, Debug)]
pub struct Parties {
    /// The pod's ServiceAccount, as its token says; nothing is decided on it.
    pub agent: Option<ObjectName>,
    /// The credential ServiceAccount.
    pub credential: ObjectName,
    /// Namespace of the identity server.
    pub release: String,
}

impl Parties {
    /// For a person: no answer.
    pub fn hitch(&self, hitch: &Hitch) -> Trouble {
        let what = match hitch {
            Hitch::NoToken => {
                "the file identity-token of the volume agent-creds-identity cannot be read".to_owned()
            }
            Hitch::NoCa(why) => why.clone(),
            Hitch::Connecting(Reason::Dns) => "the identity server's host has no address".to_owned(),
            Hitch::Connecting(Reason::Tls) => {
                format!(
                    "the identity server's certificate is not of the CA in the ConfigMap's key {CA_KEY}, or TLS failed"
                )
            }
            Hitch::Connecting(_) => "the identity server cannot be reached".to_owned(),
            Hitch::Unanswered => "the identity server does not answer in time".to_owned(),
            Hitch::Status(status) => format!("the identity server answers {status}"),
            Hitch::Unreadable => "the identity server's answer holds no token".to_owned(),
            Hitch::Ended => "the identity server's token has ended already".to_owned(),
            Hitch::Rejected => "the API server does not take the token any more".to_owned(),
        };
        let credential = &self.credential;
        let message = format!("ServiceAccount {credential}: no valid token of it: {what}; it is tried again");
        Trouble { reason: Reason::IdentityUnavailable, message }
    }

    /// For a person: a refusal.
    pub fn refused(&self, missing: Option<Missing>) -> Trouble {
        let Self { agent, credential, release } = self;
        let agent = agent.clone().unwrap_or_else(|| ObjectName {
            namespace: "NAMESPACE".to_owned(),
            name: "SERVICEACCOUNT-OF-THE-POD".to_owned(),
        });
        let (reason, message) = match missing {
            Some(Missing::Assume) => (
                Reason::AssumeMissing,
                format!("{agent}: may not assume {credential}; run: {}", rights::assume(&agent, credential)),
            ),
            Some(Missing::Account) => (
                Reason::AccountMissing,
                format!("{credential}: does not exist; run: {}", rights::account(credential)),
            ),
            Some(Missing::Mint) => (
                Reason::MintMissing,
                format!(
                    "{credential}: the identity server may not make tokens of it; run: {}",
                    rights::mint(release, credential)
                ),
            ),
            None => {
                (Reason::IdentityRefused, format!("{credential}: {}", Reason::IdentityRefused.sentence()))
            }
        };
        Trouble { reason, message: format!("ServiceAccount {message}") }
    }
}

/// The ServiceAccount that a token says it is of, unverified.
pub fn account_of(token: &str) -> Option<ObjectName> {
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let claims: Value = serde_json::from_slice(&payload).ok()?;
    let (namespace, name) =
        claims["sub"].as_str()?.strip_prefix("system:serviceaccount:")?.split_once(':')?;
    // It goes into a command line that somebody pastes.
    let sound = is_label(namespace) && name.split('.').all(is_label);
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
    fn a_token_tells_whose_it_is() {
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
    fn what_is_missing_is_printed_for_the_right_accounts() {
        let agent = ObjectName { namespace: "ops".to_owned(), name: "agent".to_owned() };
        let said = |missing| parties(Some(agent.clone())).refused(missing);
        let assume = said(Some(Missing::Assume));
        assert_eq!(assume.reason, Reason::AssumeMissing);
        assert!(
            assume.message.starts_with("ServiceAccount ops/agent: may not assume vault/creds; run: kubectl")
        );
        let account = said(Some(Missing::Account));
        assert_eq!(account.reason, Reason::AccountMissing);
        assert!(account.message.ends_with("run: kubectl create serviceaccount creds -n vault"));
        let mint = said(Some(Missing::Mint));
        assert_eq!(mint.reason, Reason::MintMissing);
        assert!(mint.message.ends_with("--serviceaccount=system:agent-creds-identity"));
        assert_eq!(said(None).reason, Reason::IdentityRefused);
    }

    #[test]
    fn where_the_agent_is_not_known_a_person_fills_it_in() {
        let said = parties(None).refused(Some(Missing::Assume));
        assert!(
            said.message.ends_with("--serviceaccount=NAMESPACE:SERVICEACCOUNT-OF-THE-POD"),
            "{}",
            said.message
        );
    }

    #[test]
    fn every_hitch_is_an_outage_that_names_the_account() {
        for hitch in [
            Hitch::NoToken,
            Hitch::NoCa("ConfigMap a/b: does not exist".to_owned()),
            Hitch::Connecting(Reason::Dns),
            Hitch::Connecting(Reason::Tls),
            Hitch::Connecting(Reason::Connect),
            Hitch::Unanswered,
            Hitch::Status(503),
            Hitch::Unreadable,
            Hitch::Ended,
            Hitch::Rejected,
        ] {
            let trouble = parties(None).hitch(&hitch);
            assert_eq!(trouble.reason, Reason::IdentityUnavailable);
            assert!(trouble.message.starts_with("ServiceAccount vault/creds: "), "{}", trouble.message);
        }
    }
}
