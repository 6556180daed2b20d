//! Round trips, rollover, release and reuse.

use std::sync::Arc;

use bytes::Bytes;
use chasqui_storage::commit_log::{AppendError, CommitLog, LogError, LogOptions, MAX_BATCH_BYTES, Position};
use chasqui_storage::disk::{Disk, RamDisk};

use super::support::{SEGMENT_HEADER, image, on_both, open, options, payload, payloads};

const ZERO: Position = Position::new(0);

fn segments(disk: &dyn Disk) -> Vec<u64> {
    let mut starts: Vec<u64> = disk
        .list()
        .unwrap()
        .iter()
        .filter_map(|name| u64::from_str_radix(name.strip_suffix(".log")?, 16).ok())
        .collect();
    starts.sort_unstable();
    starts
}

#[test]
fn what_was_appended_is_replayed_in_order_with_positions() {
    on_both(|new| {
        let disk = new();
        let (mut log, replayed) = open(&disk, 64 << 10, ZERO).unwrap();
        assert_eq!((replayed.len(), log.end()), (0, ZERO));
        let first = log.append(&[payload(1, 5), Bytes::new(), payload(2, 100)]).unwrap();
        let second = log.append(&[payload(3, 1)]).unwrap();
        assert!(ZERO < first && first < second && log.end() == second);
        drop(log);

        let (log, replayed) = open(&disk, 64 << 10, ZERO).unwrap();
        assert_eq!(payloads(&replayed), [payload(1, 5), payload(2, 100), payload(3, 1)]);
        assert_eq!((replayed[1].0, replayed[2].0, log.end()), (first, second, second));
        assert!(replayed[0].0 < first);
        drop(log);

        // Each payload has a position of its own, so that a replay may go on within a batch.
        let within = replayed[0].0;
        assert_eq!(payloads(&open(&disk, 64 << 10, within).unwrap().1), [payload(2, 100), payload(3, 1)]);
        assert_eq!(payloads(&open(&disk, 64 << 10, first).unwrap().1), [payload(3, 1)]);
        assert_eq!(open(&disk, 64 << 10, second).unwrap().1.len(), 0);
    });
}

#[test]
fn the_bytes_are_those_of_the_documented_format() {
    let disk: Arc<dyn Disk> = Arc::new(RamDisk::new());
    let (mut log, _) = open(&disk, 1024, ZERO).unwrap();
    let end = log.append(&[Bytes::from_static(b"first"), Bytes::from_static(b"2nd")]).unwrap();
    assert_eq!(end.get(), 32);
    let bytes = &image(&*disk)["0000000000000000.log"];
    assert_eq!(bytes.len(), 1024);

    assert_eq!(&bytes[..8], b"CHASQLOG");
    assert_eq!(bytes[8..16], [1, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(&bytes[16..32], super::support::KEY);
    assert_eq!(bytes[32..60], [0; 28]);
    assert_eq!(bytes[60..64], crc32c::crc32c(&bytes[..60]).to_le_bytes());
    assert_eq!(bytes[64..512], [0; 448]);

    let record = &bytes[512..];
    assert_eq!(record[..8], [16, 0, 0, 0, 1, 1, 0, 0]);
    assert_eq!(&record[16..32], b"\x05\0\0\0first\x03\0\0\x002nd");
    let position = [0; 8];
    let body = [&b"r tests!"[..], &position, &record[..8], &record[16..32]].concat();
    assert_eq!(record[8..12], crc32c::crc32c(&body).to_le_bytes());
    let header = [&b"a key fo"[..], &position, &record[..12]].concat();
    assert_eq!(record[12..16], crc32c::crc32c(&header).to_le_bytes());
    assert_eq!(record[32..], [0; 480]);
}

#[test]
fn segments_follow_each_other_without_a_gap() {
    on_both(|new| {
        let disk = new();
        let (mut log, _) = open(&disk, 2048, ZERO).unwrap();
        let mut all = Vec::new();
        for n in 0..40 {
            all.push(payload(n, 10 + n * 13));
            log.append(&[all[n].clone()]).unwrap();
            if n % 7 == 0 {
                log.prepare();
            }
            if n % 5 == 0 {
                let end = log.end();
                drop(log);
                let (reopened, replayed) = open(&disk, 2048, ZERO).unwrap();
                assert_eq!(payloads(&replayed), all);
                assert_eq!(reopened.end(), end);
                log = reopened;
            }
        }
        let starts = segments(&*disk);
        assert!(starts.len() > 5 && starts[0] == 0, "{starts:?}");
        assert_eq!(starts.len(), log.segments());
        let (_, replayed) = open(&disk, 2048, ZERO).unwrap();
        for start in &starts[1..] {
            assert!(
                replayed.iter().any(|(end, _)| end.get() == *start),
                "a segment begins where a batch ends"
            );
        }
        assert!(image(&*disk).values().all(|bytes| bytes.len() == 2048));
    });
}

#[test]
fn a_batch_larger_than_a_segment_gets_a_segment_of_its_own() {
    on_both(|new| {
        let disk = new();
        let (mut log, _) = open(&disk, 1024, ZERO).unwrap();
        // First into an empty segment, then behind another batch.
        let all = [payload(0, 5000), payload(1, 10), payload(2, 3000), payload(3, 400), payload(4, 3)];
        for payload in &all {
            log.append(std::slice::from_ref(payload)).unwrap();
        }
        assert_eq!(segments(&*disk).len(), 4);
        drop(log);
        let (mut log, replayed) = open(&disk, 1024, ZERO).unwrap();
        assert_eq!(payloads(&replayed), all);
        // What is too long is removed, not kept for reuse.
        log.release(log.end()).unwrap();
        assert!(image(&*disk).values().all(|bytes| bytes.len() == 1024));
    });
}

#[test]
fn a_batch_beyond_all_bounds_is_refused_and_the_log_goes_on() {
    let disk: Arc<dyn Disk> = Arc::new(RamDisk::new());
    let (mut log, _) = open(&disk, 4096, ZERO).unwrap();
    let megabyte = payload(0, 1 << 20);
    let error = log.append(&vec![megabyte; (MAX_BATCH_BYTES >> 20) as usize]).unwrap_err();
    assert!(matches!(error, AppendError::TooLarge { limit: MAX_BATCH_BYTES, .. }), "{error}");
    log.append(&[payload(1, 1)]).unwrap();
    assert_eq!(payloads(&open(&disk, 4096, ZERO).unwrap().1), [payload(1, 1)]);
}

#[test]
fn released_segments_go_and_the_rest_is_replayed() {
    on_both(|new| {
        let disk = new();
        let (mut log, _) = open(&disk, 1024, ZERO).unwrap();
        let ends: Vec<Position> = (0..20).map(|n| log.append(&[payload(n, 150)]).unwrap()).collect();
        let before = segments(&*disk);

        // A position within a segment keeps that segment.
        let upto = ends[9];
        log.release(upto).unwrap();
        let after = segments(&*disk);
        let first_kept = before.iter().rposition(|&start| start <= upto.get()).unwrap();
        assert_eq!(after, before[first_kept..]);
        assert_eq!(log.start().get(), after[0]);
        drop(log);

        let (mut log, replayed) = open(&disk, 1024, upto).unwrap();
        assert_eq!(payloads(&replayed), (10..20).map(|n| payload(n, 150)).collect::<Vec<_>>());
        let error = open(&disk, 1024, ZERO).err().unwrap();
        assert!(matches!(error, LogError::Gap { from: ZERO, first } if first == log.start()), "{error}");

        // The segment in use stays, whatever is released.
        log.release(Position::new(u64::MAX)).unwrap();
        assert_eq!(segments(&*disk), before[before.len() - 1..]);
        log.append(&[payload(20, 150)]).unwrap();
        assert_eq!(payloads(&open(&disk, 1024, ends[19]).unwrap().1), [payload(20, 150)]);
    });
}

#[test]
fn a_reused_segment_never_gives_back_what_it_held() {
    on_both(|new| {
        let disk = new();
        let (mut log, _) = open(&disk, 1024, ZERO).unwrap();
        let mut reused = 0;
        for n in 0..60 {
            // All alike, so that the old records lie exactly where the new ones will.
            let end = log.append(&[payload(7, 100)]).unwrap();
            let spare = image(&*disk).remove("spare");
            reused += usize::from(spare.is_some_and(|bytes| bytes[SEGMENT_HEADER + 20] != 0));
            drop(log);
            let (reopened, replayed) = open(&disk, 1024, Position::new(segments(&*disk)[0])).unwrap();
            log = reopened;
            assert_eq!(replayed.last().unwrap().0, end, "batch {n}");
            log.release(end).unwrap();
        }
        assert!(reused > 5, "only {reused} segments were reused");
    });
}

#[test]
fn a_segment_goes_round_without_being_reopened() {
    on_both(|new| {
        let disk = new();
        let (mut log, _) = open(&disk, 1024, ZERO).unwrap();
        let mut end = ZERO;
        for n in 0..50 {
            let from = end;
            end = log.append(&[payload(n, 100 + n)]).unwrap();
            log.release(from).unwrap();
            log.prepare();
            assert!(disk.list().unwrap().len() <= 4, "{:?}", disk.list());
        }
        let from = log.start();
        let (_, replayed) = open(&disk, 1024, from).unwrap();
        let expected: Vec<Bytes> = (50 - replayed.len()..50).map(|n| payload(n, 100 + n)).collect();
        assert!(!expected.is_empty());
        assert_eq!(payloads(&replayed), expected);
    });
}

/// Whoever outruns the overlay has a few segments released at once, each time when the next one is on its way.
#[test]
fn a_log_whose_segments_are_released_late_is_written_once() {
    let ram = RamDisk::new();
    let disk: Arc<dyn Disk> = Arc::new(ram.clone());
    let (mut log, _) = open(&disk, 64 << 10, ZERO).unwrap();
    let (mut said, mut before) = (0, ram.counts().bytes);
    for n in 0..2_000 {
        let end = log.append(&[payload(n, 1_000)]).unwrap();
        log.prepare();
        if log.segments() == 4 {
            log.release(end).unwrap();
        }
        if n == 400 {
            // By now there are as many files as it takes.
            (said, before) = (end.get(), ram.counts().bytes);
        }
    }
    let (said, written) = (log.end().get() - said, ram.counts().bytes - before);
    // Of three released at once two are kept, so one in three is filled with zeros first; without that it would be each of them.
    assert!(written * 2 < said * 3, "{written} bytes written for {said}");
}

#[test]
fn the_segment_size_may_change_between_starts() {
    on_both(|new| {
        let disk = new();
        let mut all = Vec::new();
        for (round, size) in [1024, 8192, 700, 0, 4096].into_iter().enumerate() {
            let (mut log, replayed) = open(&disk, size, ZERO).unwrap();
            assert_eq!(payloads(&replayed), all);
            for n in 0..12 {
                all.push(payload(round * 100 + n, 200));
                log.append(&all[all.len() - 1..]).unwrap();
                log.prepare();
            }
        }
        assert_eq!(payloads(&open(&disk, 1024, ZERO).unwrap().1), all);
    });
}

#[test]
fn a_log_may_begin_anywhere() {
    on_both(|new| {
        let disk = new();
        let start = Position::new(77 << 32);
        let mut log = CommitLog::create(disk.clone(), options(1024), start).unwrap();
        for n in 0..9 {
            log.append(&[payload(n, 300)]).unwrap();
        }
        let end = log.end();
        let (log, replayed) = open(&disk, 1024, start).unwrap();
        assert_eq!((replayed.len(), log.end(), log.start()), (9, end, start));
        let error = CommitLog::create(disk.clone(), options(1024), start).err().unwrap();
        assert!(matches!(error, LogError::Exists { .. }), "{error}");
    });
}

#[test]
fn a_log_that_does_not_fit_the_state_is_refused() {
    on_both(|new| {
        let disk = new();
        let missing = open(&disk, 1024, Position::new(8)).err().unwrap();
        assert!(matches!(missing, LogError::Missing { from } if from.get() == 8), "{missing}");
        let (mut log, _) = open(&disk, 1024, ZERO).unwrap();
        let end = log.append(&[payload(0, 50)]).unwrap();
        let ahead = Position::new(end.get() + 8);
        let behind = open(&disk, 1024, ahead).err().unwrap();
        assert!(matches!(behind, LogError::Behind { from, end: e } if (from, e) == (ahead, end)), "{behind}");
    });
}

#[test]
fn files_of_others_are_left_alone() {
    on_both(|new| {
        let disk = new();
        disk.create("LOCK", 3).unwrap();
        disk.create("0.log", 3).unwrap();
        let (mut log, _) = open(&disk, 1024, ZERO).unwrap();
        let end = log.append(&[payload(0, 2000)]).unwrap();
        log.release(end).unwrap();
        assert!(disk.open("LOCK").is_ok() && disk.open("0.log").is_ok());
    });
}

#[test]
fn a_new_log_has_a_key_of_its_own() {
    let key = || {
        let disk: Arc<dyn Disk> = Arc::new(RamDisk::new());
        CommitLog::create(disk.clone(), LogOptions::default(), ZERO).unwrap();
        let mut key = [0; 16];
        disk.open("0000000000000000.log").unwrap().read_at(16, &mut key).unwrap();
        key
    };
    let (a, b) = (key(), key());
    assert!(a != b && a != [0; 16] && a[..8] != a[8..]);
}

#[test]
fn a_batch_is_one_write_and_one_flush() {
    let ram = RamDisk::new();
    let disk: Arc<dyn Disk> = Arc::new(ram.clone());
    let (mut log, _) = open(&disk, 1 << 20, ZERO).unwrap();
    for n in 1..20 {
        let before = ram.counts();
        let batch: Vec<Bytes> = (0..n).map(|i| payload(i, 100)).collect();
        log.append(&batch).unwrap();
        let after = ram.counts();
        assert_eq!((after.writes - before.writes, after.syncs - before.syncs), (1, 1));
        assert_eq!(after.dir_syncs, before.dir_syncs);
    }
    let before = ram.counts();
    log.append(&[]).unwrap();
    log.append(&[Bytes::new()]).unwrap();
    assert_eq!(ram.counts(), before, "nothing to write, nothing to flush");
}
