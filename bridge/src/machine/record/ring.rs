//! The ids of the messages that a device had accepted last, so that a retry gets the first answer again.
//!
//! In memory an item is kept as it is stored, with a fingerprint beside it: a look-up compares small numbers
//! that lie together, and then the bytes of what matches. Nearly every look-up finds nothing, so that is what
//! has to be cheap.

use crate::machine::codec::{self, DecodeError, put_number};
use chasqui_proto::limits::DEDUPE_IDS_PER_DEVICE;
use chasqui_proto::{ClientMsgId, ConversationId, Seq};
use foldhash::quality::FixedState;
use std::collections::VecDeque;
use std::hash::BuildHasher;

const VERSION: u8 = 1;

/// Fingerprints compared at once.
const AT_ONCE: usize = 32;

/// An accepted message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RingItem {
    /// The conversation it was for.
    pub conversation: ConversationId,
    /// The device's id for it.
    pub id: ClientMsgId,
    /// The number it got.
    pub seq: Seq,
    /// The time it got, in Unix milliseconds.
    pub time_ms: u64,
}

impl RingItem {
    /// The item as stored.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_name(out, &self.conversation, &self.id);
        put_number(out, self.seq.0);
        put_number(out, self.time_ms);
    }

    /// Reads a stored item.
    ///
    /// # Errors
    /// If it is of a newer version, or no such item.
    pub fn decode(stored: &[u8]) -> Result<RingItem, DecodeError> {
        codec::versioned("message id", VERSION, stored, |input| {
            let id = ClientMsgId::from_bytes(input.bytes()?).ok()?;
            let conversation = ConversationId::parse(input.text()?).ok()?;
            Some(RingItem { conversation, id, seq: Seq(input.number()?), time_ms: input.number()? })
        })
    }
}

/// The part of a stored item that names the message; no name is the beginning of another.
fn put_name(out: &mut Vec<u8>, conversation: &ConversationId, id: &ClientMsgId) {
    out.push(VERSION);
    out.push(id.as_bytes().len() as u8);
    out.extend_from_slice(id.as_bytes());
    put_number(out, conversation.key_len() as u64);
    conversation.write_key(out);
}

/// One in 65,536 of other messages has the same.
fn fingerprint(conversation: &ConversationId, id: &ClientMsgId) -> u16 {
    FixedState::with_seed(0).hash_one((conversation, id.as_bytes())) as u16
}

/// The last [`DEDUPE_IDS_PER_DEVICE`] accepted messages of a device that had an id.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Ring {
    fingerprints: VecDeque<u16>,
    items: VecDeque<Box<[u8]>>,
    bytes: usize,
}

impl Ring {
    /// Reads the stored items, oldest first.
    ///
    /// # Errors
    /// If one of them cannot be read.
    pub fn decode<'a>(stored: impl IntoIterator<Item = &'a [u8]>) -> Result<Ring, DecodeError> {
        let mut ring = Ring::default();
        for item in stored {
            ring.push(&RingItem::decode(item)?);
        }
        Ok(ring)
    }

    /// The number and time that a message got the first time, if it is remembered, to a user who came at a time in Unix milliseconds: what
    /// another of the name sent before is not asked for again.
    pub fn find(&self, conversation: &ConversationId, id: &ClientMsgId, since_ms: u64) -> Option<(Seq, u64)> {
        if self.items.is_empty() {
            return None;
        }
        let mut name = Vec::new();
        let same = self.alike(fingerprint(conversation, id)).filter(|item| {
            if name.is_empty() {
                put_name(&mut name, conversation, id);
            }
            item.starts_with(&name)
        });
        let mut items = same.map(|item| RingItem::decode(item).expect("items are checked when they come in"));
        items.find(|item| item.time_ms >= since_ms).map(|item| (item.seq, item.time_ms))
    }

    /// The items with a fingerprint.
    fn alike(&self, wanted: u16) -> impl Iterator<Item = &[u8]> {
        let (front, back) = self.fingerprints.as_slices();
        let chunks = [(0, front), (front.len(), back)].into_iter().flat_map(|(begin, fingerprints)| {
            let places = (begin..).step_by(AT_ONCE);
            places.zip(fingerprints.chunks(AT_ONCE))
        });
        // All of a chunk at once, without a branch for each: the compiler makes a few wide comparisons of it.
        let with_some = chunks.filter(move |(_, chunk)| {
            chunk.iter().map(|fingerprint| u32::from(*fingerprint == wanted)).sum::<u32>() > 0
        });
        with_some.flat_map(move |(begin, chunk)| {
            let places = chunk.iter().enumerate().filter(move |(_, fingerprint)| **fingerprint == wanted);
            places.map(move |(at, _)| &*self.items[begin + at])
        })
    }

    /// Remembers a message; the oldest is forgotten beyond the limit.
    pub fn push(&mut self, item: &RingItem) {
        let mut stored = Vec::with_capacity(64);
        item.encode(&mut stored);
        self.fingerprints.push_back(fingerprint(&item.conversation, &item.id));
        self.bytes += stored.len();
        self.items.push_back(stored.into_boxed_slice());
        if self.items.len() > DEDUPE_IDS_PER_DEVICE {
            self.fingerprints.pop_front();
            self.bytes -= self.items.pop_front().map_or(0, |item| item.len());
        }
    }

    /// How many messages are remembered.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Bytes on the heap.
    pub fn weight(&self) -> usize {
        self.bytes + self.items.capacity() * (size_of::<Box<[u8]>>() + size_of::<u16>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chasqui_proto::UserId;
    use proptest::prelude::*;

    fn with(peer: &str) -> ConversationId {
        ConversationId::direct(&UserId::parse("alice").unwrap(), &UserId::parse(peer).unwrap())
    }

    fn id(bytes: &[u8]) -> ClientMsgId {
        ClientMsgId::from_bytes(bytes).unwrap()
    }

    proptest! {
        #[test]
        fn round_trip(
            peer in "[a-z]{1,64}", bytes in prop::collection::vec(any::<u8>(), 1..=16), seq: u64, time_ms: u64,
        ) {
            let item = RingItem { conversation: with(&peer), id: id(&bytes), seq: Seq(seq), time_ms };
            let mut stored = Vec::new();
            item.encode(&mut stored);
            prop_assert_eq!(RingItem::decode(&stored), Ok(item.clone()));
            let ring = Ring::decode([&stored[..]]).unwrap();
            prop_assert_eq!(ring.find(&item.conversation, &item.id, 0), Some((Seq(seq), time_ms)));
        }

        #[test]
        fn any_bytes_are_answered(bytes: Vec<u8>) {
            let _ = RingItem::decode(&[&[VERSION][..], &bytes].concat());
        }
    }

    #[test]
    fn it_remembers_the_last_and_forgets_the_oldest() {
        let mut ring = Ring::default();
        let item = |n: u64| RingItem {
            conversation: with("bob"),
            id: id(&n.to_be_bytes()),
            seq: Seq(n),
            time_ms: n,
        };
        let limit = DEDUPE_IDS_PER_DEVICE as u64;
        for n in 1..=limit + 3 {
            ring.push(&item(n));
        }
        assert_eq!(ring.len(), DEDUPE_IDS_PER_DEVICE);
        for n in 1..=limit + 3 {
            let expected = (n > 3).then_some((Seq(n), n));
            assert_eq!(ring.find(&with("bob"), &id(&n.to_be_bytes()), 0), expected, "message {n}");
            assert_eq!(ring.find(&with("carol"), &id(&n.to_be_bytes()), 0), None);
        }
        assert!(ring.weight() < 32 * 1_024, "{} bytes", ring.weight());
    }

    #[test]
    fn ids_that_begin_alike_are_different() {
        let mut ring = Ring::default();
        ring.push(&RingItem { conversation: with("bob"), id: id(b"ab"), seq: Seq(1), time_ms: 1 });
        for other in [&b"a"[..], b"abc", b"ab\0"] {
            assert_eq!(ring.find(&with("bob"), &id(other), 0), None);
        }
        assert_eq!(ring.find(&with("bob"), &id(b"ab"), 0), Some((Seq(1), 1)));
    }

    #[test]
    fn a_newer_version_is_refused() {
        let newer = RingItem::decode(&[2]);
        assert_eq!(newer, Err(DecodeError::Newer { what: "message id", found: 2, known: 1 }));
    }
}
