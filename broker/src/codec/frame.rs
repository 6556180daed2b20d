//! The fixed header: which packet begins here and how long it is, before its body has arrived.
//!
//! Invariant: what can be refused from the bytes of the fixed header is refused as soon as they are there, so that
//! nothing is buffered for a packet that will not be taken.

use super::primitive::{Sink, read_varint, varint_len};
use super::{DecodeError, EncodeError, PacketType, Sender, Version};
use crate::mutation::{Mutation, mutated};

/// The fixed header of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// The type.
    pub kind: PacketType,
    /// The lower four bits of the first byte, legal for the type.
    pub flags: u8,
    /// Bytes of the fixed header: 2 to 5.
    pub header_len: usize,
    /// Bytes of the whole packet, fixed header included.
    pub total_len: usize,
}

/// What [`peek`] can say about the start of a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peek {
    /// At least this many bytes more are needed to know the fixed header.
    Need(usize),
    /// The fixed header is complete and acceptable; the body may not be there yet.
    Frame(Frame),
}

/// Looks at the start of a packet that a client sends. Before its CONNECT is decoded, `version` is `None` and only a
/// CONNECT is accepted. `max_packet_size` is in bytes, fixed header included; the caller gives a small one before
/// CONNECT.
pub fn peek(bytes: &[u8], version: Option<Version>, max_packet_size: u32) -> Result<Peek, DecodeError> {
    peek_from(Sender::Client, bytes, version, max_packet_size)
}

/// As [`peek`], for packets of either side. For a server's packets, `version` must be given.
pub(super) fn peek_from(
    sender: Sender,
    bytes: &[u8],
    version: Option<Version>,
    max_packet_size: u32,
) -> Result<Peek, DecodeError> {
    let Some(&first) = bytes.first() else { return Ok(Peek::Need(2)) };
    let kind = check_first_byte(sender, first, version)?;
    let Some((body_len, len_bytes)) = read_varint(&bytes[1..])? else { return Ok(Peek::Need(1)) };
    let header_len = 1 + len_bytes;
    let total_len = body_len + header_len as u32;
    if total_len > max_packet_size && !mutated(Mutation::TakesLargePackets) {
        return Err(DecodeError::PacketTooLarge { len: total_len, max: max_packet_size });
    }
    Ok(Peek::Frame(Frame { kind, flags: first & 0x0F, header_len, total_len: total_len as usize }))
}

fn check_first_byte(sender: Sender, first: u8, version: Option<Version>) -> Result<PacketType, DecodeError> {
    use PacketType as P;

    let (kind, flags) = (first >> 4, first & 0x0F);
    if kind == P::Publish as u8 && version.is_some() {
        return check_publish_flags(flags).map(|()| P::Publish);
    }
    if sender == Sender::Client && version.is_none() && kind != P::Connect as u8 {
        return Err(DecodeError::ConnectExpected { first });
    }
    let packet = match PacketType::from_u8(kind) {
        None => return Err(DecodeError::ReservedType { kind }),
        Some(P::Auth) if version == Some(Version::V311) => return Err(DecodeError::ReservedType { kind }),
        Some(packet) => packet,
    };
    let forbidden = match sender {
        Sender::Client => matches!(packet, P::Connack | P::Suback | P::Unsuback | P::Pingresp),
        Sender::Server => {
            matches!(packet, P::Connect | P::Subscribe | P::Unsubscribe | P::Pingreq)
                || (packet == P::Disconnect && version == Some(Version::V311))
        }
    };
    if forbidden {
        return Err(DecodeError::WrongDirection { packet });
    }
    if packet == P::Connect && version.is_some() {
        return Err(DecodeError::SecondConnect);
    }
    if first != packet.first_byte() && !mutated(Mutation::TakesAnyHeaderFlags) {
        return Err(DecodeError::HeaderFlags { packet, flags });
    }
    Ok(packet)
}

fn check_publish_flags(flags: u8) -> Result<(), DecodeError> {
    match (flags >> 1 & 0b11, flags & 0b1000 != 0) {
        (3, _) => Err(DecodeError::PublishQoS3),
        (0, true) if !mutated(Mutation::TakesDupWithQoS0) => Err(DecodeError::DupWithQoS0),
        _ => Ok(()),
    }
}

/// Checks a packet's size against the receiver's maximum and gives its whole length in bytes.
pub(crate) fn check_size(body_len: usize, max_packet_size: u32) -> Result<usize, EncodeError> {
    let max_body = super::primitive::MAX_VARINT as usize;
    let total = body_len + 1 + varint_len(body_len.min(max_body) as u32);
    let too_large = total > max_packet_size as usize && !mutated(Mutation::SendsLargePackets);
    if body_len > max_body || too_large {
        return Err(EncodeError::TooLarge { len: total, max: max_packet_size });
    }
    Ok(total)
}

/// Writes a fixed header. `body_len` has passed [`check_size`].
pub(crate) fn write_header(out: &mut impl Sink, first: u8, body_len: usize) {
    out.put_u8(first);
    out.put_varint(body_len as u32);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_judged_as_its_bytes_arrive() {
        let v5 = Some(Version::V5);
        assert_eq!(peek(&[], v5, 100), Ok(Peek::Need(2)));
        assert_eq!(peek(&[0x30], v5, 100), Ok(Peek::Need(1)));
        assert_eq!(peek(&[0x30, 0x80], v5, 100), Ok(Peek::Need(1)));
        assert_eq!(peek(&[0x30, 99], v5, 100), Err(DecodeError::PacketTooLarge { len: 101, max: 100 }));
        let frame = Frame { kind: PacketType::Publish, flags: 0, header_len: 2, total_len: 100 };
        assert_eq!(peek(&[0x30, 98], v5, 100), Ok(Peek::Frame(frame)));
        assert_eq!(peek(&[0x36], v5, 100), Err(DecodeError::PublishQoS3));
        assert_eq!(peek(&[0x38], v5, 100), Err(DecodeError::DupWithQoS0));
        assert_eq!(peek(&[0x62, 0x80, 0x00], v5, 100), Err(DecodeError::VarintNotMinimal));
    }

    #[test]
    fn before_connect_only_connect() {
        for first in 0..=u8::MAX {
            let seen = peek(&[first], None, 100);
            match first {
                0x10 => assert_eq!(seen, Ok(Peek::Need(1))),
                0x11..=0x1F => assert!(matches!(seen, Err(DecodeError::HeaderFlags { .. })), "{first:02X}"),
                _ => assert_eq!(seen, Err(DecodeError::ConnectExpected { first })),
            }
        }
    }

    #[test]
    fn which_first_bytes_a_client_may_send() {
        let legal = |version| (0..=u8::MAX).filter(move |first| peek(&[*first], Some(version), 100).is_ok());
        let v311 = [
            0x30, 0x31, 0x32, 0x33, 0x34, 0x35, 0x3A, 0x3B, 0x3C, 0x3D, 0x40, 0x50, 0x62, 0x70, 0x82, 0xA2,
            0xC0, 0xE0,
        ];
        assert!(legal(Version::V311).eq(v311));
        assert!(legal(Version::V5).eq(v311.into_iter().chain([0xF0])));
    }

    #[test]
    fn which_first_bytes_a_server_may_send() {
        let legal = |version| {
            (0..=u8::MAX)
                .filter(move |first| peek_from(Sender::Server, &[*first], Some(version), 100).is_ok())
        };
        let v311 = [
            0x20, 0x30, 0x31, 0x32, 0x33, 0x34, 0x35, 0x3A, 0x3B, 0x3C, 0x3D, 0x40, 0x50, 0x62, 0x70, 0x90,
            0xB0, 0xD0,
        ];
        assert!(legal(Version::V311).eq(v311));
        assert!(legal(Version::V5).eq(v311.into_iter().chain([0xE0, 0xF0])));
    }

    #[test]
    fn sizes_count_the_header() {
        assert_eq!(check_size(127, 129), Ok(129));
        assert_eq!(check_size(128, 130), Err(EncodeError::TooLarge { len: 131, max: 130 }));
        assert_eq!(check_size(0, 2), Ok(2));
        assert!(check_size(268_435_456, u32::MAX).is_err());
    }
}
