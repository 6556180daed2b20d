//! The 5.0 properties that belong to a message and travel with it, from its PUBLISH or its will to every subscriber.
//!
//! Invariant: they are forwarded unaltered and in order ([MQTT-3.3.2-4], [MQTT-3.3.2-15] to [MQTT-3.3.2-20]), but for the
//! expiry, from which the time waited is taken [MQTT-3.3.2-6].

use bytes::Bytes;

use super::outline::{check_field, put_binary, put_text, put_u32};
use crate::codec::primitive::{Block, Reader, Sink};
use crate::codec::property::{Place, Properties, PropertyId};
use crate::codec::{ByteStr, DecodeError, EncodeError, UserProperties};
use crate::mutation::{Mutation, mutated};

/// What the sender says a payload is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum PayloadFormat {
    /// Any bytes.
    Bytes = 0,
    /// UTF-8 text; not verified here.
    Utf8 = 1,
}

/// The properties of a message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PublishProperties {
    /// What the payload is.
    pub payload_format: Option<PayloadFormat>,
    /// Seconds that the message is worth delivering, from its arrival at the server.
    pub message_expiry_interval: Option<u32>,
    /// The topic to answer to: a valid topic name.
    pub response_topic: Option<ByteStr>,
    /// What the answer must carry.
    pub correlation_data: Option<Bytes>,
    /// What kind of content; not interpreted.
    pub content_type: Option<ByteStr>,
    /// Whatever the sender adds.
    pub user_properties: UserProperties,
}

impl PublishProperties {
    /// True if there is none at all.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The properties as on the wire, without the length before them: the form for storing them.
    pub fn to_bytes(&self) -> Vec<u8> {
        let block = MessageBlock { properties: self, waited_seconds: 0 };
        let mut bytes = Vec::with_capacity(block.len());
        block.write(&mut bytes);
        bytes
    }

    /// Reads what [`PublishProperties::to_bytes`] made.
    pub fn from_bytes(bytes: &Bytes) -> Result<Self, DecodeError> {
        let mut walk = Properties::over(Reader::new(bytes, 0..bytes.len()), Place::Publish);
        let mut properties = Self::default();
        while let Some(property) = walk.next()? {
            if !properties.take(property, &mut walk, usize::MAX)? {
                return Err(DecodeError::PropertyNotAllowed { property });
            }
        }
        properties.user_properties = walk.into_user();
        Ok(properties)
    }

    /// A copy that owns its memory and no longer keeps the packet it came from.
    #[must_use]
    pub fn detached(&self) -> Self {
        Self {
            payload_format: self.payload_format,
            message_expiry_interval: self.message_expiry_interval,
            response_topic: self.response_topic.as_ref().map(ByteStr::detached),
            correlation_data: self.correlation_data.as_deref().map(Bytes::copy_from_slice),
            content_type: self.content_type.as_ref().map(ByteStr::detached),
            user_properties: self.user_properties.detached(),
        }
    }

    /// Reads one property's value if it is one of these; false if it is not.
    pub(super) fn take(
        &mut self,
        property: PropertyId,
        walk: &mut Properties<'_>,
        max_levels: usize,
    ) -> Result<bool, DecodeError> {
        match property {
            PropertyId::PayloadFormatIndicator => {
                self.payload_format =
                    Some(if walk.flag()? { PayloadFormat::Utf8 } else { PayloadFormat::Bytes });
            }
            PropertyId::MessageExpiryInterval => self.message_expiry_interval = Some(walk.u32()?),
            PropertyId::ResponseTopic => self.response_topic = Some(walk.topic_name(max_levels)?),
            PropertyId::CorrelationData => self.correlation_data = Some(walk.binary()?),
            PropertyId::ContentType => self.content_type = Some(walk.text()?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// All fields can be written.
    pub(super) fn check(&self) -> Result<(), EncodeError> {
        match &self.correlation_data {
            Some(data) => check_field("correlation data", data),
            None => Ok(()),
        }
    }
}

/// The properties of a message that has waited so many seconds in the server.
pub(super) struct MessageBlock<'a> {
    pub(super) properties: &'a PublishProperties,
    pub(super) waited_seconds: u32,
}

impl Block for MessageBlock<'_> {
    fn write<S: Sink>(&self, out: &mut S) {
        let from = self.properties;
        if let Some(format) = from.payload_format {
            out.put(&[PropertyId::PayloadFormatIndicator as u8, format as u8]);
        }
        let waited = if mutated(Mutation::ForgetsWaiting) { 0 } else { self.waited_seconds };
        let expiry = from.message_expiry_interval.map(|seconds| seconds.saturating_sub(waited));
        put_u32(out, PropertyId::MessageExpiryInterval, expiry);
        put_text(out, PropertyId::ResponseTopic, from.response_topic.as_deref());
        put_binary(out, PropertyId::CorrelationData, from.correlation_data.as_deref());
        if !mutated(Mutation::LosesContentType) {
            put_text(out, PropertyId::ContentType, from.content_type.as_deref());
        }
        if !mutated(Mutation::LosesUserProperties) {
            out.put(from.user_properties.as_wire());
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::codec::sample;

    proptest! {
        #[test]
        fn the_stored_form_comes_back(properties in sample::publish_properties()) {
            let bytes = Bytes::from(properties.to_bytes());
            prop_assert_eq!(PublishProperties::from_bytes(&bytes), Ok(properties.clone()));
            prop_assert_eq!(properties.detached(), properties);
        }
    }

    #[test]
    fn a_damaged_stored_form_is_refused() {
        for damaged in [&[0x01][..], &[0x23, 0, 1], &[0x0B, 1], &[0x18, 0, 0, 0, 1], &[0x08, 0, 1, b'#']] {
            assert!(PublishProperties::from_bytes(&Bytes::copy_from_slice(damaged)).is_err(), "{damaged:?}");
        }
    }
}
