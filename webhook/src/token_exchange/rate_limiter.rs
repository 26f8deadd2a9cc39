//! A rate limiter: a token bucket for each key, in a table of limited size.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

/// A rate: this many requests at once, and one more after each `every`.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// Requests at once.
    pub burst: u32,
    /// Time until one more request is allowed.
    pub every: Duration,
}

/// A request over the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimited {
    /// Time until the next request is allowed.
    pub wait: Duration,
    /// Whether this is the first refusal since the key's last allowed request. Only that one is logged.
    pub first: bool,
}

/// The buckets. The caller passes the time, counted from any moment.
#[derive(Debug)]
pub struct RateLimiter<K> {
    rate: Rate,
    capacity: usize,
    buckets: HashMap<K, Bucket>,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// Time when the bucket is full. A full bucket equals an absent one.
    full: Duration,
    limited: bool,
}

impl<K: Clone + Eq + Hash> RateLimiter<K> {
    /// Creates a table for at most `capacity` keys.
    pub fn new(rate: Rate, capacity: usize) -> Self {
        Self { rate, capacity, buckets: HashMap::new() }
    }

    /// Takes one request for `key`.
    pub fn take(&mut self, key: &K, now: Duration) -> Result<(), RateLimited> {
        if !self.buckets.contains_key(key) {
            self.make_room(now);
        }
        let bucket = self.buckets.entry(key.clone()).or_insert(Bucket { full: now, limited: false });
        let full = bucket.full.max(now) + self.rate.every;
        let empty = now + self.rate.every * self.rate.burst;
        if full > empty {
            let first = !std::mem::replace(&mut bucket.limited, true);
            return Err(RateLimited { wait: full - empty, first });
        }
        *bucket = Bucket { full, limited: false };
        Ok(())
    }

    /// Gives one request back to `key`.
    pub fn give_back(&mut self, key: &K) {
        if let Some(bucket) = self.buckets.get_mut(key) {
            bucket.full = bucket.full.saturating_sub(self.rate.every);
        }
    }

    /// Makes room in a full table: removes the full buckets, or the fullest one where none is full. So the buckets of
    /// keys with many requests stay.
    fn make_room(&mut self, now: Duration) {
        if self.buckets.len() < self.capacity {
            return;
        }
        self.buckets.retain(|_, bucket| bucket.full > now);
        if self.buckets.len() >= self.capacity {
            let least = self.buckets.iter().min_by_key(|(_, bucket)| bucket.full);
            if let Some(key) = least.map(|(key, _)| key.clone()) {
                self.buckets.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn limiter(capacity: usize) -> RateLimiter<&'static str> {
        RateLimiter::new(Rate { burst: 3, every: s(10) }, capacity)
    }

    #[test]
    fn a_burst_then_one_at_a_time() {
        let mut limiter = limiter(10);
        for _ in 0..3 {
            assert_eq!(limiter.take(&"a", s(100)), Ok(()));
        }
        assert_eq!(limiter.take(&"a", s(100)), Err(RateLimited { wait: s(10), first: true }));
        assert_eq!(limiter.take(&"a", s(104)), Err(RateLimited { wait: s(6), first: false }));
        assert_eq!(limiter.take(&"a", s(110)), Ok(()), "what was refused did not count");
        assert_eq!(limiter.take(&"a", s(110)), Err(RateLimited { wait: s(10), first: true }), "told anew");
        assert_eq!(limiter.take(&"b", s(110)), Ok(()), "nobody pays for another");
        for _ in 0..3 {
            assert_eq!(limiter.take(&"a", s(1000)), Ok(()), "and never more than a burst is saved");
        }
        assert!(limiter.take(&"a", s(1000)).is_err());
    }

    #[test]
    fn what_is_given_back_never_counted() {
        let mut limiter = limiter(10);
        for second in 0..100 {
            assert_eq!(limiter.take(&"a", s(100 + second / 50)), Ok(()));
            limiter.give_back(&"a");
        }
        limiter.give_back(&"a");
        limiter.give_back(&"never seen");
        for _ in 0..3 {
            assert_eq!(limiter.take(&"a", s(102)), Ok(()));
        }
        assert!(limiter.take(&"a", s(102)).is_err(), "no credit beyond a burst");
    }

    #[test]
    fn the_table_is_bounded_and_who_floods_stays_in_it() {
        let mut limiter = RateLimiter::new(Rate { burst: 3, every: s(10) }, 5);
        for _ in 0..4 {
            let _ = limiter.take(&0, s(100));
        }
        for key in 1..1000 {
            assert_eq!(limiter.take(&key, s(100)), Ok(()), "a newcomer is let in");
            assert!(limiter.buckets.len() <= 5);
        }
        assert!(limiter.take(&0, s(100)).is_err(), "not forgotten");
        assert_eq!(limiter.take(&1000, s(1000)), Ok(()));
        assert_eq!(limiter.buckets.len(), 1, "who owes nothing is forgotten");
    }

    #[test]
    fn time_that_stands_still_or_starts_at_nothing_does_no_harm() {
        let mut limiter = limiter(2);
        assert_eq!(limiter.take(&"a", Duration::ZERO), Ok(()));
        limiter.give_back(&"a");
        limiter.give_back(&"a");
        assert_eq!(limiter.take(&"a", Duration::ZERO), Ok(()));
    }
}
