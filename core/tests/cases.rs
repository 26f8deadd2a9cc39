//! Mistakes in manifests, as files: `data/secrets/*.yaml` and a pod. Each grant Secret has one row below.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use agent_creds_core::annotations::misspelt;
use agent_creds_core::grant::Grant;
use agent_creds_core::names::PROVIDER_LABEL;
use serde_json::Value;

/// The name of each file, and how its error begins; or its only warning, empty where there is none.
const SECRETS: [(&str, Result<&str, &str>); 18] = [
    ("angle-bracket-in-secret", Ok("")),
    ("avp-placeholder", Err("key refresh_token: a placeholder that was not replaced")),
    ("camel-case", Err("key client_id: missing; found `clientId`: did you mean client_id?")),
    ("datadog-grant-yml", Err("key grant.yml: no such key; did you mean grant.yaml?")),
    ("dotenv-in-value", Err("key client_secret: starts with the name of the key")),
    ("helm-template", Err("key client_id: a placeholder that was not replaced")),
    ("json-value", Err("key refresh_token: a JSON object or list")),
    ("key-typo", Err("key refresh_token: missing; found `refresh_tokn`: did you mean refresh_token?")),
    ("keys-hyphen", Err("key client_id: missing; found `client-id`: did you mean client_id?")),
    ("quotes", Err("key refresh_token: surrounded by quotes")),
    ("scope-number", Err("key grant.yaml: scopes[1]: expected a string, found a number; write one scope")),
    ("shell-variable", Err("key refresh_token: a placeholder that was not replaced")),
    ("sops", Err("key client_secret: a placeholder that was not replaced")),
    (
        "token-for-refresh-token",
        Err("key refresh_token: missing; found `token`: did you mean refresh_token?"),
    ),
    ("twice-encoded", Err("key refresh_token: base64-encoded twice")),
    ("unknown-key", Ok("key client-id: no such key; did you mean client_id?")),
    ("windows-file", Ok("")),
    ("yaml-in-value", Err("key client_id: starts with the name of the key")),
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data")
}

fn manifest(path: &Path) -> Value {
    serde_yaml::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn every_grant_secret_has_its_outcome() {
    let files = fs::read_dir(folder().join("secrets")).unwrap();
    let files: BTreeSet<String> =
        files.map(|file| file.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned()).collect();
    assert_eq!(files, SECRETS.iter().map(|(name, _)| (*name).to_owned()).collect());
    for (name, expected) in SECRETS {
        let secret = manifest(&folder().join(format!("secrets/{name}.yaml")));
        let texts = secret["stringData"].as_object().unwrap();
        let data: BTreeMap<String, Vec<u8>> = texts
            .iter()
            .map(|(key, value)| (key.clone(), value.as_str().unwrap().as_bytes().to_vec()))
            .collect();
        let label = secret["metadata"]["labels"][PROVIDER_LABEL].as_str();
        match (Grant::read(label, &data), expected) {
            (Ok(grant), Ok(warning)) => assert_eq!(grant.warnings.join("; "), warning, "{name}"),
            (Err(error), Err(begin)) => {
                let message = error.to_string();
                assert!(message.starts_with(begin), "{name}: {message}");
                for value in ["rt-good", "hush", "id-good", "secret/data"] {
                    assert!(!message.contains(value), "{name}: {message}");
                }
            }
            (read, expected) => panic!("{name}: {read:?}, not {expected:?}"),
        }
    }
}

#[test]
fn a_dotted_annotation_of_a_pod_is_recognised() {
    let pod = manifest(&folder().join("pod-dotted-annotation.yaml"));
    let annotations = pod["metadata"]["annotations"].as_object().unwrap();
    let found: Vec<_> = annotations.keys().filter_map(|key| Some((key.as_str(), misspelt(key)?))).collect();
    assert_eq!(found, [("agent-creds.inject", "agent-creds/inject")]);
}
