//! UNSUBSCRIBE (section 3.10): filters to forget.

use super::outline::{Diagnostics, Nothing, Outline};
use super::subscribe::Filters;
use crate::codec::frame::{check_size, write_header};
use crate::codec::primitive::{Reader, Sink};
use crate::codec::property::{Place, Properties};
use crate::codec::{DecodeError, EncodeError, PacketId, PacketType, Peer, UserProperties, Version};

/// An UNSUBSCRIBE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsubscribe {
    /// What the UNSUBACK must carry.
    pub packet_id: PacketId,
    /// Whatever the client adds; none on 3.1.1.
    pub user_properties: UserProperties,
    /// The filters, in order.
    pub filters: Filters<()>,
}

pub(crate) fn decode(
    version: Version,
    mut body: Reader<'_>,
    max_levels: usize,
) -> Result<Unsubscribe, DecodeError> {
    let packet_id = body.packet_id()?;
    let mut user_properties = UserProperties::new();
    if version == Version::V5 {
        let mut walk = Properties::open(&mut body, Place::Unsubscribe)?;
        if let Some(property) = walk.next()? {
            return Err(DecodeError::PropertyNotAllowed { property });
        }
        user_properties = walk.into_user();
    }
    let filters = Filters::decode(PacketType::Unsubscribe, version, &mut body, max_levels, |_, _| Ok(()))?;
    Ok(Unsubscribe { packet_id, user_properties, filters })
}

/// Writes an UNSUBSCRIBE, the client's. Properties are left out on 3.1.1.
pub fn encode(out: &mut impl Sink, peer: &Peer, unsubscribe: &Unsubscribe) -> Result<usize, EncodeError> {
    let id = unsubscribe.packet_id.get().to_be_bytes();
    let first = PacketType::Unsubscribe.first_byte();
    let filters = unsubscribe.filters.as_wire();
    if peer.version == Version::V5 {
        return Outline {
            first,
            head: &id,
            properties: Nothing,
            diagnostics: Diagnostics::of(None, &unsubscribe.user_properties),
            always_diagnostics: true,
            short: None,
            tail: filters,
        }
        .encode(out, *peer);
    }
    let total = check_size(id.len() + filters.len(), peer.max_packet_size)?;
    write_header(out, first, id.len() + filters.len());
    out.put(&id);
    out.put(filters);
    Ok(total)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::codec::Packet;
    use crate::codec::sample::{self, both_ways};

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(version in sample::version(), unsubscribe in sample::unsubscribe()) {
            let mut bytes = Vec::new();
            let len = encode(&mut bytes, &Peer::unlimited(version), &unsubscribe).expect("no limit");
            prop_assert_eq!(len, bytes.len());
            let mut expected = unsubscribe;
            if version == Version::V311 {
                expected.user_properties = UserProperties::new();
            }
            let [from_server, from_client] = both_ways(version, &bytes);
            prop_assert_eq!(from_client.packet(), Some(&Packet::Unsubscribe(expected)));
            prop_assert_eq!(from_server.error(), Some(DecodeError::WrongDirection { packet: PacketType::Unsubscribe }));
        }
    }
}
