//! Section 4.3.3: QoS 2, exactly once, in both directions, over every kind of interruption.

use crate::raw::{Hello, Message, PUBACK, PUBCOMP, PUBREC, PUBREL, Pub, Put, Raw, ack, ack_with, id};
use crate::support::{PlainHook, Server, TestClock, both};
use chasqui_broker::Config;
use chasqui_broker::codec::Version;
use std::sync::Arc;
use std::time::Duration;

/// One that receives at QoS 2 and keeps its session.
async fn receiver(server: &Server, version: Version) -> Raw {
    let (mut client, _) = Raw::hello(server.address, &Hello::kept(version, "receiver")).await;
    client.subscribe(&[("a", 2)]).await;
    client
}

async fn again(server: &Server, version: Version, client_id: &str) -> Raw {
    let (client, connack) = Raw::hello(server.address, &Hello::kept(version, client_id)).await;
    assert!(connack.session_present());
    client
}

fn publication(payload: &str, packet_id: u16, dup: bool) -> Pub {
    Pub { dup, ..Pub::new("a", payload).qos(2, packet_id) }
}

/// A publisher whose session is kept, with one message of QoS 2 whose PUBREC has come.
async fn published(server: &Server, version: Version) -> Raw {
    let (mut client, _) = Raw::hello(server.address, &Hello::kept(version, "sender")).await;
    client.send(&publication("once", 5, false).bytes(version)).await;
    assert_eq!(client.reasoned(PUBREC).await.packet_id, 5);
    client
}

/// The rest of the handshake, after which the same id is another message's.
async fn finished(client: &mut Raw) {
    let version = client.version;
    client.send(&publication("once", 5, true).bytes(version)).await;
    let again = client.reasoned(PUBREC).await;
    assert!(again.packet_id == 5 && again.code < 0x80, "{again:?}");
    client.send(&ack(PUBREL, 5)).await;
    let done = client.reasoned(PUBCOMP).await;
    assert_eq!((done.packet_id, done.code), (5, 0));
    client.publish(&publication("next", 5, true)).await;
}

async fn got_once(receiver: &mut Raw) {
    assert_eq!(receiver.take().await.text(), "once");
    assert_eq!(receiver.take().await.text(), "next");
    receiver.nothing().await;
}

#[tokio::test]
async fn a_repeated_qos_2_publish_is_answered_and_delivered_once() {
    both(|version| async move {
        let server = Server::start().await;
        let mut receiver = receiver(&server, version).await;
        let mut client = published(&server, version).await;
        for _ in 0..3 {
            client.send(&publication("once", 5, true).bytes(version)).await;
            assert_eq!(client.reasoned(PUBREC).await.packet_id, 5);
        }
        finished(&mut client).await;
        got_once(&mut receiver).await;
    })
    .await;
}

#[tokio::test]
async fn a_qos_2_publish_repeated_after_a_reconnect_is_delivered_once() {
    both(|version| async move {
        let server = Server::start().await;
        let mut receiver = receiver(&server, version).await;
        drop(published(&server, version).await);
        let mut client = again(&server, version, "sender").await;
        finished(&mut client).await;
        got_once(&mut receiver).await;
    })
    .await;
}

#[tokio::test]
async fn a_qos_2_publish_repeated_after_a_take_over_is_delivered_once() {
    both(|version| async move {
        let server = Server::start().await;
        let mut receiver = receiver(&server, version).await;
        let _old = published(&server, version).await;
        let mut client = again(&server, version, "sender").await;
        finished(&mut client).await;
        got_once(&mut receiver).await;
    })
    .await;
}

/// The store is all that is left of the server before.
#[tokio::test]
async fn a_qos_2_publish_repeated_after_a_restart_is_delivered_once() {
    both(|version| async move {
        let server = Server::start().await;
        receiver(&server, version).await.goodbye().await;
        let _still_connected = published(&server, version).await;
        let store = Arc::clone(&server.store);
        let server = Server::start_on(Config::default(), Arc::new(PlainHook), store).await;
        let mut client = again(&server, version, "sender").await;
        finished(&mut client).await;
        got_once(&mut again(&server, version, "receiver").await).await;
    })
    .await;
}

#[tokio::test]
async fn pubrel_is_answered_with_pubcomp_and_its_packet_id() {
    both(|version| async move {
        let server = Server::start().await;
        let mut client = Raw::connect(server.address, version, "c").await;
        for packet_id in [5, 65_535] {
            client.send(&publication("x", packet_id, false).bytes(version)).await;
            assert_eq!(client.reasoned(PUBREC).await.packet_id, packet_id);
        }
        for packet_id in [65_535, 5] {
            client.send(&ack(PUBREL, packet_id)).await;
            let done = client.reasoned(PUBCOMP).await;
            assert_eq!((done.packet_id, done.code), (packet_id, 0));
        }
        // One that nothing is known of, or no more.
        for packet_id in [5, 77] {
            client.send(&ack(PUBREL, packet_id)).await;
            let done = client.reasoned(PUBCOMP).await;
            let code = if version == Version::V5 { 0x92 } else { 0 };
            assert_eq!((done.packet_id, done.code), (packet_id, code));
        }
    })
    .await;
}

/// Not even where they have something to say.
#[tokio::test]
async fn pubrel_and_pubcomp_have_no_properties_to_leave_out() {
    let version = Version::V5;
    let server = Server::start().await;
    let mut receiver = receiver(&server, version).await;
    let packet_id = sent(&server, &mut receiver, &["x"]).await[0].packet_id;
    for packet_id in [packet_id, 50_000] {
        receiver.send(&ack(PUBREC, packet_id)).await;
        assert!(receiver.reasoned(PUBREL).await.properties.0.is_empty());
    }
    receiver.send(&Pub::new("b", "y").qos(2, 5).bytes(version)).await;
    assert_eq!(receiver.reasoned(PUBREC).await.packet_id, 5);
    for packet_id in [5, 50_000] {
        receiver.send(&ack(PUBREL, packet_id)).await;
        assert!(receiver.reasoned(PUBCOMP).await.properties.0.is_empty());
    }
}

#[tokio::test]
async fn after_a_refusing_pubrec_a_packet_id_is_a_new_publication() {
    let version = Version::V5;
    let server = Server::start().await;
    let mut receiver = receiver(&server, version).await;
    let mut client = Raw::connect(server.address, version, "c").await;
    client.send(&Pub::new("no/a", "refused").qos(2, 5).bytes(version)).await;
    assert_eq!(client.reasoned(PUBREC).await.code, 0x87);
    client.publish(&publication("taken", 5, true)).await;
    assert_eq!(receiver.take().await.text(), "taken");
    receiver.nothing().await;
}

#[tokio::test]
async fn the_handshake_goes_on_when_the_message_has_expired() {
    let version = Version::V5;
    let (clock, server) = with_clock().await;
    let mut receiver = receiver(&server, version).await;
    let kept = Hello::kept(version, "receiver");
    receiver.nothing().await;
    receiver.goodbye().await;
    let mut client = Raw::connect(server.address, version, "c").await;
    let put = Put::new().four(id::MESSAGE_EXPIRY, 10);
    client.send(&publication("x", 5, false).properties(put.clone()).bytes(version)).await;
    assert_eq!(client.reasoned(PUBREC).await.packet_id, 5);
    clock.advance(Duration::from_secs(11));
    client.send(&publication("x", 5, true).properties(put).bytes(version)).await;
    assert_eq!(client.reasoned(PUBREC).await.packet_id, 5);
    client.send(&ack(PUBREL, 5)).await;
    assert_eq!(client.reasoned(PUBCOMP).await.code, 0);
    let (mut receiver, _) = Raw::hello(server.address, &kept).await;
    receiver.nothing().await;
}

async fn with_clock() -> (Arc<TestClock>, Server) {
    let clock = TestClock::new();
    let config = Config { clock: Arc::<TestClock>::clone(&clock), ..Config::default() };
    (clock, Server::start_with(config).await)
}

/// Messages that the receiver has been sent and has not answered.
async fn sent(server: &Server, receiver: &mut Raw, payloads: &[&str]) -> Vec<Message> {
    let mut publisher = Raw::connect(server.address, receiver.version, "publisher").await;
    let mut sent = Vec::new();
    for payload in payloads {
        publisher.publish(&publication(payload, 1, false)).await;
        sent.push(receiver.message().await);
    }
    sent
}

#[tokio::test]
async fn qos_2_goes_out_with_an_unused_id_and_without_dup() {
    both(|version| async move {
        let server = Server::start().await;
        let mut receiver = receiver(&server, version).await;
        let sent = sent(&server, &mut receiver, &["1", "2", "3"]).await;
        for (n, message) in sent.iter().enumerate() {
            assert_eq!((message.qos, message.dup), (2, false));
            assert!(message.packet_id != 0);
            assert!(sent[..n].iter().all(|other| other.packet_id != message.packet_id));
        }
    })
    .await;
}

#[tokio::test]
async fn qos_2_is_sent_again_until_its_pubrec_comes() {
    both(|version| async move {
        let server = Server::start().await;
        let mut receiver = receiver(&server, version).await;
        let original = sent(&server, &mut receiver, &["x"]).await.remove(0);
        drop(receiver);
        for _ in 0..2 {
            let mut receiver = again(&server, version, "receiver").await;
            assert_eq!(receiver.message().await, Message { dup: true, ..original.clone() });
            receiver.nothing().await;
        }
        let mut receiver = again(&server, version, "receiver").await;
        assert_eq!(receiver.take().await.packet_id, original.packet_id);
        receiver.nothing().await;
        receiver.goodbye().await;
        again(&server, version, "receiver").await.nothing().await;
    })
    .await;
}

#[tokio::test]
async fn pubrec_is_answered_with_pubrel_and_its_packet_id() {
    both(|version| async move {
        let server = Server::start().await;
        let mut receiver = receiver(&server, version).await;
        let sent = sent(&server, &mut receiver, &["1", "2", "3"]).await;
        // In the order in which the PUBRECs came.
        for n in [1, 2, 0] {
            receiver.send(&ack(PUBREC, sent[n].packet_id)).await;
        }
        for n in [1, 2, 0] {
            let release = receiver.reasoned(PUBREL).await;
            assert_eq!((release.packet_id, release.code), (sent[n].packet_id, 0));
            assert!(release.properties.0.is_empty());
        }
        // A second PUBREC of the same message, and one that nothing is known of.
        receiver.send(&ack(PUBREC, sent[0].packet_id)).await;
        let release = receiver.reasoned(PUBREL).await;
        assert_eq!((release.packet_id, release.code), (sent[0].packet_id, 0));
        receiver.send(&ack(PUBREC, 50_000)).await;
        let release = receiver.reasoned(PUBREL).await;
        assert_eq!(release.packet_id, 50_000);
        assert_eq!(release.code, if version == Version::V5 { 0x92 } else { 0 });
        // PUBACK is no answer to QoS 2.
        receiver.send(&ack(PUBACK, sent[1].packet_id)).await;
        receiver.ended(0x82).await;
    })
    .await;
}

#[tokio::test]
async fn after_pubrel_the_publish_is_not_sent_again_and_pubrel_is() {
    both(|version| async move {
        let server = Server::start().await;
        let mut receiver = receiver(&server, version).await;
        let packet_id = sent(&server, &mut receiver, &["x"]).await[0].packet_id;
        receiver.send(&ack(PUBREC, packet_id)).await;
        assert_eq!(receiver.reasoned(PUBREL).await.packet_id, packet_id);
        drop(receiver);
        for _ in 0..2 {
            let mut receiver = again(&server, version, "receiver").await;
            assert_eq!(receiver.reasoned(PUBREL).await.packet_id, packet_id);
            receiver.nothing().await;
        }
        // Nor after a restart.
        let store = Arc::clone(&server.store);
        while server.broker.connections() > 1 {
            tokio::task::yield_now().await;
        }
        let server = Server::start_on(Config::default(), Arc::new(PlainHook), store).await;
        let mut receiver = again(&server, version, "receiver").await;
        assert_eq!(receiver.reasoned(PUBREL).await.packet_id, packet_id);
        receiver.send(&ack(PUBCOMP, packet_id)).await;
        receiver.nothing().await;
        receiver.goodbye().await;
        again(&server, version, "receiver").await.nothing().await;
    })
    .await;
}

/// The slot of the window is free at PUBCOMP, or at a PUBREC that refuses.
#[tokio::test]
async fn a_refusing_pubrec_ends_a_message() {
    let version = Version::V5;
    let server = Server::start().await;
    let put = Put::new().two(id::RECEIVE_MAXIMUM, 1).four(id::SESSION_EXPIRY, 100);
    let hello = Hello { clean: false, ..Hello::new(version, "receiver") }.properties(put);
    let (mut receiver, _) = Raw::hello(server.address, &hello).await;
    receiver.subscribe(&[("a", 2)]).await;
    let mut publisher = Raw::connect(server.address, version, "publisher").await;
    for payload in ["refused", "next"] {
        publisher.publish(&publication(payload, 1, false)).await;
    }
    let refused = receiver.message().await;
    receiver.nothing().await;
    receiver.send(&ack_with(PUBREC, refused.packet_id, 0x80)).await;
    // No PUBREL: the next message comes.
    let next = receiver.message().await;
    assert_eq!(next.text(), "next");
    drop(receiver);
    let (mut receiver, _) = Raw::hello(server.address, &hello).await;
    assert_eq!(receiver.message().await, Message { dup: true, ..next });
    receiver.nothing().await;
}

#[tokio::test]
async fn a_message_that_was_sent_does_not_expire() {
    let version = Version::V5;
    let (clock, server) = with_clock().await;
    let mut receiver = receiver(&server, version).await;
    let mut publisher = Raw::connect(server.address, version, "publisher").await;
    let put = Put::new().four(id::MESSAGE_EXPIRY, 10);
    publisher.publish(&publication("x", 1, false).properties(put)).await;
    let original = receiver.message().await;
    drop(receiver);
    clock.advance(Duration::from_secs(100));
    let mut receiver = again(&server, version, "receiver").await;
    let repeated = receiver.take().await;
    assert_eq!((repeated.packet_id, repeated.dup, repeated.text()), (original.packet_id, true, "x"));
    receiver.nothing().await;
}
