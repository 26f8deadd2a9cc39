//! The state of a grant, in the same words in the local API, metrics, Events and logs. Whether a token is served depends on the
//! token alone; the state tells a person what else to know.

use agent_creds_core::words::Word;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use strum::{EnumMessage, IntoStaticStr, VariantArray};

use super::condition::Condition;
use super::document::{Document, Http, SeenSeed};
use super::doubt::explained;
use super::login::Login;
use super::reason::{Outlook, Reason, Refused, Severity};
use super::schedule::margin_s;
use super::seed::{is_elsewhere, is_stale};

/// State of a grant.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, IntoStaticStr, VariantArray, EnumMessage,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum State {
    /// No token yet.
    #[strum(message = "there is no token yet")]
    Pending,
    /// The token is valid and will be renewed.
    #[strum(message = "the token is valid and will be renewed")]
    Ready,
    /// Something is wrong, and the token is still valid.
    #[strum(message = "something is wrong, and the token is still valid")]
    Degraded,
    /// Something is wrong, and the token has ended.
    #[strum(message = "something is wrong, and the token has ended")]
    Expired,
    /// The provider refuses the refresh token: a person has to log in again.
    #[strum(message = "the provider refuses the refresh token")]
    ReauthRequired,
    /// The provider granted less than was asked; the new token is not served.
    #[strum(message = "the provider granted less than was asked; the new token is not served")]
    ScopeDenied,
    /// A Secret or a right is missing or wrong.
    #[strum(message = "a Secret or a right is missing or wrong")]
    Misconfigured,
}

impl State {
    /// Returns the people who act in this state, and what they do.
    pub const fn who_acts(self) -> &'static str {
        match self {
            Self::Pending => "nobody at first; on-call if it stays: the reason says what is missing",
            Self::Ready => "nobody",
            Self::Degraded | Self::Expired => "on-call reads the reason",
            Self::ReauthRequired => "a person logs in again",
            Self::ScopeDenied => "a person corrects `scopes` in `grant.yaml`, or logs in again",
            Self::Misconfigured => "a person corrects what the message names",
        }
    }
}

/// The status of one grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The state.
    pub state: State,
    /// The reason for it.
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

impl Status {
    /// The status before anything was read.
    pub fn starting() -> Self {
        Self {
            state: State::Pending,
            reason: Outlook::Starting.into(),
            message: Outlook::Starting.sentence().to_owned(),
            expires_at: None,
            scopes: Vec::new(),
            reauth_at: None,
        }
    }

    /// Returns the status at `now`. `document` and `login` are the last that were read; `condition` is what prevents the
    /// protocol from going on.
    pub fn of(
        document: &Document,
        login: Option<&Login>,
        condition: Option<&Condition>,
        now: Timestamp,
    ) -> Self {
        let access = document.access.as_ref();
        let valid = access.is_some_and(|access| is_served(access.expires_at, access.lifetime_s, now));
        let inner = within(document, login);
        let (reason, message) = match condition {
            Some(outer)
                if outer.reason.needs_a_person()
                    || !inner.as_ref().is_some_and(|(reason, _)| reason.needs_a_person()) =>
            {
                (outer.reason, outer.message.clone())
            }
            _ => {
                let default = if valid { Outlook::Ok } else { Outlook::Starting };
                let (reason, message) = inner.unwrap_or_else(|| own(default));
                (reason, with_warnings(&message, login))
            }
        };
        let state = match reason.severity {
            Severity::ReauthRequired => State::ReauthRequired,
            Severity::ScopeDenied => State::ScopeDenied,
            Severity::Misconfigured | Severity::Denied => State::Misconfigured,
            Severity::Notice if valid => State::Ready,
            _ if valid => State::Degraded,
            _ if access.is_some() => State::Expired,
            _ => State::Pending,
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

/// Whether a token may be served (invariant I10).
pub fn is_served(expires_at: Timestamp, lifetime_s: i64, now: Timestamp) -> bool {
    now < expires_at - SignedDuration::from_secs(margin_s(lifetime_s))
}

/// Returns what the document itself says is wrong, and the message about it.
fn within(document: &Document, login: Option<&Login>) -> Option<(Reason, String)> {
    let head = document.refresh.as_ref().map(|head| head.fp.as_str());
    // What was recorded for other settings does not hold any more.
    let is_current = |config_fp: &str| login.is_none_or(|login| login.config_fp == config_fp);
    let verdict = document.verdict.as_ref().filter(|verdict| is_current(&verdict.config_fp));
    if let Some(verdict) = verdict.filter(|verdict| Some(verdict.fp.as_str()) == head) {
        let reason = Reason::stored(&verdict.error).unwrap_or_else(|| Outlook::InvalidGrant.into());
        return Some((reason, message(reason.sentence, verdict.http.as_ref())));
    }
    if let Some(retry) = document.retry.as_ref().filter(|retry| is_current(&retry.config_fp)) {
        let reason = Reason::stored(&retry.reason).unwrap_or_else(|| Refused::OauthError.into());
        return Some((reason, message(reason.sentence, retry.http.as_ref())));
    }
    if let Some(doubt) = document.doubt.as_ref().filter(|doubt| Some(doubt.parent_fp.as_str()) == head) {
        let (reason, sentence) = explained(doubt);
        return Some((reason, message(&sentence, doubt.http.as_ref())));
    }
    let login = login?;
    let rejected = |seen: &SeenSeed| {
        seen.fp == login.token_fp && seen.verdict == "rejected" && !is_elsewhere(seen, login)
    };
    if let Some(seen) = document.seeds_seen.iter().find(|seen| rejected(seen)) {
        let reason = Outlook::NewSeedRejected;
        return Some((reason.into(), message(reason.sentence(), seen.http.as_ref())));
    }
    is_stale(document, login).then(|| own(Outlook::StaleSeed))
}

/// Adds the warnings about the grant Secret to a message.
fn with_warnings(message: &str, login: Option<&Login>) -> String {
    let warnings = login.map(|login| login.grant.warnings.as_slice()).unwrap_or_default();
    let parts = std::iter::once(message).chain(warnings.iter().map(String::as_str));
    parts.filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; ")
}

/// A reason with its own sentence as the message.
fn own(reason: Outlook) -> (Reason, String) {
    (reason.into(), reason.sentence().to_owned())
}

/// The message for a sentence about an answer: with the HTTP status, and what else may be shown of the answer.
fn message(sentence: &str, http: Option<&Http>) -> String {
    http.map_or_else(|| sentence.to_owned(), |http| format!("{sentence} ({http})"))
}

#[cfg(test)]
mod tests;
