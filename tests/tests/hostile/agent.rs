//! The setup of all attempts: a platform, an injected pod, and accounts with the built-in roles.

use std::sync::LazyLock;

use agent_creds_tests::cluster::{kubectl, pipe};
use agent_creds_tests::platform::{ACCOUNT, Platform, START, why};
use serde_json::{Value, json};

use crate::hostile::apart;
use crate::hostile::attempt::Met;

/// The agent's namespace.
pub(crate) const NAMESPACE: &str = "hostile";
/// A namespace in which the platform allows NET_RAW and NET_ADMIN.
pub(crate) const OPEN: &str = "hostile-open";
/// Name of an invalid grant Secret.
pub(crate) const CARELESS: &str = "devops-agent-careless";
/// An image with busybox, its applets, and kubectl; user 1000.
pub(crate) const IMAGE: &str = "localhost/hostile-agent:1";
/// Name of the injected pod that most attempts use.
const POD: &str = "agent";

/// The installed platform with the agent.
pub(crate) static PLATFORM: LazyLock<Platform> = LazyLock::new(|| {
    apart::namespace();
    let platform = Platform::install(&[NAMESPACE, OPEN, apart::VAULT], &apart::grants());
    platform.log_in(NAMESPACE);
    apart::settle(&platform);
    let account = |name: &str| json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": NAMESPACE}});
    let bound = |name: &str, role: &str| {
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
            "metadata": {"name": format!("{name}-{role}"), "namespace": NAMESPACE},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": NAMESPACE}],
        })
    };
    // The agent itself may view its namespace, and people near it may edit.
    let objects = [
        account(ACCOUNT),
        account("viewer"),
        account("editor"),
        bound(ACCOUNT, "view"),
        bound("viewer", "view"),
        bound("editor", "edit"),
        agent_pod(POD, NAMESPACE),
    ];
    let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
    pipe(&list.to_string(), &["apply"]).expect("making the agent");
    await_ready(POD, NAMESPACE);
    await_ready(POD, apart::APART);
    platform
});

/// Returns an annotated pod of the agent's account, with one grant.
pub(crate) fn agent_pod(name: &str, namespace: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace,
            "annotations": {"agent-creds/inject": "true", "agent-creds/grants": "pagerduty", "agent-creds/strict-start": "true"}},
        "spec": {
            "serviceAccountName": ACCOUNT,
            "containers": [{"name": "agent", "image": IMAGE, "command": ["sleep", "2147483647"]}],
        },
    })
}

/// Waits until a pod is ready; with strict-start it has its tokens then.
pub(crate) fn await_ready(pod: &str, namespace: &str) {
    let pod = format!("pod/{pod}");
    let ready = ["wait", "--for=condition=Ready", "--timeout=90s", &pod, "--namespace", namespace];
    kubectl(&ready).unwrap_or_else(|error| panic!("{error} (not within {START:?})\n{}", why(namespace)));
}

/// Runs a shell command in the agent's container, with its environment and token. `k` is kubectl as the agent's
/// account.
pub(crate) fn inside(script: &str) -> Met {
    in_pod(POD, "agent", script)
}

/// Runs it in another container of the namespace.
pub(crate) fn in_pod(pod: &str, container: &str, script: &str) -> Met {
    in_pod_of(NAMESPACE, pod, container, script)
}

/// Runs it in another namespace.
pub(crate) fn in_pod_of(namespace: &str, pod: &str, container: &str, script: &str) -> Met {
    let script = format!(
        "S=/var/run/secrets/kubernetes.io/serviceaccount\n\
         k() {{ kubectl --server=https://kubernetes.default.svc --certificate-authority=$S/ca.crt --token=\"$(cat $S/token)\" \"$@\"; }}\n\
         exec 2>&1\n{script}"
    );
    let arguments =
        ["exec", pod, "--namespace", namespace, "--container", container, "--", "sh", "-c", &script];
    // The output counts even if the command fails.
    agent_creds_tests::cluster::said(&arguments)
}

/// Runs kubectl as an account of the namespace, with a token of it.
pub(crate) fn as_account(account: &str, arguments: &[&str]) -> Met {
    let token = kubectl(&["create", "token", account, "--namespace", NAMESPACE])?;
    let token = format!("--token={}", token.trim());
    kubectl(&[&[token.as_str(), "--namespace", NAMESPACE], arguments].concat())
}

/// Runs kubectl as the administrator in the namespace, for controls.
pub(crate) fn as_administrator(arguments: &[&str]) -> Met {
    kubectl(&[&["--namespace", NAMESPACE], arguments].concat())
}
