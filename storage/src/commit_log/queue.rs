//! The queue in front of the log: many submit, one takes everything at once.
//!
//! Bounded in items and in bytes ([`QueueLimits`]); whoever meets a full queue waits. Every submission's `done` is
//! called exactly once, whatever happens.

use std::time::Instant;

use bytes::Bytes;
use parking_lot::{Condvar, Mutex, MutexGuard};

use super::record::{HEADER, MAX_BATCH_BYTES, MAX_PAYLOAD_BYTES};
use super::{Poisoned, Position, QueueLimits};

const MOST_ITEMS: usize = 1 << 24;
const MOST_BYTES: usize = 256 << 20;
// All that a full queue can hold is one batch: a payload may go beyond the bytes, and each has its length before it.
const _: () =
    assert!(HEADER + MOST_BYTES + MAX_PAYLOAD_BYTES + 4 * MOST_ITEMS + 8 <= MAX_BATCH_BYTES as usize);

/// Who waits for a submission.
///
/// Called on the thread of the log, in the order of submission, so it must not block.
pub trait Committed: Send {
    /// With the end of the batch when it is durable and applied, or with the reason why that will not be known before
    /// the next start.
    fn committed(self: Box<Self>, result: Result<Position, Poisoned>);
}

impl<F: FnOnce(Result<Position, Poisoned>) + Send> Committed for F {
    fn committed(self: Box<Self>, result: Result<Position, Poisoned>) {
        self(result);
    }
}

/// A payload on its way to the log, and who waits for it.
pub struct Submission {
    /// The bytes; if empty, nothing is written, and `done` comes in its turn.
    pub payload: Bytes,
    /// Who waits.
    pub done: Box<dyn Committed>,
}

pub(crate) struct Queue {
    state: Mutex<State>,
    /// There is room, or there never will be.
    room: Condvar,
    /// There is something to do for the thread of the log.
    work: Condvar,
    limits: QueueLimits,
}

#[derive(Default)]
struct State {
    waiting: Vec<Submission>,
    bytes: usize,
    /// Up to where segments may be released.
    release: Option<Position>,
    /// The thread of the log sleeps till there is work; not for want of time.
    idle: bool,
    closed: bool,
    poisoned: Option<Poisoned>,
}

/// What [`Queue::take`] found besides submissions.
pub(crate) enum Taken {
    /// There is work; and segments up to here may be released.
    Work { release: Option<Position> },
    /// The queue is closed and empty.
    Closed,
}

impl Queue {
    pub(crate) fn new(limits: &QueueLimits) -> Self {
        let limits = QueueLimits {
            max_items: limits.max_items.clamp(1, MOST_ITEMS),
            max_bytes: limits.max_bytes.clamp(1, MOST_BYTES),
            min_interval: limits.min_interval,
        };
        Self { state: Mutex::default(), room: Condvar::new(), work: Condvar::new(), limits }
    }

    fn is_full(&self, state: &State) -> bool {
        state.waiting.len() >= self.limits.max_items || state.bytes >= self.limits.max_bytes
    }

    pub(crate) fn submit(&self, submission: Submission) -> Result<(), Poisoned> {
        if submission.payload.len() > MAX_PAYLOAD_BYTES {
            let length = submission.payload.len();
            let why = format!(
                "not the log but this write failed: {length} bytes are more than {MAX_PAYLOAD_BYTES}"
            );
            return refuse(submission, Poisoned::new(why));
        }
        let mut state = self.state.lock();
        while self.is_full(&state) && state.poisoned.is_none() {
            self.room.wait(&mut state);
        }
        if let Some(poisoned) = state.poisoned.clone() {
            drop(state);
            return refuse(submission, poisoned);
        }
        state.bytes += submission.payload.len();
        state.waiting.push(submission);
        self.wake(state);
        Ok(())
    }

    /// Wakes the thread if it waits for work, or must not wait for its time any longer.
    fn wake(&self, mut state: MutexGuard<'_, State>) {
        let wake = std::mem::take(&mut state.idle) || self.is_full(&state) || state.closed;
        drop(state);
        if wake {
            self.work.notify_one();
        }
    }

    /// Waits for work, and then, unless the queue is full or closed, until `not_before`. Moves all that waits to
    /// `into`, which must be empty.
    pub(crate) fn take(&self, not_before: Option<Instant>, into: &mut Vec<Submission>) -> Taken {
        let mut state = self.state.lock();
        while state.waiting.is_empty() && state.release.is_none() && !state.closed {
            state.idle = true;
            self.work.wait(&mut state);
        }
        state.idle = false;
        if let Some(not_before) = not_before {
            while !self.is_full(&state) && !state.closed {
                if self.work.wait_until(&mut state, not_before).timed_out() {
                    break;
                }
            }
        }
        std::mem::swap(&mut state.waiting, into);
        state.bytes = 0;
        let release = state.release.take();
        let closed = state.closed && into.is_empty() && release.is_none();
        drop(state);
        self.room.notify_all();
        if closed { Taken::Closed } else { Taken::Work { release } }
    }

    pub(crate) fn release(&self, upto: Position) {
        let mut state = self.state.lock();
        state.release = state.release.max(Some(upto));
        self.wake(state);
    }

    pub(crate) fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        self.wake(state);
    }

    /// From now on every submission is refused, and whoever asks is told why. What waits goes on waiting, for [`Queue::poison`].
    pub(crate) fn refuse_more(&self, poisoned: &Poisoned) {
        self.state.lock().poisoned.get_or_insert_with(|| poisoned.clone());
    }

    /// From now on every submission is refused. What waits is refused now.
    pub(crate) fn poison(&self, poisoned: &Poisoned) {
        let mut state = self.state.lock();
        state.poisoned.get_or_insert_with(|| poisoned.clone());
        let waiting = std::mem::take(&mut state.waiting);
        state.bytes = 0;
        drop(state);
        self.room.notify_all();
        for submission in waiting {
            submission.done.committed(Err(poisoned.clone()));
        }
    }

    pub(crate) fn poisoned(&self) -> Option<Poisoned> {
        self.state.lock().poisoned.clone()
    }
}

fn refuse(submission: Submission, poisoned: Poisoned) -> Result<(), Poisoned> {
    submission.done.committed(Err(poisoned.clone()));
    Err(poisoned)
}
