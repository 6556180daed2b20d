//! What waits for the sequencer.
//!
//! Bounded in items and bytes, commands that wait for a record counted in. When it is full, whoever submits
//! waits: the thread that reads sockets then reads less of them, and TCP tells the clients. Nothing that
//! makes room ever waits for room: fetched records come in by a lane of their own.

use super::FetchError;
use super::core::Work;
use crate::machine::{Key, Record};
use parking_lot::{Condvar, Mutex, MutexGuard};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// A record that was fetched.
pub(super) type Fetched = (Key, Result<Record, FetchError>);

/// How much may wait.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) items: usize,
    pub(super) bytes: usize,
    /// Taken at once.
    pub(super) step_items: usize,
    /// The same in bytes; one item is taken even when it has more.
    pub(super) step_bytes: usize,
    /// The longest that something lazy waits for something that is not.
    pub(super) delay: Duration,
}

/// See the module.
pub(super) struct Queue {
    limits: Limits,
    state: Mutex<State>,
    /// For the sequencer: there is something to do.
    work: Condvar,
    /// For those who submit.
    room: Condvar,
    /// Half full: whoever can wait elsewhere should.
    crowded: AtomicBool,
}

#[derive(Default)]
struct State {
    works: VecDeque<Work>,
    bytes: usize,
    fetched: Vec<Fetched>,
    /// Something waits that is not lazy.
    urgent: bool,
    /// The sequencer waits for its time, and for nothing less than a whole step.
    gathering: bool,
    stopping: bool,
    parked: (usize, usize),
}

impl State {
    /// Whether there is as much as is taken at once.
    fn is_step(&self, limits: &Limits) -> bool {
        self.works.len() >= limits.step_items || self.bytes >= limits.step_bytes
    }

    fn is_full(&self, limits: &Limits) -> bool {
        self.works.len() + self.parked.0 >= limits.items || self.bytes + self.parked.1 >= limits.bytes
    }
}

/// What the sequencer takes at once.
#[derive(Default)]
pub(super) struct Taken {
    pub(super) works: Vec<Work>,
    pub(super) fetched: Vec<Fetched>,
    /// Nothing more is going to be submitted.
    pub(super) stopping: bool,
}

impl Queue {
    pub(super) fn new(limits: Limits) -> Queue {
        Queue {
            limits,
            state: Mutex::default(),
            work: Condvar::new(),
            room: Condvar::new(),
            crowded: AtomicBool::new(false),
        }
    }

    /// Adds to the end. Waits while the queue is full.
    pub(super) fn submit(&self, works: impl IntoIterator<Item = Work>) {
        let mut state = self.state.lock();
        for work in works {
            while state.is_full(&self.limits) && !state.stopping {
                self.wait_for_room(&mut state);
            }
            state.bytes += work.bytes();
            state.works.push_back(work);
            self.note(&state);
            let whole = state.gathering && state.is_step(&self.limits);
            if whole || !std::mem::replace(&mut state.urgent, true) {
                state.gathering = false;
                self.work.notify_one();
            }
        }
    }

    /// Adds to the end what can wait a little for company. Waits while the queue is full.
    pub(super) fn submit_lazy(&self, work: Work) {
        let mut state = self.state.lock();
        while state.is_full(&self.limits) && !state.stopping {
            self.wait_for_room(&mut state);
        }
        state.bytes += work.bytes();
        state.works.push_back(work);
        if state.works.len() == 1 {
            // The sequencer begins to count the delay.
            self.work.notify_one();
        }
    }

    fn wait_for_room(&self, state: &mut MutexGuard<'_, State>) {
        state.urgent = true;
        state.gathering = false;
        self.work.notify_one();
        self.room.wait(state);
    }

    fn note(&self, state: &State) {
        let (items, bytes) = (state.works.len() + state.parked.0, state.bytes + state.parked.1);
        let crowded = items >= self.limits.items / 2 || bytes >= self.limits.bytes / 2;
        self.crowded.store(crowded, Ordering::Relaxed);
    }

    /// Whether it is half full. Who can leave its work where it comes from does so from here on: when it is full, submitting waits.
    pub(super) fn is_crowded(&self) -> bool {
        self.crowded.load(Ordering::Relaxed)
    }

    /// A record was fetched. Never waits.
    pub(super) fn fetched(&self, fetched: Fetched) {
        self.state.lock().fetched.push(fetched);
        self.work.notify_one();
    }

    /// Says how much waits for records. Makes room for those who submit.
    pub(super) fn parked(&self, load: (usize, usize)) {
        let mut state = self.state.lock();
        state.parked = load;
        self.note(&state);
        if !state.is_full(&self.limits) {
            self.room.notify_all();
        }
    }

    /// Nothing more is going to be submitted.
    pub(super) fn stop(&self) {
        self.state.lock().stopping = true;
        self.work.notify_one();
        self.room.notify_all();
    }

    /// Waits for something to do and takes it, a bounded amount at once: not before that time, unless there is a whole step, a record that
    /// was waited for, or somebody who waits for room.
    pub(super) fn take(&self, not_before: Option<Instant>) -> Taken {
        let mut state = self.state.lock();
        while !state.urgent && state.fetched.is_empty() && (!state.stopping || state.parked.0 > 0) {
            if state.works.is_empty() {
                self.work.wait(&mut state);
            } else if self.work.wait_for(&mut state, self.limits.delay).timed_out() {
                break;
            }
        }
        if let Some(not_before) = not_before {
            state.gathering = true;
            while state.gathering
                && state.fetched.is_empty()
                && !state.stopping
                && !state.is_step(&self.limits)
                && !self.work.wait_until(&mut state, not_before).timed_out()
            {}
            state.gathering = false;
        }
        let mut taken = Taken { fetched: std::mem::take(&mut state.fetched), ..Taken::default() };
        let mut bytes = 0;
        while taken.works.len() < self.limits.step_items && bytes < self.limits.step_bytes {
            let Some(work) = state.works.pop_front() else { break };
            bytes += work.bytes();
            taken.works.push(work);
        }
        state.bytes -= bytes;
        self.note(&state);
        state.urgent = !state.works.is_empty();
        taken.stopping = state.stopping && state.works.is_empty();
        if !state.is_full(&self.limits) {
            self.room.notify_all();
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::User;
    use crate::sequencer::Ops;
    use chasqui_storage::Batch;
    use std::sync::Arc;
    use std::thread;

    fn work(origin: u64) -> Work {
        Ops { origin, fill: Batch::new(), done: None }.into()
    }

    fn queue(items: usize, delay: Duration) -> Queue {
        Queue::new(Limits { items, bytes: usize::MAX, step_items: 3, step_bytes: usize::MAX, delay })
    }

    fn origins(taken: &Taken) -> Vec<u64> {
        taken.works.iter().map(|work| work.origin).collect()
    }

    const FOR_EVER: Duration = Duration::from_secs(1 << 30);

    #[test]
    fn what_is_lazy_rides_with_what_is_not() {
        let queue = queue(10, FOR_EVER);
        queue.submit_lazy(work(1));
        queue.submit_lazy(work(2));
        queue.submit([work(3)]);
        assert_eq!(origins(&queue.take(None)), [1, 2, 3]);
    }

    #[test]
    fn what_is_lazy_goes_alone_after_the_delay() {
        let queue = queue(10, Duration::ZERO);
        queue.submit_lazy(work(1));
        assert_eq!(origins(&queue.take(None)), [1]);
    }

    #[test]
    fn what_is_left_of_a_full_step_is_not_lazy() {
        let queue = queue(10, FOR_EVER);
        queue.submit((1..=7).map(work));
        assert_eq!(origins(&queue.take(None)), [1, 2, 3]);
        assert_eq!(origins(&queue.take(None)), [4, 5, 6]);
        assert_eq!(origins(&queue.take(None)), [7]);
    }

    #[allow(clippy::disallowed_methods)] // What is waited for is real time.
    fn after(time: Duration) -> Instant {
        Instant::now() + time
    }

    #[test]
    fn before_its_time_a_step_gathers_what_comes() {
        let queue = Arc::new(queue(10, FOR_EVER));
        queue.submit([work(1)]);
        let theirs = Arc::clone(&queue);
        let submitter = thread::spawn(move || {
            while !theirs.state.lock().gathering {
                thread::yield_now();
            }
            theirs.submit([work(2)]);
            let goes_on = theirs.state.lock().gathering;
            theirs.stop();
            goes_on
        });
        assert_eq!(origins(&queue.take(Some(after(FOR_EVER)))), [1, 2]);
        assert!(submitter.join().unwrap());
    }

    #[test]
    fn when_its_time_has_come_a_step_gathers_no_more() {
        let queue = queue(10, FOR_EVER);
        for time in [Duration::ZERO, Duration::from_millis(2)] {
            queue.submit([work(1)]);
            assert_eq!(origins(&queue.take(Some(after(time)))), [1]);
        }
    }

    #[test]
    fn a_whole_step_a_record_and_the_end_wait_for_no_time() {
        let whole = queue(10, FOR_EVER);
        whole.submit((1..=3).map(work));
        assert_eq!(origins(&whole.take(Some(after(FOR_EVER)))), [1, 2, 3]);
        let fetched = queue(10, FOR_EVER);
        fetched.submit([work(1)]);
        fetched.fetched((
            Key::User(chasqui_proto::UserId::parse("alice").unwrap()),
            Ok(Record::User(User::default())),
        ));
        assert_eq!(fetched.take(Some(after(FOR_EVER))).fetched.len(), 1);
        let ending = queue(10, FOR_EVER);
        ending.submit([work(1)]);
        ending.stop();
        assert_eq!(origins(&ending.take(Some(after(FOR_EVER)))), [1]);
    }

    #[test]
    fn what_makes_a_step_whole_ends_the_waiting_for_its_time() {
        let queue = Arc::new(queue(10, FOR_EVER));
        queue.submit([work(1)]);
        let theirs = Arc::clone(&queue);
        let submitter = thread::spawn(move || {
            while !theirs.state.lock().gathering {
                thread::yield_now();
            }
            theirs.submit([work(2), work(3)]);
        });
        assert_eq!(origins(&queue.take(Some(after(FOR_EVER)))), [1, 2, 3]);
        submitter.join().unwrap();
    }

    #[test]
    fn who_waits_for_room_ends_the_waiting_for_its_time() {
        let queue = Arc::new(queue(2, FOR_EVER));
        queue.submit([work(1)]);
        let theirs = Arc::clone(&queue);
        let submitter = thread::spawn(move || {
            while !theirs.state.lock().gathering {
                thread::yield_now();
            }
            theirs.submit([work(2), work(3)]);
        });
        assert_eq!(origins(&queue.take(Some(after(FOR_EVER)))), [1, 2]);
        assert_eq!(origins(&queue.take(None)), [3]);
        submitter.join().unwrap();
    }

    #[test]
    fn who_submits_to_a_full_queue_waits() {
        let queue = Arc::new(queue(4, FOR_EVER));
        let theirs = Arc::clone(&queue);
        let submitter = thread::spawn(move || {
            theirs.submit((1..=5).map(work));
            theirs.submit_lazy(work(6));
        });
        let mut seen = Vec::new();
        while seen.len() < 6 {
            let taken = queue.take(None);
            assert!(queue.state.lock().works.len() <= 4, "never more than its limit");
            seen.extend(origins(&taken));
            // The last is lazy: nothing else would wake the one who takes.
            if seen.len() == 5 {
                submitter_is_done(&queue);
            }
        }
        submitter.join().unwrap();
        assert_eq!(seen, [1, 2, 3, 4, 5, 6]);
    }

    /// Stops the queue once everything is in it, so that what is lazy need not wait.
    fn submitter_is_done(queue: &Queue) {
        while queue.state.lock().works.is_empty() {
            thread::yield_now();
        }
        queue.stop();
    }

    #[test]
    fn what_waits_for_records_counts() {
        let queue = Arc::new(queue(4, FOR_EVER));
        queue.parked((4, 0));
        let theirs = Arc::clone(&queue);
        let submitter = thread::spawn(move || theirs.submit([work(1)]));
        while !queue.state.lock().urgent {
            thread::yield_now();
        }
        assert_eq!(queue.take(None).works.len(), 0, "there is no room");
        queue.parked((3, 0));
        assert_eq!(origins(&queue.take(None)), [1]);
        submitter.join().unwrap();
    }

    #[test]
    fn stopping_waits_for_records_that_are_on_their_way() {
        let queue = queue(4, FOR_EVER);
        queue.parked((1, 0));
        queue.stop();
        queue.fetched((
            Key::User(chasqui_proto::UserId::parse("alice").unwrap()),
            Ok(Record::User(User::default())),
        ));
        let taken = queue.take(None);
        assert!(taken.stopping && taken.fetched.len() == 1);
    }
}
