//! How many packets went over a connection, counted where they are taken and put, a turn at a time.
//!
//! What is sent is counted in the bytes that are about to be written, so that nothing that writes a packet has to think of it: a fixed
//! header says how long its packet is.

use crate::codec::{Packet, PacketType, QoS, Version};
use crate::stats::Traffic;

/// A packet was taken.
pub(super) fn taken(packet: &Packet, traffic: &mut Traffic) {
    traffic.packets += 1;
    if let Packet::Publish(publish) = packet {
        traffic.publishes += 1;
        traffic.payload += publish.payload.len() as u64;
    }
}

/// What is in `bytes`: whole packets, as our own encoders wrote them.
pub(super) fn put(version: Version, bytes: &[u8]) -> Traffic {
    let mut traffic = Traffic::default();
    let mut rest = bytes;
    while let Some((&first, behind)) = rest.split_first() {
        let Some((len, body)) = varint(behind) else { break };
        let body_len = len.min(body.len());
        traffic.packets += 1;
        if first >> 4 == PacketType::Publish as u8 {
            traffic.publishes += 1;
            traffic.payload += payload_len(version, first, &body[..body_len]) as u64;
        }
        rest = &body[body_len..];
    }
    traffic
}

/// The length of a PUBLISH's payload: what is behind its topic, packet id and properties.
fn payload_len(version: Version, first: u8, body: &[u8]) -> usize {
    let &[high, low, ..] = body else { return 0 };
    let id_len = if first & 0b0110 == QoS::AtMostOnce.as_u8() << 1 { 0 } else { 2 };
    let header_len = 2 + usize::from(u16::from_be_bytes([high, low])) + id_len;
    let Some(behind) = body.get(header_len..) else { return 0 };
    match version {
        Version::V311 => behind.len(),
        Version::V5 => varint(behind).map_or(0, |(len, rest)| rest.len().saturating_sub(len)),
    }
}

/// A variable byte integer and what follows it.
fn varint(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut value = 0;
    for (at, byte) in bytes.iter().take(4).enumerate() {
        value |= usize::from(byte & 0x7F) << (7 * at);
        if byte & 0x80 == 0 {
            return Some((value, &bytes[at + 1..]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::packet::{ack, ping, publish};
    use crate::codec::{AckOut, PacketId, Peer, PublishOut};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_encoded_is_counted(
            published in proptest::collection::vec((crate::codec::sample::publish(), crate::codec::sample::ids()), 0..6),
            v5: bool,
            acks in 0u64..3,
        ) {
            let version = if v5 { Version::V5 } else { Version::V311 };
            let peer = Peer::unlimited(version);
            let (mut out, mut payload) = (Vec::new(), 0);
            for (packet, ids) in &published {
                let one = PublishOut {
                    qos: packet.qos,
                    packet_id: (packet.qos > QoS::AtMostOnce).then_some(PacketId::MIN),
                    properties: packet.properties.as_deref(),
                    subscription_ids: ids,
                    ..PublishOut::new(&packet.topic, &packet.payload)
                };
                prop_assume!(publish::encode(&mut out, &peer, &one).is_ok());
                payload += packet.payload.len() as u64;
            }
            for _ in 0..acks {
                ack::encode(&mut out, &peer, PacketType::Puback, &AckOut::success(PacketId::MIN)).unwrap();
                ping::encode(&mut out);
            }
            let publishes = published.len() as u64;
            prop_assert_eq!(put(version, &out), Traffic { packets: publishes + 2 * acks, publishes, payload });
        }

        #[test]
        fn nothing_else_makes_it_stumble(bytes: Vec<u8>, v5: bool) {
            put(if v5 { Version::V5 } else { Version::V311 }, &bytes);
        }
    }
}
