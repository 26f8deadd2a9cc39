//! The annotations of a pod: the whole interface of an agent's author. An annotation selects what the platform
//! team prepared; it never sets an image, URL, host, scope or command (invariant I8). Every key under
//! `agent-creds/` that is unknown, or known but not built in this version, is refused, never ignored: a typo
//! in a security setting must not pass for the default.

use std::collections::BTreeMap;

use crate::names::{AccountName, LocalName, MAX_CONTAINERS, MAX_GRANTS, NameError, SecretName, is_label};
use crate::pod::{DEFAULT_METRICS_PORT, DEFAULT_PORT};

/// Prefix of every annotation of ours.
pub const PREFIX: &str = "agent-creds/";

/// `agent-creds/inject: "true"` adds the sidecar. `"false"` is as if absent; any other value is refused.
pub const INJECT: &str = "agent-creds/inject";

/// `agent-creds/grants: "pagerduty,datadog=team-datadog"`: the grants that the agent may use, by local name.
/// `N` means the Secret `<pod's ServiceAccount>-N`, `N=secret-name` names it. At most 16, no duplicates.
/// Default: the chart value `defaultGrants`.
pub const GRANTS: &str = "agent-creds/grants";

/// `agent-creds/containers: "a,b"`: the containers that get the caller key and the environment. Default: the
/// pod's main containers; init containers and others' sidecars only by name.
pub const CONTAINERS: &str = "agent-creds/containers";

/// `agent-creds/port: "9911"`: port of the local API on 127.0.0.1, when the default collides with the agent's.
pub const PORT: &str = "agent-creds/port";

/// `agent-creds/metrics-port: "9912"`: port of the sidecar's metrics, when the default collides.
pub const METRICS_PORT: &str = "agent-creds/metrics-port";

/// `agent-creds/strict-start: "true"`: the main containers wait until every grant is `ready`. Default `"false"`.
pub const STRICT_START: &str = "agent-creds/strict-start";

/// `agent-creds/service-account: "[namespace/]name"`: the credential ServiceAccount, which alone may read the grants. They
/// are in its namespace, by default the pod's. Default: `<pod's ServiceAccount>-creds`. The pod's own account needs the
/// right to `assume` it. In identity mode `pod` there is no such account, and the annotation is refused.
pub const SERVICE_ACCOUNT: &str = "agent-creds/service-account";

/// `agent-creds/forward-proxy: "true"`: proxy and CA variables in the agent's containers. Not built in this
/// version.
pub const FORWARD_PROXY: &str = "agent-creds/forward-proxy";

/// Written by us: `{"version","mode","grants":[…]}`. Read by people.
pub const STATUS: &str = "agent-creds/status";

/// Written by us: the seal, a JWS (RFC 7515) over what was injected.
pub const SEAL: &str = "agent-creds/seal";

/// What a pod's author may set in this version, for error messages.
const SETTABLE: &str = "inject, grants, containers, port, metrics-port, strict-start, service-account";

/// What an annotated pod asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// The grants, in the order given.
    pub grants: Vec<SelectedGrant>,
    /// The containers that get access; `None`: the pod's main containers.
    pub containers: Option<Vec<String>>,
    /// Port of the local API.
    pub port: u16,
    /// Port of the metrics.
    pub metrics_port: u16,
    /// Whether the main containers wait for every grant.
    pub strict_start: bool,
    /// The credential ServiceAccount; `None`: `<pod's ServiceAccount>-creds` in the pod's namespace.
    pub service_account: Option<AccountName>,
}

/// One entry of [`GRANTS`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SelectedGrant {
    /// What the agent calls it.
    pub name: LocalName,
    /// The grant Secret.
    pub secret: SecretName,
}

/// Why a pod's annotations are refused: one sentence that names the annotation, what was found and what to
/// write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnnotationError {
    /// The value is not one of those allowed.
    #[error("annotation {key}: found {found:?}; write {allowed}")]
    Value {
        /// The annotation.
        key: &'static str,
        /// Its value, shortened.
        found: String,
        /// What may stand there.
        allowed: &'static str,
    },
    /// A name in a list is malformed.
    #[error("annotation {key}: {found:?} is no valid entry: {source}")]
    Name {
        /// The annotation.
        key: &'static str,
        /// The entry, shortened.
        found: String,
        /// What is wrong with it.
        source: NameError,
    },
    /// An entry appears twice.
    #[error("annotation {key}: {found:?} is given twice; keep one")]
    Duplicate {
        /// The annotation.
        key: &'static str,
        /// The entry.
        found: String,
    },
    /// More grants than a pod may have.
    #[error("annotation {key}: found {found} names; a pod may have at most {most}")]
    TooMany {
        /// The annotation.
        key: &'static str,
        /// How many there are.
        found: usize,
        /// How many there may be.
        most: usize,
    },
    /// No grant was named and the platform has no default.
    #[error(
        "annotation agent-creds/grants: not set, and this cluster has no defaultGrants; write \
         agent-creds/grants: \"<name>,…\", for instance \"pagerduty\""
    )]
    NoGrants,
    /// Both ports are the same.
    #[error(
        "annotations agent-creds/port and agent-creds/metrics-port: both are {found}; write two different ports"
    )]
    SamePort {
        /// The port.
        found: u16,
    },
    /// Known, but not built in this version.
    #[error("annotation {key}: not built in this version of agent-creds; remove it")]
    NotBuilt {
        /// The annotation.
        key: &'static str,
    },
    /// No such annotation.
    #[error(
        "annotation {found:?}: no such annotation of agent-creds; the known ones are {PREFIX}{{{SETTABLE}}}"
    )]
    Unknown {
        /// The annotation, shortened.
        found: String,
    },
}

/// Whether a pod asks for injection at all: `"true"` yes, absent or `"false"` no, anything else is refused.
pub fn wants_injection(annotations: &BTreeMap<String, String>) -> Result<bool, AnnotationError> {
    annotations.get(INJECT).map_or(Ok(false), |value| boolean(INJECT, value))
}

impl Selection {
    /// Reads the annotations of a pod that [`wants_injection`]. `service_account` is the pod's own (`default`
    /// where it names none); `defaults` is the platform's value for [`GRANTS`], empty where there is none.
    pub fn parse(
        annotations: &BTreeMap<String, String>,
        service_account: &str,
        defaults: &[String],
    ) -> Result<Self, AnnotationError> {
        let mut selection = Self {
            grants: Vec::new(),
            containers: None,
            port: DEFAULT_PORT,
            metrics_port: DEFAULT_METRICS_PORT,
            strict_start: false,
            service_account: None,
        };
        let mut grants = None;
        for (key, value) in annotations.iter().filter(|(key, _)| key.starts_with(PREFIX)) {
            match key.as_str() {
                // What the last two say is checked against the pod, not read.
                INJECT | STATUS | SEAL => {}
                GRANTS => grants = Some(entries(value)),
                CONTAINERS => selection.containers = Some(containers(value)?),
                PORT => selection.port = port(PORT, value)?,
                METRICS_PORT => selection.metrics_port = port(METRICS_PORT, value)?,
                STRICT_START => selection.strict_start = boolean(STRICT_START, value)?,
                SERVICE_ACCOUNT => selection.service_account = Some(account(value)?),
                FORWARD_PROXY => return Err(AnnotationError::NotBuilt { key: FORWARD_PROXY }),
                other => {
                    return Err(AnnotationError::Unknown { found: shorten(other) });
                }
            }
        }
        if selection.port == selection.metrics_port {
            return Err(AnnotationError::SamePort { found: selection.port });
        }
        let grants = grants.unwrap_or_else(|| defaults.iter().map(String::as_str).collect());
        selection.grants = selected(&grants, service_account)?;
        Ok(selection)
    }
}

fn selected(entries: &[&str], service_account: &str) -> Result<Vec<SelectedGrant>, AnnotationError> {
    if entries.is_empty() {
        return Err(AnnotationError::NoGrants);
    }
    if entries.len() > MAX_GRANTS {
        return Err(AnnotationError::TooMany { key: GRANTS, found: entries.len(), most: MAX_GRANTS });
    }
    let mut grants: Vec<SelectedGrant> = Vec::with_capacity(entries.len());
    for entry in entries {
        let named = |source| AnnotationError::Name { key: GRANTS, found: shorten(entry), source };
        let (local, secret) = match entry.split_once('=') {
            Some((local, secret)) => (local.trim(), secret.trim().to_owned()),
            None => (*entry, format!("{service_account}-{entry}")),
        };
        let name = LocalName::parse(local).map_err(named)?;
        let secret = SecretName::parse(&secret).map_err(named)?;
        let twice = |found: &str| AnnotationError::Duplicate { key: GRANTS, found: found.to_owned() };
        // One Secret under two names would be refreshed by two loops of one sidecar.
        if grants.iter().any(|g| g.name == name) {
            return Err(twice(name.as_str()));
        }
        if grants.iter().any(|g| g.secret == secret) {
            return Err(twice(secret.as_str()));
        }
        grants.push(SelectedGrant { name, secret });
    }
    Ok(grants)
}

fn account(value: &str) -> Result<AccountName, AnnotationError> {
    let allowed = "a ServiceAccount as \"name\" or \"namespace/name\"";
    AccountName::parse(value).ok_or_else(|| AnnotationError::Value {
        key: SERVICE_ACCOUNT,
        found: shorten(value),
        allowed,
    })
}

fn containers(value: &str) -> Result<Vec<String>, AnnotationError> {
    let allowed = "the names of one or more of the pod's containers, separated by commas";
    let names = entries(value);
    if names.len() > MAX_CONTAINERS {
        return Err(AnnotationError::TooMany { key: CONTAINERS, found: names.len(), most: MAX_CONTAINERS });
    }
    if names.is_empty() || !names.iter().all(|name| is_label(name)) {
        return Err(AnnotationError::Value { key: CONTAINERS, found: shorten(value), allowed });
    }
    for (i, name) in names.iter().enumerate() {
        if names[..i].contains(name) {
            return Err(AnnotationError::Duplicate { key: CONTAINERS, found: (*name).to_owned() });
        }
    }
    Ok(names.into_iter().map(str::to_owned).collect())
}

/// Entries of a list: separated by commas, spaces around them allowed, a trailing comma too.
fn entries(value: &str) -> Vec<&str> {
    value.split(',').map(str::trim).filter(|entry| !entry.is_empty()).collect()
}

fn boolean(key: &'static str, value: &str) -> Result<bool, AnnotationError> {
    match value {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(AnnotationError::Value { key, found: shorten(value), allowed: "\"true\" or \"false\"" }),
    }
}

/// The sidecar drops every capability, so a port below 1024 could never be bound.
fn port(key: &'static str, value: &str) -> Result<u16, AnnotationError> {
    let digits = !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit());
    match value.parse() {
        Ok(port) if digits && port >= 1024 => Ok(port),
        _ => Err(AnnotationError::Value { key, found: shorten(value), allowed: "a port from 1024 to 65535" }),
    }
}

/// Annotations may hold 256 KiB; a message does not have to.
fn shorten(value: &str) -> String {
    const LONGEST: usize = 80;
    if value.chars().count() <= LONGEST {
        return value.to_owned();
    }
    let mut short: String = value.chars().take(LONGEST).collect();
    short.push('…');
    short
}

#[cfg(test)]
mod tests;
