//! What is linked: one TLS provider, one HTTP stack that can part connecting from sending, and a refresh protocol that can do
//! no I/O and has all its safeguards.

use std::process::{Command, Output};

/// Runs `cargo tree` on what is built for Linux.
fn cargo_tree(arguments: &[&str]) -> Output {
    Command::new("cargo")
        .args(["tree", "--locked", "--offline"])
        .args(arguments)
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .output()
        .expect("cargo tree")
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).expect("UTF-8")
}

/// What depends on a package in the whole workspace, tests included; `None` if it is not in the tree.
fn dependents(package: &str) -> Option<String> {
    let output = cargo_tree(&["--workspace", "--edges", "all", "--invert", package]);
    if output.status.success() {
        return Some(text(output.stdout)).filter(|tree| !tree.trim().is_empty());
    }
    let error = text(output.stderr);
    assert!(error.contains("did not match any packages"), "{error}");
    None
}

/// The packages that a crate is built with, one a line, and the features that are on.
fn dependencies(package: &str) -> String {
    let output = cargo_tree(&["--package", package, "--edges", "normal,build,features", "--prefix", "none"]);
    let tree = text(output.stdout);
    assert!(output.status.success() && tree.contains(package), "{}", text(output.stderr));
    tree
}

#[test]
fn there_is_one_tls_provider() {
    // Two in one process make rustls panic at the first handshake, unless each use names its own.
    assert!(dependents("aws-lc-rs").is_some_and(|tree| tree.contains("agent-creds-sidecar")));
    for other in ["ring", "openssl-sys", "native-tls"] {
        assert_eq!(dependents(other), None);
    }
}

#[test]
fn no_client_that_repeats_requests_by_itself_presents_tokens() {
    assert_eq!(dependents("reqwest"), None);
}

#[test]
fn the_refresh_protocol_depends_on_nothing_that_does_io() {
    let tree = dependencies("agent-creds-refresh");
    assert!(tree.lines().any(|line| line.starts_with("agent-creds-core v")), "{tree}");
    for package in ["kube", "k8s-openapi", "hyper", "tokio", "reqwest", "prometheus-client", "axum"] {
        let found: Vec<_> = tree.lines().filter(|line| line.split(' ').next() == Some(package)).collect();
        assert!(found.is_empty(), "{found:?}");
    }
}

#[test]
fn no_shipped_program_can_switch_a_safeguard_off() {
    for program in ["agent-creds-sidecar", "agent-creds-webhook"] {
        let features = dependencies(program);
        let model = r#"agent-creds-refresh feature "model""#;
        assert!(!features.contains(model), "{program} turns on the feature model of agent-creds-refresh");
    }
    // The model does: without this, a change of cargo's words would hide the feature.
    assert!(dependencies("agent-creds-model").contains(r#"agent-creds-refresh feature "model""#));
}
