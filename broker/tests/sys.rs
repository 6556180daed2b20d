//! What the broker says about itself under `$SYS`: values, names, and to whom.

mod support;

use chasqui_broker::Config;
use chasqui_broker::codec::client::ServerPacket;
use chasqui_broker::codec::packet::ping;
use chasqui_broker::codec::{PublishOut, QoS, ReasonCode, SubscriptionOptions, Version};
use chasqui_broker::source::ReadLimit;
use chasqui_broker::store::ram::RamStore;
use chasqui_broker::store::{Committed, CursorMove, SessionKey, Store, StoreOp};
use chasqui_broker::store_below;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use support::{Client, Hello, PlainHook, Server, TestClock, both};

const Q0: QoS = QoS::AtMostOnce;
const Q1: QoS = QoS::AtLeastOnce;
const INTERVAL: Duration = Duration::from_secs(10);

/// A server whose time stands still, and an operator who is told when it has looked at itself.
struct Watched {
    server: Server,
    clock: Arc<TestClock>,
    version: Version,
    watcher: Client,
}

fn operator(version: Version, client_id: &str) -> Hello {
    Hello::new(version, client_id).user("ops", "")
}

impl Watched {
    async fn start(version: Version) -> Watched {
        Watched::start_on(version, Arc::new(RamStore::default())).await
    }

    async fn start_on(version: Version, store: Arc<dyn Store>) -> Watched {
        let clock = TestClock::new();
        let config = Config { clock: Arc::clone(&clock) as _, sys_interval: INTERVAL, ..Config::default() };
        let server = Server::start_on(config, Arc::new(PlainHook), store).await;
        let mut watcher = Client::connect(server.address, &operator(version, "watcher")).await;
        watcher.subscribe(&[("$SYS/broker/uptime", Q0)]).await;
        assert_eq!(&watcher.take().await.payload[..], b"0 seconds");
        Watched { server, clock, version, watcher }
    }

    /// Time passes, and the server has looked at itself.
    async fn pass(&mut self, time: Duration) {
        self.clock.advance(time);
        self.watcher.take().await;
    }

    /// All that a new subscription of an operator gets.
    async fn read(&self, filter: &str) -> BTreeMap<String, String> {
        let mut reader = Client::connect(self.server.address, &operator(self.version, "reader")).await;
        reader.subscribe(&[(filter, Q1)]).await;
        let found = all(&mut reader).await;
        reader.disconnect().await;
        found.into_iter().map(|(topic, value, _)| (topic, value)).collect()
    }
}

/// What is on its way: topics, values and RETAIN.
async fn all(client: &mut Client) -> Vec<(String, String, bool)> {
    let mut out = Vec::new();
    ping::encode_request(&mut out);
    let mut found = Vec::new();
    // Two, because what a server has to send when the first one comes may leave behind its answer.
    for _ in 0..2 {
        client.write(&out).await;
        loop {
            match client.receive().await {
                ServerPacket::Pingresp => break,
                ServerPacket::Publish(publish, _) => {
                    let value = std::str::from_utf8(&publish.payload).expect("values are text").to_owned();
                    assert_eq!(publish.qos, Q0);
                    found.push((publish.topic.to_string(), value, publish.retain));
                }
                other => panic!("values were expected: {other:?}"),
            }
        }
    }
    found
}

fn number(values: &BTreeMap<String, String>, name: &str) -> u64 {
    let value = values.get(&format!("$SYS/{name}")).unwrap_or_else(|| panic!("{name} is missing"));
    value.parse().unwrap_or_else(|_| panic!("{name} is no number: {value}"))
}

fn average(values: &BTreeMap<String, String>, name: &str) -> f64 {
    values[&format!("$SYS/broker/load/{name}")].parse().expect("a number")
}

#[tokio::test]
async fn values_are_what_happened() {
    both(|version| async move {
        let mut watched = Watched::start(version).await;
        let mut alice = watched.server.client(version, "alice").await;
        let kept = Client::connect(watched.server.address, &Hello::new(version, "bob").kept()).await;
        let mut bob = kept;
        bob.subscribe(&[("a/#", Q1), ("c", Q0)]).await;
        bob.disconnect().await;
        for _ in 0..3 {
            alice.publish("a/b", b"hello").await;
        }
        alice.send(PublishOut { retain: true, ..PublishOut::new("r", b"kept") }).await;
        alice.nothing().await;
        watched.pass(INTERVAL).await;
        let values = watched.read("$SYS/#").await;

        assert_eq!(values["$SYS/broker/uptime"], "10 seconds");
        assert_eq!(values["$SYS/broker/version"], concat!("chasqui version ", env!("CARGO_PKG_VERSION")));
        for (name, expected) in [
            ("clients/total", 3),
            ("clients/maximum", 3),
            ("clients/connected", 2),
            ("clients/active", 2),
            ("clients/disconnected", 1),
            ("clients/inactive", 1),
            ("clients/expired", 0),
            ("subscriptions/count", 3),
            ("shared_subscriptions/count", 0),
            ("retained messages/count", 1),
            ("messages/stored", 4),
            ("store/messages/count", 4),
            ("store/messages/bytes", 19),
            // Three CONNECT, two SUBSCRIBE, a DISCONNECT, four PUBLISH and two PINGREQ.
            ("messages/received", 12),
            // Three CONNACK, two SUBACK, three PUBACK, two PINGRESP, and the watcher's PUBLISH.
            ("messages/sent", 11),
            ("publish/messages/received", 4),
            ("publish/messages/sent", 1),
            ("publish/messages/dropped", 0),
            ("publish/bytes/received", 19),
            ("publish/bytes/sent", "0 seconds".len() as u64),
        ] {
            assert_eq!(number(&values, &format!("broker/{name}")), expected, "{name}");
        }
        for (name, count) in watched.server.broker.stats().all() {
            assert!(number(&values, &format!("chasqui/{name}")) <= count, "{name}");
        }
        assert_eq!(number(&values, "chasqui/connects_received"), 3);

        for _ in 0..30 {
            alice.nothing().await;
        }
        watched.pass(INTERVAL).await;
        let later = watched.read("$SYS/broker/+/received").await;
        // The first reader came with CONNECT, SUBSCRIBE, two PINGREQ and DISCONNECT.
        let received = number(&later, "broker/messages/received");
        assert_eq!(received, 12 + 60 + 5);
    })
    .await;
}

#[tokio::test]
async fn bytes_are_those_on_the_wire() {
    both(|version| async move {
        let mut watched = Watched::start(version).await;
        let mut alice = watched.server.client(version, "alice").await;
        alice.subscribe(&[("echo", Q0)]).await;
        watched.pass(INTERVAL).await;
        let before = (
            watched.server.broker.stats().bytes_received.get(),
            watched.server.broker.stats().bytes_sent.get(),
        );
        let payload = [7; 300];
        alice.send(PublishOut::new("echo", &payload)).await;
        alice.take().await;
        // Fixed header, topic, on 5.0 the length of no properties, and the payload.
        let publish = 3 + 2 + 4 + u64::from(version == Version::V5) + 300;
        watched.pass(INTERVAL).await;
        let values = watched.read("$SYS/broker/bytes/+").await;
        assert_eq!(number(&values, "broker/bytes/received"), before.0 + publish);
        assert_eq!(number(&values, "broker/bytes/sent"), before.1 + publish);
    })
    .await;
}

#[tokio::test]
async fn load_averages_follow_the_formula_whatever_the_time_between_looks() {
    both(|version| async move {
        let mut watched = Watched::start(version).await;
        let mut alice = watched.server.client(version, "alice").await;
        let mut expected = [0.0f64; 3];
        for (publishes, elapsed_s) in [(12u32, 10.0f64), (0, 10.0), (7, 35.5), (90, 10.0)] {
            for _ in 0..publishes {
                alice.publish("a", b"x").await;
            }
            watched.pass(Duration::from_secs_f64(elapsed_s)).await;
            let values = watched.read("$SYS/broker/load/publish/received/#").await;
            let rate = f64::from(publishes) * 60.0 / elapsed_s;
            for (average_now, (span, span_s)) in
                expected.iter_mut().zip([("1min", 60.0), ("5min", 300.0), ("15min", 900.0)])
            {
                *average_now = rate + (-elapsed_s / span_s).exp() * (*average_now - rate);
                let shown = average(&values, &format!("publish/received/{span}"));
                assert!((shown - *average_now).abs() <= 0.005, "{span}: {shown}, not {average_now}");
            }
        }
        let values = watched.read("$SYS/broker/load/+/+").await;
        assert!(average(&values, "connections/1min") > average(&values, "connections/15min"));
        assert!(values.contains_key("$SYS/broker/load/sockets/5min"));
    })
    .await;
}

#[tokio::test]
async fn new_subscriptions_get_all_with_retain_and_live_ones_what_changed_without() {
    both(|version| async move {
        let mut watched = Watched::start(version).await;
        let mut live = Client::connect(watched.server.address, &operator(version, "live")).await;
        live.subscribe(&[("$SYS/broker/#", Q1)]).await;
        let first = all(&mut live).await;
        assert!(first.len() > 40 && first.iter().all(|(_, _, retain)| *retain), "{first:?}");
        watched.pass(INTERVAL).await;
        let changed = all(&mut live).await;
        assert!(changed.iter().all(|(_, _, retain)| !*retain));
        let now: BTreeMap<&str, &str> =
            changed.iter().map(|(topic, value, _)| (&**topic, &**value)).collect();
        assert_eq!(now["$SYS/broker/uptime"], "10 seconds");
        for (topic, value, _) in &first {
            assert_ne!(now.get(&**topic), Some(&&**value), "{topic} was said again and is the same");
        }
        assert!(!now.contains_key("$SYS/broker/version"));
    })
    .await;
}

#[tokio::test]
async fn retain_as_published_is_obeyed() {
    let mut watched = Watched::start(Version::V5).await;
    let mut live = Client::connect(watched.server.address, &operator(Version::V5, "live")).await;
    let options = SubscriptionOptions { retain_as_published: true, ..SubscriptionOptions::qos(Q0) };
    live.subscribe_with(&[("$SYS/broker/uptime", options)], Some(5)).await;
    assert!(live.take().await.retain);
    watched.pass(INTERVAL).await;
    let (message, identifiers) = live.message_with_ids().await;
    assert_eq!((message.retain, identifiers), (true, vec![5]));
}

#[tokio::test]
async fn wildcards_in_the_first_level_do_not_reach_it() {
    both(|version| async move {
        let mut watched = Watched::start(version).await;
        let mut all_others = Client::connect(watched.server.address, &operator(version, "others")).await;
        all_others.subscribe(&[("#", Q0), ("+/broker/#", Q0), ("+/+/uptime", Q0)]).await;
        all_others.nothing().await;
        watched.pass(INTERVAL).await;
        all_others.nothing().await;
    })
    .await;
}

#[tokio::test]
async fn only_operators_may_read_it() {
    both(|version| async move {
        let mut watched = Watched::start(version).await;
        let mut nobody = watched.server.client(version, "nobody").await;
        let refused = match version {
            Version::V5 => ReasonCode::NotAuthorized,
            Version::V311 => ReasonCode::UnspecifiedError,
        };
        let filters =
            [("$SYS/#", Q0), ("$SYS/broker/uptime", Q0), ("$SYS", Q0), ("$SYS/+/+", Q0), ("$SYSTEM", Q0)];
        assert_eq!(nobody.subscribe(&filters).await, [refused, refused, refused, refused, Q0.granted()]);
        nobody.nothing().await;
        watched.pass(INTERVAL).await;
        nobody.nothing().await;
    })
    .await;
}

#[tokio::test]
async fn clients_do_not_publish_there() {
    both(|version| async move {
        let watched = Watched::start(version).await;
        let mut forger = Client::connect(watched.server.address, &operator(version, "forger")).await;
        forger.send(PublishOut { retain: true, ..PublishOut::new("$SYS/broker/uptime", b"for ever") }).await;
        forger.nothing().await;
        let forged = PublishOut { qos: Q1, retain: true, ..PublishOut::new("$SYS/broker/forged", b"1") };
        match version {
            Version::V5 => {
                assert_eq!(forger.publish_with(forged).await.reason, ReasonCode::NotAuthorized);
            }
            Version::V311 => {
                forger.send(forged).await;
                assert_eq!(forger.closed().await, None);
            }
        }
        let will = operator(version, "mortal").will("$SYS/broker/forged", b"1", Q0, true);
        let refused = Client::try_connect(watched.server.address, &will).await;
        assert_ne!(refused.connack.reason, ReasonCode::Success);
        let values = watched.read("$SYS/#").await;
        assert_eq!(values["$SYS/broker/uptime"], "0 seconds");
        assert!(!values.contains_key("$SYS/broker/forged"));
        assert_eq!(watched.server.broker.stats().publishes_refused.get(), 2);
    })
    .await;
}

#[tokio::test]
async fn sessions_that_expire_are_counted() {
    let mut watched = Watched::start(Version::V5).await;
    let mut hello = Hello::new(Version::V5, "short").kept();
    hello.0.properties.session_expiry_interval = Some(5);
    let mut short = Client::connect(watched.server.address, &hello).await;
    short.subscribe(&[("a", Q0)]).await;
    short.disconnect().await;
    let mut live = Client::connect(watched.server.address, &operator(Version::V5, "live")).await;
    live.subscribe(&[("$SYS/broker/clients/expired", Q0)]).await;
    assert_eq!(&live.take().await.payload[..], b"0");
    // What falls due is looked for aside: it is in the next value, or in the one after.
    while watched.server.broker.stats().sessions_expired.get() == 0 {
        watched.pass(INTERVAL).await;
    }
    watched.pass(INTERVAL).await;
    assert_eq!(&live.take().await.payload[..], b"1");
}

#[tokio::test]
async fn without_an_interval_there_is_nothing_to_read() {
    let config = Config { sys_interval: Duration::ZERO, ..Config::default() };
    let server = Server::start_with(config).await;
    let mut reader = Client::connect(server.address, &operator(Version::V5, "reader")).await;
    assert_eq!(reader.subscribe(&[("$SYS/#", Q0)]).await, [Q0.granted()]);
    reader.nothing().await;
}

/// Counts what is written.
#[derive(Default)]
struct CountingStore {
    store: RamStore,
    commits: AtomicUsize,
}

impl Store for CountingStore {
    store_below!(store: session read_queue queue_end retained retained_at retained_totals each_retained expired);
    store_below!(store: plain_sessions due);

    fn commit(&self, ops: Vec<StoreOp>, done: Option<Committed>) {
        self.commits.fetch_add(1, Ordering::SeqCst);
        self.store.commit(ops, done);
    }
    fn cursors_moved(&self, key: &SessionKey, moves: Vec<CursorMove>, last_packet_id: u16) {
        self.commits.fetch_add(1, Ordering::SeqCst);
        self.store.cursors_moved(key, moves, last_packet_id);
    }
}

#[tokio::test]
async fn nothing_of_it_is_written_to_the_store() {
    both(|version| async move {
        let store = Arc::new(CountingStore::default());
        let mut watched = Watched::start_on(version, Arc::clone(&store) as _).await;
        let address = watched.server.address;
        // Two persistent sessions of operators with QoS 1, one of them offline.
        let mut online = Client::connect(address, &operator(version, "online").kept()).await;
        online.subscribe(&[("$SYS/#", Q1)]).await;
        let mut offline = Client::connect(address, &operator(version, "offline").kept()).await;
        offline.subscribe(&[("$SYS/#", Q1)]).await;
        all(&mut offline).await;
        offline.disconnect().await;
        all(&mut online).await;
        let written = store.commits.load(Ordering::SeqCst);
        for _ in 0..3 {
            watched.pass(INTERVAL).await;
            assert!(!all(&mut online).await.is_empty());
        }
        assert_eq!(store.commits.load(Ordering::SeqCst), written);
        assert!(store.retained("$SYS/#", None, 10).expect("in memory").messages.is_empty());
        for client_id in ["online", "offline"] {
            let key = SessionKey { owner: Arc::from("ops"), client_id: Arc::from(client_id) };
            let queue = store.read_queue(&key, 0, ReadLimit { items: 10, bytes: 10_000 });
            assert!(queue.expect("in memory").items.is_empty());
        }
    })
    .await;
}
