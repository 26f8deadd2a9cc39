//! How an answer is recorded in the document. Lineage decides, not time: a received refresh token is filed where its parent
//! is, whichever replica holds a claim meanwhile. After a conflict the same function runs again on the document as it is then.

mod backoff;
mod presentation;

use agent_creds_core::words::Word;
use jiff::{SignedDuration, Timestamp};
use strum::{EnumMessage, IntoStaticStr, VariantArray};

use self::backoff::{back_off, pause_of, retry, wait_as_in_doubt};
pub use self::presentation::Presentation;
use super::answer::{Answer, Tokens};
use super::cause::Cause;
use super::clients;
use super::document::{
    Access, Claim, Document, Doubt, Forced, Last, MAX_SPENT, Presented, ReauthAt, Refresh, Seed, SeenSeed,
    Spare, Token, Verdict,
};
use super::doubt::{Missing, doubt, last_responsible_moment};
use super::fingerprint;
use super::login::Asked;
use super::memory::knows;
use super::reason::{NotSent, Outlook};
use super::seed::{keep_spare, next_best, remember};

/// What became of a presentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, IntoStaticStr, VariantArray, EnumMessage)]
#[strum(serialize_all = "snake_case")]
pub enum Outcome {
    /// A token was received and stored.
    Success,
    /// Nothing was sent.
    NotSent,
    /// The provider refused without touching the grant.
    NotCommitted,
    /// No usable answer: the provider may have replaced the refresh token.
    InDoubt,
    /// The provider says that the refresh token is dead.
    InvalidGrant,
    /// The token carries less than was asked; it is not served.
    ScopeDenied,
    /// The token is no bearer token; it is not served.
    UnsupportedTokenType,
}

/// Returns the document to write, and the outcome to count. `None`: the claim is closed already, and nothing that was
/// received would be lost by leaving the document as it is.
pub fn record(document: &Document, presentation: &Presentation<'_>) -> (Option<Document>, Outcome) {
    let mut next = document.clone();
    let Presentation { claim, asked, answer, http, sent_at, .. } = *presentation;
    let mine = document.claim.as_ref().is_some_and(|held| held.id == claim.id);
    if mine {
        next.claim = None;
    }
    if !mine && (is_filed(document, presentation) || !presentation.safeguards.lineage_decides()) {
        // A write whose answer was lost took place, and other replicas have gone on from it.
        return (None, Outcome::Success);
    }
    let outcome = match answer {
        Answer::Granted(tokens) => granted(&mut next, presentation, tokens),
        Answer::NotSent(reason) => {
            // A replica that gave up because it drains, or was frozen, learnt nothing about the provider.
            if mine && *reason != NotSent::GaveUp {
                back_off(&mut next, presentation);
            }
            Outcome::NotSent
        }
        Answer::Refused { .. } => {
            if mine {
                back_off(&mut next, presentation);
            }
            Outcome::NotCommitted
        }
        Answer::InDoubt { cause, salvaged, retry_after_s, .. } => {
            match salvaged {
                Some(child) => {
                    adopt_child(&mut next, presentation, child);
                    wait_as_in_doubt(&mut next, presentation, *cause);
                }
                // Also where the claim was wiped: no other replica knows that the head was perhaps presented.
                None if asked.rotates() && (mine || is_unnoticed(&next, claim)) => {
                    let not_before = presentation.now + pause_of(*retry_after_s);
                    let missing =
                        Missing { claim, cause: *cause, http, sent_at, replay: asked.replay, not_before };
                    doubt(&mut next, &missing, presentation.now, &presentation.timing);
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
    keep_others(&mut next, presentation);
    if answer.brought_a_token() {
        clients::accept(&mut next.clients, asked);
    }
    // Where the head has been refused, a token that was received late may be the valid one.
    if let Some(fp) = next.verdict.as_ref().map(|verdict| verdict.fp.clone())
        && next.head_fp() == Some(&fp)
        && answer.brought_a_token()
        && let Some(spare) = next_best(&mut next, &asked.binding)
    {
        go_on_with(&mut next, spare, &fp, presentation);
    }
    if let Some(access_fp) = claim
        .rejected
        .clone()
        .filter(|_| mine && !matches!(answer, Answer::NotSent(_) | Answer::Refused { .. }))
    {
        next.forced = Some(Forced { access_fp, at: claim.claimed_at, ..Forced::default() });
    }
    if mine && outcome != Outcome::NotSent {
        let (by, outcome) = (claim.holder.clone(), outcome.as_str().to_owned());
        next.last = Some(Last { redeemed_at: sent_at, outcome, by, ..Last::default() });
    }
    let noticed = next.doubt != document.doubt;
    ((mine || noticed || answer.brought_a_token()).then_some(next), outcome)
}

/// Whether the head is the parent of a claim that the document does not mention.
fn is_unnoticed(document: &Document, claim: &Claim) -> bool {
    let open = document.doubt.as_ref().is_some_and(|doubt| doubt.parent_fp == claim.parent_fp);
    document.head_fp() == Some(&claim.parent_fp) && !open && document.verdict.is_none()
}

/// Whether the document holds the received refresh token, or has held and replaced it.
fn is_filed(document: &Document, presentation: &Presentation<'_>) -> bool {
    let Some(child) = presentation.answer.child() else { return false };
    let fp = fingerprint::of_token(child);
    fp != presentation.claim.parent_fp && knows(document, &fp)
}

fn granted(document: &mut Document, presentation: &Presentation<'_>, tokens: &Tokens) -> Outcome {
    let Presentation { claim, asked, sent_at, .. } = *presentation;
    let in_doubt = document.doubt.as_ref().is_some_and(|doubt| doubt.parent_fp == claim.parent_fp);
    let was_head = match &tokens.refresh {
        Some(child) => adopt_child(document, presentation, child),
        None => match document.refresh.as_mut().filter(|head| head.fp == claim.parent_fp) {
            Some(head) => {
                head.presented = Presented::Accepted;
                bind(document, asked);
                true
            }
            None => false,
        },
    };
    if !was_head {
        return Outcome::Success;
    }
    if let Some(seed) = &mut document.seed {
        seed.proven = true;
    }
    document.spare.retain(|spare| spare.seed.is_none());
    (document.doubt, document.verdict, document.retry) = (None, None, None);
    // A request that this claim did not carry out stays open.
    document.request = document.request.take().filter(|request| claim.request.as_ref() != Some(&request.id));
    document.reauth_at = reauth_at(document, asked, sent_at);
    // To avoid a loop, a token that cannot be served is followed by the next attempt an hour later, or when the configuration or
    // the login changes. The refresh token is stored; the old access token is served to its end.
    let in_an_hour = presentation.now + SignedDuration::from_hours(1);
    if tokens.is_of_another_type {
        document.retry = Some(retry(1, in_an_hour, Outlook::UnsupportedTokenType.into(), presentation));
        return Outcome::UnsupportedTokenType;
    }
    let granted = tokens.scopes.as_deref();
    let lacks = |scope: &String| granted.is_some_and(|granted| !granted.contains(scope));
    if asked.scopes.iter().any(lacks) {
        document.retry = Some(retry(1, in_an_hour, Outlook::ScopeDowngraded.into(), presentation));
        return Outcome::ScopeDenied;
    }
    let lifetime_s = tokens.expires_in.unwrap_or_else(|| i64::from(asked.lifetime_s));
    document.access = Some(Access {
        fp: fingerprint::of_token(&tokens.access),
        token: tokens.access.clone(),
        issued_at: sent_at,
        expires_at: sent_at + SignedDuration::from_secs(lifetime_s),
        lifetime_s,
        scopes: granted.map_or_else(|| asked.scopes.clone(), <[String]>::to_vec),
        config_fp: asked.config_fp.clone(),
        ..Access::default()
    });
    if in_doubt && tokens.refresh.is_none() && asked.rotates() {
        document.retry = Some(retry(0, sent_at, Outlook::RotationLost.into(), presentation));
    }
    Outcome::Success
}

/// The end of the grant: the earlier of the provider's hard limit (since the login) and its idle limit (since the last
/// redemption).
fn reauth_at(document: &Document, asked: &Asked, redeemed_at: Timestamp) -> Option<ReauthAt> {
    let seed = document.seed.as_ref()?;
    let days = |days: u32| SignedDuration::from_hours(24 * i64::from(days));
    let (basis, since) = match seed.issued_at {
        Some(issued_at) => ("issued_at", issued_at),
        None => ("adopted_at", seed.adopted_at),
    };
    let hard = asked.hard_days.map(|limit| since + days(limit));
    let idle = asked.idle_days.map(|limit| redeemed_at + days(limit));
    let at = [hard, idle].into_iter().flatten().min()?;
    Some(ReauthAt { at, basis: basis.to_owned(), ..ReauthAt::default() })
}

/// Files a received refresh token where its parent is. Returns whether it became, or already was, the head.
fn adopt_child(document: &mut Document, presentation: &Presentation<'_>, child: &Token) -> bool {
    let (fp, at) = (fingerprint::of_token(child), presentation.sent_at);
    let parent = &presentation.claim.parent_fp;
    match &mut document.refresh {
        Some(head) if head.fp == fp => {
            head.presented = Presented::Accepted;
            return true;
        }
        Some(head) if head.fp == *parent => {
            let (token, presented) = (child.clone(), Presented::Never);
            *head = Refresh { token, fp, obtained_at: at, presented, ..Refresh::default() };
            document.r#gen += 1;
            bind(document, presentation.asked);
            spend(document, parent);
            document.doubt = None;
            return true;
        }
        _ => {}
    }
    let place = document.spare.iter_mut().find(|spare| spare.fp == *parent);
    if let Some(spare) = place {
        (spare.token, spare.fp, spare.presented) = (child.clone(), fp, Presented::Never);
        spare.r#gen += 1;
        spend(document, parent);
    } else {
        keep_received(document, presentation, child, fp);
    }
    false
}

/// Binds the login to what accepted it.
fn bind(document: &mut Document, asked: &Asked) {
    if let Some(seed) = &mut document.seed {
        seed.binding.clone_from(&asked.binding);
    }
}

/// Keeps a refresh token that was received, and of which the document does not say what it replaces.
fn keep_received(document: &mut Document, presentation: &Presentation<'_>, token: &Token, fp: String) {
    let (seed_seq, r#gen) = document.progress();
    let (token, binding) = (token.clone(), presentation.asked.binding.clone());
    keep_spare(document, Spare { token, fp, seed_seq, r#gen, binding, ..Spare::default() });
}

/// Keeps the other refresh tokens of an answer with several: one of them is tried if the provider refuses the head.
fn keep_others(document: &mut Document, presentation: &Presentation<'_>) {
    for other in presentation.answer.others() {
        let fp = fingerprint::of_token(other);
        if fp != presentation.claim.parent_fp && !knows(document, &fp) {
            keep_received(document, presentation, other, fp);
        }
    }
}

/// Adds a fingerprint to the tokens that are never presented again.
fn spend(document: &mut Document, fp: &str) {
    document.spent.push(fp.to_owned());
    let excess = document.spent.len().saturating_sub(MAX_SPENT);
    document.spent.drain(..excess);
}

/// Records `invalid_grant`. It counts only against the token that was presented; a spare token that may be tried is tried
/// first.
fn refused(document: &mut Document, presentation: &Presentation<'_>) {
    let Presentation { claim, asked, now, timing, safeguards, .. } = *presentation;
    let Some(head) = document.refresh.as_ref().filter(|head| head.fp == claim.parent_fp) else { return };
    let never_presented = head.presented == Presented::Never;
    let waits = |open: &&mut Doubt| open.parent_fp == claim.parent_fp && safeguards.refusal_waits_for_doubt();
    if let Some(open) = document.doubt.as_mut().filter(waits) {
        // The replica that received the missing answer may still come back with it.
        let moment = last_responsible_moment(open.first_sent_at, document.access.as_ref(), &timing);
        if now < moment {
            (open.replay_not_before, open.replays) = (moment, open.replays + 1);
            return;
        }
    }
    if let Some(spare) = next_best(document, &asked.binding) {
        return go_on_with(document, spare, &claim.parent_fp, presentation);
    }
    let proven = document.seed.as_ref().is_some_and(|seed| seed.proven);
    let elsewhere = never_presented && proven && document.doubt.is_none();
    let said = if elsewhere { Outlook::SpentElsewhere } else { Outlook::InvalidGrant };
    let before = document.verdict.take().filter(|verdict| verdict.fp == claim.parent_fp);
    let wait = match before.as_ref().map(|verdict| now.duration_since(verdict.at)) {
        None => timing.probe,
        Some(age) if age < timing.probe * 60 => timing.probe * 60,
        Some(_) => timing.probe * (24 * 60),
    };
    document.verdict = Some(Verdict {
        fp: claim.parent_fp.clone(),
        error: before.as_ref().map_or_else(|| said.as_str().to_owned(), |verdict| verdict.error.clone()),
        at: before.map_or(now, |verdict| verdict.at),
        next_probe: now + wait,
        config_fp: asked.config_fp.clone(),
        http: presentation.http.cloned(),
        ..Verdict::default()
    });
    document.doubt = None;
}

/// Replaces a refused head by a spare.
fn go_on_with(document: &mut Document, spare: Spare, refused: &str, presentation: &Presentation<'_>) {
    let Presentation { now, timing, .. } = *presentation;
    let Spare { token, fp, presented, seed, .. } = spare;
    match seed {
        // The login never worked: the one before it comes back, as the next in the count.
        Some(before) => {
            let seen = SeenSeed {
                fp: refused.to_owned(),
                verdict: "rejected".to_owned(),
                binding: Some(presentation.asked.binding.clone()),
                http: presentation.http.cloned(),
                ..SeenSeed::default()
            };
            remember(document, seen);
            document.seeds_seen.retain(|seen| seen.fp != before.token_fp);
            document.seed = Some(Seed { seq: document.progress().0 + 1, ..before });
        }
        None => {
            spend(document, refused);
            document.r#gen += 1;
        }
    }
    (document.retry, document.verdict) = (None, None);
    // An answer to this token that was missing before is still missing.
    document.doubt = (presented == Presented::InDoubt).then(|| Doubt {
        parent_fp: fp.clone(),
        first_sent_at: now,
        cause: Cause::BeforeNewLogin.as_str().to_owned(),
        replay_not_before: last_responsible_moment(now, document.access.as_ref(), &timing),
        ..Doubt::default()
    });
    document.refresh = Some(Refresh { token, fp, obtained_at: now, presented, ..Refresh::default() });
}

#[cfg(test)]
mod tests;
