//! What the client does, in its own words: packets, and what it expects of them from then on.

use super::{LARGE_PAYLOAD, Verdict, World};
use crate::codec::packet::{ack, publish, subscribe, unsubscribe};
use crate::codec::{
    AckOut, Filters, PacketId, PacketType, Peer, PublishOut, PublishProperties, QoS, ReasonCode,
    RetainHandling, Subscribe, SubscriptionOptions, Unsubscribe, UserProperties, Version,
};
use crate::fuzzing::client::{Outgoing, Request, Sent};
use crate::fuzzing::ledger::Stream;
use crate::fuzzing::operation::{AckKind, Filter, Level, Manner, Topic};
use bytes::Bytes;

impl World {
    fn free_id(&self, near: u8) -> u16 {
        let taken = |id: &u16| self.client.outgoing.iter().any(|one| one.id == *id);
        let first = u16::from(near % 8) + 1;
        (first..first + 64).find(|id| !taken(id)).unwrap_or(first)
    }

    pub(super) fn publish(&mut self, topic: Topic, manner: Manner, near: u8) {
        let (open, id, now_ms) = (self.client.outgoing.len(), self.free_id(near), self.now_ms());
        let Some(connection) = self.up() else { return };
        let qos = if QoS::from(manner.qos) > connection.max_qos { Level::Q1 } else { manner.qos };
        if qos > Level::Q0 && open >= connection.window.min(8) {
            return;
        }
        let number = self.client.ledger.add(topic.as_str(), Stream::Own, qos);
        if let Some(entry) = self.client.ledger.get(number) {
            entry.expires_ms = (manner.expires && self.version == Version::V5).then_some(now_ms + 1_000);
            entry.large = manner.large;
        }
        // It is sent away for it on 3.1.1, and does not try again [MQTT-3.3.5-2].
        let hopeless = qos > Level::Q0 && topic == Topic::Refused && self.version == Version::V311;
        let outgoing = Outgoing { id, number, topic: topic.as_str(), qos, manner, stage: Sent::Published };
        let mut out = Vec::new();
        encode_publish(&mut out, self.peer(), &outgoing, false, true);
        let Some((_, connection)) = &mut self.connection else { return };
        connection.stray |= hopeless;
        if qos > Level::Q0 && !hopeless {
            self.client.outgoing.push(outgoing);
            connection.published(outgoing);
        }
        self.say(&out);
    }

    /// Under an id that is in use: a client that does this is promised nothing about either message.
    pub(super) fn publish_over(&mut self, topic: Topic, qos: Level, id: u8) {
        let id = u16::from(id % 8) + 1;
        let used = self.client.outgoing.iter().position(|one| one.id == id);
        let manner = Manner { qos, retain: false, expires: false, large: false };
        let Some(index) = used.filter(|_| qos > Level::Q0) else {
            return self.publish(topic, manner, id as u8);
        };
        let Some(connection) = self.up() else { return };
        // At QoS 2 it would be taken for the other one, or the next one for it.
        let qos = Level::Q1;
        connection.stray = true;
        let old = self.client.outgoing[index].number;
        let number = self.client.ledger.add(topic.as_str(), Stream::Own, qos);
        for number in [old, number] {
            if let Some(entry) = self.client.ledger.get(number) {
                entry.repeated = true;
                entry.excused = true;
            }
        }
        let over = Outgoing { id, number, topic: topic.as_str(), qos, manner, stage: Sent::Published };
        let mut out = Vec::new();
        encode_publish(&mut out, self.peer(), &over, false, true);
        let Some((_, connection)) = &mut self.connection else { return };
        connection.published(over);
        self.say(&out);
    }

    pub(super) fn release(&mut self, which: usize) {
        if self.up().is_none() {
            return;
        }
        let recorded: Vec<usize> = (0..self.client.outgoing.len())
            .filter(|index| self.client.outgoing[*index].stage == Sent::Recorded)
            .collect();
        let Some(index) = which.checked_rem(recorded.len()).map(|which| recorded[which]) else { return };
        self.client.outgoing[index].stage = Sent::Released;
        let mut out = Vec::new();
        encode_ack(
            &mut out,
            self.peer(),
            AckKind::Pubrel,
            self.client.outgoing[index].id,
            ReasonCode::Success,
        );
        self.say(&out);
    }

    pub(super) fn receive(&mut self, count: usize) -> Verdict {
        let Some((_, connection)) = &mut self.connection else { return Ok(()) };
        for _ in 0..count.max(1) {
            if !self.client.receive(connection)? {
                break;
            }
        }
        Ok(())
    }

    /// Whether there was anything to answer.
    pub(super) fn acknowledge(&mut self, which: usize, refuse: bool) -> bool {
        if self.up().is_none() {
            return false;
        }
        let Some((_, connection)) = &mut self.connection else { return false };
        let Some((kind, id, refuse)) = self.client.acknowledge(connection, which, refuse) else {
            return false;
        };
        let reason = if refuse { ReasonCode::ImplementationSpecificError } else { ReasonCode::Success };
        let mut out = Vec::new();
        encode_ack(&mut out, self.peer(), kind, id, reason);
        self.say(&out);
        true
    }

    pub(super) fn stray(&mut self, kind: AckKind, choice: u8) {
        if self.up().is_none() {
            return;
        }
        let Some((_, connection)) = &mut self.connection else { return };
        // One that is in flight, or one that never was.
        let known: Vec<u16> = connection.in_flight.keys().copied().collect();
        let far = 60_000 + u16::from(choice);
        let id = known.get(usize::from(choice)).copied().unwrap_or(far);
        self.client.stray(connection, kind, id);
        let mut out = Vec::new();
        encode_ack(&mut out, self.peer(), kind, id, ReasonCode::Success);
        self.say(&out);
    }

    fn next_request(&mut self) -> PacketId {
        self.next_request = self.next_request % 1_000 + 1;
        PacketId::new(1_000 + self.next_request).unwrap_or(PacketId::MIN)
    }

    pub(super) fn subscribe(&mut self, filter: Filter, qos: Level, handling: u8, no_local: bool) {
        if self.up().is_none() {
            return;
        }
        let packet_id = self.next_request();
        let retain_handling = match handling % 3 {
            0 => RetainHandling::Send,
            1 => RetainHandling::SendIfNew,
            _ => RetainHandling::DoNotSend,
        };
        let options = match self.version {
            Version::V311 => SubscriptionOptions::qos(qos.into()),
            Version::V5 => {
                SubscriptionOptions { no_local, retain_handling, ..SubscriptionOptions::qos(qos.into()) }
            }
        };
        let Some(filters) = Filters::<SubscriptionOptions>::new([(filter.as_str(), options)]) else { return };
        let packet =
            Subscribe { packet_id, subscription_id: None, user_properties: UserProperties::new(), filters };
        let mut out = Vec::new();
        if subscribe::encode(&mut out, &self.peer(), &packet).is_ok()
            && let Some(connection) = self.up()
        {
            connection.requests.push_back(Request::Subscribe(packet_id.get(), filter, qos));
            self.client.asks(filter, qos, options.no_local);
            self.say(&out);
        }
    }

    pub(super) fn unsubscribe(&mut self, filter: Filter) {
        if self.up().is_none() {
            return;
        }
        let packet_id = self.next_request();
        let Some(filters) = Filters::<()>::new([filter.as_str()]) else { return };
        let packet = Unsubscribe { packet_id, user_properties: UserProperties::new(), filters };
        let mut out = Vec::new();
        if unsubscribe::encode(&mut out, &self.peer(), &packet).is_ok()
            && let Some(connection) = self.up()
        {
            connection.requests.push_back(Request::Unsubscribe(packet_id.get(), filter));
            self.client.subscriptions.remove(&filter);
            self.client.release_debts();
            self.say(&out);
        }
    }
}

pub(super) fn large(number: u64) -> Bytes {
    let mut payload = number.to_be_bytes().to_vec();
    payload.resize(LARGE_PAYLOAD, b'x');
    payload.into()
}

pub(super) fn encode_publish(out: &mut Vec<u8>, peer: Peer, publish: &Outgoing, dup: bool, expires: bool) {
    let manner = publish.manner;
    let payload = if manner.large {
        large(publish.number)
    } else {
        Bytes::copy_from_slice(&publish.number.to_be_bytes())
    };
    let properties = PublishProperties {
        message_expiry_interval: (manner.expires && expires).then_some(1),
        ..PublishProperties::default()
    };
    let packet = PublishOut {
        qos: publish.qos.into(),
        retain: manner.retain,
        dup,
        packet_id: PacketId::new(publish.id).filter(|_| publish.qos > Level::Q0),
        properties: Some(&properties),
        ..PublishOut::new(publish.topic, &payload)
    };
    publish::encode(out, &peer, &packet).expect("short");
}

pub(super) fn encode_ack(out: &mut Vec<u8>, peer: Peer, kind: AckKind, id: u16, reason: ReasonCode) {
    let kind = match kind {
        AckKind::Puback => PacketType::Puback,
        AckKind::Pubrec => PacketType::Pubrec,
        AckKind::Pubrel => PacketType::Pubrel,
        AckKind::Pubcomp => PacketType::Pubcomp,
    };
    let packet_id = PacketId::new(id).unwrap_or(PacketId::MIN);
    ack::encode(out, &peer, kind, &AckOut::reason(packet_id, reason)).expect("short");
}
