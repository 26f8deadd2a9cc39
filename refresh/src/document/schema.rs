//! The fields of the state document.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::bounds::Bounded;
use super::exchange::{Claim, Doubt, Forced, Http, Request, Retry, Verdict};
use super::part::part;
use crate::token::Token;

/// Schema that this version writes.
pub const VERSION: u32 = 1;

part! {
    /// The whole document. `Document::default()` is what an empty state Secret means.
    Document {
        /// Schema of the last writer.
        #[serde(default)]
        v: u32,
        /// A sidecar of an older schema than this serves and never claims.
        #[serde(default)]
        min_writer: u32,
        /// Grows by one per write: a replica that remembers a higher one knows more.
        #[serde(default)]
        rev: u64,
        /// Where the lineage was seeded.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        home: Option<Home>,
        /// The login that the lineage comes from.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        seed: Option<Seed>,
        /// Logins never to adopt again.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        seeds_seen: Vec<SeenSeed>,
        /// Client secrets, and the token endpoints that accepted them. A new login leaves them.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        clients: Vec<Client>,
        /// Grows by one per rotation.
        #[serde(default)]
        r#gen: u64,
        /// The head: the token that the next redemption presents.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        refresh: Option<Refresh>,
        /// Fingerprints of replaced heads, oldest first. Never presented again.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        spent: Vec<String>,
        /// Received, but not the head.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        spare: Vec<Spare>,
        /// The access token that is served.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        access: Option<Access>,
        /// A replica is about to present, or has presented, the head.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        claim: Option<Claim>,
        /// An answer went missing.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        doubt: Option<Doubt>,
        /// Backoff, shared by all replicas.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry: Option<Retry>,
        /// The provider refused the refresh token.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        verdict: Option<Verdict>,
        /// The last refresh that a refused access token brought about.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        forced: Option<Forced>,
        /// A person wants a refresh now.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        request: Option<Request>,
        /// The last redemption.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        last: Option<Last>,
        /// When a person has to log in again, as far as the provider's limits are known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reauth_at: Option<ReauthAt>,
    }
}

part! {
    /// A state Secret: which one, in which cluster.
    Home {
        /// SHA-256 of the keys of the API server's CA.
        cluster: String,
        /// uid of the state Secret.
        uid: String,
    }
}

part! {
    /// A login.
    Seed {
        /// Grows by one per adopted login, and when an earlier one comes back.
        seq: u64,
        /// SHA-256 of the login's refresh token.
        token_fp: String,
        /// SHA-256 of provider, token endpoint and client.
        binding: String,
        /// When it was adopted.
        adopted_at: Timestamp,
        /// When a person logged in, where that is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        issued_at: Option<Timestamp>,
        /// Whether it has ever been redeemed with success.
        proven: bool,
    }
}

part! {
    /// A login that was replaced or refused.
    SeenSeed {
        /// SHA-256 of its refresh token.
        fp: String,
        /// `replaced` or `rejected`.
        verdict: String,
        /// What rejected it, as [`Seed::binding`] says it. Absent: it is not known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        binding: Option<String>,
        /// How the rejection came.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        http: Option<Http>,
    }
}

part! {
    /// A client secret that a token endpoint accepted.
    Client {
        /// SHA-256 of the client secret.
        secret_fp: String,
        /// SHA-256 of provider and token endpoint.
        endpoint_fp: String,
    }
}

part! {
    /// The head of the lineage.
    Refresh {
        /// The token; empty in flows that have none.
        token: Token,
        /// Its fingerprint.
        fp: String,
        /// When it was received.
        obtained_at: Timestamp,
        /// Whether the provider has ever seen it.
        presented: Presented,
    }
}

/// What is known about a token's presentation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Presented {
    /// Never sent.
    #[default]
    Never,
    /// Sent, and the answer went missing.
    InDoubt,
    /// Sent, and the provider took it.
    Accepted,
}

impl Bounded for Presented {
    fn is_bounded(&self) -> bool {
        true
    }
}

part! {
    /// A token beside the head.
    Spare {
        /// The token.
        token: Token,
        /// Its fingerprint.
        fp: String,
        /// The login that it comes from.
        seed_seq: u64,
        /// Its generation.
        r#gen: u64,
        /// Whether the provider has ever seen it.
        presented: Presented,
        /// Provider, token endpoint and client of the request that brought it, as [`Seed::binding`] has them. It is presented to no
        /// other.
        #[serde(default)]
        binding: String,
        /// The login, where this was the head before a login that is not proven yet.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        seed: Option<Seed>,
    }
}

part! {
    /// An access token.
    Access {
        /// The token.
        token: Token,
        /// Its fingerprint.
        fp: String,
        /// Directly before the request that it answers was sent.
        issued_at: Timestamp,
        /// `issued_at` plus the provider's `expires_in`.
        expires_at: Timestamp,
        /// The life that the provider gave it, in seconds.
        lifetime_s: i64,
        /// Scopes that it carries.
        scopes: Vec<String>,
        /// The configuration that it was asked with.
        config_fp: String,
    }
}

part! {
    /// The last redemption.
    Last {
        /// When it was sent.
        redeemed_at: Timestamp,
        /// The word of a [`crate::commit::Outcome`].
        outcome: String,
        /// Holder of the claim.
        by: String,
    }
}

part! {
    /// The known end of the grant.
    ReauthAt {
        /// When.
        at: Timestamp,
        /// What it is counted from: `issued_at`, or `adopted_at`, and then it may come earlier.
        basis: String,
    }
}

impl Document {
    /// Whether this version may write over it.
    pub fn may_write(&self) -> bool {
        self.min_writer <= VERSION
    }

    /// How far the lineage has come. It never goes back by our doing.
    pub fn progress(&self) -> (u64, u64) {
        (self.seed.as_ref().map_or(0, |seed| seed.seq), self.r#gen)
    }

    /// Fingerprint of the head.
    pub fn head_fp(&self) -> Option<&str> {
        self.refresh.as_ref().map(|head| head.fp.as_str())
    }
}

/// Whether a time may be written into a document. A time out of range would make the document damaged.
pub fn is_countable(time: Timestamp) -> bool {
    time.is_bounded()
}
