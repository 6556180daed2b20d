//! The index against a list that is searched from end to end: random subscriptions, removals and lookups over
//! so few levels that filters collide, overlap and share prefixes.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::mpsc;

use proptest::prelude::*;

use super::{Match, MatchCache, Router, SubscriptionOptions, Trie};
use crate::topic::matches;

type Subscription = (String, u8, SubscriptionOptions);

fn level() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["", "a", "b", "$x", "ab", "é"])
}

fn topic() -> impl Strategy<Value = String> {
    prop::collection::vec(level(), 1..6).prop_map(|levels| levels.join("/"))
}

fn filter() -> impl Strategy<Value = String> {
    let levels = prop::collection::vec(prop_oneof![3 => level(), 1 => Just("+")], 0..5);
    (levels, prop::bool::weighted(0.3)).prop_map(|(mut levels, rest)| {
        if rest || levels.is_empty() {
            levels.push("#");
        }
        levels.join("/")
    })
}

fn options() -> impl Strategy<Value = SubscriptionOptions> {
    (0u8..3, any::<bool>(), any::<bool>(), 0u32..5).prop_map(|(qos, no_local, retain_as_published, id)| {
        SubscriptionOptions { qos, no_local, retain_as_published, id: NonZeroU32::new(id) }
    })
}

#[derive(Clone, Debug)]
enum Step {
    Subscribe(String, u8, SubscriptionOptions),
    Unsubscribe(String, u8),
    /// Removes one that is there, by position modulo the number of them.
    UnsubscribeOne(usize),
    /// Removes all of one session.
    End(u8),
    Lookup(String),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let session = 0u8..6;
    let step = prop_oneof![
        8 => (filter(), session.clone(), options()).prop_map(|(filter, who, options)| Step::Subscribe(filter, who, options)),
        2 => (filter(), session.clone()).prop_map(|(filter, who)| Step::Unsubscribe(filter, who)),
        3 => any::<usize>().prop_map(Step::UnsubscribeOne),
        1 => session.prop_map(Step::End),
        8 => topic().prop_map(Step::Lookup),
    ];
    prop::collection::vec(step, 1..150)
}

/// The list, with the same answers as the index.
#[derive(Default)]
struct Model(Vec<Subscription>);

impl Model {
    fn subscribe(
        &mut self,
        filter: &str,
        who: u8,
        options: SubscriptionOptions,
    ) -> Option<SubscriptionOptions> {
        let former = self.unsubscribe(filter, who);
        self.0.push((filter.to_owned(), who, options));
        former
    }

    fn unsubscribe(&mut self, filter: &str, who: u8) -> Option<SubscriptionOptions> {
        let at = self.0.iter().position(|entry| entry.0 == filter && entry.1 == who)?;
        Some(self.0.swap_remove(at).2)
    }

    fn matching(&self, topic: &str) -> impl Iterator<Item = &Subscription> {
        self.0.iter().filter(move |entry| matches(&entry.0, topic))
    }

    /// What each session gets of a message of `publisher`: (session, maximum, RETAIN as published,
    /// identifiers), by the text of the standard, worked out for each publisher anew.
    fn deliveries(&self, topic: &str, publisher: Option<u8>) -> Vec<(u8, u8, bool, Vec<u32>)> {
        let mut all = Vec::new();
        for who in 0..6 {
            let counts =
                |entry: &&Subscription| entry.1 == who && !(entry.2.no_local && publisher == Some(who));
            let options: Vec<_> = self.matching(topic).filter(counts).map(|entry| entry.2).collect();
            if let Some(qos) = options.iter().map(|options| options.qos).max() {
                let mut ids: Vec<_> =
                    options.iter().filter_map(|options| options.id).map(NonZeroU32::get).collect();
                ids.sort_unstable();
                all.push((who, qos, options.iter().any(|options| options.retain_as_published), ids));
            }
        }
        all
    }
}

fn deliveries(list: &[Match<u8>], publisher: Option<u8>) -> Vec<(u8, u8, bool, Vec<u32>)> {
    let granted = |entry: &Match<u8>| {
        let grant = entry.grant(publisher.as_ref())?;
        let mut ids = grant.ids.to_vec();
        ids.sort_unstable();
        Some((entry.subscriber, grant.qos, grant.retain_as_published, ids))
    };
    let mut all: Vec<_> = list.iter().filter_map(granted).collect();
    all.sort_unstable();
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn the_trie_is_the_list(steps in steps()) {
        let (mut trie, mut model) = (Trie::new(), Model::default());
        for step in steps {
            match step {
                Step::Subscribe(filter, who, options) => {
                    prop_assert_eq!(trie.insert(&filter, who, options), model.subscribe(&filter, who, options));
                }
                Step::Unsubscribe(filter, who) => {
                    prop_assert_eq!(trie.remove(&filter, &who), model.unsubscribe(&filter, who));
                }
                Step::UnsubscribeOne(at) => {
                    if let Some((filter, who, _)) = model.0.get(at % model.0.len().max(1)).cloned() {
                        prop_assert_eq!(trie.remove(&filter, &who), model.unsubscribe(&filter, who));
                    }
                }
                Step::End(_) => {}
                Step::Lookup(topic) => {
                    let mut found = Vec::new();
                    trie.matches(&topic, &mut |who, options| found.push((*who, options.qos, options.id)));
                    let mut expected: Vec<_> = model.matching(&topic).map(|e| (e.1, e.2.qos, e.2.id)).collect();
                    found.sort_unstable();
                    expected.sort_unstable();
                    prop_assert_eq!(found, expected, "{}", topic);
                }
            }
            prop_assert_eq!(trie.len(), model.0.len());
        }
    }

    #[test]
    fn the_router_is_the_list_merged_and_its_cache_is_the_router(steps in steps()) {
        let (router, mut model) = (Router::new(), Model::default());
        // One roomy cache and one that pushes out all the time.
        let mut caches = [MatchCache::default(), MatchCache::new(4, 4096)];
        let mut topics = Vec::new();
        for step in steps {
            match step {
                Step::Subscribe(filter, who, options) => {
                    prop_assert_eq!(router.subscribe(&filter, who, options), model.subscribe(&filter, who, options));
                }
                Step::Unsubscribe(filter, who) => {
                    prop_assert_eq!(router.unsubscribe(&filter, &who), model.unsubscribe(&filter, who));
                }
                Step::UnsubscribeOne(at) => {
                    if let Some((filter, who, _)) = model.0.get(at % model.0.len().max(1)).cloned() {
                        prop_assert_eq!(router.unsubscribe(&filter, &who), model.unsubscribe(&filter, who));
                    }
                }
                Step::End(who) => {
                    let own: Vec<_> = model.0.iter().filter(|e| e.1 == who).map(|e| e.0.clone()).collect();
                    model.0.retain(|entry| entry.1 != who);
                    prop_assert_eq!(router.unsubscribe_all(own.iter().map(String::as_str), &who), own.len());
                }
                Step::Lookup(topic) => topics.push(topic),
            }
            prop_assert_eq!(router.len(), model.0.len());
            // Every topic asked about so far is asked again after every step, so that stale answers have
            // their chance.
            for topic in topics.iter().rev().take(8) {
                let list = router.matches(topic);
                for publisher in [None, Some(0), Some(1)] {
                    let expected = model.deliveries(topic, publisher);
                    prop_assert_eq!(&deliveries(&list, publisher), &expected, "{}", topic);
                    for cache in &mut caches {
                        let cached = router.matches_cached(cache, topic);
                        prop_assert_eq!(&deliveries(&cached, publisher), &expected, "cached {}", topic);
                    }
                }
            }
        }
        prop_assert!(caches[1].len() <= 4);
    }
}

/// A change that has returned is seen by the next cached lookup of another thread, whatever else goes on.
#[test]
fn another_thread_sees_a_change_that_has_returned() {
    let router = Arc::new(Router::<u64>::new());
    let (to_reader, changes) = mpsc::channel::<bool>();
    let (to_writer, seen) = mpsc::channel::<()>();
    let reader = {
        let router = router.clone();
        std::thread::spawn(move || {
            let mut cache = MatchCache::default();
            for subscribed in changes {
                for topic in ["a/b/c/d", "a/b"] {
                    let list = router.matches_cached(&mut cache, topic);
                    assert_eq!(list.iter().any(|entry| entry.subscriber == 1), subscribed, "{topic}");
                }
                to_writer.send(()).expect("the writer waits for this");
            }
        })
    };
    let noise = {
        let router = router.clone();
        std::thread::spawn(move || {
            for i in 0..20_000u64 {
                router.subscribe(&format!("a/b/{}", i % 100), 1000 + i % 7, SubscriptionOptions::default());
                router.unsubscribe(&format!("a/b/{}", (i * 31) % 100), &(1000 + i % 7));
            }
        })
    };
    for _ in 0..500 {
        for filter in ["#", "a/+/#", "a/b/#"] {
            router.subscribe(filter, 1, SubscriptionOptions::default());
            to_reader.send(true).expect("the reader runs");
            seen.recv().expect("the reader found the subscription");
            router.unsubscribe(filter, &1);
            to_reader.send(false).expect("the reader runs");
            seen.recv().expect("the reader found it gone");
        }
    }
    drop(to_reader);
    reader.join().expect("every change was seen");
    noise.join().expect("the others went through");
}
