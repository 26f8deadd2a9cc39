//! What a replica is told, and what it says is to be done: the whole of its dealings with the world.

use std::time::Duration;

use jiff::Timestamp;

use crate::grant::answer::{Answer, Reply};
use crate::grant::document::{Claim, Document, DocumentError, Home, Token};
use crate::grant::login::{Asked, Login};
use crate::grant::rules::{Rules, Timing};
use crate::grant::status::Trouble;
use crate::outcome::Reason;

/// What happened. Not `Debug`: a reply holds tokens.
pub enum Event {
    /// The time has come, or a Secret changed, or the process has just started.
    Woke,
    /// Both Secrets were read.
    Read(Box<Seen>),
    /// There is a connection to the token endpoint, or there is none.
    Connected(Result<(), Reason>),
    /// A write was answered, or not.
    Written(Result<(), WriteError>),
    /// The spool was written, or could not be.
    Spooled(bool),
    /// The request is on its way.
    Sent,
    /// The token endpoint replied, or did not. It comes while an [`Effect::Wait`] or an [`Effect::Read`] is carried out.
    Replied(Reply),
}

/// One look at both Secrets.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The grant Secret.
    pub login: Result<Login, Trouble>,
    /// The state Secret; the document in it may be none.
    pub state: Result<Found, Trouble>,
}

/// A state Secret.
#[derive(Clone, Debug)]
pub struct Found {
    /// Its document.
    pub document: Result<Document, Unusable>,
    /// What tells it from every other content that this Secret has had.
    pub version: String,
    /// Which one it is, where its place is known.
    pub home: Option<Home>,
}

/// Content that is no document of this version.
#[derive(Clone, Debug)]
pub struct Unusable {
    /// Why.
    pub error: DocumentError,
    /// The sentence for a person.
    pub trouble: Trouble,
}

/// Why a write did not take place.
#[derive(Clone, Debug)]
pub enum WriteError {
    /// The object changed since it was read.
    Conflict,
    /// No answer: it took place, or not.
    Unclear(Trouble),
    /// Not allowed.
    Refused(Trouble),
    /// Refused for its size or content.
    Unacceptable(Trouble),
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Wait until then or until a Secret changes.
    Wait(Timestamp),
    /// Read both Secrets, from the store itself.
    Read,
    /// Connect to the login's token endpoint, up to and including TLS.
    Connect(Box<Login>),
    /// Write this document over the one that was last read or written.
    Write(Box<Document>),
    /// Put this into the spool, in place of what is there.
    Spool(Record),
    /// Present the token on the connection, once, and go on without waiting for the reply.
    Send(Box<Login>, Token),
}

/// A presentation that is to be recorded in the document. It is in the spool from before the request leaves until the
/// document shows what came of it, so that a process that ends in between leaves nothing untold.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Owed {
    /// The claim under which it was made.
    pub claim: Claim,
    /// What was asked.
    pub asked: Asked,
    /// Directly before sending.
    pub sent_at: Timestamp,
    /// What came of it; `None`: it was sent, and no answer has come yet.
    pub answer: Option<Answer>,
    /// The store does not take the access token: what lasts is stored without it.
    #[serde(default)]
    pub without_access: bool,
    /// A write of it was answered with success; a look has to confirm it.
    #[serde(default)]
    pub stored: bool,
}

/// What the spool holds.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Record {
    /// A presentation that is not recorded in the store yet.
    Owed(Box<Owed>),
    /// The id of the last claim that was followed up to its end: should a rollback bring it back, it is no unsent one.
    Settled(String),
}

/// The clocks, read directly before a step.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// The API server's time.
    pub now: Timestamp,
    /// Monotonic.
    pub monotonic: Duration,
    /// Monotonic, and runs on while the machine sleeps.
    pub boot: Duration,
    /// The wall.
    pub wall: Timestamp,
    /// Random bits, new for each step.
    pub random: u128,
    /// Whether this replica is going away.
    pub draining: bool,
}

/// What a replica is made of that does not change.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Settings {
    /// The pod, by a random name that lives as long as its spool volume.
    pub pod: String,
    /// The process.
    pub process: String,
    /// This replica's place in the spread of refreshes, in 65536ths.
    pub spread: u16,
    /// Redeem only when the access token has ended, or after a quarter of the provider's idle limit.
    pub rarely: bool,
    /// The protocol's times.
    pub timing: Timing,
    /// The protocol's rules.
    pub rules: Rules,
}

impl Settings {
    /// Pod and process, as a claim names them.
    pub fn holder(&self) -> String {
        format!("{}/{}", self.pod, self.process)
    }
}
