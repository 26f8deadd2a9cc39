//! What an answer of the token endpoint means for the refresh token that was presented. The classes are those after which
//! something different follows: commit, back off, wait in doubt, or ask a person. Of a body that can be read, only tokens, scopes
//! and a lifetime leave this module; one that cannot be read is handed to the spool as it is.

mod coding;
mod fields;
mod json;
mod text;

use agent_creds_core::provider::Unavailable;
use agent_creds_core::words::Word as _;
use serde::{Deserialize, Serialize};

use self::coding::Plain;
use self::fields::{Fields, salvage};
use super::document::{Http, MAX_SPARE, Token};
use super::fingerprint::of_token;
use super::login::Asked;
use crate::cause::Cause;
use crate::reason::{NotSent, Refused};
use crate::reply::{HttpReply, Reply};
use crate::unread::Unread;

/// What a reply means, and how it came.
pub struct Heard {
    /// What it means.
    pub answer: Answer,
    /// How it came, where it came over HTTP.
    pub http: Option<Http>,
    /// The reply as it is, where it may hold a refresh token that this version cannot read.
    pub unread: Option<Unread>,
}

/// What a reply means.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// A new access token.
    Granted(Tokens),
    /// Nothing was sent.
    NotSent(NotSent),
    /// The provider refused the request and left the refresh token untouched; or nothing rotates, so that any failure does.
    Refused {
        /// Why.
        reason: Refused,
        /// Seconds after which the provider allows the next request.
        retry_after_s: Option<i64>,
    },
    /// The provider may have replaced the refresh token.
    InDoubt {
        /// What happened instead of an answer.
        cause: Cause,
        /// A complete refresh token in a broken body. It is kept, since its parent is spent by now.
        salvaged: Option<Token>,
        /// Further refresh tokens in the same body, of which nothing says which one is meant.
        #[serde(default)]
        others: Vec<Token>,
        /// Seconds after which the provider allows the next request.
        #[serde(default)]
        retry_after_s: Option<i64>,
    },
    /// The provider says that the refresh token is dead.
    InvalidGrant,
}

/// The tokens of RFC 6749 §5.1.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Tokens {
    /// `access_token`.
    pub access: Token,
    /// `refresh_token`; absent: the old one stays. Of several it is the last one, which most readers of JSON take.
    pub refresh: Option<Token>,
    /// The other values of a `refresh_token` that occurs several times.
    #[serde(default)]
    pub others: Vec<Token>,
    /// `expires_in` in seconds; absent: the definition's default.
    pub expires_in: Option<i64>,
    /// `scope`, split at spaces; absent: as asked.
    pub scopes: Option<Vec<String>>,
    /// Whether `token_type` is one that cannot be used as `Bearer`: the access token is not served.
    #[serde(default)]
    pub is_of_another_type: bool,
}

impl Heard {
    /// Reads a reply to what was `asked` with the refresh token of this fingerprint.
    pub fn of(reply: Reply, asked: &Asked, parent_fp: &str) -> Self {
        let reply = match reply {
            Reply::NotSent(reason) => {
                return Self { answer: Answer::NotSent(reason), http: None, unread: None };
            }
            Reply::Lost(cause) => {
                return Self { answer: Answer::missing(cause, asked), http: None, unread: None };
            }
            Reply::Http(reply) => reply,
        };
        let answer = Answer::of_http(&reply, asked).apart_from(parent_fp);
        let is_strange = matches!(
            answer,
            Answer::InDoubt { .. } | Answer::Refused { reason: Refused::UnexpectedAnswer, .. }
        );
        let location = reply.location.clone().filter(|_| (300..=399).contains(&reply.status));
        let http = Http {
            status: reply.status,
            media_type: reply.media_type.filter(|_| is_strange).map(|kind| kind.as_str().to_owned()),
            location,
            ..Http::default()
        };
        let unreadable = matches!(answer, Answer::InDoubt { salvaged: None, .. });
        let unread = (unreadable && reply.is_success() && !reply.body.is_empty()).then(|| Unread::of(reply));
        Self { answer, http: Some(http), unread }
    }
}

impl Answer {
    /// Reads a reply to what was `asked`.
    pub fn of(reply: Reply, asked: &Asked) -> Self {
        Heard::of(reply, asked, "").answer
    }

    /// Returns what it means that an answer is missing.
    pub fn missing(cause: Cause, asked: &Asked) -> Self {
        Self::in_doubt(cause, Vec::new(), None, asked)
    }

    /// The refresh token that came with it.
    pub fn child(&self) -> Option<&Token> {
        match self {
            Self::Granted(tokens) => tokens.refresh.as_ref(),
            Self::InDoubt { salvaged, .. } => salvaged.as_ref(),
            _ => None,
        }
    }

    /// Further refresh tokens that came with it.
    pub fn others(&self) -> &[Token] {
        match self {
            Self::Granted(Tokens { others, .. }) | Self::InDoubt { others, .. } => others,
            _ => &[],
        }
    }

    /// Whether the answer holds a token that must not be lost.
    pub fn brought_a_token(&self) -> bool {
        matches!(self, Self::Granted(_)) || self.child().is_some()
    }

    /// Does not take the token that was presented for a child where there is another, or where the answer cannot be read: some
    /// servers repeat the request.
    fn apart_from(mut self, parent_fp: &str) -> Self {
        let is_parent = |token: &Token| of_token(token) == parent_fp;
        let (refresh, others, is_repeated) = match &mut self {
            // It stays in use.
            Self::Granted(Tokens { refresh, others, .. }) => (refresh, others, false),
            Self::InDoubt { salvaged, others, .. } => (salvaged, others, true),
            _ => return self,
        };
        others.retain(|other| !is_parent(other));
        if refresh.as_ref().is_some_and(is_parent) {
            let same = refresh.take().filter(|_| !is_repeated);
            *refresh = others.pop().or(same);
        }
        self
    }

    fn of_http(reply: &HttpReply, asked: &Asked) -> Self {
        let Plain { bytes, whole, encoded } = coding::decoded(&reply.content_encoding, &reply.body);
        let (text, whole) = (text::text(&bytes), whole && reply.complete);
        let fields = Fields::read(&text, reply.media_type, whole);
        let (status, retry_after_s) = (reply.status, reply.retry_after_s);
        let brought = |fields: &Fields| {
            ["access_token", "refresh_token"].iter().any(|key| !fields.tokens(key).tokens.is_empty())
        };
        let failed = |fields: &&Fields| match status {
            400..=499 => true,
            // Vendors also write an error into a 200.
            200..=299 => fields.is_failed() || !brought(fields),
            _ => false,
        };
        let error = fields.as_ref().filter(failed).and_then(Fields::error);
        let refused = |reason| Self::Refused { reason, retry_after_s };
        let doubt = |cause| Self::in_doubt(cause, Vec::new(), retry_after_s, asked);
        match (status, error.as_deref()) {
            (429, _) | (_, Some("ratelimited")) => refused(Refused::RateLimited),
            (503, _) if asked.unavailable == Unavailable::NotCommitted => refused(Refused::ServerError),
            (_, Some(error)) if is_dead(error) => Self::InvalidGrant,
            (_, Some(error)) => refused(Refused::of_oauth_error(error)),
            (200..=299, None) => {
                let unread = if bytes.is_empty() && whole {
                    Cause::Empty
                } else if !whole {
                    Cause::Truncated
                } else if encoded {
                    Cause::Encoded
                } else {
                    Cause::NotJson
                };
                let result =
                    fields.as_ref().map_or(Err((unread, Vec::new())), |fields| tokens(fields, asked));
                result.map_or_else(
                    |(cause, mut refresh)| {
                        // The body is not that of RFC 6749 §5.1: the parent is spent all the same.
                        if refresh.is_empty() && cause != Cause::BadRefreshToken {
                            refresh.extend(salvage(&text));
                        }
                        Self::in_doubt(cause, refresh, retry_after_s, asked)
                    },
                    Self::Granted,
                )
            }
            (301 | 302 | 307 | 308, None) => refused(Refused::Redirected),
            (303, None) => doubt(Cause::Redirected),
            (500..=599, None) => doubt(Cause::ServerError),
            (_, None) => doubt(Cause::UnexpectedStatus),
        }
    }

    /// A doubt; where nothing rotates, a failure.
    fn in_doubt(cause: Cause, mut refresh: Vec<Token>, retry_after_s: Option<i64>, asked: &Asked) -> Self {
        if asked.rotates() {
            Self::InDoubt { cause, salvaged: refresh.pop(), others: refresh, retry_after_s }
        } else {
            Self::Refused { reason: cause.refused(), retry_after_s }
        }
    }
}

/// Returns the tokens of a success; or what is wrong with it, and the refresh tokens that it has.
fn tokens(fields: &Fields, asked: &Asked) -> Result<Tokens, (Cause, Vec<Token>)> {
    let (mut access, mut refresh) = (fields.tokens("access_token"), fields.tokens("refresh_token"));
    if (refresh.tokens.is_empty() && refresh.bad) || refresh.tokens.len() > MAX_SPARE {
        return Err((Cause::BadRefreshToken, Vec::new()));
    }
    let (Some(token), true) = (access.tokens.pop(), access.tokens.is_empty()) else {
        return Err((Cause::NoAccessToken, refresh.tokens));
    };
    Ok(Tokens {
        access: token,
        refresh: refresh.tokens.pop(),
        others: refresh.tokens,
        expires_in: fields.expires_in(),
        scopes: fields.scopes(),
        is_of_another_type: fields.is_of_another_type(|name| asked.takes_type(name)),
    })
}

/// Whether an error says that the refresh token is dead: `invalid_grant` of RFC 6749 §5.2, or what GitHub, Slack and others say
/// instead.
fn is_dead(error: &str) -> bool {
    [
        "invalid_grant",
        "invalid_refresh_token",
        "bad_refresh_token",
        "expired_refresh_token",
        "refresh_token_expired",
        "token_expired",
        "token_revoked",
    ]
    .contains(&error)
}

#[cfg(test)]
mod tests;
