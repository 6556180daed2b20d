//! From bytes to the packet of a client.
//!
//! Invariant: what is consumed is exactly one packet, and a decoded packet's slices lie within it.

use bytes::Bytes;

use super::frame::{Frame, Peek, peek};
use super::packet::{ack, auth, connect, disconnect, publish, subscribe, unsubscribe};
use super::primitive::Reader;
use super::{
    Ack, Auth, Connect, DecodeError, Disconnect, MAX_PACKET_SIZE, PacketType, Publish, Sender, Subscribe,
    Unsubscribe, Version,
};

/// What a receiver takes. Its fields come from the limits of the server (or of a load tool).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The largest packet, in bytes, fixed header included. Smaller before CONNECT than after.
    pub max_packet_size: u32,
    /// The most levels of a topic name or filter; the name `a/b` has two.
    pub max_topic_levels: usize,
}

impl Limits {
    /// What the protocol itself allows.
    pub const UNLIMITED: Self = Self { max_packet_size: MAX_PACKET_SIZE, max_topic_levels: usize::MAX };
}

/// A packet that a client sends.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)] // The names are the standard's.
pub enum Packet {
    Connect(Box<Connect>),
    Publish(Publish),
    Puback(Ack),
    Pubrec(Ack),
    Pubrel(Ack),
    Pubcomp(Ack),
    Subscribe(Subscribe),
    Unsubscribe(Unsubscribe),
    Pingreq,
    Disconnect(Disconnect),
    Auth(Box<Auth>),
}

impl Packet {
    /// The type of the packet.
    pub const fn kind(&self) -> PacketType {
        match self {
            Self::Connect(_) => PacketType::Connect,
            Self::Publish(_) => PacketType::Publish,
            Self::Puback(_) => PacketType::Puback,
            Self::Pubrec(_) => PacketType::Pubrec,
            Self::Pubrel(_) => PacketType::Pubrel,
            Self::Pubcomp(_) => PacketType::Pubcomp,
            Self::Subscribe(_) => PacketType::Subscribe,
            Self::Unsubscribe(_) => PacketType::Unsubscribe,
            Self::Pingreq => PacketType::Pingreq,
            Self::Disconnect(_) => PacketType::Disconnect,
            Self::Auth(_) => PacketType::Auth,
        }
    }
}

/// Decodes the packet that begins at `at` and gives it with its length in bytes; `None` if it is not complete. Before its
/// CONNECT is decoded, a connection's `version` is `None` and only CONNECT is accepted.
///
/// The packet is slices of `buf` and keeps all of it in memory; `at` may be anything up to `buf.len()`.
pub fn decode(
    version: Option<Version>,
    buf: &Bytes,
    at: usize,
    limits: &Limits,
) -> Result<Option<(Packet, usize)>, DecodeError> {
    let bytes = buf.get(at..).unwrap_or_default();
    match peek(bytes, version, limits.max_packet_size)? {
        Peek::Frame(frame) if frame.total_len <= bytes.len() => {
            let packet = decode_frame(version, frame, buf, at, limits)?;
            Ok(Some((packet, frame.total_len)))
        }
        Peek::Frame(_) | Peek::Need(_) => Ok(None),
    }
}

/// Decodes the packet at `at` whose fixed header [`peek`] has seen and whose body has arrived.
///
/// # Panics
/// If the buffer does not hold the whole frame.
pub fn decode_frame(
    version: Option<Version>,
    frame: Frame,
    buf: &Bytes,
    at: usize,
    limits: &Limits,
) -> Result<Packet, DecodeError> {
    assert!(at + frame.total_len <= buf.len(), "the caller has waited for the whole frame");
    let body = Reader::new(buf, at + frame.header_len..at + frame.total_len);
    let levels = limits.max_topic_levels;
    let Some(version) = version else {
        return match frame.kind {
            PacketType::Connect => Ok(Packet::Connect(Box::new(connect::decode(body, levels)?))),
            kind => Err(DecodeError::ConnectExpected { first: kind.first_byte() | frame.flags }),
        };
    };
    let ack = |body| ack::decode(version, frame.kind, Sender::Client, body);
    Ok(match frame.kind {
        PacketType::Publish => Packet::Publish(publish::decode(version, frame.flags, body, levels, None)?),
        PacketType::Puback => Packet::Puback(ack(body)?),
        PacketType::Pubrec => Packet::Pubrec(ack(body)?),
        PacketType::Pubrel => Packet::Pubrel(ack(body)?),
        PacketType::Pubcomp => Packet::Pubcomp(ack(body)?),
        PacketType::Subscribe => Packet::Subscribe(subscribe::decode(version, body, levels)?),
        PacketType::Unsubscribe => Packet::Unsubscribe(unsubscribe::decode(version, body, levels)?),
        PacketType::Pingreq => {
            body.finish()?;
            Packet::Pingreq
        }
        PacketType::Disconnect => Packet::Disconnect(disconnect::decode(version, Sender::Client, body)?),
        PacketType::Auth => Packet::Auth(Box::new(auth::decode(Sender::Client, body)?)),
        PacketType::Connect => return Err(DecodeError::SecondConnect),
        packet @ (PacketType::Connack | PacketType::Suback | PacketType::Unsuback | PacketType::Pingresp) => {
            return Err(DecodeError::WrongDirection { packet });
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server moves these by the batch.
    #[test]
    fn a_packet_is_no_larger_than_its_publish_needs() {
        assert!(size_of::<Packet>() <= 96, "{}", size_of::<Packet>());
    }

    #[test]
    fn an_incomplete_packet_is_not_an_error() {
        let bytes = Bytes::from_static(b"\x32\x07\0\x01t\0\x01hi");
        for cut in 0..bytes.len() {
            let decoded = decode(Some(Version::V311), &bytes.slice(..cut), 0, &Limits::UNLIMITED);
            assert_eq!(decoded, Ok(None), "{cut}");
        }
        assert_eq!(decode(Some(Version::V311), &bytes, 100, &Limits::UNLIMITED), Ok(None));
    }

    #[test]
    fn packets_follow_each_other_in_one_buffer() {
        let bytes = Bytes::from_static(b"\xC0\0\x30\x05\0\x01t\0\x01\xC0\0\xE0");
        let mut at = 0;
        let mut kinds = Vec::new();
        while let Some((packet, len)) =
            decode(Some(Version::V311), &bytes, at, &Limits::UNLIMITED).expect("valid")
        {
            kinds.push(packet.kind());
            at += len;
        }
        assert_eq!(kinds, [PacketType::Pingreq, PacketType::Publish, PacketType::Pingreq]);
        assert_eq!(at, bytes.len() - 1);
    }
}
