//! Strings with a rule of their own.

use std::fmt;

use serde::de::{Deserializer, Error, Visitor};

use super::mismatch::WRITE;

/// Reads a string and converts it. Where it is no string or `read` returns `None`, the error says to write `remedy`.
pub fn text<'de, D: Deserializer<'de>, T>(
    deserializer: D,
    remedy: &'static str,
    read: fn(&str) -> Option<T>,
) -> Result<T, D::Error> {
    deserializer.deserialize_str(Text { remedy, read })
}

struct Text<T> {
    remedy: &'static str,
    read: fn(&str) -> Option<T>,
}

impl<T> Visitor<'_> for Text<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a string{WRITE}{}", self.remedy)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        (self.read)(text).ok_or_else(|| E::custom(self.remedy))
    }
}
