//! The closed set of annotations of a pod, each with its example, default and meaning for the table in
//! `docs/annotations.md`.

use strum::{EnumIter, EnumMessage, IntoEnumIterator as _};

/// Prefix of all annotations of agent-creds.
pub const PREFIX: &str = "agent-creds/";

/// An annotation of a pod under [`PREFIX`]. The doc comment of each is its meaning in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EnumIter, EnumMessage)]
pub enum Annotation {
    /// Adds the sidecar. `"false"` is the same as no annotation; any other value is refused.
    Inject,
    /// The grants that the agent may use, at most 16, by local name. `N` means the Secret `<pod's ServiceAccount>-N`;
    /// `N=secret-name` names the Secret.
    Grants,
    /// The containers that get the caller key and the environment. Init containers and other sidecars get them only
    /// by name.
    Containers,
    /// Port of the local API on 127.0.0.1.
    Port,
    /// Port of the sidecar's metrics.
    MetricsPort,
    /// The main containers wait until every grant is `ready`.
    StrictStart,
    /// The credential ServiceAccount, which alone may read the grant Secrets. The Secrets are in its namespace. Refused
    /// in identity mode `pod`, which has no such account.
    ServiceAccount,
    /// Proxy and CA variables in the agent's containers.
    ForwardProxy,
    /// Version, identity mode and grants of the injected sidecar, as JSON for people.
    Status,
    /// The seal: a JWS (RFC 7515) over what was injected.
    Seal,
}

/// Who sets an annotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usage {
    /// The agent's author sets it.
    Setting,
    /// It is known, not built in this version, and refused.
    NotBuilt,
    /// The webhook writes it.
    Written,
}

impl Annotation {
    /// Returns the whole key.
    pub const fn key(self) -> &'static str {
        match self {
            Self::Inject => "agent-creds/inject",
            Self::Grants => "agent-creds/grants",
            Self::Containers => "agent-creds/containers",
            Self::Port => "agent-creds/port",
            Self::MetricsPort => "agent-creds/metrics-port",
            Self::StrictStart => "agent-creds/strict-start",
            Self::ServiceAccount => "agent-creds/service-account",
            Self::ForwardProxy => "agent-creds/forward-proxy",
            Self::Status => "agent-creds/status",
            Self::Seal => "agent-creds/seal",
        }
    }

    /// Returns an example of the value; `None` for what the webhook writes.
    pub const fn example(self) -> Option<&'static str> {
        match self {
            Self::Inject | Self::StrictStart | Self::ForwardProxy => Some("true"),
            Self::Grants => Some("pagerduty,datadog=team-dd"),
            Self::Containers => Some("a,b"),
            Self::Port => Some("9921"),
            Self::MetricsPort => Some("9922"),
            Self::ServiceAccount => Some("[namespace/]name"),
            Self::Status | Self::Seal => None,
        }
    }

    /// Returns what a pod without the annotation has, as Markdown; `None` where there is no default.
    pub const fn default_value(self) -> Option<&'static str> {
        match self {
            Self::Grants => Some("chart value `defaultGrants`"),
            Self::Containers => Some("the main containers"),
            Self::Port => Some("`9911`"),
            Self::MetricsPort => Some("`9912`"),
            Self::StrictStart | Self::ForwardProxy => Some("`\"false\"`"),
            Self::ServiceAccount => Some("`<pod's ServiceAccount>-creds` in the pod's namespace"),
            Self::Inject | Self::Status | Self::Seal => None,
        }
    }

    /// Returns the meaning as one line of Markdown.
    pub fn meaning(self) -> String {
        let documentation = self.get_documentation().unwrap_or_default();
        documentation.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// Returns who sets it.
    pub const fn usage(self) -> Usage {
        match self {
            Self::ForwardProxy => Usage::NotBuilt,
            Self::Status | Self::Seal => Usage::Written,
            Self::Inject
            | Self::Grants
            | Self::Containers
            | Self::Port
            | Self::MetricsPort
            | Self::StrictStart
            | Self::ServiceAccount => Usage::Setting,
        }
    }

    /// Iterates over all annotations, in the order of the table.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::iter()
    }

    /// Iterates over the annotations that an agent's author may set in this version.
    pub fn settings() -> impl Iterator<Item = Self> {
        Self::iter().filter(|annotation| annotation.usage() == Usage::Setting)
    }

    /// Returns the annotation with this key.
    pub fn from_key(key: &str) -> Option<Self> {
        Self::iter().find(|annotation| annotation.key() == key)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::pod::{DEFAULT_METRICS_PORT, DEFAULT_PORT};

    #[test]
    fn every_annotation_has_a_key_of_its_own_under_the_prefix() {
        let keys: BTreeSet<_> = Annotation::all().map(Annotation::key).collect();
        assert_eq!(keys.len(), Annotation::all().count());
        for annotation in Annotation::all() {
            let name = annotation.key().strip_prefix(PREFIX).expect("the prefix");
            assert!(name.chars().all(|c| c.is_ascii_lowercase() || c == '-'), "{name}");
            assert_eq!(Annotation::from_key(annotation.key()), Some(annotation));
        }
        assert_eq!(Annotation::from_key("agent-creds/grant"), None);
    }

    #[test]
    fn meanings_fit_a_table() {
        for annotation in Annotation::all() {
            let meaning = annotation.meaning();
            assert!(meaning.ends_with('.') && !meaning.contains(['|', '\n']), "{annotation:?}: {meaning:?}");
        }
    }

    #[test]
    fn default_ports_are_those_of_a_pod() {
        assert_eq!(Annotation::Port.default_value(), Some(format!("`{DEFAULT_PORT}`").as_str()));
        assert_eq!(
            Annotation::MetricsPort.default_value(),
            Some(format!("`{DEFAULT_METRICS_PORT}`").as_str())
        );
    }
}
