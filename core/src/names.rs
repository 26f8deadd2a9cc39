//! Names: the local name of a grant, its two Secrets, and accounts.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Most grants that one pod may have.
pub const MAX_GRANTS: usize = 16;
/// Most containers that a pod may name for access.
pub const MAX_CONTAINERS: usize = 256;
/// Longest name of a grant Secret, so that `<name>-state` and names derived from it stay valid everywhere.
pub const MAX_SECRET_NAME: usize = 57;
/// Suffix of a state Secret's name. A grant Secret's name may not end in it.
pub const STATE_SUFFIX: &str = "-state";
/// Label of a grant Secret: the name of its provider definition.
pub const PROVIDER_LABEL: &str = "agent-creds/provider";
/// Label of a state Secret: the grant Secret that it belongs to. A Secret without this label is never written.
pub const STATE_LABEL: &str = "agent-creds/state-of";
/// Annotation of a grant Secret: the time of the login (RFC 3339), from which the provider's hard limit counts.
pub const ISSUED_AT_ANNOTATION: &str = "agent-creds/issued-at";

/// The local name of a grant, which the agent uses: `[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?` (an RFC 1123 label).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LocalName(String);

/// The name of a grant Secret: an RFC 1123 subdomain of at most 57 characters that does not end in `-state`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SecretName(String);

/// A ServiceAccount, `[namespace/]name`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountName {
    /// Its namespace, if one is named.
    pub namespace: Option<String>,
    /// Its name: an RFC 1123 subdomain.
    pub name: String,
}

/// The name of an object in the API. As JSON, `{"namespace","name"}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObjectName {
    /// Namespace; empty for a file of the directory store.
    pub namespace: String,
    /// Name.
    pub name: String,
}

/// Why a name is refused. The text is the rule that the name breaks; the caller adds the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Not an RFC 1123 label.
    #[error("a grant's name is 1 to 63 of a-z, 0-9 and '-', and starts and ends with a letter or digit")]
    LocalName,
    /// Not an RFC 1123 subdomain.
    #[error(
        "a Secret's name is made of a-z, 0-9, '-' and '.', and each part starts and ends with a letter or digit"
    )]
    SecretName,
    /// Too long to derive the state Secret's name from.
    #[error("a grant Secret's name has at most {MAX_SECRET_NAME} characters")]
    SecretNameTooLong,
    /// The suffix is reserved for state Secrets.
    #[error("names that end in '{STATE_SUFFIX}' are reserved for state Secrets; name the grant Secret")]
    StateSecret,
}

impl LocalName {
    /// Checks `name`.
    pub fn parse(name: &str) -> Result<Self, NameError> {
        if is_label(name) { Ok(Self(name.to_owned())) } else { Err(NameError::LocalName) }
    }

    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl SecretName {
    /// Checks `name`.
    pub fn parse(name: &str) -> Result<Self, NameError> {
        if name.len() > MAX_SECRET_NAME {
            return Err(NameError::SecretNameTooLong);
        }
        if !name.split('.').all(is_label) {
            return Err(NameError::SecretName);
        }
        if name.ends_with(STATE_SUFFIX) {
            return Err(NameError::StateSecret);
        }
        Ok(Self(name.to_owned()))
    }

    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the name of the state Secret: `<name>-state`.
    pub fn state(&self) -> String {
        format!("{}{STATE_SUFFIX}", self.0)
    }
}

impl AccountName {
    /// Parses `[namespace/]name`; `None` where either part is not a valid name.
    pub fn parse(text: &str) -> Option<Self> {
        let (namespace, name) = match text.split_once('/') {
            Some((namespace, name)) => (Some(namespace), name),
            None => (None, text),
        };
        let valid = namespace.is_none_or(is_label) && is_subdomain(name);
        valid.then(|| Self { namespace: namespace.map(str::to_owned), name: name.to_owned() })
    }
}

impl ObjectName {
    /// Parses `NAMESPACE/NAME`: an RFC 1123 label and an RFC 1123 subdomain. `Err` is the sentence that says what is wrong.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let (namespace, name) = text.split_once('/').ok_or("write NAMESPACE/NAME")?;
        if !is_label(namespace) {
            return Err("the namespace before '/' is no valid name");
        }
        if !is_subdomain(name) {
            return Err("what follows '/' is no valid name");
        }
        Ok(Self { namespace: namespace.to_owned(), name: name.to_owned() })
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            f.write_str(&self.name)
        } else {
            write!(f, "{}/{}", self.namespace, self.name)
        }
    }
}

impl fmt::Display for LocalName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for SecretName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Returns whether `name` is an RFC 1123 subdomain, like the names of most objects.
pub fn is_subdomain(name: &str) -> bool {
    name.len() <= 253 && name.split('.').all(is_label)
}

/// Returns whether `name` is an RFC 1123 label, like the names of namespaces and containers.
pub fn is_label(name: &str) -> bool {
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    name.len() <= 63
        && edge(name.chars().next())
        && edge(name.chars().last())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_names_are_dns_labels() {
        for good in ["a", "0", "pagerduty", "a-b", "x1", &"a".repeat(63)] {
            assert_eq!(LocalName::parse(good).unwrap().as_str(), good);
        }
        for bad in ["", "-a", "a-", "A", "a_b", "a.b", "a b", "ä", "../x", "a\n", &"a".repeat(64)] {
            assert_eq!(LocalName::parse(bad), Err(NameError::LocalName), "{bad:?}");
        }
    }

    #[test]
    fn an_account_may_be_in_another_namespace() {
        let named = |namespace: Option<&str>, name: &str| {
            Some(AccountName { namespace: namespace.map(str::to_owned), name: name.to_owned() })
        };
        assert_eq!(AccountName::parse("a.b-creds"), named(None, "a.b-creds"));
        assert_eq!(AccountName::parse("vault/a"), named(Some("vault"), "a"));
        for bad in ["", "/", "a/", "/a", "a/b/c", "A", "a.b/c", "a b", "a..b"] {
            assert_eq!(AccountName::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn secret_names_leave_room_for_the_state_secret() {
        assert_eq!(
            SecretName::parse("devops-agent-pagerduty").unwrap().state(),
            "devops-agent-pagerduty-state"
        );
        assert!(SecretName::parse("a.b-c").is_ok());
        assert!(SecretName::parse(&"a".repeat(57)).is_ok());
        assert_eq!(SecretName::parse(&"a".repeat(58)), Err(NameError::SecretNameTooLong));
        assert_eq!(SecretName::parse("a..b"), Err(NameError::SecretName));
        assert_eq!(SecretName::parse("a/b"), Err(NameError::SecretName));
        assert_eq!(SecretName::parse("x-state"), Err(NameError::StateSecret));
    }
}
