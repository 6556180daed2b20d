//! What a lookup finds, one entry per session, and the rules that make one of several overlapping
//! subscriptions.
//!
//! A session whose subscriptions overlap gets one copy: at the highest of their QoS [MQTT-3.3.4-2], with the
//! identifiers of all that have one [MQTT-3.3.4-4] (the same identifier twice if two subscriptions share it,
//! as 3.3.4 says), and with the publisher's RETAIN flag if any of them asked for it (the standard is silent
//! there).
//!
//! No Local [MQTT-3.8.3-3]: a subscription with it does not count for what its own session publishes; its
//! others still do. An entry therefore carries two grants where they differ: for what others publish and for
//! what the session itself does. The list stays the same for every publisher and can be remembered.

use crate::mutation::{Mutation, mutated};
use std::hash::{BuildHasher, Hash};
use std::num::NonZeroU32;

use foldhash::quality::RandomState;
use hashbrown::HashTable;
use smallvec::SmallVec;

/// Up to this many entries, looking through them is faster than hashing.
const LINEAR: usize = 16;

/// What a subscription asked for, as far as routing needs it. 8 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SubscriptionOptions {
    /// The granted maximum QoS: 0, 1 or 2.
    pub qos: u8,
    /// The session does not want what it publishes itself [MQTT-3.8.3-3].
    pub no_local: bool,
    /// Messages keep the RETAIN flag they were published with [MQTT-3.3.1-13]; otherwise it is 0
    /// [MQTT-3.3.1-12].
    pub retain_as_published: bool,
    /// The Subscription Identifier; 0 is not a legal one [3.8.2.1.2].
    pub id: Option<NonZeroU32>,
}

/// How a session gets a message: the merged options of all its matching subscriptions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The highest QoS of the subscriptions. The message's own QoS is a limit besides [MQTT-3.8.4-8].
    pub qos: u8,
    /// Whether any subscription asked for the RETAIN flag as published.
    pub retain_as_published: bool,
    /// The identifiers of the subscriptions that have one, in no order.
    pub ids: SmallVec<[u32; 4]>,
}

/// A session with at least one matching subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match<S> {
    /// The session.
    pub subscriber: S,
    grant: Grant,
    /// Some subscription has No Local, so that `own` stands for `grant` when the session itself publishes.
    no_local: bool,
    own: Option<Box<Grant>>,
}

impl<S: Eq> Match<S> {
    /// How the session gets a message of `publisher` (`None` where no session stands behind it, as with a
    /// message of the server itself). `None` if No Local leaves it out.
    pub fn grant(&self, publisher: Option<&S>) -> Option<&Grant> {
        if self.no_local && !mutated(Mutation::IgnoresNoLocal) && publisher == Some(&self.subscriber) {
            self.own.as_deref()
        } else {
            Some(&self.grant)
        }
    }
}

impl<S> Match<S> {
    fn new(subscriber: S, options: SubscriptionOptions) -> Self {
        Self { subscriber, grant: Grant::new(options), no_local: options.no_local, own: None }
    }

    fn add(&mut self, options: SubscriptionOptions) {
        match (self.no_local, options.no_local) {
            (false, false) | (true, true) => {}
            // The first one with No Local: all up to now are what the session's own messages get.
            (false, true) => {
                self.no_local = true;
                self.own = Some(Box::new(self.grant.clone()));
            }
            (true, false) => match &mut self.own {
                Some(own) => own.add(options),
                None => self.own = Some(Box::new(Grant::new(options))),
            },
        }
        self.grant.add(options);
    }
}

impl Grant {
    fn new(options: SubscriptionOptions) -> Self {
        Self {
            qos: options.qos,
            retain_as_published: options.retain_as_published,
            ids: options.id.map(NonZeroU32::get).into_iter().collect(),
        }
    }

    fn add(&mut self, options: SubscriptionOptions) {
        let lowest = mutated(Mutation::DeliversAtLowestQoS);
        self.qos = if lowest { self.qos.min(options.qos) } else { self.qos.max(options.qos) };
        self.retain_as_published |= options.retain_as_published;
        self.ids.extend(options.id.map(NonZeroU32::get).filter(|_| !mutated(Mutation::SendsOneIdentifier)));
    }
}

/// Gathers the subscriber sets of a lookup into one list. Within one set every session is there once, so that
/// the first one needs no search, and most lookups find only one.
pub(super) struct Merge<'a, S> {
    list: Vec<Match<S>>,
    /// Positions in `list` by session, once there is something to look through.
    index: Option<HashTable<u32>>,
    hasher: &'a RandomState,
}

impl<'a, S: Clone + Eq + Hash> Merge<'a, S> {
    pub(super) fn new(hasher: &'a RandomState) -> Self {
        Self { list: Vec::new(), index: None, hasher }
    }

    pub(super) fn add(&mut self, set: &[(S, SubscriptionOptions)]) {
        if self.list.is_empty() {
            self.list.extend(set.iter().map(|(session, options)| Match::new(session.clone(), *options)));
            return;
        }
        if self.index.is_none() && self.list.len() + set.len() > LINEAR {
            self.build_index(set.len());
        }
        for (session, options) in set {
            match self.position(session) {
                Some(at) => self.list[at].add(*options),
                None => self.push(session.clone(), *options),
            }
        }
    }

    pub(super) fn finish(self) -> Vec<Match<S>> {
        self.list
    }

    fn build_index(&mut self, more: usize) {
        let hash = |at: &u32| self.hasher.hash_one(&self.list[*at as usize].subscriber);
        let mut index = HashTable::with_capacity(self.list.len() + more);
        for at in 0..self.list.len() as u32 {
            index.insert_unique(hash(&at), at, hash);
        }
        self.index = Some(index);
    }

    fn position(&self, session: &S) -> Option<usize> {
        let Some(index) = &self.index else {
            return self.list.iter().position(|found| found.subscriber == *session);
        };
        let hash = self.hasher.hash_one(session);
        index.find(hash, |at| self.list[*at as usize].subscriber == *session).map(|at| *at as usize)
    }

    fn push(&mut self, session: S, options: SubscriptionOptions) {
        let at = self.list.len() as u32;
        self.list.push(Match::new(session, options));
        if let Some(index) = &mut self.index {
            let hash = |at: &u32| self.hasher.hash_one(&self.list[*at as usize].subscriber);
            index.insert_unique(hash(&at), at, hash);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(qos: u8, no_local: bool, id: u32) -> SubscriptionOptions {
        SubscriptionOptions { qos, no_local, retain_as_published: id == 7, id: NonZeroU32::new(id) }
    }

    fn merged(sets: &[&[(u64, SubscriptionOptions)]]) -> Vec<Match<u64>> {
        let hasher = RandomState::default();
        let mut merge = Merge::new(&hasher);
        for set in sets {
            merge.add(set);
        }
        merge.finish()
    }

    #[test]
    fn overlapping_subscriptions_become_one_at_the_highest_qos_with_all_identifiers() {
        let found = merged(&[
            &[(1, options(0, false, 5))],
            &[(1, options(2, false, 7)), (2, options(1, false, 0))],
            &[(1, options(1, false, 5))],
        ]);
        assert_eq!(found.len(), 2);
        let grant = found[0].grant(None).expect("no one left it out");
        assert_eq!((grant.qos, grant.retain_as_published, grant.ids.as_slice()), (2, true, &[5, 7, 5][..]));
        let other = found[1].grant(Some(&1)).expect("no one left it out");
        assert_eq!((other.qos, other.retain_as_published, other.ids.as_slice()), (1, false, &[][..]));
    }

    #[test]
    fn no_local_leaves_out_that_subscription_for_its_own_session_only() {
        let alone = merged(&[&[(1, options(1, true, 3))]]);
        assert_eq!(alone[0].grant(Some(&1)), None);
        assert_eq!(alone[0].grant(Some(&2)).map(|grant| grant.qos), Some(1));
        assert_eq!(alone[0].grant(None).map(|grant| grant.qos), Some(1));

        // In any order of the two kinds.
        for sets in [[options(2, true, 3), options(1, false, 4)], [options(1, false, 4), options(2, true, 3)]]
        {
            let both = merged(&[&[(1, sets[0])], &[(1, sets[1])], &[(1, options(0, false, 9))]]);
            let own = both[0].grant(Some(&1)).expect("two subscriptions without No Local are left");
            assert_eq!((own.qos, own.ids.as_slice()), (1, &[4, 9][..]));
            let others = both[0].grant(Some(&2)).expect("others' messages get through all three");
            assert_eq!((others.qos, others.ids.len()), (2, 3));
        }
    }

    #[test]
    fn large_sets_merge_through_the_index() {
        let evens: Vec<_> = (0..1000).map(|session| (session * 2, options(0, false, 1))).collect();
        let all: Vec<_> = (0..2000).map(|session| (session, options(1, false, 2))).collect();
        let found = merged(&[&evens, &all, &[(7, options(2, false, 3))]]);
        assert_eq!(found.len(), 2000);
        for entry in found {
            let mut ids = if entry.subscriber % 2 == 0 { vec![1, 2] } else { vec![2] };
            ids.extend((entry.subscriber == 7).then_some(3));
            let grant = entry.grant(None).expect("no No Local here");
            assert_eq!(grant.ids.as_slice(), ids);
            assert_eq!(grant.qos, if entry.subscriber == 7 { 2 } else { 1 });
        }
    }

    #[test]
    fn sizes_stay_as_documented() {
        assert_eq!(size_of::<SubscriptionOptions>(), 8);
        assert_eq!(size_of::<Match<u64>>(), 56);
    }
}
