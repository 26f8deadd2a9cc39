//! The exchange of a pod's token for a token of its credential ServiceAccount: the requests of each step of `POST
//! /identity` and the meaning of their answers. The steps:
//!
//! 1. [`claims`]: cheap refusals on the unverified claims of the token.
//! 2. [`caller`]: TokenReview, which verifies the token and names its pod.
//! 3. [`pod`]: the pod as it is now: it has not ended, and it is what was sealed ([`sealed`]).
//! 4. [`token_request`]: SubjectAccessReview (may the pod's account `assume` the credential account?), then TokenRequest.
//!
//! [`rate_limiter`] limits how often an address or a pod may ask. Nothing here does I/O or reads a clock.

mod account;
mod answer;
pub mod caller;
pub mod claims;
pub mod outcome;
pub mod pod;
pub mod rate_limiter;
pub mod sealed;
mod stopped;
pub mod token_request;

pub use answer::Answer;
pub use stopped::Stopped;
