//! The client's side of the codec, for tests and load tools: decoding what a server sends. (What a client sends is written by
//! `encode` in the module of each packet.)

use bytes::Bytes;

use super::frame::{Peek, peek_from};
use super::packet::publish::SubscriptionIds;
use super::packet::{ack, auth, connack, disconnect, publish, suback, unsuback};
use super::primitive::Reader;
use super::{
    Ack, Auth, Connack, DecodeError, Disconnect, Limits, PacketType, Publish, Sender, Suback, Unsuback,
    Version,
};

/// A packet that a server sends.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)] // The names are the standard's.
pub enum ServerPacket {
    Connack(Box<Connack>),
    /// With the identifiers of the subscriptions that match, in their order.
    Publish(Publish, SubscriptionIds),
    Puback(Ack),
    Pubrec(Ack),
    Pubrel(Ack),
    Pubcomp(Ack),
    Suback(Suback),
    Unsuback(Unsuback),
    Pingresp,
    Disconnect(Disconnect),
    Auth(Box<Auth>),
}

/// Decodes the packet that begins at `at` and gives it with its length in bytes; `None` if it is not complete. That CONNACK or
/// AUTH must come first is the caller's to check.
pub fn decode(
    version: Version,
    buf: &Bytes,
    at: usize,
    limits: &Limits,
) -> Result<Option<(ServerPacket, usize)>, DecodeError> {
    let bytes = buf.get(at..).unwrap_or_default();
    let frame = match peek_from(Sender::Server, bytes, Some(version), limits.max_packet_size)? {
        Peek::Frame(frame) if frame.total_len <= bytes.len() => frame,
        Peek::Frame(_) | Peek::Need(_) => return Ok(None),
    };
    let body = Reader::new(buf, at + frame.header_len..at + frame.total_len);
    let ack = |body| ack::decode(version, frame.kind, Sender::Server, body);
    let packet = match frame.kind {
        PacketType::Connack => ServerPacket::Connack(Box::new(connack::decode(version, body)?)),
        PacketType::Publish => {
            let mut ids = SubscriptionIds::new();
            let publish =
                publish::decode(version, frame.flags, body, limits.max_topic_levels, Some(&mut ids))?;
            ServerPacket::Publish(publish, ids)
        }
        PacketType::Puback => ServerPacket::Puback(ack(body)?),
        PacketType::Pubrec => ServerPacket::Pubrec(ack(body)?),
        PacketType::Pubrel => ServerPacket::Pubrel(ack(body)?),
        PacketType::Pubcomp => ServerPacket::Pubcomp(ack(body)?),
        PacketType::Suback => ServerPacket::Suback(suback::decode(version, body)?),
        PacketType::Unsuback => ServerPacket::Unsuback(unsuback::decode(version, body)?),
        PacketType::Pingresp => {
            body.finish()?;
            ServerPacket::Pingresp
        }
        PacketType::Disconnect => {
            ServerPacket::Disconnect(disconnect::decode(version, Sender::Server, body)?)
        }
        PacketType::Auth => ServerPacket::Auth(Box::new(auth::decode(Sender::Server, body)?)),
        packet @ (PacketType::Connect
        | PacketType::Subscribe
        | PacketType::Unsubscribe
        | PacketType::Pingreq) => {
            return Err(DecodeError::WrongDirection { packet });
        }
    };
    Ok(Some((packet, frame.total_len)))
}
