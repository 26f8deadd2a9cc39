//! What one grant has to offer right now: written by its keeper, read by the local API, the probes and the
//! metrics. Only what is stored gets here (invariant I4), and only what is valid gets out (I10).

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use agent_creds_core::names::LocalName;
use jiff::Timestamp;

use crate::grant::document::{Document, Token};
use crate::grant::login::Login;
use crate::grant::status::{Status, Trouble, is_served};
use crate::object_name::ObjectName;
use crate::outcome::State;
use crate::refusals::Refusals;

/// One grant.
#[derive(Debug)]
pub struct Shelf {
    /// What the agent calls it.
    pub name: LocalName,
    /// Its grant Secret.
    pub secret: ObjectName,
    /// Access tokens of it that a provider's API refused.
    pub refusals: Refusals,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    document: Document,
    login: Option<Login>,
    trouble: Option<Trouble>,
    /// Whether the two Secrets were read with success since the start.
    read: bool,
    entered: BTreeSet<&'static str>,
}

/// A token that may be served.
#[derive(Clone, Copy, Debug)]
pub struct Served<'a> {
    /// The access token.
    pub token: &'a Token,
    /// Its end.
    pub expires_at: Timestamp,
    /// Its scopes.
    pub scopes: &'a [String],
}

impl Shelf {
    /// An empty shelf.
    pub fn new(name: LocalName, secret: ObjectName, refusals: Refusals) -> Self {
        Self { name, secret, refusals, known: Mutex::default() }
    }

    /// What is known: the stored document, the login, and what stands in the way.
    pub fn put(
        &self,
        document: &Document,
        login: Option<&Login>,
        trouble: Option<Trouble>,
        read: bool,
        now: Timestamp,
    ) {
        self.change(now, |known| {
            known.document = document.clone();
            known.login = login.cloned();
            (known.trouble, known.read) = (trouble, read);
        });
    }

    /// The state.
    pub fn status(&self, now: Timestamp) -> Status {
        self.look(|known| known.status(&self.secret, now))
    }

    /// The provider, once the grant Secret was read.
    pub fn provider(&self) -> Option<&'static str> {
        self.look(|known| known.login.as_ref().map(|login| login.grant.provider.name.as_str()))
    }

    /// Shows the access token to `serve`, while it is valid. It is not copied for that.
    pub fn token<T>(&self, now: Timestamp, serve: impl FnOnce(Served<'_>) -> T) -> Option<T> {
        self.look(|known| {
            let access = known.document.access.as_ref()?;
            is_served(access.expires_at, access.lifetime_s, now).then(|| {
                serve(Served { token: &access.token, expires_at: access.expires_at, scopes: &access.scopes })
            })
        })
    }

    /// Whether the access token with this fingerprint is the one that is served.
    pub fn serves(&self, access_fp: &str, now: Timestamp) -> bool {
        self.look(|known| {
            let access = known.document.access.as_ref().filter(|access| access.fp == access_fp);
            access.is_some_and(|access| is_served(access.expires_at, access.lifetime_s, now))
        })
    }

    /// The state now, and all states that the grant has been in.
    pub fn states(&self, now: Timestamp) -> (State, Vec<&'static str>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let state = known.status(&self.secret, now).state;
        known.entered.insert(state.as_str());
        (state, known.entered.iter().copied().collect())
    }

    fn look<T>(&self, what: impl FnOnce(&Known) -> T) -> T {
        what(&self.known.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Logs a change of state: one line per change, with words of the closed sets and our own sentence.
    fn change(&self, now: Timestamp, how: impl FnOnce(&mut Known)) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let before = known.status(&self.secret, now);
        how(&mut known);
        let after = known.status(&self.secret, now);
        known.entered.insert(after.state.as_str());
        if (before.state, before.reason) != (after.state, after.reason) {
            let (state, reason) = (after.state.as_str(), after.reason.as_str());
            tracing::info!(grant = %self.secret, state, reason, detail = after.message, "state changed");
        }
    }
}

impl Known {
    fn status(&self, secret: &ObjectName, now: Timestamp) -> Status {
        if !self.read && self.trouble.is_none() {
            return Status::starting();
        }
        let status = Status::of(&self.document, self.login.as_ref(), self.trouble.as_ref(), now);
        // What the document says is about this grant; trouble names its object itself.
        let named = ["Secret ", "ServiceAccount "].iter().any(|kind| status.message.starts_with(kind));
        let named = named || status.message.is_empty();
        let message = if named { status.message } else { format!("Secret {secret}: {}", status.message) };
        Status { message, ..status }
    }
}
