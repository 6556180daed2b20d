//! PUBLISH (section 3.3), the packet that everything is about. A PUBLISH without properties allocates nothing when it is
//! decoded or encoded.
//!
//! Invariant: a decoded `Publish` has a packet id exactly when its QoS is above 0 [MQTT-2.2.1-2], and a valid topic name,
//! or an empty one and a topic alias.

use std::num::NonZeroU16;
use std::sync::Arc;

use bytes::Bytes;
use smallvec::SmallVec;

use super::message_properties::{MessageBlock, PublishProperties};
use crate::codec::frame::{check_size, write_header};
use crate::codec::primitive::{Block, Reader, Sink, varint_len};
use crate::codec::property::{Place, Properties, PropertyId};
use crate::codec::{ByteStr, DecodeError, EncodeError, MAX_FIELD_LEN, PacketId, Peer, QoS, Version};
use crate::mutation::{Mutation, mutated};

const RETAIN: u8 = 0b0001;
const DUP: u8 = 0b1000;

/// Subscription identifiers of a PUBLISH from a server; mostly none or one.
pub type SubscriptionIds = SmallVec<[u32; 2]>;

/// A PUBLISH as received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish {
    /// The topic name; empty if only the alias is given (5.0).
    pub topic: ByteStr,
    /// The payload; may be empty.
    pub payload: Bytes,
    /// The properties that travel with the message; `None` if there are none, and on 3.1.1.
    pub properties: Option<Arc<PublishProperties>>,
    /// Present exactly when the QoS is above 0.
    pub packet_id: Option<PacketId>,
    /// A number that stands for the topic from here on, or again. Whether it is within the maximum and known is the
    /// session's to check.
    pub topic_alias: Option<NonZeroU16>,
    /// How often the message may arrive.
    pub qos: QoS,
    /// To be kept for later subscribers.
    pub retain: bool,
    /// Perhaps sent before; never with QoS 0.
    pub dup: bool,
}

/// A PUBLISH to be sent.
#[derive(Debug, Clone, Copy)]
pub struct PublishOut<'a> {
    /// A valid topic name; may be empty where `topic_alias` is given.
    pub topic: &'a str,
    /// The payload.
    pub payload: &'a [u8],
    /// How often the message may arrive.
    pub qos: QoS,
    /// The RETAIN flag [MQTT-3.3.1-8], [MQTT-3.3.1-9].
    pub retain: bool,
    /// Whether it may have been sent before; not with QoS 0 [MQTT-3.3.1-2].
    pub dup: bool,
    /// Present exactly when the QoS is above 0.
    pub packet_id: Option<PacketId>,
    /// The properties of the message; left out on 3.1.1.
    pub properties: Option<&'a PublishProperties>,
    /// Seconds that the message has waited here, taken from its expiry [MQTT-3.3.2-6]. (One that has expired is not
    /// sent at all.)
    pub waited_seconds: u32,
    /// The identifiers of all subscriptions that match, 1 to 268,435,455 each; left out on 3.1.1 [MQTT-3.3.4-3].
    pub subscription_ids: &'a [u32],
    /// A number for the topic; left out on 3.1.1.
    pub topic_alias: Option<NonZeroU16>,
}

impl<'a> PublishOut<'a> {
    /// QoS 0, and nothing but topic and payload.
    pub const fn new(topic: &'a str, payload: &'a [u8]) -> Self {
        Self {
            topic,
            payload,
            qos: QoS::AtMostOnce,
            retain: false,
            dup: false,
            packet_id: None,
            properties: None,
            waited_seconds: 0,
            subscription_ids: &[],
            topic_alias: None,
        }
    }
}

/// Reads the body behind the fixed header with these flags, which are known to be legal. `ids` takes the subscription
/// identifiers of a server's PUBLISH; a client may not send any [MQTT-3.3.4-6].
#[inline]
pub(crate) fn decode(
    version: Version,
    flags: u8,
    mut body: Reader<'_>,
    max_levels: usize,
    ids: Option<&mut SubscriptionIds>,
) -> Result<Publish, DecodeError> {
    let qos = QoS::from_u8(flags >> 1 & 0b11).ok_or(DecodeError::PublishQoS3)?;
    let topic = body.topic_name_or_empty(max_levels)?;
    let packet_id = match qos {
        QoS::AtMostOnce => None,
        QoS::AtLeastOnce | QoS::ExactlyOnce => Some(body.packet_id()?),
    };
    let mut publish = Publish {
        topic,
        payload: Bytes::new(),
        properties: None,
        packet_id,
        topic_alias: None,
        qos,
        retain: flags & RETAIN != 0,
        dup: flags & DUP != 0,
    };
    if version == Version::V5 {
        decode_properties(&mut publish, &mut body, max_levels, ids)?;
    }
    if publish.topic.is_empty() && publish.topic_alias.is_none() {
        return Err(match version {
            Version::V5 => DecodeError::TopicMissing,
            Version::V311 => DecodeError::TopicName(crate::topic::TopicError::Empty),
        });
    }
    publish.payload = body.take_rest();
    Ok(publish)
}

fn decode_properties(
    publish: &mut Publish,
    body: &mut Reader<'_>,
    max_levels: usize,
    mut ids: Option<&mut SubscriptionIds>,
) -> Result<(), DecodeError> {
    let mut walk = Properties::open(body, Place::Publish)?;
    if walk.is_empty() {
        return Ok(());
    }
    let mut properties = PublishProperties::default();
    while let Some(property) = walk.next()? {
        if properties.take(property, &mut walk, max_levels)? {
            continue;
        }
        match property {
            PropertyId::TopicAlias => {
                let alias = NonZeroU16::new(walk.u16()?).ok_or(DecodeError::TopicAliasZero)?;
                publish.topic_alias = Some(alias);
            }
            PropertyId::SubscriptionIdentifier => match &mut ids {
                Some(ids) => ids.push(walk.varint_not_zero()?),
                None if mutated(Mutation::TakesSubscriptionId) => _ = walk.varint_not_zero()?,
                None => return Err(DecodeError::SubscriptionIdFromClient),
            },
            _ => return Err(DecodeError::PropertyNotAllowed { property }),
        }
    }
    properties.user_properties = walk.into_user();
    if !properties.is_empty() {
        publish.properties = Some(Arc::new(properties));
    }
    Ok(())
}

/// How many bytes the whole packet has.
pub fn encoded_len(version: Version, publish: &PublishOut<'_>) -> usize {
    let body = head_len(version, publish, properties_of(publish).len()) + publish.payload.len();
    1 + varint_len(body as u32) + body
}

/// Writes a PUBLISH. If the receiver takes no packet of this size nothing is written; the message then counts as sent
/// [MQTT-3.1.2-25].
pub fn encode(out: &mut impl Sink, peer: &Peer, publish: &PublishOut<'_>) -> Result<usize, EncodeError> {
    if publish.packet_id.is_some() != (publish.qos != QoS::AtMostOnce) {
        return Err(EncodeError::PacketId);
    }
    let packet_id = publish.packet_id.map_or(0, PacketId::get);
    let written = encode_head(out, peer.version, peer.max_packet_size, publish, packet_id)?;
    out.put(publish.payload);
    Ok(written.total_len)
}

/// What [`encode_head`] has written.
pub(super) struct Head {
    /// Bytes of the whole packet, payload included.
    pub(super) total_len: usize,
    /// Where the packet id stands, from the start of the packet.
    pub(super) packet_id_at: usize,
}

/// Writes all of a PUBLISH but its payload. The packet id is written as given.
pub(super) fn encode_head(
    out: &mut impl Sink,
    version: Version,
    max_packet_size: u32,
    publish: &PublishOut<'_>,
    packet_id: u16,
) -> Result<Head, EncodeError> {
    if publish.topic.len() > MAX_FIELD_LEN {
        return Err(EncodeError::FieldTooLong { field: "topic" });
    }
    let properties = properties_of(publish);
    let mut properties_len = 0;
    if version == Version::V5 {
        if let Some(properties) = publish.properties {
            properties.check()?;
        }
        properties_len = properties.len();
    }
    let body = head_len(version, publish, properties_len) + publish.payload.len();
    let total_len = check_size(body, max_packet_size)?;

    out.reserve(total_len);
    let dup = if publish.dup { DUP } else { 0 };
    let first = 0x30 | dup | publish.qos.as_u8() << 1 | u8::from(publish.retain);
    write_header(out, first, body);
    out.put_field(publish.topic.as_bytes());
    if publish.qos != QoS::AtMostOnce {
        out.put_u16(packet_id);
    }
    if version == Version::V5 {
        out.put_varint(properties_len as u32);
        properties.write(out);
    }
    Ok(Head { total_len, packet_id_at: total_len - body + 2 + publish.topic.len() })
}

/// Bytes of the body before the payload.
fn head_len(version: Version, publish: &PublishOut<'_>, properties_len: usize) -> usize {
    let packet_id = if publish.qos == QoS::AtMostOnce { 0 } else { 2 };
    let properties = match version {
        Version::V311 => 0,
        Version::V5 => varint_len(properties_len as u32) + properties_len,
    };
    2 + publish.topic.len() + packet_id + properties
}

fn properties_of<'a>(publish: &PublishOut<'a>) -> PropertyBlock<'a> {
    PropertyBlock {
        message: publish
            .properties
            .map(|properties| MessageBlock { properties, waited_seconds: publish.waited_seconds }),
        subscription_ids: publish.subscription_ids,
        topic_alias: publish.topic_alias,
    }
}

struct PropertyBlock<'a> {
    message: Option<MessageBlock<'a>>,
    subscription_ids: &'a [u32],
    topic_alias: Option<NonZeroU16>,
}

impl Block for PropertyBlock<'_> {
    fn write<S: Sink>(&self, out: &mut S) {
        if let Some(alias) = self.topic_alias {
            out.put_u8(PropertyId::TopicAlias as u8);
            out.put_u16(alias.get());
        }
        for id in self.subscription_ids {
            out.put_u8(PropertyId::SubscriptionIdentifier as u8);
            out.put_varint(*id);
        }
        if let Some(message) = &self.message {
            message.write(out);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::codec::sample::{self, both_ways};

    /// Large fields would make every packet and every result larger to move.
    #[test]
    fn a_publish_is_small() {
        assert!(size_of::<Publish>() <= 88, "{}", size_of::<Publish>());
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(version in sample::version(), publish in sample::publish(), ids in sample::ids()) {
            let mut publish = publish;
            if version == Version::V311 && publish.topic.is_empty() {
                publish.topic = ByteStr::from_static("t");
            }
            let out = sample::publish_out(&publish, &ids);
            let mut bytes = Vec::new();
            let len = encode(&mut bytes, &Peer::unlimited(version), &out).expect("no limit");
            prop_assert_eq!(len, bytes.len());
            prop_assert_eq!(len, match version {
                Version::V5 => encoded_len(version, &out),
                Version::V311 => encoded_len(version, &PublishOut { properties: None, ..out }),
            });
            if version == Version::V311 {
                publish.properties = None;
                publish.topic_alias = None;
            }
            let [from_server, from_client] = both_ways(version, &bytes);
            let expected_ids: &[u32] = if version == Version::V5 { &ids } else { &[] };
            prop_assert_eq!(from_server.publish(), Some((&publish, expected_ids)));
            if expected_ids.is_empty() {
                prop_assert_eq!(from_client.publish(), Some((&publish, &[][..])));
            } else {
                prop_assert_eq!(from_client.error(), Some(DecodeError::SubscriptionIdFromClient));
            }
        }

        #[test]
        fn the_limit_is_the_length_of_the_packet(publish in sample::publish()) {
            let out = sample::publish_out(&publish, &[]);
            let len = encoded_len(Version::V5, &out);
            let peer = |max| Peer { max_packet_size: max, ..Peer::unlimited(Version::V5) };
            prop_assert_eq!(encode(&mut Vec::new(), &peer(len as u32), &out), Ok(len));
            let mut bytes = Vec::new();
            let max = len as u32 - 1;
            prop_assert_eq!(encode(&mut bytes, &peer(max), &out), Err(EncodeError::TooLarge { len, max }));
            prop_assert!(bytes.is_empty());
        }
    }

    #[test]
    fn the_time_waited_is_taken_from_the_expiry() {
        let properties =
            PublishProperties { message_expiry_interval: Some(10), ..PublishProperties::default() };
        for (waited_seconds, left) in [(0, 10), (3, 7), (10, 0), (11, 0)] {
            let out =
                PublishOut { properties: Some(&properties), waited_seconds, ..PublishOut::new("t", b"") };
            let mut bytes = Vec::new();
            encode(&mut bytes, &Peer::unlimited(Version::V5), &out).expect("no limit");
            assert_eq!(bytes, [0x30, 9, 0, 1, b't', 5, 0x02, 0, 0, 0, left]);
        }
    }

    #[test]
    fn a_packet_id_goes_with_qos_above_0_only() {
        let peer = Peer::unlimited(Version::V311);
        let plain = PublishOut::new("t", b"");
        let with_id = PublishOut { packet_id: Some(PacketId::MIN), ..plain };
        let with_qos = PublishOut { qos: QoS::AtLeastOnce, ..plain };
        assert_eq!(encode(&mut Vec::new(), &peer, &with_id), Err(EncodeError::PacketId));
        assert_eq!(encode(&mut Vec::new(), &peer, &with_qos), Err(EncodeError::PacketId));
        assert_eq!(encode(&mut Vec::new(), &peer, &PublishOut { qos: QoS::AtLeastOnce, ..with_id }), Ok(7));
    }

    #[test]
    fn fields_too_long_for_the_protocol_are_refused() {
        let long = "x".repeat(65_536);
        let peer = Peer::unlimited(Version::V5);
        let topic = PublishOut::new(&long, b"");
        assert_eq!(encode(&mut Vec::new(), &peer, &topic), Err(EncodeError::FieldTooLong { field: "topic" }));
        let properties = PublishProperties {
            correlation_data: Some(Bytes::from(long.clone())),
            ..PublishProperties::default()
        };
        let correlated = PublishOut { properties: Some(&properties), ..PublishOut::new("t", b"") };
        let error = EncodeError::FieldTooLong { field: "correlation data" };
        assert_eq!(encode(&mut Vec::new(), &peer, &correlated), Err(error));
    }
}
