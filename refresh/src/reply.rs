//! What came back over the wire, before anything is concluded from it.

use agent_creds_core::words::Word;
use strum::{EnumMessage, IntoStaticStr, VariantArray};

use crate::cause::Cause;
use crate::reason::NotSent;

/// Longest body of an answer, in bytes, as received and after decoding. Tokens have at most 32 KiB each.
pub const MAX_BODY: usize = 128 * 1024;

/// What came back. Not `Debug`: a body holds tokens.
pub enum Reply {
    /// Nothing was sent.
    NotSent(NotSent),
    /// The request was sent, and no complete head of an answer came: timeout, reset.
    Lost(Cause),
    /// An answer.
    Http(HttpReply),
}

/// An HTTP answer. Not `Debug`: its body holds tokens.
#[derive(Clone, Default)]
pub struct HttpReply {
    /// Its status.
    pub status: u16,
    /// `Retry-After` or the provider's own header, in seconds from now.
    pub retry_after_s: Option<i64>,
    /// The kind of its body, where the header says one.
    pub media_type: Option<MediaType>,
    /// `Content-Encoding`: the codings of the body, in the order in which they were applied; empty where there are none.
    pub content_encoding: String,
    /// Host and path of `Location`, in visible ASCII.
    pub location: Option<String>,
    /// Its body as it was received, still encoded, as far as it was received.
    pub body: Vec<u8>,
    /// Whether the whole body was received, within its size limit.
    pub complete: bool,
}

impl Reply {
    /// Whether the status is 2xx.
    pub fn is_success(&self) -> bool {
        matches!(self, Self::Http(reply) if reply.is_success())
    }
}

impl HttpReply {
    /// Whether the status is 2xx.
    pub fn is_success(&self) -> bool {
        (200..=299).contains(&self.status)
    }
}

/// The media types that messages name. What a peer writes into the header is never shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, IntoStaticStr, VariantArray, EnumMessage)]
pub enum MediaType {
    /// JSON, also with a `+json` suffix.
    #[strum(serialize = "application/json")]
    Json,
    /// A form.
    #[strum(serialize = "application/x-www-form-urlencoded")]
    Form,
    /// A web page.
    #[strum(serialize = "text/html")]
    Html,
    /// Plain text.
    #[strum(serialize = "text/plain")]
    Plain,
    /// XML, also with an `+xml` suffix.
    #[strum(serialize = "application/xml")]
    Xml,
    /// A JSON Web Token.
    #[strum(serialize = "application/jwt")]
    Jwt,
    /// Bytes of no declared kind.
    #[strum(serialize = "application/octet-stream")]
    Bytes,
    /// Any other.
    #[strum(serialize = "another media type")]
    Other,
}

impl MediaType {
    /// Returns the kind that a `Content-Type` header names; its parameters do not count.
    pub fn of_header(value: &str) -> Self {
        let name = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match name.as_str() {
            "text/json" => Self::Json,
            "text/xml" => Self::Xml,
            "application/xhtml+xml" => Self::Html,
            name if name.ends_with("+json") => Self::Json,
            name if name.ends_with("+xml") => Self::Xml,
            name => Self::from_word(name).unwrap_or(Self::Other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_media_type_is_one_of_a_closed_set() {
        for (header, expected) in [
            ("application/json; charset=UTF-8", MediaType::Json),
            ("Application/Problem+JSON", MediaType::Json),
            (" text/html", MediaType::Html),
            ("application/x-www-form-urlencoded;charset=utf-8", MediaType::Form),
            ("text/xml", MediaType::Xml),
            ("a-token-that-was-echoed", MediaType::Other),
            ("", MediaType::Other),
        ] {
            assert_eq!(MediaType::of_header(header), expected, "{header}");
        }
    }
}
