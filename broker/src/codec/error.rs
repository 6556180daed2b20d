//! What can be wrong with a packet, each with the sentence an operator reads and the reason code a 5.0 client is told.
//!
//! Invariant: after any of these the byte stream is lost: the connection is closed, with the answer that
//! [`DecodeError::reason_code`] names where the version has one.

use thiserror::Error;

use super::property::PropertyId;
use super::{PacketType, ReasonCode, TextError};
use crate::topic::TopicError;

/// Why a packet from the other side is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// The first packet is not CONNECT [MQTT-3.1.0-1].
    #[error("the first packet of a connection must be CONNECT, and it begins with byte 0x{first:02X}")]
    ConnectExpected {
        /// The first byte seen.
        first: u8,
    },
    /// A second CONNECT [MQTT-3.1.0-2].
    #[error("CONNECT was sent a second time on the same connection")]
    SecondConnect,
    /// Packet type 0, or 15 (AUTH) on 3.1.1.
    #[error("packet type {kind} is reserved in this protocol version")]
    ReservedType {
        /// The upper four bits of the first byte.
        kind: u8,
    },
    /// A packet that only the other side may send.
    #[error("{packet} may not be sent in this direction")]
    WrongDirection {
        /// The type seen.
        packet: PacketType,
    },
    /// The lower four bits of the first byte are not those of the packet type [MQTT-2.1.3-1].
    #[error("the fixed header flags of {packet} are 0x{flags:X}, which is not allowed")]
    HeaderFlags {
        /// The type seen.
        packet: PacketType,
        /// The lower four bits of the first byte.
        flags: u8,
    },
    /// Both QoS bits of a PUBLISH are set [MQTT-3.3.1-4].
    #[error("PUBLISH has QoS 3, which does not exist")]
    PublishQoS3,
    /// DUP on a QoS 0 PUBLISH [MQTT-3.3.1-2].
    #[error("PUBLISH with QoS 0 is marked as a duplicate")]
    DupWithQoS0,
    /// A variable byte integer of more than four bytes.
    #[error("a variable byte integer is longer than four bytes")]
    VarintTooLong,
    /// A variable byte integer with more bytes than it needs [MQTT-1.5.5-1].
    #[error("a variable byte integer uses more bytes than its value needs")]
    VarintNotMinimal,
    /// Larger than the receiver takes [MQTT-3.2.2-15].
    #[error("the packet has {len} bytes, and at most {max} are accepted")]
    PacketTooLarge {
        /// Bytes of the whole packet, fixed header included.
        len: u32,
        /// The limit, in the same unit.
        max: u32,
    },
    /// A field reaches beyond the end of the packet or of its property block.
    #[error("the packet ends in the middle of a field")]
    Truncated,
    /// Bytes remain after the last field.
    #[error("the packet has bytes after its last field")]
    TrailingBytes,
    /// A string that is none.
    #[error(transparent)]
    Text(#[from] TextError),
    /// Packet id 0 [MQTT-2.2.1-3].
    #[error("the packet id is 0")]
    PacketIdZero,
    /// A topic name (of a message, a will or a response) that cannot be published to.
    #[error("topic name: {0}")]
    TopicName(TopicError),
    /// A 5.0 PUBLISH with an empty topic and no alias.
    #[error("PUBLISH has neither a topic name nor a topic alias")]
    TopicMissing,
    /// A topic filter that breaks the grammar.
    #[error("topic filter: {0}")]
    TopicFilter(TopicError),
    /// No Local on a shared subscription [MQTT-3.8.3-4].
    #[error("a shared subscription asks for No Local")]
    NoLocalOnShared,
    /// SUBSCRIBE or UNSUBSCRIBE without a filter [MQTT-3.8.3-2], [MQTT-3.10.3-2].
    #[error("{packet} contains no topic filter")]
    NoFilter {
        /// SUBSCRIBE or UNSUBSCRIBE.
        packet: PacketType,
    },
    /// Reserved bits in the subscription options [MQTT-3.8.3-5].
    #[error("the subscription options 0x{0:02X} have reserved bits set")]
    SubscriptionReserved(u8),
    /// QoS 3 in the subscription options.
    #[error("a subscription asks for QoS 3, which does not exist")]
    SubscriptionQoS3,
    /// Retain handling 3.
    #[error("a subscription asks for retain handling 3, which does not exist")]
    RetainHandling3,
    /// A property identifier that the standard does not define.
    #[error("property 0x{0:02X} does not exist")]
    PropertyUnknown(u8),
    /// A property that this packet may not carry.
    #[error("{property} is not allowed in this packet")]
    PropertyNotAllowed {
        /// The property seen.
        property: PropertyId,
    },
    /// A property given twice that may be given once.
    #[error("{property} is given twice")]
    PropertyDuplicate {
        /// The property seen.
        property: PropertyId,
    },
    /// A property value outside its range.
    #[error("{property} has a value that is not allowed")]
    PropertyValue {
        /// The property seen.
        property: PropertyId,
    },
    /// A subscription identifier in a PUBLISH from a client [MQTT-3.3.4-6].
    #[error("PUBLISH from a client carries a subscription identifier")]
    SubscriptionIdFromClient,
    /// Topic alias 0 [MQTT-3.3.2-8].
    #[error("the topic alias is 0")]
    TopicAliasZero,
    /// A reason code that the packet may not carry.
    #[error("{packet} may not carry reason code 0x{code:02X}")]
    ReasonCode {
        /// The type seen.
        packet: PacketType,
        /// The code seen.
        code: u8,
    },
    /// CONNECT, or CONNACK, with flags that are reserved or contradict each other.
    #[error("{0}")]
    ConnectFlags(&'static str),
    /// A protocol name or level that is not served.
    #[error("protocol level {level} or its protocol name is not supported; use MQTT 3.1.1 (4) or 5.0 (5)")]
    UnsupportedProtocol {
        /// The level byte seen.
        level: u8,
        /// Whether the name was one of MQTT's (`MQTT`, `MQIsdp`).
        mqtt: bool,
    },
    /// An empty client id with Clean Session 0 on 3.1.1 [MQTT-3.1.3-8].
    #[error("an empty client id needs Clean Session 1")]
    ClientIdRequired,
    /// Authentication data without a method, or AUTH without one.
    #[error("the authentication method is missing")]
    AuthMethodMissing,
}

impl DecodeError {
    /// What a 5.0 client is told, in CONNACK or DISCONNECT.
    pub const fn reason_code(&self) -> ReasonCode {
        match self {
            Self::ReservedType { .. }
            | Self::HeaderFlags { .. }
            | Self::PublishQoS3
            | Self::DupWithQoS0
            | Self::VarintTooLong
            | Self::VarintNotMinimal
            | Self::Truncated
            | Self::TrailingBytes
            | Self::Text(_)
            | Self::SubscriptionReserved(_)
            | Self::PropertyUnknown(_)
            | Self::PropertyNotAllowed { .. }
            | Self::ConnectFlags(_) => ReasonCode::MalformedPacket,
            Self::ConnectExpected { .. }
            | Self::SecondConnect
            | Self::WrongDirection { .. }
            | Self::PacketIdZero
            | Self::TopicMissing
            | Self::NoLocalOnShared
            | Self::NoFilter { .. }
            | Self::SubscriptionQoS3
            | Self::RetainHandling3
            | Self::PropertyDuplicate { .. }
            | Self::PropertyValue { .. }
            | Self::SubscriptionIdFromClient
            | Self::ReasonCode { .. }
            | Self::AuthMethodMissing => ReasonCode::ProtocolError,
            Self::PacketTooLarge { .. } => ReasonCode::PacketTooLarge,
            Self::TopicName(_) => ReasonCode::TopicNameInvalid,
            Self::TopicFilter(_) => ReasonCode::TopicFilterInvalid,
            Self::TopicAliasZero => ReasonCode::TopicAliasInvalid,
            Self::UnsupportedProtocol { .. } => ReasonCode::UnsupportedProtocolVersion,
            Self::ClientIdRequired => ReasonCode::ClientIdentifierNotValid,
        }
    }
}

/// Why a packet was not written. Nothing is written then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum EncodeError {
    /// Larger than the receiver takes, even without the fields that may be left out. The sender acts as if it had been
    /// sent [MQTT-3.1.2-25].
    #[error("the packet would have {len} bytes, and the receiver takes at most {max}")]
    TooLarge {
        /// Bytes of the whole packet, fixed header included.
        len: usize,
        /// The receiver's limit, in the same unit.
        max: u32,
    },
    /// A string or binary field of more than 65,535 bytes.
    #[error("the field {field} is longer than 65,535 bytes")]
    FieldTooLong {
        /// The name of the field.
        field: &'static str,
    },
    /// QoS above 0 without a packet id, or QoS 0 with one [MQTT-2.2.1-2].
    #[error("a PUBLISH has a packet id exactly when its QoS is above 0")]
    PacketId,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Decoding returns this in a `Result` for every packet: it must stay a few words.
    #[test]
    fn errors_are_small() {
        assert!(size_of::<DecodeError>() <= 24);
        assert!(size_of::<EncodeError>() <= 24);
    }
}
