//! The store that the broker needs, as a trait: sessions, their queues, retained messages and what is due.
//!
//! [`ram::RamStore`] is the twin for tests and for use without a disk. What `commit` acknowledges is durable in the
//! terms of the implementation; the broker sends no success code before.

mod below;
pub mod ram;
pub mod record;

use crate::codec::ByteStr;
use crate::message::Message;
use crate::retained::Resume;
use crate::source::{Item, Read, ReadLimit, SourceId};
pub use record::{InFlight, SessionRecord, StoredSubscription, StoredWill};
use std::sync::Arc;

/// Names a session: a client id belongs to its owner, so that nobody can take over another user's session.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionKey {
    /// The user; empty for anonymous clients.
    pub owner: Arc<str>,
    /// The client id, at most 65,535 bytes of UTF-8.
    pub client_id: Arc<str>,
}

/// The store cannot answer; the sentence says why and what to do.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error("{0}")]
pub struct StoreError(pub Arc<str>);

impl StoreError {
    /// An error with this sentence.
    pub fn new(sentence: impl AsRef<str>) -> StoreError {
        StoreError(Arc::from(sentence.as_ref()))
    }
}

/// A session as stored.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredSession {
    /// All but the cursors.
    pub record: SessionRecord,
    /// Where it stands in each source; changes far more often than the record, and is stored apart from it.
    pub cursors: Cursors,
    /// Packet ids of the client's QoS 2 publishes that were carried out and not released by PUBREL.
    pub received: Vec<u16>,
}

/// A QoS 2 publish of a client, from what it does being durable until PUBREL: a PUBLISH of this packet id is the same one
/// [MQTT-4.3.3-10].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// Whose.
    pub session: SessionKey,
    /// Its packet id.
    pub packet_id: u16,
    /// [`SessionRecord::born`] of the session: one that comes later under the same name has not received it.
    pub born: u64,
}

/// A QoS 2 message to the client, from before it is sent until the client is done with it and the cursor has passed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flight {
    /// Its packet id, in every connection of the session.
    pub packet_id: u16,
    /// The source it came from.
    pub source: SourceId,
    /// Its position there.
    pub position: u64,
    /// How far it is.
    pub stage: FlightStage,
}

/// How far a QoS 2 message to a client is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum FlightStage {
    /// It may have been sent; PUBREC is to come.
    Sent,
    /// The client has it; PUBREL may have been sent, PUBCOMP is to come.
    Released,
    /// PUBCOMP came. Kept while the cursor stands before it, so that it is not sent a second time.
    Done,
}

impl FlightStage {
    /// The stage with this number; numbers are stored and never change.
    pub const fn from_u8(number: u8) -> Option<FlightStage> {
        match number {
            0 => Some(FlightStage::Sent),
            1 => Some(FlightStage::Released),
            2 => Some(FlightStage::Done),
            _ => None,
        }
    }
}

/// Where a session stands in each source, and the packet id it used last.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cursors {
    /// Everything up to and including this position is done with.
    pub positions: Vec<(SourceId, u64)>,
    /// The packet id used last when the cursors were stored.
    pub last_packet_id: u16,
    /// QoS 2 messages on their way to the client.
    pub flights: Vec<Flight>,
}

/// A cursor that moved, with the items that were acknowledged on the way.
#[derive(Debug, Clone, PartialEq)]
pub struct CursorMove {
    /// In which source.
    pub source: SourceId,
    /// Everything up to here is done with.
    pub to: u64,
    /// The items in the range that the client acknowledged, as stored; what it was not shown is not among them.
    pub acknowledged: Vec<Item>,
    /// Whether the client has taken everything on the way that it was to see: by PUBACK, or because there was nothing for it. False
    /// where writing moved it (QoS 0).
    pub by_client: bool,
}

/// Something that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum DueKind {
    /// A session was connected; found at start, it means the process died under it.
    Connected,
    /// A session's will is to be published.
    Will,
    /// A session expires.
    Expiry,
    /// A session's queue has outgrown its limit: the session is to end, and holds nothing any more.
    Outgrown,
}

impl DueKind {
    /// The kind with this number; numbers are stored and never change.
    pub const fn from_u8(number: u8) -> Option<DueKind> {
        match number {
            0 => Some(DueKind::Connected),
            1 => Some(DueKind::Will),
            2 => Some(DueKind::Expiry),
            3 => Some(DueKind::Outgrown),
            _ => None,
        }
    }
}

/// An entry of the due-time index.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Due {
    /// When, in Unix milliseconds; 0 for [`DueKind::Connected`], 1 for [`DueKind::Outgrown`].
    pub at_ms: u64,
    /// What.
    pub kind: DueKind,
    /// Whose.
    pub session: SessionKey,
}

impl Due {
    /// That a session's queue has outgrown its limit.
    pub(crate) fn outgrown(session: SessionKey) -> Due {
        Due { at_ms: 1, kind: DueKind::Outgrown, session }
    }
}

/// One change to the store. A list of them is committed as a whole.
#[derive(Debug, Clone, PartialEq)]
pub enum StoreOp {
    /// Writes a session's record; its cursors stay.
    PutSession(SessionKey, Box<SessionRecord>),
    /// Writes all cursors of a session.
    PutCursors(SessionKey, Cursors),
    /// Remembers a QoS 2 publish of the client.
    Receive(Received),
    /// Forgets these packet ids of QoS 2 publishes: the client will not repeat them [MQTT-4.3.3-11].
    Release(SessionKey, Vec<u16>),
    /// Removes a session with its cursors, its queue and the QoS 2 publishes it remembers.
    RemoveSession(SessionKey),
    /// Appends a plain message to a session's queue at this position.
    Enqueue(SessionKey, u64, Message),
    /// Takes one message out of a session's queue, before the session has seen it: another one gets it. What is not there is not
    /// missed.
    Dequeue(SessionKey, u64),
    /// Sets the retained message of a topic.
    Retain(Message),
    /// Removes the retained message of a topic.
    Unretain(ByteStr),
    /// Adds to the index of when retained messages expire: Unix milliseconds, and the topic.
    PutExpiry(u64, ByteStr),
    /// Removes from that index.
    RemoveExpiry(u64, ByteStr),
    /// Writes how much is retained once this is committed.
    PutRetainedTotals(RetainedTotals),
    /// Adds to the due-time index.
    PutDue(Due),
    /// Removes from the due-time index.
    RemoveDue(Due),
}

/// Called once when a commit is durable, or never will be.
pub type Committed = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

/// A page of retained messages.
#[derive(Debug, Clone, Default)]
pub struct RetainedPage {
    /// Matching messages in topic order.
    pub messages: Vec<Message>,
    /// Where to go on; `None` at the end. A page may be empty and not the last.
    pub resume: Option<Resume>,
}

/// How much is retained, expired messages that are not removed yet included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RetainedTotals {
    /// Retained messages.
    pub messages: u64,
    /// Bytes of them, as [`Message::weight`] counts.
    pub bytes: u64,
}

/// How much the store holds: what it knows without a scan.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Held {
    /// Messages in all: retained, and in the queues of sessions.
    pub stored: Option<u64>,
    /// Bytes of their payloads.
    pub stored_bytes: Option<u64>,
}

/// Where the broker keeps what outlives a connection. Reads may touch the disk, in small bounded pieces; commits never block.
pub trait Store: Send + Sync + 'static {
    /// A stored session.
    fn session(&self, key: &SessionKey) -> Result<Option<StoredSession>, StoreError>;

    /// Items of a session's own queue after a position.
    fn read_queue(&self, key: &SessionKey, after: u64, limit: ReadLimit) -> Result<Read, StoreError>;

    /// A position that every message queued for the session so far is at or before: new ones are queued behind it, and a new cursor
    /// begins there.
    fn queue_end(&self, key: &SessionKey) -> Result<u64, StoreError>;

    /// Retained messages that match a filter, page by page; expired ones are left out.
    fn retained(
        &self,
        filter: &str,
        resume: Option<&Resume>,
        max_items: usize,
    ) -> Result<RetainedPage, StoreError>;

    /// The retained message of one topic, whether or not it has expired.
    fn retained_at(&self, topic: &str) -> Result<Option<Message>, StoreError>;

    /// What [`StoreOp::PutRetainedTotals`] wrote last; `None` if it never did.
    fn retained_totals(&self) -> Result<Option<RetainedTotals>, StoreError>;

    /// All retained messages, for a start that finds no totals.
    fn each_retained(&self, visit: &mut dyn FnMut(Message)) -> Result<(), StoreError>;

    /// Retained messages that expire at this time or before, soonest first: when, and the topic.
    fn expired(&self, to_ms: u64, max_items: usize) -> Result<Vec<(u64, ByteStr)>, StoreError>;

    /// How much it holds, for `$SYS`. Asked at an interval: keep it cheap.
    fn held(&self) -> Held {
        Held::default()
    }

    /// All stored sessions that hold plain filters, for the index of offline sessions at start.
    fn plain_sessions(&self, visit: &mut dyn FnMut(SessionKey, StoredSession)) -> Result<(), StoreError>;

    /// What is due from one time to another, both included, soonest first.
    fn due(&self, from_ms: u64, to_ms: u64, max_items: usize) -> Result<Vec<Due>, StoreError>;

    /// Commits all ops as one. `done` is called after every earlier commit's, when this one is durable.
    fn commit(&self, ops: Vec<StoreOp>, done: Option<Committed>);

    /// Cursors moved; flights stay as they were stored. Rides on the next commit, and waits for one at most a few milliseconds; a
    /// crash in between delivers again, it never skips.
    fn cursors_moved(&self, key: &SessionKey, moves: Vec<CursorMove>, last_packet_id: u16);
}
