//! Why something is refused: stable codes, and for each its sentence, its MQTT reason codes and its HTTP status.
//!
//! This is the one place where refusals become numbers of a protocol. Every mapping is exhaustive: a
//! new code does not compile before it says what it is on each side.

use std::borrow::Cow;
use std::fmt;

use crate::filter::FilterRefusal;
use crate::ids::{ClientMsgIdError, ConversationError};
use crate::json::JsonError;
use crate::limits::REASON_MAX_BYTES;
use crate::send::SendError;
use crate::topic::TopicError;
use crate::v1::ErrorCode;

impl ErrorCode {
    /// Every code, in the order of their numbers.
    pub const ALL: [Self; 17] = [
        Self::Ok,
        Self::Internal,
        Self::Unavailable,
        Self::NotSupported,
        Self::Unauthenticated,
        Self::Forbidden,
        Self::InvalidTopic,
        Self::InvalidPayload,
        Self::TooLarge,
        Self::RateLimited,
        Self::QuotaExceeded,
        Self::NoSuchUser,
        Self::NoSuchMessage,
        Self::InvalidDevice,
        Self::InvalidResponseTopic,
        Self::SharedNotSupported,
        Self::AlreadyExists,
    ];

    /// The name on the wire, the same everywhere: `NO_SUCH_USER`.
    pub fn name(self) -> &'static str {
        self.as_str_name()
    }

    /// What a client author or operator should know.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::Ok => "Done.",
            Self::Internal => "The server failed; the operator finds why in its log. Try again.",
            Self::Unavailable => {
                "The server takes nothing now: it is stopping or has lost its disk. Try again later."
            }
            Self::NotSupported => {
                "The contract has this, but this version of the server does not serve it yet."
            }
            Self::Unauthenticated => "The connection is anonymous, and this is for users.",
            Self::Forbidden => {
                "This user may not do this, or there is nothing here for this user to know of."
            }
            Self::InvalidTopic => "No topic of the contract has this shape.",
            Self::InvalidPayload => "The payload is not the message that this topic takes.",
            Self::TooLarge => "The message is larger than the limit.",
            Self::RateLimited => "Too much at once: wait, then try again.",
            Self::QuotaExceeded => "What this user may keep is used up.",
            Self::NoSuchUser => "There is no user of this name to send to.",
            Self::NoSuchMessage => "This user has no such conversation, or it has no message of this number.",
            Self::InvalidDevice => "The client id is not a device id ([A-Za-z0-9_-], 1 to 64 letters).",
            Self::InvalidResponseTopic => "The response topic is not under the caller's own root.",
            Self::SharedNotSupported => "Shared subscriptions are for generic topics.",
            Self::AlreadyExists => "The id is taken, or was once: choose another.",
        }
    }

    /// The reason code of a PUBACK or PUBREC on MQTT 5.0: 0x00, or one of the refusals that the standard allows there
    /// (0x80, 0x83, 0x87, 0x90, 0x97, 0x99).
    pub fn puback(self) -> u8 {
        match self {
            Self::Ok => 0x00,
            Self::Internal => 0x80,
            Self::Unavailable
            | Self::NotSupported
            | Self::NoSuchMessage
            | Self::SharedNotSupported
            | Self::AlreadyExists => 0x83,
            Self::Unauthenticated | Self::Forbidden | Self::InvalidDevice | Self::InvalidResponseTopic => {
                0x87
            }
            Self::InvalidTopic | Self::NoSuchUser => 0x90,
            Self::TooLarge | Self::RateLimited | Self::QuotaExceeded => 0x97,
            Self::InvalidPayload => 0x99,
        }
    }

    /// The reason code of a refused filter in a SUBACK on MQTT 5.0; on 3.1.1 every refusal is 0x80. `None` for
    /// [`Ok`](Self::Ok): what is granted is a `QoS`.
    pub fn suback(self) -> Option<u8> {
        Some(match self {
            Self::Ok => return None,
            Self::Internal => 0x80,
            Self::Unavailable
            | Self::NotSupported
            | Self::NoSuchMessage
            | Self::InvalidPayload
            | Self::InvalidResponseTopic
            | Self::AlreadyExists => 0x83,
            Self::Unauthenticated | Self::Forbidden | Self::NoSuchUser | Self::InvalidDevice => 0x87,
            Self::InvalidTopic => 0x8F,
            Self::TooLarge | Self::RateLimited | Self::QuotaExceeded => 0x97,
            Self::SharedNotSupported => 0x9E,
        })
    }

    /// The HTTP status.
    pub fn http(self) -> u16 {
        match self {
            Self::Ok => 200,
            Self::InvalidPayload
            | Self::InvalidDevice
            | Self::InvalidResponseTopic
            | Self::SharedNotSupported => 400,
            Self::Unauthenticated => 401,
            Self::Forbidden => 403,
            Self::InvalidTopic | Self::NoSuchUser | Self::NoSuchMessage => 404,
            Self::QuotaExceeded | Self::AlreadyExists => 409,
            Self::TooLarge => 413,
            Self::RateLimited => 429,
            Self::Internal => 500,
            Self::NotSupported => 501,
            Self::Unavailable => 503,
        }
    }

    /// Whether the same again may succeed later without anything else having changed.
    pub fn is_temporary(self) -> bool {
        matches!(self, Self::Internal | Self::Unavailable | Self::RateLimited)
    }
}

/// A refusal as it is told: its code, what exactly is wrong where that is known, and how long to wait.
///
/// Its text, `NAME: sentence`, is the reason string on MQTT 5.0 and the `reason` of `Rejected` and `Reply`: the
/// name up to the colon is for programs, the rest for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The code.
    pub code: ErrorCode,
    /// What exactly is wrong; instead of the code's own sentence.
    pub detail: Option<Cow<'static, str>>,
    /// Where waiting helps: how long, in milliseconds. 0 says nothing about it.
    pub retry_after_ms: u32,
}

impl Refusal {
    /// A refusal that says what exactly is wrong.
    pub fn because(code: ErrorCode, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { code, detail: Some(detail.into()), retry_after_ms: 0 }
    }

    /// A refusal that time heals.
    pub fn retry_after(code: ErrorCode, retry_after_ms: u32) -> Self {
        Self { code, detail: None, retry_after_ms }
    }

    /// The text, cut to [`REASON_MAX_BYTES`] at a character's boundary.
    pub fn reason(&self) -> String {
        let mut text = self.to_string();
        text.truncate(text.floor_char_boundary(REASON_MAX_BYTES));
        text
    }
}

impl From<ErrorCode> for Refusal {
    fn from(code: ErrorCode) -> Self {
        Self { code, detail: None, retry_after_ms: 0 }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.name(), self.detail.as_deref().unwrap_or(self.code.sentence()))
    }
}

impl std::error::Error for Refusal {}

impl From<TopicError> for Refusal {
    fn from(error: TopicError) -> Self {
        Self::because(ErrorCode::InvalidTopic, error.to_string())
    }
}

impl From<FilterRefusal> for Refusal {
    fn from(why: FilterRefusal) -> Self {
        let code = match why {
            FilterRefusal::Forbidden => ErrorCode::Forbidden,
            FilterRefusal::Anonymous => ErrorCode::Unauthenticated,
            FilterRefusal::NotADevice => ErrorCode::InvalidDevice,
            FilterRefusal::Shared => ErrorCode::SharedNotSupported,
            FilterRefusal::NoRow | FilterRefusal::PublishOnly | FilterRefusal::PresenceByName => {
                ErrorCode::InvalidTopic
            }
        };
        Self::because(code, why.to_string())
    }
}

impl From<SendError> for Refusal {
    fn from(error: SendError) -> Self {
        let code = match error {
            SendError::SendTooLarge(_) | SendError::BodyTooLarge(_) | SendError::TooMuch(_) => {
                ErrorCode::TooLarge
            }
            SendError::Id(_)
            | SendError::Timer(_)
            | SendError::NoBody
            | SendError::Wire(_)
            | SendError::Decode(_)
            | SendError::Json(_) => ErrorCode::InvalidPayload,
        };
        Self::because(code, error.to_string())
    }
}

impl From<JsonError> for Refusal {
    fn from(error: JsonError) -> Self {
        Self::because(ErrorCode::InvalidPayload, error.to_string())
    }
}

impl From<ClientMsgIdError> for Refusal {
    fn from(error: ClientMsgIdError) -> Self {
        Self::because(ErrorCode::InvalidPayload, error.to_string())
    }
}

impl From<ConversationError> for Refusal {
    fn from(error: ConversationError) -> Self {
        Self::because(ErrorCode::InvalidPayload, error.to_string())
    }
}
