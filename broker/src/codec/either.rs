//! A decoded packet of either side, and writing it again: for what is tested from both sides.
//!
//! It uses the public interface alone, so that integration tests can include this file too.

use crate::codec::client::ServerPacket;
use crate::codec::packet::{
    ack, auth, connack, connect, disconnect, ping, publish, suback, subscribe, unsuback, unsubscribe,
};
use crate::codec::{Ack, AckOut, Packet, PacketType, Peer, Publish, PublishOut, Version};

/// A decoded packet of either side.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Any {
    Client(Packet),
    Server(ServerPacket),
}

impl Any {
    /// The packet as our encoders write it.
    pub(crate) fn encode(&self, version: Version) -> Vec<u8> {
        let mut out = Vec::new();
        let peer = Peer::unlimited(version);
        match self {
            Self::Client(packet) => encode_client(&mut out, peer, packet),
            Self::Server(packet) => encode_server(&mut out, peer, packet),
        };
        out
    }
}

fn encode_client(out: &mut Vec<u8>, peer: Peer, packet: &Packet) -> usize {
    match packet {
        Packet::Connect(connect) => connect::encode(out, connect).expect("was decoded"),
        Packet::Publish(publish) => {
            publish::encode(out, &peer, &publish_out(publish, &[])).expect("was decoded")
        }
        Packet::Puback(ack) => encode_ack(out, peer, PacketType::Puback, ack),
        Packet::Pubrec(ack) => encode_ack(out, peer, PacketType::Pubrec, ack),
        Packet::Pubrel(ack) => encode_ack(out, peer, PacketType::Pubrel, ack),
        Packet::Pubcomp(ack) => encode_ack(out, peer, PacketType::Pubcomp, ack),
        Packet::Subscribe(subscribe) => subscribe::encode(out, &peer, subscribe).expect("was decoded"),
        Packet::Unsubscribe(unsubscribe) => {
            unsubscribe::encode(out, &peer, unsubscribe).expect("was decoded")
        }
        Packet::Pingreq => ping::encode_request(out),
        Packet::Disconnect(one) => disconnect::encode_from_client(out, &peer, one).expect("was decoded"),
        Packet::Auth(auth) => auth::encode(out, &peer, auth).expect("was decoded"),
    }
}

fn encode_server(out: &mut Vec<u8>, peer: Peer, packet: &ServerPacket) -> usize {
    match packet {
        ServerPacket::Connack(connack) => connack::encode(out, &peer, connack).expect("was decoded"),
        ServerPacket::Publish(publish, ids) => {
            publish::encode(out, &peer, &publish_out(publish, ids)).expect("was decoded")
        }
        ServerPacket::Puback(ack) => encode_ack(out, peer, PacketType::Puback, ack),
        ServerPacket::Pubrec(ack) => encode_ack(out, peer, PacketType::Pubrec, ack),
        ServerPacket::Pubrel(ack) => encode_ack(out, peer, PacketType::Pubrel, ack),
        ServerPacket::Pubcomp(ack) => encode_ack(out, peer, PacketType::Pubcomp, ack),
        ServerPacket::Suback(suback) => suback::encode(out, &peer, suback).expect("was decoded"),
        ServerPacket::Unsuback(unsuback) => unsuback::encode(out, &peer, unsuback).expect("was decoded"),
        ServerPacket::Pingresp => ping::encode(out),
        ServerPacket::Disconnect(one) => disconnect::encode(out, &peer, one).expect("was decoded"),
        ServerPacket::Auth(auth) => auth::encode(out, &peer, auth).expect("was decoded"),
    }
}

fn encode_ack(out: &mut Vec<u8>, peer: Peer, kind: PacketType, ack: &Ack) -> usize {
    let properties = ack.properties.as_deref();
    let pairs: Vec<_> = properties.map(|some| some.user_properties.iter().collect()).unwrap_or_default();
    let ack = AckOut {
        packet_id: ack.packet_id,
        reason: ack.reason,
        reason_string: properties.and_then(|some| some.reason_string.as_deref()),
        user_properties: &pairs,
    };
    ack::encode(out, &peer, kind, &ack).expect("was decoded")
}

fn publish_out<'a>(publish: &'a Publish, ids: &'a [u32]) -> PublishOut<'a> {
    PublishOut {
        topic: &publish.topic,
        payload: &publish.payload,
        qos: publish.qos,
        retain: publish.retain,
        dup: publish.dup,
        packet_id: publish.packet_id,
        properties: publish.properties.as_deref(),
        waited_seconds: 0,
        subscription_ids: ids,
        topic_alias: publish.topic_alias,
    }
}
