use agent_creds_core::annotations::SERVICE_ACCOUNT;
use serde_json::json;

use super::*;
use crate::pod::decide::{Decision, decide};
use crate::pod::sample::{NOW, injected, keys, pod, policy, with};

/// The policy of a cluster with an identity server.
fn exchange() -> Policy {
    let text = "{sidecar: {image: 'registry.example/agent-creds-sidecar@sha256:0000'}, \
                identity: {mode: exchange, server: 'https://identity', caConfigMap: system/ca}}";
    Policy::for_preview(Some(text), None).expect("a policy")
}

/// An injected pod whose seal names this account.
fn sealed_for(account: Option<&str>) -> Value {
    let mut pod = pod();
    if let Some(account) = account {
        pod["metadata"]["annotations"][SERVICE_ACCOUNT] = json!(account);
    }
    match decide(&pod, &exchange(), &keys(), "ops", NOW) {
        Decision::Injected { patch, .. } => patch.apply(&mut pod).expect("the patch fits"),
        other => panic!("{other:?}"),
    }
    pod
}

fn asked(pod: &Value) -> Result<String, Reason> {
    let named = sealed(pod, "ops", &exchange(), Some(&keys()), NOW);
    named.map(|account| account.to_string()).map_err(|stopped| stopped.reason)
}

#[test]
fn a_seal_names_the_account() {
    assert_eq!(asked(&sealed_for(None)).unwrap(), "ops/devops-agent-creds");
    assert_eq!(asked(&sealed_for(Some("vault/one"))).unwrap(), "vault/one");
}

#[test]
fn what_was_changed_since_or_never_sealed_gets_nothing() {
    let good = sealed_for(None);
    let image = with(good.clone(), "/spec/initContainers/0/image", json!("evil:1"));
    let annotation =
        with(good.clone(), "/metadata/annotations/agent-creds~1service-account", json!("vault/one"));
    let account = with(good.clone(), "/spec/serviceAccountName", json!("other"));
    for pod in [pod(), image, annotation, account, json!({}), json!({"spec": []})] {
        assert_eq!(asked(&pod), Err(Reason::Seal), "{pod}");
    }
    let elsewhere = sealed(&good, "other", &exchange(), Some(&keys()), NOW).unwrap_err();
    assert_eq!(elsewhere.reason, Reason::Seal);
    assert!(
        elsewhere.detail.is_some_and(|detail| detail.starts_with("seal_invalid: ")),
        "for who reads the log"
    );
    let withdrawn = Keys::new(&[1; 32], None).expect("keys");
    assert_eq!(sealed(&good, "ops", &exchange(), Some(&withdrawn), NOW).unwrap_err().reason, Reason::Seal);
    assert_eq!(sealed(&good, "ops", &exchange(), None, NOW).unwrap_err().reason, Reason::KeysMissing);
}

#[test]
fn a_valid_seal_is_not_all() {
    let root = with(sealed_for(None), "/spec/containers/0/securityContext", json!({"privileged": true}));
    assert_eq!(asked(&root), Err(Reason::PodForbidden));
    let reaching = json!([{"name": "debug", "image": "x", "volumeMounts": [{"name": "agent-creds-spool", "mountPath": "/x"}]}]);
    let joined = with(sealed_for(None), "/spec/ephemeralContainers", reaching);
    assert_eq!(asked(&joined), Err(Reason::PodForbidden), "a container that joined later");
}

#[test]
fn a_pod_that_was_sealed_without_an_account_has_nothing_to_exchange() {
    let stopped = sealed(&injected(&pod()), "ops", &policy(), Some(&keys()), NOW).unwrap_err();
    assert_eq!(stopped.reason, Reason::Seal);
    assert!(stopped.detail.is_some_and(|detail| detail.contains("identity mode pod")));
}

#[test]
fn a_seal_that_is_older_than_its_pod_gets_nothing() {
    let copied = with(sealed_for(None), "/metadata/creationTimestamp", json!("2026-01-01T00:10:01Z"));
    let stopped = sealed(&copied, "ops", &exchange(), Some(&keys()), NOW + 700).unwrap_err();
    assert_eq!(stopped.reason, Reason::Seal);
    assert!(stopped.detail.is_some_and(|detail| detail.starts_with("seal_time: ")), "for the log");
}
