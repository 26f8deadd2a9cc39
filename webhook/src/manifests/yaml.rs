//! Reads one YAML document into what kubectl makes of it: the last of duplicate keys counts, keys are text, `<<` merges, and
//! aliases are followed as far as kubectl follows them (`go.yaml.in/yaml/v2`, `decode.go`).

mod decode;
mod nodes;
mod strict;

use serde_json::Value;

/// What is wrong, and where in the document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    /// The line of the document, counted from 1.
    pub(super) line: usize,
    pub(super) field: String,
    pub(super) sentence: &'static str,
}

/// One document.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Read {
    pub(super) value: Value,
    pub(super) remarks: Vec<Remark>,
}

/// What kubectl reads otherwise than it looks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Remark {
    /// The line of the document, counted from 1.
    pub(super) line: usize,
    pub(super) sentence: String,
}

/// Reads the first document of `text`; kubectl does not look at what follows it.
pub(super) fn read(text: &str) -> Result<Read, Problem> {
    let nodes = nodes::parse(text)?;
    let mut remarks = Vec::new();
    if let Some(line) = nodes.ignored {
        let sentence = "kubectl ignores what follows the line \"...\"; write --- there".to_owned();
        remarks.push(Remark { line, sentence });
    }
    let value = match nodes.root {
        Some(root) => decode::decode(&nodes.all, root, &mut remarks)?,
        None => Value::Null,
    };
    Ok(Read { value, remarks })
}

#[cfg(test)]
mod tests;
