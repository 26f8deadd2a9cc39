//! What an OAuth server of the tests writes down, in one form for both.
//!
//! A token itself is never in it: tests compare [`fingerprint`]s, so a log may be printed and kept. This is the
//! evidence that a refresh token was presented once, and what came of it.

use std::fmt::Write as _;
use std::net::IpAddr;

use aws_lc_rs::digest;
use serde::{Deserialize, Serialize};

/// One line of a server's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Event {
    /// A request to the server that was not one of its test routes.
    Presented(Box<Presentation>),
    /// A family of tokens that died: reuse was noticed, or a test revoked it.
    Revoked {
        /// When, in milliseconds since 1970.
        at_ms: u64,
        /// Which family.
        family: String,
    },
}

/// A request as the server understood it, and what it decided.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Presentation {
    /// When its last byte had been read, in milliseconds since 1970 by the wall clock.
    pub at_ms: u64,
    /// Where it came from: in a cluster the pod's address.
    pub peer: Option<IpAddr>,
    /// Its `Host`.
    pub host: String,
    /// Its path, without a query.
    pub path: String,
    /// Who it said it was.
    pub client_id: Option<String>,
    /// What it asked for.
    pub grant_type: Option<String>,
    /// [`fingerprint`] of the refresh token that it presented.
    pub token_sha256: Option<String>,
    /// [`fingerprint`] of the refresh token that was made for it.
    pub child_sha256: Option<String>,
    /// The family of the presented token, where the server knows it; the family outlives the tokens.
    pub family: Option<String>,
    /// `granted`, an OAuth error code, or the stand-in's own: `not_found`, `misdirected`, `method_not_allowed`, and
    /// `unprocessed` for a request that a fault kept from being carried out.
    pub outcome: String,
    /// What the client did wrong, in the server's own words.
    pub reason: Option<String>,
    /// The fault that spoilt the answer, if the test had ordered one.
    pub fault: Option<String>,
}

/// The presentations of a log, in order.
pub fn presentations(log: &[Event]) -> impl Iterator<Item = &Presentation> {
    log.iter().filter_map(|event| match event {
        Event::Presented(presentation) => Some(&**presentation),
        Event::Revoked { .. } => None,
    })
}

/// The families of a log that were revoked, in order.
pub fn revoked(log: &[Event]) -> impl Iterator<Item = &str> {
    log.iter().filter_map(|event| match event {
        Event::Presented(_) => None,
        Event::Revoked { family, .. } => Some(family.as_str()),
    })
}

/// SHA-256 of a token, in hex: how logs name it.
pub fn fingerprint(token: &str) -> String {
    let digest = digest::digest(&digest::SHA256, token.as_bytes());
    digest.as_ref().iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("a String takes what is written to it");
        hex
    })
}
