//! Builds everything that is added to a pod, as one value: the container, the volumes, and the share of each agent
//! container. Fields that the API server would default are set, so that the stored pod equals the fragment. A field
//! with the zero value of its type is left out, because webhooks written in Go drop it.

use agent_creds_core::annotations::{SelectedGrant, Selection};
use agent_creds_core::names::{AccountName, ObjectName};
use agent_creds_core::pod as names;
use agent_creds_core::sidecar_args::{
    GrantArg, GrantArgs, Identity as IdentityMode, IdentityArgs, ServeArgs, StoreArg,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::policy::{Identity, Policy, Sidecar};

const SIDECAR_BINARY: &str = "/agent-creds-sidecar";
/// Caller key, socket, certificates, and token files of up to 16 grants.
const SHARED_LIMIT: &str = "2Mi";
/// Unsaved answers of up to 16 grants, a TLS key and the probe socket.
const SPOOL_LIMIT: &str = "4Mi";
/// Life of the token for the API server; the kubelet renews it at 80 %.
const TOKEN_SECONDS: u32 = 3600;
/// Startup waits for as long as it takes: a probe that gave up would kill a refresh half way.
const NEVER_GIVE_UP: i32 = i32::MAX;

/// Everything that is added to one pod. The seal contains it, so earlier and later versions have to read it too.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fragment {
    /// The native sidecar.
    pub container: Value,
    /// Its volumes.
    pub volumes: Vec<Value>,
    /// The share of each agent container.
    pub share: Share,
    /// Value of the status annotation.
    pub status: String,
    /// The sidecar's user, which no other container may run as.
    pub uid: u32,
    /// Ports of the sidecar: the local API and the metrics.
    pub ports: [u16; 2],
    /// The credential ServiceAccount whose tokens the sidecar may get; none in identity mode `pod`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<ObjectName>,
}

/// The part that each agent container gets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Share {
    /// Names of the agent containers.
    pub containers: Vec<String>,
    /// Environment variables.
    pub env: Vec<Value>,
    /// The read-only mount of the shared volume.
    pub mount: Value,
}

impl Fragment {
    /// Builds the fragment of a pod in `namespace` with this ServiceAccount and selection. `agents` are the names of
    /// the containers that get access.
    pub fn new(
        policy: &Policy,
        namespace: &str,
        account: &str,
        selection: &Selection,
        agents: Vec<String>,
    ) -> Self {
        let credential = match &policy.identity {
            Identity::Pod => None,
            Identity::Exchange { .. } => Some(credential(namespace, account, selection)),
        };
        Self {
            container: container(policy, namespace, selection, credential.as_ref()),
            volumes: volumes(),
            share: Share {
                containers: agents,
                env: environment(selection.port),
                mount: json!({
                    "name": names::SHARED_VOLUME,
                    "mountPath": names::SHARED_DIR,
                    "readOnly": true,
                }),
            },
            status: status(policy, selection),
            uid: policy.sidecar.uid,
            ports: [selection.port, selection.metrics_port],
            credential,
        }
    }

    /// Whether the container of this name is an agent container.
    pub fn is_agent(&self, container: &str) -> bool {
        self.share.containers.iter().any(|name| name == container)
    }

    /// Whether the fragment has a volume of this name. Another version of the webhook may have used other names.
    pub fn has_volume(&self, name: &str) -> bool {
        self.volumes.iter().any(|volume| volume["name"] == name)
    }
}

/// Returns the credential account that the pod names, or `<pod's ServiceAccount>-creds`.
fn credential(namespace: &str, account: &str, selection: &Selection) -> ObjectName {
    let named = selection.service_account.clone();
    let AccountName { namespace: other, name } =
        named.unwrap_or_else(|| AccountName { namespace: None, name: format!("{account}-creds") });
    ObjectName { namespace: other.unwrap_or_else(|| namespace.to_owned()), name }
}

fn container(
    policy: &Policy,
    namespace: &str,
    selection: &Selection,
    credential: Option<&ObjectName>,
) -> Value {
    let Sidecar { image, image_pull_policy, uid, resources } = &policy.sidecar;
    json!({
        "name": names::CONTAINER,
        "image": image,
        "imagePullPolicy": image_pull_policy,
        "restartPolicy": "Always",
        "command": [SIDECAR_BINARY],
        "args": arguments(policy, namespace, selection, credential).render(),
        "ports": [{
            "name": names::METRICS_PORT_NAME,
            "containerPort": selection.metrics_port,
            "protocol": "TCP",
        }],
        "startupProbe": {
            "exec": {"command": [SIDECAR_BINARY, "probe", "startup"]},
            "timeoutSeconds": 5,
            "periodSeconds": 1,
            "successThreshold": 1,
            "failureThreshold": NEVER_GIVE_UP,
        },
        "livenessProbe": {
            "exec": {"command": [SIDECAR_BINARY, "probe", "liveness"]},
            "timeoutSeconds": 5,
            "periodSeconds": 10,
            "successThreshold": 1,
            "failureThreshold": 6,
        },
        "lifecycle": {"preStop": {"exec": {"command": [SIDECAR_BINARY, "drain"]}}},
        "resources": resources,
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "capabilities": {"drop": ["ALL"]},
            "privileged": false,
            "readOnlyRootFilesystem": true,
            "runAsGroup": uid,
            "runAsNonRoot": true,
            "runAsUser": uid,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        "volumeMounts": [
            {"name": names::SHARED_VOLUME, "mountPath": names::SHARED_DIR},
            {"name": names::SPOOL_VOLUME, "mountPath": names::SPOOL_DIR},
            {"name": names::IDENTITY_VOLUME, "mountPath": names::IDENTITY_DIR, "readOnly": true},
        ],
    })
}

/// Returns the arguments of the sidecar. Its grants are in the namespace of the account that may read them.
fn arguments(
    policy: &Policy,
    namespace: &str,
    selection: &Selection,
    credential: Option<&ObjectName>,
) -> ServeArgs {
    let namespace = credential.map_or(namespace, |account| account.namespace.as_str());
    let grant = |grant: &SelectedGrant| GrantArg {
        name: grant.name.clone(),
        secret: ObjectName { namespace: namespace.to_owned(), name: grant.secret.as_str().to_owned() },
    };
    let (mode, server, ca) = match &policy.identity {
        Identity::Pod => (IdentityMode::Pod, None, None),
        Identity::Exchange { server, ca_config_map } => {
            (IdentityMode::Exchange, Some(server.clone()), Some(ca_config_map.clone()))
        }
    };
    ServeArgs {
        grants: GrantArgs {
            grants: selection.grants.iter().map(grant).collect(),
            store: StoreArg::Kubernetes,
            api_server: policy.api_server.clone(),
            api_ca_data: Some(policy.api_ca_data.clone()),
            api_ca_file: None,
            provider_roots_data: policy.provider_roots_data.clone(),
            spool_dir: names::SPOOL_DIR.into(),
            time_scale: 1.0,
            identity: IdentityArgs {
                identity: Some(mode),
                identity_server: server,
                identity_ca: ca,
                credential: credential.cloned(),
                identity_dir: names::IDENTITY_DIR.into(),
            },
        },
        port: selection.port,
        metrics_port: selection.metrics_port,
        strict_start: selection.strict_start,
        shared_dir: names::SHARED_DIR.into(),
    }
}

fn volumes() -> Vec<Value> {
    let memory =
        |name: &str, limit: &str| json!({"name": name, "emptyDir": {"medium": "Memory", "sizeLimit": limit}});
    vec![
        memory(names::SHARED_VOLUME, SHARED_LIMIT),
        memory(names::SPOOL_VOLUME, SPOOL_LIMIT),
        json!({
            "name": names::IDENTITY_VOLUME,
            "projected": {
                "defaultMode": 0o444,
                // Without an audience the token is one for the API server.
                "sources": [
                    {"serviceAccountToken": {"expirationSeconds": TOKEN_SECONDS, "path": names::API_TOKEN_FILE}},
                    {"serviceAccountToken": {
                        "audience": names::AUDIENCE,
                        "expirationSeconds": TOKEN_SECONDS,
                        "path": names::IDENTITY_TOKEN_FILE,
                    }},
                ],
            },
        }),
    ]
}

fn environment(port: u16) -> Vec<Value> {
    let in_shared = |file| format!("{}/{file}", names::SHARED_DIR);
    vec![
        json!({"name": names::ENV_URL, "value": format!("http://127.0.0.1:{port}")}),
        json!({"name": names::ENV_KEY_FILE, "value": in_shared(names::CALLER_KEY_FILE)}),
        json!({"name": names::ENV_SOCKET, "value": in_shared(names::AGENT_SOCKET)}),
    ]
}

fn status(policy: &Policy, selection: &Selection) -> String {
    // Formatted by hand, to keep this order for readers.
    let grants: Vec<_> = selection.grants.iter().map(|grant| grant.name.as_str()).collect();
    let [version, mode] = [env!("CARGO_PKG_VERSION"), policy.identity.as_str()].map(Value::from);
    format!(r#"{{"version":{version},"mode":{mode},"grants":{}}}"#, json!(grants))
}
