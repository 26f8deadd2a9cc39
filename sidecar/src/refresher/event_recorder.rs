//! Writes Events in the background, so that they never delay a refresh.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::store::{Regarding, Store};
use agent_creds_core::names::ObjectName;
use agent_creds_refresh::event::Event;

/// Most Events that are written at the same time; further ones are dropped.
const MOST: u32 = 16;

/// Writes Events. Cloning shares it.
#[derive(Clone, Debug)]
pub struct EventRecorder {
    under_way: Arc<Semaphore>,
    failed: Arc<AtomicBool>,
}

impl Default for EventRecorder {
    fn default() -> Self {
        Self { under_way: Arc::new(Semaphore::new(MOST as usize)), failed: Arc::default() }
    }
}

impl EventRecorder {
    /// Writes an Event without waiting for it.
    pub fn record<S: Store>(
        &self,
        store: &S,
        grant: &ObjectName,
        uid: Option<String>,
        by: &str,
        event: Event,
    ) {
        let Ok(permit) = self.under_way.clone().try_acquire_owned() else { return };
        let (store, failed) = (store.clone(), self.failed.clone());
        let regarding = Regarding { name: grant.clone(), uid, by: by.to_owned() };
        tokio::spawn(async move {
            if let Err(error) = store.record(&regarding, &event).await
                && !failed.swap(true, Ordering::Relaxed)
            {
                tracing::warn!(grant = %regarding.name, %error, "an Event could not be written; further failures are not logged");
            }
            drop(permit);
        });
    }

    /// Waits up to two seconds for Events that are being written, for a process that is about to end.
    pub async fn finish(&self) {
        let _ = tokio::time::timeout(Duration::from_secs(2), self.under_way.acquire_many(MOST)).await;
    }
}
