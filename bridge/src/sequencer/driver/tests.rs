//! The sequencer with its threads, over the store with its threads.

use super::*;
use crate::machine::Outcome;
use crate::sequencer::testing::{
    Collect, NOW_MS, accepted, attach, create, delivered, direct, heads, request, text, user,
};
use crate::sequencer::{Done, names};
use chasqui_storage::clock::ManualClock;
use chasqui_storage::disk::RamDisk;
use chasqui_storage::disk::ram::{Effect, Fault, Operation};
use chasqui_storage::kv::ram::RamKv;
use std::sync::mpsc;

struct Rig {
    sequencer: Sequencer,
    storage: Arc<Storage>,
    sink: Arc<Collect>,
    disk: RamDisk,
}

fn rig() -> Rig {
    let (disk, clock) = (RamDisk::new(), Arc::new(ManualClock::new(NOW_MS)));
    let kv = Arc::new(RamKv::new());
    let storage =
        Storage::open_with(Arc::new(disk.clone()), kv, clock.clone(), chasqui_storage::Options::default())
            .unwrap();
    let (storage, sink) = (Arc::new(storage), Arc::new(Collect::default()));
    let options = Options::default();
    let sequencer = Sequencer::start(Arc::clone(&storage), sink.clone(), clock, options);
    let rig = Rig { sequencer, storage, sink, disk };
    let setup = ["alice", "bob"]
        .into_iter()
        .flat_map(|name| [request(1, 1, create(name)), request(1, 1, attach(name))]);
    rig.sequencer.submit(setup.chain([request(1, 1, text("alice", "bob", 1))]).collect());
    rig.sink.wait_for(5);
    rig.sink.take();
    rig
}

#[test]
fn nothing_is_answered_before_the_flush_not_even_a_retry() {
    let rig = rig();
    let held = rig.disk.hold_syncs();
    rig.sequencer.submit(vec![request(1, 1, text("alice", "bob", 7))]);
    held.wait_for_one();
    rig.sequencer.submit(vec![request(2, 1, text("alice", "bob", 7)), request(2, 2, heads("bob"))]);
    assert_eq!(rig.sink.answers(), []);
    drop(held);
    rig.sink.wait_for(3);
    let answers = rig.sink.take();
    assert_eq!((accepted(&answers[0].1), accepted(&answers[1].1)), (2, 2));
    assert_eq!(answers[2].1, Outcome::Heads { inbox_head: 2, state_head: 0 });
}

#[test]
fn what_is_submitted_together_is_flushed_once() {
    let rig = rig();
    let before = (rig.disk.counts().syncs, rig.sequencer.stats().batches);
    rig.sequencer.submit((1..=200).map(|token| request(1, token, text("alice", "bob", 0))).collect());
    rig.sink.wait_for(200);
    let after = (rig.disk.counts().syncs, rig.sequencer.stats().batches);
    // The thread may begin before all of it is handed in.
    let batches = after.1 - before.1;
    assert!(batches < 200, "{batches} batches");
    assert!(after.0 - before.0 <= batches, "at most one flush for each batch");
    let seqs: Vec<u64> = rig.sink.take().iter().map(|(_, outcome)| accepted(outcome)).collect();
    assert_eq!(seqs, (2..=201).collect::<Vec<_>>());
}

#[test]
fn a_cursor_that_moved_rides_with_the_next_batch() {
    let rig = rig();
    rig.sequencer.lazy(request(2, 0, delivered("bob", 1, "alice", 1)));
    let (tell, told) = mpsc::channel();
    let done: Done = Box::new(move |result| tell.send(result.is_ok()).unwrap());
    rig.sequencer.lazy_ops(Ops { origin: 2, fill: Batch::new(), done: Some(done) });
    assert_eq!(told.recv(), Ok(true), "with company or without");
    rig.sequencer.submit(vec![request(1, 1, heads("alice"))]);
    rig.sink.wait_for(1);
    assert_eq!(rig.sink.take(), [(1, Outcome::Heads { inbox_head: 0, state_head: 1 })]);
}

#[test]
fn stopping_answers_everything_first() {
    let Rig { sequencer, storage, sink, .. } = rig();
    // Users that have to be fetched, so that some of it waits.
    let strangers =
        (1..=300).map(|token| request(token % 7 + 1, token, text("alice", &format!("user-{token}"), 0)));
    sequencer.submit(strangers.collect());
    sequencer.stop().unwrap();
    assert_eq!(sink.answers().len(), 300);
    let log = names::conversation(&direct("alice", "bob"));
    assert_eq!(storage.reader().last_seq(&log).unwrap(), Some(1));
}

#[test]
fn a_failed_store_answers_nothing_more() {
    let rig = rig();
    rig.disk.plan(Fault { operation: Operation::Sync, after: 0, effect: Effect::Broken });
    rig.sequencer.submit(vec![request(1, 11, text("alice", "bob", 0)), request(2, 12, heads("carol"))]);
    rig.sink.wait_for(2);
    rig.sequencer.submit(vec![request(3, 13, heads("alice"))]);
    rig.sink.wait_for(3);
    let mut unanswered = rig.sink.unanswered();
    unanswered.sort_unstable();
    assert_eq!(unanswered, [(1, 11), (2, 12), (3, 13)]);
    assert_eq!(rig.sink.answers(), []);
    let (tell, told) = mpsc::channel();
    let done: Done = Box::new(move |result| tell.send(result.is_ok()).unwrap());
    rig.sequencer.ops(Ops { origin: 0, fill: Batch::new(), done: Some(done) });
    assert_eq!(told.recv(), Ok(false));
    assert!(rig.sequencer.stop().is_err());
}

#[test]
fn what_was_accepted_is_there_for_the_next_sequencer() {
    let Rig { sequencer, storage, sink, .. } = rig();
    sequencer.stop().unwrap();
    let clock = Arc::new(ManualClock::new(NOW_MS));
    let next = Sequencer::start(Arc::clone(&storage), sink.clone(), clock, Options::default());
    next.submit(vec![request(1, 1, text("alice", "bob", 1)), request(1, 2, text("alice", "bob", 2))]);
    sink.wait_for(2);
    let seqs: Vec<u64> = sink.take().iter().map(|(_, outcome)| accepted(outcome)).collect();
    assert_eq!(seqs, [1, 2], "a retry, and a new one");
    assert_eq!(storage.reader().last_seq(&names::inbox(&user("bob"))).unwrap(), Some(2));
}
