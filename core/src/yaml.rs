//! Reads the YAML that people write: `grant.yaml` and the webhook's policy file. An error says where, what was found and what
//! to write instead. The text of the file never gets into a message, except short plain words: people paste credentials into
//! the wrong key.

mod error;
mod format;
mod mismatch;
mod node;
mod syntax;
mod text;

pub use error::{FieldError, Place};
pub use format::Format;
pub use text::text;

use serde::de::DeserializeOwned;
use serde_json::Value;

/// Reads a file of one mapping. Returns `None` for an empty one. Each key may stand once, and there are no anchors and aliases.
///
/// The `Deserialize` of `T` makes its own errors with [`serde::de::Error::custom`] and a text that says what to write, without
/// the value. Keys of maps with free keys are shown in the path of an error.
pub fn parse<T: DeserializeOwned>(text: &str, format: Format) -> Result<Option<T>, FieldError> {
    // Editors of Windows write a byte order mark.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.len() > format.max_bytes {
        let remedy = format!("write at most {} bytes", format.max_bytes);
        return Err(FieldError::new(Place::File, format!("found {} bytes", text.len()), remedy));
    }
    match syntax::value(text, format)? {
        Value::Null => Ok(None),
        value @ Value::Object(_) => serde_path_to_error::deserialize(node::Node(&value))
            .map(Some)
            .map_err(|error| FieldError::at(error.path(), error.inner(), &value, format.not_built)),
        other => {
            let problem = format!("expected keys and values, found {}", error::kind(&other));
            Err(FieldError::new(Place::File, problem, "write each as 'key: value', with the space"))
        }
    }
}

#[cfg(test)]
mod tests;
