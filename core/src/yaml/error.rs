//! What is wrong in a file, where, and what to write instead.

use std::fmt;

use serde_json::Value;
use serde_path_to_error::{Path, Segment};

use super::mismatch::Mismatch;
use crate::spelling::nearest;

/// What is wrong at one place of a file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {problem}; {remedy}")]
pub struct FieldError {
    /// Where.
    pub place: Place,
    /// What was found, without the value, and what was expected.
    pub problem: String,
    /// What to write instead.
    pub remedy: String,
}

/// A place in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The whole file.
    File,
    /// A line and a column, counted from 1.
    Line(u64, u64),
    /// The path of a key, as in `scopes[2]`.
    Key(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File => f.write_str("the file"),
            Self::Line(line, column) => write!(f, "line {line}, column {column}"),
            Self::Key(path) => f.write_str(path),
        }
    }
}

impl FieldError {
    /// Creates the error of one place.
    pub fn new(place: Place, problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { place, problem: problem.into(), remedy: remedy.into() }
    }

    /// Creates the error for a value that does not fit the type that it was read as.
    pub(super) fn at(path: &Path, mismatch: &Mismatch, root: &Value, not_built: &[&str]) -> Self {
        let segments: Vec<_> = path.iter().collect();
        let whole = place(&segments);
        match mismatch {
            Mismatch::Key { known } => {
                let Some((Segment::Map { key }, parents)) = segments.split_last() else {
                    return Self::new(whole, "found an unknown key", "remove it");
                };
                if parents.is_empty() && not_built.contains(&key.as_str()) {
                    return Self::new(whole, "found a key that is not built in this version", "remove it");
                }
                let near = nearest(key, known.iter().copied());
                let remedy = near.map_or_else(
                    || format!("write one of {}", known.join(", ")),
                    |near| format!("did you mean {near}?"),
                );
                let is_shown = near.is_some() || is_word(key);
                let place = if is_shown { whole } else { hidden(&place(parents)) };
                Self::new(place, "found no such key", remedy)
            }
            Mismatch::Missing(key) => {
                Self::new(within(whole, key), "found nothing", "write it: it is required")
            }
            Mismatch::Type { expected, remedy } => {
                let found = found(root, &segments).map_or_else(|| "another".to_owned(), kind);
                Self::new(whole, format!("expected {expected}, found {found}"), format!("write {remedy}"))
            }
            Mismatch::Value { remedy } => {
                let found = found(root, &segments).map_or_else(|| "another value".to_owned(), kind);
                Self::new(whole, format!("found {found}"), format!("write {remedy}"))
            }
        }
    }
}

fn place(segments: &[&Segment]) -> Place {
    let mut path = String::new();
    for segment in segments {
        match segment {
            Segment::Map { key } if path.is_empty() => path.push_str(key),
            Segment::Map { key } => path.extend([".", key]),
            Segment::Seq { index } => path.push_str(&format!("[{index}]")),
            Segment::Enum { .. } | Segment::Unknown => {}
        }
    }
    if path.is_empty() { Place::File } else { Place::Key(path) }
}

fn within(place: Place, key: &str) -> Place {
    match place {
        Place::Key(path) => Place::Key(format!("{path}.{key}")),
        Place::File | Place::Line(..) => Place::Key(key.to_owned()),
    }
}

/// Returns the place of a key that may not be shown.
fn hidden(parent: &Place) -> Place {
    Place::Key(match parent {
        Place::Key(path) => format!("a key of {path}"),
        Place::File | Place::Line(..) => "a key".to_owned(),
    })
}

fn found<'a>(root: &'a Value, segments: &[&Segment]) -> Option<&'a Value> {
    segments.iter().try_fold(root, |value, segment| match segment {
        Segment::Map { key } => value.get(key),
        Segment::Seq { index } => value.get(index),
        Segment::Enum { .. } | Segment::Unknown => Some(value),
    })
}

/// Returns what a value is, without what it holds.
pub(super) fn kind(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::Bool(value) => format!("the boolean {value}"),
        Value::Number(_) => "a number".to_owned(),
        Value::String(text) if is_word(text) => format!("\"{text}\""),
        Value::String(text) => format!("a text of {} characters", text.chars().count()),
        Value::Array(items) => format!("a list of {} entries", items.len()),
        Value::Object(map) => format!("a mapping of {} keys", map.len()),
    }
}

/// Returns whether a text may be shown: no credential is this short and has neither capitals nor more than two digits.
fn is_word(text: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-' | '.');
    let digits = text.chars().filter(char::is_ascii_digit).count();
    !text.is_empty() && text.len() <= 20 && digits <= 2 && text.chars().all(is_plain)
}
