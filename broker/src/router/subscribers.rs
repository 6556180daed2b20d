//! The subscribers of one filter: one of them in place, a few in a vector, many in a vector with an index.
//!
//! Invariants: the entries are always one contiguous slice, a key is in it once, and adding and removing cost
//! O(1) whatever the size. Order is not kept.

use std::hash::{BuildHasher, Hash};
use std::mem;

use hashbrown::HashTable;

/// Up to this many entries, looking through them is faster than hashing and needs no index.
const LINEAR: usize = 16;

#[derive(Default)]
pub(super) enum Subscribers<K, V> {
    /// Only between a removal and the owner's dropping of the set.
    #[default]
    None,
    One((K, V)),
    Many(Box<Crowd<K, V>>),
}

pub(super) struct Crowd<K, V> {
    entries: Vec<(K, V)>,
    /// Positions in `entries` by key; made above `LINEAR` entries, dropped at half of that.
    index: Option<HashTable<u32>>,
}

impl<K: Eq + Hash, V> Subscribers<K, V> {
    pub(super) fn as_slice(&self) -> &[(K, V)] {
        match self {
            Self::None => &[],
            Self::One(entry) => std::slice::from_ref(entry),
            Self::Many(crowd) => &crowd.entries,
        }
    }

    /// Adds, or replaces and returns what was there.
    pub(super) fn insert(&mut self, key: K, value: V, hasher: &impl BuildHasher) -> Option<V> {
        match self {
            Self::None => *self = Self::One((key, value)),
            Self::One(entry) if entry.0 == key => return Some(mem::replace(&mut entry.1, value)),
            Self::One(_) => {
                let mut entries = Vec::with_capacity(2);
                if let Self::One(first) = mem::take(self) {
                    entries.push(first);
                }
                entries.push((key, value));
                *self = Self::Many(Box::new(Crowd { entries, index: None }));
            }
            Self::Many(crowd) => return crowd.insert(key, value, hasher),
        }
        None
    }

    pub(super) fn remove(&mut self, key: &K, hasher: &impl BuildHasher) -> Option<V> {
        match self {
            Self::None => None,
            Self::One(entry) if entry.0 != *key => None,
            Self::One(_) => match mem::take(self) {
                Self::One((_, value)) => Some(value),
                _ => None,
            },
            Self::Many(crowd) => {
                let removed = crowd.remove(key, hasher);
                if crowd.entries.len() == 1 {
                    *self = crowd.entries.pop().map_or(Self::None, Self::One);
                }
                removed
            }
        }
    }
}

impl<K: Eq + Hash, V> Crowd<K, V> {
    fn insert(&mut self, key: K, value: V, hasher: &impl BuildHasher) -> Option<V> {
        if let Some(at) = self.position(&key, hasher) {
            return Some(mem::replace(&mut self.entries[at].1, value));
        }
        self.entries.push((key, value));
        let entries = &self.entries;
        let hash = |at: &u32| hasher.hash_one(&entries[*at as usize].0);
        let last = entries.len() as u32 - 1;
        if let Some(index) = &mut self.index {
            index.insert_unique(hash(&last), last, hash);
        } else if entries.len() > LINEAR {
            let index = self.index.insert(HashTable::with_capacity(entries.len()));
            (0..=last).for_each(|at| _ = index.insert_unique(hash(&at), at, hash));
        }
        None
    }

    fn remove(&mut self, key: &K, hasher: &impl BuildHasher) -> Option<V> {
        let at = self.position(key, hasher)?;
        let last = self.entries.len() - 1;
        if let Some(index) = &mut self.index {
            let hash = |at: usize| hasher.hash_one(&self.entries[at].0);
            if let Ok(entry) = index.find_entry(hash(at), |found| *found as usize == at) {
                entry.remove();
            }
            // The last entry moves into the gap.
            if let Some(found) = index.find_mut(hash(last), |found| *found as usize == last) {
                *found = at as u32;
            }
        }
        let (_, value) = self.entries.swap_remove(at);
        self.shrink(hasher);
        Some(value)
    }

    fn position(&self, key: &K, hasher: &impl BuildHasher) -> Option<usize> {
        let Some(index) = &self.index else {
            return self.entries.iter().position(|entry| entry.0 == *key);
        };
        let hash = hasher.hash_one(key);
        index.find(hash, |at| self.entries[*at as usize].0 == *key).map(|at| *at as usize)
    }

    /// Gives memory back once three quarters of it are unused, so that each shrinking is paid for by as many
    /// removals.
    fn shrink(&mut self, hasher: &impl BuildHasher) {
        let len = self.entries.len();
        if len <= LINEAR / 2 {
            self.index = None;
        }
        if self.entries.capacity() > LINEAR && len < self.entries.capacity() / 4 {
            self.entries.shrink_to(len * 2);
            if let Some(index) = &mut self.index {
                index.shrink_to(len * 2, |at| hasher.hash_one(&self.entries[*at as usize].0));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use foldhash::quality::RandomState;
    use proptest::prelude::*;
    use std::collections::HashMap;

    proptest! {
        /// Every size passes through in-place, vector and index, up and down.
        #[test]
        fn behaves_like_a_map(steps in prop::collection::vec((0u8..60, any::<bool>(), any::<u8>()), 0..400)) {
            let hasher = RandomState::default();
            let mut set = Subscribers::None;
            let mut model = HashMap::new();
            for (key, insert, value) in steps {
                if insert {
                    prop_assert_eq!(set.insert(key, value, &hasher), model.insert(key, value));
                } else {
                    prop_assert_eq!(set.remove(&key, &hasher), model.remove(&key));
                }
                let slice = set.as_slice();
                prop_assert_eq!(slice.len(), model.len());
                prop_assert!(slice.iter().all(|(key, value)| model.get(key) == Some(value)));
            }
        }
    }

    #[test]
    fn memory_follows_the_size_down() {
        let hasher = RandomState::default();
        let mut set = Subscribers::None;
        for key in 0..100_000u64 {
            assert_eq!(set.insert(key, (), &hasher), None);
        }
        for key in 0..99_900 {
            assert_eq!(set.remove(&key, &hasher), Some(()));
        }
        let Subscribers::Many(crowd) = &set else { panic!("a hundred entries are many") };
        assert!(crowd.entries.capacity() <= 400, "{} places for 100 entries", crowd.entries.capacity());
        let index = crowd.index.as_ref().expect("a hundred entries have an index");
        assert_eq!(index.len(), 100);
        assert!(index.capacity() <= 1000, "{} index places for 100 entries", index.capacity());
        for key in 99_900..100_000 {
            assert_eq!(set.remove(&key, &hasher), Some(()));
        }
        assert!(matches!(set, Subscribers::None));
    }
}
