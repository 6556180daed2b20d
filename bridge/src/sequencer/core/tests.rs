//! The sequencer without threads, over the store without threads: order, retries, eviction, coalescing,
//! failures.

use super::*;
use crate::machine::command::Read;
use crate::machine::stored::StoredMessage;
use crate::machine::{Mark, Receipt};
use crate::sequencer::testing::{
    Collect, NOW_MS, accepted, attach, caller, create, delivered, device, direct, heads, request, text, user,
};
use crate::sequencer::{Source, names, read};
use bytes::Bytes;
use chasqui_proto::{ChatName, Seq};
use chasqui_storage::clock::ManualClock;
use chasqui_storage::disk::RamDisk;
use chasqui_storage::kv::ram::RamKv;
use chasqui_storage::{Core as Store, Reader, RecordKey};
use parking_lot::Mutex;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use std::collections::BTreeMap;

const ROOMY: usize = 1 << 20;

/// A sequencer and its store, with every arrow between them drawn by hand.
struct Rig {
    core: Core,
    store: Store,
    sink: Collect,
    disk: RamDisk,
    kv: RamKv,
    /// Steps whose batches are not committed yet, oldest first.
    steps: VecDeque<Step>,
    /// Records that are to be read.
    wanted: Vec<Key>,
}

fn open(disk: &RamDisk, kv: &RamKv) -> Store {
    let options = chasqui_storage::Options { overlay_bytes: 16 << 10, ..Default::default() };
    Store::open(Arc::new(disk.clone()), Arc::new(kv.clone()), Arc::new(ManualClock::new(NOW_MS)), options)
        .unwrap()
}

impl Rig {
    fn new(working_set_bytes: usize) -> Rig {
        let (disk, kv) = (RamDisk::new(), RamKv::new());
        let store = open(&disk, &kv);
        let core = Core::new(false, working_set_bytes);
        Rig { core, store, sink: Collect::default(), disk, kv, steps: VecDeque::new(), wanted: Vec::new() }
    }

    /// alice and bob exist, with a phone each, and their records are at hand.
    fn with_alice_and_bob() -> Rig {
        let mut rig = Rig::new(ROOMY);
        for name in ["alice", "bob"] {
            rig.ask(1, create(name));
            rig.ask(1, attach(name));
        }
        rig.ask(1, text("alice", "bob", 1));
        rig.settle();
        rig.sink.take();
        rig.sink.take_tails();
        rig
    }

    fn ask(&mut self, origin: u64, command: impl Into<Command>) {
        self.core.request(request(origin, 1, command), NOW_MS);
    }

    fn step(&mut self) -> &Step {
        let mut step = self.core.step();
        self.wanted.append(&mut step.fetches);
        self.steps.push_back(step);
        self.steps.back().unwrap()
    }

    /// Commits the oldest step that is not.
    fn commit(&mut self) {
        let Some(Step { number, batch, release, .. }) = self.steps.pop_front() else { return };
        match self.store.commit(vec![batch]) {
            Ok(_) => {
                release.committed(&self.sink);
                self.core.durable(number);
            }
            Err(error) => {
                let why = Poisoned { why: error.to_string().into() };
                release.poisoned(&self.sink, &why);
                self.core.poison().poisoned(&self.sink, &why);
            }
        }
    }

    fn fetch(&mut self, at: usize) {
        let key = self.wanted.swap_remove(at);
        let found = read(&self.store.reader(), &key);
        self.core.fetched(&key, found, NOW_MS);
    }

    /// Does everything there is to do.
    fn settle(&mut self) {
        loop {
            self.step();
            while !self.steps.is_empty() {
                self.commit();
            }
            if self.wanted.is_empty() {
                return;
            }
            while !self.wanted.is_empty() {
                self.fetch(0);
            }
        }
    }

    fn reader(&self) -> Reader {
        self.store.reader()
    }
}

#[test]
fn a_retry_meets_its_first_attempt_before_that_is_durable() {
    let mut rig = Rig::with_alice_and_bob();
    rig.ask(1, text("alice", "bob", 7));
    rig.step();
    rig.ask(2, text("alice", "bob", 7));
    assert!(rig.step().batch.is_empty(), "a retry changes nothing");
    assert_eq!(rig.sink.answers(), [], "nothing is durable yet");
    rig.commit();
    rig.commit();
    let answers = rig.sink.take();
    assert_eq!(answers.iter().map(|(origin, _)| *origin).collect::<Vec<_>>(), [1, 2]);
    assert_eq!((accepted(&answers[0].1), accepted(&answers[1].1)), (2, 2));
    assert_eq!(rig.reader().last_seq(&names::conversation(&direct("alice", "bob"))).unwrap(), Some(2));
}

#[test]
fn a_retry_is_recognised_after_a_power_cut() {
    let mut rig = Rig::with_alice_and_bob();
    for id in 2..=300 {
        rig.ask(1, text("alice", "bob", id));
    }
    rig.settle();
    rig.disk.power_cut(5);
    rig.kv.power_cut(5);
    rig.store = open(&rig.disk, &rig.kv);
    rig.core = Core::new(false, ROOMY);
    rig.sink.take();
    for (id, expected) in [(300, 300), (45, 45), (44, 301), (301, 302)] {
        rig.ask(1, text("alice", "bob", id));
        rig.settle();
        let answers = rig.sink.take();
        assert_eq!(accepted(&answers[0].1), expected, "id {id}: the last 256 are remembered");
    }
}

#[test]
fn who_waits_for_a_record_holds_up_nobody_else() {
    let mut rig = Rig::with_alice_and_bob();
    rig.ask(1, text("alice", "carol", 2));
    rig.ask(1, text("alice", "bob", 3));
    rig.ask(1, heads("alice"));
    rig.ask(2, heads("bob"));
    assert_eq!(rig.core.parked().0, 3);
    rig.step();
    rig.commit();
    let inbox_head = 1;
    assert_eq!(rig.sink.take(), [(2, Outcome::Heads { inbox_head, state_head: 0 })]);
    // carol and the conversation with her, in the other order.
    assert_eq!(rig.wanted, [Key::User(user("carol")), Key::Conversation(direct("alice", "carol"))]);
    rig.fetch(1);
    assert_eq!(rig.core.parked().0, 3);
    rig.fetch(0);
    assert_eq!(rig.core.parked(), (0, 0));
    rig.step();
    rig.commit();
    let answers = rig.sink.take();
    assert!(
        matches!(&answers[0].1, Outcome::Refused { refusal, .. } if refusal.code == ErrorCode::NoSuchUser)
    );
    assert_eq!(accepted(&answers[1].1), 2);
    assert_eq!(answers[2], (1, Outcome::Heads { inbox_head: 0, state_head: 0 }));
    assert_eq!(answers.len(), 3);
}

#[test]
fn a_record_is_fetched_once_however_many_wait_for_it() {
    let mut rig = Rig::with_alice_and_bob();
    for origin in 1..=5 {
        rig.ask(origin, heads("carol"));
        rig.ask(0, heads("carol"));
    }
    rig.step();
    assert_eq!(rig.wanted, [Key::User(user("carol"))]);
    rig.settle();
    let origins: Vec<u64> = rig.sink.take().iter().map(|(origin, _)| *origin).collect();
    assert_eq!(origins, [1, 0, 2, 0, 3, 0, 4, 0, 5, 0]);
}

#[test]
fn operations_without_a_decision_keep_the_order_of_their_origin() {
    let mut rig = Rig::with_alice_and_bob();
    let key = RecordKey::session(b"alice", b"phone");
    let told = Arc::new(Mutex::new(Vec::new()));
    let ops = |origin, value: &'static [u8]| {
        let told = Arc::clone(&told);
        let mut fill = Batch::new();
        fill.put(&key, value);
        let done: Done = Box::new(move |result| told.lock().push((value, result.is_ok())));
        Ops { origin, fill, done: Some(done) }
    };
    let mut extra = Batch::new();
    extra.put(&key, b"first");
    rig.core.request(Request { extra: Some(extra), ..request(1, 1, heads("carol")) }, NOW_MS);
    rig.core.ops(ops(1, b"second"), NOW_MS);
    rig.core.ops(ops(0, b"out of order"), NOW_MS);
    rig.step();
    rig.commit();
    assert_eq!(told.lock()[..], [(&b"out of order"[..], true)]);
    rig.settle();
    assert_eq!(told.lock()[1..], [(&b"second"[..], true)]);
    assert_eq!(rig.reader().get(&key).unwrap(), Some(Bytes::from_static(b"second")));
}

#[test]
fn a_record_that_cannot_be_read_fails_who_needs_it_and_no_other_connection() {
    let mut rig = Rig::with_alice_and_bob();
    let key = RecordKey::session(b"alice", b"phone");
    let mut extra = Batch::new();
    extra.put(&key, b"effect");
    rig.core.request(Request { extra: Some(extra), ..request(1, 1, heads("carol")) }, NOW_MS);
    rig.ask(2, heads("alice"));
    rig.step();
    rig.kv.fail_reads(true);
    rig.fetch(0);
    rig.kv.fail_reads(false);
    rig.settle();
    let answers = rig.sink.take();
    assert_eq!(answers[0], (2, Outcome::Heads { inbox_head: 0, state_head: 0 }));
    assert!(matches!(&answers[1], (1, Outcome::Failed(why)) if !why.is_empty()), "{answers:?}");
    assert_eq!(rig.reader().get(&key).unwrap(), None, "what failed has no effect");
    rig.ask(3, heads("carol"));
    rig.settle();
    assert_eq!(rig.sink.take(), [(3, Outcome::Heads { inbox_head: 0, state_head: 0 })], "it is read again");
}

#[test]
fn what_a_connection_sent_behind_a_command_that_failed_is_not_decided() {
    let mut rig = Rig::with_alice_and_bob();
    // The first needs carol's record; the second, and what is still on its way, would need nothing that is not at hand.
    rig.ask(7, heads("carol"));
    rig.ask(7, text("alice", "bob", 2));
    rig.step();
    rig.kv.fail_reads(true);
    rig.fetch(0);
    rig.kv.fail_reads(false);
    rig.settle();
    rig.ask(7, text("alice", "bob", 3));
    rig.settle();
    let answers = rig.sink.take();
    assert!(answers.iter().all(|(_, outcome)| matches!(outcome, Outcome::Failed(_))), "{answers:?}");
    assert_eq!(answers.len(), 3);
    // On its next connection all of it is repeated, in order.
    rig.ask(8, text("alice", "bob", 2));
    rig.ask(8, text("alice", "bob", 3));
    rig.settle();
    let numbers: Vec<u64> = rig.sink.take().iter().map(|(_, outcome)| accepted(outcome)).collect();
    assert_eq!(numbers, [2, 3]);
}

#[test]
fn a_session_goes_on_behind_what_could_not_be_decided() {
    let mut rig = Rig::with_alice_and_bob();
    let session = super::super::CONNECTIONS_END | 5;
    rig.ask(session, heads("carol"));
    rig.step();
    rig.kv.fail_reads(true);
    rig.fetch(0);
    rig.kv.fail_reads(false);
    rig.ask(session, heads("alice"));
    rig.settle();
    let answers = rig.sink.take();
    assert!(matches!(answers[..], [(_, Outcome::Failed(_)), (_, Outcome::Heads { .. })]), "{answers:?}");
}

#[test]
fn a_batch_writes_each_record_once_and_is_flushed_once() {
    let mut rig = Rig::with_alice_and_bob();
    for _ in 0..100 {
        rig.ask(1, text("alice", "bob", 0));
    }
    let before = rig.disk.counts();
    // A hundred entries in two logs, bob's record and the conversation's.
    assert_eq!(rig.step().batch.len(), 2 * 100 + 2);
    rig.commit();
    assert_eq!(rig.disk.counts().syncs - before.syncs, 1);
    let tails = rig.sink.take_tails();
    assert_eq!(tails.len(), 1);
    assert_eq!(tails[0].source, Source::Inbox(user("bob")));
    let positions: Vec<u64> = tails[0].items.iter().map(|item| item.position).collect();
    assert_eq!(positions, (2..=101).collect::<Vec<_>>());

    rig.ask(2, delivered("bob", 1, "alice", 1));
    rig.settle();
    rig.sink.take_tails();
    for position in 2..=101 {
        rig.ask(2, delivered("bob", position, "alice", position));
    }
    // bob's record and alice's, one trim, and the receipt.
    assert_eq!(rig.step().batch.len(), 4);
    rig.commit();
    let tails = rig.sink.take_tails();
    assert_eq!((tails.len(), tails[0].items.len()), (1, 1));
    assert_eq!(tails[0].source, Source::Receipts(user("alice")));
    let item = &tails[0].items[0];
    assert_eq!(item.chat, Some(ChatName::User(user("bob"))));
    let delivered = Mark { up_to: Seq(101), at_ms: NOW_MS };
    let expected = Receipt { position: 101, delivered, ..Receipt::default() };
    assert_eq!(Receipt::decode(item.position, &item.stored), Ok(expected));
    let inbox = rig.reader().read_log(&names::inbox(&user("bob")), 1, 10, 1 << 20).unwrap();
    assert_eq!(inbox, [], "everything in bob's inbox is trimmed");
}

#[test]
fn a_receipt_is_found_once_at_its_last_position() {
    let mut rig = Rig::with_alice_and_bob();
    let states = |rig: &Rig| {
        let states =
            rig.reader().read_states(&names::receipts(&user("alice")), Some(0), 10, 1 << 20).unwrap();
        states.iter().map(|state| state.position).collect::<Vec<_>>()
    };
    rig.ask(2, delivered("bob", 1, "alice", 1));
    rig.settle();
    assert_eq!(states(&rig), [1]);
    let read =
        Read { caller: caller("bob"), chat: ChatName::User(user("alice")), up_to: Seq(1), played: false };
    rig.ask(2, read);
    rig.settle();
    assert_eq!(states(&rig), [2], "the place at which it was before is gone");
}

#[test]
fn after_a_failure_nothing_is_answered() {
    use chasqui_storage::disk::ram::{Effect, Fault, Operation};
    let mut rig = Rig::with_alice_and_bob();
    let told = Arc::new(Mutex::new(Vec::new()));
    let theirs = Arc::clone(&told);
    rig.disk.plan(Fault { operation: Operation::Sync, after: 0, effect: Effect::Broken });
    rig.core.request(request(1, 11, text("alice", "bob", 0)), NOW_MS);
    rig.core.request(request(2, 12, heads("carol")), NOW_MS);
    let done: Done = Box::new(move |result| theirs.lock().push(result.is_ok()));
    rig.core.ops(Ops { origin: 2, fill: Batch::new(), done: Some(done) }, NOW_MS);
    rig.step();
    rig.core.request(request(1, 13, heads("alice")), NOW_MS);
    rig.step();
    rig.commit();
    assert_eq!(rig.sink.unanswered(), [(1, 11), (2, 12)], "what was committed, and what was parked");
    rig.commit();
    assert_eq!(rig.sink.unanswered(), [(1, 11), (2, 12), (1, 13)]);
    assert_eq!(rig.sink.answers(), []);
    assert_eq!(*told.lock(), [false]);
}

#[test]
fn users_cannot_be_listed() {
    let mut rig = Rig::with_alice_and_bob();
    let code = |outcome: &Outcome| match outcome {
        Outcome::Refused { refusal, .. } => (refusal.code, refusal.retry_after_ms),
        other => panic!("not refused: {other:?}"),
    };
    rig.ask(1, create("carol"));
    for n in 0..10 {
        rig.ask(1, text("alice", &format!("guess-{n}"), 0));
    }
    rig.settle();
    assert!(rig.sink.take()[1..].iter().all(|(_, outcome)| code(outcome) == (ErrorCode::NoSuchUser, 0)));
    for to in ["carol", "nobody"] {
        rig.ask(1, text("alice", to, 0));
        rig.settle();
        assert_eq!(code(&rig.sink.take()[0].1), (ErrorCode::RateLimited, 10_000), "{to}");
    }
    rig.ask(1, text("alice", "bob", 0));
    rig.ask(1, text("bob", "carol", 0));
    rig.settle();
    let answers = rig.sink.take();
    assert_eq!(
        (accepted(&answers[0].1), accepted(&answers[1].1)),
        (2, 1),
        "who is known, and who has not guessed"
    );
}

/// What one connection asked for and has not been answered.
#[derive(Default)]
struct Connection {
    next_token: u64,
    next_answer: u64,
}

const NAMES: [&str; 4] = ["alice", "bob", "carol", "dave"];

/// Sends, acknowledges and reads at random; commits, fetches and evicts at random in between.
fn random_history(seed: u64) {
    let mut dice = SmallRng::seed_from_u64(seed);
    // Room for a few records only: nearly everything is evicted as soon as it may be.
    let mut rig = Rig::new(600);
    for name in NAMES {
        rig.ask(1, create(name));
        rig.ask(1, attach(name));
    }
    rig.settle();
    rig.sink.take();

    let mut connections: BTreeMap<u64, Connection> = BTreeMap::new();
    let mut sent: BTreeMap<(u64, u64), (&str, &str, u64)> = BTreeMap::new();
    for _ in 0..400 {
        match dice.random_range(0..10) {
            0..5 => {
                let at = dice.random_range(0..NAMES.len());
                let (from, to) = (NAMES[at], *NAMES.choose(&mut dice).unwrap());
                let origin = at as u64 + 1;
                let connection = connections.entry(origin).or_default();
                connection.next_token += 1;
                let token = connection.next_token;
                let command: Command = match dice.random_range(0..10) {
                    0..7 => {
                        let id = dice.random_range(1..20);
                        sent.insert((origin, token), (from, to, id));
                        text(from, to, id).into()
                    }
                    7..9 => delivered(from, dice.random_range(1..30), to, dice.random_range(1..4)).into(),
                    _ => heads(from).into(),
                };
                rig.core.request(request(origin, token, command), NOW_MS);
            }
            5..7 => drop(rig.step()),
            7..9 => rig.commit(),
            _ if rig.wanted.is_empty() => {}
            _ => {
                let at = dice.random_range(0..rig.wanted.len());
                rig.fetch(at);
            }
        }
    }
    rig.settle();
    assert_eq!(rig.core.parked(), (0, 0));

    let mut first: BTreeMap<(&str, &str, u64), u64> = BTreeMap::new();
    for answer in rig.sink.answers() {
        let connection = connections.get_mut(&answer.origin).unwrap();
        connection.next_answer += 1;
        assert_eq!(answer.token, connection.next_answer, "each is answered once and in order");
        if let Some(message) = sent.get(&(answer.origin, answer.token)) {
            let seq = accepted(&answer.outcome);
            assert_eq!(*first.entry(*message).or_insert(seq), seq, "a retry gets the first answer");
        }
    }
    assert!(connections.values().all(|connection| connection.next_token == connection.next_answer));
    check_store(&rig, &first);
}

fn check_store(rig: &Rig, first: &BTreeMap<(&str, &str, u64), u64>) {
    let reader = rig.reader();
    let mut seen = 0;
    for (at, one) in NAMES.iter().enumerate() {
        for other in &NAMES[at..] {
            let conversation = direct(one, other);
            let log =
                reader.read_log(&names::conversation(&conversation), 0, usize::MAX, usize::MAX).unwrap();
            let Record::Conversation(record) = read(&reader, &Key::Conversation(conversation)).unwrap()
            else {
                panic!("another kind of record")
            };
            assert!(
                log.iter().map(|(seq, _)| *seq).eq(1..=record.head.0),
                "numbers without a gap up to the head"
            );
            for (seq, stored) in log {
                let message = StoredMessage::decode(&stored).unwrap();
                let from = message.sender;
                let to = if from == *one { other } else { one };
                let id =
                    u64::from_be_bytes(*message.client_msg_id.unwrap().as_bytes().first_chunk().unwrap());
                assert_eq!(first.get(&(from.as_str(), *to, id)), Some(&seq), "each message is there once");
                seen += 1;
            }
        }
    }
    assert_eq!(seen, first.len(), "everything accepted is there");
    for name in NAMES {
        let Record::User(record) = read(&reader, &Key::User(user(name))).unwrap() else {
            panic!("another kind of record")
        };
        let inbox = reader.read_log(&names::inbox(&user(name)), 0, usize::MAX, usize::MAX).unwrap();
        let positions = inbox.iter().map(|(position, _)| *position);
        assert!(
            positions.eq(record.trimmed + 1..=record.inbox_head),
            "entries without a gap, from the trim to the head"
        );
        assert_eq!(record.device(&device("phone")).map(|phone| phone.acked), Some(record.floor));
        let states = reader.read_states(&names::receipts(&user(name)), None, usize::MAX, usize::MAX).unwrap();
        assert!(states.iter().all(|state| state.position <= record.state_head));
        assert!(states.is_sorted_by(|a, b| a.position < b.position));
    }
}

#[test]
fn random_histories_with_next_to_no_memory() {
    for seed in 0..300 {
        random_history(seed);
    }
}
