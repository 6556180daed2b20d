//! Chapters 1 and 2: strings, integers, fixed headers, packet ids and properties.

use crate::raw::{
    AUTH, Body, DISCONNECT, GOODBYE, Hello, PINGREQ, PINGRESP, PUBACK, PUBCOMP, PUBREC, PUBREL, Pub, Put,
    Raw, SUBACK, SUBSCRIBE, UNSUBACK, UNSUBSCRIBE, Will, ack, field, id, packet, reasoned, subscribe,
    unsubscribe,
};
use crate::support::{Server, both};
use chasqui_broker::codec::Version;
use std::collections::BTreeSet;

/// A text with these bytes in the middle.
fn with(bytes: &[u8]) -> Vec<u8> {
    [b"a", bytes, b"b"].concat()
}

/// One packet for each string that a client sends, with these bytes as the string.
fn packets_with(version: Version, text: &[u8]) -> Vec<Vec<u8>> {
    let subscribed = [&[0, 1][..], &Put::new().block(version), &field(text), &[0]].concat();
    let unsubscribed = [&[0, 1][..], &Put::new().block(version), &field(text)].concat();
    let mut packets = vec![
        Pub { topic: text.to_vec(), ..Pub::new("", "") }.bytes(version),
        packet(SUBSCRIBE, &subscribed),
        packet(UNSUBSCRIBE, &unsubscribed),
    ];
    if version == Version::V5 {
        let publish = |put| Pub::new("t", "").properties(put).bytes(version);
        packets.extend([
            publish(Put::new().text(id::CONTENT_TYPE, text)),
            publish(Put::new().text(id::RESPONSE_TOPIC, text)),
            reasoned(DISCONNECT, 0, &Put::new().text(id::REASON_STRING, text)),
            reasoned(AUTH, 0x18, &Put::new().text(id::AUTH_METHOD, text)),
        ]);
    }
    packets
}

/// One CONNECT for each string in it, with these bytes as the string.
fn connects_with(version: Version, text: &[u8]) -> Vec<Hello> {
    let hello = Hello::new(version, "c");
    let will = Will { topic: text.to_vec(), ..Will::new("", "") };
    let mut hellos = vec![
        Hello { client_id: text.to_vec(), ..hello.clone() },
        hello.clone().will(will),
        Hello { user: Some(text.to_vec()), ..hello.clone() },
    ];
    if version == Version::V5 {
        hellos.push(hello.properties(Put::new().text(id::AUTH_METHOD, text)));
    }
    hellos
}

async fn is_refused_wherever_a_string_stands(server: &Server, version: Version, text: &[u8]) {
    for hello in connects_with(version, text) {
        let mut client = Raw::open(server.address, version).await;
        client.send(&hello.bytes()).await;
        client.turned_away(0x81).await;
    }
    for bytes in packets_with(version, text) {
        let mut client = Raw::connect(server.address, version, "c").await;
        client.send(&bytes).await;
        client.ended(0x81).await;
    }
}

#[tokio::test]
async fn a_string_that_is_not_utf_8_closes() {
    both(|version| async move {
        let server = Server::start().await;
        // A lone byte that begins nothing, one that begins something, two overlong zeros, both ends of the surrogates, and a point behind the last.
        let bad: [&[u8]; 7] = [
            b"\xFF",
            b"\xC3",
            b"\xC0\x80",
            b"\xE0\x80\x80",
            b"\xED\xA0\x80",
            b"\xED\xBF\xBF",
            b"\xF4\x90\x80\x80",
        ];
        for bytes in bad {
            is_refused_wherever_a_string_stands(&server, version, &with(bytes)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_string_with_u_0000_closes() {
    both(|version| async move {
        let server = Server::start().await;
        is_refused_wherever_a_string_stands(&server, version, &with(b"\0")).await;
    })
    .await;
}

#[tokio::test]
async fn a_byte_order_mark_is_a_character_like_others() {
    both(|version| async move {
        let server = Server::start().await;
        let mut client = Raw::connect(server.address, version, "\u{FEFF}c").await;
        client.subscribe(&[("\u{FEFF}a", 0), ("a\u{FEFF}b", 0), ("ab", 0)]).await;
        client.publish_from_elsewhere(&server, "\u{FEFF}a").await;
        client.publish_from_elsewhere(&server, "a").await;
        client.publish_from_elsewhere(&server, "a\u{FEFF}b").await;
        assert_eq!(client.message().await.topic, "\u{FEFF}a");
        assert_eq!(client.message().await.topic, "a\u{FEFF}b");
        client.nothing().await;
    })
    .await;
}

impl Raw {
    async fn publish_from_elsewhere(&self, server: &Server, topic: &str) {
        Raw::connect(server.address, self.version, "").await.publish(&Pub::new(topic, "")).await;
    }
}

#[tokio::test]
async fn a_variable_byte_integer_has_no_more_bytes_than_it_needs() {
    let server = Server::start().await;
    let version = Version::V5;
    let subscribe = |length: &[u8]| packet(SUBSCRIBE, &[&[0, 1], length, &field("a"), &[0]].concat());
    let bad = [
        vec![0xC0, 0x80, 0x00],
        vec![0xC0, 0x80, 0x80, 0x80, 0x80, 0x00],
        subscribe(&[0x80, 0x00]),
        subscribe(&[0x80, 0x80, 0x80, 0x80, 0x00]),
        subscribe(&[3, id::SUBSCRIPTION_ID, 0x81, 0x00]),
    ];
    for bytes in bad {
        let mut client = Raw::connect(server.address, version, "c").await;
        client.send(&bytes).await;
        client.ended(0x81).await;
    }
    // What the server sends is checked wherever these tests read: a message around each border, longer by one byte than the border.
    let mut client = Raw::connect(server.address, version, "c").await;
    client.subscribe(&[("t", 0)]).await;
    for len in [123, 124, 16_379, 16_380] {
        client.send(&Pub::new("t", &"x".repeat(len)).bytes(version)).await;
        assert_eq!(client.message().await.payload.len(), len);
    }
}

#[tokio::test]
async fn a_user_property_is_two_strings() {
    let server = Server::start().await;
    for bad in [&b"\xFF"[..], b"\0"] {
        for pair in [[bad, b"v"], [b"n", bad]] {
            let put = Put([&[id::USER_PROPERTY], &field(pair[0])[..], &field(pair[1])].concat());
            let mut client = Raw::connect(server.address, Version::V5, "c").await;
            client.send(&Pub::new("t", "").properties(put).bytes(Version::V5)).await;
            client.ended(0x81).await;
        }
    }
}

#[tokio::test]
async fn wrong_header_flags_close() {
    both(|version| async move {
        let server = Server::start().await;
        let mut client = Raw::open(server.address, version).await;
        client.send(&packet(0x11, &Hello::new(version, "c").body())).await;
        client.closed().await;
        let mut bad = vec![
            packet(PUBACK | 1, &[0, 1]),
            packet(PUBREC | 2, &[0, 1]),
            packet(PUBREL & 0xF0, &[0, 1]),
            packet(PUBREL | 1, &[0, 1]),
            packet(PUBCOMP | 8, &[0, 1]),
            vec![PINGREQ[0] | 1, 0],
            vec![GOODBYE[0] | 4, 0],
            vec![0x00, 0],
            vec![AUTH | 1, 0],
        ];
        for flags in [0, 1, 3, 6, 0xA] {
            bad.push(packet(0x80 | flags, &subscribe(version, 1, &[("a", 0)])[2..]));
            bad.push(packet(0xA0 | flags, &unsubscribe(version, 1, &["a"])[2..]));
        }
        if version == Version::V311 {
            bad.push(vec![AUTH, 0]); // A type that 3.1.1 does not have.
        }
        for bytes in bad {
            let mut client = Raw::connect(server.address, version, "c").await;
            client.send(&bytes).await;
            client.ended(0x81).await;
        }
    })
    .await;
}

#[tokio::test]
async fn packet_id_0_closes() {
    both(|version| async move {
        let server = Server::start().await;
        let bad = [
            subscribe(version, 0, &[("a", 0)]),
            unsubscribe(version, 0, &["a"]),
            Pub::new("a", "x").qos(1, 0).bytes(version),
            Pub::new("a", "x").qos(2, 0).bytes(version),
        ];
        for bytes in bad {
            let mut client = Raw::connect(server.address, version, "c").await;
            client.send(&bytes).await;
            client.ended(0x82).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_packet_id_in_flight_is_not_given_again() {
    both(|version| async move {
        let server = Server::start().await;
        let mut client = Raw::connect(server.address, version, "c").await;
        client.subscribe(&[("t", 1)]).await;
        let mut publisher = Raw::connect(server.address, version, "p").await;
        publisher.publish(&Pub::new("t", "held").qos(1, 1)).await;
        let held = client.message().await;
        assert_ne!(held.packet_id, 0);
        let mut seen = BTreeSet::new();
        // Once around: more messages than there are ids, in batches that fit the window.
        let batch: Vec<u8> = (1..=30).flat_map(|n| Pub::new("t", "x").qos(1, n).bytes(version)).collect();
        for _ in 0..66_000 / 30 {
            publisher.send(&batch).await;
            let mut acks = Vec::new();
            for _ in 0..30 {
                publisher.reasoned(PUBACK).await;
                let packet_id = client.message().await.packet_id;
                assert!(packet_id != 0 && packet_id != held.packet_id);
                seen.insert(packet_id);
                acks.extend(ack(PUBACK, packet_id));
            }
            client.send(&acks).await;
        }
        // Every id but 0 and the one in flight had its turn: it really went around.
        assert_eq!(seen.len(), 65_534);
    })
    .await;
}

#[tokio::test]
async fn a_qos_0_publish_has_no_packet_id() {
    both(|version| async move {
        let server = Server::start().await;
        let mut client = Raw::connect(server.address, version, "c").await;
        client.subscribe(&[("t", 1)]).await;
        client.send(&Pub::new("t", "\0\x01payload").bytes(version)).await;
        let properties = Put::new().block(version);
        client.expect(&packet(0x30, &[&field("t")[..], &properties, b"\0\x01payload"].concat())).await;
    })
    .await;
}

#[tokio::test]
async fn acknowledgements_carry_the_packet_id_of_the_publish() {
    both(|version| async move {
        let server = Server::start().await;
        let mut client = Raw::connect(server.address, version, "c").await;
        for packet_id in [1, 0x0100, 0x1234, 0xFFFF] {
            client.send(&Pub::new("t", "x").qos(1, packet_id).bytes(version)).await;
            assert_eq!(client.reasoned(PUBACK).await.packet_id, packet_id);
        }
    })
    .await;
}

#[tokio::test]
async fn suback_and_unsuback_carry_the_packet_id() {
    both(|version| async move {
        let server = Server::start().await;
        let mut client = Raw::connect(server.address, version, "c").await;
        for packet_id in [1, 0x0100, 0x1234, 0xFFFF] {
            client.send(&subscribe(version, packet_id, &[("a", 0)])).await;
            assert_eq!(client.codes(SUBACK).await.packet_id, packet_id);
            client.send(&unsubscribe(version, packet_id, &["a"])).await;
            assert_eq!(client.codes(UNSUBACK).await.packet_id, packet_id);
        }
    })
    .await;
}

#[tokio::test]
async fn a_packet_without_properties_says_that_it_has_none() {
    let server = Server::start().await;
    let version = Version::V5;
    let mut client = Raw::connect(server.address, version, "c").await;
    client.subscribe(&[("t", 0)]).await;
    client.send(&Pub::new("t", "x").bytes(version)).await;
    client.expect(&packet(0x30, b"\0\x01t\0x")).await;
    client.send(&unsubscribe(version, 7, &["t"])).await;
    client.expect(&packet(UNSUBACK, &[0, 7, 0, 0])).await;
    client.send(&PINGREQ).await;
    client.expect(&PINGRESP).await;
    // A SUBSCRIBE as 3.1.1 writes it has no length of properties: its filter's length is taken for one, and nothing fits any more.
    client.send(&subscribe(Version::V311, 8, &[("t", 0)])).await;
    client.ended(0x81).await;
    // The reader that these tests have would not take a CONNACK without one either.
    let (_, connack) = Raw::hello(server.address, &Hello::new(version, "d")).await;
    assert!(connack.properties.0.iter().all(|(_, value)| !Body(value).0.is_empty()));
}
