//! The error of a `Deserialize`: what was expected, without what was found.

use std::fmt;

use serde::de::{self, Expected, Unexpected};

/// Why a value does not fit its type. The values that serde passes along are dropped here, so that none gets into a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mismatch {
    /// A value of another type.
    Type { expected: String, remedy: String },
    /// A value of the right type that is not allowed.
    Value { remedy: String },
    /// A key of a mapping that its type does not have.
    Key { known: &'static [&'static str] },
    /// A key that is required.
    Missing(&'static str),
}

/// Separates the expected type from the remedy in the `expecting` of a visitor.
pub(super) const WRITE: &str = "; write ";

impl Mismatch {
    /// Creates the mismatch for a value that is not one of these names.
    pub(super) fn one_of(names: &[&str], is_text: bool) -> Self {
        let remedy = names.join(" or ");
        if is_text { Self::Value { remedy } } else { Self::Type { expected: "a string".to_owned(), remedy } }
    }
}

/// Returns the standard term and what to write, for what a `Deserialize` says it expects.
fn expected(text: &str) -> (String, String) {
    let bits = text.strip_prefix('u').and_then(|bits| bits.parse::<u32>().ok()).filter(|bits| *bits <= 64);
    if let Some(bits) = bits {
        let most = u64::MAX.checked_shr(64 - bits).unwrap_or_default();
        return ("a whole number".to_owned(), format!("a whole number from 0 to {most}"));
    }
    let (expected, remedy) = match text {
        "a boolean" => (text, "true or false"),
        "a sequence" => ("a list", "a list, as in [a, b]"),
        "a map" => ("a mapping", "keys and values"),
        _ if text.starts_with("struct ") => ("a mapping", "keys and values"),
        _ => text.split_once(WRITE).unwrap_or((text, text)),
    };
    (expected.to_owned(), remedy.to_owned())
}

impl de::Error for Mismatch {
    fn custom<T: fmt::Display>(remedy: T) -> Self {
        Self::Value { remedy: remedy.to_string() }
    }

    fn invalid_type(_: Unexpected<'_>, wanted: &dyn Expected) -> Self {
        let (expected, remedy) = expected(&wanted.to_string());
        Self::Type { expected, remedy }
    }

    fn invalid_value(_: Unexpected<'_>, wanted: &dyn Expected) -> Self {
        Self::Value { remedy: expected(&wanted.to_string()).1 }
    }

    fn invalid_length(_: usize, wanted: &dyn Expected) -> Self {
        Self::Value { remedy: expected(&wanted.to_string()).1 }
    }

    fn unknown_variant(_: &str, names: &'static [&'static str]) -> Self {
        Self::one_of(names, true)
    }

    fn unknown_field(_: &str, known: &'static [&'static str]) -> Self {
        Self::Key { known }
    }

    fn missing_field(key: &'static str) -> Self {
        Self::Missing(key)
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Type { remedy, .. } | Self::Value { remedy } => write!(f, "write {remedy}"),
            Self::Key { .. } => f.write_str("found no such key"),
            Self::Missing(key) => write!(f, "write {key}"),
        }
    }
}

impl std::error::Error for Mismatch {}
