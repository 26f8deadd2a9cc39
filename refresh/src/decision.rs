//! What to do next about a grant: wait, or claim the right to present its refresh token. The two Secrets and the time in, one
//! step out. A claim is the only way to a presentation, and it is written by compare-and-swap before anything is sent, so
//! that of any number of replicas only one presents.

use agent_creds_core::provider::Replay;
use jiff::Timestamp;

use super::cause::Cause;
use super::clients;
use super::document::{Claim, Document, Home, Purpose, Token};
use super::doubt::{Missing, doubt};
use super::reason::Outlook;
use super::schedule::{self, due};
use super::seed::adopt;
use super::timing::Timing;
use super::view::View;

/// The next step.
#[derive(Debug)]
pub enum Step {
    /// Wait until this time or until a Secret changes. `None`: until a Secret changes.
    Wait(Option<Timestamp>),
    /// Write this document, in which a silent claim has become a doubt, or what was known is recorded.
    Write(Box<Document>),
    /// Claim, then present the token.
    Claim(Box<Attempt>),
    /// The two Secrets contradict each other.
    Refuse(Outlook),
}

/// A presentation that may be claimed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Attempt {
    /// The document as it will stand, without the claim.
    pub document: Document,
    /// The token to present; empty in flows that have none.
    pub token: Token,
    /// Its fingerprint.
    pub parent_fp: String,
    /// Why it is presented.
    pub purpose: Purpose,
    /// Fingerprint of the access token whose rejection is the purpose.
    pub rejected: Option<String>,
}

impl Attempt {
    /// The document with the claim in it.
    pub fn claimed(&self, id: &str, holder: &str, now: Timestamp, timing: &Timing) -> (Document, Claim) {
        let claim = Claim {
            id: id.to_owned(),
            holder: holder.to_owned(),
            parent_fp: self.parent_fp.clone(),
            purpose: self.purpose,
            claimed_at: now,
            term_s: timing.term.as_secs(),
            request: self.document.request.as_ref().map(|request| request.id.clone()),
            rejected: self.rejected.clone(),
            ..Claim::default()
        };
        (Document { claim: Some(claim.clone()), ..self.document.clone() }, claim)
    }
}

/// Decides. The order of the checks is part of the protocol.
pub fn next(view: &View<'_>) -> Step {
    let View { document, login, safeguards, .. } = view;
    if !document.may_write() {
        return Step::Refuse(Outlook::StateNewer);
    }
    let mut adopted = adopt(document, login, view.now, *safeguards);
    if is_foreign(document, &adopted, view.home) {
        return Step::Refuse(Outlook::ForeignState);
    }
    if adopted.seed.as_ref().is_some_and(|seed| seed.binding != login.binding) {
        return Step::Refuse(Outlook::BindingChanged);
    }
    if clients::is_bound_elsewhere(&document.clients, login) {
        return Step::Refuse(Outlook::SecretBound);
    }
    if let Some(claim) = document.claim.as_ref().filter(|_| safeguards.claim_is_awaited()) {
        return await_claim(claim, view);
    }
    if view.draining {
        return Step::Wait(None);
    }
    let unrecorded = clients::recorded(document, login);
    let record_at = view.informed_at.max(issued_at(document)) + view.timing.spread.mul_f64(view.spread);
    if let Some(recorded) = unrecorded.clone().filter(|_| record_at <= view.now) {
        return Step::Write(Box::new(recorded));
    }
    let Some(head) = &adopted.refresh else {
        return Step::Wait(None);
    };
    let (mut due, purpose) = due(&adopted, head, view);
    let settles = safeguards.changes_settle() && login.grant.rules.rotates();
    let from = if settles { view.informed_at.max(view.settled_at) } else { view.informed_at };
    due = due.max(from + view.turn);
    if due > view.now {
        return Step::Wait(Some(if unrecorded.is_some() { due.min(record_at) } else { due }));
    }
    let (token, parent_fp) = (head.token.clone(), head.fp.clone());
    let forced = purpose == Purpose::Forced && adopted.request.is_none();
    let rejected = view.rejected.filter(|_| forced).map(str::to_owned);
    adopted.home = view.home.cloned().or(adopted.home);
    Step::Claim(Box::new(Attempt { token, parent_fp, purpose, rejected, document: adopted }))
}

/// When the access token was issued, which all replicas see at the same time.
fn issued_at(document: &Document) -> Timestamp {
    document.access.as_ref().map_or(Timestamp::MIN, |access| access.issued_at)
}

/// Whether a redemption is wanted now, even where something prevents it.
pub fn is_wanted(view: &View<'_>) -> bool {
    let adopted = adopt(view.document, view.login, view.now, view.safeguards);
    adopted.refresh.is_some() && schedule::is_wanted(&adopted, view)
}

/// Whether the state was copied from another cluster, whose replicas may still use it. Only a new login resolves that.
fn is_foreign(document: &Document, adopted: &Document, home: Option<&Home>) -> bool {
    let (Some(written), Some(here)) = (&document.home, home) else { return false };
    let same_login =
        document.seed.as_ref().map(|seed| seed.seq) == adopted.seed.as_ref().map(|seed| seed.seq);
    written.cluster != here.cluster && written.uid != here.uid && same_login
}

/// Waits for another replica's claim until it was silent for its whole term. A silent claim means: perhaps sent.
fn await_claim(claim: &Claim, view: &View<'_>) -> Step {
    if view.silent_claim != Some(claim.id.as_str()) {
        return Step::Wait(None);
    }
    let mut document = Document { claim: None, ..view.document.clone() };
    let replay = view.login.grant.rules.replay;
    if replay != Replay::None && view.safeguards.silence_is_doubt() {
        let sent_at = claim.claimed_at;
        let missing =
            Missing { claim, cause: Cause::Silent, http: None, sent_at, replay, not_before: sent_at };
        doubt(&mut document, &missing, view.now, &view.timing);
    }
    Step::Write(Box::new(document))
}

#[cfg(test)]
mod tests;
