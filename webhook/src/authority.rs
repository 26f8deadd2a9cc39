//! What role `manage` decides: who signs and who is trusted, which keys seal, and whether this process may act at all.
//! Nothing here does I/O or reads a clock; times are Unix seconds where certificates are meant, and else durations of
//! a monotonic clock. The edges are in `manage`.

mod certificate;
pub mod holdings;
pub mod keys;
pub mod lease;
mod mint;
pub mod settled;
pub mod step;
pub mod succession;

pub use certificate::{Certificate, Pair};
pub use mint::MintError;

use std::time::Duration;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// Annotation with which a person asks for a new CA, or a new key: anything that it did not say before.
pub const ASK: &str = "agent-creds/rotate";
/// Annotation that answers: what [`ASK`] said when it was done.
pub const DONE: &str = "agent-creds/rotated";
/// Annotation while a key is known and does not seal yet: what [`ASK`] said when it was announced.
pub const UNDERWAY: &str = "agent-creds/rotating";

/// All times that the manager goes by.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// Life of a CA. It is followed by the next one at two thirds of it.
    pub ca_life: Duration,
    /// Life of the serving certificate, renewed at two thirds of it.
    pub leaf_life: Duration,
    /// How far certificates begin in the past, for clocks that are behind.
    pub backdate: Duration,
    /// How long a new CA has been trusted everywhere before it signs. API servers hear of a `caBundle` within a second or
    /// so, and sidecars read the ConfigMap when they connect: this is for those that were busy.
    pub announce: Duration,
    /// How long the CA before stays trusted once nothing that it signed is in the Secret: kubelets bring a changed
    /// Secret to its mounts within two minutes, and the servers read them every ten seconds.
    pub retire: Duration,
    /// How long a new seal key is known before it seals: kubelets, as above.
    pub seal: Duration,
    /// Between two looks at the cluster.
    pub look: Duration,
    /// Between two counts of pods that run without the sidecar.
    pub count: Duration,
    /// A Lease that nobody renewed for so long is anyone's.
    pub lease: Duration,
    /// Its holder renews it this often, and stops when it could not for two thirds of `lease`.
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
    /// As it is, for tests with a compressed clock: pauses times `pauses`, lives of certificates times `lives`. What
    /// depends on how fast a machine is has a floor.
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

/// Whole seconds, as certificates have them.
fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}
