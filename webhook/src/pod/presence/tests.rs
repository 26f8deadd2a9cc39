use serde_json::json;

use super::*;
use crate::pod::decide::{Decision, decide};
use crate::pod::sample::{NOW, injected, keys, pod, policy, refused, with};

fn unchanged(pod: &Value) {
    let decision = decide(pod, &policy(), &keys(), "ops", NOW);
    assert_eq!(decision, Decision::Unchanged(Reason::AlreadyInjected));
}

/// Pointers of everything in a document, leaves and branches.
fn pointers(value: &Value, at: &str, found: &mut Vec<String>) {
    let mut below = |key: &str, value: &Value| {
        let pointer = format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"));
        pointers(value, &pointer, found);
        found.push(pointer);
    };
    match value {
        Value::Object(map) => map.iter().for_each(|(key, value)| below(key, value)),
        Value::Array(list) => list.iter().enumerate().for_each(|(i, value)| below(&i.to_string(), value)),
        _ => {}
    }
}

fn removed(mut pod: Value, pointer: &str) -> Value {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    match pod.pointer_mut(parent).unwrap() {
        Value::Object(map) => drop(map.remove(&key.replace("~1", "/").replace("~0", "~"))),
        Value::Array(list) => drop(list.remove(key.parse().unwrap())),
        _ => unreachable!(),
    }
    pod
}

/// Everything in the container and the volumes, except what the API server's plugins may change.
fn guarded(pod: &Value) -> Vec<String> {
    let mut found = Vec::new();
    for part in ["/spec/initContainers/0", "/spec/volumes/0", "/spec/volumes/1", "/spec/volumes/2"] {
        pointers(pod.pointer(part).unwrap(), part, &mut found);
    }
    found.retain(|pointer| !pointer.contains("/resources"));
    found
}

#[test]
fn no_field_of_ours_may_change() {
    let after = injected(&pod());
    let guarded = guarded(&after);
    assert!(guarded.len() > 80, "{}", guarded.len());
    for pointer in guarded {
        let changed = with(after.clone(), &pointer, json!("changed"));
        refused(&changed);
    }
}

#[test]
fn no_field_of_ours_may_go() {
    let after = injected(&pod());
    for pointer in guarded(&after) {
        let (reason, message) = refused(&removed(after.clone(), &pointer));
        let expected = match pointer.as_str() {
            // Without its name it is no container.
            "/spec/initContainers/0/name" => Reason::PodInvalid,
            // Lists that became shorter say something else than we do.
            _ if pointer.starts_with("/spec/initContainers")
                && !pointer.ends_with(|c: char| c.is_ascii_digit()) =>
            {
                Reason::SidecarStripped
            }
            _ => Reason::NameTaken,
        };
        assert_eq!(reason, expected, "{pointer}: {message}");
    }
}

#[test]
fn nothing_may_be_added_to_ours() {
    let after = injected(&pod());
    for (pointer, value) in [
        ("/spec/initContainers/0/env", json!([{"name": "A", "value": "b"}])),
        ("/spec/initContainers/0/envFrom", json!([{"secretRef": {"name": "x"}}])),
        ("/spec/initContainers/0/workingDir", json!("/tmp")),
        ("/spec/initContainers/0/tty", json!(true)),
        ("/spec/initContainers/0/lifecycle/postStart", json!({"exec": {"command": ["x"]}})),
        ("/spec/initContainers/0/securityContext/capabilities/add", json!(["CHOWN"])),
        ("/spec/initContainers/0/resources/claims", json!([{"name": "device"}])),
        ("/spec/initContainers/0/resources/limits", json!({"example.com/device": 1})),
        (
            "/spec/initContainers/0/resizePolicy",
            json!([{"resourceName": "cpu", "restartPolicy": "RestartContainer"}]),
        ),
        ("/spec/initContainers/0/imagePullPolicy", json!("Never")),
        ("/spec/initContainers/0/volumeMounts/0/subPath", json!("x")),
        ("/spec/initContainers/0/volumeMounts/3", json!({"name": "data", "mountPath": "/data"})),
        ("/spec/volumes/2/projected/sources/1", json!({"secret": {"name": "x"}})),
        ("/spec/volumes/3", json!({"name": "agent-creds-shared", "emptyDir": {}})),
        ("/spec/containers/1", json!({"name": "agent-creds", "image": "x"})),
        ("/spec/initContainers/3", json!({"name": "agent-creds", "image": "x"})),
    ] {
        let (reason, message) = refused(&with(after.clone(), pointer, value));
        assert_eq!(reason, Reason::NameTaken, "{pointer}: {message}");
    }
}

#[test]
fn a_token_mount_that_is_not_quite_one_is_refused() {
    let mount = |name: &str, path: &str, read_only: bool| {
        let mount = json!({"name": name, "mountPath": path, "readOnly": read_only});
        with(injected(&pod()), "/spec/initContainers/0/volumeMounts/3", mount)
    };
    unchanged(&mount("kube-api-access-x7k2p", API_ACCESS_DIR, true));
    for pod in [
        mount("kube-api-access-x7k2p", API_ACCESS_DIR, false),
        mount("kube-api-access-x7k2p", "/run/agent-creds", true),
        mount("data", API_ACCESS_DIR, true),
        with(
            mount("kube-api-access-x", API_ACCESS_DIR, true),
            "/spec/initContainers/0/volumeMounts/3/subPath",
            json!("x"),
        ),
    ] {
        assert_eq!(refused(&pod).0, Reason::NameTaken);
    }
}

#[test]
fn what_the_api_server_does_to_every_container_is_let_pass() {
    let after = injected(&pod());
    let after = with(after, "/spec/initContainers/0/imagePullPolicy", json!("Always"));
    let limits = json!({"requests": {"cpu": "5m", "memory": "16Mi"}, "limits": {"memory": "64Mi"}});
    let after = with(after, "/spec/initContainers/0/resources", limits);
    let resize = json!([{"resourceName": "cpu", "restartPolicy": "NotRequired"}]);
    let after = with(after, "/spec/initContainers/0/resizePolicy", resize);
    let after = with(after, "/spec/initContainers/0/env", json!([]));
    let after = with(after, "/spec/initContainers/0/stdin", json!(null));
    unchanged(&after);
}

#[test]
fn the_sidecar_may_stand_anywhere_among_the_init_containers() {
    let mut after = injected(&pod());
    after["spec"]["initContainers"].as_array_mut().unwrap().rotate_left(1);
    unchanged(&after);
}

#[test]
fn one_name_of_ours_is_not_enough() {
    for (pointer, value) in [
        ("/spec/containers/1", json!({"name": "agent-creds", "image": "x"})),
        ("/spec/volumes", json!([{"name": "agent-creds-spool", "emptyDir": {}}])),
        ("/metadata/labels", json!({"agent-creds/injected": "true"})),
        ("/metadata/annotations/agent-creds~1status", json!("{}")),
    ] {
        let (reason, message) = refused(&with(pod(), pointer, value));
        assert_eq!(reason, Reason::SealMissing, "{message}");
    }
    let after = injected(&pod());
    for pointer in [
        "/spec/initContainers/0",
        "/spec/volumes/0",
        "/spec/volumes/2",
        "/metadata/labels/agent-creds~1injected",
        "/metadata/annotations/agent-creds~1status",
    ] {
        assert_eq!(refused(&removed(after.clone(), pointer)).0, Reason::NameTaken, "{pointer}");
    }
}

#[test]
fn a_pod_whose_annotations_changed_meanwhile_is_another_pod() {
    let after = with(injected(&pod()), "/metadata/annotations/agent-creds~1grants", json!("datadog"));
    let (reason, message) = refused(&after);
    assert_eq!(reason, Reason::SealInvalid);
    assert!(message.contains("the agent-creds annotations differs"), "{message}");
}
