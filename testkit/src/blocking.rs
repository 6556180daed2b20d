//! A client on a blocking socket that allocates nothing once it is connected: beside it, what a process allocates is its server's.

use crate::{Hello, PATIENCE};
use chasqui_broker::codec::packet::{connect, subscribe};
use chasqui_broker::codec::{
    Filters, PacketId, PacketType, Peer, QoS, Subscribe, SubscriptionOptions, UserProperties, Version,
};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

/// The largest packet that it takes.
const LARGEST: usize = 64 << 10;
/// PUBACKs that it writes together at most.
const ACKS: usize = 256;
/// Bytes of a PUBACK.
const PUBACK: usize = 4;

/// A client that is connected. Use it on a thread that may block.
pub struct Blocking {
    stream: TcpStream,
    version: Version,
    incoming: Box<[u8; LARGEST]>,
    /// What of `incoming` was read and not handed out.
    from: usize,
    to: usize,
}

/// A packet as it came.
#[derive(Debug, Clone, Copy)]
pub struct Raw<'a> {
    /// What it is, with its flags.
    pub first: u8,
    /// What is behind the fixed header.
    pub body: &'a [u8],
}

impl Raw<'_> {
    /// Whether it is a packet of this type.
    pub fn is(&self, kind: PacketType) -> bool {
        self.first >> 4 == kind as u8
    }

    /// The packet identifier of a PUBLISH with QoS 1.
    fn publish_id(&self) -> [u8; 2] {
        assert!(
            self.is(PacketType::Publish) && self.first >> 1 & 0b11 == 1,
            "PUBLISH with QoS 1 expected: {self:?}"
        );
        let topic = usize::from(u16::from_be_bytes([self.body[0], self.body[1]]));
        [self.body[2 + topic], self.body[3 + topic]]
    }
}

impl Blocking {
    /// Connects and is let in.
    pub fn connect(address: SocketAddr, hello: &Hello) -> Blocking {
        let stream = TcpStream::connect(address).expect("the server listens");
        stream.set_nodelay(true).expect("a TCP socket");
        stream.set_read_timeout(Some(PATIENCE)).expect("a TCP socket");
        let incoming = vec![0; LARGEST].into_boxed_slice().try_into().expect("of this size");
        let mut client = Blocking { stream, version: hello.0.version, incoming, from: 0, to: 0 };
        let mut out = Vec::new();
        connect::encode(&mut out, &hello.0).expect("valid");
        client.write(&out);
        let connack = client.receive();
        assert!(connack.is(PacketType::Connack) && connack.body[1] == 0, "{connack:?}");
        client
    }

    /// Subscribes with QoS 1.
    pub fn subscribe(&mut self, filter: &str) {
        let packet = Subscribe {
            packet_id: PacketId::new(1).expect("not 0"),
            subscription_id: None,
            user_properties: UserProperties::new(),
            filters: Filters::<SubscriptionOptions>::new([(
                filter,
                SubscriptionOptions::qos(QoS::AtLeastOnce),
            )])
            .expect("one filter"),
        };
        let mut out = Vec::new();
        subscribe::encode(&mut out, &Peer::unlimited(self.version), &packet).expect("valid");
        self.write(&out);
        let suback = self.receive();
        assert!(suback.is(PacketType::Suback) && suback.body.last() == Some(&1), "{suback:?}");
    }

    /// Sends bytes as they are, with one system call.
    pub fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the connection is open");
    }

    /// The next packet.
    pub fn receive(&mut self) -> Raw<'_> {
        let (header, len) = loop {
            if let Some(found) = self.header() {
                break found;
            }
            self.read();
        };
        while !self.has_packet() {
            self.read();
        }
        let start = self.from;
        self.from += header + len;
        Raw { first: self.incoming[start], body: &self.incoming[start + header..start + header + len] }
    }

    /// Takes so many messages with QoS 1, and acknowledges all that have come together with one system call.
    pub fn take(&mut self, messages: usize) {
        let (mut acks, mut len) = ([0; ACKS * PUBACK], 0);
        for taken in 1..=messages {
            let [high, low] = self.receive().publish_id();
            acks[len..len + PUBACK].copy_from_slice(&[0x40, 2, high, low]);
            len += PUBACK;
            if taken == messages || len == acks.len() || !self.has_packet() {
                self.write(&acks[..len]);
                len = 0;
            }
        }
    }

    /// Takes so many PUBACKs of success.
    pub fn acknowledged(&mut self, publishes: usize) {
        for _ in 0..publishes {
            let ack = self.receive();
            assert!(
                ack.is(PacketType::Puback) && ack.body.get(2).is_none_or(|code| *code == 0),
                "PUBACK expected: {ack:?}"
            );
        }
    }

    /// Whether the next packet is there already, all of it.
    fn has_packet(&self) -> bool {
        self.header().is_some_and(|(header, len)| self.to - self.from >= header + len)
    }

    /// The lengths of the next packet's fixed header and of what is behind it, where they are there.
    fn header(&self) -> Option<(usize, usize)> {
        let there = &self.incoming[self.from..self.to];
        let mut len = 0;
        for (at, byte) in there.get(1..)?.iter().take(4).enumerate() {
            len |= usize::from(byte & 0x7f) << (7 * at);
            if byte & 0x80 == 0 {
                assert!(at + 2 + len <= LARGEST, "a packet of {len} bytes is too large for this client");
                return Some((at + 2, len));
            }
        }
        None
    }

    fn read(&mut self) {
        if self.from > LARGEST / 2 || self.from == self.to {
            self.incoming.copy_within(self.from..self.to, 0);
            (self.from, self.to) = (0, self.to - self.from);
        }
        let count = match self.stream.read(&mut self.incoming[self.to..]) {
            Ok(0) => panic!("the server has closed the connection"),
            Ok(count) => count,
            Err(error) => panic!("the server says something in time: {error}"),
        };
        self.to += count;
    }
}
