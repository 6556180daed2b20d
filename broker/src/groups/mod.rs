//! Shared subscriptions: groups of sessions of which one gets each message.
//!
//! A group is a shared filter as written, `$share/{group}/{filter}`: the same filter under two names is two groups, and sessions of
//! different users may be in one. It stands in the router under `{filter}` as one subscriber, and is resolved to a
//! member after the lookup ([`Members`]). It begins with its first member and ends with its last.
//!
//! Invariant: when [`Groups::leave`] or [`Groups::away`] has returned, nothing more is offered to that member (as a connected one).

mod members;
mod parked;

use parked::Parked;

pub(crate) use members::{Members, Offered, Reach};

use crate::link::Link;
use crate::plain::Subscriber;
use crate::router::{Router, SubscriptionOptions};
use crate::topic::SharedFilter;
use hashbrown::HashMap;
use parking_lot::Mutex;
use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const SHARDS: usize = 16;

/// A group. Equal only to itself.
pub(crate) struct Group {
    /// The shared filter as written.
    pub(crate) filter: Arc<str>,
    /// Locked while a member is asked, so that it cannot leave in between.
    pub(crate) members: Mutex<Members<Arc<Link>>>,
}

impl std::fmt::Debug for Group {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Group").field("filter", &self.filter).finish_non_exhaustive()
    }
}

impl PartialEq for Group {
    fn eq(&self, other: &Group) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Eq for Group {}

impl Hash for Group {
    fn hash<H: Hasher>(&self, state: &mut H) {
        std::ptr::from_ref(self).hash(state);
    }
}

type Shard = Mutex<HashMap<Arc<str>, Arc<Group>, foldhash::fast::RandomState>>;

/// All groups.
pub(crate) struct Groups {
    shards: Vec<Shard>,
    hasher: foldhash::fast::RandomState,
    count: AtomicUsize,
    members: AtomicUsize,
    /// What was left behind and waits for room.
    pub(crate) parked: Parked,
}

impl Default for Groups {
    fn default() -> Groups {
        Groups {
            shards: (0..SHARDS).map(|_| Shard::default()).collect(),
            hasher: foldhash::fast::RandomState::default(),
            count: AtomicUsize::new(0),
            members: AtomicUsize::new(0),
            parked: Parked::default(),
        }
    }
}

impl Groups {
    fn shard(&self, filter: &str) -> &Shard {
        &self.shards[self.hasher.hash_one(filter) as usize % SHARDS]
    }

    /// Makes a session a member, or replaces its options; a new group enters the index.
    pub(crate) fn join(
        &self,
        index: &Router<Subscriber>,
        filter: &Arc<str>,
        link: &Arc<Link>,
        options: SubscriptionOptions,
    ) {
        let Some(shared) = parse(filter) else { return };
        // Held until the index has the group: a group there is always one that is known here.
        let mut shard = self.shard(filter).lock();
        let group = shard.entry(Arc::clone(filter)).or_insert_with(|| {
            self.count.fetch_add(1, Ordering::Relaxed);
            Arc::new(Group { filter: Arc::clone(filter), members: Mutex::default() })
        });
        let new = group.members.lock().join(Arc::clone(link), options, link.is_connected());
        if new {
            self.members.fetch_add(1, Ordering::Relaxed);
        }
        // What a group gets is decided for each member; the index only finds it.
        index.subscribe(
            shared.filter,
            Subscriber::Group(Arc::clone(group)),
            SubscriptionOptions { qos: 2, ..SubscriptionOptions::default() },
        );
    }

    /// Takes a member away; an empty group leaves the index.
    pub(crate) fn leave(&self, index: &Router<Subscriber>, filter: &str, link: &Arc<Link>) {
        let mut shard = self.shard(filter).lock();
        let Some(group) = shard.get(filter) else { return };
        let empty = {
            let mut members = group.members.lock();
            if members.leave(link).is_none() {
                return;
            }
            members.len() == 0
        };
        self.members.fetch_sub(1, Ordering::Relaxed);
        if empty
            && let Some(group) = shard.remove(filter)
            && let Some(shared) = parse(filter)
        {
            self.count.fetch_sub(1, Ordering::Relaxed);
            index.unsubscribe(shared.filter, &Subscriber::Group(group));
        }
    }

    /// A member's connection is over, and it stays.
    pub(crate) fn away(&self, filter: &str, link: &Arc<Link>) {
        if let Some(group) = self.get(filter) {
            group.members.lock().away(link);
        }
    }

    /// The group of a shared filter, if it has members.
    pub(crate) fn get(&self, filter: &str) -> Option<Arc<Group>> {
        self.shard(filter).lock().get(filter).cloned()
    }

    /// How many groups there are.
    pub(crate) fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// How many memberships.
    pub(crate) fn members(&self) -> usize {
        self.members.load(Ordering::Relaxed)
    }
}

/// The parts of a shared filter; `None` for any other.
fn parse(filter: &str) -> Option<SharedFilter<'_>> {
    SharedFilter::parse(filter).ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::Bounds;
    use crate::store::SessionKey;

    fn link(name: &str) -> Arc<Link> {
        let key = SessionKey { owner: Arc::from("alice"), client_id: Arc::from(name) };
        Link::new(key, Bounds { items: 1, bytes: 1, tail_items: 1 })
    }

    #[test]
    fn a_group_is_in_the_index_while_it_has_members() {
        let (groups, index) = (Groups::default(), Router::new());
        let (one, two) = (link("1"), link("2"));
        let filters: [Arc<str>; 2] = [Arc::from("$share/g/a/+"), Arc::from("$share/h/a/+")];
        let options = SubscriptionOptions { qos: 1, ..SubscriptionOptions::default() };
        for filter in &filters {
            groups.join(&index, filter, &one, options);
            groups.join(&index, filter, &two, options);
            // Once more replaces.
            groups.join(&index, filter, &two, options);
        }
        assert_eq!((groups.len(), groups.members(), index.len()), (2, 4, 2));
        let found = index.matches("a/b");
        assert_eq!(found.len(), 2, "the same filter under two names is two groups");
        assert!(index.matches("$share/g/a/b").is_empty());

        groups.leave(&index, &filters[0], &one);
        groups.leave(&index, &filters[0], &one);
        assert_eq!((groups.len(), groups.members()), (2, 3));
        groups.leave(&index, &filters[0], &two);
        assert!(groups.get(&filters[0]).is_none());
        let found = index.matches("a/b");
        assert_eq!(found.len(), 1);
        assert!(matches!(&found[0].subscriber, Subscriber::Group(group) if group.filter == filters[1]));
        groups.leave(&index, &filters[1], &one);
        groups.leave(&index, &filters[1], &two);
        assert!(index.is_empty() && groups.len() == 0 && groups.members() == 0);
    }
}
