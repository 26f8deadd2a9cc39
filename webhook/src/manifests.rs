//! Manifests: reads them as kubectl does, and previews them as admission would leave them. No I/O.

mod cluster;
mod documents;
mod path;
mod preview;
mod problems;
mod scalars;
mod templates;
mod yaml;

pub use documents::{Document, read};
pub use preview::{Notes, preview};
pub use problems::Unreadable;
