//! Judges a run: whether every presentation was licensed, and whether every login that ended was unsaveable.
//!
//! The evidence is the provider's log, the writes that the API server accepted, and the record of the faults. Reports
//! of the sidecars are not used: a claim counts because it was written before the presentation arrived.

mod ends;
mod licence;

use serde::Serialize;

pub use self::ends::{Class, End};
pub use self::licence::Unlicensed;

use super::record::{Claim, Document, Record, Write};
use super::schedule::Action;
use crate::event::{Presentation, presentations};

/// The protocol's times that a run is judged by, and the measuring tolerance, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Claim term.
    pub term_ms: u64,
    /// Margin before the end of an access token within which a doubtful token is presented again.
    pub last_moment_ms: u64,
    /// Timeout of an answer.
    pub budget_ms: u64,
    /// Settle delay.
    pub settle_ms: u64,
    /// Tolerance for clock differences between sidecars and API server, and for the travel time of messages.
    pub blur_ms: u64,
    /// Time without a fault in which a sidecar stores what it has received.
    pub enough_ms: u64,
}

/// The result of a run.
#[derive(Clone, Debug, Serialize)]
pub struct Judgement {
    /// Number of presentations of refresh tokens.
    pub presentations: usize,
    /// Presentations that the protocol does not allow.
    pub unlicensed: Vec<Unlicensed>,
    /// Logins that ended.
    pub ends: Vec<End>,
}

impl Judgement {
    /// Returns the logins that could have been saved.
    pub fn lost(&self) -> impl Iterator<Item = &End> {
        self.ends.iter().filter(|end| end.class.is_none())
    }
}

/// Judges a run.
pub fn judge(record: &Record, rules: &Rules) -> Judgement {
    let seen = Seen::new(record, rules);
    Judgement {
        presentations: seen.presentations.len(),
        unlicensed: licence::unlicensed(&seen),
        ends: ends::ends(&seen),
    }
}

/// A claim at its first write.
#[derive(Clone, Copy)]
struct Claimed<'a> {
    claim: &'a Claim,
    document: &'a Document,
    at_ms: u64,
    sidecar: Option<usize>,
}

/// A presentation with its claim.
#[derive(Clone, Copy)]
struct Made<'a> {
    presentation: &'a Presentation,
    token: &'a str,
    under: Option<Claimed<'a>>,
}

/// A record with each presentation matched to its claim.
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
            // A claim allows one presentation, and the latest claim is the valid one.
            let place = claims
                .iter()
                .rposition(|claimed| claimed.claim.parent_fp == token && claimed.at_ms <= presentation.at_ms);
            let under = place.map(|place| claims.remove(place));
            made.push(Made { presentation, token, under });
        }
        Self { record, rules, presentations: made }
    }

    /// Returns the longest time within `from_ms..to_ms` in which this sidecar ran undisturbed: alive, not frozen, not
    /// cut off, and with an API server that answers.
    fn undisturbed(&self, sidecar: usize, from_ms: u64, to_ms: u64) -> u64 {
        let disturbs = |action: &Action, target: Option<usize>| match action {
            Action::Freeze { .. } | Action::Cut { .. } => target == Some(sidecar),
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

    /// Returns the sidecars that learned of a write at `known_ms`, have run ever since, and had time to restore it
    /// after the state was emptied or rolled back (until `since_ms`) and before `to_ms`. `None` if the state was not
    /// emptied or rolled back.
    fn rememberers(&self, known_ms: u64, to_ms: u64) -> Option<Vec<usize>> {
        let setbacks = self.record.faults.iter().filter(|fault| {
            matches!(fault.action, Action::Wipe | Action::Restore)
                && fault.to_ms >= known_ms
                && fault.from_ms <= to_ms
        });
        let since_ms = setbacks.map(|fault| fault.to_ms).min()?;
        let remembers = |sidecar: &usize| {
            // The sidecar learned of it by a watch or by a read of its own.
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

/// Returns the length of the longest part of `from..to` outside all intervals of `taken`, which are sorted by their
/// start.
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
