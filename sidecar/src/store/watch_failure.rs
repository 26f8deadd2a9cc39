//! Why a watch of a Secret failed, as a word for logs and metrics.

use strum::{EnumMessage, IntoStaticStr, VariantArray};

use super::StoreError;

/// Why a watch failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, IntoStaticStr, VariantArray, EnumMessage)]
#[strum(serialize_all = "snake_case")]
pub enum WatchFailure {
    /// The API server denied the watch (403).
    Forbidden,
    /// The API server refused the watch for another reason.
    Refused,
    /// The API server did not answer, or answered with a server error.
    NoAnswer,
    /// There is no valid API token.
    NoToken,
    /// The watch ended as soon as it was opened.
    Ended,
}

impl From<&StoreError> for WatchFailure {
    fn from(error: &StoreError) -> Self {
        match error {
            StoreError::Forbidden { .. } => Self::Forbidden,
            StoreError::Unavailable(_) => Self::NoAnswer,
            StoreError::NoIdentity(_) => Self::NoToken,
            StoreError::Conflict
            | StoreError::NotFound
            | StoreError::Malformed(_)
            | StoreError::Unacceptable => Self::Refused,
        }
    }
}
