//! When the head is presented, and as what. What all replicas share (backoff, doubt, verdict) is spread
//! ([`super::spread`]), or they would all connect in the same second.

use jiff::{SignedDuration, Timestamp};

use super::document::{Access, Document, Purpose, Refresh};
use super::rules::Timing;
use super::view::View;

/// Longest time that a provider's `Retry-After` is believed.
pub const MAX_RETRY_AFTER: SignedDuration = SignedDuration::from_hours(1);

/// When the head may and should be presented, and as what.
pub fn due(document: &Document, head: &Refresh, view: &View<'_>) -> (Timestamp, Purpose) {
    let View { now, timing, rules, .. } = view;
    let config_fp = &view.login.config_fp;
    let shared = |at: Timestamp| at + timing.spread.mul_f64(view.spread);
    let verdict = document.verdict.as_ref().filter(|v| v.fp == head.fp && v.config_fp == *config_fp);
    let (mut at, mut purpose) = match verdict {
        Some(verdict) => (shared(verdict.next_probe), Purpose::Probe),
        None if is_refused(document, view) => (*now, Purpose::Forced),
        None => match &document.request {
            // All replicas see a person's request at once.
            Some(request) => (shared(request.at.min(*now)), Purpose::Forced),
            None => (wanted(document, view), Purpose::Refresh),
        },
    };
    let doubt = document.doubt.as_ref().filter(|doubt| doubt.parent_fp == head.fp);
    if let Some(doubt) = doubt.filter(|_| rules.doubt_waits) {
        (at, purpose) = (at.max(shared(doubt.replay_not_before)), Purpose::Replay);
    }
    let retry = document.retry.as_ref().filter(|retry| retry.config_fp == *config_fp);
    if let Some(retry) = retry.filter(|_| rules.backoff_is_shared) {
        // A writer whose clock was ahead holds nobody for longer than a provider could.
        let not_before = retry.not_before.min(*now + MAX_RETRY_AFTER);
        let behind = timing.spread.mul_f64(1.0 + 0.3 * view.spread);
        at = at.max(if view.stands_back { not_before + behind } else { shared(not_before) });
    }
    // Two redemptions of a grant are never close together, whoever asks and for whatever reason.
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

/// Whether a refresh is due before its time: a provider's API refused the access token.
fn is_refused(document: &Document, view: &View<'_>) -> bool {
    view.rejected.is_some_and(|fp| may_force(document, fp, view.now, &view.timing))
}

/// One forced refresh per access token, far apart for all replicas together, and none where the last one did not help.
pub fn may_force(document: &Document, rejected: &str, now: Timestamp, timing: &Timing) -> bool {
    let Some(access) = document.access.as_ref().filter(|access| access.fp == rejected) else {
        return false;
    };
    document.forced.as_ref().is_none_or(|forced| {
        // What was issued long after is no longer the token that the forced refresh brought.
        let helped = forced.proved || access.issued_at > forced.at + timing.term;
        forced.access_fp != rejected && helped && now >= forced.at + timing.forced_distance
    })
}

/// When a new access token is wanted: now if there is none of this login, else around 80 % of its life and, where
/// life allows, five minutes before its end; spread, so that replicas do not race each other.
fn wanted(document: &Document, view: &View<'_>) -> Timestamp {
    let now = view.now;
    let (Some(access), Some(seed)) = (&document.access, &document.seed) else { return now };
    if !seed.proven {
        return now;
    }
    if let Some(rarely) = view.rarely {
        // Since the last success: a redemption that failed has kept nothing alive.
        return access.expires_at.min(access.issued_at + rarely);
    }
    let scheduled = scheduled(access, view.spread);
    if access.config_fp == view.login.config_fp {
        return scheduled;
    }
    // A person is trying settings: soon, but not at every keystroke while there is something to serve.
    let last =
        document.last.as_ref().map_or(now, |last| last.redeemed_at.min(now) + view.timing.config_distance);
    scheduled.min(last + view.turn)
}

fn scheduled(access: &Access, spread: f64) -> Timestamp {
    let life = access.lifetime_s as f64;
    let early = life * (0.75 + 0.1 * spread);
    // In the same order as `early`: the spread is dense at its late end.
    let after = if life >= 900.0 { early.min(life - 300.0 - 0.05 * life * (1.0 - spread)) } else { early };
    access.issued_at + SignedDuration::from_millis((after * 1000.0) as i64)
}

/// How early serving stops before the end, in seconds: clocks differ, and answers travel.
pub fn margin_s(lifetime_s: i64) -> i64 {
    (lifetime_s / 20).min(30)
}
