//! PUBACK, PUBREC, PUBREL and PUBCOMP (sections 3.4 to 3.7): one body for all four.
//!
//! 5.0 has three lengths of it: the packet id alone (success), with a reason code, and with properties behind that.

use super::outline::{Diagnostics, Nothing, Outline};
use crate::codec::primitive::{Reader, Sink};
use crate::codec::property::{Place, Properties, PropertyId};
use crate::codec::{
    ByteStr, DecodeError, EncodeError, PacketId, PacketType, Peer, ReasonCode, Sender, UserProperties,
    Version,
};
use crate::mutation::{Mutation, mutated};

/// One of the four, as received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ack {
    /// The packet it answers.
    pub packet_id: PacketId,
    /// Always [`ReasonCode::Success`] on 3.1.1.
    pub reason: ReasonCode,
    /// `None` when there are none, and on 3.1.1.
    pub properties: Option<Box<AckProperties>>,
}

/// The 5.0 properties of the four.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AckProperties {
    /// For people and logs.
    pub reason_string: Option<ByteStr>,
    /// Whatever the sender adds.
    pub user_properties: UserProperties,
}

/// One of the four, to be sent. It borrows, so that answering a PUBLISH allocates nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AckOut<'a> {
    /// The packet it answers.
    pub packet_id: PacketId,
    /// A code that the packet may carry.
    pub reason: ReasonCode,
    /// For people and logs; without U+0000. Left out on 3.1.1, and where the receiver does not want it or it does not fit.
    pub reason_string: Option<&'a str>,
    /// Pairs without U+0000; left out in the same cases, all or none.
    pub user_properties: &'a [(&'a str, &'a str)],
}

impl AckOut<'_> {
    /// Success, and nothing to add.
    pub const fn success(packet_id: PacketId) -> Self {
        Self::reason(packet_id, ReasonCode::Success)
    }

    /// A reason code, and nothing to add.
    pub const fn reason(packet_id: PacketId, reason: ReasonCode) -> Self {
        Self { packet_id, reason, reason_string: None, user_properties: &[] }
    }
}

#[inline]
pub(crate) fn decode(
    version: Version,
    kind: PacketType,
    sender: Sender,
    mut body: Reader<'_>,
) -> Result<Ack, DecodeError> {
    let packet_id = body.packet_id()?;
    let mut ack = Ack { packet_id, reason: ReasonCode::Success, properties: None };
    if version == Version::V5 && !body.is_empty() {
        ack.reason = read_reason(&mut body, kind, sender)?;
        if !body.is_empty() {
            ack.properties = decode_properties(&mut body)?;
        }
    }
    body.finish()?;
    Ok(ack)
}

/// A reason code that this packet may carry.
pub(super) fn read_reason(
    body: &mut Reader<'_>,
    packet: PacketType,
    sender: Sender,
) -> Result<ReasonCode, DecodeError> {
    let code = body.u8()?;
    ReasonCode::from_u8(code)
        .filter(|reason| reason.allowed_in(packet, sender) || mutated(Mutation::TakesAnyReasonCode))
        .ok_or(DecodeError::ReasonCode { packet, code })
}

fn decode_properties(body: &mut Reader<'_>) -> Result<Option<Box<AckProperties>>, DecodeError> {
    let (reason_string, user_properties) = decode_diagnostics(body, Place::Ack)?;
    if reason_string.is_none() && user_properties.is_empty() {
        return Ok(None);
    }
    Ok(Some(Box::new(AckProperties { reason_string, user_properties })))
}

/// A block that may hold a reason string and user properties and nothing else.
pub(super) fn decode_diagnostics(
    body: &mut Reader<'_>,
    place: Place,
) -> Result<(Option<ByteStr>, UserProperties), DecodeError> {
    let mut reason_string = None;
    let mut properties = Properties::open(body, place)?;
    while let Some(property) = properties.next()? {
        match property {
            PropertyId::ReasonString => reason_string = Some(properties.text()?),
            _ => return Err(DecodeError::PropertyNotAllowed { property }),
        }
    }
    Ok((reason_string, properties.into_user()))
}

/// Writes PUBACK, PUBREC, PUBREL or PUBCOMP, as `kind` says. A 3.1.1 PUBACK or PUBREC cannot refuse: for an error code
/// nothing is written and the result is 0.
pub fn encode(
    out: &mut impl Sink,
    peer: &Peer,
    kind: PacketType,
    ack: &AckOut<'_>,
) -> Result<usize, EncodeError> {
    debug_assert!(ack.reason.allowed_in(kind, Sender::Server));
    let [high, low] = ack.packet_id.get().to_be_bytes();
    let diagnostics = match peer.version {
        Version::V5 => Diagnostics::of_pairs(ack.reason_string, ack.user_properties),
        Version::V311 if ack.reason.is_error() && matches!(kind, PacketType::Puback | PacketType::Pubrec) => {
            return Ok(0);
        }
        Version::V311 => Diagnostics::default(),
    };
    let reason = match peer.version {
        Version::V5 => ack.reason,
        Version::V311 => ReasonCode::Success,
    };
    let short = if reason == ReasonCode::Success { 2 } else { 3 };
    Outline {
        first: kind.first_byte(),
        head: &[high, low, reason.as_u8()],
        properties: Nothing,
        diagnostics,
        always_diagnostics: false,
        short: Some(short),
        tail: &[],
    }
    .encode(out, *peer)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::codec::sample::{self, both_ways};

    const KINDS: [PacketType; 4] =
        [PacketType::Puback, PacketType::Pubrec, PacketType::Pubrel, PacketType::Pubcomp];

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(
            version in sample::version(),
            kind in prop::sample::select(&KINDS[..]),
            packet_id in sample::packet_id(),
            reason in prop::sample::select(ReasonCode::ALL),
            reason_string in prop::option::of(sample::text()),
            pairs in sample::pairs(),
        ) {
            let reason = if reason.allowed_in(kind, Sender::Server) { reason } else { ReasonCode::Success };
            let user_properties: Vec<_> = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            let ack = AckOut { packet_id, reason, reason_string: reason_string.as_deref(), user_properties: &user_properties };
            let peer = Peer::unlimited(version);
            let mut bytes = Vec::new();
            let len = encode(&mut bytes, &peer, kind, &ack).expect("no limit");
            prop_assert_eq!(len, bytes.len());
            if version == Version::V311 && reason.is_error() && matches!(kind, PacketType::Puback | PacketType::Pubrec) {
                prop_assert_eq!(len, 0);
                return Ok(());
            }
            let properties = AckProperties {
                reason_string: reason_string.clone(),
                user_properties: UserProperties::from_pairs(user_properties.iter().copied()).expect("valid strings"),
            };
            let plain = version == Version::V311 || properties == AckProperties::default();
            let expected = Ack {
                packet_id,
                reason: if version == Version::V5 { reason } else { ReasonCode::Success },
                properties: (!plain).then(|| Box::new(properties)),
            };
            for seen in both_ways(version, &bytes) {
                prop_assert_eq!(seen.ack(kind), Some(&expected));
            }
        }
    }

    #[test]
    fn the_shortest_form_is_written() {
        let id = PacketId::new(0x1234).expect("not 0");
        let cases: &[(Version, AckOut<'_>, &[u8])] = &[
            (Version::V311, AckOut::success(id), &[0x40, 2, 0x12, 0x34]),
            (Version::V5, AckOut::success(id), &[0x40, 2, 0x12, 0x34]),
            (Version::V5, AckOut::reason(id, ReasonCode::NotAuthorized), &[0x40, 3, 0x12, 0x34, 0x87]),
            (Version::V311, AckOut::reason(id, ReasonCode::NoMatchingSubscribers), &[0x40, 2, 0x12, 0x34]),
            (Version::V311, AckOut::reason(id, ReasonCode::NotAuthorized), &[]),
            (
                Version::V5,
                AckOut { user_properties: &[("seq", "7")], ..AckOut::success(id) },
                &[0x40, 13, 0x12, 0x34, 0, 9, 0x26, 0, 3, b's', b'e', b'q', 0, 1, b'7'],
            ),
        ];
        for (version, ack, expected) in cases {
            let mut bytes = Vec::new();
            let len =
                encode(&mut bytes, &Peer::unlimited(*version), PacketType::Puback, ack).expect("no limit");
            assert_eq!(len, expected.len());
            assert_eq!(&bytes, expected);
        }
    }

    #[test]
    fn what_does_not_fit_is_left_out() {
        let id = PacketId::MIN;
        let user = [("n", "v")];
        let ack = AckOut {
            reason_string: Some("because"),
            user_properties: &user,
            ..AckOut::reason(id, ReasonCode::QuotaExceeded)
        };
        let len = |max_packet_size, problem_information| {
            let peer = Peer { version: Version::V5, max_packet_size, problem_information };
            encode(&mut Vec::new(), &peer, PacketType::Puback, &ack)
        };
        assert_eq!(len(100, true), Ok(23), "2 header, 3 head, 1 length, 10 reason, 7 pair");
        assert_eq!(len(23, true), Ok(23));
        assert_eq!(len(22, true), Ok(16), "without the pair");
        assert_eq!(len(15, true), Ok(13), "without the reason string");
        assert_eq!(len(12, true), Ok(5));
        assert_eq!(len(100, false), Ok(5));
        assert_eq!(len(4, true), Err(EncodeError::TooLarge { len: 5, max: 4 }));
    }

    #[test]
    fn a_pair_too_long_for_the_protocol_is_left_out() {
        let long = "x".repeat(65_536);
        let pairs = [("n", long.as_str())];
        let ack = AckOut { user_properties: &pairs, ..AckOut::success(PacketId::MIN) };
        let mut bytes = Vec::new();
        assert_eq!(encode(&mut bytes, &Peer::unlimited(Version::V5), PacketType::Pubrec, &ack), Ok(4));
    }
}
