//! The sequencer without threads: requests go in, batches come out, in steps that a simulation can drive.
//!
//! The driver hands in [requests](Core::request), [operations](Core::ops) and [fetched
//! records](Core::fetched), closes the [step](Core::step), commits its batch, and then [releases](Release)
//! what was waiting for it. The records that a step asks for are read with [`read`](super::read) by whoever
//! drives it, and only after the batches that were durable then; [`Core::durable`] says which those are.

use super::broken::Broken;
use super::guess::Guesses;
use super::ops::{self, AtEnd};
use super::parked::{Parked, Waiting};
use super::set::WorkingSet;
use super::table::Evictable;
use super::tails::Tails;
use super::{Answer, Committed, Done, FetchError, NewItems, Notice, Ops, Request, Sink, Unanswered};
use crate::machine::{self, Change, Command, Env, Key, Missing, Outcome, Record};
use crate::mutation::{Mutation, mutated};
use chasqui_proto::{ConversationId, ErrorCode, UserId};
use chasqui_storage::{Batch, Poisoned};
use std::collections::VecDeque;
use std::sync::Arc;

/// Something to be done in its turn: a request, or operations that need no decision.
pub(super) struct Work {
    /// Behind which others it comes.
    pub(super) order: u64,
    pub(super) origin: u64,
    pub(super) token: u64,
    pub(super) command: Option<Command>,
    pub(super) extra: Option<Batch>,
    pub(super) on_success: Option<Batch>,
    pub(super) done: Option<Done>,
}

impl Work {
    /// What it takes in memory, about.
    pub(super) fn bytes(&self) -> usize {
        let payload = match &self.command {
            Some(Command::Send(send)) => send.message.content.len(),
            Some(Command::Act(act)) => size_of::<machine::command::Act>() + act.content.len(),
            Some(Command::GroupCreate(create)) => {
                size_of::<machine::command::GroupCreate>() + create.members.len() * size_of::<UserId>()
            }
            Some(Command::SetTies(set_ties)) => set_ties.users.len() * size_of::<UserId>(),
            Some(Command::Delivered(delivered)) => {
                delivered.messages.len() * size_of::<machine::command::Acknowledged>()
            }
            _ => 0,
        };
        size_of::<Work>()
            + payload
            + self.extra.iter().chain(&self.on_success).map(Batch::payload_len).sum::<usize>()
    }
}

impl From<Request> for Work {
    fn from(request: Request) -> Work {
        let Request { origin, token, command, extra, on_success } = request;
        Work { order: origin, origin, token, command: Some(command), extra, on_success, done: None }
    }
}

impl From<Ops> for Work {
    fn from(ops: Ops) -> Work {
        Work {
            order: ops.origin,
            origin: ops.origin,
            token: 0,
            command: None,
            extra: Some(ops.fill),
            on_success: None,
            done: ops.done,
        }
    }
}

/// What a step comes to.
pub struct Step {
    /// Counts the steps from 1: what [`Core::durable`] is told.
    pub number: u64,
    /// To be committed; may be empty, and then takes its turn among those that are not.
    pub batch: Batch,
    /// Waits for it.
    pub release: Release,
    /// Records to be read now.
    pub fetches: Vec<Key>,
}

impl Step {
    /// Whether there is nothing to commit and nobody waits.
    pub fn is_idle(&self) -> bool {
        self.batch.is_empty() && self.release.is_empty()
    }
}

/// What waits for a batch.
#[derive(Default)]
pub struct Release {
    answers: Vec<Answer>,
    tails: Vec<NewItems>,
    notices: Vec<Notice>,
    dones: Vec<Done>,
}

impl Release {
    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.answers.is_empty() && self.tails.is_empty() && self.notices.is_empty() && self.dones.is_empty()
    }

    /// The batch is durable.
    pub fn committed(self, sink: &dyn Sink) {
        let Release { answers, tails, notices, dones } = self;
        if !answers.is_empty() || !tails.is_empty() || !notices.is_empty() {
            sink.committed(Committed { answers, tails, notices });
        }
        for done in dones {
            done(Ok(()));
        }
    }

    /// The batch never will be.
    pub fn poisoned(self, sink: &dyn Sink, why: &Poisoned) {
        let unanswered = |Answer { origin, token, .. }| Unanswered { origin, token };
        let unanswered: Vec<Unanswered> = self.answers.into_iter().map(unanswered).collect();
        if !unanswered.is_empty() {
            sink.poisoned(unanswered, why);
        }
        for done in self.dones {
            done(Err(why.clone()));
        }
    }
}

/// The sequencer without threads.
pub struct Core {
    set: WorkingSet,
    parked: Parked,
    guesses: Guesses,
    broken: Broken,
    dev: bool,
    working_set_bytes: usize,
    durable: u64,
    /// Records put at hand since the last step.
    fetched: usize,
    /// Orders of their own for those that ask for none, counted down from the top; connections count up from
    /// 1.
    nobody: u64,
    batch: Batch,
    release: Release,
    tails: Tails,
    fetches: Vec<Key>,
    buffer: Vec<u8>,
}

/// What is said of a command that comes too late.
const BEHIND: &str = "an earlier command of this connection could not be decided";

/// Records that the clock hand looks at in a step, beside eight for each record that came in.
const VISITS_PER_STEP: usize = 256;

impl Core {
    /// A sequencer with nothing at hand. `dev`: users come into being when first named. `working_set_bytes`:
    /// see [`Options`](super::Options).
    pub fn new(dev: bool, working_set_bytes: usize) -> Core {
        Core {
            set: WorkingSet::new(),
            parked: Parked::default(),
            guesses: Guesses::default(),
            broken: Broken::default(),
            dev,
            working_set_bytes,
            durable: 0,
            fetched: 0,
            nobody: u64::MAX,
            batch: Batch::new(),
            release: Release::default(),
            tails: Tails::default(),
            fetches: Vec::new(),
            buffer: Vec::new(),
        }
    }

    /// Takes a request.
    pub fn request(&mut self, request: Request, now_ms: u64) {
        self.take(request.into(), now_ms);
    }

    /// Takes operations.
    pub fn ops(&mut self, ops: Ops, now_ms: u64) {
        self.take(ops.into(), now_ms);
    }

    /// Takes a record that a step asked for, or the reason why it could not be read, and goes on with what
    /// waited for it.
    pub fn fetched(&mut self, key: &Key, found: Result<Record, FetchError>, now_ms: u64) {
        let orders = self.parked.arrived(key);
        match found {
            Ok(record) => {
                self.fetched += 1;
                self.set.insert(key.clone(), record);
                for order in orders {
                    self.go_on(order, None, now_ms);
                }
            }
            Err(error) => {
                let why: Arc<str> = error.to_string().into();
                for order in orders {
                    self.go_on(order, Some(&why), now_ms);
                }
            }
        }
    }

    /// The batches of all steps up to this number are durable, and readers see them.
    pub fn durable(&mut self, number: u64) {
        self.durable = self.durable.max(number);
    }

    /// Closes a step.
    pub fn step(&mut self) -> Step {
        let number = self.set.batch();
        let (batch, tails, buffer) = (&mut self.batch, &mut self.tails, &mut self.buffer);
        self.set.finish_batch(&mut AtEnd { batch, tails, buffer });
        self.evict();
        self.release.tails = self.tails.take();
        Step {
            number,
            batch: self.batch.take(),
            release: std::mem::take(&mut self.release),
            fetches: std::mem::take(&mut self.fetches),
        }
    }

    /// The store has failed: gives back all that waits for records, as what will not be answered.
    pub fn poison(&mut self) -> Release {
        let mut release = std::mem::take(&mut self.release);
        for Work { origin, token, command, done, .. } in self.parked.drain() {
            // The outcome is never shown.
            release.answers.extend(command.map(|_| Answer { origin, token, outcome: Outcome::Done }));
            release.dones.extend(done);
        }
        release
    }

    /// How many commands wait for records, and how many bytes they take.
    pub fn parked(&self) -> (usize, usize) {
        self.parked.load()
    }

    /// How many records are at hand, and how many bytes they take.
    pub fn at_hand(&self) -> (usize, usize) {
        (self.set.len(), self.set.weight())
    }

    pub(super) fn take(&mut self, mut work: Work, now_ms: u64) {
        if work.order == 0 {
            work.order = self.nobody;
            self.nobody -= 1;
        }
        if work.command.is_some() && self.broken.has(work.order, now_ms) {
            return self.fail(&work, &Arc::from(BEHIND), now_ms);
        }
        if let Some(mut work) = self.parked.behind(work)
            && let Err(missing) = self.run(&mut work, now_ms)
        {
            let behind = Waiting { since: self.set.batch(), works: VecDeque::new() };
            self.park(work, missing, behind);
        }
    }

    /// Goes on with what waits in an order; the first of it fails if there is a reason to.
    fn go_on(&mut self, order: u64, failure: Option<&Arc<str>>, now_ms: u64) {
        let Some(mut waiting) = self.parked.take(order) else { return };
        let now = self.set.batch();
        if let Some(why) = failure
            && let Some(work) = waiting.works.pop_front()
        {
            waiting.since = now;
            self.parked.forget(&work);
            self.fail(&work, why, now_ms);
        }
        while let Some(mut work) = waiting.works.pop_front() {
            self.parked.forget(&work);
            if work.command.is_some() && self.broken.has(order, now_ms) {
                self.fail(&work, &Arc::from(BEHIND), now_ms);
                continue;
            }
            if let Err(missing) = self.run(&mut work, now_ms) {
                self.park(work, missing, waiting);
                return;
            }
            waiting.since = now;
        }
    }

    /// Answers a command that cannot be decided. Its effects on the session are left out too: whoever comes back finds it not done.
    fn fail(&mut self, work: &Work, why: &Arc<str>, now_ms: u64) {
        let (origin, token, outcome) = (work.origin, work.token, Outcome::Failed(Arc::clone(why)));
        self.release.answers.push(Answer { origin, token, outcome });
        // Where nobody waits for the answer, nobody repeats it.
        if token != 0 && !self.broken.has(work.order, now_ms) {
            self.broken.note(work.order, now_ms);
        }
    }

    fn evict(&mut self) {
        if self.set.weight() > self.working_set_bytes {
            let came_before = self.parked.since().unwrap_or(u64::MAX);
            let durable = if mutated(Mutation::EvictsWhatIsUnderWay) { u64::MAX } else { self.durable };
            let may = Evictable { durable, came_before };
            self.set.evict(self.working_set_bytes, may, VISITS_PER_STEP + 8 * self.fetched);
        }
        self.fetched = 0;
    }

    fn park(&mut self, work: Work, missing: Missing, behind: Waiting) {
        self.fetches.extend(self.parked.park(work, missing.0, behind));
    }

    /// Does it, unless a record is not at hand: then nothing has happened.
    fn run(&mut self, work: &mut Work, now_ms: u64) -> Result<(), Missing> {
        if let Some(command) = &work.command {
            let guess_wait_ms = command.guesses().and_then(|user| self.guesses.wait_ms(user, now_ms));
            let env = Env { now_ms, dev: self.dev, guess_wait_ms };
            let decision = machine::decide(&self.set, command, &env)?;
            if let (Some(user), Outcome::Refused { refusal, .. }) = (command.guesses(), &decision.outcome)
                && refusal.code == ErrorCode::NoSuchUser
            {
                self.guesses.note(user, now_ms);
            }
            for change in decision.changes {
                self.carry_out(change);
            }
            if let Some(batch) = work.on_success.as_ref().filter(|_| decision.outcome.is_success_code()) {
                self.batch.extend(batch);
            }
            let (origin, token, outcome) = (work.origin, work.token, decision.outcome);
            if token != 0 || outcome != Outcome::Done {
                self.release.answers.push(Answer { origin, token, outcome });
            }
        }
        if let Some(extra) = &work.extra {
            self.batch.extend(extra);
        }
        self.release.dones.extend(work.done.take());
        Ok(())
    }

    fn carry_out(&mut self, change: Change) {
        ops::write(&mut self.batch, &change);
        machine::apply(&mut self.set, &change);
        self.release.notices.extend(Notice::of(&change));
        match change {
            Change::AppendInbox { user, position, entry } => self.tails.inbox(user, position, entry),
            Change::EraseEntry { user, position, entry } => self.tails.erased(user, position, entry),
            Change::AppendMessage { conversation: ConversationId::Group(group), seq, message, .. } => {
                self.tails.group(group, seq, message);
            }
            Change::EraseMessage { conversation: ConversationId::Group(group), seq, message } => {
                self.tails.erased_in_group(group, seq, message);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
