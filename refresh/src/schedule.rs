//! When the head is presented, and for which purpose. Times that all replicas share (of backoff, doubt and verdict) are spread
//! ([`super::spread`]), so that the replicas do not connect in the same second.

use jiff::{SignedDuration, Timestamp};

use super::document::{Access, Document, Purpose, Refresh};
use super::timing::Timing;
use super::view::View;

/// Longest `Retry-After` of a provider that is honoured.
pub const MAX_RETRY_AFTER: SignedDuration = SignedDuration::from_hours(1);

/// Returns when the head may and should be presented, and for which purpose.
pub fn due(document: &Document, head: &Refresh, view: &View<'_>) -> (Timestamp, Purpose) {
    let View { now, timing, safeguards, .. } = view;
    let config_fp = &view.login.config_fp;
    let shared = |at: Timestamp| at + timing.spread.mul_f64(view.spread);
    let verdict = document.verdict.as_ref().filter(|v| v.fp == head.fp && v.config_fp == *config_fp);
    let (mut at, mut purpose) = match verdict {
        Some(verdict) => (shared(verdict.next_probe), Purpose::Probe),
        None if is_refused(document, view) => (*now, Purpose::Forced),
        None => match &document.request {
            // All replicas see a person's request at the same time.
            Some(request) => (shared(request.at.min(*now)), Purpose::Forced),
            None => (wanted(document, view), Purpose::Refresh),
        },
    };
    let doubt = document.doubt.as_ref().filter(|doubt| doubt.parent_fp == head.fp);
    if let Some(doubt) = doubt.filter(|_| safeguards.doubt_waits()) {
        (at, purpose) = (at.max(shared(doubt.replay_not_before)), Purpose::Replay);
    }
    let retry = document.retry.as_ref().filter(|retry| retry.config_fp == *config_fp);
    if let Some(retry) = retry.filter(|_| safeguards.backoff_is_shared()) {
        // The writer's clock may have been ahead: no longer than a provider's longest pause.
        let not_before = retry.not_before.min(*now + MAX_RETRY_AFTER);
        let behind = timing.spread.mul_f64(1.0 + 0.3 * view.spread);
        at = at.max(if view.yields { not_before + behind } else { shared(not_before) });
    }
    // Two redemptions of a grant are never close together, for any purpose.
    if let (Some(last), Some(access)) = (&document.last, &document.access) {
        let tenth = SignedDuration::from_millis(access.lifetime_s.saturating_mul(100));
        at = at.max(last.redeemed_at.min(*now) + tenth.min(timing.distance) + view.turn);
    }
    (at, purpose)
}

/// Whether a new access token is wanted now.
pub fn is_wanted(document: &Document, view: &View<'_>) -> bool {
    document.request.is_some() || is_refused(document, view) || wanted(document, view) <= view.now
}

/// Whether a refresh is due early, since a provider's API rejected the access token.
fn is_refused(document: &Document, view: &View<'_>) -> bool {
    view.rejected.is_some_and(|fp| may_force(document, fp, view.now, &view.timing))
}

/// Whether a rejected access token may force a refresh: once per token, with a minimum distance for all replicas together,
/// and not where the last forced refresh did not help.
pub fn may_force(document: &Document, rejected: &str, now: Timestamp, timing: &Timing) -> bool {
    let Some(access) = document.access.as_ref().filter(|access| access.fp == rejected) else {
        return false;
    };
    document.forced.as_ref().is_none_or(|forced| {
        // A token that was issued long after is not the one that the forced refresh brought.
        let helped = forced.proved || access.issued_at > forced.at + timing.term;
        forced.access_fp != rejected && helped && now >= forced.at + timing.forced_distance
    })
}

/// Returns when a new access token is wanted: now if there is none of this login; else around 80 % of its lifetime and, where
/// that allows, at least five minutes before its end. Spread, so that replicas do not race each other.
fn wanted(document: &Document, view: &View<'_>) -> Timestamp {
    let now = view.now;
    let (Some(access), Some(seed)) = (&document.access, &document.seed) else { return now };
    if !seed.proven {
        return now;
    }
    if let Some(interval) = view.keep_alive {
        // Counted from the last success: a redemption that failed keeps no grant alive.
        return access.expires_at.min(access.issued_at + interval);
    }
    let scheduled = scheduled(access, view.spread);
    if access.config_fp == view.login.config_fp {
        return scheduled;
    }
    // Settings changed: refresh soon, but not at every edit while there is a token to serve.
    let last =
        document.last.as_ref().map_or(now, |last| last.redeemed_at.min(now) + view.timing.config_distance);
    scheduled.min(last + view.turn)
}

fn scheduled(access: &Access, spread: f64) -> Timestamp {
    let life = access.lifetime_s as f64;
    let early = life * (0.75 + 0.1 * spread);
    // Keeps the order of `early`: the spread is dense at its late end.
    let after = if life >= 900.0 { early.min(life - 300.0 - 0.05 * life * (1.0 - spread)) } else { early };
    access.issued_at + SignedDuration::from_millis((after * 1000.0) as i64)
}

/// How long before the end of a token it is no longer served, in seconds: for clocks that differ and answers that travel.
pub fn margin_s(lifetime_s: i64) -> i64 {
    (lifetime_s / 20).min(30)
}
