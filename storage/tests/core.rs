//! What the store promises when things go wrong, without threads: replay, coalescing, failing disks, foreign formats.

use std::sync::Arc;

use bytes::Bytes;
use chasqui_storage::{
    Batch, Core, LogId, OpenError, Options, Position, RecordKey,
    clock::ManualClock,
    commit_log::{AppendError, CommitLog, LogOptions},
    disk::{
        RamDisk,
        ram::{Effect, Fault, Operation},
    },
    kv::{KeyValue, ram::RamKv},
};

struct World {
    disk: RamDisk,
    kv: RamKv,
    clock: Arc<ManualClock>,
}

impl World {
    fn new() -> World {
        World { disk: RamDisk::new(), kv: RamKv::new(), clock: Arc::new(ManualClock::new(0)) }
    }

    fn open(&self) -> Result<Core, OpenError> {
        self.open_with(Options { segment_bytes: 4 << 10, ..Options::default() })
    }

    fn open_with(&self, options: Options) -> Result<Core, OpenError> {
        Core::open(Arc::new(self.disk.clone()), Arc::new(self.kv.clone()), self.clock.clone(), options)
    }

    fn error(&self) -> String {
        self.open().map(|_| ()).unwrap_err().to_string()
    }
}

fn put(id: &str, value: &str) -> Batch {
    let mut batch = Batch::new();
    batch.put(&RecordKey::record(id.as_bytes()), value.as_bytes());
    batch
}

fn get(core: &Core, id: &str) -> Option<Bytes> {
    core.reader().get(&RecordKey::record(id.as_bytes())).unwrap()
}

#[test]
fn what_came_and_went_never_reaches_the_key_value_store() {
    let world = World::new();
    let mut core = world.open().unwrap();
    let stamped = world.kv.counts();
    let (inbox, cursor) = (LogId::new("in/bob"), RecordKey::session(b"bob", b"phone"));
    for seq in 1..=1000u64 {
        let mut sent = Batch::new();
        sent.append(&inbox, seq, b"hello").ring_push(b"alice/phone", 256, &seq.to_be_bytes());
        let mut delivered = Batch::new();
        delivered.put(&cursor, &seq.to_be_bytes()).trim(&inbox, seq, seq + 1);
        delivered.set_state(b"receipts/alice", b"bob", seq, b"delivered", (seq > 1).then(|| seq - 1));
        core.commit(vec![sent, delivered]).unwrap();
    }
    core.write_down().unwrap();
    let counts = world.kv.counts();
    // The cursor, the ring, the receipt and its place in the change index.
    assert_eq!(counts.puts - stamped.puts, 4);
    assert_eq!(counts.deletes + counts.range_deletes, 0);
    assert_eq!(world.kv.len(), 4);
}

#[test]
fn reading_the_tail_does_not_ask_the_key_value_store() {
    let world = World::new();
    let mut core = world.open().unwrap();
    let log = LogId::new("log");
    let mut batch = Batch::new();
    for seq in 1..=10 {
        batch.append(&log, seq, b"entry");
    }
    core.commit(vec![batch]).unwrap();
    let before = world.kv.counts();
    assert_eq!(core.reader().read_log(&log, 1, 100, 1 << 20).unwrap().len(), 10);
    assert_eq!(core.reader().last_seq(&log).unwrap(), Some(10));
    assert_eq!(world.kv.counts(), before);
}

#[test]
fn replay_is_the_same_however_often() {
    let world = World::new();
    let mut core = world.open().unwrap();
    for item in 0..5u8 {
        let mut batch = put("hot", &item.to_string());
        batch.ring_push(b"ring", 100, &[item]).append(&LogId::new("log"), u64::from(item) + 1, &[item]);
        core.commit(vec![batch]).unwrap();
    }
    let end = core.applied();
    for round in 0..4 {
        drop(core);
        core = world.open().unwrap();
        assert_eq!(core.applied(), end);
        assert_eq!(get(&core, "hot").as_deref(), Some(&b"4"[..]));
        let items: Vec<u8> = core.reader().ring(b"ring").unwrap().iter().map(|item| item[0]).collect();
        assert_eq!(items, [0, 1, 2, 3, 4], "round {round}: nothing twice");
        if round == 2 {
            // From here on there is nothing to replay, though the segment is still there.
            core.write_down().unwrap();
        }
    }
}

#[test]
fn segments_go_when_the_key_value_store_has_what_is_in_them() {
    let world = World::new();
    let mut core = world.open().unwrap();
    let fill = |core: &mut Core| {
        for at in 0..100 {
            core.commit(vec![put(&format!("{at}"), &"x".repeat(200))]).unwrap();
        }
    };
    fill(&mut core);
    let files = world.disk.counts();
    assert!(segments(&world) > 3);
    core.write_down().unwrap();
    assert_eq!(segments(&world), 1, "all but the one in use");
    assert!(world.disk.counts().dir_syncs > files.dir_syncs);
    fill(&mut core);
    drop(core);
    world.disk.power_cut(3);
    world.kv.power_cut(3);
    assert_eq!(get(&world.open().unwrap(), "99").map(|value| value.len()), Some(200));
}

fn segments(world: &World) -> usize {
    use chasqui_storage::disk::Disk;
    world.disk.list().unwrap().iter().filter(|name| name.contains(".log")).count()
}

#[test]
fn a_key_value_store_that_fails_stops_the_store_and_loses_nothing() {
    for flush in [false, true] {
        let world = World::new();
        let mut core = world.open().unwrap();
        core.commit(vec![put("a", "one")]).unwrap();
        if flush {
            world.kv.fail_flush_after(0);
        } else {
            world.kv.fail_write_after(0);
        }
        let poisoned = core.write_down().unwrap_err();
        assert!(poisoned.to_string().contains("a fault was planned"), "{poisoned}");
        assert!(matches!(core.commit(vec![put("b", "two")]), Err(AppendError::Poisoned(_))));
        assert!(core.write_down().is_err());
        assert_eq!(get(&core, "a").as_deref(), Some(&b"one"[..]), "reading goes on");
        drop(core);
        world.kv.power_cut(0);
        let core = world.open().unwrap();
        assert_eq!(get(&core, "a").as_deref(), Some(&b"one"[..]));
        assert_eq!(get(&core, "b"), None);
    }
}

#[test]
fn a_full_disk_is_named() {
    let world = World::new();
    let mut core = world.open().unwrap();
    world.disk.plan(Fault { operation: Operation::Write, after: 0, effect: Effect::Full });
    let error = core.commit(vec![put("a", "one")]).unwrap_err();
    assert!(
        error.to_string().contains("is full") && error.to_string().contains("free some space"),
        "{error}"
    );
    assert_eq!(get(&core, "a"), None, "nothing is seen that is not durable");
}

#[test]
fn a_newer_state_is_refused() {
    let world = World::new();
    drop(world.open().unwrap());
    world.kv.set_format_version(2);
    let expected = "the state store was written in format 2 by a newer version of this program, which reads up to format 1: \
                    run that version";
    assert_eq!(world.error(), expected);
}

#[test]
fn a_newer_batch_is_refused() {
    let world = World::new();
    drop(world.open().unwrap());
    let options = LogOptions { segment_bytes: 4 << 10, key: None };
    let disk = Arc::new(world.disk.clone());
    let mut log = CommitLog::open(disk, options, Position::default(), |_, _| Ok::<_, String>(())).unwrap();
    log.append(&[Bytes::from_static(&[9, 9, 9])]).unwrap();
    drop(log);
    let error = world.error();
    assert!(error.contains("format version 9, newer than the 1"), "{error}");
}

#[test]
fn a_state_without_its_log_is_refused_and_so_is_a_log_without_its_state() {
    let world = World::new();
    let mut core = world.open().unwrap();
    for at in 0..100 {
        core.commit(vec![put(&format!("{at}"), &"x".repeat(200))]).unwrap();
    }
    core.write_down().unwrap();
    drop(core);
    let without_log = World { disk: RamDisk::new(), kv: world.kv.clone(), clock: world.clock.clone() };
    assert!(without_log.error().starts_with("there is no commit log, but the state stands for position"));
    let without_state = World { disk: world.disk.clone(), kv: RamKv::new(), clock: world.clock.clone() };
    assert!(without_state.error().starts_with("the commit log begins at position"));
}

#[test]
fn a_damaged_value_is_reported_and_never_returned() {
    let world = World::new();
    let mut core = world.open().unwrap();
    core.commit(vec![put("a", "one")]).unwrap();
    core.write_down().unwrap();
    assert!(world.kv.damage(RecordKey::record(b"a").as_bytes()));
    let error = core.reader().get(&RecordKey::record(b"a")).unwrap_err();
    assert!(error.to_string().starts_with("the value of Record \"a\" is damaged"), "{error}");
}

#[test]
fn a_layer_goes_down_at_its_size_and_at_its_age() {
    let world = World::new();
    let mut core = world.open_with(Options { overlay_bytes: 10_000, ..Options::default() }).unwrap();
    core.commit(vec![put("a", &"x".repeat(9_999))]).unwrap();
    assert!(core.tick().unwrap(), "full");
    assert_eq!(core.durable(), core.applied());
    core.commit(vec![put("b", "small")]).unwrap();
    world.clock.advance(4_999);
    assert!(!core.tick().unwrap(), "neither full nor old");
    world.clock.advance(1);
    assert!(core.tick().unwrap(), "old");
    assert_eq!(core.durable(), core.applied());
    assert!(world.kv.get(RecordKey::record(b"b").as_bytes()).unwrap().is_some());
}

#[test]
fn memory_is_bounded_without_anyone_ticking() {
    let world = World::new();
    let mut core = world.open_with(Options { overlay_bytes: 10_000, ..Options::default() }).unwrap();
    for at in 0..100 {
        core.commit(vec![put(&format!("{at}"), &"x".repeat(1_000))]).unwrap();
    }
    let behind = u64::from(core.applied()) - u64::from(core.durable());
    assert!(behind < 25_000, "{behind} bytes are not written down");
    drop(core);
    let core = world.open_with(Options { overlay_bytes: 1_000, ..Options::default() }).unwrap();
    let behind = u64::from(core.applied()) - u64::from(core.durable());
    assert!(behind < 5_000, "a long replay is written down as it goes: {behind} bytes are not");
    assert_eq!(get(&core, "99").map(|value| value.len()), Some(1_000));
}
