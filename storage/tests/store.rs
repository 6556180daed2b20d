//! The store with its threads: order, back-pressure, failures, readers beside it, and a real folder.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use chasqui_storage::{
    Batch, CheckpointError, LogId, OpenError, Options, Poisoned, Position, RecordKey, Storage,
    clock::ManualClock, disk::RamDisk, kv::ram::RamKv,
};

fn ram(options: Options) -> (Storage, RamDisk, RamKv) {
    let (disk, kv) = (RamDisk::new(), RamKv::new());
    let storage = open(&disk, &kv, options);
    (storage, disk, kv)
}

fn open(disk: &RamDisk, kv: &RamKv, options: Options) -> Storage {
    let clock = Arc::new(ManualClock::new(0));
    Storage::open_with(Arc::new(disk.clone()), Arc::new(kv.clone()), clock, options).unwrap()
}

fn tiny() -> Options {
    Options { overlay_bytes: 4_000, segment_bytes: 16 << 10, ..Options::default() }
}

fn small_disk() -> Options {
    Options {
        overlay_bytes: 1 << 20,
        segment_bytes: 1 << 20,
        block_cache_bytes: 1 << 20,
        ..Options::default()
    }
}

fn put(id: &str, value: &[u8]) -> Batch {
    let mut batch = Batch::new();
    batch.put(&RecordKey::record(id.as_bytes()), value);
    batch
}

#[test]
fn done_comes_when_the_batch_is_durable_and_seen_and_in_order() {
    let (storage, disk, _) = ram(Options::default());
    let reader = storage.reader();
    let told = Arc::new(Mutex::new(Vec::new()));
    let held = disk.hold_syncs();
    for at in 0..100u64 {
        let (told, reader) = (Arc::clone(&told), reader.clone());
        let done = move |result: Result<Position, Poisoned>| {
            let seen = reader.get(&RecordKey::record(at.to_string().as_bytes())).unwrap().is_some();
            told.lock().unwrap().push((at, result.unwrap() <= reader.position(), seen));
        };
        storage.submit(put(&at.to_string(), b"value"), Box::new(done)).unwrap();
    }
    held.wait_for_one();
    assert!(told.lock().unwrap().is_empty(), "nobody is told before the flush");
    assert_eq!(reader.position(), Position::default());
    assert_eq!(reader.get(&RecordKey::record(b"0")).unwrap(), None, "and nothing is seen");
    drop(held);
    storage.commit_and_wait(Batch::new()).unwrap();
    let expected: Vec<_> = (0..100).map(|at| (at, true, true)).collect();
    assert_eq!(*told.lock().unwrap(), expected);
}

#[test]
fn commits_wait_while_both_layers_are_full_and_that_is_counted() {
    let (storage, _, kv) = ram(tiny());
    let held = kv.hold_writes();
    storage.commit_and_wait(put("first layer", &[1; 5_000])).unwrap();
    storage.commit_and_wait(put("second layer", &[2; 5_000])).unwrap();
    let (tell, told) = mpsc::channel();
    storage.submit(put("third", &[3; 100]), Box::new(move |result| tell.send(result).unwrap())).unwrap();
    while storage.stats().waits == 0 {
        thread::yield_now();
    }
    assert!(told.try_recv().is_err(), "not told before it is seen");
    drop(held);
    told.recv().unwrap().unwrap();
    assert_eq!(storage.stats().waits, 1);
    let applied = storage.applied();
    assert_eq!(storage.close().unwrap(), applied, "and everything is written down at the end");
    assert_eq!(kv.len(), 3);
}

#[test]
fn a_failing_key_value_store_poisons_and_the_log_has_everything() {
    let (storage, disk, kv) = ram(tiny());
    kv.fail_write_after(0);
    storage.commit_and_wait(put("a", &[1; 5_000])).unwrap();
    while storage.poisoned().is_none() {
        thread::yield_now();
    }
    let (tell, told) = mpsc::channel();
    let refused = storage.submit(put("b", b"late"), Box::new(move |result| tell.send(result).unwrap()));
    assert!(refused.unwrap_err().to_string().contains("a fault was planned"));
    assert!(told.try_recv().unwrap().is_err(), "whoever waits is told as well");
    assert_eq!(storage.reader().get(&RecordKey::record(b"a")).unwrap().map(|value| value.len()), Some(5_000));
    assert!(storage.close().is_err());
    kv.power_cut(0);
    let storage = open(&disk, &kv, tiny());
    assert_eq!(storage.reader().get(&RecordKey::record(b"a")).unwrap().map(|value| value.len()), Some(5_000));
    assert_eq!(storage.reader().get(&RecordKey::record(b"b")).unwrap(), None);
}

#[test]
fn an_old_layer_goes_down_by_itself() {
    let (disk, kv, clock) = (RamDisk::new(), RamKv::new(), Arc::new(ManualClock::new(0)));
    let storage =
        Storage::open_with(Arc::new(disk), Arc::new(kv.clone()), clock.clone(), Options::default()).unwrap();
    storage.commit_and_wait(put("a", b"value")).unwrap();
    assert!(kv.is_empty());
    clock.advance(5_000);
    while kv.is_empty() {
        thread::yield_now();
    }
    while storage.stats().durable < storage.applied() {
        thread::yield_now();
    }
    assert_eq!(storage.stats().chunks, 1);
}

#[test]
fn dropping_it_leaves_everything_to_the_log() {
    let (storage, disk, kv) = ram(Options::default());
    storage.submit(put("a", b"value"), Box::new(|_| ())).unwrap();
    drop(storage);
    assert!(kv.is_empty());
    let storage = open(&disk, &kv, Options::default());
    assert_eq!(storage.reader().get(&RecordKey::record(b"a")).unwrap().as_deref(), Some(&b"value"[..]));
}

/// Readers beside a writer whose layers go down all the time: nothing is lost on the way, nothing is there twice.
#[test]
fn readers_see_no_seam_between_the_layers() {
    const ENTRIES: u64 = 3_000;
    let (storage, _, _) = ram(Options { overlay_bytes: 2_000, ..tiny() });
    let (log, hot) = (LogId::new("log"), RecordKey::record(b"hot"));
    let (written, finished) = (AtomicU64::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        for _ in 0..2 {
            let reader = storage.reader();
            let (written, finished, log, hot) = (&written, &finished, &log, &hot);
            scope.spawn(move || {
                let mut last = 0;
                while !finished.load(Ordering::Acquire) {
                    let before = written.load(Ordering::Acquire);
                    let from = before.saturating_sub(40).max(1);
                    let entries = reader.read_log(log, from, 1_000, 1 << 20).unwrap();
                    let seqs: Vec<u64> = entries.iter().map(|entry| entry.0).collect();
                    let end = seqs.last().copied().unwrap_or(0);
                    assert!(end >= before, "at least as new as before: {end} of {before}");
                    assert!(
                        seqs.iter().copied().eq((from..).take(seqs.len())),
                        "no gap, nothing twice: {seqs:?}"
                    );
                    let value = reader
                        .get(hot)
                        .unwrap()
                        .map_or(0, |value| u64::from_be_bytes(value[..].try_into().unwrap()));
                    assert!(value >= before.max(last), "time does not run backwards");
                    last = value;
                    let ring = reader.ring(b"ring").unwrap();
                    let items: Vec<u64> =
                        ring.iter().map(|item| u64::from_be_bytes(item[..].try_into().unwrap())).collect();
                    assert!(items.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{items:?}");
                    assert!(items.len() as u64 >= before.min(64), "{} items after {before}", items.len());
                    let states = reader.read_states(b"group", None, 100, 1 << 20).unwrap();
                    assert!(states.len() <= 3, "each topic once: {states:?}");
                }
            });
        }
        for seq in 1..=ENTRIES {
            let mut batch = Batch::new();
            let bytes = seq.to_be_bytes();
            batch.append(&log, seq, &bytes).put(&hot, &bytes).ring_push(b"ring", 64, &bytes);
            batch.set_state(b"group", &[(seq % 3) as u8], seq, &bytes, (seq > 3).then(|| seq - 3));
            storage.commit_and_wait(batch).unwrap();
            written.store(seq, Ordering::Release);
        }
        finished.store(true, Ordering::Release);
    });
    assert!(storage.stats().chunks > 10, "layers went down meanwhile: {:?}", storage.stats());
    let all = storage.reader().read_log(&log, 1, usize::MAX, usize::MAX).unwrap();
    assert_eq!(all.len() as u64, ENTRIES);
}

#[test]
fn a_folder_holds_everything_after_a_close_and_after_a_drop() {
    let dir = tempfile::tempdir().unwrap();
    let storage = Storage::open(dir.path(), small_disk()).unwrap();
    let closed_at = storage.commit_and_wait(put("closed", b"one")).unwrap();
    assert_eq!(storage.close().unwrap(), closed_at);
    let storage = Storage::open(dir.path(), small_disk()).unwrap();
    assert_eq!(storage.applied(), closed_at);
    storage.commit_and_wait(put("dropped", b"two")).unwrap();
    drop(storage);
    let storage = Storage::open(dir.path(), small_disk()).unwrap();
    for (id, value) in [("closed", b"one"), ("dropped", b"two")] {
        let found = storage.reader().get(&RecordKey::record(id.as_bytes())).unwrap();
        assert_eq!(found.as_deref(), Some(&value[..]));
    }
}

#[test]
fn a_folder_in_use_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let _storage = Storage::open(dir.path(), small_disk()).unwrap();
    let Err(error) = Storage::open(dir.path(), small_disk()) else { panic!("two stores in one folder") };
    assert!(matches!(error, OpenError::InUse { .. }));
    assert!(error.to_string().contains(&dir.path().display().to_string()), "{error}");
}

#[test]
fn a_copy_made_while_running_is_a_data_folder_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let (home, copy) = (dir.path().join("home"), dir.path().join("copy"));
    let storage = Storage::open(&home, small_disk()).unwrap();
    storage.commit_and_wait(put("a", b"before")).unwrap();
    let position = storage.checkpoint(&copy).unwrap();
    assert_eq!(position, storage.applied());
    storage.commit_and_wait(put("a", b"after")).unwrap();
    let again = storage.checkpoint(&copy).unwrap_err();
    assert!(matches!(again, CheckpointError::Exists { .. }), "{again}");
    let restored = Storage::open(&copy, small_disk()).unwrap();
    assert_eq!(restored.applied(), position);
    assert_eq!(restored.reader().get(&RecordKey::record(b"a")).unwrap().as_deref(), Some(&b"before"[..]));
    assert!(restored.commit_and_wait(put("b", b"goes on")).unwrap() > position);
    let found = storage.reader().get(&RecordKey::record(b"a")).unwrap();
    assert_eq!(found.as_deref(), Some(&b"after"[..]));
}

#[test]
fn many_submitters_share_flushes() {
    let options = Options {
        queue: chasqui_storage::QueueLimits { min_interval: Duration::ZERO, ..Default::default() },
        ..Options::default()
    };
    let (storage, disk, _) = ram(options);
    let held = disk.hold_syncs();
    let before = disk.counts();
    let (tell, told) = mpsc::channel();
    thread::scope(|scope| {
        for at in 0..8 {
            let (storage, tell) = (&storage, tell.clone());
            scope.spawn(move || {
                for more in 0..50 {
                    let tell = tell.clone();
                    let done = move |result: Result<Position, Poisoned>| tell.send(result.is_ok()).unwrap();
                    storage.submit(put(&format!("{at}/{more}"), b"v"), Box::new(done)).unwrap();
                }
            });
        }
    });
    held.wait_for_one();
    drop(held);
    assert!(told.iter().take(400).all(|ok| ok));
    let after = disk.counts();
    assert!(after.syncs - before.syncs <= 2, "the first alone, and all that waited behind it: {after:?}");
}

#[test]
fn handles_go_wherever_they_are_needed() {
    fn shared_between_threads<T: Send + Sync + 'static>() {}
    shared_between_threads::<Storage>();
    shared_between_threads::<chasqui_storage::Reader>();
}
