//! Metrics of the role `manage`.

use std::sync::atomic::AtomicI64;

use agent_creds_runtime::metrics::PREFIX;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::rotation::certificate_set::CertificateSet;

/// The gauges. Cloning shares them.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    expiry: Family<Labels, Gauge<i64, AtomicI64>>,
    mismatch: Gauge<i64, AtomicI64>,
    uninjected: Gauge<i64, AtomicI64>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    certificate: &'static str,
}

impl Metrics {
    /// Returns a registry with these gauges.
    pub fn registry(&self) -> Registry {
        let mut registry = Registry::with_prefix(PREFIX);
        registry.register(
            "certificate_expiry_timestamp_seconds",
            "Unix time at which a certificate ends: the CA that signs (ca) or the serving certificate (leaf)",
            self.expiry.clone(),
        );
        registry.register(
            "ca_bundle_mismatch",
            "1 while a caBundle of the webhook configurations lacks our CA: then annotated pods are refused",
            self.mismatch.clone(),
        );
        registry.register(
            "uninjected_pods",
            "Pods that ask for the sidecar and run without it, counted every five minutes",
            self.uninjected.clone(),
        );
        registry
    }

    /// Creates one series of each family, since a family without any is not rendered. For the table in the documentation.
    pub fn touch(&self) {
        // Each field is named, so that a family that is added is touched, too.
        let Self { expiry, mismatch: _, uninjected: _ } = self;
        drop(expiry.get_or_create(&Labels::default()));
    }

    /// Sets the ends of the certificates.
    pub(super) fn certificates_end(&self, set: &CertificateSet) {
        for (certificate, pair) in [("ca", &set.signing), ("leaf", &set.leaf)] {
            if let Some(pair) = pair {
                self.expiry.get_or_create(&Labels { certificate }).set(pair.certificate.not_after);
            }
        }
    }

    /// Sets whether a webhook configuration lacks our CA.
    pub(super) fn ca_bundle_mismatch(&self, mismatch: bool) {
        self.mismatch.set(i64::from(mismatch));
    }

    /// Sets the number of pods that run without the sidecar that they ask for.
    pub(super) fn uninjected_pods(&self, pods: i64) {
        self.uninjected.set(pods);
    }
}
