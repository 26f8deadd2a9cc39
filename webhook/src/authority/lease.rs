//! Which of several managers acts. No two clocks are compared: a Lease is anyone's when it has not been seen to change for
//! as long as it lasts, on the clock of who looks; and its holder stops two thirds of that after it asked for its last
//! renewal, on its own clock. So there is one at a time as long as no machine's clock runs half as fast again as another's;
//! and if there were two, every write names the version that it was decided on.

use std::time::Duration;

use super::Timing;
use super::settled::Settled;

/// What the Lease says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Who holds it; none where nobody does.
    pub holder: Option<String>,
    /// uid and resourceVersion.
    pub version: String,
    /// How long it lasts after its holder's last renewal.
    pub lasts: Option<Duration>,
}

/// What to do about the Lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Write our name into it, or renew it.
    Write,
    /// It is ours, and was renewed a moment ago.
    Keep,
    /// Somebody else holds it.
    Wait,
}

/// One process and the Lease.
#[derive(Debug)]
pub struct Tenancy {
    me: String,
    seen: Settled<String>,
    /// When the last renewal that was granted was asked for.
    renewed: Option<Duration>,
}

impl Tenancy {
    /// `me` belongs to one process: one that starts again under the same pod's name is another.
    pub fn new(me: String) -> Self {
        Self { me, seen: Settled::default(), renewed: None }
    }

    /// Who this is.
    pub fn me(&self) -> &str {
        &self.me
    }

    /// The Lease was read at the monotonic time `now`.
    pub fn next(&mut self, lease: &Seen, now: Duration, timing: &Timing) -> Turn {
        let unchanged = self.seen.seen(lease.version.clone(), now);
        match lease.holder.as_deref().filter(|holder| !holder.is_empty()) {
            Some(holder) if holder == self.me => match self.renewed {
                Some(renewed) if now.saturating_sub(renewed) < timing.renew => Turn::Keep,
                _ => Turn::Write,
            },
            Some(_) => {
                self.renewed = None;
                let lasts = lease.lasts.unwrap_or_default().max(timing.lease);
                if unchanged >= lasts { Turn::Write } else { Turn::Wait }
            }
            None => Turn::Write,
        }
    }

    /// Our write, which was asked for at the monotonic time `asked`, was taken.
    pub fn granted(&mut self, asked: Duration) {
        self.renewed = Some(asked);
    }

    /// Our write was refused: somebody else was faster.
    pub fn lost(&mut self) {
        self.renewed = None;
    }

    /// Whether this process may act at the monotonic time `now`.
    pub fn acts(&self, now: Duration, timing: &Timing) -> bool {
        self.renewed.is_some_and(|renewed| now.saturating_sub(renewed) < timing.lease * 2 / 3)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn lease(holder: Option<&str>, version: &str) -> Seen {
        Seen { holder: holder.map(str::to_owned), version: version.to_owned(), lasts: Some(at(30)) }
    }

    #[test]
    fn an_empty_lease_is_taken_and_renewed() {
        let (timing, mut one) = (Timing::default(), Tenancy::new("one".to_owned()));
        assert!(!one.acts(at(0), &timing));
        assert_eq!(one.next(&lease(None, "1"), at(0), &timing), Turn::Write);
        assert!(!one.acts(at(0), &timing), "not before the write is granted");
        one.granted(at(0));
        assert!(one.acts(at(19), &timing) && !one.acts(at(20), &timing));
        assert_eq!(one.next(&lease(Some("one"), "2"), at(9), &timing), Turn::Keep);
        assert_eq!(one.next(&lease(Some("one"), "2"), at(10), &timing), Turn::Write);
        one.lost();
        assert!(!one.acts(at(10), &timing));
    }

    #[test]
    fn anothers_is_waited_for_and_never_held_by_two() {
        let timing = Timing::default();
        let (mut one, mut two) = (Tenancy::new("one".to_owned()), Tenancy::new("two".to_owned()));
        one.granted(at(100));
        // The other one sees the renewal at once at the earliest, and a renewal begins the wait anew.
        assert_eq!(two.next(&lease(Some("one"), "1"), at(90), &timing), Turn::Wait);
        assert_eq!(two.next(&lease(Some("one"), "2"), at(100), &timing), Turn::Wait);
        assert_eq!(two.next(&lease(Some("one"), "2"), at(129), &timing), Turn::Wait);
        assert!(!one.acts(at(129), &timing), "long before");
        assert_eq!(two.next(&lease(Some("one"), "2"), at(130), &timing), Turn::Write);
        two.granted(at(130));
        assert_eq!(one.next(&lease(Some("two"), "3"), at(131), &timing), Turn::Wait);
    }

    #[test]
    fn a_longer_lease_than_ours_is_respected_and_a_released_one_is_free() {
        let (timing, mut two) = (Timing::default(), Tenancy::new("two".to_owned()));
        let long = Seen { lasts: Some(at(60)), ..lease(Some("one"), "1") };
        assert_eq!(two.next(&long, at(0), &timing), Turn::Wait);
        assert_eq!(two.next(&long, at(59), &timing), Turn::Wait);
        assert_eq!(two.next(&long, at(60), &timing), Turn::Write);
        assert_eq!(two.next(&lease(Some(""), "2"), at(61), &timing), Turn::Write);
        // One of the same name that a process before us left behind is not ours.
        assert_eq!(two.next(&lease(Some("two"), "3"), at(62), &timing), Turn::Write);
    }
}
