//! What a publisher found last time, per topic.
//!
//! Two generations stand in for a list by age: answers go into the young one; when that is half of what is
//! allowed, it becomes the old one and what was old goes. An old answer that is asked for again moves back to
//! the young. So a working set of up to half the limit always stays, at no cost per lookup.
//!
//! Bounds: `max_topics` answers and `max_bytes` of them (names and entries; identifiers beyond four per entry
//! are not counted). An answer that would take more than half of the bytes is not kept: its walk is small
//! beside its deliveries. A kept answer holds clones of its session handles until it is replaced or leaves:
//! handles should be ids or weak where that matters.

use std::mem::{size_of, swap};
use std::sync::Arc;

use hashbrown::HashMap;
use hashbrown::hash_map::Entry;

use super::matches::Match;
use super::stamps::Slots;

type Map<S> = HashMap<Box<str>, Answer<S>, foldhash::fast::RandomState>;

/// Remembered lookups for [`Router::matches_cached`](super::Router::matches_cached). Empty, it owns no heap
/// memory.
pub struct MatchCache<S> {
    young: Map<S>,
    old: Map<S>,
    young_bytes: usize,
    max_topics: usize,
    max_bytes: usize,
}

struct Answer<S> {
    slots: Slots,
    seen: u64,
    matches: Arc<[Match<S>]>,
}

impl<S> MatchCache<S> {
    /// 256 topics, 256 KiB: one topic with some 2,000 subscribers, or 256 with 16 each.
    pub const DEFAULT_LIMITS: (usize, usize) = (256, 256 * 1024);

    /// A cache of at most `max_topics` answers that take at most `max_bytes` bytes.
    pub fn new(max_topics: usize, max_bytes: usize) -> Self {
        Self { young: Map::default(), old: Map::default(), young_bytes: 0, max_topics, max_bytes }
    }

    /// Forgets everything and gives the memory back, as for a connection that has gone idle.
    pub fn clear(&mut self) {
        *self = Self::new(self.max_topics, self.max_bytes);
    }

    /// Answers held.
    pub fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The answer for `topic`, if there is one and `holds` says that it is still right.
    pub(super) fn get(
        &mut self,
        topic: &str,
        holds: impl FnOnce(&Slots, u64) -> bool,
    ) -> Option<Arc<[Match<S>]>> {
        if let Some(answer) = self.young.get(topic) {
            return holds(&answer.slots, answer.seen).then(|| answer.matches.clone());
        }
        let (topic, answer) = self.old.remove_entry(topic)?;
        if !holds(&answer.slots, answer.seen) {
            return None;
        }
        let matches = answer.matches.clone();
        self.keep(topic, answer);
        Some(matches)
    }

    pub(super) fn put(&mut self, topic: &str, slots: Slots, seen: u64, matches: &Arc<[Match<S>]>) {
        let answer = Answer { slots, seen, matches: matches.clone() };
        if weight(topic, &answer) <= self.max_bytes / 2 && self.max_topics >= 2 {
            self.keep(topic.into(), answer);
        } else if let Some((topic, stale)) = self.young.remove_entry(topic) {
            self.young_bytes -= weight(&topic, &stale);
        }
    }

    fn keep(&mut self, topic: Box<str>, answer: Answer<S>) {
        let bytes = weight(&topic, &answer);
        let replaced = self.young.get(&topic).map_or(0, |stale| weight(&topic, stale));
        let full = self.young.len() >= self.max_topics / 2 && replaced == 0;
        if full || self.young_bytes - replaced + bytes > self.max_bytes / 2 {
            self.old.clear();
            swap(&mut self.young, &mut self.old);
            self.young_bytes = 0;
        }
        self.young_bytes += bytes;
        match self.young.entry(topic) {
            Entry::Occupied(mut entry) => {
                self.young_bytes -= replaced;
                entry.insert(answer);
            }
            Entry::Vacant(entry) => {
                entry.insert(answer);
            }
        }
    }
}

impl<S> Default for MatchCache<S> {
    fn default() -> Self {
        let (max_topics, max_bytes) = Self::DEFAULT_LIMITS;
        Self::new(max_topics, max_bytes)
    }
}

fn weight<S>(topic: &str, answer: &Answer<S>) -> usize {
    size_of::<(Box<str>, Answer<S>)>() + topic.len() + answer.matches.len() * size_of::<Match<S>>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::router::{Router, SubscriptionOptions};

    fn crowd(router: &Router<u64>, filter: &str, sessions: u64) {
        for session in 0..sessions {
            router.subscribe(filter, session, SubscriptionOptions::default());
        }
    }

    #[test]
    fn a_repeated_topic_is_answered_from_the_cache_until_something_touches_it() {
        let router = Router::new();
        let mut cache = MatchCache::default();
        crowd(&router, "a/+/c", 3);
        let first = router.matches_cached(&mut cache, "a/b/c");
        assert_eq!(first.len(), 3);
        assert!(Arc::ptr_eq(&first, &router.matches_cached(&mut cache, "a/b/c")));
        // The same subscription again is no change.
        router.subscribe("a/+/c", 1, SubscriptionOptions::default());
        assert!(Arc::ptr_eq(&first, &router.matches_cached(&mut cache, "a/b/c")));
        router.unsubscribe("a/+/c", &1);
        assert_eq!(router.matches_cached(&mut cache, "a/b/c").len(), 2);
        router.subscribe("a/+/c", 0, SubscriptionOptions { qos: 2, ..SubscriptionOptions::default() });
        let last = router.matches_cached(&mut cache, "a/b/c");
        assert_eq!(last.iter().map(|found| found.grant(None).map_or(0, |grant| grant.qos)).max(), Some(2));
    }

    #[test]
    fn topics_are_bounded_and_a_working_set_of_half_the_limit_stays() {
        let router: Router<u64> = Router::new();
        let mut cache = MatchCache::new(16, usize::MAX);
        let hot: Vec<_> =
            (0..7).map(|i| (i, router.matches_cached(&mut cache, &format!("hot/{i}")))).collect();
        for cold in 0..1000 {
            router.matches_cached(&mut cache, &format!("cold/{cold}"));
            assert!(cache.len() <= 16);
            // The hot topic asked for each time is never pushed out.
            assert!(Arc::ptr_eq(&hot[0].1, &router.matches_cached(&mut cache, "hot/0")));
        }
        cache.clear();
        assert!(cache.is_empty());
    }

    #[test]
    fn bytes_are_bounded_and_what_is_too_large_is_not_kept() {
        let router = Router::new();
        crowd(&router, "big", 1000);
        crowd(&router, "some/#", 100);
        let entry = size_of::<Match<u64>>();
        let mut cache = MatchCache::new(1000, 1000 * entry);
        for _ in 0..3 {
            let before = cache.len();
            assert_eq!(router.matches_cached(&mut cache, "big").len(), 1000);
            assert_eq!(cache.len(), before, "a list beyond half the bytes is not kept");
            for topic in 0..50 {
                assert_eq!(router.matches_cached(&mut cache, &format!("some/{topic}")).len(), 100);
                assert!(cache.len() < 10, "{} lists of 100 in room for less than 10", cache.len());
                let held: usize = cache.young.iter().map(|(topic, answer)| weight(topic, answer)).sum();
                assert_eq!(held, cache.young_bytes);
            }
            assert!(cache.len() >= 5);
        }
    }

    #[test]
    fn a_kept_answer_that_grows_too_large_is_dropped() {
        let router = Router::new();
        crowd(&router, "a", 1);
        let mut cache = MatchCache::new(10, 100 * size_of::<Match<u64>>());
        assert_eq!(router.matches_cached(&mut cache, "a").len(), 1);
        assert_eq!(cache.len(), 1);
        crowd(&router, "a", 90);
        assert_eq!(router.matches_cached(&mut cache, "a").len(), 90);
        assert_eq!((cache.len(), cache.young_bytes), (0, 0));
    }
}
