//! An agent whose grants are in another namespace, as recommended: no account near the agent has a right there.

use agent_creds_tests::cluster::{kubectl, pipe};
use agent_creds_tests::platform::{ACCOUNT, GRANT, Platform, grant_of};
use serde_json::{Value, json};

use crate::hostile::agent::{CARELESS, NAMESPACE, OPEN, agent_pod};

/// The agent's namespace.
pub(crate) const APART: &str = "apart";
/// The namespace of its grants.
pub(crate) const VAULT: &str = "vault";
/// A grant of the agent in [`NAMESPACE`] that attempts may break.
pub(crate) const STEERED: &str = "devops-agent-steered";
/// The credential ServiceAccount of both agents, each in its namespace.
pub(crate) const CREDENTIAL: &str = "devops-agent-creds";

/// Returns the chart's entries for all agents.
pub(crate) fn grants() -> [Value; 3] {
    [
        json!({"agent": {"namespace": NAMESPACE, "name": ACCOUNT}, "secrets": [GRANT, CARELESS, STEERED]}),
        grant_of(OPEN),
        json!({
            "agent": {"namespace": APART, "name": ACCOUNT},
            "credential": {"namespace": VAULT, "name": CREDENTIAL},
            "secrets": [GRANT],
        }),
    ]
}

/// Creates the agent's namespace, in which Pod Security enforces nothing.
pub(crate) fn namespace() {
    kubectl(&["create", "namespace", APART]).expect("a namespace");
}

/// Creates the agent, and an editor beside it.
pub(crate) fn settle(platform: &Platform) {
    platform.log_in(VAULT);
    let account = |name: &str| json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": APART}});
    let editor = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {"name": "editor", "namespace": APART},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "edit"},
        "subjects": [{"kind": "ServiceAccount", "name": "editor", "namespace": APART}],
    });
    let mut agent = agent_pod("agent", APART);
    agent["metadata"]["annotations"]["agent-creds/service-account"] = json!(format!("{VAULT}/{CREDENTIAL}"));
    let items = [account(ACCOUNT), account("editor"), account("stranger"), editor, agent];
    let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
    pipe(&list.to_string(), &["apply"]).expect("making the agent whose grants are apart");
}
