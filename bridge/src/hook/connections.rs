//! The connections that may be answered, by their number, and those of each user.

use chasqui_broker::hook::Client;
use chasqui_proto::UserId;
use hashbrown::HashMap;
use parking_lot::RwLock;
use smallvec::SmallVec;
use std::hash::BuildHasher;
use std::sync::Arc;

const SHARDS: usize = 64;

type Hasher = foldhash::fast::RandomState;
type Numbered = RwLock<HashMap<u64, Arc<Client>, Hasher>>;
/// A user has one connection for each device that is there: seldom more than two.
pub(super) type Live = SmallVec<[Arc<Client>; 2]>;
type Owned = RwLock<HashMap<Arc<str>, Live, Hasher>>;

pub(super) struct Connections {
    numbered: Vec<Numbered>,
    /// Without those of anonymous clients.
    owned: Vec<Owned>,
    hasher: Hasher,
}

impl Default for Connections {
    fn default() -> Connections {
        Connections {
            numbered: (0..SHARDS).map(|_| Numbered::default()).collect(),
            owned: (0..SHARDS).map(|_| Owned::default()).collect(),
            hasher: Hasher::default(),
        }
    }
}

impl Connections {
    fn numbered(&self, connection: u64) -> &Numbered {
        &self.numbered[connection as usize % SHARDS]
    }

    fn owned(&self, user: &str) -> &Owned {
        &self.owned[self.hasher.hash_one(user) as usize % SHARDS]
    }

    pub(super) fn add(&self, client: &Arc<Client>) {
        self.numbered(client.connection).write().insert(client.connection, Arc::clone(client));
        if let Some(user) = client.user() {
            let owner = Arc::clone(&client.session.owner);
            self.owned(user).write().entry(owner).or_default().push(Arc::clone(client));
        }
    }

    pub(super) fn remove(&self, client: &Arc<Client>) {
        self.numbered(client.connection).write().remove(&client.connection);
        if let Some(user) = client.user() {
            let mut owned = self.owned(user).write();
            if let Some(live) = owned.get_mut(user) {
                live.retain(|other| other.connection != client.connection);
                if live.is_empty() {
                    owned.remove(user);
                }
            }
        }
    }

    pub(super) fn get(&self, connection: u64) -> Option<Arc<Client>> {
        self.numbered(connection).read().get(&connection).cloned()
    }

    /// Whether a user has a connection.
    pub(super) fn has(&self, user: &UserId) -> bool {
        self.owned(user.as_str()).read().contains_key(user.as_str())
    }

    /// The connections of a user.
    pub(super) fn of(&self, user: &str) -> Live {
        self.owned(user).read().get(user).cloned().unwrap_or_default()
    }
}
