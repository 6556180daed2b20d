//! A client of bytes: it writes what a test wants written, and reads packets with a reader of its own.
//!
//! Nothing here uses the broker's codec, so that a mistake in the codec cannot hide behind itself. The builders build what they are told to, and
//! the standard's defaults otherwise; the readers panic where the server says something that no packet of the standard looks like.

#![allow(dead_code, unreachable_pub)] // A name for everything the standard names, used or not.

use crate::support::PATIENCE;
use chasqui_broker::codec::Version;
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

// What packets are made of.

/// A variable byte integer.
pub fn varint(mut value: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = (value & 0x7F) as u8;
        value >>= 7;
        bytes.push(if value > 0 { low | 0x80 } else { low });
        if value == 0 {
            return bytes;
        }
    }
}

/// A string, or binary data: two bytes of length, then the bytes.
pub fn field(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let bytes = bytes.as_ref();
    let len = u16::try_from(bytes.len()).expect("a field has at most 65,535 bytes");
    [&len.to_be_bytes(), bytes].concat()
}

/// A whole packet.
pub fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    [&[first], &varint(body.len() as u32)[..], body].concat()
}

/// Properties to be written, in order.
#[derive(Clone, Default)]
pub struct Put(pub Vec<u8>);

impl Put {
    pub fn new() -> Put {
        Put::default()
    }

    pub fn byte(mut self, id: u8, value: u8) -> Put {
        self.0.extend([id, value]);
        self
    }

    pub fn two(mut self, id: u8, value: u16) -> Put {
        self.0.push(id);
        self.0.extend(value.to_be_bytes());
        self
    }

    pub fn four(mut self, id: u8, value: u32) -> Put {
        self.0.push(id);
        self.0.extend(value.to_be_bytes());
        self
    }

    pub fn varint(mut self, id: u8, value: u32) -> Put {
        self.0.push(id);
        self.0.extend(varint(value));
        self
    }

    pub fn text(mut self, id: u8, value: impl AsRef<[u8]>) -> Put {
        self.0.push(id);
        self.0.extend(field(value));
        self
    }

    pub fn user(mut self, name: &str, value: &str) -> Put {
        self.0.push(id::USER_PROPERTY);
        self.0.extend(field(name));
        self.0.extend(field(value));
        self
    }

    /// With their length in front; nothing on 3.1.1, which has no properties.
    pub fn block(&self, version: Version) -> Vec<u8> {
        match version {
            Version::V311 => Vec::new(),
            Version::V5 => [&varint(self.0.len() as u32)[..], &self.0].concat(),
        }
    }
}

/// A CONNECT to be written.
#[derive(Clone)]
pub struct Hello {
    pub version: Version,
    pub clean: bool,
    pub keep_alive: u16,
    pub properties: Put,
    pub client_id: Vec<u8>,
    pub will: Option<Will>,
    pub user: Option<Vec<u8>>,
    pub password: Option<Vec<u8>>,
    /// Bits of the flags that are turned over in the end, so that they may lie.
    pub flip: u8,
}

/// The will of a CONNECT.
#[derive(Clone)]
pub struct Will {
    pub topic: Vec<u8>,
    pub payload: Vec<u8>,
    pub qos: u8,
    pub retain: bool,
    pub properties: Put,
}

impl Will {
    pub fn new(topic: &str, payload: &str) -> Will {
        Will { topic: topic.into(), payload: payload.into(), qos: 0, retain: false, properties: Put::new() }
    }
}

impl Hello {
    /// Clean, without keep-alive.
    pub fn new(version: Version, client_id: &str) -> Hello {
        Hello {
            version,
            clean: true,
            keep_alive: 0,
            properties: Put::new(),
            client_id: client_id.into(),
            will: None,
            user: None,
            password: None,
            flip: 0,
        }
    }

    /// A session that outlives the connection for ever and is taken up again, on either version.
    pub fn kept(version: Version, client_id: &str) -> Hello {
        let properties = Put::new().four(id::SESSION_EXPIRY, u32::MAX);
        Hello { clean: false, properties, ..Hello::new(version, client_id) }
    }

    /// With a will.
    pub fn will(self, will: Will) -> Hello {
        Hello { will: Some(will), ..self }
    }

    /// With properties instead of those it has.
    pub fn properties(self, properties: Put) -> Hello {
        Hello { properties, ..self }
    }

    pub fn bytes(&self) -> Vec<u8> {
        packet(CONNECT, &self.body())
    }

    pub fn body(&self) -> Vec<u8> {
        let mut flags = u8::from(self.clean) << 1;
        if let Some(will) = &self.will {
            flags |= 0b100 | will.qos << 3 | u8::from(will.retain) << 5;
        }
        flags |= u8::from(self.password.is_some()) << 6 | u8::from(self.user.is_some()) << 7;
        let level = if self.version == Version::V5 { 5 } else { 4 };
        let mut body = [&field("MQTT")[..], &[level, flags ^ self.flip]].concat();
        body.extend(self.keep_alive.to_be_bytes());
        body.extend(self.properties.block(self.version));
        body.extend(field(&self.client_id));
        if let Some(will) = &self.will {
            body.extend(will.properties.block(self.version));
            body.extend(field(&will.topic));
            body.extend(field(&will.payload));
        }
        for credential in [&self.user, &self.password].into_iter().flatten() {
            body.extend(field(credential));
        }
        body
    }
}

/// A PUBLISH to be written.
#[derive(Clone)]
pub struct Pub {
    pub topic: Vec<u8>,
    pub payload: Vec<u8>,
    pub qos: u8,
    pub dup: bool,
    pub retain: bool,
    /// Written where the QoS is above 0.
    pub packet_id: u16,
    pub properties: Put,
}

impl Pub {
    /// With QoS 0.
    pub fn new(topic: &str, payload: &str) -> Pub {
        Pub {
            topic: topic.into(),
            payload: payload.into(),
            qos: 0,
            dup: false,
            retain: false,
            packet_id: 0,
            properties: Put::new(),
        }
    }

    pub fn qos(self, qos: u8, packet_id: u16) -> Pub {
        Pub { qos, packet_id, ..self }
    }

    pub fn retained(self) -> Pub {
        Pub { retain: true, ..self }
    }

    pub fn properties(self, properties: Put) -> Pub {
        Pub { properties, ..self }
    }

    pub fn bytes(&self, version: Version) -> Vec<u8> {
        let first = 0x30 | u8::from(self.dup) << 3 | self.qos << 1 | u8::from(self.retain);
        let mut body = field(&self.topic);
        if self.qos > 0 {
            body.extend(self.packet_id.to_be_bytes());
        }
        body.extend(self.properties.block(version));
        body.extend(&self.payload);
        packet(first, &body)
    }
}

/// A SUBSCRIBE of filters with their option bytes.
pub fn subscribe(version: Version, packet_id: u16, filters: &[(&str, u8)]) -> Vec<u8> {
    subscribe_with(version, packet_id, &Put::new(), filters)
}

/// A SUBSCRIBE with properties.
pub fn subscribe_with(version: Version, packet_id: u16, put: &Put, filters: &[(&str, u8)]) -> Vec<u8> {
    let mut body = [&packet_id.to_be_bytes()[..], &put.block(version)].concat();
    for (filter, options) in filters {
        body.extend(field(filter));
        body.push(*options);
    }
    packet(SUBSCRIBE, &body)
}

/// An UNSUBSCRIBE.
pub fn unsubscribe(version: Version, packet_id: u16, filters: &[&str]) -> Vec<u8> {
    let mut body = [&packet_id.to_be_bytes()[..], &Put::new().block(version)].concat();
    for filter in filters {
        body.extend(field(filter));
    }
    packet(UNSUBSCRIBE, &body)
}

/// PUBACK, PUBREC, PUBREL or PUBCOMP that says success, in two bytes.
pub fn ack(first: u8, packet_id: u16) -> Vec<u8> {
    packet(first, &packet_id.to_be_bytes())
}

/// The same with a reason code: 5.0 only.
pub fn ack_with(first: u8, packet_id: u16, reason: u8) -> Vec<u8> {
    let [high, low] = packet_id.to_be_bytes();
    packet(first, &[high, low, reason])
}

/// DISCONNECT or AUTH of 5.0, with a reason code and properties.
pub fn reasoned(first: u8, reason: u8, put: &Put) -> Vec<u8> {
    packet(first, &[&[reason], &put.block(Version::V5)[..]].concat())
}

/// DISCONNECT that says success, the shortest form of either version.
pub const GOODBYE: [u8; 2] = [DISCONNECT, 0];

// What packets are read with.

/// What is left of a packet's body.
pub struct Body<'a>(pub &'a [u8]);

impl<'a> Body<'a> {
    pub fn bytes(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at_checked(count).expect("a field ends within its packet");
        self.0 = rest;
        taken
    }

    pub fn byte(&mut self) -> u8 {
        self.bytes(1)[0]
    }

    pub fn two(&mut self) -> u16 {
        u16::from_be_bytes(self.bytes(2).try_into().expect("two bytes"))
    }

    pub fn field(&mut self) -> &'a [u8] {
        let len = self.two();
        self.bytes(usize::from(len))
    }

    pub fn text(&mut self) -> &'a str {
        std::str::from_utf8(self.field()).expect("a string is UTF-8")
    }

    pub fn varint(&mut self) -> u32 {
        let mut value = 0;
        for shift in [0, 7, 14, 21] {
            let byte = self.byte();
            value |= u32::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                assert!(byte > 0 || shift == 0, "a variable byte integer has no more bytes than it needs");
                return value;
            }
        }
        panic!("a variable byte integer has at most four bytes");
    }

    /// The properties; none on 3.1.1, and none where the packet ends before them.
    pub fn properties(&mut self, version: Version) -> Got {
        let mut got = Got::default();
        if version == Version::V311 || self.0.is_empty() {
            return got;
        }
        let len = self.varint();
        let mut block = Body(self.bytes(len as usize));
        while !block.0.is_empty() {
            let id = block.byte();
            let before = block.0;
            match id {
                0x01 | 0x17 | 0x19 | 0x24 | 0x25 | 0x28..=0x2A => _ = block.byte(),
                0x13 | 0x21..=0x23 => _ = block.two(),
                0x02 | 0x11 | 0x18 | 0x27 => _ = block.bytes(4),
                0x0B => _ = block.varint(),
                0x03 | 0x08 | 0x12 | 0x15 | 0x1A | 0x1C | 0x1F => _ = block.text(),
                0x09 | 0x16 => _ = block.field(),
                0x26 => _ = (block.text(), block.text()),
                _ => panic!("property 0x{id:02X} does not exist"),
            }
            let len = before.len() - block.0.len();
            got.0.push((id, before[..len].to_vec()));
        }
        got
    }
}

/// Properties that were read, in order, each as on the wire behind its identifier.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Got(pub Vec<(u8, Vec<u8>)>);

impl Got {
    pub fn has(&self, id: u8) -> bool {
        self.raw(id).is_some()
    }

    /// The only one of its kind, as on the wire.
    pub fn raw(&self, id: u8) -> Option<&[u8]> {
        let mut found = self.0.iter().filter(|(of, _)| *of == id);
        let first = found.next();
        assert!(found.next().is_none(), "property 0x{id:02X} is there twice");
        first.map(|(_, bytes)| &bytes[..])
    }

    /// A number of one, two or four bytes.
    pub fn number(&self, id: u8) -> Option<u32> {
        self.raw(id).map(|bytes| bytes.iter().fold(0, |value, byte| value << 8 | u32::from(*byte)))
    }

    /// A string.
    pub fn text(&self, id: u8) -> Option<&str> {
        self.raw(id).map(|bytes| Body(bytes).text())
    }

    /// Binary data.
    pub fn data(&self, id: u8) -> Option<&[u8]> {
        self.raw(id).map(|bytes| Body(bytes).field())
    }

    /// All subscription identifiers, sorted.
    pub fn subscription_ids(&self) -> Vec<u32> {
        let own = self.0.iter().filter(|(of, _)| *of == id::SUBSCRIPTION_ID);
        let mut ids: Vec<u32> = own.map(|(_, bytes)| Body(bytes).varint()).collect();
        ids.sort_unstable();
        ids
    }

    /// All user properties, in order.
    pub fn users(&self) -> Vec<(&str, &str)> {
        let own = self.0.iter().filter(|(of, _)| *of == id::USER_PROPERTY);
        own.map(|(_, bytes)| {
            let mut pair = Body(bytes);
            (pair.text(), pair.text())
        })
        .collect()
    }
}

/// A CONNACK that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connack {
    pub flags: u8,
    pub code: u8,
    pub properties: Got,
}

impl Connack {
    pub fn session_present(&self) -> bool {
        self.flags == 1
    }
}

/// A PUBLISH that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub qos: u8,
    pub dup: bool,
    pub retain: bool,
    pub topic: String,
    /// 0 where the QoS is 0.
    pub packet_id: u16,
    pub properties: Got,
    pub payload: Vec<u8>,
}

impl Message {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.payload).expect("the payloads of most tests are text")
    }
}

/// PUBACK, PUBREC, PUBREL, PUBCOMP, DISCONNECT or AUTH that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reasoned {
    /// 0 for DISCONNECT and AUTH, which have none.
    pub packet_id: u16,
    /// 0 where the packet ends before it.
    pub code: u8,
    pub properties: Got,
}

/// SUBACK or UNSUBACK that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Codes {
    pub packet_id: u16,
    pub properties: Got,
    pub reasons: Vec<u8>,
}

/// A connection.
pub struct Raw {
    pub stream: TcpStream,
    pub version: Version,
    incoming: Vec<u8>,
}

impl Raw {
    /// Opens a connection and says nothing.
    pub async fn open(address: SocketAddr, version: Version) -> Raw {
        let stream = TcpStream::connect(address).await.expect("the server listens");
        stream.set_nodelay(true).expect("a TCP socket");
        Raw { stream, version, incoming: Vec::new() }
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
        let properties = body.properties(self.version);
        assert!(body.0.is_empty(), "a packet has bytes after its last field");
        Reasoned { packet_id, code, properties }
    }

    /// The SUBACK or UNSUBACK that comes next.
    pub async fn codes(&mut self, first: u8) -> Codes {
        let body = self.body(first).await;
        let mut body = Body(&body);
        let packet_id = body.two();
        let properties = body.properties(self.version);
        Codes { packet_id, properties, reasons: body.0.to_vec() }
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
