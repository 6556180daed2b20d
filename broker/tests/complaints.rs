//! What users of other brokers lost messages to. Each test is the situation of one report, and has its name.
//!
//! What is about memory is in `complaints_memory.rs`, what needs a store on disk in `bridge/tests`; a client that is slow is in `slow.rs`
//! (mochi 95), access that is revoked in `recheck.rs` (emqx 3487).

mod support;

use chasqui_broker::Config;
use chasqui_broker::codec::client::ServerPacket;
use chasqui_broker::codec::{Publish, PublishOut, QoS, ReasonCode, Version};
use chasqui_broker::link::Bounds;
use chasqui_broker::store::ram::RamStore;
use chasqui_broker::store::{Store, StoreOp};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use support::{Client, Hello, PlainHook, Server, TestClock, both};

const Q0: QoS = QoS::AtMostOnce;
const Q1: QoS = QoS::AtLeastOnce;

/// A session that outlives its connections.
async fn kept(server: &Server, version: Version, client_id: &str) -> Client {
    Client::connect(server.address, &Hello::new(version, client_id).kept()).await
}

/// A session that is subscribed to a topic and offline.
async fn away(server: &Server, version: Version, client_id: &str, filter: &str) {
    let mut client = kept(server, version, client_id).await;
    client.subscribe(&[(filter, Q1)]).await;
    client.disconnect().await;
}

/// It is back, and its session is still there.
async fn back(server: &Server, version: Version, client_id: &str) -> Client {
    let client = kept(server, version, client_id).await;
    assert!(client.connack.session_present);
    client
}

/// Publishes numbers with QoS 1; every one of them is acknowledged with success.
async fn tell(publisher: &mut Client, topic: &str, numbers: Range<u32>) {
    for number in numbers {
        assert_eq!(publisher.publish(topic, &number.to_be_bytes()).await.reason, ReasonCode::Success);
    }
}

fn number(publish: &Publish) -> u32 {
    u32::from_be_bytes(publish.payload[..].try_into().expect("a number"))
}

fn id(publish: &Publish) -> u16 {
    publish.packet_id.expect("a message with QoS 1").get()
}

/// All of these come, in order, each once; whether they were sent before.
async fn gets(client: &mut Client, numbers: Range<u32>) -> Vec<bool> {
    let mut dups = Vec::new();
    for expected in numbers {
        let message = client.take().await;
        assert_eq!((number(&message), message.qos), (expected, Q1));
        dups.push(message.dup);
    }
    client.nothing().await;
    dups
}

/// Beyond a queue's limit a broker said success to the publisher and dropped the message: nobody ever knew. Here everything that
/// was acknowledged for an offline session comes, however much may wait in memory; and a clean session that cannot
/// take more is told that it ends, and has no hole in what it got until then.
#[tokio::test]
async fn acknowledged_then_silently_dropped_mosquitto_3687() {
    const MESSAGES: u32 = 2_000;
    both(|version| async move {
        let mailbox = Bounds { items: 100, bytes: 100_000, tail_items: 16 };
        let server = Server::start_with(Config { mailbox, ..Config::default() }).await;
        away(&server, version, "offline", "a").await;
        // It reads, and acknowledges nothing.
        let mut clean = server.client(version, "clean").await;
        clean.subscribe(&[("a", Q1)]).await;
        let mut publisher = server.client(version, "publisher").await;
        tell(&mut publisher, "a", 0..MESSAGES).await;

        let mut seen = 0;
        let said = loop {
            match clean.next().await {
                Some(ServerPacket::Publish(message, _)) => {
                    assert_eq!(number(&message), seen, "a hole");
                    seen += 1;
                }
                Some(ServerPacket::Disconnect(disconnect)) => break Some(disconnect.reason),
                Some(other) => panic!("unexpected: {other:?}"),
                None => break None,
            }
        };
        assert_eq!(said, (version == Version::V5).then_some(ReasonCode::QuotaExceeded));
        assert_eq!(server.broker.stats().sessions_overflown.get(), 1);

        gets(&mut back(&server, version, "offline").await, 0..MESSAGES).await;
    })
    .await;
}

/// A subscriber's link was cut without a word, so that the broker kept writing to it; when the client was back and took its session
/// over, what had been published meanwhile did not come.
#[tokio::test]
async fn lost_at_take_over_after_a_half_open_link_mosquitto_1650() {
    both(|version| async move {
        let server = Server::start().await;
        let mut half_open = kept(&server, version, "subscriber").await;
        half_open.subscribe(&[("a", Q1)]).await;
        let mut publisher = server.client(version, "publisher").await;
        tell(&mut publisher, "a", 0..10).await;
        for expected in 0..10 {
            assert_eq!(number(&half_open.take().await), expected);
        }
        half_open.nothing().await;
        // From here on nobody reads or writes at that end, and no FIN or RST tells of it.
        tell(&mut publisher, "a", 10..300).await;

        for _ in 0..2 {
            // Not even the next take-over, before anything was acknowledged, loses anything.
            drop(back(&server, version, "subscriber").await);
        }
        let mut again = back(&server, version, "subscriber").await;
        let dups = gets(&mut again, 10..300).await;
        assert!(dups[0] && !dups[289], "the window was sent before, the rest was not");
        tell(&mut publisher, "a", 300..301).await;
        gets(&mut again, 300..301).await;
        assert!(server.broker.stats().take_overs.get() >= 1);
        drop(half_open);
    })
    .await;
}

/// After a reconnect two messages were in flight under one packet id; the client's PUBACK for one took both away.
#[tokio::test]
async fn duplicate_packet_id_loses_a_message_emqx_16296() {
    both(|version| async move {
        let store: Arc<dyn Store> = Arc::new(RamStore::default());
        let mut server = Server::start_on(Config::default(), Arc::new(PlainHook), Arc::clone(&store)).await;
        let mut client = kept(&server, version, "client").await;
        client.subscribe(&[("a", Q1)]).await;
        let mut publisher = server.client(version, "publisher").await;
        let (mut told, mut got) = (0, BTreeSet::new());
        for round in 0..20 {
            let mut open: BTreeMap<u16, u32> = BTreeMap::new();
            for turn in 0..20 {
                // What was sent before and what is new, mixed in one window.
                if turn % 10 == 0 {
                    tell(&mut publisher, "a", told..told + 10).await;
                    told += 10;
                }
                let message = client.message().await;
                let (id, number) = (id(&message), number(&message));
                assert_eq!(open.insert(id, number), None, "round {round}: {id} is in flight twice");
                // Every third stays unacknowledged, each time another, and so is sent again.
                if (turn + round) % 3 != 0 {
                    client.ack(&message).await;
                    open.remove(&id);
                    got.insert(number);
                }
            }
            // The connection breaks; every fourth time the server stops and starts as well.
            drop(client);
            if round % 4 == 3 {
                server.broker.stop(support::PATIENCE).await;
                server = Server::start_on(Config::default(), Arc::new(PlainHook), Arc::clone(&store)).await;
                publisher = server.client(version, "publisher").await;
            }
            client = back(&server, version, "client").await;
        }
        // What was never acknowledged comes now, before what is new.
        tell(&mut publisher, "a", told..told + 1).await;
        told += 1;
        loop {
            let message = client.take().await;
            got.insert(number(&message));
            if number(&message) == told - 1 {
                break;
            }
        }
        client.nothing().await;
        let missing: Vec<u32> = (0..told).filter(|number| !got.contains(number)).collect();
        assert!(missing.is_empty(), "{missing:?}");
    })
    .await;
}

/// A subscriber that had been away for long got the last ten seconds only: the position that it had acknowledged was moved over what
/// it never got. What it was sent again did not say DUP.
#[tokio::test]
async fn only_the_last_seconds_of_a_long_absence_delivered_tbmq_320() {
    const BEFORE: u32 = 5;
    const DURING: u32 = 600;
    both(|version| async move {
        let clock = TestClock::new();
        let config = Config { clock: Arc::clone(&clock) as _, ..Config::default() };
        let server =
            Server::start_on(config, Arc::new(PlainHook), Arc::new(RamStore::new(Arc::clone(&clock) as _)))
                .await;
        let mut client = kept(&server, version, "client").await;
        client.subscribe(&[("a", Q1)]).await;
        let mut publisher = server.client(version, "publisher").await;
        // In flight when the link breaks.
        tell(&mut publisher, "a", 0..BEFORE).await;
        for expected in 0..BEFORE {
            let message = client.message().await;
            assert_eq!((number(&message), message.dup), (expected, false));
        }
        drop(client);
        // A message an hour, for almost a month.
        for hour in BEFORE..BEFORE + DURING {
            clock.advance(Duration::from_hours(1));
            tell(&mut publisher, "a", hour..hour + 1).await;
        }
        let mut client = back(&server, version, "client").await;
        let dups = gets(&mut client, 0..BEFORE + DURING).await;
        let expected: Vec<bool> = (0..BEFORE + DURING).map(|number| number < BEFORE).collect();
        assert_eq!(dups, expected);
        client.disconnect().await;
        back(&server, version, "client").await.nothing().await;
    })
    .await;
}

/// When a client came back, its whole backlog was moved to the queue for connected clients, and what did not fit there was dropped.
#[tokio::test]
async fn backlog_dropped_on_reconnect_vernemq_1663() {
    const BACKLOG: u32 = 1_000;
    both(|version| async move {
        let mailbox = Bounds { items: 10, bytes: 1_000, tail_items: 4 };
        let config =
            Config { mailbox, window_v311: 4, window_v5: 4, out_high_water: 256, ..Config::default() };
        let server = Server::start_with(config).await;
        away(&server, version, "client", "a").await;
        let mut publisher = server.client(version, "publisher").await;
        tell(&mut publisher, "a", 0..BACKLOG).await;
        let mut client = back(&server, version, "client").await;
        // More comes while it catches up.
        tell(&mut publisher, "a", BACKLOG..BACKLOG + 100).await;
        gets(&mut client, 0..BACKLOG + 100).await;
        let dropped: Vec<_> =
            server.broker.stats().all().into_iter().filter(|(name, _)| name.starts_with("dropped")).collect();
        assert!(dropped.iter().all(|(_, count)| *count == 0), "{dropped:?}");
    })
    .await;
}

/// A wildcard got the first hundred retained messages, or the first 1,000 or 2,000, whatever the publisher was told; with some only
/// where the client did not ask for all topics one by one.
#[tokio::test]
async fn retained_wildcards_stop_at_some_number_rumqttd_emqx_15605_flashmq_64() {
    const TOPICS: u32 = 5_000;
    both(|version| async move {
        let store = Arc::new(RamStore::default());
        let server = Server::start_on(Config::default(), Arc::new(PlainHook), Arc::clone(&store) as _).await;
        let mut publisher = server.client(version, "publisher").await;
        // The first is published, and the others are copies of what came of it.
        let out = PublishOut { qos: Q1, retain: true, ..PublishOut::new("client/00000/online", b"yes") };
        publisher.publish_with(out).await;
        let first = store.retained("#", None, 1).expect("in memory").messages.remove(0);
        let others = (1..TOPICS).map(|n| {
            let topic = support::text(&format!("client/{n:05}/online"));
            StoreOp::Retain(chasqui_broker::message::Message { topic, ..first.clone() })
        });
        store.commit(others.collect(), None);
        for (client_id, qos) in [("zero", Q0), ("one", Q1), ("kept", Q1)] {
            let hello = Hello::new(version, client_id);
            let hello = if client_id == "kept" { hello.kept() } else { hello };
            let mut client = Client::connect(server.address, &hello).await;
            client.subscribe(&[("client/+/online", qos)]).await;
            for n in 0..TOPICS {
                let message = client.take().await;
                assert_eq!(
                    (&*message.topic, message.qos, message.retain),
                    (&*format!("client/{n:05}/online"), qos, true)
                );
            }
            client.nothing().await;
        }
    })
    .await;
}
