//! CONNECT (section 3.1): who the client is, and what it can take.
//!
//! Invariant: a decoded `Connect` is of a version that is served, and its flags agree with its fields.

use std::sync::Arc;

use bytes::Bytes;

use super::message_properties::{MessageBlock, PublishProperties};
use super::outline::{Nothing, check_field, put_binary, put_flag, put_text, put_u16, put_u32};
use crate::codec::frame::{check_size, write_header};
use crate::codec::primitive::{Block, Reader, Sink, read_varint, varint_len};
use crate::codec::property::{Place, Properties, PropertyId};
use crate::codec::{ByteStr, DecodeError, EncodeError, PacketType, QoS, ReasonCode, UserProperties, Version};
use crate::mutation::{Mutation, mutated};

const RESERVED: u8 = 1 << 0;
const CLEAN_START: u8 = 1 << 1;
const WILL: u8 = 1 << 2;
const WILL_QOS_SHIFT: u8 = 3;
const WILL_RETAIN: u8 = 1 << 5;
const PASSWORD: u8 = 1 << 6;
const USERNAME: u8 = 1 << 7;

/// A CONNECT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connect {
    /// 3.1.1 or 5.0.
    pub version: Version,
    /// Clean Start on 5.0, Clean Session on 3.1.1.
    pub clean_start: bool,
    /// Seconds between packets at most; 0 turns the check off.
    pub keep_alive: u16,
    /// May be empty: the server then chooses one. (3.1.1: only with Clean Session.)
    pub client_id: ByteStr,
    /// The user name.
    pub username: Option<ByteStr>,
    /// The password: any bytes. On 3.1.1 only with a user name [MQTT-3.1.2-22].
    pub password: Option<Bytes>,
    /// The message to publish if the connection is lost.
    pub will: Option<Will>,
    /// The 5.0 properties; all absent on 3.1.1.
    pub properties: ConnectProperties,
}

/// The properties of a CONNECT. `None` means absent; the standard's default is named at each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConnectProperties {
    /// Seconds that the session outlives the connection; absent is 0, `u32::MAX` is for ever.
    pub session_expiry_interval: Option<u32>,
    /// QoS 1 and 2 publishes the client takes unacknowledged; never 0; absent is 65,535.
    pub receive_maximum: Option<u16>,
    /// The largest packet the client takes, in bytes; never 0; absent is no limit.
    pub maximum_packet_size: Option<u32>,
    /// The highest topic alias the client takes; absent is 0, none.
    pub topic_alias_maximum: Option<u16>,
    /// The client asks for Response Information; absent is false.
    pub request_response_information: Option<bool>,
    /// The client wants reason strings and user properties; absent is true.
    pub request_problem_information: Option<bool>,
    /// The name of an extended authentication.
    pub authentication_method: Option<ByteStr>,
    /// Its first data; only with a method.
    pub authentication_data: Option<Bytes>,
    /// Whatever the client adds.
    pub user_properties: UserProperties,
}

/// The message to publish if the connection is lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Will {
    /// A valid topic name.
    pub topic: ByteStr,
    /// The payload; may be empty.
    pub payload: Bytes,
    /// How often it may arrive.
    pub qos: QoS,
    /// To be kept for later subscribers.
    pub retain: bool,
    /// Seconds to wait before publishing; `None` is 0.
    pub delay_interval: Option<u32>,
    /// The 5.0 properties of the message; `None` if there are none.
    pub properties: Option<Arc<PublishProperties>>,
}

impl Will {
    /// Seconds to wait before publishing.
    pub fn delay_interval(&self) -> u32 {
        self.delay_interval.unwrap_or(0)
    }

    /// The properties that go into its PUBLISH.
    pub fn publish_properties(&self) -> Option<Arc<PublishProperties>> {
        self.properties.clone()
    }
}

pub(crate) fn decode(mut body: Reader<'_>, max_levels: usize) -> Result<Connect, DecodeError> {
    let version = read_version(&mut body)?;
    let flags = body.u8()?;
    check_flags(version, flags)?;
    let keep_alive = body.u16()?;
    let properties = match version {
        Version::V5 => decode_properties(&mut body)?,
        Version::V311 => ConnectProperties::default(),
    };
    let client_id = body.text()?;
    let kept = flags & CLEAN_START == 0 && !mutated(Mutation::KeepsEmptyClientId);
    if version == Version::V311 && client_id.is_empty() && kept {
        return Err(DecodeError::ClientIdRequired);
    }
    let will =
        if flags & WILL == 0 { None } else { Some(decode_will(version, flags, &mut body, max_levels)?) };
    let username = if flags & USERNAME == 0 { None } else { Some(body.text()?) };
    let password = if flags & PASSWORD == 0 { None } else { Some(body.binary()?) };
    body.finish()?;
    let clean_start = flags & CLEAN_START != 0;
    Ok(Connect { version, clean_start, keep_alive, client_id, username, password, will, properties })
}

fn read_version(body: &mut Reader<'_>) -> Result<Version, DecodeError> {
    let name = body.field()?;
    let name = &body.buf()[name];
    match (name, body.u8()?) {
        (b"MQTT", 4) => Ok(Version::V311),
        (b"MQTT", 5) => Ok(Version::V5),
        (_, 4) if mutated(Mutation::TakesAnyProtocolName) => Ok(Version::V311),
        (_, level) => {
            Err(DecodeError::UnsupportedProtocol { level, mqtt: name == b"MQTT" || name == b"MQIsdp" })
        }
    }
}

fn check_flags(version: Version, flags: u8) -> Result<(), DecodeError> {
    let refuse = |why| Err(DecodeError::ConnectFlags(why));
    let will_qos = flags >> WILL_QOS_SHIFT & 0b11;
    if flags & RESERVED != 0 && !mutated(Mutation::TakesReservedConnectFlag) {
        return refuse("the reserved CONNECT flag is set"); // [MQTT-3.1.2-3]
    }
    let without = flags & WILL == 0 && !mutated(Mutation::TakesWillFlagsWithoutWill);
    if without && (will_qos != 0 || flags & WILL_RETAIN != 0) {
        return refuse("CONNECT sets Will QoS or Will Retain without a will"); // [MQTT-3.1.2-11], [MQTT-3.1.2-13]
    }
    if will_qos == 3 {
        return refuse("CONNECT has a will of QoS 3, which does not exist"); // [MQTT-3.1.2-12]
    }
    let alone = flags & PASSWORD != 0 && flags & USERNAME == 0 && !mutated(Mutation::TakesPasswordAlone);
    if version == Version::V311 && alone {
        return refuse("CONNECT has a password without a user name"); // 3.1.1: [MQTT-3.1.2-22]
    }
    Ok(())
}

fn decode_properties(body: &mut Reader<'_>) -> Result<ConnectProperties, DecodeError> {
    let mut walk = Properties::open(body, Place::Connect)?;
    let mut properties = ConnectProperties::default();
    while let Some(property) = walk.next()? {
        match property {
            PropertyId::SessionExpiryInterval => properties.session_expiry_interval = Some(walk.u32()?),
            PropertyId::ReceiveMaximum => properties.receive_maximum = Some(walk.u16_not_zero()?),
            PropertyId::MaximumPacketSize => properties.maximum_packet_size = Some(walk.u32_not_zero()?),
            PropertyId::TopicAliasMaximum => properties.topic_alias_maximum = Some(walk.u16()?),
            PropertyId::RequestResponseInformation => {
                properties.request_response_information = Some(walk.flag()?);
            }
            PropertyId::RequestProblemInformation => {
                properties.request_problem_information = Some(walk.flag()?);
            }
            PropertyId::AuthenticationMethod => properties.authentication_method = Some(walk.text()?),
            PropertyId::AuthenticationData => properties.authentication_data = Some(walk.binary()?),
            _ => return Err(DecodeError::PropertyNotAllowed { property }),
        }
    }
    properties.user_properties = walk.into_user();
    if properties.authentication_data.is_some() && properties.authentication_method.is_none() {
        return Err(DecodeError::AuthMethodMissing);
    }
    Ok(properties)
}

fn decode_will(
    version: Version,
    flags: u8,
    body: &mut Reader<'_>,
    max_levels: usize,
) -> Result<Will, DecodeError> {
    let mut delay_interval = None;
    let mut properties = PublishProperties::default();
    if version == Version::V5 {
        let mut walk = Properties::open(body, Place::Will)?;
        while let Some(property) = walk.next()? {
            if property == PropertyId::WillDelayInterval {
                delay_interval = Some(walk.u32()?);
            } else if !properties.take(property, &mut walk, max_levels)? {
                return Err(DecodeError::PropertyNotAllowed { property });
            }
        }
        properties.user_properties = walk.into_user();
    }
    let topic = body.topic_name(max_levels)?;
    let payload = body.binary()?;
    let qos = QoS::from_u8(flags >> WILL_QOS_SHIFT & 0b11)
        .ok_or(DecodeError::ConnectFlags("CONNECT has a will of QoS 3, which does not exist"))?;
    let retain = flags & WILL_RETAIN != 0;
    let properties = (!properties.is_empty()).then(|| Arc::new(properties));
    Ok(Will { topic, payload, qos, retain, delay_interval, properties })
}

/// How to answer a CONNECT that could not be decoded, given what has arrived of it: the CONNACK to send before closing, or
/// `None` where the standard wants the connection closed without a word.
pub fn refusal(packet: &[u8], error: &DecodeError) -> Option<(Version, ReasonCode)> {
    if packet.first() != Some(&PacketType::Connect.first_byte()) {
        return None;
    }
    let (_, header) = read_varint(&packet[1..]).ok()??;
    let body = packet.get(1 + header..)?;
    let version = match (body, error) {
        (_, DecodeError::UnsupportedProtocol { mqtt: false, .. }) => return None,
        (_, DecodeError::UnsupportedProtocol { .. }) if mutated(Mutation::SilentAboutLevel) => return None,
        // A level above ours speaks the CONNACK of 5.0 at least; the highest bit is a bridge's mark on older ones.
        (_, DecodeError::UnsupportedProtocol { level: 6..0x80, .. }) => Version::V5,
        (_, DecodeError::UnsupportedProtocol { .. }) | ([0, 4, b'M', b'Q', b'T', b'T', 4, ..], _) => {
            Version::V311
        }
        ([0, 4, b'M', b'Q', b'T', b'T', 5, ..], _) => Version::V5,
        _ => return None,
    };
    let reason = error.reason_code();
    (version == Version::V5 || reason.connack_v311().is_some()).then_some((version, reason))
}

/// Writes a CONNECT, the client's. Properties are left out on 3.1.1.
pub fn encode(out: &mut impl Sink, connect: &Connect) -> Result<usize, EncodeError> {
    check_field("password", connect.password.as_deref().unwrap_or_default())?;
    check_field(
        "authentication data",
        connect.properties.authentication_data.as_deref().unwrap_or_default(),
    )?;
    if let Some(will) = &connect.will {
        check_field("will payload", &will.payload)?;
        will.properties.as_deref().map_or(Ok(()), PublishProperties::check)?;
    }
    let body = BodyBlock(connect);
    let body_len = body.len();
    let total = check_size(body_len, crate::codec::MAX_PACKET_SIZE)?;
    write_header(out, PacketType::Connect.first_byte(), body_len);
    body.write(out);
    Ok(total)
}

struct BodyBlock<'a>(&'a Connect);

impl Block for BodyBlock<'_> {
    fn write<S: Sink>(&self, out: &mut S) {
        let connect = self.0;
        out.put_field(b"MQTT");
        out.put_u8(connect.version.level());
        out.put_u8(flags_of(connect));
        out.put_u16(connect.keep_alive);
        if connect.version == Version::V5 {
            put_block(out, &ConnectBlock(&connect.properties));
        }
        out.put_field(connect.client_id.as_bytes());
        if let Some(will) = &connect.will {
            if connect.version == Version::V5 {
                put_block(out, &WillBlock(will));
            }
            out.put_field(will.topic.as_bytes());
            out.put_field(&will.payload);
        }
        if let Some(username) = &connect.username {
            out.put_field(username.as_bytes());
        }
        if let Some(password) = &connect.password {
            out.put_field(password);
        }
    }
}

fn flags_of(connect: &Connect) -> u8 {
    let flag = |on: bool, bit: u8| if on { bit } else { 0 };
    let will = connect
        .will
        .as_ref()
        .map_or(0, |will| WILL | will.qos.as_u8() << WILL_QOS_SHIFT | flag(will.retain, WILL_RETAIN));
    flag(connect.clean_start, CLEAN_START)
        | will
        | flag(connect.password.is_some(), PASSWORD)
        | flag(connect.username.is_some(), USERNAME)
}

fn put_block(out: &mut impl Sink, block: &impl Block) {
    let len = block.len();
    debug_assert!(varint_len(len as u32) <= 4);
    out.put_varint(len as u32);
    block.write(out);
}

struct ConnectBlock<'a>(&'a ConnectProperties);

impl Block for ConnectBlock<'_> {
    fn write<S: Sink>(&self, out: &mut S) {
        let from = self.0;
        put_u32(out, PropertyId::SessionExpiryInterval, from.session_expiry_interval);
        put_u16(out, PropertyId::ReceiveMaximum, from.receive_maximum);
        put_u32(out, PropertyId::MaximumPacketSize, from.maximum_packet_size);
        put_u16(out, PropertyId::TopicAliasMaximum, from.topic_alias_maximum);
        put_flag(out, PropertyId::RequestResponseInformation, from.request_response_information);
        put_flag(out, PropertyId::RequestProblemInformation, from.request_problem_information);
        put_text(out, PropertyId::AuthenticationMethod, from.authentication_method.as_deref());
        put_binary(out, PropertyId::AuthenticationData, from.authentication_data.as_deref());
        out.put(from.user_properties.as_wire());
    }
}

struct WillBlock<'a>(&'a Will);

impl Block for WillBlock<'_> {
    fn write<S: Sink>(&self, out: &mut S) {
        put_u32(out, PropertyId::WillDelayInterval, self.0.delay_interval);
        match self.0.properties.as_deref() {
            Some(properties) => MessageBlock { properties, waited_seconds: 0 }.write(out),
            None => Nothing.write(out),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::codec::{Limits, Packet, sample};

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(connect in sample::connect()) {
            let mut bytes = Vec::new();
            let len = encode(&mut bytes, &connect).expect("no limit");
            prop_assert_eq!(len, bytes.len());
            let bytes = Bytes::from(bytes);
            let decoded = crate::codec::decode(None, &bytes, 0, &Limits::UNLIMITED);
            prop_assert_eq!(decoded, Ok(Some((Packet::Connect(Box::new(connect)), len))));
        }
    }

    type Case = (&'static [u8], DecodeError, Option<(Version, ReasonCode)>);

    #[test]
    fn how_a_refused_connect_is_answered() {
        use ReasonCode as R;
        use Version::{V5, V311};
        let level = |level| DecodeError::UnsupportedProtocol { level, mqtt: true };
        let v311 = b"\x10\x0c\0\x04MQTT\x04";
        let v5 = b"\x10\x0c\0\x04MQTT\x05";
        let other = b"\x10\x0c\0\x04MQTT\x09";
        let cases: &[Case] = &[
            (v311, DecodeError::ClientIdRequired, Some((V311, R::ClientIdentifierNotValid))),
            (v311, DecodeError::Truncated, None),
            (v311, DecodeError::PacketTooLarge { len: 9, max: 1 }, None),
            (v5, DecodeError::Truncated, Some((V5, R::MalformedPacket))),
            (v5, DecodeError::AuthMethodMissing, Some((V5, R::ProtocolError))),
            (v5, DecodeError::PacketTooLarge { len: 9, max: 1 }, Some((V5, R::PacketTooLarge))),
            (v5, DecodeError::TopicName(crate::topic::TopicError::Empty), Some((V5, R::TopicNameInvalid))),
            (&v5[..8], DecodeError::PacketTooLarge { len: 9, max: 1 }, None),
            (other, level(9), Some((V5, R::UnsupportedProtocolVersion))),
            (other, level(3), Some((V311, R::UnsupportedProtocolVersion))),
            (other, level(0x84), Some((V311, R::UnsupportedProtocolVersion))),
            (other, DecodeError::UnsupportedProtocol { level: 5, mqtt: false }, None),
            (b"\x30\x00", DecodeError::ConnectExpected { first: 0x30 }, None),
            (b"\x10\xff\xff\xff\xff", DecodeError::VarintTooLong, None),
            (b"\x10", DecodeError::Truncated, None),
        ];
        for (packet, error, expected) in cases {
            assert_eq!(refusal(packet, error), *expected, "{packet:?} {error}");
        }
    }

    #[test]
    fn fields_too_long_for_the_protocol_are_refused() {
        let connect = Connect {
            version: Version::V5,
            clean_start: true,
            keep_alive: 0,
            client_id: ByteStr::default(),
            username: None,
            password: Some(Bytes::from(vec![0; 65_536])),
            will: None,
            properties: ConnectProperties::default(),
        };
        assert_eq!(encode(&mut Vec::new(), &connect), Err(EncodeError::FieldTooLong { field: "password" }));
    }
}
