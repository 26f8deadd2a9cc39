//! A state that this process keeps for itself, with the same protocol on it: for a grant with `sharing: pod`, and for a grant
//! where nothing rotates, while the store does not answer and the token is about to end.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use super::Refresher;
use crate::http_client::send::send;
use crate::oauth_request;
use crate::store::Store;
use agent_creds_refresh::clients::{is_bound_elsewhere, merge};
use agent_creds_refresh::condition::Condition;
use agent_creds_refresh::document::{Access, Client, Document};
use agent_creds_refresh::login::Login;
use agent_creds_refresh::replica::{Found, Replica};
use agent_creds_refresh::status::is_served;
use agent_creds_runtime::random;

/// Retry interval for an unreachable store while the replica runs on local state.
const RETRY_INTERVAL: Duration = Duration::from_secs(10);

/// A state that only this process has.
#[derive(Default)]
pub(super) struct LocalState {
    document: Document,
    version: u64,
    /// Fingerprint of an access token that was taken over from the shared state.
    borrowed: Option<String>,
}

impl LocalState {
    /// A local state that serves the access token of `document` at first, and knows its client secrets.
    fn starting_from(document: &Document) -> Self {
        let Document { access, clients, .. } = document.clone();
        let borrowed = access.as_ref().map(|access| access.fp.clone());
        Self { document: Document { access, clients, ..Document::default() }, version: 0, borrowed }
    }

    fn found(&self) -> Found {
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
    fn is_of(&self, login: &Login) -> bool {
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
    jitter: f64,
}

impl Default for Location {
    fn default() -> Self {
        Self { is_local: false, local: None, outage: None, shared_clients: None, jitter: random::fraction() }
    }
}

impl<S: Store> Refresher<S> {
    /// Decides where the state is kept, by the grant Secret as it is, or as it was last read where the store does not answer.
    pub(super) fn locate(&mut self, login: Result<Login, Condition>) -> Result<Login, Condition> {
        let silent = login.as_ref().err().filter(|condition| condition.reason.is_outage());
        let since = self.location.outage.take().map_or_else(Instant::now, |(_, since)| since);
        self.location.outage = silent.map(|condition| (condition.clone(), since));
        let last = self.replica.login().cloned();
        // An exchange that is under way stays where it is, and a rotated token is recorded in the shared state first.
        let rotates = last.as_ref().is_some_and(|last| last.grant.rules.rotates());
        if !self.replica.is_idle() || (rotates && self.replica.is_busy()) {
            return login;
        }
        let (is_local, login) = match (login, last) {
            (Ok(login), _) => (login.grant.per_pod, Ok(login)),
            (Err(_), Some(last)) if self.location.outage.is_some() && self.runs_locally(&last, since) => {
                (true, Ok(last))
            }
            (Err(condition), _) => (self.location.is_local, Err(condition)),
        };
        if is_local != self.location.is_local {
            self.move_to(is_local);
        }
        login
    }

    /// Returns the local state, where it is in use.
    pub(super) fn local_state(&self) -> Option<Found> {
        self.location.local.as_ref().filter(|_| self.location.is_local).map(LocalState::found)
    }

    /// Whether a grant whose store does not answer uses local state. A rotating grant never does: without a shared claim its
    /// token could be presented twice.
    fn runs_locally(&self, login: &Login, since: Instant) -> bool {
        if self.location.is_local || login.grant.rules.rotates() {
            return self.location.is_local;
        }
        let jitter = self.location.jitter;
        match &self.known().access {
            Some(access) => self.tools.clock.now() >= nearly_over(access, jitter),
            None => since.elapsed().as_secs_f64() >= self.tools.timing.term.as_secs_f64() * (1.0 + jitter),
        }
    }

    /// Returns the time until an unreachable store is tried again while the replica runs on local state.
    pub(super) fn retry_interval(&self) -> Duration {
        let waits = self.location.is_local && self.location.outage.is_some();
        if waits { RETRY_INTERVAL.mul_f64(0.5 + self.location.jitter) } else { Duration::MAX }
    }

    /// Revokes the access token that only this process has, where the provider can revoke exactly one token.
    pub(super) async fn revoke(&self) {
        let (Some(login), Some(local)) = (self.replica.login(), &self.location.local) else { return };
        let (Some(url), Some(access)) = (&login.grant.revocation_url, local.access()) else { return };
        let budget = Duration::try_from(self.tools.timing.budget).unwrap_or_default();
        let revoked = async {
            let connection = self.tools.connector.connect(url, login.grant.allow_private, budget).await;
            match (connection, oauth_request::revocation(&login.grant, url, &access.token)) {
                (Ok(connection), Ok(request)) => send(connection, request, budget).await.is_success(),
                _ => false,
            }
        };
        if local.is_of(login) && revoked.await {
            tracing::info!(grant = %self.cache.secret, "access token revoked");
        } else {
            let end = access.expires_at;
            tracing::warn!(grant = %self.cache.secret, %end, "access token not revoked; it is valid until its end");
        }
    }

    fn move_to(&mut self, is_local: bool) {
        let known = self.known();
        let kept = |local: &LocalState| local.access() == known.access.as_ref();
        let spool = if is_local { None } else { self.slot.load().unwrap_or_default() };
        if is_local && !self.location.local.as_ref().is_some_and(kept) {
            self.location.local = Some(LocalState::starting_from(known));
        }
        self.location.is_local = is_local;
        // The shared state stays in its Secret.
        self.replica = Replica::new(self.replica.settings().clone(), spool);
    }

    /// Returns the document that may be shown and served.
    pub(super) fn known(&self) -> &Document {
        let (known, now) = (self.replica.known(), self.tools.clock.now());
        let served = |document: &Document| {
            document
                .access
                .as_ref()
                .is_some_and(|access| is_served(access.expires_at, access.lifetime_s, now))
        };
        let local = self.location.local.as_ref().map(|local| &local.document);
        local.filter(|local| !served(known) && served(local)).unwrap_or(known)
    }
}

/// Returns the time when a token without a shared refresh is replaced locally: after the time of the shared refresh, and before its
/// end.
fn nearly_over(access: &Access, jitter: f64) -> Timestamp {
    let life = access.lifetime_s as f64;
    access.issued_at + SignedDuration::from_secs_f64(life * (0.9 + 0.05 * jitter))
}
