//! An answer that was received and cannot be read. It may hold the only copy of a refresh token, so the spool keeps it until a
//! later success replaces it.

use std::fmt;

use agent_creds_core::words::Word as _;

use crate::reply::{HttpReply, MediaType};

/// An answer as it was received.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Unread {
    /// Its status.
    pub status: u16,
    /// The kind of its body.
    pub media_type: Option<MediaType>,
    /// Its `Content-Encoding`.
    pub content_encoding: String,
    /// Its body.
    pub body: Vec<u8>,
    /// Whether the whole body was received.
    pub complete: bool,
}

impl Unread {
    pub(crate) fn of(reply: HttpReply) -> Self {
        let HttpReply { status, media_type, content_encoding, body, complete, .. } = reply;
        Self { status, media_type, content_encoding, body, complete }
    }

    /// Returns the reply, to be read once more.
    pub fn reply(&self) -> HttpReply {
        let Self { status, media_type, content_encoding, body, complete } = self.clone();
        HttpReply { status, media_type, content_encoding, body, complete, ..HttpReply::default() }
    }
}

impl fmt::Debug for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.media_type.map_or("", MediaType::as_str);
        write!(f, "{} {kind} [{} bytes]", self.status, self.body.len())
    }
}
