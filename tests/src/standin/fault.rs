//! The failures that a test can order for the next answers.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// One failed answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// What the client receives.
    pub how: How,
    /// Whether the request is carried out before the answer fails. For [`How::NoRefreshToken`]: whether the presented
    /// token is used up although no other is given. [`How::Cut`], [`How::NoExpiresIn`], [`How::ExpiresInText`],
    /// [`How::Scope`] and [`How::Held`] always carry the request out.
    #[serde(default)]
    pub committed: bool,
    /// Only for requests of this client; `None` for all clients.
    #[serde(default)]
    pub client_id: Option<String>,
}

/// The kind of a failure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// This status with these headers and this body.
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
    /// The successful answer with a truncated body.
    Cut {
        /// The position.
        at: Cut,
        /// `true`: `Content-Length` matches the truncated body. `false`: the connection breaks.
        #[serde(default)]
        framed: bool,
    },
    /// The request is read and never answered; the connection stays open.
    Hang,
    /// The successful answer, sent when the test releases it ([`super::Standin::release`]).
    Held,
    /// The request is read and the connection closed.
    Close,
    /// The successful answer without `refresh_token`.
    NoRefreshToken,
    /// The successful answer without `expires_in`.
    NoExpiresIn,
    /// The successful answer with `expires_in` as a string.
    ExpiresInText,
    /// The successful answer with another `scope`, as if it had been granted.
    Scope(String),
}

/// Where a body is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cut {
    /// After this many bytes.
    Bytes(usize),
    /// In the middle of the refresh token, which is lost.
    InRefreshToken,
    /// Directly after the closing quote of the refresh token, which can be saved.
    AfterRefreshToken,
}

impl Fault {
    /// A failure before the request is carried out.
    pub fn new(how: How) -> Self {
        Self { how, committed: false, client_id: None }
    }

    /// This status, without special headers and without JSON.
    pub fn status(status: u16) -> Self {
        let body = "out of order".to_owned();
        Self::new(How::Status { status, headers: Vec::new(), body })
    }

    /// This status with an OAuth error, for example `(400, "invalid_scope")`, for a request without a mistake.
    pub fn oauth_error(status: u16, error: &str) -> Self {
        let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        let body = serde_json::json!({ "error": error }).to_string();
        Self::new(How::Status { status, headers, body })
    }

    /// Adds a header to a status, for example `("retry-after", "7")`.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        if let How::Status { headers, .. } = &mut self.how {
            headers.push((name.to_owned(), value.to_owned()));
        }
        self
    }

    /// Carries the request out before the answer fails.
    #[must_use]
    pub fn after_commit(self) -> Self {
        Self { committed: true, ..self }
    }

    /// Limits the fault to requests of this client.
    #[must_use]
    pub fn of_client(self, client_id: &str) -> Self {
        Self { client_id: Some(client_id.to_owned()), ..self }
    }

    /// Whether the request is carried out.
    pub(super) fn processes(&self) -> bool {
        self.committed || !matches!(self.how, How::Status { .. } | How::Html | How::Hang | How::Close)
    }

    /// Whether the presented refresh token is used up when the request is carried out.
    pub(super) fn rotates(&self) -> bool {
        self.committed || self.how != How::NoRefreshToken
    }

    /// Returns its name in the log.
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

/// The ordered faults that have not happened.
#[derive(Default)]
pub(super) struct Faults(VecDeque<Fault>);

impl Faults {
    /// Orders this fault for the next `calls` matching requests.
    pub(super) fn add(&mut self, calls: usize, fault: &Fault) {
        self.0.extend(std::iter::repeat_n(fault, calls).cloned());
    }

    /// Takes the next fault for a request of this client.
    pub(super) fn take(&mut self, client_id: Option<&str>) -> Option<Fault> {
        let fits = |fault: &Fault| fault.client_id.is_none() || fault.client_id.as_deref() == client_id;
        let next = self.0.iter().position(fits)?;
        self.0.remove(next)
    }

    /// Drops all faults.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}
