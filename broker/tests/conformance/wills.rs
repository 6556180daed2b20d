//! Section 3.1.2.5 and its like: wills, when they are published and when not.

use crate::raw::{DISCONNECT, GOODBYE, Hello, Pub, Put, Raw, Will, id, reasoned};
use crate::support::{Server, TestClock, both};
use chasqui_broker::Config;
use chasqui_broker::codec::Version;
use std::sync::Arc;
use std::time::Duration;

/// A will on `gone`.
fn will() -> Will {
    Will::new("gone", "x")
}

async fn watcher(server: &Server, version: Version) -> Raw {
    let mut watcher = Raw::connect(server.address, version, "watcher").await;
    watcher.subscribe(&[("gone/#", 2)]).await;
    watcher
}

/// Waits until there are so many connections and no more: the server has done all that the end of the others asks for.
pub(crate) async fn settled(server: &Server, connections: usize) {
    let waiting = async {
        while server.broker.connections() > connections {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(crate::support::PATIENCE, waiting).await.expect("connections end");
}

/// Lets time pass, and waits until the server has seen to everything that is due by then: a session of its own, whose will is
/// due last, shows it.
pub(crate) async fn pass(server: &Server, clock: &TestClock, time: Duration) {
    let before = server.broker.connections();
    let mut probe = Raw::connect(server.address, Version::V5, "probe-watcher").await;
    probe.subscribe(&[("probe", 0)]).await;
    // The second look begins only when the first is through.
    for delay in [time, Duration::from_secs(1)] {
        let put = Put::new().four(id::WILL_DELAY, delay.as_secs() as u32);
        let will = Will { properties: put, ..Will::new("probe", "") };
        drop(Raw::hello(server.address, &Hello::kept(Version::V5, "probe").will(will)).await);
        settled(server, before + 1).await;
        clock.advance(delay);
        assert_eq!(probe.message().await.topic, "probe");
    }
    probe.goodbye().await;
    settled(server, before).await;
}

#[tokio::test]
async fn a_will_is_published_when_the_connection_ends_without_goodbye() {
    both(|version| async move {
        let clock = TestClock::new();
        let config = Config { clock: Arc::<TestClock>::clone(&clock), ..Config::default() };
        let server = Server::start_with(config).await;
        let mut watcher = watcher(&server, version).await;
        let hello = Hello { keep_alive: 10, ..Hello::new(version, "c").will(will()) };
        for way in 0..5 {
            let (mut client, _) = Raw::hello(server.address, &hello).await;
            watcher.nothing().await;
            match way {
                0 => drop(client),
                1 => client.send(&Hello::new(version, "c").bytes()).await,
                2 => clock.advance(Duration::from_secs(16)),
                3 => Raw::connect(server.address, version, "c").await.goodbye().await,
                _ if version == Version::V5 => client.send(&reasoned(DISCONNECT, 0x04, &Put::new())).await,
                _ => drop(client),
            }
            let message = watcher.take().await;
            assert_eq!((&*message.topic, message.text()), ("gone", "x"), "way {way}");
            watcher.nothing().await;
        }
    })
    .await;
}

#[tokio::test]
async fn disconnect_forgets_the_will() {
    both(|version| async move {
        let server = Server::start().await;
        let mut watcher = watcher(&server, version).await;
        for hello in [Hello::new(version, "c"), Hello::kept(version, "k")] {
            let (client, _) = Raw::hello(server.address, &hello.clone().will(will())).await;
            client.goodbye().await;
            settled(&server, 1).await;
            // Not later either, when the session is taken up and lost.
            drop(Raw::hello(server.address, &hello).await);
            settled(&server, 1).await;
            watcher.nothing().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_will_is_published_once() {
    both(|version| async move {
        let server = Server::start().await;
        let mut watcher = watcher(&server, version).await;
        let hello = Hello::kept(version, "c");
        drop(Raw::hello(server.address, &hello.clone().will(will())).await);
        watcher.take().await;
        settled(&server, 1).await;
        drop(Raw::hello(server.address, &hello).await);
        settled(&server, 1).await;
        drop(Raw::hello(server.address, &Hello { clean: true, ..hello }).await);
        settled(&server, 1).await;
        watcher.nothing().await;
    })
    .await;
}

#[tokio::test]
async fn without_a_will_nothing_is_published() {
    both(|version| async move {
        let server = Server::start().await;
        let mut watcher = Raw::connect(server.address, version, "w").await;
        watcher.subscribe(&[("#", 2)]).await;
        drop(Raw::connect(server.address, version, "c").await);
        settled(&server, 1).await;
        watcher.nothing().await;
    })
    .await;
}

#[tokio::test]
async fn will_fields_are_where_the_flag_says() {
    both(|version| async move {
        let server = Server::start().await;
        let flag = 0b100;
        let hello = Hello::new(version, "c");
        let bad = [
            Hello { flip: flag, ..hello.clone() },
            Hello { flip: flag, ..hello.clone().will(will()) },
            // The user name stands where the topic of a will should, and no message follows.
            Hello { flip: flag, user: Some(b"u".to_vec()), ..hello },
        ];
        for hello in bad {
            let mut client = Raw::open(server.address, version).await;
            client.send(&hello.bytes()).await;
            client.turned_away(0x81).await;
        }
    })
    .await;
}

#[tokio::test]
async fn will_qos_and_will_retain_need_a_will() {
    both(|version| async move {
        let server = Server::start().await;
        for flip in [0b0_1000, 0b1_0000, 0b1_1000, 0b10_0000] {
            let mut client = Raw::open(server.address, version).await;
            client.send(&Hello { flip, ..Hello::new(version, "c") }.bytes()).await;
            client.turned_away(0x81).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_will_of_qos_3_closes() {
    both(|version| async move {
        let server = Server::start().await;
        let mut client = Raw::open(server.address, version).await;
        client.send(&Hello::new(version, "c").will(Will { qos: 3, ..will() }).bytes()).await;
        client.turned_away(0x81).await;
    })
    .await;
}

#[tokio::test]
async fn a_will_is_published_as_it_was_left() {
    both(|version| async move {
        let server = Server::start().await;
        for (qos, retain) in [(0, false), (1, false), (2, false), (0, true), (1, true), (2, true)] {
            let mut watcher = watcher(&server, version).await;
            let left = Will { qos, retain, ..will() };
            drop(Raw::hello(server.address, &Hello::new(version, "c").will(left)).await);
            let live = watcher.take().await;
            assert_eq!((live.qos, live.retain, live.text()), (qos, false, "x"));
            watcher.goodbye().await;
            let mut later = self::watcher(&server, version).await;
            if retain {
                let kept = later.take().await;
                assert_eq!((kept.qos, kept.retain, kept.text()), (qos, true, "x"));
            }
            later.nothing().await;
            if retain {
                Raw::connect(server.address, version, "e")
                    .await
                    .publish(&Pub::new("gone", "").retained())
                    .await;
                later.take().await;
            }
            later.goodbye().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_will_waits_for_its_delay_or_the_end_of_the_session() {
    let clock = TestClock::new();
    let config = Config { clock: Arc::<TestClock>::clone(&clock), ..Config::default() };
    let server = Server::start_with(config).await;
    let mut watcher = watcher(&server, Version::V5).await;
    let delayed = |seconds| Will { properties: Put::new().four(id::WILL_DELAY, seconds), ..will() };
    // Its delay.
    drop(Raw::hello(server.address, &Hello::kept(Version::V5, "c").will(delayed(100))).await);
    settled(&server, 1).await;
    pass(&server, &clock, Duration::from_secs(98)).await;
    watcher.nothing().await;
    clock.advance(Duration::from_secs(1));
    assert_eq!(watcher.take().await.topic, "gone");
    // The end of the session by expiry, which comes first.
    let short = Put::new().four(id::SESSION_EXPIRY, 10);
    let hello = Hello::new(Version::V5, "c").properties(short).will(delayed(100));
    drop(Raw::hello(server.address, &hello).await);
    settled(&server, 1).await;
    pass(&server, &clock, Duration::from_secs(8)).await;
    watcher.nothing().await;
    clock.advance(Duration::from_secs(1));
    assert_eq!(watcher.take().await.topic, "gone");
    // The end of the session with its connection.
    drop(Raw::hello(server.address, &Hello::new(Version::V5, "c").will(delayed(100))).await);
    assert_eq!(watcher.take().await.topic, "gone");
    // The end of the session by a clean start.
    let kept = Hello::kept(Version::V5, "c");
    drop(Raw::hello(server.address, &kept.clone().will(delayed(100))).await);
    settled(&server, 1).await;
    watcher.nothing().await;
    Raw::hello(server.address, &Hello { clean: true, ..kept }).await.0.goodbye().await;
    assert_eq!(watcher.take().await.topic, "gone");
    watcher.nothing().await;
}

#[tokio::test]
async fn a_will_is_not_sent_when_the_client_is_back_within_its_delay() {
    let clock = TestClock::new();
    let config = Config { clock: Arc::<TestClock>::clone(&clock), ..Config::default() };
    let server = Server::start_with(config).await;
    let mut watcher = watcher(&server, Version::V5).await;
    let kept = Hello::kept(Version::V5, "c");
    let delayed = Will { properties: Put::new().four(id::WILL_DELAY, 100), ..will() };
    drop(Raw::hello(server.address, &kept.clone().will(delayed)).await);
    settled(&server, 1).await;
    pass(&server, &clock, Duration::from_secs(90)).await;
    let (mut client, _) = Raw::hello(server.address, &kept).await;
    pass(&server, &clock, Duration::from_secs(1000)).await;
    client.send(&GOODBYE).await;
    client.closed().await;
    pass(&server, &clock, Duration::from_secs(1000)).await;
    watcher.nothing().await;
}

#[tokio::test]
async fn the_properties_of_a_will_are_published_in_order() {
    let server = Server::start().await;
    let mut watcher = watcher(&server, Version::V5).await;
    let properties = Put::new()
        .user("b", "1")
        .byte(id::PAYLOAD_FORMAT, 1)
        .user("a", "2")
        .text(id::CONTENT_TYPE, "text/plain")
        .user("b", "3")
        .text(id::RESPONSE_TOPIC, "answers")
        .text(id::CORRELATION_DATA, b"\0\xFF")
        .user("b", "1");
    let left = Will { properties, ..will() };
    drop(Raw::hello(server.address, &Hello::new(Version::V5, "c").will(left)).await);
    let got = watcher.take().await.properties;
    assert_eq!(got.users(), [("b", "1"), ("a", "2"), ("b", "3"), ("b", "1")]);
    assert_eq!(got.number(id::PAYLOAD_FORMAT), Some(1));
    assert_eq!(got.text(id::CONTENT_TYPE), Some("text/plain"));
    assert_eq!(got.text(id::RESPONSE_TOPIC), Some("answers"));
    assert_eq!(got.data(id::CORRELATION_DATA), Some(&b"\0\xFF"[..]));
    assert!(!got.has(id::WILL_DELAY));
}
