//! Messages about a YAML document.

/// An error, with its place in the document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Problem {
    /// The line of the document, counted from 1.
    pub(in super::super) line: usize,
    pub(in super::super) field: String,
    pub(in super::super) sentence: &'static str,
}

/// A value that kubectl reads differently from what its text suggests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Remark {
    /// The line of the document, counted from 1.
    pub(in super::super) line: usize,
    pub(in super::super) sentence: String,
}
