//! The document as bytes: what is read, what is refused, and what is written.

use serde::Deserialize;

use super::bounds::Bounded;
use super::schema::{Document, VERSION};

/// Largest document, in bytes.
pub const MAX_DOCUMENT: usize = 256 * 1024;

/// Why a document cannot be used. Its text is not shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum DocumentError {
    /// Larger than any that we write.
    #[error("larger than {MAX_DOCUMENT} bytes")]
    TooLarge,
    /// Not the JSON of this schema.
    #[error("not a state document")]
    Malformed,
    /// Of a schema that this version does not know: not ours to repair.
    #[error("written by a newer version")]
    Newer,
}

impl Document {
    /// Reads the value of the key `state`; absent or blank is the empty document.
    pub fn parse(bytes: Option<&[u8]>) -> Result<Self, DocumentError> {
        let bytes = bytes.unwrap_or_default().trim_ascii();
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        if bytes.len() > MAX_DOCUMENT {
            return Err(DocumentError::TooLarge);
        }
        let read = serde_json::from_slice(bytes).ok().filter(Self::is_bounded);
        read.ok_or_else(|| {
            let newer = serde_json::from_slice::<Schema>(bytes).is_ok_and(|schema| schema.v > VERSION);
            if newer { DocumentError::Newer } else { DocumentError::Malformed }
        })
    }

    /// The document as JSON, stamped with this version's schema.
    pub fn to_json(&self) -> Vec<u8> {
        let stamped = Self { v: VERSION.max(self.v), ..self.clone() };
        serde_json::to_vec(&stamped).unwrap_or_default()
    }
}

/// The one field that all schemas share.
#[derive(Deserialize)]
struct Schema {
    v: u32,
}

#[cfg(test)]
mod tests;
