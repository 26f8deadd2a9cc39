//! What a run means: whether every presentation had its licence, and whether every login that ended had to end.
//!
//! It trusts the provider's log, the writes as the API server took them, and the record of what went wrong. Of what the
//! sidecars say it takes nothing: a claim counts because it was written before the presentation arrived.

mod ends;
mod licence;

use serde::Serialize;

pub use self::ends::{Class, End};
pub use self::licence::Unlicensed;

use super::record::{Claim, Document, Record, Write};
use super::schedule::Action;
use crate::event::{Presentation, presentations};

/// The protocol's times that a run is judged by, in milliseconds, and how much a run may blur them.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// The term of a claim.
    pub term_ms: u64,
    /// Room before the end of an access token in which a doubtful token is tried again.
    pub last_moment_ms: u64,
    /// Time for an answer.
    pub budget_ms: u64,
    /// How long those who remember are given to say so.
    pub settle_ms: u64,
    /// How far the clocks of the sidecars are from the API server's, and how long a message is on its way.
    pub blur_ms: u64,
    /// A sidecar that runs undisturbed for so long has stored what it has.
    pub enough_ms: u64,
}

/// What became of a run.
#[derive(Clone, Debug, Serialize)]
pub struct Judgement {
    /// Refresh tokens that were presented, counted each time.
    pub presentations: usize,
    /// Presentations that nothing allowed.
    pub unlicensed: Vec<Unlicensed>,
    /// Logins that ended.
    pub ends: Vec<End>,
}

impl Judgement {
    /// Logins that could have been saved.
    pub fn lost(&self) -> impl Iterator<Item = &End> {
        self.ends.iter().filter(|end| end.class.is_none())
    }
}

/// Judges.
pub fn judge(record: &Record, rules: &Rules) -> Judgement {
    let seen = Seen::new(record, rules);
    Judgement {
        presentations: seen.presentations.len(),
        unlicensed: licence::unlicensed(&seen),
        ends: ends::ends(&seen),
    }
}

/// A claim as it was first written.
#[derive(Clone, Copy)]
struct Claimed<'a> {
    claim: &'a Claim,
    document: &'a Document,
    at_ms: u64,
    sidecar: Option<usize>,
}

/// A presentation, and the claim that it was made under.
#[derive(Clone, Copy)]
struct Made<'a> {
    presentation: &'a Presentation,
    token: &'a str,
    under: Option<Claimed<'a>>,
}

/// A record, put in relation.
struct Seen<'a> {
    record: &'a Record,
    rules: &'a Rules,
    presentations: Vec<Made<'a>>,
}

impl<'a> Seen<'a> {
    fn new(record: &'a Record, rules: &'a Rules) -> Self {
        let mut writes: Vec<&Write> = record.writes.iter().collect();
        writes.sort_by_key(|write| write.at_ms);
        let mut claims: Vec<Claimed<'a>> = Vec::new();
        for write in writes {
            let Some(document) = write.stored() else { continue };
            let Some(claim) = &document.claim else { continue };
            if !claims.iter().any(|known| known.claim.id == claim.id) {
                claims.push(Claimed { claim, document, at_ms: write.at_ms, sidecar: write.sidecar });
            }
        }
        let mut made = Vec::new();
        for presentation in presentations(&record.provider) {
            let Some(token) = presentation.token_sha256.as_deref() else { continue };
            // Each claim is good for one presentation, and the latest one is the one that stands.
            let place = claims
                .iter()
                .rposition(|claimed| claimed.claim.parent_fp == token && claimed.at_ms <= presentation.at_ms);
            let under = place.map(|place| claims.remove(place));
            made.push(Made { presentation, token, under });
        }
        Self { record, rules, presentations: made }
    }

    /// The longest time within `from_ms..to_ms` in which this sidecar ran undisturbed: alive, not frozen, not cut off, and
    /// with an API server to talk to.
    fn undisturbed(&self, sidecar: usize, from_ms: u64, to_ms: u64) -> u64 {
        let disturbs = |action: &Action, whom: Option<usize>| match action {
            Action::Freeze { .. } | Action::Cut { .. } => whom == Some(sidecar),
            Action::EtcdFreeze { .. } | Action::EtcdKill { .. } | Action::Restore => true,
            _ => false,
        };
        let mut faults: Vec<(u64, u64)> = self
            .record
            .faults
            .iter()
            .filter(|fault| disturbs(&fault.action, fault.sidecar))
            .map(|fault| (fault.from_ms, fault.to_ms))
            .collect();
        faults.sort_unstable();
        let lives = self.record.lives.iter().filter(|life| life.sidecar == sidecar);
        lives
            .map(|life| longest_gap(&faults, life.from_ms.max(from_ms), life.to_ms.min(to_ms)))
            .max()
            .unwrap_or(0)
    }

    /// Who was told of something at `known_ms`, and has run ever since: with time to say so after the state was
    /// emptied or set back (until `since_ms`) and before `to_ms`. None is needed where neither happened.
    fn rememberers(&self, known_ms: u64, to_ms: u64) -> Option<Vec<usize>> {
        let setbacks = self.record.faults.iter().filter(|fault| {
            matches!(fault.action, Action::Wipe | Action::Restore)
                && fault.to_ms >= known_ms
                && fault.from_ms <= to_ms
        });
        let since_ms = setbacks.map(|fault| fault.to_ms).min()?;
        let remembers = |sidecar: &usize| {
            // Told by a watch, or by a look of its own.
            let told = known_ms + self.rules.blur_ms;
            let lives = self.record.lives.iter().filter(|life| life.sidecar == *sidecar);
            lives.clone().any(|life| life.from_ms <= known_ms && life.to_ms >= to_ms)
                && self.undisturbed(*sidecar, known_ms, since_ms.max(told)) > 0
                && self.undisturbed(*sidecar, since_ms, to_ms) >= self.rules.settle_ms
        };
        let mut all: Vec<usize> = self.record.lives.iter().map(|life| life.sidecar).collect();
        all.sort_unstable();
        all.dedup();
        Some(all.into_iter().filter(remembers).collect())
    }
}

/// The longest part of `from..to` that none of these touches; they are sorted by their start.
fn longest_gap(taken: &[(u64, u64)], from: u64, to: u64) -> u64 {
    let (mut free_from, mut longest) = (from, 0);
    for (start, end) in taken {
        longest = longest.max((*start).min(to).saturating_sub(free_from));
        free_from = free_from.max(*end);
    }
    longest.max(to.saturating_sub(free_from))
}

#[cfg(test)]
mod tests;
