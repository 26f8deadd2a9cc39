//! What one connection is doing, and how long it may.

use std::net::IpAddr;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::Instant;

use super::connections::Seat;
use super::limits::Limits;

/// Records the progress of one connection.
#[derive(Clone)]
pub(super) struct Progress(Arc<Inner>);

struct Inner {
    seat: Seat,
    limits: Limits,
    deadline: watch::Sender<Option<Instant>>,
}

/// Notices when a connection takes too long.
pub(super) struct Watchdog(watch::Receiver<Option<Instant>>);

/// For a connection that is about to send its first request.
pub(super) fn new(seat: Seat, limits: Limits) -> (Progress, Watchdog) {
    let (deadline, watched) = watch::channel(Some(Instant::now() + limits.first_head));
    (Progress(Arc::new(Inner { seat, limits, deadline })), Watchdog(watched))
}

impl Progress {
    pub(super) fn source(&self) -> Option<IpAddr> {
        self.0.seat.source()
    }

    /// The head of a request was received.
    pub(super) fn began(&self) {
        self.0.seat.busy();
        self.0.deadline.send_replace(self.0.limits.request.map(|limit| Instant::now() + limit));
    }

    /// The answer is complete.
    pub(super) fn ended(&self) {
        self.0.seat.idle();
        self.0.deadline.send_replace(Some(Instant::now() + self.0.limits.idle));
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
                        // The connection ends by itself.
                        std::future::pending::<()>().await;
                    }
                }
                () = late => return,
            }
        }
    }
}
