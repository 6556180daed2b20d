//! The wire-format scanner against hand-made bytes, against prost, and against anything.

use chasqui_proto::v1;
use chasqui_proto::wire::{
    Value, WireError, field_bytes, fields, put_length, put_number, put_varint, varint_len,
};
use proptest::prelude::*;
use prost::Message;

#[test]
fn finds_the_content_of_a_field() {
    // 1: varint 5 · 2: "ab" · 3: fixed32 · 4: fixed64 · 2000: ""
    let mut message = vec![0x08, 5, 0x12, 2, b'a', b'b', 0x1d, 1, 2, 3, 4, 0x21, 1, 2, 3, 4, 5, 6, 7, 8];
    put_length(&mut message, 2000, 0);
    assert_eq!(field_bytes(&message, 2), Ok(Some(4..6)));
    assert_eq!(field_bytes(&message, 9), Ok(None));
    assert_eq!(field_bytes(&message, 2000), Ok(Some(message.len()..message.len())));
    assert_eq!(field_bytes(&message, 1), Err(WireError::Type(1)));
    let found: Vec<_> = fields(&message).map(|field| field.unwrap()).collect();
    assert_eq!(found.iter().map(|field| field.number).collect::<Vec<_>>(), [1, 2, 3, 4, 2000]);
    assert_eq!(found[0].value, Value::Varint(5));
    assert_eq!(found[2].value, Value::Fixed(7..11));
    assert_eq!(found[3].span, 11..20);
}

#[test]
fn refuses_what_is_malformed() {
    let table: [(&[u8], WireError); 12] = [
        (&[0x08], WireError::Truncated),
        (&[0x08, 0x80], WireError::Truncated),
        (&[0x12, 3, b'a', b'b'], WireError::Truncated),
        (&[0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01], WireError::Truncated),
        (&[0x1d, 1, 2, 3], WireError::Truncated),
        (&[0x21, 1, 2, 3, 4, 5, 6, 7], WireError::Truncated),
        (&[0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02], WireError::Varint),
        (&[0x08, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00], WireError::Varint),
        (&[0x00, 1], WireError::Tag),
        (&[0x13, 0x14], WireError::Tag),
        (&[0x16], WireError::Tag),
        (&[0xff, 0xff, 0xff, 0xff, 0x7f, 1], WireError::Tag),
    ];
    for (bytes, error) in table {
        assert_eq!(field_bytes(bytes, 2), Err(error), "{bytes:02x?}");
    }
    assert_eq!(field_bytes(&[0x12, 0, 0x12, 0], 2), Err(WireError::Duplicate(2)));
    // After an error there is nothing more.
    assert_eq!(fields(&[0x00, 0x08, 1]).count(), 1);
}

proptest! {
    #[test]
    fn numbers_take_the_space_they_are_said_to(value in prop_oneof![any::<u64>(), 0..300_u64, Just(u64::MAX)], number in 1..536_870_912_u32) {
        let mut out = Vec::new();
        put_varint(&mut out, value);
        prop_assert_eq!(out.len(), varint_len(value));
        out.clear();
        put_number(&mut out, number, value);
        let found: Vec<_> = fields(&out).map(|field| field.unwrap()).collect();
        if value == 0 {
            prop_assert!(found.is_empty());
        } else {
            prop_assert_eq!(found.len(), 1);
            prop_assert_eq!(found[0].number, number);
            prop_assert_eq!(&found[0].value, &Value::Varint(value));
        }
    }

    #[test]
    fn never_panics_and_stays_within_the_message(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let mut end = 0;
        for field in fields(&bytes).map_while(Result::ok) {
            prop_assert_eq!(field.span.start, end);
            end = field.span.end;
            if let Value::Bytes(range) | Value::Fixed(range) = field.value {
                prop_assert!(range.start <= range.end && range.end == end);
            }
        }
        prop_assert!(end <= bytes.len());
    }

    #[test]
    fn takes_what_prost_writes(conversation in "[a-z/]{0,300}", seq in any::<u64>()) {
        let read = v1::Read { conversation: conversation.clone(), up_to_seq: seq, request_id: 0 };
        let bytes = read.encode_to_vec();
        let found = field_bytes(&bytes, 1).unwrap().map(|range| &bytes[range]);
        prop_assert_eq!(found.unwrap_or_default(), conversation.as_bytes());
    }
}
