//! A client: it connects, writes, reads and acknowledges when the world says so, and records all it does and sees.
//!
//! Its outbox and what it has said to have read outlive its own death, as they would on a phone's disk; its connection does not. What
//! was not acknowledged is sent again on the next connection, in order and under the same ids.

pub(crate) mod content;
mod reading;
mod writing;

use crate::cast::Part;
use crate::notes::Notes;
use crate::pipe::{Pipe, ServerEnd};
use chasqui_broker::codec::packet::{ack, connect, disconnect, publish, subscribe};
use chasqui_broker::codec::{
    AckOut, Disconnect, Filters, PacketId, PacketType, Peer, PublishOut, QoS, ReasonCode, Subscribe,
    SubscriptionOptions, UserProperties, Version,
};
use chasqui_proto::v1;
use chasqui_testkit::Hello;
use chasqui_testkit::history::{Conversation, Event, MessageId};
use prost::Message as _;
use rand::RngExt;
use rand::rngs::SmallRng;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
pub(crate) use writing::GROUP;
use writing::Known;

/// Where plain messages go, and the filter that gets them all.
const PLAIN: &str = "plain/";
const ALL_PLAIN: &str = "plain/#";

/// What a message is.
#[derive(Clone, Debug)]
enum What {
    Chat(Conversation),
    /// Something is done to a message.
    Act(Conversation),
    /// Something is done about a group.
    Govern,
    Plain {
        retain: bool,
    },
}

#[derive(Clone, Debug)]
struct Outgoing {
    id: MessageId,
    what: What,
    topic: Arc<str>,
    payload: Vec<u8>,
    attempts: u64,
}

/// What a PUBACK is for.
enum Asked {
    /// The first of the outbox.
    Message,
    Read {
        conversation: Conversation,
        up_to: u64,
    },
}

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// CONNECT is written.
    Greeting,
    Open,
    /// DISCONNECT is written.
    Leaving,
}

struct Connection {
    pipe: Pipe,
    stage: Stage,
    /// The beginning of a packet.
    incoming: Vec<u8>,
    next_id: u16,
    /// So many of the outbox were written here.
    in_flight: usize,
    asked: VecDeque<(PacketId, Asked)>,
    /// Deliveries to be acknowledged, and their places in the inbox.
    to_confirm: VecDeque<(PacketId, Option<u64>)>,
    /// Filters whose SUBACK is to come.
    subscribing: usize,
    /// Publishes that the server takes unanswered.
    receive_maximum: usize,
    /// It receives nothing for so many turns.
    pause: u32,
    /// When it last received something or looked for it, and whether that was ever so long ago that a server may give it up.
    received_ms: u64,
    slow: bool,
}

/// See the module.
pub(crate) struct Client {
    pub(crate) part: Part,
    connection: Option<Connection>,
    /// It comes at the end, to see what is retained.
    visits: bool,
    subscribed: bool,
    composed: u64,
    outbox: VecDeque<Outgoing>,
    /// How far its user has seen each conversation, and what of that is to be said as read.
    newest: BTreeMap<Conversation, u64>,
    known: VecDeque<Known>,
    to_say: BTreeMap<Conversation, u64>,
}

impl Client {
    pub(crate) fn new(part: Part) -> Client {
        Client {
            part,
            connection: None,
            visits: false,
            subscribed: false,
            composed: 0,
            outbox: VecDeque::new(),
            newest: BTreeMap::new(),
            known: VecDeque::new(),
            to_say: BTreeMap::new(),
        }
    }

    /// A client that comes at the end.
    pub(crate) fn visitor(part: Part) -> Client {
        Client { visits: true, ..Client::new(part) }
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.connection.is_some()
    }

    /// Whether it is subscribed, and the connection is there to use.
    pub(crate) fn is_ready(&self) -> bool {
        self.subscribed && self.connection.as_ref().is_some_and(|connection| connection.stage == Stage::Open)
    }

    /// Whether nothing is left that it would do by itself.
    pub(crate) fn is_at_rest(&self) -> bool {
        let quiet = |connection: &Connection| {
            connection.asked.is_empty()
                && connection.to_confirm.is_empty()
                && connection.pipe.on_the_way() == 0
                && connection.pipe.written() == 0
        };
        self.is_ready()
            && self.outbox.is_empty()
            && self.to_say.is_empty()
            && self.connection.as_ref().is_some_and(quiet)
    }

    /// What is missing for it to be at rest, for people.
    pub(crate) fn unrest(&self) -> String {
        let connection = self.connection.as_ref().map(|connection| {
            format!(
                "{:?}, {} unanswered, {} to be acknowledged",
                connection.stage,
                connection.asked.len(),
                connection.to_confirm.len()
            )
        });
        let (outbox, connection) =
            (self.outbox.len(), connection.unwrap_or_else(|| "not connected".to_owned()));
        format!("{}: {connection}, {outbox} in the outbox", self.part.device)
    }

    /// Opens a connection and says CONNECT.
    pub(crate) fn connect(&mut self, room: usize, notes: &mut Notes) -> ServerEnd {
        debug_assert!(self.connection.is_none());
        let (pipe, end) = Pipe::new(room);
        let device = &self.part.device;
        let mut hello = Hello::new(self.part.version, &device.id).user(&device.user, &device.user).kept();
        if self.part.version == Version::V5 {
            hello.0.properties.receive_maximum = Some(self.part.receive_maximum);
        }
        let mut out = Vec::new();
        connect::encode(&mut out, &hello.0).expect("a CONNECT that says nothing unusual");
        pipe.send(&out);
        notes.say(|| format!("{device} connects"));
        self.connection = Some(Connection {
            pipe,
            stage: Stage::Greeting,
            incoming: Vec::new(),
            next_id: 0,
            in_flight: 0,
            asked: VecDeque::new(),
            to_confirm: VecDeque::new(),
            subscribing: 0,
            receive_maximum: usize::MAX,
            pause: 0,
            received_ms: notes.now_ms,
            slow: false,
        });
        end
    }

    fn peer(&self) -> Peer {
        Peer::unlimited(self.part.version)
    }

    fn subscribe(&mut self) {
        let peer = self.peer();
        let filter = format!("u/{}/#", self.part.device.user);
        let filters = [&*filter, ALL_PLAIN];
        let filters = if self.part.follows { &filters[..] } else { &filters[..1] };
        let Some(connection) = &mut self.connection else { return };
        connection.subscribing = filters.len();
        let options = SubscriptionOptions::qos(QoS::AtLeastOnce);
        let packet = Subscribe {
            packet_id: connection.packet_id(),
            subscription_id: None,
            user_properties: UserProperties::new(),
            filters: Filters::<SubscriptionOptions>::new(filters.iter().map(|filter| (*filter, options)))
                .expect("at least one filter"),
        };
        let mut out = Vec::new();
        subscribe::encode(&mut out, &peer, &packet).expect("a SUBSCRIBE that says nothing unusual");
        connection.pipe.send(&out);
    }

    /// Writes one message as far as the window goes: one that was not acknowledged, or else a new one if it is to `compose`.
    pub(crate) fn write(&mut self, compose: bool, rng: &mut SmallRng, notes: &mut Notes) -> bool {
        let (ready, peer) = (self.is_ready(), self.peer());
        let Some(connection) = self.connection.as_ref().filter(|_| ready) else { return false };
        let in_flight = connection.in_flight;
        if in_flight >= self.part.window || !connection.may_publish() {
            return false;
        }
        if in_flight == self.outbox.len() {
            if !compose || self.part.writes_to.is_empty() {
                return false;
            }
            let message = self.compose(rng);
            self.outbox.push_back(message);
        }
        let device = self.part.device.clone();
        let Some(connection) = &mut self.connection else { return false };
        let message = &mut self.outbox[in_flight];
        let id = message.id.clone();
        let retain = match &message.what {
            What::Chat(conversation) => {
                notes.event(Event::Sent { device, conversation: conversation.clone(), id });
                false
            }
            What::Act(conversation) => {
                notes.event(Event::Acted { device, conversation: conversation.clone(), id });
                false
            }
            What::Govern => {
                notes.say(|| format!("{device} publishes {} to {}", message.id, message.topic));
                false
            }
            What::Plain { retain } => {
                let topic = Arc::clone(&message.topic);
                notes.event(Event::Published { device, topic, id, retain: *retain });
                *retain
            }
        };
        let packet_id = connection.packet_id();
        let out = PublishOut {
            qos: QoS::AtLeastOnce,
            packet_id: Some(packet_id),
            dup: message.attempts > 0,
            retain,
            ..PublishOut::new(&message.topic, &message.payload)
        };
        connection.publish(peer, &out);
        message.attempts += 1;
        connection.in_flight += 1;
        connection.asked.push_back((packet_id, Asked::Message));
        true
    }

    /// Acknowledges so many of the deliveries that came.
    pub(crate) fn confirm(&mut self, count: usize, notes: &mut Notes) -> bool {
        let (peer, backwards, device) = (self.peer(), self.part.acks_backwards, self.part.device.clone());
        let open = |connection: &&mut Connection| connection.stage == Stage::Open;
        let Some(connection) = self.connection.as_mut().filter(open) else { return false };
        let mut confirmed = false;
        for _ in 0..count {
            let next =
                if backwards { connection.to_confirm.pop_back() } else { connection.to_confirm.pop_front() };
            let Some((packet_id, position)) = next else { break };
            if let Some(position) = position {
                notes.event(Event::Confirmed { device: device.clone(), position });
            }
            let mut out = Vec::new();
            ack::encode(&mut out, &peer, PacketType::Puback, &AckOut::success(packet_id)).expect("valid");
            connection.pipe.send(&out);
            confirmed = true;
        }
        confirmed
    }

    /// Decides that its user has read something that came.
    pub(crate) fn look(&mut self, rng: &mut SmallRng) {
        if !self.newest.is_empty() {
            let which = rng.random_range(0..self.newest.len());
            let seen = self.newest.iter().nth(which);
            self.to_say.extend(seen.map(|(conversation, up_to)| (conversation.clone(), *up_to)));
        }
    }

    /// Says how far its user has read, once on each connection until it is acknowledged.
    pub(crate) fn say_read(&mut self, notes: &mut Notes) -> bool {
        let (ready, peer) = (self.is_ready(), self.peer());
        let may = |connection: &&mut Connection| ready && connection.may_publish();
        let Some(connection) = self.connection.as_mut().filter(may) else { return false };
        let said = |conversation: &Conversation, up_to: u64| {
            connection.asked.iter().any(|(_, asked)| {
                matches!(asked, Asked::Read { conversation: of, up_to: to } if of == conversation && *to >= up_to)
            })
        };
        let next = self.to_say.iter().find(|(conversation, up_to)| !said(conversation, **up_to));
        let Some((conversation, up_to)) = next.map(|(conversation, up_to)| (conversation.clone(), *up_to))
        else {
            return false;
        };
        let device = self.part.device.clone();
        let chat = conversation.name_for(&device.user);
        let read = v1::Read { conversation: chat, up_to_seq: up_to, ..v1::Read::default() };
        notes.event(Event::SaidRead { device, conversation: conversation.clone(), up_to });
        let packet_id = connection.packet_id();
        let payload = read.encode_to_vec();
        let out = PublishOut {
            qos: QoS::AtLeastOnce,
            packet_id: Some(packet_id),
            ..PublishOut::new("do/read", &payload)
        };
        connection.publish(peer, &out);
        connection.asked.push_back((packet_id, Asked::Read { conversation, up_to }));
        true
    }

    /// Says DISCONNECT, and then waits until the server has closed.
    pub(crate) fn leave(&mut self, notes: &mut Notes) {
        let (ready, peer) = (self.is_ready(), self.peer());
        let Some(connection) = self.connection.as_mut().filter(|_| ready) else { return };
        notes.seen.left += 1;
        notes.event(Event::Left { device: self.part.device.clone() });
        let mut out = Vec::new();
        disconnect::encode_from_client(&mut out, &peer, &Disconnect::new(ReasonCode::Success))
            .expect("valid");
        connection.pipe.send(&out);
        connection.stage = Stage::Leaving;
    }

    /// The server is gone, and with it what was on its way.
    pub(crate) fn server_died(&mut self) {
        self.connection = None;
    }

    /// The connection is over for the client. The other end may not know: it is the answer.
    pub(crate) fn sever(&mut self, notes: &mut Notes) -> Option<Pipe> {
        let connection = self.connection.take()?;
        notes.event(Event::Severed { device: self.part.device.clone() });
        Some(connection.pipe)
    }

    /// Receives nothing for so many turns.
    pub(crate) fn pause(&mut self, turns: u32) {
        if let Some(connection) = &mut self.connection {
            connection.pause = turns;
        }
    }

    /// Lets some of what it wrote arrive.
    pub(crate) fn carry(&self, count: usize) -> bool {
        let Some(connection) = &self.connection else { return false };
        let any = connection.pipe.on_the_way() > 0;
        connection.pipe.arrive(count);
        any
    }
}

impl Connection {
    fn packet_id(&mut self) -> PacketId {
        self.next_id = self.next_id % 60_000 + 1;
        PacketId::new(self.next_id).expect("never 0")
    }

    fn may_publish(&self) -> bool {
        self.asked.len() < self.receive_maximum
    }

    fn publish(&mut self, peer: Peer, out: &PublishOut<'_>) {
        let mut bytes = Vec::new();
        publish::encode(&mut bytes, &peer, out).expect("a PUBLISH that says nothing unusual");
        self.pipe.send(&bytes);
    }
}
