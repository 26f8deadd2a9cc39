//! The manager: reads a few objects by name, lets [`crate::rotation`] decide, and writes one object with the version that was
//! decided on. It acts only while it is the leader.

pub mod api;
mod ca_bundle_targets;
mod certificates;
mod leader_election;
mod metrics;
mod objects;
mod seal_keys;
mod uninjected;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::leader_election::LeaderElector;
use crate::rotation::Timing;
use agent_creds_runtime::probes::Readiness;
use api::{Api, ApiError};
pub use certificates::names;
pub use metrics::Metrics;

/// Most steps of one kind between two reads of the Lease.
const STEPS: usize = 16;

/// Settings of the manager.
#[derive(Clone, Debug)]
pub struct Duties {
    /// The release's namespace.
    pub namespace: String,
    /// DNS names of our servers; `None` where another party issues their certificates.
    pub names: Option<BTreeSet<String>>,
    /// Identity of this process, in the Lease and in Events.
    pub identity: String,
    /// Times.
    pub timing: Timing,
}

/// One manager.
pub struct Manager {
    api: Api,
    duties: Duties,
    metrics: Metrics,
    elector: LeaderElector,
    certificates: certificates::Memory,
    keys: seal_keys::Memory,
    started: Instant,
}

/// Result of a reconciliation.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reconciled {
    /// There is nothing to do.
    Done,
    /// Something was written: reconcile again.
    Again,
}

impl Manager {
    /// A manager that does nothing yet.
    pub fn new(api: Api, duties: Duties, metrics: Metrics) -> Self {
        let elector = LeaderElector::new(duties.identity.clone());
        Self {
            api,
            duties,
            metrics,
            elector,
            certificates: certificates::Memory::default(),
            keys: seal_keys::Memory::default(),
            started: Instant::now(),
        }
    }

    /// Reconciles until `stop` turns true, then releases the Lease.
    pub async fn run(mut self, readiness: Readiness, mut stop: watch::Receiver<bool>) {
        let leading = AtomicBool::new(false);
        let (api, metrics) = (self.api.clone(), self.metrics.clone());
        let timing = self.duties.timing;
        let counting = uninjected::run(&api, &metrics, &leading, timing.count);
        let keeping = async {
            loop {
                let leads = self.reconcile(&readiness).await;
                leading.store(leads, Ordering::Release);
                tokio::select! {
                    () = tokio::time::sleep(timing.look) => {}
                    _ = stop.wait_for(|stop| *stop) => return,
                }
            }
        };
        tokio::select! {
            () = keeping => {}
            () = counting => {}
        }
        if self.is_leader() {
            leader_election::release(&self).await;
        }
    }

    /// The monotonic clock.
    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// Whether this process is the leader.
    fn is_leader(&self) -> bool {
        self.elector.is_leader(self.now(), &self.duties.timing)
    }

    /// Reconciles everything once. Returns whether this process is the leader.
    async fn reconcile(&mut self, readiness: &Readiness) -> bool {
        match leader_election::turn(self).await {
            Ok(()) => readiness.set(true),
            Err(error) => tracing::warn!(%error, "the Lease was not renewed"),
        }
        if !self.is_leader() {
            // Another process may be the leader now and change what was observed.
            self.certificates.forget();
            self.keys.forget();
            return false;
        }
        for _ in 0..STEPS {
            match certificates::reconcile(self).await {
                Ok(Reconciled::Again) if self.is_leader() => {}
                Ok(_) => break,
                Err(error) => {
                    tracing::warn!(%error, "reconciling certificates failed");
                    break;
                }
            }
        }
        for _ in 0..STEPS {
            match seal_keys::reconcile(self).await {
                Ok(Reconciled::Again) if self.is_leader() => {}
                Ok(_) => break,
                Err(error) => {
                    tracing::warn!(%error, "reconciling seal keys failed");
                    break;
                }
            }
        }
        self.is_leader()
    }

    /// Checks before a write that this process is still the leader.
    fn may_write(&self) -> Result<(), ApiError> {
        if self.is_leader() { Ok(()) } else { Err(ApiError::NotLeader) }
    }

    /// Logs a change and writes an Event for it. A failure to write the Event changes nothing.
    async fn record(&self, secret: &objects::Object, reason: &str, note: &str) {
        tracing::info!(reason, secret = secret.name(), note, "rotated");
        if let Err(error) = objects::record(&self.api, &self.duties, secret, reason, note).await {
            tracing::warn!(%error, reason, "writing the Event failed");
        }
    }
}
