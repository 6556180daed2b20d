//! The overlay: committed changes that are not yet in the key-value store, in layers.
//!
//! One layer is *active* and takes changes; at most one older layer is *sealed* and on its way down ([`layers`]). Within a
//! layer what changes often coalesces to its last value, and what has come and gone leaves nothing behind, so that most of
//! what happens never reaches the key-value store.
//!
//! **Invariants.** Applying never reads a lower layer. A fresh thing (a log entry, a change-index entry, a due time) is
//! in no lower layer, so its removal within the layer that took it needs no mark. Payloads are applied whole: a reader, who holds the
//! layer's lock, never sees half of one.
//!
//! On 2 shared cores the five changes of a message (two entries, a dedupe item, a record, a receipt) take 1.8 µs to commit and
//! apply among 10,000 users, checksum included, and 0.3 µs to encode; going down later, off the way of commits, takes
//! 1.2 µs (`examples/cost/`).
//!
//! Values are slices of the payloads they came in, without a copy; a layer is sealed by the bytes of those payloads too,
//! which bounds what a small value that pins a large payload can cost.

pub(crate) mod chunk;
pub(crate) mod layers;
pub(crate) mod log_part;
pub(crate) mod ranges;
pub(crate) mod ring_part;

use crate::{
    key::{Key, Kind, due, ring, state_change, state_value},
    op::{self, Op, OpError},
};
use bytes::Bytes;
use log_part::LogPart;
use ring_part::RingPart;
use std::collections::{BTreeMap, HashMap, btree_map, hash_map};

type Map<V> = HashMap<Key, V, foldhash::fast::RandomState>;

/// What a keyed value costs besides its bytes: key, slot, and the map's own room.
const SLOT: usize = size_of::<Key>() + size_of::<Slot>() + 24;
/// What a log or a ring costs besides its entries.
const PART: usize = size_of::<Key>() + size_of::<LogPart>() + 24;

/// What a layer says about a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Slot {
    /// A value no lower layer has: its removal leaves nothing.
    Fresh(Bytes),
    /// A value that hides what lower layers have.
    Value(Bytes),
    /// Hides what lower layers have.
    Deleted,
}

impl Slot {
    pub(crate) fn value(&self) -> Option<&Bytes> {
        match self {
            Slot::Fresh(value) | Slot::Value(value) => Some(value),
            Slot::Deleted => None,
        }
    }

    fn len(&self) -> usize {
        self.value().map_or(0, Bytes::len)
    }
}

/// One layer's changes. Keys that are only looked up are hashed and sorted when the layer goes down; keys that are scanned
/// are kept in order.
#[derive(Default)]
pub(crate) struct Overlay {
    logs: Map<LogPart>,
    rings: Map<RingPart>,
    /// Records and state values.
    points: Map<Slot>,
    /// Sessions, ordered records, change index, due times.
    sorted: BTreeMap<Key, Slot>,
    /// Estimate of the memory held, in bytes.
    bytes: usize,
    /// Bytes of the payloads that were applied.
    payload_bytes: usize,
}

impl Overlay {
    /// Applies all operations of a payload.
    pub(crate) fn apply(&mut self, payload: &Bytes) -> Result<(), OpError> {
        self.payload_bytes += payload.len();
        for op in op::decode(payload) {
            self.apply_op(payload, op?);
        }
        Ok(())
    }

    fn apply_op(&mut self, payload: &Bytes, op: Op<'_>) {
        match op {
            Op::Put { key, kind, value } => self.put(kind, key.into(), payload.slice_ref(value)),
            Op::Delete { key, kind } => self.delete(kind, key.into()),
            Op::Append { log, seq, value } => {
                let grown = self.log(log).append(seq, payload.slice_ref(value));
                self.bytes += grown;
            }
            Op::Rewrite { log, seq, value } => {
                let grown = self.log(log).rewrite(seq, payload.slice_ref(value));
                self.bytes += grown;
            }
            Op::Trim { log, from, to } => {
                let freed = self.log(log).trim(from, to);
                self.free(freed);
            }
            Op::SetState { group, topic, position, previous, stored } => {
                if let Some(previous) = previous {
                    self.delete(Kind::StateChange, state_change::key(group, previous));
                }
                self.put(Kind::StateValue, state_value::key(group, topic), payload.slice_ref(stored));
                self.put_fresh(state_change::key(group, position), payload.slice_ref(topic));
            }
            Op::RemoveState { group, topic, previous } => {
                if let Some(previous) = previous {
                    self.delete(Kind::StateChange, state_change::key(group, previous));
                }
                self.delete(Kind::StateValue, state_value::key(group, topic));
            }
            Op::RingPush { ring, capacity, item } => {
                let item = payload.slice_ref(item);
                let (grown, freed) = self.ring(ring).push(capacity, item);
                self.bytes += grown;
                self.free(freed);
            }
            Op::RingRemove { ring } => {
                let freed = self.ring(ring).remove();
                self.free(freed);
            }
            Op::DuePut { at_ms, id, value } => {
                self.put_fresh(due::key(at_ms, id), payload.slice_ref(value));
            }
            Op::DueRemove { at_ms, id } => self.delete(Kind::Due, due::key(at_ms, id)),
        }
    }

    /// Estimate of the memory this layer holds, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes of the payloads that were applied to this layer.
    pub(crate) fn payload_bytes(&self) -> usize {
        self.payload_bytes
    }

    /// Whether nothing was ever applied to this layer.
    pub(crate) fn is_untouched(&self) -> bool {
        self.payload_bytes == 0
    }

    /// What this layer says about a record, state value, session, ordered record, change or due time.
    pub(crate) fn slot(&self, kind: Kind, key: &[u8]) -> Option<&Slot> {
        if is_sorted(kind) { self.sorted.get(key) } else { self.points.get(key) }
    }

    /// Slots of scanned kinds from `from` (inclusive) up to `to` (exclusive), in order.
    pub(crate) fn range<'a>(
        &'a self,
        from: &[u8],
        to: &[u8],
    ) -> impl DoubleEndedIterator<Item = (&'a Key, &'a Slot)> + use<'a> {
        use std::ops::Bound::{Excluded, Included};
        let to = if to < from { from } else { to };
        self.sorted.range::<[u8], _>((Included(from), Excluded(to)))
    }

    /// What this layer holds of a log.
    pub(crate) fn log_part(&self, log: &[u8]) -> Option<&LogPart> {
        self.logs.get(log)
    }

    /// What this layer holds of a ring.
    pub(crate) fn ring_part(&self, id: &[u8]) -> Option<&RingPart> {
        self.rings.get(ring::key(id).as_bytes())
    }

    fn log(&mut self, log: &[u8]) -> &mut LogPart {
        match self.logs.entry(log.into()) {
            hash_map::Entry::Occupied(entry) => entry.into_mut(),
            hash_map::Entry::Vacant(entry) => {
                self.bytes += PART + entry.key().heap_bytes();
                entry.insert(LogPart::default())
            }
        }
    }

    fn ring(&mut self, id: &[u8]) -> &mut RingPart {
        match self.rings.entry(ring::key(id)) {
            hash_map::Entry::Occupied(entry) => entry.into_mut(),
            hash_map::Entry::Vacant(entry) => {
                self.bytes += PART + entry.key().heap_bytes();
                entry.insert(RingPart::default())
            }
        }
    }

    fn put(&mut self, kind: Kind, key: Key, value: Bytes) {
        let (heap, grown) = (key.heap_bytes(), value.len());
        let freed = if is_sorted(kind) {
            match self.sorted.entry(key) {
                btree_map::Entry::Vacant(entry) => {
                    entry.insert(Slot::Value(value));
                    None
                }
                btree_map::Entry::Occupied(mut entry) => Some(overwrite(entry.get_mut(), value)),
            }
        } else {
            match self.points.entry(key) {
                hash_map::Entry::Vacant(entry) => {
                    entry.insert(Slot::Value(value));
                    None
                }
                hash_map::Entry::Occupied(mut entry) => Some(overwrite(entry.get_mut(), value)),
            }
        };
        self.account(freed, heap, grown);
    }

    /// Puts what no lower layer has, unless this layer knows better.
    fn put_fresh(&mut self, key: Key, value: Bytes) {
        let (heap, grown) = (key.heap_bytes(), value.len());
        let freed = match self.sorted.entry(key) {
            btree_map::Entry::Vacant(entry) => {
                entry.insert(Slot::Fresh(value));
                None
            }
            btree_map::Entry::Occupied(mut entry) => Some(overwrite(entry.get_mut(), value)),
        };
        self.account(freed, heap, grown);
    }

    fn delete(&mut self, kind: Kind, key: Key) {
        let heap = key.heap_bytes();
        let freed = if is_sorted(kind) {
            match self.sorted.entry(key) {
                btree_map::Entry::Vacant(entry) => {
                    entry.insert(Slot::Deleted);
                    None
                }
                btree_map::Entry::Occupied(entry) if matches!(entry.get(), Slot::Fresh(_)) => {
                    let freed = entry.remove().len();
                    self.free(SLOT + heap + freed);
                    return;
                }
                btree_map::Entry::Occupied(mut entry) => {
                    Some(std::mem::replace(entry.get_mut(), Slot::Deleted).len())
                }
            }
        } else {
            self.points.insert(key, Slot::Deleted).map(|slot| slot.len())
        };
        self.account(freed, heap, 0);
    }

    /// Accounts for a slot that now holds `grown` bytes: a new one, or one that held `freed`.
    fn account(&mut self, freed: Option<usize>, heap: usize, grown: usize) {
        match freed {
            None => self.bytes += SLOT + heap + grown,
            Some(freed) => {
                self.bytes += grown;
                self.free(freed);
            }
        }
    }

    fn free(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

/// Sets a slot that is there; answers the bytes of the value it had.
fn overwrite(slot: &mut Slot, value: Bytes) -> usize {
    let freed = slot.len();
    *slot = if matches!(slot, Slot::Fresh(_)) { Slot::Fresh(value) } else { Slot::Value(value) };
    freed
}

fn is_sorted(kind: Kind) -> bool {
    matches!(kind, Kind::Session | Kind::Ordered | Kind::StateChange | Kind::Due)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        key::{LogId, RecordKey},
        op::Batch,
    };

    fn applied(build: impl FnOnce(&mut Batch)) -> Overlay {
        let mut overlay = Overlay::default();
        apply(&mut overlay, build);
        overlay
    }

    fn apply(overlay: &mut Overlay, build: impl FnOnce(&mut Batch)) {
        let mut batch = Batch::new();
        build(&mut batch);
        overlay.apply(&batch.into_payload()).unwrap();
    }

    #[test]
    fn a_hot_key_holds_its_last_value() {
        let key = RecordKey::session(b"alice", b"phone");
        let mut overlay = Overlay::default();
        for at in 0..100u8 {
            apply(&mut overlay, |batch| {
                batch.put(&key, &[at]);
            });
        }
        let slot = overlay.slot(Kind::Session, key.as_bytes());
        assert_eq!(slot.and_then(Slot::value), Some(&Bytes::from_static(&[99])));
        assert_eq!(overlay.bytes(), SLOT + 1, "one slot, whatever happened before");
    }

    #[test]
    fn what_came_and_went_leaves_nothing() {
        let overlay = applied(|batch| {
            batch.due_put(5, b"id", b"v").due_remove(5, b"id");
            batch.set_state(b"g", b"t", 1, b"a", None).set_state(b"g", b"t", 2, b"b", Some(1));
        });
        assert_eq!(overlay.slot(Kind::Due, due::key(5, b"id").as_bytes()), None);
        assert_eq!(overlay.slot(Kind::StateChange, state_change::key(b"g", 1).as_bytes()), None);
        assert!(overlay.slot(Kind::StateChange, state_change::key(b"g", 2).as_bytes()).is_some());
    }

    #[test]
    fn what_lower_layers_may_have_is_hidden_by_a_mark() {
        let record = RecordKey::record(b"r");
        let overlay = applied(|batch| {
            batch.due_remove(5, b"id").delete(&record).set_state(b"g", b"t", 2, b"b", Some(1));
        });
        for (kind, key) in [
            (Kind::Due, due::key(5, b"id")),
            (Kind::Record, record.as_bytes().into()),
            (Kind::StateChange, state_change::key(b"g", 1)),
        ] {
            assert_eq!(overlay.slot(kind, key.as_bytes()), Some(&Slot::Deleted), "{key:?}");
        }
    }

    #[test]
    fn what_was_marked_and_put_again_needs_its_mark_again() {
        let mut overlay = applied(|batch| {
            batch.due_remove(5, b"id").due_put(5, b"id", b"v");
        });
        let key = due::key(5, b"id");
        assert_eq!(overlay.slot(Kind::Due, key.as_bytes()), Some(&Slot::Value(Bytes::from_static(b"v"))));
        apply(&mut overlay, |batch| {
            batch.due_remove(5, b"id");
        });
        assert_eq!(overlay.slot(Kind::Due, key.as_bytes()), Some(&Slot::Deleted));
    }

    #[test]
    fn memory_is_accounted_both_ways() {
        let long = [7u8; 100];
        let log = LogId::new(long);
        let mut overlay = Overlay::default();
        apply(&mut overlay, |batch| {
            batch.append(&log, 1, &[0; 1000]).due_put(1, &long, &[0; 1000]).ring_push(b"r", 2, &[0; 1000]);
        });
        assert!(overlay.bytes() > 3000 + 200, "{}", overlay.bytes());
        apply(&mut overlay, |batch| {
            batch.trim(&log, 1, 2).due_remove(1, &long).ring_remove(b"r");
        });
        assert_eq!(
            overlay.bytes(),
            2 * PART + long.len(),
            "what stays is the log's and the ring's own place"
        );
        assert!(overlay.payload_bytes() > 3000);
    }

    #[test]
    fn a_payload_of_a_newer_version_is_refused() {
        assert_eq!(Overlay::default().apply(&Bytes::from_static(&[9])), Err(OpError::Newer(9)));
    }
}
