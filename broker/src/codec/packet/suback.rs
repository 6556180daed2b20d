//! SUBACK (section 3.9): one answer for each filter of a SUBSCRIBE, in its order [MQTT-3.8.4-6].

use smallvec::SmallVec;

use super::ack::decode_diagnostics;
use super::outline::{Diagnostics, Nothing, Outline};
use crate::codec::frame::{check_size, write_header};
use crate::codec::primitive::{Reader, Sink};
use crate::codec::property::Place;
use crate::codec::{
    ByteStr, DecodeError, EncodeError, PacketId, PacketType, Peer, ReasonCode, Sender, UserProperties,
    Version,
};

/// The answers of a SUBACK or UNSUBACK; one or a few.
pub type ReasonCodes = SmallVec<[ReasonCode; 8]>;

/// A SUBACK.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suback {
    /// The SUBSCRIBE it answers.
    pub packet_id: PacketId,
    /// What became of each filter.
    pub codes: ReasonCodes,
    /// For people and logs; left out on 3.1.1, and where it does not fit or is not wanted.
    pub reason_string: Option<ByteStr>,
    /// Whatever the server adds; left out in the same cases.
    pub user_properties: UserProperties,
}

impl Suback {
    /// Answers, and nothing to add.
    pub fn new(packet_id: PacketId, codes: impl IntoIterator<Item = ReasonCode>) -> Self {
        let codes = codes.into_iter().collect();
        Self { packet_id, codes, reason_string: None, user_properties: UserProperties::new() }
    }
}

/// Writes a SUBACK. 3.1.1 has one code for every refusal, 0x80 [MQTT-3.9.3-2].
pub fn encode(out: &mut impl Sink, peer: &Peer, suback: &Suback) -> Result<usize, EncodeError> {
    let id = suback.packet_id.get().to_be_bytes();
    let first = PacketType::Suback.first_byte();
    debug_assert!(suback.codes.iter().all(|code| code.allowed_in(PacketType::Suback, Sender::Server)));
    if peer.version == Version::V311 {
        let total = check_size(id.len() + suback.codes.len(), peer.max_packet_size)?;
        write_header(out, first, id.len() + suback.codes.len());
        out.put(&id);
        suback.codes.iter().for_each(|code| out.put_u8(code.as_u8().min(0x80)));
        return Ok(total);
    }
    let codes: SmallVec<[u8; 32]> = suback.codes.iter().map(|code| code.as_u8()).collect();
    Outline {
        first,
        head: &id,
        properties: Nothing,
        diagnostics: Diagnostics::of(suback.reason_string.as_ref(), &suback.user_properties),
        always_diagnostics: false,
        short: None,
        tail: &codes,
    }
    .encode(out, *peer)
}

pub(crate) fn decode(version: Version, mut body: Reader<'_>) -> Result<Suback, DecodeError> {
    let packet_id = body.packet_id()?;
    let (reason_string, user_properties) = match version {
        Version::V5 => decode_diagnostics(&mut body, Place::Suback)?,
        Version::V311 => (None, UserProperties::new()),
    };
    let codes = decode_codes(version, PacketType::Suback, &mut body)?;
    Ok(Suback { packet_id, codes, reason_string, user_properties })
}

/// Codes to the end of the packet, at least one.
pub(super) fn decode_codes(
    version: Version,
    packet: PacketType,
    body: &mut Reader<'_>,
) -> Result<ReasonCodes, DecodeError> {
    if body.is_empty() {
        return Err(DecodeError::Truncated);
    }
    body.take_rest()
        .iter()
        .map(|&code| {
            ReasonCode::from_u8(code)
                .filter(|reason| reason.allowed_in(packet, Sender::Server))
                .filter(|_| version == Version::V5 || code <= 0x80)
                .ok_or(DecodeError::ReasonCode { packet, code })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::codec::client::ServerPacket;
    use crate::codec::sample::{self, both_ways};

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(version in sample::version(), suback in sample::suback()) {
            let mut bytes = Vec::new();
            let len = encode(&mut bytes, &Peer::unlimited(version), &suback).expect("no limit");
            prop_assert_eq!(len, bytes.len());
            let mut expected = suback;
            if version == Version::V311 {
                let refused = |code: &ReasonCode| if code.is_error() { ReasonCode::UnspecifiedError } else { *code };
                expected = Suback::new(expected.packet_id, expected.codes.iter().map(refused));
            }
            let [from_server, from_client] = both_ways(version, &bytes);
            prop_assert_eq!(from_server.server_packet(), Some(&ServerPacket::Suback(expected)));
            prop_assert_eq!(from_client.error(), Some(DecodeError::WrongDirection { packet: PacketType::Suback }));
        }
    }

    #[test]
    fn the_codes_stay_when_the_words_do_not_fit() {
        let mut suback = Suback::new(PacketId::MIN, [ReasonCode::GrantedQoS1, ReasonCode::NotAuthorized]);
        suback.reason_string = Some(ByteStr::from_static("because"));
        let encoded = |max_packet_size, problem_information| {
            let mut bytes = Vec::new();
            let peer = Peer { version: Version::V5, max_packet_size, problem_information };
            encode(&mut bytes, &peer, &suback).map(|_| bytes)
        };
        assert_eq!(encoded(17, true).expect("fits").len(), 17);
        assert_eq!(encoded(16, true).expect("fits"), [0x90, 5, 0, 1, 0, 1, 0x87]);
        assert_eq!(encoded(100, false).expect("fits"), [0x90, 5, 0, 1, 0, 1, 0x87]);
        assert_eq!(encoded(6, true), Err(EncodeError::TooLarge { len: 7, max: 6 }));
    }
}
