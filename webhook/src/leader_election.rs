//! Leader election with a Lease. No two clocks are compared. A candidate takes the Lease when it has not changed for its duration, on
//! the candidate's clock; the holder stops two thirds of the duration after it asked for its last renewal, on its own clock.
//! So there is one leader at a time unless one machine's clock runs half as fast again as another's. With two leaders, optimistic
//! concurrency still protects every write.

use std::time::Duration;

use crate::rotation::Timing;
use crate::rotation::stable_since::StableSince;

/// The Lease as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedLease {
    /// Its holder, where it has one.
    pub holder: Option<String>,
    /// uid and resourceVersion.
    pub version: String,
    /// Its duration.
    pub lasts: Option<Duration>,
}

/// What to do about the Lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Acquire or renew it.
    Write,
    /// Hold it: the last renewal is recent enough.
    Keep,
    /// Another process holds it.
    Wait,
}

/// One candidate.
#[derive(Debug)]
pub struct LeaderElector {
    me: String,
    seen: StableSince<String>,
    /// When the last successful renewal was asked for.
    renewed: Option<Duration>,
}

impl LeaderElector {
    /// A candidate with the identity `me`, which no other process has: a pod that starts again is another candidate.
    pub fn new(me: String) -> Self {
        Self { me, seen: StableSince::default(), renewed: None }
    }

    /// The identity of this process.
    pub fn me(&self) -> &str {
        &self.me
    }

    /// Returns what to do about the Lease, which was read at the monotonic time `now`.
    pub fn next(&mut self, lease: &ObservedLease, now: Duration, timing: &Timing) -> Action {
        let unchanged = self.seen.observe(lease.version.clone(), now);
        match lease.holder.as_deref().filter(|holder| !holder.is_empty()) {
            Some(holder) if holder == self.me => match self.renewed {
                Some(renewed) if now.saturating_sub(renewed) < timing.renew => Action::Keep,
                _ => Action::Write,
            },
            Some(_) => {
                self.renewed = None;
                let lasts = lease.lasts.unwrap_or_default().max(timing.lease);
                if unchanged >= lasts { Action::Write } else { Action::Wait }
            }
            None => Action::Write,
        }
    }

    /// Records a successful write that was asked for at the monotonic time `asked`.
    pub fn granted(&mut self, asked: Duration) {
        self.renewed = Some(asked);
    }

    /// Records a conflict: another process wrote first.
    pub fn lost(&mut self) {
        self.renewed = None;
    }

    /// Whether this process is the leader at the monotonic time `now`.
    pub fn is_leader(&self, now: Duration, timing: &Timing) -> bool {
        self.renewed.is_some_and(|renewed| now.saturating_sub(renewed) < timing.lease * 2 / 3)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn lease(holder: Option<&str>, version: &str) -> ObservedLease {
        ObservedLease { holder: holder.map(str::to_owned), version: version.to_owned(), lasts: Some(at(30)) }
    }

    #[test]
    fn an_empty_lease_is_taken_and_renewed() {
        let (timing, mut one) = (Timing::default(), LeaderElector::new("one".to_owned()));
        assert!(!one.is_leader(at(0), &timing));
        assert_eq!(one.next(&lease(None, "1"), at(0), &timing), Action::Write);
        assert!(!one.is_leader(at(0), &timing), "not before the write is granted");
        one.granted(at(0));
        assert!(one.is_leader(at(19), &timing) && !one.is_leader(at(20), &timing));
        assert_eq!(one.next(&lease(Some("one"), "2"), at(9), &timing), Action::Keep);
        assert_eq!(one.next(&lease(Some("one"), "2"), at(10), &timing), Action::Write);
        one.lost();
        assert!(!one.is_leader(at(10), &timing));
    }

    #[test]
    fn anothers_is_waited_for_and_never_held_by_two() {
        let timing = Timing::default();
        let (mut one, mut two) = (LeaderElector::new("one".to_owned()), LeaderElector::new("two".to_owned()));
        one.granted(at(100));
        // The other one sees the renewal at once at the earliest, and a renewal begins the wait anew.
        assert_eq!(two.next(&lease(Some("one"), "1"), at(90), &timing), Action::Wait);
        assert_eq!(two.next(&lease(Some("one"), "2"), at(100), &timing), Action::Wait);
        assert_eq!(two.next(&lease(Some("one"), "2"), at(129), &timing), Action::Wait);
        assert!(!one.is_leader(at(129), &timing), "long before");
        assert_eq!(two.next(&lease(Some("one"), "2"), at(130), &timing), Action::Write);
        two.granted(at(130));
        assert_eq!(one.next(&lease(Some("two"), "3"), at(131), &timing), Action::Wait);
    }

    #[test]
    fn a_longer_lease_than_ours_is_respected_and_a_released_one_is_free() {
        let (timing, mut two) = (Timing::default(), LeaderElector::new("two".to_owned()));
        let long = ObservedLease { lasts: Some(at(60)), ..lease(Some("one"), "1") };
        assert_eq!(two.next(&long, at(0), &timing), Action::Wait);
        assert_eq!(two.next(&long, at(59), &timing), Action::Wait);
        assert_eq!(two.next(&long, at(60), &timing), Action::Write);
        assert_eq!(two.next(&lease(Some(""), "2"), at(61), &timing), Action::Write);
        // One of the same name that a process before us left behind is not ours.
        assert_eq!(two.next(&lease(Some("two"), "3"), at(62), &timing), Action::Write);
    }
}
