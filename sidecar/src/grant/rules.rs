//! The protocol's constants: its times, and the rules that it stands on.

use jiff::SignedDuration;

/// Both Secrets are read again about so often, besides the watch.
pub const REREAD: SignedDuration = SignedDuration::from_mins(10);

/// The protocol's times. Tests scale them all by one factor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Timing {
    /// How long a silent claim is waited for.
    pub term: SignedDuration,
    /// Time for connecting, and again for the answer.
    pub budget: SignedDuration,
    /// A request leaves at most so long after its claim began, or never.
    pub window: SignedDuration,
    /// How long a state is looked at before it is claimed on: those who remember more are given time to object.
    pub settle: SignedDuration,
    /// Room before the end of an access token in which a doubtful refresh token is tried again.
    pub last_moment: SignedDuration,
    /// Shortest and longest pause after a failure.
    pub backoff: (SignedDuration, SignedDuration),
    /// Redemptions of a grant are at least so far apart, where the token's life allows.
    pub distance: SignedDuration,
    /// Refreshes that settings bring about are at least so far apart.
    pub config_distance: SignedDuration,
    /// Refreshes that refused access tokens bring about are at least so far apart.
    pub forced_distance: SignedDuration,
    /// First look whether a verdict still holds.
    pub probe: SignedDuration,
    /// What all replicas wait for together is spread over so long.
    pub spread: SignedDuration,
}

impl Timing {
    /// `term >= window + 2 * budget`, so that a holder is silent only when it is dead.
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

    /// All times multiplied: days of the protocol in minutes of a test.
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

/// What the promise stands on. Production holds them all; the model takes out one at a time and shows which
/// promise falls with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::struct_excessive_bools, reason = "each is a rule of its own")]
pub struct Rules {
    /// A foreign claim is waited for.
    pub claim_is_awaited: bool,
    /// No claim falls silent while the store does not answer.
    pub outage_is_no_silence: bool,
    /// A claim that went silent was perhaps sent.
    pub silence_is_doubt: bool,
    /// What is in doubt is not presented before the provider's rule allows it.
    pub doubt_waits: bool,
    /// A refusal of what is in doubt is no verdict before the last responsible moment.
    pub refusal_waits_for_doubt: bool,
    /// A request leaves within the window of its claim.
    pub window_is_checked: bool,
    /// The spool says `sent` before anything is sent.
    pub sent_is_marked: bool,
    /// The spool has the answer before it is written to the store.
    pub answer_is_spooled: bool,
    /// Nothing is served that is not stored.
    pub stored_before_served: bool,
    /// A child is filed where its parent is, whoever holds a claim.
    pub lineage_decides: bool,
    /// A login that was replaced or spent is never adopted again.
    pub spent_stays_spent: bool,
    /// Until a new login has worked, the one before can come back.
    pub login_keeps_spare: bool,
    /// A state that was emptied or rolled back is repaired from memory.
    pub memory_repairs: bool,
    /// A claim goes on top of a state that was looked at for a while: those who remember more had time to object.
    pub changes_settle: bool,
    /// Backoff is shared.
    pub backoff_is_shared: bool,
}

impl Rules {
    /// All of them.
    pub const PRODUCTION: Self = Self {
        claim_is_awaited: true,
        outage_is_no_silence: true,
        silence_is_doubt: true,
        doubt_waits: true,
        refusal_waits_for_doubt: true,
        window_is_checked: true,
        sent_is_marked: true,
        answer_is_spooled: true,
        stored_before_served: true,
        lineage_decides: true,
        spent_stays_spent: true,
        login_keeps_spare: true,
        memory_repairs: true,
        changes_settle: true,
        backoff_is_shared: true,
    };
}
