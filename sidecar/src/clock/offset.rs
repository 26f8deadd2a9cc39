//! The offset of another machine's clock, estimated from the `Date` of its answers, which is in whole seconds and travels through a
//! network. Each answer limits the offset from both sides; several limit it more closely than one.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// Age after which limits are dropped, since clocks drift.
const MEMORY: Duration = Duration::from_mins(10);

/// Limits of the other clock's time at boot time zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Offset {
    low: Timestamp,
    high: Timestamp,
    since: Duration,
}

impl Offset {
    /// Returns the offset after an answer with `date`, asked for and answered at these boot times.
    pub(super) fn observed(
        before: Option<&Self>,
        date: Timestamp,
        asked: Duration,
        answered: Duration,
    ) -> Self {
        // At some moment between the two the clock showed `date`, or up to a second more.
        let low = back(date, answered);
        let high = back(date, asked) + SignedDuration::from_secs(1);
        let fresh = Self { low, high, since: answered };
        let Some(before) = before.filter(|before| answered.saturating_sub(before.since) < MEMORY) else {
            return fresh;
        };
        let both = Self { low: before.low.max(low), high: before.high.min(high), since: before.since };
        // Where the limits contradict each other, the clock was set: the latest answer counts.
        if both.low <= both.high { both } else { fresh }
    }

    /// Returns the other clock's time at the boot time `boot`.
    pub(super) fn at(&self, boot: Duration) -> Timestamp {
        let middle = self.low + self.high.duration_since(self.low) / 2;
        middle.saturating_add(signed(boot)).unwrap_or(middle)
    }
}

fn back(time: Timestamp, by: Duration) -> Timestamp {
    time.saturating_sub(signed(by)).unwrap_or(time)
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millisecond(1_800_000_000_000 + millis).unwrap()
    }

    fn boot(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// The other clock runs 1 800 000 000 s ahead of our boot time; its `Date` is cut to whole seconds.
    fn answer(before: Option<&Offset>, asked: u64, answered: u64) -> Offset {
        let seen = i64::try_from(u64::midpoint(asked, answered)).unwrap();
        Offset::observed(before, at(seen / 1000 * 1000), boot(asked), boot(answered))
    }

    #[test]
    fn one_answer_tells_it_to_half_a_second_and_more_tell_it_better() {
        let mut offset = answer(None, 10_400, 10_410);
        let error = |offset: &Offset| offset.at(boot(20_000)).duration_since(at(20_000)).as_millis().abs();
        assert!(error(&offset) <= 510, "{}", error(&offset));
        for asked in [12_950, 14_010, 15_990, 17_100] {
            offset = answer(Some(&offset), asked, asked + 10);
        }
        assert!(error(&offset) <= 50, "{}", error(&offset));
    }

    #[test]
    fn a_clock_that_was_set_is_believed() {
        let before = answer(None, 10_400, 10_410);
        let after = Offset::observed(Some(&before), at(600_000), boot(11_000), boot(11_010));
        assert!(after.at(boot(11_000)).duration_since(at(600_500)).as_millis().abs() <= 510);
    }

    #[test]
    fn old_bounds_are_forgotten() {
        let before = answer(None, 10_990, 11_000);
        let later = answer(Some(&before), 700_400, 700_410);
        assert_eq!(later.since, boot(700_410));
    }
}
