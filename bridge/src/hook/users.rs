//! Removing a user from a running server: their connections and sessions go with them.

use super::ChatHook;
use crate::account::{AdminError, SequencedUsers, UserAdmin};
use chasqui_broker::codec::ReasonCode;
use chasqui_broker::store::SessionKey;
use chasqui_proto::UserId;
use chasqui_storage::Batch;
use std::sync::Arc;
use std::time::Duration;

/// How often a connection that was told to go is looked for, and how many times.
const PAUSE: Duration = Duration::from_millis(10);
const TRIES: usize = 1_000;

/// Sessions taken away at once.
const PAGE: usize = 256;

/// Users of a running server.
pub struct LiveUsers {
    users: SequencedUsers,
    hook: Arc<ChatHook>,
}

impl LiveUsers {
    /// `users`, whose connections are this hook's.
    pub fn new(users: SequencedUsers, hook: Arc<ChatHook>) -> LiveUsers {
        LiveUsers { users, hook }
    }
}

impl LiveUsers {
    /// Ends a session; one that is connected is waited for.
    fn end(&self, session: &SessionKey) -> Result<(), AdminError> {
        let broker = self.hook.broker().ok_or(AdminError::Stopped)?;
        for _ in 0..TRIES {
            match broker.end_session(session) {
                Ok(true) => return Ok(()),
                Ok(false) => std::thread::sleep(PAUSE),
                Err(error) => return Err(AdminError::Failed(error.0)),
            }
        }
        Err(AdminError::Failed(Arc::from("a session of this user does not end; remove the user again")))
    }
}

impl UserAdmin for LiveUsers {
    fn create(&self, user: &UserId, with: Batch) -> Result<(), AdminError> {
        self.users.create(user, with)
    }

    /// The account goes first, so that nobody connects as this user while their sessions end.
    fn remove(&self, user: &UserId, with: Batch) -> Result<(), AdminError> {
        self.users.remove(user, with)?;
        self.hook.rates.forget(user);
        if let Some(broker) = self.hook.broker() {
            broker.disconnect_owner(user.as_str(), ReasonCode::AdministrativeAction, "this user was removed");
        }
        let failed = |error: chasqui_storage::KvError| AdminError::Failed(Arc::from(error.to_string()));
        let mut after = None;
        loop {
            let page = self.hook.reader.sessions(user.as_bytes(), after.as_deref(), PAGE).map_err(failed)?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.name.to_vec());
            for session in &page {
                let Ok(client_id) = std::str::from_utf8(&session.name) else { continue };
                let key = SessionKey { owner: Arc::from(user.as_str()), client_id: Arc::from(client_id) };
                self.end(&key)?;
            }
        }
    }

    fn write(&self, with: Batch) -> Result<(), AdminError> {
        self.users.write(with)
    }
}
