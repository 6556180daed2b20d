//! Section 3.2: CONNACK.

use crate::door::Door;
use crate::raw::{CONNACK, GOODBYE, Hello, Pub, Put, Raw, id};
use crate::support::{Server, TestClock, both};
use chasqui_broker::Config;
use chasqui_broker::codec::Version;
use std::sync::Arc;
use std::time::Duration;

#[tokio::test]
async fn connack_comes_first_and_once() {
    both(|version| async move {
        let server = Server::start().await;
        let hello = Hello::kept(version, "c");
        let (mut client, _) = Raw::hello(server.address, &hello).await;
        client.subscribe(&[("t", 1)]).await;
        client.send(&Pub::new("t", "in flight").qos(1, 1).bytes(version)).await;
        client.packet().await;
        client.packet().await;
        drop(client);
        let mut publisher = Raw::connect(server.address, version, "p").await;
        publisher.publish(&Pub::new("t", "queued").qos(1, 1)).await;
        // Something is there to be sent from the first moment on.
        let (mut client, connack) = Raw::hello(server.address, &hello).await;
        assert!(connack.session_present());
        for text in ["in flight", "queued"] {
            assert_eq!(client.take().await.text(), text);
        }
        client.nothing().await;
        client.send(&GOODBYE).await;
        while let Some((first, _)) = client.next().await {
            assert_ne!(first, CONNACK);
        }
    })
    .await;
}

#[tokio::test]
async fn session_present_says_whether_there_was_a_session() {
    both(|version| async move {
        let server = Server::start().await;
        let kept = Hello::kept(version, "c");
        let clean = Hello { clean: true, ..kept.clone() };
        for (hello, flags) in [(&kept, 0), (&kept, 1), (&kept, 1), (&clean, 0), (&clean, 0)] {
            let (client, connack) = Raw::hello(server.address, hello).await;
            assert_eq!((connack.flags, connack.code), (flags, 0));
            client.goodbye().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_refusal_says_that_there_is_no_session_and_closes() {
    both(|version| async move {
        let (server, _) = Door::open().await;
        let hello = |password: &str| Hello {
            user: Some(b"u".to_vec()),
            password: Some(password.into()),
            ..Hello::kept(version, "c")
        };
        Raw::hello(server.address, &hello("right")).await.0.goodbye().await;
        for password in ["wrong", "banned", "not now"] {
            let (mut client, connack) = Raw::try_hello(server.address, &hello(password)).await;
            assert_eq!(connack.flags, 0);
            assert_ne!(connack.code, 0);
            client.closed().await;
        }
        let (_, connack) = Raw::hello(server.address, &hello("right")).await;
        assert!(connack.session_present());
    })
    .await;
}

#[tokio::test]
async fn what_no_return_code_says_closes_without_connack_on_3_1_1() {
    both(|version| async move {
        let (server, _) = Door::open().await;
        let hello = Hello {
            user: Some(b"u".to_vec()),
            password: Some(b"not so".to_vec()),
            ..Hello::new(version, "c")
        };
        let mut client = Raw::open(server.address, version).await;
        client.send(&hello.bytes()).await;
        client.turned_away(0x83).await;
    })
    .await;
}

#[tokio::test]
async fn what_is_announced_is_what_is_served() {
    let server = Server::start().await;
    let (mut client, connack) = Raw::hello(server.address, &Hello::new(Version::V5, "c")).await;
    let got = connack.properties;
    for available in [id::RETAIN_AVAILABLE, id::WILDCARD_AVAILABLE, id::SUBSCRIPTION_IDS_AVAILABLE] {
        assert_ne!(got.number(available), Some(0));
    }
    let highest = got.number(id::MAXIMUM_QOS).map_or(2, |qos| qos as u8);
    assert_eq!(client.subscribe(&[("q/0", 0), ("q/1", 1), ("q/2", 2)]).await, [0, 1, highest]);
    assert_eq!(client.subscribe_as(7, &[("r/+", 1)]).await, [1]);
    client.send(&Pub::new("r/a", "x").retained().bytes(Version::V5)).await;
    assert_eq!(client.message().await.properties.subscription_ids(), [7]);
    assert_eq!(client.subscribe(&[("r/#", 1)]).await, [1]);
    assert!(client.message().await.retain);
    assert!(got.number(id::RECEIVE_MAXIMUM) != Some(0) && got.number(id::MAXIMUM_PACKET_SIZE) != Some(0));
}

#[tokio::test]
async fn words_are_left_out_where_they_do_not_fit() {
    let (server, _) = Door::open().await;
    let refused = |max| Hello {
        user: Some(b"u".to_vec()),
        password: Some(b"wrong".to_vec()),
        properties: Put::new().four(id::MAXIMUM_PACKET_SIZE, max),
        ..Hello::new(Version::V5, "c")
    };
    let (mut client, whole) = Raw::try_hello(server.address, &refused(1000)).await;
    client.closed().await;
    let words = whole.properties.text(id::REASON_STRING).expect("there is something to say");
    // Fixed header, flags, code, property length, and the property with its length.
    let len = 2 + 2 + 1 + 3 + words.len() as u32;
    for (max, has) in [(len, true), (len - 1, false), (5, false)] {
        let (mut client, connack) = Raw::try_hello(server.address, &refused(max)).await;
        assert_eq!((connack.code, connack.properties.has(id::REASON_STRING)), (0x86, has));
        assert!(connack.properties.users().is_empty());
        client.closed().await;
    }
}

#[tokio::test]
async fn the_keep_alive_is_the_clients_unless_the_server_says_another() {
    let version = Version::V5;
    let clock = TestClock::new();
    let config = Config { clock: Arc::<TestClock>::clone(&clock), max_keep_alive_s: 20, ..Config::default() };
    let server = Server::start_with(config).await;
    let of = |client_id, keep_alive| Hello { keep_alive, ..Hello::new(version, client_id) };
    let (mut own, connack) = Raw::hello(server.address, &of("own", 10)).await;
    assert!(!connack.properties.has(id::SERVER_KEEP_ALIVE));
    let (mut long, connack) = Raw::hello(server.address, &of("long", 100)).await;
    assert_eq!(connack.properties.number(id::SERVER_KEEP_ALIVE), Some(20));
    let (mut none, connack) = Raw::hello(server.address, &of("none", 0)).await;
    assert_eq!(connack.properties.number(id::SERVER_KEEP_ALIVE), Some(20));
    clock.advance(Duration::from_secs(16));
    own.ended(0x8D).await;
    long.nothing().await;
    none.nothing().await;
    clock.advance(Duration::from_secs(31));
    long.ended(0x8D).await;
    none.ended(0x8D).await;
}
