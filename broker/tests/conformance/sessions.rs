//! Sections 3.1.2.4 and 4.1: what a session is, how long it lasts, and whose it is.

use crate::raw::{GOODBYE, Hello, Pub, Put, Raw, id};
use crate::support::{Server, TestClock, both};
use crate::wills::pass;
use chasqui_broker::Config;
use chasqui_broker::codec::Version;
use std::sync::Arc;
use std::time::Duration;

async fn publish(server: &Server, version: Version, publish: &Pub) {
    let mut publisher = Raw::connect(server.address, version, "").await;
    publisher.publish(publish).await;
    publisher.goodbye().await;
}

#[tokio::test]
async fn a_session_goes_on_where_it_was() {
    both(|version| async move {
        let server = Server::start().await;
        let hello = Hello::kept(version, "c");
        let (mut client, connack) = Raw::hello(server.address, &hello).await;
        assert!(!connack.session_present(), "there was none: it is new");
        client.subscribe(&[("t", 1)]).await;
        client.goodbye().await;
        let (mut client, connack) = Raw::hello(server.address, &hello).await;
        assert!(connack.session_present());
        publish(&server, version, &Pub::new("t", "x").qos(1, 1)).await;
        let message = client.message().await;
        assert_eq!(message.text(), "x");
        // Lost without an answer: it comes again, and the subscription is still there.
        drop(client);
        let (mut client, connack) = Raw::hello(server.address, &hello).await;
        assert!(connack.session_present());
        let again = client.take().await;
        assert_eq!((again.packet_id, again.text(), again.dup), (message.packet_id, "x", true));
        publish(&server, version, &Pub::new("t", "y").qos(1, 1)).await;
        assert_eq!(client.take().await.text(), "y");
    })
    .await;
}

#[tokio::test]
async fn what_comes_while_it_is_offline_is_kept() {
    both(|version| async move {
        let server = Server::start().await;
        let hello = Hello::kept(version, "c");
        let (mut client, _) = Raw::hello(server.address, &hello).await;
        client.subscribe(&[("t/#", 2)]).await;
        client.goodbye().await;
        for n in 0..10 {
            publish(&server, version, &Pub::new("t", &n.to_string()).qos(1, 1)).await;
        }
        let (mut client, _) = Raw::hello(server.address, &hello).await;
        for n in 0..10 {
            assert_eq!(client.take().await.text(), n.to_string());
        }
        client.nothing().await;
    })
    .await;
}

#[tokio::test]
async fn a_clean_start_ends_the_old_session() {
    both(|version| async move {
        let server = Server::start().await;
        let kept = Hello::kept(version, "c");
        let (mut client, _) = Raw::hello(server.address, &kept).await;
        client.subscribe(&[("t", 1)]).await;
        client.goodbye().await;
        publish(&server, version, &Pub::new("t", "waits").qos(1, 1)).await;
        let (mut client, connack) = Raw::hello(server.address, &Hello { clean: true, ..kept.clone() }).await;
        assert!(!connack.session_present());
        publish(&server, version, &Pub::new("t", "live").qos(1, 1)).await;
        client.nothing().await;
        client.goodbye().await;
        // 3.1.1: what a clean session leaves is nothing. 5.0: the new session is kept, with nothing of the old one in it.
        let (mut client, connack) = Raw::hello(server.address, &kept).await;
        assert_eq!(connack.session_present(), version == Version::V5);
        publish(&server, version, &Pub::new("t", "later").qos(1, 1)).await;
        client.nothing().await;
    })
    .await;
}

#[tokio::test]
async fn a_session_that_is_not_kept_ends_with_its_connection() {
    both(|version| async move {
        let server = Server::start().await;
        for goodbye in [true, false] {
            let mut client = Raw::connect(server.address, version, "c").await;
            client.subscribe(&[("t", 1)]).await;
            if goodbye {
                client.goodbye().await;
            } else {
                drop(client);
            }
            let (mut client, connack) = Raw::hello(server.address, &Hello::kept(version, "c")).await;
            assert!(!connack.session_present());
            publish(&server, version, &Pub::new("t", "x").qos(1, 1)).await;
            client.nothing().await;
            client.goodbye().await;
            Raw::connect(server.address, version, "c").await.goodbye().await;
        }
    })
    .await;
}

#[tokio::test]
async fn retained_messages_outlive_the_session_that_sent_them() {
    both(|version| async move {
        let server = Server::start().await;
        let mut client = Raw::connect(server.address, version, "c").await;
        client.publish(&Pub::new("t", "kept").qos(1, 1).retained()).await;
        client.goodbye().await;
        let mut client = Raw::connect(server.address, version, "c").await;
        client.subscribe(&[("t", 1)]).await;
        let message = client.take().await;
        assert_eq!((message.text(), message.retain), ("kept", true));
    })
    .await;
}

#[tokio::test]
async fn a_session_is_kept_as_long_as_was_asked_and_no_longer() {
    let version = Version::V5;
    let clock = TestClock::new();
    let config = Config { clock: Arc::<TestClock>::clone(&clock), ..Config::default() };
    let server = Server::start_with(config).await;
    let hello = Hello::kept(version, "c").properties(Put::new().four(id::SESSION_EXPIRY, 100));
    let (mut client, connack) = Raw::hello(server.address, &hello).await;
    assert!(!connack.properties.has(id::SESSION_EXPIRY), "as asked");
    client.subscribe(&[("t", 1)]).await;
    client.goodbye().await;
    pass(&server, &clock, Duration::from_secs(90)).await;
    let (client, connack) = Raw::hello(server.address, &hello).await;
    assert!(connack.session_present(), "its time begins when the connection ends");
    client.goodbye().await;
    pass(&server, &clock, Duration::from_secs(101)).await;
    let (client, connack) = Raw::hello(server.address, &hello).await;
    assert!(!connack.session_present());
    client.goodbye().await;
}

#[tokio::test]
async fn a_session_lasts_at_least_as_long_as_its_connection() {
    both(|version| async move {
        let clock = TestClock::new();
        let config = Config { clock: Arc::<TestClock>::clone(&clock), ..Config::default() };
        let server = Server::start_with(config).await;
        let short = Hello::kept(version, "s").properties(Put::new().four(id::SESSION_EXPIRY, 1));
        for hello in [Hello::new(version, "c"), short] {
            let (mut client, _) = Raw::hello(server.address, &hello).await;
            client.subscribe(&[("t", 1)]).await;
            pass(&server, &clock, Duration::from_hours(1000)).await;
            publish(&server, version, &Pub::new("t", "x").qos(1, 1)).await;
            assert_eq!(client.take().await.text(), "x");
            client.goodbye().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_session_is_that_of_a_client_id_and_a_user() {
    both(|version| async move {
        let server = Server::start().await;
        let of = |user: &str, client_id| Hello {
            user: Some(user.into()),
            password: Some(user.into()),
            ..Hello::kept(version, client_id)
        };
        let (mut client, _) = Raw::hello(server.address, &of("alice", "one")).await;
        client.subscribe(&[("t", 1)]).await;
        client.goodbye().await;
        for (other, present) in
            [(of("alice", "two"), false), (of("bob", "one"), false), (of("alice", "one"), true)]
        {
            let (client, connack) = Raw::hello(server.address, &other).await;
            assert_eq!(connack.session_present(), present);
            client.goodbye().await;
        }
    })
    .await;
}

#[tokio::test]
async fn disconnect_may_change_how_long_a_session_is_kept() {
    let server = Server::start().await;
    let hello = Hello::kept(Version::V5, "c");
    let (mut client, _) = Raw::hello(server.address, &hello).await;
    let put = Put::new().four(id::SESSION_EXPIRY, 0);
    client.send(&crate::raw::reasoned(GOODBYE[0], 0, &put)).await;
    client.closed().await;
    let (_, connack) = Raw::hello(server.address, &hello).await;
    assert!(!connack.session_present());
}
