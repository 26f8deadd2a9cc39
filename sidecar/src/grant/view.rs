//! What a decision is made on.

use jiff::{SignedDuration, Timestamp};

use super::document::{Document, Home};
use super::login::Login;
use super::rules::{Rules, Timing};

/// Everything that a decision depends on.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The grant Secret.
    pub login: &'a Login,
    /// The state Secret.
    pub document: &'a Document,
    /// Which state Secret that is, where its place is known.
    pub home: Option<&'a Home>,
    /// The time.
    pub now: Timestamp,
    /// The id of a claim that was seen unchanged for its whole term.
    pub silent_claim: Option<&'a str>,
    /// Until when the state is, or was, too new to claim on.
    pub settles_until: Timestamp,
    /// Since when this replica knows what it knows: a Secret changed, the store came back, a token was refused.
    pub news_at: Timestamp,
    /// So long after such news, which all replicas have at once, it is this one's turn to act on it.
    pub turn: SignedDuration,
    /// An access token that a provider's API refused.
    pub rejected: Option<&'a str>,
    /// Redeem only when the access token has ended, or after so long: who only keeps a grant alive.
    pub rarely: Option<SignedDuration>,
    /// This replica's place in the spread of refreshes, 0 to 1.
    pub spread: f64,
    /// Whether this replica could not connect when it last tried: the others go first.
    pub stands_back: bool,
    /// Whether this replica is going away.
    pub draining: bool,
    /// The protocol's times.
    pub timing: Timing,
    /// The protocol's rules.
    pub rules: Rules,
}
