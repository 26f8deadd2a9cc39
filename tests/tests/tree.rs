//! What is linked: one TLS provider, and one HTTP stack that can part connecting from sending.

use std::process::Command;

/// What depends on a package in what is built for Linux, tests included; `None` where it is not in the tree.
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
    // Two in one process make rustls panic at the first handshake, unless each use names its own.
    assert!(tree("aws-lc-rs").is_some_and(|tree| tree.contains("agent-creds-sidecar")));
    for other in ["ring", "openssl-sys", "native-tls"] {
        assert_eq!(tree(other), None);
    }
}

#[test]
fn no_client_that_repeats_requests_by_itself_presents_tokens() {
    assert_eq!(tree("reqwest"), None);
}
