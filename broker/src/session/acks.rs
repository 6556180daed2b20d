//! Publishes of the client that wait for their acknowledgement, in the order they came.
//!
//! Answers arrive in any order; acknowledgements leave in the order of the publishes [MQTT-4.6.0-2], [MQTT-4.6.0-3].

use crate::codec::{PacketId, PacketType, QoS};
use crate::hook::Outcome;
use std::collections::VecDeque;

/// What waits. Tokens count up from 1 for the life of the connection.
#[derive(Debug, Default)]
pub(crate) struct Acks {
    /// Token of the first entry, less one.
    gone: u64,
    waiting: VecDeque<Waiting>,
    /// How many of them wait for PUBACK.
    pubacks: usize,
}

#[derive(Debug)]
struct Waiting {
    packet_id: PacketId,
    kind: PacketType,
    outcome: Option<Outcome>,
}

impl Acks {
    /// A publish came; the token names it until it is answered.
    pub(crate) fn open(&mut self, packet_id: PacketId, qos: QoS) -> u64 {
        let kind = if qos == QoS::ExactlyOnce { PacketType::Pubrec } else { PacketType::Puback };
        self.pubacks += usize::from(kind == PacketType::Puback);
        self.waiting.push_back(Waiting { packet_id, kind, outcome: None });
        self.gone + self.waiting.len() as u64
    }

    /// A publish was answered. An answer to something no longer known, or a second answer, changes nothing.
    pub(crate) fn answer(&mut self, token: u64, outcome: Outcome) {
        let index = token.wrapping_sub(self.gone + 1);
        if let Some(waiting) = usize::try_from(index).ok().and_then(|index| self.waiting.get_mut(index)) {
            waiting.outcome.get_or_insert(outcome);
        }
    }

    /// The next acknowledgement that may leave.
    pub(crate) fn next_ready(&mut self) -> Option<(PacketId, PacketType, Outcome)> {
        self.waiting.front()?.outcome.as_ref()?;
        let first = self.waiting.pop_front()?;
        self.gone += 1;
        self.pubacks -= usize::from(first.kind == PacketType::Puback);
        Some((first.packet_id, first.kind, first.outcome?))
    }

    /// How many wait for PUBACK: what QoS 2 has under way is counted by its packet ids.
    pub(crate) fn pubacks(&self) -> usize {
        self.pubacks
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(id: u16) -> PacketId {
        PacketId::new(id).unwrap()
    }

    #[test]
    fn acknowledgements_leave_in_the_order_of_the_publishes() {
        let mut acks = Acks::default();
        let tokens: Vec<u64> = (10..13).map(|packet_id| acks.open(id(packet_id), QoS::AtLeastOnce)).collect();
        acks.answer(tokens[2], Outcome::SUCCESS);
        acks.answer(tokens[1], Outcome::SUCCESS);
        assert!(acks.next_ready().is_none());
        acks.answer(tokens[0], Outcome::SUCCESS);
        let order: Vec<u16> =
            std::iter::from_fn(|| acks.next_ready()).map(|(packet_id, ..)| packet_id.get()).collect();
        assert_eq!(order, [10, 11, 12]);
        assert_eq!(acks.len(), 0);
    }

    #[test]
    fn strange_answers_change_nothing() {
        let mut acks = Acks::default();
        let token = acks.open(id(1), QoS::ExactlyOnce);
        acks.answer(0, Outcome::SUCCESS);
        acks.answer(token + 1, Outcome::SUCCESS);
        acks.answer(u64::MAX, Outcome::SUCCESS);
        assert!(acks.next_ready().is_none());
        acks.answer(token, Outcome::SUCCESS);
        assert!(acks.next_ready().is_some());
        acks.answer(token, Outcome::SUCCESS);
        assert!(acks.next_ready().is_none());
    }
}
