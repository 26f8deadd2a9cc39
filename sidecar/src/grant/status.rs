//! What a grant's state is called: the same words in the local API, in metrics and in logs. Serving depends on
//! the token alone; the state tells what a person has to know besides.

use jiff::{SignedDuration, Timestamp};

use super::document::Document;
use super::login::Login;
use super::schedule::margin_s;
use super::seed::is_stale;
use crate::outcome::{Reason, State};

/// The state of one grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The state.
    pub state: State,
    /// Why.
    pub reason: Reason,
    /// One sentence that names the object and the key; empty where nothing is wrong.
    pub message: String,
    /// End of the access token.
    pub expires_at: Option<Timestamp>,
    /// Scopes of the access token.
    pub scopes: Vec<String>,
    /// When a person has to log in again, as far as the provider's limits are known.
    pub reauth_at: Option<Timestamp>,
}

/// Trouble outside the document: a Secret that is missing or wrong, a store that does not answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Trouble {
    /// What.
    pub reason: Reason,
    /// The sentence, with the object and the key.
    pub message: String,
}

impl Status {
    /// Before anything was read.
    pub fn starting() -> Self {
        Self {
            state: State::Pending,
            reason: Reason::Starting,
            message: Reason::Starting.sentence().to_owned(),
            expires_at: None,
            scopes: Vec::new(),
            reauth_at: None,
        }
    }

    /// Judges what is known. `document` and `login` are the last that were read, `trouble` is what stands in the
    /// way now.
    pub fn of(document: &Document, login: Option<&Login>, trouble: Option<&Trouble>, now: Timestamp) -> Self {
        let access = document.access.as_ref();
        let (reason, message) = match (trouble, within(document, login)) {
            (Some(trouble), within) if !within.is_some_and(for_a_person) || for_a_person(trouble.reason) => {
                (trouble.reason, trouble.message.clone())
            }
            (_, Some(reason)) => (reason, reason.sentence().to_owned()),
            (_, None) => (Reason::Ok, String::new()),
        };
        let valid = access.is_some_and(|access| is_served(access.expires_at, access.lifetime_s, now));
        let state = match reason {
            Reason::InvalidGrant | Reason::SpentElsewhere => State::ReauthRequired,
            Reason::ScopeDowngraded | Reason::InvalidScope => State::ScopeDenied,
            reason if for_a_person(reason) => State::Misconfigured,
            Reason::Ok | Reason::StaleSeed if valid => State::Ready,
            _ if valid => State::Degraded,
            _ if access.is_some() => State::Expired,
            _ => State::Pending,
        };
        let (reason, message) = match (reason, valid) {
            (Reason::Ok, false) => (Reason::Starting, Reason::Starting.sentence().to_owned()),
            _ => (reason, message),
        };
        Self {
            state,
            reason,
            message,
            expires_at: access.map(|access| access.expires_at),
            scopes: access.map(|access| access.scopes.clone()).unwrap_or_default(),
            reauth_at: document.reauth_at.as_ref().map(|end| end.at),
        }
    }
}

/// Whether a token may still be served (invariant I10).
pub fn is_served(expires_at: Timestamp, lifetime_s: i64, now: Timestamp) -> bool {
    now < expires_at - SignedDuration::from_secs(margin_s(lifetime_s))
}

/// What the document itself says is wrong.
fn within(document: &Document, login: Option<&Login>) -> Option<Reason> {
    let head = document.refresh.as_ref().map(|head| head.fp.as_str());
    // What was said about other settings is no news any more.
    let today = |config_fp: &str| login.is_none_or(|login| login.config_fp == config_fp);
    let verdict = document.verdict.as_ref().filter(|verdict| today(&verdict.config_fp));
    if verdict.is_some_and(|verdict| Some(verdict.fp.as_str()) == head) {
        return verdict.map(|verdict| Reason::from_word(&verdict.error).unwrap_or(Reason::InvalidGrant));
    }
    if let Some(retry) = document.retry.as_ref().filter(|retry| today(&retry.config_fp)) {
        return Some(Reason::from_word(&retry.reason).unwrap_or(Reason::OauthError));
    }
    if document.doubt.as_ref().is_some_and(|doubt| Some(doubt.parent_fp.as_str()) == head) {
        return Some(Reason::InDoubt);
    }
    let login = login?;
    let rejected = |seen: &super::document::SeenSeed| seen.fp == login.token_fp && seen.verdict == "rejected";
    if document.seeds_seen.iter().any(rejected) {
        return Some(Reason::NewSeedRejected);
    }
    is_stale(document, login).then_some(Reason::StaleSeed)
}

/// Whether only a person can mend it. These win over everything else.
fn for_a_person(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::InvalidGrant
            | Reason::SpentElsewhere
            | Reason::ScopeDowngraded
            | Reason::InvalidScope
            | Reason::InvalidClient
            | Reason::InvalidRequest
            | Reason::UnauthorizedClient
            | Reason::UnsupportedGrantType
            | Reason::PrivateAddress
            | Reason::GrantMissing
            | Reason::GrantInvalid
            | Reason::StateMissing
            | Reason::StateInvalid
            | Reason::StateNewer
            | Reason::BindingChanged
            | Reason::ForeignState
            | Reason::SharedLogin
            | Reason::StoreForbidden
            | Reason::IdentityRefused
            | Reason::AssumeMissing
            | Reason::AccountMissing
            | Reason::MintMissing
    )
}

#[cfg(test)]
mod tests;
