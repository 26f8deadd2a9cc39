//! The state document: one JSON value under the key `state` of the state Secret. It is the memory that all
//! replicas share and the lock between them; every write is a compare-and-swap. Field names are public. Fields
//! that this version does not know survive a rewrite, at every level.

mod bounds;
mod exchange;
mod json;
mod part;
mod schema;

pub use self::exchange::{Claim, Doubt, Forced, Http, Purpose, Request, Retry, Verdict};
pub use self::json::{DocumentError, MAX_DOCUMENT};
pub use self::schema::{
    Access, Client, Document, Home, Last, Presented, ReauthAt, Refresh, Seed, SeenSeed, Spare, VERSION,
    is_countable,
};
pub use crate::token::Token;

/// Replaced heads that are remembered.
pub const MAX_SPENT: usize = 256;
/// Tokens that were received but are not the head.
pub const MAX_SPARE: usize = 4;
/// Logins that are remembered.
pub const MAX_SEEDS_SEEN: usize = 16;
/// Client secrets that are remembered.
pub const MAX_CLIENTS: usize = 64;
