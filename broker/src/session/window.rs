//! Packet ids and what is in flight to the client.
//!
//! Ids go round from 1 to 65,535 and are never those of a message still in flight [MQTT-2.2.1-4]. Slots are kept in the order sent.

use super::feed::FeedIndex;
use crate::codec::{PacketId, QoS};
use crate::link::Delivery;
use crate::mutation::{Mutation, mutated};
use std::collections::VecDeque;

/// How far packet ids jump after an unclean stop, so that an acknowledgement of a message from before is not taken for
/// one of a message from after.
pub(crate) const PACKET_ID_DISTANCE: u16 = 32_768;

/// Where a message in flight came from.
#[derive(Debug)]
pub(crate) enum Origin {
    /// A plain message that lives in memory only; kept so that it counts against the window.
    Plain,
    /// The same, QoS 1 of a shared subscription: it is kept, since someone else gets it when the session ends first.
    Shared(Box<Delivery>),
    /// An item of a feed.
    Feed {
        /// Which feed.
        feed: FeedIndex,
        /// Its position there.
        position: u64,
    },
}

/// Which acknowledgement a message waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Awaits {
    /// QoS 1: PUBACK.
    Puback,
    /// QoS 2: PUBREC.
    Pubrec,
    /// QoS 2, received by the client: PUBCOMP.
    Pubcomp,
}

impl Awaits {
    /// What a message that is sent waits for first.
    pub(crate) fn first(qos: QoS) -> Awaits {
        if qos == QoS::ExactlyOnce { Awaits::Pubrec } else { Awaits::Puback }
    }
}

impl Origin {
    /// A message that lives in memory only. One of QoS 2 goes with the session, whoever shares it [MQTT-4.8.2-5].
    pub(crate) fn of(delivery: &Delivery) -> Origin {
        if delivery.share.is_some() && delivery.qos < QoS::ExactlyOnce {
            Origin::Shared(Box::new(delivery.clone().detached()))
        } else {
            Origin::Plain
        }
    }

    /// The bytes that it keeps.
    fn weight(&self) -> usize {
        match self {
            Origin::Shared(delivery) => delivery.message.weight(),
            _ => 0,
        }
    }
}

#[derive(Debug)]
struct Slot {
    id: PacketId,
    awaits: Awaits,
    origin: Origin,
    /// How many messages had been sent before it.
    sent: u64,
}

/// The messages in flight.
#[derive(Debug)]
pub(crate) struct Window {
    slots: VecDeque<Slot>,
    last_id: u16,
    limit: usize,
    /// Ids of an earlier connection whose messages are to be sent again, and were not yet.
    reserved: Vec<PacketId>,
    /// How many messages have been sent; starts at a full round, before which are those of earlier connections.
    sent: u64,
    /// Bytes of the messages that are kept.
    held: usize,
}

/// Ids are met again after a round of this many.
const ROUND: u64 = 65_535;

impl Window {
    /// A window of `limit` messages; the first id is the one after `last_id`.
    pub(crate) fn new(limit: usize, last_id: u16) -> Window {
        Window { slots: VecDeque::new(), last_id, limit, reserved: Vec::new(), sent: ROUND, held: 0 }
    }

    /// Whether another message may be sent.
    pub(crate) fn has_room(&self) -> bool {
        self.slots.len() < self.limit || mutated(Mutation::SendsTooMuch)
    }

    /// How many more may be sent.
    pub(crate) fn room(&self) -> usize {
        self.limit.saturating_sub(self.slots.len())
    }

    /// Takes the next free id for a message.
    pub(crate) fn send(&mut self, awaits: Awaits, origin: Origin) -> PacketId {
        debug_assert!(self.has_room());
        let mut id = following(self.last_id);
        // An id can only be in the way when the oldest message in flight is as old as a round.
        let aged =
            self.slots.front().is_some_and(|oldest| self.sent - oldest.sent >= ROUND - self.limit as u64);
        while self.reserved.contains(&id) || (aged && self.slots.iter().any(|slot| slot.id == id)) {
            id = following(id.get());
        }
        self.last_id = id.get();
        self.held += origin.weight();
        self.slots.push_back(Slot { id, awaits, origin, sent: self.sent });
        self.sent += 1;
        id
    }

    /// Keeps an id for a message of an earlier connection.
    pub(crate) fn reserve(&mut self, id: PacketId) {
        self.reserved.push(id);
    }

    /// Lets go of an id that was kept: its message is not there any more.
    pub(crate) fn unreserve(&mut self, id: PacketId) {
        self.reserved.retain(|reserved| *reserved != id);
    }

    /// Whether an id is kept.
    pub(crate) fn is_reserved(&self, id: PacketId) -> bool {
        self.reserved.contains(&id)
    }

    /// Puts a message of an earlier connection back in flight, under its old id.
    pub(crate) fn resend(&mut self, id: PacketId, awaits: Awaits, origin: Origin) {
        self.unreserve(id);
        self.slots.push_back(Slot { id, awaits, origin, sent: 0 });
    }

    /// What the message of an id waits for; `None` when nothing like it is in flight.
    pub(crate) fn awaits(&self, id: PacketId) -> Option<Awaits> {
        self.slots.iter().find(|slot| slot.id == id).map(|slot| slot.awaits)
    }

    /// The client is done with the message of an id; what it was, or `None` when nothing like it is in flight.
    pub(crate) fn acknowledge(&mut self, id: PacketId) -> Option<Origin> {
        let index = self.slots.iter().position(|slot| slot.id == id)?;
        let slot = self.slots.remove(index)?;
        self.held -= slot.origin.weight();
        Some(slot.origin)
    }

    /// The client has received the QoS 2 message of an id. It stays in flight [MQTT-3.3.4-9], and its origin is done with.
    pub(crate) fn received(&mut self, id: PacketId) -> Option<Origin> {
        let slot = self.slots.iter_mut().find(|slot| slot.id == id && slot.awaits == Awaits::Pubrec)?;
        slot.awaits = Awaits::Pubcomp;
        Some(std::mem::replace(&mut slot.origin, Origin::Plain))
    }

    /// A newer message takes the place of one in flight: nothing comes of its acknowledgement any more. Until that is there it counts
    /// all the same [MQTT-3.3.4-9].
    pub(crate) fn forget(&mut self, feed: FeedIndex, position: u64) {
        for slot in &mut self.slots {
            if matches!(slot.origin, Origin::Feed { feed: f, position: p } if f == feed && p == position) {
                slot.origin = Origin::Plain;
            }
        }
    }

    /// The QoS 1 messages of feeds that are in flight, in the order sent.
    pub(crate) fn feeds_in_flight(&self) -> impl Iterator<Item = (PacketId, FeedIndex, u64)> {
        self.slots.iter().filter(|slot| slot.awaits == Awaits::Puback).filter_map(|slot| match slot.origin {
            Origin::Feed { feed, position } => Some((slot.id, feed, position)),
            Origin::Plain | Origin::Shared(_) => None,
        })
    }

    /// Takes out the messages of shared subscriptions that are kept, in the order sent.
    pub(crate) fn take_shared(&mut self) -> Vec<Delivery> {
        let mut shared = Vec::new();
        for slot in std::mem::take(&mut self.slots) {
            match slot.origin {
                Origin::Shared(delivery) => shared.push(*delivery),
                _ => self.slots.push_back(slot),
            }
        }
        self.held = 0;
        shared
    }

    /// Bytes of messages that are kept while they are in flight.
    pub(crate) fn held(&self) -> usize {
        self.held
    }

    /// The id used last.
    pub(crate) fn last_id(&self) -> u16 {
        self.last_id
    }
}

fn following(id: u16) -> PacketId {
    PacketId::new(id.wrapping_add(1)).unwrap_or(PacketId::MIN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    #[test]
    fn ids_go_round_without_zero() {
        let mut window = Window::new(1, 65_534);
        let mut ids = Vec::new();
        for _ in 0..3 {
            let id = window.send(Awaits::Puback, Origin::Plain);
            assert!(window.acknowledge(id).is_some());
            ids.push(id.get());
        }
        assert_eq!(ids, [65_535, 1, 2]);
    }

    #[test]
    fn a_message_that_was_replaced_counts_until_it_is_acknowledged() {
        let mut window = Window::new(2, 0);
        let old = window.send(Awaits::Puback, Origin::Feed { feed: 0, position: 7 });
        window.forget(0, 7);
        window.send(Awaits::Puback, Origin::Feed { feed: 0, position: 8 });
        assert!(!window.has_room());
        assert_eq!(window.feeds_in_flight().map(|(.., position)| position).collect::<Vec<_>>(), [8]);
        assert!(matches!(window.acknowledge(old), Some(Origin::Plain)));
        assert!(window.has_room());
    }

    proptest! {
        /// Over many rounds, with acknowledgements in any order, an id in flight is never given out again.
        #[test]
        fn an_id_in_flight_is_never_used_again(last: u16, picks in proptest::collection::vec(any::<u8>(), 1..60)) {
            let mut window = Window::new(20, last);
            let mut in_flight: Vec<PacketId> = Vec::new();
            for pick in picks {
                // Most of a round passes, so that old ids are met again.
                if pick % 3 == 0 && window.has_room() {
                    for _ in 0..65_530 {
                        let id = window.send(Awaits::Puback, Origin::Plain);
                        prop_assert!(!in_flight.contains(&id));
                        window.acknowledge(id);
                    }
                }
                if window.has_room() && pick % 2 == 0 {
                    let id = window.send(Awaits::Puback, Origin::Plain);
                    prop_assert!(!in_flight.contains(&id));
                    in_flight.push(id);
                } else if !in_flight.is_empty() {
                    let id = in_flight.remove(usize::from(pick) % in_flight.len());
                    prop_assert!(window.acknowledge(id).is_some());
                    prop_assert!(window.acknowledge(id).is_none());
                }
                let distinct: HashSet<_> = in_flight.iter().collect();
                prop_assert_eq!(distinct.len(), window.slots.len());
            }
        }
    }
}
