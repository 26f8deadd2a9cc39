//! What the author of an agent does: applies the example, and requests tokens from inside the agent container.

use std::collections::BTreeSet;

use agent_creds_tests::cluster::{eventually, get, kubectl, manifest, pipe};
use serde_json::{Value, json};

use crate::e2e::platform::{ACCOUNT, START, why};

/// Returns the example agent of `manifests/`, with another namespace and an image that needs no registry.
pub(crate) fn example(namespace: &str, replicas: u32) -> Vec<Value> {
    let text = manifest("example-agent.yaml");
    serde_yaml::from_multiple::<Value>(&text)
        .expect("the example agent")
        .into_iter()
        .map(|mut object| {
            object["metadata"]["namespace"] = namespace.into();
            if object["kind"] == "Deployment" {
                object["spec"]["replicas"] = replicas.into();
                object["spec"]["template"]["spec"]["containers"][0]["image"] =
                    "localhost/test-agent:1".into();
            }
            object
        })
        .collect()
}

pub(crate) fn apply(objects: &[Value]) -> Result<String, String> {
    pipe(&json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string(), &["apply"])
}

/// Waits until this many pods of the example are ready, and returns them.
pub(crate) fn ready_pods(namespace: &str, count: usize) -> Vec<Value> {
    let look = || {
        let pods =
            get(&["pods", "--namespace", namespace, "--selector", "app.kubernetes.io/name=devops-agent"]);
        let is_ready = |pod: &&Value| {
            let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
            conditions.into_iter().any(|c| c["type"] == "Ready" && c["status"] == "True")
        };
        let ready: Vec<_> =
            pods["items"].as_array().expect("a list").iter().filter(is_ready).cloned().collect();
        if ready.len() == count {
            Ok(ready)
        } else {
            Err(format!("{} of {count} ready\n{}", ready.len(), why(namespace)))
        }
    };
    eventually(START, look)
}

pub(crate) fn name(pod: &Value) -> &str {
    pod["metadata"]["name"].as_str().expect("a pod has a name")
}

/// Sends `GET path` to the local API from inside the agent container, with the caller key. `Err` is wget's error.
pub(crate) fn ask(namespace: &str, pod: &str, path: &str) -> Result<Value, String> {
    let script = format!(
        r#"wget -q -O - --header "Authorization: Bearer $(cat "$AGENT_CREDS_KEY_FILE")" "$AGENT_CREDS_URL{path}""#
    );
    let answer = shell(namespace, pod, &script)?;
    serde_json::from_str(&answer).map_err(|error| format!("{error}: {answer}"))
}

/// Runs a shell command in the agent container.
pub(crate) fn shell(namespace: &str, pod: &str, script: &str) -> Result<String, String> {
    kubectl(&["exec", pod, "--namespace", namespace, "--container", "agent", "--", "sh", "-c", script])
}

/// Returns the grant from `GET /v1/grants`.
pub(crate) fn grant(namespace: &str, pod: &str) -> Result<Value, String> {
    Ok(ask(namespace, pod, "/v1/grants")?["grants"][0].clone())
}

/// Returns the state document of the grant; null if there is none yet.
pub(crate) fn document(namespace: &str) -> Value {
    use base64::Engine as _;
    let secret = get(&["secret", "devops-agent-pagerduty-state", "--namespace", namespace]);
    let Some(state) = secret["data"]["state"].as_str() else { return Value::Null };
    let state = base64::engine::general_purpose::STANDARD.decode(state).expect("base64");
    serde_json::from_slice(&state).expect("a document")
}

/// Returns the logs of all containers of a pod.
pub(crate) fn logs(namespace: &str, pod: &str) -> String {
    kubectl(&["logs", pod, "--namespace", namespace, "--all-containers"]).expect("logs")
}

/// Returns the ServiceAccount of the example, for pods that a test creates.
pub(crate) fn account(namespace: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": ACCOUNT, "namespace": namespace}})
}

/// Returns the restarted containers of the namespace's pods.
pub(crate) fn restarts(namespace: &str) -> BTreeSet<String> {
    let pods = get(&["pods", "--namespace", namespace]);
    let mut found = BTreeSet::new();
    for pod in pods["items"].as_array().expect("a list") {
        for kind in ["initContainerStatuses", "containerStatuses"] {
            for status in pod["status"][kind].as_array().into_iter().flatten() {
                if status["restartCount"] != 0 {
                    found.insert(format!("{}/{}", name(pod), status["name"]));
                }
            }
        }
    }
    found
}
