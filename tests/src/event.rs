//! The log format of both OAuth servers of the tests.
//!
//! A log contains [`fingerprint`]s and no tokens, so it may be printed and kept. Tests use it as evidence of how often
//! a refresh token was presented and with which result.

use std::fmt::Write as _;
use std::net::IpAddr;

use aws_lc_rs::digest;
use serde::{Deserialize, Serialize};

/// An entry of a server's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Event {
    /// A request outside the server's test routes.
    Presented(Box<Presentation>),
    /// A token family was revoked, because of a reuse or by a test.
    Revoked {
        /// When, in milliseconds since 1970.
        at_ms: u64,
        /// The family.
        family: String,
    },
}

/// A request as the server understood it, and the decision.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Presentation {
    /// When its last byte had been read, in milliseconds since 1970 by the wall clock.
    pub at_ms: u64,
    /// The client's address; in a cluster the pod's.
    pub peer: Option<IpAddr>,
    /// Its `Host` header.
    pub host: String,
    /// Its path, without a query.
    pub path: String,
    /// The client's `client_id`, also if the authentication failed.
    pub client_id: Option<String>,
    /// The requested grant type.
    pub grant_type: Option<String>,
    /// [`fingerprint`] of the presented refresh token.
    pub token_sha256: Option<String>,
    /// [`fingerprint`] of the issued refresh token.
    pub child_sha256: Option<String>,
    /// The family of the presented token, if the server knows the token, also after its revocation.
    pub family: Option<String>,
    /// `granted`, an OAuth error code, or a code of the stand-in's own: `not_found`, `misdirected`,
    /// `method_not_allowed`, and `unprocessed` for a request that a fault kept from being carried out.
    pub outcome: String,
    /// The client's mistake, in the server's words.
    pub reason: Option<String>,
    /// The fault that the test had ordered for this answer.
    pub fault: Option<String>,
}

/// Returns the presentations of a log, in order.
pub fn presentations(log: &[Event]) -> impl Iterator<Item = &Presentation> {
    log.iter().filter_map(|event| match event {
        Event::Presented(presentation) => Some(&**presentation),
        Event::Revoked { .. } => None,
    })
}

/// Returns the revoked families of a log, in order.
pub fn revoked(log: &[Event]) -> impl Iterator<Item = &str> {
    log.iter().filter_map(|event| match event {
        Event::Presented(_) => None,
        Event::Revoked { family, .. } => Some(family.as_str()),
    })
}

/// Returns the SHA-256 of a token, in hex.
pub fn fingerprint(token: &str) -> String {
    let digest = digest::digest(&digest::SHA256, token.as_bytes());
    digest.as_ref().iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("a String takes what is written to it");
        hex
    })
}
