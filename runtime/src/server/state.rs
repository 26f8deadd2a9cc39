//! The state of one connection, and the deadline of that state.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio::time::Instant;

use super::connections::Seat;
use super::limits::Limits;

/// A value that the server keeps until the answer that has it as an extension is written, or the connection ends.
#[derive(Clone)]
pub struct UntilWritten {
    _value: Arc<dyn Send + Sync>,
}

impl UntilWritten {
    /// Wraps `value`.
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
    /// Deadline of the current phase: first request, request, or idle; `None`: no limit.
    deadline: Option<Instant>,
    /// Deadline of a write that waits for the peer to read.
    stalled: Option<Instant>,
    /// Whether an answer is complete and was not flushed yet.
    unwritten: bool,
    /// Values to drop when all complete answers are written.
    kept: Vec<UntilWritten>,
}

/// Ends a connection that is past its deadline.
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

    /// Records that the head of a request was received.
    pub(super) fn began(&self) {
        self.0.seat.busy();
        let mut phase = self.phase();
        phase.unwritten = false;
        phase.deadline = self.0.limits.request.map(|limit| Instant::now() + limit);
        self.publish(&phase);
    }

    /// Records that an answer is complete. `kept` is dropped when it is written.
    pub(super) fn ended(&self, kept: Option<UntilWritten>) {
        let mut phase = self.phase();
        phase.unwritten = true;
        phase.kept.extend(kept);
        phase.deadline = Some(Instant::now() + self.0.limits.write);
        self.publish(&phase);
    }

    /// Records that all complete answers are written.
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

    /// Records that a write waits for the peer to read.
    pub(super) fn stalled(&self) {
        let mut phase = self.phase();
        if phase.stalled.is_none() {
            phase.stalled = Some(Instant::now() + self.0.limits.write);
            self.publish(&phase);
        }
    }

    /// Records that a write continued.
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
    /// Waits until the connection is past its deadline.
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
