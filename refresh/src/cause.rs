//! Why the answer to a presentation is missing or cannot be read, so that the provider may have replaced the refresh token.

use serde::{Deserialize, Serialize};
use strum::{EnumMessage, IntoStaticStr, VariantArray};

use crate::reason::{Outlook, Reason, Refused};

/// What happened instead of an answer. The sentences begin the message of a doubt.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, IntoStaticStr, VariantArray, EnumMessage,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Cause {
    /// No answer within the time limit.
    #[strum(message = "the token endpoint did not answer in time")]
    Timeout,
    /// The connection broke after the request was sent.
    #[strum(message = "the connection to the token endpoint broke before its answer")]
    Reset,
    /// 5xx.
    #[strum(message = "the token endpoint failed and may have replaced the refresh token all the same")]
    ServerError,
    /// Neither a success nor an OAuth error.
    #[strum(message = "the token endpoint sent something that is not an OAuth answer")]
    UnexpectedStatus,
    /// 303: the request may have been carried out.
    #[strum(message = "the token endpoint redirects to another page")]
    Redirected,
    /// A success whose body ends early, or is larger than any token answer.
    #[strum(message = "the answer of the token endpoint was cut off or too large")]
    Truncated,
    /// A success without a body.
    #[strum(message = "the token endpoint answered without a body, which is not an OAuth answer")]
    Empty,
    /// A success whose body has a content coding that this version does not know.
    #[strum(message = "the answer of the token endpoint has a content coding that cannot be decoded")]
    Encoded,
    /// A success whose body is neither JSON nor a form.
    #[strum(message = "the answer of the token endpoint is neither JSON nor a form")]
    NotJson,
    /// A success whose refresh token is no token, or one of more than can be kept.
    #[strum(
        message = "the refresh token in the answer of the token endpoint is no token, or one of too many"
    )]
    BadRefreshToken,
    /// A success without an access token, or with several.
    #[strum(message = "the answer of the token endpoint has no access token, or several different ones")]
    NoAccessToken,
    /// The holder of the claim was silent for its whole term.
    #[strum(message = "a replica became silent after it had perhaps presented the refresh token")]
    Silent,
    /// The holder of the claim ended between sending and the answer.
    #[strum(message = "a process ended between its request and the answer")]
    Crashed,
    /// The answer was missing already when a login was adopted that has been refused since.
    #[strum(message = "an answer was missing already before the login that was refused")]
    BeforeNewLogin,
}

impl Cause {
    /// Returns the reason for the state of a grant whose refresh token is in doubt for this cause.
    pub fn reason(self) -> Reason {
        match self {
            Self::Encoded | Self::NotJson | Self::BadRefreshToken | Self::NoAccessToken => {
                Outlook::UnreadableAnswer.into()
            }
            Self::Redirected => Refused::Redirected.into(),
            _ => Outlook::InDoubt.into(),
        }
    }

    /// Whether the answer came and was a refusal, so that no server can have accepted the refresh token.
    pub fn is_refusal(self) -> bool {
        self == Self::UnexpectedStatus
    }

    /// Returns the reason where nothing rotates, so that there is no doubt.
    pub(crate) fn refused(self) -> Refused {
        match self {
            Self::Timeout | Self::Reset | Self::Silent | Self::Crashed | Self::BeforeNewLogin => {
                Refused::NoAnswer
            }
            Self::ServerError => Refused::ServerError,
            Self::Redirected => Refused::Redirected,
            Self::UnexpectedStatus
            | Self::Truncated
            | Self::Empty
            | Self::Encoded
            | Self::NotJson
            | Self::BadRefreshToken
            | Self::NoAccessToken => Refused::UnexpectedAnswer,
        }
    }
}
