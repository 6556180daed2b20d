//! An entry of a user's inbox, as it is stored and as each of their devices sees it.
//!
//! Stored is a version byte, a flags byte, where a flag asks for it a device's id with its length in front,
//! and then the encoded `Event` that readers get. So the usual entry is delivered as a slice of what is
//! stored, without a copy. Three things make an entry look different to different devices:
//!
//! - an entry for one device is skipped by the others;
//! - the sending device skips its own message, or, where its acknowledgement could not carry the number, gets
//!   it without content: that is its *sent*;
//! - content above [`INLINE_BODY_MAX_BYTES`] stays in the conversation's log and is joined when the entry is
//!   viewed.
//!
//! Left out of a `Message`, because the reader knows: `sender` in a direct chat where it is the other side
//! (in notes to oneself: the reader), `prev_seq` where it is the number before `seq`, and `client_msg_id` for
//! all but the sender's devices. The content stands last, as its sender encoded it, unknown fields included.

use crate::machine::DecodeError;
use crate::machine::stored::{StoredMessage, content_start, is_change};
use bytes::Bytes;
use chasqui_proto::limits::INLINE_BODY_MAX_BYTES;
use chasqui_proto::wire::{self, Value, bytes_len, number_len, put_length, put_number, varint_len};
use chasqui_proto::{ChatName, ClientMsgId, ConversationId, DeviceId, Refusal, Seq, UserId, v1};
use prost::Message as _;
use thiserror::Error;

const VERSION: u8 = 1;
const WHAT: &str = "inbox entry";

/// Only the device named is to see it.
const FOR_DEVICE: u8 = 1;
/// The device named sent it.
const FROM_DEVICE: u8 = 2;
/// The device that sent it is to see it, without content.
const ECHO: u8 = 4;
/// The content is in the conversation's log.
const CONTENT_ELSEWHERE: u8 = 8;
/// It is no message of its own (something happened to a group, or was done to an earlier message): nobody waits to hear that it was delivered.
const CHANGE: u8 = 16;
/// Its time ends: from then on it is shown as gone.
const EXPIRES: u8 = 32;

const EVENT_POSITION: u32 = 1;
const EVENT_MESSAGE: u32 = 2;
const CLIENT_MSG_ID: u32 = 1;
const CONVERSATION: u32 = 10;
const SENDER: u32 = 11;
const SEQ: u32 = 12;
const PREV_SEQ: u32 = 13;
const TIME_MS: u32 = 14;
const EXPIRES_AT_MS: u32 = 15;

/// A message on its way into an inbox.
#[derive(Debug, Clone, Copy)]
pub struct NewMessage<'a> {
    /// The conversation as the inbox's owner names it.
    pub chat: &'a ChatName,
    /// Who sent it, where that is not the other side of a direct chat.
    pub sender: Option<&'a UserId>,
    /// Its number.
    pub seq: Seq,
    /// The previous number that the inbox's owner can see, where that is another than the one before.
    pub prev_seq: Option<Seq>,
    /// Its time in Unix milliseconds.
    pub time_ms: u64,
    /// When it is gone for everyone, in Unix milliseconds; 0 for never.
    pub expires_at_ms: u64,
    /// The sending device's id for it; for the sender's inbox only.
    pub client_msg_id: Option<&'a ClientMsgId>,
    /// The sending device, and whether it is to be told; for the sender's inbox only.
    pub from_device: Option<(&'a DeviceId, bool)>,
    /// Body, quote, mentions and so on, as the sender encoded them; or what happened to a group.
    pub content: &'a [u8],
    /// Whether the content stands in the entry however large it is: where the conversation's log has another.
    pub whole: bool,
}

impl NewMessage<'_> {
    /// The entry at `position`, as stored.
    pub fn encode(&self, position: u64) -> Bytes {
        let inline = self.whole || self.content.len() <= INLINE_BODY_MAX_BYTES;
        let content = if inline { self.content } else { &[] };
        let mut flags = if inline { 0 } else { CONTENT_ELSEWHERE };
        if is_change(self.content) {
            flags |= CHANGE;
        }
        if self.expires_at_ms > 0 {
            flags |= EXPIRES;
        }
        if let Some((_, echo)) = self.from_device {
            flags |= FROM_DEVICE | if echo { ECHO } else { 0 };
        }
        let device = self.from_device.map(|(device, _)| device);
        let header = 2 + device.map_or(0, |device| 1 + device.as_bytes().len());
        let message = self.head_len() + content.len();
        let len = header + number_len(EVENT_POSITION, position) + bytes_len(EVENT_MESSAGE, message);
        let mut out = Vec::with_capacity(len);
        put_header(&mut out, flags, device);
        put_number(&mut out, EVENT_POSITION, position);
        put_length(&mut out, EVENT_MESSAGE, message);
        self.put_head(&mut out);
        out.extend_from_slice(content);
        // Memory that is longer than what is in it would cost `Bytes` another piece to say so.
        debug_assert_eq!(out.len(), len, "counted before it was written");
        out.into()
    }

    /// What the server says of the message.
    fn put_head(&self, out: &mut Vec<u8>) {
        if let Some(id) = self.client_msg_id {
            put_length(out, CLIENT_MSG_ID, id.as_bytes().len());
            out.extend_from_slice(id.as_bytes());
        }
        put_chat(out, CONVERSATION, self.chat);
        if let Some(sender) = self.sender {
            put_length(out, SENDER, sender.as_bytes().len());
            out.extend_from_slice(sender.as_bytes());
        }
        put_number(out, SEQ, self.seq.0);
        if let Some(prev_seq) = self.prev_seq {
            put_number(out, PREV_SEQ, prev_seq.0);
        }
        put_number(out, TIME_MS, self.time_ms);
        put_number(out, EXPIRES_AT_MS, self.expires_at_ms);
    }

    fn head_len(&self) -> usize {
        let (root, name) = chat_parts(self.chat);
        self.client_msg_id.map_or(0, |id| bytes_len(CLIENT_MSG_ID, id.as_bytes().len()))
            + bytes_len(CONVERSATION, root.len() + name.len())
            + self.sender.map_or(0, |sender| bytes_len(SENDER, sender.as_bytes().len()))
            + number_len(SEQ, self.seq.0)
            + self.prev_seq.map_or(0, |prev_seq| number_len(PREV_SEQ, prev_seq.0))
            + number_len(TIME_MS, self.time_ms)
            + number_len(EXPIRES_AT_MS, self.expires_at_ms)
    }
}

/// The entry at `position` that tells `device` its command was refused, as stored.
pub fn rejected(
    position: u64,
    device: &DeviceId,
    topic: &str,
    client_msg_id: Option<&ClientMsgId>,
    refusal: &Refusal,
) -> Bytes {
    let rejected = v1::Rejected {
        topic: topic.to_owned(),
        client_msg_id: client_msg_id.map(|id| Bytes::copy_from_slice(id.as_bytes())).unwrap_or_default(),
        code: refusal.code.into(),
        reason: refusal.reason(),
        retry_after_ms: refusal.retry_after_ms,
    };
    let event = v1::Event { position, event: Some(v1::event::Event::Rejected(rejected)) };
    let mut out = Vec::with_capacity(2 + 1 + device.as_bytes().len() + event.encoded_len());
    put_header(&mut out, FOR_DEVICE, Some(device));
    event.encode(&mut out).expect("a Vec grows as needed");
    out.into()
}

/// The entry at `position` that tells `device` that its cursor was forgotten, and when, as stored.
pub fn cursor_lost(position: u64, device: &DeviceId, at_ms: u64) -> Bytes {
    let lost = v1::CursorLost { at_ms: at_ms.cast_signed() };
    let event = v1::Event { position, event: Some(v1::event::Event::CursorLost(lost)) };
    let mut out = Vec::with_capacity(2 + 1 + device.as_bytes().len() + event.encoded_len());
    put_header(&mut out, FOR_DEVICE, Some(device));
    event.encode(&mut out).expect("a Vec grows as needed");
    out.into()
}

/// The entry at `position` that tells a user's devices of something that is their user's own, as stored; the device that did it needs not be
/// told.
pub fn own(position: u64, event: v1::event::Event, from: Option<&DeviceId>) -> Bytes {
    let event = v1::Event { position, event: Some(event) };
    let mut out = Vec::with_capacity(2 + 1 + chasqui_proto::limits::ID_MAX_BYTES + event.encoded_len());
    put_header(&mut out, if from.is_some() { FROM_DEVICE } else { 0 }, from);
    event.encode(&mut out).expect("a Vec grows as needed");
    out.into()
}

/// The entry at `position` that says that a message is no more, as stored.
pub fn gone(position: u64, chat: &ChatName, seq: Seq) -> Bytes {
    let gone = v1::Gone { conversation: chat.to_string(), seq: seq.0 };
    own(position, v1::event::Event::Gone(gone), None)
}

/// The entry at `position` that tells a user's devices what somebody is to their user now, as stored.
pub fn tie(position: u64, tie: v1::Tie) -> Bytes {
    own(position, v1::event::Event::Tie(tie), None)
}

fn put_header(out: &mut Vec<u8>, flags: u8, device: Option<&DeviceId>) {
    out.extend_from_slice(&[VERSION, flags]);
    if let Some(device) = device {
        out.push(device.as_bytes().len() as u8);
        out.extend_from_slice(device.as_bytes());
    }
}

fn put_message_event(out: &mut Vec<u8>, position: u64, head: &[u8], content: &[u8]) {
    put_number(out, EVENT_POSITION, position);
    put_length(out, EVENT_MESSAGE, head.len() + content.len());
    out.extend_from_slice(head);
    out.extend_from_slice(content);
}

fn put_chat(out: &mut Vec<u8>, field: u32, chat: &ChatName) {
    let (root, name) = chat_parts(chat);
    put_length(out, field, root.len() + name.len());
    out.extend_from_slice(root);
    out.extend_from_slice(name);
}

fn chat_parts(chat: &ChatName) -> (&'static [u8], &[u8]) {
    match chat {
        ChatName::User(user) => (b"u/", user.as_bytes()),
        ChatName::Group(group) => (b"g/", group.as_bytes()),
    }
}

/// What a device sees of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rendered {
    /// Nothing: its cursor moves over it.
    Skip,
    /// This encoded `Event`.
    Event(Bytes),
}

/// Why an entry cannot be shown.
#[derive(Debug, Error)]
pub enum RenderError<E> {
    /// It is not what an entry, or the message it points to, looks like.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The conversation's log could not be read.
    #[error(transparent)]
    Fetch(E),
}

/// What everybody sees of an entry that looks the same to all devices and holds all that there is to see: by far most of them.
///
/// # Errors
/// If it is not what an entry looks like.
pub fn same_for_all(stored: &Bytes) -> Result<Option<Bytes>, DecodeError> {
    let entry = Entry::read(stored)?;
    let same = entry.flags & (FOR_DEVICE | FROM_DEVICE | CONTENT_ELSEWHERE | EXPIRES) == 0;
    Ok(same.then(|| stored.slice_ref(entry.event)))
}

/// What device `viewer` of user `owner` sees of an entry at a time in Unix milliseconds. `fetch` reads a conversation's log where the
/// content is there; a message that is not there any more is shown as `Gone`.
///
/// # Errors
/// If something stored cannot be read.
pub fn render<E>(
    stored: &Bytes,
    owner: &UserId,
    viewer: &DeviceId,
    now_ms: u64,
    fetch: impl FnOnce(&ConversationId, Seq) -> Result<Option<Bytes>, E>,
) -> Result<Rendered, RenderError<E>> {
    let entry = Entry::read(stored)?;
    let named = entry.device == Some(viewer.as_bytes());
    if entry.flags & FOR_DEVICE != 0 && !named {
        return Ok(Rendered::Skip);
    }
    let sent_it = entry.flags & FROM_DEVICE != 0 && named;
    if sent_it && entry.flags & ECHO == 0 {
        return Ok(Rendered::Skip);
    }
    if entry.flags & EXPIRES != 0
        && let Some(message) = entry.message()?
        && message.expires_at_ms()? <= now_ms
    {
        return message.gone().map(Rendered::Event).map_err(RenderError::Decode);
    }
    let elsewhere = entry.flags & CONTENT_ELSEWHERE != 0;
    if sent_it == elsewhere {
        // As stored: the whole entry, or one that has no content to begin with.
        return Ok(Rendered::Event(stored.slice_ref(entry.event)));
    }
    let message = entry.message()?.ok_or(DecodeError::Malformed(WHAT))?;
    let mut out = Vec::new();
    if sent_it {
        put_message_event(&mut out, message.position, message.head, &[]);
    } else {
        let mention = message.mention()?;
        let about = mention.resolve(owner)?;
        if let Some(log_entry) = fetch(&about.conversation, about.seq).map_err(RenderError::Fetch)? {
            let content = StoredMessage::content(&log_entry)?;
            out.reserve_exact(message.head.len() + content.len() + 2 + 2 * varint_len(u64::MAX));
            put_message_event(&mut out, message.position, message.head, &content);
        } else {
            return Ok(Rendered::Event(message.gone()?));
        }
    }
    Ok(Rendered::Event(out.into()))
}

/// Which message an entry is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// Its conversation.
    pub conversation: ConversationId,
    /// Who sent it.
    pub sender: UserId,
    /// Its number.
    pub seq: Seq,
    /// Its time in Unix milliseconds.
    pub time_ms: u64,
}

/// Which message an entry of `owner`'s inbox is about; `None` if it is about something else. Does not look at
/// the content.
///
/// # Errors
/// If it is not what an entry looks like.
pub fn about(owner: &UserId, stored: &[u8]) -> Result<Option<About>, DecodeError> {
    Mention::read(stored)?.map(|mention| mention.resolve(owner)).transpose()
}

/// Which message an entry is about, in the entry's own words: enough to tell entries of one chat and sender from others, at no more cost
/// than a look at them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mention<'a> {
    chat: &'a [u8],
    sender: Option<&'a [u8]>,
    /// Its number.
    pub seq: Seq,
    time_ms: u64,
}

impl<'a> Mention<'a> {
    /// Reads it from a stored entry; `None` if that is about something else than a message that somebody sent.
    ///
    /// # Errors
    /// If it is not what an entry looks like.
    pub fn read(stored: &'a [u8]) -> Result<Option<Mention<'a>>, DecodeError> {
        let entry = Entry::read(stored)?;
        if entry.flags & CHANGE != 0 {
            return Ok(None);
        }
        entry.message()?.map(|message| message.mention()).transpose()
    }

    /// Whether both are about messages of one sender in one chat.
    pub fn is_beside(&self, other: &Mention<'_>) -> bool {
        self.chat == other.chat && self.sender == other.sender
    }

    /// What it says to the owner of the inbox.
    ///
    /// # Errors
    /// If a chat or a user cannot be called that.
    pub fn resolve(&self, owner: &UserId) -> Result<About, DecodeError> {
        let chat = self.chat()?;
        let sender = match (self.sender, &chat) {
            (Some(sender), _) => UserId::parse(text(sender)?).map_err(|_| DecodeError::Malformed(WHAT))?,
            (None, ChatName::User(peer)) => peer.clone(),
            (None, ChatName::Group(_)) => return Err(DecodeError::Malformed(WHAT)),
        };
        let Mention { seq, time_ms, .. } = *self;
        Ok(About { conversation: ConversationId::named_by(owner, &chat), sender, seq, time_ms })
    }

    fn chat(&self) -> Result<ChatName, DecodeError> {
        ChatName::parse(text(self.chat)?).map_err(|_| DecodeError::Malformed(WHAT))
    }
}

fn text(bytes: &[u8]) -> Result<&str, DecodeError> {
    std::str::from_utf8(bytes).map_err(|_| DecodeError::Malformed(WHAT))
}

/// A stored entry, taken apart.
struct Entry<'a> {
    flags: u8,
    device: Option<&'a [u8]>,
    event: &'a [u8],
}

impl<'a> Entry<'a> {
    fn read(stored: &'a [u8]) -> Result<Entry<'a>, DecodeError> {
        match stored {
            [VERSION, flags, rest @ ..] => {
                let (device, event) = if flags & (FOR_DEVICE | FROM_DEVICE) == 0 {
                    (None, rest)
                } else {
                    let (&len, rest) = rest.split_first().ok_or(DecodeError::Malformed(WHAT))?;
                    let (device, event) =
                        rest.split_at_checked(usize::from(len)).ok_or(DecodeError::Malformed(WHAT))?;
                    (Some(device), event)
                };
                Ok(Entry { flags: *flags, device, event })
            }
            [found, ..] if *found > VERSION => {
                Err(DecodeError::Newer { what: WHAT, found: *found, known: VERSION })
            }
            _ => Err(DecodeError::Malformed(WHAT)),
        }
    }

    fn message(&self) -> Result<Option<Message<'a>>, DecodeError> {
        let mut position = 0;
        for field in wire::fields(self.event) {
            match field.map_err(damaged)? {
                wire::Field { number: EVENT_POSITION, value: Value::Varint(value), .. } => position = value,
                wire::Field { number: EVENT_MESSAGE, value: Value::Bytes(at), .. } => {
                    let message = &self.event[at];
                    let head = &message[..content_start(message).map_err(damaged)?];
                    return Ok(Some(Message { position, head }));
                }
                _ => {}
            }
        }
        Ok(None)
    }
}

/// What the server says of a message.
struct Message<'a> {
    position: u64,
    head: &'a [u8],
}

impl<'a> Message<'a> {
    /// The event that says that it is gone.
    fn gone(&self) -> Result<Bytes, DecodeError> {
        let mention = self.mention()?;
        let conversation = mention.chat()?.to_string();
        let gone = v1::event::Event::Gone(v1::Gone { conversation, seq: mention.seq.0 });
        Ok(v1::Event { position: self.position, event: Some(gone) }.encode_to_vec().into())
    }

    /// When it is gone.
    fn expires_at_ms(&self) -> Result<u64, DecodeError> {
        for field in wire::fields(self.head) {
            if let wire::Field { number: EXPIRES_AT_MS, value: Value::Varint(at), .. } =
                field.map_err(damaged)?
            {
                return Ok(at);
            }
        }
        Err(DecodeError::Malformed(WHAT))
    }

    fn mention(&self) -> Result<Mention<'a>, DecodeError> {
        let (mut chat, mut sender, mut seq, mut time_ms) = (None, None, Seq::NONE, 0);
        for field in wire::fields(self.head) {
            match field.map_err(damaged)? {
                wire::Field { number: CONVERSATION, value: Value::Bytes(at), .. } => {
                    chat = Some(&self.head[at]);
                }
                wire::Field { number: SENDER, value: Value::Bytes(at), .. } => sender = Some(&self.head[at]),
                wire::Field { number: SEQ, value: Value::Varint(value), .. } => seq = Seq(value),
                wire::Field { number: TIME_MS, value: Value::Varint(value), .. } => time_ms = value,
                _ => {}
            }
        }
        Ok(Mention { chat: chat.ok_or(DecodeError::Malformed(WHAT))?, sender, seq, time_ms })
    }
}

fn damaged(_: wire::WireError) -> DecodeError {
    DecodeError::Malformed(WHAT)
}

#[cfg(test)]
mod tests;
