//! A client that goes on whatever happens to the server: it connects again, sends again what was not acknowledged, in order and under the
//! same ids, and records all it does and sees.

use super::wire::Wire;
use super::world::{Does, GROUP, Part, Phase, World, named};
use chasqui_broker::codec::client::ServerPacket;
use chasqui_broker::codec::{Ack, PacketId, Publish, ReasonCode};
use chasqui_proto::{SEQ_PROPERTY, v1};
use chasqui_testkit::Hello;
use chasqui_testkit::history::{Conversation, Device, Event, MessageId};
use prost::Message as _;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// After so many deliveries a user says how far they have read.
const READS_EVERY: usize = 25;
/// After so many deliveries, at most, one that leaves does so.
const STAYS: usize = 400;
/// Of those who edit and react, one in so many publishes does.
const ACTS_IN: u32 = 12;
/// A server that does not answer yet is tried again after this.
const RETRY: Duration = Duration::from_millis(2);

struct Outgoing {
    id: MessageId,
    conversation: Conversation,
    topic: String,
    payload: Vec<u8>,
    attempts: usize,
    what: What,
}

/// What it is that goes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Message,
    /// An edit, or a sign: done again, it is there again.
    Act,
    /// It makes the group.
    Group,
}

/// A message that something can be done to.
struct Known {
    conversation: Conversation,
    seq: u64,
    own: bool,
}

/// What a PUBACK is for.
enum Asked {
    /// The first of the unacknowledged messages.
    Message,
    Read {
        conversation: Conversation,
        up_to: u64,
    },
}

enum End {
    /// The play is over.
    Over,
    /// It left and comes back.
    Left,
}

/// See the module.
pub(crate) struct Player {
    world: Arc<World>,
    part: &'static Part,
    device: Device,
    rng: SmallRng,
    written: u64,
    /// Unacknowledged, oldest first; the first `in_flight` of them were sent in this connection.
    unacknowledged: VecDeque<Outgoing>,
    in_flight: usize,
    asked: VecDeque<(PacketId, Asked)>,
    connected: bool,
    subscribed: bool,
    seen: HashSet<MessageId>,
    /// It knows that there is a group.
    in_group: bool,
    /// The last message that it has seen, or sent.
    known: Option<Known>,
    /// The newest number of each conversation, and how many deliveries until it is said to be read.
    newest: HashMap<Conversation, u64>,
    until_read: usize,
    until_leaving: usize,
}

impl Player {
    pub(crate) fn new(world: Arc<World>, part: &'static Part, seed: u64) -> Player {
        Player {
            world,
            part,
            device: part.device(),
            rng: SmallRng::seed_from_u64(seed),
            written: 0,
            unacknowledged: VecDeque::new(),
            in_flight: 0,
            asked: VecDeque::new(),
            connected: false,
            subscribed: false,
            seen: HashSet::new(),
            in_group: false,
            known: None,
            newest: HashMap::new(),
            until_read: READS_EVERY,
            until_leaving: STAYS,
        }
    }

    /// Plays until it is over.
    pub(crate) async fn play(mut self) {
        let mut stage = self.world.stage.subscribe();
        loop {
            let (part, subscribed) = (self.part, self.subscribed);
            let ready = stage.wait_for(|stage| {
                let wanted = !(part.absent && subscribed) || stage.phase >= Phase::Quiet;
                stage.phase == Phase::Over || (stage.address.is_some() && wanted)
            });
            let Ok(now) = ready.await.map(|stage| *stage) else { return };
            let Some(address) = now.address else { return };
            let ended = self.connection(address).await;
            if std::mem::take(&mut self.connected) {
                self.world.tally.send_modify(|tally| tally.connected -= 1);
            }
            match ended {
                Ok(End::Over) => return,
                Ok(End::Left) => {}
                Err(_) if now.phase == Phase::Over => return,
                Err(_) => tokio::time::sleep(RETRY).await,
            }
        }
    }

    /// One connection, from CONNECT to its end.
    async fn connection(&mut self, address: SocketAddr) -> io::Result<End> {
        let hello = Hello::new(self.part.version, self.part.id).user(self.part.user, self.part.user).kept();
        let (mut wire, connack) = Wire::connect(address, &hello).await?;
        if connack.reason != ReasonCode::Success {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let resumed = connack.session_present;
        {
            let _gate = self.world.gate.read().await;
            // CONNACK may be the last that a server said before its end.
            self.world.is_served_at(address)?;
            self.world.history.record(Event::Connected { device: self.device.clone(), resumed });
        }
        self.connected = true;
        self.world.tally.send_modify(|tally| tally.connected += 1);
        self.in_flight = 0;
        self.asked.clear();
        self.subscribed &= resumed;
        if !self.subscribed {
            wire.subscribe(&format!("u/{}/#", self.part.user));
            wire.flush().await?;
        }
        let mut stage = self.world.stage.subscribe();
        loop {
            let phase = stage.borrow_and_update().phase;
            if self.subscribed {
                self.write(&mut wire, phase).await?;
                let leaves = self.part.leaves && self.until_leaving == 0 && phase <= Phase::Traffic;
                let absent = self.part.absent && phase == Phase::Meeting;
                if leaves || absent || phase == Phase::Over {
                    return self.leave(wire, address, phase).await;
                }
            }
            tokio::select! {
                packets = wire.read() => {
                    let packets = packets?;
                    let world = Arc::clone(&self.world);
                    let _gate = world.gate.read().await;
                    if world.severs {
                        world.is_served_at(address)?;
                    }
                    self.take(&mut wire, packets).await?;
                }
                _ = stage.changed() => {}
            }
        }
    }

    async fn leave(&mut self, wire: Wire, address: SocketAddr, phase: Phase) -> io::Result<End> {
        self.world.history.record(Event::Left { device: self.device.clone() });
        let late = wire.leave().await?;
        let world = Arc::clone(&self.world);
        let _gate = world.gate.read().await;
        if world.severs {
            world.is_served_at(address)?;
        }
        for packet in late {
            // What came before the server had read DISCONNECT.
            match packet {
                ServerPacket::Publish(publish, _) => self.received(&publish),
                ServerPacket::Puback(ack) => self.answered(&ack)?,
                _ => {}
            }
        }
        self.until_leaving = self.rng.random_range(STAYS / 4..STAYS);
        Ok(if phase == Phase::Over { End::Over } else { End::Left })
    }

    /// Writes messages as far as the window goes: those that were not acknowledged, then new ones.
    async fn write(&mut self, wire: &mut Wire, phase: Phase) -> io::Result<()> {
        let world = Arc::clone(&self.world);
        let _gate = world.gate.read().await;
        while self.in_flight < self.part.window {
            if self.in_flight == self.unacknowledged.len() {
                if phase != Phase::Traffic {
                    break;
                }
                self.compose();
            }
            let message = &mut self.unacknowledged[self.in_flight];
            let (device, conversation, id) =
                (self.device.clone(), message.conversation.clone(), message.id.clone());
            match message.what {
                What::Message => world.history.record(Event::Sent { device, conversation, id }),
                What::Act => world.history.record(Event::Acted { device, conversation, id }),
                What::Group => {}
            }
            let packet_id = wire.publish(&message.topic, &message.payload, message.attempts > 0);
            message.attempts += 1;
            self.in_flight += 1;
            self.asked.push_back((packet_id, Asked::Message));
        }
        if wire.has_output() { wire.flush().await } else { Ok(()) }
    }

    fn compose(&mut self) {
        self.written += 1;
        if self.part.does == Does::Founds && self.written == 1 {
            return self.found();
        }
        if self.part.does >= Does::Acts && self.rng.random_ratio(1, ACTS_IN) && self.act() {
            return;
        }
        let mut to = self.part.writes_to[self.written as usize % self.part.writes_to.len()];
        if to == GROUP && !self.in_group {
            to = self.part.writes_to[0];
        }
        let id: MessageId = format!("{}-{}-{}", self.part.user, self.part.id, self.written).into();
        // Small ones lie in the inboxes, large ones in the conversation.
        let room = if self.rng.random_ratio(1, 4) { self.rng.random_range(0..2_000) } else { 8 };
        let body = v1::Body { kind: Some(v1::body::Kind::Text(format!("{id} {}", "x".repeat(room)))) };
        // At most 16 bytes: the user is known anyway.
        let client_msg_id = format!("{}-{}", self.part.id, self.written).into_bytes().into();
        let send = v1::Send { client_msg_id, body: Some(body), ..v1::Send::default() };
        let conversation = named(self.part.user, to);
        let topic = format!("{}/send", conversation.name_for(self.part.user));
        let payload = send.encode_to_vec();
        self.put(Outgoing { id, conversation, topic, payload, attempts: 0, what: What::Message });
    }

    /// The last message is edited, or answered with a sign; false if there is none.
    fn act(&mut self) -> bool {
        let Some(Known { conversation, seq, own }) = self.known.take() else { return false };
        let id: MessageId = format!("{}-{}-{}", self.part.user, self.part.id, self.written).into();
        let name = conversation.name_for(self.part.user);
        let (topic, payload) = if own {
            let body = Some(v1::Body { kind: Some(v1::body::Kind::Text(format!("{id} again"))) });
            let edit = v1::Edit { conversation: name, seq, body, ..v1::Edit::default() };
            ("do/edit".to_owned(), edit.encode_to_vec())
        } else {
            let react = v1::React { conversation: name, seq, emoji: id.to_string(), request_id: 0 };
            ("do/react".to_owned(), react.encode_to_vec())
        };
        self.put(Outgoing { id, conversation, topic, payload, attempts: 0, what: What::Act });
        true
    }

    /// All users are to be in a group. Said again, it makes no second one.
    fn found(&mut self) {
        let create = v1::GroupCreate {
            group: GROUP.trim_start_matches("g/").to_owned(),
            name: "Hikers".to_owned(),
            members: vec!["bob".to_owned(), "carol".to_owned()],
            ..v1::GroupCreate::default()
        };
        let (id, conversation) = ("created".into(), named(self.part.user, GROUP));
        let (topic, payload) = ("do/group.create".to_owned(), create.encode_to_vec());
        self.put(Outgoing { id, conversation, topic, payload, attempts: 0, what: What::Group });
    }

    fn put(&mut self, message: Outgoing) {
        self.unacknowledged.push_back(message);
        let (device, open) = (self.device.clone(), self.unacknowledged.len());
        self.world.tally.send_if_modified(|tally| {
            tally.open.insert(device, open);
            false
        });
    }

    async fn take(&mut self, wire: &mut Wire, packets: Vec<ServerPacket>) -> io::Result<()> {
        let mut to_confirm = Vec::new();
        for packet in packets {
            match packet {
                ServerPacket::Publish(publish, _) => {
                    self.received(&publish);
                    to_confirm.extend(publish.packet_id.map(|packet_id| (packet_id, publish)));
                }
                ServerPacket::Puback(ack) => self.answered(&ack)?,
                ServerPacket::Suback(suback) => {
                    assert!(suback.codes.iter().all(|code| *code == ReasonCode::GrantedQoS1), "{suback:?}");
                    self.world.history.record(Event::Subscribed { device: self.device.clone() });
                    self.subscribed = true;
                    self.world.tally.send_modify(|tally| tally.subscribed += 1);
                }
                ServerPacket::Disconnect(_) => return Err(io::ErrorKind::ConnectionAborted.into()),
                other => panic!("nobody asked for {other:?}"),
            }
        }
        if self.part.acks_backwards {
            to_confirm.reverse();
        }
        for (packet_id, publish) in to_confirm {
            if let Some(position) = entry(&publish).map(|event| event.position) {
                self.world.history.record(Event::Confirmed { device: self.device.clone(), position });
            }
            wire.ack(packet_id);
        }
        if self.until_read == 0 {
            self.say_read(wire);
        }
        wire.flush().await
    }

    fn say_read(&mut self, wire: &mut Wire) {
        self.until_read = READS_EVERY;
        let which = self.rng.random_range(0..self.newest.len());
        let Some((conversation, up_to)) = self.newest.iter().nth(which) else { return };
        let (conversation, up_to) = (conversation.clone(), *up_to);
        let chat = conversation.name_for(self.part.user);
        let read = v1::Read { conversation: chat, up_to_seq: up_to, ..v1::Read::default() };
        let device = self.device.clone();
        self.world.history.record(Event::SaidRead { device, conversation: conversation.clone(), up_to });
        let packet_id = wire.publish("do/read", &read.encode_to_vec(), false);
        self.asked.push_back((packet_id, Asked::Read { conversation, up_to }));
    }

    /// A PUBACK: they come in the order of the publishes.
    fn answered(&mut self, ack: &Ack) -> io::Result<()> {
        let (packet_id, asked) = self.asked.pop_front().expect("something was asked");
        assert_eq!(ack.packet_id, packet_id, "acknowledgements come in the order of the publishes");
        if ack.reason != ReasonCode::Success {
            self.world.refused.fetch_add(1, Ordering::Relaxed);
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let device = self.device.clone();
        match asked {
            Asked::Message => {
                let message = self.unacknowledged.pop_front().expect("one was in flight");
                self.in_flight -= 1;
                let seq = ack
                    .properties
                    .as_ref()
                    .and_then(|properties| properties.user_properties.get(SEQ_PROPERTY)?.parse().ok());
                let (open, id) = (self.unacknowledged.len(), message.id);
                if message.what != What::Group {
                    self.world.history.record(Event::Acknowledged { device: device.clone(), id, seq });
                }
                if message.what != What::Message {
                    self.world.tally.send_modify(|tally| {
                        tally.open.insert(device, open);
                    });
                    return Ok(());
                }
                if let Some(seq) = seq {
                    let conversation = message.conversation.clone();
                    self.known = Some(Known { conversation, seq, own: true });
                }
                self.world.acknowledged.send_modify(|count| *count += 1);
                self.world.tally.send_modify(|tally| {
                    tally.open.insert(device.clone(), open);
                    *tally.accepted.entry((message.conversation, device)).or_default() += 1;
                });
            }
            Asked::Read { conversation, up_to } => self.world.tally.send_modify(|tally| {
                let read = tally.read.entry((conversation, self.part.user)).or_default();
                *read = (*read).max(up_to);
            }),
        }
        Ok(())
    }

    fn received(&mut self, publish: &Publish) {
        if publish.topic.contains("/receipts/") {
            return self.told(publish);
        }
        let Some(event) = entry(publish) else { panic!("nobody subscribed to {}", publish.topic) };
        let message = match event.event {
            Some(v1::event::Event::Message(message)) => message,
            Some(v1::event::Event::Rejected(_)) => {
                self.world.refused.fetch_add(1, Ordering::Relaxed);
                return;
            }
            // Another device of the user has read something.
            Some(v1::event::Event::Chat(_)) => return,
            other => panic!("nothing was to end: {other:?}"),
        };
        let conversation = named(self.part.user, &message.conversation);
        let (position, seq) = (event.position, message.seq);
        let is_said = message.change.is_none() && message.edit.is_none() && message.reaction.is_none();
        let edited = message.edit.and_then(|edit| edit.body);
        let id: MessageId = match message.body.or(edited).and_then(|body| body.kind) {
            None if message.change.is_some() => "created".into(),
            None if message.reaction.is_some() => message.reaction.unwrap_or_default().emoji.into(),
            Some(v1::body::Kind::Text(text)) => text.split(' ').next().unwrap_or_default().into(),
            // The number of what this device sent itself.
            None => format!("{}-{}", self.part.user, String::from_utf8_lossy(&message.client_msg_id)).into(),
            Some(other) => panic!("nobody sent {other:?}"),
        };
        let device = self.device.clone();
        self.in_group |= message.change.is_some();
        if is_said {
            self.known = Some(Known { conversation: conversation.clone(), seq, own: false });
        }
        let own = id.starts_with(&format!("{}-{}-", self.part.user, self.part.id));
        self.world.history.record(Event::Delivered {
            device: device.clone(),
            position,
            conversation: conversation.clone(),
            seq,
            id: id.clone(),
            dup: publish.dup,
        });
        self.until_read = self.until_read.saturating_sub(1);
        self.until_leaving = self.until_leaving.saturating_sub(1);
        let newest = self.newest.entry(conversation.clone()).or_default();
        *newest = (*newest).max(seq);
        let first = self.seen.insert(id);
        // Left out where it is the other side.
        let sender = if message.sender.is_empty() {
            conversation.peer_of(self.part.user)
        } else {
            Some(&*message.sender)
        };
        let sender = super::world::CAST.iter().find(|part| Some(part.user) == sender);
        self.world.tally.send_modify(|tally| {
            if first && !own && is_said {
                *tally.got.entry((conversation.clone(), device)).or_default() += 1;
            }
            // Of what is no message nobody is told that it was delivered.
            if let Some(sender) = sender.filter(|_| is_said) {
                let newest = tally.newest.entry((conversation, sender.user)).or_default();
                *newest = (*newest).max(seq);
            }
        });
    }

    fn told(&mut self, publish: &Publish) {
        let receipt = v1::Receipt::decode(publish.payload.clone()).expect("a Receipt");
        // The topic says of which conversation it is.
        let (_, chat) = publish.topic.split_once("/receipts/").expect("a conversation");
        let conversation = named(self.part.user, chat);
        for v1::MemberReceipt { user, delivered, read, .. } in receipt.members {
            let (device, conversation, member) = (self.device.clone(), conversation.clone(), user.into());
            self.world.history.record(Event::MemberReceipt { device, conversation, member, delivered, read });
        }
        let (delivered, read) = (receipt.delivered, receipt.read);
        let device = self.device.clone();
        self.world.history.record(Event::Receipt {
            device: device.clone(),
            conversation: conversation.clone(),
            delivered,
            read,
        });
        self.world.tally.send_modify(|tally| {
            tally.receipts.insert((conversation, device), (delivered, read));
        });
    }
}

/// The entry of the inbox that a publish is, if it is one.
fn entry(publish: &Publish) -> Option<v1::Event> {
    publish.topic.ends_with("/in").then(|| v1::Event::decode(publish.payload.clone()).expect("an Event"))
}
