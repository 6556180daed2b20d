//! The properties of MQTT 5.0 (section 2.2.2): which exist, what type each is, where each may stand, and walking a
//! block of them.
//!
//! Invariant: `Properties::next` gives only properties that this packet may carry, each once (user properties and
//! subscription identifiers may repeat); the caller reads the value of what it was given before asking for the next.

use std::fmt;

use bytes::Bytes;

use super::primitive::Reader;
use super::user_property::Collector;
use super::{ByteStr, DecodeError, UserProperties};

/// Where a block of properties stands; a set of these says where a property is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub(crate) enum Place {
    Connect = 1 << 0,
    Will = 1 << 1,
    Connack = 1 << 2,
    Publish = 1 << 3,
    /// PUBACK, PUBREC, PUBREL, PUBCOMP.
    Ack = 1 << 4,
    Subscribe = 1 << 5,
    Suback = 1 << 6,
    Unsubscribe = 1 << 7,
    Unsuback = 1 << 8,
    Disconnect = 1 << 9,
    Auth = 1 << 10,
}

macro_rules! properties {
    ($($name:ident = $value:literal, $text:literal, [$($place:ident)|+];)+) => {
        /// A property of MQTT 5.0.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u8)]
        #[allow(missing_docs)] // The names are the standard's.
        pub enum PropertyId {
            $($name = $value,)+
        }

        impl PropertyId {
            /// The property with this number, if the standard defines it.
            pub const fn from_u8(value: u8) -> Option<Self> {
                match value {
                    $($value => Some(Self::$name),)+
                    _ => None,
                }
            }

            /// The name the standard gives it.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)+
                }
            }

            /// The set of places that may carry it.
            const fn places(self) -> u16 {
                match self {
                    $(Self::$name => $(Place::$place as u16)|+,)+
                }
            }
        }
    };
}

properties! {
    PayloadFormatIndicator = 0x01, "Payload Format Indicator", [Publish | Will];
    MessageExpiryInterval = 0x02, "Message Expiry Interval", [Publish | Will];
    ContentType = 0x03, "Content Type", [Publish | Will];
    ResponseTopic = 0x08, "Response Topic", [Publish | Will];
    CorrelationData = 0x09, "Correlation Data", [Publish | Will];
    SubscriptionIdentifier = 0x0B, "Subscription Identifier", [Publish | Subscribe];
    SessionExpiryInterval = 0x11, "Session Expiry Interval", [Connect | Connack | Disconnect];
    AssignedClientIdentifier = 0x12, "Assigned Client Identifier", [Connack];
    ServerKeepAlive = 0x13, "Server Keep Alive", [Connack];
    AuthenticationMethod = 0x15, "Authentication Method", [Connect | Connack | Auth];
    AuthenticationData = 0x16, "Authentication Data", [Connect | Connack | Auth];
    RequestProblemInformation = 0x17, "Request Problem Information", [Connect];
    WillDelayInterval = 0x18, "Will Delay Interval", [Will];
    RequestResponseInformation = 0x19, "Request Response Information", [Connect];
    ResponseInformation = 0x1A, "Response Information", [Connack];
    ServerReference = 0x1C, "Server Reference", [Connack | Disconnect];
    ReasonString = 0x1F, "Reason String", [Connack | Ack | Suback | Unsuback | Disconnect | Auth];
    ReceiveMaximum = 0x21, "Receive Maximum", [Connect | Connack];
    TopicAliasMaximum = 0x22, "Topic Alias Maximum", [Connect | Connack];
    TopicAlias = 0x23, "Topic Alias", [Publish];
    MaximumQoS = 0x24, "Maximum QoS", [Connack];
    RetainAvailable = 0x25, "Retain Available", [Connack];
    UserProperty = 0x26, "User Property",
        [Connect | Will | Connack | Publish | Ack | Subscribe | Suback | Unsubscribe | Unsuback | Disconnect | Auth];
    MaximumPacketSize = 0x27, "Maximum Packet Size", [Connect | Connack];
    WildcardSubscriptionAvailable = 0x28, "Wildcard Subscription Available", [Connack];
    SubscriptionIdentifierAvailable = 0x29, "Subscription Identifier Available", [Connack];
    SharedSubscriptionAvailable = 0x2A, "Shared Subscription Available", [Connack];
}

impl PropertyId {
    const fn allowed_in(self, place: Place) -> bool {
        self.places() & place as u16 != 0
    }

    const fn may_repeat(self) -> bool {
        matches!(self, Self::UserProperty | Self::SubscriptionIdentifier)
    }
}

impl fmt::Display for PropertyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (0x{:02X})", self.name(), *self as u8)
    }
}

/// A walk over one block of properties.
#[derive(Debug)]
pub(crate) struct Properties<'a> {
    reader: Reader<'a>,
    place: Place,
    seen: u64,
    last: PropertyId,
    user: Collector,
}

impl<'a> Properties<'a> {
    /// True if nothing is left to walk over.
    pub(crate) fn is_empty(&self) -> bool {
        self.reader.is_empty()
    }

    /// Opens the block that begins here, with its length, and moves `packet` behind it.
    pub(crate) fn open(packet: &mut Reader<'a>, place: Place) -> Result<Self, DecodeError> {
        let len = packet.varint()?;
        Ok(Self::over(packet.sub(len as usize)?, place))
    }

    /// A walk over properties without a length before them.
    pub(crate) fn over(reader: Reader<'a>, place: Place) -> Self {
        Self { reader, place, seen: 0, last: PropertyId::UserProperty, user: Collector::default() }
    }

    /// The next property other than a user property; those are collected on the way.
    pub(crate) fn next(&mut self) -> Result<Option<PropertyId>, DecodeError> {
        while !self.reader.is_empty() {
            let start = self.reader.position();
            let number = self.reader.u8()?;
            let property = PropertyId::from_u8(number).ok_or(DecodeError::PropertyUnknown(number))?;
            if !property.allowed_in(self.place) {
                return Err(DecodeError::PropertyNotAllowed { property });
            }
            if property == PropertyId::UserProperty {
                self.reader.skip_text()?;
                self.reader.skip_text()?;
                self.user.add(self.reader.buf(), start..self.reader.position(), self.reader.end());
                continue;
            }
            if self.seen & 1 << number != 0 && !property.may_repeat() {
                return Err(DecodeError::PropertyDuplicate { property });
            }
            self.seen |= 1 << number;
            self.last = property;
            return Ok(Some(property));
        }
        Ok(None)
    }

    /// The user properties, after the walk.
    pub(crate) fn into_user(self) -> UserProperties {
        self.user.finish(self.reader.buf())
    }

    /// The refusal of the value just read.
    pub(crate) fn bad_value(&self) -> DecodeError {
        DecodeError::PropertyValue { property: self.last }
    }

    pub(crate) fn u16(&mut self) -> Result<u16, DecodeError> {
        self.reader.u16()
    }

    pub(crate) fn u32(&mut self) -> Result<u32, DecodeError> {
        self.reader.u32()
    }

    /// A two-byte integer that may not be 0.
    pub(crate) fn u16_not_zero(&mut self) -> Result<u16, DecodeError> {
        match self.reader.u16()? {
            0 => Err(self.bad_value()),
            value => Ok(value),
        }
    }

    /// A four-byte integer that may not be 0.
    pub(crate) fn u32_not_zero(&mut self) -> Result<u32, DecodeError> {
        match self.reader.u32()? {
            0 => Err(self.bad_value()),
            value => Ok(value),
        }
    }

    /// A variable byte integer that may not be 0.
    pub(crate) fn varint_not_zero(&mut self) -> Result<u32, DecodeError> {
        match self.reader.varint()? {
            0 => Err(self.bad_value()),
            value => Ok(value),
        }
    }

    /// A byte that is 0 or 1.
    pub(crate) fn flag(&mut self) -> Result<bool, DecodeError> {
        match self.reader.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(self.bad_value()),
        }
    }

    pub(crate) fn text(&mut self) -> Result<ByteStr, DecodeError> {
        self.reader.text()
    }

    pub(crate) fn binary(&mut self) -> Result<Bytes, DecodeError> {
        self.reader.binary()
    }

    /// A topic name that can be published to.
    pub(crate) fn topic_name(&mut self, max_levels: usize) -> Result<ByteStr, DecodeError> {
        self.reader.topic_name(max_levels)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts taken from table 2-4 of the standard.
    #[test]
    fn as_many_properties_per_place_as_the_standard_lists() {
        let all: Vec<_> = (0..=u8::MAX).filter_map(PropertyId::from_u8).collect();
        assert_eq!(all.len(), 27);
        let count = |place| all.iter().filter(|property| property.allowed_in(place)).count();
        assert_eq!(count(Place::Connect), 9);
        assert_eq!(count(Place::Will), 7);
        assert_eq!(count(Place::Connack), 17);
        assert_eq!(count(Place::Publish), 8);
        assert_eq!(count(Place::Ack), 2);
        assert_eq!(count(Place::Subscribe), 2);
        assert_eq!(count(Place::Suback), 2);
        assert_eq!(count(Place::Unsubscribe), 1);
        assert_eq!(count(Place::Unsuback), 2);
        assert_eq!(count(Place::Disconnect), 4);
        assert_eq!(count(Place::Auth), 4);
    }

    #[test]
    fn numbers_fit_the_set_of_seen_properties() {
        for number in 64..=u8::MAX {
            assert_eq!(PropertyId::from_u8(number), None);
        }
    }
}
