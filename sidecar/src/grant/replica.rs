//! One replica of a grant: the protocol as a machine that is fed what happened and says what to do next. It does no
//! I/O and has no clock; [`crate::keeper`] carries out its effects, and the model in the tests explores it.

mod exchange;
mod look;
mod told;

pub use told::{Effect, Event, Found, Moment, Owed, Record, Seen, Settings, Unusable, WriteError};

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::answer::Answer;
use super::document::{Claim, Document, Home, Spare};
use super::login::Login;
use super::machine::Attempt;
use super::memory::is_behind;
use super::status::Trouble;
use crate::outcome::Outcome;

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

/// What is under way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Phase {
    Idle,
    Connecting(Box<(Login, Attempt)>),
    /// A write that is no claim: repair, doubt, backoff.
    Writing(Box<Document>),
    /// The write of what is owed.
    Committing(Box<Document>),
    Claiming(Box<Exchange>),
    /// The claim's PUT had no answer: a read tells.
    Checking(Box<Exchange>),
    Marking(Box<Exchange>),
    Sending,
    /// While a reply is waited for: a write that puts the claim back.
    Objecting(Box<Document>),
    Spooling,
    Settling,
}

/// What on-call counts: one refresh of which this replica held the claim.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Report {
    /// What became of it.
    pub outcome: Outcome,
    /// The answer.
    pub answer: Answer,
}

/// One replica.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Replica {
    settings: Settings,
    phase: Phase,
    /// What the store holds, as far as was read or written.
    stored: Document,
    home: Option<Home>,
    login: Option<Login>,
    trouble: Option<Trouble>,
    /// The furthest document that was seen: a second copy of the state Secret.
    memory: Option<Document>,
    /// Tokens that were remembered and that the store has gone on without.
    orphans: Vec<Spare>,
    /// The version that was read last, and since when it was read unchanged, with no failed read or write between.
    version: Option<(String, Option<Duration>)>,
    /// When this replica last learnt what all learn at the same time: a new login, a refused token, the store is back.
    news: Duration,
    /// A claim, the document's `rev`, and since when both were read unchanged with no failed read between.
    watched: Option<(String, u64, Duration)>,
    owed: Option<Owed>,
    /// The last claim that was followed up to its end.
    settled: Option<String>,
    blocked: Option<Blocked>,
    /// It could not connect when it last tried, and nobody has got through since.
    stands_back: bool,
    /// An access token that a provider's API refused.
    rejected: Option<String>,
    /// What is counted once it is stored.
    outcome: Option<Report>,
    report: Option<Report>,
    /// Of one that redeems rarely: whether nothing was wanted when it was last decided.
    content: bool,
    /// And when something is due; it may be looked again before.
    due: Option<Timestamp>,
}

/// The store refused a write: none is tried for a while, and no provider is bothered.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Blocked {
    until: Timestamp,
    pause: SignedDuration,
    trouble: Trouble,
}

impl Replica {
    /// A process that has just started, with what it found in its spool.
    pub fn new(settings: Settings, spool: Option<Record>) -> Self {
        let (owed, settled) = match spool {
            Some(Record::Owed(owed)) => (Some(*owed), None),
            Some(Record::Settled(id)) => (None, Some(id)),
            None => (None, None),
        };
        Self {
            settings,
            phase: Phase::Idle,
            stored: Document::default(),
            home: None,
            login: None,
            trouble: None,
            memory: None,
            orphans: Vec::new(),
            version: None,
            news: Duration::ZERO,
            watched: None,
            owed,
            settled,
            blocked: None,
            stands_back: false,
            rejected: None,
            outcome: None,
            report: None,
            content: false,
            due: None,
        }
    }

    /// The protocol: what happened in, what to do next out.
    pub fn step(&mut self, event: Event, moment: &Moment) -> Effect {
        let phase = std::mem::replace(&mut self.phase, Phase::Idle);
        match (phase, event) {
            (Phase::Idle, Event::Read(seen)) => self.look(*seen, moment),
            (Phase::Checking(exchange), Event::Read(seen)) => self.check(*exchange, *seen, moment),
            (Phase::Connecting(planned), Event::Connected(result)) => {
                self.connected(*planned, result, moment)
            }
            (Phase::Claiming(exchange), Event::Written(result)) => self.claimed(*exchange, result, moment),
            (Phase::Marking(exchange), Event::Spooled(done)) => self.marked(*exchange, done, moment),
            (Phase::Sending, Event::Replied(reply)) => self.replied(reply),
            (Phase::Sending, Event::Read(seen)) => self.object(*seen, moment),
            (Phase::Sending, Event::Sent) => self.await_reply(moment),
            (Phase::Sending, _) => {
                self.phase = Phase::Sending;
                Effect::Read
            }
            (Phase::Objecting(document), Event::Written(result)) => self.objected(*document, &result, moment),
            (Phase::Spooling, Event::Spooled(_)) => self.decide(moment),
            (Phase::Settling, Event::Spooled(_)) => {
                self.settled = self.owed.take().map(|owed| owed.claim.id);
                self.decide(moment)
            }
            (Phase::Writing(document), Event::Written(result)) => self.written(*document, result, moment),
            (Phase::Committing(document), Event::Written(result)) => {
                self.committed(*document, result, moment)
            }
            _ => Effect::Read,
        }
    }

    /// What may be shown and served: what is stored, or was before the store fell behind.
    pub fn known(&self) -> &Document {
        if let (false, Phase::Committing(unstored)) = (self.settings.rules.stored_before_served, &self.phase)
        {
            return unstored;
        }
        let further = self.memory.as_ref().filter(|memory| is_behind(Ok(&self.stored), memory));
        further.unwrap_or(&self.stored)
    }

    /// What does not change.
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

    /// What stands in the way now.
    pub fn trouble(&self) -> Option<&Trouble> {
        self.trouble.as_ref().or(self.blocked.as_ref().map(|blocked| &blocked.trouble))
    }

    /// Whether the state was ever read.
    pub fn has_read(&self) -> bool {
        self.version.is_some()
    }

    /// Whether a received refresh token waits to be stored.
    pub fn owes_a_token(&self) -> bool {
        self.owed.as_ref().is_some_and(|owed| owed.answer.as_ref().is_some_and(Answer::brought_a_token))
    }

    /// Whether the process must not end now: something was sent, and what came of it is not recorded.
    pub fn is_busy(&self) -> bool {
        self.owed.is_some() || !self.is_idle()
    }

    /// Whether no effect is being carried out for an exchange or a write.
    pub fn is_idle(&self) -> bool {
        matches!(self.phase, Phase::Idle)
    }

    /// Whether nothing is lost where the write that was asked for is not made: it brings no answer of a provider.
    pub fn can_decide_anew(&self) -> bool {
        matches!(self.phase, Phase::Claiming(_) | Phase::Writing(_))
    }

    /// For one that redeems rarely: whether no redemption was wanted when it was last decided.
    pub fn has_nothing_to_do(&self) -> bool {
        self.content
    }

    /// For one that redeems rarely: when the next redemption is due, where that is known.
    pub fn due(&self) -> Option<Timestamp> {
        self.due
    }

    /// A provider's API refused this access token (its fingerprint).
    pub fn reject(&mut self, access_fp: String, moment: &Moment) {
        if self.rejected.as_ref() != Some(&access_fp) {
            self.news = moment.boot;
        }
        self.rejected = Some(access_fp);
    }

    /// What is to be counted, once.
    pub fn take_report(&mut self) -> Option<Report> {
        self.report.take()
    }
}

#[cfg(test)]
mod tests;
