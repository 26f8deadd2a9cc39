//! Access to the sidecar's container, and to tokens of the identity audience.

use agent_creds_tests::cluster::{directory, kubectl, pipe};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::e2e::agent::apply;
use crate::e2e::platform::ACCOUNT;
use crate::e2e::policies::{NAMESPACE, Pod, refused};

const EXEC: &str = "exec and attach are denied for container agent-creds";
const TOKEN: &str = "only the kubelet may create tokens of audience agent-creds";

#[test]
#[ignore = "needs the node: make test starts it"]
fn exec_and_attach_into_the_sidecar_are_refused() {
    let pod = Pod::injected("entered");
    let exec = |more: &[&str]| pod.kubectl(&[&["exec", pod.0], more, &["--", "echo", "inside"]].concat());
    refused(exec(&["--container=agent-creds"]), "exec", EXEC);
    // GET is used for websockets, POST for SPDY.
    let raw = |verb: &str, subresource: &str, query: &str| {
        let path = pod.path(&format!("{subresource}?stdout=true&{query}"));
        if verb == "get" {
            kubectl(&["get", "--raw", &path])
        } else {
            pipe("{}", &["create", "--raw", &path])
        }
    };
    for verb in ["get", "create"] {
        refused(raw(verb, "exec", "command=id&container=agent-creds"), "exec", EXEC);
        refused(raw(verb, "exec", "command=id&container=agent-creds&container=agent"), "exec", EXEC);
        refused(raw(verb, "attach", "container=agent-creds"), "exec", EXEC);
        // Without a refusal by the policy, these requests fail because they are not streams.
        for (subresource, query) in
            [("exec", "command=id&container=agent"), ("exec", "command=id"), ("attach", "")]
        {
            let error = raw(verb, subresource, query).expect_err("not a stream");
            assert!(
                error.to_lowercase().contains("upgrade request required"),
                "{subresource}?{query}: {error}"
            );
        }
    }
    // Runs last, because an accepted stream would not end.
    refused(pod.kubectl(&["attach", pod.0, "--container=agent-creds"]), "exec", EXEC);
    assert_eq!(exec(&["--container=agent"]).as_deref(), Ok("inside\n"));
    assert_eq!(exec(&[]).as_deref(), Ok("inside\n"), "kubectl selects the first main container");
    kubectl(&["logs", pod.0, "--namespace", NAMESPACE, "--container=agent-creds"])
        .expect("the log is readable");
}

/// An empty container name never means the sidecar: with several main containers the API server requires a name, and
/// with one it takes that one.
#[test]
#[ignore = "needs the node: make test starts it"]
fn an_empty_container_name_never_means_the_sidecar() {
    let container =
        |name: &str| json!({"name": name, "image": "localhost/test-agent:1", "command": ["sleep", "3600"]});
    let spec = json!({"serviceAccountName": ACCOUNT, "containers": [container("one"), container("two")]});
    let annotations = json!({"agent-creds/inject": "true", "agent-creds/grants": "pagerduty",
        "kubectl.kubernetes.io/default-container": "agent-creds"});
    let pod = Pod::start("unnamed", &annotations, &spec);
    let error = kubectl(&["get", "--raw", &pod.path("exec?stdout=true&command=id")])
        .expect_err("a container name is required");
    assert!(error.contains("a container name must be specified"), "{error}");
    // kubectl sends the name from the annotation.
    refused(pod.kubectl(&["exec", pod.0, "--", "id"]), "exec", EXEC);
}

/// Returns the audiences of a token.
fn audiences(token: &str) -> Value {
    let payload = token.trim().split('.').nth(1).expect("a token");
    let claims: Value =
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).expect("base64")).expect("claims");
    claims["aud"].clone()
}

/// Creates a pod with a token of our audience, as injected pods have with `identity.mode: exchange`.
fn pod_with_token() -> Pod {
    let source = json!({"serviceAccountToken": {"audience": "agent-creds", "path": "token", "expirationSeconds": 600}});
    let spec = json!({
        "serviceAccountName": ACCOUNT, "terminationGracePeriodSeconds": 0,
        "containers": [{"name": "agent", "image": "localhost/test-agent:1", "command": ["sleep", "3600"],
            "volumeMounts": [{"name": "identity", "mountPath": "/run/identity"}]}],
        "volumes": [{"name": "identity", "projected": {"sources": [source]}}],
    });
    Pod::start("bearer", &Value::Null, &spec)
}

#[test]
#[ignore = "needs the node: make test starts it"]
fn only_the_kubelet_can_create_tokens_of_the_identity_audience() {
    let pod = pod_with_token();
    let mounted =
        pod.kubectl(&["exec", pod.0, "--", "cat", "/run/identity/token"]).expect("the kubelet's token");
    assert_eq!(audiences(&mounted), json!(["agent-creds"]));

    let uid = format!("--bound-object-uid={}", pod.get()["metadata"]["uid"].as_str().expect("a uid"));
    let create = |as_user: &[&str], audiences: &[&str]| {
        let bound =
            ["create", "token", ACCOUNT, "--bound-object-kind=Pod", "--bound-object-name", pod.0, &uid];
        let audiences: Vec<_> = audiences.iter().map(|audience| format!("--audience={audience}")).collect();
        let audiences: Vec<_> = audiences.iter().map(String::as_str).collect();
        pod.kubectl(&[as_user, &bound, &audiences[..]].concat())
    };
    // A renewal is the same request by the same user.
    let kubelet = format!("--kubeconfig={}", directory().join("keys/kubelet.kubeconfig").display());
    let renewed = create(&[&kubelet], &["agent-creds"]).expect("the kubelet renews it");
    assert_eq!(audiences(&renewed), json!(["agent-creds"]));

    apply(&[editor()]).expect("binding the role edit");
    let editor = format!("--as=system:serviceaccount:{NAMESPACE}:editor");
    for as_user in [&[][..], &[editor.as_str()]] {
        refused(create(as_user, &["agent-creds"]), "tokens", TOKEN);
        refused(create(as_user, &["vault", "agent-creds"]), "tokens", TOKEN);
        assert_eq!(audiences(&create(as_user, &["vault"]).expect("another audience")), json!(["vault"]));
        create(as_user, &[]).expect("the API server's own audience");
    }
    let unbound = ["create", "token", ACCOUNT, "--audience=agent-creds", "--duration=1h"];
    refused(pod.kubectl(&unbound), "tokens", TOKEN);
    // `audiences` may be absent, null or empty.
    let path = format!("/api/v1/namespaces/{NAMESPACE}/serviceaccounts/{ACCOUNT}/token");
    for spec in [json!({}), json!({"audiences": null}), json!({"audiences": []})] {
        let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec});
        pipe(&request.to_string(), &["create", "--raw", &path])
            .unwrap_or_else(|error| panic!("{spec}: {error}"));
    }
}

fn editor() -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {"name": "editor", "namespace": NAMESPACE},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "edit"},
        "subjects": [{"kind": "ServiceAccount", "name": "editor", "namespace": NAMESPACE}],
    })
}
