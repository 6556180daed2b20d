//! The subscription index: topic filters as paths in a tree of levels.
//!
//! Nodes lie in one arena and name each other by number; the step from a node to a literal child is one hash
//! table for the whole tree, keyed by (parent, level). So a node with 100,000 children costs no more to pass
//! than one with two, a step is one probe, and neither a lookup nor the drop of a deep tree recurses. `+` is
//! a child with a link of its own; `…/#` is no node but a second subscriber set at the level it follows,
//! which is also how it comes to match that level itself [4.7.1.2].
//!
//! Costs. A lookup: the nodes that match a prefix of the topic, and what it finds; never the filters
//! elsewhere. Insert and remove: the levels of the filter. Memory, measured over 100,000 to a million filters
//! of 8-byte keys and `SubscriptionOptions`, spare room of the growing tables included: 95 to 130 bytes for a
//! filter that shares all levels but one with others (`u/alice/#`), 75 to 100 more for each further level of
//! its own, 27 to 37 for a further subscriber on the same filter. (40 bytes per node, the text of its level
//! in an allocation of its own, 9 in the table of steps, 16 for a filter's first subscriber, 16 for each of
//! many. The broker's keys, a session or a group, take 8 bytes more each.)
//!
//! Invariants: a node other than the root has a subscriber set or a child, so that what is removed leaves
//! nothing behind; node and set numbers are reused, and an emptied tree gives all its memory back.
//!
//! Filters and topics are taken as valid; an invalid one is stored and found as it stands, and nothing
//! panics.

use std::hash::{BuildHasher, Hash};
use std::mem;

use foldhash::quality::RandomState;
use hashbrown::HashTable;
use slab::Slab;
use smallvec::SmallVec;

use super::subscribers::Subscribers;
use crate::mutation::{Mutation, mutated};

type NodeId = u32;
type SetId = u32;

const ROOT: NodeId = 0;
const NONE: u32 = u32::MAX;

/// A subscription index by topic level. See the module's head for what it costs.
pub struct Trie<K, V> {
    nodes: Slab<Node>,
    steps: HashTable<Step>,
    sets: Slab<Subscribers<K, V>>,
    len: usize,
    hasher: RandomState,
}

struct Node {
    /// The text of a literal level; empty for `+` too, which its parent's `plus` tells from an empty level.
    level: Box<str>,
    parent: NodeId,
    plus: NodeId,
    /// Literal children.
    children: u32,
    /// Who subscribed to exactly this path.
    exact: SetId,
    /// Who subscribed to this path and `/#`.
    rest: SetId,
}

/// From a parent to a literal child; the hash is kept so that growing the table touches no node.
struct Step {
    hash: u32,
    child: NodeId,
}

impl<K: Eq + Hash, V> Trie<K, V> {
    /// An empty index.
    pub fn new() -> Self {
        let mut nodes = Slab::new();
        nodes.insert(Node::new("".into(), NONE));
        Self { nodes, steps: HashTable::new(), sets: Slab::new(), len: 0, hasher: RandomState::default() }
    }

    /// Subscriptions: (filter, key) pairs.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no subscription.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Enters `key` at `filter`, or replaces its value there and returns the former one.
    pub fn insert(&mut self, filter: &str, key: K, value: V) -> Option<V> {
        let path = Path::of(filter);
        let mut at = ROOT;
        for level in path.levels() {
            at = self.child(at, level).unwrap_or_else(|| self.add_child(at, level));
        }
        let set = self.nodes[at as usize].set_mut(path.rest);
        if *set == NONE {
            *set = number(self.sets.insert(Subscribers::None));
        }
        let replaced = self.sets[*set as usize].insert(key, value, &self.hasher);
        self.len += usize::from(replaced.is_none());
        replaced
    }

    /// Takes `key` off `filter`, and everything that only this subscription needed out of the tree.
    pub fn remove(&mut self, filter: &str, key: &K) -> Option<V> {
        let path = Path::of(filter);
        let at = path.levels().try_fold(ROOT, |at, level| self.child(at, level))?;
        let set = self.nodes[at as usize].set_mut(path.rest);
        let subscribers = self.sets.get_mut(*set as usize)?;
        let removed = subscribers.remove(key, &self.hasher)?;
        if subscribers.as_slice().is_empty() {
            self.sets.remove(*set as usize);
            *set = NONE;
            self.prune(at);
        }
        self.len -= 1;
        if self.len == 0 {
            *self = Self::new();
        }
        Some(removed)
    }

    /// Calls `visit` for each subscription whose filter matches `topic`: once per filter and key, so that a
    /// key with overlapping filters comes more than once.
    pub fn matches(&self, topic: &str, visit: &mut impl FnMut(&K, &V)) {
        self.matching_sets(topic, &mut |set| set.iter().for_each(|(key, value)| visit(key, value)));
    }

    /// Calls `visit` for each filter that matches `topic`, with all its subscribers; no key is in one slice
    /// twice.
    pub fn matching_sets(&self, topic: &str, visit: &mut impl FnMut(&[(K, V)])) {
        self.walk(topic, visit);
    }

    /// Goes down level by level with all nodes that match so far. Returns how many it passed.
    fn walk(&self, topic: &str, visit: &mut impl FnMut(&[(K, V)])) -> usize {
        let mut visit = |set: SetId| {
            if set != NONE {
                visit(self.sets[set as usize].as_slice());
            }
        };
        // A wildcard in the first level does not match topics that begin with `$` [MQTT-4.7.2-1].
        let mut wildcards = !topic.starts_with('$') || mutated(Mutation::ShowsDollarTopics);
        let mut passed = 0;
        let mut here = SmallVec::<[NodeId; 16]>::from_slice(&[ROOT]);
        let mut below = SmallVec::<[NodeId; 16]>::new();
        for level in topic.split('/') {
            let level_hash = self.hasher.hash_one(level);
            for at in here.drain(..) {
                let node = &self.nodes[at as usize];
                if wildcards {
                    visit(node.rest);
                    below.extend((node.plus != NONE).then_some(node.plus));
                }
                if node.children > 0 {
                    below.extend(self.literal_child(at, level, level_hash));
                }
                passed += 1;
            }
            if below.is_empty() {
                return passed;
            }
            mem::swap(&mut here, &mut below);
            wildcards = true;
        }
        for at in &here {
            let node = &self.nodes[*at as usize];
            visit(node.exact);
            visit(node.rest);
        }
        passed + here.len()
    }

    fn child(&self, parent: NodeId, level: &str) -> Option<NodeId> {
        if level == "+" {
            let plus = self.nodes[parent as usize].plus;
            return (plus != NONE).then_some(plus);
        }
        self.literal_child(parent, level, self.hasher.hash_one(level))
    }

    fn literal_child(&self, parent: NodeId, level: &str, level_hash: u64) -> Option<NodeId> {
        let hash = step_hash(parent, level_hash);
        let is_it = |step: &Step| {
            let node = &self.nodes[step.child as usize];
            step.hash == hash && node.parent == parent && *node.level == *level
        };
        self.steps.find(spread(hash), is_it).map(|step| step.child)
    }

    fn add_child(&mut self, parent: NodeId, level: &str) -> NodeId {
        if level == "+" {
            let child = number(self.nodes.insert(Node::new("".into(), parent)));
            self.nodes[parent as usize].plus = child;
            return child;
        }
        let child = number(self.nodes.insert(Node::new(level.into(), parent)));
        self.nodes[parent as usize].children += 1;
        let hash = step_hash(parent, self.hasher.hash_one(level));
        self.steps.insert_unique(spread(hash), Step { hash, child }, |step| spread(step.hash));
        child
    }

    /// Removes `at` and then its ancestors as far as nothing else needs them.
    fn prune(&mut self, mut at: NodeId) {
        while at != ROOT && self.nodes[at as usize].is_unused() {
            let node = self.nodes.remove(at as usize);
            let parent = &mut self.nodes[node.parent as usize];
            if parent.plus == at {
                parent.plus = NONE;
            } else {
                parent.children -= 1;
                let hash = step_hash(node.parent, self.hasher.hash_one(&*node.level));
                if let Ok(step) = self.steps.find_entry(spread(hash), |step| step.child == at) {
                    step.remove();
                }
            }
            at = node.parent;
        }
        if self.steps.capacity() > 64 && self.steps.len() < self.steps.capacity() / 8 {
            self.steps.shrink_to(self.steps.len() * 2, |step| spread(step.hash));
        }
    }
}

impl<K: Eq + Hash, V> Default for Trie<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl Node {
    fn new(level: Box<str>, parent: NodeId) -> Self {
        Self { level, parent, plus: NONE, children: 0, exact: NONE, rest: NONE }
    }

    fn set_mut(&mut self, rest: bool) -> &mut SetId {
        if rest { &mut self.rest } else { &mut self.exact }
    }

    fn is_unused(&self) -> bool {
        self.exact == NONE && self.rest == NONE && self.plus == NONE && self.children == 0
    }
}

/// A filter, its last `#` taken off.
struct Path<'a> {
    /// `None` for `#` alone, which has no level in front.
    levels: Option<&'a str>,
    rest: bool,
}

impl<'a> Path<'a> {
    fn of(filter: &'a str) -> Self {
        match filter.strip_suffix('#') {
            Some("") => Self { levels: None, rest: true },
            Some(front) if front.ends_with('/') => {
                Self { levels: Some(&front[..front.len() - 1]), rest: true }
            }
            _ => Self { levels: Some(filter), rest: false },
        }
    }

    fn levels(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.levels.into_iter().flat_map(|levels| levels.split('/'))
    }
}

/// The level's hash is random; the parent's number, spread over all bits, tells equal levels below different
/// parents apart.
fn step_hash(parent: NodeId, level_hash: u64) -> u32 {
    let mixed = level_hash ^ u64::from(parent).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed >> 32) as u32 ^ mixed as u32
}

/// The table takes its position from the low bits and its tag from the high ones.
fn spread(hash: u32) -> u64 {
    u64::from(hash) << 32 | u64::from(hash)
}

fn number(index: usize) -> u32 {
    u32::try_from(index).expect("four billion nodes of 40 bytes are beyond any machine's memory")
}

#[cfg(test)]
mod tests {
    use super::super::SubscriptionOptions;
    use super::*;
    use rand::rngs::SmallRng;
    use rand::{RngExt, SeedableRng};

    fn found(trie: &Trie<u32, ()>, topic: &str) -> Vec<u32> {
        let mut keys = Vec::new();
        trie.matches(topic, &mut |key, ()| keys.push(*key));
        keys.sort_unstable();
        keys
    }

    fn trie_of(filters: &[&str]) -> Trie<u32, ()> {
        let mut trie = Trie::new();
        for (key, filter) in filters.iter().enumerate() {
            assert_eq!(trie.insert(filter, key as u32, ()), None);
        }
        trie
    }

    /// The examples of 4.7 in both versions of the standard.
    #[test]
    fn matches_as_the_standard_says() {
        for (filter, topic, matches) in [
            ("sport/tennis/player1/#", "sport/tennis/player1", true),
            ("sport/tennis/player1/#", "sport/tennis/player1/ranking", true),
            ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", true),
            ("sport/tennis/player1/#", "sport/tennis/player10", false),
            ("sport/#", "sport", true),
            ("#", "a", true),
            ("#", "/", true),
            ("sport/tennis/+", "sport/tennis/player1", true),
            ("sport/tennis/+", "sport/tennis/player1/ranking", false),
            ("sport/+", "sport", false),
            ("sport/+", "sport/", true),
            ("+/+", "/finance", true),
            ("/+", "/finance", true),
            ("+", "/finance", false),
            ("#", "$SYS/x", false),
            ("+/monitor/Clients", "$SYS/monitor/Clients", false),
            ("$SYS/#", "$SYS/monitor/Clients", true),
            ("$SYS/monitor/+", "$SYS/monitor/Clients", true),
            ("$SYS/+/#", "$SYS/monitor", true),
            ("a/$b/+", "a/$b/$c", true),
            ("a/+", "a/$b", true),
            ("ACCOUNTS", "Accounts", false),
            ("/a", "a", false),
            ("+/+/#", "a/b", true),
            ("+/#", "a", true),
        ] {
            assert_eq!(!found(&trie_of(&[filter]), topic).is_empty(), matches, "{filter} on {topic}");
        }
    }

    #[test]
    fn a_lookup_passes_what_matches_and_never_the_filters_elsewhere() {
        let mut trie = trie_of(&["a/b/c", "a/+/c", "#", "+/b/#"]);
        let passed = trie.walk("a/b/c", &mut |_| ());
        for i in 0..100_000 {
            trie.insert(&format!("a/x{i}/c"), i, ());
            trie.insert(&format!("b/{i}/+/#"), i, ());
        }
        assert_eq!(found(&trie, "a/b/c"), [0, 1, 2, 3]);
        assert_eq!(trie.walk("a/b/c", &mut |_| ()), passed);
        // root; a, +; a/b, a/+, +/b; a/b/c, a/+/c
        assert_eq!(passed, 8);
    }

    #[test]
    fn removal_of_100_000_random_filters_leaves_nothing() {
        let mut rng = SmallRng::seed_from_u64(7);
        let mut level = |last: bool| match rng.random_range(0..10) {
            0 => "+".to_owned(),
            1 if last => "#".to_owned(),
            _ => format!("l{}", rng.random_range(0..50)),
        };
        let mut filters: Vec<String> = (0..100_000u32)
            .map(|i| (0..=i % 6).map(|at| level(at == i % 6)).collect::<Vec<_>>().join("/"))
            .collect();
        let mut trie = Trie::new();
        let mut inserted = 0;
        for (i, filter) in filters.iter().enumerate() {
            inserted += usize::from(trie.insert(filter, i % 3, ()).is_none());
        }
        assert_eq!(trie.len(), inserted);
        filters.sort_unstable();
        filters.dedup();
        // One subscription stays to the end, so that it is the pruning that clears the tree and not its last
        // removal.
        trie.insert("kept", 9, ());
        for filter in &filters {
            for key in 0..3 {
                trie.remove(filter, &key);
            }
        }
        assert_eq!((trie.len(), trie.nodes.len(), trie.steps.len(), trie.sets.len()), (1, 2, 1, 1));
        assert!(trie.steps.capacity() <= 64, "the table of steps gave its room back");
        assert_eq!(trie.remove("kept", &9), Some(()));
        assert!(trie.is_empty());
        assert_eq!((trie.nodes.len(), trie.nodes.capacity() <= 4, trie.steps.capacity()), (1, true, 0));
    }

    #[test]
    fn a_hundred_thousand_subscribers_share_one_filter() {
        let mut trie = Trie::new();
        for key in 0..100_000u32 {
            assert_eq!(trie.insert("news/#", key, key), None);
        }
        assert_eq!(trie.insert("news/#", 5, 0), Some(5));
        assert_eq!((trie.len(), trie.nodes.len(), trie.sets.len()), (100_000, 2, 1));
        let mut sum = 0u64;
        trie.matches("news/today", &mut |key, _| sum += u64::from(*key));
        assert_eq!(sum, 99_999 * 100_000 / 2);
        for key in 0..100_000 {
            assert!(trie.remove("news/#", &key).is_some());
            assert!(trie.remove("news/#", &key).is_none());
        }
        assert_eq!((trie.len(), trie.nodes.len(), trie.sets.len()), (0, 1, 0));
    }

    /// As deep as 65,535 bytes go: on a thread with a small stack, drop included.
    #[test]
    fn depth_takes_no_stack() {
        let deep = || {
            let topic = "/".repeat(65_534);
            let plus = vec!["+"; 32_768].join("/");
            let mut trie = trie_of(&[&topic, &plus, "#", "/#"]);
            assert_eq!(found(&trie, &topic), [0, 2, 3]);
            assert_eq!(found(&trie, &"/".repeat(32_767)), [1, 2, 3]);
            assert_eq!(trie.remove(&topic, &0), Some(()));
            assert_eq!(found(&trie, &topic), [2, 3]);
        };
        let thread = std::thread::Builder::new().stack_size(128 * 1024).spawn(deep);
        thread.expect("a thread can be started").join().expect("deep topics need no stack");
    }

    #[test]
    fn what_is_not_there_is_not_removed() {
        let mut trie = trie_of(&["a/b", "a/#", "+"]);
        for filter in ["a", "a/+", "#", "a/b/#", "b", "", "+/#", "a/b/c"] {
            assert_eq!(trie.remove(filter, &0), None, "{filter}");
        }
        assert_eq!(trie.remove("a/b", &1), None);
        assert_eq!(trie.len(), 3);
    }

    /// The figures in the module's head.
    #[test]
    fn sizes_stay_as_documented() {
        assert_eq!(size_of::<Option<Node>>(), 40);
        assert_eq!(size_of::<Step>(), 8);
        assert_eq!(size_of::<Option<Subscribers<u64, SubscriptionOptions>>>(), 16);
        assert_eq!(size_of::<Option<Subscribers<std::sync::Arc<()>, SubscriptionOptions>>>(), 16);
    }
}
