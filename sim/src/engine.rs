//! The sequencer and the store without their threads: what these do by themselves, is done here in steps that the world chooses.
//!
//! The steps are those between which threads of the real server can come: taking work, reading a record, handing it over,
//! committing a group of batches, telling who waits, writing down.

use chasqui_bridge::machine::{Key, Record};
use chasqui_bridge::sequencer::{self, Core, FetchError, Intake, Ops, Release, Request, Sink, Step};
use chasqui_proto::limits::CURSOR_DELAY_MS;
use chasqui_storage::clock::{Clock, ManualClock};
use chasqui_storage::{Poisoned, Position};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Records that are read at a time: the threads of the real one.
const READERS: usize = 2;

#[allow(clippy::large_enum_variant)] // Most are requests.
enum Work {
    Request(Request),
    Ops(Ops),
}

struct Waiting {
    work: Work,
    /// When it has waited for company for long enough; 0 for what does not.
    due_ms: u64,
}

/// See the module. It takes what is handed in from anywhere, and does nothing about it until it is told to.
pub(crate) struct Engine {
    queue: Mutex<VecDeque<Waiting>>,
    /// While the server starts, which waits for what it hands in.
    at_once: AtomicBool,
    clock: Arc<ManualClock>,
    room: Mutex<Room>,
}

/// What one of the steps came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Done {
    /// There was nothing to do.
    Nothing,
    /// Work was taken and decided on.
    Took(usize),
    /// A record was read.
    Read,
    /// Batches are durable, up to here.
    Committed(usize, Position),
    /// Those who waited for a batch were told.
    Told,
    /// A layer was written down.
    WroteDown,
    /// The store takes no more.
    Failed,
}

struct Room {
    core: Core,
    storage: chasqui_storage::Core,
    sink: Arc<dyn Sink>,
    wanted: VecDeque<Key>,
    read: Vec<(Key, Result<Record, FetchError>)>,
    /// Decided and not durable.
    steps: VecDeque<Step>,
    /// Durable, and nobody was told.
    durable: VecDeque<(u64, Release)>,
    /// The last step that was told.
    told: u64,
}

impl Engine {
    pub(crate) fn new(
        core: Core,
        storage: chasqui_storage::Core,
        sink: Arc<dyn Sink>,
        clock: Arc<ManualClock>,
    ) -> Arc<Engine> {
        let room = Room {
            core,
            storage,
            sink,
            wanted: VecDeque::new(),
            read: Vec::new(),
            steps: VecDeque::new(),
            durable: VecDeque::new(),
            told: 0,
        };
        let (queue, room) = (Mutex::default(), Mutex::new(room));
        Arc::new(Engine { queue, at_once: AtomicBool::new(true), clock, room })
    }

    /// From now on it waits to be told.
    pub(crate) fn started(&self) {
        self.at_once.store(false, Ordering::Relaxed);
    }

    fn push(&self, work: Work, due_ms: u64) {
        self.queue.lock().push_back(Waiting { work, due_ms });
        if self.at_once.load(Ordering::Relaxed) {
            self.run_dry();
        }
    }

    /// Whether there is something to take: work that does not wait for company, or has waited, or a record.
    pub(crate) fn has_work(&self) -> bool {
        let now_ms = self.clock.now_ms();
        self.queue.lock().iter().any(|waiting| waiting.due_ms <= now_ms) || !self.room.lock().read.is_empty()
    }

    /// How many records are to be read, groups of changes to be committed, and of those who wait to be told.
    pub(crate) fn under_way(&self) -> (usize, usize, usize) {
        let room = self.room.lock();
        (room.wanted.len(), room.steps.len(), room.durable.len())
    }

    /// Whether nothing waits, not even for company.
    pub(crate) fn is_idle(&self) -> bool {
        let room = self.room.lock();
        self.queue.lock().is_empty()
            && room.read.is_empty()
            && room.wanted.is_empty()
            && room.steps.is_empty()
            && room.durable.is_empty()
            && room.core.parked().0 == 0
    }

    /// Takes so much work, and all records that were read, and decides.
    pub(crate) fn take(&self, count: usize) -> Done {
        let room = &mut *self.room.lock();
        let works: Vec<Work> = {
            let mut queue = self.queue.lock();
            let count = count.min(queue.len());
            queue.drain(..count).map(|waiting| waiting.work).collect()
        };
        let taken = works.len() + room.read.len();
        room.step(works, self.clock.now_ms());
        if taken == 0 { Done::Nothing } else { Done::Took(taken) }
    }

    /// Reads one of the records that a thread would be reading now.
    pub(crate) fn read(&self, which: usize) -> Done {
        let room = &mut *self.room.lock();
        let readers = READERS.min(room.wanted.len());
        if readers == 0 {
            return Done::Nothing;
        }
        let key = room.wanted.remove(which % readers).expect("there is one at each place below the length");
        let record = sequencer::read(&room.storage.reader(), &key);
        room.read.push((key, record));
        Done::Read
    }

    /// Commits so many groups of changes with one write and one flush. Nobody is told yet.
    pub(crate) fn commit(&self, count: usize) -> Done {
        self.room.lock().commit(count)
    }

    /// Tells those who wait for the oldest durable batch.
    pub(crate) fn tell(&self) -> Done {
        let room = &mut *self.room.lock();
        let Some((number, release)) = room.durable.pop_front() else { return Done::Nothing };
        room.told = number;
        release.committed(&*room.sink);
        Done::Told
    }

    /// Writes down what is full or old enough.
    pub(crate) fn write_down(&self) -> Done {
        let room = &mut *self.room.lock();
        if room.storage.poisoned().is_some() {
            return Done::Nothing;
        }
        match room.storage.tick() {
            Ok(false) => Done::Nothing,
            Ok(true) => Done::WroteDown,
            Err(_) => {
                room.give_up();
                Done::Failed
            }
        }
    }

    /// Writes everything down, as a stop in good order does.
    pub(crate) fn close(&self) -> bool {
        self.room.lock().storage.write_down().is_ok()
    }

    /// Whether the store takes no more.
    pub(crate) fn is_poisoned(&self) -> bool {
        self.room.lock().storage.poisoned().is_some()
    }

    /// Reads what was committed.
    pub(crate) fn reader(&self) -> chasqui_storage::Reader {
        self.room.lock().storage.reader()
    }

    /// Does everything there is to do. What is handed in meanwhile is done too, by the one who is at it already.
    pub(crate) fn run_dry(&self) {
        while let Some(mut room) = self.room.try_lock() {
            let room = &mut *room;
            let works: Vec<Work> = self.queue.lock().drain(..).map(|waiting| waiting.work).collect();
            let nothing = works.is_empty() && room.read.is_empty() && room.wanted.is_empty();
            if nothing && room.steps.is_empty() && room.durable.is_empty() {
                return;
            }
            room.step(works, self.clock.now_ms());
            while let Some(key) = room.wanted.pop_front() {
                let record = sequencer::read(&room.storage.reader(), &key);
                room.read.push((key, record));
            }
            room.commit(usize::MAX);
            while let Some((number, release)) = room.durable.pop_front() {
                room.told = number;
                release.committed(&*room.sink);
            }
        }
    }
}

impl Room {
    fn step(&mut self, works: Vec<Work>, now_ms: u64) {
        self.core.durable(self.told);
        for (key, record) in self.read.drain(..) {
            self.core.fetched(&key, record, now_ms);
        }
        for work in works {
            match work {
                Work::Request(request) => self.core.request(request, now_ms),
                Work::Ops(ops) => self.core.ops(ops, now_ms),
            }
        }
        let mut step = self.core.step();
        self.wanted.extend(std::mem::take(&mut step.fetches));
        if let Some(why) = self.storage.poisoned() {
            step.release.poisoned(&*self.sink, why);
            self.give_up();
        } else if !step.is_idle() {
            self.steps.push_back(step);
        }
    }

    fn commit(&mut self, count: usize) -> Done {
        let count = count.min(self.steps.len());
        if count == 0 {
            return Done::Nothing;
        }
        let mut batches = Vec::with_capacity(count);
        let mut released = Vec::with_capacity(count);
        for Step { number, batch, release, .. } in self.steps.drain(..count) {
            batches.push(batch);
            released.push((number, release));
        }
        match self.storage.commit(batches) {
            Ok(end) => {
                self.durable.extend(released);
                Done::Committed(count, end)
            }
            Err(error) => {
                let why = Poisoned { why: error.to_string().into() };
                for (_, release) in released {
                    release.poisoned(&*self.sink, &why);
                }
                self.give_up();
                Done::Failed
            }
        }
    }

    /// Where the store takes no more, nothing more is carried out, and whoever waits is told so. What was durable before is told as that.
    fn give_up(&mut self) {
        let Some(why) = self.storage.poisoned() else { return };
        for step in self.steps.drain(..) {
            step.release.poisoned(&*self.sink, why);
        }
        self.core.poison().poisoned(&*self.sink, why);
        self.wanted.clear();
        self.read.clear();
    }
}

impl Intake for Engine {
    fn submit(&self, requests: Vec<Request>) {
        for request in requests {
            self.push(Work::Request(request), 0);
        }
    }

    fn lazy(&self, request: Request) {
        self.push(Work::Request(request), self.clock.now_ms() + CURSOR_DELAY_MS);
    }

    fn ops(&self, ops: Ops) {
        self.push(Work::Ops(ops), 0);
    }

    fn lazy_ops(&self, ops: Ops) {
        self.push(Work::Ops(ops), self.clock.now_ms() + CURSOR_DELAY_MS);
    }

    fn is_crowded(&self) -> bool {
        false
    }
}
