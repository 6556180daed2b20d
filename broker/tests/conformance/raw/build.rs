//! What packets are made of: builders that write what they are told.

use super::{CONNECT, DISCONNECT, SUBSCRIBE, UNSUBSCRIBE, id};
use chasqui_broker::codec::Version;

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
