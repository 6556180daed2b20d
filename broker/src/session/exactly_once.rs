//! QoS 2: what makes a message arrive exactly once, across reconnect, take-over and restart [MQTT-4.3.3].
//!
//! *From the client*: a packet id is remembered from its PUBLISH to its PUBREL. For a session that outlives its connection it is
//! committed with what the publish does, before PUBREC, and its end before PUBCOMP: a repeated PUBLISH is never carried out again, and a
//! new one under the same id never taken for a repeated one.
//!
//! *To the client*: a message is a [`Flight`], stored before it is first sent and again before PUBREL is, so that it keeps its packet id and
//! is never sent again once the client has said PUBREC. What waits for such a commit is *held*, and everything that is published
//! behind it with it, so that nothing is overtaken. One commit is under way at a time; what comes meanwhile shares the next one.
//!
//! A session that ends with its connection stores nothing and holds nothing.

use crate::codec::PacketId;
use crate::source::SourceId;
use crate::store::{Flight, FlightStage};
use hashbrown::{HashMap, HashSet};

/// Where a QoS 2 publish of the client is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reception {
    /// Not carried out yet.
    Open,
    /// PUBREC was sent, or may be.
    Received,
    /// PUBREL came, and its end is being stored.
    Ending,
}

/// See the module. Boxed, and only there while a session has to do with QoS 2.
#[derive(Debug, Default)]
pub(super) struct ExactlyOnce {
    received: HashMap<PacketId, Reception, foldhash::fast::RandomState>,
    /// Those that were published on an earlier connection only: they do not count on this one (4.9).
    earlier: HashSet<PacketId, foldhash::fast::RandomState>,
    /// How many of them are open.
    open: usize,
    /// In the order sent.
    flights: Vec<Flight>,
    /// Flights have changed since they were handed over.
    dirty: bool,
    /// Packets that wait for the next commit of the flights.
    held: Vec<u8>,
    /// Packets that wait for the commit under way; `None` while there is none.
    storing: Option<Vec<u8>>,
}

impl ExactlyOnce {
    /// Where the client's publish of this id is.
    pub(super) fn reception(&self, id: PacketId) -> Option<Reception> {
        self.received.get(&id).copied()
    }

    /// A publish of this id came that is not known.
    pub(super) fn open(&mut self, id: PacketId) {
        self.received.insert(id, Reception::Open);
        self.open += 1;
    }

    /// Takes up what an earlier connection received.
    pub(super) fn received_before(&mut self, id: PacketId) {
        self.received.insert(id, Reception::Received);
        self.earlier.insert(id);
    }

    /// A publish that is known came again.
    pub(super) fn repeated(&mut self, id: PacketId) {
        self.earlier.remove(&id);
    }

    /// A publish was carried out, or refused and is none.
    pub(super) fn answered(&mut self, id: PacketId, success: bool) {
        if self.received.get(&id) == Some(&Reception::Open) {
            self.open -= 1;
            if success {
                self.received.insert(id, Reception::Received);
            } else {
                self.received.remove(&id);
            }
        }
    }

    /// PUBREL came for what was received.
    pub(super) fn ending(&mut self, id: PacketId) {
        self.received.insert(id, Reception::Ending);
    }

    /// The id is the client's to use again.
    pub(super) fn ended(&mut self, id: PacketId) {
        self.received.remove(&id);
        self.earlier.remove(&id);
    }

    /// Publishes of this connection without PUBCOMP: they count against the server's Receive Maximum.
    pub(super) fn unfinished(&self) -> usize {
        self.received.len() - self.earlier.len()
    }

    /// Whether a publish is not carried out yet.
    pub(super) fn has_open(&self) -> bool {
        self.open > 0
    }

    /// Takes up the flights of an earlier connection.
    pub(super) fn resume(&mut self, flights: &[Flight]) {
        self.flights = flights.to_vec();
    }

    /// A message is about to be sent for the first time. Gives back whether something waits to be stored already, for
    /// [`unsent`](ExactlyOnce::unsent).
    pub(super) fn sent(&mut self, id: PacketId, source: SourceId, position: u64) -> bool {
        let flight = Flight { packet_id: id.get(), source, position, stage: FlightStage::Sent };
        self.flights.push(flight);
        std::mem::replace(&mut self.dirty, true)
    }

    /// The last message cannot be sent after all: nothing is stored for it, and nothing waits for that.
    pub(super) fn unsent(&mut self, was_dirty: bool) {
        self.flights.pop();
        self.dirty = was_dirty;
    }

    /// PUBREC came.
    pub(super) fn released(&mut self, id: PacketId) {
        self.set(id, FlightStage::Sent, FlightStage::Released);
        self.dirty = true;
    }

    /// The client is done with it. Needs no commit of its own: a PUBREL that is sent again is answered again.
    pub(super) fn done(&mut self, id: PacketId) {
        self.set(id, FlightStage::Released, FlightStage::Done);
    }

    /// The client does not take it, or it cannot be sent.
    pub(super) fn dropped(&mut self, id: PacketId) {
        self.set(id, FlightStage::Sent, FlightStage::Done);
    }

    fn set(&mut self, id: PacketId, from: FlightStage, to: FlightStage) {
        let flight =
            self.flights.iter_mut().find(|flight| flight.packet_id == id.get() && flight.stage == from);
        if let Some(flight) = flight {
            flight.stage = to;
        }
    }

    /// The flights as they are to be stored, where `cursor` tells how far the client is in a source.
    pub(super) fn flights(&mut self, cursor: impl Fn(&SourceId) -> Option<u64>) -> Vec<Flight> {
        self.flights.retain(|flight| {
            flight.stage != FlightStage::Done || cursor(&flight.source).is_none_or(|at| at < flight.position)
        });
        self.flights.clone()
    }

    /// Whether what is published now has to wait.
    pub(super) fn holds(&self) -> bool {
        self.dirty || self.storing.is_some() || !self.held.is_empty()
    }

    /// Where what has to wait is written.
    pub(super) fn held(&mut self) -> &mut Vec<u8> {
        &mut self.held
    }

    /// Bytes that wait.
    pub(super) fn held_bytes(&self) -> usize {
        self.held.len() + self.storing.as_ref().map_or(0, Vec::len)
    }

    /// Whether the flights are to be stored now.
    pub(super) fn begin_storing(&mut self) -> bool {
        if !self.dirty || self.storing.is_some() {
            return false;
        }
        self.dirty = false;
        self.storing = Some(std::mem::take(&mut self.held));
        true
    }

    /// The flights are stored: what waited for that may leave.
    pub(super) fn stored(&mut self, out: &mut Vec<u8>) {
        if let Some(packets) = self.storing.take() {
            out.extend_from_slice(&packets);
        }
        if !self.dirty {
            out.append(&mut self.held);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(id: u16) -> PacketId {
        PacketId::new(id).unwrap()
    }

    fn queue() -> SourceId {
        SourceId::new("queue")
    }

    #[test]
    fn nothing_waits_for_what_cannot_be_sent() {
        let mut state = ExactlyOnce::default();
        let was_dirty = state.sent(id(1), queue(), 1);
        state.unsent(was_dirty);
        assert!(!state.holds() && !state.begin_storing());
        state.sent(id(2), queue(), 2);
        let was_dirty = state.sent(id(3), queue(), 3);
        state.unsent(was_dirty);
        assert!(state.holds() && state.begin_storing(), "the one before it is stored all the same");
        assert_eq!(state.flights(|_| None).len(), 1);
    }

    #[test]
    fn what_is_held_leaves_after_its_commit_and_in_order() {
        let (mut state, mut out) = (ExactlyOnce::default(), Vec::new());
        state.sent(id(1), queue(), 1);
        state.held().push(1);
        assert!(state.holds() && state.begin_storing());
        state.sent(id(2), queue(), 2);
        state.held().push(2);
        assert!(!state.begin_storing(), "one commit at a time");
        state.stored(&mut out);
        assert_eq!(out, [1]);
        assert!(state.begin_storing());
        // Nothing of its own to store, but it may not overtake.
        assert!(state.holds());
        state.held().push(3);
        state.stored(&mut out);
        assert_eq!(out, [1, 2, 3]);
        assert!(!state.holds());
    }

    #[test]
    fn a_flight_that_is_done_is_kept_until_the_cursor_has_passed_it() {
        let mut state = ExactlyOnce::default();
        state.sent(id(1), queue(), 1);
        state.sent(id(2), queue(), 2);
        state.released(id(2));
        state.done(id(2));
        let stages = |flights: Vec<Flight>| -> Vec<(u16, FlightStage)> {
            flights.iter().map(|flight| (flight.packet_id, flight.stage)).collect()
        };
        let both = [(1, FlightStage::Sent), (2, FlightStage::Done)];
        assert_eq!(stages(state.flights(|_| Some(0))), both);
        state.released(id(1));
        assert_eq!(stages(state.flights(|_| Some(2))), [(1, FlightStage::Released)]);
    }

    #[test]
    fn a_refused_publish_leaves_its_id_free() {
        let mut state = ExactlyOnce::default();
        state.open(id(7));
        assert!(state.has_open());
        state.answered(id(7), false);
        assert_eq!((state.reception(id(7)), state.has_open(), state.unfinished()), (None, false, 0));
        state.open(id(7));
        state.answered(id(7), true);
        state.ending(id(7));
        assert_eq!((state.reception(id(7)), state.unfinished()), (Some(Reception::Ending), 1));
        state.ended(id(7));
        assert_eq!(state.unfinished(), 0);
    }
}
