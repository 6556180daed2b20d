//! User commands without a server: the store is opened, a sequencer carries the commands out, and everything is closed again.

use super::control::{ControlHandler, UserControl};
use super::protocol::{Request, Response};
use crate::account::{AccountError, Accounts, AdminAnswers, AdminError, SequencedUsers, UserAdmin};
use crate::hook::Operations;
use crate::sequencer::{self, Committed, Sequencer, Sink, Unanswered};
use crate::session_store::SessionStore;
use crate::settings::Settings;
use chasqui_broker::store::{SessionKey, Store, StoreError, StoreOp};
use chasqui_proto::UserId;
use chasqui_storage::clock::{Clock, SystemClock};
use chasqui_storage::{Batch, OpenError, Poisoned, Reader, Storage};
use std::sync::{Arc, mpsc};
use thiserror::Error;

/// Sessions taken away at once.
const PAGE: usize = 256;

/// Why the store could not be used.
#[derive(Debug, Error)]
pub enum OfflineError {
    /// It cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Its accounts cannot be used.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// It failed to write.
    #[error(transparent)]
    Poisoned(#[from] Poisoned),
}

/// A store in use for user commands alone.
pub(super) struct Offline {
    accounts: Arc<Accounts>,
    sequencer: Arc<Sequencer>,
    storage: Arc<Storage>,
}

impl Offline {
    /// Opens the store of these settings.
    pub(super) fn open(settings: &Settings) -> Result<Offline, OfflineError> {
        Offline::on(Arc::new(Storage::open(&settings.data, crate::server::options(settings))?))
    }

    /// On a store that is open.
    pub(super) fn on(storage: Arc<Storage>) -> Result<Offline, OfflineError> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let answers = Arc::new(AdminAnswers::default());
        let sink = Arc::new(AnswersOnly(Arc::clone(&answers)));
        let options = sequencer::Options::default();
        let sequencer = Sequencer::start(Arc::clone(&storage), sink, Arc::clone(&clock), options);
        let sequencer = Arc::new(sequencer);
        let operations = Arc::new(Operations::default());
        operations.join(&sequencer);
        let sessions = SessionStore::new(storage.reader(), operations, Arc::clone(&clock));
        let users = SequencedUsers::new(Arc::<Sequencer>::clone(&sequencer), answers);
        let users = OfflineUsers { users, sessions, reader: storage.reader() };
        let accounts = Arc::new(Accounts::new(storage.reader(), Arc::new(users), clock)?);
        Ok(Offline { accounts, sequencer, storage })
    }

    /// The accounts of the store.
    #[cfg(test)]
    pub(super) fn accounts(&self) -> &Arc<Accounts> {
        &self.accounts
    }

    /// Carries out one request.
    pub(super) fn handle(&self, request: Request) -> Response {
        UserControl::new(Arc::clone(&self.accounts)).handle(request)
    }

    /// Closes the store; what was answered is on disk either way.
    pub(super) fn close(self) -> Result<(), OfflineError> {
        let storage = Arc::into_inner(self.stop()?).expect("all that shared it has stopped");
        storage.close()?;
        Ok(())
    }

    /// Lets go of the store.
    pub(super) fn stop(self) -> Result<Arc<Storage>, OfflineError> {
        let Offline { accounts, sequencer, storage } = self;
        drop(accounts);
        let sequencer = Arc::into_inner(sequencer).expect("accounts held the only other handle");
        sequencer.stop()?;
        Ok(storage)
    }
}

/// Hears answers for nobody but who administers.
struct AnswersOnly(Arc<AdminAnswers>);

impl Sink for AnswersOnly {
    fn committed(&self, committed: Committed) {
        for answer in &committed.answers {
            self.0.answered(answer);
        }
    }

    fn poisoned(&self, unanswered: Vec<Unanswered>, why: &Poisoned) {
        for unanswered in &unanswered {
            self.0.unanswered(unanswered, why);
        }
    }
}

/// Users of a store that serves nobody: who is removed has no connections, but may have sessions.
struct OfflineUsers {
    users: SequencedUsers,
    sessions: SessionStore,
    reader: Reader,
}

impl UserAdmin for OfflineUsers {
    fn create(&self, user: &UserId, with: Batch) -> Result<(), AdminError> {
        self.users.create(user, with)
    }

    fn remove(&self, user: &UserId, with: Batch) -> Result<(), AdminError> {
        self.users.remove(user, with)?;
        loop {
            let sessions = self.reader.sessions(user.as_bytes(), None, PAGE);
            let sessions = sessions.map_err(|error| AdminError::Failed(Arc::from(error.to_string())))?;
            if sessions.is_empty() {
                return Ok(());
            }
            let removals = sessions.iter().map(|session| {
                let client_id = Arc::from(&*String::from_utf8_lossy(&session.name));
                StoreOp::RemoveSession(SessionKey { owner: Arc::from(user.as_str()), client_id })
            });
            let (tell, told) = mpsc::sync_channel(1);
            let done = move |result: Result<(), StoreError>| {
                // There is room for it, and this thread waits.
                let _ = tell.send(result);
            };
            self.sessions.commit(removals.collect(), Some(Box::new(done)));
            let removed = told.recv().map_err(|_| AdminError::Stopped)?;
            removed.map_err(|error| AdminError::Failed(error.0))?;
        }
    }

    fn write(&self, with: Batch) -> Result<(), AdminError> {
        self.users.write(with)
    }
}
