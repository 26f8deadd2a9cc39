//! Metrics of the roles `admit` and `identity`. No label names an object; all label values are closed sets.

use std::sync::Arc;
use std::time::Duration;

use agent_creds_core::words::Word as _;
use agent_creds_runtime::certificates::{Certificates, Expiry};
use agent_creds_runtime::metrics::PREFIX;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use strum::{EnumMessage, IntoStaticStr, VariantArray};

use crate::outcome::Reason;
use crate::token_exchange::outcome as exchange;

/// The operation that a review is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, IntoStaticStr, VariantArray, EnumMessage)]
#[strum(serialize_all = "snake_case")]
pub enum Operation {
    /// `CREATE`, the only one that is ever changed.
    Create,
    /// `UPDATE`.
    Update,
    /// `DELETE`.
    Delete,
    /// `CONNECT`.
    Connect,
    /// Anything else, and requests that could not be read.
    Unknown,
}

impl Operation {
    /// Parses the word that API servers send.
    pub fn parse(word: &str) -> Self {
        let known = Self::VARIANTS.iter().find(|known| known.as_str().to_ascii_uppercase() == word);
        known.copied().unwrap_or(Self::Unknown)
    }
}

/// The counters of the roles `admit` and `identity`. Cloning shares them.
#[derive(Clone, Debug)]
pub struct Metrics {
    admission: Family<Labels, Counter>,
    duration: Histogram,
    identity: Family<IdentityLabels, Counter>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    operation: &'static str,
    outcome: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, EncodeLabelSet)]
struct IdentityLabels {
    outcome: &'static str,
    reason: &'static str,
}

impl Default for Metrics {
    fn default() -> Self {
        let buckets = [0.0001, 0.00025, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.1, 1.0];
        Self { admission: Family::default(), duration: Histogram::new(buckets), identity: Family::default() }
    }
}

impl Metrics {
    /// Returns a registry with these counters and the end of the serving certificate.
    pub fn registry(&self, certificates: Arc<Certificates>) -> Registry {
        let mut registry = Registry::with_prefix(PREFIX);
        registry.register(
            "admission",
            "Admission requests by operation, outcome and reason",
            self.admission.clone(),
        );
        registry.register(
            "admission_duration_seconds",
            "Time to answer an admission request",
            self.duration.clone(),
        );
        registry.register(
            "identity",
            "Requests for a token of a credential ServiceAccount by outcome and reason",
            self.identity.clone(),
        );
        registry.register_collector(Box::new(Expiry(certificates)));
        registry
    }

    /// Creates one series of each family, since a family without any is not rendered. For the table in the documentation.
    pub fn touch(&self) {
        // Each field is named, so that a family that is added is touched, too.
        let Self { admission, duration: _, identity } = self;
        drop(admission.get_or_create(&Labels::default()));
        drop(identity.get_or_create(&IdentityLabels::default()));
    }

    /// Counts one request.
    pub fn admitted(&self, operation: Operation, reason: Reason, took: Duration) {
        let (operation, outcome) = (operation.as_str(), reason.outcome().as_str());
        let labels = Labels { operation, outcome, reason: reason.as_str() };
        self.admission.get_or_create(&labels).inc();
        self.duration.observe(took.as_secs_f64());
    }

    /// Counts one request for an identity.
    pub fn identified(&self, reason: exchange::Reason) {
        let labels = IdentityLabels { outcome: reason.outcome().as_str(), reason: reason.as_str() };
        self.identity.get_or_create(&labels).inc();
    }
}

#[cfg(test)]
mod tests {
    use agent_creds_runtime::metrics::render;

    use super::*;

    #[test]
    fn the_page_has_the_documented_names() {
        let metrics = Metrics::default();
        metrics.admitted(Operation::Create, Reason::HostPath, Duration::from_micros(300));
        metrics.identified(exchange::Reason::AssumeMissing);
        let page = render(&metrics.registry(Certificates::pending())).unwrap();
        for line in [
            "agent_creds_admission_total{operation=\"create\",outcome=\"refused\",reason=\"host_path\"} 1",
            "agent_creds_admission_duration_seconds_bucket{le=\"0.0005\"} 1",
            "agent_creds_identity_total{outcome=\"refused\",reason=\"assume_missing\"} 1",
        ] {
            assert!(page.lines().any(|found| found == line), "{line} is not in\n{page}");
        }
    }
}
