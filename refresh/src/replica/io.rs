//! Inputs and effects of a replica: its whole interface to the outside.

use std::time::Duration;

use jiff::Timestamp;

use crate::answer::Answer;
use crate::condition::Condition;
use crate::document::{Claim, Document, DocumentError, Home, Http, Token};
use crate::login::{Asked, Login};
use crate::reason::NotSent;
use crate::reply::Reply;
use crate::safeguards::Safeguards;
use crate::timing::Timing;
use crate::unread::Unread;

/// What happened. Not `Debug`: a reply holds tokens.
pub enum Input {
    /// The wait is over, a Secret changed, or the process has just started.
    Woke,
    /// Both Secrets were read.
    Read(Box<Seen>),
    /// Connecting to the token endpoint succeeded or failed.
    Connected(Result<(), NotSent>),
    /// A write succeeded or failed.
    Written(Result<(), WriteError>),
    /// Whether the spool was written.
    Spooled(bool),
    /// The request was sent.
    Sent,
    /// The reply of the token endpoint, or its absence. It may come while an [`Effect::Wait`] or an [`Effect::Read`] is carried
    /// out.
    Replied(Reply),
}

/// Both Secrets as they were read.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The grant Secret.
    pub login: Result<Login, Condition>,
    /// The state Secret.
    pub state: Result<Found, Condition>,
}

/// A state Secret.
#[derive(Clone, Debug)]
pub struct Found {
    /// Its document.
    pub document: Result<Document, Unusable>,
    /// Distinguishes it from every other content that this Secret has had.
    pub version: String,
    /// Its cluster and uid, where they are known.
    pub home: Option<Home>,
}

/// Content of the state Secret that is no document of this version.
#[derive(Clone, Debug)]
pub struct Unusable {
    /// The error.
    pub error: DocumentError,
    /// The condition that it causes.
    pub condition: Condition,
}

/// Why a write did not take place.
#[derive(Clone, Debug)]
pub enum WriteError {
    /// The object changed since it was read.
    Conflict,
    /// No answer: it may have taken place.
    Unclear(Condition),
    /// Not allowed.
    Refused(Condition),
    /// Not accepted for its size or content.
    Unacceptable(Condition),
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Wait until this time or until a Secret changes.
    Wait(Timestamp),
    /// Read both Secrets from the store, not from a cache.
    Read,
    /// Connect to the login's token endpoint, up to and including TLS.
    Connect(Box<Login>),
    /// Write this document over the one that was last read or written.
    Write(Box<Document>),
    /// Replace the content of the spool by this.
    Spool(Record),
    /// Present the token on the connection, once, and continue without waiting for the reply.
    Send(Box<Login>, Token),
}

/// A presentation that is not recorded in the document yet. It is in the spool from before the request is sent until the
/// document shows its outcome, so that a process that ends in between loses nothing.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Uncommitted {
    /// The claim under which the token was presented.
    pub claim: Claim,
    /// What was asked.
    pub asked: Asked,
    /// The time directly before sending.
    pub sent_at: Timestamp,
    /// The answer; `None`: it was sent, and no answer has been received.
    pub answer: Option<Answer>,
    /// How the answer came.
    #[serde(default)]
    pub http: Option<Http>,
    /// The answer as it was received, where it cannot be read. The spool keeps it beside this record.
    #[serde(skip)]
    pub unread: Option<Unread>,
    /// Whether the store did not accept the access token, so that the refresh token is stored without it.
    #[serde(default)]
    pub without_access: bool,
    /// Whether a write of it succeeded. A read still has to confirm it.
    #[serde(default)]
    pub stored: bool,
}

impl Uncommitted {
    /// A presentation without an answer.
    pub fn new(claim: Claim, asked: Asked, sent_at: Timestamp) -> Self {
        Self {
            claim,
            asked,
            sent_at,
            answer: None,
            http: None,
            unread: None,
            without_access: false,
            stored: false,
        }
    }
}

/// The content of the spool of one grant.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Record {
    /// A presentation that is not recorded in the store yet.
    Uncommitted(Box<Uncommitted>),
    /// The id of the last claim that was closed. If a rollback brings that claim back, it does not count as unsent.
    Closed(String),
}

/// The clocks, read directly before a step, and random bits.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// The API server's time.
    pub now: Timestamp,
    /// Monotonic.
    pub monotonic: Duration,
    /// Monotonic, and runs on while the machine sleeps.
    pub boot: Duration,
    /// The wall clock.
    pub wall: Timestamp,
    /// Random bits, new for each step.
    pub random: u128,
    /// Whether this replica drains.
    pub draining: bool,
}

/// Settings of a replica.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Settings {
    /// Random name of the pod; it lasts as long as the spool volume.
    pub pod: String,
    /// Random name of the process.
    pub process: String,
    /// This replica's place in the spread of refreshes, in 65536ths.
    pub spread: u16,
    /// Only keep the grant alive: redeem when the access token has ended, or after a quarter of the provider's idle limit.
    pub keep_alive: bool,
    /// The protocol's times.
    pub timing: Timing,
    /// The protocol's safeguards.
    pub safeguards: Safeguards,
}

impl Settings {
    /// The holder of this replica's claims: pod, `/`, process.
    pub fn holder(&self) -> String {
        format!("{}/{}", self.pod, self.process)
    }
}
