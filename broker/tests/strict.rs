//! Strictness over a real socket: every malformed packet ends its connection with its reason and gets no success for it.
//!
//! The table is the codec's own. What is expected on the wire is worked out here from bytes alone, without the codec that is tested.

mod support;

#[path = "codec/build.rs"]
mod build;
#[path = "conformance/raw/mod.rs"]
mod raw;
#[path = "codec/refused.rs"]
#[allow(dead_code)] // Which error it is cannot be seen from outside.
mod refused;

use chasqui_broker::Config;
use chasqui_broker::codec::Version;
use raw::{CONNACK, DISCONNECT, Hello, PINGREQ, Put, Raw, id};
use refused::Refused;
use std::collections::BTreeMap;
use support::Server;

/// The limits that the table goes beyond.
async fn server() -> Server {
    let limits = Config { max_packet_size: 65_536, max_connect_size: 65_536, ..Config::default() };
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
    let server = server().await;
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
