//! Reads the annotations of a pod, which are the whole interface of an agent's author. An annotation selects what the
//! platform team prepared; it never sets an image, URL, host, scope or command (invariant I8). A key under
//! `agent-creds/` that is unknown, or known but not built in this version, is refused and never ignored: with a typo in
//! a security setting the default would hold unnoticed.

mod annotation;
mod error;
mod misspelt;

pub use annotation::{Annotation, PREFIX, Usage};
pub use error::AnnotationError;
pub use misspelt::misspelt;

use std::collections::BTreeMap;

use crate::names::{AccountName, LocalName, MAX_CONTAINERS, MAX_GRANTS, SecretName, is_label};
use crate::pod::{DEFAULT_METRICS_PORT, DEFAULT_PORT};

/// Key of [`Annotation::Inject`].
pub const INJECT: &str = Annotation::Inject.key();
/// Key of [`Annotation::Grants`].
pub const GRANTS: &str = Annotation::Grants.key();
/// Key of [`Annotation::Containers`].
pub const CONTAINERS: &str = Annotation::Containers.key();
/// Key of [`Annotation::Port`].
pub const PORT: &str = Annotation::Port.key();
/// Key of [`Annotation::MetricsPort`].
pub const METRICS_PORT: &str = Annotation::MetricsPort.key();
/// Key of [`Annotation::StrictStart`].
pub const STRICT_START: &str = Annotation::StrictStart.key();
/// Key of [`Annotation::ServiceAccount`].
pub const SERVICE_ACCOUNT: &str = Annotation::ServiceAccount.key();
/// Key of [`Annotation::ForwardProxy`].
pub const FORWARD_PROXY: &str = Annotation::ForwardProxy.key();
/// Key of [`Annotation::Status`].
pub const STATUS: &str = Annotation::Status.key();
/// Key of [`Annotation::Seal`].
pub const SEAL: &str = Annotation::Seal.key();

/// The settings of an annotated pod.
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
    /// The local name.
    pub name: LocalName,
    /// The grant Secret.
    pub secret: SecretName,
}

/// Returns whether a pod asks for injection: `"true"` does, no annotation or `"false"` does not, another value is refused.
pub fn wants_injection(annotations: &BTreeMap<String, String>) -> Result<bool, AnnotationError> {
    annotations.get(INJECT).map_or(Ok(false), |value| boolean(INJECT, value))
}

impl Selection {
    /// Parses the annotations of a pod that [`wants_injection`]. `service_account` is the pod's own, `default` if the pod
    /// names none. `defaults` is the platform's value for [`GRANTS`], empty if there is none.
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
            let known = Annotation::from_key(key)
                .ok_or_else(|| AnnotationError::Unknown { found: shorten(key), meant: misspelt(key) })?;
            match known {
                // Status and seal are compared with the pod, not read.
                Annotation::Inject | Annotation::Status | Annotation::Seal => {}
                Annotation::Grants => grants = Some(entries(value)),
                Annotation::Containers => selection.containers = Some(containers(value)?),
                Annotation::Port => selection.port = port(PORT, value)?,
                Annotation::MetricsPort => selection.metrics_port = port(METRICS_PORT, value)?,
                Annotation::StrictStart => selection.strict_start = boolean(STRICT_START, value)?,
                Annotation::ServiceAccount => selection.service_account = Some(account(value)?),
                Annotation::ForwardProxy => return Err(AnnotationError::NotBuilt { key: known.key() }),
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
        // Two refreshers of one sidecar would share the Secret.
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

/// Splits a list at its commas. Spaces around entries and a comma at the end are allowed.
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

/// Parses a port. The sidecar drops every capability, so it cannot bind a port below 1024.
fn port(key: &'static str, value: &str) -> Result<u16, AnnotationError> {
    let digits = !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit());
    match value.parse() {
        Ok(port) if digits && port >= 1024 => Ok(port),
        _ => Err(AnnotationError::Value { key, found: shorten(value), allowed: "a port from 1024 to 65535" }),
    }
}

/// Shortens a value for a message: annotations may have 256 KiB.
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
