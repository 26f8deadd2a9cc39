//! The rows of the matrix: the fault, the step of the exchange, the provider's answer, the other replica's behaviour,
//! and whether the spool survives.

use std::fmt;

use agent_creds_tests::standin::{Fault as Spoilt, How};

/// The fault of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// SIGKILL, and a new process.
    Kill,
    /// SIGSTOP, and SIGCONT after two claim terms.
    Freeze,
}

/// A step of the exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Step {
    /// The refresh has been decided; there is no connection yet.
    BeforeConnect,
    /// The connection exists; the claim is not written.
    Connected,
    /// The claim is written; the spool is empty.
    Claimed,
    /// The spool says `sent`; nothing has been sent.
    Marked,
    /// The request has arrived; the provider has not processed it.
    Sent,
    /// The provider has processed it; the answer was not read.
    Answered,
    /// The answer was read; the spool does not contain it.
    Received,
    /// The spool contains the answer; the store does not.
    Spooled,
    /// The store contains it; the spool record is still open.
    Committed,
    /// The exchange is complete.
    After,
}

/// The provider's answer to the first request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Grants, and rotates the refresh token.
    Success,
    /// Refuses a valid token.
    InvalidGrant,
    /// 503, and does nothing.
    Unavailable,
    /// 429, and does nothing.
    RateLimited,
    /// Rotates the refresh token and closes the connection.
    Closed,
    /// Does nothing for longer than the budget.
    Hang,
    /// A web page; the request does not reach the provider.
    Html,
}

/// The behaviour of another replica with the same grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Successor {
    /// There is no other replica.
    Idle,
    /// It continues and acts as far as the protocol allows.
    MovedOn,
    /// It continues, and the last responsible moment passes before the first process is back.
    PastLast,
}

/// A row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Case {
    pub(crate) fault: Fault,
    pub(crate) step: Step,
    pub(crate) answer: Answer,
    pub(crate) successor: Successor,
    /// Whether the spool survives.
    pub(crate) spool_kept: bool,
}

const STEPS: [Step; 10] = [
    Step::BeforeConnect,
    Step::Connected,
    Step::Claimed,
    Step::Marked,
    Step::Sent,
    Step::Answered,
    Step::Received,
    Step::Spooled,
    Step::Committed,
    Step::After,
];

const ANSWERS: [Answer; 7] = [
    Answer::Success,
    Answer::InvalidGrant,
    Answer::Unavailable,
    Answer::RateLimited,
    Answer::Closed,
    Answer::Hang,
    Answer::Html,
];

impl Case {
    /// Returns all meaningful rows.
    pub(crate) fn all() -> Vec<Self> {
        let mut all = Vec::new();
        for fault in [Fault::Kill, Fault::Freeze] {
            for step in STEPS {
                for answer in ANSWERS {
                    for successor in [Successor::Idle, Successor::MovedOn, Successor::PastLast] {
                        for spool_kept in [true, false] {
                            all.push(Self { fault, step, answer, successor, spool_kept });
                        }
                    }
                }
            }
        }
        all.retain(Self::means_something);
        all
    }

    fn means_something(&self) -> bool {
        let Self { fault, step, answer, successor, spool_kept } = *self;
        let sent = step >= Step::Sent;
        // After a fault before the request, a healthy process gets the answer, so a few answers are enough.
        (sent || matches!(answer, Answer::Success | Answer::Unavailable | Answer::Closed))
            // An answer that never comes cannot be unread.
            && !(step == Step::Answered && answer == Answer::Hang)
            // A frozen process keeps its spool, and losing an empty spool changes nothing.
            && (spool_kept || (fault == Fault::Kill && (Step::Claimed..Step::After).contains(&step)))
            && (successor != Successor::PastLast
                || (spool_kept
                    && (Step::Claimed..=Step::Spooled).contains(&step)
                    && matches!(answer, Answer::Success | Answer::Unavailable | Answer::Hang)))
    }

    /// Whether the request was sent before the fault.
    pub(crate) fn was_sent(&self) -> bool {
        self.step >= Step::Sent
    }

    /// Returns the class of loss (docs/refresh-protocol.md) if the grant cannot be saved. `L1`: the answer was lost at
    /// a provider without replay. `L2`: the process was killed between the provider's commit and the spool. `L3`: the
    /// spool was lost before the store had the answer. `L4`: the holder was away past the last responsible moment.
    pub(crate) fn unsaveable(&self) -> Option<&'static str> {
        let past_last = (self.successor == Successor::PastLast).then_some("L4");
        match (self.answer, self.step, self.fault) {
            (Answer::Closed, ..) => Some("L1"),
            (Answer::Success, Step::Sent | Step::Answered | Step::Received, Fault::Kill) => Some("L2"),
            (Answer::Success, Step::Spooled, Fault::Kill) if !self.spool_kept => Some("L3"),
            (Answer::Success, Step::Sent | Step::Answered | Step::Received | Step::Spooled, _) => past_last,
            _ => None,
        }
    }
}

impl Answer {
    /// Returns the fault that the stand-in gets.
    pub(crate) fn spoilt(self) -> Option<Spoilt> {
        match self {
            Self::Success => None,
            Self::InvalidGrant => Some(Spoilt::oauth_error(400, "invalid_grant")),
            Self::Unavailable => Some(Spoilt::status(503)),
            Self::RateLimited => Some(Spoilt::status(429)),
            Self::Closed => Some(Spoilt::new(How::Close).after_commit()),
            Self::Hang => Some(Spoilt::new(How::Hang)),
            Self::Html => Some(Spoilt::new(How::Html)),
        }
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let spool = if self.spool_kept { "kept" } else { "lost" };
        let Self { fault, step, answer, successor, .. } = self;
        write!(f, "{fault:?} at {step:?}, answer {answer:?}, successor {successor:?}, spool {spool}")
    }
}
