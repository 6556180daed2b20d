//! What users of other brokers ran out of memory by. Each test is the situation of one report, and has its name.
//!
//! A binary of its own: memory is counted for the whole process, one test at a time.

#![allow(clippy::print_stdout)] // The figures are what a reader of the log wants.

mod support;

#[path = "support/counting.rs"]
mod counting;

use chasqui_broker::codec::packet::publish;
use chasqui_broker::codec::{PublishOut, QoS, Version};
use chasqui_broker::store::ram::RamStore;
use chasqui_broker::store::{Committed, Store, StoreOp};
use chasqui_broker::store_below;
use chasqui_broker::{Broker, Config};
use counting::{LIVE, PEAK};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex as Lock};
use support::{Client, Hello, PlainHook, Server, both};
use tokio::runtime::Handle;
use tokio::sync::{Mutex, MutexGuard};

const Q1: QoS = QoS::AtLeastOnce;
const KIB: isize = 1 << 10;
const MIB: isize = 1 << 20;

async fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::const_new(());
    ALONE.lock().await
}

/// A session that is subscribed to a topic and offline.
async fn away(server: &Server, version: Version, client_id: &str) {
    let mut client = Client::connect(server.address, &Hello::new(version, client_id).kept()).await;
    client.subscribe(&[("a", Q1)]).await;
    client.disconnect().await;
}

/// A store that takes its time, as a disk under load does: while it is held, it makes no commit durable, and keeps none of the messages
/// that are queued, so that what is counted is the broker's.
#[derive(Default)]
struct Slow {
    store: RamStore,
    held: Lock<Option<Vec<Option<Committed>>>>,
    queued: AtomicUsize,
}

impl Slow {
    fn hold(&self) {
        *self.held.lock().expect("no test panics here") = Some(Vec::new());
    }

    /// How many commits were given back.
    fn release(&self) -> usize {
        let held = self.held.lock().expect("no test panics here").take().unwrap_or_default();
        let count = held.len();
        for done in held.into_iter().flatten() {
            done(Ok(()));
        }
        count
    }
}

impl Store for Slow {
    store_below!(store: session read_queue queue_end retained retained_at retained_totals each_retained expired);
    store_below!(store: plain_sessions due cursors_moved);

    fn commit(&self, mut ops: Vec<StoreOp>, done: Option<Committed>) {
        if let Some(held) = &mut *self.held.lock().expect("no test panics here") {
            let before = ops.len();
            ops.retain(|op| !matches!(op, StoreOp::Enqueue(..)));
            self.queued.fetch_add(before - ops.len(), Ordering::Relaxed);
            self.store.commit(ops, None);
            return held.push(done);
        }
        self.store.commit(ops, done);
    }
}

/// Each message for an offline session became a task with a copy of it; when the store was slower than the publishers, tasks gathered
/// without a bound until the process was killed. Here a message for ten offline sessions is one commit and no task, QoS 0 is not even
/// that, and while the store is slow a publisher gets no further than its window.
#[tokio::test]
async fn a_task_per_offline_message_rmqtt_495() {
    let _alone = alone().await;
    both(|version| async move {
        let store = Arc::new(Slow::default());
        let config = Config::default();
        let window = usize::from(config.receive_maximum);
        let server = Server::start_on(config, Arc::new(PlainHook), Arc::clone(&store) as _).await;
        for session in 0..10 {
            away(&server, version, &format!("offline-{session}")).await;
        }
        let mut publisher = server.client(version, "publisher").await;
        publisher.nothing().await;
        let tasks = || Handle::current().metrics().num_alive_tasks();
        let tasks_before = tasks();
        store.hold();

        // Packets of the test are made beforehand, so that what is counted is the broker's.
        let payload = [b'x'; 1024];
        let mut flood = Vec::new();
        for _ in 0..100 {
            publish::encode(&mut flood, &publisher.peer, &PublishOut::new("a", &payload)).expect("valid");
        }
        let floor = LIVE.load(Ordering::SeqCst);
        PEAK.store(floor, Ordering::SeqCst);
        for _ in 0..200 {
            publisher.write(&flood).await;
        }
        publisher.nothing().await;
        assert_eq!(store.queued.load(Ordering::Relaxed), 0, "QoS 0 waits for nobody");
        for _ in 0..window {
            publisher.send(PublishOut { qos: Q1, ..PublishOut::new("a", &payload) }).await;
        }
        while store.queued.load(Ordering::Relaxed) < 10 * window {
            tokio::task::yield_now().await;
        }
        let more = PEAK.load(Ordering::SeqCst) - floor;
        println!("{version:?}: {} KiB more, {} tasks more", more / KIB, tasks() - tasks_before);
        assert_eq!(tasks(), tasks_before, "a message is no task");
        assert!(more < 2 * MIB, "{} KiB more", more / KIB);
        assert!(store.release() <= window, "one commit for the ten");
        for _ in 0..window {
            publisher.receive().await;
        }
    })
    .await;
}

/// At its start a broker read every message that waited for anyone, and was killed for it; what had filled the memory before the
/// stop filled it again. Here a start reads sessions and no message, and what a client that is back has in memory is its window.
#[tokio::test]
async fn out_of_memory_at_start_vernemq_1513() {
    const MESSAGES: isize = 20_000;
    let _alone = alone().await;
    let store = Arc::new(RamStore::default());
    let payload = [b'x'; 1024];
    {
        let server = Server::start_on(Config::default(), Arc::new(PlainHook), Arc::clone(&store) as _).await;
        away(&server, Version::V5, "offline").await;
        let mut publisher = server.client(Version::V5, "publisher").await;
        for _ in 0..MESSAGES / 100 {
            for _ in 0..100 {
                publisher.send(PublishOut { qos: Q1, ..PublishOut::new("a", &payload) }).await;
            }
            for _ in 0..100 {
                publisher.receive().await;
            }
        }
        server.broker.stop(support::PATIENCE).await;
    }
    let held = LIVE.load(Ordering::SeqCst);
    assert!(held > MESSAGES * KIB, "the messages are there: {held}");
    PEAK.store(held, Ordering::SeqCst);
    let broker = Broker::new(Config::default(), Arc::new(PlainHook), Arc::clone(&store) as _);
    broker.start().expect("a store in memory");
    let started = PEAK.load(Ordering::SeqCst) - held;
    drop(broker);

    let server = Server::start_on(Config::default(), Arc::new(PlainHook), store).await;
    let held = LIVE.load(Ordering::SeqCst);
    PEAK.store(held, Ordering::SeqCst);
    let mut client = Client::connect(server.address, &Hello::new(Version::V5, "offline").kept()).await;
    assert!(client.connack.session_present);
    for _ in 0..100 {
        client.take().await;
    }
    let back = PEAK.load(Ordering::SeqCst) - held;
    println!("{} KiB for a start, {} KiB for a client that is back", started / KIB, back / KIB);
    assert!(started < 256 * KIB, "a start took {} KiB", started / KIB);
    assert!(back < MIB, "a client that is back took {} KiB", back / KIB);
}
