//! What was said of each message: who is owed it, who has it, and what excuses the server from delivering it.

use super::operation::Level;
use std::collections::{BTreeMap, BTreeSet};

/// Where a message comes from; messages of one stream come in its order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stream {
    /// Plain, by the client itself.
    Own,
    /// Plain, by others.
    Others,
    /// The application's log, at this position.
    Log(u64),
    /// A value of the application, at this position.
    Value(u64),
}

/// A message, named by its number: its payload.
#[derive(Debug, Clone)]
#[allow(clippy::struct_excessive_bools)] // Each stands for itself: they are no states of one thing.
pub(super) struct Entry {
    pub(super) topic: &'static str,
    pub(super) stream: Stream,
    pub(super) qos: Level,
    pub(super) expires_ms: Option<u64>,
    pub(super) large: bool,
    /// The client published it more than once, as QoS 1 does.
    pub(super) repeated: bool,
    /// How often the client got it, and whether at QoS 2.
    pub(super) received: u32,
    pub(super) exactly: bool,
    /// The client told the server that it has it, or does not want it.
    pub(super) settled: bool,
    /// It was given up by the client, or was never owed.
    pub(super) excused: bool,
    /// The server has told somebody that it has it.
    pub(super) queued: bool,
}

/// All messages of a history, and what the session is owed.
#[derive(Default)]
pub(super) struct Ledger {
    entries: Vec<Entry>,
    /// Owed to the session; true once the debt outlives a crash.
    owed: BTreeMap<u64, bool>,
    /// What stands where in the session's queue.
    queue: BTreeMap<u64, u64>,
    /// Positions of it that are not durable: after a crash something else may stand there, or nothing.
    hopes: BTreeSet<u64>,
    /// Handed to the store and not durable.
    waiting: BTreeSet<u64>,
    /// Whether a client ever said that it does not take large messages.
    pub(super) small: bool,
}

impl Ledger {
    /// A new message; its number.
    pub(super) fn add(&mut self, topic: &'static str, stream: Stream, qos: Level) -> u64 {
        self.entries.push(Entry {
            topic,
            stream,
            qos,
            expires_ms: None,
            large: false,
            repeated: false,
            received: 0,
            exactly: false,
            settled: false,
            excused: false,
            queued: false,
        });
        self.entries.len() as u64
    }

    /// A message that there is.
    pub(super) fn get(&mut self, number: u64) -> Option<&mut Entry> {
        self.entries.get_mut(usize::try_from(number).ok()?.checked_sub(1)?)
    }

    /// Whether the client has no more to expect of a message.
    pub(super) fn is_done(&self, number: u64, now_ms: u64) -> bool {
        let Some(entry) = self.entries.get(number as usize - 1) else { return false };
        entry.settled
            || entry.excused
            || entry.expires_ms.is_some_and(|at_ms| at_ms <= now_ms)
            || (entry.large && self.small)
    }

    /// The session is owed a message, from now on or, where it is `durable`, even after a crash.
    pub(super) fn owe(&mut self, number: u64, durable: bool) {
        let owed = self.owed.entry(number).or_default();
        *owed |= durable;
    }

    /// A message is owed no more.
    pub(super) fn excuse(&mut self, number: u64) {
        if let Some(entry) = self.get(number) {
            entry.excused = true;
        }
        self.owed.remove(&number);
    }

    /// Entries of the application that are owed and not settled.
    pub(super) fn owed_by_application(&self) -> Vec<(u64, Entry)> {
        let mine =
            |number: &u64| self.entries.get(*number as usize - 1).cloned().map(|entry| (*number, entry));
        let all = self.owed.keys().filter_map(mine);
        all.filter(|(_, entry)| matches!(entry.stream, Stream::Log(_) | Stream::Value(_))).collect()
    }

    /// A message was put into the session's queue.
    pub(super) fn queued(&mut self, position: u64, number: u64, retained: bool) {
        self.queue.insert(position, number);
        self.hopes.insert(position);
        if !retained && let Some(entry) = self.get(number) {
            entry.queued = true;
            entry.settled = false;
            self.waiting.insert(number);
            self.owe(number, false);
        }
    }

    /// A message is retained, or will be.
    pub(super) fn retained(&mut self, number: u64, durable: bool) {
        if durable {
            self.waiting.remove(&number);
        } else if number > 0 {
            self.waiting.insert(number);
        }
    }

    /// A message in the queue is durable.
    pub(super) fn durable(&mut self, position: u64, number: u64) {
        self.hopes.remove(&position);
        self.waiting.remove(&number);
        if let Some(owed) = self.owed.get_mut(&number) {
            *owed = true;
        }
    }

    /// Whether everything that was done for a message is durable.
    pub(super) fn is_durable(&self, number: u64) -> bool {
        !self.waiting.contains(&number)
    }

    /// A cursor is to stand at `to`: nothing at or before it may be owed still.
    pub(super) fn check_cursor(&self, source: &str, to: u64, now_ms: u64) -> Result<(), String> {
        let passed = if source == crate::source::SourceId::QUEUE {
            // One that was published twice stands there twice, and is settled once.
            let once = |number: &u64| !self.entries[*number as usize - 1].repeated;
            let mut passed = self.queue.range(..=to).map(|(_, number)| *number).filter(once);
            passed.find(|number| !self.is_done(*number, now_ms))
        } else {
            let behind = |entry: &Entry| match entry.stream {
                Stream::Log(position) => source == super::application::LOG && position <= to,
                Stream::Value(position) => source == super::application::STATE && position <= to,
                Stream::Own | Stream::Others => false,
            };
            let owed = self.owed.keys().copied();
            owed.filter(|number| behind(&self.entries[*number as usize - 1]))
                .find(|number| !self.is_done(*number, now_ms))
        };
        match passed {
            None => Ok(()),
            Some(number) => Err(format!(
                "the cursor of {source} moves to {to}, past message {number}, which the client has not acknowledged"
            )),
        }
    }

    /// Everything that is owed must have come by now.
    pub(super) fn check_paid(&self, now_ms: u64) -> Result<(), String> {
        let missing = self.owed.keys().find(|number| {
            !self.is_done(**number, now_ms) && self.entries[**number as usize - 1].received == 0
        });
        match missing {
            None => Ok(()),
            Some(number) => {
                let entry = &self.entries[*number as usize - 1];
                Err(format!("message {number} was skipped: {entry:?}"))
            }
        }
    }

    /// The connection is over and the session with it, or a new session begins.
    pub(super) fn forget_session(&mut self) {
        self.owed.clear();
        self.queue.clear();
        for entry in &mut self.entries {
            entry.received = 0;
            entry.exactly = false;
        }
    }

    /// The process died: what was not durable was promised to nobody.
    pub(super) fn crash(&mut self) {
        self.owed.retain(|_, durable| *durable);
        let lost = std::mem::take(&mut self.waiting);
        for position in std::mem::take(&mut self.hopes) {
            self.queue.remove(&position);
        }
        for number in lost {
            if let Some(entry) = self.get(number) {
                entry.queued = false;
            }
        }
    }
}
