//! One client as a plain state machine: bytes and the time in, bytes out. Whoever drives it owns the socket.

use crate::payload::Stamp;
use crate::presence;
use crate::receipts;
use crate::role::{Asks, Manner, Prepares, Reads, Role, Stay};
use crate::tally::Tally;
use crate::wire::{self, Hello, Incoming, Malformed};
use std::collections::{BTreeSet, VecDeque};
use thiserror::Error;

/// Numbers of one publisher that may be missing at a time; beyond, the oldest are taken for lost.
const MOST_MISSING: usize = 100_000;

/// The longest keep-alive there is, so that no PINGREQ is among what is measured. Some brokers refuse a CONNECT without one.
const KEEP_ALIVE_S: u16 = u16::MAX;

/// Why a client's connection is of no more use.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Broken {
    /// CONNACK with an error.
    #[error("the broker refused a CONNECT with code {0:#04x}")]
    Refused(u8),
    /// SUBACK with an error.
    #[error("the broker refused a subscription to {0}")]
    NotSubscribed(String),
    /// PUBACK with an error, for what a client needs before it can begin.
    #[error("the broker refused what a client has to prepare, with code {0:#04x}")]
    NotPrepared(u8),
    /// DISCONNECT.
    #[error("the broker disconnected a client with code {0:#04x}")]
    Disconnected(u8),
    /// No MQTT.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// CONNACK without Session Present, for a session that was to be there.
    #[error("the broker has forgotten a session that was to be kept")]
    Forgotten,
    /// The connection is gone.
    #[error("the broker closed a connection")]
    Closed,
}

/// The packet id of what a client prepares: others are not in use then.
const PREPARES_ID: u16 = u16::MAX - 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Connecting,
    Subscribing,
    /// What it prepares is not acknowledged.
    Preparing,
    Ready,
    /// DISCONNECT is written.
    Over,
}

#[derive(Debug, Clone, Copy)]
struct Flight {
    id: u16,
    seq: u64,
    due_ns: u64,
}

/// A look at what is retained, or a question.
#[derive(Debug, Clone, Default)]
struct Look {
    number: u64,
    filter: String,
    began_ns: u64,
    seen: u64,
}

/// What came from one publisher.
#[derive(Debug, Clone, Default)]
struct Heard {
    source: u32,
    next: u64,
    missing: BTreeSet<u64>,
    received: u64,
}

/// What a step of a client is given.
pub struct Context<'a> {
    /// What all have in common.
    pub manner: Manner,
    /// What is counted.
    pub tally: &'a mut Tally,
    /// Nanoseconds since the run began.
    pub now_ns: u64,
    /// Whether an acknowledgement makes place for the next publish.
    pub publishing: bool,
    /// A buffer.
    pub payload: &'a mut Vec<u8>,
}

/// See the module.
#[derive(Debug)]
pub struct Client {
    /// What it is for.
    pub role: Role,
    /// Bytes to be written.
    pub out: Vec<u8>,
    state: State,
    /// The beginning of a packet.
    rest: Vec<u8>,
    next_id: u16,
    next_seq: u64,
    in_flight: VecDeque<Flight>,
    /// Publishes that may be in flight: the server has a say in it [MQTT-3.3.4-7].
    most_in_flight: usize,
    /// When messages were due that wait for room.
    owed: VecDeque<u64>,
    /// Numbers and times of messages whose receipts have not come: delivered, read.
    unreceipted: [VecDeque<(u64, u64)>; 2],
    /// How many of its retained messages it has removed, since it began to.
    removed: Option<u64>,
    look: Look,
    acked: u64,
    heard: Vec<Heard>,
    /// Its subscription was granted, in a session that outlives connections.
    subscribed: bool,
    /// When it began to come back, until the first message is there.
    back_ns: Option<u64>,
}

impl Client {
    /// Not connected yet.
    pub fn new(role: Role) -> Client {
        let heard = role.hears.iter().map(|source| Heard { source: *source, ..Heard::default() }).collect();
        Client {
            role,
            out: Vec::new(),
            state: State::Connecting,
            rest: Vec::new(),
            next_id: 0,
            next_seq: 0,
            in_flight: VecDeque::new(),
            most_in_flight: usize::from(u16::MAX),
            owed: VecDeque::new(),
            unreceipted: Default::default(),
            removed: None,
            look: Look::default(),
            acked: 0,
            heard,
            subscribed: false,
            back_ns: None,
        }
    }

    /// There is going to be a connection: CONNECT is its first packet.
    pub fn connect(&mut self, manner: Manner, now_ns: u64) {
        self.state = State::Connecting;
        self.back_ns = self.subscribed.then_some(now_ns);
        self.out.clear();
        self.rest.clear();
        let Role { client_id, user, clean, .. } = &self.role;
        let hello = Hello {
            client_id,
            clean: *clean,
            user: user.as_deref(),
            keep_alive: KEEP_ALIVE_S,
            receive_maximum: manner.receive_maximum,
        };
        wire::connect(&mut self.out, manner.version, &hello);
        if let Some(arrivals) = &self.role.arrives {
            arrivals.comes(self.role.number, now_ns);
        }
    }

    /// Says goodbye.
    pub fn leave(&mut self) {
        wire::disconnect(&mut self.out);
        self.state = State::Over;
    }

    /// Whether it is connected and subscribed.
    pub fn is_ready(&self) -> bool {
        self.state == State::Ready
    }

    /// Whether it has said goodbye.
    pub fn is_over(&self) -> bool {
        self.state == State::Over
    }

    /// Publishes that are not acknowledged.
    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Publishes that were acknowledged with success, in all.
    pub fn acked(&self) -> u64 {
        self.acked
    }

    /// Different messages received from a publisher, in all.
    pub fn received_from(&self, source: u32) -> u64 {
        self.heard.iter().find(|heard| heard.source == source).map_or(0, |heard| heard.received)
    }

    /// Publishes as many messages as the window has room for.
    pub fn fill_window(&mut self, cx: &mut Context<'_>) {
        let window = cx.manner.window.min(self.most_in_flight);
        while self.may_publish() && self.in_flight.len() < window {
            self.publish(cx.now_ns, cx);
        }
    }

    fn may_publish(&self) -> bool {
        self.role.publishes() && self.role.quota.is_none_or(|quota| self.next_seq < quota)
    }

    /// Publishes a message that was due at this time, or owes it while too many are in flight.
    pub fn publish_due(&mut self, due_ns: u64, cx: &mut Context<'_>) {
        if self.in_flight.len() < self.most_in_flight {
            self.publish(due_ns, cx);
        } else {
            self.owed.push_back(due_ns);
        }
    }

    /// Nothing more is published of what it owes: how many messages that are.
    pub fn forgive(&mut self) -> u64 {
        std::mem::take(&mut self.owed).len() as u64
    }

    /// Publishes a message that was due at this time.
    fn publish(&mut self, due_ns: u64, cx: &mut Context<'_>) {
        let mut flight = Flight { id: 0, seq: self.next_seq, due_ns };
        if cx.manner.qos > 0 {
            flight.id = self.free_id();
            self.in_flight.push_back(flight);
        } else {
            self.acked += 1;
            cx.tally.acked += 1;
        }
        self.write(flight, cx);
        self.next_seq += 1;
        if self.role.reads.is_some() {
            // Numbers of a conversation begin at 1, and nobody else writes to it.
            self.unreceipted.iter_mut().for_each(|waiting| waiting.push_back((self.next_seq, due_ns)));
        }
        cx.tally.published += 1;
    }

    fn free_id(&mut self) -> u16 {
        self.next_id = self.next_id % u16::MAX + 1;
        self.next_id
    }

    fn write(&mut self, Flight { id, seq, due_ns }: Flight, cx: &mut Context<'_>) {
        let Manner { version, qos, form, size, .. } = cx.manner;
        Stamp { source: self.role.number, seq, due_ns }.write(cx.payload, form, size);
        if let Some(shelf) = &self.role.retains {
            let begins = self.out.len();
            wire::publish(&mut self.out, version, &shelf.topic(seq), qos, id, cx.payload);
            wire::set_retain(&mut self.out, begins);
        } else if let Some(names) = &self.role.spreads_over {
            let topic = format!("u/{names}{seq}/send");
            wire::publish(&mut self.out, version, &topic, qos, id, cx.payload);
        } else if let Some(topic) = &self.role.publishes_to {
            wire::publish(&mut self.out, version, topic, qos, id, cx.payload);
        }
    }

    /// Begins to remove what it has had retained: the broker is left as it was.
    pub fn remove_retained(&mut self, cx: &mut Context<'_>) {
        if self.role.retains.is_some() {
            self.removed.get_or_insert(0);
            self.go_on_removing(cx);
        }
    }

    fn go_on_removing(&mut self, cx: &mut Context<'_>) {
        let (Some(shelf), Some(mut removed)) = (self.role.retains.clone(), self.removed) else { return };
        while removed < self.next_seq && self.in_flight.len() < cx.manner.window {
            let id = self.free_id();
            self.in_flight.push_back(Flight { id, seq: removed, due_ns: cx.now_ns });
            let begins = self.out.len();
            wire::publish(&mut self.out, cx.manner.version, &shelf.topic(removed), 1, id, b"");
            wire::set_retain(&mut self.out, begins);
            removed += 1;
        }
        self.removed = Some(removed);
    }

    /// Subscribes to a few of the messages that are retained.
    pub fn look(&mut self, cx: &mut Context<'_>) {
        let Some(shelf) = &self.role.looks else { return };
        let number = self.look.number + 1;
        self.look = Look { number, filter: shelf.filter(number), began_ns: cx.now_ns, seen: 0 };
        wire::subscribe(&mut self.out, cx.manner.version, u16::MAX, &self.look.filter, cx.manner.qos);
    }

    /// Asks for what it is to ask for.
    pub fn ask(&mut self, cx: &mut Context<'_>) {
        let id = self.free_id();
        let Some(Asks { topic, payload }) = &self.role.asks else { return };
        self.look.began_ns = cx.now_ns;
        // Its acknowledgement is not waited for: the answer is.
        wire::publish(&mut self.out, cx.manner.version, topic, 1, id, payload);
    }

    /// It is answered, and asks again.
    fn was_answered(&mut self, cx: &mut Context<'_>) {
        cx.tally.cycles += 1;
        cx.tally.look_ns.saturating_record(cx.now_ns.saturating_sub(self.look.began_ns));
        if cx.publishing {
            self.ask(cx);
        }
    }

    /// One of the messages it looks for is there; behind the last it looks for others.
    fn saw(&mut self, cx: &mut Context<'_>) {
        self.look.seen += 1;
        let Some(shelf) = &self.role.looks else { return };
        if self.look.seen == shelf.per_group {
            cx.tally.cycles += 1;
            cx.tally.look_ns.saturating_record(cx.now_ns.saturating_sub(self.look.began_ns));
            wire::unsubscribe(&mut self.out, cx.manner.version, u16::MAX - 1, &self.look.filter);
            if cx.publishing {
                self.look(cx);
            }
        }
    }

    /// What was not acknowledged when the connection ended goes out again, as it was, in the order it had.
    fn publish_again(&mut self, cx: &mut Context<'_>) {
        for at in 0..self.in_flight.len() {
            let begins = self.out.len();
            self.write(self.in_flight[at], cx);
            wire::set_dup(&mut self.out, begins);
        }
    }

    /// Bytes came.
    pub fn take(&mut self, bytes: &[u8], cx: &mut Context<'_>) -> Result<(), Broken> {
        cx.tally.bytes_in += bytes.len() as u64;
        if self.rest.is_empty() {
            let used = self.take_all(bytes, cx)?;
            self.rest.extend_from_slice(&bytes[used..]);
            return Ok(());
        }
        let mut buffer = std::mem::take(&mut self.rest);
        buffer.extend_from_slice(bytes);
        let used = self.take_all(&buffer, cx)?;
        buffer.drain(..used);
        self.rest = buffer;
        Ok(())
    }

    fn take_all(&mut self, bytes: &[u8], cx: &mut Context<'_>) -> Result<usize, Broken> {
        let mut used = 0;
        while let Some((packet, length)) = wire::next(&bytes[used..], cx.manner.version)? {
            used += length;
            self.packet(packet, cx)?;
        }
        Ok(used)
    }

    fn packet(&mut self, packet: Incoming<'_>, cx: &mut Context<'_>) -> Result<(), Broken> {
        match packet {
            Incoming::Connack(present, 0, most) if self.subscribed => {
                self.most_in_flight = usize::from(most).min(cx.manner.most_in_flight);
                if !present {
                    return Err(Broken::Forgotten);
                }
                self.ready(cx);
                self.publish_again(cx);
            }
            Incoming::Connack(_, 0, _) if self.role.watches.is_some() => {
                let user = self.role.user.as_deref().unwrap_or_default();
                let filters = self.role.watches.as_ref().map(|watches| watches.filters(user));
                wire::subscribe_all(
                    &mut self.out,
                    cx.manner.version,
                    u16::MAX,
                    &filters.unwrap_or_default(),
                    0,
                );
                self.state = State::Subscribing;
            }
            Incoming::Connack(_, 0, most) => {
                self.most_in_flight = usize::from(most).min(cx.manner.most_in_flight);
                match &self.role.filter {
                    Some(filter) => {
                        wire::subscribe(&mut self.out, cx.manner.version, u16::MAX, filter, cx.manner.qos);
                        self.state = State::Subscribing;
                    }
                    None => self.ready(cx),
                }
            }
            Incoming::Connack(_, code, _) => return Err(Broken::Refused(code)),
            Incoming::Suback(true) => {
                match &self.role.prepares {
                    Some(Prepares { topic, payload }) => {
                        wire::publish(&mut self.out, cx.manner.version, topic, 1, PREPARES_ID, payload);
                        self.state = State::Preparing;
                    }
                    None => self.ready(cx),
                }
                self.subscribed = !self.role.clean && self.role.stay != Stay::Churning;
            }
            Incoming::Puback(PREPARES_ID, code) if self.state == State::Preparing => {
                if code >= 0x80 {
                    return Err(Broken::NotPrepared(code));
                }
                self.ready(cx);
            }
            Incoming::Suback(false) => {
                let filter = self.role.filter.clone().unwrap_or_else(|| self.look.filter.clone());
                return Err(Broken::NotSubscribed(filter));
            }
            Incoming::Publish { topic, payload, id, qos, retain } => {
                match qos {
                    0 => {}
                    1 => wire::puback(&mut self.out, id),
                    _ => wire::pubrec(&mut self.out, id),
                }
                if self.role.asks.is_some() {
                    self.was_answered(cx);
                } else if self.role.watches.is_some() {
                    self.shown(topic, payload, retain, cx);
                } else if self.role.looks.is_some() {
                    self.saw(cx);
                } else if self.role.reads.is_some() && receipts::is_receipt(topic) {
                    self.receipted(payload, cx);
                } else {
                    self.received(payload, cx);
                }
            }
            Incoming::Puback(id, code) => self.answered(id, code, cx),
            Incoming::Pubrec(id, code) if code >= 0x80 => self.answered(id, code, cx),
            Incoming::Pubrec(id, _) => wire::pubrel(&mut self.out, id),
            Incoming::Pubcomp(id) => self.answered(id, 0, cx),
            Incoming::Pubrel(id) => wire::pubcomp(&mut self.out, id),
            Incoming::Disconnect(code) => return Err(Broken::Disconnected(code)),
            Incoming::Other => {}
        }
        Ok(())
    }

    fn ready(&mut self, cx: &mut Context<'_>) {
        self.state = State::Ready;
        let churning = self.role.stay == Stay::Churning;
        if churning || self.role.stay == Stay::Away && !self.subscribed {
            self.leave();
            cx.tally.cycles += u64::from(churning);
        }
    }

    fn answered(&mut self, id: u16, code: u8, cx: &mut Context<'_>) {
        let at = self.in_flight.iter().position(|flight| flight.id == id);
        let Some(flight) = at.and_then(|at| self.in_flight.remove(at)) else { return };
        if code >= 0x80 {
            cx.tally.refused += 1;
        } else {
            self.acked += 1;
            cx.tally.acked += 1;
            let took_ns = cx.now_ns.saturating_sub(flight.due_ns);
            cx.tally.ack_ns.saturating_record(took_ns);
            cx.tally.slow += u64::from(took_ns > cx.manner.slow_ns);
        }
        if let Some(due_ns) = self.owed.pop_front() {
            self.publish(due_ns, cx);
        }
        self.go_on_removing(cx);
        if cx.publishing && cx.manner.window > 0 {
            self.fill_window(cx);
        }
    }

    fn received(&mut self, payload: &[u8], cx: &mut Context<'_>) {
        let stamp = Stamp::read(payload, cx.manner.form);
        let heard = stamp.and_then(|stamp| {
            let heard = self.heard.iter_mut().find(|heard| heard.source == stamp.source)?;
            Some((stamp, heard))
        });
        let Some((stamp, heard)) = heard else {
            cx.tally.others += 1;
            return;
        };
        if let Some(back_ns) = self.back_ns.take() {
            cx.tally.first_ns.saturating_record(cx.now_ns.saturating_sub(back_ns));
        }
        cx.tally.delivered += 1;
        cx.tally.delivery_ns.saturating_record(cx.now_ns.saturating_sub(stamp.due_ns));
        if stamp.seq < heard.next {
            if heard.missing.remove(&stamp.seq) {
                cx.tally.out_of_order += 1;
                heard.received += 1;
            } else {
                cx.tally.duplicated += 1;
            }
            return;
        }
        for missing in heard.next..stamp.seq {
            if heard.missing.len() == MOST_MISSING {
                heard.missing.pop_first();
            }
            heard.missing.insert(missing);
        }
        heard.next = stamp.seq + 1;
        heard.received += 1;
        if let Some(Reads { conversation, every }) = &self.role.reads
            && *every > 0
            && heard.next.is_multiple_of(*every)
        {
            receipts::write_read(cx.payload, conversation, heard.next);
            // Its acknowledgement is not waited for.
            let id = self.free_id();
            wire::publish(&mut self.out, cx.manner.version, receipts::READ_TOPIC, 1, id, cx.payload);
        }
    }

    /// Somebody whom it watches is there, or is not.
    fn shown(&mut self, topic: &[u8], payload: &[u8], retain: bool, cx: &mut Context<'_>) {
        let Some(watches) = self.role.watches.as_ref().filter(|_| !retain) else {
            cx.tally.others += 1;
            return;
        };
        cx.tally.delivered += 1;
        let came_ns = watches.number(topic).and_then(|number| watches.arrivals.when(number));
        if let Some(came_ns) = came_ns.filter(|_| presence::is_online(payload)) {
            cx.tally.delivery_ns.saturating_record(cx.now_ns.saturating_sub(came_ns));
        }
    }

    /// A receipt says how far the other side is.
    fn receipted(&mut self, payload: &[u8], cx: &mut Context<'_>) {
        let Some(up_to) = receipts::read_receipt(payload) else { return };
        let histograms = [&mut cx.tally.delivered_receipt_ns, &mut cx.tally.read_receipt_ns];
        for ((waiting, up_to), histogram) in self.unreceipted.iter_mut().zip(up_to).zip(histograms) {
            while let Some((_, due_ns)) = waiting.pop_front_if(|(seq, _)| *seq <= up_to) {
                histogram.saturating_record(cx.now_ns.saturating_sub(due_ns));
            }
        }
    }
}

#[cfg(test)]
mod tests;
