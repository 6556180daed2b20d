//! Where the oracle and this codec differ, each place with its reason and an example. Nothing else may differ.

use chasqui_broker::codec::property::PropertyId;
use chasqui_broker::codec::{DecodeError as E, Sender, TextError, Version};
use chasqui_broker::topic::TopicError;

use crate::build::{
    connect_5, connect_311, field, packet, prop, props, publish_5, subscribe_5, subscribe_311,
};
use crate::corpus::{Any, Case};
use crate::oracle::Verdict;

type Ours = Result<Option<(Any, usize)>, E>;

/// One place where the two differ.
pub(crate) struct Known {
    /// Why ours is right, or why it is a choice.
    pub(crate) why: &'static str,
    /// A packet that shows it.
    pub(crate) example: Case,
    /// Whether this is it.
    pub(crate) covers: fn(&Case, &Ours, &Verdict) -> bool,
}

/// The properties whose value may not be 0 and that the oracle takes with it.
const ZERO_FORBIDDEN: &[PropertyId] =
    &[PropertyId::ReceiveMaximum, PropertyId::MaximumPacketSize, PropertyId::SubscriptionIdentifier];
const CLIENT: Sender = Sender::Client;
const SERVER: Sender = Sender::Server;
const V311: Version = Version::V311;
const V5: Version = Version::V5;

fn accepts(theirs: &Verdict) -> bool {
    matches!(theirs, Verdict::Accepts { .. })
}

fn refuses(theirs: &Verdict, with: &str) -> bool {
    matches!(theirs, Verdict::Refuses(error) if error.contains(with))
}

/// We refuse and the oracle accepts.
fn stricter(ours: &Ours, theirs: &Verdict, error: impl Fn(E) -> bool) -> bool {
    accepts(theirs) && ours.as_ref().is_err_and(|seen| error(*seen))
}

/// PINGREQ, PINGRESP and the 3.1.1 DISCONNECT, which the oracle takes to have no body.
fn bodiless(case: &Case) -> bool {
    matches!((case.bytes[0], case.version), (0xC0 | 0xD0, _) | (0xE0, V311))
}

pub(crate) fn all() -> Vec<Known> {
    let mut known = Vec::new();
    let mut add = |why, sender, version, bytes: Vec<u8>, covers| {
        known.push(Known { why, example: Case { sender, version, bytes }, covers });
    };
    stricter_about_fields(&mut add);
    stricter_about_properties(&mut add);
    stricter_about_the_whole(&mut add);
    the_oracle_is_stricter(&mut add);
    known
}

type Add<'a> = &'a mut dyn FnMut(&'static str, Sender, Version, Vec<u8>, fn(&Case, &Ours, &Verdict) -> bool);

fn stricter_about_fields(add: Add<'_>) {
    add(
        "U+0000 is forbidden in every string, not just in topics [MQTT-1.5.4-2]",
        CLIENT,
        V311,
        connect_311(2, &[&field("\0")]),
        |_, ours, theirs| stricter(ours, theirs, |error| error == E::Text(TextError::Nul)),
    );
    add(
        "a topic name has at least one character [MQTT-4.7.3-1]",
        CLIENT,
        V311,
        packet(0x30, &[&field("")]),
        |_, ours, theirs| stricter(ours, theirs, |error| error == E::TopicName(TopicError::Empty)),
    );
    add(
        "an empty topic needs an alias (3.3.2.1)",
        CLIENT,
        V5,
        packet(0x30, &[&field(""), b"\0"]),
        |_, ours, theirs| stricter(ours, theirs, |error| error == E::TopicMissing),
    );
    add(
        "'+' stands alone in the last level too [MQTT-4.7.1-2]",
        CLIENT,
        V311,
        subscribe_311("a/+b", 0),
        |_, ours, theirs| {
            stricter(ours, theirs, |error| error == E::TopicFilter(TopicError::WildcardNotAlone))
        },
    );
    add(
        "No Local on a shared subscription is a protocol error [MQTT-3.8.3-4]",
        CLIENT,
        V5,
        subscribe_5(&[], "$share/g/a", 4),
        |_, ours, theirs| stricter(ours, theirs, |error| error == E::NoLocalOnShared),
    );
    add(
        "an empty client id on 3.1.1 needs Clean Session [MQTT-3.1.3-8]",
        CLIENT,
        V311,
        connect_311(0, &[&field("")]),
        |_, ours, theirs| stricter(ours, theirs, |error| error == E::ClientIdRequired),
    );
    add(
        "flags that contradict each other: Will Retain without a will [MQTT-3.1.2-13], a password without a user name, \
         a refusal with a session [MQTT-3.2.2-6]",
        CLIENT,
        V5,
        connect_5(0x22, &[], &[&field("c")]),
        |_, ours, theirs| stricter(ours, theirs, |error| matches!(error, E::ConnectFlags(_))),
    );
    add(
        "MQTT 3.1 is not served",
        CLIENT,
        V311,
        packet(0x10, &[b"\0\x06MQIsdp\x03\x02\0\x3C", &field("c")]),
        |_, ours, theirs| {
            stricter(ours, theirs, |error| matches!(error, E::UnsupportedProtocol { level: 3, .. }))
        },
    );
    add("DUP is 0 at QoS 0 [MQTT-3.3.1-2]", CLIENT, V311, packet(0x38, &[&field("t")]), |_, ours, theirs| {
        stricter(ours, theirs, |error| error == E::DupWithQoS0)
    });
    add(
        "a SUBACK or UNSUBACK answers at least one filter",
        SERVER,
        V311,
        packet(0x90, &[b"\0\x01"]),
        |case, ours, theirs| {
            matches!(case.bytes[0], 0x90 | 0xB0) && stricter(ours, theirs, |error| error == E::Truncated)
        },
    );
    add(
        "some reason codes are the client's or the server's alone (3.14.2.1, 3.15.2.1)",
        CLIENT,
        V5,
        packet(0xE0, &[b"\x8E"]),
        |case, ours, theirs| {
            matches!(case.bytes[0], 0xE0 | 0xF0)
                && stricter(ours, theirs, |error| matches!(error, E::ReasonCode { .. }))
        },
    );
}

fn stricter_about_properties(add: Add<'_>) {
    add(
        "these properties may not be 0: Receive Maximum, Maximum Packet Size, Subscription Identifier",
        CLIENT,
        V5,
        connect_5(2, &[b"\x21\0\0"], &[&field("c")]),
        |_, ours, theirs| {
            stricter(ours, theirs, |error| {
                let E::PropertyValue { property } = error else { return false };
                ZERO_FORBIDDEN.contains(&property)
            })
        },
    );
    add(
        "a topic alias may not be 0 [MQTT-3.3.2-8]",
        CLIENT,
        V5,
        publish_5(&[b"\x23\0\0"]),
        |_, ours, theirs| stricter(ours, theirs, |error| error == E::TopicAliasZero),
    );
    add(
        "a client's PUBLISH carries no subscription identifier [MQTT-3.3.4-6]",
        CLIENT,
        V5,
        publish_5(&[b"\x0B\x01"]),
        |_, ours, theirs| stricter(ours, theirs, |error| error == E::SubscriptionIdFromClient),
    );
    add(
        "a server's DISCONNECT carries no Session Expiry Interval [MQTT-3.14.2-2]",
        SERVER,
        V5,
        packet(0xE0, &[b"\0", &props(&[b"\x11\0\0\0\x01"])]),
        |_, ours, theirs| {
            let property = PropertyId::SessionExpiryInterval;
            stricter(ours, theirs, |error| error == E::PropertyNotAllowed { property })
        },
    );
    add(
        "authentication data and AUTH need the method (3.1.2.11.10, 3.15.2.2.2)",
        CLIENT,
        V5,
        packet(0xF0, &[b"\x18", &props(&[&prop(0x16, "d")])]),
        |_, ours, theirs| stricter(ours, theirs, |error| error == E::AuthMethodMissing),
    );
}

fn stricter_about_the_whole(add: Add<'_>) {
    add(
        "what the first bytes give away is refused before the length is complete",
        CLIENT,
        V5,
        vec![0x00],
        |_, ours, theirs| ours.is_err() && *theirs == Verdict::Incomplete,
    );
    add(
        "a variable byte integer has its shortest form [MQTT-1.5.5-1]",
        CLIENT,
        V5,
        vec![0xC0, 0x80, 0x00],
        |_, ours, theirs| {
            *ours == Err(E::VarintNotMinimal) && (accepts(theirs) || *theirs == Verdict::Panics)
        },
    );
    add(
        "a packet of the other side is refused; the oracle takes both",
        CLIENT,
        V5,
        vec![0xD0, 0x00],
        |case, ours, theirs| {
            matches!(ours, Err(E::WrongDirection { .. }))
                && (accepts(theirs) || (bodiless(case) && *theirs == Verdict::Panics))
        },
    );
    add(
        "bytes behind the last field are refused; the oracle does not look",
        CLIENT,
        V311,
        packet(0x40, &[b"\0\x01\0"]),
        |case, ours, theirs| {
            *ours == Err(E::TrailingBytes)
                && matches!(theirs, Verdict::Accepts { used, .. } if *used < case.bytes.len())
        },
    );
    add(
        "bytes in a packet without a body are refused; the oracle reaches `unreachable!`",
        CLIENT,
        V5,
        vec![0xC0, 0x01, 0x00],
        |case, ours, theirs| *ours == Err(E::TrailingBytes) && bodiless(case) && *theirs == Verdict::Panics,
    );
}

fn the_oracle_is_stricter(add: Add<'_>) {
    add(
        "whether a payload is the text it claims to be is the subscriber's to check; a server may leave it be (3.3.2.3.2)",
        CLIENT,
        V5,
        packet(0x30, &[&field("t"), &props(&[b"\x01\x01"]), b"\xFF"]),
        |_, ours, theirs| matches!(ours, Ok(Some(_))) && refuses(theirs, "InvalidPayloadFormat"),
    );
    add(
        "a server's PUBLISH carries an identifier for each subscription that matches [MQTT-3.3.4-4]",
        SERVER,
        V5,
        publish_5(&[b"\x0B\x01", b"\x0B\x02"]),
        |case, ours, theirs| {
            case.sender == SERVER
                && matches!(ours, Ok(Some(_)))
                && refuses(theirs, "DuplicatedProperty(SubscriptionIdentifier)")
        },
    );
    add(
        "0x8C, Bad authentication method, is a code of DISCONNECT in table 2-6",
        SERVER,
        V5,
        packet(0xE0, &[b"\x8C"]),
        |_, ours, theirs| {
            matches!(ours, Ok(Some(_))) && refuses(theirs, "InvalidReasonCode(Disconnect, 140)")
        },
    );
    add(
        "$share has no meaning on 3.1.1, so its grammar does not hold there",
        CLIENT,
        V311,
        subscribe_311("$share/g", 0),
        |case, ours, theirs| {
            case.version == V311
                && matches!(ours, Ok(Some(_)))
                && refuses(theirs, "InvalidTopicFilter(\"$share/")
        },
    );
    add(
        "the oracle reads a 3.1.1 SUBACK's 0x80 and writes it as 3",
        SERVER,
        V311,
        packet(0x90, &[b"\0\x01\x80"]),
        |case, ours, theirs| {
            case.version == V311
                && matches!((ours, theirs), (Ok(Some((_, len))), Verdict::Accepts { used, written })
                    if len == used && case.bytes[0] == 0x90 && written[4..].contains(&3) && case.bytes[4..].contains(&0x80))
        },
    );
}
