//! Reading records for the sequencer: how a record is read, and the threads that do it.
//!
//! A few threads are enough: a record is read when its thing comes into use, not each time it is used. What
//! waits for them is bounded by the commands that may wait.

use super::names;
use crate::machine::codec;
use crate::machine::{
    Chat, Conversation, DecodeError, Fate, Group, Key, Membership, Receipt, Record, Ring, Tie, User,
};
use crate::mutation::{Mutation, mutated};
use bytes::Bytes;
use chasqui_proto::{ChatName, ConversationId, GroupId, UserId};
use chasqui_storage::{KvError, Reader};
use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use thiserror::Error;

/// Why a record could not be read. A sentence for the log.
#[derive(Debug, Error)]
pub enum FetchError {
    /// The store could not read it.
    #[error(transparent)]
    Store(#[from] KvError),
    /// What the store read is no such record.
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

/// Reads a record as it is in the newest batch that readers see.
///
/// # Errors
/// If it cannot be read; one that was never written is its default.
pub fn read(reader: &Reader, key: &Key) -> Result<Record, FetchError> {
    Ok(match key {
        Key::User(id) => Record::User(user(reader, id)?),
        Key::Conversation(id) => Record::Conversation(conversation(reader, id)?),
        Key::Ring(..) if mutated(Mutation::ForgetsAcceptedIds) => Record::Ring(Ring::default()),
        Key::Ring(user, device) => {
            let items = reader.ring(&names::ring(user, device))?;
            Record::Ring(Ring::decode(items.iter().map(|item| &item[..]))?)
        }
        Key::Receipt { owner, chat } => Record::Receipt(receipt(reader, owner, chat)?),
        Key::Group(id) => Record::Group(group(reader, id)?),
        Key::Fate(conversation, seq) => {
            let stored = reader.get(&names::fate_record(conversation, *seq))?;
            Record::Fate(stored.map(|stored| Fate::decode(&stored)).transpose()?.unwrap_or_default())
        }
        Key::Chat { owner, chat } => Record::Chat(kept(reader, owner, chat)?),
        Key::Membership(group, user) => Record::Membership(membership(reader, group, user)?),
        Key::Tie(owner, other) => Record::Tie(tie(reader, owner, other)?),
    })
}

/// Reads a user, as [`read`] does.
///
/// # Errors
/// If it cannot be read.
pub fn user(reader: &Reader, id: &UserId) -> Result<User, FetchError> {
    let stored = reader.get(&names::user_record(id))?;
    Ok(stored.map(|stored| User::decode(&stored)).transpose()?.unwrap_or_default())
}

/// The version of the record of when a user came.
pub(super) const CAME_VERSION: u8 = 1;

/// When a user came, Unix milliseconds; `None` for who is not there, or came before that was noted.
///
/// # Errors
/// If it cannot be read.
pub fn came_ms(reader: &Reader, id: &UserId) -> Result<Option<u64>, FetchError> {
    let stored = reader.get(&names::came_record(id))?;
    let read = |stored: Bytes| codec::versioned("coming", CAME_VERSION, &stored, codec::Input::number);
    Ok(stored.map(read).transpose()?)
}

/// Reads a conversation, as [`read`] does.
///
/// # Errors
/// If it cannot be read.
pub fn conversation(reader: &Reader, id: &ConversationId) -> Result<Conversation, FetchError> {
    let stored = reader.get(&names::conversation_record(id))?;
    Ok(stored.map(|stored| Conversation::decode(&stored)).transpose()?.unwrap_or_default())
}

/// Reads a group, as [`read`] does.
///
/// # Errors
/// If it cannot be read.
pub fn group(reader: &Reader, id: &GroupId) -> Result<Group, FetchError> {
    let stored = reader.get(&names::group_record(id))?;
    Ok(stored.map(|stored| Group::decode(&stored)).transpose()?.unwrap_or_default())
}

/// Reads what a user has to do with a group, as [`read`] does.
///
/// # Errors
/// If it cannot be read.
pub fn membership(reader: &Reader, group: &GroupId, user: &UserId) -> Result<Membership, FetchError> {
    let stored = reader.get(&names::membership_record(group, user))?;
    Ok(stored.map(|stored| Membership::decode(&stored)).transpose()?.unwrap_or_default())
}

/// Reads what a user keeps about a conversation, as [`read`] does.
///
/// # Errors
/// If it cannot be read.
pub fn kept(reader: &Reader, owner: &UserId, chat: &ChatName) -> Result<Chat, FetchError> {
    let stored = reader.get(&names::chat_record(owner, chat))?;
    Ok(stored.map(|stored| Chat::decode(&stored)).transpose()?.unwrap_or_default())
}

/// Reads what a user is shown about a conversation, as [`read`] does.
///
/// # Errors
/// If it cannot be read.
pub fn receipt(reader: &Reader, owner: &UserId, chat: &ChatName) -> Result<Receipt, FetchError> {
    let topic = names::receipt_topic(owner, chat);
    let stored = reader.state(&names::receipts(owner), topic.as_bytes())?;
    Ok(stored.map(|(position, stored)| Receipt::decode(position, &stored)).transpose()?.unwrap_or_default())
}

/// Reads what `other` is to `owner`, as [`read`] does. What it says is to be asked [between](Tie::between) the two.
///
/// # Errors
/// If it cannot be read.
pub fn tie(reader: &Reader, owner: &UserId, other: &UserId) -> Result<Tie, FetchError> {
    let stored = reader.get(&names::tie_record(owner, other))?;
    Ok(stored.map(|stored| Tie::decode(&stored)).transpose()?.unwrap_or_default())
}

/// The threads that read records.
pub(super) struct Fetchers {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    wanted: Mutex<Wanted>,
    more: Condvar,
}

#[derive(Default)]
struct Wanted {
    keys: VecDeque<Key>,
    stopping: bool,
}

impl Fetchers {
    /// Starts `count` threads that hand what they read to `found`.
    pub(super) fn start(
        count: usize,
        reader: &Reader,
        found: impl Fn(Key, Result<Record, FetchError>) + Send + Clone + 'static,
    ) -> Fetchers {
        let shared = Arc::new(Shared::default());
        let thread = |n| {
            let (shared, reader, found) = (Arc::clone(&shared), reader.clone(), found.clone());
            let run = move || {
                while let Some(key) = shared.next() {
                    let record = read(&reader, &key);
                    found(key, record);
                }
            };
            let named = thread::Builder::new().name(format!("fetch-{n}"));
            named.spawn(run).expect("a process that starts can start its threads")
        };
        let threads = (1..=count.max(1)).map(thread).collect();
        Fetchers { shared, threads }
    }

    /// Asks for records. Does not wait.
    pub(super) fn fetch(&self, keys: Vec<Key>) {
        if !keys.is_empty() {
            self.shared.wanted.lock().keys.extend(keys);
            self.shared.more.notify_all();
        }
    }
}

impl Drop for Fetchers {
    fn drop(&mut self) {
        self.shared.wanted.lock().stopping = true;
        self.shared.more.notify_all();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread that reads records has panicked");
            }
        }
    }
}

impl Shared {
    fn next(&self) -> Option<Key> {
        let mut wanted = self.wanted.lock();
        while wanted.keys.is_empty() && !wanted.stopping {
            self.more.wait(&mut wanted);
        }
        wanted.keys.pop_front()
    }
}
