//! Who gets a message: the index of all subscriptions on generic topics, shared by every connection.
//!
//! Publishing vastly outnumbers subscribing, so three things keep a publish cheap:
//! * the index is split into shards by the first two levels, each a [`Trie`] behind its own lock, so that a
//!   growing shard or a storm of subscriptions holds up only its own part; filters with a wildcard in those
//!   two levels, or with fewer of them, live in one more *wide* shard that every lookup also reads;
//! * what a lookup finds is one contiguous slice with one entry per session, already merged ([`Match`]);
//! * a [`MatchCache`] keeps that slice, and change counters (`stamps`) say in five loads whether it still
//!   holds.
//!
//! Invariant: when `subscribe` or `unsubscribe` has returned, every later lookup, cached or not, on any
//! thread, sees it.
//!
//! A session knows its own filters (they are in its record), so ending one costs its own filters and nothing
//! else: the index keeps no list by session.
//!
//! A shared subscription (`$share/{group}/{filter}`) stands in the trie under `{filter}`, once for its group: the
//! key is a session or a group, and a group is resolved to one member after the lookup.

mod cache;
mod matches;
mod stamps;
mod subscribers;
pub mod trie;

#[cfg(test)]
mod model_tests;

use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

use foldhash::quality::RandomState;
use parking_lot::RwLock;

pub use cache::MatchCache;
pub use matches::{Grant, Match, SubscriptionOptions};
pub use trie::Trie;

use matches::Merge;
use stamps::{Stamps, literal_prefix};

/// Shards by the first two levels, besides the wide one. More of them cost a few hundred bytes each, fewer
/// make the longest pause (growing one shard's tables) longer.
const SHARDS: usize = 32;

/// Levels that choose the shard.
const SHARD_LEVELS: usize = 2;

type Shard<S> = RwLock<Trie<S, SubscriptionOptions>>;

/// The subscription index. `S` is a small handle to a session, cheap to clone: an id or an `Arc`.
pub struct Router<S> {
    shards: Box<[Shard<S>]>,
    wide: Shard<S>,
    stamps: Stamps,
    hasher: RandomState,
}

impl<S: Clone + Eq + Hash> Router<S> {
    /// An empty index.
    pub fn new() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| RwLock::new(Trie::new())).collect(),
            wide: RwLock::new(Trie::new()),
            stamps: Stamps::new(),
            hasher: RandomState::default(),
        }
    }

    /// Enters `subscriber` at `filter`, which must be valid. A subscription it already has there is replaced
    /// [MQTT-3.8.4-3] and returned, so that `None` means that the subscription is new (Retain Handling 1
    /// asks).
    pub fn subscribe(
        &self,
        filter: &str,
        subscriber: S,
        options: SubscriptionOptions,
    ) -> Option<SubscriptionOptions> {
        let replaced = self.shard_of_filter(filter).write().insert(filter, subscriber, options);
        if replaced != Some(options) {
            self.stamps.bump(filter);
        }
        replaced
    }

    /// Takes `subscriber` off `filter`; `None` if it was not there [MQTT-3.10.4-1].
    pub fn unsubscribe(&self, filter: &str, subscriber: &S) -> Option<SubscriptionOptions> {
        let removed = self.shard_of_filter(filter).write().remove(filter, subscriber);
        if removed.is_some() {
            self.stamps.bump(filter);
        }
        removed
    }

    /// Takes `subscriber` off each of `filters`, its own list, and returns how many were found. Costs those
    /// filters only.
    pub fn unsubscribe_all<'a>(&self, filters: impl IntoIterator<Item = &'a str>, subscriber: &S) -> usize {
        filters.into_iter().filter(|filter| self.unsubscribe(filter, subscriber).is_some()).count()
    }

    /// Every session with a subscription that matches `topic`, once each.
    pub fn matches(&self, topic: &str) -> Vec<Match<S>> {
        let mut merge = Merge::new(&self.hasher);
        self.wide.read().matching_sets(topic, &mut |set| merge.add(set));
        if let Some(prefix) = literal_prefix(topic, SHARD_LEVELS) {
            self.shard(prefix).read().matching_sets(topic, &mut |set| merge.add(set));
        }
        merge.finish()
    }

    /// The same as [`Router::matches`], remembered in `cache`: a topic that is published to again, while
    /// nothing that could match it has changed, costs one hash lookup and five atomic loads, with no lock and
    /// no allocation.
    ///
    /// The cache serves any number of publishers (the publisher comes in at [`Match::grant`]), one thread at
    /// a time, and belongs to this router alone.
    pub fn matches_cached(&self, cache: &mut MatchCache<S>, topic: &str) -> Arc<[Match<S>]> {
        if let Some(known) = cache.get(topic, |slots, seen| self.stamps.read(slots) == seen) {
            return known;
        }
        // The counters are read before the walk: a change during the walk makes this answer stale, never a
        // stale one fresh.
        let slots = self.stamps.slots(topic);
        let seen = self.stamps.read(&slots);
        let matches: Arc<[Match<S>]> = self.matches(topic).into();
        cache.put(topic, slots, seen, &matches);
        matches
    }

    /// Subscriptions in the index: (filter, session) pairs. Reads every shard's lock: for gauges, not for
    /// each message.
    pub fn len(&self) -> usize {
        self.wide.read().len() + self.shards.iter().map(|shard| shard.read().len()).sum::<usize>()
    }

    /// Whether there is no subscription at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn shard_of_filter(&self, filter: &str) -> &Shard<S> {
        literal_prefix(filter, SHARD_LEVELS).map_or(&self.wide, |prefix| self.shard(prefix))
    }

    fn shard(&self, prefix: &str) -> &Shard<S> {
        &self.shards[self.hasher.hash_one(prefix) as usize % SHARDS]
    }
}

impl<S: Clone + Eq + Hash> Default for Router<S> {
    fn default() -> Self {
        Self::new()
    }
}
