//! What can be made to go wrong with the next answers.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// One spoilt answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// What the client gets to see.
    pub how: How,
    /// Whether the request was carried out before the answer went wrong. For [`How::NoRefreshToken`]: whether the
    /// presented token was used up, though no other is given. [`How::Cut`], [`How::NoExpiresIn`],
    /// [`How::ExpiresInText`] and [`How::Scope`] spoil a good answer, so they carry the request out whatever stands
    /// here; so does [`How::Held`], which spoils nothing.
    #[serde(default)]
    pub committed: bool,
    /// Only for requests of this client; without it for whoever comes.
    #[serde(default)]
    pub client_id: Option<String>,
}

/// In which way an answer is spoilt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// This status with these headers and this body, whatever they mean.
    Status {
        /// The status.
        status: u16,
        /// Headers, such as `retry-after`.
        #[serde(default)]
        headers: Vec<(String, String)>,
        /// The body; `text/plain` unless a header says otherwise.
        #[serde(default)]
        body: String,
    },
    /// 200 with a web page.
    Html,
    /// The good answer, but its body stops short.
    Cut {
        /// Where.
        at: Cut,
        /// `true`: as if that were all, with a `Content-Length` to match. `false`: the connection breaks.
        #[serde(default)]
        framed: bool,
    },
    /// The request is read and never answered; the connection stays open.
    Hang,
    /// The good answer, but only when the test lets it go ([`super::Standin::release`]).
    Held,
    /// The request is read and the connection closed.
    Close,
    /// The good answer without `refresh_token`.
    NoRefreshToken,
    /// The good answer without `expires_in`.
    NoExpiresIn,
    /// The good answer with `expires_in` as a string.
    ExpiresInText,
    /// The good answer with another `scope`, as if this had been granted.
    Scope(String),
}

/// Where a body is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cut {
    /// After this many bytes.
    Bytes(usize),
    /// In the middle of the refresh token: it is lost.
    InRefreshToken,
    /// Directly after the closing quote of the refresh token: it can be saved.
    AfterRefreshToken,
}

impl Fault {
    /// An answer that goes wrong before anything is done.
    pub fn new(how: How) -> Self {
        Self { how, committed: false, client_id: None }
    }

    /// This status, with no special headers and no JSON.
    pub fn status(status: u16) -> Self {
        let body = "out of order".to_owned();
        Self::new(How::Status { status, headers: Vec::new(), body })
    }

    /// This status with an OAuth error, for example `(400, "invalid_scope")`: refused, though nothing is wrong.
    pub fn oauth_error(status: u16, error: &str) -> Self {
        let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        let body = serde_json::json!({ "error": error }).to_string();
        Self::new(How::Status { status, headers, body })
    }

    /// The same with one more header, for example `("retry-after", "7")`, if it is a status.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        if let How::Status { headers, .. } = &mut self.how {
            headers.push((name.to_owned(), value.to_owned()));
        }
        self
    }

    /// The request is carried out, and only the answer goes wrong.
    #[must_use]
    pub fn after_commit(self) -> Self {
        Self { committed: true, ..self }
    }

    /// Only for requests of this client.
    #[must_use]
    pub fn of_client(self, client_id: &str) -> Self {
        Self { client_id: Some(client_id.to_owned()), ..self }
    }

    /// Whether the request is carried out at all.
    pub(super) fn processes(&self) -> bool {
        self.committed || !matches!(self.how, How::Status { .. } | How::Html | How::Hang | How::Close)
    }

    /// Whether the presented refresh token is used up when the request is carried out.
    pub(super) fn rotates(&self) -> bool {
        self.committed || self.how != How::NoRefreshToken
    }

    /// How the log calls it.
    pub(super) fn name(&self) -> String {
        match &self.how {
            How::Status { status, .. } => format!("status_{status}"),
            How::Html => "html".to_owned(),
            How::Cut { .. } => "cut".to_owned(),
            How::Hang => "hang".to_owned(),
            How::Held => "held".to_owned(),
            How::Close => "close".to_owned(),
            How::NoRefreshToken => "no_refresh_token".to_owned(),
            How::NoExpiresIn => "no_expires_in".to_owned(),
            How::ExpiresInText => "expires_in_text".to_owned(),
            How::Scope(_) => "scope".to_owned(),
        }
    }
}

/// The faults that are still to come.
#[derive(Default)]
pub(super) struct Faults(VecDeque<Fault>);

impl Faults {
    /// The next `calls` requests that it fits get this fault.
    pub(super) fn add(&mut self, calls: usize, fault: &Fault) {
        self.0.extend(std::iter::repeat_n(fault, calls).cloned());
    }

    /// Takes the fault for a request of this client.
    pub(super) fn take(&mut self, client_id: Option<&str>) -> Option<Fault> {
        let fits = |fault: &Fault| fault.client_id.is_none() || fault.client_id.as_deref() == client_id;
        let next = self.0.iter().position(fits)?;
        self.0.remove(next)
    }

    /// Forgets what has not happened.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}
