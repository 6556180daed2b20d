//! Group commit: order, bounds, and what happens when the disk or a callee fails.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use chasqui_storage::commit_log::{
    Committed, Committer, GroupCommit, Poisoned, Position, QueueLimits, Submission,
};
use chasqui_storage::disk::ram::{Effect, Fault, Operation};
use chasqui_storage::disk::{Disk, RamDisk};
use parking_lot::Mutex;

use super::support::{on_both, open, payload, payloads};

const ZERO: Position = Position::new(0);
const SEGMENT: u64 = 1 << 20;

type Applied = Arc<Mutex<Vec<(Position, Vec<Bytes>)>>>;
type Answer = (usize, Result<Position, Poisoned>);

fn limits(max_items: usize, max_bytes: usize) -> QueueLimits {
    QueueLimits { max_items, max_bytes, min_interval: Duration::ZERO }
}

fn recorder() -> (Applied, impl FnMut(Position, &[Bytes]) + Send + 'static) {
    let applied = Applied::default();
    let theirs = applied.clone();
    (applied, move |end, batch: &[Bytes]| theirs.lock().push((end, batch.to_vec())))
}

fn tell(answers: &mpsc::Sender<Answer>, n: usize) -> Box<dyn Committed> {
    let answers = answers.clone();
    Box::new(move |result: Result<Position, Poisoned>| answers.send((n, result)).expect("the test listens"))
}

#[test]
fn many_submitters_are_answered_in_order_with_what_is_on_disk() {
    on_both(|new| {
        let disk = new();
        let (log, _) = open(&disk, 4096, ZERO).unwrap();
        let (applied, apply) = recorder();
        let group = GroupCommit::start(log, limits(16, 2000), apply);
        let (answers, answered) = mpsc::channel();
        thread::scope(|scope| {
            for submitter in 0..8 {
                let (group, answers) = (&group, &answers);
                scope.spawn(move || {
                    for n in 0..100 {
                        let id = submitter * 100 + n;
                        group.submit(payload(id, 8 + id % 90), tell(answers, id)).unwrap();
                    }
                });
            }
        });
        let log = group.close();
        drop(answers);
        let answers: Vec<Answer> = answered.into_iter().collect();
        let applied = applied.lock();

        // In the order in which they were applied, each with the end of its batch.
        let ends: Vec<(Position, Bytes)> = applied
            .iter()
            .flat_map(|(end, batch)| batch.iter().map(|payload| (*end, payload.clone())))
            .collect();
        assert_eq!(ends.len(), 800);
        for ((id, result), (end, bytes)) in answers.iter().zip(&ends) {
            assert_eq!((result.as_ref().unwrap(), &payload(*id, 8 + id % 90)), (end, bytes));
        }
        for submitter in 0..8 {
            let own: Vec<usize> =
                answers.iter().map(|(id, _)| *id).filter(|id| id / 100 == submitter).collect();
            assert!(own.len() == 100 && own.is_sorted());
        }
        // The queue was never beyond its bounds.
        assert!(applied.iter().all(|(_, batch)| batch.len() <= 16));
        assert!(applied.iter().all(|(_, batch)| batch.iter().map(Bytes::len).sum::<usize>() < 2000 + 98));
        let (_, replayed) = open(&disk, 4096, ZERO).unwrap();
        assert_eq!(payloads(&replayed), ends.into_iter().map(|(_, payload)| payload).collect::<Vec<_>>());
        assert_eq!(replayed.last().unwrap().0, log.end());
    });
}

#[test]
fn nobody_is_answered_before_the_flush_and_then_all_in_order() {
    let ram = RamDisk::new();
    let disk: Arc<dyn Disk> = Arc::new(ram.clone());
    let (log, _) = open(&disk, SEGMENT, ZERO).unwrap();
    let (applied, apply) = recorder();
    let (answers, answered) = mpsc::channel();
    let group = GroupCommit::start(log, limits(100, 100_000), apply);
    let before = ram.counts();

    let held = ram.hold_syncs();
    group.submit(payload(0, 10), tell(&answers, 0)).unwrap();
    held.wait_for_one();
    // The first is written; all of these wait behind it, the empty one too.
    for n in 1..6 {
        group.submit(if n == 3 { Bytes::new() } else { payload(n, 10) }, tell(&answers, n)).unwrap();
    }
    assert!(answered.try_recv().is_err() && applied.lock().is_empty());
    assert_eq!(ram.counts().writes - before.writes, 1);
    drop(held);

    let got: Vec<Answer> = answered.iter().take(6).collect();
    assert_eq!(got.iter().map(|(n, _)| *n).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5]);
    let applied = applied.lock().clone();
    assert_eq!(applied.len(), 2);
    assert_eq!(applied[0].1, [payload(0, 10)]);
    assert_eq!(applied[1].1, [payload(1, 10), payload(2, 10), payload(4, 10), payload(5, 10)]);
    assert_eq!(*got[0].1.as_ref().unwrap(), applied[0].0);
    assert!(got[1..].iter().all(|(_, result)| *result.as_ref().unwrap() == applied[1].0));
    let after = ram.counts();
    assert_eq!((after.writes - before.writes, after.syncs - before.syncs), (2, 2), "one of each per batch");
    assert_eq!(group.close().end(), applied[1].0);
}

#[test]
fn a_power_cut_before_the_flush_finds_nobody_answered() {
    let ram = RamDisk::new();
    let disk: Arc<dyn Disk> = Arc::new(ram.clone());
    let (log, _) = open(&disk, SEGMENT, ZERO).unwrap();
    let (applied, apply) = recorder();
    let (answers, answered) = mpsc::channel();
    let group = GroupCommit::start(log, limits(100, 100_000), apply);
    let held = ram.hold_syncs();
    group.submit(payload(0, 10), tell(&answers, 0)).unwrap();
    held.wait_for_one();
    ram.power_cut(1);
    assert!(answered.recv().unwrap().1.is_err());
    assert!(applied.lock().is_empty());
    drop(held);
    assert!(group.close().is_poisoned());
}

#[test]
fn an_empty_submission_alone_writes_nothing() {
    let ram = RamDisk::new();
    let disk: Arc<dyn Disk> = Arc::new(ram.clone());
    let (mut log, _) = open(&disk, SEGMENT, ZERO).unwrap();
    let end = log.append(&[payload(0, 10)]).unwrap();
    let (applied, apply) = recorder();
    let (answers, answered) = mpsc::channel();
    let group = GroupCommit::start(log, limits(100, 100_000), apply);
    let before = ram.counts();
    group.submit(Bytes::new(), tell(&answers, 0)).unwrap();
    assert_eq!(answered.recv().unwrap().1.unwrap(), end);
    assert_eq!(ram.counts(), before);
    group.close();
    assert!(applied.lock().is_empty());
}

#[test]
fn a_full_queue_makes_submitters_wait() {
    for (max_items, max_bytes) in [(3, 100_000), (1000, 25)] {
        let ram = RamDisk::new();
        let disk: Arc<dyn Disk> = Arc::new(ram.clone());
        let (log, _) = open(&disk, SEGMENT, ZERO).unwrap();
        let (applied, apply) = recorder();
        let (answers, answered) = mpsc::channel();
        let group = GroupCommit::start(log, limits(max_items, max_bytes), apply);
        let held = ram.hold_syncs();
        group.submit(payload(0, 10), tell(&answers, 0)).unwrap();
        held.wait_for_one();
        let returned = AtomicUsize::new(0);
        thread::scope(|scope| {
            for n in 1..=20 {
                let (group, answers, returned) = (&group, &answers, &returned);
                scope.spawn(move || {
                    group.submit(payload(n, 10), tell(answers, n)).unwrap();
                    returned.fetch_add(1, Ordering::SeqCst);
                });
            }
            // Three items fill the one queue, three times ten bytes the other; nothing leaves before the flush.
            while returned.load(Ordering::SeqCst) < 3 {
                thread::yield_now();
            }
            for _ in 0..1000 {
                thread::yield_now();
                assert_eq!(returned.load(Ordering::SeqCst), 3);
            }
            drop(held);
        });
        assert_eq!(answered.iter().take(21).filter(|(_, result)| result.is_ok()).count(), 21);
        group.close();
        let applied = applied.lock();
        assert!(applied.iter().all(|(_, batch)| batch.len() <= 3), "never more than the queue holds");
        assert_eq!(applied.iter().map(|(_, batch)| batch.len()).sum::<usize>(), 21);
    }
}

#[test]
fn batches_keep_their_distance_unless_the_queue_is_full_or_closed() {
    let disk: Arc<dyn Disk> = Arc::new(RamDisk::new());
    let (log, _) = open(&disk, SEGMENT, ZERO).unwrap();
    let (applied, apply) = recorder();
    let (answers, answered) = mpsc::channel();
    let an_age = Duration::from_secs(100_000);
    let group = GroupCommit::start(log, QueueLimits { min_interval: an_age, ..limits(3, 100_000) }, apply);
    // Idle: at once.
    group.submit(payload(0, 1), tell(&answers, 0)).unwrap();
    answered.recv().unwrap().1.unwrap();
    // Busy: together, when the third fills the queue.
    for n in 1..=3 {
        group.submit(payload(n, 1), tell(&answers, n)).unwrap();
    }
    for _ in 1..=3 {
        answered.recv().unwrap().1.unwrap();
    }
    group.submit(payload(4, 1), tell(&answers, 4)).unwrap();
    group.close();
    answered.recv().unwrap().1.unwrap();
    assert_eq!(applied.lock().iter().map(|(_, batch)| batch.len()).collect::<Vec<_>>(), [1, 3, 1]);
}

#[test]
fn after_a_failure_everyone_is_told_and_nothing_is_applied() {
    for operation in [Operation::Write, Operation::Sync] {
        let ram = RamDisk::new();
        let disk: Arc<dyn Disk> = Arc::new(ram.clone());
        let (log, _) = open(&disk, SEGMENT, ZERO).unwrap();
        let (applied, apply) = recorder();
        let (answers, answered) = mpsc::channel();
        let group = GroupCommit::start(log, limits(2, 100_000), apply);
        let held = ram.hold_syncs();
        group.submit(payload(0, 10), tell(&answers, 0)).unwrap();
        held.wait_for_one();
        // The second batch fails, with two in the queue and more waiting for room. (The first is written already.)
        let after = u64::from(operation == Operation::Sync);
        ram.plan(Fault { operation, after, effect: Effect::Broken });
        thread::scope(|scope| {
            for n in 1..10 {
                let (group, answers) = (&group, &answers);
                scope.spawn(move || group.submit(payload(n, 10), tell(answers, n)));
            }
            drop(held);
        });
        let mut told: Vec<Answer> = answered.iter().take(10).collect();
        assert_eq!(told.remove(0).1.unwrap(), applied.lock()[0].0, "{operation:?}");
        for (_, result) in told {
            assert!(result.unwrap_err().to_string().contains("takes no more writes"));
        }
        // Later ones too: by the answer, and by the result.
        let late = group.submit(payload(10, 10), tell(&answers, 10)).unwrap_err();
        assert_eq!(answered.recv().unwrap().1.unwrap_err().why, late.why);
        assert_eq!(group.poisoned().unwrap().why, late.why);
        let empty = group.submit(Bytes::new(), tell(&answers, 11));
        assert!(empty.is_err() && answered.recv().unwrap().1.is_err());
        assert!(group.close().is_poisoned());
        assert_eq!(applied.lock().len(), 1);
    }
}

#[test]
fn a_poisoned_log_does_not_start_afresh() {
    let ram = RamDisk::new();
    let disk: Arc<dyn Disk> = Arc::new(ram.clone());
    let (mut log, _) = open(&disk, SEGMENT, ZERO).unwrap();
    ram.plan(Fault { operation: Operation::Sync, after: 0, effect: Effect::Broken });
    log.append(&[payload(0, 1)]).unwrap_err();
    let group = GroupCommit::start(log, limits(2, 1000), |_, _| panic!("nothing can be applied"));
    let (answers, answered) = mpsc::channel();
    group.submit(payload(1, 1), tell(&answers, 1)).unwrap_err();
    assert!(answered.recv().unwrap().1.is_err());
}

#[test]
fn a_panic_in_the_view_is_told_to_all_and_comes_out_at_the_end() {
    let ram = RamDisk::new();
    let disk: Arc<dyn Disk> = Arc::new(ram.clone());
    let (log, _) = open(&disk, SEGMENT, ZERO).unwrap();
    let group = GroupCommit::start(log, limits(100, 100_000), |_, batch: &[Bytes]| {
        assert!(batch.len() < 2, "a planned panic");
    });
    let (answers, answered) = mpsc::channel();
    let held = ram.hold_syncs();
    group.submit(payload(0, 1), tell(&answers, 0)).unwrap();
    held.wait_for_one();
    for n in 1..4 {
        group.submit(payload(n, 1), tell(&answers, n)).unwrap();
    }
    drop(held);
    let mut told: Vec<Answer> = answered.iter().take(4).collect();
    assert!(told.remove(0).1.is_ok());
    for (_, result) in told {
        assert!(result.unwrap_err().why.contains("panicked"));
    }
    while group.poisoned().is_none() {
        thread::yield_now();
    }
    assert!(group.submit(payload(4, 1), tell(&answers, 4)).is_err());
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| group.close())).is_err());
}

#[test]
fn segments_are_released_through_the_thread() {
    on_both(|new| {
        let disk = new();
        let (log, _) = open(&disk, 1024, ZERO).unwrap();
        let group = GroupCommit::start(log, limits(100, 100_000), |_, _| {});
        let (answers, answered) = mpsc::channel();
        let mut end = ZERO;
        for n in 0..10 {
            group.submit(payload(n, 400), tell(&answers, n)).unwrap();
            end = answered.recv().unwrap().1.unwrap();
        }
        group.release(ZERO);
        group.release(end);
        let log = group.close();
        assert_eq!(log.segments(), 1);
        // With it the two that are kept for reuse.
        assert!(disk.list().unwrap().len() <= 3);
    });
}

#[test]
fn one_step_needs_no_thread() {
    let ram = RamDisk::new();
    let disk: Arc<dyn Disk> = Arc::new(ram.clone());
    let (log, _) = open(&disk, 1024, ZERO).unwrap();
    let (applied, apply) = recorder();
    let mut committer = Committer::new(log, apply);
    let (answers, answered) = mpsc::channel();
    let submissions = |from: usize| -> Vec<Submission> {
        (from..from + 3).map(|n| Submission { payload: payload(n, 100), done: tell(&answers, n) }).collect()
    };
    let end = committer.step(&mut submissions(0)).unwrap();
    assert_eq!((end, committer.log().end()), (applied.lock()[0].0, end));
    assert_eq!(
        answered.try_iter().map(|(n, r)| (n, r.unwrap())).collect::<Vec<_>>(),
        [(0, end), (1, end), (2, end)]
    );
    committer.tidy_up(Some(end));

    ram.plan(Fault { operation: Operation::Sync, after: 0, effect: Effect::Broken });
    for _ in 0..2 {
        let mut taken = submissions(3);
        committer.step(&mut taken).unwrap_err();
        assert!(taken.is_empty());
        assert_eq!(answered.try_iter().filter(|(_, result)| result.is_err()).count(), 3);
    }
    assert_eq!(applied.lock().len(), 1);
    assert!(committer.into_log().is_poisoned());
}
