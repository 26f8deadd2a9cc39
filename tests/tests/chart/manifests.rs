//! The files in `manifests/`: rendered from the chart, and a consistent example.

use std::fs;
use std::process::Command;

use serde_json::json;

use super::{assert_restricted, documents, helm, only, read, root};

#[test]
fn the_manifests_equal_the_rendered_chart() {
    let fresh = tempfile::tempdir().expect("a temporary directory");
    let output = Command::new(root().join("manifests/render"))
        .arg(fresh.path())
        .env("HELM", helm())
        .output()
        .expect("running manifests/render");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for name in ["install.yaml", "example-grants.yaml"] {
        let rendered = fs::read_to_string(fresh.path().join(name)).expect("rendered");
        assert!(
            rendered == read(&format!("manifests/{name}")),
            "manifests/{name} is outdated: run make manifests"
        );
    }
    assert!(!read("manifests/install.yaml").contains("caBundle"), "manage writes the caBundle");
}

#[test]
fn the_example_is_consistent() {
    let agent = documents(&read("manifests/example-agent.yaml"));
    let pod = &only(&agent, "Deployment")["spec"]["template"];
    assert_restricted(pod);
    assert_eq!(pod["metadata"]["annotations"]["agent-creds/inject"], "true");
    let local = pod["metadata"]["annotations"]["agent-creds/grants"].as_str().expect("grants");
    let account = pod["spec"]["serviceAccountName"].as_str().expect("an account");

    let secret = documents(&read("manifests/example-grant-secret.yaml")).remove(0);
    assert_eq!(secret["metadata"]["name"], format!("{account}-{local}"));
    assert!(root().join(format!("core/providers/{local}.yaml")).exists(), "a provider of this version");
    for (key, value) in secret["stringData"].as_object().expect("stringData") {
        let placeholder = value.as_str().is_some_and(|text| text.starts_with("REPLACE_WITH_"));
        assert!(placeholder || key == "grant.yaml", "{key} looks like a credential");
    }

    let grants = documents(&read("manifests/example-grants.yaml"));
    let credential = &only(&grants, "ServiceAccount")["metadata"]["name"];
    assert_eq!(*credential, format!("{account}-creds"), "the default credential account");
    let named = |kind: &str, name: &str| {
        let found =
            super::of_kind(&grants, kind).into_iter().find(|object| object["metadata"]["name"] == name);
        found.unwrap_or_else(|| panic!("no {kind} {name}")).clone()
    };
    let reads = format!("agent-creds-{account}-creds");
    assert_eq!(named("RoleBinding", &reads)["subjects"][0]["name"], *credential);
    assert_eq!(named("RoleBinding", &format!("{reads}:assume"))["subjects"][0]["name"], account);
    assert_eq!(named("Role", &reads)["rules"][0]["resourceNames"], json!([secret["metadata"]["name"]]));
    for object in
        [&named("Role", &reads), only(&agent, "ServiceAccount"), only(&agent, "Deployment"), &secret]
    {
        assert_eq!(object["metadata"]["namespace"], only(&grants, "Namespace")["metadata"]["name"]);
    }
}
