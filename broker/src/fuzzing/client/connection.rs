//! What a client keeps of one connection: what is in flight both ways, what it asked for, and what it saw.

use crate::codec::QoS;
use crate::codec::client::ServerPacket;
use crate::fuzzing::operation::{AckKind, Filter, Hello, Level, Manner};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// How far a message to the client is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::fuzzing) enum Stage {
    /// On the wire.
    Written,
    /// Taken off; PUBACK or PUBREC is to be said.
    Received,
    /// PUBREC is said.
    Recorded,
    /// PUBREL is written.
    ReleaseWritten,
    /// PUBREL is taken off; PUBCOMP is to be said.
    Released,
}

#[derive(Debug, Clone, Copy)]
pub(in crate::fuzzing) struct InFlight {
    pub(in crate::fuzzing) number: u64,
    pub(in crate::fuzzing) retain: bool,
    pub(in crate::fuzzing) qos: QoS,
    pub(in crate::fuzzing) stage: Stage,
}

/// How far a message from the client is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::fuzzing) enum Sent {
    Published,
    /// PUBREC was received.
    Recorded,
    /// PUBREL is said.
    Released,
}

/// A publish of the client that is not over.
#[derive(Debug, Clone, Copy)]
pub(in crate::fuzzing) struct Outgoing {
    pub(in crate::fuzzing) id: u16,
    pub(in crate::fuzzing) number: u64,
    pub(in crate::fuzzing) topic: &'static str,
    pub(in crate::fuzzing) qos: Level,
    pub(in crate::fuzzing) manner: Manner,
    pub(in crate::fuzzing) stage: Sent,
}

/// A request that is answered in its turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::fuzzing) enum Request {
    Subscribe(u16, Filter, Level),
    Unsubscribe(u16, Filter),
}

/// One connection, from its CONNECT on.
#[allow(clippy::struct_excessive_bools)] // Each stands for itself: they are no states of one thing.
pub(in crate::fuzzing) struct Connection {
    pub(in crate::fuzzing) hello: Hello,
    /// CONNACK was written.
    pub(in crate::fuzzing) open: bool,
    /// The session outlives it, as far as the client knows.
    pub(in crate::fuzzing) persistent: bool,
    /// Its session was there before.
    pub(in crate::fuzzing) resumed: bool,
    /// The server said DISCONNECT, or the client did.
    pub(in crate::fuzzing) over: bool,
    /// The client did something that it may not do, and may be sent away for it.
    pub(in crate::fuzzing) stray: bool,
    /// The socket did not always take everything: what is written may have waited in the connection's buffer.
    pub(in crate::fuzzing) narrow: bool,
    pub(in crate::fuzzing) inbox: VecDeque<ServerPacket>,
    pub(in crate::fuzzing) in_flight: BTreeMap<u16, InFlight>,
    /// Those of them that were published on an earlier connection only.
    pub(in crate::fuzzing) earlier: BTreeSet<u16>,
    /// Publishes to be acknowledged, in the order of their packets: the kind of answer, the packet id and the number.
    pub(in crate::fuzzing) unanswered: VecDeque<(AckKind, u16, u64)>,
    pub(in crate::fuzzing) requests: VecDeque<Request>,
    pub(in crate::fuzzing) pings: usize,
    /// Ids of stray acknowledgements, which may be answered.
    pub(in crate::fuzzing) strays: BTreeSet<u16>,
    pub(in crate::fuzzing) seen: BTreeSet<u64>,
    pub(in crate::fuzzing) last: BTreeMap<(u8, bool, &'static str), u64>,
    pub(in crate::fuzzing) receive_maximum: usize,
    /// What the server takes at once.
    pub(in crate::fuzzing) window: usize,
    pub(in crate::fuzzing) max_qos: QoS,
}

impl Connection {
    /// The client publishes something with a packet id.
    pub(in crate::fuzzing) fn published(&mut self, outgoing: Outgoing) {
        let kind = if outgoing.qos == Level::Q2 { AckKind::Pubrec } else { AckKind::Puback };
        self.unanswered.push_back((kind, outgoing.id, outgoing.number));
    }

    pub(in crate::fuzzing) fn new(hello: Hello, receive_maximum: usize) -> Connection {
        Connection {
            hello,
            open: false,
            persistent: false,
            resumed: false,
            over: false,
            stray: false,
            narrow: false,
            inbox: VecDeque::new(),
            in_flight: BTreeMap::new(),
            earlier: BTreeSet::new(),
            unanswered: VecDeque::new(),
            requests: VecDeque::new(),
            pings: 0,
            strays: BTreeSet::new(),
            seen: BTreeSet::new(),
            last: BTreeMap::new(),
            receive_maximum,
            window: usize::from(u16::MAX),
            max_qos: QoS::ExactlyOnce,
        }
    }

    /// Whether the client may say something.
    pub(in crate::fuzzing) fn is_up(&self) -> bool {
        self.open && !self.over
    }

    /// Whether nothing is to come any more: everything is received, and every request answered.
    pub(in crate::fuzzing) fn is_settled(&self) -> bool {
        self.inbox.is_empty()
            && self.in_flight.is_empty()
            && self.unanswered.is_empty()
            && self.requests.is_empty()
            && self.pings == 0
    }

    /// What has not come, for the report.
    pub(in crate::fuzzing) fn open_ends(&self) -> String {
        format!(
            "in flight {:?}, unanswered {:?}, requests {:?}, {} pings",
            self.in_flight, self.unanswered, self.requests, self.pings
        )
    }
}
