//! What comes to a client, and what it makes of it.

use super::content::Content;
use super::{Asked, Client, PLAIN, Stage, What};
use crate::life::WRITE_STALL_MS;
use crate::notes::Notes;
use bytes::Bytes;
use chasqui_broker::codec::client::{self, ServerPacket};
use chasqui_broker::codec::{Ack, Connack, Limits, Publish, ReasonCode, Version};
use chasqui_proto::{SEQ_PROPERTY, v1};
use chasqui_testkit::history::{Conversation, Device, Event, MessageId};
use prost::Message as _;
use std::sync::Arc;

type Verdict = Result<(), String>;

/// Why a server may end a connection whose client did nothing wrong.
const MAY_SAY: [ReasonCode; 4] = [
    ReasonCode::SessionTakenOver,
    ReasonCode::ServerShuttingDown,
    // It cannot write to its disk.
    ReasonCode::ImplementationSpecificError,
    ReasonCode::ServerUnavailable,
];

impl Client {
    /// Receives so many bytes; whether there were any, or the end.
    ///
    /// # Errors
    /// What a server may never say.
    pub(crate) fn receive(&mut self, count: usize, notes: &mut Notes) -> Result<bool, String> {
        let Some(connection) = &mut self.connection else { return Ok(false) };
        if connection.pause > 0 {
            connection.pause -= 1;
            return Ok(true);
        }
        connection.slow |= notes.now_ms - connection.received_ms >= WRITE_STALL_MS;
        connection.received_ms = notes.now_ms;
        let bytes = connection.pipe.receive(count);
        if bytes.is_empty() {
            return Ok(self.notice_end(notes));
        }
        connection.incoming.extend(bytes);
        let incoming = Bytes::from(std::mem::take(&mut connection.incoming));
        let mut at = 0;
        while let Some((packet, len)) =
            client::decode(self.part.version, &incoming, at, &Limits::UNLIMITED)
                .map_err(|error| format!("{} was sent what cannot be read: {error}", self.part.device))?
        {
            at += len;
            self.take(packet, notes)?;
        }
        if let Some(connection) = &mut self.connection {
            connection.incoming.extend_from_slice(&incoming[at..]);
        }
        Ok(true)
    }

    /// The server has closed, and all is read.
    fn notice_end(&mut self, notes: &mut Notes) -> bool {
        let Some(connection) = &self.connection else { return false };
        if !connection.pipe.is_closed() || connection.pipe.written() > 0 {
            return false;
        }
        // One that took nothing for too long is closed, whatever it has written; and a server that stops does not wait for what comes.
        let left = connection.stage == Stage::Leaving && !connection.slow && connection.pipe.is_all_read();
        self.connection = None;
        let device = self.part.device.clone();
        notes.say(|| format!("{device} sees the end of its connection"));
        if !left {
            // What it had just written may not have been read.
            notes.event(Event::Severed { device });
        }
        true
    }

    fn take(&mut self, packet: ServerPacket, notes: &mut Notes) -> Verdict {
        let Some(connection) = &mut self.connection else { return Ok(()) };
        let device = &self.part.device;
        match packet {
            ServerPacket::Connack(connack) if connection.stage == Stage::Greeting => {
                self.welcomed(&connack, notes)
            }
            packet if connection.stage == Stage::Greeting => {
                Err(format!("{device} got {packet:?} before CONNACK [MQTT-3.2.0-1]"))
            }
            ServerPacket::Publish(publish, _) => {
                let position = self.received(&publish, notes)?;
                if let (Some(connection), Some(packet_id)) = (&mut self.connection, publish.packet_id)
                    && connection.stage == Stage::Open
                {
                    connection.to_confirm.push_back((packet_id, position));
                }
                Ok(())
            }
            ServerPacket::Puback(ack) => self.answered(&ack, notes),
            ServerPacket::Suback(suback) => {
                let granted = |code: &ReasonCode| *code == ReasonCode::GrantedQoS1;
                if suback.codes.len() != connection.subscribing || !suback.codes.iter().all(granted) {
                    return Err(format!("{device} may not subscribe: {suback:?}"));
                }
                self.subscribed = true;
                if self.visits {
                    return Ok(());
                }
                notes.event(Event::Subscribed { device: device.clone() });
                if self.part.follows {
                    notes.event(Event::Follows { device: device.clone() });
                }
                Ok(())
            }
            ServerPacket::Disconnect(disconnect) => {
                notes.say(|| format!("{device} is told to go: {:?}", disconnect.reason));
                let may = MAY_SAY.contains(&disconnect.reason);
                if may { Ok(()) } else { Err(format!("{device} is sent away: {disconnect:?}")) }
            }
            other => Err(format!("{device} did not ask for {other:?}")),
        }
    }

    fn welcomed(&mut self, connack: &Connack, notes: &mut Notes) -> Verdict {
        let device = self.part.device.clone();
        if connack.reason != ReasonCode::Success {
            notes.say(|| format!("{device} is turned away: {:?}", connack.reason));
            let may = matches!(connack.reason, ReasonCode::ServerUnavailable);
            return if may { Ok(()) } else { Err(format!("{device} is turned away: {connack:?}")) };
        }
        let resumed = connack.session_present;
        notes.seen.connections += 1;
        notes.seen.resumed += u64::from(resumed);
        notes.event(Event::Connected { device, resumed });
        self.subscribed &= resumed;
        if let Some(connection) = &mut self.connection {
            connection.stage = Stage::Open;
            connection.receive_maximum = connack.properties.receive_maximum.map_or(usize::MAX, usize::from);
        }
        if !self.subscribed {
            self.subscribe();
        }
        Ok(())
    }

    /// A PUBACK: they come in the order of the publishes.
    fn answered(&mut self, ack: &Ack, notes: &mut Notes) -> Verdict {
        let device = self.part.device.clone();
        let Some(connection) = &mut self.connection else { return Ok(()) };
        let (packet_id, asked) =
            connection.asked.pop_front().ok_or_else(|| format!("{device} asked nothing: {ack:?}"))?;
        if ack.packet_id != packet_id {
            return Err(format!("{device} got {ack:?}, when {packet_id} was to come [MQTT-4.6.0-2]"));
        }
        if ack.reason.is_error() {
            // Who is no member may do nothing in a group; what a message was may be long ago.
            let message = matches!(asked, Asked::Message).then(|| self.outbox.front()).flatten();
            let may = match message.map(|message| &message.what) {
                Some(What::Chat(Conversation::Group(_)) | What::Act(_) | What::Govern) => [
                    ReasonCode::NotAuthorized,
                    ReasonCode::ServerUnavailable,
                    ReasonCode::ImplementationSpecificError,
                ]
                .contains(&ack.reason),
                _ => false,
            };
            if !may {
                return Err(format!("{device} is refused: {ack:?}"));
            }
            notes.seen.refused += 1;
            connection.in_flight -= 1;
            self.outbox.pop_front();
            return Ok(());
        }
        match asked {
            Asked::Message => {
                connection.in_flight -= 1;
                let message = self.outbox.pop_front().ok_or("the outbox has what is in flight")?;
                let properties = ack.properties.as_ref();
                let seq = properties
                    .and_then(|properties| properties.user_properties.get(SEQ_PROPERTY)?.parse().ok());
                let id = message.id;
                match message.what {
                    // On 3.1.1 that is not said by the acknowledgement alone: see `said`.
                    What::Chat(Conversation::Group(_)) | What::Act(_) if seq.is_none() => {}
                    What::Chat(conversation) => {
                        if let Some(seq) = seq {
                            self.knows(&conversation, seq, true);
                        }
                        notes.event(Event::Acknowledged { device, id, seq });
                    }
                    What::Act(_) => notes.event(Event::Acknowledged { device, id, seq }),
                    What::Govern => {}
                    What::Plain { .. } => {
                        notes.seen.plain_acknowledged += 1;
                        notes.event(Event::PublishAcknowledged { device, id });
                    }
                }
            }
            Asked::Read { conversation, up_to } => {
                if self.to_say.get(&conversation).is_some_and(|to_say| *to_say <= up_to) {
                    self.to_say.remove(&conversation);
                }
            }
        }
        Ok(())
    }

    /// A message: its place in the inbox, if it has one.
    fn received(&mut self, publish: &Publish, notes: &mut Notes) -> Result<Option<u64>, String> {
        let device = self.part.device.clone();
        if publish.topic.starts_with(PLAIN) {
            notes.seen.plain_delivered += 1;
            let text = String::from_utf8_lossy(&publish.payload);
            let id = text.split(' ').next().unwrap_or_default().into();
            let topic = (&*publish.topic).into();
            notes.event(if self.visits {
                Event::Retained { topic, id }
            } else {
                Event::Received { device, topic, id, retained: publish.retain }
            });
            return Ok(None);
        }
        if let Some((_, chat)) = publish.topic.split_once("/receipts/") {
            let receipt = v1::Receipt::decode(publish.payload.clone())
                .map_err(|error| format!("{device} got no Receipt on {}: {error}", &*publish.topic))?;
            let conversation = named(&device, chat)?;
            let v1::Receipt { delivered, read, members, .. } = receipt;
            for v1::MemberReceipt { user, delivered, read, .. } in members {
                let (device, conversation, member) = (device.clone(), conversation.clone(), user.into());
                notes.event(Event::MemberReceipt { device, conversation, member, delivered, read });
            }
            notes.event(Event::Receipt { device, conversation, delivered, read });
            return Ok(None);
        }
        let event = v1::Event::decode(publish.payload.clone())
            .map_err(|error| format!("{device} got no Event on {}: {error}", &*publish.topic))?;
        // Another device of the user has read something; or on 3.1.1 what this one did in a group was refused.
        match event.event {
            Some(v1::event::Event::Chat(_)) => return Ok(None),
            Some(v1::event::Event::Rejected(_)) if self.part.version == Version::V311 => {
                notes.seen.refused += 1;
                return Ok(None);
            }
            _ => {}
        }
        let Some(v1::event::Event::Message(message)) = event.event else {
            return Err(format!("{device} got what nobody sent: {:?}", event.event));
        };
        let conversation = named(&device, &message.conversation)?;
        let own_id = || format!("{}-{}", device.user, String::from_utf8_lossy(&message.client_msg_id)).into();
        let is_own =
            !message.client_msg_id.is_empty() && message.client_msg_id.starts_with(device.id.as_bytes());
        let content = Content::of(&message).map_err(|error| format!("{device} got {error}"))?;
        let in_group = matches!(conversation, Conversation::Group(_));
        let (id, answers): (MessageId, bool) = match content {
            Content::Said(id) => {
                self.knows(&conversation, message.seq, is_own);
                // The number of what this device sent itself.
                (id.unwrap_or_else(own_id), is_own && in_group)
            }
            Content::Acted(id) => {
                notes.seen.acts += 1;
                let own = id.starts_with(&format!("{}-{}-", device.user, device.id));
                (id, own)
            }
            Content::Changed(id, _) => {
                notes.seen.changes += 1;
                (id, false)
            }
        };
        // On 3.1.1 it is accepted, and not refused, with this entry.
        if answers && self.part.version == Version::V311 {
            let (device, id, seq) = (device.clone(), Arc::clone(&id), None);
            notes.event(Event::Acknowledged { device, id, seq });
        }
        let newest = self.newest.entry(conversation.clone()).or_default();
        *newest = (*newest).max(message.seq);
        if in_group {
            notes.seen.in_groups += 1;
            let previous = if message.prev_seq == 0 { message.seq - 1 } else { message.prev_seq };
            let (device, conversation, seq) = (device.clone(), conversation.clone(), message.seq);
            notes.event(Event::Previous { device, conversation, seq, previous });
        }
        let (position, seq, dup) = (event.position, message.seq, publish.dup);
        notes.event(Event::Delivered { device, position, conversation, seq, id, dup });
        Ok(Some(position))
    }
}

/// The conversation that a device calls so.
fn named(device: &Device, chat: &str) -> Result<Conversation, String> {
    match chat.split_once('/') {
        Some(("u", peer)) => Ok(Conversation::of(&device.user, peer)),
        Some(("g", group)) => Ok(Conversation::group(group)),
        _ => Err(format!("{device} got something of {chat}, which is no conversation")),
    }
}
