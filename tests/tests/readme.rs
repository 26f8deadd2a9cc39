//! The README keeps its promises: its tables are the closed sets of the code, and the files that it names exist.

use std::fmt::Write as _;

use agent_creds_sidecar::outcome::{Reason, State};
use agent_creds_tests::cluster::root;
use agent_creds_webhook::identity::outcome as identity;
use agent_creds_webhook::outcome as admission;

fn readme() -> String {
    std::fs::read_to_string(root().join("README.md")).expect("README.md")
}

/// Panics with the whole table where one row is missing, so that it can be pasted.
fn has_table(rows: impl Iterator<Item = String>) {
    let (readme, mut table, mut whole) = (readme(), String::new(), true);
    for row in rows {
        whole &= readme.lines().any(|line| line == row);
        let _ = writeln!(table, "{row}");
    }
    assert!(whole, "the README should have these rows:\n{table}");
}

#[test]
fn every_reason_of_a_grants_state_is_in_the_readme() {
    let row = |reason: &Reason| format!("| `{}` | {} |", reason.as_str(), reason.sentence());
    has_table(Reason::ALL.iter().filter(|reason| **reason != Reason::Ok).map(row));
}

#[test]
fn every_state_is_in_the_readme() {
    let readme = readme();
    for state in State::ALL {
        assert!(readme.contains(&format!("| `{}` |", state.as_str())), "{state:?}");
    }
}

#[test]
fn every_reason_of_an_admission_is_in_the_readme() {
    let row = |reason: &admission::Reason| {
        format!("| `{}` | `{}` | {} |", reason.outcome().as_str(), reason.as_str(), reason.meaning())
    };
    has_table(admission::Reason::ALL.iter().map(row));
}

#[test]
fn every_reason_of_an_identity_is_in_the_readme() {
    let row = |reason: &identity::Reason| {
        format!("| `{}` | `{}` | {} |", reason.outcome().as_str(), reason.as_str(), reason.meaning())
    };
    has_table(identity::Reason::ALL.iter().map(row));
}

#[test]
fn every_file_that_is_named_exists() {
    for document in ["README.md", "ARCHITECTURE.md", "charts/agent-creds/README.md"] {
        let text = std::fs::read_to_string(root().join(document)).expect(document);
        // Between two backticks or parentheses: words with a slash that look like a path of this repository.
        for word in text.split(['`', '(', ')', ' ', '\n', ',', ';']) {
            let top = ["core/", "sidecar/", "webhook/", "tests/", "charts/", "manifests/", "images/"];
            let path = word.split('#').next().unwrap_or_default().trim_end_matches([':', '.']);
            if top.iter().any(|top| path.starts_with(top)) && !path.contains(['*', '…', '$']) {
                assert!(root().join(path).exists(), "{document} names {path}");
            }
        }
    }
}

#[test]
fn every_target_of_make_that_is_named_exists() {
    let makefile = std::fs::read_to_string(root().join("Makefile")).expect("Makefile");
    for document in ["README.md", "ARCHITECTURE.md"] {
        let text = std::fs::read_to_string(root().join(document)).expect(document);
        for named in text.split("make ").skip(1) {
            let target: String = named.chars().take_while(char::is_ascii_lowercase).collect();
            let code = makefile.contains(&format!("\n{target}:"));
            assert!(code || target.is_empty() || !text.contains(&format!("`make {target}")), "make {target}");
        }
    }
}
