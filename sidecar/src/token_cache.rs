//! The token cache: what is known about one grant. Its refresher writes it; local API, probes and metrics read it. Only stored tokens
//! are put in (invariant I4), and only valid ones are served (I10).

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use agent_creds_core::names::{LocalName, ObjectName};
use agent_creds_core::words::Word as _;
use jiff::Timestamp;

use crate::rejected_tokens::RejectedTokens;
use agent_creds_refresh::condition::Condition;
use agent_creds_refresh::document::{Document, Token};
use agent_creds_refresh::login::Login;
use agent_creds_refresh::status::{State, Status, is_served};

/// One grant.
#[derive(Debug)]
pub struct TokenCache {
    /// Its local name.
    pub name: LocalName,
    /// Its grant Secret.
    pub secret: ObjectName,
    /// Its access tokens that a provider's API rejected.
    pub rejected_tokens: RejectedTokens,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    document: Document,
    login: Option<Login>,
    condition: Option<Condition>,
    /// Whether both Secrets have been read since the start.
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

impl TokenCache {
    /// An empty cache.
    pub fn new(name: LocalName, secret: ObjectName, rejected_tokens: RejectedTokens) -> Self {
        Self { name, secret, rejected_tokens, known: Mutex::default() }
    }

    /// Replaces what is known: the stored document, the login, and the condition that prevents the protocol from going on.
    pub fn put(
        &self,
        document: &Document,
        login: Option<&Login>,
        condition: Option<Condition>,
        read: bool,
        now: Timestamp,
    ) {
        self.change(now, |known| {
            known.document = document.clone();
            known.login = login.cloned();
            (known.condition, known.read) = (condition, read);
        });
    }

    /// Returns the status at `now`.
    pub fn status(&self, now: Timestamp) -> Status {
        self.look(|known| known.status(&self.secret, now))
    }

    /// The provider, once the grant Secret was read.
    pub fn provider(&self) -> Option<&'static str> {
        self.look(|known| known.login.as_ref().map(|login| login.grant.provider.name.as_str()))
    }

    /// Calls `serve` with the access token, without copying it; `None` where there is no valid one.
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

    /// Returns the state at `now`, and all states that the grant has been in.
    pub fn states(&self, now: Timestamp) -> (State, Vec<&'static str>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let state = known.status(&self.secret, now).state;
        known.entered.insert(state.as_str());
        (state, known.entered.iter().copied().collect())
    }

    fn look<T>(&self, what: impl FnOnce(&Known) -> T) -> T {
        what(&self.known.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes what is known, and logs one line where the state or its reason changes.
    fn change(&self, now: Timestamp, how: impl FnOnce(&mut Known)) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let before = known.status(&self.secret, now);
        how(&mut known);
        let after = known.status(&self.secret, now);
        known.entered.insert(after.state.as_str());
        if (before.state, before.reason) != (after.state, after.reason) {
            let (state, reason) = (after.state.as_str(), after.reason.word);
            tracing::info!(grant = %self.secret, state, reason, detail = after.message, "state changed");
        }
    }
}

impl Known {
    fn status(&self, secret: &ObjectName, now: Timestamp) -> Status {
        if !self.read && self.condition.is_none() {
            return Status::starting();
        }
        let status = Status::of(&self.document, self.login.as_ref(), self.condition.as_ref(), now);
        // A sentence about the document gets the name of the grant Secret; a condition names its object itself.
        let named = ["Secret ", "ServiceAccount "].iter().any(|kind| status.message.starts_with(kind));
        let named = named || status.message.is_empty();
        let message = if named { status.message } else { format!("Secret {secret}: {}", status.message) };
        Status { message, ..status }
    }
}
