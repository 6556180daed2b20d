//! A store whose commits become durable when the list of operations says so, and that loses the others in a crash.

use crate::store::ram::RamStore;
use crate::store::{Committed, CursorMove, Cursors, SessionKey, Store, StoreOp};
use crate::store_below;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What was handed over and is not durable.
enum Held {
    Commit(Vec<StoreOp>, Option<Committed>),
    Moves(SessionKey, Vec<CursorMove>, u16),
}

/// What the checker wants to know of what was handed over.
#[derive(Debug)]
pub(super) enum Noted {
    /// A message was put into the session's queue, or a copy of a retained one.
    Queued { position: u64, number: u64, retained: bool },
    /// A message was retained; the empty one that takes it away has no number.
    Retained { number: u64 },
    /// A cursor is to stand here.
    Cursor { source: String, to: u64 },
    /// A message in the queue is durable.
    Durable { position: u64, number: u64 },
    /// A retained message is durable.
    Kept { number: u64 },
}

/// Commits wait here, in their order, until they are carried out.
pub(super) struct HeldStore {
    durable: Arc<RamStore>,
    held: Mutex<VecDeque<Held>>,
    /// Nothing is held: for the start of a broker, which waits for its commit.
    at_once: AtomicBool,
    noted: Mutex<Vec<Noted>>,
}

/// The number that a payload begins with; 0 for the empty one.
pub(super) fn number_of(payload: &[u8]) -> u64 {
    payload.first_chunk().map_or(0, |number| u64::from_be_bytes(*number))
}

impl HeldStore {
    /// What a process finds that starts on what an earlier one left.
    pub(super) fn on(durable: Arc<RamStore>) -> HeldStore {
        HeldStore { durable, held: Mutex::default(), at_once: AtomicBool::new(true), noted: Mutex::default() }
    }

    /// Forgets what waits: nobody is told of it. It holds on to the broker, and the broker to this.
    pub(super) fn lose(&self) {
        // Dropped without the lock: what goes with it may hand over more.
        let lost = std::mem::take(&mut *self.held.lock());
        drop(lost);
    }

    /// What is durable: all that a crash leaves.
    pub(super) fn durable(&self) -> Arc<RamStore> {
        Arc::clone(&self.durable)
    }

    /// From now on commits wait.
    pub(super) fn hold(&self) {
        self.at_once.store(false, Ordering::Relaxed);
    }

    /// Whether nothing waits.
    pub(super) fn is_idle(&self) -> bool {
        self.held.lock().is_empty()
    }

    /// What was noted since this was last asked.
    pub(super) fn noted(&self) -> Vec<Noted> {
        std::mem::take(&mut self.noted.lock())
    }

    /// The oldest `count` become durable as one group, and are told so in their order.
    pub(super) fn carry_out(&self, count: usize) {
        let mut tell = Vec::new();
        for _ in 0..count {
            let Some(held) = self.held.lock().pop_front() else { break };
            match held {
                Held::Commit(ops, done) => {
                    self.note(&ops, true);
                    self.durable.commit(ops, None);
                    tell.extend(done);
                }
                Held::Moves(key, moves, last_packet_id) => {
                    self.durable.cursors_moved(&key, moves, last_packet_id);
                }
            }
        }
        for done in tell {
            done(Ok(()));
        }
    }

    fn note(&self, ops: &[StoreOp], durable: bool) {
        let mut noted = self.noted.lock();
        for op in ops {
            match op {
                StoreOp::Enqueue(_, position, message) => {
                    let number = number_of(&message.payload);
                    noted.push(if durable {
                        Noted::Durable { position: *position, number }
                    } else {
                        Noted::Queued { position: *position, number, retained: message.retain }
                    });
                }
                StoreOp::Retain(message) => {
                    let number = number_of(&message.payload);
                    noted.push(if durable { Noted::Kept { number } } else { Noted::Retained { number } });
                }
                StoreOp::PutCursors(_, cursors) if !durable => note_cursors(&mut noted, cursors),
                _ => {}
            }
        }
    }
}

fn note_cursors(noted: &mut Vec<Noted>, cursors: &Cursors) {
    for (source, to) in &cursors.positions {
        noted.push(Noted::Cursor { source: source.0.to_string(), to: *to });
    }
}

impl Store for HeldStore {
    store_below!(durable: session read_queue queue_end retained retained_at retained_totals each_retained);
    store_below!(durable: expired plain_sessions due);

    fn commit(&self, ops: Vec<StoreOp>, done: Option<Committed>) {
        self.note(&ops, false);
        self.held.lock().push_back(Held::Commit(ops, done));
        if self.at_once.load(Ordering::Relaxed) {
            self.carry_out(1);
        }
    }

    fn cursors_moved(&self, key: &SessionKey, moves: Vec<CursorMove>, last_packet_id: u16) {
        let mut noted = self.noted.lock();
        for one in &moves {
            noted.push(Noted::Cursor { source: one.source.0.to_string(), to: one.to });
        }
        drop(noted);
        self.held.lock().push_back(Held::Moves(key.clone(), moves, last_packet_id));
    }
}
