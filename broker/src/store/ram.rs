//! The store in memory: for tests, and for a broker that is not to keep anything.
//!
//! A commit is done when the call returns. Nothing outlives the process, so no session of an earlier process is ever found.

use super::{
    Committed, CursorMove, Cursors, Due, Held, Received, RetainedPage, RetainedTotals, SessionKey,
    SessionRecord, Store, StoreError, StoreOp, StoredSession,
};
use crate::codec::ByteStr;
use crate::config::{Clock, SystemClock};
use crate::message::Message;
use crate::retained::{PageLimits, RamTopics, Resume, match_retained};
use crate::source::{Item, Read, ReadLimit, SourceId};
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Sessions, queues and retained messages in memory.
pub struct RamStore {
    tables: Mutex<Tables>,
    /// Tells which retained messages have expired.
    clock: Arc<dyn Clock>,
}

struct Tables {
    sessions: BTreeMap<SessionKey, (SessionRecord, Cursors)>,
    /// With the birth of the session that received them.
    received: BTreeMap<SessionKey, BTreeMap<u16, u64>>,
    queues: BTreeMap<SessionKey, Queue>,
    retained: RamTopics<Message>,
    expiries: BTreeSet<(u64, ByteStr)>,
    retained_totals: Option<RetainedTotals>,
    due: BTreeSet<(u64, SessionKey, u8)>,
    /// Messages that wait in queues, and bytes of payload of everything.
    queued: u64,
    bytes: u64,
}

#[derive(Default)]
struct Queue {
    end: u64,
    messages: BTreeMap<u64, Message>,
}

impl Default for RamStore {
    fn default() -> RamStore {
        RamStore::new(Arc::new(SystemClock))
    }
}

impl RamStore {
    /// An empty store; the clock tells which retained messages have expired.
    pub fn new(clock: Arc<dyn Clock>) -> RamStore {
        let tables = Tables {
            sessions: BTreeMap::new(),
            received: BTreeMap::new(),
            queues: BTreeMap::new(),
            retained: RamTopics::new(Message::weight),
            expiries: BTreeSet::new(),
            retained_totals: None,
            due: BTreeSet::new(),
            queued: 0,
            bytes: 0,
        };
        RamStore { tables: Mutex::new(tables), clock }
    }
}

impl Tables {
    fn apply(&mut self, op: StoreOp) {
        match op {
            StoreOp::PutSession(key, record) => self.sessions.entry(key).or_default().0 = *record,
            StoreOp::PutCursors(key, cursors) => {
                self.trim_queue(&key, &cursors.positions);
                self.sessions.entry(key).or_default().1 = cursors;
            }
            StoreOp::Receive(Received { session, packet_id, born }) => {
                self.received.entry(session).or_default().insert(packet_id, born);
            }
            StoreOp::Release(key, packet_ids) => {
                if let Some(received) = self.received.get_mut(&key) {
                    received.retain(|packet_id, _| !packet_ids.contains(packet_id));
                }
            }
            StoreOp::RemoveSession(key) => {
                self.sessions.remove(&key);
                self.received.remove(&key);
                if let Some(queue) = self.queues.remove(&key) {
                    self.left(&queue.messages);
                }
            }
            StoreOp::Enqueue(key, position, message) => {
                let queue = self.queues.entry(key).or_default();
                queue.end = queue.end.max(position);
                self.bytes += message.payload.len() as u64;
                match queue.messages.insert(position, message) {
                    None => self.queued += 1,
                    Some(old) => self.bytes -= old.payload.len() as u64,
                }
            }
            StoreOp::Dequeue(key, position) => {
                let queue = self.queues.get_mut(&key);
                if let Some(message) = queue.and_then(|queue| queue.messages.remove(&position)) {
                    self.queued -= 1;
                    self.bytes -= message.payload.len() as u64;
                }
            }
            StoreOp::Retain(message) => {
                let topic = message.topic.detached();
                let payload = Bytes::copy_from_slice(&message.payload);
                self.bytes += payload.len() as u64;
                let message = Message { topic: topic.clone(), payload, ..message };
                let old = self.retained.insert(&topic, message);
                self.bytes -= old.map_or(0, |old| old.payload.len() as u64);
            }
            StoreOp::Unretain(topic) => {
                let old = self.retained.remove(&topic);
                self.bytes -= old.map_or(0, |old| old.payload.len() as u64);
            }
            StoreOp::PutExpiry(at_ms, topic) => {
                self.expiries.insert((at_ms, topic.detached()));
            }
            StoreOp::RemoveExpiry(at_ms, topic) => {
                self.expiries.remove(&(at_ms, topic));
            }
            StoreOp::PutRetainedTotals(totals) => self.retained_totals = Some(totals),
            StoreOp::PutDue(due) => {
                self.due.insert((due.at_ms, due.session, due.kind as u8));
            }
            StoreOp::RemoveDue(due) => {
                self.due.remove(&(due.at_ms, due.session, due.kind as u8));
            }
        }
    }

    fn stored(&self, key: &SessionKey) -> Option<StoredSession> {
        let (record, cursors) = self.sessions.get(key)?.clone();
        let received = self.received.get(key).into_iter().flatten();
        let received = received.filter(|(_, born)| **born == record.born).map(|(id, _)| *id).collect();
        Some(StoredSession { record, cursors, received })
    }

    fn trim_queue(&mut self, key: &SessionKey, positions: &[(SourceId, u64)]) {
        let cursor = positions.iter().find(|(source, _)| &*source.0 == SourceId::QUEUE);
        if let (Some((_, at)), Some(queue)) = (cursor, self.queues.get_mut(key)) {
            let kept = queue.messages.split_off(&(at + 1));
            let gone = std::mem::replace(&mut queue.messages, kept);
            self.left(&gone);
        }
    }

    /// These are in a queue no more.
    fn left(&mut self, gone: &BTreeMap<u64, Message>) {
        self.queued -= gone.len() as u64;
        self.bytes -= gone.values().map(|message| message.payload.len() as u64).sum::<u64>();
    }
}

impl Store for RamStore {
    fn session(&self, key: &SessionKey) -> Result<Option<StoredSession>, StoreError> {
        let tables = self.tables.lock();
        Ok(tables.stored(key))
    }

    fn read_queue(&self, key: &SessionKey, after: u64, limit: ReadLimit) -> Result<Read, StoreError> {
        let tables = self.tables.lock();
        let Some(queue) = tables.queues.get(key) else {
            return Ok(Read { items: Vec::new(), next: after, end: true, gap: false });
        };
        let mut read = Read { items: Vec::new(), next: after, end: true, gap: false };
        let mut bytes = 0;
        for (position, message) in queue.messages.range(after + 1..) {
            if read.items.len() >= limit.items || (bytes >= limit.bytes && !read.items.is_empty()) {
                read.end = false;
                return Ok(read);
            }
            bytes += message.weight();
            read.next = *position;
            read.items.push(Item {
                position: *position,
                topic: message.topic.clone(),
                stored: Bytes::new(),
                message: Some(message.clone()),
            });
        }
        Ok(read)
    }

    fn queue_end(&self, key: &SessionKey) -> Result<u64, StoreError> {
        let tables = self.tables.lock();
        let queued = tables.queues.get(key).map_or(0, |queue| queue.end);
        // A session that began anew under an old name has its cursor where the old queue ended.
        let cursor = tables.sessions.get(key).and_then(|(_, cursors)| cursors.queue());
        Ok(queued.max(cursor.unwrap_or(0)))
    }

    fn retained(
        &self,
        filter: &str,
        resume: Option<&Resume>,
        max_items: usize,
    ) -> Result<RetainedPage, StoreError> {
        let tables = self.tables.lock();
        let limits = PageLimits { items: max_items, ..PageLimits::default() };
        let page = match_retained(&mut tables.retained.cursor(), filter, resume, limits)
            .map_err(|error| StoreError::new(error.to_string()))?;
        let now_ms = self.clock.now_ms();
        let messages = page.items.into_iter().map(|(_, message)| message);
        let messages = messages.filter(|message| message.expiry_left_s(now_ms) != Some(0)).collect();
        Ok(RetainedPage { messages, resume: page.resume })
    }

    fn retained_at(&self, topic: &str) -> Result<Option<Message>, StoreError> {
        Ok(self.tables.lock().retained.get(topic).cloned())
    }

    fn retained_totals(&self) -> Result<Option<RetainedTotals>, StoreError> {
        Ok(self.tables.lock().retained_totals)
    }

    fn each_retained(&self, visit: &mut dyn FnMut(Message)) -> Result<(), StoreError> {
        let messages: Vec<Message> = self.tables.lock().retained.values().cloned().collect();
        messages.into_iter().for_each(visit);
        Ok(())
    }

    fn expired(&self, to_ms: u64, max_items: usize) -> Result<Vec<(u64, ByteStr)>, StoreError> {
        let tables = self.tables.lock();
        let expired = tables.expiries.iter().take_while(|(at_ms, _)| *at_ms <= to_ms).take(max_items);
        Ok(expired.cloned().collect())
    }

    fn held(&self) -> Held {
        let tables = self.tables.lock();
        let stored = tables.retained.len() as u64 + tables.queued;
        Held { stored: Some(stored), stored_bytes: Some(tables.bytes) }
    }

    fn plain_sessions(&self, visit: &mut dyn FnMut(SessionKey, StoredSession)) -> Result<(), StoreError> {
        let keys: Vec<SessionKey> = self.tables.lock().sessions.keys().cloned().collect();
        for key in keys {
            let stored = self.tables.lock().stored(&key);
            if let Some(stored) = stored
                && stored.record.subscriptions.iter().any(|subscription| subscription.plain)
            {
                visit(key, stored);
            }
        }
        Ok(())
    }

    fn due(&self, from_ms: u64, to_ms: u64, max_items: usize) -> Result<Vec<Due>, StoreError> {
        let tables = self.tables.lock();
        let nobody = SessionKey { owner: Arc::from(""), client_id: Arc::from("") };
        let from = tables.due.range((from_ms, nobody, 0)..);
        let due = from.take_while(|(at_ms, ..)| *at_ms <= to_ms).take(max_items);
        Ok(due
            .map(|(at_ms, session, kind)| Due {
                at_ms: *at_ms,
                kind: super::DueKind::from_u8(*kind).expect("only kinds are put in"),
                session: session.clone(),
            })
            .collect())
    }

    fn commit(&self, ops: Vec<StoreOp>, done: Option<Committed>) {
        {
            let mut tables = self.tables.lock();
            for op in ops {
                tables.apply(op);
            }
        }
        if let Some(done) = done {
            done(Ok(()));
        }
    }

    fn cursors_moved(&self, key: &SessionKey, moves: Vec<CursorMove>, last_packet_id: u16) {
        let mut tables = self.tables.lock();
        let moved: Vec<(SourceId, u64)> =
            moves.into_iter().map(|cursor_move| (cursor_move.source, cursor_move.to)).collect();
        tables.trim_queue(key, &moved);
        if let Some((_, cursors)) = tables.sessions.get_mut(key) {
            cursors.last_packet_id = last_packet_id;
            cursors.set(moved);
        }
    }
}

impl Cursors {
    /// Where the session stands in its own queue; `None` where it has none.
    pub(crate) fn queue(&self) -> Option<u64> {
        self.positions.iter().find(|(source, _)| &*source.0 == SourceId::QUEUE).map(|(_, at)| *at)
    }

    /// Moves some of the cursors; the others stay.
    pub fn set(&mut self, moved: Vec<(SourceId, u64)>) {
        for (source, at) in moved {
            match self.positions.iter_mut().find(|(known, _)| *known == source) {
                Some((_, position)) => *position = at,
                None => self.positions.push((source, at)),
            }
        }
    }
}
