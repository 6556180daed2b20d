//! Places for connections, by whoever they are for: so many at once, so many new ones each second, and rates that those who have one share.

use super::publisher::SharedRates;
use super::rate::{Bucket, PublishRates, Rate};
use crate::stats::Counter;
use hashbrown::HashMap;
use parking_lot::Mutex;
use std::hash::{BuildHasher, Hash};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

const SHARDS: usize = 16;
/// Keys of one shard beyond which those that have nothing any more are looked for.
const MANY: usize = 256;

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// As many are taken as may be.
    Full,
    /// Too many were asked for lately.
    TooFast,
}

impl Refusal {
    /// Counts it by its reason.
    pub(crate) fn count(self, full: &Counter, too_fast: &Counter) {
        match self {
            Refusal::Full => full.count(),
            Refusal::TooFast => too_fast.count(),
        }
    }
}

/// What each key may have.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Allowance {
    /// Places at once; 0 for any number.
    pub(crate) most: u32,
    /// New ones.
    pub(crate) rate: Rate,
    /// What is published from all of them.
    pub(crate) publishes: PublishRates,
}

impl Allowance {
    fn is_limited(&self) -> bool {
        self.most > 0 || self.rate.is_limited() || self.publishes.is_limited()
    }
}

#[derive(Debug, Default)]
struct Held {
    open: u32,
    asked: Bucket,
    /// Only where publishes are limited.
    rates: Option<Arc<SharedRates>>,
}

impl Held {
    fn is_as_new(&self, now_ms: u64) -> bool {
        self.open == 0
            && self.asked.is_full(now_ms)
            && self.rates.as_ref().is_none_or(|rates| rates.is_full(now_ms))
    }
}

type Shard<K> = Mutex<HashMap<K, Held, foldhash::fast::RandomState>>;

/// The places of all keys.
#[derive(Debug)]
pub(crate) struct Places<K> {
    shards: Vec<Shard<K>>,
    hasher: foldhash::fast::RandomState,
    allowance: Allowance,
}

/// A place, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place<K: Hash + Eq> {
    all: Arc<Places<K>>,
    key: K,
    rates: Option<Arc<SharedRates>>,
}

impl<K: Hash + Eq> Place<K> {
    /// What is published from here is held to, together with that from others' places for the same key.
    pub(crate) fn rates(&self) -> Option<Arc<SharedRates>> {
        self.rates.clone()
    }
}

impl<K: Hash + Eq + Clone> Places<K> {
    pub(crate) fn new(allowance: Allowance) -> Arc<Places<K>> {
        let shards = (0..SHARDS).map(|_| Shard::default()).collect();
        Arc::new(Places { shards, hasher: foldhash::fast::RandomState::default(), allowance })
    }

    /// A place for this key; `None` where places are not limited.
    pub(crate) fn enter(self: &Arc<Self>, key: &K, now_ms: u64) -> Result<Option<Place<K>>, Refusal> {
        let Allowance { most, rate, publishes } = self.allowance;
        if !self.allowance.is_limited() {
            return Ok(None);
        }
        let mut shard = self.shard(key).lock();
        if shard.len() >= MANY && !shard.contains_key(key) {
            shard.retain(|_, held| !held.is_as_new(now_ms));
        }
        let held = shard.entry(key.clone()).or_default();
        if most > 0 && held.open >= most {
            return Err(Refusal::Full);
        }
        if rate.is_limited() && !held.asked.try_take(rate, now_ms) {
            return Err(Refusal::TooFast);
        }
        held.open += 1;
        if publishes.is_limited() && held.rates.is_none() {
            held.rates = Some(Arc::new(SharedRates::new(publishes)));
        }
        Ok(Some(Place { all: Arc::clone(self), key: key.clone(), rates: held.rates.clone() }))
    }
}

impl<K: Hash + Eq> Places<K> {
    fn shard(&self, key: &K) -> &Shard<K> {
        &self.shards[self.hasher.hash_one(key) as usize % SHARDS]
    }
}

impl<K: Hash + Eq> Drop for Place<K> {
    fn drop(&mut self) {
        let mut shard = self.all.shard(&self.key).lock();
        let Some(held) = shard.get_mut(&self.key) else { return };
        held.open -= 1;
        // How often it asked, and how much it published, is remembered until it is forgiven, where that counts.
        let Allowance { rate, publishes, .. } = self.all.allowance;
        if held.open == 0 && !rate.is_limited() && !publishes.is_limited() {
            shard.remove(&self.key);
        }
    }
}

/// What an address counts as: IPv4 by itself, IPv6 by its network of 64 bits, which is what one customer has.
pub(crate) fn prefix_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::super::Publisher;
    use super::*;

    #[test]
    fn places_are_given_up_to_the_limit_and_come_back() {
        let places = Places::new(Allowance { most: 2, ..Allowance::default() });
        let first = places.enter(&"a", 0).unwrap();
        let _second = places.enter(&"a", 0).unwrap();
        assert_eq!(places.enter(&"a", 0).err(), Some(Refusal::Full));
        assert!(places.enter(&"b", 0).is_ok());
        drop(first);
        assert!(places.enter(&"a", 0).is_ok());
    }

    #[test]
    fn who_asks_too_often_is_refused_for_a_while() {
        let places = Places::new(Allowance { rate: Rate::per_second(1).at_once(2), ..Allowance::default() });
        for _ in 0..2 {
            drop(places.enter(&1, 5_000).unwrap());
        }
        assert_eq!(places.enter(&1, 5_000).err(), Some(Refusal::TooFast));
        assert!(places.enter(&2, 5_000).is_ok());
        assert!(places.enter(&1, 6_000).is_ok());
    }

    #[test]
    fn keys_that_have_nothing_any_more_are_forgotten() {
        let places = Places::new(Allowance { rate: Rate::per_second(1), ..Allowance::default() });
        for key in 0..100_000u32 {
            // One each millisecond: after a second nobody has anything.
            drop(places.enter(&key, u64::from(key)).unwrap());
        }
        let kept: usize = places.shards.iter().map(|shard| shard.lock().len()).sum();
        assert!(kept <= SHARDS * (MANY + 1), "{kept}");
        let counted = Places::new(Allowance { most: 1, ..Allowance::default() });
        drop(counted.enter(&7, 0).unwrap());
        assert!(counted.shards.iter().all(|shard| shard.lock().is_empty()));
    }

    #[test]
    fn without_a_limit_nothing_is_kept() {
        let places = Places::new(Allowance::default());
        assert!(places.enter(&1, 0).unwrap().is_none());
        assert!(places.shards.iter().all(|shard| shard.lock().is_empty()));
    }

    #[test]
    fn what_was_published_is_remembered_beyond_the_place() {
        let messages = Rate::per_second(1);
        let publishes = PublishRates { messages, ..PublishRates::UNLIMITED };
        let places = Places::new(Allowance { publishes, ..Allowance::default() });
        let publisher = |key| {
            let place = places.enter(&key, 1_000).unwrap().unwrap();
            (Publisher::new(PublishRates::UNLIMITED, place.rates()), place)
        };
        assert!(publisher(1).0.take(1, 1_000, 0));
        assert!(!publisher(1).0.take(1, 1_000, 0));
        assert!(publisher(2).0.take(1, 1_000, 0));
        assert!(publisher(1).0.take(1, 2_000, 0));
    }

    #[test]
    fn an_address_counts_as_its_customer() {
        let prefix = |text: &str| prefix_of(text.parse().unwrap()).to_string();
        assert_eq!(prefix("192.0.2.7"), "192.0.2.7");
        assert_eq!(prefix("::ffff:192.0.2.7"), "192.0.2.7");
        assert_eq!(prefix("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
    }
}
