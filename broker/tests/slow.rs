//! Slow and dead peers: whoever stops reading costs its window and one buffer, is closed when its time is up, and slows nobody else.

mod support;

#[path = "support/counting.rs"]
mod counting;

use chasqui_broker::Config;
use chasqui_broker::codec::{PublishOut, QoS, ReasonCode, Version};
use chasqui_broker::link::Bounds;
use chasqui_broker::source::{Read, ReadLimit};
use chasqui_broker::store::ram::RamStore;
use chasqui_broker::store::{SessionKey, Store, StoreError};
use chasqui_broker::store_below;
use counting::{LIVE, PEAK};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use support::{Client, Hello, PATIENCE, PlainHook, Server, TestClock, both};
use tokio::sync::{Mutex, MutexGuard};

const Q0: QoS = QoS::AtMostOnce;
const Q1: QoS = QoS::AtLeastOnce;
const KIB: usize = 1024;

/// One test at a time: memory is counted for the whole process.
async fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::const_new(());
    ALONE.lock().await
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("in vain: {what}"));
}

/// Publishes until a session that does not read has its buffer full.
async fn flood(server: &Server, publisher: &mut Client, topic: &str) {
    let payload = vec![b'x'; 32 * KIB];
    let before = server.broker.stats().dropped_buffer_full.get();
    let waiting = async {
        while server.broker.stats().dropped_buffer_full.get() == before {
            publisher.send(PublishOut::new(topic, &payload)).await;
            publisher.nothing().await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("a socket that nobody reads takes no more");
}

/// Of three that stop reading, each kind of session: what comes for them is dropped, or kept, or they are closed. The one that reads
/// gets everything, and memory stays what the bounds say.
#[tokio::test]
async fn one_slow_client_stalls_nobody_mochi_95() {
    const MESSAGES: usize = 3_000;
    const PAYLOAD: usize = 16 * KIB;
    let _alone = alone().await;
    both(|version| async move {
        let mailbox = Bounds { items: 1_000, bytes: 256 * KIB as u32, tail_items: 16 };
        let server = Server::start_with(Config { mailbox, ..Config::default() }).await;
        let mut drops = server.client(version, "drops").await;
        drops.subscribe(&[("t", Q0)]).await;
        let mut closed = server.client(version, "closed").await;
        closed.subscribe(&[("t", Q1)]).await;
        let mut fast = server.client(version, "fast").await;
        fast.subscribe(&[("t", Q1)]).await;
        let mut publisher = server.client(version, "publisher").await;
        let before = LIVE.load(Ordering::Relaxed);
        PEAK.store(before, Ordering::Relaxed);
        for n in 0..MESSAGES {
            let mut payload = n.to_be_bytes().to_vec();
            payload.resize(PAYLOAD, b'x');
            assert_eq!(publisher.publish("t", &payload).await.reason, ReasonCode::Success);
            assert_eq!(fast.take().await.payload[..8], n.to_be_bytes());
        }
        let peak = PEAK.load(Ordering::Relaxed) - before;
        let stats = server.broker.stats();
        assert!(stats.dropped_buffer_full.get() > 0, "nothing was too much for the one at QoS 0");
        assert_eq!(stats.sessions_overflown.get(), 1);
        until("the slow one at QoS 1 is closed", || server.broker.connections() == 3).await;
        let passed = 3 * MESSAGES * PAYLOAD;
        assert!(peak < 2 * 1024 * KIB.cast_signed(), "{peak} bytes held while {passed} passed");
        drop((drops, closed));
    })
    .await;
}

/// Counts what is read from queues.
#[derive(Default)]
struct Reads {
    store: RamStore,
    items: AtomicUsize,
}

impl Store for Reads {
    store_below!(store: session queue_end retained retained_at retained_totals each_retained expired);
    store_below!(store: plain_sessions due commit cursors_moved);

    fn read_queue(&self, key: &SessionKey, after: u64, limit: ReadLimit) -> Result<Read, StoreError> {
        let read = self.store.read_queue(key, after, limit)?;
        self.items.fetch_add(read.items.len(), Ordering::Relaxed);
        Ok(read)
    }
}

#[tokio::test]
async fn a_kept_session_that_does_not_acknowledge_costs_its_window() {
    const MESSAGES: usize = 500;
    const WINDOW: u16 = 8;
    let _alone = alone().await;
    both(|version| async move {
        let reads = Arc::new(Reads::default());
        let store: Arc<dyn Store> = Arc::<Reads>::clone(&reads);
        let config = Config { window_v311: WINDOW, window_v5: WINDOW, ..Config::default() };
        let server = Server::start_on(config, Arc::new(PlainHook), store).await;
        let hello = Hello::new(version, "kept").kept();
        let mut kept = Client::connect(server.address, &hello).await;
        kept.subscribe(&[("t", Q1)]).await;
        kept.disconnect().await;
        let mut publisher = server.client(version, "publisher").await;
        for n in 0..MESSAGES {
            publisher.publish("t", &n.to_be_bytes()).await;
        }
        let mut kept = Client::connect(server.address, &hello).await;
        let first = kept.message().await;
        for n in 1..usize::from(WINDOW) {
            assert_eq!(kept.message().await.payload[..], n.to_be_bytes());
        }
        kept.nothing().await;
        let read = reads.items.load(Ordering::Relaxed);
        assert!(read <= usize::from(WINDOW), "{read} of {MESSAGES} read for a window of {WINDOW}");
        // It goes on where the window has room.
        kept.ack(&first).await;
        assert_eq!(kept.message().await.payload[..], usize::from(WINDOW).to_be_bytes());
    })
    .await;
}

#[tokio::test]
async fn a_socket_that_takes_nothing_is_closed_in_time() {
    let _alone = alone().await;
    both(|version| async move {
        let clock = TestClock::new();
        let config =
            Config { clock: clock.clone(), write_stall: Duration::from_mins(1), ..Config::default() };
        let server = Server::start_with(config).await;
        let stats = server.broker.stats();
        let mut slow = server.client(version, "slow").await;
        slow.subscribe(&[("t", Q0)]).await;
        let mut publisher = server.client(version, "publisher").await;
        flood(&server, &mut publisher, "t").await;

        // It takes everything, late, and then nothing again: the time begins anew.
        clock.advance(Duration::from_secs(50));
        for _ in 0..stats.publishes_sent.get() {
            slow.message().await;
        }
        slow.nothing().await;
        flood(&server, &mut publisher, "t").await;
        clock.advance(Duration::from_secs(50));
        publisher.nothing().await;
        assert_eq!((stats.write_stalls.get(), server.broker.connections()), (0, 2));

        clock.advance(Duration::from_secs(11));
        until("the stalled one is closed", || server.broker.connections() == 1).await;
        assert_eq!(stats.write_stalls.get(), 1);
        publisher.nothing().await;
    })
    .await;
}

#[tokio::test]
async fn a_client_without_keep_alive_is_given_one() {
    let _alone = alone().await;
    let clock = TestClock::new();
    let config = Config { clock: clock.clone(), max_keep_alive_s: 30, ..Config::default() };
    let server = Server::start_with(config).await;
    for asked in [0, 600] {
        let hello = Hello::new(Version::V5, "silent").keep_alive(asked);
        let mut silent = Client::connect(server.address, &hello).await;
        assert_eq!(silent.connack.properties.server_keep_alive, Some(30));
        clock.advance(Duration::from_secs(46));
        assert_eq!(silent.closed().await, Some(ReasonCode::KeepAliveTimeout));
    }
    let modest = Client::connect(server.address, &Hello::new(Version::V5, "modest").keep_alive(20)).await;
    assert_eq!(modest.connack.properties.server_keep_alive, None);
}
