//! Nothing that promises leaves before the flush that keeps the promise (I1): with the flush held back, none of it comes; released, all does.
//!
//! That a packet is *not* on its way is shown by the answer to a PINGREQ sent behind: PINGRESP comes first. Where the server
//! takes no packet meanwhile (behind a SUBSCRIBE, before CONNACK) others' round trips stand in for it.
//!
//! The same can be seen from outside, on the real program. Start it under strace, publish once with QoS 1, and look at the end of the trace:
//!
//! ```sh
//! strace -f -tt -e trace=fdatasync,pwrite64,recvfrom,sendto,write,writev -s 80 -o trace \
//!     chasqui serve --dev --data /tmp/traced --listen 127.0.0.1:1883
//! mosquitto_pub -V 5 -q 1 -u alice -P alice -i laptop -t json/u/bob/send -m '{"body":{"text":"hello"}}'
//! grep -E 'recvfrom|fdatasync|pwrite64|sendto' trace
//! ```
//!
//! What one sees, behind the zeros that prepare the log's first segment (thread ids first; 2161 serves connections, 2181 is `commit-log`):
//!
//! ```text
//! 2161  .716081 sendto(24, " \17\0\0\f!\0\200$\1'\0\20\0\0*\0", 17, …) = 17                        CONNACK
//! 2161  .716215 recvfrom(24, "2-\0\17json/u/bob/send\0\1\0{\"body\":{\"text\":\"hello\"}}", …) = 47    PUBLISH
//! 2181  .716576 pwrite64(22, "…in/bob…u/alice…hello…d/alice/bob…", 168, 512) = 168                one write
//! 2181  .716621 fdatasync(22)     = 0                                                            one flush
//! 2161  .716988 sendto(24, "@\r\0\1\0\t&\0\3seq\0\0011", 15, …) = 15                              PUBACK, seq 1
//! ```

use crate::support::*;
use chasqui_broker::codec::client::ServerPacket;
use chasqui_broker::codec::packet::{subscribe, unsubscribe};
use chasqui_broker::codec::{
    Filters, PacketId, PublishOut, QoS, ReasonCode, Subscribe, SubscriptionOptions, Unsubscribe,
    UserProperties, Version,
};
use std::io::ErrorKind;

/// Round trips of another client, after which something that was not held back would have come.
const ROUND_TRIPS: usize = 25;

fn publish<'a>(topic: &'a str, payload: &'a [u8], retain: bool) -> PublishOut<'a> {
    PublishOut { qos: QoS::AtLeastOnce, retain, ..PublishOut::new(topic, payload) }
}

async fn puback(client: &mut Client) -> ReasonCode {
    match client.receive().await {
        ServerPacket::Puback(ack) => ack.reason,
        other => panic!("PUBACK expected: {other:?}"),
    }
}

/// Asserts that nothing has come to a client from which the server takes no packets, while another is served.
async fn assert_silent(client: &Client, other: &mut Client) {
    for _ in 0..ROUND_TRIPS {
        other.nothing().await;
        let read = client.stream.try_read(&mut [0; 64]);
        assert!(
            read.as_ref().is_err_and(|error| error.kind() == ErrorKind::WouldBlock),
            "nothing was expected: {read:?}"
        );
    }
}

#[tokio::test]
async fn the_puback_of_a_message_waits_and_so_does_the_message() {
    both(|version| async move {
        let service = Service::start().await;
        let mut bob = service.device(version, "bob", "phone").await;
        let mut alice = service.publisher(version, "alice").await;
        let held = service.hold_flushes();
        for text in ["one", "two"] {
            alice.send(publish("u/bob/send", &says(text), false)).await;
            alice.nothing().await;
        }
        held.wait_for_one();
        alice.nothing().await;
        bob.nothing().await;
        drop(held);
        for text in ["one", "two"] {
            assert_eq!(puback(&mut alice).await, ReasonCode::Success);
            assert_eq!(text_of(&message(&bob.take().await)), Some(text), "{version:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn what_was_never_flushed_was_never_acknowledged_and_may_be_gone() {
    both(|version| async move {
        let mut gone = 0;
        for seed in 0..8 {
            let mut service = Service::start().await;
            let mut alice = service.publisher(version, "alice").await;
            alice.tell("bob", "kept").await;
            let held = service.hold_flushes();
            alice.send(publish("u/bob/send", &says("perhaps"), false)).await;
            alice.nothing().await;
            held.wait_for_one();
            service.cut_power(seed).await;
            drop(held);
            // What the client finds is the end of the connection, and no PUBACK.
            alice.closed().await;
            service.resume().await;
            let mut bob = service.device(version, "bob", "phone").await;
            assert_eq!(text_of(&message(&bob.take().await)), Some("kept"));
            gone += usize::from(bob.drain().await.is_empty());
        }
        assert!(gone > 0, "no power cut took anything: this showed nothing");
    })
    .await;
}

#[tokio::test]
async fn the_puback_of_a_read_mark_waits() {
    both(|version| async move {
        let service = Service::start().await;
        let mut alice = service.publisher(version, "alice").await;
        alice.tell("bob", "one").await;
        let mut watcher = service.watcher(version, "alice").await;
        let mut bob = service.publisher(version, "bob").await;
        let held = service.hold_flushes();
        bob.send(publish("do/read", &read("u/alice", 1), false)).await;
        bob.nothing().await;
        held.wait_for_one();
        bob.nothing().await;
        watcher.nothing().await;
        // One that says nothing new rests on what is not flushed yet.
        bob.send(publish("do/read", &read("u/alice", 1), false)).await;
        bob.nothing().await;
        drop(held);
        assert_eq!(puback(&mut bob).await, ReasonCode::Success);
        assert_eq!(puback(&mut bob).await, ReasonCode::Success);
        assert_eq!(receipt(&watcher.take().await).read, 1, "{version:?}");
    })
    .await;
}

#[tokio::test]
async fn the_delivered_receipt_waits_for_the_flush_of_its_mark() {
    both(|version| async move {
        let service = Service::start().await;
        let mut alice = service.publisher(version, "alice").await;
        let mut watcher = service.watcher(version, "alice").await;
        let mut bob = service.device(version, "bob", "phone").await;
        alice.tell("bob", "one").await;
        let one = bob.message().await;
        let held = service.hold_flushes();
        bob.ack(&one).await;
        bob.nothing().await;
        // The mark is in the batch that is now held back.
        held.wait_for_one();
        for _ in 0..ROUND_TRIPS {
            watcher.nothing().await;
        }
        drop(held);
        assert_eq!(receipt(&watcher.take().await).delivered, 1, "{version:?}");
    })
    .await;
}

#[tokio::test]
async fn the_puback_of_a_generic_message_for_a_kept_session_waits() {
    both(|version| async move {
        let mut service = Service::start().await;
        let mut garden = service.kept(version, "bob", "garden").await;
        garden.subscribe_once("plants/#").await;
        let mut clean = service.connect(&user(version, "carol", "passing")).await;
        clean.subscribe_once("plants/#").await;
        let mut alice = service.publisher(version, "alice").await;
        let held = service.hold_flushes();
        alice.send(publish("plants/fern", b"dry", false)).await;
        alice.nothing().await;
        held.wait_for_one();
        for _ in 0..ROUND_TRIPS {
            alice.nothing().await;
            garden.nothing().await;
        }
        drop(held);
        assert_eq!(puback(&mut alice).await, ReasonCode::Success);
        assert_eq!(&*garden.message().await.payload, b"dry", "{version:?}");
        assert_eq!(&*clean.message().await.payload, b"dry");
        // And it was the truth.
        service.power_cut(1).await;
        let mut garden = service.kept(version, "bob", "garden").await;
        assert_eq!(&*garden.take().await.payload, b"dry", "{version:?}");
    })
    .await;
}

#[tokio::test]
async fn the_puback_of_a_retained_message_waits() {
    both(|version| async move {
        let mut service = Service::start().await;
        let mut alice = service.publisher(version, "alice").await;
        let held = service.hold_flushes();
        alice.send(publish("plants/fern", b"dry", true)).await;
        alice.nothing().await;
        held.wait_for_one();
        for _ in 0..ROUND_TRIPS {
            alice.nothing().await;
        }
        drop(held);
        assert!(!puback(&mut alice).await.is_error());
        service.power_cut(1).await;
        let mut bob = service.connect(&user(version, "bob", "garden")).await;
        bob.subscribe_once("plants/#").await;
        let retained = bob.take().await;
        assert_eq!((&*retained.payload, retained.retain), (&b"dry"[..], true), "{version:?}");
    })
    .await;
}

#[tokio::test]
async fn the_suback_and_unsuback_of_a_kept_session_wait() {
    both(|version| async move {
        for filter in ["u/bob/in", "u/bob/receipts/#", "plants/#"] {
            let mut service = Service::start().await;
            let mut other = service.publisher(version, "carol").await;
            let mut bob = service.kept(version, "bob", "phone").await;
            let packet_id = PacketId::new(77).expect("not 0");
            let mut out = Vec::new();
            let packet = Subscribe {
                packet_id,
                subscription_id: None,
                user_properties: UserProperties::new(),
                filters: Filters::<SubscriptionOptions>::new([(
                    filter,
                    SubscriptionOptions::qos(QoS::AtLeastOnce),
                )])
                .expect("one filter"),
            };
            subscribe::encode(&mut out, &bob.peer, &packet).expect("valid");
            let held = service.hold_flushes();
            bob.write(&out).await;
            held.wait_for_one();
            assert_silent(&bob, &mut other).await;
            drop(held);
            match bob.receive().await {
                ServerPacket::Suback(suback) => assert_eq!(suback.packet_id, packet_id, "{filter}"),
                other => panic!("SUBACK expected: {other:?}"),
            }
            let mut out = Vec::new();
            let packet = Unsubscribe {
                packet_id,
                user_properties: UserProperties::new(),
                filters: Filters::<()>::new([filter]).expect("one filter"),
            };
            unsubscribe::encode(&mut out, &bob.peer, &packet).expect("valid");
            let held = service.hold_flushes();
            bob.write(&out).await;
            held.wait_for_one();
            assert_silent(&bob, &mut other).await;
            drop(held);
            match bob.receive().await {
                ServerPacket::Unsuback(unsuback) => assert_eq!(unsuback.packet_id, packet_id, "{filter}"),
                other => panic!("UNSUBACK expected: {other:?}"),
            }
            service.power_cut(1).await;
            let mut bob = service.kept(version, "bob", "phone").await;
            assert!(bob.connack.session_present);
            let codes = bob.unsubscribe(&[filter]).await;
            if version == Version::V5 {
                assert_eq!(codes, [ReasonCode::NoSubscriptionExisted], "{filter}");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn the_connack_of_a_kept_session_waits() {
    both(|version| async move {
        let mut service = Service::start().await;
        let mut other = service.publisher(version, "carol").await;
        let held = service.hold_flushes();
        let (address, hello) = (service.address(), user(version, "bob", "phone").kept());
        let connecting = tokio::spawn(async move { Client::connect(address, &hello).await });
        let held = tokio::task::spawn_blocking(move || {
            held.wait_for_one();
            held
        });
        let held = held.await.expect("a flush is held back");
        for _ in 0..ROUND_TRIPS {
            other.nothing().await;
            assert!(!connecting.is_finished(), "{version:?}: CONNACK came before the flush");
        }
        drop(held);
        let bob = connecting.await.expect("let in");
        assert!(!bob.connack.session_present);
        service.power_cut(1).await;
        assert!(service.kept(version, "bob", "phone").await.connack.session_present, "{version:?}");
    })
    .await;
}

#[tokio::test]
async fn what_touches_no_disk_waits_for_none() {
    both(|version| async move {
        let service = Service::start().await;
        let held = service.hold_flushes();
        let mut bob = service.connect(&user(version, "bob", "passing")).await;
        bob.subscribe_once("plants/#").await;
        let mut alice = service.publisher(version, "alice").await;
        assert_eq!(alice.publish("plants/fern", b"dry").await.reason.as_u8() & 0x80, 0);
        assert_eq!(&*bob.take().await.payload, b"dry", "{version:?}");
        bob.disconnect().await;
        drop(held);
    })
    .await;
}
