//! Manifests in files: read as kubectl reads them, and previewed as admission would leave them. Without I/O.

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
