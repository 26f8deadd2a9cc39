//! The policy about injected pods. The webhook configurations are deleted here, so that only the policies decide, as
//! before the webhook is installed.

use std::time::Duration;

use agent_creds_tests::cluster::{eventually, kubectl, pipe};
use serde_json::{Value, json};

use super::newer::Newer;
use super::*;

const TIMEOUT: Duration = Duration::from_secs(60);

const GRACE: &str = "write terminationGracePeriodSeconds: 35 or more (the webhook sets 35 if it is less)";
const RESTARTS: &str = "write the action Restart, which restarts only the container itself";
const NOT_INJECTED: &str = "remove them, and ask for the sidecar with the annotation agent-creds/inject";

/// Installs the release without its webhooks; namespace `elsewhere` is excluded.
fn install() {
    FIRST.helm("install", &[], &["--set", "excludedNamespaces={elsewhere}"]).expect("installing");
    for kind in ["mutatingwebhookconfiguration", "validatingwebhookconfiguration"] {
        kubectl(&["delete", kind, "agent-creds"]).expect("deleting the webhooks");
    }
    let mut pod = injected();
    pod["spec"]["initContainers"].take();
    // A new policy takes a moment to be in force, and so does the removal of a webhook.
    eventually(TIMEOUT, || match admit(&pod) {
        Err(error) if error.contains(NOT_INJECTED) => Ok(()),
        other => Err(format!("{other:?}")),
    });
}

/// Returns an injected pod, with the fields that the policies read.
fn injected() -> Value {
    let context = json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}});
    let token = json!({"serviceAccountToken": {"audience": "agent-creds", "path": "identity-token"}});
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "pod", "namespace": "ops", "labels": {"agent-creds/injected": "true"}, "annotations": {
            "agent-creds/inject": "true", "agent-creds/seal": "e30.e30.AAAA", "agent-creds/status": "{}"}},
        "spec": {
            "terminationGracePeriodSeconds": 35,
            "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
            "initContainers": [{"name": "agent-creds", "image": "x", "restartPolicy": "Always", "securityContext": context,
                "resources": {"requests": {"cpu": "5m", "memory": "16Mi"}}}],
            "containers": [{"name": "main", "image": "y", "securityContext": context}],
            "volumes": [{"name": "agent-creds-identity", "projected": {"sources": [token]}}],
        },
    })
}

fn admit(pod: &Value) -> Result<String, String> {
    pipe(&pod.to_string(), &["create", "--dry-run=server"])
}

fn admit_by(server: &Newer, pod: &Value) -> Result<String, String> {
    pipe(&pod.to_string(), &[&server.address, "create", "--dry-run=server"])
}

#[track_caller]
fn refused(pod: &Value, sentence: &str) {
    refused_by_the_policy(admit(pod), sentence);
}

#[track_caller]
fn refused_by_the_policy(result: Result<String, String>, sentence: &str) {
    let error = result.expect_err("the policy refuses the request");
    assert!(error.contains("ValidatingAdmissionPolicy 'agent-creds-injected'"), "{error}");
    assert!(error.contains(sentence), "expected: {sentence}\nfound: {error}");
}

#[test]
#[ignore = "needs the API server: make test starts it"]
fn the_markers_of_injection_are_refused_without_the_sidecar() {
    let _cluster = Cluster::alone();
    install();
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut pod = injected();
        change(&mut pod);
        pod
    };
    admit(&injected()).expect("an injected pod");

    let without = |pod: &mut Value, map: &str, key: &str| {
        pod["metadata"][map].as_object_mut().expect("a map").remove(key);
    };
    let annotation = |key: &'static str| changed(&move |pod| without(pod, "annotations", key));
    for key in ["agent-creds/inject", "agent-creds/seal", "agent-creds/status"] {
        refused(&annotation(key), NOT_INJECTED);
    }
    refused(&changed(&|pod| without(pod, "labels", "agent-creds/injected")), NOT_INJECTED);
    refused(
        &changed(&|pod| pod["metadata"]["labels"]["agent-creds/injected"] = "false".into()),
        NOT_INJECTED,
    );
    refused(
        &changed(&|pod| pod["metadata"]["annotations"]["agent-creds/inject"] = "false".into()),
        NOT_INJECTED,
    );
    refused(&changed(&|pod| drop(pod["spec"]["initContainers"].take())), NOT_INJECTED);
    refused(&changed(&|pod| drop(pod["spec"]["initContainers"][0]["restartPolicy"].take())), NOT_INJECTED);
    refused(&changed(&|pod| pod["spec"]["initContainers"][0]["name"] = "other".into()), NOT_INJECTED);
    refused(&changed(&|pod| drop(pod["spec"]["volumes"].take())), NOT_INJECTED);
    for namespace in ["elsewhere", SYSTEM, "kube-system"] {
        refused(&changed(&|pod| pod["metadata"]["namespace"] = namespace.into()), NOT_INJECTED);
    }

    // One of the markers on a pod without a sidecar.
    let plain = |metadata: Value| {
        changed(&|pod| {
            let mut metadata = metadata.clone();
            metadata["name"] = "pod".into();
            metadata["namespace"] = "ops".into();
            pod["metadata"] = metadata;
            pod["spec"]["initContainers"].take();
            pod["spec"]["volumes"].take();
        })
    };
    refused(&plain(json!({"labels": {"agent-creds/injected": "true"}})), NOT_INJECTED);
    refused(&plain(json!({"labels": {"agent-creds/injected": "false"}})), NOT_INJECTED);
    for key in ["agent-creds/seal", "agent-creds/status"] {
        refused(&plain(json!({"annotations": {key: "x", "agent-creds/inject": "true"}})), NOT_INJECTED);
    }
    // Other pods are not restricted, nor is an annotated pod without a sidecar, which `manage` counts.
    admit(&plain(json!({}))).expect("a pod");
    admit(&plain(json!({"annotations": {"a": "b"}, "labels": {"a": "b"}}))).expect("other metadata");
    admit(&plain(json!({"annotations": {"agent-creds/inject": "true"}}))).expect("without the webhook");
}

#[test]
#[ignore = "needs the API server: make test starts it"]
fn a_short_grace_period_is_refused_for_an_injected_pod() {
    let _cluster = Cluster::alone();
    install();
    let mut pod = injected();
    // Null is the API server's default, 30.
    for seconds in [json!(0), json!(1), json!(34), Value::Null] {
        pod["spec"]["terminationGracePeriodSeconds"] = seconds;
        refused(&pod, GRACE);
    }
    for seconds in [35, 3600] {
        pod["spec"]["terminationGracePeriodSeconds"] = seconds.into();
        admit(&pod).expect("long enough");
    }
}

/// The largest possible lists: the API server aborts a loop that takes too long, and would refuse the pod.
#[test]
#[ignore = "needs the API server: make test starts it"]
fn the_largest_injected_pods_are_allowed() {
    let _cluster = Cluster::alone();
    install();
    let mut pod = injected();
    let mut more = pod["spec"]["containers"][0].clone();
    for n in 0..3000 {
        more["name"] = format!("c{n}").into();
        pod["spec"]["containers"].as_array_mut().expect("a list").push(more.clone());
        let volume = json!({"name": format!("v{n}"), "emptyDir": {}});
        pod["spec"]["volumes"].as_array_mut().expect("a list").insert(0, volume);
    }
    admit(&pod).expect("a large valid pod");
    pod["spec"]["terminationGracePeriodSeconds"] = 1.into();
    refused(&pod, GRACE);
}

#[test]
#[ignore = "needs the API server: make test starts it"]
fn a_restart_rule_that_restarts_the_sidecar_is_refused() {
    let _cluster = Cluster::alone();
    install();
    let rule = |action: &str| json!([{"action": action, "exitCodes": {"operator": "In", "values": [42]}}]);
    let with = |list: &str, action: &str| {
        let mut pod = injected();
        let mut container = pod["spec"]["containers"][0].clone();
        container["name"] = "restarts".into();
        container["restartPolicy"] = "Never".into();
        container["restartPolicyRules"] = rule(action);
        pod["spec"][list].as_array_mut().expect("a list").push(container);
        pod
    };
    let newer = Newer::start(
        "ContainerRestartRules=true,NodeDeclaredFeatures=true,RestartAllContainersOnContainerExits=true",
    );
    for list in ["containers", "initContainers"] {
        admit_by(&newer, &with(list, "Restart")).expect("a rule that restarts the container itself");
        refused_by_the_policy(admit_by(&newer, &with(list, "RestartAllContainers")), RESTARTS);
        let mut plain = with(list, "RestartAllContainers");
        plain["metadata"] = json!({"name": "pod", "namespace": "ops"});
        admit_by(&newer, &plain).expect("a pod without the sidecar");
        // This version does not know the action, so the policy need not refuse it.
        admit(&with(list, "RestartAllContainers")).expect_err("an unknown action");
    }
}

/// The resources of the pod as a whole also limit the sidecar.
#[test]
#[ignore = "needs the API server: make test starts it"]
fn pod_level_resources_of_an_injected_pod_cannot_be_changed() {
    let _cluster = Cluster::alone();
    install();
    let newer = Newer::start(
        "InPlacePodVerticalScaling=true,InPlacePodLevelResourcesVerticalScaling=true,NodeDeclaredFeatures=true",
    );
    let mut pod = injected();
    pod["spec"]["resources"] =
        json!({"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "64Mi"}});
    let mut plain = pod.clone();
    plain["metadata"] = json!({"name": "plain", "namespace": "ops"});
    for pod in [&pod, &plain] {
        pipe(&pod.to_string(), &[&newer.address, "create"]).expect("a pod with resources of its own");
    }
    let resize = |name: &str, change: &Value| {
        let change = json!({"spec": change}).to_string();
        let patch = ["patch", "pod", name, "--namespace", "ops", "--subresource=resize", "--patch", &change];
        kubectl(&[&[newer.address.as_str()], &patch[..]].concat())
    };
    let smaller = json!({"resources": {"requests": {"memory": "24Mi"}, "limits": {"memory": "24Mi"}}});
    let error = resize("pod", &smaller).expect_err("fewer resources for the sidecar");
    assert!(error.contains("ValidatingAdmissionPolicy 'agent-creds-pods'"), "{error}");
    assert!(error.contains("and of the pod as a whole cannot be changed in a running pod"), "{error}");
    resize("plain", &smaller).expect("a pod without the sidecar");
    let main = json!({"containers": [{"name": "main", "resources": {"requests": {"cpu": "2m"}}}]});
    resize("pod", &main).expect("another container");
    kubectl(&["delete", "pods", "pod", "plain", "--namespace", "ops", "--now"]).expect("cleanup");
}
