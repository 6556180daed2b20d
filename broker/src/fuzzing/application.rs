//! The application behind the broker: plain topics, commands that are answered when the history says so, a log and a few values.

use super::operation::Level;
use super::store::number_of;
use crate::codec::{ByteStr, QoS, ReasonCode};
use crate::hook::{
    Admission, Ask, Client, Command, Done, Grant, Granted, Hook, Login, Occasion, Outcome, Roles, Route,
};
use crate::message::{Identifiers, Message};
use crate::source::{Item, Read, ReadLimit, SourceGrant, SourceId, SourceKind, Tail, View};
use crate::store::StoreError;
use crate::store::ram::RamStore;
use crate::store::{Received, Store as _, StoreOp};
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;

pub(super) const LOG: &str = "log";
pub(super) const STATE: &str = "state";

impl From<Level> for QoS {
    fn from(level: Level) -> QoS {
        match level {
            Level::Q0 => QoS::AtMostOnce,
            Level::Q1 => QoS::AtLeastOnce,
            Level::Q2 => QoS::ExactlyOnce,
        }
    }
}

/// A message with a number for its payload.
pub(super) fn message(topic: &'static str, number: u64, qos: QoS) -> Message {
    Message {
        topic: ByteStr::from_static(topic),
        payload: Bytes::copy_from_slice(&number.to_be_bytes()),
        qos,
        retain: false,
        properties: None,
        received_ms: 0,
        identifiers: Identifiers::new(),
        share: None,
    }
}

#[derive(Clone)]
struct Entry {
    position: u64,
    topic: &'static str,
    number: u64,
    qos: QoS,
    hidden: bool,
}

impl Entry {
    fn item(&self) -> Item {
        let mut stored = self.number.to_be_bytes().to_vec();
        stored.extend([self.qos.as_u8(), u8::from(self.hidden)]);
        Item {
            position: self.position,
            topic: ByteStr::from_static(self.topic),
            stored: stored.into(),
            message: None,
        }
    }
}

#[derive(Default)]
struct Sources {
    log: Vec<Entry>,
    /// How much of the log is announced.
    announced: usize,
    /// The latest value of each topic, in the order of their positions.
    values: Vec<Entry>,
    values_end: u64,
}

struct Submitted {
    client: Arc<Client>,
    token: u64,
    number: u64,
    /// Of a QoS 2 publish: durable with what the command does.
    received: Option<Received>,
}

#[derive(Default)]
pub(super) struct Application {
    sources: Mutex<Sources>,
    asked: Mutex<VecDeque<(Vec<Ask>, Granted)>>,
    commands: Mutex<VecDeque<Submitted>>,
    /// Numbers of the commands that came in since this was last asked.
    taken: Mutex<Vec<u64>>,
}

impl Application {
    /// Appends to the log; the position.
    pub(super) fn append(&self, second: bool, number: u64, qos: QoS, hidden: bool) -> u64 {
        let mut sources = self.sources.lock();
        let position = sources.log.len() as u64 + 1;
        let topic = if second { "log/b" } else { "log/a" };
        sources.log.push(Entry { position, topic, number, qos, hidden });
        position
    }

    /// What is in the log and was not announced.
    pub(super) fn announcement(&self) -> Tail {
        let mut sources = self.sources.lock();
        let items = sources.log[sources.announced..].iter().map(Entry::item).collect();
        sources.announced = sources.log.len();
        Tail { source: SourceId::new(LOG), items }
    }

    /// Sets a value; what is to be announced, and the number of the value it takes the place of.
    pub(super) fn set(&self, second: bool, number: u64) -> (Tail, Option<u64>) {
        let mut sources = self.sources.lock();
        let topic = if second { "state/b" } else { "state/a" };
        let old = sources.values.iter().position(|value| value.topic == topic);
        let old = old.map(|index| sources.values.remove(index).number);
        sources.values_end += 1;
        let position = sources.values_end;
        let value = Entry { position, topic, number, qos: QoS::ExactlyOnce, hidden: false };
        let items = vec![value.item()];
        sources.values.push(value);
        (Tail { source: SourceId::new(STATE), items }, old)
    }

    /// Answers what was asked first; whether anything was.
    pub(super) fn grant(&self) -> bool {
        let Some((asks, granted)) = self.asked.lock().pop_front() else { return false };
        granted(Ok(asks.iter().map(|ask| self.grant_of(&ask.filter)).collect()));
        true
    }

    fn grant_of(&self, filter: &Arc<str>) -> Grant {
        let sources = self.sources.lock();
        let source = |name, kind, start, retained_up_to| SourceGrant {
            source: SourceId::new(name),
            kind,
            start,
            retained_up_to,
            filter: Arc::clone(filter),
            encoding: 0,
        };
        let log = || vec![source(LOG, SourceKind::Log, sources.log.len() as u64, 0)];
        let (plain, sources) = match &**filter {
            "no/#" => return Grant::Refused(ReasonCode::NotAuthorized, "not for clients"),
            "log/#" | "log/a" => (false, log()),
            "+/a" => (true, log()),
            "state/#" => (false, vec![source(STATE, SourceKind::State, 0, sources.values_end)]),
            _ => (true, Vec::new()),
        };
        Grant::Granted { qos: QoS::ExactlyOnce, plain, sources }
    }

    /// Answers one of the commands; its number.
    ///
    /// A command is carried out, made durable and answered in one go; `durable` is where that is.
    pub(super) fn answer(&self, which: usize, refuse: bool, durable: &RamStore) -> Option<u64> {
        let mut commands = self.commands.lock();
        let index = which.checked_rem(commands.len())?;
        let Submitted { client, token, number, received } = commands.remove(index)?;
        drop(commands);
        if let Some(received) = received
            && !refuse
        {
            self.taken.lock().push(number);
            durable.commit(vec![StoreOp::Receive(received)], None);
        }
        let code = if refuse { ReasonCode::ImplementationSpecificError } else { ReasonCode::Success };
        client.answer(vec![Done { token, outcome: Outcome { code, ..Outcome::SUCCESS } }]);
        Some(number)
    }

    /// What was asked of a process that died.
    pub(super) fn forget_questions(&self) {
        self.asked.lock().clear();
        self.commands.lock().clear();
    }

    pub(super) fn taken(&self) -> Vec<u64> {
        std::mem::take(&mut self.taken.lock())
    }
}

impl Hook for Application {
    fn authenticate(&self, _: &Login) -> Admission {
        Admission::Admitted { owner: Arc::from("alice"), roles: Roles::default() }
    }

    fn is_quick(&self, _: &Login) -> bool {
        true
    }

    fn route(&self, _: &Client, topic: &str) -> Route {
        match topic {
            "cmd" => Route::Command,
            "no/x" => Route::Refused(ReasonCode::NotAuthorized, "not for clients"),
            _ => Route::Plain,
        }
    }

    fn submit(&self, client: &Arc<Client>, commands: Vec<Command>) {
        for command in commands {
            let number = number_of(&command.message.payload);
            if command.received.is_none() {
                self.taken.lock().push(number);
            }
            if command.token != 0 {
                let client = Arc::clone(client);
                self.commands.lock().push_back(Submitted {
                    client,
                    token: command.token,
                    number,
                    received: command.received,
                });
            }
        }
    }

    fn subscribe(&self, _: &Arc<Client>, _: Occasion, asks: Vec<Ask>, granted: Granted) {
        self.asked.lock().push_back((asks, granted));
    }

    fn read(&self, _: &Client, source: &SourceId, after: u64, limit: ReadLimit) -> Result<Read, StoreError> {
        let sources = self.sources.lock();
        let entries = if &*source.0 == LOG { &sources.log } else { &sources.values };
        let mut left = entries.iter().filter(|entry| entry.position > after);
        let items: Vec<Item> = left.by_ref().take(limit.items).map(Entry::item).collect();
        let end = left.next().is_none();
        let last = items.last().map_or(after, |item| item.position);
        // What was read to its end has been looked at to its end.
        let next = if end && &*source.0 == STATE { sources.values_end.max(last) } else { last };
        Ok(Read { items, next, end, gap: false })
    }

    fn view(&self, _: &Client, _: &SourceGrant, item: &Item) -> View {
        let flags = item.stored.get(8..10).unwrap_or(&[0, 0]);
        if flags[1] != 0 {
            return View::Skip;
        }
        View::Send(Message {
            topic: item.topic.clone(),
            payload: item.stored.slice(..8),
            qos: QoS::from_u8(flags[0]).unwrap_or_default(),
            retain: false,
            properties: None,
            received_ms: 0,
            identifiers: Identifiers::new(),
            share: None,
        })
    }
}
