//! The store as the rest of the program sees it: [`Core`](crate::Core) with a thread that commits and one that writes down.
//!
//! Two threads, both thin: `commit-log` takes what waits, makes it durable, applies it to the overlay and tells who waits;
//! `write-down` seals a layer that is full or old and writes it into the key-value store while the next one fills. When
//! both layers are full the commit waits for the one on its way down; that is counted.
//!
//! The first failure of either is final: from then on [`Storage::submit`] answers [`Poisoned`]. What the log holds by then
//! is there after the next start.

use crate::{
    Batch, CheckpointError, Core, OpenError, Options, Position, Reader,
    clock::{Clock, SystemClock},
    commit_log::{self, CommitLog, Committed, GroupCommit, LogOptions, Poisoned},
    disk::{Dir, Disk, make_durably},
    folder,
    kv::{FORMAT_VERSION, KeyValue, rocks::RocksKv},
    overlay::layers::Stack,
    pace::{self, Pressure},
};
use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use std::{
    fmt::Display,
    path::Path,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// Longest sleep of the write-down thread while a layer ages: the clock may be set, and may be a test's.
const NAP: Duration = Duration::from_millis(250);

/// A store in use. Dropping it stops its threads without writing the overlay down: the log has it.
pub struct Storage {
    commit: Option<Arc<GroupCommit>>,
    write_down: Option<JoinHandle<()>>,
    shared: Arc<Shared>,
    log_options: LogOptions,
    /// Held for as long as the folder is in use.
    _lock: Option<folder::Lock>,
}

/// Figures of a store, for metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// The end of the last batch that is applied.
    pub applied: Position,
    /// The position up to which the key-value store holds everything durably.
    pub durable: Position,
    /// Memory held by the layer that takes changes, in bytes.
    pub active_bytes: usize,
    /// Memory held by the layer on its way down, in bytes.
    pub sealed_bytes: usize,
    /// Chunks written into the key-value store.
    pub chunks: u64,
    /// Changes in those chunks.
    pub chunk_ops: u64,
    /// How often a commit had to wait for a layer to go down.
    pub waits: u64,
    /// How long these waits took together, in microseconds.
    pub waited_us: u64,
}

struct Shared {
    stack: Arc<Stack>,
    clock: Arc<dyn Clock>,
    overlay_bytes: usize,
    overlay_age_ms: u64,
    failed: OnceLock<Poisoned>,
    state: Mutex<State>,
    /// For the write-down thread: a layer is sealed, the first change has come, or it shall stop.
    work: Condvar,
    /// For the commit thread: a layer has gone down, or never will.
    room: Condvar,
    waits: AtomicU64,
    waited_us: AtomicU64,
    /// Bytes of a layer that went down in a second, as of the last one that was anything like full; 0 before it.
    down_per_s: AtomicU64,
}

#[derive(Default)]
struct State {
    /// When the active layer got its first change, in Unix milliseconds.
    touched_ms: Option<u64>,
    stop: Stop,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Stop {
    #[default]
    No,
    /// Write everything down first.
    Drained,
    /// Leave it to the log.
    AtOnce,
}

impl Storage {
    /// Opens the store in `dir`, or creates it: `log/` for the commit log, `state/` for the key-value store, `lock`.
    pub fn open(dir: &Path, options: Options) -> Result<Storage, OpenError> {
        let lock = folder::Lock::take(dir)?;
        let disk = Dir::open(dir.join("log")).map_err(folder::error(dir, "opened"))?;
        let state = dir.join("state");
        // Opening for writing changes files: what a newer version wrote is left as it is.
        commit_log::refuse_newer(&disk)?;
        match RocksKv::format_of(&state)? {
            Some(found) if found > FORMAT_VERSION => {
                return Err(OpenError::NewerFormat { found, known: FORMAT_VERSION });
            }
            _ => {}
        }
        // RocksDB flushes what is in its folder, and not the folder's own name.
        make_durably(&state).map_err(folder::error(dir, "opened"))?;
        let kv = RocksKv::open(&state, &options)?;
        let core = Core::open(Arc::new(disk), Arc::new(kv), Arc::new(SystemClock), options)?;
        Ok(Storage::start(core, Some(lock)))
    }

    /// Opens a store on a disk and a key-value store that are at hand: for tests and simulations.
    pub fn open_with(
        disk: Arc<dyn Disk>,
        kv: Arc<dyn KeyValue>,
        clock: Arc<dyn Clock>,
        options: Options,
    ) -> Result<Storage, OpenError> {
        Ok(Storage::start(Core::open(disk, kv, clock, options)?, None))
    }

    fn start(core: Core, lock: Option<folder::Lock>) -> Storage {
        let Core { log, stack, clock, options, .. } = core;
        let log_options = options.log();
        let touched_ms = stack.is_touched().then(|| clock.now_ms());
        let shared = Arc::new(Shared {
            stack,
            clock,
            overlay_bytes: options.overlay_bytes,
            overlay_age_ms: u64::try_from(options.overlay_age.as_millis()).unwrap_or(u64::MAX),
            failed: OnceLock::new(),
            state: Mutex::new(State { touched_ms, stop: Stop::No }),
            work: Condvar::new(),
            room: Condvar::new(),
            waits: AtomicU64::new(0),
            waited_us: AtomicU64::new(0),
            down_per_s: AtomicU64::new(0),
        });
        let theirs = Arc::clone(&shared);
        let apply = move |position, payloads: &[Bytes]| theirs.apply(position, payloads);
        let pacing = Arc::clone(&shared);
        let mut filled = 0;
        let pause = move || pacing.pause(&mut filled);
        let commit = Arc::new(GroupCommit::start_paced(log, options.queue, apply, pause));
        let (theirs, releasing) = (Arc::clone(&shared), Arc::clone(&commit));
        let write_down = thread::Builder::new()
            .name("write-down".to_owned())
            .spawn(move || theirs.write_down_until_stopped(&releasing))
            .expect("a process that starts can start its threads");
        Storage { commit: Some(commit), write_down: Some(write_down), shared, log_options, _lock: lock }
    }

    /// Hands a batch to the commit log; waits while its queue is full.
    ///
    /// `done` is called exactly once: when the batch is durable and readers see it, or with the reason why that will not
    /// happen. If this returns an error it has been called already. For an empty batch it is called in its turn.
    pub fn submit(&self, batch: Batch, done: Box<dyn Committed>) -> Result<(), Poisoned> {
        if let Some(poisoned) = self.shared.failed.get() {
            done.committed(Err(poisoned.clone()));
            return Err(poisoned.clone());
        }
        self.commit().submit(batch.into_payload(), done)
    }

    /// Commits a batch and waits until it is durable and readers see it.
    pub fn commit_and_wait(&self, batch: Batch) -> Result<Position, Poisoned> {
        let (tell, told) = mpsc::sync_channel(1);
        let done = move |result| {
            // Whoever waits is there until it is told.
            let _ = tell.send(result);
        };
        self.submit(batch, Box::new(done))?;
        told.recv().unwrap_or_else(|_| Err(Poisoned::new("the commit-log thread is gone")))
    }

    /// Reads what was committed, from any thread.
    pub fn reader(&self) -> Reader {
        Reader::new(Arc::clone(&self.shared.stack))
    }

    /// The end of the last batch that readers see.
    pub fn applied(&self) -> Position {
        self.shared.stack.applied()
    }

    /// The failure after which nothing is committed any more.
    pub fn poisoned(&self) -> Option<Poisoned> {
        self.shared.failed.get().cloned().or_else(|| self.commit().poisoned())
    }

    /// Figures for metrics.
    pub fn stats(&self) -> Stats {
        let figures = self.shared.stack.figures();
        Stats {
            applied: self.shared.stack.applied(),
            durable: self.shared.stack.durable(),
            active_bytes: figures.active_bytes,
            sealed_bytes: figures.sealed_bytes,
            chunks: figures.chunks,
            chunk_ops: figures.chunk_ops,
            waits: self.shared.waits.load(Ordering::Relaxed),
            waited_us: self.shared.waited_us.load(Ordering::Relaxed),
        }
    }

    /// Writes a copy of everything that is committed now into `dir`, which must not exist, while the store stays in use.
    /// The copy is a data folder itself: opening it continues from the position that is answered.
    pub fn checkpoint(&self, dir: &Path) -> Result<Position, CheckpointError> {
        let shown = || dir.display().to_string();
        if dir.exists() {
            return Err(CheckpointError::Exists { dir: shown() });
        }
        // A layer that is on its way, then all that has gathered since.
        self.shared.write_sealed(self.commit())?;
        self.shared.seal();
        self.shared.write_sealed(self.commit())?;
        let log =
            Dir::open(dir.join("log")).map_err(|source| CheckpointError::Folder { dir: shown(), source })?;
        let position = self.shared.stack.checkpoint(&dir.join("state"))?;
        // The copy's log goes its own way from here, so it gets a key of its own.
        let options = LogOptions { key: None, ..self.log_options.clone() };
        CommitLog::create(Arc::new(log), options, position)?;
        Ok(position)
    }

    /// Commits what waits, writes everything down, and lets the folder go. An error says that something was left to the log,
    /// which has it at the next start.
    pub fn close(mut self) -> Result<Position, Poisoned> {
        // Everything submitted before is committed when this is.
        let committed = self.commit_and_wait(Batch::new());
        self.stop(Stop::Drained);
        committed?;
        match self.shared.failed.get() {
            Some(poisoned) => Err(poisoned.clone()),
            None => Ok(self.shared.stack.durable()),
        }
    }

    fn commit(&self) -> &GroupCommit {
        self.commit.as_deref().expect("only stopping takes it, and then nobody can call")
    }

    fn stop(&mut self, how: Stop) {
        self.shared.stop(how);
        if let Some(thread) = self.write_down.take()
            && thread.join().is_err()
        {
            self.shared.fail(&"the write-down thread has panicked");
        }
        // The last handle: commits what waits and joins the thread.
        self.commit = None;
    }
}

impl Drop for Storage {
    fn drop(&mut self) {
        if self.commit.is_some() {
            self.stop(Stop::AtOnce);
        }
    }
}

impl Shared {
    /// On the commit thread: makes a durable batch visible.
    fn apply(&self, position: Position, payloads: &[Bytes]) {
        self.wait_for_room();
        if let Err(error) = self.stack.apply(position, payloads) {
            self.fail(&error);
            return;
        }
        if self.stack.is_filled(self.overlay_bytes) && self.seal() {
            return;
        }
        let mut state = self.state.lock();
        if state.touched_ms.is_none() {
            state.touched_ms = Some(self.clock.now_ms());
            self.work.notify_one();
        }
    }

    /// Behind a batch: how long the next one waits so that commits do not have to stop. `filled` is what filled the layer then.
    fn pause(&self, filled: &mut usize) -> Duration {
        let active = self.stack.filling();
        // In a new layer, all that is there is new.
        let added = active.checked_sub(*filled).unwrap_or(active);
        *filled = active;
        if !self.stack.is_going_down() {
            return Duration::ZERO;
        }
        let down_per_s = self.down_per_s.load(Ordering::Relaxed);
        pace::pause(Pressure { added, active, limit: self.overlay_bytes, down_per_s })
    }

    /// Waits while both layers are full. Does not wait when nothing will make room: the queue behind is bounded.
    #[allow(
        clippy::disallowed_methods,
        reason = "how long it waited is a figure for metrics and decides nothing"
    )]
    fn wait_for_room(&self) {
        if !self.stack.is_filled(self.overlay_bytes) || self.seal() {
            return;
        }
        let mut state = self.state.lock();
        let start = Instant::now();
        let mut waited = false;
        while self.stack.is_going_down() && self.failed.get().is_none() && state.stop != Stop::AtOnce {
            if !std::mem::replace(&mut waited, true) {
                self.waits.fetch_add(1, Ordering::Relaxed);
            }
            self.room.wait(&mut state);
        }
        drop(state);
        if waited {
            let waited_us = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
            self.waited_us.fetch_add(waited_us, Ordering::Relaxed);
        }
        self.seal();
    }

    /// Seals the active layer and wakes the thread that writes it down.
    fn seal(&self) -> bool {
        let mut state = self.state.lock();
        let sealed = self.stack.seal();
        if sealed {
            state.touched_ms = None;
            self.work.notify_one();
        }
        sealed
    }

    /// The write-down thread.
    fn write_down_until_stopped(&self, commit: &GroupCommit) {
        loop {
            let stop = self.wait_for_work();
            if stop == Stop::AtOnce || self.write_sealed(commit).is_err() {
                return;
            }
            if stop == Stop::Drained && !self.stack.is_going_down() && !self.seal() {
                return;
            }
        }
    }

    /// Waits until a layer is sealed, sealing one that is old enough, or until it shall stop.
    fn wait_for_work(&self) -> Stop {
        let mut state = self.state.lock();
        loop {
            if state.stop != Stop::No || self.stack.is_going_down() {
                return state.stop;
            }
            let Some(touched_ms) = state.touched_ms else {
                self.work.wait(&mut state);
                continue;
            };
            let now_ms = self.clock.now_ms();
            let age_ms = now_ms.saturating_sub(touched_ms);
            if age_ms >= self.overlay_age_ms {
                state.touched_ms = None;
                self.stack.seal();
                continue;
            }
            // A clock that was set back counts from there.
            state.touched_ms = Some(touched_ms.min(now_ms));
            let left = Duration::from_millis(self.overlay_age_ms - age_ms);
            self.work.wait_for(&mut state, left.min(NAP));
        }
    }

    #[allow(
        clippy::disallowed_methods,
        reason = "how fast it is paces commits, and decides nothing that is stored"
    )]
    fn write_sealed(&self, commit: &GroupCommit) -> Result<(), Poisoned> {
        if let Some(poisoned) = self.failed.get() {
            return Err(poisoned.clone());
        }
        let began = Instant::now();
        let bytes = self.stack.figures().sealed_bytes as u64;
        match self.stack.write_down() {
            Ok(None) => Ok(()),
            Ok(Some(upto)) => {
                // A layer that went down for its age says how long a flush takes, and not how much goes down in a second.
                if bytes >= self.overlay_bytes as u64 / 8 {
                    let took_us = began.elapsed().as_micros().max(1) as u64;
                    self.down_per_s.store(bytes.saturating_mul(1_000_000) / took_us, Ordering::Relaxed);
                }
                commit.release(upto);
                self.tell_of_room();
                Ok(())
            }
            Err(error) => Err(self.fail(&error)),
        }
    }

    fn stop(&self, how: Stop) {
        self.state.lock().stop = how;
        self.work.notify_one();
        self.room.notify_all();
    }

    fn fail(&self, error: &dyn Display) -> Poisoned {
        let poisoned = self.failed.get_or_init(|| Poisoned::new(error)).clone();
        tracing::error!(error = %poisoned, "the store takes no more writes");
        self.tell_of_room();
        poisoned
    }

    fn tell_of_room(&self) {
        // The lock orders this behind the check of whoever is about to wait.
        drop(self.state.lock());
        self.room.notify_all();
    }
}
