//! How what stands in a pod differs from what we put there. A field that is missing is another webhook's doing, one that
//! says something else is anybody's; and what newer API servers add is tolerated where the platform says so.

use serde_json::{Map, Value};

use super::view;
use crate::policy::tolerate::Tolerated;

/// Where a comparison stands: in the pod, for people; and from the part that is ours, for `seal.tolerate`.
#[derive(Clone)]
pub(super) struct Place {
    shown: String,
    part: String,
}

/// The first difference of each kind.
pub(super) struct Differences<'a> {
    tolerated: &'a [Tolerated],
    /// Path of the first field that is not there.
    pub(super) missing: Option<String>,
    /// Path of the first field that says something else.
    pub(super) other: Option<String>,
    /// Path of the first field that we did not write, and the entry of `seal.tolerate` that would let it pass.
    pub(super) added: Option<(String, String)>,
}

impl Place {
    /// `shown` is the path in the pod, `part` the name of what is ours there.
    pub(super) fn new(shown: impl Into<String>, part: impl Into<String>) -> Self {
        Self { shown: shown.into(), part: part.into() }
    }

    /// A field of what is here.
    pub(super) fn field(&self, key: &str) -> Self {
        // Beyond plain words it comes from whoever changed the pod.
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

    /// Whether there is none.
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

    /// A field that we did not write.
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

/// What a serialiser may write for "not set".
pub(super) fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}
