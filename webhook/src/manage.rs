//! The manager: reads a few objects by name, lets [`crate::rotation`] decide, and writes one object with the version that was
//! decided on. It acts only while it is the leader.

pub mod api;
mod ca_bundle_targets;
mod candidate;
mod certificates;
mod duties;
mod leader_election;
mod metrics;
mod objects;
mod seal_keys;
mod uninjected;

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::watch;

use agent_creds_runtime::probes::Readiness;
use api::Api;
use candidate::{Candidate, Reconciled};
pub use certificates::names;
pub use duties::Duties;
pub use metrics::Metrics;

/// Most steps of one kind between two reads of the Lease.
const STEPS: usize = 16;

/// One manager.
pub struct Manager {
    candidate: Candidate,
    certificates: certificates::Memory,
    keys: seal_keys::Memory,
}

impl Manager {
    /// Creates a manager that has not read anything yet.
    pub fn new(api: Api, duties: Duties, metrics: Metrics) -> Self {
        Self {
            candidate: Candidate::new(api, duties, metrics),
            certificates: certificates::Memory::default(),
            keys: seal_keys::Memory::default(),
        }
    }

    /// Reconciles until `stop` turns true, then releases the Lease.
    pub async fn run(mut self, readiness: Readiness, mut stop: watch::Receiver<bool>) {
        let leading = AtomicBool::new(false);
        let (api, metrics) = (self.candidate.api.clone(), self.candidate.metrics.clone());
        let timing = self.candidate.duties.timing;
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
        if self.candidate.is_leader() {
            leader_election::release(&self.candidate).await;
        }
    }

    /// Reconciles everything once. Returns whether this process is the leader.
    async fn reconcile(&mut self, readiness: &Readiness) -> bool {
        match leader_election::turn(&mut self.candidate).await {
            Ok(()) => readiness.set(true),
            Err(error) => tracing::warn!(%error, "the Lease was not renewed"),
        }
        if !self.candidate.is_leader() {
            // Another process may be the leader now and change what was observed.
            self.certificates.forget();
            self.keys.forget();
            return false;
        }
        for _ in 0..STEPS {
            match certificates::reconcile(&self.candidate, &mut self.certificates).await {
                Ok(Reconciled::Again) if self.candidate.is_leader() => {}
                Ok(_) => break,
                Err(error) => {
                    tracing::warn!(%error, "reconciling certificates failed");
                    break;
                }
            }
        }
        for _ in 0..STEPS {
            match seal_keys::reconcile(&self.candidate, &mut self.keys).await {
                Ok(Reconciled::Again) if self.candidate.is_leader() => {}
                Ok(_) => break,
                Err(error) => {
                    tracing::warn!(%error, "reconciling seal keys failed");
                    break;
                }
            }
        }
        self.candidate.is_leader()
    }
}
