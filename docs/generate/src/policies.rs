//! The ValidatingAdmissionPolicies of the chart: people explain them, so the page has a row for each of them.

use anyhow::Context as _;
use std::path::Path;

const TEMPLATES: &str = "charts/agent-creds/templates";
/// The page that explains them.
const PAGE: &str = "docs/admission.md";

/// Returns a line for each policy that the page does not explain.
pub(crate) fn unexplained(root: &Path) -> anyhow::Result<String> {
    let page = std::fs::read_to_string(root.join(PAGE)).with_context(|| format!("reading {PAGE}"))?;
    let mut lines = Vec::new();
    for entry in std::fs::read_dir(root.join(TEMPLATES)).with_context(|| format!("listing {TEMPLATES}"))? {
        let path = entry.with_context(|| format!("listing {TEMPLATES}"))?.path();
        let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        let missing = names(&text).filter(|name| !page.contains(&format!("\n| `{name}` |")));
        lines.extend(missing.map(|name| {
            format!("{PAGE}: no row for the policy {name}; write what it applies to, refuses and allows\n")
        }));
    }
    lines.sort();
    Ok(lines.concat())
}

/// The names of the policies in a template.
fn names(template: &str) -> impl Iterator<Item = String> {
    let policies = template.split("\nkind: ValidatingAdmissionPolicy\n").skip(1);
    policies.filter_map(|policy| {
        let name = policy
            .lines()
            .find_map(|line| line.strip_prefix("  name: {{ include \"agent-creds.name\" \""))?;
        Some(format!("agent-creds-{}", name.split('"').next()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_policies_of_a_template() {
        let policy = |kind: &str, name: &str| {
            format!(
                "apiVersion: v1\nkind: {kind}\nmetadata:\n  name: {{{{ include \"agent-creds.name\" \"{name}\" }}}}\n"
            )
        };
        let template = [
            policy("ValidatingAdmissionPolicy", "pods"),
            policy("ValidatingAdmissionPolicyBinding", "bound"),
            policy("ValidatingAdmissionPolicy", "exec"),
        ]
        .join("---\n");
        assert_eq!(names(&template).collect::<Vec<_>>(), ["agent-creds-pods", "agent-creds-exec"]);
    }

    #[test]
    fn the_chart_has_policies() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(TEMPLATES);
        let text = std::fs::read_to_string(root.join("policy-accounts.yaml")).expect("a template");
        assert_eq!(names(&text).collect::<Vec<_>>(), ["agent-creds-accounts", "agent-creds-secrets"]);
    }
}
