//! Which retained messages match a filter, found over topics in order, in RAM or on disk alike.
//!
//! Topics are ordered by [`key_of_topic`]: the name with each `/` as a zero byte. No topic holds U+0000
//! [MQTT-1.5.4-2], and zero sorts before everything, so that all topics below a level lie side by side, in
//! level order, behind the topic of that level itself.
//!
//! [`match_retained`] is a skip-scan over a [`TopicCursor`]: for the topic at hand a pure function
//! (`Filter::judge`) says either that it matches or what is the first place behind it where a match can be. A
//! literal level is one seek, `+` goes from child to child, `#` runs through its range. So the cost follows
//! the matches and the children passed on the way to them, never the number of retained messages; and as each
//! step needs only the place it starts from, a lookup is cut into pages that hold no lock and no cursor in
//! between.
//!
//! Invariants: every seek goes forward, so that a lookup ends; a topic that is there for the whole time of a
//! lookup is found exactly once, whatever comes and goes around it.

use std::collections::BTreeMap;
use std::collections::btree_map::Range;
use std::convert::Infallible;
use std::ops::Bound;

use smallvec::SmallVec;

/// Sorts before every byte of a level and stands for `/`.
const SEPARATOR: u8 = 0;

/// The first byte that sorts after a separator: a level with it added lies behind that level and everything
/// below it.
const AFTER_SEPARATOR: u8 = 1;

/// Topics that a wildcard in the first level does not match begin with this [MQTT-4.7.2-1].
const SYSTEM: u8 = b'$';

/// The key that `topic` is ordered by.
pub fn key_of_topic(topic: &str) -> Vec<u8> {
    topic.bytes().map(|byte| if byte == b'/' { SEPARATOR } else { byte }).collect()
}

/// The topic of `key`; `None` if it is the key of no topic.
pub fn topic_of_key(key: &[u8]) -> Option<String> {
    let name = key.iter().map(|byte| if *byte == SEPARATOR { b'/' } else { *byte }).collect();
    String::from_utf8(name).ok().filter(|_| !key.contains(&b'/'))
}

/// A position in the retained topics, ordered by key. What a store of retained messages provides.
pub trait TopicCursor {
    /// The retained message or a handle to it.
    type Value;
    /// What a read can fail with.
    type Error;

    /// Moves to the first topic whose key is `from` or behind it.
    fn seek(&mut self, from: &[u8]) -> Result<(), Self::Error>;

    /// Moves to the next topic. Called only where there is a [`TopicCursor::key`].
    fn advance(&mut self) -> Result<(), Self::Error>;

    /// The key of the topic at hand; `None` behind the last one.
    fn key(&self) -> Option<&[u8]>;

    /// The value of the topic at hand. Called only for what matches, so that what is passed over is not read.
    fn value(&self) -> Result<Self::Value, Self::Error>;

    /// Bytes that `value` takes in a page, for [`PageLimits::bytes`].
    fn weight(&self, value: &Self::Value) -> usize;
}

/// When a page ends. Each is at least 1 in effect, so that every page gets on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageLimits {
    /// Messages.
    pub items: usize,
    /// Bytes of names and values; the message that goes beyond is the page's last.
    pub bytes: usize,
    /// Topics looked at, matching or not: what bounds the time of a page that finds little.
    pub steps: usize,
}

impl Default for PageLimits {
    /// 256 messages, 1 MiB, 4,096 topics looked at: about a millisecond in RAM.
    fn default() -> Self {
        Self { items: 256, bytes: 1024 * 1024, steps: 4096 }
    }
}

/// Where the next page begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resume(Vec<u8>);

/// Part of the retained messages that match a filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<V> {
    /// Topic and value, in key order. Empty, with `resume`, if the page's steps found nothing yet.
    pub items: Vec<(String, V)>,
    /// `None` if this was the last page. A page that its limits ended has one, even if nothing more will
    /// match.
    pub resume: Option<Resume>,
}

/// Why a page could not be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum RetainedError<E> {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] E),
    /// The store holds something that no topic maps to.
    #[error("the store of retained messages holds a key that is no topic name: {}", .0.escape_ascii())]
    Key(Vec<u8>),
}

/// The retained messages that match `filter`, which must be valid, one page of them: the first one, or the
/// one that begins where another page ended.
pub fn match_retained<C: TopicCursor>(
    cursor: &mut C,
    filter: &str,
    from: Option<&Resume>,
    limits: PageLimits,
) -> Result<Page<C::Value>, RetainedError<C::Error>> {
    let filter = Filter::new(filter);
    let mut page = Page { items: Vec::new(), resume: None };
    let (mut bytes, mut steps) = (0, 0);
    let mut target = match from {
        Some(Resume(from)) => from.clone(),
        None => filter.first(),
    };
    cursor.seek(&target)?;
    while let Some(key) = cursor.key() {
        steps += 1;
        match filter.judge(key, &mut target) {
            Verdict::Match => {
                let topic = topic_of_key(key).ok_or_else(|| RetainedError::Key(key.to_vec()))?;
                let value = cursor.value()?;
                bytes += topic.len() + cursor.weight(&value);
                if page.items.len() + 1 >= limits.items || bytes >= limits.bytes || steps >= limits.steps {
                    // The first key behind another is that key and a zero byte.
                    page.resume = Some(Resume([key, &[SEPARATOR]].concat()));
                    page.items.push((topic, value));
                    break;
                }
                page.items.push((topic, value));
                cursor.advance()?;
            }
            Verdict::Seek if steps >= limits.steps => {
                page.resume = Some(Resume(target));
                break;
            }
            Verdict::Seek => cursor.seek(&target)?,
            Verdict::End => break,
        }
    }
    Ok(page)
}

/// Whether the topic at hand matches, and if not, where to look next.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Match,
    /// The target is behind the key, and no key between them matches.
    Seek,
    /// Neither the key nor any behind it matches.
    End,
}

enum Level<'a> {
    Literal(&'a [u8]),
    Plus,
}

struct Filter<'a> {
    levels: SmallVec<[Level<'a>; 8]>,
    /// The filter ends with `#`, which is not among the levels.
    rest: bool,
}

impl<'a> Filter<'a> {
    fn new(filter: &'a str) -> Self {
        let mut levels: SmallVec<_> = filter
            .split('/')
            .map(|level| if level == "+" { Level::Plus } else { Level::Literal(level.as_bytes()) })
            .collect();
        let rest = filter == "#" || filter.ends_with("/#");
        if rest {
            levels.pop();
        }
        Self { levels, rest }
    }

    /// The lowest key that can match.
    fn first(&self) -> Vec<u8> {
        let mut key = Vec::new();
        self.complete(0, &mut key);
        key
    }

    /// Appends the lowest continuation that can match from level `from` on: the literals, and nothing for
    /// each `+`.
    fn complete(&self, from: usize, key: &mut Vec<u8>) {
        for (at, level) in self.levels.iter().enumerate().skip(from) {
            if at > 0 {
                key.push(SEPARATOR);
            }
            if let Level::Literal(literal) = level {
                key.extend_from_slice(literal);
            }
        }
    }

    /// Judges `key`; for [`Verdict::Seek`] leaves in `target` the lowest key behind it that can match.
    fn judge(&self, key: &[u8], target: &mut Vec<u8>) -> Verdict {
        let wildcard_first = !matches!(self.levels.first(), Some(Level::Literal(_)));
        if wildcard_first && key.first() == Some(&SYSTEM) {
            target.clear();
            target.push(SYSTEM + 1);
            return Verdict::Seek;
        }
        // Where the last level that a `+` matched ends in the key: the next candidate may have another one
        // there.
        let mut last_plus = None;
        // Where the current level of the key begins; `None` if it has no more.
        let mut start = Some(0);
        for (at, level) in self.levels.iter().enumerate() {
            let Some(begin) = start else {
                // The key is an ancestor of what can match.
                target.clear();
                target.extend_from_slice(key);
                self.complete(at, target);
                return Verdict::Seek;
            };
            let end = memchr::memchr(SEPARATOR, &key[begin..]).map_or(key.len(), |length| begin + length);
            match level {
                Level::Plus => last_plus = Some(end),
                Level::Literal(literal) => match key[begin..end].cmp(literal) {
                    std::cmp::Ordering::Equal => {}
                    std::cmp::Ordering::Less => {
                        target.clear();
                        target.extend_from_slice(&key[..begin.saturating_sub(1)]);
                        self.complete(at, target);
                        return Verdict::Seek;
                    }
                    std::cmp::Ordering::Greater => return next_sibling(key, last_plus, target),
                },
            }
            start = (end < key.len()).then_some(end + 1);
        }
        if self.rest || start.is_none() { Verdict::Match } else { next_sibling(key, last_plus, target) }
    }
}

/// Nothing more can match with the levels that the key has up to `end`: on behind all of them, or to the end
/// without a `+`.
fn next_sibling(key: &[u8], end: Option<usize>, target: &mut Vec<u8>) -> Verdict {
    let Some(end) = end else { return Verdict::End };
    target.clear();
    target.extend_from_slice(&key[..end]);
    target.push(AFTER_SEPARATOR);
    Verdict::Seek
}

/// Retained topics in RAM.
#[derive(Clone, Debug)]
pub struct RamTopics<V> {
    topics: BTreeMap<Vec<u8>, V>,
    weigh: fn(&V) -> usize,
}

impl<V> RamTopics<V> {
    /// None yet. `weigh` says how many bytes a value takes in a page.
    pub fn new(weigh: fn(&V) -> usize) -> Self {
        Self { topics: BTreeMap::new(), weigh }
    }

    /// Retains `value` at `topic` and returns what it replaces [MQTT-3.3.1-5].
    pub fn insert(&mut self, topic: &str, value: V) -> Option<V> {
        self.topics.insert(key_of_topic(topic), value)
    }

    /// Forgets what is retained at `topic`, as an empty payload asks [MQTT-3.3.1-6], and returns it.
    pub fn remove(&mut self, topic: &str) -> Option<V> {
        self.topics.remove(key_of_topic(topic).as_slice())
    }

    /// What is retained at `topic`.
    pub fn get(&self, topic: &str) -> Option<&V> {
        self.topics.get(key_of_topic(topic).as_slice())
    }

    /// Retained messages.
    pub fn len(&self) -> usize {
        self.topics.len()
    }

    /// Whether nothing is retained.
    pub fn is_empty(&self) -> bool {
        self.topics.is_empty()
    }

    /// A cursor for [`match_retained`].
    pub fn cursor(&self) -> RamCursor<'_, V> {
        RamCursor { of: self, ahead: self.topics.range::<[u8], _>(..), here: None }
    }
}

/// A position in [`RamTopics`], at none until the first seek.
pub struct RamCursor<'a, V> {
    of: &'a RamTopics<V>,
    ahead: Range<'a, Vec<u8>, V>,
    here: Option<(&'a Vec<u8>, &'a V)>,
}

impl<V: Clone> TopicCursor for RamCursor<'_, V> {
    type Value = V;
    type Error = Infallible;

    fn seek(&mut self, from: &[u8]) -> Result<(), Infallible> {
        self.ahead = self.of.topics.range::<[u8], _>((Bound::Included(from), Bound::Unbounded));
        self.advance()
    }

    fn advance(&mut self) -> Result<(), Infallible> {
        self.here = self.ahead.next();
        Ok(())
    }

    fn key(&self) -> Option<&[u8]> {
        self.here.map(|(key, _)| key.as_slice())
    }

    fn value(&self) -> Result<V, Infallible> {
        let (_, value) = self.here.expect("a value is asked for only where there is a key");
        Ok(value.clone())
    }

    fn weight(&self, value: &V) -> usize {
        (self.of.weigh)(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topic::matches;
    use proptest::prelude::*;

    const ALL: PageLimits = PageLimits { items: usize::MAX, bytes: usize::MAX, steps: usize::MAX };

    /// Counts what a lookup does, and checks that every seek goes forward.
    struct Counting<'a> {
        inner: RamCursor<'a, u32>,
        seeks: usize,
        advances: usize,
    }

    impl<'a> Counting<'a> {
        fn new(topics: &'a RamTopics<u32>) -> Self {
            Self { inner: topics.cursor(), seeks: 0, advances: 0 }
        }
    }

    impl TopicCursor for Counting<'_> {
        type Value = u32;
        type Error = Infallible;

        fn seek(&mut self, from: &[u8]) -> Result<(), Infallible> {
            self.seeks += 1;
            assert!(self.key().is_none_or(|key| key < from), "a seek goes forward");
            self.inner.seek(from)
        }

        fn advance(&mut self) -> Result<(), Infallible> {
            self.advances += 1;
            self.inner.advance()
        }

        fn key(&self) -> Option<&[u8]> {
            self.inner.key()
        }

        fn value(&self) -> Result<u32, Infallible> {
            self.inner.value()
        }

        fn weight(&self, value: &u32) -> usize {
            self.inner.weight(value)
        }
    }

    fn topics<T: AsRef<str>>(names: impl IntoIterator<Item = T>) -> RamTopics<u32> {
        let mut topics = RamTopics::new(|_| 4);
        for (value, name) in (0..).zip(names) {
            topics.insert(name.as_ref(), value);
        }
        topics
    }

    /// All pages of a lookup, each with a cursor of its own, and what must hold of each.
    fn pages(topics: &RamTopics<u32>, filter: &str, limits: PageLimits) -> Vec<Vec<(String, u32)>> {
        let (mut pages, mut from) = (Vec::new(), None::<Resume>);
        loop {
            let mut cursor = Counting::new(topics);
            let page = match_retained(&mut cursor, filter, from.as_ref(), limits).expect("RAM does not fail");
            assert!(cursor.seeks + cursor.advances <= limits.steps.saturating_add(1));
            assert!(page.items.len() <= limits.items.max(1));
            pages.push(page.items);
            let Some(resume) = page.resume else { return pages };
            assert!(from.is_none_or(|from| from.0 < resume.0), "every page gets on");
            from = Some(resume);
        }
    }

    fn names(topics: &RamTopics<u32>, filter: &str) -> Vec<String> {
        pages(topics, filter, ALL).concat().into_iter().map(|(name, _)| name).collect()
    }

    fn level() -> impl Strategy<Value = &'static str> {
        // What sorts next to the separator and to `$` is in here: U+0001, `%`.
        prop::sample::select(vec!["", "a", "b", "$x", "ab", "é", "a\u{1}", "%", "$"])
    }

    fn topic() -> impl Strategy<Value = String> {
        prop::collection::vec(level(), 1..6).prop_map(|levels| levels.join("/"))
    }

    fn filter() -> impl Strategy<Value = String> {
        let levels = prop::collection::vec(prop_oneof![2 => level(), 1 => Just("+")], 0..5);
        (levels, prop::bool::weighted(0.3)).prop_map(|(mut levels, rest)| {
            if rest || levels.is_empty() {
                levels.push("#");
            }
            levels.join("/")
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1024))]

        #[test]
        fn finds_what_a_search_from_end_to_end_finds(
            set in prop::collection::btree_set(topic(), 0..120),
            filters in prop::collection::vec(filter(), 1..8),
            items in 1usize..6,
            bytes in 1usize..60,
            steps in 1usize..6,
        ) {
            let topics = topics(&set);
            for filter in filters {
                let mut expected: Vec<_> =
                    set.iter().zip(0..).filter(|(name, _)| matches(&filter, name)).collect();
                expected.sort_by_key(|(name, _)| key_of_topic(name));
                let expected: Vec<_> = expected.into_iter().map(|(name, value)| (name.clone(), value)).collect();
                for limits in [ALL, PageLimits { items, ..ALL }, PageLimits { bytes, ..ALL }, PageLimits { steps, ..ALL }] {
                    prop_assert_eq!(&pages(&topics, &filter, limits).concat(), &expected, "{} {:?}", filter, limits);
                }
            }
        }

        /// Between two pages topics come and go; those that stay are found once each, those that never
        /// matched never.
        #[test]
        fn a_lookup_survives_changes_between_its_pages(
            stay in prop::collection::btree_set(topic(), 1..40),
            come_and_go in prop::collection::vec((topic(), any::<bool>()), 0..60),
            filter in filter(),
        ) {
            let mut topics = topics(&stay);
            let (mut found, mut from) = (Vec::new(), None);
            let mut changes = come_and_go.iter().filter(|(name, _)| !stay.contains(name));
            loop {
                let limits = PageLimits { items: 1, ..ALL };
                let page = match_retained(&mut topics.cursor(), &filter, from.as_ref(), limits).expect("RAM does not fail");
                found.extend(page.items.into_iter().map(|(name, _)| name));
                from = page.resume;
                if from.is_none() { break }
                for (name, comes) in changes.by_ref().take(3) {
                    if *comes { topics.insert(name, 0); } else { topics.remove(name); }
                }
            }
            prop_assert!(found.iter().all(|name| matches(&filter, name)));
            prop_assert!(found.is_sorted_by(|a, b| key_of_topic(a) < key_of_topic(b)));
            let staying: Vec<_> = found.into_iter().filter(|name| stay.contains(name)).collect();
            let mut expected: Vec<_> = stay.into_iter().filter(|name| matches(&filter, name)).collect();
            expected.sort_by_key(|name| key_of_topic(name));
            prop_assert_eq!(staying, expected);
        }

        #[test]
        fn keys_name_their_topics(name in "[a-c/$é]{1,12}") {
            prop_assert_eq!(topic_of_key(&key_of_topic(&name)), Some(name));
        }
    }

    #[test]
    fn first_level_wildcards_leave_out_system_topics() {
        let topics = topics(["$SYS/x", "$", "a", "#a", "%a", "/x", "a/$SYS"]);
        assert_eq!(names(&topics, "+"), ["#a", "%a", "a"]);
        assert_eq!(names(&topics, "#"), ["/x", "#a", "%a", "a", "a/$SYS"]);
        assert_eq!(names(&topics, "+/#"), ["/x", "#a", "%a", "a", "a/$SYS"]);
        assert_eq!(names(&topics, "$SYS/#"), ["$SYS/x"]);
        assert_eq!(names(&topics, "a/+"), ["a/$SYS"]);
    }

    fn cost(topics: &RamTopics<u32>, filter: &str) -> (usize, usize, usize) {
        let mut cursor = Counting::new(topics);
        let page = match_retained(&mut cursor, filter, None, ALL).expect("RAM does not fail");
        (page.items.len(), cursor.seeks, cursor.advances)
    }

    #[test]
    fn a_lookup_costs_what_it_matches_and_not_what_is_retained() {
        let many = (0..100_000).map(|i| format!("a/{}/{}", i / 3, i % 3));
        let topics = topics(many.chain(["a/500/1/below".to_owned(), "z".to_owned()]));
        // (found, seeks, advances)
        assert_eq!(cost(&topics, "a/500/1"), (1, 1, 1));
        assert_eq!(cost(&topics, "a/500/7"), (0, 1, 0));
        assert_eq!(cost(&topics, "nothing/#"), (0, 1, 0));
        assert_eq!(cost(&topics, "a/500/#"), (4, 1, 4));
        let (found, seeks, advances) = cost(&topics, "a/500/+");
        assert!(
            found == 3 && seeks <= 3 && advances <= 3,
            "{seeks} seeks, {advances} advances for 3 of 100,000"
        );
        // `+` in the first level passes two children; what lies below them is jumped over.
        assert_eq!(cost(&topics, "+"), (1, 2, 1));
        // Child to child: each of the 33,334 is passed, with one seek to what is asked for in it.
        let (found, seeks, advances) = cost(&topics, "a/+/1");
        assert!(
            found == 33_333 && seeks <= 2 * 33_334 + 2 && advances <= found,
            "{found} {seeks} {advances}"
        );
    }

    #[test]
    fn a_page_that_finds_nothing_is_bounded_by_its_steps() {
        let topics = topics((0..10_000).map(|i| format!("a/{i}/x")));
        let pages = pages(&topics, "a/+/y", PageLimits { steps: 100, ..ALL });
        assert!(pages.iter().all(Vec::is_empty));
        assert_eq!(pages.len(), 10_000 / 100 + 1);
    }

    #[test]
    fn deep_topics_are_no_trouble() {
        let deep = "/".repeat(65_535);
        let topics = topics([deep.as_str(), "a"]);
        assert_eq!(names(&topics, &vec!["+"; 65_536].join("/")), std::slice::from_ref(&deep));
        assert_eq!(names(&topics, "/#"), [deep]);
    }

    /// A store with one key, and with what a store can do wrong.
    struct Broken {
        key: &'static [u8],
        fails: bool,
    }

    impl TopicCursor for Broken {
        type Value = ();
        type Error = &'static str;

        fn seek(&mut self, _: &[u8]) -> Result<(), &'static str> {
            if self.fails { Err("disk gone") } else { Ok(()) }
        }

        fn advance(&mut self) -> Result<(), &'static str> {
            Ok(())
        }

        fn key(&self) -> Option<&[u8]> {
            Some(self.key)
        }

        fn value(&self) -> Result<(), &'static str> {
            Ok(())
        }

        fn weight(&self, (): &()) -> usize {
            0
        }
    }

    #[test]
    fn what_the_store_gets_wrong_is_an_error() {
        let failed = match_retained(&mut Broken { key: b"a", fails: true }, "#", None, ALL);
        assert_eq!(failed, Err(RetainedError::Store("disk gone")));
        for key in [&b"a\xff"[..], b"a/b"] {
            let damaged = match_retained(&mut Broken { key, fails: false }, "#", None, ALL);
            assert_eq!(damaged, Err(RetainedError::Key(key.to_vec())));
        }
    }

    #[test]
    fn ram_topics_keep_one_value_per_topic() {
        let mut topics = RamTopics::new(|value: &&str| value.len());
        assert!(topics.is_empty());
        assert_eq!(topics.insert("a/b", "one"), None);
        assert_eq!(topics.insert("a/b", "two"), Some("one"));
        assert_eq!((topics.get("a/b"), topics.get("a"), topics.len()), (Some(&"two"), None, 1));
        assert_eq!((topics.remove("a/b"), topics.remove("a/b")), (Some("two"), None));
    }
}
