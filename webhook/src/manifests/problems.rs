//! The errors of unreadable manifests. The parser's own messages are not shown: they do not say what to write instead.

use std::fmt;

use granit_parser::ErrorKind;

/// A manifest that cannot be read, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Unreadable {
    /// The document, counted from 1.
    pub document: usize,
    /// The line of the input, counted from 1.
    pub line: usize,
    /// The field, empty at the top of the document.
    pub field: String,
    /// What was found, and what to write instead.
    pub sentence: String,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { document, line, field, sentence } = self;
        write!(f, "document {document}, line {line}")?;
        if !field.is_empty() {
            write!(f, ", in {field}")?;
        }
        write!(f, ": {sentence}")
    }
}

/// Returns the sentence for an error of the parser.
pub(super) fn syntax(kind: &ErrorKind) -> &'static str {
    use ErrorKind as E;
    match kind {
        E::TabNotAllowed
        | E::TabInBlockIndentation
        | E::TabInIndentation
        | E::TabAtBlockScalarStart
        | E::TabInPlainScalar => "a tab where YAML allows only spaces; indent with spaces",
        E::UnclosedQuotedScalar | E::DocumentIndicatorInQuotedScalar => {
            "a quoted value is not closed; write the closing quote"
        }
        E::InvalidTrailingSingleQuotedScalar | E::InvalidTrailingDoubleQuotedScalar => {
            "text after a closing quote; quote the whole value"
        }
        E::UnknownQuotedScalarEscape
        | E::InvalidQuotedScalarHexEscape
        | E::InvalidLowSurrogateHexEscape
        | E::InvalidLowSurrogate
        | E::MissingLowSurrogate
        | E::UnpairedLowSurrogate
        | E::InvalidUnicodeEscape => {
            "an escape sequence that YAML does not have; write \\\\ for a backslash, or use single quotes"
        }
        E::UnexpectedEofFlowSequence
        | E::UnexpectedEofFlowMapping
        | E::UnexpectedEofImplicitFlowMapping
        | E::ExpectedFlowMappingSeparator
        | E::ExpectedFlowSequenceSeparator
        | E::MisplacedFlowCollectionEnd
        | E::MismatchedFlowCollectionEnd { .. }
        | E::UnclosedFlowCollection { .. }
        | E::InvalidFlowScalarIndent => {
            "a list or map in brackets is not closed, or lacks a comma; check its brackets and commas"
        }
        E::MappingValueNotAllowed
        | E::MappingKeyNotAllowed
        | E::InvalidColonPlacement
        | E::SimpleKeyExpected
        | E::InvalidSimpleKey
        | E::FlowMappingValueAdjacentCollection => {
            "a key or a colon where none can stand; check the indentation, and quote a value that contains \": \""
        }
        E::ExpectedBlockMappingKey
        | E::ExpectedBlockSequenceEntry
        | E::BlockSequenceEntryNotAllowed
        | E::BlockEntryInFlowCollection
        | E::InvalidIndentation
        | E::InvalidBlockScalarIndent
        | E::InvalidQuotedScalarIndent
        | E::UnexpectedEofBlockSequence
        | E::UnexpectedEofBlockMapping => "the line does not fit the lines above it; check its indentation",
        E::UnknownAnchor => ANCHOR,
        E::RecursionLimitExceeded => TOO_DEEP,
        E::UnexpectedCharacter { .. } => "a character with which no value can begin; quote the value",
        _ => "this is not YAML; check this line and the one above it",
    }
}

/// A tab in the indentation.
pub(super) const TAB: &str = "a tab where YAML allows only spaces; indent with spaces";
/// An alias of nothing.
pub(super) const ANCHOR: &str =
    "an alias (*name) without an anchor (&name) before it in the same document; write the value itself";
/// A name of an anchor that kubectl does not read.
pub(super) const ANCHOR_NAME: &str =
    "a name of an anchor (&name) that kubectl does not read; write letters, digits, - and _";
/// Nested too deep.
pub(super) const TOO_DEEP: &str = "lists and maps are nested too deep to read; write fewer levels";
/// More aliases than kubectl reads.
pub(super) const TOO_MANY_ALIASES: &str =
    "aliases (*name) make the document so large that kubectl refuses it; write the values themselves";
/// An alias in what it stands for.
pub(super) const SELF_ALIAS: &str =
    "an alias (*name) stands in the value that it names; write the value itself";
/// A merge of something else.
pub(super) const MERGE: &str = "the key << merges maps; write an alias of a map, or a list of them";
/// A key that JSON cannot have.
pub(super) const KEY: &str =
    "a key that is a list, a map or null, as in a template {{ … }} that is not rendered; write text as key";
/// A number that JSON does not have.
pub(super) const NOT_FINITE: &str = "a number that JSON does not have; write it in quotes";
