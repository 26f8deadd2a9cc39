//! The store of the simulated replicas: the shipped one, which sends the requests of each replica to the API server as
//! its own sidecar would. Only the watches are shared, because one machine cannot hold so many connections: each change
//! is passed on to all replicas.

use std::pin::pin;
use std::sync::Arc;

use agent_creds_core::names::ObjectName;
use agent_creds_refresh::event::Event;
use agent_creds_sidecar::store::kubernetes::{Kubernetes, Version};
use agent_creds_sidecar::store::{Object, Regarding, Store, StoreError};
use futures_util::{Stream, StreamExt as _};
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
            watches.spawn(async move {
                let mut versions = pin!(store.watch(&name).await.expect("a watch"));
                while let Some(version) = versions.next().await {
                    let _ = seen.send(version);
                }
            });
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

    async fn watch(
        &self,
        name: &ObjectName,
    ) -> Result<impl Stream<Item = Option<Version>> + Send, StoreError> {
        let (_, changes) =
            self.watched.iter().find(|(watched, _)| watched == name).ok_or(StoreError::NotFound)?;
        Ok(futures_util::stream::unfold((changes.clone(), false), |(mut changes, seen)| async move {
            if seen {
                changes.changed().await.ok()?;
            }
            let version = changes.borrow_and_update().clone();
            Some((version, (changes, true)))
        }))
    }

    async fn record(&self, regarding: &Regarding, event: &Event) -> Result<(), StoreError> {
        self.store.record(regarding, event).await
    }
}
