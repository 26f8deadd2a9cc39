//! The limits of a YAML file.

/// The limits of a file.
#[derive(Clone, Copy, Debug)]
pub struct Format {
    /// Most bytes.
    pub max_bytes: usize,
    /// Most values, keys included.
    pub max_nodes: usize,
    /// Deepest nesting.
    pub max_depth: usize,
    /// Keys of the whole file that are known and not built in this version.
    pub not_built: &'static [&'static str],
}
