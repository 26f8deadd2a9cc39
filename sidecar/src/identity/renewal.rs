//! When the sidecar asks the identity server: a schedule of renewals and retries.

use std::time::Duration;

use jiff::Timestamp;

/// First and longest pause after a failure.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// Longest `Retry-After` that is honoured.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(300);

/// The clocks.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// The API server's time.
    pub now: Timestamp,
    /// Monotonic, and runs on while the machine sleeps.
    pub boot: Duration,
}

/// The schedule of one process.
#[derive(Clone, Debug)]
pub struct Renewal {
    /// Multiplies all pauses, for tests.
    scale: f64,
    /// When the server is asked next, on the boot-time clock: the API server's time is not known at the start.
    due: Duration,
    /// Failed requests since the last token.
    failures: u32,
    /// Tokens that the API server rejected, since one was accepted until its renewal.
    rejections: u32,
    /// Whether the API server rejected the current token.
    rejected: bool,
}

impl Renewal {
    /// The schedule of a process that starts: it asks at once.
    pub fn starting(moment: Moment, scale: f64) -> Self {
        Self { scale, due: moment.boot, failures: 0, rejections: 0, rejected: false }
    }

    /// Returns the time until the server is asked.
    pub fn wait(&self, moment: Moment) -> Duration {
        self.due.saturating_sub(moment.boot)
    }

    /// Records a token that was asked for at `asked`. The next request is after 75 to 80 % of its lifetime (`random` is 0 to 1),
    /// so that pods that started together do not ask together. Returns `false` where the token has ended already, which is a
    /// failure.
    pub fn granted(&mut self, asked: Moment, expires_at: Timestamp, random: f64) -> bool {
        let life = Duration::try_from(expires_at.duration_since(asked.now)).unwrap_or_default();
        if life.is_zero() {
            return false;
        }
        if !self.rejected {
            self.rejections = 0;
        }
        (self.failures, self.rejected) = (0, false);
        self.due = asked.boot.saturating_add(life.mul_f64(0.75 + 0.05 * random));
        true
    }

    /// Records a failure. Each one doubles the pause, of which half is random; the server's `Retry-After` is honoured.
    pub fn failed(&mut self, moment: Moment, retry_after_s: Option<i64>, random: f64) {
        let pause = self.pause(self.failures, random);
        self.failures = self.failures.saturating_add(1);
        let said = Duration::from_secs(retry_after_s.and_then(|said| u64::try_from(said).ok()).unwrap_or(0));
        let said = said.min(MAX_RETRY_AFTER);
        // Spread, since other pods may have got the same `Retry-After`.
        let said = said + said.mul_f64(0.1 * random);
        self.due = moment.boot.saturating_add(pause.max(said));
    }

    /// Records that the API server rejected the current token; its account may have been created again. The next request is soon,
    /// and later each time where the next tokens are rejected too.
    pub fn rejected(&mut self, moment: Moment, random: f64) {
        if self.rejected {
            return;
        }
        let pause = self.pause(self.rejections, random);
        (self.rejected, self.rejections) = (true, self.rejections.saturating_add(1));
        self.due = self.due.min(moment.boot.saturating_add(pause));
    }

    fn pause(&self, before: u32, random: f64) -> Duration {
        let (first, longest) = BACKOFF;
        let doubled = first.saturating_mul(1 << before.min(16)).min(longest);
        doubled.mul_f64(self.scale * (0.5 + 0.5 * random))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::SignedDuration;

    fn moment(second: u64) -> Moment {
        let now = Timestamp::from_second(1_800_000_000).unwrap() + SignedDuration::from_secs(second as i64);
        Moment { now, boot: Duration::from_secs(1000 + second) }
    }

    fn end(second: u64) -> Timestamp {
        moment(second).now
    }

    fn starting() -> Renewal {
        Renewal::starting(moment(0), 1.0)
    }

    #[test]
    fn the_first_token_is_asked_for_at_once() {
        assert_eq!(starting().wait(moment(0)), Duration::ZERO);
    }

    #[test]
    fn the_next_is_asked_for_around_four_fifths_of_its_life() {
        for (random, second) in [(0.0, 2700), (1.0, 2880)] {
            let mut renewal = starting();
            assert!(renewal.granted(moment(0), end(3600), random));
            assert_eq!(renewal.wait(moment(0)), Duration::from_secs(second));
            assert_eq!(renewal.wait(moment(9999)), Duration::ZERO);
        }
    }

    #[test]
    fn its_life_counts_from_when_it_was_asked_for() {
        let mut renewal = starting();
        assert!(renewal.granted(moment(0), end(1000), 1.0));
        assert_eq!(renewal.wait(moment(15)), Duration::from_secs(785));
    }

    #[test]
    fn a_token_that_has_ended_is_none() {
        for second in [0, 10] {
            assert!(!starting().granted(moment(10), end(second), 0.5));
        }
    }

    #[test]
    fn failures_come_ever_later_up_to_a_minute_and_a_token_ends_that() {
        let mut renewal = starting();
        let pauses: Vec<_> = (0..9)
            .map(|_| {
                renewal.failed(moment(0), None, 1.0);
                renewal.wait(moment(0)).as_secs()
            })
            .collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        renewal.granted(moment(0), end(3600), 0.0);
        renewal.failed(moment(0), None, 0.0);
        assert_eq!(renewal.wait(moment(0)), Duration::from_millis(500), "half of it is drawn");
    }

    #[test]
    fn a_very_long_outage_overflows_nothing() {
        let mut renewal = starting();
        for _ in 0..200 {
            renewal.failed(moment(0), Some(i64::MAX), 1.0);
            renewal.rejected(moment(0), 1.0);
        }
        assert!(renewal.wait(moment(0)) <= Duration::from_secs(330));
        renewal.failures = u32::MAX;
        renewal.failed(moment(0), Some(-5), 1.0);
        assert_eq!(renewal.wait(moment(0)), Duration::from_secs(60));
    }

    #[test]
    fn the_server_may_ask_for_a_pause_and_not_for_a_long_one() {
        for (said, random, pause) in
            [(Some(30), 0.0, 30), (Some(30), 1.0, 33), (Some(86_400), 0.0, 300), (Some(0), 1.0, 1)]
        {
            let mut renewal = starting();
            renewal.failed(moment(0), said, random);
            assert_eq!(renewal.wait(moment(0)), Duration::from_secs(pause), "{said:?}");
        }
    }

    #[test]
    fn a_token_that_is_not_taken_is_replaced_soon() {
        let mut renewal = starting();
        renewal.granted(moment(0), end(3600), 0.5);
        renewal.rejected(moment(60), 1.0);
        assert_eq!(renewal.wait(moment(60)), Duration::from_secs(1));
        renewal.rejected(moment(61), 1.0);
        assert_eq!(renewal.wait(moment(61)), Duration::ZERO, "many requests hear of one rejection");
    }

    #[test]
    fn tokens_that_are_never_taken_make_no_loop() {
        let mut renewal = starting();
        let mut pauses = Vec::new();
        for _ in 0..8 {
            renewal.granted(moment(0), end(3600), 0.5);
            renewal.rejected(moment(0), 1.0);
            pauses.push(renewal.wait(moment(0)).as_secs());
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
        // One that lived until it was renewed ends that.
        renewal.granted(moment(0), end(3600), 0.5);
        renewal.granted(moment(2800), end(6400), 0.5);
        renewal.rejected(moment(2800), 1.0);
        assert_eq!(renewal.wait(moment(2800)), Duration::from_secs(1));
    }

    #[test]
    fn a_rejection_does_not_put_off_what_is_due_earlier() {
        let mut renewal = starting();
        for _ in 0..6 {
            renewal.granted(moment(0), end(3600), 0.5);
            renewal.rejected(moment(0), 1.0);
        }
        renewal.granted(moment(0), end(20), 0.0);
        renewal.rejected(moment(0), 1.0);
        assert_eq!(renewal.wait(moment(0)), Duration::from_secs(15));
    }

    #[test]
    fn a_test_makes_its_pauses_shorter() {
        let mut renewal = Renewal::starting(moment(0), 0.1);
        renewal.failed(moment(0), None, 1.0);
        assert_eq!(renewal.wait(moment(0)), Duration::from_millis(100));
    }
}
