//! An exchange, step by step: connect, claim, mark, send, spool, commit. Each step has one way on and one way out,
//! and whoever ends in between leaves either nothing or what the next process needs.

use jiff::SignedDuration;

use super::look::fraction;
use super::{Began, Effect, Exchange, Moment, Owed, Phase, Record, Replica, Report, Seen, WriteError};
use crate::grant::answer::{Answer, Reply};
use crate::grant::commit::{Presentation, record};
use crate::grant::document::Document;
use crate::grant::fingerprint::of_token;
use crate::grant::login::Login;
use crate::grant::machine::Attempt;
use crate::outcome::{Cause, Reason};

impl Replica {
    /// A connection stands, so the claim can be written; or none does, and all back off together.
    pub(super) fn connected(
        &mut self,
        (login, attempt): (Login, Attempt),
        result: Result<(), Reason>,
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
                self.stands_back = true;
                // The backoff goes in under a claim that never stood.
                let answer = Answer::NotCommitted { reason, retry_after_s: None, sent: false };
                let (asked, sent_at) = (login.asked(), moment.now);
                let owed = Owed {
                    claim,
                    asked,
                    sent_at,
                    answer: Some(answer),
                    without_access: false,
                    stored: false,
                };
                let (next, report) = self.recorded(&owed, &document, moment);
                self.report = report;
                next.map_or(Effect::Read, |next| self.write(next))
            }
        }
    }

    /// Who lost the race reads what the winner wrote; who got no answer looks whether the claim stands.
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
                self.settles_anew();
                self.phase = Phase::Checking(Box::new(exchange));
                Effect::Read
            }
            Err(WriteError::Refused(trouble) | WriteError::Unacceptable(trouble)) => {
                self.block(trouble, moment)
            }
        }
    }

    /// Our own id there means that the claim is ours.
    pub(super) fn check(&mut self, exchange: Exchange, seen: Seen, moment: &Moment) -> Effect {
        if let Err(wait) = self.take_in(seen, moment) {
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
        let (asked, sent_at) = (exchange.login.asked(), moment.now);
        let owed = Owed { claim, asked, sent_at, answer: None, without_access: false, stored: false };
        self.owed = Some(owed.clone());
        if !self.settings.rules.sent_is_marked {
            return self.marked(exchange, true, moment);
        }
        self.phase = Phase::Marking(Box::new(exchange));
        Effect::Spool(Record::Owed(Box::new(owed)))
    }

    /// Directly before the first byte each clock must show that the claim is fresh: a process that was frozen in
    /// between must not send when it wakes.
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
        let reason = match (done, fresh || !self.settings.rules.window_is_checked) {
            (true, true) if !moment.draining => {
                self.phase = Phase::Sending;
                return Effect::Send(Box::new(login), attempt.token);
            }
            (false, _) => Reason::SpoolFailed,
            _ => Reason::GaveUp,
        };
        self.replied(Reply::NotSent(reason))
    }

    pub(super) fn await_reply(&mut self, moment: &Moment) -> Effect {
        self.phase = Phase::Sending;
        Effect::Wait(moment.now + self.settings.timing.term)
    }

    /// Who waits for a reply still speaks up where its claim is wiped away: nobody else may know of it.
    pub(super) fn object(&mut self, seen: Seen, moment: &Moment) -> Effect {
        let (Ok(()), Some(owed)) = (self.take_in(seen, moment), &self.owed) else {
            return self.await_reply(moment);
        };
        let claim = owed.claim.clone();
        let next = match self.repair() {
            Some(memory) => Document { claim: Some(claim), ..memory },
            // Repaired by somebody who has not seen the claim.
            None if self.stored.claim.is_none() && self.stored.head_fp() == Some(&claim.parent_fp) => {
                Document { claim: Some(claim), ..self.stored.clone() }
            }
            None => return self.await_reply(moment),
        };
        let next = self.numbered(next);
        self.phase = Phase::Objecting(next.clone());
        Effect::Write(next)
    }

    pub(super) fn objected(
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

    /// The answer goes into the spool first, then into the store, and only then is it served.
    pub(super) fn replied(&mut self, reply: Reply) -> Effect {
        let Some(owed) = &mut self.owed else { return Effect::Read };
        owed.answer = Some(Answer::of(reply, &owed.asked));
        if !self.settings.rules.answer_is_spooled {
            return Effect::Read;
        }
        self.phase = Phase::Spooling;
        Effect::Spool(Record::Owed(Box::new(owed.clone())))
    }

    /// Writes what came of a presentation on top of how things stand, until a look shows that it is there.
    pub(super) fn settle_owed(&mut self, moment: &Moment) -> Effect {
        let Some(mut owed) = self.owed.clone() else { return Effect::Read };
        // A process that ended between sending and the answer: perhaps sent.
        let answer = owed.answer.get_or_insert(Answer::InDoubt { cause: Cause::Crashed, salvaged: None });
        let nothing_new = answer.child().is_none_or(|child| of_token(child) == owed.claim.parent_fp);
        // A state that knows nothing of the parent was wiped: who remembers it is given time.
        let settles_until = self.settles_until(moment);
        if answer.child().is_some() && !is_related(&self.stored, &owed) && settles_until > moment.now {
            return Effect::Wait(settles_until);
        }
        let (next, report) = self.recorded(&owed, &self.stored, moment);
        if !owed.stored {
            self.outcome = report;
        }
        let Some(next) = next.filter(|_| !(owed.stored && nothing_new)) else {
            self.report = self.outcome.take().or(self.report.take());
            self.phase = Phase::Settling;
            return Effect::Spool(Record::Settled(owed.claim.id));
        };
        let next = self.numbered(next);
        self.phase = Phase::Committing(next.clone());
        Effect::Write(next)
    }

    /// The write of what is owed was answered. That it is there a look has to confirm.
    pub(super) fn committed(
        &mut self,
        document: Document,
        result: Result<(), WriteError>,
        moment: &Moment,
    ) -> Effect {
        if let (Ok(()), Some(owed)) = (&result, &mut self.owed) {
            owed.stored = true;
            self.report = self.outcome.take().or(self.report.take());
        }
        self.written(document, result, moment)
    }

    /// What the answer makes of the document, as things stand now; and what to count of it.
    fn recorded(
        &self,
        owed: &Owed,
        document: &Document,
        moment: &Moment,
    ) -> (Option<Document>, Option<Report>) {
        let Some(answer) = &owed.answer else { return (None, None) };
        let presentation = Presentation {
            claim: &owed.claim,
            asked: &owed.asked,
            answer,
            sent_at: owed.sent_at,
            now: moment.now,
            random: fraction(moment.random),
            timing: self.settings.timing,
            rules: self.settings.rules,
        };
        let (mut next, outcome) = record(document, &presentation);
        if let Some(next) = next.as_mut().filter(|_| owed.without_access) {
            next.access.clone_from(&document.access);
        }
        (next, Some(Report { outcome, answer: answer.clone() }))
    }
}

/// Whether the document knows the parent of what is owed, or its child.
fn is_related(document: &Document, owed: &Owed) -> bool {
    let child = owed.answer.as_ref().and_then(Answer::child).map(of_token);
    let known = |fp: &String| *fp == owed.claim.parent_fp || Some(fp) == child.as_ref();
    document.refresh.iter().map(|head| &head.fp).any(known)
        || document.spent.iter().any(known)
        || document.spare.iter().map(|spare| &spare.fp).any(known)
}
