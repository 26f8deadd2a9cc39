//! Which pods may say that they are injected. The webhook configurations are deleted here, so that the policies alone decide, as
//! while they are not installed.

use std::time::Duration;

use agent_creds_tests::cluster::{eventually, kubectl, pipe};
use serde_json::{Value, json};

use super::*;

const MINUTE: Duration = Duration::from_secs(60);

const NOT_INJECTED: &str = "remove them, and ask for the sidecar with the annotation agent-creds/inject";

/// The release without its webhooks; pods of `elsewhere` are excluded.
fn install() {
    FIRST.helm("install", &[], &["--set", "excludedNamespaces={elsewhere}"]).expect("installing");
    for kind in ["mutatingwebhookconfiguration", "validatingwebhookconfiguration"] {
        kubectl(&["delete", kind, "agent-creds"]).expect("taking the webhooks away");
    }
    let mut pod = injected();
    pod["spec"]["initContainers"].take();
    // A new policy takes a moment to be in force, and so does the end of a webhook.
    eventually(MINUTE, || match admit(&pod) {
        Err(error) if error.contains(NOT_INJECTED) => Ok(()),
        other => Err(format!("{other:?}")),
    });
}

/// What the webhook makes of a pod, as far as the policies look.
fn injected() -> Value {
    let context = json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}});
    let token = json!({"serviceAccountToken": {"audience": "agent-creds", "path": "identity-token"}});
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "pod", "namespace": "ops", "labels": {"agent-creds/injected": "true"}, "annotations": {
            "agent-creds/inject": "true", "agent-creds/seal": "e30.e30.AAAA", "agent-creds/status": "{}"}},
        "spec": {
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

#[track_caller]
fn refused(pod: &Value, sentence: &str) {
    let error = admit(pod).expect_err("the policy refuses it");
    assert!(error.contains("ValidatingAdmissionPolicy 'agent-creds-injected'"), "{error}");
    assert!(error.contains(sentence), "should say: {sentence}\nsays: {error}");
}

#[test]
#[ignore = "needs the API server: make test starts it"]
fn a_pod_says_that_it_is_injected_only_with_the_sidecar() {
    let _cluster = Cluster::alone();
    install();
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut pod = injected();
        change(&mut pod);
        pod
    };
    admit(&injected()).expect("what the webhook makes");

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

    // One of them alone, on a pod without a sidecar.
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
    // All other pods are nobody's business of ours, nor is one that asked and got no sidecar: it is counted.
    admit(&plain(json!({}))).expect("a pod");
    admit(&plain(json!({"annotations": {"a": "b"}, "labels": {"a": "b"}}))).expect("others' metadata");
    admit(&plain(json!({"annotations": {"agent-creds/inject": "true"}}))).expect("without the webhook");
}
