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
    assert!(found == 3 && seeks <= 3 && advances <= 3, "{seeks} seeks, {advances} advances for 3 of 100,000");
    // `+` in the first level passes two children; what lies below them is jumped over.
    assert_eq!(cost(&topics, "+"), (1, 2, 1));
    // Child to child: each of the 33,334 is passed, with one seek to what is asked for in it.
    let (found, seeks, advances) = cost(&topics, "a/+/1");
    assert!(found == 33_333 && seeks <= 2 * 33_334 + 2 && advances <= found, "{found} {seeks} {advances}");
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
