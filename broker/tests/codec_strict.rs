//! What the decoder refuses, with which error, and what it must not refuse.

use std::collections::HashSet;

use bytes::Bytes;
use chasqui_broker::codec::property::PropertyId;
use chasqui_broker::codec::{DecodeError, Limits, Packet, ReasonCode, Version, decode};

#[path = "codec/accepted.rs"]
mod accepted;
#[path = "codec/build.rs"]
mod build;
#[path = "codec/refused.rs"]
mod refused;

use build::{connect_5, field, packet, props};

/// Small enough that the tables can go beyond them.
const LIMITS: Limits = Limits { max_packet_size: 65_536, max_topic_levels: 8 };
/// For the legal packets that are longer.
const WIDE: Limits = Limits { max_packet_size: 200_000, ..LIMITS };

#[test]
fn every_malformed_packet_is_refused_with_its_reason() {
    let table = refused::all();
    assert!(table.len() >= 150, "{}", table.len());
    for row in &table {
        let seen = decode(row.version, &Bytes::from(row.bytes.clone()), 0, &LIMITS);
        assert_eq!(seen, Err(row.error), "{} ({:?}): {:02X?}", row.name, row.version, row.bytes);
        let code = ReasonCode::from_u8(row.code).expect("the table's codes exist");
        assert_eq!(row.error.reason_code(), code, "{}", row.name);
        assert!(!row.error.to_string().is_empty());
    }
}

#[test]
fn no_row_of_the_tables_is_there_twice() {
    let mut seen = HashSet::new();
    for row in refused::all() {
        assert!(seen.insert((row.version, row.bytes)), "{} is a repetition", row.name);
    }
    for row in accepted::all() {
        assert!(seen.insert((row.version, row.bytes)), "{} is a repetition", row.name);
    }
}

#[test]
fn every_rare_and_legal_packet_is_accepted() {
    let table = accepted::all();
    assert!(table.len() >= 60, "{}", table.len());
    for row in &table {
        let seen = decode(row.version, &Bytes::from(row.bytes.clone()), 0, &WIDE);
        let Ok(Some((packet, len))) = seen else { panic!("{}: {seen:?}", row.name) };
        assert_eq!(len, row.bytes.len(), "{}", row.name);
        assert!((row.holds)(&packet), "{}: {packet:?}", row.name);
    }
}

/// Whatever follows a packet is not looked at.
#[test]
fn what_follows_changes_nothing() {
    for row in accepted::all() {
        let alone = decode(row.version, &Bytes::from(row.bytes.clone()), 0, &WIDE);
        let mut followed = vec![0xFF, 0xFF];
        followed.extend(&row.bytes);
        followed.extend([0xFF, 0xFF, 0xFF]);
        assert_eq!(decode(row.version, &Bytes::from(followed), 2, &WIDE), alone, "{}", row.name);
    }
}

/// A packet that ends early, its length saying so, is an error: at every place but the ends of the short forms and in a payload.
#[test]
fn a_packet_cut_short_is_refused() {
    for row in accepted::all().into_iter().filter(|row| row.bytes.len() < 300) {
        let header = if row.bytes[1] & 0x80 == 0 { 2 } else { 3 };
        let body = &row.bytes[header..];
        for cut in 0..body.len() {
            let bytes = packet(row.bytes[0], &[&body[..cut]]);
            let seen = decode(row.version, &Bytes::from(bytes), 0, &WIDE);
            let shorter = match &seen {
                Ok(Some((Packet::Publish(publish), _))) => publish.payload.len() < body.len(),
                Ok(Some((
                    Packet::Puback(_) | Packet::Pubrec(_) | Packet::Pubrel(_) | Packet::Pubcomp(_),
                    _,
                ))) => row.version == Some(Version::V5) && (2..=3).contains(&cut),
                Ok(Some((Packet::Disconnect(_), _))) => row.version == Some(Version::V5) && cut <= 1,
                Ok(Some((Packet::Subscribe(list), _))) => list.filters.len() < 3,
                Ok(Some((Packet::Unsubscribe(list), _))) => list.filters.len() < 2,
                Ok(_) => false,
                Err(_) => true,
            };
            assert!(shorter, "{} cut at {cut}: {seen:?}", row.name);
        }
    }
}

/// A byte more than the packet has is an error wherever there is no payload to take it.
#[test]
fn a_packet_made_longer_is_refused() {
    for row in accepted::all().into_iter().filter(|row| row.bytes.len() < 300 && row.bytes[0] & 0xF0 != 0x30)
    {
        let header = if row.bytes[1] & 0x80 == 0 { 2 } else { 3 };
        let body = &row.bytes[header..];
        let seen = decode(row.version, &Bytes::from(packet(row.bytes[0], &[body, b"\x01"])), 0, &WIDE);
        let short_form =
            matches!(row.bytes[0], 0x40..=0x7F | 0xE0) && row.version == Some(Version::V5) && body.len() < 3;
        let as_expected = match &seen {
            Err(_) => true,
            // The byte is then the reason code or the length of the properties.
            Ok(_) => short_form,
        };
        assert!(as_expected, "{}: {seen:?}", row.name);
    }
}

/// Table 2-4 of the standard: where each property may stand in what a client sends (C CONNECT, W will, P PUBLISH, A acks,
/// S SUBSCRIBE, U UNSUBSCRIBE, D DISCONNECT, H AUTH).
const WHERE: &[(u8, &[u8], &str)] = &[
    (0x01, b"\x01", "WP"),
    (0x02, b"\0\0\0\x01", "WP"),
    (0x03, b"\0\x01a", "WP"),
    (0x08, b"\0\x01a", "WP"),
    (0x09, b"\0\x01a", "WP"),
    (0x0B, b"\x01", "S"),
    (0x11, b"\0\0\0\x01", "CD"),
    (0x12, b"\0\x01a", ""),
    (0x13, b"\0\x01", ""),
    (0x15, b"\0\x01a", "CH"),
    (0x16, b"\0\x01a", "CH"),
    (0x17, b"\x01", "C"),
    (0x18, b"\0\0\0\x01", "W"),
    (0x19, b"\x01", "C"),
    (0x1A, b"\0\x01a", ""),
    (0x1C, b"\0\x01a", "D"),
    (0x1F, b"\0\x01a", "ADH"),
    (0x21, b"\0\x01", "C"),
    (0x22, b"\0\x01", "C"),
    (0x23, b"\0\x01", "P"),
    (0x24, b"\x01", ""),
    (0x25, b"\x01", ""),
    (0x26, b"\0\x01a\0\x01b", "CWPASUDH"),
    (0x27, b"\0\0\0\x01", "C"),
    (0x28, b"\x01", ""),
    (0x29, b"\x01", ""),
    (0x2A, b"\x01", ""),
];

/// A legal packet of this kind, but for its properties.
fn around(place: char, properties: &[u8]) -> (Option<Version>, Vec<u8>) {
    let block = &props(&[properties]);
    let after =
        |first, before: &[u8], after: &[u8]| (Some(Version::V5), packet(first, &[before, block, after]));
    match place {
        'C' => (None, connect_5(2, &[properties], &[&field("c")])),
        'W' => (None, connect_5(6, &[], &[&field("c"), block, &field("w"), &field("p")])),
        'P' => after(0x30, &field("t"), b"x"),
        'A' => after(0x40, b"\0\x01\0", b""),
        'S' => after(0x82, b"\0\x01", b"\0\x01a\0"),
        'U' => after(0xA2, b"\0\x01", b"\0\x01a"),
        'D' => after(0xE0, b"\0", b""),
        'H' => after(0xF0, b"\x18", b""),
        other => unreachable!("no place {other}"),
    }
}

#[test]
fn every_property_is_accepted_where_the_standard_says_and_nowhere_else() {
    for id in 0..=u8::MAX {
        let known = WHERE.iter().find(|(known, ..)| *known == id);
        let (value, places): (&[u8], &str) =
            known.map_or((b"\0\x01a\0\x01b", ""), |(_, value, places)| (value, places));
        for place in "CWPASUDH".chars() {
            let mut properties = vec![id];
            properties.extend(value);
            // Data needs a method, and AUTH needs one always.
            if (id == 0x16 && place == 'C') || (place == 'H' && id != 0x15) {
                properties.extend(b"\x15\0\x01m");
            }
            let (version, bytes) = around(place, &properties);
            let seen = decode(version, &Bytes::from(bytes), 0, &LIMITS);
            let expected = match PropertyId::from_u8(id) {
                None => Err(DecodeError::PropertyUnknown(id)),
                Some(_) if places.contains(place) => Ok(()),
                Some(PropertyId::SubscriptionIdentifier) if place == 'P' => {
                    Err(DecodeError::SubscriptionIdFromClient)
                }
                Some(property) => Err(DecodeError::PropertyNotAllowed { property }),
            };
            assert_eq!(seen.map(|_| ()), expected, "property {id:#04X} in {place}");
        }
    }
}

/// Every reason code in every packet of a client that has one.
#[test]
fn every_reason_code_is_accepted_where_the_standard_says_and_nowhere_else() {
    const ACK: &[u8] = &[0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99];
    const RELEASE: &[u8] = &[0x00, 0x92];
    const DISCONNECT: &[u8] =
        &[0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99];
    const AUTH: &[u8] = &[0x18, 0x19];
    // First byte, what stands before and behind the code, the legal codes.
    type Kind = (u8, &'static [u8], &'static [u8], &'static [u8]);
    let kinds: [Kind; 6] = [
        (0x40, b"\0\x01", b"", ACK),
        (0x50, b"\0\x01", b"", ACK),
        (0x62, b"\0\x01", b"", RELEASE),
        (0x70, b"\0\x01", b"", RELEASE),
        (0xE0, b"", b"", DISCONNECT),
        (0xF0, b"", b"\x04\x15\0\x01m", AUTH),
    ];
    for (first, before, after, legal) in kinds {
        for code in 0..=u8::MAX {
            let bytes = packet(first, &[before, &[code], after]);
            let seen = decode(Some(Version::V5), &Bytes::from(bytes), 0, &LIMITS);
            match seen {
                Ok(seen) => assert!(seen.is_some() && legal.contains(&code), "{first:#04X} {code:#04X}"),
                Err(error) => {
                    assert!(
                        matches!(error, DecodeError::ReasonCode { code: seen, .. } if seen == code),
                        "{error}"
                    );
                    assert!(!legal.contains(&code), "{first:#04X} {code:#04X}");
                }
            }
        }
    }
}
