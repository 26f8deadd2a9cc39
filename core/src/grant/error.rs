//! Why a grant Secret is refused.

use std::fmt;

use crate::names::PROVIDER_LABEL;
use crate::provider::{Flow, Provider};
use crate::yaml::{FieldError, Place};

/// An error in a grant Secret: one sentence that starts with the key and never contains a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GrantError {
    /// The label that selects the provider is missing or names none.
    #[error("label {PROVIDER_LABEL}: found {found}; write one of {}", Provider::names().collect::<Vec<_>>().join(", "))]
    Provider {
        /// The value of the label, shortened.
        found: String,
    },
    /// A key is missing, empty, or has content that no credential has.
    #[error("key {key}: {problem}")]
    Key {
        /// The key of the Secret.
        key: String,
        /// What is wrong and what to write.
        problem: String,
    },
    /// `grant.yaml` is wrong in itself or does not fit the provider.
    #[error("key grant.yaml: {0}")]
    File(#[source] FieldError),
}

impl GrantError {
    /// Creates the error for a value of the provider's label that names no provider.
    pub(super) fn provider(found: Option<&str>) -> Self {
        let found = match found {
            None => "no such label".to_owned(),
            Some(label) => format!("{:?}", label.chars().take(63).collect::<String>()),
        };
        Self::Provider { found }
    }

    /// Creates the error for a key of the Secret.
    pub(super) fn key(key: &str, problem: impl Into<String>) -> Self {
        Self::Key { key: key.to_owned(), problem: problem.into() }
    }

    /// Creates the error for a value of `grant.yaml` that does not fit the provider.
    pub(super) fn field(path: &str, found: impl fmt::Display, write: impl fmt::Display) -> Self {
        let place = Place::Key(path.to_owned());
        Self::File(FieldError::new(place, format!("found {found}"), format!("write {write}")))
    }

    /// Creates the error for a credential that the flow does not have.
    pub(super) fn needless(key: &str, why: &str) -> Self {
        Self::key(key, format!("found one, but {why}; remove the key or correct grant.yaml"))
    }

    /// Creates the error for a credential that the flow requires. `found` is a key that was probably meant to be it.
    pub(super) fn missing(key: &str, flow: Flow, found: Option<&str>) -> Self {
        Self::key(
            key,
            match found {
                Some(found) => format!("missing; found `{found}`: did you mean {key}?"),
                None => format!("missing; flow {} requires it", flow.as_str()),
            },
        )
    }
}
