//! What a device publishes to `u/{peer}/send` and `g/{group}/send`, checked and split.
//!
//! Invariants of [`Outgoing`]: its content is what the sender encoded, unknown fields included, and decodes as the
//! content of [`Message`](crate::v1::Message); so one sender cannot put into a reader's log what the reader cannot
//! decode, nor set a field that the server writes.

use bytes::Bytes;
use prost::Message as _;
use thiserror::Error;

use crate::content::{self, TooMuch};
use crate::ids::{ClientMsgId, ClientMsgIdError};
use crate::json::{self, JsonError};
use crate::limits::{BODY_MAX_BYTES, SEND_MAX_BYTES, TIMER_MAX_S};
use crate::v1;
use crate::wire::{self, Value, WireError};

const CLIENT_MSG_ID: u32 = 1;
const BODY: u32 = 2;
const BODY_TEXT: u32 = 1;
const EXPIRES_IN_S: u32 = 10;
/// Content that this version knows: the types of these fields are checked.
const KNOWN_CONTENT: std::ops::RangeInclusive<u32> = 2..=6;
/// Directions to the server; the same numbers are the server's in `Message`.
const DIRECTIONS: std::ops::RangeInclusive<u32> = 10..=99;

/// Why a payload is not a message that can be sent.
#[derive(Debug, Error)]
pub enum SendError {
    /// Larger than [`SEND_MAX_BYTES`].
    #[error("the message has {0} bytes as protobuf, more than {SEND_MAX_BYTES}")]
    SendTooLarge(usize),
    /// The body is larger than [`BODY_MAX_BYTES`].
    #[error("the body has {0} bytes as protobuf, more than {BODY_MAX_BYTES}")]
    BodyTooLarge(usize),
    /// A field has more in it than it may.
    #[error(transparent)]
    TooMuch(#[from] TooMuch),
    /// There is no body, or nothing in it.
    #[error("the message has no body, or one with nothing in it")]
    NoBody,
    /// It is to be there for longer than a message that disappears may be.
    #[error("the message is to be gone after {0} seconds, more than {TIMER_MAX_S}")]
    Timer(u64),
    /// Its id is none.
    #[error(transparent)]
    Id(#[from] ClientMsgIdError),
    /// Not protobuf.
    #[error("the payload is not a protobuf Send: {0}")]
    Wire(#[from] WireError),
    /// Protobuf, but a field does not hold what it should.
    #[error("the payload is not a protobuf Send: {0}")]
    Decode(#[from] prost::DecodeError),
    /// Not the JSON of it.
    #[error(transparent)]
    Json(#[from] JsonError),
}

/// A message on its way in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// The device's id for it.
    pub client_msg_id: Option<ClientMsgId>,
    /// Body, quote, mentions and so on: the encoded fields that go to the readers as they are. A slice of the payload
    /// where that has them side by side, which every usual encoder does.
    pub content: Bytes,
    /// After how many seconds it is to be gone for everyone; 0 where its sender does not say.
    pub expires_in_s: u32,
}

impl Outgoing {
    /// Takes a protobuf payload.
    ///
    /// # Errors
    /// If it is no `Send`, too large or without a body; each error is a sentence for its sender.
    pub fn parse(payload: &Bytes) -> Result<Self, SendError> {
        if payload.len() > SEND_MAX_BYTES {
            return Err(SendError::SendTooLarge(payload.len()));
        }
        let mut client_msg_id = None;
        let mut body = None;
        let mut expires_in_s = 0;
        let mut plain = true;
        // The content so far: one run of the payload, or, once that has a hole, a copy.
        let mut run = 0..0;
        let mut copy: Option<Vec<u8>> = None;
        for field in wire::fields(payload) {
            let field = field?;
            match (field.number, field.value) {
                (CLIENT_MSG_ID, Value::Bytes(range)) => {
                    if client_msg_id.replace(range).is_some() {
                        return Err(WireError::Duplicate(CLIENT_MSG_ID).into());
                    }
                    continue;
                }
                (BODY, Value::Bytes(range)) => {
                    if body.replace(range).is_some() {
                        return Err(WireError::Duplicate(BODY).into());
                    }
                }
                (CLIENT_MSG_ID | BODY, _) => return Err(WireError::Type(field.number).into()),
                (EXPIRES_IN_S, Value::Varint(seconds)) => {
                    let fits = u32::try_from(seconds).ok().filter(|seconds| *seconds <= TIMER_MAX_S);
                    expires_in_s = fits.ok_or(SendError::Timer(seconds))?;
                    continue;
                }
                (EXPIRES_IN_S, _) => return Err(WireError::Type(EXPIRES_IN_S).into()),
                (number, _) if DIRECTIONS.contains(&number) => continue,
                (number, _) => plain &= !KNOWN_CONTENT.contains(&number),
            }
            match &mut copy {
                Some(copy) => copy.extend_from_slice(&payload[field.span]),
                None if run.is_empty() => run = field.span,
                None if run.end == field.span.start => run.end = field.span.end,
                None => copy = Some([&payload[run.clone()], &payload[field.span]].concat()),
            }
        }

        let body = body.filter(|range| !range.is_empty()).ok_or(SendError::NoBody)?;
        if body.len() > BODY_MAX_BYTES {
            return Err(SendError::BodyTooLarge(body.len()));
        }
        if !(plain && is_plain_text(&payload[body])?) {
            // Readers will decode these fields; what they could not must not get into their logs.
            content::check(&v1::Send::decode(payload.clone())?)?;
        }
        let client_msg_id = match client_msg_id {
            // An empty field is, in proto3, an absent one.
            Some(range) if !range.is_empty() => Some(ClientMsgId::from_bytes(&payload[range])?),
            _ => None,
        };
        let content = copy.map_or_else(|| payload.slice(run), Bytes::from);
        Ok(Self { client_msg_id, content, expires_in_s })
    }

    /// Takes a JSON payload.
    ///
    /// # Errors
    /// As [`parse`](Self::parse); the limits are those of the protobuf it becomes.
    pub fn parse_json(payload: &[u8]) -> Result<Self, SendError> {
        let send: v1::Send = json::decode(payload)?;
        Self::parse(&send.encode_to_vec().into())
    }
}

/// Whether a body is one text and nothing else, by far the most common: known to decode without decoding it.
fn is_plain_text(body: &[u8]) -> Result<bool, WireError> {
    let mut fields = wire::fields(body);
    let (first, second) = (fields.next().transpose()?, fields.next().transpose()?);
    Ok(match (first, second) {
        (Some(wire::Field { number: BODY_TEXT, value: Value::Bytes(text), .. }), None) => {
            std::str::from_utf8(&body[text]).is_ok()
        }
        _ => false,
    })
}
