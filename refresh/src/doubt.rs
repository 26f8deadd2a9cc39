//! Doubt: a refresh token was perhaps presented, and its answer is missing. The provider's replay rule decides when it may be
//! presented again. Until then waiting costs nothing, and a wrong presentation would cost the grant.

use agent_creds_core::provider::Replay;
use agent_creds_core::words::Word;
use jiff::{SignedDuration, Timestamp};

use super::cause::Cause;
use super::document::{Access, Claim, Document, Doubt, Http, Presented};
use super::reason::{Outlook, Reason};
use super::timing::Timing;

/// A presentation whose answer is missing.
#[derive(Clone, Copy, Debug)]
pub struct Missing<'a> {
    /// The claim under which it was made.
    pub claim: &'a Claim,
    /// What happened instead of an answer.
    pub cause: Cause,
    /// How an answer came that was none.
    pub http: Option<&'a Http>,
    /// When it was sent, or was perhaps sent.
    pub sent_at: Timestamp,
    /// The provider's rule.
    pub replay: Replay,
    /// The provider does not want another request before.
    pub not_before: Timestamp,
}

/// Records that the parent of a claim was perhaps presented. A second doubt about the same token keeps the start of the first.
pub fn doubt(document: &mut Document, missing: &Missing<'_>, now: Timestamp, timing: &Timing) {
    let Missing { claim, cause, http, sent_at, replay, not_before } = *missing;
    let before = document.doubt.take().filter(|doubt| doubt.parent_fp == claim.parent_fp);
    let replays = before.as_ref().map_or(0, |doubt| doubt.replays + 1);
    let refused = cause.is_refusal() && before.as_ref().is_none_or(|doubt| doubt.refused);
    let first_sent_at = before.map_or(sent_at, |doubt| doubt.first_sent_at);
    let first =
        licensed_at(replay, replays, claim.claimed_at, first_sent_at, document.access.as_ref(), timing);
    let backoff = timing.term * (1 << replays.min(6));
    document.doubt = Some(Doubt {
        parent_fp: claim.parent_fp.clone(),
        first_sent_at,
        cause: cause.as_str().to_owned(),
        replay_not_before: not_before.max(if replays == 0 { first } else { first.max(now + backoff) }),
        replays,
        refused,
        http: http.cloned(),
        ..Doubt::default()
    });
    if let Some(head) = &mut document.refresh
        && head.fp == claim.parent_fp
    {
        head.presented = Presented::InDoubt;
    }
}

/// Returns the reason that a doubt is for the state of a grant, and its sentence.
pub fn explained(doubt: &Doubt) -> (Reason, String) {
    let Some(cause) = Cause::from_word(&doubt.cause) else {
        // Of a newer version.
        return (Outlook::InDoubt.into(), Outlook::InDoubt.sentence().to_owned());
    };
    let reason = cause.reason();
    let what = if reason == Outlook::UnreadableAnswer.into() {
        "; it is kept in the spool of the pod that received it (docs/refresh-protocol.md)"
    } else {
        ""
    };
    let rule = "the refresh token is not presented again before the provider's rule allows it";
    (reason, format!("{}{what}; {rule}", cause.sentence()))
}

/// Returns when the provider's replay rule allows another presentation.
fn licensed_at(
    replay: Replay,
    replays: u32,
    claimed_at: Timestamp,
    first_sent_at: Timestamp,
    access: Option<&Access>,
    timing: &Timing,
) -> Timestamp {
    let term_ends = claimed_at + timing.term;
    let in_grace = match replay {
        // Within 80 % of the grace: the provider's clock and ours may differ.
        Replay::Grace(seconds) => {
            term_ends < first_sent_at + SignedDuration::from_millis(i64::from(seconds) * 800)
        }
        Replay::Prompt => replays == 0,
        Replay::Unknown | Replay::None => false,
    };
    if in_grace { term_ends } else { last_responsible_moment(claimed_at, access, timing) }
}

/// Returns the last responsible moment: until then waiting costs nothing. It is the end of the claim's term or, if that is
/// later, shortly before the end of the access token.
pub fn last_responsible_moment(claimed_at: Timestamp, access: Option<&Access>, timing: &Timing) -> Timestamp {
    let term_ends = claimed_at + timing.term;
    access.map_or(term_ends, |access| {
        let margin = SignedDuration::from_secs(access.lifetime_s / 20).max(timing.last_moment);
        term_ends.max(access.expires_at - margin)
    })
}
