//! When users were there last, of as many as there is room for.

use chasqui_proto::UserId;
use hashbrown::HashMap;

type Times = HashMap<UserId, u64, foldhash::fast::RandomState>;

/// When users left, in Unix milliseconds. Two generations: when the newer one has half of what there is room for, the older one is
/// forgotten. So those who left longest ago go first, and nothing is ever searched for them.
pub(super) struct Seen {
    newer: Times,
    older: Times,
    half: usize,
}

impl Seen {
    /// Room for this many users.
    pub(super) fn new(most: usize) -> Seen {
        Seen { newer: Times::default(), older: Times::default(), half: (most / 2).max(1) }
    }

    /// A user left.
    pub(super) fn put(&mut self, user: UserId, at_ms: u64) {
        self.older.remove(&user);
        self.newer.insert(user, at_ms);
        if self.newer.len() >= self.half {
            self.older = std::mem::take(&mut self.newer);
        }
    }

    /// When a user left, where it is known.
    pub(super) fn get(&self, user: &UserId) -> Option<u64> {
        self.newer.get(user).or_else(|| self.older.get(user)).copied()
    }

    /// Forgets it.
    pub(super) fn remove(&mut self, user: &UserId) {
        self.newer.remove(user);
        self.older.remove(user);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(n: usize) -> UserId {
        UserId::parse(&format!("user-{n}")).unwrap()
    }

    #[test]
    fn the_newest_are_known_and_the_oldest_forgotten() {
        let mut seen = Seen::new(100);
        for n in 0..1_000 {
            seen.put(user(n), n as u64);
            assert!(seen.newer.len() + seen.older.len() <= 100);
            let newest = n.saturating_sub(49)..=n;
            assert!(newest.clone().all(|n| seen.get(&user(n)) == Some(n as u64)), "{n}");
        }
        assert_eq!(seen.get(&user(800)), None);
        seen.put(user(999), 5_000);
        assert_eq!(seen.get(&user(999)), Some(5_000), "the last time counts");
        seen.remove(&user(999));
        assert_eq!(seen.get(&user(999)), None);
    }
}
