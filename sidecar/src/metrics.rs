//! Metrics of the sidecar. The only object name among the labels is the grant, `namespace/secret`. Values that can be derived are
//! derived when they are scraped.

use std::sync::Arc;
use std::time::Duration;

use agent_creds_runtime::metrics::PREFIX;
use jiff::Timestamp;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::clock::Clock;
use crate::refresher::WatchFailure;
use crate::token_cache::TokenCache;
use agent_creds_core::names::ObjectName;
use agent_creds_core::words::Word as _;
use agent_creds_refresh::commit::Outcome;
use agent_creds_refresh::reason::Reason;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefreshLabels {
    grant: String,
    provider: String,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FailureLabels {
    grant: String,
    provider: String,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    grant: String,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WatchLabels {
    grant: String,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct GrantLabel {
    grant: String,
}

/// The counters of one process. Cloning shares them.
#[derive(Clone, Debug)]
pub struct Metrics {
    refresh: Family<RefreshLabels, Counter>,
    failures: Family<FailureLabels, Counter>,
    duration: Histogram,
    requests: Family<RequestLabels, Counter>,
    suppressed: Family<GrantLabel, Counter>,
    watch_failures: Family<WatchLabels, Counter>,
    unpersisted: Family<GrantLabel, Gauge>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            refresh: Family::default(),
            failures: Family::default(),
            duration: Histogram::new([0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 30.0]),
            requests: Family::default(),
            suppressed: Family::default(),
            watch_failures: Family::default(),
            unpersisted: Family::default(),
        }
    }
}

impl Metrics {
    /// Returns a registry with these metrics and those that are derived from `caches`.
    pub fn registry(&self, caches: &[Arc<TokenCache>], clock: &Clock) -> Registry {
        let mut registry = Registry::with_prefix(PREFIX);
        registry.register(
            "refresh",
            "Refreshes by outcome, counted by the replica that held the claim",
            self.refresh.clone(),
        );
        registry.register("refresh_failures", "Refreshes that failed, by reason", self.failures.clone());
        registry.register(
            "refresh_duration_seconds",
            "Time from connecting to the stored answer",
            self.duration.clone(),
        );
        registry.register("token_requests", "Token requests of the agent by outcome", self.requests.clone());
        registry.register(
            "forced_refresh_suppressed",
            "Access tokens that a provider's API rejected and that were not replaced",
            self.suppressed.clone(),
        );
        registry.register(
            "watch_failures",
            "Watches of the two Secrets that failed, by reason; changes of a Secret are then noticed late",
            self.watch_failures.clone(),
        );
        registry.register(
            "unpersisted_refresh_token",
            "1 while a received refresh token is not stored yet",
            self.unpersisted.clone(),
        );
        registry.register_collector(Box::new(Caches { caches: caches.to_vec(), clock: clock.clone() }));
        registry
    }

    /// Counts a refresh.
    pub fn refreshed(
        &self,
        grant: &ObjectName,
        provider: &str,
        outcome: Outcome,
        reason: Option<Reason>,
        took: Duration,
    ) {
        let (grant, provider) = (grant.to_string(), provider.to_owned());
        if let Some(reason) = reason {
            let labels =
                FailureLabels { grant: grant.clone(), provider: provider.clone(), reason: reason.word };
            self.failures.get_or_create(&labels).inc();
        }
        self.refresh.get_or_create(&RefreshLabels { grant, provider, outcome: outcome.as_str() }).inc();
        self.duration.observe(took.as_secs_f64());
    }

    /// Counts a failed watch of one of the two Secrets of a grant.
    pub fn watch_failed(&self, grant: &ObjectName, failure: WatchFailure) {
        let labels = WatchLabels { grant: grant.to_string(), reason: failure.as_str() };
        self.watch_failures.get_or_create(&labels).inc();
    }

    /// Sets whether a received refresh token is not stored yet.
    pub fn unpersisted(&self, grant: &ObjectName, waiting: bool) {
        self.unpersisted.get_or_create(&GrantLabel { grant: grant.to_string() }).set(waiting.into());
    }

    /// Returns the counter of token requests of one grant with one outcome.
    pub fn token_requests(&self, grant: &ObjectName, outcome: &'static str) -> Counter {
        let labels = RequestLabels { grant: grant.to_string(), outcome };
        self.requests.get_or_create(&labels).clone()
    }

    /// Returns the counter of rejected access tokens of one grant that were not replaced.
    pub fn forced_refresh_suppressed(&self, grant: &ObjectName) -> Counter {
        self.suppressed.get_or_create(&GrantLabel { grant: grant.to_string() }).clone()
    }
}

#[derive(Debug)]
struct Caches {
    caches: Vec<Arc<TokenCache>>,
    clock: Clock,
}

impl Collector for Caches {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let now = self.clock.now();
        let one = |value: i64| ConstGauge::new(value);
        let mut states = encoder.encode_descriptor(
            "grant_state",
            "1 for the state that the grant is in",
            None,
            one(0).metric_type(),
        )?;
        for cache in &self.caches {
            let (current, entered) = cache.states(now);
            let (grant, provider) = (cache.secret.to_string(), cache.provider().unwrap_or_default());
            for state in entered {
                let labels = [("grant", grant.as_str()), ("provider", provider), ("state", state)];
                one((state == current.as_str()).into()).encode(states.encode_family(&labels)?)?;
            }
        }
        let mut gauge = |name, help, of: &dyn Fn(&TokenCache) -> Option<Timestamp>| {
            let mut metric = encoder.encode_descriptor(name, help, None, one(0).metric_type())?;
            for cache in &self.caches {
                if let Some(at) = of(cache) {
                    let labels = [("grant", cache.secret.to_string())];
                    one(at.as_second()).encode(metric.encode_family(&labels)?)?;
                }
            }
            Ok::<_, std::fmt::Error>(())
        };
        gauge("token_expiry_timestamp_seconds", "End of the access token", &|cache| {
            cache.status(now).expires_at
        })?;
        gauge(
            "reauth_timestamp_seconds",
            "When a person has to log in again, as far as is known",
            &|cache| cache.status(now).reauth_at,
        )?;
        if let Some(seconds) = self.clock.offset() {
            let gauge = ConstGauge::new(seconds);
            let help = "Seconds that the wall clock is behind the API server's clock";
            let metric =
                encoder.encode_descriptor("clock_offset_seconds", help, None, gauge.metric_type())?;
            gauge.encode(metric)?;
        }
        Ok(())
    }
}
