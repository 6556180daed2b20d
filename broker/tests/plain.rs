//! Plain topics over a real socket: what any MQTT client expects of any broker, for both versions from one body.

mod support;

use chasqui_broker::Config;
use chasqui_broker::codec::client::ServerPacket;
use chasqui_broker::codec::{
    PublishOut, PublishProperties, QoS, ReasonCode, RetainHandling, SubscriptionOptions, Version,
};
use std::sync::Arc;
use std::time::Duration;
use support::{Client, Hello, Server, TestClock, both};

const Q0: QoS = QoS::AtMostOnce;
const Q1: QoS = QoS::AtLeastOnce;

fn granted(qos: QoS) -> ReasonCode {
    qos.granted()
}

#[tokio::test]
async fn a_message_reaches_every_matching_subscriber_at_the_lower_qos() {
    both(|version| async move {
        let server = Server::start().await;
        let mut at_0 = server.client(version, "at-0").await;
        let mut at_1 = server.client(version, "at-1").await;
        let mut other = server.client(version, "other").await;
        assert_eq!(at_0.subscribe(&[("a/+", Q0)]).await, [granted(Q0)]);
        assert_eq!(at_1.subscribe(&[("a/#", Q1)]).await, [granted(Q1)]);
        other.subscribe(&[("b", Q1)]).await;
        let mut publisher = server.client(version, "publisher").await;
        assert_eq!(publisher.publish("a/b", b"hello").await.reason, ReasonCode::Success);
        let first = at_0.take().await;
        assert_eq!((&*first.topic, &first.payload[..], first.qos), ("a/b", &b"hello"[..], Q0));
        assert_eq!(at_1.take().await.qos, Q1);
        publisher.send(PublishOut::new("a/b", b"again")).await;
        assert_eq!(at_1.take().await.qos, Q0);
        other.nothing().await;
    })
    .await;
}

#[tokio::test]
async fn overlapping_subscriptions_deliver_once_with_all_identifiers() {
    let server = Server::start().await;
    let mut client = server.client(Version::V5, "c").await;
    client.subscribe_with(&[("a/#", SubscriptionOptions::qos(Q0))], Some(7)).await;
    client.subscribe_with(&[("a/b", SubscriptionOptions::qos(Q1))], Some(9)).await;
    server.client(Version::V5, "p").await.publish("a/b", b"x").await;
    let (message, mut ids) = client.message_with_ids().await;
    ids.sort_unstable();
    assert_eq!((message.qos, ids), (Q1, vec![7, 9]));
    client.ack(&message).await;
    client.nothing().await;
}

#[tokio::test]
async fn no_local_and_retain_as_published_are_obeyed() {
    let server = Server::start().await;
    let mut client = server.client(Version::V5, "c").await;
    let options =
        SubscriptionOptions { no_local: true, retain_as_published: true, ..SubscriptionOptions::qos(Q1) };
    client.subscribe_with(&[("a", options)], None).await;
    client.publish("a", b"mine").await;
    client.nothing().await;
    let mut other = server.client(Version::V5, "o").await;
    other.publish_with(PublishOut { qos: Q1, retain: true, ..PublishOut::new("a", b"kept") }).await;
    assert!(client.take().await.retain);
}

#[tokio::test]
async fn a_retained_message_is_sent_to_new_subscriptions_and_goes_with_an_empty_one() {
    both(|version| async move {
        let server = Server::start().await;
        let mut publisher = server.client(version, "p").await;
        for (topic, payload) in [("r/a", &b"1"[..]), ("r/b", b"2"), ("s", b"3")] {
            publisher
                .publish_with(PublishOut { qos: Q1, retain: true, ..PublishOut::new(topic, payload) })
                .await;
        }
        let mut client = server.client(version, "c").await;
        client.subscribe(&[("r/+", Q1)]).await;
        let (first, second) = (client.take().await, client.take().await);
        assert_eq!((&*first.topic, first.retain, first.qos), ("r/a", true, Q1));
        assert_eq!((&*second.topic, second.retain), ("r/b", true));
        publisher.publish_with(PublishOut { qos: Q1, retain: true, ..PublishOut::new("r/a", b"") }).await;
        let live = client.take().await;
        assert_eq!((&live.payload[..], live.retain), (&b""[..], false));
        client.subscribe(&[("r/#", Q0)]).await;
        let again = client.take().await;
        assert_eq!((&*again.topic, again.retain), ("r/b", true));
        client.nothing().await;
    })
    .await;
}

#[tokio::test]
async fn retain_handling_decides_what_a_repeated_subscription_gets() {
    let server = Server::start().await;
    let mut client = server.client(Version::V5, "c").await;
    client.publish_with(PublishOut { qos: Q1, retain: true, ..PublishOut::new("r", b"x") }).await;
    let with = |retain_handling| SubscriptionOptions { retain_handling, ..SubscriptionOptions::qos(Q1) };
    client.subscribe_with(&[("r", with(RetainHandling::DoNotSend))], None).await;
    client.nothing().await;
    client.subscribe_with(&[("r", with(RetainHandling::SendIfNew))], None).await;
    client.nothing().await;
    client.subscribe_with(&[("r", with(RetainHandling::Send))], None).await;
    assert!(client.take().await.retain);
    client.unsubscribe(&["r"]).await;
    client.subscribe_with(&[("r", with(RetainHandling::SendIfNew))], None).await;
    assert!(client.take().await.retain);
}

#[tokio::test]
async fn unsubscribe_says_what_was_there_and_ends_deliveries() {
    both(|version| async move {
        let server = Server::start().await;
        let mut client = server.client(version, "c").await;
        client.subscribe(&[("a", Q1), ("b", Q1)]).await;
        let codes = client.unsubscribe(&["a", "c"]).await;
        if version == Version::V5 {
            assert_eq!(codes, [ReasonCode::Success, ReasonCode::NoSubscriptionExisted]);
        }
        let mut publisher = server.client(version, "p").await;
        publisher.publish("a", b"x").await;
        publisher.publish("b", b"y").await;
        assert_eq!(&*client.take().await.topic, "b");
        client.nothing().await;
    })
    .await;
}

#[tokio::test]
async fn an_offline_session_gets_everything_in_order_when_it_is_back() {
    both(|version| async move {
        let server = Server::start().await;
        let hello = Hello::new(version, "phone").kept();
        let mut phone = Client::connect(server.address, &hello).await;
        assert!(!phone.connack.session_present);
        phone.subscribe(&[("a", Q1)]).await;
        phone.disconnect().await;
        let mut publisher = server.client(version, "p").await;
        for n in 0..100u8 {
            publisher.publish("a", &[n]).await;
        }
        let mut phone = Client::connect(server.address, &hello).await;
        assert!(phone.connack.session_present);
        for n in 0..100u8 {
            assert_eq!(phone.take().await.payload[0], n);
        }
        phone.nothing().await;
        publisher.publish("a", b"live").await;
        assert_eq!(&phone.take().await.payload[..], b"live");
    })
    .await;
}

#[tokio::test]
async fn what_was_not_acknowledged_is_sent_again_with_its_packet_id_and_dup() {
    both(|version| async move {
        let server = Server::start().await;
        let hello = Hello::new(version, "phone").kept();
        let mut phone = Client::connect(server.address, &hello).await;
        phone.subscribe(&[("a", Q1)]).await;
        let mut publisher = server.client(version, "p").await;
        for n in 0..4u8 {
            publisher.publish("a", &[n]).await;
        }
        let mut sent = Vec::new();
        for _ in 0..4 {
            sent.push(phone.message().await);
        }
        phone.ack(&sent[1]).await;
        phone.nothing().await;
        drop(phone);
        let mut phone = Client::connect(server.address, &hello).await;
        for original in [&sent[0], &sent[2], &sent[3]] {
            let again = phone.take().await;
            assert_eq!(
                (again.packet_id, &again.payload, again.dup),
                (original.packet_id, &original.payload, true)
            );
        }
        phone.nothing().await;
        publisher.publish("a", b"new").await;
        let new = phone.take().await;
        assert!(!new.dup && sent.iter().all(|old| old.packet_id != new.packet_id));
    })
    .await;
}

#[tokio::test]
async fn no_more_than_the_window_is_in_flight() {
    both(|version| async move {
        let config = Config { window_v311: 3, ..Config::default() };
        let server = Server::start_with(config).await;
        let mut hello = Hello::new(version, "c");
        if version == Version::V5 {
            hello.0.properties.receive_maximum = Some(3);
        }
        let mut client = Client::connect(server.address, &hello).await;
        client.subscribe(&[("a", Q1)]).await;
        let mut publisher = server.client(version, "p").await;
        for n in 0..6u8 {
            publisher.publish("a", &[n]).await;
        }
        let mut held = Vec::new();
        for _ in 0..3 {
            held.push(client.message().await);
        }
        client.nothing().await;
        client.ack(&held[1]).await;
        assert_eq!(client.message().await.payload[0], 3);
        client.nothing().await;
    })
    .await;
}

#[tokio::test]
async fn a_newer_connection_takes_the_session_over_and_loses_nothing() {
    both(|version| async move {
        let server = Server::start().await;
        let hello = Hello::new(version, "phone").kept();
        let mut old = Client::connect(server.address, &hello).await;
        old.subscribe(&[("a", Q1)]).await;
        let mut publisher = server.client(version, "p").await;
        publisher.publish("a", b"1").await;
        let unacked = old.message().await;
        let mut new = Client::connect(server.address, &hello).await;
        assert!(new.connack.session_present);
        let code = (version == Version::V5).then_some(ReasonCode::SessionTakenOver);
        assert_eq!(old.closed().await, code);
        let again = new.take().await;
        assert_eq!((again.packet_id, again.dup), (unacked.packet_id, true));
        publisher.publish("a", b"2").await;
        assert_eq!(&new.take().await.payload[..], b"2");
    })
    .await;
}

#[tokio::test]
async fn the_same_client_id_of_another_user_is_another_session() {
    both(|version| async move {
        let server = Server::start().await;
        let alice = Hello::new(version, "phone").kept().user("alice", "alice");
        let mut first = Client::connect(server.address, &alice).await;
        first.subscribe(&[("a", Q1)]).await;
        let bob = Hello::new(version, "phone").kept().user("bob", "bob");
        let second = Client::connect(server.address, &bob).await;
        assert!(!second.connack.session_present);
        first.nothing().await;
    })
    .await;
}

#[tokio::test]
async fn a_will_is_published_when_the_connection_is_lost_and_not_after_disconnect() {
    both(|version| async move {
        let server = Server::start().await;
        let mut watcher = server.client(version, "w").await;
        watcher.subscribe(&[("gone/+", Q1)]).await;
        let hello = |id: &str, topic: &str| Hello::new(version, id).will(topic, b"gone", Q1, false);
        let lost = Client::connect(server.address, &hello("lost", "gone/lost")).await;
        let polite = Client::connect(server.address, &hello("polite", "gone/polite")).await;
        polite.disconnect().await;
        drop(lost);
        let will = watcher.take().await;
        assert_eq!((&*will.topic, &will.payload[..], will.qos), ("gone/lost", &b"gone"[..], Q1));
        watcher.nothing().await;
    })
    .await;
}

#[tokio::test]
async fn a_delayed_will_waits_and_is_forgotten_when_the_client_is_back() {
    let clock = TestClock::new();
    let server =
        Server::start_with(Config { clock: Arc::<TestClock>::clone(&clock), ..Config::default() }).await;
    let mut watcher = server.client(Version::V5, "w").await;
    watcher.subscribe(&[("gone", Q1)]).await;
    let mut hello = Hello::new(Version::V5, "phone").kept().will("gone", b"x", Q1, false);
    hello.0.will.as_mut().unwrap().delay_interval = Some(30);
    let phone = Client::connect(server.address, &hello).await;
    drop(phone);
    let phone = Client::connect(server.address, &hello).await;
    clock.advance(Duration::from_mins(1));
    tokio::time::sleep(Duration::from_millis(1200)).await;
    watcher.nothing().await;
    drop(phone);
    // The session has to be offline before the time passes.
    while server.broker.connections() > 1 {
        tokio::task::yield_now().await;
    }
    clock.advance(Duration::from_secs(29));
    tokio::time::sleep(Duration::from_millis(1200)).await;
    watcher.nothing().await;
    clock.advance(Duration::from_secs(2));
    assert_eq!(&*watcher.take().await.topic, "gone");
}

#[tokio::test]
async fn a_session_expires_and_its_will_with_it() {
    let clock = TestClock::new();
    let server =
        Server::start_with(Config { clock: Arc::<TestClock>::clone(&clock), ..Config::default() }).await;
    let mut watcher = server.client(Version::V5, "w").await;
    watcher.subscribe(&[("gone", Q1)]).await;
    let mut hello = Hello::new(Version::V5, "phone").will("gone", b"x", Q1, false);
    hello.0.properties.session_expiry_interval = Some(10);
    hello.0.will.as_mut().unwrap().delay_interval = Some(3600);
    drop(Client::connect(server.address, &hello).await);
    while server.broker.connections() > 1 {
        tokio::task::yield_now().await;
    }
    clock.advance(Duration::from_secs(11));
    assert_eq!(&*watcher.take().await.topic, "gone");
    hello.0.clean_start = false;
    assert!(!Client::connect(server.address, &hello).await.connack.session_present);
}

#[tokio::test]
async fn a_silent_client_is_closed_after_one_and_a_half_keep_alives() {
    both(|version| async move {
        let clock = TestClock::new();
        let server =
            Server::start_with(Config { clock: Arc::<TestClock>::clone(&clock), ..Config::default() }).await;
        let hello = Hello::new(version, "c").keep_alive(10);
        let mut client = Client::connect(server.address, &hello).await;
        clock.advance(Duration::from_secs(14));
        client.nothing().await;
        clock.advance(Duration::from_secs(14));
        client.nothing().await;
        clock.advance(Duration::from_secs(16));
        let code = (version == Version::V5).then_some(ReasonCode::KeepAliveTimeout);
        assert_eq!(client.closed().await, code);
    })
    .await;
}

#[tokio::test]
async fn refusals_are_said_in_the_words_of_the_version() {
    let server = Server::start().await;
    let mut five = server.client(Version::V5, "five").await;
    assert_eq!(five.subscribe(&[("no/a", Q1), ("a", Q1)]).await, [ReasonCode::NotAuthorized, granted(Q1)]);
    let refused = five.publish("no/a", b"x").await;
    assert_eq!(refused.reason, ReasonCode::NotAuthorized);
    assert!(refused.properties.unwrap().reason_string.is_some());
    assert_eq!(five.subscribe(&[("$share/g/no/a", Q1)]).await, [ReasonCode::NotAuthorized]);

    let mut three = server.client(Version::V311, "three").await;
    assert_eq!(three.subscribe(&[("no/a", Q1)]).await, [ReasonCode::UnspecifiedError]);
    three.send(PublishOut { qos: Q1, ..PublishOut::new("no/a", b"x") }).await;
    assert_eq!(three.closed().await, None);

    for version in [Version::V311, Version::V5] {
        let hello = Hello::new(version, "n").user("nobody", "x");
        let mut refused = Client::try_connect(server.address, &hello).await;
        assert_eq!(refused.connack.reason, ReasonCode::BadUserNameOrPassword);
        assert_eq!(refused.closed().await, None);
    }
}

#[tokio::test]
async fn a_publish_that_nobody_hears_says_so_on_5_0() {
    let server = Server::start().await;
    let mut five = server.client(Version::V5, "five").await;
    assert_eq!(five.publish("unheard", b"x").await.reason, ReasonCode::NoMatchingSubscribers);
}

#[tokio::test]
async fn properties_travel_with_the_message() {
    let server = Server::start().await;
    let mut client = server.client(Version::V5, "c").await;
    client.subscribe(&[("a", Q1)]).await;
    let properties = PublishProperties {
        message_expiry_interval: Some(100),
        content_type: Some(support::text("text/plain")),
        user_properties: chasqui_broker::codec::UserProperties::from_pairs([("k", "1"), ("k", "2")]).unwrap(),
        ..PublishProperties::default()
    };
    let mut old = server.client(Version::V311, "old").await;
    old.subscribe(&[("a", Q1)]).await;
    let mut publisher = server.client(Version::V5, "p").await;
    publisher
        .publish_with(PublishOut { qos: Q1, properties: Some(&properties), ..PublishOut::new("a", b"x") })
        .await;
    assert_eq!(client.take().await.properties.as_deref(), Some(&properties));
    assert_eq!(old.take().await.properties, None);
}

#[tokio::test]
async fn messages_that_expired_are_not_sent() {
    let clock = TestClock::new();
    let server =
        Server::start_with(Config { clock: Arc::<TestClock>::clone(&clock), ..Config::default() }).await;
    let hello = Hello::new(Version::V5, "phone").kept();
    let mut phone = Client::connect(server.address, &hello).await;
    phone.subscribe(&[("a", Q1), ("r", Q1)]).await;
    phone.disconnect().await;
    let mut publisher = server.client(Version::V5, "p").await;
    let expiring = |seconds| PublishProperties {
        message_expiry_interval: Some(seconds),
        ..PublishProperties::default()
    };
    let (short, long) = (expiring(10), expiring(100));
    let out = |properties, payload| PublishOut {
        qos: Q1,
        properties: Some(properties),
        ..PublishOut::new("a", payload)
    };
    publisher.publish_with(out(&short, b"short")).await;
    publisher.publish_with(out(&long, b"long")).await;
    clock.advance(Duration::from_secs(20));
    let mut phone = Client::connect(server.address, &hello).await;
    let left = phone.take().await;
    assert_eq!(&left.payload[..], b"long");
    assert_eq!(left.properties.unwrap().message_expiry_interval, Some(80));
    phone.nothing().await;
}

#[tokio::test]
async fn a_clean_session_that_takes_too_little_is_ended_and_slows_nobody() {
    both(|version| async move {
        let mailbox = chasqui_broker::link::Bounds { items: 50, bytes: 1 << 20, tail_items: 64 };
        let server = Server::start_with(Config { mailbox, ..Config::default() }).await;
        let mut slow = server.client(version, "slow").await;
        slow.subscribe(&[("a", Q1)]).await;
        let mut quick = server.client(version, "quick").await;
        quick.subscribe(&[("a", Q1)]).await;
        let mut publisher = server.client(version, "p").await;
        for n in 0..400u32 {
            assert_eq!(publisher.publish("a", &n.to_be_bytes()).await.reason, ReasonCode::Success);
            assert_eq!(quick.take().await.payload[..], n.to_be_bytes());
        }
        let mut received = 0;
        loop {
            match slow.next().await {
                Some(ServerPacket::Publish(..)) => received += 1,
                Some(ServerPacket::Disconnect(disconnect)) => {
                    assert_eq!(disconnect.reason, ReasonCode::QuotaExceeded);
                }
                Some(other) => panic!("unexpected: {other:?}"),
                None => break,
            }
        }
        assert!(received < 400);
    })
    .await;
}

#[tokio::test]
async fn a_connection_that_says_nothing_is_closed_in_its_time() {
    let config = Config { connect_timeout: Duration::from_millis(50), ..Config::default() };
    let server = Server::start_with(config).await;
    let mut stream = tokio::net::TcpStream::connect(server.address).await.unwrap();
    let mut byte = [0; 1];
    let read = tokio::io::AsyncReadExt::read(&mut stream, &mut byte);
    assert_eq!(tokio::time::timeout(support::PATIENCE, read).await.unwrap().unwrap(), 0);
    assert_eq!(server.broker.stats().connect_timeouts.get(), 1);
}
