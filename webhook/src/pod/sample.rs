//! Pods for the tests of this folder.

use serde_json::{Value, json};

use super::decide::{Decision, decide};
use super::seal_keys::Keys;
use crate::outcome::Reason;
use crate::policy::Policy;

/// The time of admission: 2026-01-01T00:00:00Z.
pub(crate) const NOW: i64 = 1_767_225_600;

pub(crate) fn policy() -> Policy {
    let text = "{sidecar: {image: 'registry.example/agent-creds-sidecar@sha256:0000'}, \
                identity: {mode: pod}, allowCapabilities: [NET_RAW], allowHostPaths: [/var/log]}";
    Policy::for_preview(Some(text), None).expect("a policy")
}

pub(crate) fn keys() -> Keys {
    Keys::new(&[7; 32], None).expect("keys")
}

/// A pod with a main container, an init container and a native sidecar of somebody else.
pub(crate) fn pod() -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "generateName": "agent-",
            "annotations": {"agent-creds/inject": "true", "agent-creds/grants": "pagerduty"},
        },
        "spec": {
            "serviceAccountName": "devops-agent",
            "initContainers": [
                {"name": "setup", "image": "setup:1"},
                {"name": "proxy", "image": "proxy:1", "restartPolicy": "Always"},
            ],
            "containers": [{"name": "main", "image": "agent:1", "env": [{"name": "A", "value": "$(AGENT_CREDS_URL)/x"}]}],
        },
    })
}

/// The pod with `value` at the pointer, whose parents are made where they are missing.
pub(crate) fn with(mut pod: Value, pointer: &str, value: Value) -> Value {
    let mut at = &mut pod;
    for key in pointer.split('/').skip(1).map(|key| key.replace("~1", "/")) {
        at = match at {
            Value::Array(list) => {
                let index = key.parse().unwrap_or(list.len());
                if index == list.len() {
                    list.push(Value::Null);
                }
                &mut list[index]
            }
            other => &mut other[key],
        };
    }
    *at = value;
    pod
}

/// The pod after a first call.
pub(crate) fn injected(pod: &Value) -> Value {
    match decide(pod, &policy(), &keys(), "ops", NOW) {
        Decision::Injected { patch, .. } => {
            let mut pod = pod.clone();
            patch.apply(&mut pod).expect("the patch fits");
            pod
        }
        other => panic!("{other:?}"),
    }
}

/// Reason and message of a refusal; panics where the pod is allowed.
pub(crate) fn refused(pod: &Value) -> (Reason, String) {
    match decide(pod, &policy(), &keys(), "ops", NOW) {
        Decision::Refused(refusals) => {
            let messages: Vec<_> = refusals.iter().map(ToString::to_string).collect();
            (refusals[0].reason, messages.join("; "))
        }
        other => panic!("allowed: {other:?}"),
    }
}
