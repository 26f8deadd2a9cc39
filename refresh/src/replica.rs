//! One replica of a grant: the protocol as a state machine. It takes what happened and returns what to do next. The sidecar's
//! refresher carries out its effects; the model in the tests explores it.

mod exchange;
mod io;
mod look;

pub use io::{Effect, Found, Input, Moment, Record, Seen, Settings, Uncommitted, Unusable, WriteError};

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::answer::Answer;
use super::commit::Outcome;
use super::condition::Condition;
use super::decision::Attempt;
use super::document::{Claim, Document, Home, Spare};
use super::login::Login;
use super::memory::is_behind;

/// A claimed or claimable presentation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Exchange {
    login: Login,
    attempt: Attempt,
    claim: Claim,
    began: Began,
}

/// When the PUT of a claim began, on three clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Began {
    monotonic: Duration,
    boot: Duration,
    wall: Timestamp,
}

/// What the replica waits for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Phase {
    Idle,
    Connecting(Box<(Login, Attempt)>),
    /// The answer to a write that is no claim: repair, doubt, backoff.
    Writing(Box<Document>),
    /// The answer to the write of an uncommitted presentation.
    Committing(Box<Document>),
    Claiming(Box<Exchange>),
    /// A read that tells whether a claim stands whose write had no answer.
    Checking(Box<Exchange>),
    Marking(Box<Exchange>),
    Sending,
    /// The answer to a write that puts a wiped claim back, while the reply is still to come.
    RestoringClaim(Box<Document>),
    Spooling,
    Closing,
}

/// One refresh under a claim of this replica, to be counted in metrics.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Report {
    /// Its outcome.
    pub outcome: Outcome,
    /// Its answer.
    pub answer: Answer,
}

/// One replica.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Replica {
    settings: Settings,
    phase: Phase,
    /// The document as it was last read or written.
    stored: Document,
    home: Option<Home>,
    login: Option<Login>,
    condition: Option<Condition>,
    /// The furthest document that this replica has seen.
    memory: Option<Document>,
    /// Remembered tokens that the state lacks although it has gone on.
    orphans: Vec<Spare>,
    /// The version that was read last, and since when it is unchanged with no failed read or write in between.
    version: Option<(String, Option<Duration>)>,
    /// When this replica last learnt something that all replicas learn at the same time.
    informed: Duration,
    /// A claim, the document's `rev`, and since when both are unchanged with no failed read in between.
    watched: Option<(String, u64, Duration)>,
    uncommitted: Option<Uncommitted>,
    /// Id of the last claim that this pod closed.
    closed_claim: Option<String>,
    blocked: Option<Blocked>,
    /// Whether it could not connect when it last tried, and no replica has refreshed since.
    yields: bool,
    /// Fingerprint of an access token that a provider's API rejected.
    rejected: Option<String>,
    /// What is counted once it is stored.
    pending_report: Option<Report>,
    report: Option<Report>,
    /// In a process that only keeps the grant alive: whether no redemption was wanted at the last decision.
    nothing_wanted: bool,
    /// In such a process: when the next redemption is due.
    due: Option<Timestamp>,
}

/// Backoff after a write that the store refused: no write is tried meanwhile, and no token is presented.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Blocked {
    until: Timestamp,
    pause: SignedDuration,
    condition: Condition,
}

impl Replica {
    /// A replica in a process that has just started, with what its spool holds.
    pub fn new(settings: Settings, spool: Option<Record>) -> Self {
        let (uncommitted, closed_claim) = match spool {
            Some(Record::Uncommitted(uncommitted)) => (Some(*uncommitted), None),
            Some(Record::Closed(id)) => (None, Some(id)),
            None => (None, None),
        };
        Self {
            settings,
            phase: Phase::Idle,
            stored: Document::default(),
            home: None,
            login: None,
            condition: None,
            memory: None,
            orphans: Vec::new(),
            version: None,
            informed: Duration::ZERO,
            watched: None,
            uncommitted,
            closed_claim,
            blocked: None,
            yields: false,
            rejected: None,
            pending_report: None,
            report: None,
            nothing_wanted: false,
            due: None,
        }
    }

    /// Takes over a presentation whose answer could be read only now.
    pub fn resume(&mut self, uncommitted: Uncommitted) {
        self.uncommitted = Some(uncommitted);
    }

    /// Takes what happened and returns what to do next.
    pub fn step(&mut self, event: Input, moment: &Moment) -> Effect {
        let phase = std::mem::replace(&mut self.phase, Phase::Idle);
        match (phase, event) {
            (Phase::Idle, Input::Read(seen)) => self.look(*seen, moment),
            (Phase::Checking(exchange), Input::Read(seen)) => self.check(*exchange, *seen, moment),
            (Phase::Connecting(planned), Input::Connected(result)) => {
                self.connected(*planned, result, moment)
            }
            (Phase::Claiming(exchange), Input::Written(result)) => self.claimed(*exchange, result, moment),
            (Phase::Marking(exchange), Input::Spooled(done)) => self.marked(*exchange, done, moment),
            (Phase::Sending, Input::Replied(reply)) => self.replied(reply),
            (Phase::Sending, Input::Read(seen)) => self.restore_claim(*seen, moment),
            (Phase::Sending, Input::Sent) => self.await_reply(moment),
            (Phase::Sending, _) => {
                self.phase = Phase::Sending;
                Effect::Read
            }
            (Phase::RestoringClaim(document), Input::Written(result)) => {
                self.claim_restored(*document, &result, moment)
            }
            (Phase::Spooling, Input::Spooled(_)) => {
                // It is in the spool now.
                self.uncommitted.as_mut().map(|uncommitted| uncommitted.unread.take());
                self.decide(moment)
            }
            (Phase::Closing, Input::Spooled(_)) => {
                self.closed_claim = self.uncommitted.take().map(|uncommitted| uncommitted.claim.id);
                self.decide(moment)
            }
            (Phase::Writing(document), Input::Written(result)) => self.written(*document, result, moment),
            (Phase::Committing(document), Input::Written(result)) => {
                self.committed(*document, result, moment)
            }
            _ => Effect::Read,
        }
    }

    /// Returns the document that may be shown and served: the stored one, or the remembered one where the store has fallen
    /// behind it.
    pub fn known(&self) -> &Document {
        if let (false, Phase::Committing(unstored)) =
            (self.settings.safeguards.stored_before_served(), &self.phase)
        {
            return unstored;
        }
        let further = self.memory.as_ref().filter(|memory| is_behind(Ok(&self.stored), memory));
        further.unwrap_or(&self.stored)
    }

    /// The settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The furthest document that this replica has seen.
    pub fn memory(&self) -> Option<&Document> {
        self.memory.as_ref()
    }

    /// The grant Secret as it was last read with success.
    pub fn login(&self) -> Option<&Login> {
        self.login.as_ref()
    }

    /// What prevents the protocol from going on now.
    pub fn condition(&self) -> Option<&Condition> {
        self.condition.as_ref().or(self.blocked.as_ref().map(|blocked| &blocked.condition))
    }

    /// Whether the state has ever been read.
    pub fn has_read(&self) -> bool {
        self.version.is_some()
    }

    /// Whether a received refresh token is not stored yet.
    pub fn has_uncommitted_token(&self) -> bool {
        self.uncommitted
            .as_ref()
            .is_some_and(|uncommitted| uncommitted.answer.as_ref().is_some_and(Answer::brought_a_token))
    }

    /// Whether the process must not end now: a request was sent, and its outcome is not recorded.
    pub fn is_busy(&self) -> bool {
        self.uncommitted.is_some() || !self.is_idle()
    }

    /// Whether no exchange and no write is under way.
    pub fn is_idle(&self) -> bool {
        matches!(self.phase, Phase::Idle)
    }

    /// Whether the requested write may be left out: it does not carry an answer of a provider.
    pub fn can_decide_anew(&self) -> bool {
        matches!(self.phase, Phase::Claiming(_) | Phase::Writing(_))
    }

    /// In a process that only keeps the grant alive: whether no redemption was wanted at the last decision.
    pub fn has_nothing_to_do(&self) -> bool {
        self.nothing_wanted
    }

    /// In a process that only keeps the grant alive: when the next redemption is due, where that is known.
    pub fn due(&self) -> Option<Timestamp> {
        self.due
    }

    /// Records that a provider's API rejected the access token with this fingerprint.
    pub fn reject(&mut self, access_fp: String, moment: &Moment) {
        if self.rejected.as_ref() != Some(&access_fp) {
            self.informed = moment.boot;
        }
        self.rejected = Some(access_fp);
    }

    /// Takes the report that is to be counted.
    pub fn take_report(&mut self) -> Option<Report> {
        self.report.take()
    }
}

#[cfg(test)]
mod tests;
