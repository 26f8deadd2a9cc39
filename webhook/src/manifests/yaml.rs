//! Reads one YAML document into what kubectl makes of it: the last of duplicate keys counts, keys are text, `<<` merges, and
//! aliases are followed as far as kubectl follows them (`go.yaml.in/yaml/v2`, `decode.go`).

mod decode;
mod finding;
mod nodes;
mod strict;

use serde_json::Value;

pub(super) use finding::{Problem, Remark};

/// One document.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Read {
    pub(super) value: Value,
    pub(super) remarks: Vec<Remark>,
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
