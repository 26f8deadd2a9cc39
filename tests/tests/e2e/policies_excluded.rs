//! A namespace that is excluded while injected pods run in it: new pods are not injected, and the injected ones stay
//! protected.

use agent_creds_tests::cluster::{eventually, get, kubectl, pipe};
use serde_json::{Value, json};

use crate::e2e::agent::{account, apply};
use crate::e2e::platform::{ACCOUNT, PLATFORM, START, why};
use crate::e2e::policies::refused;

/// A namespace without grants in the release.
const NAMESPACE: &str = "formerly";
const IMAGE: &str = "localhost/test-agent:1";

fn there(arguments: &[&str]) -> Result<String, String> {
    kubectl(&[&["--namespace", NAMESPACE], arguments].concat())
}

/// An agent that asks for the sidecar.
fn agent(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": NAMESPACE,
            "annotations": {"agent-creds/inject": "true", "agent-creds/grants": "pagerduty"}},
        "spec": {"serviceAccountName": ACCOUNT, "containers": [{"name": "agent", "image": IMAGE,
            "command": ["sh", "-c", "trap exit TERM; while :; do sleep 1 & wait $!; done"]}]},
    })
}

fn start(name: &str) -> Value {
    apply(&[account(NAMESPACE), agent(name)]).expect("making a pod");
    there(&["wait", "--for=condition=Ready", "--timeout=90s", &format!("pod/{name}")])
        .unwrap_or_else(|error| panic!("{error}\n{}", why(NAMESPACE)));
    get(&["pod", name, "--namespace", NAMESPACE])
}

/// Sends a PUT of the pod with an additional ephemeral container.
fn joined(name: &str, container: &Value) -> Result<String, String> {
    let mut pod = get(&["pod", name, "--namespace", NAMESPACE]);
    let list = pod["spec"].as_object_mut().expect("a spec").entry("ephemeralContainers").or_insert(json!([]));
    list.as_array_mut().expect("a list").push(container.clone());
    let path = format!("/api/v1/namespaces/{NAMESPACE}/pods/{name}/ephemeralcontainers");
    pipe(&pod.to_string(), &["replace", "--raw", &path])
}

/// Excludes the namespace; dropping it ends the exclusion.
struct Excluded;

impl Excluded {
    fn begin() -> Self {
        let excluded = Self;
        let value = format!("excludedNamespaces={{{NAMESPACE}}}");
        PLATFORM.helm("upgrade", &["--set", &value]).expect("excluding the namespace");
        excluded
    }
}

impl Drop for Excluded {
    /// Best effort: a panic here would hide the test's own panic.
    fn drop(&mut self) {
        let _ = there(&["delete", "pods", "--all", "--now", "--wait=false"]);
        let _ = PLATFORM.helm("upgrade", &[]);
    }
}

#[test]
#[ignore = "needs the node: make test starts it"]
fn an_injected_pod_stays_protected_when_its_namespace_is_excluded() {
    std::sync::LazyLock::force(&PLATFORM);
    let labels = json!({"pod-security.kubernetes.io/enforce": "privileged"});
    let namespace =
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}});
    apply(&[namespace]).expect("making a namespace");
    let pod = start("injected");
    assert_eq!(pod["spec"]["initContainers"][0]["name"], "agent-creds");
    let ours = pod["spec"]["initContainers"][0]["image"].as_str().expect("an image").to_owned();

    let _excluded = Excluded::begin();
    eventually(START, || {
        let made = pipe(&agent("next").to_string(), &["create", "--dry-run=server", "--output=json"])?;
        if made.contains("agent-creds/seal") { Err("still injected".to_owned()) } else { Ok(()) }
    });
    let debugger = |more: Value| {
        let mut container = json!({"name": "debugger", "image": IMAGE, "command": ["sleep", "3600"]});
        container.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        joined("injected", &container)
    };
    let alone = "each volume agent-creds-* is the sidecar's alone";
    for volume in ["agent-creds-identity", "agent-creds-shared", "agent-creds-spool"] {
        let mount = json!({"volumeMounts": [{"name": volume, "mountPath": "/stolen"}]});
        refused(debugger(mount), "pods", alone);
    }
    let file = json!({"fileKeyRef": {"volumeName": "agent-creds-spool", "path": "x", "key": "x"}});
    refused(debugger(json!({"env": [{"name": "X", "valueFrom": file}]})), "pods", alone);
    let target = json!({"targetContainerName": "agent-creds"});
    refused(debugger(target), "pods", "an ephemeral container cannot target container agent-creds");
    let image = "only container agent-creds may use its image";
    refused(debugger(json!({"image": ours})), "pods", image);
    refused(
        there(&["set", "image", "pod/injected", "agent-creds=localhost/pause:1"]),
        "pods",
        "the image of container agent-creds cannot be changed in a running pod",
    );
    refused(
        there(&["annotate", "pod", "injected", "agent-creds/inject-"]),
        "pods",
        "cannot be added, changed or removed later",
    );
    // The webhook refuses what the policies do not cover, so it is still called.
    let privileged =
        debugger(json!({"securityContext": {"privileged": true}})).expect_err("a privileged container");
    assert!(privileged.contains("ephemeralcontainers.validate.agent-creds"), "{privileged}");
    let user = debugger(json!({"securityContext": {"runAsUser": 54911}})).expect_err("the sidecar's user");
    assert!(user.contains("54911 is the sidecar's user; choose another one"), "{user}");
    debugger(json!({"targetContainerName": "agent"})).expect("the agent may be debugged");

    // A pod without the sidecar needs no protection, and cannot claim to have the sidecar.
    let next = start("next");
    assert!(next["spec"]["initContainers"].is_null() && next["metadata"]["labels"].is_null(), "{next}");
    joined("next", &json!({"name": "debugger", "image": IMAGE, "securityContext": {"privileged": true}}))
        .expect("a pod without the sidecar is not restricted");
    let mut labelled = agent("labelled");
    labelled["metadata"]["labels"] = json!({"agent-creds/injected": "true"});
    let sentence = "only the webhook sets the label agent-creds/injected";
    refused(pipe(&labelled.to_string(), &["create"]), "injected", sentence);
}
