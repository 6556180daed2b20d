//! What every store of the broker must do, whatever it keeps things in: the same stories for ours and for the broker's twin in memory.

use super::message::tests::any_message;
use bytes::Bytes;
use chasqui_broker::codec::{ByteStr, QoS};
use chasqui_broker::message::{Identifiers, Message};
use chasqui_broker::retained::Resume;
use chasqui_broker::source::{ReadLimit, SourceId};
use chasqui_broker::store::{
    CursorMove, Cursors, Due, DueKind, Flight, FlightStage, Received, RetainedTotals, SessionKey,
    SessionRecord, Store, StoreOp, StoredSubscription,
};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use std::sync::{Arc, mpsc};

const ALL: ReadLimit = ReadLimit { items: usize::MAX, bytes: usize::MAX };

/// What a store must do, and what shows it.
type Story<S> = (&'static str, fn(&S));

/// Runs every story on a store of its own.
pub(crate) fn every_story<S: Store>(fresh: impl Fn() -> S) {
    let stories: [Story<S>; 14] = [
        ("a session is what was put", a_session_is_what_was_put),
        ("cursors move one by one", cursors_move_one_by_one),
        ("what was received is remembered until it is released", what_was_received_is_remembered),
        ("flights are stored with the cursors and stay when they move", flights_stay_with_the_cursors),
        ("sessions are told apart", sessions_are_told_apart),
        ("a queue is read in pages", a_queue_is_read_in_pages),
        ("what was acknowledged leaves the queue", what_was_acknowledged_leaves_the_queue),
        ("what another session gets leaves the queue", what_another_session_gets_leaves_the_queue),
        ("a removed session leaves nothing behind", a_removed_session_leaves_nothing_behind),
        ("retained messages are found by filter", retained_messages_are_found_by_filter),
        ("retained messages are counted and expire", retained_messages_are_counted_and_expire),
        ("sessions with plain filters are listed", sessions_with_plain_filters_are_listed),
        ("what is due comes in order", what_is_due_comes_in_order),
        ("commits are done in order", commits_are_done_in_order),
    ];
    for (name, story) in stories {
        // Shown only if the story fails.
        println!("{name}");
        story(&fresh());
    }
}

/// Commits, and waits until it is done.
pub(crate) fn commit<S: Store>(store: &S, ops: Vec<StoreOp>) {
    let (tell, told) = mpsc::channel();
    store.commit(ops, Some(Box::new(move |result| tell.send(result).expect("the test waits"))));
    told.recv().expect("every commit is answered").expect("nothing fails here");
}

pub(crate) fn key(owner: &str, client_id: &str) -> SessionKey {
    SessionKey { owner: Arc::from(owner), client_id: Arc::from(client_id) }
}

pub(crate) fn record(filters: &[(&str, bool)], disconnected_ms: u64) -> SessionRecord {
    let subscriptions = filters.iter().map(|(filter, plain)| StoredSubscription {
        filter: Arc::from(*filter),
        qos: QoS::AtLeastOnce,
        no_local: false,
        retain_as_published: false,
        identifier: None,
        plain: *plain,
    });
    SessionRecord {
        subscriptions: subscriptions.collect(),
        disconnected_ms,
        expiry_s: 60,
        ..SessionRecord::default()
    }
}

pub(crate) fn put(key: &SessionKey, record: SessionRecord) -> StoreOp {
    StoreOp::PutSession(key.clone(), Box::new(record))
}

pub(crate) fn cursors(positions: &[(&str, u64)], last_packet_id: u16) -> Cursors {
    Cursors {
        positions: positions.iter().map(|(name, at)| (SourceId::new(name), *at)).collect(),
        last_packet_id,
        flights: Vec::new(),
    }
}

pub(crate) fn moved(source: &str, to: u64) -> CursorMove {
    CursorMove { source: SourceId::new(source), to, acknowledged: Vec::new(), by_client: true }
}

pub(crate) fn message(topic: &str, payload: &str) -> Message {
    Message {
        topic: ByteStr::try_from(topic).expect("a topic"),
        payload: Bytes::copy_from_slice(payload.as_bytes()),
        qos: QoS::AtLeastOnce,
        retain: false,
        properties: None,
        received_ms: 1_000,
        identifiers: Identifiers::new(),
        share: None,
    }
}

/// The positions and payloads of a queue behind a position.
pub(crate) fn queue<S: Store>(store: &S, key: &SessionKey, after: u64) -> Vec<(u64, String)> {
    let read = store.read_queue(key, after, ALL).unwrap();
    assert!(read.end);
    let text = |message: &Message| String::from_utf8(message.payload.to_vec()).unwrap();
    read.items.iter().map(|item| (item.position, text(item.message.as_ref().unwrap()))).collect()
}

/// All retained payloads that match, read in pages of this many.
pub(crate) fn retained<S: Store>(store: &S, filter: &str, page: usize) -> Vec<(String, String)> {
    let (mut found, mut from) = (Vec::new(), None::<Resume>);
    loop {
        let read = store.retained(filter, from.as_ref(), page).unwrap();
        assert!(read.messages.len() <= page);
        let text = |message: Message| {
            (message.topic.as_str().to_owned(), String::from_utf8(message.payload.to_vec()).unwrap())
        };
        found.extend(read.messages.into_iter().map(text));
        from = read.resume;
        if from.is_none() {
            return found;
        }
    }
}

/// Makes a persistent session with a queue; answers where its queue begins.
pub(crate) fn begin<S: Store>(store: &S, key: &SessionKey) -> u64 {
    let start = store.queue_end(key).unwrap();
    commit(
        store,
        vec![
            put(key, record(&[("t/#", true)], 0)),
            StoreOp::PutCursors(key.clone(), cursors(&[(SourceId::QUEUE, start)], 0)),
        ],
    );
    start
}

fn a_session_is_what_was_put<S: Store>(store: &S) {
    let bob = key("bob", "phone");
    assert_eq!(store.session(&bob).unwrap(), None);
    let first = record(&[("t/#", true)], 0);
    let at = cursors(&[("in/bob", 4), ("receipts/bob", 9)], 70);
    commit(store, vec![put(&bob, first.clone()), StoreOp::PutCursors(bob.clone(), at.clone())]);
    let stored = store.session(&bob).unwrap().unwrap();
    assert_eq!((&stored.record, &stored.cursors), (&first, &at));

    // Each is written without the other.
    let second = record(&[("t/#", true), ("u/bob/#", false)], 5_000);
    commit(store, vec![put(&bob, second.clone())]);
    let stored = store.session(&bob).unwrap().unwrap();
    assert_eq!((&stored.record, &stored.cursors), (&second, &at));
    let later = cursors(&[("in/bob", 6), ("receipts/bob", 9)], 71);
    commit(store, vec![StoreOp::PutCursors(bob.clone(), later.clone())]);
    let stored = store.session(&bob).unwrap().unwrap();
    assert_eq!((&stored.record, &stored.cursors), (&second, &later));
}

fn cursors_move_one_by_one<S: Store>(store: &S) {
    let bob = key("bob", "phone");
    let at = cursors(&[("in/bob", 4), ("receipts/bob", 9)], 70);
    commit(store, vec![put(&bob, record(&[], 0)), StoreOp::PutCursors(bob.clone(), at)]);
    store.cursors_moved(&bob, vec![moved("receipts/bob", 12)], 75);
    store.cursors_moved(&bob, vec![moved("in/bob", 5), moved("g/x/in", 1)], 76);
    commit(store, vec![]);
    let stored = store.session(&bob).unwrap().unwrap();
    assert_eq!(stored.cursors, cursors(&[("in/bob", 5), ("receipts/bob", 12), ("g/x/in", 1)], 76));
    // A session that is not there has no cursors to move.
    store.cursors_moved(&key("bob", "tablet"), vec![moved("in/bob", 5)], 1);
    commit(store, vec![]);
    assert_eq!(store.session(&key("bob", "tablet")).unwrap(), None);
}

fn what_was_received_is_remembered<S: Store>(store: &S) {
    let (bob, bobby) = (key("bob", "phone"), key("bob", "phone2"));
    let born = |born| SessionRecord { born, ..record(&[], 0) };
    let receive = |session: &SessionKey, packet_id, born| {
        StoreOp::Receive(Received { session: session.clone(), packet_id, born })
    };
    let received = |session: &SessionKey| {
        let mut received = store.session(session).unwrap().unwrap().received;
        received.sort_unstable();
        received
    };
    commit(store, vec![put(&bob, born(7)), put(&bobby, born(8))]);
    commit(store, vec![receive(&bob, 1, 7), receive(&bob, 65_535, 7), receive(&bob, 256, 7)]);
    commit(store, vec![receive(&bobby, 2, 8)]);
    assert_eq!((received(&bob), received(&bobby)), (vec![1, 256, 65_535], vec![2]));
    commit(store, vec![StoreOp::Release(bob.clone(), vec![256, 9])]);
    assert_eq!(received(&bob), [1, 65_535]);
    // One that comes late, for a session that was there before, is not this one's.
    commit(store, vec![StoreOp::RemoveSession(bob.clone()), put(&bob, born(9))]);
    commit(store, vec![receive(&bob, 3, 7), receive(&bob, 4, 9)]);
    assert_eq!(received(&bob), [4]);
}

fn flights_stay_with_the_cursors<S: Store>(store: &S) {
    let bob = key("bob", "phone");
    let flight =
        Flight { packet_id: 5, source: SourceId::new("in/bob"), position: 6, stage: FlightStage::Released };
    let at = Cursors { flights: vec![flight], ..cursors(&[("in/bob", 4)], 70) };
    commit(store, vec![put(&bob, record(&[], 0)), StoreOp::PutCursors(bob.clone(), at.clone())]);
    store.cursors_moved(&bob, vec![moved("in/bob", 5)], 71);
    commit(store, vec![]);
    let expected = Cursors { flights: at.flights, ..cursors(&[("in/bob", 5)], 71) };
    assert_eq!(store.session(&bob).unwrap().unwrap().cursors, expected);
}

fn sessions_are_told_apart<S: Store>(store: &S) {
    let names =
        [("", "b"), ("b", ""), ("a", "b/c"), ("a/b", "c"), ("a", "b"), ("ab", ""), ("a", "é\u{1}\u{10ffff}")];
    for (n, (owner, client_id)) in names.iter().enumerate() {
        let key = key(owner, client_id);
        let start = begin(store, &key);
        commit(
            store,
            vec![
                put(&key, record(&[("t", true)], n as u64)),
                StoreOp::Enqueue(key, start + 1, message("t", &n.to_string())),
            ],
        );
    }
    for (n, (owner, client_id)) in names.iter().enumerate() {
        let key = key(owner, client_id);
        let stored = store.session(&key).unwrap().unwrap();
        assert_eq!(stored.record.disconnected_ms, n as u64);
        let payloads: Vec<_> = queue(store, &key, 0).into_iter().map(|(_, payload)| payload).collect();
        assert_eq!(payloads, [n.to_string()]);
    }
}

fn a_queue_is_read_in_pages<S: Store>(store: &S) {
    let bob = key("bob", "phone");
    assert!(queue(store, &bob, 0).is_empty());
    let start = begin(store, &bob);
    let mut runner = TestRunner::deterministic();
    let messages: Vec<Message> =
        (0..10).map(|_| any_message().new_tree(&mut runner).expect("a message").current()).collect();
    let positions = start + 1..;
    let ops = positions
        .clone()
        .zip(&messages)
        .map(|(at, message)| StoreOp::Enqueue(bob.clone(), at, message.clone()));
    commit(store, ops.collect());
    assert_eq!(store.queue_end(&bob).unwrap(), start + 10);

    // Whole, as it was put in.
    let read = store.read_queue(&bob, start, ALL).unwrap();
    let whole: Vec<_> =
        read.items.iter().map(|item| (item.position, item.message.clone().unwrap())).collect();
    assert_eq!(whole, positions.zip(messages).collect::<Vec<_>>());
    assert!(read.items.iter().all(|item| item.topic == item.message.as_ref().unwrap().topic));
    assert_eq!((read.next, read.end), (start + 10, true));

    for limit in [
        ReadLimit { items: 3, bytes: usize::MAX },
        ReadLimit { items: usize::MAX, bytes: 1 },
        ReadLimit { items: 4, bytes: 200 },
    ] {
        let (mut after, mut found) = (start, 0);
        loop {
            let read = store.read_queue(&bob, after, limit).unwrap();
            assert!(!read.items.is_empty() && read.items.len() <= limit.items, "at least one");
            assert!(read.items.iter().all(|item| item.position > after));
            found += read.items.len();
            assert_eq!(read.next, read.items.last().unwrap().position);
            after = read.next;
            if read.end {
                break;
            }
        }
        assert_eq!(found, 10, "{limit:?}");
    }
    let behind = store.read_queue(&bob, start + 10, ALL).unwrap();
    assert_eq!((behind.items.len(), behind.next, behind.end), (0, start + 10, true));
}

fn what_was_acknowledged_leaves_the_queue<S: Store>(store: &S) {
    let bob = key("bob", "phone");
    let start = begin(store, &bob);
    let enqueue = |n: u64| StoreOp::Enqueue(bob.clone(), start + n, message("t", &n.to_string()));
    commit(store, (1..=5).map(enqueue).collect());
    store.cursors_moved(&bob, vec![moved(SourceId::QUEUE, start + 2)], 2);
    commit(store, vec![]);
    assert_eq!(
        queue(store, &bob, 0).first().map(|(at, _)| *at),
        Some(start + 3),
        "gone for whoever reads from 0"
    );
    // Cursors written as a whole take along what they passed, too.
    commit(store, vec![StoreOp::PutCursors(bob.clone(), cursors(&[(SourceId::QUEUE, start + 4)], 4))]);
    assert_eq!(queue(store, &bob, 0), [(start + 5, "5".to_owned())]);
    store.cursors_moved(&bob, vec![moved(SourceId::QUEUE, start + 5)], 5);
    commit(store, vec![]);
    assert!(queue(store, &bob, 0).is_empty());
    assert_eq!(store.queue_end(&bob).unwrap(), start + 5, "an empty queue knows its positions");
    commit(store, vec![enqueue(6)]);
    assert_eq!(queue(store, &bob, start + 5), [(start + 6, "6".to_owned())]);
}

fn what_another_session_gets_leaves_the_queue<S: Store>(store: &S) {
    let (bob, eve) = (key("bob", "phone"), key("eve", "phone"));
    let (start, other) = (begin(store, &bob), begin(store, &eve));
    let enqueue = |n: u64| StoreOp::Enqueue(bob.clone(), start + n, message("t", &n.to_string()));
    let hand_on = |n: u64, to: u64| {
        let text = message("t", &n.to_string());
        vec![StoreOp::Dequeue(bob.clone(), start + n), StoreOp::Enqueue(eve.clone(), other + to, text)]
    };
    let left = || queue(store, &bob, 0).into_iter().map(|(at, _)| at - start).collect::<Vec<_>>();
    commit(store, (1..=6).map(enqueue).collect());
    commit(store, hand_on(3, 1));
    assert_eq!(left(), [1, 2, 4, 5, 6]);
    // From the end too, and what is not there is not missed.
    commit(store, hand_on(6, 2));
    commit(store, vec![StoreOp::Dequeue(bob.clone(), start + 6), StoreOp::Dequeue(bob.clone(), start + 9)]);
    assert_eq!(left(), [1, 2, 4, 5]);
    assert_eq!(queue(store, &eve, 0), [(other + 1, "3".to_owned()), (other + 2, "6".to_owned())]);

    // A reader steps over the hole, a page ends behind it, and the cursor passes it.
    let page = store.read_queue(&bob, start, ReadLimit { items: 3, bytes: usize::MAX }).unwrap();
    let positions: Vec<u64> = page.items.iter().map(|item| item.position - start).collect();
    assert_eq!((positions, page.next, page.end), (vec![1, 2, 4], start + 4, false));
    store.cursors_moved(&bob, vec![moved(SourceId::QUEUE, start + 4)], 1);
    commit(store, vec![]);
    assert_eq!(left(), [5]);
    commit(store, vec![enqueue(7)]);
    assert_eq!(left(), [5, 7]);

    // Put in and taken out in one commit, it was never there.
    let mut ops = vec![enqueue(8)];
    ops.extend(hand_on(8, 3));
    commit(store, ops);
    assert_eq!(left(), [5, 7]);
    // A session that is removed takes the rest along.
    commit(store, vec![StoreOp::RemoveSession(bob.clone()), StoreOp::Dequeue(bob.clone(), start + 7)]);
    assert_eq!(left(), Vec::<u64>::new());
    assert_eq!(queue(store, &eve, 0).len(), 3);
}

fn a_removed_session_leaves_nothing_behind<S: Store>(store: &S) {
    let bob = key("bob", "phone");
    let start = begin(store, &bob);
    commit(store, (1..=3).map(|n| StoreOp::Enqueue(bob.clone(), start + n, message("t", "old"))).collect());
    store.cursors_moved(&bob, vec![moved(SourceId::QUEUE, start + 1), moved("in/bob", 8)], 1);
    commit(store, vec![StoreOp::RemoveSession(bob.clone())]);
    assert_eq!(store.session(&bob).unwrap(), None);
    assert!(queue(store, &bob, 0).is_empty());
    // Not even when the last thing heard of it comes late.
    store.cursors_moved(&bob, vec![moved("in/bob", 9)], 2);
    commit(store, vec![]);
    assert_eq!(store.session(&bob).unwrap(), None);

    // One that comes again under the name starts afresh.
    commit(store, vec![put(&bob, record(&[("t/#", true)], 0))]);
    assert_eq!(store.session(&bob).unwrap().unwrap().cursors, Cursors::default());
    let again = store.queue_end(&bob).unwrap();
    commit(store, vec![StoreOp::Enqueue(bob.clone(), again + 1, message("t", "new"))]);
    assert_eq!(queue(store, &bob, 0), [(again + 1, "new".to_owned())]);

    // And so does one that is removed and put in one commit, as a clean start does.
    let at = again + 1;
    commit(
        store,
        vec![
            StoreOp::RemoveSession(bob.clone()),
            put(&bob, record(&[("t/#", true)], 0)),
            StoreOp::PutCursors(bob.clone(), cursors(&[(SourceId::QUEUE, at)], 0)),
        ],
    );
    assert_eq!(store.session(&bob).unwrap().unwrap().cursors, cursors(&[(SourceId::QUEUE, at)], 0));
    assert!(queue(store, &bob, 0).is_empty());
    commit(store, vec![StoreOp::Enqueue(bob.clone(), at + 1, message("t", "newer"))]);
    assert_eq!(queue(store, &bob, at), [(at + 1, "newer".to_owned())]);
}

fn retained_messages_are_found_by_filter<S: Store>(store: &S) {
    let topics = [
        "home",
        "home/kitchen/temp",
        "home/kitchen/light",
        "home/hall/temp",
        "homestead",
        "/x",
        "$SYS/a",
        "é/ü",
    ];
    commit(store, topics.iter().map(|topic| StoreOp::Retain(message(topic, "old"))).collect());
    commit(store, topics.iter().map(|topic| StoreOp::Retain(message(topic, topic))).collect());
    let expect = |filter: &str, expected: &[&str]| {
        for page in [1, 2, 100] {
            let mut found = retained(store, filter, page);
            found.sort();
            let mut expected: Vec<_> =
                expected.iter().map(|topic| ((*topic).to_owned(), (*topic).to_owned())).collect();
            expected.sort();
            assert_eq!(found, expected, "{filter}");
        }
    };
    expect("home", &["home"]);
    expect("home/kitchen/temp", &["home/kitchen/temp"]);
    expect("home/kitchen", &[]);
    expect("$SYS/a", &["$SYS/a"]);
    expect("home/#", &["home", "home/kitchen/temp", "home/kitchen/light", "home/hall/temp"]);
    expect("home/+/temp", &["home/kitchen/temp", "home/hall/temp"]);
    expect("+/x", &["/x"]);
    expect("#", &topics.iter().copied().filter(|topic| *topic != "$SYS/a").collect::<Vec<_>>());
    expect("$SYS/#", &["$SYS/a"]);
    expect("é/+", &["é/ü"]);
    expect("nothing/#", &[]);

    let unretain = |topic: &str| StoreOp::Unretain(ByteStr::try_from(topic).unwrap());
    commit(store, vec![unretain("home"), unretain("home/hall/temp"), unretain("never/there")]);
    expect("home/#", &["home/kitchen/temp", "home/kitchen/light"]);
    expect("home/hall/temp", &[]);

    // Many, so that a page ends in the middle of what was read ahead.
    commit(store, (0..300).map(|n| StoreOp::Retain(message(&format!("many/{n:03}"), "x"))).collect());
    for page in [7, 64, 1_000] {
        let found = retained(store, "many/+", page);
        assert_eq!(found.len(), 300);
        assert!(found.is_sorted(), "in topic order");
    }
}

fn retained_messages_are_counted_and_expire<S: Store>(store: &S) {
    let topic = |topic: &str| ByteStr::try_from(topic).unwrap();
    assert_eq!(store.retained_totals().unwrap(), None);
    assert_eq!(store.retained_at("a/b").unwrap(), None);
    let totals = RetainedTotals { messages: 301, bytes: u64::MAX };
    let mut ops: Vec<StoreOp> = (0..300).map(|n| StoreOp::Retain(message(&format!("{n}"), "x"))).collect();
    ops.extend([StoreOp::Retain(message("$a/b", "y")), StoreOp::PutRetainedTotals(totals)]);
    ops.extend(
        [(9, "c"), (7, "a/b"), (u64::MAX, "a"), (7, "a")].map(|(at, of)| StoreOp::PutExpiry(at, topic(of))),
    );
    commit(store, ops);
    assert_eq!(store.retained_totals().unwrap(), Some(totals));
    assert_eq!(&store.retained_at("$a/b").unwrap().unwrap().payload[..], b"y");
    assert_eq!(store.retained_at("$a").unwrap(), None);
    let mut all = Vec::new();
    store.each_retained(&mut |message| all.push(message.topic)).unwrap();
    assert_eq!(all.len(), 301);
    all.dedup();
    assert!(all.len() == 301 && all.contains(&topic("$a/b")));

    assert_eq!(store.expired(6, 10).unwrap(), []);
    assert_eq!(store.expired(7, 10).unwrap(), [(7, topic("a")), (7, topic("a/b"))]);
    assert_eq!(store.expired(u64::MAX, 3).unwrap().len(), 3);
    // As one message takes the place of another: what is removed and put in one commit is put.
    let again = [StoreOp::RemoveExpiry(7, topic("a")), StoreOp::PutExpiry(7, topic("a"))];
    commit(store, again.into_iter().chain([StoreOp::RemoveExpiry(7, topic("a/b"))]).collect());
    assert_eq!(store.expired(8, 10).unwrap(), [(7, topic("a"))]);
    assert_eq!(store.expired(u64::MAX, 10).unwrap().len(), 3);
}

fn sessions_with_plain_filters_are_listed<S: Store>(store: &S) {
    let listed = || {
        let mut found = Vec::new();
        store.plain_sessions(&mut |key, session| found.push((key, session.record.disconnected_ms))).unwrap();
        found.sort();
        found
    };
    let many: Vec<_> = (0..600).map(|n| key("many", &format!("{n:04}"))).collect();
    let ops = many.iter().enumerate().map(|(n, key)| put(key, record(&[("t", n % 2 == 0)], 1 + n as u64)));
    commit(store, ops.collect());
    let expected: Vec<_> = many.iter().cloned().zip(1..).step_by(2).collect();
    assert_eq!(listed(), expected);

    // It changes its mind, or goes.
    let ops = many.iter().step_by(2).enumerate().map(|(n, key)| match n {
        0 => put(key, record(&[("t", true), ("u/x/in", false)], 7)),
        1 => StoreOp::RemoveSession(key.clone()),
        _ => put(key, record(&[("u/x/in", false)], 7)),
    });
    commit(store, ops.collect());
    assert_eq!(listed(), [(many[0].clone(), 7)]);
}

fn what_is_due_comes_in_order<S: Store>(store: &S) {
    let due = |at_ms, kind, name: &str| Due { at_ms, kind, session: key("bob", name) };
    let connected = due(0, DueKind::Connected, "phone");
    let will = due(5_000, DueKind::Will, "phone");
    let expiry = due(5_000, DueKind::Expiry, "phone");
    let other = due(300, DueKind::Expiry, "tablet");
    let all = [&connected, &will, &expiry, &other];
    commit(store, all.into_iter().cloned().map(StoreOp::PutDue).collect());
    assert_eq!(store.due(0, 299, 10).unwrap(), std::slice::from_ref(&connected));
    assert_eq!(store.due(0, 300, 10).unwrap(), [connected.clone(), other.clone()]);
    assert_eq!(store.due(0, u64::MAX, 1).unwrap(), std::slice::from_ref(&connected));
    let found = store.due(0, 5_000, 10).unwrap();
    assert_eq!(found.len(), 4);
    assert!(found.is_sorted_by_key(|due| due.at_ms) && all.iter().all(|due| found.contains(due)));
    commit(store, vec![StoreOp::RemoveDue(connected), StoreOp::RemoveDue(will)]);
    assert_eq!(store.due(0, 5_000, 10).unwrap(), [other, expiry.clone()]);
    assert_eq!(store.due(301, 5_000, 10).unwrap(), [expiry]);
}

fn commits_are_done_in_order<S: Store>(store: &S) {
    let (tell, told) = mpsc::channel();
    for n in 0..50u64 {
        let tell = tell.clone();
        let ops = if n % 3 == 0 { vec![] } else { vec![put(&key("bob", "phone"), record(&[], n))] };
        store.commit(ops, Some(Box::new(move |result| tell.send((n, result)).expect("the test waits"))));
    }
    let done: Vec<_> = told.iter().take(50).collect();
    assert_eq!(done, (0..50).map(|n| (n, Ok(()))).collect::<Vec<_>>());
    assert_eq!(store.session(&key("bob", "phone")).unwrap().unwrap().record.disconnected_ms, 49);
}
