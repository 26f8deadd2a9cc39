//! A state that this process keeps for itself, with the same protocol on it: of a grant whose pods have tokens of their
//! own (`sharing: pod`), and of one where nothing rotates, while its store does not answer and its token is about to end.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use super::Keeper;
use crate::grant::document::{Access, Document};
use crate::grant::login::Login;
use crate::grant::replica::{Found, Replica};
use crate::grant::status::{Trouble, is_served};
use crate::present::request;
use crate::present::send::send;
use crate::random::random;
use crate::store::Store;

/// A store that does not answer is asked about so often by who gets on without it.
const ASK_AGAIN: Duration = Duration::from_secs(10);

/// A state that nobody else sees.
#[derive(Default)]
pub(super) struct Own {
    document: Document,
    version: u64,
    /// An access token that was taken over from the shared state; no other was not obtained here.
    borrowed: Option<String>,
}

impl Own {
    /// With what is served already, so that serving goes on.
    fn starting_with(access: Option<Access>) -> Self {
        let borrowed = access.as_ref().map(|access| access.fp.clone());
        Self { document: Document { access, ..Document::default() }, version: 0, borrowed }
    }

    fn found(&self) -> Found {
        Found { document: Ok(self.document.clone()), version: self.version.to_string(), home: None }
    }

    /// Replaces the document. There is nobody to lose a race against.
    pub(super) fn write(&mut self, document: &Document) {
        self.document = document.clone();
        self.version += 1;
    }

    /// The access token that this process alone obtained, and nobody else uses.
    pub(super) fn access(&self) -> Option<&Access> {
        let access = self.document.access.as_ref();
        access.filter(|access| self.borrowed.as_ref() != Some(&access.fp))
    }
}

/// Where a keeper keeps the state of its grant.
pub(super) struct Place {
    /// Whether the own state is the one that counts.
    pub(super) alone: bool,
    /// It stays after it counted, until the shared state has a token to serve.
    pub(super) own: Option<Own>,
    /// Why the store could not be asked, and since when.
    pub(super) outage: Option<(Trouble, Instant)>,
    /// 0 to 1: where everybody comes for itself, not all come at once.
    jitter: f64,
}

impl Default for Place {
    fn default() -> Self {
        let jitter = f64::from(u16::from_be_bytes(random())) / f64::from(u16::MAX);
        Self { alone: false, own: None, outage: None, jitter }
    }
}

impl<S: Store> Keeper<S> {
    /// Decides where the state is, by what the grant Secret says; or said, where the store does not answer.
    pub(super) fn place(&mut self, login: Result<Login, Trouble>) -> Result<Login, Trouble> {
        let silent = login.as_ref().err().filter(|trouble| trouble.reason.is_outage());
        let since = self.place.outage.take().map_or_else(Instant::now, |(_, since)| since);
        self.place.outage = silent.map(|trouble| (trouble.clone(), since));
        let last = self.replica.login().cloned();
        // What is under way stays where it is, and what rotates is told to the shared state first.
        let rotates = last.as_ref().is_some_and(|last| last.grant.rules.rotates());
        if !self.replica.is_idle() || (rotates && self.replica.is_busy()) {
            return login;
        }
        let (alone, login) = match (login, last) {
            (Ok(login), _) => (login.grant.per_pod, Ok(login)),
            (Err(_), Some(last)) if self.place.outage.is_some() && self.helps_itself(&last, since) => {
                (true, Ok(last))
            }
            (Err(trouble), _) => (self.place.alone, Err(trouble)),
        };
        if alone != self.place.alone {
            self.move_to(alone);
        }
        login
    }

    /// The own state, if that is the one that counts.
    pub(super) fn own_state(&self) -> Option<Found> {
        self.place.own.as_ref().filter(|_| self.place.alone).map(Own::found)
    }

    /// Whether a grant whose store does not answer gets on without it. What rotates never does: who presents without
    /// a claim presents twice.
    fn helps_itself(&self, login: &Login, since: Instant) -> bool {
        if self.place.alone || login.grant.rules.rotates() {
            return self.place.alone;
        }
        let jitter = self.place.jitter;
        match &self.known().access {
            Some(access) => self.tools.clock.now() >= nearly_over(access, jitter),
            None => since.elapsed().as_secs_f64() >= self.tools.timing.term.as_secs_f64() * (1.0 + jitter),
        }
    }

    /// When a store that did not answer is asked again by who gets on without it.
    pub(super) fn ask_again(&self) -> Duration {
        let waits = self.place.alone && self.place.outage.is_some();
        if waits { ASK_AGAIN.mul_f64(0.5 + self.place.jitter) } else { Duration::MAX }
    }

    /// Revokes the access token that this process alone has, at its end, where the provider has an exact way.
    pub(super) async fn revoke(&self) {
        let (Some(login), Some(own)) = (self.replica.login(), &self.place.own) else { return };
        let (Some(url), Some(access)) = (&login.grant.revocation_url, own.access()) else { return };
        let budget = Duration::try_from(self.tools.timing.budget).unwrap_or_default();
        let connection = self.tools.connector.connect(url, login.grant.allow_private, budget).await;
        let revoked = match (connection, request::revocation(&login.grant, url, &access.token)) {
            (Ok(connection), Ok(request)) => send(connection, request, budget).await.is_success(),
            _ => false,
        };
        if revoked {
            tracing::info!(grant = %self.shelf.secret, "the access token of this pod is revoked");
        } else {
            let end = access.expires_at;
            tracing::warn!(grant = %self.shelf.secret, %end, "the access token of this pod could not be revoked: it is good until its end");
        }
    }

    fn move_to(&mut self, alone: bool) {
        let access = self.known().access.clone();
        let spool = if alone { None } else { self.slot.load().unwrap_or_default() };
        if alone && self.place.own.as_ref().is_none_or(|own| own.access() != access.as_ref()) {
            self.place.own = Some(Own::starting_with(access));
        }
        self.place.alone = alone;
        // What is shared stays in its Secret.
        self.replica = Replica::new(self.replica.settings().clone(), spool);
    }

    /// What may be shown and served.
    pub(super) fn known(&self) -> &Document {
        let (known, now) = (self.replica.known(), self.tools.clock.now());
        let served = |document: &Document| {
            document
                .access
                .as_ref()
                .is_some_and(|access| is_served(access.expires_at, access.lifetime_s, now))
        };
        let own = self.place.own.as_ref().map(|own| &own.document);
        own.filter(|own| !served(known) && served(own)).unwrap_or(known)
    }
}

/// Long after the time at which a store that answers would have brought another, and early enough to serve on.
fn nearly_over(access: &Access, jitter: f64) -> Timestamp {
    let life = access.lifetime_s as f64;
    access.issued_at + SignedDuration::from_secs_f64(life * (0.9 + 0.05 * jitter))
}
