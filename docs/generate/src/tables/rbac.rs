//! The rights in the Kubernetes API: the list that the chart's Roles and the audit log are compared with in tests.

use anyhow::Context as _;
use serde::Deserialize;

use crate::markdown::{code, codes, table};

/// Below the repository's root.
pub(super) const FILE: &str = "tests/data/rights.yaml";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    who: String,
    verbs: Vec<String>,
    resources: Vec<String>,
    names: Vec<String>,
    why: String,
}

pub(super) fn rbac(yaml: &str) -> anyhow::Result<String> {
    let entries: Vec<Entry> = serde_yaml::from_str(yaml).context(FILE)?;
    let rows = entries.into_iter().map(|Entry { who, verbs, resources, names, why }| {
        let [verbs, resources, names] = if verbs.is_empty() {
            ["nothing", "–", "–"].map(str::to_owned)
        } else {
            [
                codes(verbs),
                codes(resources),
                names.iter().map(|name| named(name)).collect::<Vec<_>>().join(", "),
            ]
        };
        [named(&who), verbs, resources, names, why]
    });
    Ok(table(["who", "may", "on", "named", "why"], rows))
}

/// Objects of ours have a name; the others have a description.
fn named(name: &str) -> String {
    if name.starts_with("agent-creds") { code(name) } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_rights_and_accounts_without_any() {
        let yaml = "- {who: agent-creds-admit, verbs: [], resources: [], names: [], why: reads no object}\n\
                    - {who: every ServiceAccount, verbs: [get, watch], resources: [configmaps], names: [agent-creds-ca], why: public}\n";
        let table = rbac(yaml).unwrap();
        assert!(table.contains("| `agent-creds-admit` | nothing | – | – | reads no object |"), "{table}");
        assert!(
            table.contains(
                "| every ServiceAccount | `get`, `watch` | `configmaps` | `agent-creds-ca` | public |"
            ),
            "{table}"
        );
    }

    #[test]
    fn refuses_a_key_that_it_does_not_know() {
        assert!(rbac("- {who: a, verbs: [], resources: [], names: [], why: b, note: c}").is_err());
    }
}
