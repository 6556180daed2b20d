//! Strictness over a real socket: every malformed packet ends its connection with its reason and gets no success for it; every packet that is
//! rare but valid is answered.
//!
//! The tables are the codec's own. What is expected on the wire is worked out here from bytes alone, without the codec that is tested.

mod support;

#[path = "codec/accepted.rs"]
#[allow(dead_code)] // Nor what it was decoded as.
mod accepted;
#[path = "codec/build.rs"]
mod build;
#[path = "conformance/raw/mod.rs"]
mod raw;
#[path = "codec/refused.rs"]
#[allow(dead_code)] // Which error it is cannot be seen from outside.
mod refused;

use accepted::Accepted;
use chasqui_broker::Config;
use chasqui_broker::codec::Version;
use raw::{CONNACK, DISCONNECT, Hello, PINGREQ, PUBACK, PUBCOMP, PUBREC, PUBREL, Put, Raw, id};
use raw::{SUBACK, UNSUBACK};
use refused::Refused;
use std::collections::BTreeMap;
use support::Server;

/// The limits that the tables go beyond; `wide` takes the longest legal packet of theirs too.
async fn server(wide: bool) -> Server {
    let max_packet_size = if wide { 200_000 } else { 65_536 };
    let limits = Config { max_packet_size, max_connect_size: max_packet_size, ..Config::default() };
    Server::start_with(Config { max_topic_levels: 8, ..limits }).await
}

/// Connected, in a session of its own; without a version only the socket is.
async fn connection(server: &Server, version: Option<Version>) -> Raw {
    let Some(version) = version else { return Raw::open(server.address, Version::V5).await };
    // Kept on 5.0, so that DISCONNECT may say for how long.
    let put = Put::new().four(id::SESSION_EXPIRY, 60);
    Raw::hello(server.address, &Hello::new(version, "").properties(put)).await.0
}

/// All that the server says until it closes: first bytes and bodies.
async fn rest(client: &mut Raw) -> Vec<(u8, Vec<u8>)> {
    let mut packets = Vec::new();
    while let Some(packet) = client.next().await {
        packets.push(packet);
    }
    packets
}

/// What stands behind the fixed header.
fn body(packet: &[u8]) -> &[u8] {
    let header = packet[1..].iter().position(|byte| byte & 0x80 == 0).map_or(packet.len(), |last| last + 2);
    &packet[header..]
}

/// What the server says to a malformed packet before it closes: a packet that begins so, or nothing at all.
fn last_words(row: &Refused) -> Option<(u8, Vec<u8>)> {
    match row.version {
        Some(Version::V311) => return None,
        Some(Version::V5) => return Some((DISCONNECT, vec![row.code])),
        None if row.bytes[0] != 0x10 => return None,
        None => {}
    }
    // A CONNECT is answered by the CONNACK of the version it asks for, if it got so far as to say one and it has such a CONNACK.
    let names: [&[u8]; 2] = [b"\0\x04MQTT", b"\0\x06MQIsdp"];
    let level = names.iter().find_map(|name| body(&row.bytes).strip_prefix(*name)?.first())?;
    match (level, row.code) {
        (5..0x80, code) => Some((CONNACK, vec![0, code])),
        // 3.1.1 has a code for these two alone [MQTT-3.2.2-6].
        (_, 0x84) => Some((CONNACK, vec![0, 1])),
        (_, 0x85) => Some((CONNACK, vec![0, 2])),
        _ => None,
    }
}

#[tokio::test]
async fn every_malformed_packet_ends_its_connection_with_its_reason() {
    let server = server(false).await;
    let mut bystander = connection(&server, Some(Version::V5)).await;
    let table = refused::all();
    assert!(table.len() >= 150, "{}", table.len());
    let mut tried = BTreeMap::new();
    for row in &table {
        let mut client = connection(&server, row.version).await;
        // What follows a malformed packet is not looked at, and so not answered.
        client.send(&[&row.bytes[..], &PINGREQ].concat()).await;
        let said = rest(&mut client).await;
        let expected = last_words(row);
        let as_expected = match (&said[..], &expected) {
            ([], None) => true,
            ([(first, body)], Some((kind, begin))) => first == kind && body.starts_with(begin),
            _ => false,
        };
        assert!(as_expected, "{} ({:?}): {said:02X?} and not {expected:02X?}", row.name, row.version);
        *tried.entry(row.version.map(Version::level)).or_insert(0) += 1;
    }
    assert!(tried.len() == 3 && tried.values().all(|rows| *rows >= 50), "{tried:?}");
    // They are counted as what they are, and cost nobody else anything.
    assert_eq!(server.broker.stats().protocol_errors.get(), table.len() as u64);
    bystander.nothing().await;
}

/// What a valid packet is followed by.
enum Answer {
    /// A packet that begins so, and then the connection goes on.
    Packet(u8, Vec<u8>),
    /// Nothing, and the connection goes on.
    Nothing,
    /// Nothing, and the connection ends: the client said so, or takes nothing.
    End,
    /// A packet that begins so, and the connection ends: valid in itself, and not after what came before it.
    Refusal(u8, Vec<u8>),
}

#[allow(clippy::match_same_arms)] // Each with its reason.
fn answer(row: &Accepted) -> Answer {
    match row.name {
        // The smallest CONNACK of 5.0 has five bytes: there is no way to let it in [MQTT-3.1.2-24].
        "Maximum Packet Size 1" => return Answer::End,
        // The broker of this test knows no method [MQTT-4.12.0-1].
        "data before its method" | "an empty authentication method" => {
            return Answer::Refusal(CONNACK, vec![0, 0x8C]);
        }
        "AUTH again" | "AUTH continued without data" => return Answer::Refusal(DISCONNECT, vec![0x82]),
        // 65,535 is more than the server takes.
        "an alias for a topic" => return Answer::Refusal(DISCONNECT, vec![0x94]),
        _ => {}
    }
    let (first, body) = (row.bytes[0], body(&row.bytes));
    let id = || body[..2].to_vec();
    // An acknowledgement of something unknown is answered by what the standard has for it, on 5.0 with a code.
    let unknown = || if row.version == Some(Version::V5) { [&body[..2], &[0x92]].concat() } else { id() };
    match first & 0xF0 {
        0x10 => Answer::Packet(CONNACK, vec![0, 0]),
        0x30 if first & 0b110 > 0 => {
            let topic = usize::from(body[0]) << 8 | usize::from(body[1]);
            let kind = if first & 0b110 == 0b010 { PUBACK } else { PUBREC };
            Answer::Packet(kind, body[2 + topic..4 + topic].to_vec())
        }
        0x50 => Answer::Packet(PUBREL, unknown()),
        0x60 => Answer::Packet(PUBCOMP, unknown()),
        0x80 => Answer::Packet(SUBACK, id()),
        0xA0 => Answer::Packet(UNSUBACK, id()),
        0xE0 => Answer::End,
        _ => Answer::Nothing,
    }
}

#[tokio::test]
async fn every_rare_valid_packet_is_answered_and_the_connection_goes_on() {
    let server = server(true).await;
    let (mut going_on, mut ended) = (BTreeMap::new(), 0);
    for row in &accepted::all() {
        let mut client = connection(&server, row.version).await;
        client.send(&row.bytes).await;
        let name = row.name;
        match answer(row) {
            Answer::Packet(kind, begin) => {
                let (first, body) = client.packet().await;
                assert!(first == kind && body.starts_with(&begin), "{name}: {first:02X} {body:02X?}");
                // No filter is refused, but for a share without a filter behind it: on 3.1.1 too a share is one here.
                let fine = row.name == "a share's form on 3.1.1 is a filter" || first != SUBACK;
                assert!(fine || body[2..].iter().all(|code| *code < 0x80), "{name}: {body:02X?}");
            }
            Answer::Nothing => {}
            Answer::End => {
                assert_eq!(rest(&mut client).await, [], "{name}");
                ended += 1;
                continue;
            }
            Answer::Refusal(kind, begin) => {
                let said = rest(&mut client).await;
                let as_expected =
                    matches!(&said[..], [(first, body)] if *first == kind && body.starts_with(&begin));
                assert!(as_expected, "{name}: {said:02X?}");
                ended += 1;
                continue;
            }
        }
        client.nothing().await;
        *going_on.entry(row.version.map(Version::level)).or_insert(0) += 1;
    }
    let total: usize = going_on.values().sum();
    assert!(total >= 60 && going_on.values().all(|rows| *rows >= 20) && ended <= 12, "{going_on:?}, {ended}");
}
