//! Change counters that tell whether a remembered lookup still holds.
//!
//! One counter for everything would make every SUBSCRIBE anywhere spoil every remembered answer. So there are
//! many: a filter without wildcards can change the answer for one topic only and counts at the hash of that
//! whole name; a filter with wildcards counts at the hash of the literal levels in front of its first
//! wildcard, three at most. A topic looks at the counters of its whole name and of its first 0, 1, 2 and 3
//! levels, which covers each filter that can match it. Whole names and each number of levels have counters of
//! their own, so that many devices with an exact filter each spoil one another's topics now and then, by
//! sharing a counter, but never the few prefixes that all topics look at.
//!
//! Invariants: counters only grow, so the sum of a topic's counters is unchanged exactly when each of them
//! is. A filter is counted after its change is in the index.

use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};

use foldhash::quality::RandomState;

/// Counters of one kind, 8 bytes each. Two names that share one spoil each other's remembered answers, no
/// more.
const COUNTERS: usize = 1024;

/// The longest literal prefix with a counter of its own, in levels.
const PREFIX_LEVELS: usize = 3;

/// The counter of filters that begin with a wildcard; those of the kinds follow it.
const NO_PREFIX: u16 = 0;

/// The kind of whole names; kind n stands for prefixes of n levels.
const EXACT: usize = 0;

/// The counters that one topic depends on. A counter may be in here twice, which does no harm.
pub(super) type Slots = [u16; PREFIX_LEVELS + 2];

pub(super) struct Stamps {
    counters: Box<[AtomicU64]>,
    hasher: RandomState,
}

impl Stamps {
    pub(super) fn new() -> Self {
        Self {
            counters: (0..=COUNTERS * (PREFIX_LEVELS + 1)).map(|_| AtomicU64::new(0)).collect(),
            hasher: RandomState::default(),
        }
    }

    /// Counts a change at `filter`, made before this call.
    pub(super) fn bump(&self, filter: &str) {
        self.counters[usize::from(self.slot_of_filter(filter))].fetch_add(1, Ordering::Release);
    }

    pub(super) fn slots(&self, topic: &str) -> Slots {
        let mut slots = [NO_PREFIX; PREFIX_LEVELS + 2];
        slots[1] = self.slot(EXACT, topic);
        for (levels, slot) in (1..=PREFIX_LEVELS).zip(&mut slots[2..]) {
            let Some(prefix) = prefix(topic, levels) else { break };
            *slot = self.slot(levels, prefix);
        }
        slots
    }

    /// The sum of the counters at `slots`.
    pub(super) fn read(&self, slots: &Slots) -> u64 {
        slots.iter().map(|slot| self.counters[usize::from(*slot)].load(Ordering::Acquire)).sum()
    }

    fn slot_of_filter(&self, filter: &str) -> u16 {
        if !filter.split('/').any(is_wildcard) {
            return self.slot(EXACT, filter);
        }
        let literal = filter.split('/').take_while(|level| !is_wildcard(level)).count().min(PREFIX_LEVELS);
        prefix(filter, literal).map_or(NO_PREFIX, |prefix| self.slot(literal, prefix))
    }

    fn slot(&self, kind: usize, name: &str) -> u16 {
        (1 + kind * COUNTERS + self.hasher.hash_one(name) as usize % COUNTERS) as u16
    }
}

/// The first `levels` levels of `name` if it has that many and none of them is a wildcard.
pub(super) fn literal_prefix(name: &str, levels: usize) -> Option<&str> {
    prefix(name, levels).filter(|prefix| !prefix.split('/').any(is_wildcard))
}

/// The first `levels` levels of `name` if it has that many; `None` for no level.
fn prefix(name: &str, levels: usize) -> Option<&str> {
    let last = levels.checked_sub(1)?;
    match name.match_indices('/').nth(last) {
        Some((end, _)) => Some(&name[..end]),
        None => (name.split('/').count() == levels).then_some(name),
    }
}

fn is_wildcard(level: &str) -> bool {
    level == "+" || level == "#"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_count_empty_levels() {
        assert_eq!(prefix("a/b/c", 2), Some("a/b"));
        assert_eq!(prefix("a/b", 2), Some("a/b"));
        assert_eq!(prefix("a", 2), None);
        assert_eq!(prefix("/", 1), Some(""));
        assert_eq!(prefix("/", 2), Some("/"));
        assert_eq!(prefix("//x", 2), Some("/"));
        assert_eq!(prefix("a", 0), None);
        assert_eq!(literal_prefix("a/+/c", 2), None);
        assert_eq!(literal_prefix("a/#", 2), None);
        assert_eq!(literal_prefix("a/b/#", 2), Some("a/b"));
    }

    /// Which topics' sums move when a filter changes: all that it matches, and not those elsewhere.
    #[test]
    fn a_change_is_seen_by_the_topics_it_can_touch() {
        for (filter, touched) in [
            ("#", "a"),
            ("+/b", "a/b"),
            ("a/#", "a"),
            ("a/#", "a/b/c/d/e"),
            ("a/b/c/#", "a/b/c"),
            ("a/b/c/d/+", "a/b/c/d/e"),
            ("/+", "/x"),
            ("a/b/c/d/e", "a/b/c/d/e"),
            ("+/+/+/+/+", "a/b/c/d/e"),
        ] {
            let stamps = Stamps::new();
            let slots = stamps.slots(touched);
            let before = stamps.read(&slots);
            stamps.bump(filter);
            assert!(stamps.read(&slots) > before, "{filter} must count at {touched}");
        }
    }

    /// 40 changes next door can touch 40 counters, and a topic among 1,000 shares one with few others.
    #[test]
    fn a_change_elsewhere_spoils_few_topics() {
        let stamps = Stamps::new();
        let topics: Vec<_> = (0..1000).map(|car| format!("fleet/eu/{car}/speed")).collect();
        let before: Vec<_> = topics.iter().map(|topic| stamps.read(&stamps.slots(topic))).collect();
        for car in 0..20 {
            stamps.bump(&format!("fleet/eu/{car}/door"));
            stamps.bump(&format!("fleet/us/{car}/+"));
        }
        let moved = topics
            .iter()
            .zip(before)
            .filter(|(topic, was)| stamps.read(&stamps.slots(topic)) != *was)
            .count();
        assert!(moved < 500, "{moved} of 1,000 answers were spoiled by changes elsewhere");
    }

    /// However many exact filters come and go, what all topics look at is not among their counters.
    #[test]
    fn exact_filters_leave_prefixes_alone() {
        let stamps = Stamps::new();
        let mut slots = stamps.slots("fleet/eu/1/speed");
        slots[1] = NO_PREFIX;
        for car in 0..10_000 {
            stamps.bump(&format!("fleet/eu/{car}/door"));
        }
        assert_eq!(stamps.read(&slots), 0);
    }
}
