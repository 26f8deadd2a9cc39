//! The rows of the matrix: which fault, at which step of an exchange, with which answer on its way, while another
//! replica does what, and with which spool after it.

use std::fmt;

use agent_creds_tests::standin::{Fault as Spoilt, How};

/// What happens to the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// SIGKILL, and a new process.
    Kill,
    /// SIGSTOP, and SIGCONT after two claim terms.
    Freeze,
}

/// Where in the exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Step {
    /// Decided to refresh; no connection yet.
    BeforeConnect,
    /// Connected; the claim is not written.
    Connected,
    /// The claim is written; the spool knows nothing.
    Claimed,
    /// The spool says `sent`; nothing has left.
    Marked,
    /// The request has arrived; the provider has not carried it out.
    Sent,
    /// The provider has carried it out; the answer was not read.
    Answered,
    /// The answer was read; the spool does not have it.
    Received,
    /// The spool has the answer; the store does not.
    Spooled,
    /// The store has it; the spool does not say so.
    Committed,
    /// All is done.
    After,
}

/// What the provider does with the first request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Grants, and replaces the refresh token.
    Success,
    /// Refuses a token that is good.
    InvalidGrant,
    /// 503, and does nothing.
    Unavailable,
    /// 429, and does nothing.
    RateLimited,
    /// Replaces the refresh token and closes the connection.
    Closed,
    /// Does nothing, for longer than the budget.
    Hang,
    /// A web page: the request never got to the provider.
    Html,
}

/// What another replica with the same grant does meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Successor {
    /// There is none.
    Idle,
    /// It runs on, and acts as far as it may.
    MovedOn,
    /// The same, and the last responsible moment passes before the other one is back.
    PastLast,
}

/// One row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Case {
    pub(crate) fault: Fault,
    pub(crate) step: Step,
    pub(crate) answer: Answer,
    pub(crate) successor: Successor,
    /// Whether the spool is there afterwards.
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
    /// All that mean something.
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
        // Whoever presents after a fault that came before the request gets the answer in full health.
        (sent || matches!(answer, Answer::Success | Answer::Unavailable | Answer::Closed))
            // An answer that never comes is not there unread.
            && !(step == Step::Answered && answer == Answer::Hang)
            // A frozen process keeps its spool, and one in which nothing stands cannot be lost.
            && (spool_kept || (fault == Fault::Kill && (Step::Claimed..Step::After).contains(&step)))
            && (successor != Successor::PastLast
                || (spool_kept
                    && (Step::Claimed..=Step::Spooled).contains(&step)
                    && matches!(answer, Answer::Success | Answer::Unavailable | Answer::Hang)))
    }

    /// Whether the request has left when the fault comes.
    pub(crate) fn was_sent(&self) -> bool {
        self.step >= Step::Sent
    }

    /// Why nobody can save the grant, by what the protocol says may be lost: `L1` an answer lost on the wire at a
    /// provider without replay; `L2` killed between the provider's commit and the spool; `L3` the spool gone before
    /// the store has the answer; `L4` the holder away past the last responsible moment. `None`: it must be saved.
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
    /// What the stand-in is told.
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
