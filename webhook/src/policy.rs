//! The policy of the platform team, read from one YAML file: the sidecar's image and resources, and what an agent's pod
//! may do beyond the Pod Security baseline. A key that is unknown, or not built in this version, is refused with its
//! path, because a typo in a security setting must not give the default. Nothing here does I/O. Everything that is the
//! same for all pods is computed here once.

pub mod directory;
mod error;
mod file;
pub mod tolerate;

pub use error::PolicyError;

use agent_creds_core::annotations::Selection;
use agent_creds_core::names::ObjectName;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::{Value, json};

use directory::Directory;
use file::{Capability, IdentityFile, Mode, PolicyFile, SealFile, SidecarFile};
use tolerate::Tolerated;

/// Largest bundle of certificates, in bytes. A bundle is one base64 argument, and the seal contains all arguments: with
/// two bundles of this size it stays below the 256 KiB of annotations that a pod may have.
pub const MAX_PEM: usize = 48 * 1024;
const API_CA: &str = "the API server's CA";
const PLACEHOLDER_CA: &str = "placeholder: the CA of the cluster\n";
const PLACEHOLDER_IMAGE: &str = concat!("agent-creds-sidecar:", env!("CARGO_PKG_VERSION"));
/// Identity server and CA of a release in the chart's default namespace, for previews.
const PLACEHOLDER_SERVER: &str = "https://agent-creds-identity.agent-creds-system.svc";
const PLACEHOLDER_CA_CONFIG_MAP: &str = "agent-creds-system/agent-creds-ca";
/// URL of the API server where the file does not name one.
const DEFAULT_API_SERVER: &str = "https://kubernetes.default.svc";

/// The checked policy.
#[derive(Clone, Debug)]
pub struct Policy {
    /// The injected container.
    pub sidecar: Sidecar,
    /// URL of the API server, as the sidecar calls it.
    pub api_server: String,
    /// Base64 of the PEM bundle that the API server's certificate is checked against.
    pub api_ca_data: String,
    /// Base64 of the PEM bundle of additional roots for providers.
    pub provider_roots_data: Option<String>,
    /// The account that the sidecar reads its Secrets as.
    pub identity: Identity,
    /// Grants of pods that name none, as in `agent-creds/grants`.
    pub default_grants: Vec<String>,
    /// Capabilities beyond the baseline that containers may add.
    pub allow_capabilities: Vec<&'static str>,
    /// Directories of the node that pods may mount, read-only.
    pub allow_host_paths: Vec<Directory>,
    /// Fields that a newer Kubernetes may add to the injected parts.
    pub tolerated: Vec<Tolerated>,
}

/// The settings of the injected container.
#[derive(Clone, Debug)]
pub struct Sidecar {
    /// The image, by digest where known.
    pub image: String,
    /// When the kubelet pulls it.
    pub image_pull_policy: &'static str,
    /// User and group of the sidecar; no other container may run as it.
    pub uid: u32,
    /// `resources` of the container, requests filled up from limits as the API server does it.
    pub resources: Value,
}

/// The account that the sidecar reads its Secrets as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// The pod's own ServiceAccount, so the agent has the same rights.
    Pod,
    /// The credential ServiceAccount, whose tokens the identity server issues.
    Exchange {
        /// URL of the identity server.
        server: String,
        /// ConfigMap with its CA.
        ca_config_map: ObjectName,
    },
}

impl Identity {
    /// Returns its name in arguments and annotations.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Pod => "pod",
            Self::Exchange { .. } => "exchange",
        }
    }
}

impl Policy {
    /// Reads the file; `api_ca` is the PEM bundle of the API server.
    pub fn parse(text: &str, api_ca: &[u8]) -> Result<Self, PolicyError> {
        Self::checked(PolicyFile::parse(text)?, bundle(API_CA, api_ca)?)
    }

    /// Reads the file for a preview without a cluster. Placeholders stand for the image without a file, and for the API server's
    /// CA, the identity server and its CA where they are not given.
    pub fn for_preview(text: Option<&str>, api_ca: Option<&[u8]>) -> Result<Self, PolicyError> {
        let mut file = match text {
            Some(text) => PolicyFile::parse(text)?,
            None => PolicyFile {
                sidecar: SidecarFile { image: PLACEHOLDER_IMAGE.to_owned(), ..SidecarFile::default() },
                ..PolicyFile::default()
            },
        };
        if file.identity.server.is_empty() && file.identity.ca_config_map.is_empty() {
            PLACEHOLDER_SERVER.clone_into(&mut file.identity.server);
            PLACEHOLDER_CA_CONFIG_MAP.clone_into(&mut file.identity.ca_config_map);
        }
        let api_ca = api_ca.map_or_else(|| Ok(STANDARD.encode(PLACEHOLDER_CA)), |pem| bundle(API_CA, pem))?;
        Self::checked(file, api_ca)
    }

    fn checked(file: PolicyFile, api_ca_data: String) -> Result<Self, PolicyError> {
        let PolicyFile {
            sidecar,
            api_server,
            identity,
            seal: SealFile { tolerate },
            default_grants,
            allow_capabilities,
            allow_host_paths,
            provider_roots,
        } = file;
        Ok(Self {
            sidecar: checked_sidecar(sidecar)?,
            api_server: https("apiServer", api_server.unwrap_or_else(|| DEFAULT_API_SERVER.to_owned()))?,
            api_ca_data,
            provider_roots_data: match provider_roots.trim() {
                "" => None,
                _ => Some(bundle("providerRoots", provider_roots.as_bytes())?),
            },
            identity: checked_identity(identity)?,
            default_grants: checked_grants(default_grants)?,
            allow_capabilities: allow_capabilities.into_iter().map(Capability::as_str).collect(),
            allow_host_paths: checked_list("allowHostPaths", &allow_host_paths, Directory::allowed)?,
            tolerated: checked_list("seal.tolerate", &tolerate, Tolerated::parse)?,
        })
    }
}

fn checked_list<T>(
    path: &str,
    entries: &[String],
    parse: impl Fn(&str) -> Result<T, String>,
) -> Result<Vec<T>, PolicyError> {
    let entry = |(i, entry): (usize, &String)| {
        parse(entry).map_err(|problem| PolicyError::new(format!("{path}[{i}]"), problem))
    };
    entries.iter().enumerate().map(entry).collect()
}

fn checked_identity(file: IdentityFile) -> Result<Identity, PolicyError> {
    let IdentityFile { mode, server, ca_config_map } = file;
    if mode == Mode::Pod {
        return Ok(Identity::Pod);
    }
    let ca_config_map = ObjectName::parse(&ca_config_map).map_err(|_| {
        let problem = format!(
            "found {ca_config_map:?}; identity mode \"exchange\", the default, needs namespace/name of the ConfigMap with \
             the identity server's CA"
        );
        PolicyError::new("identity.caConfigMap", problem)
    })?;
    Ok(Identity::Exchange { server: https("identity.server", server)?, ca_config_map })
}

fn checked_sidecar(file: SidecarFile) -> Result<Sidecar, PolicyError> {
    let SidecarFile { image, image_pull_policy, uid, resources } = file;
    if image.is_empty() || image.contains(char::is_whitespace) {
        let problem = "not set, or no image; write registry/name@sha256:…";
        return Err(PolicyError::new("sidecar.image", problem));
    }
    // Root would own the node's files, and the API server allows at most 2^31 - 1.
    if uid == 0 || i32::try_from(uid).is_err() {
        return Err(PolicyError::new(
            "sidecar.uid",
            format!("found {uid}; write 1 to 2147483647, as in 54911"),
        ));
    }
    let limits = quantities("sidecar.resources.limits", &resources.limits)?;
    let mut requests = quantities("sidecar.resources.requests", &resources.requests)?;
    for (name, limit) in &limits {
        requests.entry(name.clone()).or_insert_with(|| limit.clone());
    }
    let mut resources = json!({});
    for (key, map) in [("limits", limits), ("requests", requests)] {
        if !map.is_empty() {
            resources[key] = Value::Object(map);
        }
    }
    Ok(Sidecar { image, image_pull_policy: image_pull_policy.as_str(), uid, resources })
}

/// Checks that quantities are scalars. Their syntax is left to the API server.
fn quantities(
    path: &str,
    map: &serde_json::Map<String, Value>,
) -> Result<serde_json::Map<String, Value>, PolicyError> {
    let quantity = |(name, value): (&String, &Value)| match value {
        Value::String(text) if !text.is_empty() => Ok((name.clone(), Value::from(text.as_str()))),
        Value::Number(number) => Ok((name.clone(), Value::from(number.to_string()))),
        _ => Err(PolicyError::new(format!("{path}.{name}"), "not a quantity; write one, as in 16Mi")),
    };
    map.iter().map(quantity).collect()
}

fn https(path: &str, url: String) -> Result<String, PolicyError> {
    match url::Url::parse(&url) {
        Ok(parsed) if parsed.scheme() == "https" && parsed.has_host() && parsed.username().is_empty() => {
            Ok(url)
        }
        _ => Err(PolicyError::new(path, format!("found {url:?}; write https://host[:port]"))),
    }
}

/// Checks the grants as those of a pod whose ServiceAccount has the shortest name.
fn checked_grants(grants: Vec<String>) -> Result<Vec<String>, PolicyError> {
    if !grants.is_empty() {
        Selection::parse(&std::collections::BTreeMap::new(), "a", &grants)
            .map_err(|error| PolicyError::new("defaultGrants", error.to_string()))?;
    }
    Ok(grants)
}

/// Returns the base64 of a PEM bundle with at least one certificate and no private key.
fn bundle(path: &str, pem: &[u8]) -> Result<String, PolicyError> {
    if pem.len() > MAX_PEM {
        return Err(PolicyError::new(path, format!("{} bytes of PEM; at most {MAX_PEM} fit", pem.len())));
    }
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    if !certificates.is_ok_and(|found| !found.is_empty()) {
        return Err(PolicyError::new(
            path,
            "holds no PEM certificate; write one or more -----BEGIN CERTIFICATE-----",
        ));
    }
    // The arguments of every injected pod contain the bundle.
    if pem.windows(11).any(|window| window == b"PRIVATE KEY") {
        return Err(PolicyError::new(path, "holds a private key; write certificates alone"));
    }
    Ok(STANDARD.encode(pem))
}

#[cfg(test)]
mod tests;
