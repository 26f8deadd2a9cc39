//! The policy file as it is written: its shape and its defaults. Rules over several keys are in the parent module.

use agent_creds_core::yaml::{self, Format, Place};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::error::PolicyError;

const FORMAT: Format = Format { max_bytes: 256 * 1024, max_nodes: 5_000, max_depth: 16, not_built: &[] };

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
        let file = yaml::parse(text, FORMAT).map_err(|error| {
            let path = match error.place {
                Place::File => "the policy file".to_owned(),
                Place::Line(line, column) => format!("the policy file, line {line}, column {column}"),
                Place::Key(path) => path,
            };
            PolicyError::new(path, format!("{}; {}", error.problem, error.remedy))
        })?;
        Ok(file.unwrap_or_default())
    }
}
