//! How long something has been seen as it is. Counted by one process on its monotonic clock: a wall clock that jumps
//! shortens no pause, and after a restart the pause begins anew.

use std::time::Duration;

/// What was seen, and since when.
#[derive(Clone, Debug)]
pub struct Settled<T>(Option<(T, Duration)>);

impl<T> Default for Settled<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T: PartialEq> Settled<T> {
    /// `what` is seen at the monotonic time `now`; for how long without a change until then.
    pub fn seen(&mut self, what: T, now: Duration) -> Duration {
        match &self.0 {
            Some((before, since)) if *before == what => now.saturating_sub(*since),
            _ => {
                self.0 = Some((what, now));
                Duration::ZERO
            }
        }
    }

    /// Nobody looked for a while.
    pub fn forget(&mut self) {
        self.0 = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_a_gap_and_a_change_back_begin_anew() {
        let second = Duration::from_secs;
        let mut settled = Settled::default();
        assert_eq!(settled.seen("a", second(5)), second(0));
        assert_eq!(settled.seen("a", second(9)), second(4));
        assert_eq!(settled.seen("b", second(10)), second(0));
        assert_eq!(settled.seen("a", second(11)), second(0));
        assert_eq!(settled.seen("a", second(12)), second(1));
        settled.forget();
        assert_eq!(settled.seen("a", second(13)), second(0));
    }
}
