//! The machine that is tested: sequencer and store of the service as they are, without their threads, on a disk whose power can be cut.

use bytes::Bytes;
use chasqui_bridge::entry::{self, Rendered};
use chasqui_bridge::hook::{Operations, Publication, due};
use chasqui_bridge::machine::command::{Attach, Caller, CreateUser, Detach, Expire, RemoveUser};
use chasqui_bridge::machine::{Command, Key, Receipt, Record};
use chasqui_bridge::sequencer::{
    self, Answer, CONNECTIONS_END, Committed, Core, FetchError, Intake, NewItems, Ops, Release, Request,
    Sink, Step, Unanswered, fetch, names,
};
use chasqui_bridge::session_store::CommitOps;
use chasqui_broker::codec::ByteStr;
use chasqui_broker::source::{Item, SourceId};
use chasqui_broker::store::{CursorMove, SessionKey};
use chasqui_proto::{ConversationId, DeviceId, Seq, UserId, v1};
use chasqui_storage::clock::{Clock, ManualClock};
use chasqui_storage::disk::RamDisk;
use chasqui_storage::disk::ram::{Effect, Fault, Operation};
use chasqui_storage::kv::ram::RamKv;
use chasqui_storage::{Batch, KvError, Options, Poisoned, Reader};
use parking_lot::Mutex;
use prost::Message as _;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::ask::{Ask, What, ack_of};

/// So many bytes of an inbox, and so many entries, are read at once.
const PAGE: (usize, usize) = (64, 1 << 20);

/// See the module.
pub(crate) struct Rig {
    disk: RamDisk,
    kv: RamKv,
    clock: Arc<ManualClock>,
    rng: SmallRng,
    working_set_bytes: usize,
    options: Options,
    life: Life,
    taken_in: Arc<TakenIn>,
    operations: Operations,
    token: u64,
}

/// From one start to the next.
struct Life {
    core: Core,
    storage: chasqui_storage::Core,
    wanted: Vec<Key>,
    read: Vec<(Key, Result<Record, FetchError>)>,
    /// Decided and not durable.
    steps: VecDeque<Step>,
    /// Durable, and nobody was told.
    durable: VecDeque<(u64, Release)>,
    told: u64,
}

/// What came of requests that were under way together.
#[derive(Default)]
pub(crate) struct Round {
    /// The answers, in the order in which they were decided.
    pub(crate) answers: Vec<Answer>,
    /// What is new for readers.
    pub(crate) tails: Vec<NewItems>,
    /// After a crash: answers that nobody got, though what they say is durable.
    pub(crate) unheard: Vec<Answer>,
    /// After a crash: for each batch that may be durable or not, the answers that it would have brought.
    pub(crate) open: Vec<Vec<Answer>>,
    pub(crate) crashed: bool,
}

/// How a life ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Crash {
    /// The process is killed: what was written stays.
    Kill,
    /// The power is cut: of what was not flushed any part stays.
    Power,
    /// The same, in the middle of a write or a flush.
    Within(Operation),
}

/// Requests that come by way of the hook's operations.
#[derive(Default)]
struct TakenIn(Mutex<Vec<Request>>);

impl Intake for TakenIn {
    fn submit(&self, requests: Vec<Request>) {
        self.0.lock().extend(requests);
    }

    fn lazy(&self, request: Request) {
        self.0.lock().push(request);
    }

    fn ops(&self, _: Ops) {
        panic!("nothing stores a session here");
    }

    fn lazy_ops(&self, _: Ops) {
        panic!("nothing stores a session here");
    }

    fn is_crowded(&self) -> bool {
        false
    }
}

#[derive(Default)]
struct Collect(Mutex<Committed>);

impl Sink for Collect {
    fn committed(&self, committed: Committed) {
        let mut all = self.0.lock();
        all.answers.extend(committed.answers);
        all.tails.extend(committed.tails);
    }

    fn poisoned(&self, _: Vec<Unanswered>, why: &Poisoned) {
        panic!("it is not asked to say so: {why}");
    }
}

impl Rig {
    pub(crate) fn new(seed: u64, now_ms: u64) -> Rig {
        let mut rng = SmallRng::seed_from_u64(seed);
        let options = Options {
            overlay_bytes: rng.random_range(8 << 10..256 << 10),
            overlay_age: Duration::from_millis(rng.random_range(100..60_000)),
            segment_bytes: rng.random_range(64 << 10..512 << 10),
            log_key: Some(*b"the same in each"),
            ..Options::default()
        };
        let (disk, kv, clock) = (RamDisk::new(), RamKv::new(), Arc::new(ManualClock::new(now_ms)));
        // Small enough that what is not used for a moment goes.
        let working_set_bytes = rng.random_range(2 << 10..64 << 10);
        let life =
            Life::start(&disk, &kv, &clock, &options, working_set_bytes).expect("a new disk is in order");
        let (taken_in, operations) = (Arc::<TakenIn>::default(), Operations::default());
        operations.join(&taken_in);
        Rig { disk, kv, clock, rng, working_set_bytes, options, life, taken_in, operations, token: 0 }
    }

    pub(crate) fn set_time(&self, now_ms: u64) {
        self.clock.set(now_ms);
    }

    pub(crate) fn reader(&self) -> Reader {
        self.life.storage.reader()
    }

    /// What is over, and not erased.
    pub(crate) fn due(&self) -> Vec<Expire> {
        due(&self.reader(), self.clock.now_ms()).expect("it can be read")
    }

    /// The number of the next request.
    pub(crate) fn next_token(&mut self) -> u64 {
        self.token += 1;
        self.token
    }

    /// Who publishes.
    fn caller(ask: &Ask, topic: &str) -> Caller {
        Caller {
            user: user(&ask.user),
            device: Some(device(&ask.device)),
            ack: ack_of(&ask.device),
            topic: topic.into(),
        }
    }

    /// Reads a publish as the hook does.
    pub(crate) fn publish(&mut self, ask: &Ask, topic: &str, payload: &Bytes) -> Publication {
        let random = self.rng.random();
        let now_ms = self.clock.now_ms();
        Publication::read(&self.reader(), &Self::caller(ask, topic), payload, now_ms, random)
    }

    /// What is no publish, as a request.
    pub(crate) fn request(&mut self, ask: &Ask) -> Request {
        if let What::Expire(expire) = &ask.what {
            return self.wrap(ask, expire.clone().into());
        }
        let user = user(&ask.user);
        let device = device(&ask.device);
        let command: Command = match &ask.what {
            What::Attach => Attach { user, device }.into(),
            What::Detach => Detach { user, device }.into(),
            What::CreateUser => CreateUser { user }.into(),
            What::RemoveUser => RemoveUser { user }.into(),
            What::Acknowledge(count) => return self.acknowledgement(ask, *count),
            _ => unreachable!("it is published"),
        };
        self.wrap(ask, command)
    }

    /// A command in the order of its connection.
    pub(crate) fn wrap(&mut self, ask: &Ask, command: Command) -> Request {
        let token = self.next_token();
        let connection = format!("{}/{}", ask.user, ask.device);
        // Any number of its own will do.
        let origin =
            connection.bytes().fold(7, |hash: u64, byte| (hash * 131 + u64::from(byte)) % (1 << 40)) + 1;
        // What concerns the session has the user's order.
        let origin = match &ask.what {
            What::Attach | What::Detach | What::Acknowledge(_) => CONNECTIONS_END | origin,
            _ => origin,
        };
        Request { origin, token, command, extra: None, on_success: None }
    }

    /// A device has so many of the entries that wait for it.
    fn acknowledgement(&mut self, ask: &Ask, count: usize) -> Request {
        let mut shown = self.waiting(&ask.user, &ask.device);
        shown.truncate(count);
        let to = shown.last().map_or(0, |(position, ..)| *position);
        let item = |(position, stored, _): (u64, Bytes, v1::Event)| Item {
            position,
            topic: ByteStr::default(),
            stored,
            message: None,
        };
        let inbox =
            String::from_utf8(names::inbox(&user(&ask.user)).as_bytes().to_vec()).expect("it is ASCII");
        let moved = CursorMove {
            source: SourceId::new(&inbox),
            to,
            acknowledged: shown.into_iter().map(item).collect(),
            by_client: true,
        };
        let session = SessionKey { owner: ask.user.as_str().into(), client_id: ask.device.as_str().into() };
        self.operations.lazy(&session, vec![moved], Batch::new());
        let mut requests = std::mem::take(&mut *self.taken_in.0.lock());
        let mut request = requests.pop().expect("the move of a cursor is a request");
        request.extra = None;
        request.token = self.next_token();
        request
    }

    /// What waits for a device: places, as stored and as shown.
    pub(crate) fn waiting(&self, name: &str, on: &str) -> Vec<(u64, Bytes, v1::Event)> {
        let reader = self.reader();
        let record = fetch::user(&reader, &user(name)).expect("it can be read");
        let Some(acked) = record.device(&device(on)).map(|device| device.acked) else { return Vec::new() };
        let log = names::inbox(&user(name));
        let (mut from, mut shown) = (acked + 1, Vec::new());
        loop {
            let page = reader.read_log(&log, from, PAGE.0, PAGE.1).expect("it can be read");
            let Some((last, _)) = page.last() else { return shown };
            from = last + 1;
            for (position, stored) in page {
                if let Some(event) = self.render(name, on, &stored) {
                    shown.push((position, stored, event));
                }
            }
        }
    }

    /// What a device is shown of the entry at a place.
    pub(crate) fn entry(&self, name: &str, on: &str, position: u64) -> Option<v1::Event> {
        let page = self.reader().read_log(&names::inbox(&user(name)), position, 1, usize::MAX);
        let mut entries = page.expect("it can be read").into_iter();
        entries.find(|(found, _)| *found == position).and_then(|(_, stored)| self.render(name, on, &stored))
    }

    /// What a device is shown of an entry.
    pub(crate) fn render(&self, name: &str, on: &str, stored: &Bytes) -> Option<v1::Event> {
        let reader = self.reader();
        let look_up = |conversation: &ConversationId, seq: Seq| -> Result<Option<Bytes>, KvError> {
            let entries = reader.read_log(&names::conversation(conversation), seq.0, 1, usize::MAX)?;
            Ok(entries.into_iter().find(|(found, _)| *found == seq.0).map(|(_, stored)| stored))
        };
        match entry::render(stored, &user(name), &device(on), self.clock.now_ms(), look_up)
            .expect("it can be read")
        {
            Rendered::Skip => None,
            Rendered::Event(event) => Some(v1::Event::decode(event).expect("it is an Event")),
        }
    }

    /// The receipts that a user has, with their topics.
    pub(crate) fn receipts(&self, name: &str) -> Vec<(String, v1::Receipt)> {
        let states = self.reader().read_states(&names::receipts(&user(name)), None, usize::MAX, usize::MAX);
        let since_ms = fetch::user(&self.reader(), &user(name)).expect("it can be read").since_ms;
        let mut receipts = Vec::new();
        for state in states.expect("they can be read") {
            if since_ms > 0 && !Receipt::is_since(&state.value, since_ms) {
                continue;
            }
            let topic = String::from_utf8(state.topic.to_vec()).expect("it is text");
            receipts.push((topic, receipt(&state.value)));
        }
        receipts
    }

    /// Has these requests carried out together, in whichever order the steps between them come; or a crash comes first.
    pub(crate) fn carry_out(&mut self, requests: Vec<Request>, crash: Option<Crash>) -> Round {
        let mut queue: VecDeque<Request> = requests.into();
        let sink = Collect::default();
        let mut left: u32 = self.rng.random_range(0..12);
        loop {
            if let Some(crash) = crash {
                if left == 0 {
                    return self.crash(crash, &sink);
                }
                left -= 1;
            }
            if !self.step(&mut queue, &sink) && crash.is_none() {
                let Committed { answers, tails, .. } = std::mem::take(&mut *sink.0.lock());
                return Round { answers, tails, ..Round::default() };
            }
        }
    }

    /// One of the things that can be done now; false if there is none.
    fn step(&mut self, queue: &mut VecDeque<Request>, sink: &Collect) -> bool {
        let life = &mut self.life;
        let can = [
            !queue.is_empty() || !life.read.is_empty(),
            !life.wanted.is_empty(),
            !life.steps.is_empty(),
            !life.durable.is_empty(),
        ];
        let choices: Vec<usize> = (0..can.len()).filter(|choice| can[*choice]).collect();
        if choices.is_empty() {
            return false;
        }
        match choices[self.rng.random_range(0..choices.len())] {
            0 => {
                let count = self.rng.random_range(0..=queue.len());
                life.take(queue.drain(..count), self.clock.now_ms());
            }
            1 => {
                let key = life.wanted.swap_remove(self.rng.random_range(0..life.wanted.len()));
                let record = sequencer::read(&life.storage.reader(), &key);
                life.read.push((key, record));
            }
            2 => {
                let count = self.rng.random_range(1..=life.steps.len());
                life.commit(count);
                if self.rng.random_ratio(1, 4) {
                    life.storage.tick().expect("nothing fails");
                }
            }
            _ => {
                let (number, release) = life.durable.pop_front().expect("there is one");
                life.told = number;
                release.committed(sink);
            }
        }
        true
    }

    fn crash(&mut self, crash: Crash, sink: &Collect) -> Round {
        let life = &mut self.life;
        if let Crash::Within(operation) = crash
            && life.steps.iter().any(|step| !step.batch.is_empty())
        {
            let effect =
                if self.rng.random() { Effect::Short(self.rng.random_range(0..400)) } else { Effect::Broken };
            self.disk.plan(Fault { operation, after: 0, effect });
            let batches = life.steps.iter().map(|step| {
                let mut batch = Batch::new();
                batch.extend(&step.batch);
                batch
            });
            let batches = batches.collect();
            assert!(life.storage.commit(batches).is_err(), "the disk has failed in the middle");
        }
        let Committed { answers, tails, .. } = std::mem::take(&mut *sink.0.lock());
        let heard = |release: Release| {
            let lost = Collect::default();
            release.committed(&lost);
            std::mem::take(&mut *lost.0.lock()).answers
        };
        let unheard = life.durable.drain(..).flat_map(|(_, release)| heard(release)).collect();
        let open = life.steps.drain(..).map(|step| heard(step.release)).collect();
        let seed = self.rng.random();
        if crash != Crash::Kill {
            self.disk.power_cut(seed);
        }
        self.kv.power_cut(seed / 7);
        self.life = Life::start(&self.disk, &self.kv, &self.clock, &self.options, self.working_set_bytes)
            .unwrap_or_else(|error| panic!("it does not start after {crash:?}: {error}"));
        Round { answers, tails, unheard, open, crashed: true }
    }
}

impl Life {
    fn start(
        disk: &RamDisk,
        kv: &RamKv,
        clock: &Arc<ManualClock>,
        options: &Options,
        working_set_bytes: usize,
    ) -> Result<Life, chasqui_storage::OpenError> {
        let (disk, kv) = (Arc::new(disk.clone()), Arc::new(kv.clone()));
        let clock: Arc<dyn Clock> = Arc::<ManualClock>::clone(clock);
        let storage = chasqui_storage::Core::open(disk, kv, clock, options.clone())?;
        let core = Core::new(false, working_set_bytes);
        let (wanted, read) = (Vec::new(), Vec::new());
        Ok(Life { core, storage, wanted, read, steps: VecDeque::new(), durable: VecDeque::new(), told: 0 })
    }

    /// Takes requests, and the records that were read, and decides.
    fn take(&mut self, requests: impl Iterator<Item = Request>, now_ms: u64) {
        self.core.durable(self.told);
        for (key, record) in self.read.drain(..) {
            self.core.fetched(&key, record, now_ms);
        }
        for request in requests {
            self.core.request(request, now_ms);
        }
        let mut step = self.core.step();
        self.wanted.append(&mut step.fetches);
        if !step.is_idle() {
            self.steps.push_back(step);
        }
    }

    fn commit(&mut self, count: usize) {
        let (mut batches, mut released) = (Vec::new(), Vec::new());
        for Step { number, batch, release, .. } in self.steps.drain(..count) {
            batches.push(batch);
            released.push((number, release));
        }
        self.storage.commit(batches).expect("nothing fails");
        self.durable.extend(released);
    }
}

pub(crate) fn user(name: &str) -> UserId {
    UserId::parse(name).expect("it has the form of one")
}

pub(crate) fn device(name: &str) -> DeviceId {
    DeviceId::parse(name).expect("it has the form of one")
}

/// A receipt as its owner gets it.
pub(crate) fn receipt(stored: &Bytes) -> v1::Receipt {
    let payload = Receipt::payload(stored).expect("it is a receipt");
    v1::Receipt::decode(payload).expect("it is a Receipt")
}
