//! Where a refresher keeps the state of its grant: in the state Secret, or in a local state of this process.

use agent_creds_refresh::condition::Condition;
use agent_creds_refresh::document::{Access, Document};
use agent_creds_refresh::replica::Found;
use agent_creds_runtime::random;
use tokio::time::Instant;

/// A state that only this process has.
#[derive(Default)]
pub(super) struct LocalState {
    pub(super) document: Document,
    version: u64,
    /// Fingerprint of an access token that was taken over from the shared state.
    borrowed: Option<String>,
}

impl LocalState {
    /// A local state that serves `access` at first.
    pub(super) fn starting_with(access: Option<Access>) -> Self {
        let borrowed = access.as_ref().map(|access| access.fp.clone());
        Self { document: Document { access, ..Document::default() }, version: 0, borrowed }
    }

    /// Returns the local state as if it had been read from a store.
    pub(super) fn found(&self) -> Found {
        Found { document: Ok(self.document.clone()), version: self.version.to_string(), home: None }
    }

    /// Replaces the document. No other writer exists.
    pub(super) fn write(&mut self, document: &Document) {
        self.document = document.clone();
        self.version += 1;
    }

    /// Returns the access token that this process obtained for itself.
    pub(super) fn access(&self) -> Option<&Access> {
        let access = self.document.access.as_ref();
        access.filter(|access| self.borrowed.as_ref() != Some(&access.fp))
    }
}

/// Where a refresher keeps the state of its grant.
pub(super) struct Location {
    /// Whether the local state is in use.
    pub(super) is_local: bool,
    /// The local state. It is kept after its use until the shared state has a token to serve.
    pub(super) local: Option<LocalState>,
    /// Why the store cannot be read, and since when.
    pub(super) outage: Option<(Condition, Instant)>,
    /// From 0 to 1: spreads the requests of replicas that each run on local state.
    pub(super) jitter: f64,
}

impl Default for Location {
    fn default() -> Self {
        Self { is_local: false, local: None, outage: None, jitter: random::fraction() }
    }
}
