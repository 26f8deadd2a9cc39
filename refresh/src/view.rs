//! The inputs of a decision.

use jiff::{SignedDuration, Timestamp};

use super::document::{Document, Home};
use super::login::Login;
use super::safeguards::Safeguards;
use super::timing::Timing;

/// Everything that a decision depends on.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The grant Secret.
    pub login: &'a Login,
    /// The state Secret.
    pub document: &'a Document,
    /// Cluster and uid of the state Secret, where they are known.
    pub home: Option<&'a Home>,
    /// The time.
    pub now: Timestamp,
    /// Id of a claim that did not change for its whole term.
    pub silent_claim: Option<&'a str>,
    /// When the settle delay ends, or ended.
    pub settled_at: Timestamp,
    /// When this replica last learnt something that all replicas learn at the same time: a Secret changed, the store came
    /// back, an access token was rejected.
    pub informed_at: Timestamp,
    /// How long after `informed_at` it is this replica's turn to act.
    pub turn: SignedDuration,
    /// Fingerprint of an access token that a provider's API rejected.
    pub rejected: Option<&'a str>,
    /// In a process that only keeps a grant alive: redeem when the access token has ended, or after this time.
    pub keep_alive: Option<SignedDuration>,
    /// This replica's place in the spread of refreshes, 0 to 1.
    pub spread: f64,
    /// Whether this replica could not connect when it last tried, so that the others go first.
    pub yields: bool,
    /// Whether this replica drains.
    pub draining: bool,
    /// The protocol's times.
    pub timing: Timing,
    /// The protocol's safeguards.
    pub safeguards: Safeguards,
}
