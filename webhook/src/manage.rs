//! Role `manage` at its edges: it looks at a handful of objects by name, has `authority` decide, and writes what came of it,
//! each time with the version that was decided on. It acts only while it holds the Lease.

pub mod api;
mod certificates;
mod keys;
mod lease;
mod metrics;
mod objects;
mod places;
mod uninjected;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::authority::Timing;
use crate::authority::lease::Tenancy;
use crate::serve::probes::Readiness;
use api::{Api, ApiError};
pub use certificates::names;
pub use metrics::Metrics;

/// Most steps of one kind between two looks at the Lease.
const STEPS: usize = 16;

/// What there is to keep.
#[derive(Clone, Debug)]
pub struct Duties {
    /// The release's namespace.
    pub namespace: String,
    /// DNS names of our servers, where their certificates are ours to make.
    pub names: Option<BTreeSet<String>>,
    /// Who this is, in the Lease and in Events.
    pub identity: String,
    /// When.
    pub timing: Timing,
}

/// One manager.
pub struct Manager {
    api: Api,
    duties: Duties,
    metrics: Arc<Metrics>,
    tenancy: Tenancy,
    certificates: certificates::Memory,
    keys: keys::Memory,
    started: Instant,
}

/// How a look ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Look {
    /// There is nothing to do.
    Done,
    /// Something was written: look again.
    Again,
}

impl Manager {
    /// Does nothing yet.
    pub fn new(api: Api, duties: Duties, metrics: Arc<Metrics>) -> Self {
        let tenancy = Tenancy::new(duties.identity.clone());
        Self {
            api,
            duties,
            metrics,
            tenancy,
            certificates: certificates::Memory::default(),
            keys: keys::Memory::default(),
            started: Instant::now(),
        }
    }

    /// Keeps what there is to keep until `stop` turns true, and then gives the Lease back.
    pub async fn run(mut self, readiness: Readiness, mut stop: watch::Receiver<bool>) {
        let acting = AtomicBool::new(false);
        let (api, metrics) = (self.api.clone(), Arc::clone(&self.metrics));
        let timing = self.duties.timing;
        let counting = uninjected::run(&api, &metrics, &acting, timing.count);
        let keeping = async {
            loop {
                let acts = self.look(&readiness).await;
                acting.store(acts, Ordering::Release);
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
        if self.acts() {
            lease::release(&self).await;
        }
    }

    /// The monotonic clock.
    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// Whether this process holds the Lease.
    fn acts(&self) -> bool {
        self.tenancy.acts(self.now(), &self.duties.timing)
    }

    /// Looks at everything once. Whether this process holds the Lease.
    async fn look(&mut self, readiness: &Readiness) -> bool {
        match lease::turn(self).await {
            Ok(()) => readiness.set(true),
            Err(error) => tracing::warn!(%error, "the Lease could not be kept"),
        }
        if !self.acts() {
            // Somebody else may act now, so nothing that was seen is known to have stayed.
            self.certificates.forget();
            self.keys.forget();
            return false;
        }
        for _ in 0..STEPS {
            match certificates::look(self).await {
                Ok(Look::Again) if self.acts() => {}
                Ok(_) => break,
                Err(error) => {
                    tracing::warn!(%error, "certificates could not be kept");
                    break;
                }
            }
        }
        for _ in 0..STEPS {
            match keys::look(self).await {
                Ok(Look::Again) if self.acts() => {}
                Ok(_) => break,
                Err(error) => {
                    tracing::warn!(%error, "the seal keys could not be kept");
                    break;
                }
            }
        }
        self.acts()
    }

    /// A write is about to be made: whether it still may.
    fn may_write(&self) -> Result<(), ApiError> {
        if self.acts() { Ok(()) } else { Err(ApiError::NotOurs) }
    }

    /// Tells people. That it could not be told changes nothing.
    async fn tell(&self, secret: &objects::Object, reason: &str, note: &str) {
        tracing::info!(reason, secret = secret.name(), note, "done");
        if let Err(error) = objects::announce(&self.api, &self.duties, secret, reason, note).await {
            tracing::warn!(%error, reason, "the Event could not be written");
        }
    }
}
