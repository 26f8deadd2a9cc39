//! Keeps a grant alive without serving it: the same protocol, which ends when nothing is due.

use std::time::Duration;

use tokio::time::Instant;

use super::Refresher;
use super::ended::Ended;
use crate::store::Store;
use agent_creds_refresh::status::State;

impl<S: Store> Refresher<S> {
    /// Whether a process that only keeps grants alive may end instead of waiting.
    pub(super) fn is_through(&self, wait: Duration) -> bool {
        let Some(deadline) = self.tools.once else { return false };
        // A reply that is still to come comes within its time limit.
        if self.is_late() || self.replica.is_busy() {
            return self.is_late() && self.sending.is_none();
        }
        let state = self.cache.status(self.tools.clock.now()).state;
        let for_a_person = matches!(state, State::ReauthRequired | State::ScopeDenied | State::Misconfigured);
        // A new replica waits for the settle delay before it decides.
        let settle = Duration::try_from(self.tools.timing.settle).unwrap_or_default();
        self.replica.has_nothing_to_do()
            || wait > deadline.saturating_duration_since(Instant::now())
            || (for_a_person && wait > settle)
    }

    /// Whether the time limit of a process that only keeps grants alive is over: it makes no new claims.
    pub(super) fn is_late(&self) -> bool {
        self.tools.once.is_some_and(|deadline| Instant::now() >= deadline)
    }

    /// Returns `wait`, but no longer than the time limit allows.
    pub(super) fn at_most(&self, wait: Duration) -> Duration {
        let left = self.tools.once.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        left.filter(|left| !left.is_zero()).map_or(wait, |left| wait.min(left))
    }

    pub(super) fn ended(&self) -> Ended {
        if self.replica.has_uncommitted_token() {
            Ended::Uncommitted
        } else if self.replica.has_nothing_to_do() && !self.replica.is_busy() {
            Ended::Through
        } else {
            Ended::Unfinished
        }
    }
}
