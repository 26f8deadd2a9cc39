//! The observations of a chaos run, in one form for all sources. It contains fingerprints and no tokens.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::schedule::{Action, Login};
use crate::event::Event;

/// The observations of a run. Times are Unix milliseconds by the clock of the machine.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Record {
    /// The provider's log.
    pub provider: Vec<Event>,
    /// All writes of the state Secret.
    pub writes: Vec<Write>,
    /// The faults.
    pub faults: Vec<Fault>,
    /// The lifetimes of the sidecar processes.
    pub lives: Vec<Life>,
    /// The logins that were written to the grant Secret.
    pub logins: Vec<Written>,
    /// Connections to the provider, as the proxy saw them.
    pub exchanges: Vec<Exchange>,
    /// Access tokens that were served after they expired.
    pub served_expired: Vec<ServedExpired>,
}

/// A write of the state Secret.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Write {
    /// When it was passed on to the API server.
    pub at_ms: u64,
    /// The sidecar that wrote; `None` for the run itself.
    pub sidecar: Option<usize>,
    /// The API server's status; 0 without an answer.
    pub status: u16,
    /// The fault that was applied to the write.
    pub spoilt: Option<String>,
    /// The written document, if it could be parsed.
    pub document: Option<Document>,
}

/// The fields of a state document that the oracle uses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Document {
    /// The generation.
    #[serde(rename = "gen")]
    pub generation: u64,
    /// The login that the lineage started from.
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
    /// A missing answer.
    pub doubt: Option<Doubt>,
    /// The provider's refusal of the head.
    pub verdict: Option<Verdict>,
    /// Backoff.
    pub retry: Option<Retry>,
}

/// The login in a document.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seed {
    /// Its sequence number.
    pub seq: u64,
    /// Fingerprint of its refresh token.
    pub token_fp: String,
    /// Whether it has worked.
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
    /// When it expires.
    pub expires_at: Timestamp,
    /// Its lifetime in seconds.
    pub lifetime_s: i64,
}

/// A claim in a document.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// Its id.
    pub id: String,
    /// Fingerprint of the presented token.
    pub parent_fp: String,
    /// Its purpose: `refresh`, `replay`, `probe`, `forced`.
    pub purpose: String,
}

/// A doubt in a document.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Doubt {
    /// Fingerprint of the token.
    pub parent_fp: String,
    /// What happened instead of an answer.
    pub cause: String,
    /// The token is not presented again before.
    pub replay_not_before: Timestamp,
    /// Number of presentations after the first.
    pub replays: u32,
}

/// A verdict in a document.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// Fingerprint of the token.
    pub fp: String,
}

/// Backoff in a document.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retry {
    /// The reason.
    pub reason: String,
    /// The end of the wait.
    pub not_before: Timestamp,
}

impl Document {
    /// Whether this token is the head, a spare or spent.
    pub fn knows(&self, fp: &str) -> bool {
        let is = |token: &Fingerprint| token.fp == fp;
        self.refresh.as_ref().is_some_and(is)
            || self.spare.iter().any(is)
            || self.spent.iter().any(|spent| spent == fp)
    }
}

impl Write {
    /// Whether the API server accepted it.
    pub fn took(&self) -> bool {
        self.status == 200
    }

    /// The document that this write stored.
    pub fn stored(&self) -> Option<&Document> {
        self.document.as_ref().filter(|_| self.took())
    }
}

/// A fault that was applied.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Fault {
    /// Its start.
    pub from_ms: u64,
    /// Its end.
    pub to_ms: u64,
    /// Its kind.
    #[serde(flatten)]
    pub action: Action,
    /// The affected sidecar.
    pub sidecar: Option<usize>,
    /// For a kill: the content of the spool at that time.
    pub spool: Option<Uncommitted>,
}

/// The content of a spool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Uncommitted {
    /// Nothing.
    Nothing,
    /// A request that was sent or was about to be sent.
    Sent,
    /// An answer.
    Answered,
}

/// The lifetime of a sidecar process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Life {
    /// Its sidecar.
    pub sidecar: usize,
    /// Its start.
    pub from_ms: u64,
    /// Its end.
    pub to_ms: u64,
}

/// A login that was written to the grant Secret.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Written {
    /// When.
    pub at_ms: u64,
    /// Its kind.
    pub login: Login,
    /// Its refresh token's fingerprint.
    pub token: String,
}

/// A connection to the provider, with the times at which the proxy passed data on.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Exchange {
    /// To the provider.
    pub to_provider_ms: Vec<u64>,
    /// To the sidecar.
    pub to_sidecar_ms: Vec<u64>,
}

/// An access token that was served after it expired.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ServedExpired {
    /// The sidecar that served it.
    pub sidecar: usize,
    /// When it was requested.
    pub asked_ms: u64,
    /// When it had expired.
    pub expired_ms: u64,
}
