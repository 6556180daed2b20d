//! What packets are read with: a reader that takes nothing but what the standard allows.

use super::{AUTH, CONNACK, DISCONNECT, PUBACK, PUBCOMP, PUBREC, SUBACK, UNSUBACK, id};
use chasqui_broker::codec::Version;

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

/// Asserts that a server may say this reason code in this packet: the tables of the standards.
pub fn check_code(version: Version, first: u8, code: u8) {
    let allowed: &[u8] = match (version, first & 0xF0) {
        (Version::V311, CONNACK) => &[0, 1, 2, 3, 4, 5],
        (Version::V311, SUBACK) => &[0, 1, 2, 0x80],
        (Version::V311, _) => &[0],
        (Version::V5, CONNACK) => &[
            0x00, 0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8A, 0x8C, 0x90, 0x95, 0x97,
            0x99, 0x9A, 0x9B, 0x9C, 0x9D, 0x9F,
        ],
        (Version::V5, PUBACK | PUBREC) => &[0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99],
        (Version::V5, 0x60 | PUBCOMP) => &[0x00, 0x92],
        (Version::V5, SUBACK) => &[0x00, 0x01, 0x02, 0x80, 0x83, 0x87, 0x8F, 0x91, 0x97, 0x9E, 0xA1, 0xA2],
        (Version::V5, UNSUBACK) => &[0x00, 0x11, 0x80, 0x83, 0x87, 0x8F, 0x91],
        (Version::V5, DISCONNECT) => &[
            0x00, 0x80, 0x81, 0x82, 0x83, 0x87, 0x89, 0x8B, 0x8D, 0x8E, 0x8F, 0x90, 0x93, 0x94, 0x95, 0x96,
            0x97, 0x98, 0x99, 0x9A, 0x9B, 0x9C, 0x9D, 0x9E, 0x9F, 0xA0, 0xA1, 0xA2,
        ],
        (Version::V5, AUTH) => &[0x00, 0x18],
        (Version::V5, _) => panic!("a packet of type 0x{first:02X} has no reason code"),
    };
    assert!(allowed.contains(&code), "0x{code:02X} is no code of packet type 0x{first:02X}");
}
