//! Tokens for `POST /identity`: the kubelet's, and others signed with the cluster's key. Also the identity server's
//! answers and its log.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use agent_creds_tests::cluster::{SYSTEM, directory, eventually, get, kubectl};
use agent_creds_tests::platform::ACCOUNT;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::{Value, json};

use crate::hostile::agent::NAMESPACE;
use crate::hostile::attempt::{Met, Outcome};
use crate::hostile::tunnel::{request, said};

/// The identity server's name for pods.
pub(crate) const SERVER: &str = "agent-creds-identity.agent-creds-system.svc";

/// Posts JSON from the agent's network. Status 200 is a success.
pub(crate) fn post(host: &str, path: &str, body: &str) -> Met {
    let said = said(NAMESPACE, host, &request(host, path, "close", body));
    if said.starts_with("HTTP/1.1 200") { Ok(said) } else { Err(said) }
}

/// Sends a token to the identity server, from the network of the agent in a namespace.
pub(crate) fn shown_in(namespace: &str, token: &str) -> Met {
    let body = json!({ "token": token }).to_string();
    let said = said(namespace, SERVER, &request(SERVER, "/identity", "close", &body));
    if said.starts_with("HTTP/1.1 200") { Ok(said) } else { Err(said) }
}

/// Sends a token to the identity server, from the agent's network.
pub(crate) fn shown(token: &str) -> Met {
    shown_in(NAMESPACE, token)
}

/// Checks that a token is refused for this reason. The reason is only in the server's log; all refusals have the same
/// answer.
#[track_caller]
pub(crate) fn refused(token: &str, reason: &str) -> Outcome {
    refused_for(token, &[reason])
}

/// Checks the same with several possible reasons, because the API server caches a token's validity for ten seconds.
#[track_caller]
pub(crate) fn refused_for(token: &str, reasons: &[&str]) -> Outcome {
    let told = || reasons.iter().map(|reason| told(reason)).sum::<usize>();
    let reason = reasons.join(" or ");
    let before = told();
    let said = shown(token).expect_err("a refusal");
    let plain = said.contains("HTTP/1.1 403") && said.ends_with(r#"{"error":"access_denied"}"#);
    assert!(plain, "{reason}: {said}");
    told_more(told, before);
    Outcome::Stopped(format!("403, in the log: {reason}"))
}

/// Returns how many lines of the identity server's logs have this reason.
pub(crate) fn told(reason: &str) -> usize {
    let words = format!("\"reason\":\"{reason}\"");
    log().lines().filter(|line| line.contains(&words)).count()
}

/// Waits for one more line with this reason.
#[track_caller]
pub(crate) fn tells(reason: &str, before: usize) {
    told_more(|| told(reason), before);
}

#[track_caller]
fn told_more(told: impl Fn() -> usize, before: usize) {
    eventually(Duration::from_secs(60), || match told() {
        now if now > before => Ok(()),
        _ => Err(format!("no line with that reason; the last ones: {}", last(&log()))),
    });
}

fn log() -> String {
    let of_the_server = "app.kubernetes.io/component=identity";
    kubectl(&["logs", "--namespace", SYSTEM, "--selector", of_the_server, "--tail=-1"]).expect("its log")
}

fn last(log: &str) -> String {
    log.lines().rev().take(5).collect::<Vec<_>>().join("\n")
}

/// Reads the token that the kubelet mounted in a pod's volume, on the node.
pub(crate) fn mounted(namespace: &str, pod: &str, volume: &str) -> String {
    let uid =
        get(&["pod", pod, "--namespace", namespace])["metadata"]["uid"].as_str().expect("a uid").to_owned();
    let file = PathBuf::from(format!(
        "/var/lib/kubelet/pods/{uid}/volumes/kubernetes.io~projected/{volume}/identity-token"
    ));
    std::fs::read_to_string(file).expect("the token that the kubelet mounted")
}

/// Returns the token of the agent's sidecar.
pub(crate) fn genuine() -> String {
    mounted(NAMESPACE, "agent", "agent-creds-identity")
}

/// Returns the claims of the kubelet's token for the agent's pod.
pub(crate) fn claims() -> Value {
    let uid =
        |kind: &str, name: &str| get(&[kind, name, "--namespace", NAMESPACE])["metadata"]["uid"].clone();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs();
    json!({
        "aud": ["agent-creds"],
        "iss": "https://kubernetes.default.svc.cluster.local",
        "sub": format!("system:serviceaccount:{NAMESPACE}:{ACCOUNT}"),
        "iat": now - 10, "nbf": now - 10, "exp": now + 3600,
        "kubernetes.io": {
            "namespace": NAMESPACE,
            "pod": {"name": "agent", "uid": uid("pod", "agent")},
            "serviceaccount": {"name": ACCOUNT, "uid": uid("serviceaccount", ACCOUNT)},
        },
    })
}

/// Signs claims with a key, as the API server does.
pub(crate) fn signed(claims: &Value, key: &EcdsaKeyPair) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let text = format!("{}.{}", part(&json!({"alg": "ES256", "typ": "JWT"})), part(claims));
    let signature = key.sign(&SystemRandom::new(), text.as_bytes()).expect("a signature");
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// Returns the cluster's signing key.
pub(crate) fn cluster_key() -> EcdsaKeyPair {
    let file = directory().join("keys/service-account.key");
    let key = PrivatePkcs8KeyDer::from_pem_file(file).expect("the cluster's key");
    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key.secret_pkcs8_der()).expect("a key")
}

/// Returns another key.
pub(crate) fn strangers_key() -> EcdsaKeyPair {
    EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key")
}
