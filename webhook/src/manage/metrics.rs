//! Metrics of the role `manage`.

use std::fmt;
use std::sync::atomic::AtomicI64;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder, text};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::authority::holdings::Holdings;

/// All of them.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    expiry: Family<Labels, Gauge<i64, AtomicI64>>,
    mismatch: Gauge<i64, AtomicI64>,
    uninjected: Gauge<i64, AtomicI64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    certificate: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Ca,
    Leaf,
}

impl EncodeLabelValue for Kind {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        let word = match self {
            Self::Ca => "ca",
            Self::Leaf => "leaf",
        };
        EncodeLabelValue::encode(&word, encoder)
    }
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
        let (expiry, mismatch, uninjected) = (Family::default(), Gauge::default(), Gauge::default());
        registry.register(
            "certificate_expiry_timestamp_seconds",
            "Unix time at which the CA that signs and the serving certificate end",
            expiry.clone(),
        );
        registry.register(
            "ca_bundle_mismatch",
            "1 while a caBundle of our webhooks lacks our CA",
            mismatch.clone(),
        );
        registry.register(
            "uninjected_pods",
            "Pods that ask for the sidecar and run without it",
            uninjected.clone(),
        );
        Self { registry, expiry, mismatch, uninjected }
    }

    /// Says when certificates end.
    pub(super) fn certificates_end(&self, holdings: &Holdings) {
        for (certificate, pair) in [(Kind::Ca, &holdings.signing), (Kind::Leaf, &holdings.leaf)] {
            if let Some(pair) = pair {
                self.expiry.get_or_create(&Labels { certificate }).set(pair.certificate.not_after);
            }
        }
    }

    /// Says whether a webhook does not trust our CA.
    pub(super) fn ca_bundle_mismatch(&self, mismatch: bool) {
        self.mismatch.set(i64::from(mismatch));
    }

    /// Says how many pods run without what they asked for.
    pub(super) fn uninjected_pods(&self, pods: i64) {
        self.uninjected.set(pods);
    }

    /// The page that Prometheus reads.
    pub fn render(&self) -> Result<String, fmt::Error> {
        let mut page = String::new();
        text::encode(&mut page, &self.registry)?;
        Ok(page)
    }
}
