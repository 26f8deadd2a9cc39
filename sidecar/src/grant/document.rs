//! The state document: one JSON value under the key `state` of the state Secret. It is the memory that all
//! replicas share and the lock between them; every write is a compare-and-swap. Field names are public. Fields
//! that this version does not know survive a rewrite.

use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Schema that this version writes.
pub const VERSION: u32 = 1;
/// Largest document, in bytes.
pub const MAX_DOCUMENT: usize = 256 * 1024;
/// Replaced heads that are remembered.
pub const MAX_SPENT: usize = 256;
/// Tokens that were received but are not the head.
pub const MAX_SPARE: usize = 4;
/// Logins that are remembered.
pub const MAX_SEEDS_SEEN: usize = 16;

/// A token: redacted in every print, serialised only into the document.
pub type Token = SecretString;

/// The whole document. `Document::default()` is what an empty state Secret means.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Document {
    /// Schema of the last writer.
    #[serde(default)]
    pub v: u32,
    /// A sidecar of an older schema than this serves and never claims.
    #[serde(default)]
    pub min_writer: u32,
    /// The login that the lineage comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<Seed>,
    /// Logins never to adopt again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub seeds_seen: Vec<SeenSeed>,
    /// Grows by one per rotation.
    #[serde(default)]
    pub r#gen: u64,
    /// The head: what the next redemption presents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh: Option<Refresh>,
    /// Fingerprints of replaced heads, oldest first. Never presented again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub spent: Vec<String>,
    /// Received, but not the head.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub spare: Vec<Spare>,
    /// What is served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access: Option<Access>,
    /// Somebody is about to present, or has presented, the head.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim: Option<Claim>,
    /// An answer went missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub doubt: Option<Doubt>,
    /// Backoff, shared by all replicas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,
    /// The provider refused a refresh token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// The last redemption.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<Last>,
    /// Fields of other versions.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// A login.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seed {
    /// Grows by one per adopted login.
    pub seq: u64,
    /// SHA-256 of the login's refresh token.
    pub token_fp: String,
    /// SHA-256 of provider, token endpoint and client.
    pub binding: String,
    /// When it was adopted.
    pub adopted_at: Timestamp,
    /// Whether it has ever been redeemed with success.
    pub proven: bool,
}

/// A login that was replaced or refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenSeed {
    /// SHA-256 of its refresh token.
    pub fp: String,
    /// `replaced` or `rejected`.
    pub verdict: String,
}

/// The head of the lineage.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Refresh {
    /// The token; empty in flows that have none.
    #[serde(serialize_with = "expose")]
    pub token: Token,
    /// Its fingerprint.
    pub fp: String,
    /// When it was received.
    pub obtained_at: Timestamp,
    /// Whether the provider has ever seen it.
    pub presented: Presented,
}

/// What is known about a token's presentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Presented {
    /// Never sent.
    Never,
    /// Sent, and the answer went missing.
    InDoubt,
    /// Sent, and the provider took it.
    Accepted,
}

/// A token beside the head.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Spare {
    /// The token.
    #[serde(serialize_with = "expose")]
    pub token: Token,
    /// Its fingerprint.
    pub fp: String,
    /// The login that it comes from.
    pub seed_seq: u64,
    /// Its generation.
    pub r#gen: u64,
    /// Whether the provider has ever seen it.
    pub presented: Presented,
    /// The login, where this was the head before a login that is not proven yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<Seed>,
}

/// An access token.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Access {
    /// The token.
    #[serde(serialize_with = "expose")]
    pub token: Token,
    /// Its fingerprint.
    pub fp: String,
    /// Directly before the request that it answers was sent.
    pub issued_at: Timestamp,
    /// `issued_at` plus the provider's `expires_in`.
    pub expires_at: Timestamp,
    /// The life that the provider gave it, in seconds.
    pub lifetime_s: i64,
    /// Scopes that it carries.
    pub scopes: Vec<String>,
    /// The configuration that it was asked with.
    pub config_fp: String,
}

/// Perhaps sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// Random, new for each attempt.
    pub id: String,
    /// Pod uid and process nonce.
    pub holder: String,
    /// What it presents.
    pub parent_fp: String,
    /// Why.
    pub purpose: Purpose,
    /// When the PUT began.
    pub claimed_at: Timestamp,
    /// How long a silent holder is waited for.
    pub term_s: i64,
}

/// Why a refresh token is presented.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// The usual one.
    Refresh,
    /// A second presentation that the provider's replay rule licenses.
    Replay,
    /// A look whether a verdict still holds.
    Probe,
}

/// An open ambiguity: the provider may have replaced the head without our having its child.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Doubt {
    /// The token that was presented.
    pub parent_fp: String,
    /// When it was presented first.
    pub first_sent_at: Timestamp,
    /// What happened instead of an answer.
    pub cause: String,
    /// Not presented again before.
    pub replay_not_before: Timestamp,
    /// Presentations since the first.
    pub replays: u32,
}

/// Shared backoff.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retry {
    /// Failures in a row.
    pub attempts: u32,
    /// Nobody claims before.
    pub not_before: Timestamp,
    /// A [`crate::outcome::Reason`].
    pub reason: String,
    /// The configuration that failed; another one is tried at once.
    pub config_fp: String,
}

/// The provider said `invalid_grant`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// About this token only.
    pub fp: String,
    /// The OAuth error.
    pub error: String,
    /// When.
    pub at: Timestamp,
    /// When it is looked at again.
    pub next_probe: Timestamp,
    /// The configuration that was refused; another one is tried at once.
    pub config_fp: String,
}

/// The last redemption.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Last {
    /// When it was sent.
    pub redeemed_at: Timestamp,
    /// A [`crate::outcome::Outcome`].
    pub outcome: String,
    /// Holder of the claim.
    pub by: String,
}

/// Why a document cannot be used. Its text is not shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    /// Larger than any that we write.
    #[error("larger than {MAX_DOCUMENT} bytes")]
    TooLarge,
    /// Not the JSON of this schema.
    #[error("not a state document")]
    Malformed,
}

impl Document {
    /// Reads the value of the key `state`; absent or blank is the empty document.
    pub fn parse(bytes: Option<&[u8]>) -> Result<Self, DocumentError> {
        let bytes = bytes.unwrap_or_default().trim_ascii();
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        if bytes.len() > MAX_DOCUMENT {
            return Err(DocumentError::TooLarge);
        }
        serde_json::from_slice(bytes).map_err(|_| DocumentError::Malformed)
    }

    /// The document as JSON, stamped with this version's schema.
    pub fn to_json(&self) -> Vec<u8> {
        let stamped = Self { v: VERSION.max(self.v), ..self.clone() };
        serde_json::to_vec(&stamped).unwrap_or_default()
    }

    /// Whether this version may write over it.
    pub fn may_write(&self) -> bool {
        self.min_writer <= VERSION
    }
}

fn expose<S: serde::Serializer>(token: &Token, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(token.expose_secret())
}
