//! A retry: the same device, conversation and `client_msg_id` get the first answer again, whatever happened in between.

use crate::support::*;
use chasqui_broker::codec::client::ServerPacket;
use chasqui_broker::codec::{Ack, PublishOut, QoS, ReasonCode, Version};

const SEND: &str = "u/bob/send";

fn at_least_once(payload: &[u8]) -> PublishOut<'_> {
    PublishOut { qos: QoS::AtLeastOnce, ..PublishOut::new(SEND, payload) }
}

async fn puback(client: &mut Client) -> Ack {
    match client.receive().await {
        ServerPacket::Puback(ack) => ack,
        other => panic!("PUBACK expected: {other:?}"),
    }
}

/// On 5.0 the PUBACK says the number; on 3.1.1 it is success and nothing else.
fn assert_is(version: Version, ack: &Ack, seq: u64) {
    assert_eq!(ack.reason, ReasonCode::Success);
    assert_eq!(seq_of(ack), (version == Version::V5).then_some(seq));
}

/// Asserts that what bob's inbox holds is these texts, numbered from 1.
async fn assert_inbox(service: &Service, version: Version, texts: &[&str]) {
    let mut device = service.device(version, "bob", "reader-of-all").await;
    for (text, seq) in texts.iter().zip(1..) {
        let message = message(&device.message().await);
        assert_eq!((text_of(&message), message.seq), (Some(*text), seq));
    }
    device.nothing().await;
}

#[tokio::test]
async fn a_retry_that_meets_its_first_attempt_uncommitted_waits_for_it() {
    both(|version| async move {
        let service = Service::start().await;
        let mut alice = service.publisher(version, "alice").await;
        let once = send("once", b"the same id");
        let held = service.hold_flushes();
        alice.send(at_least_once(&once)).await;
        alice.send(at_least_once(&once)).await;
        alice.nothing().await;
        // And from another connection, the first one being gone.
        drop(alice);
        let mut alice = service.publisher(version, "alice").await;
        let third = alice.send(at_least_once(&once)).await;
        let other = send("another", b"another id");
        let fourth = alice.send(at_least_once(&other)).await;
        alice.nothing().await;
        drop(held);
        for (packet_id, seq) in [(third, 1), (fourth, 2)] {
            let ack = puback(&mut alice).await;
            assert_eq!(Some(ack.packet_id), packet_id);
            assert_is(version, &ack, seq);
        }
        assert_inbox(&service, version, &["once", "another"]).await;
    })
    .await;
}

#[tokio::test]
async fn both_answers_of_one_connection_wait_for_the_flush() {
    both(|version| async move {
        let service = Service::start().await;
        let mut alice = service.publisher(version, "alice").await;
        let once = send("once", b"id");
        let held = service.hold_flushes();
        let first = alice.send(at_least_once(&once)).await;
        alice.nothing().await;
        held.wait_for_one();
        // The first attempt lies in the flush; the second comes to the sequencer behind it.
        let second = alice.send(at_least_once(&once)).await;
        alice.nothing().await;
        drop(held);
        for packet_id in [first, second] {
            let ack = puback(&mut alice).await;
            assert_eq!(Some(ack.packet_id), packet_id);
            assert_is(version, &ack, 1);
        }
        assert_inbox(&service, version, &["once"]).await;
    })
    .await;
}

#[tokio::test]
async fn the_number_stays_over_reconnects_restarts_and_power_cuts() {
    both(|version| async move {
        let mut service = Service::start().await;
        let once = send("once", b"0123456789abcdef");
        let mut alice = service.publisher(version, "alice").await;
        assert_is(version, &alice.publish(SEND, &send("before", b"b")).await, 1);
        assert_is(version, &alice.publish(SEND, &once).await, 2);
        assert_is(version, &alice.publish(SEND, &send("behind", b"c")).await, 3);
        assert_is(version, &alice.publish(SEND, &once).await, 2);
        drop(alice);
        let mut alice = service.publisher(version, "alice").await;
        assert_is(version, &alice.publish(SEND, &once).await, 2);
        service.restart().await;
        let mut alice = service.publisher(version, "alice").await;
        assert_is(version, &alice.publish(SEND, &once).await, 2);
        for seed in 0..4 {
            service.power_cut(seed).await;
            let mut alice = service.publisher(version, "alice").await;
            assert_is(version, &alice.publish(SEND, &once).await, 2);
        }
        assert_inbox(&service, version, &["before", "once", "behind"]).await;
    })
    .await;
}

#[tokio::test]
async fn a_retry_after_a_power_cut_that_took_the_first_attempt_is_the_first() {
    both(|version| async move {
        for seed in 0..6 {
            let mut service = Service::start().await;
            let mut alice = service.publisher(version, "alice").await;
            assert_is(version, &alice.publish(SEND, &send("kept", b"kept")).await, 1);
            let once = send("once", b"once");
            let held = service.hold_flushes();
            alice.send(at_least_once(&once)).await;
            held.wait_for_one();
            alice.nothing().await;
            service.cut_power(seed).await;
            drop(held);
            service.resume().await;
            // Whether the disk has the attempt or not, it is there once when this is acknowledged.
            let mut alice = service.publisher(version, "alice").await;
            assert_is(version, &alice.publish(SEND, &once).await, 2);
            assert_is(version, &alice.publish(SEND, &send("behind", b"behind")).await, 3);
            assert_inbox(&service, version, &["kept", "once", "behind"]).await;
        }
    })
    .await;
}

#[tokio::test]
async fn only_device_conversation_and_id_together_make_a_retry() {
    both(|version| async move {
        let service = Service::start().await;
        let same = send("hello", b"same");
        let mut phone = service.connect(&user(version, "alice", "phone")).await;
        assert_is(version, &phone.publish(SEND, &same).await, 1);
        assert_is(version, &phone.publish("u/carol/send", &same).await, 1);
        let mut tablet = service.connect(&user(version, "alice", "tablet")).await;
        assert_is(version, &tablet.publish(SEND, &same).await, 2);
        let mut dave = service.connect(&user(version, "dave", "phone")).await;
        assert_is(version, &dave.publish(SEND, &same).await, 1);
        assert_is(version, &phone.publish(SEND, &same).await, 1);
        // The twin under json/ is the same command.
        let json = br#"{"clientMsgId": "c2FtZQ==", "body": {"text": "hello"}}"#;
        assert_is(version, &phone.publish("json/u/bob/send", json).await, 1);
        // Without an id every attempt is a message.
        assert_is(version, &phone.publish(SEND, &says("hello")).await, 3);
        assert_is(version, &phone.publish(SEND, &says("hello")).await, 4);
    })
    .await;
}
