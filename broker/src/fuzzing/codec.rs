//! The codec, by bytes: both versions, and both sides of a connection.

use crate::codec::client;
use crate::codec::either::Any;
use crate::codec::{DecodeError, Limits, Packet, PacketType, Version, decode};
use bytes::Bytes;

/// What a decoder made of the bytes at a place.
type Decoded = Result<Option<(Any, usize)>, DecodeError>;

/// Decodes bytes as what a client sends and as what a server sends. The first byte chooses the version and the limits.
///
/// Whatever comes, the decoder does not panic; a packet depends on no byte behind it, and one that is not all there is no packet;
/// what was accepted can be written, and says the same then; an error has a reason code that a server may send.
///
/// # Panics
/// When one of these does not hold.
pub fn codec(data: &[u8]) {
    let Some((&choice, bytes)) = data.split_first() else { return };
    let version = if choice & 1 == 0 { Version::V311 } else { Version::V5 };
    let small = Limits { max_packet_size: 256, max_topic_levels: 4 };
    let limits = if choice & 2 == 0 { Limits::UNLIMITED } else { small };
    let bytes = Bytes::copy_from_slice(bytes);
    let connects = bytes.first().is_some_and(|first| first >> 4 == PacketType::Connect as u8);
    let known = (!connects).then_some(version);
    all(&bytes, version, |bytes, at| {
        let version = if at == 0 { known } else { Some(version) };
        Ok(decode(version, bytes, at, &limits)?.map(|(packet, len)| (Any::Client(packet), len)))
    });
    all(&bytes, version, |bytes, at| {
        Ok(client::decode(version, bytes, at, &limits)?.map(|(packet, len)| (Any::Server(packet), len)))
    });
}

/// One packet after the other, until one is not all there or not to be had.
fn all(bytes: &Bytes, version: Version, decode_at: impl Fn(&Bytes, usize) -> Decoded) {
    let mut at = 0;
    loop {
        match decode_at(bytes, at) {
            Ok(None) => return,
            Err(error) => {
                assert!(error.reason_code().is_error(), "{error} is no error by its code");
                return;
            }
            Ok(Some((packet, len))) => {
                let end = at + len;
                assert!(len >= 2 && end <= bytes.len(), "{len} bytes at {at} of {}", bytes.len());
                let alone = decode_at(&bytes.slice(..end), at);
                assert_eq!(alone, Ok(Some((packet.clone(), len))), "what comes behind a packet changes it");
                assert_eq!(
                    decode_at(&bytes.slice(..end - 1), at),
                    Ok(None),
                    "a packet without its last byte"
                );
                write_again(&packet, version);
                at = end;
            }
        }
    }
}

/// What was accepted can be written, and says the same then.
fn write_again(packet: &Any, version: Version) {
    let version = match packet {
        Any::Client(Packet::Connect(connect)) => connect.version,
        _ => version,
    };
    let bytes = Bytes::from(packet.encode(version));
    let again = match packet {
        Any::Client(client) => {
            let known = (!matches!(client, Packet::Connect(_))).then_some(version);
            decode(known, &bytes, 0, &Limits::UNLIMITED)
                .map(|some| some.map(|(one, len)| (Any::Client(one), len)))
        }
        Any::Server(_) => client::decode(version, &bytes, 0, &Limits::UNLIMITED)
            .map(|some| some.map(|(one, len)| (Any::Server(one), len))),
    };
    assert_eq!(
        again,
        Ok(Some((packet.clone(), bytes.len()))),
        "it does not say the same when it is written again"
    );
}
