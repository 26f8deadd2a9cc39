//! The state of one connection, and the deadline of that state.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio::time::Instant;

use super::connections::Seat;
use super::limits::Limits;

/// Kept until the answer that carries it as an extension has been written to the connection, or the connection has ended.
#[derive(Clone)]
pub struct UntilWritten {
    _value: Arc<dyn Send + Sync>,
}

impl UntilWritten {
    /// Keeps `value`.
    pub fn new(value: impl Send + Sync + 'static) -> Self {
        Self { _value: Arc::new(value) }
    }
}

/// Records the progress of one connection.
#[derive(Clone)]
pub(super) struct Progress(Arc<Inner>);

struct Inner {
    seat: Seat,
    limits: Limits,
    phase: Mutex<Phase>,
    deadline: watch::Sender<Option<Instant>>,
}

struct Phase {
    /// Deadline for what the connection does now; `None`: any.
    deadline: Option<Instant>,
    /// Deadline of a write that the peer does not read.
    stalled: Option<Instant>,
    /// An answer is complete, and a part of it is perhaps not written yet.
    unwritten: bool,
    /// Kept until complete answers are written.
    kept: Vec<UntilWritten>,
}

/// Notices when a connection takes too long.
pub(super) struct Watchdog(watch::Receiver<Option<Instant>>);

/// Returns the state of a connection whose first request has not arrived.
pub(super) fn new(seat: Seat, limits: Limits) -> (Progress, Watchdog) {
    let first = Some(Instant::now() + limits.first_head);
    let phase = Phase { deadline: first, stalled: None, unwritten: false, kept: Vec::new() };
    let (deadline, watched) = watch::channel(first);
    (Progress(Arc::new(Inner { seat, limits, phase: Mutex::new(phase), deadline })), Watchdog(watched))
}

impl Progress {
    pub(super) fn source(&self) -> Option<IpAddr> {
        self.0.seat.source()
    }

    /// The head of a request was received.
    pub(super) fn began(&self) {
        self.0.seat.busy();
        let mut phase = self.phase();
        phase.unwritten = false;
        phase.deadline = self.0.limits.request.map(|limit| Instant::now() + limit);
        self.publish(&phase);
    }

    /// The answer is complete. `kept` is dropped when it is written.
    pub(super) fn ended(&self, kept: Option<UntilWritten>) {
        let mut phase = self.phase();
        phase.unwritten = true;
        phase.kept.extend(kept);
        phase.deadline = Some(Instant::now() + self.0.limits.write);
        self.publish(&phase);
    }

    /// Every answer that was complete is written.
    pub(super) fn flushed(&self) {
        let mut phase = self.phase();
        phase.kept = Vec::new();
        if phase.unwritten {
            phase.unwritten = false;
            phase.deadline = Some(Instant::now() + self.0.limits.idle);
            self.publish(&phase);
            drop(phase);
            self.0.seat.idle();
        }
    }

    /// A write waits until the peer reads.
    pub(super) fn stalled(&self) {
        let mut phase = self.phase();
        if phase.stalled.is_none() {
            phase.stalled = Some(Instant::now() + self.0.limits.write);
            self.publish(&phase);
        }
    }

    /// A write went on.
    pub(super) fn moved(&self) {
        let mut phase = self.phase();
        if phase.stalled.take().is_some() {
            self.publish(&phase);
        }
    }

    fn phase(&self) -> MutexGuard<'_, Phase> {
        self.0.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn publish(&self, phase: &Phase) {
        self.0.deadline.send_replace(phase.deadline.into_iter().chain(phase.stalled).min());
    }
}

impl Watchdog {
    /// Ends when the connection is past its deadline.
    pub(super) async fn overdue(&mut self) {
        loop {
            let deadline = *self.0.borrow_and_update();
            let late = async {
                match deadline {
                    Some(deadline) => tokio::time::sleep_until(deadline).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = self.0.changed() => {
                    if changed.is_err() {
                        // The connection has ended.
                        std::future::pending::<()>().await;
                    }
                }
                () = late => return,
            }
        }
    }
}
