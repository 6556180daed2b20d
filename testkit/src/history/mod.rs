//! Histories: what clients of a server did and saw, in the order it happened, and whether the server kept its promises.
//!
//! Whoever drives clients records events in a [`History`]: a send *before* it is written to the socket, a PUBACK of a delivery *before* it
//! is written, and all that comes from the server when it has come. So whatever the server did on account of an event stands behind
//! it. [`check`] knows nothing of the server but its promises, one [`Promise`] each; a broken one is a sentence.
//!
//! ```
//! use chasqui_testkit::history::{Conversation, Device, Event, History, Promise};
//!
//! let history = History::default();
//! let (laptop, chat) = (Device::new("alice", "laptop"), Conversation::of("alice", "bob"));
//! let (device, conversation, id) = (laptop.clone(), chat.clone(), "first".into());
//! history.record(Event::Sent { device, conversation, id });
//! history.record(Event::Acknowledged { device: laptop, id: "first".into(), seq: Some(1) });
//! history.record(Event::Crashed);
//! // The catch-up reader finds nothing.
//! let broken = history.check().unwrap_err();
//! assert_eq!(broken.promises(), [Promise::AcknowledgedIsKept]);
//! ```

mod check;
mod deliveries;
mod facts;
mod members;
mod plain;
mod receipts;
mod stored;
#[cfg(test)]
mod tests;

pub use check::{Broken, Figures, Promise, Violation, check, unacknowledged_at_crashes};

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// What names a message: unique in a history. The client message id and the beginning of the text say it.
pub type MessageId = Arc<str>;

/// A session: a user and a client id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Device {
    /// Whose.
    pub user: Arc<str>,
    /// Its client id.
    pub id: Arc<str>,
}

impl Device {
    /// A device of a user.
    pub fn new(user: &str, id: &str) -> Device {
        Device { user: user.into(), id: id.into() }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.user, self.id)
    }
}

/// A conversation: of two users, the same from either side, or of the members of a group.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Conversation {
    /// Of these two, in order.
    Direct(Arc<str>, Arc<str>),
    /// Of a group.
    Group(Arc<str>),
}

impl Conversation {
    /// The conversation of two users.
    pub fn of(one: &str, other: &str) -> Conversation {
        Conversation::Direct(one.min(other).into(), one.max(other).into())
    }

    /// That of a group.
    pub fn group(name: &str) -> Conversation {
        Conversation::Group(name.into())
    }

    /// Whether it is of two users and a user is one of them.
    pub fn has(&self, user: &str) -> bool {
        matches!(self, Conversation::Direct(one, other) if **one == *user || **other == *user)
    }

    /// The other one of two, as seen by a user.
    pub fn peer_of(&self, user: &str) -> Option<&str> {
        match self {
            Conversation::Direct(one, other) => Some(if **one == *user { other } else { one }),
            Conversation::Group(_) => None,
        }
    }

    /// What a user calls it.
    pub fn name_for(&self, user: &str) -> String {
        match self {
            Conversation::Group(name) => format!("g/{name}"),
            Conversation::Direct(one, other) => format!("u/{}", if **one == *user { other } else { one }),
        }
    }
}

impl fmt::Display for Conversation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Conversation::Direct(one, other) => write!(f, "{one}:{other}"),
            Conversation::Group(name) => write!(f, "g/{name}"),
        }
    }
}

/// Something that a client did or saw, or that was done to the server.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // The fields of all are those of `Device`, `Conversation` and numbers as on the wire.
pub enum Event {
    /// CONNACK came; `resumed` is its Session Present.
    Connected { device: Device, resumed: bool },
    /// SUBACK came: from now on this device reads all of its user's inbox. Before anything is sent to that user.
    Subscribed { device: Device },
    /// DISCONNECT is about to be written; the device then waits until the server has closed.
    Left { device: Device },
    /// A message is about to be written, for the first time or again.
    Sent { device: Device, conversation: Conversation, id: MessageId },
    /// Something is about to be done to a message, for the first time or again: it is edited, or answered with a sign. What is done
    /// again is there twice, and reaches all devices.
    Acted { device: Device, conversation: Conversation, id: MessageId },
    /// It was accepted. A PUBACK of 5.0 has the number; on 3.1.1 the number comes with an entry of the inbox.
    Acknowledged { device: Device, id: MessageId, seq: Option<u64> },
    /// An entry of the inbox came: a message, or the note of the number of one's own.
    Delivered {
        device: Device,
        position: u64,
        conversation: Conversation,
        seq: u64,
        id: MessageId,
        dup: bool,
    },
    /// The PUBACK of a delivery is about to be written.
    Confirmed { device: Device, position: u64 },
    /// The device is about to say that its user has read up to here.
    SaidRead { device: Device, conversation: Conversation, up_to: u64 },
    /// A receipt came.
    Receipt { device: Device, conversation: Conversation, delivered: u64, read: u64 },
    /// A receipt of a group came, and says how far one member is.
    MemberReceipt { device: Device, conversation: Conversation, member: Arc<str>, delivered: u64, read: u64 },
    /// The entry of the inbox that comes next says that this is the number before it that its reader can see.
    Previous { device: Device, conversation: Conversation, seq: u64, previous: u64 },
    /// The connection of a device is over, and it did not leave in good order: what it wrote last may be lost.
    Severed { device: Device },
    /// SUBACK came: from now on this device reads all plain topics. Before anything is published there.
    Follows { device: Device },
    /// A message on a plain topic is about to be written, for the first time or again. A topic has one publisher.
    Published { device: Device, topic: Arc<str>, id: MessageId, retain: bool },
    /// Its PUBACK came.
    PublishAcknowledged { device: Device, id: MessageId },
    /// A message on a plain topic came; `retained` is its RETAIN flag.
    Received { device: Device, topic: Arc<str>, id: MessageId, retained: bool },
    /// What a new subscription found retained at the end.
    Retained { topic: Arc<str>, id: MessageId },
    /// Nothing is on its way any more: everybody is connected, and everything has come that was to come.
    Rested,
    /// The server is about to be killed, or the power to be cut.
    Crashed,
    /// The server is about to be told to stop.
    Stopped,
    /// What a reader found in the conversation's log at the end, in its order.
    Found { conversation: Conversation, seq: u64, id: MessageId },
    /// The same, of a change of a group; from it on, these are its members.
    FoundChange { conversation: Conversation, seq: u64, id: MessageId, members: Vec<Arc<str>> },
}

/// What happened so far. Shared by all who record.
#[derive(Debug, Default)]
pub struct History(Mutex<Vec<Event>>);

impl History {
    /// Records an event behind all others.
    pub fn record(&self, event: Event) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(event);
    }

    /// Records events that stand together.
    pub fn record_all(&self, events: impl IntoIterator<Item = Event>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(events);
    }

    /// All events so far.
    pub fn events(&self) -> Vec<Event> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// See [`check`].
    pub fn check(&self) -> Result<Figures, Broken> {
        check(&self.events())
    }
}
