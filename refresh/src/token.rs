//! A token: redacted when printed, compared in constant time, serialised only into the document and the spool.

use std::fmt;
use std::hash::{Hash, Hasher};

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize, Serializer};

/// A refresh or access token.
#[derive(Clone, Default, Deserialize)]
#[serde(transparent)]
pub struct Token(SecretString);

impl Token {
    /// The token itself: for the provider, for an agent that is entitled to it, and for the store.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl From<String> for Token {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl From<SecretString> for Token {
    fn from(text: SecretString) -> Self {
        Self(text)
    }
}

impl PartialEq for Token {
    fn eq(&self, other: &Self) -> bool {
        let (mine, other) = (self.expose().as_bytes(), other.expose().as_bytes());
        aws_lc_rs::constant_time::verify_slices_are_equal(mine, other).is_ok()
    }
}

impl Eq for Token {}

impl Hash for Token {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.expose().hash(state);
    }
}

impl Serialize for Token {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.expose())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[REDACTED]")
    }
}
