//! The end of a run: nothing goes wrong any more, and everything must come to rest; then all that is stored is read.

use super::{Verdict, World};
use crate::cast::{self, InGroup, Part};
use crate::device::Client;
use crate::device::content::{Content, members_after};
use crate::hardware::Mains;
use chasqui_bridge::machine::stored::StoredMessage;
use chasqui_bridge::sequencer::names;
use chasqui_broker::codec::Version;
use chasqui_proto::{ConversationId, GroupId, UserId, v1};
use chasqui_storage::Reader;
use chasqui_storage::clock::Clock;
use chasqui_testkit::history::{Conversation, Device, Event, MessageId};
use prost::Message as _;

/// Rounds until everything has come to rest, at most.
const ROUNDS: usize = 3_000;
/// Polls of one round, at most: connections that go on are ones that spin.
const POLLS: usize = 20_000;
/// The time moves on so much when nothing else does, and so often until it is clear that nothing will.
const PAUSE_MS: u64 = 60;
const STILL: usize = 6;
/// So many messages are read at once.
const PAGE: usize = 500;

impl World {
    /// Lets everybody connect, and everything that was begun come to its end. Nobody begins anything new.
    pub(super) async fn rest(&mut self) -> Verdict {
        let mut still = 0;
        for _ in 0..ROUNDS {
            if self.life.is_none() {
                self.start(&Mains::new())?;
            }
            let moved = self.everything()?;
            self.countdown = 0;
            self.look_after().await;
            if moved {
                still = 0;
                continue;
            }
            self.pass(PAUSE_MS).await;
            let has_come_again = self.clock.now_ms() >= self.latest_ms;
            still = if has_come_again && self.is_at_rest() { still + 1 } else { 0 };
            if still == STILL {
                return Ok(());
            }
        }
        let unrest = self.clients.iter().filter(|client| !client.is_at_rest()).map(Client::unrest);
        let unrest: Vec<String> = unrest.collect();
        Err(format!("it does not come to rest: {}", unrest.join("; ")))
    }

    fn is_at_rest(&self) -> bool {
        let life = self.life.as_ref();
        life.is_some_and(|life| life.engine.is_idle() && life.tasks.woken() == 0)
            && self.clients.iter().all(Client::is_at_rest)
    }

    /// Everything that can happen by itself happens once; whether there was anything.
    fn everything(&mut self) -> Result<bool, String> {
        for (_, ghost) in self.ghosts.drain(..) {
            ghost.break_off();
        }
        let mut moved = false;
        for which in 0..self.clients.len() {
            if !self.clients[which].is_connected() {
                moved |= self.connect(which);
                continue;
            }
            let (client, notes) = (&mut self.clients[which], &mut self.notes);
            moved |= client.receive(usize::MAX, notes)?;
            moved |= client.confirm(usize::MAX, notes);
            while client.say_read(notes) || client.write(false, &mut self.rng, notes) {
                moved = true;
            }
            moved |= client.carry(usize::MAX);
        }
        let Some(life) = &mut self.life else { return Ok(moved) };
        for polls in 0.. {
            if polls == POLLS {
                return Err("a connection, or what looks for what is due, spins".to_owned());
            }
            let Some((name, ended)) = life.tasks.poll(0) else { break };
            self.notes.say(|| format!("{name} goes on{}", if ended { " and ends" } else { "" }));
            moved = true;
        }
        if life.engine.has_work() || life.engine.under_way() != (0, 0, 0) {
            life.engine.run_dry();
            moved = true;
        }
        life.engine.write_down();
        Ok(moved)
    }

    /// Records what is stored, and what a client sees that comes now.
    pub(super) async fn finale(&mut self) -> Verdict {
        let parts = self.parts();
        let visitor = Part {
            device: Device::new("zoe", "visitor"),
            version: Version::V5,
            writes_to: Vec::new(),
            window: 1,
            receive_maximum: 8,
            acks_backwards: false,
            plain_in: 0,
            follows: true,
            in_group: InGroup::Never,
            acts_in: 0,
        };
        self.clients.push(Client::visitor(visitor));
        self.rest().await?;
        let reader = match &self.life {
            Some(life) => life.engine.reader(),
            None => return Err("the server is up at the end".to_owned()),
        };
        for conversation in cast::conversations(&parts) {
            self.read_all(&reader, &conversation)?;
        }
        self.notes.event(Event::Rested);
        Ok(())
    }

    /// Records what is stored of a conversation.
    fn read_all(&mut self, reader: &Reader, conversation: &Conversation) -> Verdict {
        let user = |name: &str| UserId::parse(name).map_err(|error| error.to_string());
        let id = match conversation {
            Conversation::Direct(one, other) => ConversationId::direct(&user(one)?, &user(other)?),
            Conversation::Group(name) => {
                ConversationId::Group(GroupId::parse(name).map_err(|error| error.to_string())?)
            }
        };
        let log = names::conversation(&id);
        let (mut from, mut members) = (1, Vec::new());
        loop {
            let page = reader.read_log(&log, from, PAGE, usize::MAX).map_err(|error| error.to_string())?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            from = last + 1;
            for (seq, stored) in page {
                let stored = StoredMessage::decode(&stored).map_err(|error| error.to_string())?;
                let message = v1::Message::decode(stored.content).map_err(|error| error.to_string())?;
                let conversation = conversation.clone();
                match Content::of(&message)? {
                    Content::Changed(id, change) => {
                        members = members_after(members, &change);
                        let members = members.clone();
                        self.notes.event(Event::FoundChange { conversation, seq, id, members });
                    }
                    Content::Acted(id) => self.notes.event(Event::Found { conversation, seq, id }),
                    Content::Said(_) => {
                        let own_id =
                            stored.client_msg_id.ok_or("a message without an id, and all had one")?;
                        let own_id = String::from_utf8_lossy(own_id.as_bytes());
                        let id: MessageId = format!("{}-{own_id}", stored.sender).into();
                        self.notes.event(Event::Found { conversation, seq, id });
                    }
                }
            }
        }
    }
}
