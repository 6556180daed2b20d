//! Which connected sessions read which source.

use crate::link::Link;
use crate::source::{SourceId, Tail};
use hashbrown::HashMap;
use parking_lot::Mutex;
use smallvec::SmallVec;
use std::hash::BuildHasher;
use std::sync::Arc;

const SHARDS: usize = 64;

type Shard = Mutex<HashMap<SourceId, SmallVec<[Arc<Link>; 1]>, foldhash::fast::RandomState>>;

pub(crate) struct Sources {
    shards: Vec<Shard>,
    hasher: foldhash::fast::RandomState,
}

impl Default for Sources {
    fn default() -> Sources {
        Sources {
            shards: (0..SHARDS).map(|_| Shard::default()).collect(),
            hasher: foldhash::fast::RandomState::default(),
        }
    }
}

impl Sources {
    fn shard(&self, source: &SourceId) -> &Shard {
        &self.shards[self.hasher.hash_one(source) as usize % SHARDS]
    }

    /// From now on the link gets what is new in the source.
    pub(crate) fn attach(&self, source: &SourceId, link: &Arc<Link>) {
        // Every session has one of that name; what is new in it goes to its link directly.
        debug_assert_ne!(&*source.0, SourceId::QUEUE);
        let mut shard = self.shard(source).lock();
        let links = shard.entry(source.clone()).or_default();
        if !links.iter().any(|known| Arc::ptr_eq(known, link)) {
            links.push(Arc::clone(link));
        }
    }

    /// The link gets nothing more.
    pub(crate) fn detach(&self, source: &SourceId, link: &Arc<Link>) {
        let mut shard = self.shard(source).lock();
        if let Some(links) = shard.get_mut(source) {
            links.retain(|known| !Arc::ptr_eq(known, link));
            if links.is_empty() {
                shard.remove(source);
            }
        }
    }

    /// Gives new items to all who read the source.
    pub(crate) fn announce(&self, tail: Tail) {
        let links = self.shard(&tail.source).lock().get(&tail.source).cloned();
        let Some(links) = links else { return };
        let tail = Arc::new(tail);
        for link in links {
            link.push_tail(&tail);
        }
    }
}
