//! Keeping a grant alive without serving anybody: the same protocol, which ends when nothing is due.

use std::time::Duration;

use tokio::time::Instant;

use super::Keeper;
use crate::outcome::State;
use crate::store::Store;

/// How a keeper left its grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Nothing is due.
    Through,
    /// A received refresh token is not stored yet; it is in the spool.
    Uncommitted,
    /// Something is left to do.
    Unfinished,
}

impl<S: Store> Keeper<S> {
    /// Whether a process that only keeps grants alive need not wait for what is due after `wait`.
    pub(super) fn is_through(&self, wait: Duration) -> bool {
        let Some(deadline) = self.tools.once else { return false };
        // A reply that is on its way comes soon, or never.
        if self.is_late() || self.replica.is_busy() {
            return self.is_late() && self.sending.is_none();
        }
        let state = self.shelf.status(self.tools.clock.now()).state;
        let for_a_person = matches!(state, State::ReauthRequired | State::ScopeDenied | State::Misconfigured);
        // A newcomer settles before it decides.
        let settle = Duration::try_from(self.tools.timing.settle).unwrap_or_default();
        self.replica.has_nothing_to_do()
            || wait > deadline.saturating_duration_since(Instant::now())
            || (for_a_person && wait > settle)
    }

    /// Whether the time of a process that only keeps grants alive is up: it claims nothing new.
    pub(super) fn is_late(&self) -> bool {
        self.tools.once.is_some_and(|deadline| Instant::now() >= deadline)
    }

    /// `wait`, and no longer than there is time.
    pub(super) fn at_most(&self, wait: Duration) -> Duration {
        let left = self.tools.once.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        left.filter(|left| !left.is_zero()).map_or(wait, |left| wait.min(left))
    }

    pub(super) fn ended(&self) -> Ended {
        if self.replica.owes_a_token() {
            Ended::Uncommitted
        } else if self.replica.has_nothing_to_do() && !self.replica.is_busy() {
            Ended::Through
        } else {
            Ended::Unfinished
        }
    }
}
