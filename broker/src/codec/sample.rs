//! Arbitrary packets for tests: every field, legal values, and often the rare ones.
//!
//! It uses the public interface alone, so that integration tests can include this file too.

use std::num::NonZeroU16;
use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;

use crate::codec::client::{self, ServerPacket};
use crate::codec::packet::publish::SubscriptionIds;
use crate::codec::{
    Ack, Auth, AuthProperties, ByteStr, Connack, ConnackProperties, Connect, ConnectProperties, DecodeError,
    Disconnect, DisconnectProperties, Filters, Limits, Packet, PacketId, PacketType, PayloadFormat, Publish,
    PublishOut, PublishProperties, QoS, ReasonCode, RetainHandling, Sender, Suback, Subscribe,
    SubscriptionOptions, Unsuback, Unsubscribe, UserProperties, Version, Will, decode,
};

/// What one side makes of a packet.
#[derive(Debug)]
pub(crate) enum Seen {
    Client(Result<Option<(Packet, usize)>, DecodeError>),
    Server(Result<Option<(ServerPacket, usize)>, DecodeError>),
}

/// The packet decoded as sent by a server, and as sent by a client. Both must consume all of it.
pub(crate) fn both_ways(version: Version, bytes: &[u8]) -> [Seen; 2] {
    let bytes = Bytes::copy_from_slice(bytes);
    let from_server = client::decode(version, &bytes, 0, &Limits::UNLIMITED);
    let from_client = decode(Some(version), &bytes, 0, &Limits::UNLIMITED);
    if let Ok(seen) = &from_server {
        assert_eq!(seen.as_ref().map(|(_, len)| *len), Some(bytes.len()));
    }
    if let Ok(seen) = &from_client {
        assert_eq!(seen.as_ref().map(|(_, len)| *len), Some(bytes.len()));
    }
    [Seen::Server(from_server), Seen::Client(from_client)]
}

impl Seen {
    pub(crate) fn packet(&self) -> Option<&Packet> {
        match self {
            Self::Client(Ok(Some((packet, _)))) => Some(packet),
            _ => None,
        }
    }

    pub(crate) fn server_packet(&self) -> Option<&ServerPacket> {
        match self {
            Self::Server(Ok(Some((packet, _)))) => Some(packet),
            _ => None,
        }
    }

    pub(crate) fn error(&self) -> Option<DecodeError> {
        match self {
            Self::Client(Err(error)) | Self::Server(Err(error)) => Some(*error),
            _ => None,
        }
    }

    pub(crate) fn ack(&self, kind: PacketType) -> Option<&Ack> {
        match (self.packet(), self.server_packet(), kind) {
            (Some(Packet::Puback(ack)), _, PacketType::Puback)
            | (Some(Packet::Pubrec(ack)), _, PacketType::Pubrec)
            | (Some(Packet::Pubrel(ack)), _, PacketType::Pubrel)
            | (Some(Packet::Pubcomp(ack)), _, PacketType::Pubcomp)
            | (_, Some(ServerPacket::Puback(ack)), PacketType::Puback)
            | (_, Some(ServerPacket::Pubrec(ack)), PacketType::Pubrec)
            | (_, Some(ServerPacket::Pubrel(ack)), PacketType::Pubrel)
            | (_, Some(ServerPacket::Pubcomp(ack)), PacketType::Pubcomp) => Some(ack),
            _ => None,
        }
    }

    pub(crate) fn publish(&self) -> Option<(&Publish, &[u32])> {
        match (self.packet(), self.server_packet()) {
            (Some(Packet::Publish(publish)), _) => Some((publish, &[])),
            (_, Some(ServerPacket::Publish(publish, ids))) => Some((publish, ids)),
            _ => None,
        }
    }
}

pub(crate) fn version() -> impl Strategy<Value = Version> {
    prop_oneof![Just(Version::V311), Just(Version::V5)]
}

pub(crate) fn qos() -> impl Strategy<Value = QoS> {
    prop_oneof![Just(QoS::AtMostOnce), Just(QoS::AtLeastOnce), Just(QoS::ExactlyOnce)]
}

pub(crate) fn packet_id() -> impl Strategy<Value = PacketId> {
    prop_oneof![1_u16..=3, 1..=u16::MAX].prop_map(|id| PacketId::new(id).expect("starts at 1"))
}

pub(crate) fn text() -> impl Strategy<Value = ByteStr> {
    prop_oneof![4 => "[a-z0-9 ]{0,12}", 1 => "[^\0]{0,8}", 1 => "x{120,140}"]
        .prop_map(|text| ByteStr::try_from(text).expect("no NUL"))
}

pub(crate) fn binary() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        4 => prop::collection::vec(any::<u8>(), 0..24),
        1 => prop::collection::vec(any::<u8>(), 100..300),
    ]
    .prop_map(Bytes::from)
}

pub(crate) fn topic() -> impl Strategy<Value = ByteStr> {
    prop_oneof![4 => "[a-z/$]{1,24}", 1 => "[^\0+#]{1,8}"]
        .prop_map(|text| ByteStr::try_from(text).expect("no NUL"))
}

fn level() -> impl Strategy<Value = String> {
    prop_oneof![4 => "[a-z$]{0,6}", 1 => Just("+".to_owned()), 1 => "[^\0+#/]{0,4}"]
}

pub(crate) fn filter() -> impl Strategy<Value = String> {
    let plain = (prop::collection::vec(level(), 1..5), any::<bool>())
        .prop_map(|(levels, hash)| levels.join("/") + if hash { "/#" } else { "" })
        .prop_filter("a filter", |filter| !filter.is_empty() && !filter.starts_with("$share/"));
    let plain = prop_oneof![6 => plain, 1 => Just("#".to_owned())];
    let share = prop::option::weighted(0.2, "[a-zé$]{1,5}");
    (plain, share).prop_map(|(filter, share)| match share {
        Some(name) => format!("$share/{name}/{filter}"),
        None => filter,
    })
}

pub(crate) fn pairs() -> impl Strategy<Value = Vec<(String, String)>> {
    let pair = || (text(), text()).prop_map(|(name, value)| (name.to_string(), value.to_string()));
    prop_oneof![2 => Just(Vec::new()), 1 => prop::collection::vec(pair(), 1..4)]
}

pub(crate) fn user_properties() -> impl Strategy<Value = UserProperties> {
    pairs().prop_map(|pairs| {
        let pairs = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        UserProperties::from_pairs(pairs).expect("no NUL")
    })
}

pub(crate) fn ids() -> impl Strategy<Value = SubscriptionIds> {
    prop::collection::vec(prop_oneof![1_u32..200, 1..=268_435_455_u32], 0..4)
        .prop_map(SubscriptionIds::from_vec)
}

pub(crate) fn publish_properties() -> impl Strategy<Value = PublishProperties> {
    let format = prop_oneof![Just(PayloadFormat::Bytes), Just(PayloadFormat::Utf8)];
    (
        prop::option::of(format),
        any::<Option<u32>>(),
        prop::option::of(topic()),
        prop::option::of(binary()),
        prop::option::of(text()),
        user_properties(),
    )
        .prop_map(
            |(payload_format, expiry, response_topic, correlation_data, content_type, user_properties)| {
                PublishProperties {
                    payload_format,
                    message_expiry_interval: expiry,
                    response_topic,
                    correlation_data,
                    content_type,
                    user_properties,
                }
            },
        )
}

fn some_properties() -> impl Strategy<Value = Option<Arc<PublishProperties>>> {
    prop::option::of(publish_properties()).prop_map(|some| some.filter(|some| !some.is_empty()).map(Arc::new))
}

pub(crate) fn publish() -> impl Strategy<Value = Publish> {
    let alias = prop::option::weighted(0.3, any::<NonZeroU16>());
    (topic(), binary(), some_properties(), packet_id(), alias, qos(), any::<[bool; 3]>()).prop_map(
        |(topic, payload, properties, packet_id, topic_alias, qos, [retain, dup, short])| Publish {
            topic: if short && topic_alias.is_some() { ByteStr::default() } else { topic },
            payload,
            properties,
            packet_id: (qos != QoS::AtMostOnce).then_some(packet_id),
            topic_alias,
            qos,
            retain,
            dup: dup && qos != QoS::AtMostOnce,
        },
    )
}

/// The packet that `publish` was received as.
pub(crate) fn publish_out<'a>(publish: &'a Publish, ids: &'a [u32]) -> PublishOut<'a> {
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

pub(crate) fn connect() -> impl Strategy<Value = Connect> {
    let login = (prop::option::of(text()), prop::option::of(binary()));
    (version(), any::<bool>(), any::<u16>(), text(), login, prop::option::of(will()), connect_properties())
        .prop_map(|(version, clean_start, keep_alive, client_id, (username, password), will, properties)| {
            let mut connect =
                Connect { version, clean_start, keep_alive, client_id, username, password, will, properties };
            if version == Version::V311 {
                connect.clean_start |= connect.client_id.is_empty();
                connect.password = connect.password.filter(|_| connect.username.is_some());
                connect.properties = ConnectProperties::default();
                if let Some(will) = &mut connect.will {
                    will.properties = None;
                    will.delay_interval = None;
                }
            }
            connect
        })
}

fn will() -> impl Strategy<Value = Will> {
    (topic(), binary(), qos(), any::<bool>(), any::<Option<u32>>(), some_properties()).prop_map(
        |(topic, payload, qos, retain, delay_interval, properties)| Will {
            topic,
            payload,
            qos,
            retain,
            delay_interval,
            properties,
        },
    )
}

fn connect_properties() -> impl Strategy<Value = ConnectProperties> {
    let numbers = (any::<Option<u32>>(), any::<Option<u16>>(), any::<Option<u32>>(), any::<Option<u16>>());
    let flags = any::<[Option<bool>; 2]>();
    let login = (prop::option::of(text()), prop::option::of(binary()));
    (numbers, flags, login, user_properties()).prop_map(
        |(
            (session_expiry_interval, receive, packet, topic_alias_maximum),
            flags,
            (method, data),
            user_properties,
        )| {
            ConnectProperties {
                session_expiry_interval,
                receive_maximum: receive.map(|value| value.max(1)),
                maximum_packet_size: packet.map(|value| value.max(1)),
                topic_alias_maximum,
                request_response_information: flags[0],
                request_problem_information: flags[1],
                authentication_data: data.filter(|_| method.is_some()),
                authentication_method: method,
                user_properties,
            }
        },
    )
}

pub(crate) fn reason(packet: PacketType, sender: Sender) -> impl Strategy<Value = ReasonCode> {
    let legal = ReasonCode::ALL.iter().copied().filter(|reason| reason.allowed_in(packet, sender));
    prop::sample::select(legal.collect::<Vec<_>>())
}

pub(crate) fn connack() -> impl Strategy<Value = Connack> {
    (any::<bool>(), reason(PacketType::Connack, Sender::Server), connack_properties())
        .prop_map(|(session_present, reason, properties)| Connack { session_present, reason, properties })
}

fn connack_properties() -> impl Strategy<Value = ConnackProperties> {
    let numbers = (any::<[Option<u32>; 2]>(), any::<[Option<u16>; 3]>());
    let flags = any::<[Option<bool>; 5]>();
    let texts = prop::array::uniform5(prop::option::of(text()));
    (numbers, flags, texts, prop::option::of(binary()), user_properties()).prop_map(
        |((long, short), flags, [client_id, reason, response, server, method], data, user_properties)| {
            ConnackProperties {
                session_expiry_interval: long[0],
                receive_maximum: short[0].map(|value| value.max(1)),
                maximum_qos: flags[0].map(|one| if one { QoS::AtLeastOnce } else { QoS::AtMostOnce }),
                retain_available: flags[1],
                maximum_packet_size: long[1].map(|value| value.max(1)),
                assigned_client_id: client_id,
                topic_alias_maximum: short[1],
                reason_string: reason,
                wildcard_subscription_available: flags[2],
                subscription_identifiers_available: flags[3],
                shared_subscription_available: flags[4],
                server_keep_alive: short[2],
                response_information: response,
                server_reference: server,
                authentication_method: method,
                authentication_data: data,
                user_properties,
            }
        },
    )
}

fn options() -> impl Strategy<Value = SubscriptionOptions> {
    let handling = prop_oneof![
        Just(RetainHandling::Send),
        Just(RetainHandling::SendIfNew),
        Just(RetainHandling::DoNotSend)
    ];
    (qos(), any::<[bool; 2]>(), handling).prop_map(
        |(qos, [no_local, retain_as_published], retain_handling)| SubscriptionOptions {
            qos,
            no_local,
            retain_as_published,
            retain_handling,
        },
    )
}

pub(crate) fn subscribe() -> impl Strategy<Value = Subscribe> {
    let id = prop::option::of(prop_oneof![1_u32..200, 1..=268_435_455_u32]);
    let filters = prop::collection::vec((filter(), options()), 1..5);
    (packet_id(), id, user_properties(), filters).prop_map(
        |(packet_id, subscription_id, user_properties, filters)| {
            let filters = filters.iter().map(|(filter, options)| {
                let no_local = options.no_local && !filter.starts_with("$share/");
                (filter.as_str(), SubscriptionOptions { no_local, ..*options })
            });
            let filters = Filters::<SubscriptionOptions>::new(filters).expect("at least one");
            Subscribe { packet_id, subscription_id, user_properties, filters }
        },
    )
}

pub(crate) fn unsubscribe() -> impl Strategy<Value = Unsubscribe> {
    (packet_id(), user_properties(), prop::collection::vec(filter(), 1..5)).prop_map(
        |(packet_id, user_properties, filters)| {
            let filters = Filters::<()>::new(filters.iter().map(String::as_str)).expect("at least one");
            Unsubscribe { packet_id, user_properties, filters }
        },
    )
}

pub(crate) fn suback() -> impl Strategy<Value = Suback> {
    let codes = prop::collection::vec(reason(PacketType::Suback, Sender::Server), 1..12);
    (packet_id(), codes, prop::option::of(text()), user_properties()).prop_map(
        |(packet_id, codes, reason_string, user_properties)| Suback {
            packet_id,
            codes: codes.into(),
            reason_string,
            user_properties,
        },
    )
}

pub(crate) fn unsuback() -> impl Strategy<Value = Unsuback> {
    let codes = prop::collection::vec(reason(PacketType::Unsuback, Sender::Server), 1..12);
    (packet_id(), codes, prop::option::of(text()), user_properties()).prop_map(
        |(packet_id, codes, reason_string, user_properties)| Unsuback {
            packet_id,
            codes: codes.into(),
            reason_string,
            user_properties,
        },
    )
}

pub(crate) fn disconnect(sender: Sender) -> impl Strategy<Value = Disconnect> {
    let texts = prop::array::uniform2(prop::option::of(text()));
    (reason(PacketType::Disconnect, sender), any::<Option<u32>>(), texts, user_properties()).prop_map(
        move |(reason, expiry, [reason_string, server_reference], user_properties)| {
            let properties = DisconnectProperties {
                session_expiry_interval: expiry.filter(|_| sender == Sender::Client),
                reason_string,
                server_reference,
                user_properties,
            };
            let properties = (properties != DisconnectProperties::default()).then(|| Box::new(properties));
            Disconnect { reason, properties }
        },
    )
}

pub(crate) fn auth() -> impl Strategy<Value = Auth> {
    let reason = prop_oneof![
        Just(ReasonCode::Success),
        Just(ReasonCode::ContinueAuthentication),
        Just(ReasonCode::ReAuthenticate)
    ];
    let method = text().prop_map(Some);
    (reason, method, prop::option::of(binary()), prop::option::of(text()), user_properties(), any::<bool>())
        .prop_map(
            |(reason, authentication_method, authentication_data, reason_string, user_properties, short)| {
                if short && reason == ReasonCode::Success {
                    return Auth { reason, properties: AuthProperties::default() };
                }
                let properties = AuthProperties {
                    authentication_method,
                    authentication_data,
                    reason_string,
                    user_properties,
                };
                Auth { reason, properties }
            },
        )
}
