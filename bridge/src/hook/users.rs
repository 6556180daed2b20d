//! Removing a user from a running server: their connections and sessions go with them.

use super::ChatHook;
use crate::account::{AdminError, SequencedUsers, UserAdmin};
use chasqui_broker::codec::ReasonCode;
use chasqui_broker::store::{SessionKey, Store, StoreOp};
use chasqui_proto::UserId;
use chasqui_storage::Batch;
use std::sync::Arc;

/// Sessions taken away at once.
const PAGE: usize = 256;

/// Users of a running server.
pub struct LiveUsers {
    users: SequencedUsers,
    hook: Arc<ChatHook>,
    store: Arc<dyn Store>,
}

impl LiveUsers {
    /// `users`, whose connections are this hook's and whose sessions are in this store.
    pub fn new(users: SequencedUsers, hook: Arc<ChatHook>, store: Arc<dyn Store>) -> LiveUsers {
        LiveUsers { users, hook, store }
    }
}

impl UserAdmin for LiveUsers {
    fn create(&self, user: &UserId, with: Batch) -> Result<(), AdminError> {
        self.users.create(user, with)
    }

    /// The account goes first, so that nobody connects as this user while their sessions end.
    fn remove(&self, user: &UserId, with: Batch) -> Result<(), AdminError> {
        self.users.remove(user, with)?;
        if let Some(broker) = self.hook.broker() {
            broker.disconnect_owner(user.as_str(), ReasonCode::AdministrativeAction, "this user was removed");
        }
        let failed = |error: chasqui_storage::KvError| AdminError::Failed(Arc::from(error.to_string()));
        let mut after = None;
        loop {
            let page = self.hook.reader.sessions(user.as_bytes(), after.as_deref(), PAGE).map_err(failed)?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.name.to_vec());
            let removals = page.iter().filter_map(|session| {
                let client_id = std::str::from_utf8(&session.name).ok()?;
                let key = SessionKey { owner: Arc::from(user.as_str()), client_id: Arc::from(client_id) };
                Some(StoreOp::RemoveSession(key))
            });
            self.store.commit(removals.collect(), None);
        }
    }

    fn write(&self, with: Batch) -> Result<(), AdminError> {
        self.users.write(with)
    }
}
