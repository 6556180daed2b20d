//! A persistent session whose stored queue would be longer than it may be ends as a whole, and never gets a hole. Its publishers are neither
//! slowed nor refused, and whatever the server does meanwhile, the next CONNECT finds no session.

mod support;

use chasqui_broker::Config;
use chasqui_broker::codec::{QoS, ReasonCode, Version};
use chasqui_broker::store::ram::RamStore;
use chasqui_broker::store::{Due, DueKind, SessionKey, SessionRecord, Store, StoreOp};
use std::sync::Arc;
use std::time::Duration;
use support::{Client, Hello, PATIENCE, PlainHook, Server, both};

const Q1: QoS = QoS::AtLeastOnce;
/// Room for nineteen messages of a hundred bytes.
const LIMIT: u64 = 19 * (100 + 1 + 16);

async fn server() -> Server {
    Server::start_with(Config { max_queue_bytes: LIMIT, window_v311: 2, window_v5: 2, ..Config::default() })
        .await
}

fn key(client_id: &str) -> SessionKey {
    SessionKey { owner: Arc::from(""), client_id: Arc::from(client_id) }
}

async fn publish(publisher: &mut Client, n: u8) {
    let ack = publisher.publish("a", &[n; 100]).await;
    assert!(!ack.reason.is_error(), "{ack:?}");
}

#[tokio::test]
async fn an_offline_session_beyond_its_limit_ends_as_a_whole() {
    both(|version| async move {
        let server = server().await;
        let hello = Hello::new(version, "phone").kept();
        let mut phone = Client::connect(server.address, &hello).await;
        phone.subscribe(&[("a", Q1)]).await;
        phone.disconnect().await;
        let mut publisher = server.client(version, "p").await;
        for n in 0..19 {
            publish(&mut publisher, n).await;
        }
        assert_eq!(server.broker.stats().sessions_outgrown.get(), 0);
        for n in 19..25 {
            publish(&mut publisher, n).await;
        }
        assert_eq!(server.broker.stats().sessions_outgrown.get(), 1);
        // At once, and not only when somebody has looked after what is due.
        let mut phone = Client::connect(server.address, &hello).await;
        assert!(!phone.connack.session_present);
        phone.nothing().await;
        publish(&mut publisher, 25).await;
        phone.nothing().await;
        // It begins anew, and is kept again.
        phone.subscribe(&[("a", Q1)]).await;
        phone.disconnect().await;
        publish(&mut publisher, 26).await;
        let mut phone = Client::connect(server.address, &hello).await;
        assert!(phone.connack.session_present);
        assert_eq!(phone.take().await.payload[0], 26);
        phone.nothing().await;
        assert!(server.store.due(1, 1, 10).expect("readable").is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_session_that_nobody_comes_for_goes_from_the_store() {
    let server = server().await;
    let mut phone = Client::connect(server.address, &Hello::new(Version::V5, "phone").kept()).await;
    phone.subscribe(&[("a", Q1)]).await;
    phone.disconnect().await;
    let mut publisher = server.client(Version::V5, "p").await;
    for n in 0..20 {
        publish(&mut publisher, n).await;
    }
    let gone = async {
        while server.store.session(&key("phone")).expect("readable").is_some() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.expect("what is due is looked after");
    assert!(server.store.due(1, 1, 10).expect("readable").is_empty());
    assert_eq!(publisher.publish("a", b"x").await.reason, ReasonCode::NoMatchingSubscribers);
}

#[tokio::test]
async fn a_connected_session_that_takes_too_little_is_told() {
    both(|version| async move {
        let server = server().await;
        let hello = Hello::new(version, "phone").kept();
        let mut phone = Client::connect(server.address, &hello).await;
        phone.subscribe(&[("a", Q1)]).await;
        let mut publisher = server.client(version, "p").await;
        for n in 0..21 {
            publish(&mut publisher, n).await;
        }
        // Two are in flight, unacknowledged, and nothing comes behind a hole.
        assert_eq!((phone.message().await.payload[0], phone.message().await.payload[0]), (0, 1));
        let code = (version == Version::V5).then_some(ReasonCode::QuotaExceeded);
        assert_eq!(phone.closed().await, code);
        let mut phone = Client::connect(server.address, &hello).await;
        assert!(!phone.connack.session_present);
        phone.nothing().await;
    })
    .await;
}

#[tokio::test]
async fn what_is_acknowledged_makes_room() {
    both(|version| async move {
        let server = server().await;
        let hello = Hello::new(version, "phone").kept();
        let mut phone = Client::connect(server.address, &hello).await;
        phone.subscribe(&[("a", Q1)]).await;
        let mut publisher = server.client(version, "p").await;
        for n in 0..60 {
            publish(&mut publisher, n).await;
            assert_eq!(phone.take().await.payload[0], n);
        }
        phone.nothing().await;
        // Also for what comes when it is away, after a start that reads how far it was.
        phone.disconnect().await;
        let server = Server::start_on(
            Config { max_queue_bytes: LIMIT, ..Config::default() },
            Arc::new(PlainHook),
            Arc::clone(&server.store),
        )
        .await;
        let mut publisher = server.client(version, "p").await;
        for n in 0..19 {
            publish(&mut publisher, n).await;
        }
        assert_eq!(server.broker.stats().sessions_outgrown.get(), 0);
        let mut phone = Client::connect(server.address, &hello).await;
        for n in 0..19 {
            assert_eq!(phone.take().await.payload[0], n);
        }
    })
    .await;
}

#[tokio::test]
async fn a_session_that_had_outgrown_its_limit_when_the_server_died_is_not_there_after_it() {
    let store: Arc<dyn Store> = Arc::new(RamStore::default());
    let record = SessionRecord { expiry_s: u32::MAX, disconnected_ms: 1, ..SessionRecord::default() };
    let mark = Due { at_ms: 1, kind: DueKind::Outgrown, session: key("phone") };
    store.commit(vec![StoreOp::PutSession(key("phone"), Box::new(record)), StoreOp::PutDue(mark)], None);
    let server = Server::start_on(Config::default(), Arc::new(PlainHook), Arc::clone(&store)).await;
    assert!(store.session(&key("phone")).expect("readable").is_none());
    assert!(store.due(1, 1, 10).expect("readable").is_empty());
    let phone = Client::connect(server.address, &Hello::new(Version::V5, "phone").kept()).await;
    assert!(!phone.connack.session_present);
}
