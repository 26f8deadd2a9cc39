//! Decides whether a login that ended could have been saved.

use serde::Serialize;

use super::{Made, Seen};
use crate::chaos::record::{Exchange, Uncommitted};
use crate::chaos::schedule::Action;
use crate::event::Event;

/// Tolerance between the clock readings of the proxy and the provider.
const SLACK_MS: u64 = 20;

/// The losses that the protocol cannot prevent (docs/refresh-protocol.md).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Class {
    /// The answer was lost on the network, and the provider does not repeat it.
    L1,
    /// The holder was killed between the provider's commit and its spool.
    L2,
    /// The spool was lost before its content was stored.
    L3,
    /// The holder could not reach the store until the last responsible moment had passed.
    L4,
    /// The state was emptied or rolled back, and no live replica remembered it.
    L6,
}

/// A login that ended.
#[derive(Clone, Debug, Serialize)]
pub struct End {
    /// When it ended.
    pub at_ms: u64,
    /// Its token family.
    pub family: String,
    /// The class of loss; `None` if it could have been saved.
    pub class: Option<Class>,
    /// The reason, in words.
    pub why: String,
}

pub(super) fn ends(seen: &Seen<'_>) -> Vec<End> {
    let revoked = seen.record.provider.iter().filter_map(|event| match event {
        Event::Revoked { at_ms, family } => Some((*at_ms, family)),
        Event::Presented(_) => None,
    });
    revoked
        .map(|(at_ms, family)| {
            let place = seen.presentations.iter().position(|made| {
                let Made { presentation, .. } = made;
                presentation.at_ms == at_ms
                    && presentation.outcome == "invalid_grant"
                    && presentation.family.as_ref() == Some(family)
            });
            let (class, why) = match place.map(|place| class(seen, place)) {
                Some(Ok((class, why))) => (Some(class), why),
                Some(Err(why)) => (None, why),
                None => (None, "revoked without a presentation that caused it".to_owned()),
            };
            End { at_ms, family: family.clone(), class, why }
        })
        .collect()
}

/// Returns the class of loss that explains the reuse at this place, or an `Err` that says how the login could have been
/// saved.
fn class(seen: &Seen<'_>, place: usize) -> Result<(Class, String), String> {
    let reuse = &seen.presentations[place];
    let mut before = seen.presentations[..place].iter();
    let first = before.find(|made| made.token == reuse.token && made.presentation.child_sha256.is_some());
    let first = first.ok_or("the first presentation returned no refresh token")?;
    let child = first.presentation.child_sha256.as_deref().unwrap_or_default();
    let claimed_ms = reuse.under.map_or(reuse.presentation.at_ms, |claimed| claimed.at_ms);

    let stored = seen.record.writes.iter().filter(|write| {
        write.at_ms < claimed_ms && write.stored().is_some_and(|document| document.knows(child))
    });
    if let Some(stored_ms) = stored.map(|write| write.at_ms).max() {
        let remembering = seen.rememberers(stored_ms, claimed_ms);
        let remembering = remembering.ok_or_else(|| format!("its child was stored at {stored_ms}"))?;
        return if remembering.is_empty() {
            Ok((Class::L6, format!("rolled back after {stored_ms}, and no sidecar remembered it")))
        } else {
            Err(format!("its child was stored at {stored_ms}, and sidecars {remembering:?} remembered it"))
        };
    }
    if let Some(fault) = &first.presentation.fault {
        return Ok((Class::L1, fault.clone()));
    }
    let holder = first.under.and_then(|claimed| claimed.sidecar);
    let holder = holder.ok_or("no sidecar claimed the first presentation")?;
    let answered_ms = answered(seen, first.presentation.at_ms);
    if let Some(found) = killed(seen, holder, first, answered_ms, claimed_ms) {
        return Ok(found);
    }
    let from_ms = match answered_ms {
        Some(at_ms) if at_ms <= first.presentation.at_ms + seen.rules.budget_ms => at_ms,
        Some(at_ms) => return Ok((Class::L1, format!("the answer came too late, at {at_ms}"))),
        None => return Ok((Class::L1, "the answer was not delivered".to_owned())),
    };
    let had = seen.undisturbed(holder, from_ms, claimed_ms);
    if had < seen.rules.enough_ms {
        Ok((Class::L4, format!("sidecar {holder} had {had} ms between {from_ms} and {claimed_ms}")))
    } else {
        Err(format!("sidecar {holder} had {had} ms between {from_ms} and {claimed_ms} to store the answer"))
    }
}

/// Returns when the answer to the request that the provider received at `at_ms` was passed on to its sender.
fn answered(seen: &Seen<'_>, at_ms: u64) -> Option<u64> {
    let arrived = |exchange: &Exchange| {
        exchange.to_provider_ms.iter().copied().filter(|passed_ms| *passed_ms <= at_ms + SLACK_MS).max()
    };
    let exchange = seen.record.exchanges.iter().max_by_key(|exchange| arrived(exchange))?;
    exchange.to_sidecar_ms.iter().copied().filter(|passed_ms| passed_ms + SLACK_MS >= at_ms).max()
}

fn killed(
    seen: &Seen<'_>,
    holder: usize,
    first: &Made<'_>,
    answered_ms: Option<u64>,
    claimed_ms: u64,
) -> Option<(Class, String)> {
    let since_ms = first.under.map_or(first.presentation.at_ms, |claimed| claimed.at_ms);
    let kills = seen
        .record
        .faults
        .iter()
        .filter(|fault| fault.sidecar == Some(holder) && (since_ms..claimed_ms).contains(&fault.from_ms));
    for kill in kills {
        let Action::Kill { spool_lost, .. } = kill.action else { continue };
        let told = format!("sidecar {holder} was killed at {}", kill.from_ms);
        match kill.spool {
            // With an answer and a second to process it, the spool would hold the answer.
            Some(Uncommitted::Sent)
                if answered_ms.is_none_or(|at_ms| seen.undisturbed(holder, at_ms, kill.from_ms) < 1_000) =>
            {
                return Some((Class::L2, told));
            }
            Some(Uncommitted::Answered) if spool_lost => return Some((Class::L3, told)),
            _ => {}
        }
    }
    None
}
