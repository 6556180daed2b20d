//! What a layer holds of one ring: the items pushed while it was active. The base comes from the layers below only when the
//! ring is read or written down, so that applying a push never reads from disk.

use crate::{Position, varint};
use bytes::Bytes;
use std::collections::VecDeque;

/// What an item costs besides its bytes, for the accounting of memory.
const ITEM: usize = size_of::<Bytes>();

/// A layer's part of one ring.
#[derive(Debug, Default)]
pub(crate) struct RingPart {
    capacity: usize,
    /// Oldest first; never more than `capacity`.
    items: VecDeque<Bytes>,
    /// Whether what lower layers have no longer counts: the ring was removed, or is full of newer items.
    whole: bool,
}

impl RingPart {
    /// Adds an item; answers the bytes grown and freed.
    pub(crate) fn push(&mut self, capacity: u32, item: Bytes) -> (usize, usize) {
        let grown = ITEM + item.len();
        self.capacity = capacity as usize;
        self.items.push_back(item);
        let mut freed = 0;
        while self.items.len() > self.capacity {
            freed += self.items.pop_front().map_or(0, |item| ITEM + item.len());
        }
        self.whole |= self.items.len() == self.capacity;
        (grown, freed)
    }

    /// Removes the ring; answers the bytes freed.
    pub(crate) fn remove(&mut self) -> usize {
        self.whole = true;
        self.items.drain(..).map(|item| ITEM + item.len()).sum()
    }

    /// Whether the base is needed to know the whole ring.
    pub(crate) fn needs_base(&self) -> bool {
        !self.whole
    }

    /// The ring with the items of lower layers: `base`, oldest first, which is left out where it no longer counts.
    pub(crate) fn onto(&self, mut base: Vec<Bytes>) -> Vec<Bytes> {
        if self.whole {
            base.clear();
        }
        let surplus = (base.len() + self.items.len()).saturating_sub(self.capacity);
        base.drain(..surplus.min(base.len()));
        base.extend(self.items.iter().cloned());
        base
    }
}

/// The stored form of a ring: the position up to which pushes are in it, then each item with its length in front, oldest
/// first. With the position a reader knows which layers are in what it found: adding items twice is not the same as once.
pub(crate) fn encode(upto: Position, items: &[Bytes]) -> Bytes {
    let len: usize = items.iter().map(|item| item.len() + 2).sum();
    let mut out = Vec::with_capacity(varint::MAX_LEN + len);
    varint::put(&mut out, upto.into());
    for item in items {
        varint::put_bytes(&mut out, item);
    }
    out.into()
}

/// The position and the items of a stored ring, as slices of it; `None` if they do not fill it exactly.
pub(crate) fn decode(stored: &Bytes) -> Option<(Position, Vec<Bytes>)> {
    let mut rest = &stored[..];
    let upto = Position::from(varint::take(&mut rest)?);
    let mut items = Vec::new();
    while !rest.is_empty() {
        items.push(stored.slice_ref(varint::take_bytes(&mut rest)?));
    }
    Some((upto, items))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn item(byte: u8) -> Bytes {
        Bytes::copy_from_slice(&[byte])
    }

    proptest! {
        #[test]
        fn round_trip(upto: u64, items in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..20)) {
            let items: Vec<Bytes> = items.into_iter().map(Bytes::from).collect();
            prop_assert_eq!(decode(&encode(upto.into(), &items)), Some((upto.into(), items)));
        }

        #[test]
        fn any_stored_form_is_answered(stored: Vec<u8>) {
            let len = stored.len();
            prop_assert!(decode(&stored.into()).is_none_or(|(_, items)| items.len() < len));
        }

        #[test]
        fn it_holds_the_last_of_all_that_was_pushed(base in 0usize..10, pushed in 1usize..10, capacity in 1u32..8) {
            let base: Vec<Bytes> = (0..base).map(|at| item(at as u8)).collect();
            let mut all = base.clone();
            let mut part = RingPart::default();
            for at in 0..pushed {
                part.push(capacity, item(100 + at as u8));
                all.push(item(100 + at as u8));
            }
            let last = all.len().saturating_sub(capacity as usize);
            prop_assert_eq!(part.onto(base), &all[last..]);
            prop_assert_eq!(part.needs_base(), pushed < capacity as usize);
        }
    }

    #[test]
    fn memory_that_grew_is_freed() {
        let mut part = RingPart::default();
        let moved: Vec<_> = (0..5).map(|at| part.push(3, item(at))).collect();
        let grown: usize = moved.iter().map(|(grown, _)| grown).sum();
        let freed: usize = moved.iter().map(|(_, freed)| freed).sum();
        assert_eq!(grown - freed, part.remove());
        assert!(part.onto(vec![item(9)]).is_empty(), "a removed ring has no past");
    }
}
