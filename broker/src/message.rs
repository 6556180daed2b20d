//! A plain application message on its way through the broker.

use crate::codec::client::{self, ServerPacket};
use crate::codec::packet::publish;
use crate::codec::{ByteStr, Limits, PacketId, Peer, PublishOut, PublishProperties, QoS, Version};
use crate::store::StoreError;
use bytes::Bytes;
use smallvec::SmallVec;
use std::sync::Arc;

/// Subscription identifiers that a delivery carries [MQTT-3.3.4-3]; nearly always none or one.
pub type Identifiers = SmallVec<[u32; 2]>;

/// What a message in a queue counts beside its topic and payload: what every stored form of it has around them at least.
const QUEUED_AROUND: usize = 16;

/// The version of a stored message.
const STORED_VERSION: u8 = 1;

/// How a message came into a session's queue through a shared subscription: with it, it can be handed on to another member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    /// The shared filter as written, `$share/{group}/{filter}`.
    pub filter: Arc<str>,
    /// The QoS it was published with: each member's own granted QoS is its other limit [MQTT-4.8.2-3].
    pub qos: QoS,
    /// RETAIN as published.
    pub retain: bool,
}

/// An application message: topic, payload, and what goes with them. Cheap to clone.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// The topic name.
    pub topic: ByteStr,
    /// The payload, at most 268,435,455 bytes less the header [MQTT-2.1.4].
    pub payload: Bytes,
    /// As published; in a session's queue, as it is to be delivered.
    pub qos: QoS,
    /// As published; in a session's queue, as it is to be delivered.
    pub retain: bool,
    /// 5.0 properties that travel with the message; `None` when there are none.
    pub properties: Option<Arc<PublishProperties>>,
    /// When it was received, Unix milliseconds: message expiry counts from here.
    pub received_ms: u64,
    /// In a session's queue: the identifiers of the subscriptions that matched. Empty everywhere else.
    pub identifiers: Identifiers,
    /// In a session's queue: the shared subscription that brought it, if one did. `None` everywhere else.
    pub share: Option<Share>,
}

impl Message {
    /// Seconds of its message expiry interval that are left; `None` when it never expires, `Some(0)` when it has expired [MQTT-3.3.2-5].
    pub fn expiry_left_s(&self, now_ms: u64) -> Option<u32> {
        let interval = u64::from(self.properties.as_ref()?.message_expiry_interval?);
        let waited = now_ms.saturating_sub(self.received_ms) / 1000;
        Some(interval.saturating_sub(waited) as u32)
    }

    /// When it expires, Unix milliseconds; `None` when it never does.
    pub fn expires_ms(&self) -> Option<u64> {
        let interval = u64::from(self.properties.as_ref()?.message_expiry_interval?);
        Some(self.received_ms.saturating_add(interval * 1000))
    }

    /// A copy that owns its topic and payload, and no longer keeps alive what was read with them.
    #[must_use]
    pub fn detached(&self) -> Message {
        Message {
            topic: self.topic.detached(),
            payload: Bytes::copy_from_slice(&self.payload),
            ..self.clone()
        }
    }

    /// Whether it has a message expiry interval.
    pub fn expires(&self) -> bool {
        self.properties.as_ref().is_some_and(|properties| properties.message_expiry_interval.is_some())
    }

    /// What it takes in a queue, in bytes, for bounds.
    pub fn weight(&self) -> usize {
        self.topic.len() + self.payload.len() + 64
    }

    /// How far it moves the positions of a session's queue: the bytes it counts there, never more than it takes in a store.
    pub(crate) fn queue_bytes(&self) -> u64 {
        (self.topic.len() + self.payload.len() + QUEUED_AROUND) as u64
    }

    /// The message as stored: a version, the time it was received, and a 5.0 PUBLISH with its identifiers. For what stands in no
    /// queue: that it came through a shared subscription is left out.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.topic.len() + self.payload.len() + 32);
        bytes.push(STORED_VERSION);
        bytes.extend_from_slice(&self.received_ms.to_le_bytes());
        let publish = PublishOut {
            qos: self.qos,
            retain: self.retain,
            packet_id: (self.qos > QoS::AtMostOnce).then_some(PacketId::MIN),
            properties: self.properties.as_deref(),
            subscription_ids: &self.identifiers,
            ..PublishOut::new(&self.topic, &self.payload)
        };
        publish::encode(&mut bytes, &Peer::unlimited(Version::V5), &publish)
            .expect("what came in one packet fits in one packet");
        bytes
    }

    /// Reads a stored message back.
    pub fn decode(bytes: &[u8]) -> Result<Message, StoreError> {
        let damaged =
            || StoreError::new("a stored message is damaged: it is not a version, a time and a PUBLISH");
        let (&version, rest) = bytes.split_first().ok_or_else(damaged)?;
        if version != STORED_VERSION {
            return Err(StoreError::new(format!(
                "a stored message has version {version}, this program reads version {STORED_VERSION}: start a newer chasqui on this store"
            )));
        }
        let (received_ms, packet) = rest.split_first_chunk::<8>().ok_or_else(damaged)?;
        let packet = Bytes::copy_from_slice(packet);
        match client::decode(Version::V5, &packet, 0, &Limits::UNLIMITED) {
            Ok(Some((ServerPacket::Publish(publish, identifiers), len))) if len == packet.len() => {
                Ok(Message {
                    topic: publish.topic,
                    payload: publish.payload,
                    qos: publish.qos,
                    retain: publish.retain,
                    properties: publish.properties,
                    received_ms: u64::from_le_bytes(*received_ms),
                    identifiers,
                    share: None,
                })
            }
            _ => Err(damaged()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_stored_is_read(publish in crate::codec::sample::publish(), received_ms: u64, ids in crate::codec::sample::ids()) {
            prop_assume!(!publish.topic.is_empty());
            let message = Message {
                topic: publish.topic,
                payload: publish.payload,
                qos: publish.qos,
                retain: publish.retain,
                properties: publish.properties,
                received_ms,
                identifiers: ids.iter().copied().collect(),
                share: None,
            };
            let bytes = message.encode();
            prop_assert_eq!(Message::decode(&bytes).unwrap(), message);
            prop_assert!(Message::decode(&bytes[..bytes.len() - 1]).is_err());
        }
    }

    #[test]
    fn a_newer_version_is_refused_by_name() {
        let sentence = Message::decode(&[7, 0, 0]).unwrap_err().to_string();
        assert!(sentence.contains("version 7"), "{sentence}");
    }
}
