//! How long a value has been unchanged, on the monotonic clock of one process: a wall clock that jumps does not shorten a pause, and
//! after a restart the pause begins again.

use std::time::Duration;

/// A value, and since when it is unchanged.
#[derive(Clone, Debug)]
pub struct StableSince<T>(Option<(T, Duration)>);

impl<T> Default for StableSince<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T: PartialEq> StableSince<T> {
    /// Observes the value at the monotonic time `now`. Returns for how long it has been unchanged.
    pub fn observe(&mut self, what: T, now: Duration) -> Duration {
        match &self.0 {
            Some((before, since)) if *before == what => now.saturating_sub(*since),
            _ => {
                self.0 = Some((what, now));
                Duration::ZERO
            }
        }
    }

    /// Starts again, since the value was not observed for a while.
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
        let mut settled = StableSince::default();
        assert_eq!(settled.observe("a", second(5)), second(0));
        assert_eq!(settled.observe("a", second(9)), second(4));
        assert_eq!(settled.observe("b", second(10)), second(0));
        assert_eq!(settled.observe("a", second(11)), second(0));
        assert_eq!(settled.observe("a", second(12)), second(1));
        settled.forget();
        assert_eq!(settled.observe("a", second(13)), second(0));
    }
}
