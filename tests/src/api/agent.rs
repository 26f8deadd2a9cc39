//! Creates what an agent has in the cluster: its namespace, its ServiceAccount with the rights that the chart grants,
//! and one grant.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::Api;

/// Name of the ServiceAccount.
const ACCOUNT: &str = "agent";

/// An agent with one grant.
#[derive(Clone, Copy, Debug)]
pub struct Agent<'a> {
    /// Namespace of all objects.
    pub namespace: &'a str,
    /// Name of the grant Secret.
    pub grant: &'a str,
    /// Id and secret of the OAuth client.
    pub client: (&'a str, &'a str),
    /// The token endpoint.
    pub token_url: &'a str,
    /// The refresh token of the login.
    pub login: &'a str,
}

impl Api {
    /// Creates the objects and returns a token of the ServiceAccount.
    ///
    /// # Panics
    /// If the API server refuses one of them.
    pub async fn make(&self, agent: &Agent<'_>) -> String {
        let Agent { namespace, grant: name, client: (id, secret), token_url, login } = *agent;
        let kind = |kind: &str, version: &str, name: &str| -> Value {
            json!({"apiVersion": version, "kind": kind, "metadata": {"name": name}})
        };
        self.create("/api/v1/namespaces", &kind("Namespace", "v1", namespace)).await;
        let core = format!("/api/v1/namespaces/{namespace}");
        let rbac = format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}");
        self.create(&format!("{core}/serviceaccounts"), &kind("ServiceAccount", "v1", ACCOUNT)).await;

        let state = format!("{name}-state");
        let mut role = kind("Role", "rbac.authorization.k8s.io/v1", ACCOUNT);
        role["rules"] = json!([
            {"apiGroups": [""], "resources": ["secrets"], "resourceNames": [name], "verbs": ["get", "watch"]},
            {"apiGroups": [""], "resources": ["secrets"], "resourceNames": [state], "verbs": ["get", "watch", "update"]},
            {"apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create"]},
        ]);
        self.create(&format!("{rbac}/roles"), &role).await;
        let mut binding = kind("RoleBinding", "rbac.authorization.k8s.io/v1", ACCOUNT);
        binding["roleRef"] =
            json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": ACCOUNT});
        binding["subjects"] = json!([{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": namespace}]);
        self.create(&format!("{rbac}/rolebindings"), &binding).await;

        let settings = json!({
            "token_url": token_url, "client_auth": "post", "allow_private": true, "scopes": ["incidents.read"]
        });
        let mut grant = kind("Secret", "v1", name);
        grant["metadata"]["labels"] = json!({"agent-creds/provider": "oauth2"});
        grant["data"] = json!({
            "client_id": STANDARD.encode(id),
            "client_secret": STANDARD.encode(secret),
            "refresh_token": STANDARD.encode(login),
            "grant.yaml": STANDARD.encode(settings.to_string()),
        });
        self.create(&format!("{core}/secrets"), &grant).await;
        let mut empty = kind("Secret", "v1", &state);
        empty["metadata"]["labels"] = json!({"agent-creds/state-of": name});
        self.create(&format!("{core}/secrets"), &empty).await;
        self.token_of(namespace, ACCOUNT).await
    }
}
