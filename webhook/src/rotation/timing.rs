//! Times of the manager.

use std::time::Duration;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// Times of the manager.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// Lifetime of a CA. The next CA replaces it at two thirds of that.
    pub ca_life: Duration,
    /// Lifetime of the serving certificate, renewed at two thirds of that.
    pub leaf_life: Duration,
    /// How far in the past certificates begin, for clocks that are behind.
    pub backdate: Duration,
    /// How long a new CA is trusted everywhere before it signs. API servers learn of a `caBundle` within about a second, and
    /// sidecars read the ConfigMap when they connect; the rest is margin for busy ones.
    pub announce: Duration,
    /// How long a replaced CA stays trusted after the Secret holds no certificate of it: kubelets update mounted Secrets within
    /// two minutes, and the servers read the files every ten seconds.
    pub retire: Duration,
    /// How long a new seal key is known before it seals: the time of kubelets, as above.
    pub seal: Duration,
    /// Interval of the reconciliation.
    pub look: Duration,
    /// Interval of counting pods that run without the sidecar.
    pub count: Duration,
    /// Duration of the Lease.
    pub lease: Duration,
    /// Interval of its renewal. The leader stops when it could not renew the Lease for two thirds of `lease`.
    pub renew: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            ca_life: Duration::from_secs(365 * DAY),
            leaf_life: Duration::from_secs(90 * DAY),
            backdate: Duration::from_secs(HOUR),
            announce: Duration::from_secs(10 * MINUTE),
            retire: Duration::from_secs(HOUR),
            seal: Duration::from_secs(2 * MINUTE),
            look: Duration::from_secs(5),
            count: Duration::from_secs(5 * MINUTE),
            lease: Duration::from_secs(30),
            renew: Duration::from_secs(10),
        }
    }
}

impl Timing {
    /// The times for tests with a compressed clock: pauses times `pauses`, lifetimes times `lives`. Times that depend on the speed of
    /// the machine have a minimum.
    #[must_use]
    pub fn scaled(self, pauses: f64, lives: f64) -> Self {
        let scaled = |pause: Duration, floor| pause.mul_f64(pauses).max(floor).min(pause);
        Self {
            ca_life: self.ca_life.mul_f64(lives),
            leaf_life: self.leaf_life.mul_f64(lives),
            backdate: self.backdate,
            announce: self.announce.mul_f64(pauses),
            retire: self.retire.mul_f64(pauses),
            seal: self.seal.mul_f64(pauses),
            look: scaled(self.look, Duration::from_millis(200)),
            count: scaled(self.count, Duration::from_secs(1)),
            lease: scaled(self.lease, Duration::from_secs(9)),
            renew: scaled(self.renew, Duration::from_secs(1)),
        }
    }
}

/// Returns whole seconds, as certificates have them.
pub(super) fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}
