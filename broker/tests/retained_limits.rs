//! How much may be retained, and that what has expired gives its room back: over real sockets, and over restarts.

mod support;

use chasqui_broker::codec::client::ServerPacket;
use chasqui_broker::codec::{ByteStr, PublishOut, PublishProperties, QoS, ReasonCode, Version};
use chasqui_broker::config::Clock;
use chasqui_broker::message::{Identifiers, Message};
use chasqui_broker::store::ram::RamStore;
use chasqui_broker::store::{RetainedTotals, Store, StoreOp};
use chasqui_broker::{Broker, Config};
use std::sync::Arc;
use std::time::Duration;
use support::{Client, PATIENCE, PlainHook, Server, TestClock, both};

const Q1: QoS = QoS::AtLeastOnce;

fn retain<'a>(topic: &'a str, payload: &'a [u8]) -> PublishOut<'a> {
    PublishOut { qos: Q1, retain: true, ..PublishOut::new(topic, payload) }
}

/// Publishes, and says whether it was refused: on 3.1.1 by the end of the connection.
async fn is_refused(client: &mut Client, publish: PublishOut<'_>) -> bool {
    client.send(publish).await;
    match client.next().await {
        Some(ServerPacket::Puback(ack)) if ack.reason == ReasonCode::QuotaExceeded => {
            assert!(ack.properties.is_some_and(|properties| properties.reason_string.is_some()));
            true
        }
        Some(ServerPacket::Puback(ack)) => {
            assert!(!ack.reason.is_error(), "{:?}", ack.reason);
            false
        }
        None => true,
        Some(other) => panic!("an answer expected: {other:?}"),
    }
}

#[tokio::test]
async fn more_messages_than_may_be_retained_are_refused_and_not_delivered() {
    both(|version| async move {
        let server = Server::start_with(Config { max_retained: 2, ..Config::default() }).await;
        let mut listener = server.client(version, "l").await;
        listener.subscribe(&[("#", Q1)]).await;
        let mut client = server.client(version, "p").await;
        for (topic, refused) in [("a", false), ("b", false), ("c", true)] {
            assert_eq!(is_refused(&mut client, retain(topic, b"x")).await, refused, "{topic}");
        }
        let stats = server.broker.stats();
        assert_eq!((stats.publishes_refused_retained.get(), stats.publishes_refused.get()), (1, 1));
        // What is not to be retained, takes the place of another, or makes room, is taken.
        let mut client = server.client(version, "p").await;
        client.publish("c", b"not retained").await;
        assert!(!is_refused(&mut client, retain("a", b"another")).await);
        assert!(!is_refused(&mut client, retain("b", b"")).await);
        assert!(!is_refused(&mut client, retain("c", b"in its place")).await);
        let mut seen = Vec::new();
        for _ in 0..6 {
            seen.push(String::from_utf8(listener.take().await.payload.to_vec()).unwrap());
        }
        assert_eq!(seen, ["x", "x", "not retained", "another", "", "in its place"]);
        assert_eq!(server.broker.retained().messages, 2);
    })
    .await;
}

#[tokio::test]
async fn more_bytes_than_may_be_retained_are_refused_at_every_qos() {
    both(|version| async move {
        let server = Server::start_with(Config { max_retained_bytes: 1_000, ..Config::default() }).await;
        let mut client = server.client(version, "p").await;
        let large = [b'x'; 1_000];
        client.send(PublishOut { retain: true, ..PublishOut::new("a", &large) }).await;
        client.publish("b", b"behind it").await;
        assert_eq!(server.broker.stats().publishes_refused_retained.get(), 1);
        assert_eq!(server.broker.retained(), RetainedTotals::default());
        let large = PublishOut { qos: QoS::ExactlyOnce, ..retain("a", &large) };
        client.send(large).await;
        match client.next().await {
            Some(ServerPacket::Pubrec(ack)) => assert_eq!(ack.reason, ReasonCode::QuotaExceeded),
            None => assert_eq!(version, Version::V311),
            Some(other) => panic!("PUBREC expected: {other:?}"),
        }
        let mut client = server.client(version, "p").await;
        assert!(!is_refused(&mut client, retain("a", &[b'x'; 900])).await);
        assert!(is_refused(&mut client, retain("b", &[b'x'; 900])).await);
    })
    .await;
}

fn expiring(topic: &str, seconds: u32) -> Message {
    let properties =
        PublishProperties { message_expiry_interval: Some(seconds), ..PublishProperties::default() };
    Message {
        topic: ByteStr::try_from(topic).expect("a topic"),
        payload: "x".into(),
        qos: Q1,
        retain: true,
        properties: Some(Arc::new(properties)),
        received_ms: 0,
        identifiers: Identifiers::new(),
        share: None,
    }
}

/// Waits until so many are retained.
async fn retained(server: &Server, messages: u64) {
    let waiting = async {
        while server.broker.retained().messages != messages {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("they go in time");
}

#[tokio::test]
async fn what_has_expired_is_removed_and_gives_its_room_back() {
    const MANY: usize = 600;
    let (clock, store) = (TestClock::new(), Arc::new(RamStore::default()));
    let config =
        Config { clock: Arc::<TestClock>::clone(&clock), max_retained: MANY as u64, ..Config::default() };
    let server =
        Server::start_on(config, Arc::new(PlainHook), Arc::<RamStore>::clone(&store) as Arc<dyn Store>).await;
    for n in 0..MANY {
        let seconds = if n == 7 { 60 } else { 1 };
        let message = Message { received_ms: clock.now_ms(), ..expiring(&format!("t/{n}"), seconds) };
        server.broker.publish(message);
    }
    let mut client = server.client(Version::V5, "p").await;
    assert!(is_refused(&mut client, retain("one more", b"x")).await);
    clock.advance(Duration::from_secs(1));
    retained(&server, 1).await;
    assert_eq!(server.broker.stats().retained_expired.get(), MANY as u64 - 1);
    assert!(!is_refused(&mut client, retain("one more", b"x")).await);
    assert!(store.retained_at("t/6").unwrap().is_none() && store.retained_at("t/7").unwrap().is_some());
    assert_eq!(store.expired(u64::MAX, MANY).unwrap().len(), 1, "what is gone is not looked for again");
}

#[tokio::test]
async fn a_restart_knows_how_much_is_retained() {
    let store: Arc<dyn Store> = Arc::new(RamStore::default());
    let start = || {
        let broker = Broker::new(Config::default(), Arc::new(PlainHook), Arc::clone(&store));
        broker.start().expect("the store can be read");
        broker
    };
    let broker = start();
    for topic in ["a", "b", "$sys-like/c", "b"] {
        broker.publish(expiring(topic, u32::MAX));
    }
    broker.publish(Message { payload: "".into(), ..expiring("a", 5) });
    let totals = broker.retained();
    assert_eq!(totals.messages, 2);
    assert_eq!(start().retained(), totals);
}

/// A store that was written before there were totals is counted, once.
#[tokio::test]
async fn a_store_without_totals_is_counted() {
    let store: Arc<dyn Store> = Arc::new(RamStore::default());
    let messages = [expiring("a", 5), expiring("b/c", 7), Message { properties: None, ..expiring("$d", 0) }];
    let bytes = messages.iter().map(|message| message.weight() as u64).sum();
    store.commit(messages.into_iter().map(StoreOp::Retain).collect(), None);
    for _ in 0..2 {
        let broker = Broker::new(Config::default(), Arc::new(PlainHook), Arc::clone(&store));
        broker.start().expect("the store can be read");
        assert_eq!(broker.retained(), RetainedTotals { messages: 3, bytes });
        assert_eq!(store.expired(u64::MAX, 9).unwrap().len(), 2);
    }
}
