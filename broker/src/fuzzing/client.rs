//! The client's side, as the standard wants it, and what it holds against the server: every packet that the server writes is
//! judged here.
//!
//! A packet is *written* when it is on the wire, and *received* when the client takes it off; in between a connection may break.
//! What is in flight is counted as the client must count it: from the moment a PUBLISH is written until the client has said the last
//! word about it.

mod connection;

pub(super) use connection::{Connection, InFlight, Outgoing, Request, Sent, Stage};

use super::ledger::{Ledger, Stream};
use super::operation::{AckKind, Filter, Level};
use super::seen::Seen;
use super::store::number_of;
use crate::codec::client::ServerPacket;
use crate::codec::{Ack, Publish, QoS, ReasonCode, Version};
use std::collections::{BTreeMap, BTreeSet};

/// A subscription as the client knows it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Subscription {
    /// What it gets at least, while one request is on its way and after.
    pub(super) at_least: Level,
    pub(super) no_local: bool,
}

/// The client, over all its connections.
pub(super) struct Client {
    pub(super) version: Version,
    pub(super) seen: Seen,
    pub(super) ledger: Ledger,
    /// Packet ids of QoS 2 that were received and not released: part of the client's session state.
    awaiting: BTreeMap<u16, u64>,
    pub(super) outgoing: Vec<Outgoing>,
    pub(super) subscriptions: BTreeMap<Filter, Subscription>,
    /// What was in flight when the last connection ended: it comes again under its id.
    unfinished: BTreeMap<(u64, bool), (u16, QoS)>,
    /// Ids that were in flight, or over, on an earlier connection of the session.
    former: BTreeSet<u16>,
}

type Verdict = Result<(), String>;

fn violation<T>(sentence: impl Into<String>) -> Result<T, String> {
    Err(sentence.into())
}

fn require(holds: bool, sentence: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { Err(sentence()) }
}

impl Client {
    pub(super) fn new(version: Version) -> Client {
        Client {
            version,
            seen: Seen::default(),
            ledger: Ledger::default(),
            awaiting: BTreeMap::new(),
            outgoing: Vec::new(),
            subscriptions: BTreeMap::new(),
            unfinished: BTreeMap::new(),
            former: BTreeSet::new(),
        }
    }

    /// There is no session, or no telling whether there is one: nothing of an earlier one is owed.
    pub(super) fn forget_session(&mut self) {
        self.ledger.forget_session();
        self.awaiting.clear();
        self.outgoing.clear();
        self.subscriptions.clear();
        self.unfinished.clear();
        self.former.clear();
    }

    /// A connection is over, in good order or not; its session goes on.
    pub(super) fn leave(&mut self, connection: &Connection) {
        for (id, message) in &connection.in_flight {
            self.former.insert(*id);
            if matches!(message.stage, Stage::Written | Stage::Received) {
                self.unfinished.insert((message.number, message.retain), (*id, message.qos));
            }
        }
        // Requests that were not answered: the client does not know.
        for request in &connection.requests {
            let (Request::Subscribe(_, filter, _) | Request::Unsubscribe(_, filter)) = request;
            self.subscriptions.remove(filter);
        }
        self.release_debts();
        // What a source had begun goes on when it is subscribed again, and not before.
        let Client { unfinished, ledger, subscriptions, .. } = self;
        unfinished.retain(|(number, _), _| {
            let Some(entry) = ledger.get(*number) else { return false };
            matches!(entry.stream, Stream::Own | Stream::Others)
                || subscriptions.keys().any(|filter| filter.matches(entry.topic))
        });
    }

    /// The server's process died: what it knew of packet ids may be gone.
    pub(super) fn server_died(&mut self) {
        self.unfinished.retain(|_, (_, qos)| *qos == QoS::ExactlyOnce);
        self.ledger.crash();
    }

    /// What the application has for the client is owed only while something is subscribed that gets it.
    pub(super) fn release_debts(&mut self) {
        for (number, entry) in self.ledger.owed_by_application() {
            if self.at_least(entry.topic, false) == Level::Q0 {
                self.ledger.excuse(number);
                // Its source goes on where it was when it is subscribed again.
                self.unfinished.remove(&(number, false));
                self.unfinished.remove(&(number, true));
            }
        }
    }

    /// The QoS at which subscriptions get a topic at least; 0 also where none does.
    pub(super) fn at_least(&self, topic: &str, own: bool) -> Level {
        let matching = self.subscriptions.iter().filter(|(filter, _)| filter.matches(topic));
        let counted = matching.filter(|(_, subscription)| !(own && subscription.no_local));
        counted.map(|(_, subscription)| subscription.at_least).max().unwrap_or(Level::Q0)
    }

    /// The client asks for a filter.
    pub(super) fn asks(&mut self, filter: Filter, qos: Level, no_local: bool) {
        let known = self.subscriptions.get(&filter).map_or(Level::Q0, |known| known.at_least);
        let at_least = known.min(qos);
        self.subscriptions.insert(filter, Subscription { at_least, no_local });
        self.release_debts();
    }

    /// The server wrote a packet. It is judged, and waits until the client takes it.
    pub(super) fn written(&mut self, on: &mut Connection, packet: ServerPacket, now_ms: u64) -> Verdict {
        match &packet {
            ServerPacket::Connack(_) => return violation("a second CONNACK"),
            ServerPacket::Publish(publish, _) => self.publish_written(on, publish, now_ms)?,
            ServerPacket::Puback(ack) => self.answered(on, AckKind::Puback, ack)?,
            ServerPacket::Pubrec(ack) => self.answered(on, AckKind::Pubrec, ack)?,
            ServerPacket::Pubcomp(ack) => {
                let id = ack.packet_id.get();
                let known = self.outgoing.iter().any(|one| one.id == id && one.stage == Sent::Released);
                require(known || on.strays.contains(&id), || format!("PUBCOMP {id} without a PUBREL"))?;
            }
            ServerPacket::Pubrel(ack) => self.release_written(on, ack)?,
            ServerPacket::Suback(suback) => {
                let id = suback.packet_id.get();
                let Some(Request::Subscribe(asked, filter, qos)) = on.requests.pop_front() else {
                    return violation(format!("SUBACK {id} out of turn"));
                };
                require(asked == id, || format!("SUBACK {id} out of order: {asked} is first"))?;
                require(suback.codes.len() == 1, || "a SUBACK with another number of codes".to_owned())?;
                self.granted(on, filter, qos, suback.codes[0])?;
            }
            ServerPacket::Unsuback(unsuback) => {
                let id = unsuback.packet_id.get();
                let Some(Request::Unsubscribe(asked, _)) = on.requests.pop_front() else {
                    return violation(format!("UNSUBACK {id} out of turn"));
                };
                require(asked == id, || format!("UNSUBACK {id} out of order: {asked} is first"))?;
            }
            ServerPacket::Pingresp => {
                require(on.pings > 0, || "PINGRESP without a PINGREQ".to_owned())?;
                on.pings -= 1;
            }
            ServerPacket::Disconnect(disconnect) => {
                require(self.version == Version::V5, || {
                    "a DISCONNECT to a 3.1.1 client [MQTT-3.14.0-1]".to_owned()
                })?;
                let blameless = matches!(
                    disconnect.reason,
                    ReasonCode::QuotaExceeded | ReasonCode::SessionTakenOver | ReasonCode::ServerShuttingDown
                );
                require(blameless || on.stray, || {
                    format!("a client that did nothing wrong is sent away: {disconnect:?}")
                })?;
            }
            ServerPacket::Auth(_) => return violation("AUTH without an authentication method"),
        }
        on.inbox.push_back(packet);
        Ok(())
    }

    fn granted(&mut self, on: &Connection, filter: Filter, asked: Level, code: ReasonCode) -> Verdict {
        let level = match code {
            ReasonCode::GRANTED_QOS_0 => Level::Q0,
            ReasonCode::GrantedQoS1 => Level::Q1,
            ReasonCode::GrantedQoS2 => Level::Q2,
            _ => {
                self.subscriptions.remove(&filter);
                return require(filter == Filter::Refused, || format!("{filter:?} was refused: {code:?}"));
            }
        };
        require(level <= asked, || format!("{filter:?} is granted {level:?}, and {asked:?} was asked"))?;
        // What is asked about the same filter behind this is on its way.
        let later = on.requests.iter().filter_map(|request| match request {
            Request::Subscribe(_, other, qos) if *other == filter => Some(*qos),
            Request::Unsubscribe(_, other) if *other == filter => Some(Level::Q0),
            _ => None,
        });
        if let Some(subscription) = self.subscriptions.get_mut(&filter) {
            subscription.at_least = later.min().map_or(level, |later| later.min(level));
        }
        Ok(())
    }

    fn publish_written(&mut self, on: &mut Connection, publish: &Publish, now_ms: u64) -> Verdict {
        let number = number_of(&publish.payload);
        let Some(entry) = self.ledger.get(number).cloned() else {
            return violation(format!("a message that nobody published: {publish:?}"));
        };
        require(*publish.topic == *entry.topic, || {
            format!(
                "message {number} comes with the topic {}, and was published to {}",
                publish.topic.as_str(),
                entry.topic
            )
        })?;
        require(publish.qos <= entry.qos.into(), || format!("message {number} comes at {:?}", publish.qos))?;
        // What waits for the commit of a QoS 2 message, itself included, is on its way already.
        let held =
            publish.qos == QoS::ExactlyOnce || on.in_flight.values().any(|one| one.qos == QoS::ExactlyOnce);
        // And what the client itself publishes counts from when the server reads it.
        let held = held || on.narrow || entry.stream == Stream::Own;
        require(held || entry.expires_ms.is_none_or(|at_ms| now_ms < at_ms) || publish.dup, || {
            format!("message {number} had expired [MQTT-3.3.2-5]")
        })?;
        match publish.qos {
            QoS::AtMostOnce => self.seen.qos_0 += 1,
            QoS::AtLeastOnce => self.seen.qos_1 += 1,
            QoS::ExactlyOnce => self.seen.qos_2 += 1,
        }
        self.seen.again += usize::from(publish.dup);
        if !publish.retain {
            let again = !on.seen.insert(number);
            let may_be = entry.repeated && publish.qos < QoS::ExactlyOnce;
            require(!again || may_be, || format!("message {number} comes twice on one connection"))?;
            let stream = match entry.stream {
                Stream::Own => 0,
                Stream::Others => 1,
                Stream::Log(_) => 2,
                Stream::Value(_) => 3,
            };
            let last = on.last.entry((stream, publish.qos == QoS::AtMostOnce, entry.topic)).or_default();
            require(number > *last || may_be, || {
                format!("message {number} comes behind message {last} of the same topic [MQTT-4.6.0-6]")
            })?;
            *last = number.max(*last);
        }
        let Some(id) = publish.packet_id.map(std::num::NonZero::get) else {
            return require(!publish.dup, || format!("message {number}: DUP at QoS 0 [MQTT-3.3.1-2]"));
        };
        require(!on.in_flight.contains_key(&id), || {
            format!("packet id {id} is used for message {number} while it is in flight [MQTT-2.2.1-4]")
        })?;
        if let Some(awaited) = self.awaiting.get(&id) {
            require(*awaited == number && publish.qos == QoS::ExactlyOnce, || {
                format!(
                    "packet id {id} is used for message {number} before message {awaited} is released [MQTT-2.2.1-4]"
                )
            })?;
        }
        // Of a retained message there may be several copies, one for each subscription, and of one published again at QoS 1 too.
        let is_single = !publish.retain && !entry.repeated;
        if let Some((old, _)) = self.unfinished.remove(&(number, publish.retain)).filter(|_| is_single) {
            require(old == id, || {
                format!("message {number} comes again with packet id {id}; it was {old} [MQTT-4.4.0-1]")
            })?;
            require(publish.dup, || format!("message {number} comes again without DUP [MQTT-3.3.1-1]"))?;
        } else {
            // What was written when the network had gone was sent for all that the server knows.
            require(!publish.dup || on.resumed, || {
                format!("message {number} has DUP, and was never sent before")
            })?;
        }
        on.earlier.remove(&id);
        on.in_flight
            .insert(id, InFlight { number, retain: publish.retain, qos: publish.qos, stage: Stage::Written });
        self.check_window(on)
    }

    fn check_window(&mut self, on: &Connection) -> Verdict {
        let limit = on.receive_maximum;
        let count = on.in_flight.keys().filter(|id| !on.earlier.contains(id)).count();
        self.seen.full += usize::from(count == limit);
        require(self.version == Version::V311 || count <= limit, || {
            format!("{count} messages are in flight, and the client takes {limit} [MQTT-3.3.4-9]")
        })
    }

    fn release_written(&mut self, on: &mut Connection, ack: &Ack) -> Verdict {
        let id = ack.packet_id.get();
        match on.in_flight.get_mut(&id) {
            Some(message) if message.stage == Stage::Recorded => message.stage = Stage::ReleaseWritten,
            Some(message) => {
                return violation(format!("PUBREL {id} while the message is {:?}", message.stage));
            }
            None if self.former.contains(&id) || self.awaiting.contains_key(&id) => {
                let number = self.awaiting.get(&id).copied().unwrap_or_default();
                let message =
                    InFlight { number, retain: false, qos: QoS::ExactlyOnce, stage: Stage::ReleaseWritten };
                self.unfinished.remove(&(number, false));
                self.unfinished.remove(&(number, true));
                // What was published on an earlier connection does not count on this one (4.9).
                on.in_flight.insert(id, message);
                on.earlier.insert(id);
            }
            None => {
                require(on.strays.contains(&id), || format!("PUBREL {id} for nothing [MQTT-4.3.3-5]"))?;
            }
        }
        Ok(())
    }

    fn answered(&mut self, on: &mut Connection, kind: AckKind, ack: &Ack) -> Verdict {
        let id = ack.packet_id.get();
        let mine = on.unanswered.iter().position(|(wanted, ..)| *wanted == kind);
        let Some((_, first, number)) = mine.and_then(|index| on.unanswered.remove(index)) else {
            return violation(format!("{kind:?} {id} without a PUBLISH"));
        };
        self.seen.acknowledged += 1;
        require(first == id, || format!("{kind:?} {id} out of order: {first} is first [MQTT-4.6.0-2]"))?;
        let Some(entry) = self.ledger.get(number).cloned() else { return Ok(()) };
        if ack.reason.is_error() {
            return require(matches!(entry.topic, "cmd" | "no/x"), || {
                format!("message {number} was refused: {ack:?}")
            });
        }
        require(entry.topic != "no/x", || format!("message {number} was taken, and may not be"))?;
        require(self.ledger.is_durable(number), || {
            format!("message {number} was acknowledged before it was durable")
        })?;
        if entry.topic == "cmd" {
            return require(entry.queued, || {
                format!("command {number} was acknowledged before it was answered")
            });
        }
        Ok(())
    }

    /// The client takes the next packet off its connection; false when there is none.
    pub(super) fn receive(&mut self, on: &mut Connection) -> Result<bool, String> {
        let Some(packet) = on.inbox.pop_front() else { return Ok(false) };
        match packet {
            ServerPacket::Publish(publish, _) => self.publish_received(on, &publish)?,
            ServerPacket::Puback(ack) => self.over(ack.packet_id.get(), Level::Q1, Sent::Published),
            ServerPacket::Pubcomp(ack) => self.over(ack.packet_id.get(), Level::Q2, Sent::Released),
            ServerPacket::Pubrec(ack) if ack.reason.is_error() => {
                self.over(ack.packet_id.get(), Level::Q2, Sent::Published);
            }
            ServerPacket::Pubrec(ack) => {
                let mine =
                    |one: &&mut Outgoing| one.id == ack.packet_id.get() && one.stage == Sent::Published;
                if let Some(one) = self.outgoing.iter_mut().find(mine) {
                    one.stage = Sent::Recorded;
                }
            }
            ServerPacket::Pubrel(ack) => {
                let id = ack.packet_id.get();
                self.awaiting.remove(&id);
                if let Some(message) = on.in_flight.get_mut(&id) {
                    message.stage = Stage::Released;
                }
            }
            ServerPacket::Disconnect(_) => on.over = true,
            _ => {}
        }
        Ok(true)
    }

    fn over(&mut self, id: u16, qos: Level, stage: Sent) {
        let mine = |one: &Outgoing| one.id == id && one.qos == qos && one.stage == stage;
        if let Some(index) = self.outgoing.iter().position(mine) {
            self.outgoing.remove(index);
        }
    }

    fn publish_received(&mut self, on: &mut Connection, publish: &Publish) -> Verdict {
        let number = number_of(&publish.payload);
        let id = publish.packet_id.map(std::num::NonZero::get);
        if let Some(message) = id.and_then(|id| on.in_flight.get_mut(&id))
            && message.stage == Stage::Written
        {
            message.stage = Stage::Received;
        }
        let exactly = publish.qos == QoS::ExactlyOnce;
        if exactly && let Some(id) = id {
            if self.awaiting.contains_key(&id) {
                return Ok(()); // It is here already [MQTT-4.3.3-10].
            }
            self.awaiting.insert(id, number);
        }
        if let Some(entry) = self.ledger.get(number) {
            let again = exactly && entry.exactly && entry.received > 0 && !publish.retain;
            require(!again, || format!("message {number} is delivered twice, and QoS 2 is exactly once"))?;
            entry.received += u32::from(!publish.retain || entry.received == 0);
            entry.exactly |= exactly && !publish.retain;
        }
        Ok(())
    }

    /// What the client has to say about one of the messages that it has received.
    pub(super) fn acknowledge(
        &mut self,
        on: &mut Connection,
        which: usize,
        refuse: bool,
    ) -> Option<(AckKind, u16, bool)> {
        let open: Vec<u16> = on
            .in_flight
            .iter()
            .filter(|(_, message)| matches!(message.stage, Stage::Received | Stage::Released))
            .map(|(id, _)| *id)
            .collect();
        let id = *open.get(which.checked_rem(open.len())?)?;
        let message = on.in_flight.get_mut(&id)?;
        let refuse = refuse && message.stage == Stage::Received && self.version == Version::V5;
        let kind = match (message.stage, message.qos) {
            (Stage::Released, _) => AckKind::Pubcomp,
            (_, QoS::ExactlyOnce) => AckKind::Pubrec,
            _ => AckKind::Puback,
        };
        if let Some(entry) = self.ledger.get(message.number) {
            entry.settled = true;
        }
        if kind == AckKind::Pubrec && !refuse {
            message.stage = Stage::Recorded;
        } else {
            if kind == AckKind::Pubrec {
                self.awaiting.remove(&id);
                // What it does not take it has not received: the server may not hear of it, and send it again.
                if let Some(entry) = self.ledger.get(message.number) {
                    entry.received = 0;
                    entry.exactly = false;
                }
            }
            on.in_flight.remove(&id);
            self.former.insert(id);
        }
        Some((kind, id, refuse))
    }

    /// The client says something that nothing asked for. What is in flight under that id is acknowledged all the same, where the
    /// server takes it for that.
    pub(super) fn stray(&mut self, on: &mut Connection, kind: AckKind, id: u16) {
        on.stray = true;
        on.strays.insert(id);
        let ends = match kind {
            AckKind::Puback | AckKind::Pubcomp => true,
            AckKind::Pubrec => false,
            AckKind::Pubrel => return,
        };
        if let Some(message) = on.in_flight.get_mut(&id) {
            if let Some(entry) = self.ledger.get(message.number) {
                entry.settled = true;
                // Who breaks the rules of an id is promised nothing about it.
                entry.exactly = false;
                entry.repeated = true;
            }
            self.awaiting.remove(&id);
            if ends {
                on.in_flight.remove(&id);
                self.former.insert(id);
            } else {
                message.stage = Stage::Recorded;
            }
        }
    }

    /// Nothing more is to come: everything that is owed has come, and everything that was begun is finished [MQTT-3.10.4-3].
    pub(super) fn check_finished(&self, now_ms: u64) -> Verdict {
        self.ledger.check_paid(now_ms)?;
        let left = self.unfinished.keys().find(|(number, _)| !self.ledger.is_done(*number, now_ms));
        require(left.is_none(), || format!("message {left:?} was begun and never finished [MQTT-4.4.0-1]"))
    }
}

impl Filter {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Filter::Plain => "p/#",
            Filter::PlainA => "p/a",
            Filter::Log => "log/#",
            Filter::LogA => "log/a",
            Filter::State => "state/#",
            Filter::Mixed => "+/a",
            Filter::Refused => "no/#",
        }
    }

    fn matches(self, topic: &str) -> bool {
        // The application reads values for their own filter only.
        (self == Filter::State || !topic.starts_with("state/")) && crate::topic::matches(self.as_str(), topic)
    }
}
