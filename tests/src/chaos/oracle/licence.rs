//! Decides whether each presentation was allowed: the first one, or a replay of a doubtful token after the wait.

use serde::Serialize;

use super::{Claimed, Made, Seen};

/// A presentation that the protocol does not allow.
#[derive(Clone, Debug, Serialize)]
pub struct Unlicensed {
    /// When it arrived.
    pub at_ms: u64,
    /// Fingerprint of the token.
    pub token: String,
    /// The sidecar that claimed it.
    pub sidecar: Option<usize>,
    /// The violated rule.
    pub why: String,
}

pub(super) fn unlicensed(seen: &Seen<'_>) -> Vec<Unlicensed> {
    let made = &seen.presentations;
    let judged = made.iter().enumerate().filter_map(|(place, this)| {
        let before = made[..place].iter().rev().find(|before| before.token == this.token);
        let why = objection(seen, before, this)?;
        Some(Unlicensed {
            at_ms: this.presentation.at_ms,
            token: this.token.to_owned(),
            sidecar: this.under.and_then(|claimed| claimed.sidecar),
            why,
        })
    });
    judged.collect()
}

fn objection(seen: &Seen<'_>, before: Option<&Made<'_>>, this: &Made<'_>) -> Option<String> {
    let Some(claimed) = this.under else { return Some("no claim was written for it".to_owned()) };
    let waited = this.presentation.at_ms - claimed.at_ms;
    if waited > seen.rules.term_ms / 2 {
        return Some(format!("it came {waited} ms after its claim"));
    }
    let before = before?;
    if was_refused_untouched(before) {
        return None;
    }
    let before_ms = before.presentation.at_ms;
    match claimed.claim.purpose.as_str() {
        "probe" if before.presentation.outcome == "invalid_grant" => None,
        "replay" => {
            let licensed = last_moment(seen, before, &claimed);
            (claimed.at_ms + seen.rules.blur_ms < licensed).then(|| {
                format!(
                    "a replay {} ms before its time; presented before at {before_ms}",
                    licensed - claimed.at_ms
                )
            })
        }
        purpose => match seen.rememberers(before_ms, claimed.at_ms) {
            Some(remembering) if remembering.is_empty() => None,
            Some(remembering) => Some(format!(
                "presented before at {before_ms}, now as {purpose}; the state was rolled back, and sidecars {remembering:?} remembered it"
            )),
            None => Some(format!("presented before at {before_ms}, now as {purpose}")),
        },
    }
}

/// Whether the provider's answer said that nothing was done.
fn was_refused_untouched(made: &Made<'_>) -> bool {
    let told = ["invalid_request", "invalid_client", "invalid_scope", "unauthorized_client"];
    made.presentation.fault.as_deref() == Some("status_429")
        || (made.presentation.fault.is_none() && told.contains(&made.presentation.outcome.as_str()))
}

/// Returns the last responsible moment for a replay.
fn last_moment(seen: &Seen<'_>, before: &Made<'_>, claimed: &Claimed<'_>) -> u64 {
    let claimed_before = before.under.map_or(before.presentation.at_ms, |claimed| claimed.at_ms);
    let term_ends = claimed_before + seen.rules.term_ms;
    claimed.document.access.as_ref().map_or(term_ends, |access| {
        let life_ms = u64::try_from(access.lifetime_s * 1_000).unwrap_or(0);
        let ends = u64::try_from(access.expires_at.as_millisecond()).unwrap_or(0);
        term_ends.max(ends.saturating_sub(seen.rules.last_moment_ms.max(life_ms / 20)))
    })
}
