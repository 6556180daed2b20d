//! The store over the RAM twins of disk and key-value store: the common stories, then what only this store has to get right.

use super::suite::{begin, commit, cursors, every_story, key, message, moved, put, queue, record, retained};
use super::*;
use chasqui_broker::codec::{ByteStr, PublishProperties};
use chasqui_broker::message::Message;
use chasqui_broker::store::ram::RamStore;
use chasqui_storage::clock::ManualClock;
use chasqui_storage::disk::RamDisk;
use chasqui_storage::disk::ram::{Effect, Fault, Operation};
use chasqui_storage::kv::ram::RamKv;
use chasqui_storage::{Options, Poisoned, Position, Storage};
use parking_lot::Mutex;
use proptest::prelude::*;

/// Commits straight to a store; lazy batches ride on the next commit, in the order they came.
struct Direct {
    storage: Storage,
    lazy: Mutex<Batch>,
    moves: Mutex<Vec<(SessionKey, Vec<CursorMove>)>>,
}

impl CommitOps for Direct {
    fn commit(&self, batch: Batch, done: Option<Committed>) {
        let mut lazy = self.lazy.lock();
        let mut whole = std::mem::take(&mut *lazy);
        whole.extend(&batch);
        let done = move |result: Result<Position, Poisoned>| {
            if let Some(done) = done {
                done(result.map(drop).map_err(store_error));
            }
        };
        // A refusal has been said to `done` already.
        let _ = self.storage.submit(whole, Box::new(done));
    }

    fn lazy(&self, session: &SessionKey, moves: Vec<CursorMove>, batch: Batch) {
        self.moves.lock().push((session.clone(), moves));
        self.lazy.lock().extend(&batch);
    }
}

struct World {
    disk: RamDisk,
    kv: RamKv,
    clock: Arc<ManualClock>,
}

impl World {
    fn new() -> World {
        World { disk: RamDisk::new(), kv: RamKv::new(), clock: Arc::new(ManualClock::new(1_000)) }
    }

    fn open(&self) -> (SessionStore, Arc<Direct>) {
        let clock: Arc<dyn Clock> = Arc::clone(&self.clock) as Arc<dyn Clock>;
        let disk = Arc::new(self.disk.clone());
        let options = Options { segment_bytes: 1 << 20, ..Options::default() };
        let storage =
            Storage::open_with(disk, Arc::new(self.kv.clone()), Arc::clone(&clock), options).unwrap();
        let reader = storage.reader();
        let direct = Arc::new(Direct { storage, lazy: Mutex::default(), moves: Mutex::default() });
        let ops = Arc::clone(&direct) as Arc<dyn CommitOps>;
        (SessionStore::new(reader, ops, clock), direct)
    }
}

fn close(store: SessionStore, direct: Arc<Direct>) {
    commit(&store, vec![]);
    drop(store);
    Arc::into_inner(direct).expect("nobody else holds it").storage.close().unwrap();
}

/// Where the queue of a session that has one stands.
fn queue_at(position: u64) -> Cursors {
    cursors(&[(SourceId::QUEUE, position)], 0)
}

#[test]
fn it_does_what_every_store_does() {
    every_story(|| World::new().open().0);
}

#[test]
fn the_twin_in_memory_does_the_same() {
    every_story(RamStore::default);
}

#[test]
fn everything_is_there_after_a_restart() {
    let world = World::new();
    let (store, direct) = world.open();
    let bob = key("bob", "phone");
    let start = begin(&store, &bob);
    commit(&store, (1..=3).map(|n| StoreOp::Enqueue(bob.clone(), start + n, message("t", "x"))).collect());
    commit(&store, vec![StoreOp::Retain(message("a/b", "kept"))]);
    store.cursors_moved(&bob, vec![moved(SourceId::QUEUE, start + 1), moved("in/bob", 8)], 9);
    close(store, direct);

    let (store, direct) = world.open();
    let stored = store.session(&bob).unwrap().unwrap();
    assert_eq!(stored.cursors, cursors(&[(SourceId::QUEUE, start + 1), ("in/bob", 8)], 9));
    assert_eq!(queue(&store, &bob, start + 1).len(), 2);
    assert_eq!(store.queue_end(&bob).unwrap(), start + 3);
    assert_eq!(retained(&store, "a/#", 10), [("a/b".to_owned(), "kept".to_owned())]);
    // Empty it: its positions outlive the process, too.
    store.cursors_moved(&bob, vec![moved(SourceId::QUEUE, start + 3)], 9);
    close(store, direct);
    let (store, _direct) = world.open();
    assert!(queue(&store, &bob, 0).is_empty());
    assert_eq!(store.queue_end(&bob).unwrap(), start + 3);
}

#[test]
fn positions_of_a_queue_are_never_given_out_twice() {
    let world = World::new();
    let bob = key("bob", "phone");
    let mut last = None;
    for _ in 0..4 {
        let (store, direct) = world.open();
        for _ in 0..3 {
            let start = begin(&store, &bob);
            assert!(last.is_none_or(|last| start >= last), "{start} was given out before {last:?}");
            let ops = (1..=40).map(|n| StoreOp::Enqueue(bob.clone(), start + n, message("t", "x")));
            commit(&store, ops.chain([StoreOp::RemoveSession(bob.clone())]).collect());
            last = Some(start + 40);
        }
        close(store, direct);
    }
}

#[test]
fn what_is_on_its_way_counts_already() {
    let world = World::new();
    let (store, _direct) = world.open();
    let bob = key("bob", "phone");
    let start = begin(&store, &bob);
    commit(&store, vec![StoreOp::Enqueue(bob.clone(), start + 1, message("t", "old"))]);

    let held = world.disk.hold_syncs();
    store.commit(vec![StoreOp::PutCursors(bob.clone(), cursors(&[("in/bob", 5)], 7))], None);
    let now = store.session(&bob).unwrap().unwrap().cursors;
    assert_eq!(now, cursors(&[("in/bob", 5), (SourceId::QUEUE, start)], 7), "and the queue's position stays");
    store.cursors_moved(&bob, vec![moved("in/bob", 6)], 8);
    assert_eq!(store.session(&bob).unwrap().unwrap().cursors.positions[0].1, 6);

    // Removed and begun again before anything of it is on disk.
    store.commit(vec![StoreOp::Enqueue(bob.clone(), start + 2, message("t", "old"))], None);
    store.commit(vec![StoreOp::RemoveSession(bob.clone())], None);
    assert_eq!(store.session(&bob).unwrap(), None);
    let again = store.queue_end(&bob).unwrap();
    assert!(again >= start + 2);
    store.commit(
        vec![put(&bob, record(&[("t", true)], 0)), StoreOp::PutCursors(bob.clone(), queue_at(again))],
        None,
    );
    store.commit(vec![StoreOp::Enqueue(bob.clone(), again + 1, message("t", "new"))], None);
    drop(held);
    commit(&store, vec![]);
    assert_eq!(store.session(&bob).unwrap().unwrap().cursors, queue_at(again));
    assert_eq!(queue(&store, &bob, 0), [(again + 1, "new".to_owned())]);
}

#[test]
fn an_offline_session_costs_no_memory() {
    let world = World::new();
    let (store, direct) = world.open();
    let sessions: Vec<_> = (0..20).map(|n| key("bob", &n.to_string())).collect();
    for session in &sessions {
        begin(&store, session);
        store.cursors_moved(session, vec![moved("in/bob", 5)], 1);
    }
    assert_eq!(store.standing.len(), 20);
    for (n, session) in sessions.iter().enumerate() {
        let op = match n % 2 {
            0 => put(session, record(&[("t", true)], 77)),
            _ => StoreOp::RemoveSession(session.clone()),
        };
        commit(&store, vec![op]);
    }
    assert_eq!(store.standing.len(), 0);
    // Late news of an offline session is written, and held no longer than that takes.
    store.cursors_moved(&sessions[0], vec![moved("in/bob", 6)], 2);
    store.cursors_moved(&sessions[1], vec![moved("in/bob", 6)], 2);
    commit(&store, vec![]);
    assert_eq!(store.standing.len(), 0);
    assert_eq!(store.session(&sessions[0]).unwrap().unwrap().cursors.last_packet_id, 2);
    assert_eq!(store.session(&sessions[1]).unwrap(), None);
    // What was acknowledged is passed on in every case.
    let passed_on = direct.moves.lock().iter().filter(|(_, moves)| moves == &[moved("in/bob", 6)]).count();
    assert_eq!(passed_on, 2);
}

/// Each would be in the way of every reverse seek behind it: a start among 100,000 sessions took minutes.
#[test]
fn a_session_that_has_read_nothing_costs_no_range_deletion() {
    let world = World::new();
    let (store, direct) = world.open();
    let deleted = || world.kv.counts().range_deletes;
    let bob = key("bob", "phone");
    let start = begin(&store, &bob);
    for n in 0..50 {
        begin(&store, &key("many", &n.to_string()));
    }
    commit(&store, (1..=3).map(|n| StoreOp::Enqueue(bob.clone(), start + n, message("t", "x"))).collect());
    close(store, direct);
    assert_eq!(deleted(), 0);
    let (store, direct) = world.open();
    store.cursors_moved(&bob, vec![moved(SourceId::QUEUE, start + 2)], 9);
    commit(&store, vec![]);
    assert_eq!(queue(&store, &bob, 0), [(start + 3, "x".to_owned())], "what was there and was read goes");
    close(store, direct);
}

#[test]
fn a_retained_message_expires() {
    let world = World::new();
    let (store, _direct) = world.open();
    let properties = PublishProperties { message_expiry_interval: Some(10), ..PublishProperties::default() };
    let expiring =
        Message { properties: Some(Arc::new(properties)), received_ms: 1_000, ..message("a/1", "soon") };
    commit(&store, vec![StoreOp::Retain(expiring), StoreOp::Retain(message("a/2", "never"))]);
    assert_eq!(retained(&store, "a/+", 10).len(), 2);
    assert_eq!(retained(&store, "a/1", 10), [("a/1".to_owned(), "soon".to_owned())]);
    world.clock.set(10_999);
    assert_eq!(retained(&store, "a/+", 1).len(), 2);
    world.clock.set(11_000);
    assert_eq!(retained(&store, "a/+", 1), [("a/2".to_owned(), "never".to_owned())]);
    assert_eq!(retained(&store, "a/1", 1), []);
}

#[test]
fn a_store_that_cannot_write_says_so() {
    let world = World::new();
    let (store, direct) = world.open();
    world.disk.plan(Fault { operation: Operation::Sync, after: 0, effect: Effect::Broken });
    let (tell, told) = std::sync::mpsc::channel();
    for _ in 0..3 {
        let tell = tell.clone();
        let ops = vec![put(&key("bob", "phone"), record(&[], 0))];
        store.commit(ops, Some(Box::new(move |result| tell.send(result).unwrap())));
    }
    for _ in 0..3 {
        assert!(told.recv().unwrap().is_err());
    }
    assert_eq!(store.session(&key("bob", "phone")).unwrap(), None);
    assert!(direct.storage.poisoned().is_some());
}

/// A step of the comparison below.
#[derive(Debug, Clone)]
enum Step {
    Begin(usize),
    Disconnect(usize),
    Enqueue(usize, u8),
    /// Acknowledges this many messages of the queue.
    Acknowledge(usize, usize),
    PutCursors(usize, u64),
    Remove(usize),
    Retain(usize, u8),
    Unretain(usize),
    Restart,
}

fn any_step() -> impl Strategy<Value = Step> {
    let session = 0usize..3;
    prop_oneof![
        2 => session.clone().prop_map(Step::Begin),
        1 => session.clone().prop_map(Step::Disconnect),
        4 => (session.clone(), any::<u8>()).prop_map(|(s, n)| Step::Enqueue(s, n)),
        3 => (session.clone(), 1usize..4).prop_map(|(s, n)| Step::Acknowledge(s, n)),
        1 => (session.clone(), 0u64..9).prop_map(|(s, n)| Step::PutCursors(s, n)),
        1 => session.prop_map(Step::Remove),
        2 => (0usize..4, any::<u8>()).prop_map(|(t, n)| Step::Retain(t, n)),
        1 => (0usize..4).prop_map(Step::Unretain),
        1 => Just(Step::Restart),
    ]
}

/// Does a step that both stores know, and answers what is seen of all sessions and retained messages afterwards. Positions
/// of queues are the store's own, so they are left out.
fn step<S: Store>(store: &S, step: &Step) -> Vec<String> {
    const TOPICS: [&str; 4] = ["a", "a/b", "a/c", "é"];
    let sessions = [key("", "x"), key("bob", "x"), key("bob", "y")];
    let exists = |session| store.session(session).unwrap().is_some();
    match step {
        Step::Begin(s) if !exists(&sessions[*s]) => drop(begin(store, &sessions[*s])),
        Step::Disconnect(s) if exists(&sessions[*s]) => {
            commit(store, vec![put(&sessions[*s], record(&[("t", true)], 9))]);
        }
        Step::Enqueue(s, n) if exists(&sessions[*s]) => {
            let at = store.queue_end(&sessions[*s]).unwrap() + 1;
            commit(store, vec![StoreOp::Enqueue(sessions[*s].clone(), at, message("t", &n.to_string()))]);
        }
        Step::Acknowledge(s, count) if exists(&sessions[*s]) => {
            if let Some((to, _)) = queue(store, &sessions[*s], 0).into_iter().take(*count).next_back() {
                store.cursors_moved(&sessions[*s], vec![moved(SourceId::QUEUE, to)], *count as u16);
                commit(store, vec![]);
            }
        }
        Step::PutCursors(s, at) if exists(&sessions[*s]) => {
            let mut new = store.session(&sessions[*s]).unwrap().unwrap().cursors;
            new.set(vec![(SourceId::new("in"), *at)]);
            commit(store, vec![StoreOp::PutCursors(sessions[*s].clone(), new)]);
        }
        Step::Remove(s) => commit(store, vec![StoreOp::RemoveSession(sessions[*s].clone())]),
        Step::Retain(t, n) => commit(store, vec![StoreOp::Retain(message(TOPICS[*t], &n.to_string()))]),
        Step::Unretain(t) => {
            commit(store, vec![StoreOp::Unretain(ByteStr::try_from(TOPICS[*t]).unwrap())]);
        }
        _ => {}
    }
    let mut seen = vec![format!("{:?}", retained(store, "#", 2))];
    for session in &sessions {
        let stored = store.session(session).unwrap();
        let payloads: Vec<_> = queue(store, session, 0).into_iter().map(|(_, payload)| payload).collect();
        let cursors = stored.as_ref().map(|stored| {
            let others = stored.cursors.positions.iter().filter(|(source, _)| &*source.0 != SourceId::QUEUE);
            (others.cloned().collect::<Vec<_>>(), stored.cursors.last_packet_id)
        });
        seen.push(format!("{:?} {cursors:?} {payloads:?}", stored.map(|stored| stored.record)));
    }
    seen
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn it_agrees_with_the_twin(steps in prop::collection::vec(any_step(), 1..60)) {
        let world = World::new();
        let twin = RamStore::default();
        let (mut store, mut direct) = world.open();
        for doing in steps {
            if matches!(doing, Step::Restart) {
                close(store, direct);
                (store, direct) = world.open();
            }
            prop_assert_eq!(step(&store, &doing), step(&twin, &doing), "{:?}", doing);
        }
    }
}
