//! Compares fields of a pod with the values that the webhook injected, and finds fields that are missing, different or
//! added. Another webhook may remove a field, anybody may change one, and a newer API server may add one, which
//! `seal.tolerate` can allow.

use serde_json::{Map, Value};

use super::view;
use crate::policy::tolerate::Tolerated;

/// A position in a comparison: the path in the pod, for messages, and the path within the injected part, for
/// `seal.tolerate`.
#[derive(Clone)]
pub(super) struct Place {
    shown: String,
    part: String,
}

/// The first difference of each kind.
pub(super) struct Differences<'a> {
    tolerated: &'a [Tolerated],
    /// Path of the first missing field.
    pub(super) missing: Option<String>,
    /// Path of the first field with another value.
    pub(super) other: Option<String>,
    /// Path of the first added field, and the entry of `seal.tolerate` that would allow it.
    pub(super) added: Option<(String, String)>,
}

impl Place {
    /// Creates a position. `shown` is the path in the pod, `part` the name of the injected part.
    pub(super) fn new(shown: impl Into<String>, part: impl Into<String>) -> Self {
        Self { shown: shown.into(), part: part.into() }
    }

    /// Returns the position of a field of this object.
    pub(super) fn field(&self, key: &str) -> Self {
        // Only injected names are plain words. Other keys come from the pod's author and are quoted.
        let plain = key.chars().all(|c| c.is_ascii_alphanumeric());
        let key = if plain { key.to_owned() } else { view::quoted(key) };
        Self { shown: format!("{}.{key}", self.shown), part: format!("{}.{key}", self.part) }
    }

    fn item(&self, index: usize) -> Self {
        Self { shown: format!("{}[{index}]", self.shown), part: format!("{}[]", self.part) }
    }
}

impl<'a> Differences<'a> {
    pub(super) fn new(tolerated: &'a [Tolerated]) -> Self {
        Self { tolerated, missing: None, other: None, added: None }
    }

    /// Whether no difference was found.
    pub(super) fn is_empty(&self) -> bool {
        self.missing.is_none() && self.other.is_none() && self.added.is_none()
    }

    pub(super) fn compare(&mut self, place: &Place, wanted: &Value, found: Option<&Value>) {
        match (wanted, found) {
            (_, None | Some(Value::Null)) => {
                self.missing.get_or_insert_with(|| place.shown.clone());
            }
            (Value::Object(wanted), Some(Value::Object(found))) => self.objects(place, wanted, found),
            (Value::Array(wanted), Some(Value::Array(found))) if wanted.len() == found.len() => {
                for (i, (wanted, found)) in wanted.iter().zip(found).enumerate() {
                    self.compare(&place.item(i), wanted, Some(found));
                }
            }
            (wanted, Some(found)) if wanted == found => {}
            _ => {
                self.other.get_or_insert_with(|| place.shown.clone());
            }
        }
    }

    fn objects(&mut self, place: &Place, wanted: &Map<String, Value>, found: &Map<String, Value>) {
        for (key, wanted) in wanted {
            self.compare(&place.field(key), wanted, found.get(key));
        }
        for (key, value) in found.iter().filter(|(key, _)| !wanted.contains_key(*key)) {
            self.add(&place.field(key), value);
        }
    }

    /// Notes a field that the webhook did not write.
    pub(super) fn add(&mut self, place: &Place, value: &Value) {
        let passes = self.tolerated.iter().any(|tolerated| tolerated.covers(&place.part, value));
        if passes || is_nothing(value) {
            return;
        }
        match Tolerated::line(&place.part, value) {
            Some(line) => drop(self.added.get_or_insert_with(|| (place.shown.clone(), line))),
            None => drop(self.other.get_or_insert_with(|| place.shown.clone())),
        }
    }
}

/// Whether a serialiser may write this value for an unset field.
pub(super) fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}
