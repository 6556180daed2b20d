//! A client of bytes: it writes what a test wants written, and reads packets with a reader of its own.
//!
//! Nothing here uses the broker's codec, so that a mistake in the codec cannot hide behind itself. The builders build what they are told to, and
//! the standard's defaults otherwise; the readers panic where the server says something that no packet of the standard looks like.

#![allow(dead_code, unreachable_pub)] // A name for everything the standard names, used or not.

mod build;
mod read;

pub use build::*;
pub use read::*;

use crate::support::PATIENCE;
use chasqui_broker::codec::Version;
use std::collections::VecDeque;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// First bytes of packets.
pub const CONNECT: u8 = 0x10;
pub const CONNACK: u8 = 0x20;
pub const PUBACK: u8 = 0x40;
pub const PUBREC: u8 = 0x50;
pub const PUBREL: u8 = 0x62;
pub const PUBCOMP: u8 = 0x70;
pub const SUBSCRIBE: u8 = 0x82;
pub const SUBACK: u8 = 0x90;
pub const UNSUBSCRIBE: u8 = 0xA2;
pub const UNSUBACK: u8 = 0xB0;
pub const DISCONNECT: u8 = 0xE0;
pub const AUTH: u8 = 0xF0;
pub const PINGREQ: [u8; 2] = [0xC0, 0];
pub const PINGRESP: [u8; 2] = [0xD0, 0];

/// Identifiers of properties.
pub mod id {
    pub const PAYLOAD_FORMAT: u8 = 0x01;
    pub const MESSAGE_EXPIRY: u8 = 0x02;
    pub const CONTENT_TYPE: u8 = 0x03;
    pub const RESPONSE_TOPIC: u8 = 0x08;
    pub const CORRELATION_DATA: u8 = 0x09;
    pub const SUBSCRIPTION_ID: u8 = 0x0B;
    pub const SESSION_EXPIRY: u8 = 0x11;
    pub const ASSIGNED_CLIENT_ID: u8 = 0x12;
    pub const SERVER_KEEP_ALIVE: u8 = 0x13;
    pub const AUTH_METHOD: u8 = 0x15;
    pub const AUTH_DATA: u8 = 0x16;
    pub const REQUEST_PROBLEM: u8 = 0x17;
    pub const WILL_DELAY: u8 = 0x18;
    pub const REQUEST_RESPONSE: u8 = 0x19;
    pub const RESPONSE_INFORMATION: u8 = 0x1A;
    pub const REASON_STRING: u8 = 0x1F;
    pub const RECEIVE_MAXIMUM: u8 = 0x21;
    pub const TOPIC_ALIAS_MAXIMUM: u8 = 0x22;
    pub const TOPIC_ALIAS: u8 = 0x23;
    pub const MAXIMUM_QOS: u8 = 0x24;
    pub const RETAIN_AVAILABLE: u8 = 0x25;
    pub const USER_PROPERTY: u8 = 0x26;
    pub const MAXIMUM_PACKET_SIZE: u8 = 0x27;
    pub const WILDCARD_AVAILABLE: u8 = 0x28;
    pub const SUBSCRIPTION_IDS_AVAILABLE: u8 = 0x29;
    pub const SHARED_AVAILABLE: u8 = 0x2A;
}

/// A connection.
pub struct Raw {
    pub stream: TcpStream,
    pub version: Version,
    incoming: Vec<u8>,
    /// Messages that came while a PUBREL was waited for.
    early: VecDeque<(u8, Vec<u8>)>,
}

impl Raw {
    /// Opens a connection and says nothing.
    pub async fn open(address: SocketAddr, version: Version) -> Raw {
        let stream = TcpStream::connect(address).await.expect("the server listens");
        stream.set_nodelay(true).expect("a TCP socket");
        Raw { stream, version, incoming: Vec::new(), early: VecDeque::new() }
    }

    /// A clean session.
    pub async fn connect(address: SocketAddr, version: Version, client_id: &str) -> Raw {
        Raw::hello(address, &Hello::new(version, client_id)).await.0
    }

    /// Connects, and is let in.
    pub async fn hello(address: SocketAddr, hello: &Hello) -> (Raw, Connack) {
        let (raw, connack) = Raw::try_hello(address, hello).await;
        assert_eq!(connack.code, 0, "{connack:?}");
        (raw, connack)
    }

    /// Connects; the CONNACK says how it went.
    pub async fn try_hello(address: SocketAddr, hello: &Hello) -> (Raw, Connack) {
        let mut raw = Raw::open(address, hello.version).await;
        raw.send(&hello.bytes()).await;
        let connack = raw.connack().await;
        (raw, connack)
    }

    /// Sends bytes as they are.
    pub async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("the connection is open");
    }

    /// Sends bytes to a server that may have closed already.
    pub async fn send_in_vain(&mut self, bytes: &[u8]) {
        // It may be gone: that is what the test goes on to look at.
        let _ = self.stream.write_all(bytes).await;
    }

    /// The next packet, its first byte and its body, or `None` when the server has closed the connection.
    pub async fn next(&mut self) -> Option<(u8, Vec<u8>)> {
        match self.early.pop_front() {
            Some(packet) => Some(packet),
            None => self.read().await,
        }
    }

    async fn read(&mut self) -> Option<(u8, Vec<u8>)> {
        tokio::time::timeout(PATIENCE, async {
            loop {
                if let Some((packet, len)) = whole(&self.incoming) {
                    self.incoming.drain(..len);
                    return Some(packet);
                }
                match self.stream.read_buf(&mut self.incoming).await {
                    Ok(0) | Err(_) => {
                        assert!(self.incoming.is_empty(), "the server closed in the middle of a packet");
                        return None;
                    }
                    Ok(_) => {}
                }
            }
        })
        .await
        .expect("the server says something in time")
    }

    /// The next packet, its first byte and its body.
    pub async fn packet(&mut self) -> (u8, Vec<u8>) {
        self.next().await.expect("the connection is open")
    }

    /// Asserts that these bytes, whole packets, come next.
    pub async fn expect(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let (expected, len) = whole(rest).expect("whole packets are expected");
            let (first, body) = self.packet().await;
            assert_eq!((first, &body[..]), (expected.0, &expected.1[..]));
            rest = &rest[len..];
        }
    }

    async fn body(&mut self, expected: u8) -> Vec<u8> {
        let (first, body) = self.packet().await;
        assert_eq!(first, expected, "packet type and flags; the body is {body:?}");
        body
    }

    /// The CONNACK that comes next.
    pub async fn connack(&mut self) -> Connack {
        let body = self.body(CONNACK).await;
        let mut body = Body(&body);
        let (flags, code) = (body.byte(), body.byte());
        assert!(flags <= u8::from(code == 0), "bit 0 of the flags is all there is, and it goes with success");
        check_code(self.version, CONNACK, code);
        let properties = body.properties(self.version);
        assert!(body.0.is_empty(), "CONNACK has bytes after its last field");
        Connack { flags, code, properties }
    }

    /// The PUBLISH that comes next, unanswered.
    pub async fn message(&mut self) -> Message {
        let (first, body) = self.packet().await;
        assert_eq!(first & 0xF0, 0x30, "PUBLISH expected: 0x{first:02X} {body:?}");
        let mut body = Body(&body);
        let qos = first >> 1 & 0b11;
        let topic = body.text().to_owned();
        let packet_id = if qos > 0 { body.two() } else { 0 };
        let properties = body.properties(self.version);
        let (dup, retain) = (first & 0b1000 != 0, first & 1 != 0);
        Message { qos, dup, retain, topic, packet_id, properties, payload: body.0.to_vec() }
    }

    /// The PUBLISH that comes next, answered to the end where its QoS asks for that.
    pub async fn take(&mut self) -> Message {
        let message = self.message().await;
        match message.qos {
            0 => {}
            1 => self.send(&ack(PUBACK, message.packet_id)).await,
            _ => {
                self.send(&ack(PUBREC, message.packet_id)).await;
                // What else is published may come first.
                let mut early = VecDeque::new();
                while let Some((first, body)) = self.read().await {
                    let is_message = first & 0xF0 == 0x30;
                    early.push_back((first, body));
                    if !is_message {
                        break;
                    }
                }
                let pubrel = early.pop_back().expect("the connection is open");
                self.early.append(&mut early);
                self.early.push_front(pubrel);
                assert_eq!(self.reasoned(PUBREL).await.packet_id, message.packet_id);
                self.send(&ack(PUBCOMP, message.packet_id)).await;
            }
        }
        message
    }

    /// The PUBACK, PUBREC, PUBREL, PUBCOMP, DISCONNECT or AUTH that comes next.
    pub async fn reasoned(&mut self, first: u8) -> Reasoned {
        let body = self.body(first).await;
        let mut body = Body(&body);
        let packet_id = if matches!(first, DISCONNECT | AUTH) { 0 } else { body.two() };
        if self.version == Version::V311 {
            assert!(body.0.is_empty(), "acknowledgements of 3.1.1 end after the packet id");
        }
        let code = if body.0.is_empty() { 0 } else { body.byte() };
        check_code(self.version, first, code);
        let properties = body.properties(self.version);
        assert!(body.0.is_empty(), "a packet has bytes after its last field");
        assert!(
            !properties.has(id::SESSION_EXPIRY),
            "how long a session is kept is no word of the server's goodbye"
        );
        Reasoned { packet_id, code, properties }
    }

    /// The SUBACK or UNSUBACK that comes next.
    pub async fn codes(&mut self, first: u8) -> Codes {
        let body = self.body(first).await;
        let mut body = Body(&body);
        let packet_id = body.two();
        let properties = body.properties(self.version);
        let reasons = body.0.to_vec();
        for code in &reasons {
            check_code(self.version, first, *code);
        }
        Codes { packet_id, properties, reasons }
    }

    /// Subscribes with packet id 1 and waits; the codes.
    pub async fn subscribe(&mut self, filters: &[(&str, u8)]) -> Vec<u8> {
        self.send(&subscribe(self.version, 1, filters)).await;
        let suback = self.codes(SUBACK).await;
        assert_eq!(suback.packet_id, 1);
        suback.reasons
    }

    /// Subscribes with an identifier: 5.0 only.
    pub async fn subscribe_as(&mut self, identifier: u32, filters: &[(&str, u8)]) -> Vec<u8> {
        let put = Put::new().varint(id::SUBSCRIPTION_ID, identifier);
        self.send(&subscribe_with(self.version, 1, &put, filters)).await;
        self.codes(SUBACK).await.reasons
    }

    /// Publishes, and waits until the server has taken it: PUBACK, or PUBREC and PUBCOMP. QoS 0 is followed by a ping.
    pub async fn publish(&mut self, publish: &Pub) {
        self.send(&publish.bytes(self.version)).await;
        match publish.qos {
            0 => self.nothing().await,
            1 => assert_eq!(self.taken(PUBACK).await, publish.packet_id),
            _ => {
                assert_eq!(self.taken(PUBREC).await, publish.packet_id);
                self.send(&ack(PUBREL, publish.packet_id)).await;
                assert_eq!(self.taken(PUBCOMP).await, publish.packet_id);
            }
        }
    }

    /// An acknowledgement that says success (5.0: or that nobody subscribes); its packet id.
    async fn taken(&mut self, first: u8) -> u16 {
        let ack = self.reasoned(first).await;
        assert!(matches!(ack.code, 0 | 0x10), "{ack:?}");
        ack.packet_id
    }

    /// Asserts that nothing is on its way: what the server sends next are the answers to two PINGREQ, one after the other. Two, because
    /// what a server has to send when the first one comes may leave behind its answer.
    pub async fn nothing(&mut self) {
        for _ in 0..2 {
            self.send(&PINGREQ).await;
            self.expect(&PINGRESP).await;
        }
    }

    /// Asserts that the server closes the connection and says nothing more.
    pub async fn closed(&mut self) {
        let next = self.next().await;
        assert_eq!(next, None, "the connection was to be closed");
    }

    /// Asserts that the server ends the connection: with a DISCONNECT of this code on 5.0, without a word on 3.1.1, which has none.
    pub async fn ended(&mut self, code: u8) {
        if self.version == Version::V5 {
            let said = self.reasoned(DISCONNECT).await;
            assert_eq!(said.code, code, "{said:?}");
        }
        self.closed().await;
    }

    /// Asserts that the server turns a CONNECT away that it cannot read: with a CONNACK of this code on 5.0, without a word on 3.1.1.
    pub async fn turned_away(&mut self, code: u8) {
        if self.version == Version::V5 {
            let connack = self.connack().await;
            assert_eq!((connack.flags, connack.code), (0, code), "{connack:?}");
        }
        self.closed().await;
    }

    /// Says DISCONNECT and waits until the server has closed.
    pub async fn goodbye(mut self) {
        self.send(&GOODBYE).await;
        self.closed().await;
    }
}

/// The first packet of some bytes, once all of it is there, and how many bytes it has.
fn whole(bytes: &[u8]) -> Option<((u8, Vec<u8>), usize)> {
    let (mut len, mut at) = (0usize, 1);
    loop {
        let byte = *bytes.get(at)?;
        len |= usize::from(byte & 0x7F) << (7 * (at - 1));
        at += 1;
        if byte & 0x80 == 0 {
            assert!(byte > 0 || at == 2, "a remaining length has no more bytes than it needs");
            break;
        }
        assert!(at <= 4, "a remaining length has at most four bytes: {:?}", &bytes[..at]);
    }
    let body = bytes.get(at..at + len)?;
    Some(((bytes[0], body.to_vec()), at + len))
}
