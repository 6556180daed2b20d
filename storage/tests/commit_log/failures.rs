//! A disk that fails: the first failure is final, and nothing acknowledged is lost by it.

use std::convert::Infallible;
use std::sync::Arc;

use chasqui_storage::commit_log::{AppendError, CommitLog, LogError, OpenError, Position};
use chasqui_storage::disk::ram::{Effect, Fault, Operation};
use chasqui_storage::disk::{Disk, RamDisk};

use super::support::{open, options, payload, payloads};

const ZERO: Position = Position::new(0);

fn fails(operation: Operation, effect: Effect) -> Fault {
    Fault { operation, after: 0, effect }
}

fn on_ram() -> (RamDisk, Arc<dyn Disk>) {
    let ram = RamDisk::new();
    (ram.clone(), Arc::new(ram))
}

#[test]
fn after_a_failed_write_or_flush_the_log_takes_nothing_more() {
    let faults = [
        fails(Operation::Write, Effect::Broken),
        fails(Operation::Write, Effect::Full),
        fails(Operation::Write, Effect::Short(20)),
        fails(Operation::Sync, Effect::Broken),
    ];
    for fault in faults {
        let (ram, disk) = on_ram();
        let (mut log, _) = open(&disk, 4096, ZERO).unwrap();
        let end = log.append(&[payload(0, 10)]).unwrap();
        assert!(!log.is_poisoned());
        ram.plan(fault);
        let error = log.append(&[payload(1, 10)]).unwrap_err();
        assert!(matches!(error, AppendError::Failed(_)), "{error}");
        let first = error.to_string();
        let counts = ram.counts();
        for _ in 0..3 {
            let later = log.append(&[payload(2, 10)]).unwrap_err();
            assert!(matches!(&later, AppendError::Poisoned(poisoned) if *poisoned.why == first), "{later}");
            assert!(matches!(log.append(&[]), Err(AppendError::Poisoned(_))));
        }
        log.prepare();
        assert!(log.is_poisoned() && log.end() == end);
        assert_eq!(ram.counts(), counts, "a poisoned log leaves the disk alone");
        drop(log);

        let (mut log, replayed) = open(&disk, 4096, ZERO).unwrap();
        // Whether the failed batch is there was never said; only a flush that failed left all of it.
        let kept = usize::from(matches!(fault.operation, Operation::Sync));
        assert_eq!(payloads(&replayed), [payload(0, 10), payload(1, 10)][..=kept], "{fault:?}");
        log.append(&[payload(3, 10)]).unwrap();
    }
}

#[test]
fn a_failed_rollover_is_final_too_and_loses_nothing() {
    for operation in
        [Operation::Create, Operation::Write, Operation::Sync, Operation::Rename, Operation::SyncDir]
    {
        for prepared in [false, true] {
            if prepared && operation == Operation::Create {
                continue;
            }
            let (ram, disk) = on_ram();
            let (mut log, _) = open(&disk, 1024, ZERO).unwrap();
            log.append(&[payload(0, 400)]).unwrap();
            if prepared {
                log.prepare();
            }
            ram.plan(fails(operation, Effect::Broken));
            let error = log.append(&[payload(1, 400)]).unwrap_err();
            assert!(matches!(error, AppendError::Failed(LogError::Disk { .. })), "{operation:?}: {error}");
            assert!(matches!(log.append(&[payload(2, 4)]), Err(AppendError::Poisoned(_))));
            drop(log);
            let (mut log, replayed) = open(&disk, 1024, ZERO).unwrap();
            assert_eq!(payloads(&replayed), [payload(0, 400)], "{operation:?}");
            log.append(&[payload(1, 400)]).unwrap();
            ram.power_cut(3);
            assert_eq!(payloads(&open(&disk, 1024, ZERO).unwrap().1), [payload(0, 400), payload(1, 400)]);
        }
    }
}

#[test]
fn a_full_disk_is_named_before_anything_is_acknowledged() {
    let (ram, disk) = on_ram();
    let (mut log, _) = open(&disk, 1024, ZERO).unwrap();
    log.append(&[payload(0, 400)]).unwrap();
    ram.plan(fails(Operation::Create, Effect::Full));
    let error = log.append(&[payload(1, 400)]).unwrap_err();
    assert!(matches!(error, AppendError::Failed(LogError::Full { .. })));
    assert_eq!(
        error.to_string(),
        "the disk of the commit log is full (file spare): free some space and start again; nothing acknowledged is lost"
    );

    let (ram, disk) = on_ram();
    ram.plan(fails(Operation::Create, Effect::Full));
    let error = open(&disk, 1024, ZERO).err().unwrap();
    assert!(matches!(error, LogError::Full { .. }), "{error}");
    let (_, replayed) = open(&disk, 1024, ZERO).unwrap();
    assert!(replayed.is_empty());
}

#[test]
fn a_spare_that_cannot_be_made_ahead_of_need_is_made_at_need() {
    for operation in [Operation::Create, Operation::Write, Operation::Sync] {
        let (ram, disk) = on_ram();
        let (mut log, _) = open(&disk, 1024, ZERO).unwrap();
        log.append(&[payload(0, 400)]).unwrap();
        ram.plan(fails(operation, Effect::Full));
        log.prepare();
        log.prepare();
        assert_eq!(ram.list().unwrap().len(), 1, "{operation:?}: nothing is left lying about");
        log.append(&[payload(1, 400)]).unwrap();
        assert_eq!(payloads(&open(&disk, 1024, ZERO).unwrap().1).len(), 2);
    }
}

#[test]
fn a_release_that_fails_is_repeated() {
    for operation in [Operation::Rename, Operation::Remove, Operation::SyncDir] {
        for seed in 0..20 {
            let (ram, disk) = on_ram();
            let (mut log, _) = open(&disk, 1024, ZERO).unwrap();
            for n in 0..6 {
                log.append(&[payload(n, 400)]).unwrap();
            }
            let from = log.end();
            ram.plan(fails(operation, Effect::Broken));
            log.release(from).unwrap_err();
            assert!(!log.is_poisoned());
            log.append(&[payload(6, 400)]).unwrap();
            log.release(from).unwrap();
            assert_eq!(log.segments(), 1);
            log.append(&[payload(7, 400)]).unwrap();
            ram.power_cut(seed);
            assert_eq!(payloads(&open(&disk, 1024, from).unwrap().1), [payload(6, 400), payload(7, 400)]);
        }
    }
}

#[test]
fn an_unreadable_disk_is_not_a_torn_tail() {
    let (ram, disk) = on_ram();
    let (mut log, _) = open(&disk, 1024, ZERO).unwrap();
    log.append(&[payload(0, 100)]).unwrap();
    drop(log);
    for after in 0..4 {
        ram.plan(Fault { operation: Operation::Read, after, effect: Effect::Broken });
        let error = open(&disk, 1024, ZERO).err().unwrap();
        assert!(matches!(error, LogError::Disk { what: "read", .. }), "{error}");
    }
    assert_eq!(open(&disk, 1024, ZERO).unwrap().1.len(), 1);
}

#[test]
fn a_refused_replay_ends_the_start_with_its_position() {
    #[derive(Debug, thiserror::Error)]
    #[error("no")]
    struct No;
    let (_, disk) = on_ram();
    let (mut log, _) = open(&disk, 1024, ZERO).unwrap();
    let end = log.append(&[payload(0, 100)]).unwrap();
    drop(log);
    let error = CommitLog::open(disk.clone(), options(1024), ZERO, |_, _| Err(No)).err().unwrap();
    assert!(matches!(error, OpenError::Replay { position, .. } if position == end));
    assert_eq!(
        error.to_string(),
        format!("the commit log's record at position {end} cannot be replayed: no")
    );
    CommitLog::open(disk, options(1024), ZERO, |_, _| Ok::<_, Infallible>(())).unwrap();
}
