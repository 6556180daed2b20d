//! The connections that may be answered, by their number.

use chasqui_broker::hook::Client;
use hashbrown::HashMap;
use parking_lot::RwLock;
use std::sync::Arc;

const SHARDS: usize = 64;

type Shard = RwLock<HashMap<u64, Arc<Client>, foldhash::fast::RandomState>>;

pub(super) struct Connections(Vec<Shard>);

impl Default for Connections {
    fn default() -> Connections {
        Connections((0..SHARDS).map(|_| Shard::default()).collect())
    }
}

impl Connections {
    fn shard(&self, connection: u64) -> &Shard {
        &self.0[connection as usize % SHARDS]
    }

    pub(super) fn add(&self, client: &Arc<Client>) {
        self.shard(client.connection).write().insert(client.connection, Arc::clone(client));
    }

    pub(super) fn remove(&self, client: &Arc<Client>) {
        self.shard(client.connection).write().remove(&client.connection);
    }

    pub(super) fn get(&self, connection: u64) -> Option<Arc<Client>> {
        self.shard(connection).read().get(&connection).cloned()
    }
}
