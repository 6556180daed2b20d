//! What the client says about messages in flight to it, and what an earlier connection of its session left in flight.
//!
//! A message of an earlier connection is sent again under its old packet id [MQTT-4.4.0-1], when the position it has in its source is
//! read again: in the order it was sent, and as far as the window has room.

use super::exactly_once::ExactlyOnce;
use super::feed::FeedIndex;
use super::window::{Awaits, Origin};
use super::{Close, Session};
use crate::codec::packet::ack;
use crate::codec::{Ack, AckOut, PacketId, PacketType, Peer, QoS, ReasonCode};
use crate::mutation::{Mutation, mutated};
use crate::store::{Cursors, FlightStage, SessionRecord};

/// A message that an earlier connection sent.
#[derive(Debug)]
pub(super) struct Earlier {
    feed: FeedIndex,
    position: u64,
    state: EarlierState,
}

/// What became of it there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EarlierState {
    /// It is to be sent again, with this packet id and QoS.
    InFlight(PacketId, QoS),
    /// The client has it.
    Taken,
}

impl Session {
    /// The state of this session that QoS 2 needs.
    pub(super) fn exactly_once(&mut self) -> &mut ExactlyOnce {
        self.exactly_once.get_or_insert_default()
    }

    /// PUBACK.
    pub(super) fn acknowledged(&mut self, ack: &Ack) -> Result<(), Close> {
        if self.window.awaits(ack.packet_id).is_some_and(|awaits| awaits != Awaits::Puback) {
            return Err(Close::server(
                ReasonCode::ProtocolError,
                "PUBACK for a message of QoS 2 [MQTT-4.3.3-4]",
            ));
        }
        // An id that is not in flight is a message that a newer one took the place of, or one from before a stop.
        if let Some(origin) = self.window.acknowledge(ack.packet_id) {
            self.settle(&origin, ack.reason);
        }
        Ok(())
    }

    /// PUBREC: the client has the message, or does not take it [MQTT-4.3.3-4].
    pub(super) fn received(&mut self, ack: &Ack) -> Result<(), Close> {
        let id = ack.packet_id;
        match self.window.awaits(id) {
            Some(Awaits::Puback) => {
                Err(Close::server(ReasonCode::ProtocolError, "PUBREC for a message of QoS 1 [MQTT-4.3.2-3]"))
            }
            Some(Awaits::Pubrec) if ack.reason.is_error() && !mutated(Mutation::ReleasesRefused) => {
                if let Some(origin) = self.window.acknowledge(id) {
                    self.settle(&origin, ack.reason);
                }
                if let Some(state) = &mut self.exactly_once {
                    state.dropped(id);
                }
                Ok(())
            }
            Some(Awaits::Pubrec) => {
                if let Some(origin) = self.window.received(id) {
                    self.settle(&origin, ack.reason);
                }
                if self.client.persistent {
                    self.exactly_once().released(id);
                }
                let id = if mutated(Mutation::MixesUpPubrel) { PacketId::MAX } else { id };
                self.write_pubrel(&AckOut::success(id));
                Ok(())
            }
            Some(Awaits::Pubcomp) => {
                self.write_pubrel(&AckOut::success(id));
                Ok(())
            }
            // Its message is sent again, and asks for another one.
            None if self.window.is_reserved(id) => Ok(()),
            None if ack.reason.is_error() => Ok(()),
            None => {
                self.write_pubrel(&AckOut::reason(id, ReasonCode::PacketIdentifierNotFound));
                Ok(())
            }
        }
    }

    /// PUBCOMP: the packet id is free [MQTT-4.3.3-5].
    pub(super) fn completed(&mut self, ack: &Ack) -> Result<(), Close> {
        match self.window.awaits(ack.packet_id) {
            Some(Awaits::Pubcomp) => {
                self.window.acknowledge(ack.packet_id);
                if let Some(state) = &mut self.exactly_once {
                    state.done(ack.packet_id);
                }
                Ok(())
            }
            Some(_) => Err(Close::server(ReasonCode::ProtocolError, "PUBCOMP for a message without PUBREL")),
            // From before a stop.
            None => Ok(()),
        }
    }

    /// A message is the client's by now, or it does not want it: done with, and not delivered [MQTT-4.3.2-3].
    fn settle(&mut self, origin: &Origin, reason: ReasonCode) {
        if let Origin::Feed { feed, position } = *origin {
            let feed = &mut self.feeds[usize::from(feed)];
            if reason.is_error() { feed.pass(position) } else { feed.acknowledge(position) }
        }
    }

    /// PUBREL, behind what it waits for.
    fn write_pubrel(&mut self, answer: &AckOut<'_>) {
        let peer: Peer = self.terms.peer;
        // A PUBREL of 4 or 6 bytes is one that every client takes.
        let _ = ack::encode(self.outgoing(), &peer, PacketType::Pubrel, answer);
    }

    /// Where the next packet that may have to wait is written.
    pub(super) fn outgoing(&mut self) -> &mut Vec<u8> {
        match &mut self.exactly_once {
            Some(state) if state.holds() => state.held(),
            _ => &mut self.out,
        }
    }

    /// Bytes that are written and not sent, or wait to be.
    pub(super) fn unsent(&self) -> usize {
        self.out.len() + self.exactly_once.as_ref().map_or(0, |state| state.held_bytes())
    }

    /// Takes up what was in flight when the last connection of this session ended. QoS 1 is known after an orderly end only: after
    /// another one it is sent anew. PUBREL that was not answered is sent again now.
    pub(super) fn resume_in_flight(&mut self, record: &SessionRecord, cursors: &Cursors) {
        for (source, position) in record.read.iter().filter(|_| record.clean_stop) {
            if let Some(feed) = self.feed_index(source) {
                self.feeds[usize::from(feed)].resume(*position);
            }
        }
        for message in record.in_flight.iter().filter(|_| record.clean_stop) {
            let Some(feed) = self.feed_index(&message.source) else { continue };
            if let Some(id) = PacketId::new(message.packet_id) {
                let state = EarlierState::InFlight(id, QoS::AtLeastOnce);
                self.window.reserve(id);
                self.earlier.push(Earlier { feed, position: message.position, state });
            }
        }
        if cursors.flights.is_empty() {
            return;
        }
        self.exactly_once().resume(&cursors.flights);
        for flight in &cursors.flights {
            let Some(id) = PacketId::new(flight.packet_id) else { continue };
            match flight.stage {
                FlightStage::Sent => self.window.reserve(id),
                FlightStage::Released => {
                    self.window.resend(id, Awaits::Pubcomp, Origin::Plain);
                    self.write_pubrel(&AckOut::success(id));
                }
                FlightStage::Done => {}
            }
            let Some(feed) = self.feed_index(&flight.source) else { continue };
            let state = match flight.stage {
                FlightStage::Sent => EarlierState::InFlight(id, QoS::ExactlyOnce),
                FlightStage::Released | FlightStage::Done => EarlierState::Taken,
            };
            if flight.position > self.feeds[usize::from(feed)].acked() {
                self.earlier.push(Earlier { feed, position: flight.position, state });
            }
        }
    }

    /// QoS 1 messages of an earlier connection that this one has not come to.
    pub(super) fn not_sent_again(&self) -> impl Iterator<Item = (PacketId, FeedIndex, u64)> {
        self.earlier.iter().filter_map(|earlier| match earlier.state {
            EarlierState::InFlight(id, QoS::AtLeastOnce) => Some((id, earlier.feed, earlier.position)),
            _ => None,
        })
    }

    /// What an earlier connection did with this position, if anything.
    pub(super) fn take_earlier(&mut self, feed: usize, position: u64) -> Option<EarlierState> {
        let here = |earlier: &Earlier| usize::from(earlier.feed) == feed && earlier.position == position;
        let index = self.earlier.iter().position(here)?;
        Some(self.earlier.swap_remove(index).state)
    }

    /// A feed has been read up to a position: what an earlier connection sent before it, and was not met, is not there any more.
    pub(super) fn forget_earlier(&mut self, feed: usize) {
        if self.earlier.is_empty() {
            return;
        }
        let sent = self.feeds[feed].sent();
        let mut gone = Vec::new();
        self.earlier.retain(|earlier| {
            let stays = usize::from(earlier.feed) != feed || earlier.position > sent;
            if let (false, EarlierState::InFlight(id, _)) = (stays, earlier.state) {
                gone.push(id);
            }
            stays
        });
        for id in gone {
            self.window.unreserve(id);
            if let Some(state) = &mut self.exactly_once {
                state.dropped(id);
            }
        }
    }
}
