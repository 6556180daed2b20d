//! Rules at the joints of the engine that were broken once: each story fails where its rule is not kept.

mod support;

use bytes::Bytes;
use chasqui_broker::codec::packet::{connect, disconnect};
use chasqui_broker::codec::{
    Disconnect, DisconnectProperties, PacketId, PublishOut, QoS, ReasonCode, SubscriptionOptions, Version,
};
use chasqui_broker::hook::{
    Admission, Ask, Client as Connected, Command, Done, Grant, Granted, Hook, Login, Occasion, Outcome,
    Roles, Route,
};
use chasqui_broker::link::Bounds;
use chasqui_broker::message::{Identifiers, Message};
use chasqui_broker::source::{Item, Read, ReadLimit, SourceGrant, SourceId, SourceKind, View};
use chasqui_broker::store::ram::RamStore;
use chasqui_broker::store::{Due, DueKind, SessionKey, Store, StoreError, StoreOp, StoredSession};
use chasqui_broker::store_below;
use chasqui_broker::{Broker, Config};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::{Client, Hello, PATIENCE, PlainHook, Server, TestClock, both};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

const Q0: QoS = QoS::AtMostOnce;
const Q1: QoS = QoS::AtLeastOnce;

fn key(client_id: &str) -> SessionKey {
    SessionKey { owner: Arc::from(""), client_id: Arc::from(client_id) }
}

/// The session as it is stored when its connection is over.
async fn ended(server: &Server, client_id: &str) -> Option<StoredSession> {
    let wait = async {
        while server.broker.connections() > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.expect("connections end in time");
    server.store.session(&key(client_id)).expect("a store in memory can be read")
}

/// Plain topics, where the test decides when filters are granted, and sees who is connected and whose commands come.
struct TellingHook {
    asked: mpsc::UnboundedSender<(Vec<Ask>, Granted)>,
    connected: mpsc::UnboundedSender<u64>,
    commands: mpsc::UnboundedSender<(Arc<Connected>, Command)>,
}

struct Told {
    asked: mpsc::UnboundedReceiver<(Vec<Ask>, Granted)>,
    connected: mpsc::UnboundedReceiver<u64>,
    commands: mpsc::UnboundedReceiver<(Arc<Connected>, Command)>,
}

fn telling() -> (Arc<TellingHook>, Told) {
    let (asked, their_asked) = mpsc::unbounded_channel();
    let (connected, their_connected) = mpsc::unbounded_channel();
    let (commands, their_commands) = mpsc::unbounded_channel();
    let told = Told { asked: their_asked, connected: their_connected, commands: their_commands };
    (Arc::new(TellingHook { asked, connected, commands }), told)
}

async fn soon<T>(from: &mut mpsc::UnboundedReceiver<T>) -> T {
    let received = tokio::time::timeout(PATIENCE, from.recv()).await;
    received.expect("the broker asks in time").expect("the broker lives")
}

impl Hook for TellingHook {
    fn authenticate(&self, _login: &Login) -> Admission {
        Admission::Admitted { owner: Arc::from(""), roles: Roles::default() }
    }

    fn is_quick(&self, _login: &Login) -> bool {
        true
    }

    fn route(&self, _client: &Connected, topic: &str) -> Route {
        if topic.starts_with("do/") { Route::Command } else { Route::Plain }
    }

    fn submit(&self, client: &Arc<Connected>, commands: Vec<Command>) {
        for command in commands {
            self.commands.send((Arc::clone(client), command)).expect("the test listens");
        }
    }

    fn subscribe(&self, _client: &Arc<Connected>, _occasion: Occasion, asks: Vec<Ask>, granted: Granted) {
        self.asked.send((asks, granted)).unwrap_or_else(|_| panic!("the test listens"));
    }

    fn read(&self, _: &Connected, _: &SourceId, _: u64, _: ReadLimit) -> Result<Read, StoreError> {
        Err(StoreError::new("there are no sources here"))
    }

    fn view(&self, _client: &Connected, _grant: &SourceGrant, _item: &Item) -> View {
        View::Skip
    }

    fn connected(&self, client: &Arc<Connected>) {
        self.connected.send(client.connection).expect("the test listens");
    }
}

fn plain(qos: QoS) -> Grant {
    Grant::Granted { qos, plain: true, sources: Vec::new() }
}

#[tokio::test]
async fn sessions_that_are_connected_do_not_hide_what_is_due() {
    let clock = TestClock::new();
    let server =
        Server::start_with(Config { clock: Arc::<TestClock>::clone(&clock), ..Config::default() }).await;
    let connected = (0..1_000).map(|n| {
        let session = key(&format!("connected-{n}"));
        StoreOp::PutDue(Due { at_ms: 0, kind: DueKind::Connected, session })
    });
    server.store.commit(connected.collect(), None);
    let mut watcher = server.client(Version::V5, "w").await;
    watcher.subscribe(&[("gone", Q1)]).await;
    let mut hello = Hello::new(Version::V5, "phone").kept().will("gone", b"x", Q1, false);
    hello.0.will.as_mut().unwrap().delay_interval = Some(30);
    drop(Client::connect(server.address, &hello).await);
    while server.broker.connections() > 1 {
        tokio::task::yield_now().await;
    }
    clock.advance(Duration::from_secs(31));
    assert_eq!(&*watcher.take().await.topic, "gone");
}

#[tokio::test]
async fn a_grant_for_an_earlier_connection_is_not_taken_for_this_one() {
    both(|version| async move {
        let (hook, mut told) = telling();
        let server = Server::start_on(Config::default(), hook, Arc::new(RamStore::default())).await;
        let address = server.address;
        let first = Client::connect(address, &Hello::new(version, "c")).await;
        let subscribe = |mut client: Client, filter: &'static str| {
            tokio::spawn(async move {
                (client.subscribe_with(&[(filter, SubscriptionOptions::qos(Q1))], None).await, client)
            })
        };
        // Its SUBACK never comes: it is taken over while the application decides.
        let taken_over = subscribe(first, "a");
        let (_, late) = soon(&mut told.asked).await;
        let second = Client::connect(address, &Hello::new(version, "c")).await;
        let second = subscribe(second, "b");
        let (asks, granted) = soon(&mut told.asked).await;
        assert_eq!(&*asks[0].filter, "b");
        late(Ok(vec![plain(Q0)]));
        granted(Ok(vec![plain(Q1)]));
        let (codes, _) = second.await.expect("a SUBACK comes");
        assert_eq!(codes, [Q1.granted()]);
        assert!(taken_over.await.is_err(), "a DISCONNECT or the end is no SUBACK");
    })
    .await;
}

#[tokio::test]
async fn a_session_that_is_to_end_with_this_connection_gets_what_waits_first() {
    let server = Server::start().await;
    let kept = Hello::new(Version::V5, "phone").kept();
    let mut phone = Client::connect(server.address, &kept).await;
    phone.subscribe(&[("a", Q1)]).await;
    phone.disconnect().await;
    let mut publisher = server.client(Version::V5, "p").await;
    publisher.publish("a", b"waits").await;
    // Clean Start 0 and no Session Expiry Interval: goes on, and ends with the connection.
    let mut last = kept.clone();
    last.0.properties.session_expiry_interval = None;
    let mut phone = Client::connect(server.address, &last).await;
    assert!(phone.connack.session_present);
    assert_eq!(&phone.take().await.payload[..], b"waits");
    publisher.publish("a", b"live").await;
    assert_eq!(&phone.take().await.payload[..], b"live");
    phone.disconnect().await;
    publisher.disconnect().await;
    assert_eq!(ended(&server, "phone").await, None);
    assert!(!Client::connect(server.address, &kept).await.connack.session_present);
}

#[tokio::test]
async fn a_session_is_kept_no_longer_than_the_server_allows_whatever_disconnect_says() {
    let server = Server::start_with(Config { max_session_expiry_s: 100, ..Config::default() }).await;
    let mut hello = Hello::new(Version::V5, "phone");
    hello.0.properties.session_expiry_interval = Some(1);
    let mut phone = Client::connect(server.address, &hello).await;
    let longer =
        DisconnectProperties { session_expiry_interval: Some(u32::MAX), ..DisconnectProperties::default() };
    let packet = Disconnect { reason: ReasonCode::Success, properties: Some(Box::new(longer)) };
    let mut out = Vec::new();
    disconnect::encode_from_client(&mut out, &phone.peer, &packet).expect("valid");
    phone.write(&out).await;
    assert_eq!(phone.closed().await, None);
    assert_eq!(ended(&server, "phone").await.expect("it is kept").record.expiry_s, 100);
}

#[tokio::test]
async fn a_client_that_takes_no_connack_is_closed_and_its_session_left_in_order() {
    let server = Server::start().await;
    let mut hello = Hello::new(Version::V5, "small").kept();
    hello.0.properties.maximum_packet_size = Some(5);
    let mut out = Vec::new();
    connect::encode(&mut out, &hello.0).expect("valid");
    let mut stream = TcpStream::connect(server.address).await.expect("the server listens");
    stream.write_all(&out).await.expect("the connection is open");
    let mut said = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut said)).await;
    assert_eq!((read.expect("it is closed in time").expect("in order"), &said[..]), (0, &b""[..]));
    let stored = ended(&server, "small").await.expect("it was opened");
    assert_ne!(stored.record.disconnected_ms, 0, "nobody is connected");
    assert!(stored.record.clean_stop);
}

#[tokio::test]
async fn a_stop_does_not_wait_for_connections_that_say_nothing() {
    let hour = Duration::from_hours(1);
    let server = Server::start_with(Config { connect_timeout: hour, ..Config::default() }).await;
    let mut silent = TcpStream::connect(server.address).await.expect("the server listens");
    while server.broker.connections() == 0 {
        tokio::task::yield_now().await;
    }
    tokio::time::timeout(PATIENCE, server.broker.stop(hour)).await.expect("it stops");
    assert_eq!(silent.read(&mut [0]).await.unwrap_or(0), 0);
}

#[tokio::test]
async fn retained_messages_wait_for_room_instead_of_being_dropped() {
    let count = 200;
    both(|version| async move {
        // Far more than a buffer, and more than what may wait in memory.
        let mailbox = Bounds { items: 50, bytes: 100_000, tail_items: 64 };
        let server = Server::start_with(Config { mailbox, ..Config::default() }).await;
        let mut publisher = server.client(version, "p").await;
        let payload = vec![b'x'; 4_000];
        for n in 0..count {
            let topic = format!("r/{n:03}");
            let out = PublishOut { qos: Q1, retain: true, ..PublishOut::new(&topic, &payload) };
            publisher.publish_with(out).await;
        }
        for (client_id, qos, kept) in [("zero", Q0, false), ("one", Q1, false), ("kept", Q1, true)] {
            let hello = Hello::new(version, client_id);
            let hello = if kept { hello.kept() } else { hello };
            let mut client = Client::connect(server.address, &hello).await;
            client.subscribe(&[("r/#", qos)]).await;
            for n in 0..count {
                let message = client.take().await;
                assert_eq!(
                    (&*message.topic, message.qos, message.retain),
                    (&*format!("r/{n:03}"), qos, true)
                );
            }
            client.nothing().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_will_is_that_of_the_connection_that_left_it_and_of_no_other() {
    let clock = TestClock::new();
    let config = Config { clock: Arc::<TestClock>::clone(&clock), ..Config::default() };
    let store: Arc<dyn Store> = Arc::new(RamStore::default());
    let mut hello = Hello::new(Version::V5, "phone").kept().will("do/x", b"x", Q1, false);
    hello.0.will.as_mut().unwrap().delay_interval = Some(5);
    let mut numbers = Vec::new();
    for _ in 0..2 {
        let (hook, mut told) = telling();
        let server = Server::start_on(config.clone(), hook, Arc::clone(&store)).await;
        for _ in 0..2 {
            drop(Client::connect(server.address, &hello).await);
            let left_by = soon(&mut told.connected).await;
            assert!(ended(&server, "phone").await.is_some());
            clock.advance(Duration::from_secs(6));
            let (client, command) = soon(&mut told.commands).await;
            assert!(command.will);
            assert_eq!(client.connection, left_by);
            numbers.push(client.connection);
        }
        server.broker.stop(PATIENCE).await;
    }
    numbers.dedup();
    assert_eq!(numbers.len(), 4, "after a restart too");
}

/// A store in memory that counts its commits.
struct Counting {
    store: RamStore,
    commits: Mutex<usize>,
}

impl Store for Counting {
    store_below!(store: session read_queue queue_end retained retained_at retained_totals each_retained expired);
    store_below!(store: plain_sessions due cursors_moved);

    fn commit(&self, ops: Vec<StoreOp>, done: Option<chasqui_broker::store::Committed>) {
        *self.commits.lock().unwrap() += 1;
        self.store.commit(ops, done);
    }
}

#[test]
fn a_start_after_a_crash_does_not_wait_for_a_flush_for_each_session() {
    let store = Counting { store: RamStore::default(), commits: Mutex::new(0) };
    let sessions = 1_000;
    for n in 0..sessions {
        let session = key(&format!("c{n}"));
        let record = chasqui_broker::store::SessionRecord { expiry_s: 60, ..Default::default() };
        let due = Due { at_ms: 0, kind: DueKind::Connected, session: session.clone() };
        store.store.commit(vec![StoreOp::PutSession(session, Box::new(record)), StoreOp::PutDue(due)], None);
    }
    let store = Arc::new(store);
    let shared: Arc<dyn Store> = Arc::<Counting>::clone(&store);
    Broker::new(Config::default(), Arc::new(PlainHook), shared).start().expect("the store can be read");
    assert!(*store.commits.lock().unwrap() <= sessions / 100);
    assert!(store.due(0, 0, 1).unwrap().is_empty());
    assert_eq!(store.due(1, u64::MAX, 2 * sessions).unwrap().len(), sessions);
    assert_ne!(store.session(&key("c7")).unwrap().unwrap().record.disconnected_ms, 0);
}

/// One log of three items, of which the second cannot be shown while it is broken.
#[derive(Default)]
struct BrokenLog(std::sync::atomic::AtomicBool);

impl Hook for BrokenLog {
    fn authenticate(&self, _login: &Login) -> Admission {
        Admission::Admitted { owner: Arc::from(""), roles: Roles::default() }
    }

    fn is_quick(&self, _login: &Login) -> bool {
        true
    }

    fn route(&self, _client: &Connected, _topic: &str) -> Route {
        Route::Plain
    }

    fn submit(&self, _client: &Arc<Connected>, commands: Vec<Command>) {
        panic!("no topic is a command here: {commands:?}");
    }

    fn subscribe(&self, _client: &Arc<Connected>, _occasion: Occasion, asks: Vec<Ask>, granted: Granted) {
        let grant = |ask: &Ask| Grant::Granted {
            qos: Q1,
            plain: false,
            sources: vec![SourceGrant {
                source: SourceId::new("log"),
                kind: SourceKind::Log,
                start: 0,
                retained_up_to: 0,
                filter: Arc::clone(&ask.filter),
                encoding: 0,
            }],
        };
        granted(Ok(asks.iter().map(grant).collect()));
    }

    fn read(&self, _: &Connected, _: &SourceId, after: u64, _: ReadLimit) -> Result<Read, StoreError> {
        let topic = support::text("log");
        let item = |position| Item { position, topic: topic.clone(), stored: Bytes::new(), message: None };
        Ok(Read { items: (after + 1..=3).map(item).collect(), next: 3, end: true, gap: false })
    }

    fn view(&self, _client: &Connected, _grant: &SourceGrant, item: &Item) -> View {
        if item.position == 2 && self.0.load(std::sync::atomic::Ordering::SeqCst) {
            return View::Failed(StoreError::new("the disk has a bad block"));
        }
        View::Send(Message {
            topic: item.topic.clone(),
            payload: Bytes::from(item.position.to_string()),
            qos: Q1,
            retain: false,
            properties: None,
            received_ms: 0,
            identifiers: Identifiers::new(),
            share: None,
        })
    }
}

#[tokio::test]
async fn what_cannot_be_shown_is_waited_for_and_not_passed_over() {
    both(|version| async move {
        let hook = Arc::new(BrokenLog::default());
        let broken = Arc::<BrokenLog>::clone(&hook);
        let server = Server::start_on(Config::default(), hook, Arc::new(RamStore::default())).await;
        broken.0.store(true, std::sync::atomic::Ordering::SeqCst);
        let hello = Hello::new(version, "phone").kept();
        let mut phone = Client::connect(server.address, &hello).await;
        phone.subscribe(&[("log", Q1)]).await;
        assert_eq!(&phone.take().await.payload[..], b"1");
        let code = (version == Version::V5).then_some(ReasonCode::ImplementationSpecificError);
        assert_eq!(phone.closed().await, code);
        broken.0.store(false, std::sync::atomic::Ordering::SeqCst);
        let mut phone = Client::connect(server.address, &hello).await;
        let mut seen = vec![phone.take().await];
        while seen.last().is_some_and(|last| last.payload != "3") {
            seen.push(phone.take().await);
        }
        let seen: Vec<&[u8]> = seen.iter().map(|publish| &publish.payload[..]).collect();
        // The first one comes again where its acknowledgement met a closed connection.
        assert!(seen == [b"2", b"3"] || seen == [b"1", b"2", b"3"], "{seen:?}");
        phone.nothing().await;
    })
    .await;
}

/// The answer to a QoS 2 publish stands in the mailbox behind the word that ends the connection. It was dropped, and the session
/// waited for it in vain before anybody else could have it.
#[tokio::test]
async fn an_answer_behind_the_end_of_a_connection_is_taken() {
    both(|version| async move {
        let (hook, mut told) = telling();
        let server = Server::start_on(Config::default(), hook, Arc::new(RamStore::default())).await;
        let mut phone = Client::connect(server.address, &Hello::new(version, "phone").kept()).await;
        let publish = PublishOut {
            qos: QoS::ExactlyOnce,
            packet_id: PacketId::new(1),
            ..PublishOut::new("do/it", b"x")
        };
        let mut bytes = Vec::new();
        chasqui_broker::codec::packet::publish::encode(&mut bytes, &phone.peer, &publish).expect("valid");
        phone.write(&bytes).await;
        let (client, command) = soon(&mut told.commands).await;
        // Both before the connection's task has its turn.
        assert_eq!(server.broker.end_session(&key("phone")), Ok(false));
        client.answer(vec![Done { token: command.token, outcome: Outcome::SUCCESS }]);
        assert!(ended(&server, "phone").await.is_some());
    })
    .await;
}
