//! A table of records at hand: found by key, kept densely, and evicted with a clock hand.
//!
//! A key is stored once, beside its record; the index holds places only.

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use std::cell::Cell;
use std::hash::{BuildHasher, Hash};

/// A record of the machine, as the table needs to know it.
pub(super) trait Kept: Default {
    /// Bytes it has on the heap.
    fn weight(&self) -> usize;

    /// What its store needs to know of the past when it changes.
    fn mark(&self) -> u64 {
        0
    }
}

/// Which records may be evicted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Evictable {
    /// Those that changed in this batch or before it, for it is durable.
    pub(super) durable: u64,
    /// Of these, those that came in before this batch.
    pub(super) came_before: u64,
}

pub(super) struct Slot<K, V> {
    pub(super) key: K,
    pub(super) value: V,
    /// The batch during which it came in.
    came: u64,
    /// The batch in which it changed last; 0 for never.
    changed: u64,
    /// What [`Kept::mark`] was before that batch.
    pub(super) before: u64,
    weight: u32,
    /// Looked at since the hand came by.
    used: Cell<bool>,
}

pub(super) struct Table<K, V> {
    index: HashTable<u32>,
    slots: Vec<Slot<K, V>>,
    hasher: RandomState,
    /// Places of the records that changed in the batch that is being filled.
    changed: Vec<u32>,
    weight: usize,
}

impl<K: Hash + Eq, V: Kept> Table<K, V> {
    pub(super) fn new() -> Table<K, V> {
        Table {
            index: HashTable::new(),
            slots: Vec::new(),
            hasher: RandomState::default(),
            changed: Vec::new(),
            weight: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Bytes that the records take, with their keys and places.
    pub(super) fn weight(&self) -> usize {
        self.weight
    }

    /// The record of the key that hashes as `like` and that `is` takes for its own.
    #[inline]
    pub(super) fn get(&self, like: impl Hash, is: impl Fn(&K) -> bool) -> Option<&V> {
        let place = self.find(like, is)?;
        let slot = &self.slots[place];
        slot.used.set(true);
        Some(&slot.value)
    }

    /// The same to be changed, in batch `batch`.
    #[inline]
    pub(super) fn get_mut(&mut self, batch: u64, like: impl Hash, is: impl Fn(&K) -> bool) -> Option<&mut V> {
        let place = self.find(like, is)?;
        let slot = &mut self.slots[place];
        if slot.changed != batch {
            slot.changed = batch;
            slot.before = slot.value.mark();
            self.changed.push(place as u32);
        }
        Some(&mut slot.value)
    }

    #[inline]
    fn find(&self, like: impl Hash, is: impl Fn(&K) -> bool) -> Option<usize> {
        let hash = self.hasher.hash_one(like);
        self.index.find(hash, |place| is(&self.slots[*place as usize].key)).map(|place| *place as usize)
    }

    /// Puts a record at hand during batch `batch`; one that is there already stays.
    pub(super) fn insert(&mut self, batch: u64, key: K, value: V) {
        let hash = self.hasher.hash_one(&key);
        let (slots, hasher) = (&self.slots, &self.hasher);
        let same = |place: &u32| slots[*place as usize].key == key;
        let rehash = |place: &u32| hasher.hash_one(&slots[*place as usize].key);
        if let Entry::Vacant(free) = self.index.entry(hash, same, rehash) {
            free.insert(slots.len() as u32);
            let weight = size_of::<Slot<K, V>>() + size_of::<u32>() + value.weight();
            self.weight += weight;
            let (weight, used) = (weight as u32, Cell::new(true));
            self.slots.push(Slot { key, value, came: batch, changed: 0, before: 0, weight, used });
        }
    }

    /// Goes through what changed in the batch that is being filled, each record once, in the order of first
    /// changes.
    pub(super) fn drain_changed(&mut self, mut visit: impl FnMut(&Slot<K, V>)) {
        for place in self.changed.drain(..) {
            let slot = &mut self.slots[place as usize];
            let weight = (size_of::<Slot<K, V>>() + size_of::<u32>() + slot.value.weight()) as u32;
            self.weight = self.weight + weight as usize - slot.weight as usize;
            slot.weight = weight;
            visit(slot);
        }
    }

    /// The hand comes by `place`: evicts the record there unless it was looked at since the last time, or
    /// `may` forbids it. Answers whether it was evicted, and so whether another is at this place now.
    pub(super) fn sweep(&mut self, place: usize, may: Evictable) -> bool {
        debug_assert!(self.changed.is_empty(), "eviction is for between the batches");
        let slot = &self.slots[place];
        if slot.changed > may.durable || slot.came >= may.came_before || slot.used.replace(false) {
            return false;
        }
        let hash = self.hasher.hash_one(&slot.key);
        if let Ok(entry) = self.index.find_entry(hash, |at| *at as usize == place) {
            entry.remove();
        }
        self.weight -= slot.weight as usize;
        self.slots.swap_remove(place);
        if let Some(moved) = self.slots.get(place) {
            let from = self.slots.len() as u32;
            let hash = self.hasher.hash_one(&moved.key);
            if let Some(at) = self.index.find_mut(hash, |at| *at == from) {
                *at = place as u32;
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[derive(Debug, Default, Clone, PartialEq)]
    struct Value(u64);

    impl Kept for Value {
        fn weight(&self) -> usize {
            self.0 as usize % 100
        }

        fn mark(&self) -> u64 {
            self.0
        }
    }

    #[derive(Debug, Clone)]
    enum Step {
        Insert(u16, u64),
        Look(u16),
        Change(u16, u64),
        Sweep(prop::sample::Index, bool, bool),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0u16..40, any::<u64>()).prop_map(|(key, value)| Step::Insert(key, value)),
            (0u16..40).prop_map(Step::Look),
            (0u16..40, any::<u64>()).prop_map(|(key, value)| Step::Change(key, value)),
            any::<(prop::sample::Index, bool, bool)>()
                .prop_map(|(place, durable, old)| Step::Sweep(place, durable, old)),
        ]
    }

    proptest! {
        #[test]
        fn it_is_a_map_that_forgets_what_it_may(steps in prop::collection::vec(step(), 0..200)) {
            let mut table: Table<u16, Value> = Table::new();
            let mut model: BTreeMap<u16, u64> = BTreeMap::new();
            let mut batch = 0;
            for step in steps {
                match step {
                    Step::Insert(key, value) => {
                        table.insert(batch, key, Value(value));
                        model.entry(key).or_insert(value);
                    }
                    Step::Look(key) => {
                        let found = table.get(key, |other| *other == key).map(|value| value.0);
                        prop_assert_eq!(found, model.get(&key).copied());
                    }
                    Step::Change(key, to) => {
                        batch += 1;
                        if let Some(value) = table.get_mut(batch, key, |other| *other == key) {
                            value.0 = to;
                        }
                        let before = model.get(&key).copied();
                        model.entry(key).and_modify(|value| *value = to);
                        let mut seen = Vec::new();
                        table.drain_changed(|slot| seen.push((slot.key, slot.value.0, slot.before)));
                        let expected: Vec<_> = before.map(|before| (key, to, before)).into_iter().collect();
                        prop_assert_eq!(seen, expected);
                    }
                    Step::Sweep(place, durable, old) if table.len() > 0 => {
                        let place = place.index(table.len());
                        let Slot { key, came, changed, .. } = table.slots[place];
                        let was_used = table.slots[place].used.get();
                        let durable = if durable { batch } else { 0 };
                        let came_before = if old { batch } else { u64::MAX };
                        let gone = table.sweep(place, Evictable { durable, came_before });
                        prop_assert_eq!(gone, !was_used && changed <= durable && came < came_before);
                        if gone {
                            model.remove(&key);
                        }
                    }
                    Step::Sweep(..) => {}
                }
                prop_assert_eq!(table.len(), model.len());
                let heap: usize = model.values().map(|value| Value(*value).weight()).sum();
                let fixed = size_of::<Slot<u16, Value>>() + size_of::<u32>();
                prop_assert_eq!(table.weight(), heap + fixed * model.len());
            }
        }
    }
}
