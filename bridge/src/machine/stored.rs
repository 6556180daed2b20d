//! A message as its conversation's log holds it, under its sequence number.
//!
//! A version byte, then the fields of a `Message`: what the server knows first, then the content as its
//! sender encoded it, unknown fields included, up to the end. Conversation and number are left out: they are
//! the key. Where it stands in inboxes is kept with it, so that it can be taken out of them.

use super::codec::DecodeError;
use bytes::Bytes;
use chasqui_proto::wire::{self, Value, bytes_len, number_len, put_length, put_number};
use chasqui_proto::{ClientMsgId, Seq, UserId, v1};
use prost::Message;

const VERSION: u8 = 1;
const WHAT: &str = "message";

const CLIENT_MSG_ID: u32 = 1;
const MENTIONS: u32 = 5;
const SENDER: u32 = 11;
const TIME_MS: u32 = 14;
const EXPIRES_AT_MS: u32 = 15;
/// Of what is stored alone: [`Places`](super::places::Places).
const PLACES: u32 = 16;
/// Of what is stored alone: its sender alone sees it.
const ALONE: u32 = 17;

/// What happened to a group, or was done to an earlier message: in place of what a sender says. No sender can write it, for the numbers
/// from 10 to 99 do not pass.
const CHANGE: u32 = 20;
const EDIT: u32 = 21;
const REACTION: u32 = 22;
const DELETION: u32 = 23;
const PIN: u32 = 24;
const TIMER: u32 = 25;
/// What was said is no more.
const GONE: u32 = 26;

/// Whether a field of `Message` is what it is about: its sender's, or something that is no message of its own.
fn is_content(number: u32) -> bool {
    matches!(number, 2..=9 | CHANGE..=GONE | 100..)
}

/// What happened to a group, as content.
pub(crate) fn change_content(change: &v1::GroupChange) -> Vec<u8> {
    content(CHANGE, change)
}

/// What a message says now, as content.
pub(crate) fn edit_content(edit: &v1::Edited) -> Vec<u8> {
    content(EDIT, edit)
}

/// An answer to a message, as content.
pub(crate) fn reaction_content(reaction: &v1::Reaction) -> Vec<u8> {
    content(REACTION, reaction)
}

/// That an earlier message is no more, as content.
pub(crate) fn deletion_content(seq: Seq) -> Vec<u8> {
    content(DELETION, &v1::Deletion { seq: seq.0 })
}

/// That an earlier message stands above the others, or no longer, as content.
pub(crate) fn pin_content(pin: &v1::Pin) -> Vec<u8> {
    content(PIN, pin)
}

/// How long what is said is there for, as content.
pub(crate) fn timer_content(seconds: u32) -> Vec<u8> {
    content(TIMER, &v1::Timer { seconds })
}

/// What something is that may be no more: a message of its own, or something about the message of a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Was {
    Message,
    EditOf(Seq),
    ReactionTo(Seq),
}

impl Was {
    /// What content is that of.
    pub(crate) fn of(content: &[u8]) -> Was {
        let Some(Ok(wire::Field { number, value: Value::Bytes(at), .. })) = wire::fields(content).next()
        else {
            return Was::Message;
        };
        let about = match number {
            EDIT => v1::Edited::decode(&content[at]).map(|edit| Was::EditOf(Seq(edit.seq))),
            REACTION => v1::Reaction::decode(&content[at]).map(|sign| Was::ReactionTo(Seq(sign.seq))),
            _ => Ok(Was::Message),
        };
        about.unwrap_or(Was::Message)
    }
}

/// What stands for content that is no more. Of what was about a message it says still about which: it becomes no message of its own, that
/// something could be done to.
pub(crate) fn gone_content(was: Was) -> Vec<u8> {
    let mut content = match was {
        Was::Message => Vec::new(),
        Was::EditOf(seq) => edit_content(&v1::Edited { seq: seq.0, ..v1::Edited::default() }),
        Was::ReactionTo(seq) => reaction_content(&v1::Reaction { seq: seq.0, ..v1::Reaction::default() }),
    };
    put_number(&mut content, GONE, 1);
    content
}

/// Whether content is that of a message of its own that is no more.
pub(crate) fn was_message(content: &[u8]) -> bool {
    matches!(wire::fields(content).next(), Some(Ok(wire::Field { number: GONE, .. })))
}

/// Whether content is that of something that is no more.
pub(crate) fn is_gone(content: &[u8]) -> bool {
    wire::fields(content).map_while(Result::ok).any(|field| field.number == GONE)
}

fn content(field: u32, message: &impl Message) -> Vec<u8> {
    let len = message.encoded_len();
    let mut content = Vec::with_capacity(bytes_len(field, len));
    put_length(&mut content, field, len);
    message.encode(&mut content).expect("a Vec grows as needed");
    content
}

/// Whether content is no message of its own.
pub(crate) fn is_change(content: &[u8]) -> bool {
    matches!(wire::fields(content).next(), Some(Ok(wire::Field { number: CHANGE..=GONE, .. })))
}

/// Whether content names a user among those it mentions. A mention that cannot be read names nobody.
pub(crate) fn mentions(content: &[u8], user: &UserId) -> bool {
    let named = |field: wire::Field| match field {
        wire::Field { number: MENTIONS, value: Value::Bytes(at), .. } => {
            v1::Mention::decode(&content[at]).is_ok_and(|mention| mention.user == user.as_str())
        }
        _ => false,
    };
    wire::fields(content).map_while(Result::ok).any(named)
}

/// Where the content begins in an encoded `Message` that has it last.
pub(crate) fn content_start(message: &[u8]) -> Result<usize, wire::WireError> {
    for field in wire::fields(message) {
        let field = field?;
        if is_content(field.number) {
            return Ok(field.span.start);
        }
    }
    Ok(message.len())
}

/// A message in its conversation's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredMessage {
    /// Who sent it.
    pub sender: UserId,
    /// When it was sequenced, in Unix milliseconds.
    pub time_ms: u64,
    /// The sending device's id for it.
    pub client_msg_id: Option<ClientMsgId>,
    /// When it is gone for everyone, in Unix milliseconds; 0 for never.
    pub expires_at_ms: u64,
    /// Whether its sender alone sees it: the other side blocks them.
    pub alone: bool,
    /// Where it stands in inboxes, as [`Places`](super::places::Places) encode it.
    pub places: Bytes,
    /// Body, quote, mentions and so on, as [`Outgoing`](chasqui_proto::Outgoing) gives them.
    pub content: Bytes,
}

/// A message on its way into its conversation's log.
#[derive(Debug, Clone, Copy)]
pub struct NewStored<'a> {
    /// Who sent it.
    pub sender: &'a UserId,
    /// When it was sequenced, in Unix milliseconds.
    pub time_ms: u64,
    /// The sending device's id for it.
    pub client_msg_id: Option<&'a ClientMsgId>,
    /// When it is gone for everyone, in Unix milliseconds; 0 for never.
    pub expires_at_ms: u64,
    /// Whether its sender alone sees it.
    pub alone: bool,
    /// Where it stands in inboxes.
    pub places: &'a [u8],
    /// Body, quote, mentions and so on.
    pub content: &'a [u8],
}

impl NewStored<'_> {
    /// The message as stored.
    pub fn encode(&self) -> Bytes {
        let NewStored { sender, time_ms, client_msg_id, expires_at_ms, alone, places, content } = *self;
        let id_len = client_msg_id.map_or(0, |id| bytes_len(CLIENT_MSG_ID, id.as_bytes().len()));
        let places_len = if places.is_empty() { 0 } else { bytes_len(PLACES, places.len()) };
        let head_len = id_len
            + bytes_len(SENDER, sender.as_bytes().len())
            + number_len(TIME_MS, time_ms)
            + places_len
            + number_len(EXPIRES_AT_MS, expires_at_ms)
            + number_len(ALONE, u64::from(alone));
        let mut out = Vec::with_capacity(1 + head_len + content.len());
        out.push(VERSION);
        if let Some(id) = client_msg_id {
            put_length(&mut out, CLIENT_MSG_ID, id.as_bytes().len());
            out.extend_from_slice(id.as_bytes());
        }
        put_length(&mut out, SENDER, sender.as_bytes().len());
        out.extend_from_slice(sender.as_bytes());
        put_number(&mut out, TIME_MS, time_ms);
        put_number(&mut out, EXPIRES_AT_MS, expires_at_ms);
        if !places.is_empty() {
            put_length(&mut out, PLACES, places.len());
            out.extend_from_slice(places);
        }
        put_number(&mut out, ALONE, u64::from(alone));
        out.extend_from_slice(content);
        out.into()
    }
}

impl StoredMessage {
    /// Whether its time is over.
    pub fn has_expired(&self, now_ms: u64) -> bool {
        self.expires_at_ms > 0 && self.expires_at_ms <= now_ms
    }

    /// Whether what it said is no more: taken away, or over at a time in Unix milliseconds.
    pub fn is_gone(&self, now_ms: u64) -> bool {
        // Of an edit, what it was about stands before that.
        let taken_away = || {
            wire::fields(&self.content)
                .take(2)
                .any(|field| matches!(field, Ok(wire::Field { number: GONE, .. })))
        };
        self.has_expired(now_ms) || (is_change(&self.content) && taken_away())
    }

    /// Whether a user may see it.
    pub fn is_for(&self, user: &UserId) -> bool {
        !self.alone || self.sender == *user
    }

    /// The same without what was said: that is no more.
    pub(crate) fn encode_gone(&self, was: Was) -> Bytes {
        NewStored {
            sender: &self.sender,
            time_ms: self.time_ms,
            client_msg_id: self.client_msg_id.as_ref(),
            expires_at_ms: 0,
            alone: self.alone,
            places: &[],
            content: &gone_content(was),
        }
        .encode()
    }

    /// Reads a stored message; its content is a slice of `stored`.
    ///
    /// # Errors
    /// If it is of a newer version, or no message.
    pub fn decode(stored: &Bytes) -> Result<StoredMessage, DecodeError> {
        let message = body(stored)?;
        Self::read(message, stored).ok_or(DecodeError::Malformed(WHAT))
    }

    fn read(message: &[u8], stored: &Bytes) -> Option<StoredMessage> {
        let start = content_start(message).ok()?;
        let (mut sender, mut time_ms, mut expires_at_ms) = (None, 0, 0);
        let (mut client_msg_id, mut places, mut alone) = (None, &[][..], false);
        for field in wire::fields(&message[..start]) {
            match field.ok()? {
                wire::Field { number: CLIENT_MSG_ID, value: Value::Bytes(at), .. } => {
                    client_msg_id = Some(ClientMsgId::from_bytes(&message[at]).ok()?);
                }
                wire::Field { number: SENDER, value: Value::Bytes(at), .. } => {
                    sender = Some(UserId::parse(std::str::from_utf8(&message[at]).ok()?).ok()?);
                }
                wire::Field { number: TIME_MS, value: Value::Varint(value), .. } => time_ms = value,
                wire::Field { number: EXPIRES_AT_MS, value: Value::Varint(value), .. } => {
                    expires_at_ms = value;
                }
                wire::Field { number: ALONE, value: Value::Varint(value), .. } => alone = value != 0,
                wire::Field { number: PLACES, value: Value::Bytes(at), .. } => places = &message[at],
                _ => return None,
            }
        }
        Some(StoredMessage {
            sender: sender?,
            time_ms,
            client_msg_id,
            expires_at_ms,
            alone,
            places: stored.slice_ref(places),
            content: stored.slice_ref(&message[start..]),
        })
    }

    /// The content of a stored message, a slice of it.
    ///
    /// # Errors
    /// If it is of a newer version, or no message.
    pub fn content(stored: &Bytes) -> Result<Bytes, DecodeError> {
        let message = body(stored)?;
        let start = content_start(message).map_err(|_| DecodeError::Malformed(WHAT))?;
        Ok(stored.slice_ref(&message[start..]))
    }
}

fn body(stored: &[u8]) -> Result<&[u8], DecodeError> {
    match stored.split_first() {
        Some((&VERSION, body)) => Ok(body),
        Some((&found, _)) if found > VERSION => Err(DecodeError::Newer { what: WHAT, found, known: VERSION }),
        _ => Err(DecodeError::Malformed(WHAT)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn round_trip(
            sender in "[A-Za-z0-9_-]{1,64}", time_ms: u64, text: String, unknown in 100u64..5_000,
            id in prop::option::of(prop::collection::vec(any::<u8>(), 1..=16)), places: Vec<u8>, alone: bool,
            expires_at_ms in prop_oneof![Just(0), any::<u64>()],
        ) {
            let sender = UserId::parse(&sender).unwrap();
            let client_msg_id = id.map(|id| ClientMsgId::from_bytes(&id).unwrap());
            let body = v1::Body { kind: Some(v1::body::Kind::Text(text)) };
            let mut content = v1::Send { body: Some(body), ..v1::Send::default() }.encode_to_vec();
            put_number(&mut content, 200, unknown);
            let id = client_msg_id.as_ref();
            let new = NewStored { sender: &sender, time_ms, client_msg_id: id, expires_at_ms, alone, places: &places, content: &content };
            let stored = new.encode();
            let content = Bytes::from(content);
            prop_assert_eq!(StoredMessage::content(&stored), Ok(content.clone()));
            let expected = StoredMessage { sender, time_ms, client_msg_id, expires_at_ms, alone, places: places.into(), content };
            prop_assert_eq!((Was::of(&expected.content), is_gone(&expected.content)), (Was::Message, false));
            for was in [Was::EditOf(Seq(7)), Was::ReactionTo(Seq(7))] {
                let about = StoredMessage::decode(&expected.encode_gone(was)).unwrap();
                prop_assert!(is_change(&about.content) && !was_message(&about.content));
                prop_assert_eq!((Was::of(&about.content), is_gone(&about.content)), (was, true));
                let shown = v1::Message::decode(about.content).unwrap();
                let edit = v1::Edited { seq: 7, ..v1::Edited::default() };
                let sign = v1::Reaction { seq: 7, ..v1::Reaction::default() };
                prop_assert!(shown.gone && (shown.edit == Some(edit) || shown.reaction == Some(sign)));
            }
            let gone = StoredMessage::decode(&expected.encode_gone(Was::Message)).unwrap();
            prop_assert_eq!((Was::of(&gone.content), is_gone(&gone.content)), (Was::Message, true));
            prop_assert!(was_message(&gone.content) && is_change(&gone.content) && !was_message(&expected.content));
            let (sender, id) = (&expected.sender, expected.client_msg_id);
            prop_assert_eq!((&gone.sender, gone.time_ms, gone.client_msg_id), (sender, time_ms, id));
            prop_assert!(gone.places.is_empty());
            prop_assert_eq!(StoredMessage::decode(&stored), Ok(expected));
        }

        #[test]
        fn any_bytes_are_answered(bytes: Vec<u8>) {
            let stored = Bytes::from([&[VERSION][..], &bytes].concat());
            let _ = StoredMessage::decode(&stored);
            let _ = StoredMessage::content(&stored);
        }
    }

    #[test]
    fn a_newer_version_is_refused() {
        let newer = DecodeError::Newer { what: WHAT, found: 2, known: 1 };
        assert_eq!(StoredMessage::decode(&Bytes::from_static(&[2])), Err(newer));
        assert_eq!(StoredMessage::content(&Bytes::from_static(&[2])), Err(newer));
        assert_eq!(StoredMessage::content(&Bytes::new()), Err(DecodeError::Malformed(WHAT)));
    }
}
