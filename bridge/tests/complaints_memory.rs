//! What users of other brokers ran out of memory by, on the real program and a real disk. Each test is the situation of one report, and has
//! its name.

#![allow(clippy::print_stdout)] // The figures are what a reader of the log wants.

mod program;

use bytes::Bytes;
use chasqui_bridge::hook::Operations;
use chasqui_bridge::sequencer::{self, Committed, Sequencer, Sink, Unanswered};
use chasqui_bridge::server::options;
use chasqui_bridge::session_store::SessionStore;
use chasqui_bridge::settings::Settings;
use chasqui_broker::codec::{PublishOut, QoS, Version};
use chasqui_broker::message::Message;
use chasqui_broker::source::SourceId;
use chasqui_broker::store::{Cursors, SessionKey, SessionRecord, Store, StoreOp, StoredSubscription};
use chasqui_storage::clock::{Clock, SystemClock};
use chasqui_storage::{Poisoned, Storage};
use chasqui_testkit::{Client, Hello, text};
use program::{Program, chasqui, dev};
use std::path::Path;
use std::sync::Arc;

const MIB: u64 = 1 << 20;

/// Nobody asks the machine anything here.
struct Nobody;

impl Sink for Nobody {
    fn committed(&self, _: Committed) {}
    fn poisoned(&self, _: Vec<Unanswered>, why: &Poisoned) {
        panic!("{why}");
    }
}

fn message(number: u64, bytes: usize) -> Message {
    let mut payload = number.to_be_bytes().to_vec();
    payload.resize(bytes, b'x');
    Message {
        topic: text("garden/light"),
        payload: Bytes::from(payload),
        qos: QoS::AtLeastOnce,
        retain: false,
        properties: None,
        received_ms: 1,
        identifiers: chasqui_broker::message::Identifiers::new(),
        share: None,
    }
}

/// An offline session with so many messages in its queue, as the broker leaves it.
fn load(data: &Path, messages: u64, bytes: usize) {
    let storage = Arc::new(Storage::open(data, options(&Settings::default())).expect("a new store"));
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let sequencer = Sequencer::start(
        Arc::clone(&storage),
        Arc::new(Nobody),
        Arc::clone(&clock),
        sequencer::Options::default(),
    );
    let sequencer = Arc::new(sequencer);
    let operations = Arc::new(Operations::default());
    operations.join(&sequencer);
    let store = SessionStore::new(storage.reader(), operations, Arc::clone(&clock));
    let key = SessionKey { owner: Arc::from("bob"), client_id: Arc::from("phone") };
    let subscription = StoredSubscription {
        filter: Arc::from("garden/#"),
        qos: QoS::AtLeastOnce,
        no_local: false,
        retain_as_published: false,
        identifier: None,
        plain: true,
    };
    let record = SessionRecord {
        expiry_s: u32::MAX,
        disconnected_ms: clock.now_ms(),
        clean_stop: true,
        subscriptions: vec![subscription],
        ..SessionRecord::default()
    };
    let cursors = Cursors { positions: vec![(SourceId::new(SourceId::QUEUE), 1)], ..Cursors::default() };
    store.commit(
        vec![StoreOp::PutSession(key.clone(), Box::new(record)), StoreOp::PutCursors(key.clone(), cursors)],
        None,
    );
    let (tell, told) = std::sync::mpsc::channel();
    for first in (0..messages).step_by(100) {
        let ops =
            (first..first + 100).map(|n| StoreOp::Enqueue(key.clone(), n + 2, message(n, bytes))).collect();
        let tell = tell.clone();
        store.commit(ops, Some(Box::new(move |done| tell.send(done).expect("it is waited for"))));
        // As many under way as a few publishers have.
        if first >= 1_000 {
            told.recv().expect("an answer").expect("a store that works");
        }
    }
    drop(store);
    Arc::into_inner(sequencer).expect("nobody else holds it").stop().expect("a store that works");
    Arc::into_inner(storage).expect("nobody else holds it").close().expect("a store that works");
}

/// At its start a broker read every message that waited for anyone, and was killed for it. Here a store with 200 MiB that wait takes
/// no more memory than an empty one, at the start and while a client takes them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heavy_out_of_memory_at_start_vernemq_1513() {
    const MESSAGES: u64 = 50_000;
    const BYTES: usize = 4 << 10;
    const MORE: u64 = 24 * MIB;
    let (loaded, empty) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let path = loaded.path().to_owned();
    tokio::task::spawn_blocking(move || load(&path, MESSAGES, BYTES)).await.expect("it loads");

    let program = Program::start(chasqui(&dev(empty.path())));
    let nothing = program.peak_rss();
    program.stop();
    let program = Program::start(chasqui(&dev(loaded.path())));
    let started = program.peak_rss();
    println!("{} MiB at the start, {} MiB with an empty store", started / MIB, nothing / MIB);
    assert!(started < nothing + MORE, "{} MiB more at the start", (started - nothing) / MIB);

    let hello = Hello::new(Version::V5, "phone").user("bob", "bob").kept();
    let mut phone = Client::connect(program.address, &hello).await;
    assert!(phone.connack.session_present);
    for number in 0..MESSAGES / 5 {
        let message = phone.take().await;
        assert_eq!(message.payload[..8], number.to_be_bytes());
    }
    let taken = program.peak_rss();
    println!("{} MiB after {} MiB were taken", taken / MIB, MESSAGES / 5 * BYTES as u64 / MIB);
    // What is read goes through a cache of 64 MiB.
    assert!(taken < nothing + 128 * MIB, "{} MiB more", (taken - nothing) / MIB);
    program.stop();
}

/// While a broker saved its state it took as much memory again as the state had, and was killed for it. Here the state is saved all the
/// time, in pieces, and is not in memory: 400 MiB of retained messages pass through a server whose pieces are 4 MiB.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heavy_saving_state_doubles_memory_mosquitto_3273() {
    const TOPICS: u64 = 6_400;
    const BYTES: usize = 64 << 10;
    let data = tempfile::tempdir().expect("a folder");
    let small = || {
        let mut command = chasqui(&dev(data.path()));
        command.env("CHASQUI_STORAGE_OVERLAY_BYTES", "4 MiB");
        command.env("CHASQUI_STORAGE_BLOCK_CACHE_BYTES", "8 MiB");
        command.env("CHASQUI_STORAGE_SEGMENT_BYTES", "16 MiB");
        command
    };
    let program = Program::start(small());
    let nothing = program.peak_rss();
    let hello = Hello::new(Version::V5, "publisher").user("bob", "bob");
    let mut publisher = Client::connect(program.address, &hello).await;
    let payload = vec![b'x'; BYTES];
    let mut halfway = 0;
    for n in 0..TOPICS {
        let topic = format!("state/{n}");
        let out = PublishOut { qos: QoS::AtLeastOnce, retain: true, ..PublishOut::new(&topic, &payload) };
        publisher.publish_with(out).await;
        if n == TOPICS / 2 {
            halfway = program.peak_rss();
        }
    }
    let all = program.peak_rss();
    let state = TOPICS * BYTES as u64;
    println!(
        "{} MiB with nothing, {} MiB at most with half of {} MiB, {} MiB with all",
        nothing / MIB,
        halfway / MIB,
        state / MIB,
        all / MIB
    );
    assert!(all < nothing + state / 4, "{} MiB for {} MiB of state", (all - nothing) / MIB, state / MIB);
    assert!(all < halfway + state / 16, "memory grows with the state");
    program.stop();
    let program = Program::start(small());
    assert!(program.peak_rss() < nothing + state / 4, "a start reads the state");
    program.stop();
}
