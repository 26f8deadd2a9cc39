//! This process as a candidate for the leader: its connection, its settings and its part in the leader election. Reconcilers use it
//! to read and to write.

use std::time::{Duration, Instant};

use super::api::{Api, ApiError};
use super::duties::Duties;
use super::metrics::Metrics;
use super::objects::{self, Object};
use crate::leader_election::LeaderElector;

/// One process with the role `manage`.
pub(super) struct Candidate {
    pub(super) api: Api,
    pub(super) duties: Duties,
    pub(super) metrics: Metrics,
    pub(super) elector: LeaderElector,
    started: Instant,
}

/// Result of a reconciliation.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Reconciled {
    /// There is nothing to do.
    Done,
    /// Something was written: reconcile again.
    Again,
}

impl Candidate {
    /// Creates a candidate that is not the leader yet.
    pub(super) fn new(api: Api, duties: Duties, metrics: Metrics) -> Self {
        let elector = LeaderElector::new(duties.identity.clone());
        Self { api, duties, metrics, elector, started: Instant::now() }
    }

    /// Returns the time since the start, on the monotonic clock.
    pub(super) fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// Whether this process is the leader.
    pub(super) fn is_leader(&self) -> bool {
        self.elector.is_leader(self.now(), &self.duties.timing)
    }

    /// Checks before a write that this process is still the leader.
    pub(super) fn may_write(&self) -> Result<(), ApiError> {
        if self.is_leader() { Ok(()) } else { Err(ApiError::NotLeader) }
    }

    /// Logs a change and writes an Event for it. A failure to write the Event changes nothing.
    pub(super) async fn record(&self, secret: &Object, reason: &str, note: &str) {
        tracing::info!(reason, secret = secret.name(), note, "rotated");
        if let Err(error) = objects::record(&self.api, &self.duties, secret, reason, note).await {
            tracing::warn!(%error, reason, "writing the Event failed");
        }
    }
}
