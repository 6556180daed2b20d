//! Where a client's publishes went lately, per topic: so that the application decides once, and not for every message.
//!
//! Two generations stand in for a list by age, as in the router's cache: answers go into the young one; when that is full it
//! becomes the old one, and what was old goes. Bounds: [`MAX_TOPICS`] and [`MAX_BYTES`] for each of the two; a topic
//! that would take more than an eighth of the bytes is not kept. Empty, it owns no heap memory.

use crate::hook::{Client, Hook, Route};
use hashbrown::HashMap;

/// Topics of one generation.
const MAX_TOPICS: usize = 64;
/// Bytes of their names.
const MAX_BYTES: usize = 8 * 1024;

type Answers = HashMap<Box<str>, Route, foldhash::fast::RandomState>;

/// Answers of [`Hook::route`] for one connection.
#[derive(Default)]
pub(super) struct RouteCache {
    /// The version that all answers belong to.
    version: u64,
    young: Answers,
    young_bytes: usize,
    old: Answers,
}

impl RouteCache {
    /// Where a publish to the topic goes.
    pub(super) fn route(&mut self, hook: &dyn Hook, client: &Client, topic: &str) -> Route {
        // Read before the question: an answer that was overtaken by a change is then stale, never a stale one fresh.
        let Some(version) = hook.route_version() else { return Route::of(hook, client, topic) };
        if version != self.version {
            *self = RouteCache { version, ..RouteCache::default() };
        }
        if let Some(known) = self.get(topic) {
            return known;
        }
        let route = Route::of(hook, client, topic);
        if route != Route::Command && topic.len() <= MAX_BYTES / 8 {
            self.put(topic.into(), route.clone());
        }
        route
    }

    fn get(&mut self, topic: &str) -> Option<Route> {
        if self.young.is_empty() && self.old.is_empty() {
            return None;
        }
        if let Some(known) = self.young.get(topic) {
            return Some(known.clone());
        }
        let (topic, route) = self.old.remove_entry(topic)?;
        self.put(topic, route.clone());
        Some(route)
    }

    fn put(&mut self, topic: Box<str>, route: Route) {
        if self.young.len() >= MAX_TOPICS || self.young_bytes + topic.len() > MAX_BYTES {
            self.old = std::mem::take(&mut self.young);
            self.young_bytes = 0;
        }
        self.young_bytes += topic.len();
        self.young.insert(topic, route);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{ReasonCode, Version};
    use crate::config::Config;
    use crate::hook::{Admission, Ask, Command, Granted, Login, Occasion, Roles};
    use crate::link::Link;
    use crate::source::{Item, Read, ReadLimit, SourceGrant, SourceId, View};
    use crate::store::{SessionKey, StoreError};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    /// Counts what it is asked; `no/` is refused, `do/` a command.
    struct Counting {
        asked: AtomicU64,
        version: AtomicU64,
        keeps: bool,
    }

    impl Hook for Counting {
        fn authenticate(&self, _: &Login) -> Admission {
            unreachable!("nobody connects")
        }
        fn route(&self, _: &Client, topic: &str) -> Route {
            self.asked.fetch_add(1, Ordering::Relaxed);
            match topic.split('/').next() {
                Some("no") => Route::Refused(ReasonCode::NotAuthorized, "not this"),
                Some("do") => Route::Command,
                _ => Route::Plain,
            }
        }
        fn route_version(&self) -> Option<u64> {
            self.keeps.then(|| self.version.load(Ordering::Relaxed))
        }
        fn submit(&self, _: &Arc<Client>, _: Vec<Command>) {}
        fn subscribe(&self, _: &Arc<Client>, _: Occasion, _: Vec<Ask>, _: Granted) {}
        fn read(&self, _: &Client, _: &SourceId, _: u64, _: ReadLimit) -> Result<Read, StoreError> {
            Ok(Read::default())
        }
        fn view(&self, _: &Client, _: &SourceGrant, _: &Item) -> View {
            View::Skip
        }
    }

    fn hook(keeps: bool) -> Counting {
        Counting { asked: AtomicU64::new(0), version: AtomicU64::new(0), keeps }
    }

    fn client() -> Client {
        let key = SessionKey { owner: Arc::from("bob"), client_id: Arc::from("phone") };
        Client {
            session: key.clone(),
            version: Version::V5,
            persistent: false,
            connection: 1,
            roles: Roles::default(),
            problem_information: true,
            link: Link::new(key, Config::default().mailbox),
        }
    }

    fn asked(hook: &Counting, cache: &mut RouteCache, topic: &str) -> u64 {
        let before = hook.asked.load(Ordering::Relaxed);
        let (client, fresh) = (client(), hook.route(&client(), topic));
        assert_eq!(cache.route(hook, &client, topic), fresh, "{topic}");
        hook.asked.load(Ordering::Relaxed) - before - 1
    }

    #[test]
    fn what_was_decided_is_not_asked_again_until_the_version_changes() {
        let (hook, mut cache) = (hook(true), RouteCache::default());
        for (topic, kept) in [("a/b", true), ("no/b", true), ("do/b", false)] {
            assert_eq!(asked(&hook, &mut cache, topic), 1, "{topic}");
            for _ in 0..5 {
                assert_eq!(asked(&hook, &mut cache, topic), u64::from(!kept), "{topic}");
            }
        }
        hook.version.fetch_add(1, Ordering::Relaxed);
        assert_eq!(asked(&hook, &mut cache, "a/b"), 1);
        assert_eq!(asked(&hook, &mut cache, "a/b"), 0);
    }

    #[test]
    fn an_application_that_gives_no_version_is_always_asked() {
        let (hook, mut cache) = (hook(false), RouteCache::default());
        for _ in 0..3 {
            assert_eq!(asked(&hook, &mut cache, "a/b"), 1);
        }
        assert!(cache.young.is_empty() && cache.old.is_empty());
    }

    #[test]
    fn topics_are_bounded_and_one_in_use_stays() {
        let (hook, mut cache) = (hook(true), RouteCache::default());
        asked(&hook, &mut cache, "hot");
        for cold in 0..1000 {
            let topic = format!("cold/{cold}/{}", "x".repeat(cold));
            assert_eq!(asked(&hook, &mut cache, &topic), 1);
            assert_eq!(asked(&hook, &mut cache, "hot"), 0, "after {cold}");
            assert!(cache.young.len() <= MAX_TOPICS && cache.old.len() <= MAX_TOPICS);
            let bytes = |answers: &Answers| answers.keys().map(|topic| topic.len()).sum::<usize>();
            assert_eq!(bytes(&cache.young), cache.young_bytes);
            assert!(cache.young_bytes <= MAX_BYTES && bytes(&cache.old) <= MAX_BYTES);
        }
        let long = "y".repeat(MAX_BYTES / 8 + 1);
        assert_eq!((asked(&hook, &mut cache, &long), asked(&hook, &mut cache, &long)), (1, 1));
    }
}
