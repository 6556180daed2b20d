//! A plain message as a queue and the retained messages hold it.
//!
//! `version, flags, received_ms, topic, [properties], [identifiers], [share], payload`: numbers as varints, strings with their
//! length in front, the payload up to the end; a share is its filter, and the QoS and RETAIN of the publisher in one byte. Reading
//! shares the memory of the stored bytes. Version 1 knew no share.

use crate::machine::codec::{DecodeError, Input, put_bytes, put_number};
use bytes::Bytes;
use chasqui_broker::codec::{ByteStr, PublishProperties, QoS};
use chasqui_broker::message::{Identifiers, Message, Share};
use std::sync::Arc;

const VERSION: u8 = 2;
const WHAT: &str = "plain message";

const QOS: u8 = 0b11;
const RETAIN: u8 = 1 << 2;
const PROPERTIES: u8 = 1 << 3;
const IDENTIFIERS: u8 = 1 << 4;
const SHARE: u8 = 1 << 5;

/// The message as bytes.
pub(super) fn encode(message: &Message) -> Vec<u8> {
    let mut out = Vec::with_capacity(16 + message.topic.len() + message.payload.len());
    let mut flags = message.qos as u8;
    for (flag, set) in [
        (RETAIN, message.retain),
        (PROPERTIES, message.properties.is_some()),
        (IDENTIFIERS, !message.identifiers.is_empty()),
        (SHARE, message.share.is_some()),
    ] {
        flags |= if set { flag } else { 0 };
    }
    out.extend_from_slice(&[VERSION, flags]);
    put_number(&mut out, message.received_ms);
    put_bytes(&mut out, message.topic.as_bytes());
    if let Some(properties) = &message.properties {
        put_bytes(&mut out, &properties.to_bytes());
    }
    if !message.identifiers.is_empty() {
        put_number(&mut out, message.identifiers.len() as u64);
        message.identifiers.iter().for_each(|identifier| put_number(&mut out, u64::from(*identifier)));
    }
    if let Some(share) = &message.share {
        put_bytes(&mut out, share.filter.as_bytes());
        out.push(share.qos as u8 | if share.retain { RETAIN } else { 0 });
    }
    out.extend_from_slice(&message.payload);
    out
}

/// Reads a message back.
pub(super) fn decode(stored: &Bytes) -> Result<Message, DecodeError> {
    let mut input = Input(stored);
    match input.byte() {
        Some(1) => read(stored, &mut input, QOS | RETAIN | PROPERTIES | IDENTIFIERS),
        Some(VERSION) => read(stored, &mut input, QOS | RETAIN | PROPERTIES | IDENTIFIERS | SHARE),
        Some(found) if found > VERSION => {
            return Err(DecodeError::Newer { what: WHAT, found, known: VERSION });
        }
        _ => None,
    }
    .ok_or(DecodeError::Malformed(WHAT))
}

fn read(stored: &Bytes, input: &mut Input<'_>, known_flags: u8) -> Option<Message> {
    let flags = input.byte()?;
    if flags & !known_flags != 0 {
        return None;
    }
    let received_ms = input.number()?;
    let topic = ByteStr::try_from(stored.slice_ref(input.bytes()?)).ok()?;
    let properties = match flags & PROPERTIES {
        0 => None,
        _ => Some(Arc::new(PublishProperties::from_bytes(&stored.slice_ref(input.bytes()?)).ok()?)),
    };
    let mut identifiers = Identifiers::new();
    if flags & IDENTIFIERS != 0 {
        for _ in 0..input.number()? {
            identifiers.push(u32::try_from(input.number()?).ok()?);
        }
    }
    let share = match flags & SHARE {
        0 => None,
        _ => Some(read_share(input)?),
    };
    Some(Message {
        topic,
        payload: stored.slice_ref(input.0),
        qos: QoS::from_u8(flags & QOS)?,
        retain: flags & RETAIN != 0,
        properties,
        received_ms,
        identifiers,
        share,
    })
}

fn read_share(input: &mut Input<'_>) -> Option<Share> {
    let filter = Arc::from(input.text()?);
    let published = input.byte()?;
    if published & !(QOS | RETAIN) != 0 {
        return None;
    }
    Some(Share { filter, qos: QoS::from_u8(published & QOS)?, retain: published & RETAIN != 0 })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use chasqui_broker::codec::{PayloadFormat, UserProperties};
    use proptest::prelude::*;

    fn text(pattern: &'static str) -> impl Strategy<Value = ByteStr> {
        pattern.prop_map(|text| ByteStr::try_from(Bytes::from(text)).unwrap())
    }

    prop_compose! {
        fn any_properties()(
            payload_format in prop::option::of(prop_oneof![Just(PayloadFormat::Bytes), Just(PayloadFormat::Utf8)]),
            message_expiry_interval: Option<u32>,
            response_topic in prop::option::of(text("[a-z/]{1,9}")),
            correlation_data in prop::option::of(prop::collection::vec(any::<u8>(), 0..9)),
            content_type in prop::option::of(text("[a-zé/]{0,9}")),
            pairs in prop::collection::vec(("[a-z]{0,5}", "[a-zé ]{0,9}"), 0..3),
        ) -> PublishProperties {
            let pairs = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str()));
            PublishProperties {
                payload_format,
                message_expiry_interval,
                response_topic,
                correlation_data: correlation_data.map(Bytes::from),
                content_type,
                user_properties: UserProperties::from_pairs(pairs).unwrap(),
            }
        }
    }

    prop_compose! {
        fn any_share()(filter in "[$a-zé/+#]{1,20}", qos in 0u8..3, retain: bool) -> Share {
            Share { filter: Arc::from(filter), qos: QoS::from_u8(qos).unwrap(), retain }
        }
    }

    prop_compose! {
        /// Any message there can be.
        pub(in crate::session_store) fn any_message()(
            topic in text("[a-zé/ ]{1,20}"), payload: Vec<u8>, qos in 0u8..3, retain: bool,
            properties in prop::option::of(any_properties()), received_ms: u64,
            identifiers in prop::collection::vec(1u32..268_435_456, 0..4),
            share in prop::option::of(any_share()),
        ) -> Message {
            Message {
                topic,
                payload: Bytes::from(payload),
                qos: QoS::from_u8(qos).unwrap(),
                retain,
                properties: properties.map(Arc::new),
                received_ms,
                identifiers: Identifiers::from_vec(identifiers),
                share,
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(message in any_message()) {
            prop_assert_eq!(decode(&Bytes::from(encode(&message))), Ok(message));
        }

        #[test]
        fn any_bytes_are_answered(bytes: Vec<u8>, message in any_message(), cut in any::<prop::sample::Index>()) {
            let _ = decode(&Bytes::from([&[VERSION][..], &bytes].concat()));
            let whole = Bytes::from(encode(&Message { payload: Bytes::new(), ..message }));
            // Without its payload, a message has nothing that could be missing.
            prop_assert!(decode(&whole.slice(..cut.index(whole.len()))).is_err());
        }
    }

    #[test]
    fn a_small_message_adds_little() {
        let message = Message {
            topic: ByteStr::from_static("a/b"),
            payload: Bytes::from_static(b"hello"),
            qos: QoS::AtLeastOnce,
            retain: false,
            properties: None,
            received_ms: 1_700_000_000_000,
            identifiers: Identifiers::new(),
            share: None,
        };
        assert_eq!(encode(&message).len(), 2 + 6 + 1 + 3 + 5);
    }

    #[test]
    fn a_newer_version_is_refused() {
        let newer = DecodeError::Newer { what: WHAT, found: 3, known: 2 };
        assert_eq!(decode(&Bytes::from_static(&[3, 0])), Err(newer));
        assert_eq!(decode(&Bytes::from_static(&[2, 0x80])), Err(DecodeError::Malformed(WHAT)));
        assert_eq!(decode(&Bytes::from_static(&[2, 3, 0, 1, b'a'])), Err(DecodeError::Malformed(WHAT)));
    }

    #[test]
    fn the_first_version_is_read() {
        let read = decode(&Bytes::from_static(&[1, 1, 5, 1, b'a', b'x'])).unwrap();
        assert_eq!(
            (&*read.topic, &read.payload[..], read.received_ms, read.share),
            ("a", &b"x"[..], 5, None)
        );
        // It knew no shares, so the flag for one is damage.
        assert_eq!(decode(&Bytes::from_static(&[1, SHARE, 0, 1, b'a'])), Err(DecodeError::Malformed(WHAT)));
    }
}
