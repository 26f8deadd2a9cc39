//! When a refresher runs on local state, with the same protocol on it: for a grant with `sharing: pod`, and for a grant where
//! nothing rotates, while the store does not answer and the token is about to end.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use super::Refresher;
use super::location::LocalState;
use crate::http_client::send::send;
use crate::oauth_request;
use crate::store::Store;
use agent_creds_refresh::condition::Condition;
use agent_creds_refresh::document::{Access, Document};
use agent_creds_refresh::login::Login;
use agent_creds_refresh::replica::{Found, Replica};
use agent_creds_refresh::status::is_served;

/// Retry interval for an unreachable store while the replica runs on local state.
const RETRY_INTERVAL: Duration = Duration::from_secs(10);

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
