//! Bodies of every size up to the limit: small ones lie in the inbox entry, larger ones in the conversation; readers see no difference.

use crate::support::*;
use chasqui_broker::codec::{ReasonCode, Version};
use chasqui_proto::limits::{BODY_MAX_BYTES, SEND_MAX_BYTES};
use chasqui_proto::wire::put_length;

/// Bytes of a text's tag and length in a `Body`, for texts of 16 KiB and more.
const HEADER: usize = 4;

fn text(length: usize) -> String {
    ('a'..='z').cycle().take(length).collect()
}

/// A `Send` of exactly so many bytes, whose body is small: the rest is something that only newer clients know, of two bytes for its tag and
/// three for its length.
fn send_of(bytes: usize) -> Vec<u8> {
    let mut send = says("see below");
    let rest = bytes - send.len() - 2 - 3;
    put_length(&mut send, 200, rest);
    send.extend_from_slice(text(rest).as_bytes());
    assert_eq!(send.len(), bytes);
    send
}

#[tokio::test]
async fn bodies_of_every_size_arrive_as_they_are() {
    both(|version| async move {
        let mut service = Service::start().await;
        let mut alice = service.publisher(version, "alice").await;
        let mut online = service.device(version, "bob", "online").await;
        service.device(version, "bob", "offline").await.disconnect().await;
        // Around what an inbox entry holds itself, around steps of lengths on the wire, and the largest.
        let sizes = [
            0,
            1,
            127,
            128,
            200,
            252,
            253,
            254,
            255,
            256,
            257,
            300,
            4_096,
            16_383,
            16_384,
            40_000,
            BODY_MAX_BYTES - HEADER,
        ];
        for size in sizes {
            alice.tell("bob", &text(size)).await;
            let message = message(&online.take().await);
            assert!(text_of(&message) == Some(&*text(size)), "{version:?}: {size}");
        }
        service.restart().await;
        let mut offline = service.kept(version, "bob", "offline").await;
        for (size, seq) in sizes.into_iter().zip(1..) {
            let message = message(&offline.take().await);
            assert!((message.seq, text_of(&message)) == (seq, Some(&*text(size))), "{version:?}: {size}");
        }
        offline.nothing().await;
    })
    .await;
}

#[tokio::test]
async fn the_largest_is_accepted_and_one_byte_more_refused() {
    let version = Version::V5;
    let service = Service::start().await;
    let mut alice = service.publisher(version, "alice").await;
    let json = |text: &str| format!(r#"{{"body": {{"text": "{text}"}}}}"#).into_bytes();
    let rows = [
        ("u/bob/send", says(&text(BODY_MAX_BYTES - HEADER)), true),
        ("u/bob/send", says(&text(BODY_MAX_BYTES - HEADER + 1)), false),
        ("u/bob/send", send_of(SEND_MAX_BYTES), true),
        ("u/bob/send", send_of(SEND_MAX_BYTES + 1), false),
        ("json/u/bob/send", json(&text(BODY_MAX_BYTES - HEADER)), true),
        ("json/u/bob/send", json(&text(BODY_MAX_BYTES - HEADER + 1)), false),
    ];
    let mut accepted = 0;
    for (topic, payload, expected) in &rows {
        let ack = alice.publish(topic, payload).await;
        if *expected {
            accepted += 1;
            assert_eq!(
                (ack.reason, seq_of(&ack)),
                (ReasonCode::Success, Some(accepted)),
                "{}",
                payload.len()
            );
        } else {
            assert_eq!(ack.reason, ReasonCode::QuotaExceeded, "{}", payload.len());
            assert!(reason_of(&ack).expect("a reason").starts_with("TOO_LARGE: "));
        }
    }
    let mut bob = service.device(version, "bob", "phone").await;
    for _ in 0..accepted {
        bob.take().await;
    }
    bob.nothing().await;
}

#[tokio::test]
async fn a_reader_behind_by_many_large_ones_gets_them_in_order() {
    both(|version| async move {
        const COUNT: u64 = 100;
        let service = Service::start().await;
        let mut alice = service.publisher(version, "alice").await;
        for number in 0..COUNT {
            alice.tell("bob", &format!("{number} {}", text(20_000))).await;
        }
        let mut bob = service.device(version, "bob", "phone").await;
        for number in 0..COUNT {
            let message = message(&bob.take().await);
            assert_eq!(message.seq, number + 1, "{version:?}");
            assert!(text_of(&message).is_some_and(|text| text.starts_with(&format!("{number} "))));
        }
        bob.nothing().await;
    })
    .await;
}

#[tokio::test]
async fn what_a_client_does_not_take_is_left_out_and_holds_nothing_up() {
    let version = Version::V5;
    let service = Service::start().await;
    let mut alice = service.publisher(version, "alice").await;
    let mut hello = user(version, "bob", "phone").kept();
    hello.0.properties.maximum_packet_size = Some(1_024);
    let mut bob = service.connect(&hello).await;
    bob.subscribe_once("u/bob/in").await;
    for size in [10, 5_000, 20] {
        alice.tell("bob", &text(size)).await;
    }
    for size in [10, 20] {
        assert_eq!(text_of(&message(&bob.take().await)), Some(&*text(size)));
    }
    bob.nothing().await;
}
