//! How much one peer may ask for, over real sockets: places for its connections, and rates. What is refused is said in the words of the
//! version, counted, and costs nobody else anything.

mod support;

use chasqui_broker::codec::client::ServerPacket;
use chasqui_broker::codec::{PublishOut, QoS, ReasonCode, Version};
use chasqui_broker::{Config, PublishRates, Rate};
use std::sync::Arc;
use std::time::Duration;
use support::{Client, Hello, PATIENCE, Server, TestClock, both, tcp};
use tokio::io::AsyncReadExt;

const Q1: QoS = QoS::AtLeastOnce;

fn messages(messages: Rate) -> PublishRates {
    PublishRates { messages, ..PublishRates::UNLIMITED }
}

/// Whether the server closes a new connection without a word.
async fn is_turned_away(server: &Server) -> bool {
    let mut stream = tcp(server.address).await;
    let mut byte = [0];
    matches!(
        tokio::time::timeout(PATIENCE, stream.read(&mut byte)).await.expect("it is closed in time"),
        Ok(0) | Err(_)
    )
}

/// Waits until so many connections are left.
async fn left(server: &Server, connections: usize) {
    let waiting = async {
        while server.broker.connections() > connections {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("connections end");
}

#[tokio::test]
async fn an_address_has_so_many_connections_at_once() {
    let server = Server::start_with(Config { max_connections_per_address: 2, ..Config::default() }).await;
    let first = server.client(Version::V5, "1").await;
    let mut second = server.client(Version::V311, "2").await;
    assert!(is_turned_away(&server).await);
    assert_eq!(server.broker.stats().connections_refused_address.get(), 1);
    second.nothing().await;
    first.disconnect().await;
    left(&server, 1).await;
    server.client(Version::V5, "3").await.nothing().await;
}

#[tokio::test]
async fn a_listener_has_so_many_connections_at_once() {
    let server = Server::start_with(Config { max_connections_per_listener: 1, ..Config::default() }).await;
    let first = server.client(Version::V5, "1").await;
    assert!(is_turned_away(&server).await);
    assert_eq!(server.broker.stats().connections_refused_listener.get(), 1);
    first.disconnect().await;
    left(&server, 0).await;
    server.client(Version::V5, "2").await.nothing().await;
}

#[tokio::test]
async fn an_address_connects_so_often() {
    let clock = TestClock::new();
    let connect_rate_per_address = Rate::per_second(1).at_once(2);
    let config =
        Config { clock: Arc::<TestClock>::clone(&clock), connect_rate_per_address, ..Config::default() };
    let server = Server::start_with(config).await;
    for name in ["1", "2"] {
        server.client(Version::V5, name).await.disconnect().await;
    }
    assert!(is_turned_away(&server).await);
    assert_eq!(server.broker.stats().connections_refused_rate.get(), 1);
    clock.advance(Duration::from_secs(1));
    server.client(Version::V5, "3").await.nothing().await;
    assert!(is_turned_away(&server).await);
}

#[tokio::test]
async fn a_listener_takes_so_many_new_connections_a_second() {
    let clock = TestClock::new();
    let connect_rate_per_listener = Rate::per_second(1).at_once(2);
    let config =
        Config { clock: Arc::<TestClock>::clone(&clock), connect_rate_per_listener, ..Config::default() };
    let server = Server::start_with(config).await;
    for name in ["1", "2"] {
        server.client(Version::V5, name).await.disconnect().await;
    }
    assert!(is_turned_away(&server).await);
    assert_eq!(server.broker.stats().connections_refused_listener_rate.get(), 1);
    // Another listener has connections of its own.
    let other = server.listen_too().await;
    Client::connect(other, &Hello::new(Version::V5, "3")).await.nothing().await;
    clock.advance(Duration::from_secs(1));
    server.client(Version::V5, "4").await.nothing().await;
}

#[tokio::test]
async fn an_owner_connects_so_often_and_is_told() {
    both(|version| async move {
        let clock = TestClock::new();
        let connect_rate_per_owner = Rate::per_second(1).at_once(2);
        let config =
            Config { clock: Arc::<TestClock>::clone(&clock), connect_rate_per_owner, ..Config::default() };
        let server = Server::start_with(config).await;
        let hello = |user: &str, client_id: &str| Hello::new(version, client_id).user(user, user);
        for client_id in ["1", "1"] {
            Client::connect(server.address, &hello("alice", client_id)).await.disconnect().await;
        }
        let refused = Client::try_connect(server.address, &hello("alice", "2")).await;
        let code = match version {
            Version::V5 => ReasonCode::ConnectionRateExceeded,
            Version::V311 => ReasonCode::ServerUnavailable,
        };
        assert_eq!(refused.connack.reason, code);
        assert_eq!(server.broker.stats().connections_refused_owner_rate.get(), 1);
        Client::connect(server.address, &hello("bob", "1")).await.nothing().await;
        clock.advance(Duration::from_secs(1));
        Client::connect(server.address, &hello("alice", "2")).await.nothing().await;
    })
    .await;
}

#[tokio::test]
async fn an_owner_has_so_many_connections_and_is_told() {
    both(|version| async move {
        let server = Server::start_with(Config { max_connections_per_owner: 2, ..Config::default() }).await;
        let hello = |client_id: &str| Hello::new(version, client_id).user("alice", "alice");
        let _first = Client::connect(server.address, &hello("1")).await;
        let _second = Client::connect(server.address, &hello("2")).await;
        let refused = Client::try_connect(server.address, &hello("3")).await;
        let code =
            if version == Version::V5 { ReasonCode::QuotaExceeded } else { ReasonCode::ServerUnavailable };
        assert_eq!(refused.connack.reason, code);
        assert_eq!(server.broker.stats().connections_refused_owner.get(), 1);
        // Somebody else's place is another, and who takes over a session of their own takes its place.
        Client::connect(server.address, &Hello::new(version, "3").user("bob", "bob")).await;
        Client::connect(server.address, &hello("2")).await.nothing().await;
        // Nobody owns anonymous clients.
        let _anonymous = [
            server.client(version, "4").await,
            server.client(version, "5").await,
            server.client(version, "6").await,
        ];
    })
    .await;
}

#[tokio::test]
async fn a_publisher_over_its_rate_is_read_more_slowly_and_loses_nothing() {
    both(|version| async move {
        let clock = TestClock::new();
        let publish_rates = messages(Rate::per_second(10).at_once(5));
        let config = Config { clock: Arc::<TestClock>::clone(&clock), publish_rates, ..Config::default() };
        let server = Server::start_with(config).await;
        let mut listener = server.client(version, "l").await;
        listener.subscribe(&[("a", Q1)]).await;
        let mut publisher = server.client(version, "p").await;
        for n in 0..10u8 {
            publisher.send(PublishOut { qos: Q1, ..PublishOut::new("a", &[n]) }).await;
        }
        // The burst, and the one that is owed for.
        for n in 0..6u8 {
            assert_eq!(listener.take().await.payload[0], n);
        }
        listener.nothing().await;
        assert_eq!(server.broker.stats().publishers_slowed.get(), 1);
        // A tenth of a second is one message, and nothing was refused.
        clock.advance(Duration::from_millis(100));
        assert_eq!(listener.take().await.payload[0], 6);
        listener.nothing().await;
        clock.advance(Duration::from_secs(1));
        for n in 7..10u8 {
            assert_eq!(listener.take().await.payload[0], n);
        }
        for _ in 0..10 {
            match publisher.receive().await {
                ServerPacket::Puback(ack) => assert_eq!(ack.reason, ReasonCode::Success),
                other => panic!("PUBACK expected: {other:?}"),
            }
        }
        assert_eq!(server.broker.stats().publishes_refused_rate.get(), 0);
    })
    .await;
}

#[tokio::test]
async fn a_publish_that_would_have_to_wait_too_long_is_refused() {
    both(|version| async move {
        let publish_rates = PublishRates { bytes: Rate::per_second(1_000), ..PublishRates::UNLIMITED };
        let config = Config { publish_rates, ..Config::default() };
        let server = Server::start_with(config).await;
        let mut publisher = server.client(version, "p").await;
        let large = PublishOut { qos: Q1, ..PublishOut::new("a", &[0; 10_000]) };
        if version == Version::V5 {
            assert_eq!(publisher.publish_with(large).await.reason, ReasonCode::QuotaExceeded);
            publisher.publish("a", b"small").await;
        } else {
            publisher.send(large).await;
            assert_eq!(publisher.closed().await, None);
        }
        assert_eq!(server.broker.stats().publishes_refused_rate.get(), 1);
    })
    .await;
}

/// Two connections publish ten messages each; so many come through, until a second has passed.
async fn ten_each(version: Version, config: Config, users: [Option<&str>; 2], come_through: usize) {
    let clock = TestClock::new();
    let config = Config { clock: Arc::<TestClock>::clone(&clock), ..config };
    let server = Server::start_with(config).await;
    let mut listener = server.client(version, "l").await;
    listener.subscribe(&[("a", Q1)]).await;
    let mut publishers = Vec::new();
    for (name, user) in ["1", "2"].into_iter().zip(users) {
        let hello = Hello::new(version, name);
        let hello = user.map_or(hello.clone(), |user| hello.user(user, user));
        let mut publisher = Client::connect(server.address, &hello).await;
        for n in 0..10u8 {
            publisher.send(PublishOut { qos: Q1, ..PublishOut::new("a", &[n]) }).await;
        }
        publishers.push(publisher);
    }
    for _ in 0..come_through {
        listener.take().await;
    }
    listener.nothing().await;
    // What is behind is read as the rate allows, and nothing of it was refused.
    for _ in come_through..20 {
        // Twice what one message takes: where two of them wait, each comes after what the other owes.
        clock.advance(Duration::from_millis(200));
        listener.take().await;
    }
    for publisher in &mut publishers {
        for _ in 0..10 {
            match publisher.receive().await {
                ServerPacket::Puback(ack) => assert_eq!(ack.reason, ReasonCode::Success),
                other => panic!("PUBACK expected: {other:?}"),
            }
        }
    }
    assert_eq!(server.broker.stats().publishes_refused_rate.get(), 0);
}

#[tokio::test]
async fn the_connections_of_an_owner_publish_at_one_rate() {
    both(|version| async move {
        let publish_rates_per_owner = messages(Rate::per_second(10).at_once(5));
        let config = Config { publish_rates_per_owner, ..Config::default() };
        // Each of the two has one message that is owed for.
        ten_each(version, config.clone(), [Some("alice"), Some("alice")], 7).await;
        ten_each(version, config.clone(), [Some("alice"), Some("bob")], 12).await;
        // Nobody owns anonymous clients.
        ten_each(version, config, [None, None], 20).await;
    })
    .await;
}

#[tokio::test]
async fn the_connections_of_an_address_publish_at_one_rate() {
    both(|version| async move {
        let publish_rates_per_address = messages(Rate::per_second(10).at_once(5));
        let config = Config { publish_rates_per_address, ..Config::default() };
        // The listener, which has the same address and publishes nothing, is not held up.
        ten_each(version, config.clone(), [Some("alice"), Some("bob")], 7).await;
        ten_each(version, config, [None, Some("bob")], 7).await;
    })
    .await;
}

#[tokio::test]
async fn the_connections_of_a_listener_publish_at_one_rate() {
    both(|version| async move {
        let publish_rates_per_listener = messages(Rate::per_second(10).at_once(5));
        let config = Config { publish_rates_per_listener, ..Config::default() };
        ten_each(version, config.clone(), [Some("alice"), Some("bob")], 7).await;
        ten_each(version, config, [None, None], 7).await;
    })
    .await;
}
