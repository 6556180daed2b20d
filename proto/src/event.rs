//! Building the entries of a log around what a sender wrote.

use crate::ids::{ChatName, ClientMsgId, Seq, UserId};
use crate::wire::{put_length, put_number, varint_len};

/// A message for one reader: what the server knows of it, and its content as the sender encoded it.
///
/// [`encode_event`](Self::encode_event) gives the same as encoding an [`Event`](crate::v1::Event) with a
/// [`Message`](crate::v1::Message) in it, plus the content's unknown fields, in one allocation.
#[derive(Debug, Clone, Copy)]
pub struct MessageEntry<'a> {
    /// The conversation as this reader names it.
    pub conversation: &'a ChatName,
    /// Who sent it.
    pub sender: &'a UserId,
    /// Its number.
    pub seq: Seq,
    /// The previous number that this reader can see.
    pub prev_seq: Seq,
    /// When it was sequenced: milliseconds since 1970 UTC.
    pub time_ms: i64,
    /// When it is gone for everyone: milliseconds since 1970 UTC; 0 for never.
    pub expires_at_ms: i64,
    /// The sending device's id, on entries for the sender only.
    pub client_msg_id: Option<ClientMsgId>,
    /// From [`Outgoing::content`](crate::send::Outgoing); empty tells a 3.1.1 device that its message is sent.
    pub content: &'a [u8],
}

impl MessageEntry<'_> {
    fn header(&self, out: &mut Vec<u8>) {
        if let Some(id) = &self.client_msg_id {
            put_length(out, 1, id.as_bytes().len());
            out.extend_from_slice(id.as_bytes());
        }
        let (root, name) = match self.conversation {
            ChatName::User(user) => (b"u/", user.as_bytes()),
            ChatName::Group(group) => (b"g/", group.as_bytes()),
        };
        put_length(out, 10, root.len() + name.len());
        out.extend_from_slice(root);
        out.extend_from_slice(name);
        put_length(out, 11, self.sender.as_bytes().len());
        out.extend_from_slice(self.sender.as_bytes());
        put_number(out, 12, self.seq.0);
        put_number(out, 13, self.prev_seq.0);
        put_number(out, 14, self.time_ms.cast_unsigned());
        put_number(out, 15, self.expires_at_ms.cast_unsigned());
    }

    /// Appends it as an encoded [`Message`](crate::v1::Message).
    pub fn encode_message(&self, out: &mut Vec<u8>) {
        self.header(out);
        out.extend_from_slice(self.content);
    }

    /// Encodes it as the [`Event`](crate::v1::Event) at `position` of a log.
    pub fn encode_event(&self, position: u64) -> Vec<u8> {
        // Two ids of at most 64 bytes, an id of 16 and the numbers take less than this.
        const HEADER_MAX_BYTES: usize = 256;
        let mut header = Vec::with_capacity(HEADER_MAX_BYTES);
        self.header(&mut header);
        let length = header.len() + self.content.len();
        let mut out = Vec::with_capacity(1 + varint_len(position) + 1 + varint_len(length as u64) + length);
        put_number(&mut out, 1, position);
        put_length(&mut out, 2, length);
        out.extend_from_slice(&header);
        out.extend_from_slice(self.content);
        out
    }
}
