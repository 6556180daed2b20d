//! The packets of MQTT 3.1.1 and 5.0 as types, and the bytes they are.
//!
//! A broker decodes what clients send ([`decode`]) and encodes what servers send (`encode` in the module of each
//! packet); [`client`] is the other direction, for tests and load tools. Decoding is strict: what the standard forbids
//! is a [`DecodeError`] with the reason code to answer. Decoded packets are slices of the buffer they came in.
//!
//! ```
//! use bytes::Bytes;
//! use chasqui_broker::codec::{EncodedPublish, Limits, Packet, PacketId, PublishOut, QoS, Version, decode};
//!
//! // A client publishes "hi" to u/bob/send at QoS 1 ...
//! let input = Bytes::from_static(b"\x32\x10\0\x0Au/bob/send\0\x07hi");
//! let (packet, len) = decode(Some(Version::V311), &input, 0, &Limits::UNLIMITED)?.expect("a whole packet");
//! let Packet::Publish(publish) = packet else { panic!("it is a PUBLISH") };
//! assert_eq!(len, input.len());
//!
//! // ... and it goes out to many, encoded once, to each with a packet id of its own.
//! let out = PublishOut { qos: QoS::AtLeastOnce, ..PublishOut::new(&publish.topic, &publish.payload) };
//! let shared = EncodedPublish::new(Version::V5, &out)?;
//! let mut socket = Vec::new();
//! shared.write(&mut socket, PacketId::new(1))?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Invariants: nothing here does I/O, knows a session or looks at a clock. Decoding never panics, never reads beyond
//! the packet, and never allocates more than the packet is long. The 3.1.1 encoders write nothing that only 5.0 has.

pub mod client;
mod decode;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod either;
mod error;
pub mod frame;
pub mod packet;
pub mod primitive;
pub mod property;
mod reason;
#[cfg(test)]
pub(crate) mod sample;
mod text;
mod topic_name;
mod user_property;

use std::fmt;
use std::num::NonZeroU16;

pub use decode::{Limits, Packet, decode, decode_frame};
pub use error::{DecodeError, EncodeError};
pub use packet::ack::{Ack, AckOut, AckProperties};
pub use packet::auth::{Auth, AuthProperties};
pub use packet::connack::{Connack, ConnackProperties};
pub use packet::connect::{Connect, ConnectProperties, Will};
pub use packet::disconnect::{Disconnect, DisconnectProperties};
pub use packet::encoded_publish::EncodedPublish;
pub use packet::message_properties::{PayloadFormat, PublishProperties};
pub use packet::publish::{Publish, PublishOut};
pub use packet::suback::Suback;
pub use packet::subscribe::{Filters, RetainHandling, Subscribe, Subscription, SubscriptionOptions};
pub use packet::unsuback::Unsuback;
pub use packet::unsubscribe::Unsubscribe;
pub use reason::ReasonCode;
pub use text::{ByteStr, MAX_FIELD_LEN, TextError, check_text};
pub use user_property::UserProperties;

/// A packet identifier; never 0 [MQTT-2.2.1-3].
pub type PacketId = NonZeroU16;

/// The largest packet that the protocol can express, in bytes, fixed header included.
pub const MAX_PACKET_SIZE: u32 = 268_435_455 + 5;

/// The protocol version of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Version {
    /// MQTT 3.1.1, protocol level 4.
    V311,
    /// MQTT 5.0, protocol level 5.
    V5,
}

impl Version {
    /// The level byte in CONNECT.
    pub const fn level(self) -> u8 {
        match self {
            Self::V311 => 4,
            Self::V5 => 5,
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V311 => "3.1.1",
            Self::V5 => "5.0",
        })
    }
}

/// How often a message may arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(u8)]
pub enum QoS {
    /// QoS 0: at most once.
    #[default]
    AtMostOnce = 0,
    /// QoS 1: at least once.
    AtLeastOnce = 1,
    /// QoS 2: exactly once.
    ExactlyOnce = 2,
}

impl QoS {
    /// The QoS with this number; 3 and above do not exist.
    pub const fn from_u8(value: u8) -> Option<Self> {
        match value {
            0 => Some(Self::AtMostOnce),
            1 => Some(Self::AtLeastOnce),
            2 => Some(Self::ExactlyOnce),
            _ => None,
        }
    }

    /// The number on the wire.
    pub const fn as_u8(self) -> u8 {
        self as u8
    }

    /// The SUBACK code that grants it.
    pub const fn granted(self) -> ReasonCode {
        match self {
            Self::AtMostOnce => ReasonCode::GRANTED_QOS_0,
            Self::AtLeastOnce => ReasonCode::GrantedQoS1,
            Self::ExactlyOnce => ReasonCode::GrantedQoS2,
        }
    }
}

/// Which side of a connection sends a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sender {
    /// The client.
    Client,
    /// The server.
    Server,
}

/// The type of a packet: the upper four bits of its first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
#[allow(missing_docs)] // The names are the standard's.
pub enum PacketType {
    Connect = 1,
    Connack = 2,
    Publish = 3,
    Puback = 4,
    Pubrec = 5,
    Pubrel = 6,
    Pubcomp = 7,
    Subscribe = 8,
    Suback = 9,
    Unsubscribe = 10,
    Unsuback = 11,
    Pingreq = 12,
    Pingresp = 13,
    Disconnect = 14,
    Auth = 15,
}

impl PacketType {
    /// The type with this number, if there is one (0 is reserved).
    pub const fn from_u8(value: u8) -> Option<Self> {
        Some(match value {
            1 => Self::Connect,
            2 => Self::Connack,
            3 => Self::Publish,
            4 => Self::Puback,
            5 => Self::Pubrec,
            6 => Self::Pubrel,
            7 => Self::Pubcomp,
            8 => Self::Subscribe,
            9 => Self::Suback,
            10 => Self::Unsubscribe,
            11 => Self::Unsuback,
            12 => Self::Pingreq,
            13 => Self::Pingresp,
            14 => Self::Disconnect,
            15 => Self::Auth,
            _ => return None,
        })
    }

    /// The name the standard gives it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connect => "CONNECT",
            Self::Connack => "CONNACK",
            Self::Publish => "PUBLISH",
            Self::Puback => "PUBACK",
            Self::Pubrec => "PUBREC",
            Self::Pubrel => "PUBREL",
            Self::Pubcomp => "PUBCOMP",
            Self::Subscribe => "SUBSCRIBE",
            Self::Suback => "SUBACK",
            Self::Unsubscribe => "UNSUBSCRIBE",
            Self::Unsuback => "UNSUBACK",
            Self::Pingreq => "PINGREQ",
            Self::Pingresp => "PINGRESP",
            Self::Disconnect => "DISCONNECT",
            Self::Auth => "AUTH",
        }
    }

    /// The first byte of every packet of this type; for PUBLISH the flags are to be added.
    pub const fn first_byte(self) -> u8 {
        let flags = match self {
            Self::Pubrel | Self::Subscribe | Self::Unsubscribe => 0b0010,
            _ => 0,
        };
        (self as u8) << 4 | flags
    }
}

impl fmt::Display for PacketType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What the receiver of packets can take: every `encode` obeys it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// The version of the connection.
    pub version: Version,
    /// The largest packet the receiver takes, in bytes, fixed header included [MQTT-3.1.2-24].
    pub max_packet_size: u32,
    /// False if reason strings and user properties are to be left out of everything but PUBLISH, CONNACK and
    /// DISCONNECT [MQTT-3.1.2-29].
    pub problem_information: bool,
}

impl Peer {
    /// A receiver of this version that sets no limit.
    pub const fn unlimited(version: Version) -> Self {
        Self { version, max_packet_size: MAX_PACKET_SIZE, problem_information: true }
    }

    /// The client that has sent this CONNECT.
    pub fn of(connect: &Connect) -> Self {
        Self {
            version: connect.version,
            max_packet_size: connect
                .properties
                .maximum_packet_size
                .unwrap_or(MAX_PACKET_SIZE)
                .min(MAX_PACKET_SIZE),
            problem_information: connect.properties.request_problem_information.unwrap_or(true),
        }
    }
}
