use agent_creds_core::pod::VOLUMES;
use serde_json::json;

use super::*;
use crate::pod::sample::{NOW, injected, keys, pod, policy, with};
use crate::policy::Policy;

fn proven_by(
    pod: &Value,
    policy: &Policy,
    keys: &Keys,
    namespace: &str,
) -> Result<Fragment, (Reason, String)> {
    proven(pod, policy, keys, namespace, NOW).map_err(|mut refusals| {
        let first = refusals.remove(0);
        (first.reason, first.message)
    })
}

fn refused(pod: &Value) -> (Reason, String) {
    proven_by(pod, &policy(), &keys(), "ops").expect_err("refused")
}

#[test]
fn an_injected_pod_proves_itself_and_a_copy_elsewhere_does_not() {
    let after = injected(&pod());
    assert!(proven_by(&after, &policy(), &keys(), "ops").is_ok());
    assert_eq!(proven_by(&after, &policy(), &keys(), "other").unwrap_err().0, Reason::SealInvalid);
    let other_account = with(after.clone(), "/spec/serviceAccountName", json!("other"));
    let (reason, message) = refused(&other_account);
    assert_eq!(reason, Reason::SealInvalid);
    assert!(message.contains("spec.serviceAccountName"), "{message}");
    let annotated = with(after, "/metadata/annotations/agent-creds~1port", json!("7000"));
    assert_eq!(refused(&annotated).0, Reason::SealInvalid);
}

#[test]
fn what_the_kubelet_reports_is_no_reference() {
    let mounts = json!([{"name": "agent-creds-shared", "mountPath": "/run/agent-creds", "readOnly": true}]);
    let status = json!({"phase": "Running", "containerStatuses": [{"name": "main", "volumeMounts": mounts}]});
    assert!(proven_by(&with(injected(&pod()), "/status", status), &policy(), &keys(), "ops").is_ok());
}

#[test]
fn an_imitation_without_a_seal_or_with_a_withdrawn_one_is_refused() {
    let mut after = injected(&pod());
    let fresh = Keys::new(&[1; 32], None).unwrap();
    assert_eq!(proven_by(&after, &policy(), &fresh, "ops").unwrap_err().0, Reason::SealWithdrawn);
    after["metadata"]["annotations"].as_object_mut().unwrap().remove(SEAL);
    let (reason, message) = refused(&after);
    assert_eq!(reason, Reason::SealMissing);
    assert!(message.contains("original manifest") && message.contains("preview"), "{message}");
    assert_eq!(refused(&pod()).0, Reason::SealMissing, "never injected at all");
}

#[test]
fn another_version_of_the_webhook_verifies_what_this_one_injected() {
    let after = injected(&pod());
    let text = "{sidecar: {image: 'registry.example/other:2', uid: 7777}, apiServer: 'https://other', \
                identity: {mode: pod}, allowCapabilities: [NET_RAW], allowHostPaths: [/var/log]}";
    let tomorrow = Policy::for_preview(Some(text), None).unwrap();
    let fragment = proven_by(&after, &tomorrow, &keys(), "ops").expect("still the same pod");
    assert_eq!(fragment.uid, 54911);
    let sibling = with(after, "/spec/containers/0/securityContext", json!({"runAsUser": 54911}));
    let found = proven_by(&sibling, &tomorrow, &keys(), "ops").unwrap_err();
    assert_eq!(found.0, Reason::SidecarUid, "the uid that this pod's sidecar has");
}

/// As it is where this volume had another name when the pod was injected.
fn injected_with(volume: &str, name: &str) -> Value {
    let after = injected(&pod());
    let seal = after["metadata"]["annotations"][SEAL].as_str().unwrap();
    let sealed = Sealed::open(seal, &keys()).unwrap();
    let renamed = |text: String| text.replace(volume, name);
    let fragment = serde_json::from_str(&renamed(serde_json::to_string(&sealed.fragment).unwrap())).unwrap();
    let mut pod: Value = serde_json::from_str(&renamed(after.to_string())).unwrap();
    pod["metadata"]["annotations"][SEAL] = Sealed { fragment, ..sealed }.seal(&keys()).into();
    pod
}

#[test]
fn volumes_are_known_by_the_names_that_they_were_injected_with() {
    for (volume, name) in VOLUMES.map(|volume| (volume, format!("{volume}-once"))) {
        let after = injected_with(volume, &name);
        let fragment = proven_by(&after, &policy(), &keys(), "ops").expect("what was sealed");
        assert!(fragment.has_volume(&name));
        let used = json!({"name": name, "mountPath": "/mnt"});
        let (reason, message) = refused(&with(after, "/spec/containers/0/volumeMounts/1", used));
        assert_eq!(reason, Reason::Reference, "{message}");
    }
}

#[test]
fn what_an_agent_got_it_still_has() {
    let after = injected(&pod());
    for (pointer, value) in [
        ("/spec/containers/0/env", json!([])),
        ("/spec/containers/0/volumeMounts", json!([])),
        ("/spec/containers/0/name", json!("renamed")),
    ] {
        assert_eq!(refused(&with(after.clone(), pointer, value)).0, Reason::SidecarStripped, "{pointer}");
    }
    let elsewhere = with(after, "/spec/containers/0/env/0/value", json!("http://127.0.0.1:1"));
    assert_eq!(refused(&elsewhere).0, Reason::SidecarStripped);
}

#[test]
fn what_a_newer_kubernetes_adds_is_tolerated_by_the_line_that_the_refusal_prints() {
    for pointer in [
        "/spec/initContainers/0/newField",
        "/spec/initContainers/0/startupProbe/newField",
        "/spec/volumes/0/emptyDir/newField",
    ] {
        let grown = with(injected(&pod()), pointer, json!({"mode": "x"}));
        let (reason, message) = refused(&grown);
        assert_eq!(reason, Reason::NameTaken, "{message}");
        let line = message.split('\'').nth(1).expect("a line to add");
        let text = json!({"sidecar": {"image": "x"}, "seal": {"tolerate": [line]}});
        let tolerant = Policy::for_preview(Some(&text.to_string()), None).unwrap();
        assert!(proven_by(&grown, &tolerant, &keys(), "ops").is_ok(), "{line}");
        let other = with(grown, pointer, json!({"mode": "y"}));
        assert!(proven_by(&other, &tolerant, &keys(), "ops").is_err(), "the value counts too");
    }
}

#[test]
fn the_agent_may_not_run_as_the_credential_account() {
    let text = "{sidecar: {image: x}, identity: {mode: exchange, server: 'https://id', caConfigMap: ns/ca}}";
    let policy = Policy::for_preview(Some(text), None).unwrap();
    let own = with(pod(), "/metadata/annotations/agent-creds~1service-account", json!("devops-agent"));
    let refusals = match crate::pod::decide::decide(&own, &policy, &keys(), "ops", NOW) {
        crate::pod::decide::Decision::Refused(refusals) => refusals,
        other => panic!("{other:?}"),
    };
    assert_eq!(refusals[0].reason, Reason::CredentialAccount);
    assert!(refusals[0].message.starts_with("spec.serviceAccountName: "), "{}", refusals[0]);
}

/// The pod as the API server stores it at this time.
fn created(pod: Value, at: i64) -> Value {
    let at = Timestamp::from_second(at).unwrap().to_string();
    with(pod, "/metadata/creationTimestamp", json!(at))
}

#[test]
fn accepts_a_seal_of_the_ten_minutes_before_the_pod() {
    let after = injected(&pod());
    for seconds in [0, 1, 600, -60] {
        assert!(
            proven_by(&created(after.clone(), NOW + seconds), &policy(), &keys(), "ops").is_ok(),
            "{seconds}"
        );
    }
}

#[test]
fn refuses_a_seal_of_another_time_than_its_pod() {
    let after = injected(&pod());
    let (reason, message) = refused(&created(after.clone(), NOW + 601));
    assert_eq!(reason, Reason::SealTime);
    assert_eq!(
        message,
        "metadata.annotations[agent-creds/seal]: made at 2026-01-01T00:00:00Z, more than 10 minutes before this pod \
         (2026-01-01T00:10:01Z), as in a copy of an older pod; apply the original manifest, without what agent-creds added"
    );
    let (reason, message) = refused(&created(after.clone(), NOW - 61));
    assert_eq!(reason, Reason::SealTime);
    assert!(
        message.contains("after this pod was created (2025-12-31T23:58:59Z); synchronise the clocks"),
        "{message}"
    );
    let (reason, message) = refused(&with(after, "/metadata/creationTimestamp", json!("yesterday")));
    assert_eq!(reason, Reason::PodInvalid);
    assert!(message.starts_with("metadata.creationTimestamp: "), "{message}");
}

#[test]
fn a_running_pod_keeps_its_seal() {
    let running = created(injected(&pod()), NOW);
    let later = NOW + 365 * 86_400;
    assert!(proven(&running, &policy(), &keys(), "ops", later).is_ok());
}

#[test]
fn an_injected_pod_stays_one_when_it_no_longer_asks() {
    let confirmed = |pod: &Value| crate::pod::decide::confirm(pod, &policy(), &keys(), "ops", NOW).reason();
    let after = injected(&pod());
    assert_eq!(confirmed(&after), Reason::Verified);
    for asks in [json!("false"), json!(null)] {
        let silent = with(after.clone(), "/metadata/annotations/agent-creds~1inject", asks);
        assert_eq!(confirmed(&silent), Reason::SealInvalid);
    }
    let mirror = with(after, "/metadata/annotations/kubernetes.io~1config.mirror", json!("x"));
    let privileged = with(mirror, "/spec/containers/0/securityContext", json!({"privileged": true}));
    assert_eq!(confirmed(&privileged), Reason::Privileged);
}

#[test]
fn a_pod_that_is_only_marked_as_injected_is_refused() {
    let bare = json!({"metadata": {}, "spec": {"containers": [{"name": "main", "image": "x"}]}});
    for (pod, reason) in [(bare, Reason::NotAsked), (pod(), Reason::SealMissing)] {
        let confirmed =
            |pod: &Value| crate::pod::decide::confirm(pod, &policy(), &keys(), "ops", NOW).reason();
        assert_eq!(confirmed(&pod), reason);
        for mark in ["labels/agent-creds~1injected", "annotations/agent-creds~1status"] {
            let marked = with(pod.clone(), &format!("/metadata/{mark}"), json!("true"));
            assert_eq!(confirmed(&marked), Reason::SealMissing, "{mark}");
        }
    }
    // The first call refuses it, too.
    let labelled = with(pod(), "/metadata/labels", json!({"agent-creds/injected": "true"}));
    let (reason, message) = crate::pod::sample::refused(&labelled);
    assert_eq!(reason, Reason::SealMissing);
    assert!(message.starts_with("metadata.labels[agent-creds/injected]: "), "{message}");
}
