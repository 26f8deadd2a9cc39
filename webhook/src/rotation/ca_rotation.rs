//! CA rotation: which CA signs, and which CAs are trusted until when. Each step is one write of one object, and the next step is
//! decided on the objects themselves, so a manager that starts after a crash goes on from there.
//!
//! The rule: **a certificate that is served is signed by a CA that has been trusted everywhere for a while.**
//! ```text
//!            Announce        Publish, wait        Promote         wait         Forget, Publish
//! signing    A               A                    B               B            B
//! trusted    A, B            A, B everywhere      B, A            B, A         B
//! ```

use std::collections::BTreeSet;
use std::time::Duration;

use super::certificate::Certificate;
use super::certificate_set::CertificateSet;
use super::issue;
use super::step::Step;
use super::timing::{Timing, seconds};

/// The inputs of a decision.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// The content of the Secret.
    pub set: &'a CertificateSet,
    /// DNS names of our servers.
    pub names: &'a BTreeSet<String>,
    /// Whether every place in the cluster trusts exactly these CAs.
    pub published: bool,
    /// Whether a person asks for a new CA.
    pub asked: bool,
    /// For how long all this has been unchanged.
    pub stable_for: Duration,
}

/// Decides.
pub fn next(view: &View<'_>, now: i64, timing: &Timing) -> Step {
    let set = view.set;
    if !view.published {
        return Step::Publish;
    }
    let signer = set.signer(now).map(|pair| &pair.certificate);
    if signer.is_some_and(|signer| wants_leaf(view, signer, now, timing)) {
        return Step::Renew;
    }
    // With neither, no client is served, so there is nothing to protect by waiting.
    let lost = signer.is_none() && !is_served(set, now);
    if let Some(announced) = &set.next {
        // A CA that was announced months ago would sign for too short a time.
        if !announced.certificate.is_valid(now) || is_due(&announced.certificate, now, timing) {
            return Step::Announce;
        }
        if lost || view.stable_for >= timing.announce {
            return Step::Promote;
        }
        return Step::Rest;
    }
    let Some(signer) = signer else { return Step::Announce };
    if !set.retired.is_empty() {
        return if view.stable_for >= timing.retire { Step::Forget } else { Step::Rest };
    }
    if view.asked || is_due(signer, now, timing) { Step::Announce } else { Step::Rest }
}

/// Whether two thirds of the lifetime are over. The backdated part does not count.
fn is_due(certificate: &Certificate, now: i64, timing: &Timing) -> bool {
    let made = certificate.not_before.saturating_add(seconds(timing.backdate));
    let third = certificate.not_after.saturating_sub(made) / 3;
    now >= certificate.not_after.saturating_sub(third)
}

/// Whether there is a serving certificate that clients accept.
fn is_served(set: &CertificateSet, now: i64) -> bool {
    let signed = set.signing.iter().map(|pair| &pair.certificate).chain(&set.retired);
    let mut signed = signed.filter(|ca| ca.is_valid(now));
    let leaf = set.leaf.as_ref().map(|pair| &pair.certificate).filter(|leaf| leaf.is_valid(now));
    leaf.is_some_and(|leaf| signed.any(|ca| leaf.is_from(ca)))
}

fn wants_leaf(view: &View<'_>, signer: &Certificate, now: i64, timing: &Timing) -> bool {
    let Some(leaf) = view.set.leaf.as_ref().map(|pair| &pair.certificate) else { return true };
    let due = is_due(leaf, now, timing);
    // Where the CA ends first, a new certificate would not last longer.
    let helps = issue::leaf_end(signer, now, timing) > leaf.not_after;
    !leaf.is_valid(now) || !leaf.is_from(signer) || leaf.names != *view.names || due && helps
}

#[cfg(test)]
mod tests;
