//! Sections 4.4 to 4.6 and 4.9: delivering again, taking messages over, their order, and how many are in flight.

use crate::raw::{
    Hello, PINGREQ, PINGRESP, PUBACK, PUBCOMP, PUBREC, PUBREL, Pub, Put, Raw, SUBACK, ack, ack_with, id,
    subscribe,
};
use crate::support::{Server, TestClock, both};
use chasqui_broker::Config;
use chasqui_broker::codec::Version;
use std::sync::Arc;
use std::time::Duration;

/// A session that takes so many messages at once, kept for ever.
fn hello(version: Version, receive_maximum: u16) -> Hello {
    let put = Put::new().two(id::RECEIVE_MAXIMUM, receive_maximum).four(id::SESSION_EXPIRY, u32::MAX);
    Hello::kept(version, "c").properties(put)
}

/// A server whose 3.1.1 clients take three messages at once too.
async fn narrow() -> Server {
    Server::start_with(Config { window_v311: 3, ..Config::default() }).await
}

#[tokio::test]
async fn what_is_not_acknowledged_is_sent_again_with_its_id_and_dup_in_order() {
    both(|version| async move {
        let server = Server::start().await;
        let kept = Hello::kept(version, "c");
        let (mut client, _) = Raw::hello(server.address, &kept).await;
        client.subscribe(&[("+", 2)]).await;
        let mut publisher = Raw::connect(server.address, version, "p").await;
        let mut sent = Vec::new();
        for n in 0..10 {
            let topic = if n % 2 == 0 { "a" } else { "b" };
            publisher.publish(&Pub::new(topic, &n.to_string()).qos(1 + n % 2, 1)).await;
            sent.push(client.message().await);
        }
        client.send(&ack(PUBACK, sent[4].packet_id)).await;
        client.nothing().await;
        sent.remove(4);
        drop(client);
        let (mut client, connack) = Raw::hello(server.address, &kept).await;
        assert!(connack.session_present());
        for original in sent {
            let again = client.take().await;
            assert_eq!(again, crate::raw::Message { dup: true, ..original });
        }
        client.nothing().await;
        // What is new has no DUP.
        publisher.publish(&Pub::new("a", "new").qos(1, 1)).await;
        assert!(!client.take().await.dup);
    })
    .await;
}

#[tokio::test]
async fn nothing_is_sent_again_while_the_connection_lasts() {
    both(|version| async move {
        let clock = TestClock::new();
        let config = Config { clock: Arc::<TestClock>::clone(&clock), ..Config::default() };
        let server = Server::start_with(config).await;
        let (mut client, _) = Raw::hello(server.address, &Hello::kept(version, "c")).await;
        client.subscribe(&[("a", 2)]).await;
        let mut publisher = Raw::connect(server.address, version, "p").await;
        for qos in 1..=2 {
            publisher.publish(&Pub::new("a", "x").qos(qos, 1)).await;
            client.message().await;
        }
        publisher.publish(&Pub::new("a", "x").qos(2, 1)).await;
        let third = client.message().await;
        client.send(&ack(PUBREC, third.packet_id)).await;
        client.reasoned(PUBREL).await;
        for _ in 0..5 {
            clock.advance(Duration::from_hours(1));
            client.nothing().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_clean_start_sends_nothing_again() {
    both(|version| async move {
        let server = Server::start().await;
        let kept = Hello::kept(version, "c");
        let (mut client, _) = Raw::hello(server.address, &kept).await;
        client.subscribe(&[("a", 1)]).await;
        let mut publisher = Raw::connect(server.address, version, "p").await;
        publisher.publish(&Pub::new("a", "x").qos(1, 1)).await;
        client.message().await;
        drop(client);
        let (mut client, connack) = Raw::hello(server.address, &Hello { clean: true, ..kept }).await;
        assert!(!connack.session_present());
        client.nothing().await;
    })
    .await;
}

#[tokio::test]
async fn a_message_that_was_refused_is_not_sent_again() {
    let version = Version::V5;
    let server = Server::start().await;
    let kept = Hello::kept(version, "c");
    let (mut client, _) = Raw::hello(server.address, &kept).await;
    client.subscribe(&[("a", 2)]).await;
    let mut publisher = Raw::connect(server.address, version, "p").await;
    for (qos, first) in [(1, PUBACK), (2, PUBREC)] {
        publisher.publish(&Pub::new("a", "refused").qos(qos, 1)).await;
        let refused = client.message().await;
        client.send(&ack_with(first, refused.packet_id, 0x97)).await;
        // No PUBREL follows.
        client.nothing().await;
    }
    drop(client);
    let (mut client, _) = Raw::hello(server.address, &kept).await;
    client.nothing().await;
    publisher.publish(&Pub::new("a", "next").qos(1, 1)).await;
    assert_eq!(client.take().await.text(), "next");
}

/// Who is connected, who is away, and by whatever filter; at each QoS above 0 that is all who must have it.
#[tokio::test]
async fn a_message_joins_every_session_that_subscribes() {
    both(|version| async move {
        let server = Server::start().await;
        let filters = ["a/b", "a/+", "#", "+/b", "a/b/#"];
        let mut here = Vec::new();
        for (n, filter) in filters.iter().enumerate() {
            let away = Hello::kept(version, &format!("away-{n}"));
            let (mut client, _) = Raw::hello(server.address, &away).await;
            client.subscribe(&[(filter, 2)]).await;
            client.goodbye().await;
            let mut client = Raw::connect(server.address, version, &format!("here-{n}")).await;
            client.subscribe(&[(filter, 2)]).await;
            here.push(client);
        }
        let mut publisher = Raw::connect(server.address, version, "p").await;
        for qos in 1..=2 {
            publisher.publish(&Pub::new("a/b", "x").qos(qos, 1)).await;
        }
        for (n, client) in here.iter_mut().enumerate() {
            let (mut away, _) = Raw::hello(server.address, &Hello::kept(version, &format!("away-{n}"))).await;
            for qos in 1..=2 {
                assert_eq!(client.take().await.qos, qos);
                assert_eq!(away.take().await.qos, qos);
            }
            client.nothing().await;
            away.nothing().await;
        }
    })
    .await;
}

/// Of one publisher, for one topic and QoS, whatever the way: connected, behind a narrow window, away, and sent again.
#[tokio::test]
async fn messages_arrive_in_the_order_they_were_published() {
    both(|version| async move {
        const COUNT: usize = 100;
        let server = narrow().await;
        for qos in 1..=2 {
            let (mut away, _) = Raw::hello(server.address, &hello(version, 3)).await;
            away.subscribe(&[("a/#", 2)]).await;
            away.goodbye().await;
            let mut here = Raw::connect(server.address, version, "here").await;
            here.subscribe(&[("a/#", 2)]).await;
            let mut publisher = Raw::connect(server.address, version, "p").await;
            for n in 0..COUNT {
                let topic = format!("a/{}", n % 3);
                publisher.publish(&Pub::new(&topic, &n.to_string()).qos(qos, 1)).await;
                assert_eq!(here.take().await.text(), n.to_string());
            }
            let (mut back, _) = Raw::hello(server.address, &hello(version, 3)).await;
            for n in 0..COUNT {
                if n == COUNT / 2 {
                    // In the middle of it the connection is lost, with three in flight.
                    let in_flight = [back.message().await, back.message().await, back.message().await];
                    drop(back);
                    back = Raw::hello(server.address, &hello(version, 3)).await.0;
                    assert_eq!(in_flight[0].text(), n.to_string());
                }
                assert_eq!(back.take().await.text(), n.to_string());
            }
            back.nothing().await;
            for client in [here, publisher, back] {
                client.goodbye().await;
            }
            Raw::hello(server.address, &Hello::new(version, "c")).await.0.goodbye().await;
        }
    })
    .await;
}

#[tokio::test]
async fn messages_of_qos_0_arrive_in_the_order_they_were_published() {
    both(|version| async move {
        let server = Server::start().await;
        let mut client = Raw::connect(server.address, version, "c").await;
        client.subscribe(&[("a", 1)]).await;
        let mut publisher = Raw::connect(server.address, version, "p").await;
        let bytes: Vec<u8> = (0..500).flat_map(|n| Pub::new("a", &n.to_string()).bytes(version)).collect();
        publisher.send(&bytes).await;
        for n in 0..500 {
            assert_eq!(client.take().await.text(), n.to_string());
        }
    })
    .await;
}

/// The client's Receive Maximum on 5.0, the server's own bound on 3.1.1.
#[tokio::test]
async fn no_more_than_the_receive_maximum_is_in_flight() {
    both(|version| async move {
        let server = narrow().await;
        for (qos, kept) in [(1, false), (1, true), (2, false), (2, true)] {
            let hello = hello(version, 3);
            let hello = if kept { hello } else { Hello { clean: true, properties: narrow_only(), ..hello } };
            let (mut client, _) = Raw::hello(server.address, &hello).await;
            client.subscribe(&[("a", 2)]).await;
            let mut publisher = Raw::connect(server.address, version, "p").await;
            for n in 0..8 {
                publisher.publish(&Pub::new("a", &n.to_string()).qos(qos, 1)).await;
            }
            let mut held = Vec::new();
            for _ in 0..3 {
                held.push(client.message().await);
            }
            client.nothing().await;
            for (n, done) in (3..8).zip([1, 0, 2, 3, 4]) {
                finish(&mut client, qos, held[done].packet_id).await;
                let next = client.message().await;
                assert_eq!(next.text(), n.to_string());
                held.push(next);
                client.nothing().await;
            }
            client.goodbye().await;
            publisher.goodbye().await;
            Raw::hello(server.address, &Hello::new(version, "c")).await.0.goodbye().await;
        }
    })
    .await;
}

fn narrow_only() -> Put {
    Put::new().two(id::RECEIVE_MAXIMUM, 3)
}

/// The answers that end a message. A PUBREC does not: the place is free at PUBCOMP.
async fn finish(client: &mut Raw, qos: u8, packet_id: u16) {
    if qos == 1 {
        client.send(&ack(PUBACK, packet_id)).await;
    } else {
        client.send(&ack(PUBREC, packet_id)).await;
        assert_eq!(client.reasoned(PUBREL).await.packet_id, packet_id);
        client.nothing().await;
        client.send(&ack(PUBCOMP, packet_id)).await;
    }
}

#[tokio::test]
async fn a_full_window_holds_up_nothing_but_publishes_above_qos_0() {
    both(|version| async move {
        let server = narrow().await;
        let (mut client, _) = Raw::hello(server.address, &hello(version, 3)).await;
        client.subscribe(&[("a", 1), ("b", 0)]).await;
        let mut publisher = Raw::connect(server.address, version, "p").await;
        for n in 0..6 {
            publisher.publish(&Pub::new("a", &n.to_string()).qos(1, 1)).await;
        }
        let mut held = Vec::new();
        for _ in 0..3 {
            held.push(client.message().await);
        }
        client.send(&PINGREQ).await;
        client.expect(&PINGRESP).await;
        client.send(&subscribe(version, 9, &[("c", 0)])).await;
        assert_eq!(client.codes(SUBACK).await.packet_id, 9);
        client.send(&Pub::new("x", "x").qos(1, 4).bytes(version)).await;
        assert_eq!(client.reasoned(PUBACK).await.packet_id, 4);
        client.send(&Pub::new("x", "x").qos(2, 5).bytes(version)).await;
        assert_eq!(client.reasoned(PUBREC).await.packet_id, 5);
        client.send(&ack(PUBREL, 5)).await;
        assert_eq!(client.reasoned(PUBCOMP).await.packet_id, 5);
        publisher.publish(&Pub::new("b", "at once")).await;
        assert_eq!(client.message().await.text(), "at once");
        // And it does open again.
        client.send(&ack(PUBACK, held[0].packet_id)).await;
        assert_eq!(client.message().await.text(), "3");
    })
    .await;
}
