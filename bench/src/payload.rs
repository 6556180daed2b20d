//! What a message carries, so that whoever receives it knows who sent it, which one it is, and when it was due.

use chasqui_proto::v1;
use chasqui_proto::wire;
use prost::Message as _;

/// Bytes of a plain payload at least.
pub const PLAIN_MIN: usize = 20;
/// Letters of a chat message at least: the stamp in hexadecimal.
pub const CHAT_MIN: usize = 2 * PLAIN_MIN;

/// The stamp of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// The client that published it.
    pub source: u32,
    /// Its how-manieth, from 0.
    pub seq: u64,
    /// When it was due, nanoseconds since the run began.
    pub due_ns: u64,
}

/// The form of a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Bytes.
    Plain,
    /// A `Send` of Chasqui going out, an `Event` coming in.
    Chat,
}

impl Stamp {
    fn bytes(&self) -> [u8; PLAIN_MIN] {
        let mut bytes = [0; PLAIN_MIN];
        bytes[..4].copy_from_slice(&self.source.to_be_bytes());
        bytes[4..12].copy_from_slice(&self.seq.to_be_bytes());
        bytes[12..].copy_from_slice(&self.due_ns.to_be_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8; PLAIN_MIN]) -> Stamp {
        let number = |range: std::ops::Range<usize>| {
            bytes[range].iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
        };
        Stamp { source: number(0..4) as u32, seq: number(4..12), due_ns: number(12..20) }
    }

    /// Writes a payload of `size` bytes with this stamp; for a chat message, with a body of so many letters.
    pub fn write(&self, out: &mut Vec<u8>, form: Form, size: usize) {
        out.clear();
        match form {
            Form::Plain => {
                out.extend_from_slice(&self.bytes());
                out.resize(size.max(PLAIN_MIN), b'x');
            }
            Form::Chat => {
                let mut text = String::with_capacity(size);
                for byte in self.bytes() {
                    for digit in [byte >> 4, byte & 15] {
                        text.push(char::from(b"0123456789abcdef"[usize::from(digit)]));
                    }
                }
                text.extend(std::iter::repeat_n('x', size.saturating_sub(CHAT_MIN)));
                let send = v1::Send {
                    client_msg_id: self.seq.to_be_bytes().to_vec().into(),
                    body: Some(v1::Body { kind: Some(v1::body::Kind::Text(text)) }),
                    ..v1::Send::default()
                };
                send.encode_raw(out);
            }
        }
    }

    /// The stamp of a payload that came; `None` where it has none.
    pub fn read(payload: &[u8], form: Form) -> Option<Stamp> {
        match form {
            Form::Plain => payload.first_chunk().map(Stamp::from_bytes),
            Form::Chat => {
                let message = inside(payload, EVENT_MESSAGE)?;
                let text = inside(inside(message, MESSAGE_BODY)?, BODY_TEXT)?;
                let mut bytes = [0; PLAIN_MIN];
                for (byte, digits) in bytes.iter_mut().zip(text.get(..CHAT_MIN)?.chunks_exact(2)) {
                    let digit = |digit: u8| char::from(digit).to_digit(16).map(|digit| digit as u8);
                    *byte = digit(digits[0])? << 4 | digit(digits[1])?;
                }
                Some(Stamp::from_bytes(&bytes))
            }
        }
    }
}

/// `Event.message`, `Message.body` and `Body.text`, by number.
const EVENT_MESSAGE: u32 = 2;
const MESSAGE_BODY: u32 = 2;
const BODY_TEXT: u32 = 1;

fn inside(message: &[u8], number: u32) -> Option<&[u8]> {
    wire::field_bytes(message, number).ok().flatten().map(|range| &message[range])
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: Stamp = Stamp { source: 7, seq: 1 << 40, due_ns: u64::MAX };

    #[test]
    fn a_plain_stamp_comes_back() {
        let mut out = Vec::new();
        for size in [0, PLAIN_MIN, 100] {
            STAMP.write(&mut out, Form::Plain, size);
            assert_eq!(out.len(), size.max(PLAIN_MIN));
            assert_eq!(Stamp::read(&out, Form::Plain), Some(STAMP));
        }
        assert_eq!(Stamp::read(b"short", Form::Plain), None);
    }

    #[test]
    fn a_chat_stamp_comes_back_in_an_event() {
        let mut out = Vec::new();
        STAMP.write(&mut out, Form::Chat, 100);
        let send = v1::Send::decode(&out[..]).expect("a Send");
        let message = v1::Message { body: send.body, ..v1::Message::default() };
        let event = v1::Event { event: Some(v1::event::Event::Message(message)), ..v1::Event::default() };
        assert_eq!(Stamp::read(&event.encode_to_vec(), Form::Chat), Some(STAMP));
        assert_eq!(Stamp::read(&v1::Event::default().encode_to_vec(), Form::Chat), None);
    }
}
