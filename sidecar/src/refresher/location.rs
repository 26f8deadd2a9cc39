//! Where a refresher keeps the state of its grant: in the state Secret, or in a local state of this process.

use agent_creds_refresh::clients::{is_bound_elsewhere, merge};
use agent_creds_refresh::condition::Condition;
use agent_creds_refresh::document::{Access, Client, Document};
use agent_creds_refresh::login::Login;
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
    /// A local state that serves the access token of `document` at first, and knows its client secrets.
    pub(super) fn starting_from(document: &Document) -> Self {
        let Document { access, clients, .. } = document.clone();
        let borrowed = access.as_ref().map(|access| access.fp.clone());
        Self { document: Document { access, clients, ..Document::default() }, version: 0, borrowed }
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

    /// The client secrets that it knows, and where they were accepted.
    pub(super) fn clients(&self) -> &[Client] {
        &self.document.clients
    }

    /// Takes over client secrets that the state Secret knows.
    pub(super) fn learn(&mut self, clients: &[Client]) {
        let before = self.document.clients.len();
        merge(&mut self.document.clients, clients);
        self.version += u64::from(self.document.clients.len() != before);
    }

    /// Whether the credentials of a login may be sent for the token of this state: the token was obtained with them.
    pub(super) fn is_of(&self, login: &Login) -> bool {
        let seed = self.document.seed.as_ref();
        seed.is_some_and(|seed| seed.binding == login.binding) && !is_bound_elsewhere(self.clients(), login)
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
    /// The client secrets that the state Secret knows too, where that was checked.
    pub(super) shared_clients: Option<Vec<Client>>,
    /// From 0 to 1: spreads the requests of replicas that each run on local state.
    pub(super) jitter: f64,
}

impl Default for Location {
    fn default() -> Self {
        Self { is_local: false, local: None, outage: None, shared_clients: None, jitter: random::fraction() }
    }
}
