//! The documentation names only what exists: files, links and targets of make.

use std::path::{Path, PathBuf};

use agent_creds_tests::cluster::root;

/// All Markdown files of the repository.
fn documents() -> Vec<PathBuf> {
    let in_folder = |folder: &str| {
        let files = std::fs::read_dir(root().join(folder)).expect("a folder");
        files
            .map(|file| file.expect("a file").path())
            .filter(|path| path.extension().is_some_and(|e| e == "md"))
    };
    let mut documents: Vec<_> = in_folder("").chain(in_folder("docs")).collect();
    documents
        .extend(["charts/agent-creds", "tests/cluster"].map(|folder| root().join(folder).join("README.md")));
    documents.sort();
    documents
}

fn text(document: &Path) -> String {
    std::fs::read_to_string(document).unwrap_or_else(|error| panic!("{}: {error}", document.display()))
}

#[test]
fn every_file_that_is_named_exists() {
    let top = [
        "core/",
        "refresh/",
        "runtime/",
        "sidecar/",
        "webhook/",
        "tests/",
        "charts/",
        "manifests/",
        "images/",
        "docs/",
        "fuzz/",
    ];
    for document in documents() {
        // Between backticks: words with a slash that look like a path of this repository.
        for word in text(&document).split('`').skip(1).step_by(2).flat_map(str::split_whitespace) {
            let path = word.split([':', '#']).next().unwrap_or_default().trim_end_matches(['.', ',']);
            if top.iter().any(|top| path.starts_with(top)) && !path.contains(['*', '…', '$', '<', '{']) {
                assert!(root().join(path).exists(), "{} names {path}", document.display());
            }
        }
    }
}

#[test]
fn every_link_leads_to_a_file() {
    for document in documents() {
        let folder = document.parent().expect("a folder");
        for link in text(&document).split("](").skip(1) {
            let target = link.split([')', '#']).next().unwrap_or_default();
            if !target.is_empty() && !target.contains("://") {
                assert!(folder.join(target).exists(), "{} links to {target}", document.display());
            }
        }
    }
}

#[test]
fn every_target_of_make_that_is_named_exists() {
    let makefile = text(&root().join("Makefile"));
    for document in documents() {
        for named in text(&document).split("`make ").skip(1) {
            let target: String = named.chars().take_while(char::is_ascii_lowercase).collect();
            assert!(makefile.contains(&format!("\n{target}:")), "{} names make {target}", document.display());
        }
    }
}
