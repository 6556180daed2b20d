//! Rare packets that are legal, each with what must be decoded.

use chasqui_broker::codec::{
    Ack, ByteStr, Connect, Disconnect, Packet, PayloadFormat, Publish, QoS, ReasonCode, RetainHandling,
    Subscribe, Version,
};

use crate::build::*;

/// One packet, as sent by a client.
pub(crate) struct Accepted {
    pub(crate) name: &'static str,
    /// `None` before CONNECT.
    pub(crate) version: Option<Version>,
    pub(crate) bytes: Vec<u8>,
    pub(crate) holds: Box<dyn Fn(&Packet) -> bool>,
}

const V311: Option<Version> = Some(Version::V311);
const V5: Option<Version> = Some(Version::V5);

pub(crate) fn all() -> Vec<Accepted> {
    let mut table = Table(Vec::new());
    connect(&mut table);
    publish(&mut table);
    acks(&mut table);
    subscribe(&mut table);
    the_rest(&mut table);
    table.0
}

struct Table(Vec<Accepted>);

impl Table {
    fn row(
        &mut self,
        name: &'static str,
        version: Option<Version>,
        bytes: impl AsRef<[u8]>,
        holds: impl Fn(&Packet) -> bool + 'static,
    ) {
        self.0.push(Accepted { name, version, bytes: bytes.as_ref().to_vec(), holds: Box::new(holds) });
    }

    fn connect(&mut self, name: &'static str, bytes: impl AsRef<[u8]>, holds: fn(&Connect) -> bool) {
        self.row(
            name,
            None,
            bytes,
            move |packet| matches!(packet, Packet::Connect(connect) if holds(connect)),
        );
    }

    fn publish(
        &mut self,
        name: &'static str,
        version: Option<Version>,
        bytes: impl AsRef<[u8]>,
        holds: fn(&Publish) -> bool,
    ) {
        self.row(
            name,
            version,
            bytes,
            move |packet| matches!(packet, Packet::Publish(publish) if holds(publish)),
        );
    }

    fn subscribe(
        &mut self,
        name: &'static str,
        version: Option<Version>,
        bytes: impl AsRef<[u8]>,
        holds: fn(&Subscribe) -> bool,
    ) {
        self.row(
            name,
            version,
            bytes,
            move |packet| matches!(packet, Packet::Subscribe(subscribe) if holds(subscribe)),
        );
    }
}

fn connect(t: &mut Table) {
    t.connect("the smallest 3.1.1", connect_311(2, &[&field("")]), |c| {
        c.version == Version::V311 && c.clean_start && c.client_id.is_empty() && c.keep_alive == 60
    });
    t.connect("the smallest 5.0", connect_5(0, &[], &[&field("")]), |c| {
        c.version == Version::V5 && !c.clean_start && c.client_id.is_empty() && c.will.is_none()
    });
    t.connect("5.0, empty client id, kept session", connect_5(0, &[b"\x11\0\0\0\x05"], &[&field("")]), |c| {
        c.properties.session_expiry_interval == Some(5)
    });
    t.connect("a client id of 65,535 bytes", connect_311(0, &[&field(vec![b'x'; 65_535])]), |c| {
        c.client_id.len() == 65_535
    });
    t.connect("a client id of any letters", connect_311(0, &[&field("日本 /#+\u{1}\u{FEFF}")]), |c| {
        c.client_id == "日本 /#+\u{1}\u{FEFF}"
    });
    t.connect("an empty user name", connect_311(0x82, &[&field("c"), &field("")]), |c| {
        c.username.as_deref() == Some("") && c.password.is_none()
    });
    t.connect("an empty password", connect_311(0xC2, &[&field("c"), &field("u"), &field("")]), |c| {
        c.password.as_deref() == Some(b"")
    });
    t.connect(
        "a password of any bytes",
        connect_311(0xC2, &[&field("c"), &field("u"), &field(b"\0\xFF")]),
        |c| c.password.as_deref() == Some(b"\0\xFF"),
    );
    t.connect("a password alone on 5.0", connect_5(0x42, &[], &[&field("c"), &field("p")]), |c| {
        c.username.is_none() && c.password.as_deref() == Some(b"p")
    });
    t.connect("keep-alive 0", packet(0x10, &[b"\0\x04MQTT\x04\x02\0\0", &field("c")]), |c| c.keep_alive == 0);
    t.connect("keep-alive 65,535", packet(0x10, &[b"\0\x04MQTT\x04\x02\xFF\xFF", &field("c")]), |c| {
        c.keep_alive == 65_535
    });
    t.connect("a will with an empty payload", connect_311(0x36, &[&field("c"), &field("w"), b"\0\0"]), |c| {
        c.will.as_ref().is_some_and(|will| {
            will.topic == "w" && will.payload.is_empty() && will.qos == QoS::ExactlyOnce && will.retain
        })
    });
    t.connect("a will to a $ topic", connect_311(0x0E, &[&field("c"), &field("$x"), &field("p")]), |c| {
        c.will.as_ref().is_some_and(|will| will.topic == "$x" && will.qos == QoS::AtLeastOnce && !will.retain)
    });
    t.connect(
        "a will's delay for ever",
        connect_5(0x06, &[], &[&field("c"), b"\x05\x18\xFF\xFF\xFF\xFF", &field("w"), b"\0\0"]),
        |c| {
            c.will
                .as_ref()
                .is_some_and(|will| will.delay_interval == Some(u32::MAX) && will.properties.is_none())
        },
    );
    let will = props(&[
        b"\x01\x01",
        b"\x02\0\0\0\x07",
        &prop(3, "ct"),
        &prop(8, "r"),
        &prop(9, "cd"),
        &user("n", "v"),
    ]);
    t.connect(
        "a will with all properties",
        connect_5(0x06, &[], &[&field("c"), &will, &field("w"), &field("p")]),
        |c| {
            c.will.as_ref().and_then(|will| will.properties.as_deref()).is_some_and(|p| {
                p.payload_format == Some(PayloadFormat::Utf8)
                    && p.message_expiry_interval == Some(7)
                    && p.content_type.as_deref() == Some("ct")
                    && p.response_topic.as_deref() == Some("r")
                    && p.correlation_data.as_deref() == Some(b"cd")
                    && p.user_properties.get("n") == Some("v")
            })
        },
    );
    t.connect("Session Expiry for ever", connect_5(2, &[b"\x11\xFF\xFF\xFF\xFF"], &[&field("c")]), |c| {
        c.properties.session_expiry_interval == Some(u32::MAX)
    });
    t.connect("Session Expiry 0", connect_5(2, &[b"\x11\0\0\0\0"], &[&field("c")]), |c| {
        c.properties.session_expiry_interval == Some(0)
    });
    t.connect("Receive Maximum 1", connect_5(2, &[b"\x21\0\x01"], &[&field("c")]), |c| {
        c.properties.receive_maximum == Some(1)
    });
    t.connect("Maximum Packet Size 1", connect_5(2, &[b"\x27\0\0\0\x01"], &[&field("c")]), |c| {
        c.properties.maximum_packet_size == Some(1)
    });
    t.connect("Topic Alias Maximum 0", connect_5(2, &[b"\x22\0\0"], &[&field("c")]), |c| {
        c.properties.topic_alias_maximum == Some(0)
    });
    t.connect("both requests", connect_5(2, &[b"\x17\0", b"\x19\x01"], &[&field("c")]), |c| {
        c.properties.request_problem_information == Some(false)
            && c.properties.request_response_information == Some(true)
    });
    t.connect(
        "data before its method",
        connect_5(2, &[&prop(0x16, "d"), &prop(0x15, "m")], &[&field("c")]),
        |c| {
            c.properties.authentication_method.as_deref() == Some("m")
                && c.properties.authentication_data.as_deref() == Some(b"d")
        },
    );
    t.connect("an empty authentication method", connect_5(2, &[&prop(0x15, "")], &[&field("c")]), |c| {
        c.properties.authentication_method.as_deref() == Some("")
    });
    t.connect(
        "user properties scattered",
        connect_5(
            2,
            &[&user("b", "1"), b"\x21\0\x09", &user("a", "2"), b"\x22\0\x03", &user("b", "3")],
            &[&field("c")],
        ),
        |c| {
            c.properties.user_properties.iter().eq([("b", "1"), ("a", "2"), ("b", "3")])
                && c.properties.receive_maximum == Some(9)
                && c.properties.topic_alias_maximum == Some(3)
        },
    );
    t.connect("a user property of nothing", connect_5(2, &[&user("", "")], &[&field("c")]), |c| {
        c.properties.user_properties.iter().eq([("", "")])
    });
    let many: Vec<_> = (0..50).map(|_| user("name", "value")).collect();
    let many: Vec<&[u8]> = many.iter().map(Vec::as_slice).collect();
    t.connect("a property block of two length bytes", connect_5(2, &many, &[&field("c")]), |c| {
        c.properties.user_properties.iter().count() == 50
    });
}

fn publish(t: &mut Table) {
    t.publish("the smallest 3.1.1 PUBLISH", V311, [0x30, 0x03, 0, 1, b't'], |p| {
        p.topic == "t" && p.payload.is_empty() && p.packet_id.is_none() && p.qos == QoS::AtMostOnce
    });
    t.publish("the smallest 5.0 PUBLISH", V5, [0x30, 0x04, 0, 1, b't', 0], |p| {
        p.topic == "t" && p.payload.is_empty() && p.properties.is_none() && p.topic_alias.is_none()
    });
    t.publish("all flags", V311, [0x3D, 0x05, 0, 1, b't', 0xFF, 0xFF], |p| {
        p.dup && p.retain && p.qos == QoS::ExactlyOnce && p.packet_id.is_some_and(|id| id.get() == 65_535)
    });
    t.publish("DUP at QoS 1", V5, [0x3A, 0x07, 0, 1, b't', 0, 1, 0, b'x'], |p| {
        p.dup && !p.retain && p.qos == QoS::AtLeastOnce && &p.payload[..] == b"x"
    });
    t.publish("DUP at QoS 1 on 3.1.1", V311, [0x3A, 0x06, 0, 1, b't', 0xFF, 0xFF, b'x'], |p| {
        p.dup && p.qos == QoS::AtLeastOnce && p.packet_id.is_some_and(|id| id.get() == 65_535)
    });
    t.publish("RETAIN and nothing to keep", V311, [0x31, 0x03, 0, 1, b't'], |p| {
        p.retain && p.payload.is_empty() && p.qos == QoS::AtMostOnce
    });
    t.publish("a payload of zeros", V311, [0x32, 0x07, 0, 1, b't', 0, 1, 0, 0], |p| {
        &p.payload[..] == b"\0\0" && p.packet_id.is_some_and(|id| id.get() == 1)
    });
    t.publish("128 bytes behind the header", V311, packet(0x30, &[&field("t"), &[b'x'; 125]]), |p| {
        p.payload.len() == 125
    });
    t.publish("a topic of slashes that is not too deep", V311, packet(0x30, &[&field("///")]), |p| {
        p.topic == "///"
    });
    t.publish("what only looks like wildcards", V311, packet(0x30, &[&field("\u{FF0B}/\u{FF03}")]), |p| {
        p.topic == "\u{FF0B}/\u{FF03}"
    });
    t.publish("a topic that begins with $", V311, packet(0x30, &[&field("$x/y")]), |p| p.topic == "$x/y");
    t.publish("the topic /", V311, [0x30, 0x03, 0, 1, b'/'], |p| p.topic == "/");
    t.publish("a topic of spaces", V311, packet(0x30, &[&field(" / ")]), |p| p.topic == " / ");
    t.publish("a topic with a byte order mark", V311, packet(0x30, &[&field("\u{FEFF}a")]), |p| {
        p.topic == "\u{FEFF}a"
    });
    t.publish(
        "a topic with control characters",
        V5,
        packet(0x30, &[&field("\u{1}\u{7F}\u{9F}"), b"\0"]),
        |p| p.topic == "\u{1}\u{7F}\u{9F}",
    );
    t.publish("a topic of four-byte letters", V5, packet(0x30, &[&field("🙂/🙂"), b"\0"]), |p| {
        p.topic == "🙂/🙂"
    });
    t.publish("a topic with a non-character", V5, packet(0x30, &[&field("\u{FFFF}"), b"\0"]), |p| {
        p.topic == "\u{FFFF}"
    });
    t.publish("a topic of as many levels as allowed", V311, packet(0x30, &[&field("///////")]), |p| {
        p.topic.len() == 7
    });
    t.publish("a topic below $share", V311, packet(0x30, &[&field("$share/g/a")]), |p| {
        p.topic == "$share/g/a"
    });
    t.publish("a topic of 60,000 bytes", V311, packet(0x30, &[&field(vec![b'x'; 60_000])]), |p| {
        p.topic.len() == 60_000
    });
    t.publish("a payload that looks like a packet", V311, packet(0x30, &[&field("t"), b"\xC0\0"]), |p| {
        &p.payload[..] == b"\xC0\0"
    });
    t.publish("an alias with a topic", V5, publish_5(&[b"\x23\0\x01"]), |p| {
        p.topic == "t" && p.topic_alias.is_some_and(|alias| alias.get() == 1) && p.properties.is_none()
    });
    t.publish("an alias for a topic", V5, packet(0x30, &[b"\0\0\x03\x23\xFF\xFFx"]), |p| {
        p.topic.is_empty()
            && p.topic_alias.is_some_and(|alias| alias.get() == 65_535)
            && &p.payload[..] == b"x"
    });
    t.publish("payload format 0", V5, publish_5(&[b"\x01\0"]), |p| {
        p.properties.as_ref().is_some_and(|p| p.payload_format == Some(PayloadFormat::Bytes))
    });
    t.publish("text that is none", V5, packet(0x30, &[&field("t"), b"\x02\x01\x01\xFF"]), |p| {
        p.properties.as_ref().is_some_and(|p| p.payload_format == Some(PayloadFormat::Utf8))
            && &p.payload[..] == b"\xFF"
    });
    t.publish("expiry 0", V5, publish_5(&[b"\x02\0\0\0\0"]), |p| {
        p.properties.as_ref().is_some_and(|p| p.message_expiry_interval == Some(0))
    });
    t.publish("expiry for ever", V5, publish_5(&[b"\x02\xFF\xFF\xFF\xFF"]), |p| {
        p.properties.as_ref().is_some_and(|p| p.message_expiry_interval == Some(u32::MAX))
    });
    t.publish("correlation data of 1,000 bytes", V5, publish_5(&[&prop(9, [0xFF; 1_000])]), |p| {
        p.properties.as_ref().is_some_and(|p| p.correlation_data.as_ref().is_some_and(|d| d.len() == 1_000))
    });
    t.publish("an empty content type and correlation", V5, publish_5(&[&prop(3, ""), &prop(9, "")]), |p| {
        p.properties.as_ref().is_some_and(|p| {
            p.content_type.as_deref() == Some("") && p.correlation_data.as_deref() == Some(b"")
        })
    });
    t.publish(
        "user properties around others",
        V5,
        publish_5(&[&user("a", "1"), b"\x01\x01", &user("a", "2")]),
        |p| {
            p.properties.as_ref().is_some_and(|p| {
                p.user_properties.iter().eq([("a", "1"), ("a", "2")])
                    && p.payload_format == Some(PayloadFormat::Utf8)
            })
        },
    );
    t.publish(
        "properties in any order",
        V5,
        publish_5(&[&prop(9, b"\0\xFF"), &prop(8, "$r/é"), b"\x02\0\0\0\x01"]),
        |p| {
            p.properties.as_ref().is_some_and(|p| {
                p.correlation_data.as_deref() == Some(b"\0\xFF")
                    && p.response_topic.as_deref() == Some("$r/é")
                    && p.message_expiry_interval == Some(1)
            })
        },
    );
}

fn acks(t: &mut Table) {
    let mut row = |name, version, bytes: &[u8], holds: fn(&Packet) -> Option<&Ack>, id: u16, reason| {
        t.row(name, version, bytes, move |packet| {
            holds(packet).is_some_and(|ack| {
                ack.packet_id.get() == id && ack.reason == reason && ack.properties.is_none()
            })
        });
    };
    let puback: fn(&Packet) -> Option<&Ack> = |p| if let Packet::Puback(ack) = p { Some(ack) } else { None };
    let pubrec: fn(&Packet) -> Option<&Ack> = |p| if let Packet::Pubrec(ack) = p { Some(ack) } else { None };
    let pubrel: fn(&Packet) -> Option<&Ack> = |p| if let Packet::Pubrel(ack) = p { Some(ack) } else { None };
    let pubcomp: fn(&Packet) -> Option<&Ack> =
        |p| if let Packet::Pubcomp(ack) = p { Some(ack) } else { None };
    row("PUBACK on 3.1.1", V311, &[0x40, 2, 0xFF, 0xFF], puback, 65_535, ReasonCode::Success);
    row("PUBREC on 3.1.1", V311, &[0x50, 2, 0, 1], pubrec, 1, ReasonCode::Success);
    row("PUBCOMP on 3.1.1", V311, &[0x70, 2, 0, 1], pubcomp, 1, ReasonCode::Success);
    row("PUBACK of two bytes", V5, &[0x40, 2, 0, 1], puback, 1, ReasonCode::Success);
    row("PUBACK of three bytes", V5, &[0x40, 3, 0, 1, 0], puback, 1, ReasonCode::Success);
    row("PUBACK of four bytes", V5, &[0x40, 4, 0, 1, 0, 0], puback, 1, ReasonCode::Success);
    row("PUBACK that refuses", V5, &[0x40, 3, 0, 1, 0x97], puback, 1, ReasonCode::QuotaExceeded);
    row("PUBREC, nobody there", V5, &[0x50, 3, 0, 1, 0x10], pubrec, 1, ReasonCode::NoMatchingSubscribers);
    row("PUBREL on 3.1.1", V311, &[0x62, 2, 1, 0], pubrel, 256, ReasonCode::Success);
    row("PUBREL not found", V5, &[0x62, 3, 0, 1, 0x92], pubrel, 1, ReasonCode::PacketIdentifierNotFound);
    row("PUBCOMP not found", V5, &[0x70, 4, 0, 1, 0x92, 0], pubcomp, 1, ReasonCode::PacketIdentifierNotFound);
    let bytes = packet(0x40, &[b"\0\x01\x83", &props(&[&user("n", "v"), &prop(0x1F, "why")])]);
    t.row("PUBACK with words", V5, bytes, |packet| {
        let Packet::Puback(Ack { properties: Some(properties), reason, .. }) = packet else { return false };
        *reason == ReasonCode::ImplementationSpecificError
            && properties.reason_string.as_deref() == Some("why")
            && properties.user_properties.get("n") == Some("v")
    });
    let bytes = packet(0x62, &[b"\0\x01\0", &props(&[&prop(0x1F, "")])]);
    t.row("PUBREL with an empty reason", V5, bytes, |packet| {
        matches!(packet, Packet::Pubrel(Ack { properties: Some(some), .. }) if some.reason_string.as_deref() == Some(""))
    });
}

fn subscribe(t: &mut Table) {
    t.subscribe("one filter on 3.1.1", V311, subscribe_311("#", 2), |s| {
        s.filters.len() == 1
            && s.filters.iter().all(|one| one.filter == "#" && one.options.qos == QoS::ExactlyOnce)
            && s.subscription_id.is_none()
    });
    t.subscribe("the filter /", V311, subscribe_311("/", 1), |s| {
        s.filters.iter().all(|one| one.filter == "/" && one.options.qos == QoS::AtLeastOnce)
    });
    t.subscribe("a filter of wildcards", V311, subscribe_311("+/+//#", 0), |s| {
        s.filters.iter().all(|one| one.filter == "+/+//#")
    });
    t.subscribe("a filter that begins with $", V311, subscribe_311("$x/#", 0), |s| {
        s.filters.iter().all(|one| one.filter == "$x/#")
    });
    t.subscribe("a filter of spaces and wildcards", V311, subscribe_311(" /+", 2), |s| {
        s.filters.iter().all(|one| one.filter == " /+")
    });
    let again = packet(0x82, &[b"\xFF\xFF", &field("a"), b"\x02", &field("a"), b"\0", &field("b"), b"\x01"]);
    t.subscribe("the same filter twice on 3.1.1", V311, again, |s| {
        s.packet_id.get() == 65_535 && s.filters.len() == 3
    });
    t.subscribe("retain handling 2 alone", V5, subscribe_5(&[], "a", 0x20), |s| {
        s.filters.iter().all(|one| one.options.retain_handling == RetainHandling::DoNotSend)
    });
    t.subscribe("a share's form on 3.1.1 is a filter", V311, subscribe_311("$share/g", 0), |s| {
        s.filters.iter().all(|one| one.filter == "$share/g")
    });
    t.subscribe("$share alone", V5, subscribe_5(&[], "$share", 0), |s| s.filters.len() == 1);
    t.subscribe("a shared subscription", V5, subscribe_5(&[], "$share/g/+/#", 1), |s| {
        s.filters.iter().all(|one| one.filter == "$share/g/+/#" && one.options.qos == QoS::AtLeastOnce)
    });
    t.subscribe("a shared subscription to /", V5, subscribe_5(&[], "$share/g//", 0), |s| {
        s.filters.len() == 1
    });
    t.subscribe(
        "a share of as many levels as allowed",
        V5,
        subscribe_5(&[], "$share/g/1/2/3/4/5/6/7/8", 0),
        |s| s.filters.len() == 1,
    );
    t.subscribe("all options", V5, subscribe_5(&[], "a", 0x2E), |s| {
        s.filters.iter().all(|one| {
            let options = one.options;
            options.qos == QoS::ExactlyOnce
                && options.no_local
                && options.retain_as_published
                && options.retain_handling == RetainHandling::DoNotSend
        })
    });
    t.subscribe("retain handling 1", V5, subscribe_5(&[], "a", 0x10), |s| {
        s.filters.iter().all(|one| one.options.retain_handling == RetainHandling::SendIfNew)
    });
    t.subscribe("the largest identifier", V5, subscribe_5(&[b"\x0B\xFF\xFF\xFF\x7F"], "a", 0), |s| {
        s.subscription_id == Some(268_435_455)
    });
    t.subscribe(
        "the smallest identifier among others",
        V5,
        subscribe_5(&[&user("a", "b"), b"\x0B\x01", &user("c", "d")], "a", 0),
        |s| s.subscription_id == Some(1) && s.user_properties.iter().eq([("a", "b"), ("c", "d")]),
    );
    let several =
        packet(0x82, &[b"\0\x07\0", &field("a"), b"\0", &field("a"), b"\x01", &field("+/ü"), b"\x02"]);
    t.subscribe("the same filter twice", V5, several, |s| {
        let seen: Vec<_> =
            s.filters.iter().map(|one| (one.filter.to_string(), one.options.qos.as_u8())).collect();
        s.packet_id.get() == 7 && seen == [("a".to_owned(), 0), ("a".to_owned(), 1), ("+/ü".to_owned(), 2)]
    });
    let bytes = packet(0xA2, &[b"\0\x01", &field("a/#"), &field("/")]);
    t.row("UNSUBSCRIBE on 3.1.1", V311, bytes, |packet| {
        matches!(packet, Packet::Unsubscribe(all) if all.filters.iter().eq(["a/#", "/"].map(ByteStr::from_static)))
    });
    let bytes = packet(0xA2, &[b"\0\x01", &field("a"), &field("a")]);
    t.row("UNSUBSCRIBE from the same twice", V311, bytes, |packet| {
        matches!(packet, Packet::Unsubscribe(all) if all.filters.iter().eq(["a", "a"].map(ByteStr::from_static)))
    });
    let bytes = packet(0xA2, &[b"\0\x01", &props(&[&user("n", "v")]), &field("$share/g/a")]);
    t.row("UNSUBSCRIBE from a share", V5, bytes, |packet| {
        matches!(packet, Packet::Unsubscribe(all) if all.filters.len() == 1 && all.user_properties.get("n") == Some("v"))
    });
}

fn the_rest(t: &mut Table) {
    t.row("PINGREQ", V311, [0xC0, 0], |packet| *packet == Packet::Pingreq);
    let normal = Packet::Disconnect(Disconnect::new(ReasonCode::NORMAL_DISCONNECTION));
    for (name, version, bytes) in [
        ("DISCONNECT on 3.1.1", V311, &[0xE0, 0][..]),
        ("DISCONNECT of no byte", V5, &[0xE0, 0]),
        ("DISCONNECT of one byte", V5, &[0xE0, 1, 0]),
        ("DISCONNECT of two bytes", V5, &[0xE0, 2, 0, 0]),
    ] {
        let normal = normal.clone();
        t.row(name, version, bytes, move |packet| *packet == normal);
    }
    t.row("DISCONNECT that wants its will", V5, [0xE0, 1, 4], |packet| {
        *packet == Packet::Disconnect(Disconnect::new(ReasonCode::DisconnectWithWill))
    });
    let bytes = packet(0xE0, &[b"\x04", &props(&[b"\x11\0\0\0\x09", &prop(0x1F, "bye"), &user("n", "v")])]);
    t.row("DISCONNECT with all a client may say", V5, bytes, |packet| {
        let Packet::Disconnect(Disconnect { properties: Some(properties), .. }) = packet else {
            return false;
        };
        properties.session_expiry_interval == Some(9)
            && properties.reason_string.as_deref() == Some("bye")
            && properties.user_properties.get("n") == Some("v")
    });
    let bytes = packet(0xF0, &[b"\x19", &props(&[&prop(0x15, "SCRAM"), &prop(0x16, b"\0")])]);
    t.row("AUTH again", V5, bytes, |packet| {
        let Packet::Auth(auth) = packet else { return false };
        auth.reason == ReasonCode::ReAuthenticate
            && auth.properties.authentication_method.as_deref() == Some("SCRAM")
            && auth.properties.authentication_data.as_deref() == Some(b"\0")
    });
    let bytes = packet(0xF0, &[b"\x18", &props(&[&prop(0x1F, "r"), &prop(0x15, "m")])]);
    t.row("AUTH continued without data", V5, bytes, |packet| {
        let Packet::Auth(auth) = packet else { return false };
        auth.reason == ReasonCode::ContinueAuthentication && auth.properties.authentication_data.is_none()
    });
}
