//! Events: what a write of this replica changed is told where people look, beside the work and never in its way.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::grant::news::News;
use crate::object_name::ObjectName;
use crate::store::{Regarding, Store};

/// Events that may be on their way at once; more are dropped.
const MOST: u32 = 16;

/// Tells. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Herald {
    under_way: Arc<Semaphore>,
    failed: Arc<AtomicBool>,
}

impl Default for Herald {
    fn default() -> Self {
        Self { under_way: Arc::new(Semaphore::new(MOST as usize)), failed: Arc::default() }
    }
}

impl Herald {
    /// Has it told; does not wait for it.
    pub fn tell<S: Store>(&self, store: &S, grant: &ObjectName, uid: Option<String>, by: &str, news: News) {
        let Ok(permit) = self.under_way.clone().try_acquire_owned() else { return };
        let (store, failed) = (store.clone(), self.failed.clone());
        let regarding = Regarding { name: grant.clone(), uid, by: by.to_owned() };
        tokio::spawn(async move {
            if let Err(error) = store.announce(&regarding, &news).await
                && !failed.swap(true, Ordering::Relaxed)
            {
                tracing::warn!(grant = %regarding.name, %error, "an Event could not be written; others may fail unsaid");
            }
            drop(permit);
        });
    }

    /// Waits for what is on its way, where the process is about to end; not for long.
    pub async fn finish(&self) {
        let _ = tokio::time::timeout(Duration::from_secs(2), self.under_way.acquire_many(MOST)).await;
    }
}
