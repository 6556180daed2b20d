//! Where connected sessions stand, in memory: a cursor that moves is one of several in a record, so the others have to be at
//! hand, and what was handed to the commit log can be read from the store only once it is applied.
//!
//! An entry is held while its session is connected (a few strings and numbers, about what the session itself
//! holds of them) and, once it is not, until its last change can be read from the store. An offline session costs
//! nothing here.

use chasqui_broker::store::{Cursors, SessionKey};
use hashbrown::HashMap;
use parking_lot::Mutex;

/// What is known of a session beyond what the store says.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum State {
    /// It exists; its cursors are those in the store, if there are any.
    Unread,
    /// Its cursors.
    At(Cursors),
    /// It was removed; the store may not say so yet.
    Gone,
}

#[derive(Debug)]
struct Entry {
    state: State,
    connected: bool,
    /// The last position handed over for its queue since the entry is held; 0 if none was.
    enqueued: u64,
    /// The change that made it so, to tell whether there was one since.
    change: u64,
}

/// A change to an entry that leaves nothing to be held once it can be read from the store.
#[derive(Debug)]
pub(super) struct Leaving {
    session: SessionKey,
    change: u64,
}

/// The entries.
#[derive(Debug, Default)]
pub(super) struct Standing(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    entries: HashMap<SessionKey, Entry>,
    changes: u64,
}

impl Table {
    fn set(&mut self, session: &SessionKey, state: State, connected: bool) -> u64 {
        self.changes += 1;
        let change = self.changes;
        match self.entries.get_mut(session) {
            Some(known) => *known = Entry { state, connected, change, ..*known },
            None => {
                self.entries.insert(session.clone(), Entry { state, connected, enqueued: 0, change });
            }
        }
        change
    }
}

impl Standing {
    /// What is known of a session, if anything.
    pub(super) fn of(&self, session: &SessionKey) -> Option<State> {
        self.0.lock().entries.get(session).map(|entry| entry.state.clone())
    }

    /// The session's record is written: it exists.
    pub(super) fn recorded(&self, session: &SessionKey, connected: bool) -> Option<Leaving> {
        let mut table = self.0.lock();
        let state = match table.entries.get(session).map(|entry| &entry.state) {
            // What was removed starts afresh.
            Some(State::Gone) => State::At(Cursors::default()),
            Some(state) => state.clone(),
            None => State::Unread,
        };
        let change = table.set(session, state, connected);
        (!connected).then(|| Leaving { session: session.clone(), change })
    }

    /// The session's cursors are written.
    pub(super) fn moved(&self, session: &SessionKey, cursors: Cursors) -> Option<Leaving> {
        let mut table = self.0.lock();
        let connected = table.entries.get(session).is_some_and(|entry| entry.connected);
        let change = table.set(session, State::At(cursors), connected);
        (!connected).then(|| Leaving { session: session.clone(), change })
    }

    /// A message is handed over for the session's queue.
    pub(super) fn enqueued(&self, session: &SessionKey, position: u64) {
        if let Some(entry) = self.0.lock().entries.get_mut(session) {
            entry.enqueued = entry.enqueued.max(position);
        }
    }

    /// The last position handed over for the session's queue, as far as it is known; 0 otherwise.
    pub(super) fn last_enqueued(&self, session: &SessionKey) -> u64 {
        self.0.lock().entries.get(session).map_or(0, |entry| entry.enqueued)
    }

    /// The session is removed.
    pub(super) fn removed(&self, session: &SessionKey) -> Leaving {
        let change = self.0.lock().set(session, State::Gone, false);
        Leaving { session: session.clone(), change }
    }

    /// These changes can be read from the store now.
    pub(super) fn readable(&self, changes: Vec<Leaving>) {
        let mut table = self.0.lock();
        for Leaving { session, change } in changes {
            if table.entries.get(&session).is_some_and(|entry| entry.change == change) {
                table.entries.remove(&session);
            }
        }
    }

    /// How many sessions are held.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.lock().entries.len()
    }
}
