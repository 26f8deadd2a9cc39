//! How an answer gets into the document. Lineage decides, not time: a child is filed where its parent is, whoever
//! holds a claim meanwhile. The same function runs again on a fresh document after each conflict.

use jiff::{SignedDuration, Timestamp};

use super::answer::{Answer, Tokens};
use super::document::{
    Access, Claim, Document, Doubt, Last, MAX_SPENT, Presented, Refresh, Retry, Spare, Token, Verdict,
};
use super::fingerprint;
use super::machine::{Login, MAX_RETRY_AFTER, Timing, doubt, keep_spare, last_responsible_moment, remember};
use crate::outcome::{Outcome, Reason};

/// A presentation that took place, or did not.
#[derive(Debug)]
pub struct Presentation<'a> {
    /// The claim under which it was made.
    pub claim: &'a Claim,
    /// What it was made for.
    pub login: &'a Login,
    /// What came of it.
    pub answer: &'a Answer,
    /// Directly before sending.
    pub sent_at: Timestamp,
    /// Now.
    pub now: Timestamp,
    /// A random number, 0 to 1, for the backoff.
    pub random: f64,
    /// The protocol's times.
    pub timing: Timing,
}

/// The document to write, and what to count. `None`: somebody else has settled this claim, and nothing that was
/// received would be lost by leaving it at that.
pub fn record(document: &Document, presentation: &Presentation<'_>) -> (Option<Document>, Outcome) {
    let mut next = document.clone();
    let claim = presentation.claim;
    let mine = document.claim.as_ref().is_some_and(|held| held.id == claim.id);
    if mine {
        next.claim = None;
    }
    if !mine && is_filed(document, presentation) {
        // The write of which no answer came took place, and others have gone on from it.
        return (None, Outcome::Success);
    }
    let outcome = match presentation.answer {
        Answer::Granted(tokens) => granted(&mut next, presentation, tokens),
        Answer::NotCommitted { sent, reason, .. } => {
            // Who gave up because it leaves, or was frozen, says nothing about the provider.
            if mine && *reason != Reason::GaveUp {
                back_off(&mut next, presentation);
            }
            if *sent { Outcome::NotCommitted } else { Outcome::NotSent }
        }
        Answer::InDoubt { cause, salvaged } => {
            match salvaged {
                Some(child) => {
                    adopt_child(&mut next, claim, child, presentation.sent_at);
                    back_off(&mut next, presentation);
                }
                None if mine && presentation.login.grant.rules.rotates() => {
                    doubt(
                        &mut next,
                        claim,
                        cause,
                        presentation.sent_at,
                        presentation.now,
                        presentation.timing,
                    );
                }
                None if mine => back_off(&mut next, presentation),
                None => {}
            }
            Outcome::InDoubt
        }
        Answer::InvalidGrant => {
            if mine {
                refused(&mut next, presentation);
            }
            Outcome::InvalidGrant
        }
    };
    let received =
        matches!(presentation.answer, Answer::Granted(_) | Answer::InDoubt { salvaged: Some(_), .. });
    if mine && outcome != Outcome::NotSent {
        let by = claim.holder.clone();
        next.last =
            Some(Last { redeemed_at: presentation.sent_at, outcome: outcome.as_str().to_owned(), by });
    }
    ((mine || received).then_some(next), outcome)
}

/// Whether the received refresh token is in the document already, or was and has been replaced.
fn is_filed(document: &Document, presentation: &Presentation<'_>) -> bool {
    let (Answer::Granted(Tokens { refresh: Some(child), .. })
    | Answer::InDoubt { salvaged: Some(child), .. }) = presentation.answer
    else {
        return false;
    };
    let fp = fingerprint::of_token(child);
    fp != presentation.claim.parent_fp
        && (document.refresh.as_ref().is_some_and(|head| head.fp == fp)
            || document.spent.contains(&fp)
            || document.spare.iter().any(|spare| spare.fp == fp))
}

fn granted(document: &mut Document, presentation: &Presentation<'_>, tokens: &Tokens) -> Outcome {
    let Presentation { claim, login, sent_at, .. } = presentation;
    let in_doubt = document.doubt.as_ref().is_some_and(|doubt| doubt.parent_fp == claim.parent_fp);
    let was_head = match &tokens.refresh {
        Some(child) => adopt_child(document, claim, child, *sent_at),
        None => {
            let head = document.refresh.as_mut().filter(|head| head.fp == claim.parent_fp);
            head.map(|head| head.presented = Presented::Accepted).is_some()
        }
    };
    if !was_head {
        return Outcome::Success;
    }
    if let Some(seed) = &mut document.seed {
        seed.proven = true;
    }
    document.spare.retain(|spare| spare.seed.is_none());
    (document.doubt, document.verdict, document.retry) = (None, None, None);
    let granted = tokens.scopes.as_deref();
    let lacks = |scope: &String| granted.is_some_and(|granted| !granted.contains(scope));
    if login.grant.scopes.iter().any(lacks) {
        // The refresh token is stored all the same; the old access token is served to its end. No loop: it is
        // asked again when the configuration or the login changes, or an hour later.
        document.retry = Some(Retry {
            attempts: 1,
            not_before: presentation.now + SignedDuration::from_hours(1),
            reason: Reason::ScopeDowngraded.as_str().to_owned(),
            config_fp: login.config_fp.clone(),
        });
        return Outcome::ScopeDenied;
    }
    let lifetime_s = tokens.expires_in.unwrap_or_else(|| i64::from(login.grant.rules.lifetime_s));
    document.access = Some(Access {
        fp: fingerprint::of_token(&tokens.access),
        token: tokens.access.clone(),
        issued_at: *sent_at,
        expires_at: *sent_at + SignedDuration::from_secs(lifetime_s),
        lifetime_s,
        scopes: granted.map_or_else(|| login.grant.scopes.clone(), <[String]>::to_vec),
        config_fp: login.config_fp.clone(),
    });
    if in_doubt && tokens.refresh.is_none() && login.grant.rules.rotates() {
        document.retry = Some(Retry {
            attempts: 0,
            not_before: *sent_at,
            reason: Reason::RotationLost.as_str().to_owned(),
            config_fp: login.config_fp.clone(),
        });
    }
    Outcome::Success
}

/// Files a received refresh token where its parent is. Whether it became, or already was, the head.
fn adopt_child(document: &mut Document, claim: &Claim, child: &Token, at: Timestamp) -> bool {
    let fp = fingerprint::of_token(child);
    let parent = &claim.parent_fp;
    match &mut document.refresh {
        Some(head) if head.fp == fp => {
            head.presented = Presented::Accepted;
            return true;
        }
        Some(head) if head.fp == *parent => {
            *head = Refresh { token: child.clone(), fp, obtained_at: at, presented: Presented::Never };
            document.r#gen += 1;
            document.spent.push(parent.clone());
            let excess = document.spent.len().saturating_sub(MAX_SPENT);
            document.spent.drain(..excess);
            document.doubt = None;
            return true;
        }
        _ => {}
    }
    let place = document.spare.iter_mut().find(|spare| spare.fp == *parent);
    if let Some(spare) = place {
        (spare.token, spare.fp, spare.presented) = (child.clone(), fp, Presented::Never);
        spare.r#gen += 1;
    } else {
        let seed_seq = document.seed.as_ref().map_or(0, |seed| seed.seq);
        let (r#gen, presented) = (document.r#gen, Presented::Never);
        keep_spare(document, Spare { token: child.clone(), fp, seed_seq, r#gen, presented, seed: None });
    }
    false
}

/// Full jitter between 5 s and 5 min, longer where the provider says so (an hour at most).
fn back_off(document: &mut Document, presentation: &Presentation<'_>) {
    let (reason, retry_after_s) = match presentation.answer {
        Answer::NotCommitted { reason, retry_after_s, .. } => (*reason, *retry_after_s),
        _ => (Reason::InDoubt, None),
    };
    let attempts = document.retry.as_ref().map_or(0, |retry| retry.attempts).saturating_add(1);
    let ceiling = 300.0_f64.min(5.0 * f64::from(1_u32 << attempts.min(10)));
    let seconds = (5.0 + presentation.random * (ceiling - 5.0))
        .max(retry_after_s.unwrap_or(0).min(MAX_RETRY_AFTER.as_secs()) as f64);
    document.retry = Some(Retry {
        attempts,
        not_before: presentation.now + SignedDuration::from_millis((seconds * 1000.0) as i64),
        reason: reason.as_str().to_owned(),
        config_fp: presentation.login.config_fp.clone(),
    });
}

/// `invalid_grant`. It counts only against the token that was presented; where that was a login which had never
/// worked, the lineage before it comes back.
fn refused(document: &mut Document, presentation: &Presentation<'_>) {
    let Presentation { claim, login, now, .. } = presentation;
    if document.refresh.as_ref().is_none_or(|head| head.fp != claim.parent_fp) {
        return;
    }
    let unproven = document.seed.as_ref().is_some_and(|seed| !seed.proven);
    let before = document.spare.iter().position(|spare| spare.seed.as_ref().is_some_and(|seed| seed.proven));
    if let (true, Some(before)) = (unproven, before) {
        let spare = document.spare.remove(before);
        remember(document, &claim.parent_fp, "rejected");
        let (fp, token, presented) = (spare.fp, spare.token, spare.presented);
        (document.retry, document.verdict) = (None, None);
        // An answer about the old head that was missing before the new login is still missing.
        document.doubt = (presented == Presented::InDoubt).then(|| Doubt {
            parent_fp: fp.clone(),
            first_sent_at: *now,
            cause: "before_new_login".to_owned(),
            replay_not_before: last_responsible_moment(*now, document.access.as_ref(), presentation.timing),
            replays: 0,
        });
        document.refresh = Some(Refresh { token, fp, obtained_at: *now, presented });
        document.seed = spare.seed;
        return;
    }
    let probes = document.verdict.as_ref().filter(|verdict| verdict.fp == claim.parent_fp);
    let wait = match probes.map(|verdict| now.duration_since(verdict.at)) {
        None => SignedDuration::from_mins(1),
        Some(age) if age < SignedDuration::from_hours(1) => SignedDuration::from_hours(1),
        Some(_) => SignedDuration::from_hours(24),
    };
    document.verdict = Some(Verdict {
        fp: claim.parent_fp.clone(),
        error: Reason::InvalidGrant.as_str().to_owned(),
        at: probes.map_or(*now, |verdict| verdict.at),
        next_probe: *now + wait,
        config_fp: login.config_fp.clone(),
    });
    document.doubt = None;
}

#[cfg(test)]
mod tests;
