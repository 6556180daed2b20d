//! UNSUBACK (section 3.11): one answer for each filter of an UNSUBSCRIBE; on 3.1.1 just that it was done.

use smallvec::SmallVec;

use super::ack::decode_diagnostics;
use super::outline::{Diagnostics, Nothing, Outline};
use super::suback::{ReasonCodes, decode_codes};
use crate::codec::frame::{check_size, write_header};
use crate::codec::primitive::{Reader, Sink};
use crate::codec::property::Place;
use crate::codec::{
    ByteStr, DecodeError, EncodeError, PacketId, PacketType, Peer, ReasonCode, Sender, UserProperties,
    Version,
};

/// An UNSUBACK.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsuback {
    /// The UNSUBSCRIBE it answers.
    pub packet_id: PacketId,
    /// What became of each filter; left out on 3.1.1.
    pub codes: ReasonCodes,
    /// For people and logs; left out on 3.1.1, and where it does not fit or is not wanted.
    pub reason_string: Option<ByteStr>,
    /// Whatever the server adds; left out in the same cases.
    pub user_properties: UserProperties,
}

impl Unsuback {
    /// Answers, and nothing to add.
    pub fn new(packet_id: PacketId, codes: impl IntoIterator<Item = ReasonCode>) -> Self {
        let codes = codes.into_iter().collect();
        Self { packet_id, codes, reason_string: None, user_properties: UserProperties::new() }
    }
}

/// Writes an UNSUBACK.
pub fn encode(out: &mut impl Sink, peer: &Peer, unsuback: &Unsuback) -> Result<usize, EncodeError> {
    let id = unsuback.packet_id.get().to_be_bytes();
    let first = PacketType::Unsuback.first_byte();
    debug_assert!(unsuback.codes.iter().all(|code| code.allowed_in(PacketType::Unsuback, Sender::Server)));
    if peer.version == Version::V311 {
        let total = check_size(id.len(), peer.max_packet_size)?;
        write_header(out, first, id.len());
        out.put(&id);
        return Ok(total);
    }
    let codes: SmallVec<[u8; 32]> = unsuback.codes.iter().map(|code| code.as_u8()).collect();
    Outline {
        first,
        head: &id,
        properties: Nothing,
        diagnostics: Diagnostics::of(unsuback.reason_string.as_ref(), &unsuback.user_properties),
        always_diagnostics: false,
        short: None,
        tail: &codes,
    }
    .encode(out, *peer)
}

pub(crate) fn decode(version: Version, mut body: Reader<'_>) -> Result<Unsuback, DecodeError> {
    let packet_id = body.packet_id()?;
    if version == Version::V311 {
        body.finish()?;
        return Ok(Unsuback::new(packet_id, []));
    }
    let (reason_string, user_properties) = decode_diagnostics(&mut body, Place::Unsuback)?;
    let codes = decode_codes(version, PacketType::Unsuback, &mut body)?;
    Ok(Unsuback { packet_id, codes, reason_string, user_properties })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::codec::client::ServerPacket;
    use crate::codec::sample::{self, both_ways};

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(version in sample::version(), unsuback in sample::unsuback()) {
            let mut bytes = Vec::new();
            let len = encode(&mut bytes, &Peer::unlimited(version), &unsuback).expect("no limit");
            prop_assert_eq!(len, bytes.len());
            let expected = match version {
                Version::V5 => unsuback,
                Version::V311 => Unsuback::new(unsuback.packet_id, []),
            };
            let [from_server, from_client] = both_ways(version, &bytes);
            prop_assert_eq!(from_server.server_packet(), Some(&ServerPacket::Unsuback(expected)));
            prop_assert_eq!(from_client.error(), Some(DecodeError::WrongDirection { packet: PacketType::Unsuback }));
        }
    }
}
