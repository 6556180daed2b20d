//! The thread around [`Core`]: take what waits, step, submit, and again.

use super::core::{Core, Release, Step};
use super::fetch::Fetchers;
use super::queue::{Limits, Queue, Taken};
use super::{Intake, Ops, Request, Sink};
use chasqui_proto::limits::{
    BATCH_MAX_BYTES, BATCH_MAX_ITEMS, CURSOR_DELAY_MS, FLUSH_INTERVAL_MS, SEQUENCER_QUEUE_MAX_BYTES,
    SEQUENCER_QUEUE_MAX_ITEMS,
};
use chasqui_storage::clock::Clock;
use chasqui_storage::{Batch, Poisoned, Storage};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Items taken in one step: few enough that the commit log gets to work while the next step is decided on.
const STEP_MAX_ITEMS: usize = 1_024;

/// The least time between the beginnings of two steps that are not whole: what is decided earlier would only wait for the commit log, and
/// each step costs the wake-ups of this thread, of the log's, and of those who are answered.
const STEP_INTERVAL: Duration = Duration::from_millis(FLUSH_INTERVAL_MS);

const _: () = assert!(STEP_MAX_ITEMS <= BATCH_MAX_ITEMS);

/// Settings of a [`Sequencer`].
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Users come into being when first named.
    pub dev: bool,
    /// Memory for records at hand, in bytes: a user takes 188 (one device included, 48 or more for each
    /// other), a conversation 148, a receipt 188, the accepted ids of a device 188 and about 58 for each id.
    /// Beyond it those that were not used for longest go, and are read again when they are needed.
    pub working_set_bytes: usize,
    /// Threads that read records.
    pub fetch_threads: usize,
}

impl Default for Options {
    fn default() -> Options {
        Options { dev: false, working_set_bytes: 128 << 20, fetch_threads: 2 }
    }
}

/// Figures of a sequencer, for metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Steps that came to a batch.
    pub batches: u64,
    /// Records read from the store.
    pub fetches: u64,
    /// Commands that wait for a record.
    pub parked: usize,
    /// Records at hand.
    pub records: usize,
    /// Bytes these take.
    pub record_bytes: usize,
}

/// The sequencer. Dropping it stops it as [`Sequencer::stop`] does.
pub struct Sequencer {
    shared: Arc<Shared>,
    storage: Arc<Storage>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    queue: Queue,
    sink: Arc<dyn Sink>,
    /// Number of the last step whose batch is durable.
    durable: AtomicU64,
    figures: Figures,
}

#[derive(Default)]
struct Figures {
    batches: AtomicU64,
    fetches: AtomicU64,
    parked: AtomicUsize,
    records: AtomicUsize,
    record_bytes: AtomicUsize,
}

impl Sequencer {
    /// Starts a sequencer that is the only one to use its kinds of records in `storage`.
    pub fn start(
        storage: Arc<Storage>,
        sink: Arc<dyn Sink>,
        clock: Arc<dyn Clock>,
        options: Options,
    ) -> Sequencer {
        let limits = Limits {
            items: SEQUENCER_QUEUE_MAX_ITEMS,
            bytes: SEQUENCER_QUEUE_MAX_BYTES,
            step_items: STEP_MAX_ITEMS,
            step_bytes: BATCH_MAX_BYTES,
            delay: Duration::from_millis(CURSOR_DELAY_MS),
        };
        let shared = Arc::new(Shared {
            queue: Queue::new(limits),
            sink,
            durable: AtomicU64::new(0),
            figures: Figures::default(),
        });
        let (theirs, store) = (Arc::clone(&shared), Arc::clone(&storage));
        let thread = thread::Builder::new()
            .name("sequencer".to_owned())
            .spawn(move || run(&theirs, &store, &*clock, options))
            .expect("a process that starts can start its threads");
        Sequencer { shared, storage, thread: Some(thread) }
    }

    /// Figures for metrics.
    pub fn stats(&self) -> Stats {
        let figures = &self.shared.figures;
        Stats {
            batches: figures.batches.load(Ordering::Relaxed),
            fetches: figures.fetches.load(Ordering::Relaxed),
            parked: figures.parked.load(Ordering::Relaxed),
            records: figures.records.load(Ordering::Relaxed),
            record_bytes: figures.record_bytes.load(Ordering::Relaxed),
        }
    }

    /// Carries out everything that was handed in, and waits until all of it is durable and answered.
    ///
    /// # Errors
    /// If the store has failed: what was not durable by then is not answered.
    pub fn stop(mut self) -> Result<(), Poisoned> {
        self.join();
        // Answers come in order: this one behind all others.
        self.storage.commit_and_wait(Batch::new()).map(|_| ())
    }

    fn join(&mut self) {
        self.shared.queue.stop();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the sequencer thread has panicked");
        }
    }
}

impl Intake for Sequencer {
    fn submit(&self, requests: Vec<Request>) {
        self.shared.queue.submit(requests.into_iter().map(Into::into));
    }

    fn lazy(&self, request: Request) {
        self.shared.queue.submit_lazy(request.into());
    }

    fn ops(&self, ops: Ops) {
        self.shared.queue.submit([ops.into()]);
    }

    fn lazy_ops(&self, ops: Ops) {
        self.shared.queue.submit_lazy(ops.into());
    }

    fn is_crowded(&self) -> bool {
        self.shared.queue.is_crowded()
    }
}

impl Drop for Sequencer {
    fn drop(&mut self) {
        self.join();
    }
}

#[allow(clippy::disallowed_methods)] // Paces itself; nothing that is stored depends on it.
fn run(shared: &Arc<Shared>, storage: &Storage, clock: &dyn Clock, options: Options) {
    let mut core = Core::new(options.dev, options.working_set_bytes);
    let theirs = Arc::clone(shared);
    let found = move |key, record| theirs.queue.fetched((key, record));
    let fetchers = Fetchers::start(options.fetch_threads, &storage.reader(), found);
    let mut not_before = None;
    loop {
        let Taken { works, fetched, stopping } = shared.queue.take(not_before);
        not_before = Some(Instant::now() + STEP_INTERVAL);
        let now_ms = clock.now_ms();
        core.durable(shared.durable.load(Ordering::Acquire));
        for (key, record) in fetched {
            core.fetched(&key, record, now_ms);
        }
        for work in works {
            core.take(work, now_ms);
        }
        let mut step = core.step();
        shared.count(&core, &step);
        fetchers.fetch(std::mem::take(&mut step.fetches));
        if let Err(why) = shared.commit(storage, step) {
            core.poison().poisoned(&*shared.sink, &why);
        }
        shared.queue.parked(core.parked());
        if stopping && core.parked().0 == 0 {
            return;
        }
    }
}

impl Shared {
    /// Submits a step's batch; whoever waits for it is told by the commit thread. Waits while the commit log
    /// has too much.
    fn commit(self: &Arc<Self>, storage: &Storage, step: Step) -> Result<(), Poisoned> {
        if step.is_idle() {
            return storage.poisoned().map_or(Ok(()), Err);
        }
        let Step { number, batch, release, .. } = step;
        let shared = Arc::clone(self);
        let done = move |result: Result<_, Poisoned>| shared.release(number, release, result.map(|_| ()));
        storage.submit(batch, Box::new(done))
    }

    fn release(&self, number: u64, release: Release, result: Result<(), Poisoned>) {
        match result {
            Ok(()) => {
                self.durable.store(number, Ordering::Release);
                release.committed(&*self.sink);
            }
            Err(why) => release.poisoned(&*self.sink, &why),
        }
    }

    fn count(&self, core: &Core, step: &Step) {
        let figures = &self.figures;
        figures.batches.fetch_add(u64::from(!step.is_idle()), Ordering::Relaxed);
        figures.fetches.fetch_add(step.fetches.len() as u64, Ordering::Relaxed);
        figures.parked.store(core.parked().0, Ordering::Relaxed);
        let (records, record_bytes) = core.at_hand();
        figures.records.store(records, Ordering::Relaxed);
        figures.record_bytes.store(record_bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
