//! Sources: what a session reads with a cursor.
//!
//! A *log* is append-only; a *state* holds the latest value of each of its topics, and an update moves the topic to a
//! new position; a *queue* is the log of plain messages of one persistent session. In all three, positions only grow, an item
//! is read after the cursor, and the cursor moves over items that this client does not get to see.

use crate::codec::ByteStr;
use crate::message::Message;
use crate::store::StoreError;
use bytes::Bytes;
use std::sync::Arc;

/// Names a source. Opaque to the broker, except that [`SourceId::QUEUE`] is a session's own queue.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SourceId(pub Arc<str>);

impl SourceId {
    /// The name of a session's own queue of plain messages, within that session.
    pub const QUEUE: &'static str = "$queue";

    /// A source by its name.
    pub fn new(name: &str) -> SourceId {
        SourceId(Arc::from(name))
    }
}

/// What kind of source: it decides about RETAIN and about what a resend does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceKind {
    /// Append-only entries.
    Log,
    /// The latest value of each topic.
    State,
    /// A session's own queue.
    Queue,
}

/// A source that a filter reads, as the application granted it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceGrant {
    /// Which source.
    pub source: SourceId,
    /// What kind it is.
    pub kind: SourceKind,
    /// A new cursor starts here: the first item delivered has a greater position.
    pub start: u64,
    /// Items of a [`SourceKind::State`] up to this position are sent with RETAIN 1 to a new subscription.
    pub retained_up_to: u64,
    /// The filter that items' topics are matched against.
    pub filter: Arc<str>,
    /// How payloads are written, as the application numbers its encodings. The encoding subscribed last counts.
    pub encoding: u8,
}

/// One item of a source.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// Where it stands. Positions start at 1 and only grow.
    pub position: u64,
    /// The topic it belongs to, in the plain form that grants' filters are matched against.
    pub topic: ByteStr,
    /// The item as stored; [`Hook::view`](crate::hook::Hook::view) turns it into a payload. Empty in a queue.
    pub stored: Bytes,
    /// In a session's own queue: the message, as it is to be delivered. `None` everywhere else.
    pub message: Option<Message>,
}

/// How much to read at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadLimit {
    /// At most this many items.
    pub items: usize,
    /// Stop after this many bytes; at least one item is read where there is one.
    pub bytes: usize,
}

/// What was read.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Read {
    /// The items, in order of position.
    pub items: Vec<Item>,
    /// Everything up to here has been looked at; the next read goes on from here. At least the last item's position.
    pub next: u64,
    /// True when nothing was left behind `next` at the time of reading.
    pub end: bool,
    /// True when items behind the position asked for are not kept any more. A session that does not outlive its connection has
    /// no claim on them, and is ended rather than shown a hole.
    pub gap: bool,
}

/// What a client sees of an item.
#[derive(Debug, Clone)]
pub enum View {
    /// Nothing: the cursor moves over it.
    Skip,
    /// It cannot be said: the store could not be read, or what it holds makes no sense. The connection ends, and the cursor stays: nothing
    /// is passed over in silence.
    Failed(StoreError),
    /// This message. Its QoS is the highest that the subscription may get; RETAIN is set by the session.
    Send(Message),
}

/// New items of a source, after a commit.
#[derive(Debug, Clone)]
pub struct Tail {
    /// Whose.
    pub source: SourceId,
    /// The items, in order and without a gap to what was announced before.
    pub items: Vec<Item>,
}
