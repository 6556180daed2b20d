//! Section 3.3: PUBLISH in both directions, without RETAIN (`retained`) and aliases (`alias`).

use crate::raw::{Body, DISCONNECT, Got, Hello, PINGREQ, PUBACK, PUBREC, Pub, Put, Raw, id};
use crate::support::{Server, TestClock, both};
use chasqui_broker::Config;
use chasqui_broker::codec::Version;
use std::sync::Arc;
use std::time::Duration;

#[tokio::test]
async fn dup_is_not_passed_on() {
    both(|version| async move {
        let server = Server::start().await;
        let mut client = Raw::connect(server.address, version, "c").await;
        client.subscribe(&[("a", 2)]).await;
        let mut publisher = Raw::connect(server.address, version, "p").await;
        for qos in 1..=2 {
            publisher.publish(&Pub { dup: true, ..Pub::new("a", "x").qos(qos, 7) }).await;
            let message = client.take().await;
            assert_eq!((message.qos, message.dup), (qos, false));
        }
    })
    .await;
}

#[tokio::test]
async fn dup_with_qos_0_closes() {
    both(|version| async move {
        let server = Server::start().await;
        let mut client = Raw::connect(server.address, version, "c").await;
        client.send(&Pub { dup: true, ..Pub::new("a", "x") }.bytes(version)).await;
        client.send_in_vain(&PINGREQ).await;
        client.ended(0x81).await;
    })
    .await;
}

#[tokio::test]
async fn qos_3_closes() {
    both(|version| async move {
        let server = Server::start().await;
        let mut watcher = Raw::connect(server.address, version, "w").await;
        watcher.subscribe(&[("#", 2)]).await;
        let mut client = Raw::connect(server.address, version, "c").await;
        client.send(&Pub::new("a", "x").qos(3, 1).bytes(version)).await;
        client.ended(0x81).await;
        watcher.nothing().await;
    })
    .await;
}

#[tokio::test]
async fn a_topic_that_is_not_utf_8_closes() {
    both(|version| async move {
        let server = Server::start().await;
        let mut client = Raw::connect(server.address, version, "c").await;
        client.send(&Pub { topic: b"caf\xE9".to_vec(), ..Pub::new("", "x") }.bytes(version)).await;
        client.ended(0x81).await;
    })
    .await;
}

#[tokio::test]
async fn a_message_goes_out_under_the_topic_it_came_with() {
    both(|version| async move {
        let server = Server::start().await;
        let mut client = Raw::connect(server.address, version, "c").await;
        client.subscribe(&[("a/#", 1), ("+/+/é", 0)]).await;
        let mut publisher = Raw::connect(server.address, version, "p").await;
        for topic in ["a", "a/b", "a//b/", "b/c", "x/y/é", "x/y/e"] {
            publisher.publish(&Pub::new(topic, topic).qos(1, 1)).await;
            if topic.starts_with('a') || topic.ends_with('é') {
                let message = client.take().await;
                assert_eq!((&*message.topic, message.text()), (topic, topic));
            }
        }
        client.nothing().await;
    })
    .await;
}

/// Everything that a PUBLISH may carry for its receiver.
fn properties() -> Put {
    Put::new()
        .user("b", "1")
        .byte(id::PAYLOAD_FORMAT, 1)
        .text(id::CONTENT_TYPE, "text/plain; é")
        .user("a", "")
        .text(id::RESPONSE_TOPIC, "answers/$here/é")
        .text(id::CORRELATION_DATA, b"\x00\xFF\x01")
        .user("b", "1")
        .user("", "z")
}

fn are_unaltered(got: &Got) {
    assert_eq!(got.number(id::PAYLOAD_FORMAT), Some(1));
    assert_eq!(got.text(id::CONTENT_TYPE), Some("text/plain; é"));
    assert_eq!(got.text(id::RESPONSE_TOPIC), Some("answers/$here/é"));
    assert_eq!(got.data(id::CORRELATION_DATA), Some(&b"\x00\xFF\x01"[..]));
    assert_eq!(got.users(), [("b", "1"), ("a", ""), ("b", "1"), ("", "z")]);
}

/// On every way that a message may take: at once, from a queue, kept for its topic, and as a will.
#[tokio::test]
async fn properties_are_passed_on_unaltered_and_in_order() {
    let version = Version::V5;
    let server = Server::start().await;
    let kept = Hello::kept(version, "kept");
    let (mut away, _) = Raw::hello(server.address, &kept).await;
    away.subscribe(&[("a", 1)]).await;
    away.goodbye().await;
    let mut client = Raw::connect(server.address, version, "c").await;
    client.subscribe(&[("a", 0), ("w", 0)]).await;
    let mut publisher = Raw::connect(server.address, version, "p").await;
    publisher.publish(&Pub::new("a", "x").qos(1, 1).retained().properties(properties())).await;
    are_unaltered(&client.take().await.properties);
    let (mut back, _) = Raw::hello(server.address, &kept).await;
    are_unaltered(&back.take().await.properties);
    let mut late = Raw::connect(server.address, version, "l").await;
    late.subscribe(&[("a", 1)]).await;
    are_unaltered(&late.take().await.properties);
    let will = crate::raw::Will { properties: properties(), ..crate::raw::Will::new("w", "gone") };
    drop(Raw::hello(server.address, &Hello::new(version, "dies").will(will)).await);
    are_unaltered(&client.take().await.properties);
    // 3.1.1 has no place for them, and gets the message.
    let mut old = Raw::connect(server.address, Version::V311, "old").await;
    old.subscribe(&[("a", 1)]).await;
    assert_eq!(old.take().await.text(), "x");
}

async fn with_clock() -> (Arc<TestClock>, Server) {
    let clock = TestClock::new();
    let config = Config { clock: Arc::<TestClock>::clone(&clock), ..Config::default() };
    (clock, Server::start_with(config).await)
}

fn expiring(topic: &str, payload: &str, seconds: u32) -> Pub {
    Pub::new(topic, payload).qos(1, 1).properties(Put::new().four(id::MESSAGE_EXPIRY, seconds))
}

#[tokio::test]
async fn an_expired_message_is_not_delivered() {
    let version = Version::V5;
    let (clock, server) = with_clock().await;
    let kept = Hello::kept(version, "kept");
    let (mut away, _) = Raw::hello(server.address, &kept).await;
    away.subscribe(&[("a/#", 1)]).await;
    away.goodbye().await;
    // One that takes one message at a time has the others waiting in memory.
    let slow = Hello::new(version, "slow").properties(Put::new().two(id::RECEIVE_MAXIMUM, 1));
    let (mut slow, _) = Raw::hello(server.address, &slow).await;
    slow.subscribe(&[("a/#", 1)]).await;
    let mut publisher = Raw::connect(server.address, version, "p").await;
    for (payload, seconds) in [("first", 100), ("second", 10), ("third", 100)] {
        publisher.publish(&expiring("a/b", payload, seconds)).await;
    }
    publisher.publish(&expiring("a/kept", "kept", 10).retained()).await;
    clock.advance(Duration::from_secs(11));
    let (mut back, _) = Raw::hello(server.address, &kept).await;
    for expected in ["first", "third"] {
        assert_eq!(back.take().await.text(), expected);
        assert_eq!(slow.take().await.text(), expected);
    }
    back.nothing().await;
    slow.nothing().await;
    let mut late = Raw::connect(server.address, version, "l").await;
    late.subscribe(&[("a/kept", 1)]).await;
    late.nothing().await;
}

#[tokio::test]
async fn the_expiry_that_is_left_goes_with_the_message() {
    let version = Version::V5;
    let (clock, server) = with_clock().await;
    let kept = Hello::kept(version, "kept");
    let (mut away, _) = Raw::hello(server.address, &kept).await;
    away.subscribe(&[("a", 1)]).await;
    away.goodbye().await;
    let mut client = Raw::connect(server.address, version, "c").await;
    client.subscribe(&[("a", 0)]).await;
    let mut publisher = Raw::connect(server.address, version, "p").await;
    publisher.publish(&expiring("a", "x", 100).retained()).await;
    assert_eq!(client.take().await.properties.number(id::MESSAGE_EXPIRY), Some(100));
    clock.advance(Duration::from_secs(40));
    let (mut back, _) = Raw::hello(server.address, &kept).await;
    assert_eq!(back.take().await.properties.number(id::MESSAGE_EXPIRY), Some(60));
    client.subscribe(&[("a", 0)]).await;
    assert_eq!(client.take().await.properties.number(id::MESSAGE_EXPIRY), Some(60));
}

#[tokio::test]
async fn a_response_topic_that_is_no_topic_name_closes() {
    let server = Server::start().await;
    for (topic, code) in [(&b"r/#"[..], 0x90), (b"+", 0x90), (b"", 0x90), (b"r\xE9", 0x81), (b"r\0", 0x81)] {
        let mut client = Raw::connect(server.address, Version::V5, "c").await;
        let put = Put::new().text(id::RESPONSE_TOPIC, topic);
        client.send(&Pub::new("a", "x").properties(put).bytes(Version::V5)).await;
        client.ended(code).await;
    }
}

#[tokio::test]
async fn a_content_type_that_is_not_utf_8_closes() {
    let server = Server::start().await;
    let mut client = Raw::connect(server.address, Version::V5, "c").await;
    let put = Put::new().text(id::CONTENT_TYPE, b"text/\xFF");
    client.send(&Pub::new("a", "x").properties(put).bytes(Version::V5)).await;
    client.ended(0x81).await;
}

#[tokio::test]
async fn the_answer_to_a_publish_is_that_of_its_qos() {
    both(|version| async move {
        let server = Server::start().await;
        let mut client = Raw::connect(server.address, version, "c").await;
        client.send(&Pub::new("a", "x").bytes(version)).await;
        client.nothing().await;
        client.send(&Pub::new("a", "x").qos(1, 0x1234).bytes(version)).await;
        assert_eq!(client.reasoned(PUBACK).await.packet_id, 0x1234);
        client.send(&Pub::new("a", "x").qos(2, 0x4321).bytes(version)).await;
        assert_eq!(client.reasoned(PUBREC).await.packet_id, 0x4321);
        client.nothing().await;
    })
    .await;
}

#[tokio::test]
async fn overlapping_subscriptions_deliver_at_the_highest_qos() {
    both(|version| async move {
        let server = Server::start().await;
        for filters in [[("a/#", 0), ("a/+", 1)], [("+/b", 2), ("a/b", 0)], [("#", 1), ("a/b", 2)]] {
            let mut client = Raw::connect(server.address, version, "c").await;
            client.subscribe(&filters).await;
            let mut publisher = Raw::connect(server.address, version, "p").await;
            publisher.publish(&Pub::new("a/b", "x").qos(2, 1)).await;
            assert_eq!(client.take().await.qos, filters[0].1.max(filters[1].1));
            // Once: no copy for each.
            client.nothing().await;
            client.goodbye().await;
            publisher.goodbye().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_message_carries_the_identifiers_of_all_matching_subscriptions() {
    let version = Version::V5;
    let server = Server::start().await;
    let kept = Hello::kept(version, "c");
    let (mut client, _) = Raw::hello(server.address, &kept).await;
    client.subscribe_as(1, &[("a/#", 0), ("b", 1)]).await;
    client.subscribe_as(268_435_455, &[("a/b", 1)]).await;
    client.subscribe(&[("+/b", 1)]).await;
    client.subscribe_as(300, &[("a/c", 1)]).await;
    let mut publisher = Raw::connect(server.address, version, "p").await;
    publisher.publish(&Pub::new("a/b", "live").qos(1, 1)).await;
    assert_eq!(client.take().await.properties.subscription_ids(), [1, 268_435_455]);
    client.goodbye().await;
    publisher.publish(&Pub::new("a/b", "queued").qos(1, 1)).await;
    publisher.publish(&Pub::new("b", "queued").qos(1, 1)).await;
    let (mut client, _) = Raw::hello(server.address, &kept).await;
    assert_eq!(client.take().await.properties.subscription_ids(), [1, 268_435_455]);
    assert_eq!(client.take().await.properties.subscription_ids(), [1]);
    client.nothing().await;
}

#[tokio::test]
async fn a_subscription_identifier_from_a_client_closes() {
    let server = Server::start().await;
    let mut client = Raw::connect(server.address, Version::V5, "c").await;
    let put = Put::new().varint(id::SUBSCRIPTION_ID, 7);
    client.send(&Pub::new("a", "x").properties(put).bytes(Version::V5)).await;
    client.send_in_vain(&PINGREQ).await;
    client.ended(0x82).await;
}

/// 3.1.1 has no word for it and is closed; 5.0 is told. Nobody gets the message.
#[tokio::test]
async fn a_publish_that_is_not_allowed_is_refused() {
    both(|version| async move {
        let server = Server::start().await;
        let mut watcher = Raw::connect(server.address, version, "w").await;
        watcher.subscribe(&[("#", 2)]).await;
        let mut client = Raw::connect(server.address, version, "c").await;
        client.send(&Pub::new("no/a", "x").bytes(version)).await;
        client.nothing().await;
        client.send(&Pub::new("no/a", "x").qos(1, 3).bytes(version)).await;
        if version == Version::V311 {
            client.closed().await;
        } else {
            let refused = client.reasoned(PUBACK).await;
            assert_eq!((refused.packet_id, refused.code), (3, 0x87));
            client.nothing().await;
        }
        watcher.nothing().await;
    })
    .await;
}

/// 5.0 counts what was sent and not acknowledged; the bound is the server's own.
#[tokio::test]
async fn more_publishes_at_once_than_the_receive_maximum_close() {
    let config = Config { receive_maximum: 3, ..Config::default() };
    let server = Server::start_with(config).await;
    let (mut client, connack) = Raw::hello(server.address, &Hello::new(Version::V5, "c")).await;
    assert_eq!(connack.properties.number(id::RECEIVE_MAXIMUM), Some(3));
    let publishes = |count| -> Vec<u8> {
        (1..=count).flat_map(|n| Pub::new("a", "x").qos(1, n).bytes(Version::V5)).collect()
    };
    for _ in 0..2 {
        client.send(&publishes(3)).await;
        for n in 1..=3 {
            assert_eq!(client.reasoned(PUBACK).await.packet_id, n);
        }
    }
    // QoS 2 is done with at PUBCOMP alone, so none of these can be.
    for n in 1..=4 {
        client.send_in_vain(&Pub::new("a", "x").qos(2, n).bytes(Version::V5)).await;
    }
    client.send_in_vain(&PINGREQ).await;
    let code = loop {
        let (first, body) = client.packet().await;
        if first == DISCONNECT {
            break Body(&body).byte();
        }
        assert_eq!(first, PUBREC);
    };
    assert_eq!(code, 0x93);
    client.closed().await;
}
