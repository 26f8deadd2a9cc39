//! Searches data that the agent can read for every secret.

use agent_creds_tests::cluster::{SYSTEM, get};
use agent_creds_tests::platform::GRANT;
use agent_creds_tests::sidecar::look_in;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::hostile::agent::NAMESPACE;
use crate::hostile::pods::Process;

/// Returns all long-lived and foreign credentials: grant Secrets, refresh tokens, identity tokens, seal keys, private
/// keys.
pub(crate) fn lasting() -> Vec<String> {
    let mut secrets = Vec::new();
    let secret = |(key, _): &(String, String)| !["client_id", "grant.yaml"].contains(&key.as_str());
    secrets.extend(decoded(GRANT, NAMESPACE).into_iter().filter(secret).map(|(_, value)| value));
    let document = document();
    secrets.extend(document["refresh"]["token"].as_str().map(str::to_owned));
    for (_, value) in decoded("agent-creds-seal", SYSTEM) {
        secrets.push(STANDARD.encode(&value));
        secrets.push(value);
    }
    let keys =
        decoded("agent-creds-certificates", SYSTEM).into_iter().filter(|(key, _)| key.ends_with(".key"));
    secrets.extend(keys.map(|(_, pem)| pem.lines().nth(1).unwrap_or_default().to_owned()));
    let sidecar = Process::sidecar("agent", NAMESPACE);
    for file in ["identity-token", "api-token"] {
        let path = sidecar.inside(&format!("/run/agent-creds-identity/{file}"));
        secrets.push(
            std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())),
        );
    }
    // An empty value would be found everywhere.
    secrets.retain(|secret| secret.len() >= 16);
    assert!(secrets.len() >= 6, "expected at least six secrets, found {}", secrets.len());
    secrets
}

/// Returns the current access token, which only the agent may have.
pub(crate) fn access_token() -> String {
    document()["access"]["token"].as_str().expect("an access token").to_owned()
}

/// Returns the state document.
pub(crate) fn document() -> Value {
    let data = decoded(&format!("{GRANT}-state"), NAMESPACE);
    let (_, state) = data.into_iter().find(|(key, _)| key == "state").expect("a state");
    serde_json::from_str(&state).expect("a document")
}

/// Checks that no secret is in the text in any form, and that the search would find a planted one.
#[track_caller]
pub(crate) fn clean(text: &str, secrets: &[String]) {
    assert!(!text.is_empty(), "the text is empty");
    let planted = format!("{text}{}", STANDARD.encode(&secrets[0]));
    let finds = std::panic::catch_unwind(|| look_in(&[planted.as_bytes()], secrets));
    assert!(finds.is_err(), "the control: a planted secret is found");
    look_in(&[text.as_bytes()], secrets);
}

fn decoded(name: &str, namespace: &str) -> Vec<(String, String)> {
    let secret = get(&["secret", name, "--namespace", namespace]);
    let data = secret["data"].as_object().cloned().unwrap_or_default();
    let text = |value: &Value| {
        let bytes = STANDARD.decode(value.as_str().unwrap_or_default()).expect("base64");
        String::from_utf8_lossy(&bytes).into_owned()
    };
    data.iter().map(|(key, value)| (key.clone(), text(value))).collect()
}
