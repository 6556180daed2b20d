//! Group commit: everything that waits becomes one batch, one write and one flush.
//!
//! [`Committer`] is one step, without thread, clock or queue, so that a simulation drives the same code.
//! [`GroupCommit`] is the thread around it: take, step, tidy up, again.
//!
//! The order within a step is the promise: durable, then applied, then acknowledged in the order of submission. After a
//! failure nothing is applied, and all who wait or come later are told so.

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::queue::{Queue, Taken};
use super::{CommitLog, Committed, Poisoned, Position, QueueLimits, Submission};

/// Applies a durable batch: the end of the batch, and its payloads, none empty.
type Apply = Box<dyn FnMut(Position, &[Bytes]) + Send>;

/// Appends what was taken, applies it, and tells who waits.
pub struct Committer {
    log: CommitLog,
    apply: Apply,
    payloads: Vec<Bytes>,
}

impl Committer {
    /// A committer that owns `log` and calls `apply` once for each batch, when it is durable.
    pub fn new(log: CommitLog, apply: impl FnMut(Position, &[Bytes]) + Send + 'static) -> Self {
        Self { log, apply: Box::new(apply), payloads: Vec::new() }
    }

    /// Takes all submissions as one batch. Every `done` has been called when this returns.
    pub fn step(&mut self, submissions: &mut Vec<Submission>) -> Result<Position, Poisoned> {
        let result = self.write(submissions);
        Self::tell(submissions, &result);
        result
    }

    /// Appends what is submitted as one batch, and applies it.
    fn write(&mut self, submissions: &[Submission]) -> Result<Position, Poisoned> {
        self.payloads.clear();
        self.payloads
            .extend(submissions.iter().map(|s| s.payload.clone()).filter(|payload| !payload.is_empty()));
        let result = self.log.append(&self.payloads).map_err(|error| match self.log.poisoned() {
            Some(poisoned) => poisoned.clone(),
            None => Poisoned::new(error),
        });
        if let (Ok(end), false) = (&result, self.payloads.is_empty()) {
            (self.apply)(*end, &self.payloads);
        }
        self.payloads.clear();
        result
    }

    /// One at a time, so that a panic in one leaves the others for the caller to tell.
    fn tell(submissions: &mut Vec<Submission>, result: &Result<Position, Poisoned>) {
        submissions.reverse();
        while let Some(submission) = submissions.pop() {
            submission.done.committed(result.clone());
        }
    }

    /// What can wait until nobody does: gives up segments below `release`, prepares the next one.
    pub fn tidy_up(&mut self, release: Option<Position>) {
        if let Some(upto) = release
            && let Err(error) = self.log.release(upto)
        {
            tracing::warn!(%error, %upto, "segments of the commit log could not be released; trying again later");
        }
        self.log.prepare();
    }

    /// The log.
    pub fn log(&self) -> &CommitLog {
        &self.log
    }

    /// Gives the log back.
    pub fn into_log(self) -> CommitLog {
        self.log
    }
}

/// A log with a thread of its own, named `commit-log`.
///
/// Dropping it closes it, as [`close`](Self::close) does.
pub struct GroupCommit {
    queue: Arc<Queue>,
    thread: Option<JoinHandle<CommitLog>>,
}

impl GroupCommit {
    /// Starts the thread. `apply` gets the end of each batch and its payloads when they are durable, before anyone is
    /// told; empty payloads are left out.
    ///
    /// # Panics
    /// If the system refuses a thread.
    pub fn start(
        log: CommitLog,
        limits: QueueLimits,
        apply: impl FnMut(Position, &[Bytes]) + Send + 'static,
    ) -> Self {
        Self::start_paced(log, limits, apply, || Duration::ZERO)
    }

    /// As [`start`](Self::start); `pause` is asked behind each batch how long the next one waits beyond the least interval, for the sake
    /// of what has to keep up with the log. A full queue does not wait.
    ///
    /// # Panics
    /// If the system refuses a thread.
    pub fn start_paced(
        log: CommitLog,
        limits: QueueLimits,
        apply: impl FnMut(Position, &[Bytes]) + Send + 'static,
        pause: impl FnMut() -> Duration + Send + 'static,
    ) -> Self {
        let queue = Arc::new(Queue::new(&limits));
        if let Some(poisoned) = log.poisoned() {
            queue.poison(poisoned);
        }
        let committer = Committer::new(log, apply);
        let theirs = queue.clone();
        let thread = thread::Builder::new()
            .name("commit-log".to_owned())
            .spawn(move || run(&theirs, committer, &limits, pause))
            .expect("a process that starts can start its threads");
        Self { queue, thread: Some(thread) }
    }

    /// Puts a payload in the queue; waits while that is full.
    ///
    /// `done` is called exactly once: on the thread of the log when its turn has come, or, if this returns an error,
    /// before it returns. An empty payload writes nothing; its `done` comes after everything before it.
    pub fn submit(&self, payload: Bytes, done: Box<dyn Committed>) -> Result<(), Poisoned> {
        self.queue.submit(Submission { payload, done })
    }

    /// Lets the thread give up the segments that lie wholly below `upto`, soon. See [`CommitLog::release`].
    pub fn release(&self, upto: Position) {
        self.queue.release(upto);
    }

    /// The failure after which the log takes no more writes.
    pub fn poisoned(&self) -> Option<Poisoned> {
        self.queue.poisoned()
    }

    /// Writes what waits, stops the thread and gives the log back.
    ///
    /// # Panics
    /// If `apply` or a `done` has panicked, with the same.
    pub fn close(mut self) -> CommitLog {
        self.queue.close();
        let thread = self.thread.take().expect("only closing takes the thread");
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

impl Drop for GroupCommit {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            self.queue.close();
            // A panic was printed, and told to all who waited; a second one while dropping would abort.
            let _ = thread.join();
        }
    }
}

#[allow(clippy::disallowed_methods)] // Paces itself; nothing that is stored depends on it.
fn run(
    queue: &Queue,
    mut committer: Committer,
    limits: &QueueLimits,
    mut pause: impl FnMut() -> Duration,
) -> CommitLog {
    let mut batch = Batch { queue, taken: Vec::new() };
    let mut not_before = None;
    while let Taken::Work { release } = queue.take(not_before, &mut batch.taken) {
        if !batch.taken.is_empty() {
            let began = Instant::now();
            let result = committer.write(&batch.taken);
            if let Err(poisoned) = &result {
                // Before anyone is told of the failure: who then asks for its reason gets it.
                queue.refuse_more(poisoned);
            }
            Committer::tell(&mut batch.taken, &result);
            if let Err(poisoned) = &result {
                queue.poison(poisoned);
            }
            not_before = Some(began + limits.min_interval + pause());
        }
        committer.tidy_up(release);
    }
    drop(batch);
    committer.into_log()
}

/// What the thread has in hand. If it panics, those who wait for it are told, and all others too.
struct Batch<'a> {
    queue: &'a Queue,
    taken: Vec<Submission>,
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            let poisoned = Poisoned::new("the commit-log thread has panicked");
            for submission in self.taken.drain(..) {
                submission.done.committed(Err(poisoned.clone()));
            }
            self.queue.poison(&poisoned);
        }
    }
}
