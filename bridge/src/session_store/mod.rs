//! The broker's store on ours: sessions, cursors, queues, retained messages and what falls due, as records and logs.
//!
//! | what | kept as |
//! |---|---|
//! | a session's record | session record `owner, client id` |
//! | its cursors, with the packet id used last | ordered record in `space::CURSORS`, far more often written |
//! | its queue of plain messages | log `q/{owner}\0{client id}` |
//! | that it holds plain filters | ordered record in `space::PLAIN_SESSIONS`: all that a start reads |
//! | retained messages | ordered records in `space::RETAINED`, by topic |
//! | when they expire, and how many there are | ordered records in `space::RETAINED_EXPIRIES`, one in `space::RETAINED_TOTALS` |
//! | QoS 2 publishes it has sent and not released | ordered records in `space::RECEIVED`, with the birth of the session; one more tells that there were any: a look-up, where a search costs every CONNECT |
//! | what falls due | the due-time index, id `kind, owner, client id` |
//!
//! **Invariants.** Entries of a queue up to the session's cursor leave in the batch that moves the cursor: so the last position
//! given out is the last entry's or the cursor's, whichever is greater, and trimming does not lose it. Only what another
//! session gets instead leaves before (`Dequeue`); the session has never seen it, so that its position may be given out again after a
//! restart. A queue that begins, begins behind every position ever given out in any queue, so that a session that comes again under an
//! old name writes no log entry a second time. Cursors handed over here are never taken for older than they are: until the
//! store has them, `standing` does.

mod cursors;
mod message;
mod name;
mod retained;
pub(crate) mod space;
mod standing;
#[cfg(test)]
mod suite;
#[cfg(test)]
mod tests;

use crate::mutation::{Mutation, mutated};
use bytes::Bytes;
use chasqui_broker::codec::ByteStr;
use chasqui_broker::message::Message;
use chasqui_broker::retained::{PageLimits, Resume, match_retained};
use chasqui_broker::source::{Item, Read, ReadLimit, SourceId};
use chasqui_broker::store::{
    Committed, CursorMove, Cursors, Due, Received, RetainedPage, RetainedTotals, SessionKey, SessionRecord,
    Store, StoreError, StoreOp, StoredSession,
};
use chasqui_storage::clock::Clock;
use chasqui_storage::{Batch, Reader};
use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use retained::RetainedCursor;
use standing::{Leaving, Standing, State};

/// Sessions read at once when the index of offline sessions is built.
const SESSIONS_PAGE: usize = 256;

/// What commits the changes, in the order they are handed over.
///
/// That order is all that keeps a removed session removed: a lazy batch of a session must not be overtaken by a batch about the same
/// session that was handed over after it.
pub trait CommitOps: Send + Sync + 'static {
    /// Commits a batch; does not block. `done` is called when it can be read, or never will be.
    fn commit(&self, batch: Batch, done: Option<Committed>);

    /// Commits a batch that writes the state of this session: behind its lazy batches, for whoever may hold these up.
    fn commit_about(&self, _session: &SessionKey, batch: Batch, done: Option<Committed>) {
        self.commit(batch, done);
    }

    /// Commits a batch with the next one that comes, after at most a few milliseconds. The moves are what the batch writes
    /// down, for whoever acts on them in the same batch: a device that acknowledges entries of its inbox has
    /// them delivered.
    fn lazy(&self, session: &SessionKey, moves: Vec<CursorMove>, batch: Batch);
}

/// See the module.
pub struct SessionStore {
    reader: Reader,
    ops: Arc<dyn CommitOps>,
    clock: Arc<dyn Clock>,
    standing: Arc<Standing>,
    /// The greatest queue position handed over so far.
    greatest: AtomicU64,
}

fn store_error(error: impl Display) -> StoreError {
    StoreError::new(error.to_string())
}

fn holds_plain_filters(record: &SessionRecord) -> bool {
    record.subscriptions.iter().any(|subscription| subscription.plain)
}

/// Remembers a QoS 2 publish in the batch of what it does.
pub fn put_received(batch: &mut Batch, received: &Received) {
    batch.put(&name::any_received(&received.session), &[]);
    let name = name::received(&received.session, received.packet_id);
    batch.ordered_put(space::RECEIVED, &name, &received.born.to_be_bytes());
}

impl SessionStore {
    /// A store that reads with `reader` and writes with `ops`; the clock tells which retained messages have expired.
    pub fn new(reader: Reader, ops: Arc<dyn CommitOps>, clock: Arc<dyn Clock>) -> SessionStore {
        SessionStore { reader, ops, clock, standing: Arc::default(), greatest: AtomicU64::new(0) }
    }

    /// The session's record, as the store has it.
    fn stored_record(&self, session: &SessionKey) -> Result<Option<SessionRecord>, StoreError> {
        let stored = self.reader.get(&name::record(session)).map_err(store_error)?;
        stored.map(|bytes| SessionRecord::decode(&bytes)).transpose()
    }

    /// The session's cursors, as the store has them.
    fn stored_cursors(&self, session: &SessionKey) -> Result<Option<Cursors>, StoreError> {
        let stored = self.reader.get(&name::cursors(session)).map_err(store_error)?;
        stored.map(|bytes| cursors::decode(&bytes)).transpose().map_err(store_error)
    }

    /// The packet ids that a session has received, and with them the birth of the session that did; `None` if it never did.
    fn received(&self, session: &SessionKey) -> Result<Option<Vec<(u16, u64)>>, StoreError> {
        if self.reader.get(&name::any_received(session)).map_err(store_error)?.is_none() {
            return Ok(None);
        }
        let (from, to) = name::all_received(session);
        // All there can be.
        let max = usize::from(u16::MAX);
        let found = self.reader.ordered_range(space::RECEIVED, &from, Some(&to), max).map_err(store_error)?;
        let received = found.iter().map(|(name, born)| {
            let born = <[u8; 8]>::try_from(&born[..]).ok().map(u64::from_be_bytes);
            name::packet_id(name).zip(born).ok_or_else(|| {
                StoreError::new(format!(
                    "a QoS 2 publish is stored under a key that is none: {}",
                    name.escape_ascii()
                ))
            })
        });
        received.collect::<Result<_, _>>().map(Some)
    }

    /// The session's cursors; `None` if there is no such session.
    fn cursors(&self, session: &SessionKey) -> Result<Option<Cursors>, StoreError> {
        match self.standing.of(session) {
            Some(State::At(cursors)) => Ok(Some(cursors)),
            Some(State::Gone) => Ok(None),
            Some(State::Unread) => Ok(Some(self.stored_cursors(session)?.unwrap_or_default())),
            None => match self.stored_cursors(session)? {
                None if self.stored_record(session)?.is_some() => Ok(Some(Cursors::default())),
                cursors => Ok(cursors),
            },
        }
    }

    /// A position that no entry of any queue has, nor had, nor one before it will have.
    ///
    /// Every entry takes more than one byte of the commit log, whose positions only grow; so what earlier processes gave
    /// out lies below the log's end, and what this one did is known. Never 0, which would be no position.
    fn fresh_position(&self) -> u64 {
        self.reader.position().get().max(self.greatest.load(Ordering::Relaxed)).max(1)
    }

    /// Writes cursors, and takes what they have passed off the queue.
    fn write_cursors(
        &self,
        session: &SessionKey,
        old: &Cursors,
        mut new: Cursors,
        batch: &mut Batch,
    ) -> Option<Leaving> {
        let (from, to) = (cursors::queue_position(old), cursors::queue_position(&new));
        // A queue that begins has nothing in reach that could leave it; a range deletion for each session would be in every reader's way.
        if 0 < from && from < to {
            batch.trim(&name::queue(session), from + 1, to.saturating_add(1));
        } else if to < from {
            // It tells which positions were given out.
            new.set(vec![(SourceId::new(SourceId::QUEUE), from)]);
        }
        batch.put(&name::cursors(session), &cursors::encode(&new));
        self.standing.moved(session, new)
    }

    /// What an op has to know of the past. Read before anything is changed, so that a store that cannot be read changes nothing.
    fn past(&self, op: &StoreOp) -> Result<Past, StoreError> {
        match op {
            StoreOp::PutCursors(session, _) => {
                Ok(Past { cursors: self.cursors(session)?, ..Past::default() })
            }
            StoreOp::RemoveSession(session) => {
                let last_queued =
                    self.reader.seq_bound(&name::queue(session)).map_err(store_error)?.unwrap_or(0);
                let received =
                    self.received(session)?.map(|received| received.into_iter().map(|(id, _)| id).collect());
                Ok(Past { cursors: None, last_queued, received })
            }
            _ => Ok(Past::default()),
        }
    }

    /// Adds an op to a batch.
    fn add(&self, op: StoreOp, past: Past, batch: &mut Batch) -> Option<Leaving> {
        match op {
            StoreOp::PutSession(session, record) => {
                batch.put(&name::record(&session), &record.encode());
                if holds_plain_filters(&record) {
                    batch.ordered_put(space::PLAIN_SESSIONS, &name::of(&session), &[]);
                } else {
                    batch.ordered_remove(space::PLAIN_SESSIONS, &name::of(&session));
                }
                return self.standing.recorded(&session, record.disconnected_ms == 0);
            }
            StoreOp::PutCursors(session, new) => {
                // An op of the same batch may have changed them since `past` was read.
                let old = match self.standing.of(&session) {
                    Some(State::At(cursors)) => cursors,
                    Some(State::Gone) => Cursors::default(),
                    Some(State::Unread) | None => past.cursors.unwrap_or_default(),
                };
                return self.write_cursors(&session, &old, new, batch);
            }
            StoreOp::RemoveSession(session) => {
                batch.delete(&name::record(&session));
                batch.delete(&name::cursors(&session));
                batch.ordered_remove(space::PLAIN_SESSIONS, &name::of(&session));
                // What is on its way to the store still stays there, and is known by its birth for what it is.
                if past.received.is_some() {
                    batch.delete(&name::any_received(&session));
                }
                for packet_id in past.received.into_iter().flatten() {
                    batch.ordered_remove(space::RECEIVED, &name::received(&session, packet_id));
                }
                // Messages for a session that is not connected may be on their way still. They stay, out of its reach, until
                // a session of this name is removed again.
                let last = past.last_queued.max(self.standing.last_enqueued(&session));
                if last > 0 {
                    batch.trim(&name::queue(&session), 0, last.saturating_add(1));
                }
                return Some(self.standing.removed(&session));
            }
            StoreOp::Enqueue(session, position, message) => {
                self.greatest.fetch_max(position, Ordering::Relaxed);
                self.standing.enqueued(&session, position);
                batch.append(&name::queue(&session), position, &message::encode(&message));
            }
            StoreOp::Receive(received) => put_received(batch, &received),
            StoreOp::Release(session, packet_ids) => {
                for packet_id in packet_ids {
                    batch.ordered_remove(space::RECEIVED, &name::received(&session, packet_id));
                }
            }
            StoreOp::Dequeue(session, position) => {
                batch.trim(&name::queue(&session), position, position.saturating_add(1));
            }
            StoreOp::Retain(message) => {
                let key = chasqui_broker::retained::key_of_topic(&message.topic);
                batch.ordered_put(space::RETAINED, &key, &message::encode(&message));
            }
            StoreOp::Unretain(topic) => {
                batch.ordered_remove(space::RETAINED, &chasqui_broker::retained::key_of_topic(&topic));
            }
            StoreOp::PutExpiry(at_ms, topic) => {
                batch.ordered_put(space::RETAINED_EXPIRIES, &retained::expiry(at_ms, &topic), &[]);
            }
            StoreOp::RemoveExpiry(at_ms, topic) => {
                batch.ordered_remove(space::RETAINED_EXPIRIES, &retained::expiry(at_ms, &topic));
            }
            StoreOp::PutRetainedTotals(totals) => retained::put_totals(batch, totals),
            StoreOp::PutDue(due) => {
                batch.due_put(due.at_ms, &name::due(&due), &[]);
            }
            StoreOp::RemoveDue(due) => {
                batch.due_remove(due.at_ms, &name::due(&due));
            }
        }
        None
    }

    /// Commits, and lets go of what `leaving` says once it can be read.
    fn hand_over(
        &self,
        about: Option<&SessionKey>,
        batch: Batch,
        leaving: Vec<Leaving>,
        done: Option<Committed>,
    ) {
        if leaving.is_empty() {
            return self.commit_batch(about, batch, done);
        }
        let standing = Arc::clone(&self.standing);
        let and_done: Committed = Box::new(move |result| {
            if result.is_ok() {
                standing.readable(leaving);
            }
            if let Some(done) = done {
                done(result);
            }
        });
        self.commit_batch(about, batch, Some(and_done));
    }

    fn commit_batch(&self, about: Option<&SessionKey>, batch: Batch, done: Option<Committed>) {
        match about {
            Some(session) => self.ops.commit_about(session, batch, done),
            None => self.ops.commit(batch, done),
        }
    }
}

/// See [`SessionStore::past`].
#[derive(Default)]
struct Past {
    cursors: Option<Cursors>,
    /// The last entry of its queue.
    last_queued: u64,
    /// The QoS 2 publishes it has received; `None` if it never did.
    received: Option<Vec<u16>>,
}

impl Store for SessionStore {
    fn session(&self, key: &SessionKey) -> Result<Option<StoredSession>, StoreError> {
        let Some(cursors) = self.cursors(key)? else { return Ok(None) };
        let Some(record) = self.stored_record(key)? else { return Ok(None) };
        let mut received = self.received(key)?.unwrap_or_default();
        received.retain(|(_, born)| *born == record.born);
        let received = received.into_iter().map(|(id, _)| id).collect();
        Ok(Some(StoredSession { record, cursors, received }))
    }

    fn read_queue(&self, key: &SessionKey, after: u64, limit: ReadLimit) -> Result<Read, StoreError> {
        let mut read = Read { items: Vec::new(), next: after, end: true, gap: false };
        let Some(from) = after.checked_add(1) else { return Ok(read) };
        let queue = name::queue(key);
        let entries =
            self.reader.read_log(&queue, from, limit.items.max(1), limit.bytes).map_err(store_error)?;
        if let Some((last, _)) = entries.last() {
            let behind =
                last.checked_add(1).map(|behind| self.reader.read_log(&queue, behind, 1, 1)).transpose();
            read.end = behind.map_err(store_error)?.is_none_or(|behind| behind.is_empty());
        }
        for (position, stored) in entries {
            let message = message::decode(&stored).map_err(store_error)?;
            let topic = message.topic.clone();
            read.next = position;
            read.items.push(Item { position, topic, stored: Bytes::new(), message: Some(message) });
        }
        Ok(read)
    }

    fn queue_end(&self, key: &SessionKey) -> Result<u64, StoreError> {
        let Some(cursors) = self.cursors(key)? else { return Ok(self.fresh_position()) };
        let last = self.reader.seq_bound(&name::queue(key)).map_err(store_error)?.unwrap_or(0);
        match last.max(cursors::queue_position(&cursors)) {
            0 => Ok(self.fresh_position()),
            end => Ok(end),
        }
    }

    fn retained(
        &self,
        filter: &str,
        resume: Option<&Resume>,
        max_items: usize,
    ) -> Result<RetainedPage, StoreError> {
        let now_ms = self.clock.now_ms();
        let is_there = |message: &Message| message.expiry_left_s(now_ms) != Some(0);
        if !filter.contains(['+', '#']) {
            // Most filters name one topic: a look-up, which costs no walk through the store.
            let message = self.retained_at(filter)?.filter(is_there);
            return Ok(RetainedPage { messages: message.into_iter().collect(), resume: None });
        }
        let limits = PageLimits { items: max_items, ..PageLimits::default() };
        let page = match_retained(&mut RetainedCursor::new(&self.reader), filter, resume, limits)
            .map_err(store_error)?;
        let messages = page.items.into_iter().map(|(_, message)| message).filter(is_there).collect();
        Ok(RetainedPage { messages, resume: page.resume })
    }

    fn retained_at(&self, topic: &str) -> Result<Option<Message>, StoreError> {
        retained::at(&self.reader, topic)
    }

    fn retained_totals(&self) -> Result<Option<RetainedTotals>, StoreError> {
        retained::totals(&self.reader)
    }

    fn each_retained(&self, visit: &mut dyn FnMut(Message)) -> Result<(), StoreError> {
        retained::each(&self.reader, visit)
    }

    fn expired(&self, to_ms: u64, max_items: usize) -> Result<Vec<(u64, ByteStr)>, StoreError> {
        retained::expired(&self.reader, to_ms, max_items)
    }

    fn plain_sessions(&self, visit: &mut dyn FnMut(SessionKey, StoredSession)) -> Result<(), StoreError> {
        let mut from = Vec::new();
        loop {
            let page = self
                .reader
                .ordered_range(space::PLAIN_SESSIONS, &from, None, SESSIONS_PAGE)
                .map_err(store_error)?;
            for (id, _) in &page {
                let key = name::parse(id).ok_or_else(|| {
                    StoreError::new(format!(
                        "the index of sessions holds a key that is none: {}",
                        id.escape_ascii()
                    ))
                })?;
                if let Some(session) = self.session(&key)? {
                    visit(key, session);
                }
            }
            match page.last() {
                Some((last, _)) if page.len() == SESSIONS_PAGE => from = [&last[..], &[0]].concat(),
                _ => return Ok(()),
            }
        }
    }

    fn due(&self, from_ms: u64, to_ms: u64, max_items: usize) -> Result<Vec<Due>, StoreError> {
        let due = self.reader.due_between(from_ms, to_ms, max_items).map_err(store_error)?;
        let due = due.into_iter().map(|due| {
            let (kind, session) = name::parse_due(&due.id).ok_or_else(|| {
                StoreError::new(format!(
                    "the index of due times holds a key that is none: {}",
                    due.id.escape_ascii()
                ))
            })?;
            Ok(Due { at_ms: due.at_ms, kind, session })
        });
        due.collect()
    }

    fn commit(&self, ops: Vec<StoreOp>, done: Option<Committed>) {
        let past: Result<Vec<Past>, StoreError> = ops.iter().map(|op| self.past(op)).collect();
        let past = match past {
            Ok(past) => past,
            Err(error) => {
                tracing::error!(%error, "a commit was refused because the store cannot be read");
                if let Some(done) = done {
                    done(Err(error));
                }
                return;
            }
        };
        let about = ops.iter().find_map(|op| match op {
            StoreOp::PutSession(session, _)
            | StoreOp::PutCursors(session, _)
            | StoreOp::RemoveSession(session) => Some(session.clone()),
            _ => None,
        });
        let mut batch = Batch::new();
        let mut leaving = Vec::new();
        for (op, past) in ops.into_iter().zip(past) {
            leaving.extend(self.add(op, past, &mut batch));
        }
        self.hand_over(about.as_ref(), batch, leaving, done);
    }

    fn cursors_moved(&self, key: &SessionKey, moves: Vec<CursorMove>, last_packet_id: u16) {
        let old = match self.cursors(key) {
            Ok(Some(cursors)) => cursors,
            // Acknowledged by a session that is gone: what was acknowledged still counts.
            Ok(None) => return self.ops.lazy(key, moves, Batch::new()),
            Err(error) => {
                tracing::error!(%error, "a cursor that moved is not stored, its messages will be delivered again");
                return self.ops.lazy(key, moves, Batch::new());
            }
        };
        let mut new = old.clone();
        new.last_packet_id = last_packet_id;
        let ahead = u64::from(mutated(Mutation::WritesCursorsAhead));
        new.set(moves.iter().map(|moved| (moved.source.clone(), moved.to + ahead)).collect());
        let mut batch = Batch::new();
        match self.write_cursors(key, &old, new, &mut batch) {
            None => self.ops.lazy(key, moves, batch),
            // Nobody is connected, so nothing keeps the entry: it goes when the batch can be read.
            Some(leaving) => {
                self.ops.lazy(key, moves, Batch::new());
                self.hand_over(Some(key), batch, vec![leaving], None);
            }
        }
    }
}
