//! The chart's ValidatingAdmissionPolicies (`policy-*.yaml`) with running pods: what they refuse, with which message,
//! and that other requests pass. The administrator makes each request, so no right is missing.

use agent_creds_tests::cluster::{eventually, get, kubectl, pipe};
use serde_json::{Value, json};

use crate::e2e::agent::{account, apply};
use crate::e2e::platform::{ACCOUNT, PLATFORM, START, why};

/// Namespace of these tests' pods.
pub(crate) const NAMESPACE: &str = "guarded";
/// Another image for the sidecar's container or the agent's.
const OTHER_IMAGE: &str = "localhost/pause:1";

const ANNOTATION: &str = "cannot be added, changed or removed later; change them in the pod template";
const LABEL: &str = "only the webhook sets the label agent-creds/injected";
const IMAGE: &str =
    "the image of container agent-creds cannot be changed in a running pod; for another version, upgrade";
const OUR_IMAGE: &str = "only container agent-creds may use its image";
const TARGET: &str = "an ephemeral container cannot target container agent-creds";
const RESOURCES: &str =
    "the resources of container agent-creds and of the pod as a whole cannot be changed in a running pod";

/// A pod of a test, which is deleted at the end.
pub(crate) struct Pod(pub(crate) &'static str);

impl Pod {
    /// Creates a pod and waits until it is ready.
    pub(crate) fn start(name: &'static str, annotations: &Value, spec: &Value) -> Self {
        let pod = Self::make(name, annotations, spec);
        pod.ready();
        pod
    }

    /// Creates an agent with its sidecar.
    pub(crate) fn injected(name: &'static str) -> Self {
        let pod = Self::start(name, &annotations(), &agent());
        assert_eq!(pod.get()["spec"]["initContainers"][0]["name"], "agent-creds");
        pod
    }

    pub(crate) fn make(name: &'static str, annotations: &Value, spec: &Value) -> Self {
        std::sync::LazyLock::force(&PLATFORM);
        let metadata = json!({"name": name, "namespace": NAMESPACE, "annotations": annotations});
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec});
        apply(&[account(NAMESPACE), pod]).expect("making a pod");
        Self(name)
    }

    pub(crate) fn ready(&self) {
        self.kubectl(&["wait", "--for=condition=Ready", "--timeout=90s", &format!("pod/{}", self.0)])
            .unwrap_or_else(|error| panic!("{error}\n{}", why(NAMESPACE)));
    }

    pub(crate) fn get(&self) -> Value {
        get(&["pod", self.0, "--namespace", NAMESPACE])
    }

    /// Runs kubectl in the namespace of these tests.
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> Result<String, String> {
        kubectl(&[&["--namespace", NAMESPACE], arguments].concat())
    }

    /// Patches the pod or a subresource.
    fn patch(&self, subresource: Option<&str>, patch: &Value) -> Result<String, String> {
        let patch = patch.to_string();
        let mut arguments = vec!["patch", "pod", self.0, "--type=merge", "--patch", &patch];
        let option = subresource.map(|name| format!("--subresource={name}"));
        arguments.extend(option.as_deref());
        self.kubectl(&arguments)
    }

    /// Returns the API path of a subresource of the pod.
    pub(crate) fn path(&self, subresource: &str) -> String {
        format!("/api/v1/namespaces/{NAMESPACE}/pods/{}/{subresource}", self.0)
    }
}

impl Drop for Pod {
    /// Best effort: a panic here would hide the test's own panic.
    fn drop(&mut self) {
        let _ = self.kubectl(&["delete", "pod", self.0, "--ignore-not-found", "--now", "--wait=false"]);
    }
}

fn annotations() -> Value {
    json!({"agent-creds/inject": "true", "agent-creds/grants": "pagerduty", "example.com/team": "a"})
}

/// The spec of an agent that runs until SIGTERM.
fn agent() -> Value {
    json!({
        "serviceAccountName": ACCOUNT,
        "containers": [{"name": "agent", "image": "localhost/test-agent:1",
            "command": ["sh", "-c", "trap exit TERM; while :; do sleep 1 & wait $!; done"]}],
    })
}

/// Checks that this policy refused the request with its own message.
#[track_caller]
pub(crate) fn refused(result: Result<String, String>, policy: &str, sentence: &str) {
    let error = result.expect_err("the policy refuses it");
    assert!(error.contains(&format!("ValidatingAdmissionPolicy 'agent-creds-{policy}'")), "{error}");
    assert!(error.contains(sentence), "expected: {sentence}\nfound: {error}");
}

#[test]
#[ignore = "needs the node: make test starts it"]
fn agent_creds_annotations_cannot_be_changed() {
    let pod = Pod::injected("annotated");
    let before = pod.get()["metadata"]["annotations"].clone();
    assert!(before["agent-creds/status"].is_string(), "{before}");
    for subresource in [None, Some("status")] {
        for (key, value) in [
            ("agent-creds/inject", json!("false")),
            ("agent-creds/grants", json!("pagerduty=another-agents")),
            ("agent-creds/grants", Value::Null),
            ("agent-creds/status", Value::Null),
            ("agent-creds/inject", Value::Null),
            ("agent-creds/service-account", json!("ops/other")),
            ("agent-creds/seal", json!("copied")),
            ("agent-creds/of-a-later-version", json!("x")),
        ] {
            let patch = json!({"metadata": {"annotations": {key: value}}});
            refused(pod.patch(subresource, &patch), "pods", ANNOTATION);
        }
        let all = json!({"metadata": {"annotations": null}});
        refused(pod.patch(subresource, &all), "pods", ANNOTATION);
    }
    refused(pod.kubectl(&["annotate", "pod", pod.0, "agent-creds/grants-"]), "pods", ANNOTATION);
    let mut whole = pod.get();
    whole["metadata"]["annotations"]["agent-creds/grants"] = "x".into();
    // The kubelet updates the pod meanwhile, so the request must not name a version.
    whole["metadata"]["resourceVersion"].take();
    refused(pipe(&whole.to_string(), &["replace"]), "pods", ANNOTATION);
    // These two subresources ignore changes of metadata, so there is nothing to refuse.
    for subresource in ["resize", "ephemeralcontainers"] {
        pipe(&whole.to_string(), &["replace", "--raw", &pod.path(subresource)])
            .expect("a change without effect");
    }
    assert_eq!(pod.get()["metadata"]["annotations"], before, "no refused request has changed the pod");
}

/// A pod without annotations, which afterwards gets those that a copied seal would need.
#[test]
#[ignore = "needs the node: make test starts it"]
fn a_pod_created_without_annotations_cannot_get_them() {
    let pod = Pod::start("plain", &Value::Null, &agent());
    for subresource in [None, Some("status")] {
        for key in ["agent-creds/inject", "agent-creds/seal", "agent-creds/of-a-later-version"] {
            let patch = json!({"metadata": {"annotations": {key: "true"}}});
            refused(pod.patch(subresource, &patch), "pods", ANNOTATION);
        }
        let patch = json!({"metadata": {"labels": {"agent-creds/injected": "true"}}});
        refused(pod.patch(subresource, &patch), "pods", LABEL);
    }
    // Pods that are not ours are not restricted.
    pod.patch(None, &json!({"metadata": {"annotations": {"agent-creds.example.com/x": "y"}}}))
        .expect("a change of another's pod");
    pod.kubectl(&["set", "image", &format!("pod/{}", pod.0), &format!("agent={OTHER_IMAGE}")])
        .expect("a change of another's pod");
}

#[test]
#[ignore = "needs the node: make test starts it"]
fn other_changes_of_an_injected_pod_are_allowed() {
    let pod = Pod::injected("changing");
    for (subresource, key) in [(None, "pods"), (Some("status"), "status")] {
        let change = json!({"metadata": {"annotations": {"example.com/team": key, "example.com/new": key},
            "labels": {"example.com/label": key}}});
        pod.patch(subresource, &change).expect("other annotations and labels");
        let back = json!({"metadata": {"annotations": {"example.com/new": null}, "labels": {"example.com/label": null}}});
        pod.patch(subresource, &back).expect("removing other annotations and labels");
        for label in [json!("false"), Value::Null] {
            let patch = json!({"metadata": {"labels": {"agent-creds/injected": label}}});
            refused(pod.patch(subresource, &patch), "pods", LABEL);
        }
    }
    pod.patch(None, &json!({"spec": {"activeDeadlineSeconds": 3600}})).expect("a change of another field");
    let size = json!({"spec": {"containers": [{"name": "agent", "resources": {"requests": {"cpu": "3m"}}}]}})
        .to_string();
    pod.kubectl(&["patch", "pod", pod.0, "--subresource=resize", "--patch", &size]).expect("a resize");

    // With a finalizer, deletion and the removal of the finalizer are updates; the kubelet reports the status between
    // them.
    pod.patch(None, &json!({"metadata": {"finalizers": ["example.com/hold"]}})).expect("a finalizer");
    pod.kubectl(&["delete", "pod", pod.0, "--wait=false"]).expect("a deletion");
    eventually(START, || {
        let status = pod.get()["status"].clone();
        let ended = ["Succeeded", "Failed"].iter().any(|phase| status["phase"] == *phase);
        if ended { Ok(()) } else { Err(format!("the kubelet has not reported its end: {status}")) }
    });
    pod.patch(None, &json!({"metadata": {"finalizers": null}})).expect("removing the finalizer");
    pod.kubectl(&["wait", "--for=delete", &format!("pod/{}", pod.0), "--timeout=30s"]).expect("it is gone");
}

#[test]
#[ignore = "needs the node: make test starts it"]
fn the_image_of_the_sidecar_cannot_be_changed() {
    let pod = Pod::injected("imaged");
    let before = pod.get();
    let ours = before["spec"]["initContainers"][0]["image"].as_str().expect("an image").to_owned();
    let target = format!("pod/{}", pod.0);
    let set = |images: &[&str]| pod.kubectl(&[&["set", "image", &target], images].concat());

    refused(set(&[&format!("agent-creds={OTHER_IMAGE}")]), "pods", IMAGE);
    refused(set(&[&format!("*={OTHER_IMAGE}")]), "pods", IMAGE);
    let path = "/spec/initContainers/0/image";
    let swap = json!([{"op": "replace", "path": path, "value": OTHER_IMAGE}]).to_string();
    refused(pod.kubectl(&["patch", "pod", pod.0, "--type=json", "--patch", &swap]), "pods", IMAGE);
    // Together with a harmless change, and with the annotation that marks the pod removed.
    let both = json!([{"op": "replace", "path": path, "value": OTHER_IMAGE},
        {"op": "remove", "path": "/metadata/annotations/agent-creds~1inject"}]);
    refused(
        pod.kubectl(&["patch", "pod", pod.0, "--type=json", "--patch", &both.to_string()]),
        "pods",
        ANNOTATION,
    );
    refused(set(&[&format!("agent={ours}")]), "pods", OUR_IMAGE);
    refused(set(&[&format!("agent={ours}"), &format!("agent-creds={OTHER_IMAGE}")]), "pods", IMAGE);
    assert_eq!(pod.get()["spec"], before["spec"], "no refused request has changed the pod");

    set(&[&format!("agent={OTHER_IMAGE}")]).expect("the agent's own image");
    set(&["agent=localhost/test-agent:1", &format!("agent-creds={ours}")])
        .expect("back, with the sidecar's image unchanged");
}

/// A sidecar that runs out of CPU or memory during a refresh may lose the answer, and with it the grant.
#[test]
#[ignore = "needs the node: make test starts it"]
fn the_resources_of_the_sidecar_cannot_be_changed() {
    let pod = Pod::injected("resized");
    let before = pod.get()["spec"]["initContainers"][0]["resources"].clone();
    let resize = |patch: &Value| {
        let patch = json!({"spec": patch}).to_string();
        pod.kubectl(&["patch", "pod", pod.0, "--subresource=resize", "--patch", &patch])
    };
    let agent = json!([{"name": "agent", "resources": {"requests": {"cpu": "3m"}}}]);
    for resources in [
        json!({"requests": {"cpu": "1m"}}),
        json!({"requests": {"memory": "4Mi"}, "limits": {"memory": "4Mi"}}),
        json!({"limits": {"cpu": "1m"}, "requests": {"cpu": "1m"}}),
        json!({"requests": {"cpu": "50m"}}),
    ] {
        let sidecar = json!([{"name": "agent-creds", "resources": resources}]);
        refused(resize(&json!({"initContainers": sidecar})), "pods", RESOURCES);
        refused(resize(&json!({"initContainers": sidecar, "containers": agent})), "pods", RESOURCES);
    }
    resize(&json!({"containers": agent})).expect("the agent's own resources");
    assert_eq!(pod.get()["spec"]["containers"][0]["resources"]["requests"]["cpu"], "3m");
    assert_eq!(pod.get()["spec"]["initContainers"][0]["resources"], before);
}

#[test]
#[ignore = "needs the node: make test starts it"]
fn a_short_grace_period_is_raised_for_a_pod_with_the_sidecar() {
    std::sync::LazyLock::force(&PLATFORM);
    apply(&[account(NAMESPACE)]).expect("the account");
    let made = |annotations: Value, seconds: Value| {
        let mut spec = agent();
        spec["terminationGracePeriodSeconds"] = seconds;
        let metadata = json!({"name": "hurried", "namespace": NAMESPACE, "annotations": annotations});
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec});
        let made =
            pipe(&pod.to_string(), &["create", "--dry-run=server", "--output=json"]).expect("admitted");
        let made: Value = serde_json::from_str(&made).expect("JSON");
        made["spec"]["terminationGracePeriodSeconds"].as_i64().expect("a number")
    };
    for seconds in [0, 1, 30, 34] {
        assert_eq!(made(annotations(), json!(seconds)), 35);
        assert_eq!(made(Value::Null, json!(seconds)), seconds, "a pod without the sidecar");
        assert_eq!(made(json!({"agent-creds/inject": "false"}), json!(seconds)), seconds);
    }
    assert_eq!(made(annotations(), Value::Null), 35, "the default is 30");
    for seconds in [35, 3600] {
        assert_eq!(made(annotations(), json!(seconds)), seconds);
    }
    // The grace period of a deletion is not restricted.
    let pod = Pod::injected("deleted");
    pod.kubectl(&["delete", "pod", pod.0, "--grace-period=1"]).expect("a deletion");
}

#[test]
#[ignore = "needs the node: make test starts it"]
fn an_ephemeral_container_cannot_target_the_sidecar() {
    let pod = Pod::injected("debugged");
    let debug = |name: &str, image: &str, more: &[&str]| {
        let (image, container) = (format!("--image={image}"), format!("--container={name}"));
        // The namespace enforces the baseline, which forbids the capability that kubectl adds by default.
        let arguments = ["debug", pod.0, &image, &container, "--profile=baseline", "--quiet"];
        pod.kubectl(&[&arguments[..], more, &["--", "sleep", "3600"]].concat())
    };
    let image = "localhost/test-agent:1";
    refused(debug("into-the-sidecar", image, &["--target=agent-creds"]), "pods", TARGET);
    let ours = pod.get()["spec"]["initContainers"][0]["image"].as_str().expect("an image").to_owned();
    refused(debug("of-the-sidecar", &ours, &["--target=agent"]), "pods", OUR_IMAGE);
    assert!(pod.get()["spec"]["ephemeralContainers"].is_null());

    debug("into-the-agent", image, &["--target=agent"]).expect("the agent may be debugged");
    debug("beside", image, &[]).expect("the pod may be debugged");
    eventually(START, || {
        let statuses = pod.get()["status"]["ephemeralContainerStatuses"].clone();
        let running = statuses.as_array().into_iter().flatten().filter(|s| !s["state"]["running"].is_null());
        if running.count() == 2 { Ok(()) } else { Err(format!("not running: {statuses}")) }
    });
}

#[test]
#[ignore = "needs the node: make test starts it"]
fn a_binding_cannot_add_agent_creds_annotations() {
    let mut unscheduled = agent();
    unscheduled["schedulerName"] = "none".into();
    let pod = Pod::make("unbound", &annotations(), &unscheduled);
    let binding = |metadata: Value| {
        let mut metadata = metadata;
        metadata["name"] = pod.0.into();
        json!({"apiVersion": "v1", "kind": "Binding", "metadata": metadata,
            "target": {"apiVersion": "v1", "kind": "Node", "name": "node"}})
        .to_string()
    };
    let legacy = format!("/api/v1/namespaces/{NAMESPACE}/bindings");
    for path in [pod.path("binding"), legacy] {
        let bind = |metadata: Value| pipe(&binding(metadata), &["create", "--raw", &path]);
        for key in ["agent-creds/grants", "agent-creds/seal", "agent-creds/of-a-later-version"] {
            let sentence = "a Binding cannot add them; remove them from the Binding";
            refused(bind(json!({"annotations": {key: "x"}})), "bindings", sentence);
        }
        refused(bind(json!({"labels": {"agent-creds/injected": "false"}})), "bindings", LABEL);
    }
    assert!(pod.get()["spec"]["nodeName"].is_null(), "the pod is not bound");

    let theirs = json!({"annotations": {"example.com/scheduled-by": "hand"}});
    pipe(&binding(theirs), &["create", "--raw", &pod.path("binding")]).expect("other annotations");
    pod.ready();
    let annotations = &pod.get()["metadata"]["annotations"];
    assert_eq!(annotations["example.com/scheduled-by"], "hand", "a Binding adds annotations: {annotations}");
    assert_eq!(annotations["agent-creds/grants"], "pagerduty");
}
