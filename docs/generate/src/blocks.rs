//! Blocks of a document that are generated: what stands between the line `<!-- generated: NAME -->` and the line
//! `<!-- end: NAME -->`. Everything else is the author's and stays as it is.

use std::collections::BTreeMap;

/// A document with its blocks filled.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Filled {
    /// The whole document.
    pub(crate) text: String,
    /// The blocks whose content is not what it was.
    pub(crate) changes: Vec<Change>,
    /// The names of all its blocks, in order.
    pub(crate) names: Vec<String>,
}

/// A block whose content is not what it was.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Change {
    /// The block.
    pub(crate) name: String,
    /// Number of the first line that differs, in the document as it was.
    pub(crate) line: usize,
    /// That line; `None` where the block ended before it.
    pub(crate) found: Option<String>,
    /// The line that belongs there; `None` where the block ends before it.
    pub(crate) expected: Option<String>,
}

/// Why the blocks of a document cannot be filled.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BlockError {
    /// The end is missing, or another marker comes first.
    #[error("line {line}: block {name:?} is not closed; write <!-- end: {name} --> below it")]
    Unclosed {
        /// Where it begins.
        line: usize,
        /// Its name.
        name: String,
    },
    /// An end without a beginning.
    #[error("line {line}: block {name:?} ends and never began; write <!-- generated: {name} --> above it")]
    Unopened {
        /// Where it ends.
        line: usize,
        /// Its name.
        name: String,
    },
    /// No table has this name.
    #[error("line {line}: there is no table {name:?}; write one of {}", known.join(", "))]
    Unknown {
        /// Where it begins.
        line: usize,
        /// Its name.
        name: String,
        /// The names that there are.
        known: Vec<String>,
    },
}

/// Fills the blocks of a document with `tables`. A block whose name is in `kept` keeps its content: another tool writes it.
pub(crate) fn fill(text: &str, tables: &BTreeMap<&str, String>, kept: &[&str]) -> Result<Filled, BlockError> {
    let mut filled =
        Filled { text: String::with_capacity(text.len()), changes: Vec::new(), names: Vec::new() };
    let mut lines = text.lines().zip(1..);
    while let Some((line, number)) = lines.next() {
        filled.push(line);
        if let Some(name) = marker(line, "end") {
            return Err(BlockError::Unopened { line: number, name: name.to_owned() });
        }
        let Some(name) = marker(line, "generated") else { continue };
        let mut found = Vec::new();
        let end = loop {
            match lines.next() {
                Some((line, _)) if marker(line, "end") == Some(name) => break line,
                Some((line, _)) if marker(line, "end").or(marker(line, "generated")).is_none() => {
                    found.push(line);
                }
                _ => return Err(BlockError::Unclosed { line: number, name: name.to_owned() }),
            }
        };
        filled.names.push(name.to_owned());
        if kept.contains(&name) {
            found.iter().for_each(|line| filled.push(line));
        } else {
            let table = tables.get(name).ok_or_else(|| BlockError::Unknown {
                line: number,
                name: name.to_owned(),
                known: tables.keys().chain(kept).map(|name| (*name).to_owned()).collect(),
            })?;
            // A blank line on both sides, without which Markdown shows no table.
            let expected: Vec<_> = [""].into_iter().chain(table.trim_end().lines()).chain([""]).collect();
            expected.iter().for_each(|line| filled.push(line));
            filled.changes.extend(Change::between(name, number + 1, &found, &expected));
        }
        filled.push(end);
    }
    Ok(filled)
}

impl Filled {
    fn push(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }
}

impl Change {
    /// The first difference, where `first` is the number of the first line.
    fn between(name: &str, first: usize, found: &[&str], expected: &[&str]) -> Option<Self> {
        let at = |lines: &[&str], index: usize| lines.get(index).map(|line| (*line).to_owned());
        let length = found.len().max(expected.len());
        let index = (0..length).find(|index| found.get(*index) != expected.get(*index))?;
        Some(Self {
            name: name.to_owned(),
            line: first + index,
            found: at(found, index),
            expected: at(expected, index),
        })
    }
}

/// The name in a marker of this kind, which is a line of its own.
fn marker<'a>(line: &'a str, kind: &str) -> Option<&'a str> {
    let inner = line.trim().strip_prefix("<!--")?.strip_suffix("-->")?;
    let (found, name) = inner.trim().split_once(':')?;
    (found == kind).then_some(name.trim())
}

#[cfg(test)]
mod tests;
