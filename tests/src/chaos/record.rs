//! What was seen in a chaos run, in one form for all that saw it. No token is in it, only fingerprints.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::schedule::{Action, Login};
use crate::event::Event;

/// Everything that a run is judged by. Times are milliseconds since 1970 by the clock of the machine.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Record {
    /// The provider's own log.
    pub provider: Vec<Event>,
    /// Every write of the state Secret.
    pub writes: Vec<Write>,
    /// What went wrong, and when.
    pub faults: Vec<Fault>,
    /// The processes.
    pub lives: Vec<Life>,
    /// The logins that were written into the grant Secret.
    pub logins: Vec<Written>,
    /// Requests to the provider, as the wire saw them.
    pub exchanges: Vec<Exchange>,
    /// Access tokens that were served after their end.
    pub served_expired: Vec<ServedExpired>,
}

/// A write of the state Secret.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Write {
    /// When it was passed on to the API server.
    pub at_ms: u64,
    /// Who wrote it; none: the run itself.
    pub sidecar: Option<usize>,
    /// The API server's status; 0: none came.
    pub status: u16,
    /// How it was spoilt on the way, if it was.
    pub spoilt: Option<String>,
    /// What was written; none: no document.
    pub document: Option<Document>,
}

/// A state document, as far as it matters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Document {
    /// The generation.
    #[serde(rename = "gen")]
    pub generation: u64,
    /// The login.
    pub seed: Option<Seed>,
    /// The head.
    pub refresh: Option<Fingerprint>,
    /// Replaced heads.
    pub spent: Vec<String>,
    /// Received tokens that are not the head.
    pub spare: Vec<Fingerprint>,
    /// The access token.
    pub access: Option<Access>,
    /// The claim.
    pub claim: Option<Claim>,
    /// An answer that went missing.
    pub doubt: Option<Doubt>,
    /// The provider's refusal.
    pub verdict: Option<Verdict>,
    /// Backoff.
    pub retry: Option<Retry>,
}

/// A login in a document.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seed {
    /// Its place in the count of logins.
    pub seq: u64,
    /// Its refresh token.
    pub token_fp: String,
    /// Whether it ever worked.
    pub proven: bool,
}

/// A token in a document.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// Its fingerprint.
    pub fp: String,
}

/// An access token in a document.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Access {
    /// Its end.
    pub expires_at: Timestamp,
    /// Its life.
    pub lifetime_s: i64,
}

/// A claim in a document.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// Its id.
    pub id: String,
    /// What is presented.
    pub parent_fp: String,
    /// Why: `refresh`, `replay`, `probe`, `forced`.
    pub purpose: String,
}

/// A doubt in a document.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Doubt {
    /// About which token.
    pub parent_fp: String,
    /// What happened instead of an answer.
    pub cause: String,
    /// Not presented again before.
    pub replay_not_before: Timestamp,
    /// Presentations since the first.
    pub replays: u32,
}

/// A verdict in a document.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// About which token.
    pub fp: String,
}

/// Backoff in a document.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retry {
    /// Why.
    pub reason: String,
    /// Until when.
    pub not_before: Timestamp,
}

impl Document {
    /// Whether this token is in it, in whatever place.
    pub fn knows(&self, fp: &str) -> bool {
        let is = |token: &Fingerprint| token.fp == fp;
        self.refresh.as_ref().is_some_and(is)
            || self.spare.iter().any(is)
            || self.spent.iter().any(|spent| spent == fp)
    }
}

impl Write {
    /// Whether the API server took it.
    pub fn took(&self) -> bool {
        self.status == 200
    }

    /// The document that it made the state.
    pub fn stored(&self) -> Option<&Document> {
        self.document.as_ref().filter(|_| self.took())
    }
}

/// Something that went wrong, as it was carried out.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Fault {
    /// From when.
    pub from_ms: u64,
    /// Until when.
    pub to_ms: u64,
    /// What.
    #[serde(flatten)]
    pub action: Action,
    /// Whom it hit.
    pub sidecar: Option<usize>,
    /// For a kill: what the spool held then.
    pub spool: Option<Uncommitted>,
}

/// What a spool held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Uncommitted {
    /// Nothing.
    Nothing,
    /// A request that was sent, or was about to be.
    Sent,
    /// An answer.
    Answered,
}

/// A process of a sidecar, from its start to its end.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Life {
    /// Whose.
    pub sidecar: usize,
    /// Its start.
    pub from_ms: u64,
    /// Its end.
    pub to_ms: u64,
}

/// A login that was written into the grant Secret.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Written {
    /// When.
    pub at_ms: u64,
    /// Which kind.
    pub login: Login,
    /// Its refresh token.
    pub token: String,
}

/// A connection to the provider: when something was passed on, each way.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Exchange {
    /// To the provider.
    pub to_provider_ms: Vec<u64>,
    /// To the sidecar.
    pub to_sidecar_ms: Vec<u64>,
}

/// An access token that was served after its end.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ServedExpired {
    /// By whom.
    pub sidecar: usize,
    /// When it was asked for.
    pub asked_ms: u64,
    /// When it had ended.
    pub expired_ms: u64,
}
