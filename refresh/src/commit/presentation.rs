//! What is recorded in the document after a presentation.

use jiff::Timestamp;

use crate::answer::Answer;
use crate::document::{Claim, Http};
use crate::login::Asked;
use crate::safeguards::Safeguards;
use crate::timing::Timing;

/// A presentation, or an attempt that ended before it.
#[derive(Clone, Copy, Debug)]
pub struct Presentation<'a> {
    /// The claim under which it was made.
    pub claim: &'a Claim,
    /// What it was made for.
    pub asked: &'a Asked,
    /// The answer.
    pub answer: &'a Answer,
    /// How it came, where it came over HTTP.
    pub http: Option<&'a Http>,
    /// The time directly before sending.
    pub sent_at: Timestamp,
    /// Now.
    pub now: Timestamp,
    /// A random number, 0 to 1, for the backoff.
    pub random: f64,
    /// The protocol's times.
    pub timing: Timing,
    /// The protocol's safeguards.
    pub safeguards: Safeguards,
}
