//! SUBSCRIBE (section 3.8): filters, each with what is wanted of it.
//!
//! Invariant: the filters are kept as the bytes they came in, all checked; so a packet of many short ones takes no more
//! memory than it had bytes. There is at least one.

use std::fmt;
use std::marker::PhantomData;

use bytes::Bytes;

use super::outline::{Diagnostics, Outline};
use crate::codec::frame::{check_size, write_header};
use crate::codec::primitive::{Block, Reader, Sink};
use crate::codec::property::{Place, Properties, PropertyId};
use crate::codec::{
    ByteStr, DecodeError, EncodeError, PacketId, PacketType, Peer, QoS, UserProperties, Version, check_text,
};
use crate::mutation::{Mutation, mutated};

const NO_LOCAL: u8 = 1 << 2;
const RETAIN_AS_PUBLISHED: u8 = 1 << 3;
const RETAIN_HANDLING_SHIFT: u8 = 4;

/// A SUBSCRIBE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscribe {
    /// What the SUBACK must carry.
    pub packet_id: PacketId,
    /// What a PUBLISH to these subscriptions carries, 1 to 268,435,455; `None` on 3.1.1.
    pub subscription_id: Option<u32>,
    /// Whatever the client adds.
    pub user_properties: UserProperties,
    /// The filters, in order.
    pub filters: Filters<SubscriptionOptions>,
}

/// One filter of a SUBSCRIBE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// A valid filter; on 5.0 perhaps a shared one, whose grammar is checked too.
    pub filter: ByteStr,
    /// What is wanted of it.
    pub options: SubscriptionOptions,
}

/// What is wanted of a subscription. On 3.1.1 all but the QoS is as by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct SubscriptionOptions {
    /// The highest QoS to deliver with.
    pub qos: QoS,
    /// Not to get what this client id publishes itself; never set on a shared subscription [MQTT-3.8.3-4].
    pub no_local: bool,
    /// To keep the RETAIN flag as it was published.
    pub retain_as_published: bool,
    /// Which retained messages to get on subscribing.
    pub retain_handling: RetainHandling,
}

/// Which retained messages a subscription gets when it is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[repr(u8)]
pub enum RetainHandling {
    /// All that match.
    #[default]
    Send = 0,
    /// All that match if the subscription is new.
    SendIfNew = 1,
    /// None.
    DoNotSend = 2,
}

impl SubscriptionOptions {
    /// A QoS, and the rest as by default.
    pub const fn qos(qos: QoS) -> Self {
        Self { qos, no_local: false, retain_as_published: false, retain_handling: RetainHandling::Send }
    }

    /// Reads the options byte of this version.
    pub fn from_u8(version: Version, byte: u8) -> Result<Self, DecodeError> {
        let reserved = if version == Version::V5 { 0b1100_0000 } else { 0b1111_1100 };
        if byte & reserved != 0 && !mutated(Mutation::TakesReservedOptions) {
            return Err(DecodeError::SubscriptionReserved(byte)); // [MQTT-3.8.3-5]
        }
        let retain_handling = match byte >> RETAIN_HANDLING_SHIFT & 0b11 {
            0 => RetainHandling::Send,
            1 => RetainHandling::SendIfNew,
            2 => RetainHandling::DoNotSend,
            _ => return Err(DecodeError::RetainHandling3),
        };
        Ok(Self {
            qos: QoS::from_u8(byte & 0b11).ok_or(DecodeError::SubscriptionQoS3)?,
            no_local: byte & NO_LOCAL != 0,
            retain_as_published: byte & RETAIN_AS_PUBLISHED != 0,
            retain_handling,
        })
    }

    /// The options byte of 5.0.
    pub const fn as_u8(self) -> u8 {
        let no_local = if self.no_local { NO_LOCAL } else { 0 };
        let retain_as_published = if self.retain_as_published { RETAIN_AS_PUBLISHED } else { 0 };
        self.qos.as_u8()
            | no_local
            | retain_as_published
            | (self.retain_handling as u8) << RETAIN_HANDLING_SHIFT
    }
}

/// What stands behind each filter in the list.
pub trait FilterTail: Sized {
    /// What an element of the list is.
    type Item;
    /// How many bytes it takes.
    const LEN: usize;
    /// Puts an element together; the bytes have been checked for 5.0, of whose form the 3.1.1 byte is a part.
    fn item(filter: ByteStr, tail: &[u8]) -> Self::Item;
}

impl FilterTail for SubscriptionOptions {
    type Item = Subscription;
    const LEN: usize = 1;

    fn item(filter: ByteStr, tail: &[u8]) -> Subscription {
        let options = Self::from_u8(Version::V5, tail[0]).expect("checked when the packet was decoded");
        Subscription { filter, options }
    }
}

/// UNSUBSCRIBE has the filters alone.
impl FilterTail for () {
    type Item = ByteStr;
    const LEN: usize = 0;

    fn item(filter: ByteStr, _tail: &[u8]) -> ByteStr {
        filter
    }
}

/// The filters of a SUBSCRIBE or an UNSUBSCRIBE, as the bytes they came in.
#[derive(Clone, PartialEq, Eq)]
pub struct Filters<T> {
    wire: Bytes,
    count: usize,
    tail: PhantomData<T>,
}

impl<T: FilterTail> Filters<T> {
    /// How many there are; at least one.
    #[allow(clippy::len_without_is_empty)] // It is not.
    pub fn len(&self) -> usize {
        self.count
    }

    /// The filters, in order. Each shares the memory of the packet.
    pub fn iter(&self) -> impl Iterator<Item = T::Item> {
        let mut at = 0;
        (0..self.count).map(move |_| {
            let len = usize::from(u16::from_be_bytes([self.wire[at], self.wire[at + 1]]));
            let end = at + 2 + len;
            let item = T::item(ByteStr::trusted(self.wire.slice(at + 2..end)), &self.wire[end..end + T::LEN]);
            at = end + T::LEN;
            item
        })
    }

    /// Reads the list to the end of the packet, checking every filter; `check` looks at what stands behind each, knowing
    /// whether it is a shared one.
    pub(super) fn decode(
        packet: PacketType,
        version: Version,
        body: &mut Reader<'_>,
        max_levels: usize,
        mut check: impl FnMut(&mut Reader<'_>, bool) -> Result<(), DecodeError>,
    ) -> Result<Self, DecodeError> {
        if body.is_empty() && !mutated(Mutation::TakesNoFilter) {
            return Err(DecodeError::NoFilter { packet });
        }
        let mut list = body.clone();
        let mut count = 0;
        while !list.is_empty() {
            let shared = list.skip_filter(version, max_levels)?;
            check(&mut list, shared)?;
            count += 1;
        }
        Ok(Self { wire: body.take_rest(), count, tail: PhantomData })
    }

    pub(super) fn as_wire(&self) -> &[u8] {
        &self.wire
    }
}

impl Filters<SubscriptionOptions> {
    /// Makes a list for a SUBSCRIBE; `None` if it is empty or a filter is not a string of the protocol. The grammar of
    /// the filters is the receiver's to judge.
    pub fn new<'a>(filters: impl IntoIterator<Item = (&'a str, SubscriptionOptions)>) -> Option<Self> {
        Self::from_pairs(filters, |out, options| out.push(options.as_u8()))
    }
}

impl Filters<()> {
    /// Makes a list for an UNSUBSCRIBE; `None` if it is empty or a filter is not a string of the protocol.
    pub fn new<'a>(filters: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        Self::from_pairs(filters.into_iter().map(|filter| (filter, ())), |_, ()| {})
    }
}

impl<T> Filters<T> {
    fn from_pairs<'a>(
        filters: impl IntoIterator<Item = (&'a str, T)>,
        put_tail: impl Fn(&mut Vec<u8>, T),
    ) -> Option<Self> {
        let mut wire = Vec::new();
        let mut count = 0;
        for (filter, tail) in filters {
            check_text(filter.as_bytes()).ok()?;
            wire.put_field(filter.as_bytes());
            put_tail(&mut wire, tail);
            count += 1;
        }
        (count > 0).then(|| Self { wire: Bytes::from(wire), count, tail: PhantomData })
    }
}

impl<T: FilterTail> fmt::Debug for Filters<T>
where
    T::Item: fmt::Debug,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

pub(crate) fn decode(
    version: Version,
    mut body: Reader<'_>,
    max_levels: usize,
) -> Result<Subscribe, DecodeError> {
    let packet_id = body.packet_id()?;
    let mut subscription_id = None;
    let mut user_properties = UserProperties::new();
    if version == Version::V5 {
        let mut walk = Properties::open(&mut body, Place::Subscribe)?;
        while let Some(property) = walk.next()? {
            match property {
                // May repeat in a PUBLISH, not here.
                PropertyId::SubscriptionIdentifier if subscription_id.is_some() => {
                    return Err(DecodeError::PropertyDuplicate { property });
                }
                PropertyId::SubscriptionIdentifier => subscription_id = Some(walk.varint_not_zero()?),
                _ => return Err(DecodeError::PropertyNotAllowed { property }),
            }
        }
        user_properties = walk.into_user();
    }
    let filters = Filters::decode(PacketType::Subscribe, version, &mut body, max_levels, |list, shared| {
        let options = SubscriptionOptions::from_u8(version, list.u8()?)?;
        if shared && options.no_local && !mutated(Mutation::TakesNoLocalOnShared) {
            Err(DecodeError::NoLocalOnShared)
        } else {
            Ok(())
        }
    })?;
    Ok(Subscribe { packet_id, subscription_id, user_properties, filters })
}

/// Writes a SUBSCRIBE, the client's. On 3.1.1 only the QoS of the options is written, and no properties.
pub fn encode(out: &mut impl Sink, peer: &Peer, subscribe: &Subscribe) -> Result<usize, EncodeError> {
    let id = subscribe.packet_id.get().to_be_bytes();
    let first = PacketType::Subscribe.first_byte();
    if peer.version == Version::V5 {
        return Outline {
            first,
            head: &id,
            properties: SubscribeBlock(subscribe.subscription_id),
            diagnostics: Diagnostics::of(None, &subscribe.user_properties),
            always_diagnostics: true,
            short: None,
            tail: subscribe.filters.as_wire(),
        }
        .encode(out, *peer);
    }
    let body_len = id.len() + subscribe.filters.as_wire().len();
    let total = check_size(body_len, peer.max_packet_size)?;
    write_header(out, first, body_len);
    out.put(&id);
    for Subscription { filter, options } in subscribe.filters.iter() {
        out.put_field(filter.as_bytes());
        out.put_u8(options.qos.as_u8());
    }
    Ok(total)
}

struct SubscribeBlock(Option<u32>);

impl Block for SubscribeBlock {
    fn write<S: Sink>(&self, out: &mut S) {
        if let Some(id) = self.0 {
            out.put_u8(PropertyId::SubscriptionIdentifier as u8);
            out.put_varint(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::codec::Packet;
    use crate::codec::sample::{self, both_ways};

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(version in sample::version(), subscribe in sample::subscribe()) {
            let mut bytes = Vec::new();
            let len = encode(&mut bytes, &Peer::unlimited(version), &subscribe).expect("no limit");
            prop_assert_eq!(len, bytes.len());
            let mut expected = subscribe;
            if version == Version::V311 {
                expected.subscription_id = None;
                expected.user_properties = UserProperties::new();
                let filters: Vec<_> = expected.filters.iter().collect();
                let plain = filters.iter().map(|one| (&*one.filter, SubscriptionOptions::qos(one.options.qos)));
                expected.filters = Filters::<SubscriptionOptions>::new(plain).expect("as many as before");
            }
            let [from_server, from_client] = both_ways(version, &bytes);
            prop_assert_eq!(from_client.packet(), Some(&Packet::Subscribe(expected)));
            prop_assert_eq!(from_server.error(), Some(DecodeError::WrongDirection { packet: PacketType::Subscribe }));
        }
    }

    #[test]
    fn every_options_byte_is_accepted_or_refused_as_the_standard_says() {
        for byte in 0..=u8::MAX {
            let v311 = SubscriptionOptions::from_u8(Version::V311, byte);
            assert_eq!(v311.is_ok(), byte <= 2, "{byte:#x}");
            let v5 = SubscriptionOptions::from_u8(Version::V5, byte);
            let legal = byte & 0xC0 == 0 && byte & 0x30 != 0x30 && byte & 3 != 3;
            assert_eq!(v5.is_ok(), legal, "{byte:#x}");
            if let Ok(options) = v5 {
                assert_eq!(options.as_u8(), byte);
            }
        }
    }

    #[test]
    fn a_list_is_not_made_of_nothing_or_of_what_is_no_text() {
        assert_eq!(Filters::<SubscriptionOptions>::new([]), None);
        assert_eq!(Filters::<()>::new(["a\0"]), None);
        let long = "x".repeat(65_536);
        assert_eq!(Filters::<()>::new([&*long]), None);
        let list = Filters::<()>::new(["a", "b/#"]).expect("two texts");
        assert_eq!(format!("{list:?}"), r#"["a", "b/#"]"#);
        assert_eq!(list.len(), 2);
    }
}
