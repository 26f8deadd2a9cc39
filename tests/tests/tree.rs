//! Checks the dependency tree: one TLS provider, and no HTTP client that retries requests by itself.

use std::process::Command;

/// Returns the dependents of a package on Linux, tests included; `None` if it is not in the tree.
fn tree(package: &str) -> Option<String> {
    let output = Command::new("cargo")
        .args(["tree", "--workspace", "--locked", "--offline", "--edges", "all", "--invert", package])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .output()
        .expect("cargo tree");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    if output.status.success() {
        return Some(text(output.stdout)).filter(|tree| !tree.trim().is_empty());
    }
    let error = text(output.stderr);
    assert!(error.contains("did not match any packages"), "{error}");
    None
}

#[test]
fn there_is_one_tls_provider() {
    // With two providers in one process, rustls panics at the first handshake unless each use names its own.
    assert!(tree("aws-lc-rs").is_some_and(|tree| tree.contains("agent-creds-sidecar")));
    for other in ["ring", "openssl-sys", "native-tls"] {
        assert_eq!(tree(other), None);
    }
}

#[test]
fn no_http_client_that_retries_by_itself_is_linked() {
    assert_eq!(tree("reqwest"), None);
}
