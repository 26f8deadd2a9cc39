//! The pauses after a failure, which all replicas share.

use jiff::{SignedDuration, Timestamp};

use super::presentation::Presentation;
use crate::answer::Answer;
use crate::cause::Cause;
use crate::document::{Document, Retry};
use crate::doubt::last_responsible_moment;
use crate::reason::{Outlook, Reason};
use crate::schedule::MAX_RETRY_AFTER;

/// A pause for this reason, in which only other settings are tried.
pub(super) fn retry(
    attempts: u32,
    not_before: Timestamp,
    reason: Reason,
    presentation: &Presentation<'_>,
) -> Retry {
    let (reason, config_fp) = (reason.word.to_owned(), presentation.asked.config_fp.clone());
    Retry { attempts, not_before, reason, config_fp, http: presentation.http.cloned(), ..Retry::default() }
}

/// Writes the shared backoff: full jitter between the shortest and the longest pause, or longer where the provider asks for
/// it (an hour at most).
pub(super) fn back_off(document: &mut Document, presentation: &Presentation<'_>) {
    let (reason, retry_after_s): (Reason, _) = match presentation.answer {
        Answer::NotSent(reason) => ((*reason).into(), None),
        Answer::Refused { reason, retry_after_s } => ((*reason).into(), *retry_after_s),
        Answer::InDoubt { cause, retry_after_s, .. } => (cause.reason(), *retry_after_s),
        Answer::Granted(_) | Answer::InvalidGrant => (Outlook::InDoubt.into(), None),
    };
    let attempts = failures(document);
    let (shortest, longest) = presentation.timing.backoff;
    let ceiling = longest.min(shortest * (1 << attempts.min(10)));
    let pause = shortest + (ceiling - shortest).mul_f64(presentation.random);
    let not_before = presentation.now + pause.max(pause_of(retry_after_s));
    document.retry = Some(retry(attempts, not_before, reason, presentation));
}

/// Writes the wait after an answer that could not be read but for its refresh token. It is as long as that of a doubt: each
/// further presentation may rotate the token once more, and again bring nothing to serve.
pub(super) fn wait_as_in_doubt(document: &mut Document, presentation: &Presentation<'_>, cause: Cause) {
    let Presentation { claim, answer, now, timing, .. } = *presentation;
    let attempts = failures(document);
    let moment = last_responsible_moment(claim.claimed_at, document.access.as_ref(), &timing);
    let asked_for = if let Answer::InDoubt { retry_after_s, .. } = answer { *retry_after_s } else { None };
    let pause = (timing.term * (1 << attempts.min(6))).max(pause_of(asked_for));
    let not_before = moment.max(now + pause);
    document.retry = Some(retry(attempts, not_before, cause.reason(), presentation));
}

/// Failures in a row, with one more.
fn failures(document: &Document) -> u32 {
    document.retry.as_ref().map_or(0, |retry| retry.attempts).saturating_add(1)
}

/// The pause that a provider asks for, as far as it is honoured.
pub(super) fn pause_of(retry_after_s: Option<i64>) -> SignedDuration {
    SignedDuration::from_secs(retry_after_s.unwrap_or(0)).min(MAX_RETRY_AFTER)
}
