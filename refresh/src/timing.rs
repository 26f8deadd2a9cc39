//! The times of the protocol.

use jiff::SignedDuration;

/// Interval at which both Secrets are read again besides the watch; each wait is drawn from 90 to 110 % of it.
pub const REREAD: SignedDuration = SignedDuration::from_mins(10);

/// The protocol's times. Tests scale them all by one factor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Timing {
    /// How long a replica waits for another replica's claim that does not change.
    pub term: SignedDuration,
    /// Time limit for connecting, and again for the answer.
    pub budget: SignedDuration,
    /// Send window: the longest time between the start of a claim's write and the first byte of its request.
    pub window: SignedDuration,
    /// Settle delay: how long a state has to stay unchanged before it is claimed on. It gives a replica with a newer copy time
    /// to restore it.
    pub settle: SignedDuration,
    /// How long before the end of the access token a refresh token in doubt is presented again at the latest.
    pub last_moment: SignedDuration,
    /// Shortest and longest pause after a failure.
    pub backoff: (SignedDuration, SignedDuration),
    /// Shortest time between two redemptions of a grant, where the token's life allows it.
    pub distance: SignedDuration,
    /// Shortest time between two refreshes that changed settings cause.
    pub config_distance: SignedDuration,
    /// Shortest time between two refreshes that rejected access tokens cause.
    pub forced_distance: SignedDuration,
    /// Pause before the first probe whether a verdict still holds.
    pub probe: SignedDuration,
    /// Interval over which the replicas spread an action that all of them wait for.
    pub spread: SignedDuration,
}

impl Timing {
    /// The times in production. `term >= window + 2 * budget`, so that only a holder that has ended is silent for a term.
    pub const PRODUCTION: Self = Self {
        term: SignedDuration::from_secs(60),
        budget: SignedDuration::from_secs(15),
        window: SignedDuration::from_secs(3),
        settle: SignedDuration::from_secs(3),
        last_moment: SignedDuration::from_mins(2),
        backoff: (SignedDuration::from_secs(5), SignedDuration::from_mins(5)),
        distance: SignedDuration::from_secs(60),
        config_distance: SignedDuration::from_mins(5),
        forced_distance: SignedDuration::from_mins(10),
        probe: SignedDuration::from_mins(1),
        spread: SignedDuration::from_secs(6),
    };

    /// All times multiplied by `factor`, so that a test goes through days of the protocol in minutes.
    pub fn scaled(self, factor: f64) -> Self {
        let by = |time: SignedDuration| time.mul_f64(factor);
        Self {
            term: by(self.term),
            budget: by(self.budget),
            window: by(self.window),
            settle: by(self.settle),
            last_moment: by(self.last_moment),
            backoff: (by(self.backoff.0), by(self.backoff.1)),
            distance: by(self.distance),
            config_distance: by(self.config_distance),
            forced_distance: by(self.forced_distance),
            probe: by(self.probe),
            spread: by(self.spread),
        }
    }
}

impl Default for Timing {
    fn default() -> Self {
        Self::PRODUCTION
    }
}
