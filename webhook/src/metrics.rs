//! Metrics of the webhook's roles. No label names an object; all label values are closed sets.

use std::fmt;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::identity::outcome as identity;
use crate::outcome::{Outcome, Reason};

/// The operation that a review is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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
    /// Reads the word that API servers use.
    pub fn parse(word: &str) -> Self {
        match word {
            "CREATE" => Self::Create,
            "UPDATE" => Self::Update,
            "DELETE" => Self::Delete,
            "CONNECT" => Self::Connect,
            _ => Self::Unknown,
        }
    }

    /// The label value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::Connect => "connect",
            Self::Unknown => "unknown",
        }
    }
}

/// All metrics; each role has some of them.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    admission: Family<Labels, Counter>,
    duration: Histogram,
    certificate_expiry: Gauge<i64, AtomicI64>,
    identity: Family<IdentityLabels, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    operation: Operation,
    outcome: Outcome,
    reason: Reason,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct IdentityLabels {
    outcome: identity::Outcome,
    reason: identity::Reason,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// New metrics in a registry of their own.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("agent_creds");
        let admission = Family::default();
        let buckets = [0.0001, 0.00025, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.1, 1.0];
        let duration = Histogram::new(buckets);
        let certificate_expiry = Gauge::default();
        registry.register("admission", "Admission requests by outcome", admission.clone());
        registry.register(
            "admission_duration_seconds",
            "Time to answer an admission request",
            duration.clone(),
        );
        registry.register(
            "certificate_expiry_timestamp_seconds",
            "Unix time at which the serving certificate ends",
            certificate_expiry.clone(),
        );
        let identity = Family::default();
        registry.register("identity", "Requests for an identity by outcome", identity.clone());
        Self { registry, admission, duration, certificate_expiry, identity }
    }

    /// Counts one request.
    pub fn admitted(&self, operation: Operation, reason: Reason, took: Duration) {
        let labels = Labels { operation, outcome: reason.outcome(), reason };
        self.admission.get_or_create(&labels).inc();
        self.duration.observe(took.as_secs_f64());
    }

    /// Counts one request for an identity.
    pub fn identified(&self, reason: identity::Reason) {
        self.identity.get_or_create(&IdentityLabels { outcome: reason.outcome(), reason }).inc();
    }

    /// Says when the serving certificate ends, in Unix seconds.
    pub fn certificate_ends(&self, at: i64) {
        self.certificate_expiry.set(at);
    }

    /// The page that Prometheus reads.
    pub fn render(&self) -> Result<String, fmt::Error> {
        let mut page = String::new();
        text::encode(&mut page, &self.registry)?;
        Ok(page)
    }
}

impl EncodeLabelValue for Operation {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        EncodeLabelValue::encode(&self.as_str(), encoder)
    }
}

impl EncodeLabelValue for Outcome {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        EncodeLabelValue::encode(&self.as_str(), encoder)
    }
}

impl EncodeLabelValue for Reason {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        EncodeLabelValue::encode(&self.as_str(), encoder)
    }
}

impl EncodeLabelValue for identity::Outcome {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        EncodeLabelValue::encode(&self.as_str(), encoder)
    }
}

impl EncodeLabelValue for identity::Reason {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        EncodeLabelValue::encode(&self.as_str(), encoder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_the_documented_names() {
        let metrics = Metrics::new();
        metrics.admitted(Operation::Create, Reason::HostPath, Duration::from_micros(300));
        metrics.certificate_ends(1_800_000_000);
        metrics.identified(identity::Reason::AssumeMissing);
        let page = metrics.render().unwrap();
        for line in [
            "agent_creds_admission_total{operation=\"create\",outcome=\"refused\",reason=\"host_path\"} 1",
            "agent_creds_admission_duration_seconds_bucket{le=\"0.0005\"} 1",
            "agent_creds_certificate_expiry_timestamp_seconds 1800000000",
            "agent_creds_identity_total{outcome=\"refused\",reason=\"assume_missing\"} 1",
        ] {
            assert!(page.lines().any(|found| found == line), "{line} is not in\n{page}");
        }
    }
}
