//! Random histories of commits, seals, write-downs, restarts and power cuts, against a model that is a handful of maps.
//!
//! The model knows what was acknowledged. After every step that could go wrong, everything a reader can ask for must be
//! what the model says. One commit may be in doubt, the one that failed: it is there as a whole or not at all.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use chasqui_storage::{
    Batch, Core, LogId, Options, Position, Reader, RecordKey,
    clock::ManualClock,
    disk::{
        RamDisk,
        ram::{Effect, Fault, Operation},
    },
    kv::{KeyValue, ram::RamKv, rocks::RocksKv},
};
use proptest::prelude::*;

const LOGS: u8 = 3;
const GROUPS: u8 = 2;
const TOPICS: u8 = 4;
const RINGS: u8 = 2;
const CAPACITY: u32 = 4;
const SPACE: u8 = 9;

/// A change before it is known what it changes.
#[derive(Debug, Clone)]
enum Change {
    Put { kind: u8, id: u8, value: u8 },
    Delete { kind: u8, id: u8 },
    Append { log: u8, count: u8, value: u8 },
    Rewrite { log: u8, at: u8, value: u8 },
    Trim { log: u8, from: u8, len: u8 },
    TrimAll { log: u8 },
    SetState { group: u8, topic: u8, value: u8 },
    RemoveState { group: u8, topic: u8 },
    Push { ring: u8, value: u8 },
    RemoveRing { ring: u8 },
    Due { at: u8, id: u8 },
}

#[derive(Debug, Clone)]
enum Step {
    Commit(Vec<Vec<Change>>),
    FailedCommit(Vec<Change>, Operation, u64),
    Seal,
    Tick(u16),
    WriteDown,
    Restart,
    PowerCut(u64),
}

#[derive(Debug, Clone, Default, PartialEq)]
struct Model {
    records: BTreeMap<RecordKey, Vec<u8>>,
    heads: BTreeMap<u8, u64>,
    logs: BTreeMap<(u8, u64), Vec<u8>>,
    state_heads: BTreeMap<u8, u64>,
    states: BTreeMap<(u8, u8), (u64, Vec<u8>)>,
    rings: BTreeMap<u8, VecDeque<Vec<u8>>>,
    due: BTreeMap<(u64, Vec<u8>), Vec<u8>>,
}

fn record_key(kind: u8, id: u8) -> RecordKey {
    match kind % 3 {
        0 => RecordKey::record(&[id]),
        1 => RecordKey::session(&[id % 2], &[id; 50]),
        _ => RecordKey::ordered(SPACE, &[id]),
    }
}

fn log_id(log: u8) -> LogId {
    LogId::new(vec![log; usize::from(log) * 30])
}

impl Model {
    /// Makes the change, and adds it to the batch as a caller who knows the past would.
    fn change(&mut self, change: &Change, batch: &mut Batch) {
        match *change {
            Change::Put { kind, id, value } => {
                let value = vec![value; usize::from(value)];
                batch.put(&record_key(kind, id), &value);
                self.records.insert(record_key(kind, id), value);
            }
            Change::Delete { kind, id } => {
                batch.delete(&record_key(kind, id));
                self.records.remove(&record_key(kind, id));
            }
            Change::Append { log, count, value } => {
                for _ in 0..count {
                    let head = self.heads.entry(log).or_default();
                    *head += 1;
                    batch.append(&log_id(log), *head, &[value; 3]);
                    self.logs.insert((log, *head), vec![value; 3]);
                }
            }
            Change::Rewrite { log, at, value } => {
                let there: Vec<u64> =
                    self.logs.range((log, 0)..=(log, u64::MAX)).map(|entry| entry.0.1).collect();
                if let Some(seq) = there.get(usize::from(at) % there.len().max(1)) {
                    batch.rewrite(&log_id(log), *seq, &[value; 2]);
                    self.logs.insert((log, *seq), vec![value; 2]);
                }
            }
            Change::Trim { log, from, len } => {
                let (from, to) = (u64::from(from), u64::from(from) + u64::from(len));
                batch.trim(&log_id(log), from, to);
                self.logs.retain(|(at, seq), _| *at != log || *seq < from || *seq >= to);
            }
            Change::TrimAll { log } => {
                batch.trim(&log_id(log), 0, u64::MAX);
                self.logs.retain(|(at, _), _| *at != log);
            }
            Change::SetState { group, topic, value } => {
                let head = self.state_heads.entry(group).or_default();
                *head += 1;
                let value = vec![value; 4];
                let previous = self.states.insert((group, topic), (*head, value.clone()));
                batch.set_state(&[group], &[topic], *head, &value, previous.map(|previous| previous.0));
            }
            Change::RemoveState { group, topic } => {
                let previous = self.states.remove(&(group, topic)).map(|previous| previous.0);
                batch.remove_state(&[group], &[topic], previous);
            }
            Change::Push { ring, value } => {
                batch.ring_push(&[ring], CAPACITY, &[value]);
                let items = self.rings.entry(ring).or_default();
                items.push_back(vec![value]);
                if items.len() > CAPACITY as usize {
                    items.pop_front();
                }
            }
            Change::RemoveRing { ring } => {
                batch.ring_remove(&[ring]);
                self.rings.remove(&ring);
            }
            // Put and taken in turn, as the contract wants it.
            Change::Due { at, id } => {
                let key = (u64::from(at), vec![id]);
                if self.due.remove(&key).is_some() {
                    batch.due_remove(key.0, &key.1);
                } else {
                    batch.due_put(key.0, &key.1, b"due");
                    self.due.insert(key, b"due".to_vec());
                }
            }
        }
    }

    fn batch(&mut self, changes: &[Change]) -> Batch {
        let mut batch = Batch::new();
        for change in changes {
            self.change(change, &mut batch);
        }
        batch
    }

    /// Asks the reader for everything there may be.
    fn check(&self, reader: &Reader) {
        for (kind, id) in (0..3).flat_map(|kind| (0..6).map(move |id| (kind, id))) {
            let key = record_key(kind, id);
            let found = reader.get(&key).unwrap();
            assert_eq!(found.as_deref(), self.records.get(&key).map(Vec::as_slice), "{key:?}");
        }
        self.check_sessions_and_ordered(reader);
        for log in 0..LOGS {
            self.check_log(log, reader);
        }
        for group in 0..GROUPS {
            self.check_states(group, reader);
        }
        for ring in 0..RINGS {
            let items: VecDeque<Vec<u8>> =
                reader.ring(&[ring]).unwrap().iter().map(|item| item.to_vec()).collect();
            assert_eq!(items, self.rings.get(&ring).cloned().unwrap_or_default(), "ring {ring}");
        }
        for at in [0, 3, u64::MAX] {
            let due = reader.due_before(at, 100).unwrap();
            let found: Vec<_> = due.iter().map(|due| (due.at_ms, due.id.to_vec())).collect();
            let expected: Vec<_> = self.due.keys().filter(|key| key.0 <= at).cloned().collect();
            assert_eq!(found, expected, "due at {at}");
        }
    }

    fn check_sessions_and_ordered(&self, reader: &Reader) {
        let expected: Vec<_> = (0..6).filter(|id| self.records.contains_key(&record_key(1, *id))).collect();
        for owner in 0..2 {
            let found = reader.sessions(&[owner], None, 100).unwrap();
            let names: Vec<u8> = found.iter().map(|session| session.name[0]).collect();
            let of_owner: Vec<u8> = expected.iter().copied().filter(|id| id % 2 == owner).collect();
            assert_eq!(names, of_owner, "sessions of {owner}");
            if let Some(first) = found.first() {
                let rest = reader.sessions(&[owner], Some(&first.name), 100).unwrap();
                assert_eq!(rest, found[1..], "continued behind the first");
            }
        }
        assert_eq!(reader.all_sessions(None, 100).unwrap().len(), expected.len());
        let ordered: Vec<u8> = (0..6).filter(|id| self.records.contains_key(&record_key(2, *id))).collect();
        let found = reader.ordered_range(SPACE, &[], None, 100).unwrap();
        assert_eq!(found.iter().map(|(id, _)| id[0]).collect::<Vec<_>>(), ordered);
        for from in 0..7u8 {
            let found = reader.ordered_seek(SPACE, &[from]).unwrap().map(|(id, _)| id[0]);
            assert_eq!(found, ordered.iter().copied().find(|id| *id >= from));
        }
        let some = reader.ordered_range(SPACE, &[1], Some(&[4]), 2).unwrap();
        let expected: Vec<u8> = ordered.into_iter().filter(|id| (1..4).contains(id)).take(2).collect();
        assert_eq!(some.iter().map(|(id, _)| id[0]).collect::<Vec<_>>(), expected);
    }

    fn check_log(&self, log: u8, reader: &Reader) {
        let id = log_id(log);
        let all: Vec<(u64, Bytes)> = self
            .logs
            .range((log, 0)..=(log, u64::MAX))
            .map(|((_, seq), value)| (*seq, Bytes::copy_from_slice(value)))
            .collect();
        let head = self.heads.get(&log).copied().unwrap_or(0);
        for from in [0, 1, head / 3, head / 2, head, head + 1] {
            let expected: Vec<_> = all.iter().filter(|entry| entry.0 >= from).cloned().collect();
            assert_eq!(reader.read_log(&id, from, 1000, 1 << 20).unwrap(), expected, "log {log} from {from}");
            let few = reader.read_log(&id, from, 2, 1 << 20).unwrap();
            assert_eq!(few, expected[..expected.len().min(2)], "two entries of log {log} from {from}");
            let one = reader.read_log(&id, from, 1000, 1).unwrap();
            assert_eq!(one, expected[..expected.len().min(1)], "at least one entry, however large");
            let (mut bytes, mut fit) = (0, 0);
            while fit < expected.len() && bytes + expected[fit].1.len() <= 8 {
                bytes += expected[fit].1.len();
                fit += 1;
            }
            assert_eq!(reader.read_log(&id, from, 1000, 8).unwrap(), expected[..fit], "what fits in 8 bytes");
        }
        let last = all.last().map(|entry| entry.0);
        assert_eq!(reader.last_seq(&id).unwrap(), last, "the end of log {log}");
        let bound = reader.seq_bound(&id).unwrap();
        assert!(
            bound >= last,
            "{bound:?} is a number that no entry of log {log} is behind, and {last:?} is there"
        );
    }

    fn check_states(&self, group: u8, reader: &Reader) {
        let mut expected: Vec<_> = (0..TOPICS)
            .filter_map(|topic| {
                self.states.get(&(group, topic)).map(|(at, value)| (*at, topic, value.clone()))
            })
            .collect();
        expected.sort();
        let head = self.state_heads.get(&group).copied().unwrap_or(0);
        for after in [None, Some(0), Some(head / 2), Some(head.saturating_sub(1)), Some(head), Some(u64::MAX)]
        {
            let changed: Vec<_> =
                expected.iter().filter(|state| after.is_none_or(|after| state.0 > after)).cloned().collect();
            let found = |max, bytes| -> Vec<_> {
                let states = reader.read_states(&[group], after, max, bytes).unwrap();
                states.iter().map(|state| (state.position, state.topic[0], state.value.to_vec())).collect()
            };
            assert_eq!(found(100, 1 << 20), changed, "group {group} after {after:?}");
            assert_eq!(found(1, 1 << 20), changed[..changed.len().min(1)]);
            assert_eq!(found(100, 9), changed[..changed.len().min(2)], "two values of four bytes");
        }
        for topic in 0..TOPICS {
            let found = reader.state(&[group], &[topic]).unwrap().map(|(at, value)| (at, value.to_vec()));
            assert_eq!(found.as_ref(), self.states.get(&(group, topic)));
        }
    }
}

/// The key-value stores a history can run on.
trait Twin {
    fn kv(&mut self) -> Arc<dyn KeyValue>;
    fn power_cut(&mut self, seed: u64);
}

struct Ram(RamKv);

impl Twin for Ram {
    fn kv(&mut self) -> Arc<dyn KeyValue> {
        Arc::new(self.0.clone())
    }

    fn power_cut(&mut self, seed: u64) {
        self.0.power_cut(seed);
    }
}

/// RocksDB. A power cut here is a restart: it writes what it has when it is closed. What a crash leaves of it is tested beside it.
struct Rocks(tempfile::TempDir);

impl Twin for Rocks {
    fn kv(&mut self) -> Arc<dyn KeyValue> {
        Arc::new(RocksKv::open(self.0.path(), &options()).unwrap())
    }

    fn power_cut(&mut self, _seed: u64) {}
}

fn options() -> Options {
    Options {
        overlay_bytes: 6 << 10,
        overlay_age: Duration::from_secs(5),
        segment_bytes: 4 << 10,
        block_cache_bytes: 1 << 20,
        log_key: Some([7; 16]),
        ..Options::default()
    }
}

struct World<T> {
    disk: RamDisk,
    twin: T,
    clock: Arc<ManualClock>,
    core: Option<Core>,
    model: Model,
    acknowledged: Position,
}

impl<T: Twin> World<T> {
    fn new(twin: T) -> World<T> {
        let (disk, clock) = (RamDisk::new(), Arc::new(ManualClock::new(1_000_000)));
        let mut world = World {
            disk,
            twin,
            clock,
            core: None,
            model: Model::default(),
            acknowledged: Position::default(),
        };
        world.open();
        world
    }

    fn open(&mut self) {
        self.core = None;
        let (disk, kv) = (Arc::new(self.disk.clone()), self.twin.kv());
        self.core = Some(Core::open(disk, kv, self.clock.clone(), options()).unwrap());
    }

    fn core(&mut self) -> &mut Core {
        self.core.as_mut().unwrap()
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Commit(batches) => {
                let batches: Vec<Batch> = batches.iter().map(|changes| self.model.batch(changes)).collect();
                self.acknowledged = self.core().commit(batches).unwrap();
                assert_eq!(self.core().applied(), self.acknowledged);
            }
            Step::FailedCommit(changes, operation, seed) => self.failed_commit(changes, *operation, *seed),
            Step::Seal => {
                self.core().seal();
            }
            Step::Tick(ms) => {
                self.clock.advance(u64::from(*ms));
                self.core().tick().unwrap();
            }
            Step::WriteDown => {
                let durable = self.core().write_down().unwrap();
                assert_eq!(durable, self.acknowledged);
            }
            Step::Restart => self.open(),
            Step::PowerCut(seed) => {
                self.core = None;
                self.disk.power_cut(*seed);
                self.twin.power_cut(*seed);
                self.open();
            }
        }
        let reader = self.core().reader();
        assert_eq!(reader.position(), self.acknowledged);
        self.model.check(&reader);
    }

    /// A commit whose write or flush fails: nothing more is taken, and after a restart it is there wholly or not at all.
    fn failed_commit(&mut self, changes: &[Change], operation: Operation, seed: u64) {
        let mut changed = self.model.clone();
        let mut changes = changes.to_vec();
        changes.push(Change::Append { log: 0, count: 1, value: 1 });
        let batch = changed.batch(&changes);
        self.disk.plan(Fault { operation, after: 0, effect: Effect::Broken });
        assert!(self.core().commit(vec![batch]).is_err());
        assert!(self.core().poisoned().is_some());
        assert!(self.core().commit(vec![Batch::new()]).is_err(), "the first failure is final");
        self.core = None;
        self.disk.power_cut(seed);
        self.twin.power_cut(seed);
        self.open();
        let end = self.core().applied();
        if end > self.acknowledged {
            (self.model, self.acknowledged) = (changed, end);
        }
    }
}

fn change() -> impl Strategy<Value = Change> {
    let (log, ring) = (0..LOGS, 0..RINGS);
    let topic = (0..GROUPS, 0..TOPICS);
    prop_oneof![
        3 => (0..3u8, 0..6u8, any::<u8>()).prop_map(|(kind, id, value)| Change::Put { kind, id, value }),
        1 => (0..3u8, 0..6u8).prop_map(|(kind, id)| Change::Delete { kind, id }),
        4 => (log.clone(), 1..20u8, any::<u8>())
            .prop_map(|(log, count, value)| Change::Append { log, count, value }),
        1 => (log.clone(), any::<u8>(), any::<u8>()).prop_map(|(log, at, value)| Change::Rewrite { log, at, value }),
        3 => (log.clone(), 0..120u8, 0..40u8).prop_map(|(log, from, len)| Change::Trim { log, from, len }),
        1 => log.prop_map(|log| Change::TrimAll { log }),
        3 => (topic.clone(), any::<u8>())
            .prop_map(|((group, topic), value)| Change::SetState { group, topic, value }),
        1 => topic.prop_map(|(group, topic)| Change::RemoveState { group, topic }),
        3 => (ring.clone(), any::<u8>()).prop_map(|(ring, value)| Change::Push { ring, value }),
        1 => ring.prop_map(|ring| Change::RemoveRing { ring }),
        3 => (0..6u8, 0..3u8).prop_map(|(at, id)| Change::Due { at, id }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let changes = || prop::collection::vec(change(), 0..8);
    let operation = prop_oneof![Just(Operation::Write), Just(Operation::Sync)];
    prop_oneof![
        8 => prop::collection::vec(changes(), 1..4).prop_map(Step::Commit),
        1 => (changes(), operation, any::<u64>()).prop_map(|(changes, operation, seed)| {
            Step::FailedCommit(changes, operation, seed)
        }),
        2 => Just(Step::Seal),
        2 => any::<u16>().prop_map(|ms| Step::Tick(ms % 8_000)),
        1 => Just(Step::WriteDown),
        1 => Just(Step::Restart),
        2 => any::<u64>().prop_map(Step::PowerCut),
    ]
}

fn run(twin: impl Twin, steps: &[Step]) {
    let mut world = World::new(twin);
    for step in steps {
        world.step(step);
    }
    world.step(&Step::PowerCut(1));
    world.step(&Step::WriteDown);
    world.step(&Step::Restart);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_500, max_shrink_iters: 4_000, ..ProptestConfig::default() })]

    #[test]
    fn a_store_in_memory_is_its_model(steps in prop::collection::vec(step(), 1..40)) {
        run(Ram(RamKv::new()), &steps);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, max_shrink_iters: 100, ..ProptestConfig::default() })]

    #[test]
    fn a_store_on_rocksdb_is_its_model(steps in prop::collection::vec(step(), 1..40)) {
        run(Rocks(tempfile::tempdir().unwrap()), &steps);
    }
}
