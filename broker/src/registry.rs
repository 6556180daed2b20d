//! Who is connected: at most one connection for each session, and the links that the router may point at.
//!
//! A connection *claims* its session. Whoever holds it is told to go (take-over, [MQTT-3.1.4-3]), and the claim is given when it has
//! left, with everything it had to store committed. Of several claims that wait, the last one wins: the others
//! are taken over before they begin. Offline sessions are here only while they hold plain filters.

use crate::codec::ReasonCode;
use crate::link::{Bounds, Event, Link};
use crate::quota::Place;
use crate::store::SessionKey;
use hashbrown::HashMap;
use parking_lot::Mutex;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::OwnedMutexGuard;

const SHARDS: usize = 64;

#[derive(Default)]
struct Slot {
    link: Option<Arc<Link>>,
    turn: Arc<tokio::sync::Mutex<()>>,
    /// Claims that wait, or hold the turn.
    claims: usize,
    /// Claims that wait.
    waiting: usize,
    /// The link stays when nobody is connected, because the router points at it.
    kept: bool,
}

type Shard = Mutex<HashMap<SessionKey, Slot, foldhash::fast::RandomState>>;

/// All sessions that are connected or indexed.
pub(crate) struct Registry {
    shards: Vec<Shard>,
    hasher: foldhash::fast::RandomState,
    bounds: Bounds,
    /// Sessions that a connection has.
    connected: AtomicUsize,
}

/// The right to be the one connection of a session, until it is dropped.
pub(crate) struct Claim {
    registry: Arc<Registry>,
    pub(crate) link: Arc<Link>,
    /// Whether another connection had the session when this one asked.
    pub(crate) took_over: bool,
    /// Its owner's place for it.
    pub(crate) place: Option<Box<Place<Arc<str>>>>,
    _turn: OwnedMutexGuard<()>,
}

/// The right to do something about a session that nobody is connected to, until it is dropped.
pub(crate) struct Hold {
    registry: Arc<Registry>,
    key: SessionKey,
    _turn: OwnedMutexGuard<()>,
}

impl Claim {
    /// Whether another connection waits for the session.
    pub(crate) fn is_wanted(&self) -> bool {
        self.registry.is_wanted(&self.link.key)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.registry.leave(&self.key, false);
    }
}

impl Registry {
    pub(crate) fn new(bounds: Bounds) -> Arc<Registry> {
        let shards = (0..SHARDS).map(|_| Shard::default()).collect();
        Arc::new(Registry {
            shards,
            hasher: foldhash::fast::RandomState::default(),
            bounds,
            connected: AtomicUsize::new(0),
        })
    }

    fn shard(&self, key: &SessionKey) -> &Shard {
        &self.shards[self.hasher.hash_one(key) as usize % SHARDS]
    }

    /// Claims a session. `None` when a later claim is there already.
    pub(crate) async fn claim(self: &Arc<Self>, key: SessionKey) -> Option<Claim> {
        let (turn, took_over) = {
            let mut shard = self.shard(&key).lock();
            let slot = shard.entry(key.clone()).or_default();
            slot.claims += 1;
            slot.waiting += 1;
            let holder = slot.link.as_ref().filter(|link| link.is_connected());
            if let Some(link) = holder {
                link.push(Event::Close(
                    ReasonCode::SessionTakenOver,
                    "another connection of the same user and client id took this session over",
                ));
            }
            (Arc::clone(&slot.turn), slot.claims > 1)
        };
        let waiting = Waiting { registry: self, key: &key };
        let turn = turn.lock_owned().await;
        std::mem::forget(waiting);
        let mut shard = self.shard(&key).lock();
        let slot = shard.entry(key.clone()).or_default();
        slot.waiting -= 1;
        let link = Arc::clone(slot.link.get_or_insert_with(|| Link::new(key.clone(), self.bounds)));
        let superseded = slot.waiting > 0;
        if !superseded {
            // Under the shard's lock, so that a claim that comes now finds someone to tell.
            link.connect();
        }
        drop(shard);
        self.connected.fetch_add(1, Ordering::Relaxed);
        let claim = Claim { registry: Arc::clone(self), link, took_over, place: None, _turn: turn };
        (!superseded).then_some(claim)
    }

    /// Keeps a session from being claimed, while something is done about it without a connection. `None` when somebody has it.
    pub(crate) fn hold(self: &Arc<Self>, key: &SessionKey) -> Option<Hold> {
        let mut shard = self.shard(key).lock();
        let slot = shard.entry(key.clone()).or_default();
        // The turn of a slot that was not there is free, so none is left behind when it is not.
        let turn = Arc::clone(&slot.turn).try_lock_owned().ok()?;
        slot.claims += 1;
        Some(Hold { registry: Arc::clone(self), key: key.clone(), _turn: turn })
    }

    /// Whether a claim waits for a session.
    fn is_wanted(&self, key: &SessionKey) -> bool {
        self.shard(key).lock().get(key).is_some_and(|slot| slot.waiting > 0)
    }

    fn leave(&self, key: &SessionKey, was_waiting: bool) {
        let mut shard = self.shard(key).lock();
        if let Some(slot) = shard.get_mut(key) {
            slot.claims -= 1;
            slot.waiting -= usize::from(was_waiting);
            if slot.claims == 0 && !slot.kept {
                shard.remove(key);
            }
        }
    }

    /// The link of a session that is connected or indexed.
    pub(crate) fn link(&self, key: &SessionKey) -> Option<Arc<Link>> {
        self.shard(key).lock().get(key).and_then(|slot| slot.link.clone())
    }

    /// Keeps the link of an offline session, since the router points at it.
    pub(crate) fn keep(&self, key: &SessionKey) -> Arc<Link> {
        let mut shard = self.shard(key).lock();
        let slot = shard.entry(key.clone()).or_default();
        slot.kept = true;
        Arc::clone(slot.link.get_or_insert_with(|| Link::new(key.clone(), self.bounds)))
    }

    /// Lets go of an offline session's link.
    pub(crate) fn release(&self, key: &SessionKey) {
        let mut shard = self.shard(key).lock();
        if let Some(slot) = shard.get_mut(key) {
            slot.kept = false;
            if slot.claims == 0 {
                shard.remove(key);
            }
        }
    }

    /// The parts that the sessions are kept in.
    pub(crate) fn parts(&self) -> std::ops::Range<usize> {
        0..self.shards.len()
    }

    /// The sessions of one part, or those of one owner in it, connected or indexed.
    pub(crate) fn part(&self, part: usize, owner: Option<&str>) -> Vec<SessionKey> {
        let shard = self.shards[part].lock();
        shard.keys().filter(|key| owner.is_none_or(|owner| *key.owner == *owner)).cloned().collect()
    }

    /// Sessions that are connected or indexed. Takes every shard's lock for a moment: for gauges.
    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().len()).sum()
    }

    /// Sessions that are connected.
    pub(crate) fn connected_count(&self) -> usize {
        self.connected.load(Ordering::Relaxed)
    }

    /// All links of connected sessions.
    pub(crate) fn connected(&self) -> Vec<Arc<Link>> {
        let mut links = Vec::new();
        for shard in &self.shards {
            links.extend(
                shard.lock().values().filter_map(|slot| slot.link.clone()).filter(|link| link.is_connected()),
            );
        }
        links
    }
}

/// A claim that is given up while it waits must not be waited for.
struct Waiting<'a> {
    registry: &'a Arc<Registry>,
    key: &'a SessionKey,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.registry.leave(self.key, true);
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.link.disconnect();
        self.registry.connected.fetch_sub(1, Ordering::Relaxed);
        self.registry.leave(&self.link.key, false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Waker;

    fn registry() -> Arc<Registry> {
        Registry::new(Bounds { items: 10, bytes: 1000, tail_items: 10 })
    }

    fn key() -> SessionKey {
        SessionKey { owner: Arc::from("alice"), client_id: Arc::from("phone") }
    }

    fn was_told_to_go(link: &Link) -> bool {
        let mut events = Vec::new();
        link.take(&mut events, Waker::noop());
        events.iter().any(|event| matches!(event, Event::Close(ReasonCode::SessionTakenOver, _)))
    }

    #[tokio::test]
    async fn the_holder_is_told_to_go_and_waited_for() {
        let registry = registry();
        let first = registry.claim(key()).await.unwrap();
        let second = tokio::spawn({
            let registry = Arc::clone(&registry);
            async move { registry.claim(key()).await.map(|claim| claim.took_over) }
        });
        while !was_told_to_go(&first.link) {
            tokio::task::yield_now().await;
        }
        assert!(!second.is_finished());
        drop(first);
        assert_eq!(second.await.unwrap(), Some(true));
        assert!(registry.link(&key()).is_none(), "nothing is left of a session that nobody has");
    }

    #[tokio::test]
    async fn of_several_claims_the_last_one_wins() {
        let registry = registry();
        let first = registry.claim(key()).await.unwrap();
        let claims: Vec<_> = (0..5)
            .map(|_| {
                let registry = Arc::clone(&registry);
                tokio::spawn(async move { registry.claim(key()).await.is_some() })
            })
            .collect();
        tokio::task::yield_now().await;
        drop(first);
        let mut won = Vec::new();
        for claim in claims {
            won.push(claim.await.unwrap());
        }
        assert_eq!(won, [false, false, false, false, true]);
    }

    #[tokio::test]
    async fn a_claim_given_up_while_it_waits_is_forgotten() {
        let registry = registry();
        let first = registry.claim(key()).await.unwrap();
        let waiting = tokio::spawn({
            let registry = Arc::clone(&registry);
            async move { registry.claim(key()).await.is_some() }
        });
        tokio::task::yield_now().await;
        waiting.abort();
        assert!(waiting.await.is_err());
        drop(first);
        assert!(registry.claim(key()).await.is_some());
        assert!(registry.link(&key()).is_none());
    }

    #[tokio::test]
    async fn what_is_held_is_claimed_afterwards() {
        let registry = registry();
        let hold = registry.hold(&key()).unwrap();
        assert!(registry.hold(&key()).is_none());
        let claim = tokio::spawn({
            let registry = Arc::clone(&registry);
            async move { registry.claim(key()).await }
        });
        tokio::task::yield_now().await;
        assert!(!claim.is_finished());
        drop(hold);
        let claim = claim.await.unwrap().unwrap();
        assert!(registry.hold(&key()).is_none());
        drop(claim);
        drop(registry.hold(&key()).unwrap());
        assert!(registry.shard(&key()).lock().is_empty());
    }

    #[tokio::test]
    async fn a_kept_link_outlives_its_connection() {
        let registry = registry();
        let link = registry.keep(&key());
        let claim = registry.claim(key()).await.unwrap();
        assert!(Arc::ptr_eq(&link, &claim.link));
        drop(claim);
        assert!(registry.link(&key()).is_some());
        registry.release(&key());
        assert!(registry.link(&key()).is_none());
    }
}
