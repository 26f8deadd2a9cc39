//! An exchange with the token endpoint: connect, claim, mark, send, spool, commit. A process that ends between two steps
//! leaves either nothing or what the next process needs.

use jiff::SignedDuration;

use super::look::fraction;
use super::{Began, Effect, Exchange, Moment, Phase, Record, Replica, Report, Seen, Uncommitted, WriteError};
use crate::answer::{Answer, Heard};
use crate::cause::Cause;
use crate::commit::{Presentation, record};
use crate::decision::Attempt;
use crate::document::Document;
use crate::fingerprint::of_token;
use crate::login::Login;
use crate::reason::NotSent;
use crate::reply::Reply;

impl Replica {
    /// Writes the claim once there is a connection; without one, writes the backoff that all replicas share.
    pub(super) fn connected(
        &mut self,
        (login, attempt): (Login, Attempt),
        result: Result<(), NotSent>,
        moment: &Moment,
    ) -> Effect {
        if moment.draining {
            return Effect::Read;
        }
        let id = format!("{:032x}", moment.random);
        let holder = self.settings.holder();
        let (document, claim) = attempt.claimed(&id, &holder, moment.now, &self.settings.timing);
        match result {
            Ok(()) => {
                let began = Began { monotonic: moment.monotonic, boot: moment.boot, wall: moment.wall };
                self.phase = Phase::Claiming(Box::new(Exchange { login, attempt, claim, began }));
                Effect::Write(self.numbered(document))
            }
            Err(reason) => {
                self.yields = true;
                // The backoff is recorded under a claim that was never written.
                let mut uncommitted = Uncommitted::new(claim, login.asked(), moment.now);
                uncommitted.answer = Some(Answer::NotSent(reason));
                let (next, report) = self.recorded(&uncommitted, &document, moment);
                self.report = report;
                next.map_or(Effect::Read, |next| self.write(next))
            }
        }
    }

    /// Continues after the claim's write. After a conflict the replica reads what the winner wrote; without an answer it reads
    /// whether its claim stands.
    pub(super) fn claimed(
        &mut self,
        exchange: Exchange,
        result: Result<(), WriteError>,
        moment: &Moment,
    ) -> Effect {
        match result {
            Ok(()) => self.mark(exchange, moment),
            Err(WriteError::Conflict) => Self::conflict(moment),
            Err(WriteError::Unclear(_)) => {
                self.restart_settling();
                self.phase = Phase::Checking(Box::new(exchange));
                Effect::Read
            }
            Err(WriteError::Refused(condition) | WriteError::Unacceptable(condition)) => {
                self.hold_off(condition, moment)
            }
        }
    }

    /// The own id in the document means that the claim was written.
    pub(super) fn check(&mut self, exchange: Exchange, seen: Seen, moment: &Moment) -> Effect {
        if let Err(wait) = self.observe(seen, moment) {
            return Effect::Wait(wait);
        }
        if self.stored.claim.as_ref().is_some_and(|claim| claim.id == exchange.claim.id) {
            return self.mark(exchange, moment);
        }
        self.decide(moment)
    }

    fn mark(&mut self, exchange: Exchange, moment: &Moment) -> Effect {
        self.blocked = None;
        let claim = exchange.claim.clone();
        self.stored =
            *self.numbered(Document { claim: Some(claim.clone()), ..exchange.attempt.document.clone() });
        self.memory = Some(self.stored.clone());
        self.rejected = None;
        let uncommitted = Uncommitted::new(claim, exchange.login.asked(), moment.now);
        self.uncommitted = Some(uncommitted.clone());
        if !self.settings.safeguards.sent_is_marked() {
            return self.marked(exchange, true, moment);
        }
        self.phase = Phase::Marking(Box::new(exchange));
        Effect::Spool(Record::Uncommitted(Box::new(uncommitted)))
    }

    /// Sends if each of the three clocks shows that the claim is fresh. A process that was frozen in between must not send
    /// when it continues.
    pub(super) fn marked(&mut self, exchange: Exchange, done: bool, moment: &Moment) -> Effect {
        let Exchange { login, attempt, began, .. } = exchange;
        let window = self.settings.timing.window;
        let within = |elapsed: SignedDuration| (SignedDuration::ZERO..=window).contains(&elapsed);
        let since = |now: std::time::Duration, then: std::time::Duration| {
            now.checked_sub(then)
                .and_then(|elapsed| SignedDuration::try_from(elapsed).ok())
                .is_some_and(within)
        };
        let fresh = since(moment.monotonic, began.monotonic)
            && since(moment.boot, began.boot)
            && within(moment.wall.duration_since(began.wall));
        let reason = match (done, fresh || !self.settings.safeguards.window_is_checked()) {
            (true, true) if !moment.draining => {
                self.phase = Phase::Sending;
                return Effect::Send(Box::new(login), attempt.token);
            }
            (false, _) => NotSent::SpoolFailed,
            _ => NotSent::GaveUp,
        };
        self.replied(Reply::NotSent(reason))
    }

    pub(super) fn await_reply(&mut self, moment: &Moment) -> Effect {
        self.phase = Phase::Sending;
        Effect::Wait(moment.now + self.settings.timing.term)
    }

    /// Puts the own claim back where it was wiped while the reply is still to come: no other replica may know of it.
    pub(super) fn restore_claim(&mut self, seen: Seen, moment: &Moment) -> Effect {
        let (Ok(()), Some(uncommitted)) = (self.observe(seen, moment), &self.uncommitted) else {
            return self.await_reply(moment);
        };
        let claim = uncommitted.claim.clone();
        let next = match self.repair() {
            Some(memory) => Document { claim: Some(claim), ..memory },
            // Another replica repaired the state without having seen the claim.
            None if self.stored.claim.is_none() && self.stored.head_fp() == Some(&claim.parent_fp) => {
                Document { claim: Some(claim), ..self.stored.clone() }
            }
            None => return self.await_reply(moment),
        };
        let next = self.numbered(next);
        self.phase = Phase::RestoringClaim(next.clone());
        Effect::Write(next)
    }

    pub(super) fn claim_restored(
        &mut self,
        document: Document,
        result: &Result<(), WriteError>,
        moment: &Moment,
    ) -> Effect {
        if result.is_ok() {
            (self.stored, self.memory) = (document.clone(), Some(document));
            return self.await_reply(moment);
        }
        self.phase = Phase::Sending;
        Self::conflict(moment)
    }

    /// Spools the answer. It is stored after that, and served only then.
    pub(super) fn replied(&mut self, reply: Reply) -> Effect {
        let Some(uncommitted) = &mut self.uncommitted else { return Effect::Read };
        let heard = Heard::of(reply, &uncommitted.asked, &uncommitted.claim.parent_fp);
        uncommitted.answer = Some(heard.answer);
        (uncommitted.http, uncommitted.unread) = (heard.http, heard.unread);
        if !self.settings.safeguards.answer_is_spooled() {
            return Effect::Read;
        }
        self.phase = Phase::Spooling;
        Effect::Spool(Record::Uncommitted(Box::new(uncommitted.clone())))
    }

    /// Records the outcome of a presentation on top of the current document, until a read shows that it is there.
    pub(super) fn settle_uncommitted(&mut self, moment: &Moment) -> Effect {
        let Some(mut uncommitted) = self.uncommitted.clone() else { return Effect::Read };
        // The process ended between sending and the answer: perhaps sent.
        let answer =
            uncommitted.answer.get_or_insert_with(|| Answer::missing(Cause::Crashed, &uncommitted.asked));
        let nothing_new = answer.child().is_none_or(|child| of_token(child) == uncommitted.claim.parent_fp);
        // A state that does not know the parent was wiped: a replica that remembers it gets time to restore it.
        let settled_at = self.settled_at(moment);
        if answer.child().is_some() && !is_related(&self.stored, &uncommitted) && settled_at > moment.now {
            return Effect::Wait(settled_at);
        }
        let (next, report) = self.recorded(&uncommitted, &self.stored, moment);
        if !uncommitted.stored {
            self.pending_report = report;
        }
        let Some(next) = next.filter(|_| !(uncommitted.stored && nothing_new)) else {
            self.report = self.pending_report.take().or(self.report.take());
            self.phase = Phase::Closing;
            return Effect::Spool(Record::Closed(uncommitted.claim.id));
        };
        let next = self.numbered(next);
        self.phase = Phase::Committing(next.clone());
        Effect::Write(next)
    }

    /// Continues after the write of an uncommitted presentation. A read still has to confirm it.
    pub(super) fn committed(
        &mut self,
        document: Document,
        result: Result<(), WriteError>,
        moment: &Moment,
    ) -> Effect {
        if let (Ok(()), Some(uncommitted)) = (&result, &mut self.uncommitted) {
            uncommitted.stored = true;
            self.report = self.pending_report.take().or(self.report.take());
        }
        self.written(document, result, moment)
    }

    /// Returns the document with the answer recorded, and the report to count.
    fn recorded(
        &self,
        uncommitted: &Uncommitted,
        document: &Document,
        moment: &Moment,
    ) -> (Option<Document>, Option<Report>) {
        let Some(answer) = &uncommitted.answer else { return (None, None) };
        let presentation = Presentation {
            claim: &uncommitted.claim,
            asked: &uncommitted.asked,
            answer,
            http: uncommitted.http.as_ref(),
            sent_at: uncommitted.sent_at,
            now: moment.now,
            random: fraction(moment.random),
            timing: self.settings.timing,
            safeguards: self.settings.safeguards,
        };
        let (mut next, outcome) = record(document, &presentation);
        if let Some(next) = next.as_mut().filter(|_| uncommitted.without_access) {
            next.access.clone_from(&document.access);
        }
        (next, Some(Report { outcome, answer: answer.clone() }))
    }
}

/// Whether the document knows the presented token or the one that came with its answer.
fn is_related(document: &Document, uncommitted: &Uncommitted) -> bool {
    let child = uncommitted.answer.as_ref().and_then(Answer::child).map(of_token);
    let known = |fp: &String| *fp == uncommitted.claim.parent_fp || Some(fp) == child.as_ref();
    document.refresh.iter().map(|head| &head.fp).any(known)
        || document.spent.iter().any(known)
        || document.spare.iter().map(|spare| &spare.fp).any(known)
}
