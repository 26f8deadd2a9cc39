//! The store of the simulated replicas: the shipped one, which sends the requests of each replica to the API server as
//! its own sidecar would. Only the watches are shared, because one machine cannot hold so many connections: each change
//! is passed on to all replicas.

use std::sync::Arc;

use agent_creds_core::names::ObjectName;
use agent_creds_refresh::event::Event;
use agent_creds_sidecar::store::kubernetes::{Kubernetes, Version};
use agent_creds_sidecar::store::{Object, Regarding, Store, StoreError};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

/// Limit of concurrent reads. More of them would only wait in the API server instead of here. Writes never wait.
const READS: usize = 32;

/// The store; clones share the watches.
#[derive(Clone)]
pub(crate) struct Shared {
    store: Kubernetes,
    reads: Arc<Semaphore>,
    watched: Arc<Vec<(ObjectName, watch::Receiver<Option<Version>>)>>,
    _watches: Arc<JoinSet<()>>,
}

impl Shared {
    /// Opens one watch of each of these Secrets.
    pub(crate) fn new(store: Kubernetes, names: [ObjectName; 2]) -> Self {
        let (mut watches, mut watched) = (JoinSet::new(), Vec::new());
        for name in names {
            let (seen, news) = watch::channel(None);
            watched.push((name.clone(), news));
            let store = store.clone();
            watches.spawn(async move { store.follow(&name, seen).await });
        }
        let reads = Arc::new(Semaphore::new(READS));
        Self { store, reads, watched: watched.into(), _watches: watches.into() }
    }
}

impl Store for Shared {
    type Version = Version;

    async fn read(&self, name: &ObjectName) -> Result<Option<Object<Version>>, StoreError> {
        let _permit = self.reads.acquire().await.map_err(|_| StoreError::Unavailable("closed"))?;
        self.store.read(name).await
    }

    async fn write(
        &self,
        name: &ObjectName,
        version: &Version,
        document: Vec<u8>,
    ) -> Result<Object<Version>, StoreError> {
        self.store.write(name, version, document).await
    }

    async fn follow(&self, name: &ObjectName, seen: watch::Sender<Option<Version>>) {
        let Some((_, news)) = self.watched.iter().find(|(watched, _)| watched == name) else { return };
        let mut news = news.clone();
        loop {
            let version = news.borrow_and_update().clone();
            seen.send_if_modified(|old| {
                let changed = *old != version;
                *old = version;
                changed
            });
            if news.changed().await.is_err() {
                return;
            }
        }
    }

    async fn record(&self, regarding: &Regarding, event: &Event) -> Result<(), StoreError> {
        self.store.record(regarding, event).await
    }
}
