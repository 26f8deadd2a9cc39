//! Builds the answers: the fields in each provider's order, or the result of a fault.

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Value, json};

use super::Provider;
use super::fault::{Cut, Fault, How};
use super::refusal::Refusal;

/// The content of a successful answer.
pub(super) struct Granted {
    pub(super) provider: Provider,
    pub(super) access_token: String,
    pub(super) refresh_token: Option<String>,
    pub(super) scope: String,
    pub(super) life: u64,
}

/// The action of the connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// Send this answer; later headers replace earlier ones, and `promised` is the `Content-Length`.
    Answer { status: u16, headers: Vec<(String, String)>, body: String, promised: usize },
    /// Send nothing and keep the connection open.
    Hang,
    /// Send this answer when the test releases it.
    Held(Box<Self>),
    /// Close the connection without an answer.
    Close,
}

impl Reply {
    fn new(status: u16, content_type: &str, body: String) -> Self {
        let headers = [("content-type", content_type), ("cache-control", "no-store"), ("pragma", "no-cache")];
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Self::Answer { status, headers, promised: body.len(), body }
    }

    /// Builds the answer to a request, with its fault if it has one.
    pub(super) fn to(result: &Result<Granted, Refusal>, fault: Option<&Fault>) -> Self {
        match fault.map(|fault| &fault.how) {
            Some(How::Hang) => return Self::Hang,
            Some(How::Held) => return Self::Held(Box::new(Self::to(result, None))),
            Some(How::Close) => return Self::Close,
            Some(How::Html) => {
                return Self::new(200, "text/html", "<html><body>Back soon</body></html>".to_owned());
            }
            Some(How::Status { status, headers: chosen, body }) => {
                let mut reply = Self::new(*status, "text/plain", body.clone());
                if let Self::Answer { headers, .. } = &mut reply {
                    headers.extend(chosen.iter().cloned());
                }
                return reply;
            }
            _ => {}
        }
        match result {
            Ok(granted) => granted.reply(fault.map(|fault| &fault.how)),
            Err(refusal) => refusal.reply(),
        }
    }
}

impl Refusal {
    fn reply(&self) -> Reply {
        let body = json!({ "error": self.error, "error_description": self.description }).to_string();
        let mut reply = Reply::new(self.status, "application/json;charset=UTF-8", body);
        if let Reply::Answer { headers, .. } = &mut reply {
            if self.challenge && self.status == 401 {
                headers.push(("www-authenticate".to_owned(), "Basic realm=\"stand-in\"".to_owned()));
            }
            if self.status == 405 {
                headers.push(("allow".to_owned(), "POST".to_owned()));
            }
        }
        reply
    }
}

impl Granted {
    fn reply(&self, how: Option<&How>) -> Reply {
        let scope = if let Some(How::Scope(other)) = how { other } else { &self.scope };
        let refresh_token = self.refresh_token.as_ref().filter(|_| how != Some(&How::NoRefreshToken));
        let expires_in = match how {
            Some(How::NoExpiresIn) => None,
            Some(How::ExpiresInText) => Some(json!(self.life.to_string())),
            _ => Some(json!(self.life)),
        };
        let access_token = Some(("access_token", json!(self.access_token)));
        let token_type = |name: &str| Some(("token_type", json!(name)));
        let scope = Some(("scope", json!(scope)));
        let expires_in = expires_in.map(|value| ("expires_in", value));
        let refresh = refresh_token.map(|token| ("refresh_token", json!(token)));
        let fields = match (self.provider, self.refresh_token.is_some()) {
            (Provider::PagerDuty, true) => [token_type("bearer"), access_token, refresh, scope, expires_in],
            (Provider::PagerDuty, false) => [access_token, scope, token_type("bearer"), expires_in, None],
            (Provider::Datadog(_) | Provider::Generic, _) => {
                [access_token, token_type("Bearer"), expires_in, refresh, scope]
            }
        };
        let fields: Vec<_> = fields.into_iter().flatten().collect();
        let body = serde_json::to_string(&Fields(&fields)).expect("text and numbers become JSON");
        let whole = body.len();
        let mut reply = Reply::new(200, "application/json;charset=UTF-8", body);
        if let (Some(How::Cut { at, framed }), Reply::Answer { body, promised, .. }) = (how, &mut reply) {
            body.truncate(self.cut_at(*at, body));
            *promised = if *framed { body.len() } else { whole };
        }
        reply
    }

    /// The position where the body ends; 0 without a refresh token to cut at.
    fn cut_at(&self, at: Cut, body: &str) -> usize {
        let token = self.refresh_token.as_deref().unwrap_or_default();
        let start = body.find(token).unwrap_or_default();
        match at {
            Cut::Bytes(bytes) => bytes.min(body.len()),
            Cut::InRefreshToken => start + token.len() / 2,
            Cut::AfterRefreshToken => start + token.len() + 1,
        }
    }
}

/// A JSON object that keeps the order of its fields.
struct Fields<'a>(&'a [(&'static str, Value)]);

impl Serialize for Fields<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}
