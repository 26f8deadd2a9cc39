//! Who signs next, and who is trusted until when. One step at a time, each one write of one object; what a step leads to is
//! read from the objects themselves, so whoever comes after a crash goes on where it stands.
//!
//! The one rule: **whatever is served is signed by a CA that everybody has been trusting for a while.**
//! ```text
//!            Announce        Publish, wait        Promote         wait         Forget, Publish
//! signing    A               A                    B               B            B
//! trusted    A, B            A, B everywhere      B, A            B, A         B
//! ```

use std::collections::BTreeSet;
use std::time::Duration;

use super::holdings::Holdings;
use super::step::Step;
use super::{Certificate, Timing, mint, seconds};

/// What a decision is made on.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// What the Secret holds.
    pub holdings: &'a Holdings,
    /// DNS names of our servers.
    pub names: &'a BTreeSet<String>,
    /// Whether every place in the cluster trusts exactly what the holdings say.
    pub published: bool,
    /// Whether a person asks for a new CA.
    pub asked: bool,
    /// How long all this has been seen as it is, on a monotonic clock of one process.
    pub settled: Duration,
}

/// Decides.
pub fn next(view: &View<'_>, now: i64, timing: &Timing) -> Step {
    let holdings = view.holdings;
    if !view.published {
        return Step::Publish;
    }
    let signer = holdings.signer(now).map(|pair| &pair.certificate);
    if signer.is_some_and(|signer| wants_leaf(view, signer, now, timing)) {
        return Step::Renew;
    }
    // With neither, nobody can be served, and there is nothing to be careful with.
    let lost = signer.is_none() && !is_served(holdings, now);
    if let Some(announced) = &holdings.next {
        // One that was forgotten for months would sign for too short a time.
        if !announced.certificate.lives(now) || is_due(&announced.certificate, now, timing) {
            return Step::Announce;
        }
        if lost || view.settled >= timing.announce {
            return Step::Promote;
        }
        return Step::Rest;
    }
    let Some(signer) = signer else { return Step::Announce };
    if !holdings.retired.is_empty() {
        return if view.settled >= timing.retire { Step::Forget } else { Step::Rest };
    }
    if view.asked || is_due(signer, now, timing) { Step::Announce } else { Step::Rest }
}

/// Whether two thirds of its life are over. A certificate begins in the past, and what came before it was made is no life.
fn is_due(certificate: &Certificate, now: i64, timing: &Timing) -> bool {
    let made = certificate.not_before.saturating_add(seconds(timing.backdate));
    let third = certificate.not_after.saturating_sub(made) / 3;
    now >= certificate.not_after.saturating_sub(third)
}

/// Whether there is a certificate that clients accept.
fn is_served(holdings: &Holdings, now: i64) -> bool {
    let signed = holdings.signing.iter().map(|pair| &pair.certificate).chain(&holdings.retired);
    let mut signed = signed.filter(|ca| ca.lives(now));
    let leaf = holdings.leaf.as_ref().map(|pair| &pair.certificate).filter(|leaf| leaf.lives(now));
    leaf.is_some_and(|leaf| signed.any(|ca| leaf.is_from(ca)))
}

fn wants_leaf(view: &View<'_>, signer: &Certificate, now: i64, timing: &Timing) -> bool {
    let Some(leaf) = view.holdings.leaf.as_ref().map(|pair| &pair.certificate) else { return true };
    let due = is_due(leaf, now, timing);
    // Where the CA ends first, a new one would not last longer.
    let helps = mint::leaf_end(signer, now, timing) > leaf.not_after;
    !leaf.lives(now) || !leaf.is_from(signer) || leaf.names != *view.names || due && helps
}

#[cfg(test)]
mod tests;
