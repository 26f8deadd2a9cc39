//! The policy file as it is written: its shape and its defaults. Rules over several keys are in the parent module.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::error::PolicyError;

/// The whole file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(super) struct PolicyFile {
    pub(super) sidecar: SidecarFile,
    pub(super) api_server: Option<String>,
    pub(super) identity: IdentityFile,
    pub(super) seal: SealFile,
    pub(super) default_grants: Vec<String>,
    pub(super) allow_capabilities: Vec<Capability>,
    pub(super) allow_host_paths: Vec<String>,
    pub(super) provider_roots: String,
}

/// `sidecar`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(super) struct SidecarFile {
    pub(super) image: String,
    pub(super) image_pull_policy: PullPolicy,
    pub(super) uid: u32,
    pub(super) resources: Resources,
}

/// `sidecar.resources`. There is no CPU limit by default, because a throttled sidecar delays a refresh.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Resources {
    pub(super) requests: Map<String, Value>,
    pub(super) limits: Map<String, Value>,
}

/// `identity`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(super) struct IdentityFile {
    pub(super) mode: Mode,
    pub(super) server: String,
    pub(super) ca_config_map: String,
}

/// `seal`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct SealFile {
    pub(super) tolerate: Vec<String>,
}

/// `identity.mode`. In `pod` the agent can read its Secrets, so a platform has to ask for it.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub(super) enum Mode {
    Pod,
    #[default]
    Exchange,
}

/// `sidecar.imagePullPolicy`.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub(super) enum PullPolicy {
    Always,
    #[default]
    IfNotPresent,
    Never,
}

/// Values of `allowCapabilities`: those that service meshes need to redirect a pod's traffic. Others would give access
/// to the node or to the sidecar's memory.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) enum Capability {
    #[serde(rename = "NET_ADMIN")]
    NetAdmin,
    #[serde(rename = "NET_RAW")]
    NetRaw,
}

impl PullPolicy {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Always => "Always",
            Self::IfNotPresent => "IfNotPresent",
            Self::Never => "Never",
        }
    }
}

impl Capability {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::NetAdmin => "NET_ADMIN",
            Self::NetRaw => "NET_RAW",
        }
    }
}

impl Default for SidecarFile {
    fn default() -> Self {
        Self {
            image: String::new(),
            image_pull_policy: PullPolicy::default(),
            uid: 54911,
            resources: Resources::default(),
        }
    }
}

impl Default for Resources {
    fn default() -> Self {
        let requests = [("cpu", "5m"), ("memory", "16Mi")];
        Self {
            requests: requests.map(|(name, value)| (name.to_owned(), value.into())).into_iter().collect(),
            limits: Map::new(),
        }
    }
}

impl PolicyFile {
    /// Reads the YAML. An empty file gives the defaults.
    pub(super) fn parse(text: &str) -> Result<Self, PolicyError> {
        let options = serde_yaml::options! {
            budget: serde_yaml::budget! { max_nodes: 5_000, max_depth: 16, max_documents: 1, max_aliases: 0, max_anchors: 0 },
        };
        let value = serde_yaml::from_str_with_options::<Option<Value>>(text, options).map_err(|broken| {
            let path = broken.location().map_or_else(
                || "the policy file".to_owned(),
                |at| format!("the policy file, line {}, column {}", at.line(), at.column()),
            );
            PolicyError::new(path, "not valid YAML; each key may occur only once")
        })?;
        match value {
            None | Some(Value::Null) => Ok(Self::default()),
            Some(value) => serde_path_to_error::deserialize(value).map_err(|error| {
                let path = error.path().to_string();
                let path = if path == "." { "the policy file".to_owned() } else { path };
                PolicyError::new(path, error.into_inner().to_string())
            }),
        }
    }
}
