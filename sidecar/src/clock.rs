//! The clock, passed in wherever the time is needed, so that a test sets it. Times in the document and of served tokens are those of
//! the API server, continued by the machine's boot-time clock: a node with a wrong wall clock neither serves an expired token nor
//! delays other replicas.

mod offset;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rustix::time::{ClockId, clock_gettime};

use offset::Offset;

/// Longest sleep of a timer. Timers stop while the machine is suspended, the time that is waited for does not.
pub const NAP: Duration = Duration::from_secs(30);

/// All clocks of the machine, read at the same time.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    /// The wall clock.
    pub wall: Timestamp,
    /// Monotonic; stops while the machine is suspended.
    pub monotonic: Duration,
    /// Monotonic; continues while the machine is suspended.
    pub boot: Duration,
}

/// A clock. Cloning shares it.
#[derive(Clone)]
pub struct Clock(Arc<Inner>);

struct Inner {
    read: Box<dyn Fn() -> Reading + Send + Sync>,
    server: Mutex<Option<Offset>>,
}

impl Clock {
    /// Waits for `wait`, including time in which the machine is suspended.
    pub async fn sleep(&self, wait: Duration) {
        let until = self.read().boot.saturating_add(wait);
        loop {
            let left = until.saturating_sub(self.read().boot);
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left.min(NAP)).await;
        }
    }

    /// The system's clocks.
    pub fn system() -> Self {
        Self::new(|| Reading {
            wall: Timestamp::now(),
            monotonic: of(ClockId::Monotonic),
            boot: of(ClockId::Boottime),
        })
    }

    /// A clock that reads the given clocks.
    pub fn new(read: impl Fn() -> Reading + Send + Sync + 'static) -> Self {
        Self(Arc::new(Inner { read: Box::new(read), server: Mutex::default() }))
    }

    /// Reads all clocks.
    pub fn read(&self) -> Reading {
        (self.0.read)()
    }

    /// Returns the API server's time; the wall clock where the store has no clock.
    pub fn now(&self) -> Timestamp {
        let reading = self.read();
        self.server().as_ref().map_or(reading.wall, |offset| offset.at(reading.boot))
    }

    /// Observes the `Date` of an answer of the store (RFC 9110 §6.6.1). The request was sent at the boot time `asked`.
    pub fn observe(&self, date: Timestamp, asked: Duration) {
        let answered = self.read().boot;
        let mut server = self.server();
        *server = Some(Offset::observed(server.as_ref(), date, asked, answered));
    }

    /// Returns how far the wall clock is behind the store's time, in seconds; `None` where the store has no clock.
    pub fn offset(&self) -> Option<f64> {
        let reading = self.read();
        let at = self.server().as_ref().map(|offset| offset.at(reading.boot))?;
        Some(SignedDuration::as_secs_f64(&at.duration_since(reading.wall)))
    }

    fn server(&self) -> std::sync::MutexGuard<'_, Option<Offset>> {
        self.0.server.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn of(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    let (seconds, nanos) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec));
    Duration::new(seconds.unwrap_or_default(), nanos.unwrap_or_default())
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use futures_util::FutureExt;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_wait_ends_at_most_one_nap_late_after_a_suspension() {
        static BOOT: AtomicU64 = AtomicU64::new(0);
        let clock = Clock::new(|| {
            let boot = Duration::from_secs(BOOT.load(Ordering::Relaxed));
            Reading { wall: Timestamp::UNIX_EPOCH, monotonic: boot, boot }
        });
        let mut waits = std::pin::pin!(clock.sleep(Duration::from_secs(600)));
        assert!((&mut waits).now_or_never().is_none());
        // The machine was suspended all the time, which the timer did not notice.
        BOOT.store(600, Ordering::Relaxed);
        tokio::time::advance(NAP).await;
        assert!((&mut waits).now_or_never().is_some());
    }
}
