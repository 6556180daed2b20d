//! CONNACK (section 3.2): whether the client is in, and what the server can take.

use bytes::Bytes;

use super::ack::read_reason;
use super::outline::{Diagnostics, Outline, check_field, put_binary, put_flag, put_text, put_u16, put_u32};
use crate::codec::primitive::{Block, Reader, Sink};
use crate::codec::property::{Place, Properties, PropertyId};
use crate::codec::{
    ByteStr, DecodeError, EncodeError, PacketType, Peer, QoS, ReasonCode, Sender, UserProperties, Version,
};
use crate::mutation::{Mutation, mutated};

/// A CONNACK.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connack {
    /// The server has a session of this client; written as false with every refusal [MQTT-3.2.2-6].
    pub session_present: bool,
    /// Success, or why not.
    pub reason: ReasonCode,
    /// The 5.0 properties; left out on 3.1.1.
    pub properties: ConnackProperties,
}

/// The properties of a CONNACK. `None` means absent; the standard's default is named at each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConnackProperties {
    /// Seconds that the session outlives the connection; absent is as the client asked.
    pub session_expiry_interval: Option<u32>,
    /// QoS 1 and 2 publishes the server takes unacknowledged; never 0; absent is 65,535.
    pub receive_maximum: Option<u16>,
    /// The highest QoS the server takes, 0 or 1; absent is 2.
    pub maximum_qos: Option<QoS>,
    /// Retained messages are supported; absent is true.
    pub retain_available: Option<bool>,
    /// The largest packet the server takes, in bytes; never 0; absent is no limit.
    pub maximum_packet_size: Option<u32>,
    /// The client id that the server chose for a client that sent an empty one.
    pub assigned_client_id: Option<ByteStr>,
    /// The highest topic alias the server takes; absent is 0, none.
    pub topic_alias_maximum: Option<u16>,
    /// For people and logs; left out where it does not fit [MQTT-3.2.2-19].
    pub reason_string: Option<ByteStr>,
    /// Filters with wildcards are supported; absent is true.
    pub wildcard_subscription_available: Option<bool>,
    /// Subscription identifiers are supported; absent is true.
    pub subscription_identifiers_available: Option<bool>,
    /// Shared subscriptions are supported; absent is true.
    pub shared_subscription_available: Option<bool>,
    /// Seconds of keep-alive the client must use; absent is as the client said.
    pub server_keep_alive: Option<u16>,
    /// What a client builds its response topics from.
    pub response_information: Option<ByteStr>,
    /// Another server to use.
    pub server_reference: Option<ByteStr>,
    /// The name of an extended authentication.
    pub authentication_method: Option<ByteStr>,
    /// Its last data.
    pub authentication_data: Option<Bytes>,
    /// Whatever the server adds; left out where it does not fit [MQTT-3.2.2-20].
    pub user_properties: UserProperties,
}

impl Connack {
    /// A refusal without words.
    pub fn refused(reason: ReasonCode) -> Self {
        Self { session_present: false, reason, properties: ConnackProperties::default() }
    }
}

/// Writes a CONNACK. Where 3.1.1 has no return code for the reason nothing is written and the result is 0
/// (3.1.1: [MQTT-3.2.2-6]).
pub fn encode(out: &mut impl Sink, peer: &Peer, connack: &Connack) -> Result<usize, EncodeError> {
    debug_assert!(
        connack.reason.allowed_in(PacketType::Connack, Sender::Server) || peer.version == Version::V311
    );
    let present = connack.session_present && connack.reason == ReasonCode::Success;
    let flags = u8::from(present || mutated(Mutation::SaysSessionPresent));
    if peer.version == Version::V311 {
        let Some(code) = connack.reason.connack_v311() else { return Ok(0) };
        out.put(&[PacketType::Connack.first_byte(), 2, flags, code]);
        return Ok(4);
    }
    let properties = &connack.properties;
    check_field("authentication data", properties.authentication_data.as_deref().unwrap_or_default())?;
    Outline {
        first: PacketType::Connack.first_byte(),
        head: &[flags, connack.reason.as_u8()],
        properties: ConnackBlock(properties),
        diagnostics: Diagnostics::of(properties.reason_string.as_ref(), &properties.user_properties),
        always_diagnostics: true,
        short: None,
        tail: &[],
    }
    .encode(out, *peer)
}

struct ConnackBlock<'a>(&'a ConnackProperties);

impl Block for ConnackBlock<'_> {
    fn write<S: Sink>(&self, out: &mut S) {
        let from = self.0;
        put_u32(out, PropertyId::SessionExpiryInterval, from.session_expiry_interval);
        put_u16(out, PropertyId::ReceiveMaximum, from.receive_maximum);
        // QoS 2 is said by saying nothing: the property has the values 0 and 1 only.
        if let Some(qos) = from.maximum_qos.filter(|qos| *qos != QoS::ExactlyOnce) {
            out.put(&[PropertyId::MaximumQoS as u8, qos.as_u8()]);
        }
        put_flag(out, PropertyId::RetainAvailable, from.retain_available);
        put_u32(out, PropertyId::MaximumPacketSize, from.maximum_packet_size);
        put_text(out, PropertyId::AssignedClientIdentifier, from.assigned_client_id.as_deref());
        put_u16(out, PropertyId::TopicAliasMaximum, from.topic_alias_maximum);
        put_flag(out, PropertyId::WildcardSubscriptionAvailable, from.wildcard_subscription_available);
        put_flag(out, PropertyId::SubscriptionIdentifierAvailable, from.subscription_identifiers_available);
        put_flag(out, PropertyId::SharedSubscriptionAvailable, from.shared_subscription_available);
        put_u16(out, PropertyId::ServerKeepAlive, from.server_keep_alive);
        put_text(out, PropertyId::ResponseInformation, from.response_information.as_deref());
        put_text(out, PropertyId::ServerReference, from.server_reference.as_deref());
        put_text(out, PropertyId::AuthenticationMethod, from.authentication_method.as_deref());
        put_binary(out, PropertyId::AuthenticationData, from.authentication_data.as_deref());
    }
}

pub(crate) fn decode(version: Version, mut body: Reader<'_>) -> Result<Connack, DecodeError> {
    let flags = body.u8()?;
    if flags > 1 {
        return Err(DecodeError::ConnectFlags("CONNACK sets reserved flags")); // [MQTT-3.2.2-1]
    }
    let session_present = flags == 1;
    let (reason, properties) = match version {
        Version::V5 => {
            let reason = read_reason(&mut body, PacketType::Connack, Sender::Server)?;
            (reason, decode_properties(&mut body)?)
        }
        Version::V311 => {
            let code = body.u8()?;
            let packet = PacketType::Connack;
            let reason =
                ReasonCode::from_connack_v311(code).ok_or(DecodeError::ReasonCode { packet, code })?;
            (reason, ConnackProperties::default())
        }
    };
    if session_present && reason != ReasonCode::Success {
        return Err(DecodeError::ConnectFlags("CONNACK refuses and claims a session")); // [MQTT-3.2.2-6]
    }
    body.finish()?;
    Ok(Connack { session_present, reason, properties })
}

fn decode_properties(body: &mut Reader<'_>) -> Result<ConnackProperties, DecodeError> {
    let mut walk = Properties::open(body, Place::Connack)?;
    let mut into = ConnackProperties::default();
    while let Some(property) = walk.next()? {
        match property {
            PropertyId::SessionExpiryInterval => into.session_expiry_interval = Some(walk.u32()?),
            PropertyId::ReceiveMaximum => into.receive_maximum = Some(walk.u16_not_zero()?),
            PropertyId::MaximumQoS => {
                into.maximum_qos = Some(if walk.flag()? { QoS::AtLeastOnce } else { QoS::AtMostOnce });
            }
            PropertyId::RetainAvailable => into.retain_available = Some(walk.flag()?),
            PropertyId::MaximumPacketSize => into.maximum_packet_size = Some(walk.u32_not_zero()?),
            PropertyId::AssignedClientIdentifier => into.assigned_client_id = Some(walk.text()?),
            PropertyId::TopicAliasMaximum => into.topic_alias_maximum = Some(walk.u16()?),
            PropertyId::ReasonString => into.reason_string = Some(walk.text()?),
            PropertyId::WildcardSubscriptionAvailable => {
                into.wildcard_subscription_available = Some(walk.flag()?);
            }
            PropertyId::SubscriptionIdentifierAvailable => {
                into.subscription_identifiers_available = Some(walk.flag()?);
            }
            PropertyId::SharedSubscriptionAvailable => {
                into.shared_subscription_available = Some(walk.flag()?);
            }
            PropertyId::ServerKeepAlive => into.server_keep_alive = Some(walk.u16()?),
            PropertyId::ResponseInformation => into.response_information = Some(walk.text()?),
            PropertyId::ServerReference => into.server_reference = Some(walk.text()?),
            PropertyId::AuthenticationMethod => into.authentication_method = Some(walk.text()?),
            PropertyId::AuthenticationData => into.authentication_data = Some(walk.binary()?),
            _ => return Err(DecodeError::PropertyNotAllowed { property }),
        }
    }
    into.user_properties = walk.into_user();
    Ok(into)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::codec::client::ServerPacket;
    use crate::codec::sample::{self, both_ways};

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(version in sample::version(), connack in sample::connack()) {
            let mut bytes = Vec::new();
            let len = encode(&mut bytes, &Peer::unlimited(version), &connack).expect("no limit");
            prop_assert_eq!(len, bytes.len());
            let code = connack.reason.connack_v311();
            if version == Version::V311 && code.is_none() {
                prop_assert_eq!(len, 0);
                return Ok(());
            }
            let mut expected = connack;
            expected.session_present &= expected.reason == ReasonCode::Success;
            if version == Version::V311 {
                expected.properties = ConnackProperties::default();
                expected.reason = code.and_then(ReasonCode::from_connack_v311).expect("has a code");
            }
            let [from_server, from_client] = both_ways(version, &bytes);
            prop_assert_eq!(from_server.server_packet(), Some(&ServerPacket::Connack(Box::new(expected))));
            prop_assert_eq!(from_client.error(), Some(DecodeError::WrongDirection { packet: PacketType::Connack }));
        }
    }

    #[test]
    fn what_does_not_fit_is_left_out_even_without_a_wish_for_problem_information() {
        let mut connack = Connack::refused(ReasonCode::ServerBusy);
        connack.properties.reason_string = Some(ByteStr::from_static("because"));
        connack.properties.user_properties = UserProperties::from_pairs([("n", "v")]).expect("valid strings");
        for (max_packet_size, expected) in [(22, Ok(22)), (21, Ok(15)), (14, Ok(12)), (11, Ok(5)), (5, Ok(5))]
        {
            let peer = Peer { version: Version::V5, max_packet_size, problem_information: false };
            assert_eq!(encode(&mut Vec::new(), &peer, &connack), expected, "{max_packet_size}");
        }
        let peer = Peer { version: Version::V5, max_packet_size: 4, problem_information: true };
        assert_eq!(encode(&mut Vec::new(), &peer, &connack), Err(EncodeError::TooLarge { len: 5, max: 4 }));
    }

    #[test]
    fn maximum_qos_2_is_said_by_saying_nothing() {
        let mut connack = Connack::refused(ReasonCode::Success);
        connack.properties.maximum_qos = Some(QoS::ExactlyOnce);
        let mut bytes = Vec::new();
        encode(&mut bytes, &Peer::unlimited(Version::V5), &connack).expect("short");
        assert_eq!(bytes, [0x20, 3, 0, 0, 0]);
    }
}
