//! Packets that must be refused, each with the error and the 5.0 reason code it must be refused with.

use chasqui_broker::codec::DecodeError as E;
use chasqui_broker::codec::property::PropertyId as P;
use chasqui_broker::codec::{PacketType as T, TextError, Version};
use chasqui_broker::topic::TopicError;

use crate::build::*;

/// One packet, as sent by a client.
pub(crate) struct Refused {
    pub(crate) name: &'static str,
    /// `None` before CONNECT.
    pub(crate) version: Option<Version>,
    pub(crate) bytes: Vec<u8>,
    pub(crate) error: E,
    pub(crate) code: u8,
}

const V311: Option<Version> = Some(Version::V311);
const V5: Option<Version> = Some(Version::V5);

pub(crate) fn all() -> Vec<Refused> {
    let mut table = Table(Vec::new());
    framing(&mut table);
    connect(&mut table);
    connect_properties(&mut table);
    will(&mut table);
    publish(&mut table);
    publish_properties(&mut table);
    acks(&mut table);
    subscribe(&mut table);
    unsubscribe(&mut table);
    the_rest(&mut table);
    table.0
}

struct Table(Vec<Refused>);

impl Table {
    fn row(
        &mut self,
        name: &'static str,
        version: Option<Version>,
        bytes: impl AsRef<[u8]>,
        error: E,
        code: u8,
    ) {
        self.0.push(Refused { name, version, bytes: bytes.as_ref().to_vec(), error, code });
    }

    fn both(&mut self, name: &'static str, bytes: impl AsRef<[u8]>, error: E, code: u8) {
        self.row(name, V311, &bytes, error, code);
        self.row(name, V5, &bytes, error, code);
    }
}

fn name(error: TopicError) -> E {
    E::TopicName(error)
}

fn filter(error: TopicError) -> E {
    E::TopicFilter(error)
}

fn flags(packet: T, flags: u8) -> E {
    E::HeaderFlags { packet, flags }
}

fn bad_value(property: P) -> E {
    E::PropertyValue { property }
}

fn twice(property: P) -> E {
    E::PropertyDuplicate { property }
}

fn not_here(property: P) -> E {
    E::PropertyNotAllowed { property }
}

fn framing(t: &mut Table) {
    t.both("packet type 0", [0x00, 0x00], E::ReservedType { kind: 0 }, 0x81);
    t.both("packet type 0 with flags", [0x0F], E::ReservedType { kind: 0 }, 0x81);
    t.row("AUTH on 3.1.1", V311, [0xF0, 0x00], E::ReservedType { kind: 15 }, 0x81);
    t.both("CONNACK from a client", [0x20, 0x02, 0, 0], E::WrongDirection { packet: T::Connack }, 0x82);
    t.both("SUBACK from a client", [0x90, 0x03, 0, 1, 0], E::WrongDirection { packet: T::Suback }, 0x82);
    t.both("UNSUBACK from a client", [0xB0, 0x02, 0, 1], E::WrongDirection { packet: T::Unsuback }, 0x82);
    t.both("PINGRESP from a client", [0xD0, 0x00], E::WrongDirection { packet: T::Pingresp }, 0x82);
    t.row("PUBLISH before CONNECT", None, [0x30, 0x03, 0, 1, b't'], E::ConnectExpected { first: 0x30 }, 0x82);
    t.row("PINGREQ before CONNECT", None, [0xC0, 0x00], E::ConnectExpected { first: 0xC0 }, 0x82);
    t.row("AUTH before CONNECT", None, [0xF0, 0x00], E::ConnectExpected { first: 0xF0 }, 0x82);
    t.row("packet type 0 before CONNECT", None, [0x00], E::ConnectExpected { first: 0x00 }, 0x82);
    t.row("TLS before CONNECT", None, [0x16, 0x03, 0x01], flags(T::Connect, 6), 0x81);
    t.row("HTTP before CONNECT", None, *b"GET / HTTP/1.1", E::ConnectExpected { first: b'G' }, 0x82);
    t.both("a second CONNECT", connect_311(2, &[&field("c")]), E::SecondConnect, 0x82);
    t.row("flags of CONNECT", None, [0x11, 0x00], flags(T::Connect, 1), 0x81);
    t.both("flags of PUBACK", [0x41, 0x02, 0, 1], flags(T::Puback, 1), 0x81);
    t.both("flags of PUBREC", [0x52, 0x02, 0, 1], flags(T::Pubrec, 2), 0x81);
    t.both("flags of PUBREL", [0x60, 0x02, 0, 1], flags(T::Pubrel, 0), 0x81);
    t.both("flags of PUBCOMP", [0x78, 0x02, 0, 1], flags(T::Pubcomp, 8), 0x81);
    t.both("flags of SUBSCRIBE", [0x80, 0x06], flags(T::Subscribe, 0), 0x81);
    t.both("flags of UNSUBSCRIBE", [0xA3, 0x05], flags(T::Unsubscribe, 3), 0x81);
    t.both("flags of PINGREQ", [0xC1, 0x00], flags(T::Pingreq, 1), 0x81);
    t.both("flags of DISCONNECT", [0xEF, 0x00], flags(T::Disconnect, 15), 0x81);
    t.row("flags of AUTH", V5, [0xF1, 0x00], flags(T::Auth, 1), 0x81);
    t.both("a length of five bytes", [0x30, 0xFF, 0xFF, 0xFF, 0xFF, 0x01], E::VarintTooLong, 0x81);
    t.both("a length whose fourth byte goes on", [0xC0, 0x80, 0x80, 0x80, 0x80], E::VarintTooLong, 0x81);
    t.both("a length of 0 in two bytes", [0xC0, 0x80, 0x00], E::VarintNotMinimal, 0x81);
    t.both("a length of 2 in four bytes", [0x40, 0x82, 0x80, 0x80, 0x00, 0, 1], E::VarintNotMinimal, 0x81);
    let (len, max) = (65_540, 65_536);
    t.both(
        "larger than the limit, header only",
        [0x30, 0x80, 0x80, 0x04],
        E::PacketTooLarge { len, max },
        0x95,
    );
    let len = 268_435_455 + 5;
    t.both("the largest there is", [0x30, 0xFF, 0xFF, 0xFF, 0x7F], E::PacketTooLarge { len, max }, 0x95);
    t.row("a CONNECT of 256 MB", None, [0x10, 0xFF, 0xFF, 0xFF, 0x7F], E::PacketTooLarge { len, max }, 0x95);
}

fn connect(t: &mut Table) {
    let unsupported = |level, mqtt| E::UnsupportedProtocol { level, mqtt };
    let with = |protocol: &[u8]| packet(0x10, &[protocol, &[2, 0, 60], &field("c")]);
    t.row("MQTT 3.1", None, with(b"\0\x06MQIsdp\x03"), unsupported(3, true), 0x84);
    t.row("level 0", None, with(b"\0\x04MQTT\x00"), unsupported(0, true), 0x84);
    t.row("level 3 with the new name", None, with(b"\0\x04MQTT\x03"), unsupported(3, true), 0x84);
    t.row("level 6", None, with(b"\0\x04MQTT\x06"), unsupported(6, true), 0x84);
    t.row("a bridge's level", None, with(b"\0\x04MQTT\x84"), unsupported(0x84, true), 0x84);
    t.row("the old name at level 4", None, with(b"\0\x06MQIsdp\x04"), unsupported(4, true), 0x84);
    t.row("the name in small letters", None, with(b"\0\x04mqtt\x04"), unsupported(4, false), 0x84);
    t.row("another name", None, with(b"\0\x04HTTP\x05"), unsupported(5, false), 0x84);
    t.row("an empty name", None, with(b"\0\x00\x04"), unsupported(4, false), 0x84);
    t.row("the name with a NUL behind", None, with(b"\0\x05MQTT\0\x04"), unsupported(4, false), 0x84);
    t.row("an empty CONNECT", None, [0x10, 0x00], E::Truncated, 0x81);
    t.row("CONNECT ends in the name", None, [0x10, 0x04, 0, 4, b'M', b'Q'], E::Truncated, 0x81);
    t.row("CONNECT ends before the level", None, packet(0x10, &[b"\0\x04MQTT"]), E::Truncated, 0x81);
    t.row("CONNECT ends before the flags", None, packet(0x10, &[b"\0\x04MQTT\x04"]), E::Truncated, 0x81);
    t.row(
        "CONNECT ends in the keep-alive",
        None,
        packet(0x10, &[b"\0\x04MQTT\x04\x02\0"]),
        E::Truncated,
        0x81,
    );
    t.row("3.1.1 without a client id", None, connect_311(2, &[]), E::Truncated, 0x81);
    t.row("5.0 without properties", None, packet(0x10, &[b"\0\x04MQTT\x05\x02\0\x3C"]), E::Truncated, 0x81);
    t.row("5.0 without a client id", None, connect_5(2, &[], &[]), E::Truncated, 0x81);
    t.row("a client id longer than the packet", None, connect_311(2, &[b"\0\x05abcd"]), E::Truncated, 0x81);
    t.row("a client id with NUL", None, connect_311(2, &[&field("a\0b")]), E::Text(TextError::Nul), 0x81);
    let surrogate = field(b"a\xED\xA0\x80");
    t.row(
        "a client id with a surrogate",
        None,
        connect_5(2, &[], &[&surrogate]),
        E::Text(TextError::NotUtf8),
        0x81,
    );
    let overlong = field(b"\xC0\xAF");
    t.row(
        "a client id in overlong UTF-8",
        None,
        connect_311(2, &[&overlong]),
        E::Text(TextError::NotUtf8),
        0x81,
    );
    t.row("an empty client id to be kept", None, connect_311(0, &[&field("")]), E::ClientIdRequired, 0x85);

    let reserved = E::ConnectFlags("the reserved CONNECT flag is set");
    t.row("the reserved flag, 3.1.1", None, connect_311(0x03, &[&field("c")]), reserved, 0x81);
    t.row("the reserved flag, 5.0", None, connect_5(0x03, &[], &[&field("c")]), reserved, 0x81);
    let no_will = E::ConnectFlags("CONNECT sets Will QoS or Will Retain without a will");
    t.row("Will QoS 1 without a will", None, connect_311(0x0A, &[&field("c")]), no_will, 0x81);
    t.row("Will QoS 2 without a will", None, connect_5(0x12, &[], &[&field("c")]), no_will, 0x81);
    t.row("Will QoS 3 without a will", None, connect_5(0x1A, &[], &[&field("c")]), no_will, 0x81);
    t.row("Will Retain without a will, 3.1.1", None, connect_311(0x22, &[&field("c")]), no_will, 0x81);
    t.row("Will Retain without a will, 5.0", None, connect_5(0x22, &[], &[&field("c")]), no_will, 0x81);
    let alone = E::ConnectFlags("CONNECT has a password without a user name");
    t.row("a password alone on 3.1.1", None, connect_311(0x42, &[&field("c"), &field("p")]), alone, 0x81);
    t.row("a user name that is missing", None, connect_311(0x82, &[&field("c")]), E::Truncated, 0x81);
    t.row(
        "a password that is missing",
        None,
        connect_311(0xC2, &[&field("c"), &field("u")]),
        E::Truncated,
        0x81,
    );
    t.row(
        "a user name with NUL",
        None,
        connect_311(0x82, &[&field("c"), &field("\0")]),
        E::Text(TextError::Nul),
        0x81,
    );
    let latin = field(b"jos\xE9");
    let error = E::Text(TextError::NotUtf8);
    t.row("a user name in Latin-1", None, connect_5(0x82, &[], &[&field("c"), &latin]), error, 0x81);
    t.row("3.1.1 with bytes behind", None, connect_311(2, &[&field("c"), b"\0"]), E::TrailingBytes, 0x81);
    t.row(
        "5.0 with bytes behind",
        None,
        connect_5(2, &[], &[&field("c"), &field("u")]),
        E::TrailingBytes,
        0x81,
    );
    t.row(
        "a password without its flag",
        None,
        connect_311(0x82, &[&field("c"), &field("u"), &field("p")]),
        E::TrailingBytes,
        0x81,
    );
}

fn connect_properties(t: &mut Table) {
    let mut row = |name, properties: &[&[u8]], error, code| {
        t.row(name, None, connect_5(2, properties, &[&field("c")]), error, code);
    };
    row("Receive Maximum 0", &[b"\x21\0\0"], bad_value(P::ReceiveMaximum), 0x82);
    row("Maximum Packet Size 0", &[b"\x27\0\0\0\0"], bad_value(P::MaximumPacketSize), 0x82);
    row("Request Problem Information 2", &[b"\x17\x02"], bad_value(P::RequestProblemInformation), 0x82);
    row("Request Response Information 255", &[b"\x19\xFF"], bad_value(P::RequestResponseInformation), 0x82);
    row(
        "Session Expiry twice",
        &[b"\x11\0\0\0\x01", b"\x11\0\0\0\x01"],
        twice(P::SessionExpiryInterval),
        0x82,
    );
    row("Receive Maximum twice", &[b"\x21\0\x01", b"\x21\0\x02"], twice(P::ReceiveMaximum), 0x82);
    row(
        "Maximum Packet Size twice",
        &[b"\x27\0\0\x01\0", b"\x27\0\0\x01\0"],
        twice(P::MaximumPacketSize),
        0x82,
    );
    row("Topic Alias Maximum twice", &[b"\x22\0\0", b"\x22\0\0"], twice(P::TopicAliasMaximum), 0x82);
    row("Problem Information twice", &[b"\x17\x01", b"\x17\x01"], twice(P::RequestProblemInformation), 0x82);
    row("Response Information twice", &[b"\x19\0", b"\x19\0"], twice(P::RequestResponseInformation), 0x82);
    let method = prop(0x15, "m");
    row("Authentication Method twice", &[&method, &method], twice(P::AuthenticationMethod), 0x82);
    let data = prop(0x16, "d");
    row("Authentication Data twice", &[&method, &data, &data], twice(P::AuthenticationData), 0x82);
    row("Authentication Data alone", &[&data], E::AuthMethodMissing, 0x82);
    row("property 0", &[b"\0"], E::PropertyUnknown(0), 0x81);
    row("property 4", &[b"\x04\0"], E::PropertyUnknown(4), 0x81);
    row("property 0x2B", &[b"\x2B\0"], E::PropertyUnknown(0x2B), 0x81);
    row("property 0xFF", &[b"\xFF\x01"], E::PropertyUnknown(0xFF), 0x81);
    row("Session Expiry in two bytes", &[b"\x91\0\0\0\0\x01"], E::PropertyUnknown(0x91), 0x81);
    row("a will's property outside", &[b"\x18\0\0\0\x01"], not_here(P::WillDelayInterval), 0x81);
    row("Topic Alias in CONNECT", &[b"\x23\0\x01"], not_here(P::TopicAlias), 0x81);
    row("Server Keep Alive in CONNECT", &[b"\x13\0\x01"], not_here(P::ServerKeepAlive), 0x81);
    row("Reason String in CONNECT", &[&prop(0x1F, "r")], not_here(P::ReasonString), 0x81);
    row("a property cut off", &[b"\x11\0\0\0"], E::Truncated, 0x81);
    row("a property without its value", &[b"\x21"], E::Truncated, 0x81);
    row("a user property without a value", &[&prop(0x26, "n")], E::Truncated, 0x81);
    row("a user property with NUL", &[&user("n", "\0")], E::Text(TextError::Nul), 0x81);
    row("an authentication method with NUL", &[&prop(0x15, "\0")], E::Text(TextError::Nul), 0x81);

    let mut raw = |name, properties: &[u8], error| {
        t.row(name, None, packet(0x10, &[b"\0\x04MQTT\x05\x02\0\x3C", properties]), error, 0x81);
    };
    raw("properties longer than the packet", b"\x7F\x21\0\x01", E::Truncated);
    raw("a property that reaches into the client id", b"\x02\x21\0\0\x01c", E::Truncated);
    raw("a property length of five bytes", b"\x80\x80\x80\x80\x01\0\x01c", E::VarintTooLong);
    raw("a property length not in its shortest form", b"\x80\x00\0\x01c", E::VarintNotMinimal);
    raw("a property length that does not end", b"\x80", E::Truncated);
}

fn will(t: &mut Table) {
    let mut v311 = |name, flags, topic: &[u8], payload: &[u8], error, code| {
        t.row(name, None, connect_311(flags, &[&field("c"), topic, payload]), error, code);
    };
    let no_qos = E::ConnectFlags("CONNECT has a will of QoS 3, which does not exist");
    v311("Will QoS 3, 3.1.1", 0x1E, &field("w"), &field(""), no_qos, 0x81);
    v311("a will without a topic", 0x06, &field(""), &field("p"), name(TopicError::Empty), 0x90);
    v311("a will to #", 0x06, &field("a/#"), &field("p"), name(TopicError::Wildcard), 0x90);
    v311("a will to +", 0x06, &field("+"), &field("p"), name(TopicError::Wildcard), 0x90);
    v311("a will topic with NUL", 0x06, &field("a\0"), &field("p"), E::Text(TextError::Nul), 0x81);
    v311(
        "a will topic of too many levels",
        0x06,
        &field("a/b/c/d/e/f/g/h/i"),
        b"\0\0",
        name(TopicError::TooManyLevels),
        0x90,
    );
    v311("a will that is missing", 0x06, b"", b"", E::Truncated, 0x81);
    v311("a will without a payload", 0x06, &field("w"), b"", E::Truncated, 0x81);

    let mut v5 = |name, properties: &[&[u8]], error, code| {
        let payload: [&[u8]; 4] = [&field("c"), &props(properties), &field("w"), &field("p")];
        t.row(name, None, connect_5(0x06, &[], &payload), error, code);
    };
    v5("a will's payload format 2", &[b"\x01\x02"], bad_value(P::PayloadFormatIndicator), 0x82);
    v5("a will's payload format twice", &[b"\x01\x00", b"\x01\x00"], twice(P::PayloadFormatIndicator), 0x82);
    v5("Will Delay twice", &[b"\x18\0\0\0\0", b"\x18\0\0\0\0"], twice(P::WillDelayInterval), 0x82);
    v5("a topic alias in a will", &[b"\x23\0\x01"], not_here(P::TopicAlias), 0x81);
    v5("a subscription identifier in a will", &[b"\x0B\x01"], not_here(P::SubscriptionIdentifier), 0x81);
    v5("Session Expiry in a will", &[b"\x11\0\0\0\0"], not_here(P::SessionExpiryInterval), 0x81);
    v5("a will's response topic with a wildcard", &[&prop(8, "a/+")], name(TopicError::Wildcard), 0x90);
    v5("a will's response topic is empty", &[&prop(8, "")], name(TopicError::Empty), 0x90);
    t.row(
        "Will QoS 3, 5.0",
        None,
        connect_5(0x1E, &[], &[&field("c"), b"\0", &field("w"), b"\0\0"]),
        no_qos,
        0x81,
    );
    t.row("a 5.0 will without properties", None, connect_5(0x06, &[], &[&field("c")]), E::Truncated, 0x81);
}

fn publish(t: &mut Table) {
    t.both("QoS 3", [0x36, 0x05, 0, 1, b't', 0, 1], E::PublishQoS3, 0x81);
    t.both("QoS 3 with all flags", [0x3F, 0x05, 0, 1, b't', 0, 1], E::PublishQoS3, 0x81);
    t.both("DUP with QoS 0", [0x38, 0x03, 0, 1, b't'], E::DupWithQoS0, 0x81);
    t.both("DUP and RETAIN with QoS 0", [0x39, 0x03, 0, 1, b't'], E::DupWithQoS0, 0x81);
    t.both("an empty PUBLISH", [0x30, 0x00], E::Truncated, 0x81);
    t.both("half a topic length", [0x30, 0x01, 0], E::Truncated, 0x81);
    t.both("a topic longer than the packet", [0x30, 0x03, 0, 2, b't'], E::Truncated, 0x81);
    t.both("no packet id at QoS 1", [0x32, 0x03, 0, 1, b't'], E::Truncated, 0x81);
    t.both("half a packet id at QoS 2", [0x34, 0x04, 0, 1, b't', 0], E::Truncated, 0x81);
    t.both("packet id 0 at QoS 1", [0x32, 0x06, 0, 1, b't', 0, 0, 0], E::PacketIdZero, 0x82);
    t.both("packet id 0 at QoS 2", [0x34, 0x06, 0, 1, b't', 0, 0, 0], E::PacketIdZero, 0x82);
    let mut topic = |what, topic: &[u8], error, code| {
        t.row(what, V311, packet(0x30, &[&field(topic), b"x"]), error, code);
        t.row(what, V5, packet(0x30, &[&field(topic), b"\0x"]), error, code);
    };
    topic("publish to #", b"#", name(TopicError::Wildcard), 0x90);
    topic("publish to a/+/b", b"a/+/b", name(TopicError::Wildcard), 0x90);
    topic("a wildcard inside a level", b"a+b", name(TopicError::Wildcard), 0x90);
    topic("a wildcard behind other letters", "ü#".as_bytes(), name(TopicError::Wildcard), 0x90);
    topic("a topic with NUL", b"a\0b", E::Text(TextError::Nul), 0x81);
    topic("a topic with NUL behind other letters", "ü\0".as_bytes(), E::Text(TextError::Nul), 0x81);
    topic("a topic in Latin-1", b"caf\xE9", E::Text(TextError::NotUtf8), 0x81);
    topic("a topic with a surrogate", b"a/\xED\xBF\xBF", E::Text(TextError::NotUtf8), 0x81);
    topic("a topic that ends in a letter", b"a\xE2\x82", E::Text(TextError::NotUtf8), 0x81);
    topic("a topic of nine levels", b"1/2/3/4/5/6/7/8/9", name(TopicError::TooManyLevels), 0x90);
    topic("a topic of slashes", b"////////", name(TopicError::TooManyLevels), 0x90);
    t.row("an empty topic on 3.1.1", V311, packet(0x30, &[b"\0\0x"]), name(TopicError::Empty), 0x90);
    t.row("an empty topic without an alias", V5, packet(0x30, &[b"\0\0\0x"]), E::TopicMissing, 0x82);
    t.row("no properties on 5.0", V5, [0x30, 0x03, 0, 1, b't'], E::Truncated, 0x81);
}

fn publish_properties(t: &mut Table) {
    let mut row =
        |name, properties: &[&[u8]], error, code| t.row(name, V5, publish_5(properties), error, code);
    row("payload format 2", &[b"\x01\x02"], bad_value(P::PayloadFormatIndicator), 0x82);
    row("payload format twice", &[b"\x01\x01", b"\x01\x01"], twice(P::PayloadFormatIndicator), 0x82);
    row("expiry twice", &[b"\x02\0\0\0\x01", b"\x02\0\0\0\x01"], twice(P::MessageExpiryInterval), 0x82);
    row("content type twice", &[&prop(3, "a"), &prop(3, "a")], twice(P::ContentType), 0x82);
    row("response topic twice", &[&prop(8, "a"), &prop(8, "a")], twice(P::ResponseTopic), 0x82);
    row("correlation data twice", &[&prop(9, "a"), &prop(9, "a")], twice(P::CorrelationData), 0x82);
    row("topic alias 0", &[b"\x23\0\0"], E::TopicAliasZero, 0x94);
    row("topic alias twice", &[b"\x23\0\x01", b"\x23\0\x02"], twice(P::TopicAlias), 0x82);
    row("a subscription identifier", &[b"\x0B\x01"], E::SubscriptionIdFromClient, 0x82);
    row("subscription identifier 0", &[b"\x0B\x00"], E::SubscriptionIdFromClient, 0x82);
    row("a response topic with a wildcard", &[&prop(8, "r/#")], name(TopicError::Wildcard), 0x90);
    row("an empty response topic", &[&prop(8, "")], name(TopicError::Empty), 0x90);
    row("a response topic with NUL", &[&prop(8, "r\0")], E::Text(TextError::Nul), 0x81);
    row("a response topic of nine levels", &[&prop(8, "////////")], name(TopicError::TooManyLevels), 0x90);
    row("a content type in Latin-1", &[&prop(3, b"\xE9")], E::Text(TextError::NotUtf8), 0x81);
    row("Session Expiry in PUBLISH", &[b"\x11\0\0\0\x01"], not_here(P::SessionExpiryInterval), 0x81);
    row("Will Delay in PUBLISH", &[b"\x18\0\0\0\x01"], not_here(P::WillDelayInterval), 0x81);
    row("Reason String in PUBLISH", &[&prop(0x1F, "r")], not_here(P::ReasonString), 0x81);
    row("Maximum QoS in PUBLISH", &[b"\x24\x01"], not_here(P::MaximumQoS), 0x81);
    row("property 0x7F in PUBLISH", &[b"\x7F"], E::PropertyUnknown(0x7F), 0x81);
    row("an expiry cut off", &[b"\x02\0\0\0"], E::Truncated, 0x81);
    row("correlation data cut off", &[b"\x09\0\x02a"], E::Truncated, 0x81);
    row("a user property cut off", &[b"\x26\0\x01a\0\x02b"], E::Truncated, 0x81);
    row("a user property's name in Latin-1", &[b"\x26\0\x01\xE9\0\0"], E::Text(TextError::NotUtf8), 0x81);
    row("a user property's name with NUL", &[&user("\0", "v")], E::Text(TextError::Nul), 0x81);
    let raw = |tail: &[u8]| packet(0x30, &[&field("t"), tail]);
    t.row("properties longer than PUBLISH", V5, raw(b"\x05\x01\x01"), E::Truncated, 0x81);
    t.row("properties that end in the payload", V5, raw(b"\x01\x01\x01"), E::Truncated, 0x81);
    t.row("a property length in two bytes for 0", V5, raw(b"\x80\0x"), E::VarintNotMinimal, 0x81);
    t.row(
        "a property length of five bytes in PUBLISH",
        V5,
        raw(b"\xFF\xFF\xFF\xFF\x7Fx"),
        E::VarintTooLong,
        0x81,
    );
}

fn acks(t: &mut Table) {
    t.both("an empty PUBACK", [0x40, 0x00], E::Truncated, 0x81);
    t.both("half a PUBREC", [0x50, 0x01, 0], E::Truncated, 0x81);
    t.both("PUBACK of 0", [0x40, 0x02, 0, 0], E::PacketIdZero, 0x82);
    t.both("PUBREC of 0", [0x50, 0x02, 0, 0], E::PacketIdZero, 0x82);
    t.both("PUBREL of 0", [0x62, 0x02, 0, 0], E::PacketIdZero, 0x82);
    t.both("PUBCOMP of 0", [0x70, 0x02, 0, 0], E::PacketIdZero, 0x82);
    t.row("PUBACK of 3 bytes on 3.1.1", V311, [0x40, 0x03, 0, 1, 0], E::TrailingBytes, 0x81);
    t.row("PUBREL of 4 bytes on 3.1.1", V311, [0x62, 0x04, 0, 1, 0, 0], E::TrailingBytes, 0x81);
    let wrong = |packet, code| E::ReasonCode { packet, code };
    t.row("PUBACK with 0x01", V5, [0x40, 0x03, 0, 1, 0x01], wrong(T::Puback, 0x01), 0x82);
    t.row("PUBACK with 0x92", V5, [0x40, 0x03, 0, 1, 0x92], wrong(T::Puback, 0x92), 0x82);
    t.row("PUBACK with 0xFF", V5, [0x40, 0x03, 0, 1, 0xFF], wrong(T::Puback, 0xFF), 0x82);
    t.row("PUBREC with 0x81", V5, [0x50, 0x03, 0, 1, 0x81], wrong(T::Pubrec, 0x81), 0x82);
    t.row("PUBREL with 0x10", V5, [0x62, 0x03, 0, 1, 0x10], wrong(T::Pubrel, 0x10), 0x82);
    t.row("PUBREL with 0x80", V5, [0x62, 0x03, 0, 1, 0x80], wrong(T::Pubrel, 0x80), 0x82);
    t.row("PUBCOMP with 0x91", V5, [0x70, 0x03, 0, 1, 0x91], wrong(T::Pubcomp, 0x91), 0x82);
    t.row("PUBACK with bytes behind", V5, [0x40, 0x05, 0, 1, 0, 0, 0], E::TrailingBytes, 0x81);
    let with = |first, properties: &[&[u8]]| packet(first, &[b"\0\x01\0", &props(properties)]);
    let reason = prop(0x1F, "r");
    t.row(
        "PUBACK with Reason String twice",
        V5,
        with(0x40, &[&reason, &reason]),
        twice(P::ReasonString),
        0x82,
    );
    t.row("PUBREC with Topic Alias", V5, with(0x50, &[b"\x23\0\x01"]), not_here(P::TopicAlias), 0x81);
    t.row(
        "PUBREL with Server Reference",
        V5,
        with(0x62, &[&prop(0x1C, "s")]),
        not_here(P::ServerReference),
        0x81,
    );
    t.row("PUBCOMP with property 0x30", V5, with(0x70, &[b"\x30"]), E::PropertyUnknown(0x30), 0x81);
    t.row(
        "PUBACK with a reason in Latin-1",
        V5,
        with(0x40, &[&prop(0x1F, b"\xE9")]),
        E::Text(TextError::NotUtf8),
        0x81,
    );
    t.row("PUBACK whose properties are cut off", V5, [0x40, 0x05, 0, 1, 0, 2, 0x1F], E::Truncated, 0x81);
}

fn subscribe(t: &mut Table) {
    t.both("an empty SUBSCRIBE", [0x82, 0x00], E::Truncated, 0x81);
    t.row("no filter, 3.1.1", V311, [0x82, 0x02, 0, 1], E::NoFilter { packet: T::Subscribe }, 0x82);
    t.row("no filter, 5.0", V5, [0x82, 0x03, 0, 1, 0], E::NoFilter { packet: T::Subscribe }, 0x82);
    t.row("no properties in SUBSCRIBE", V5, [0x82, 0x02, 0, 1], E::Truncated, 0x81);
    t.both("SUBSCRIBE with packet id 0", [0x82, 0x06, 0, 0, 0, 1, b'a', 0], E::PacketIdZero, 0x82);
    t.row("a filter without options", V311, packet(0x82, &[b"\0\x01", &field("a")]), E::Truncated, 0x81);
    t.row(
        "a second filter without options",
        V311,
        packet(0x82, &[b"\0\x01", &field("a"), b"\0", &field("b")]),
        E::Truncated,
        0x81,
    );
    t.row("a filter longer than the packet", V311, packet(0x82, &[b"\0\x01\0\x05a\0"]), E::Truncated, 0x81);
    t.row(
        "one byte behind the filters",
        V311,
        packet(0x82, &[b"\0\x01", &field("a"), b"\0\0"]),
        E::Truncated,
        0x81,
    );

    t.row("QoS 3 on 3.1.1", V311, subscribe_311("a", 3), E::SubscriptionQoS3, 0x82);
    t.row("No Local on 3.1.1", V311, subscribe_311("a", 4), E::SubscriptionReserved(4), 0x81);
    t.row("retain handling on 3.1.1", V311, subscribe_311("a", 0x11), E::SubscriptionReserved(0x11), 0x81);
    t.row("the highest bit on 3.1.1", V311, subscribe_311("a", 0x80), E::SubscriptionReserved(0x80), 0x81);
    t.row("QoS 3 on 5.0", V5, subscribe_5(&[], "a", 3), E::SubscriptionQoS3, 0x82);
    t.row("retain handling 3", V5, subscribe_5(&[], "a", 0x30), E::RetainHandling3, 0x82);
    t.row("reserved bit 6", V5, subscribe_5(&[], "a", 0x40), E::SubscriptionReserved(0x40), 0x81);
    t.row("reserved bit 7", V5, subscribe_5(&[], "a", 0x81), E::SubscriptionReserved(0x81), 0x81);
    t.row(
        "No Local on a shared subscription",
        V5,
        subscribe_5(&[], "$share/g/a", 4),
        E::NoLocalOnShared,
        0x82,
    );

    let mut bad = |name, text: &[u8], error| {
        t.row(name, V311, subscribe_311(text, 0), filter(error), 0x8F);
        t.row(name, V5, subscribe_5(&[], text, 0), filter(error), 0x8F);
    };
    bad("an empty filter", b"", TopicError::Empty);
    bad("# before the end", b"a/#/b", TopicError::HashNotLast);
    bad("# and a slash", b"#/", TopicError::HashNotLast);
    bad("# beside letters", b"a/b#", TopicError::WildcardNotAlone);
    bad("## ", b"##", TopicError::WildcardNotAlone);
    bad("+ beside letters", b"a/+b", TopicError::WildcardNotAlone);
    bad("++", b"a/++", TopicError::WildcardNotAlone);
    bad("+#", b"+#", TopicError::WildcardNotAlone);
    bad("a filter of nine levels", b"+/+/+/+/+/+/+/+/#", TopicError::TooManyLevels);
    let mut shared =
        |name, text: &[u8], error| t.row(name, V5, subscribe_5(&[], text, 0), filter(error), 0x8F);
    shared("a share without a name", b"$share//a", TopicError::ShareName);
    shared("a share of nothing", b"$share/", TopicError::ShareName);
    shared("a share name with +", b"$share/g+/a", TopicError::ShareName);
    shared("a share name #", b"$share/#", TopicError::ShareName);
    shared("a share without a slash", b"$share/g", TopicError::ShareFilterMissing);
    shared("a share without a filter", b"$share/g/", TopicError::ShareFilterMissing);
    shared("a share with a bad filter", b"$share/g/a#", TopicError::WildcardNotAlone);
    shared("a share of nine levels", b"$share/g/1/2/3/4/5/6/7/8/9", TopicError::TooManyLevels);
    t.row("a filter with NUL", V311, subscribe_311("a\0", 0), E::Text(TextError::Nul), 0x81);
    t.row("a filter in Latin-1", V5, subscribe_5(&[], b"\xE9", 0), E::Text(TextError::NotUtf8), 0x81);
    let second = packet(0x82, &[b"\0\x01\0", &field("a"), b"\0", &field("b#"), b"\0"]);
    t.row("only the second filter is bad", V5, second, filter(TopicError::WildcardNotAlone), 0x8F);

    let mut row = |name, properties: &[&[u8]], error, code| {
        t.row(name, V5, subscribe_5(properties, "a", 0), error, code);
    };
    row("identifier 0", &[b"\x0B\0"], bad_value(P::SubscriptionIdentifier), 0x82);
    row("identifier twice", &[b"\x0B\x01", b"\x0B\x02"], twice(P::SubscriptionIdentifier), 0x82);
    row("an identifier of five bytes", &[b"\x0B\xFF\xFF\xFF\xFF\x01"], E::VarintTooLong, 0x81);
    row("an identifier not in its shortest form", &[b"\x0B\x81\0"], E::VarintNotMinimal, 0x81);
    row("an identifier cut off", &[b"\x0B\x80"], E::Truncated, 0x81);
    row("Reason String in SUBSCRIBE", &[&prop(0x1F, "r")], not_here(P::ReasonString), 0x81);
    row("Topic Alias in SUBSCRIBE", &[b"\x23\0\x01"], not_here(P::TopicAlias), 0x81);
}

fn unsubscribe(t: &mut Table) {
    t.both("an empty UNSUBSCRIBE", [0xA2, 0x00], E::Truncated, 0x81);
    t.row(
        "nothing to unsubscribe, 3.1.1",
        V311,
        [0xA2, 0x02, 0, 1],
        E::NoFilter { packet: T::Unsubscribe },
        0x82,
    );
    t.row(
        "nothing to unsubscribe, 5.0",
        V5,
        [0xA2, 0x03, 0, 1, 0],
        E::NoFilter { packet: T::Unsubscribe },
        0x82,
    );
    t.both("UNSUBSCRIBE with packet id 0", [0xA2, 0x05, 0, 0, 0, 1, b'a'], E::PacketIdZero, 0x82);
    let with =
        |properties: &[&[u8]], text: &str| packet(0xA2, &[b"\0\x01", &props(properties), &field(text)]);
    t.row("unsubscribe from nothing", V5, with(&[], ""), filter(TopicError::Empty), 0x8F);
    t.row("unsubscribe from a#", V5, with(&[], "a#"), filter(TopicError::WildcardNotAlone), 0x8F);
    t.row(
        "unsubscribe from a bad share",
        V5,
        with(&[], "$share/g"),
        filter(TopicError::ShareFilterMissing),
        0x8F,
    );
    t.row("a filter with NUL to unsubscribe", V5, with(&[], "\0"), E::Text(TextError::Nul), 0x81);
    t.row(
        "an identifier in UNSUBSCRIBE",
        V5,
        with(&[b"\x0B\x01"], "a"),
        not_here(P::SubscriptionIdentifier),
        0x81,
    );
    t.row(
        "Reason String in UNSUBSCRIBE",
        V5,
        with(&[&prop(0x1F, "r")], "a"),
        not_here(P::ReasonString),
        0x81,
    );
    t.row("half a filter", V311, packet(0xA2, &[b"\0\x01", &field("a"), b"\0"]), E::Truncated, 0x81);
    t.row(
        "options in a 3.1.1 UNSUBSCRIBE",
        V311,
        packet(0xA2, &[b"\0\x01", &field("a"), b"\x01"]),
        E::Truncated,
        0x81,
    );
}

fn the_rest(t: &mut Table) {
    t.both("PINGREQ with a body", [0xC0, 0x01, 0], E::TrailingBytes, 0x81);
    t.row("DISCONNECT with a body on 3.1.1", V311, [0xE0, 0x01, 0], E::TrailingBytes, 0x81);
    let wrong = |packet, code| E::ReasonCode { packet, code };
    t.row("DISCONNECT as a server: 0x8B", V5, [0xE0, 0x01, 0x8B], wrong(T::Disconnect, 0x8B), 0x82);
    t.row("DISCONNECT as a server: 0x8E", V5, [0xE0, 0x01, 0x8E], wrong(T::Disconnect, 0x8E), 0x82);
    t.row("DISCONNECT with a code of SUBACK", V5, [0xE0, 0x01, 0x01], wrong(T::Disconnect, 0x01), 0x82);
    t.row("DISCONNECT with an unknown code", V5, [0xE0, 0x01, 0x7F], wrong(T::Disconnect, 0x7F), 0x82);
    t.row("DISCONNECT with bytes behind", V5, [0xE0, 0x03, 0, 0, 0], E::TrailingBytes, 0x81);
    let bye = |properties: &[&[u8]]| packet(0xE0, &[b"\0", &props(properties)]);
    let expiry: &[u8] = b"\x11\0\0\0\x01";
    t.row("DISCONNECT with expiry twice", V5, bye(&[expiry, expiry]), twice(P::SessionExpiryInterval), 0x82);
    t.row("DISCONNECT with Will Delay", V5, bye(&[b"\x18\0\0\0\0"]), not_here(P::WillDelayInterval), 0x81);
    t.row("DISCONNECT with a reason with NUL", V5, bye(&[&prop(0x1F, "\0")]), E::Text(TextError::Nul), 0x81);
    t.row("DISCONNECT whose properties are cut off", V5, [0xE0, 0x03, 0, 5, 0x11], E::Truncated, 0x81);
    t.row("an empty AUTH, which means success", V5, [0xF0, 0x00], wrong(T::Auth, 0), 0x82);
    t.row(
        "AUTH with success",
        V5,
        packet(0xF0, &[b"\0", &props(&[&prop(0x15, "m")])]),
        wrong(T::Auth, 0),
        0x82,
    );
    t.row("AUTH with 0x87", V5, [0xF0, 0x01, 0x87], wrong(T::Auth, 0x87), 0x82);
    t.row("AUTH without properties", V5, [0xF0, 0x01, 0x18], E::Truncated, 0x81);
    t.row("AUTH without a method", V5, [0xF0, 0x02, 0x18, 0], E::AuthMethodMissing, 0x82);
    let auth = |properties: &[&[u8]]| packet(0xF0, &[b"\x18", &props(properties)]);
    t.row("AUTH with data alone", V5, auth(&[&prop(0x16, "d")]), E::AuthMethodMissing, 0x82);
    let method = prop(0x15, "m");
    t.row("AUTH with two methods", V5, auth(&[&method, &method]), twice(P::AuthenticationMethod), 0x82);
    t.row(
        "AUTH with Server Reference",
        V5,
        auth(&[&method, &prop(0x1C, "s")]),
        not_here(P::ServerReference),
        0x81,
    );
    let behind = packet(0xF0, &[b"\x18", &props(&[&method]), b"\0"]);
    t.row("AUTH with bytes behind", V5, behind, E::TrailingBytes, 0x81);
}
