//! The parts of the document about exchanges with the token endpoint: claims, missing answers, backoff, refusals, and what asks for
//! a refresh before its time.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::bounds::Bounded;
use super::part::part;

part! {
    /// The record that a replica is about to present the head, or has perhaps presented it.
    Claim {
        /// Random, new for each attempt.
        id: String,
        /// The pod (by a random name that lives as long as its spool volume), `/`, the process.
        holder: String,
        /// Fingerprint of the token that it presents.
        parent_fp: String,
        /// Why it is presented.
        purpose: Purpose,
        /// When the PUT began.
        claimed_at: Timestamp,
        /// How long a silent holder is waited for.
        term_s: i64,
        /// The [`Request`] that it carries out, by its id.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        request: Option<String>,
        /// The access token that a provider's API refused, where that is why.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rejected: Option<String>,
    }
}

/// Why a refresh token is presented.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// The usual one.
    #[default]
    Refresh,
    /// A second presentation that the provider's replay rule licenses.
    Replay,
    /// A check whether a verdict still holds.
    Probe,
    /// Before its time: the access token was refused, or a person asks.
    Forced,
}

impl Bounded for Purpose {
    fn is_bounded(&self) -> bool {
        true
    }
}

part! {
    /// An open ambiguity: the provider may have replaced the head without our having its child.
    Doubt {
        /// The token that was presented.
        parent_fp: String,
        /// When it was presented first.
        first_sent_at: Timestamp,
        /// What happened instead of an answer.
        cause: String,
        /// Not presented again before.
        replay_not_before: Timestamp,
        /// Presentations since the first.
        replays: u32,
        /// Whether every answer so far was a refusal, so that no server can have accepted the token.
        #[serde(default)]
        refused: bool,
        /// How the last answer came, where one came.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        http: Option<Http>,
    }
}

part! {
    /// How an answer came over HTTP: what messages may show of it.
    Http {
        /// Its status.
        status: u16,
        /// The kind of its body, where that was unexpected.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        media_type: Option<String>,
        /// Host and path that it redirects to.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        location: Option<String>,
    }
}

/// For the end of a sentence: `HTTP 403 with text/html`.
impl fmt::Display for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HTTP {}", self.status)?;
        if let Some(media_type) = &self.media_type {
            write!(f, " with {media_type}")?;
        }
        if let Some(location) = &self.location {
            write!(f, " to {location}")?;
        }
        Ok(())
    }
}

part! {
    /// Shared backoff.
    Retry {
        /// Failures in a row.
        attempts: u32,
        /// No replica claims before.
        not_before: Timestamp,
        /// The word of a [`crate::reason::Reason`].
        reason: String,
        /// The configuration that failed; another one is tried at once.
        config_fp: String,
        /// How the answer came, where one came.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        http: Option<Http>,
    }
}

part! {
    /// The provider said `invalid_grant`.
    Verdict {
        /// Fingerprint of the token that was refused.
        fp: String,
        /// The OAuth error.
        error: String,
        /// When the provider refused it.
        at: Timestamp,
        /// When it is checked again.
        next_probe: Timestamp,
        /// The configuration that was refused; another one is tried at once.
        config_fp: String,
        /// How the refusal came.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        http: Option<Http>,
    }
}

part! {
    /// A refresh before its time, because a provider's API refused the access token.
    Forced {
        /// The refused access token.
        access_fp: String,
        /// When.
        at: Timestamp,
        /// Whether the token that came instead has worked.
        proved: bool,
    }
}

part! {
    /// A person wants a refresh now.
    Request {
        /// Random.
        id: String,
        /// When.
        at: Timestamp,
    }
}
