//! What is refused, and how its sender hears of it: on 5.0 by a code and a reason; on 3.1.1 by an entry in the device's inbox, and where
//! it has none by the end of the connection.

use crate::support::*;
use chasqui_broker::codec::{PublishOut, QoS, ReasonCode, Version};
use chasqui_proto::ErrorCode;

/// Topic, payload, and why it is refused.
fn refusals() -> Vec<(&'static str, Vec<u8>, ErrorCode)> {
    use ErrorCode::{Forbidden, InvalidPayload, InvalidTopic, NoSuchMessage};
    vec![
        ("u/bob/in", says("forged"), Forbidden),
        ("json/u/bob/in", says("forged"), Forbidden),
        ("u/alice/in", says("forged"), Forbidden),
        ("u/bob/receipts/u/alice", says("forged"), Forbidden),
        ("u/alice/receipts/u/bob", says("forged"), Forbidden),
        ("u/bob/presence/alice", says("forged"), Forbidden),
        ("$SYS/broker/version", says("forged"), Forbidden),
        ("do/unknown", Vec::new(), InvalidTopic),
        ("u/bob/unknown", Vec::new(), InvalidTopic),
        ("u/bob", Vec::new(), InvalidTopic),
        ("u/not an id/send", says("hello"), InvalidTopic),
        ("json/plants/fern", Vec::new(), InvalidTopic),
        ("do/played", Vec::new(), InvalidPayload),
        ("g/climbers/in", says("forged"), Forbidden),
        ("g/climbers/send", says("hello"), Forbidden),
        ("do/group.get", Vec::new(), InvalidPayload),
        ("u/bob/send", Vec::new(), InvalidPayload),
        ("u/bob/send", b"\xff\xff\xff".to_vec(), InvalidPayload),
        ("u/bob/send", b"\x0a\x02id".to_vec(), InvalidPayload),
        ("u/bob/send", send("an id of 17 bytes", b"12345678901234567"), InvalidPayload),
        ("json/u/bob/send", says("protobuf"), InvalidPayload),
        ("json/u/bob/send", br#"{"body": {}}"#.to_vec(), InvalidPayload),
        ("json/u/bob/send", br#"{"body": {"text": 7}}"#.to_vec(), InvalidPayload),
        ("do/read", b"\xff".to_vec(), InvalidPayload),
        ("do/read", read("bob", 1), InvalidPayload),
        ("do/read", read("u/bob", 1), NoSuchMessage),
        ("json/do/read", br#"{"conversation": "u/bob", "upToSeq": "1"}"#.to_vec(), NoSuchMessage),
        ("do/read", read("g/climbers", 1), NoSuchMessage),
    ]
}

fn at_least_once<'a>(topic: &'a str, payload: &'a [u8]) -> PublishOut<'a> {
    PublishOut { qos: QoS::AtLeastOnce, ..PublishOut::new(topic, payload) }
}

#[tokio::test]
async fn on_5_0_the_puback_says_why() {
    let service = Service::start().await;
    let mut alice = service.device(Version::V5, "alice", "phone").await;
    for (topic, payload, code) in refusals() {
        let ack = alice.publish(topic, &payload).await;
        assert_eq!(ack.reason.as_u8(), code.puback(), "{topic}: {ack:?}");
        let reason = reason_of(&ack).unwrap_or_else(|| panic!("{topic}: there is a reason string"));
        assert!(reason.starts_with(&format!("{}: ", code.name())), "{topic}: {reason}");
        assert_eq!(seq_of(&ack), None);
    }
    // There is no entry besides.
    alice.nothing().await;
    assert_nothing_happened(&service, &mut alice).await;
}

#[tokio::test]
async fn on_5_0_without_problem_information_there_is_the_code_alone() {
    let service = Service::start().await;
    let mut hello = user(Version::V5, "alice", "phone").kept();
    hello.0.properties.request_problem_information = Some(false);
    let mut alice = service.connect(&hello).await;
    for (topic, payload, code) in refusals() {
        let ack = alice.publish(topic, &payload).await;
        assert_eq!((ack.reason.as_u8(), &ack.properties), (code.puback(), &None), "{topic}");
    }
}

#[tokio::test]
async fn on_3_1_1_a_device_finds_it_in_its_inbox() {
    let service = Service::start().await;
    let mut alice = service.device(Version::V311, "alice", "phone").await;
    let mut tablet = service.device(Version::V311, "alice", "tablet").await;
    for (topic, payload, code) in refusals() {
        let (ack, mut taken) = alice.publish_and_take(topic, &payload).await;
        assert_eq!(ack.reason, ReasonCode::Success);
        if taken.is_empty() {
            taken.push(alice.take().await);
        }
        let [entry] = &taken[..] else { panic!("{topic}: one entry: {taken:?}") };
        let rejected = rejected(entry);
        assert_eq!((&*rejected.topic, rejected.code), (topic, code as i32), "{topic}");
        assert!(rejected.reason.starts_with(&format!("{}: ", code.name())), "{topic}: {rejected:?}");
    }
    alice.nothing().await;
    // It is for the device alone.
    tablet.nothing().await;
    assert_nothing_happened(&service, &mut alice).await;
}

#[tokio::test]
async fn on_3_1_1_the_entry_names_the_message() {
    let service = Service::start_with(with_accounts()).await;
    service.add_users(&["alice"]).await;
    let mut alice = service.device(Version::V311, "alice", "phone").await;
    let (_, mut taken) = alice.publish_and_take("u/nobody/send", &send("hello", b"my id")).await;
    if taken.is_empty() {
        taken.push(alice.take().await);
    }
    let rejected = rejected(&taken[0]);
    assert_eq!((&*rejected.client_msg_id, rejected.code), (&b"my id"[..], ErrorCode::NoSuchUser as i32));
}

#[tokio::test]
async fn on_3_1_1_who_has_no_inbox_is_disconnected() {
    let service = Service::start().await;
    for (topic, payload, _) in refusals() {
        let mut alice = service.publisher(Version::V311, "alice").await;
        // What came before it counts, and is acknowledged.
        alice.send(at_least_once("plants/fern", b"green")).await;
        alice.send(at_least_once(topic, &payload)).await;
        let mut pubacks = 0;
        while let Some(packet) = alice.next().await {
            assert!(
                matches!(packet, chasqui_broker::codec::client::ServerPacket::Puback(_)),
                "{topic}: {packet:?}"
            );
            pubacks += 1;
        }
        assert!(pubacks <= 1, "{topic}: what is refused is not acknowledged");
    }
    let mut alice = service.publisher(Version::V311, "alice").await;
    assert_nothing_happened(&service, &mut alice).await;
}

#[tokio::test]
async fn with_qos_0_nobody_waits_and_nothing_happens() {
    both(|version| async move {
        let service = Service::start().await;
        let mut alice = service.publisher(version, "alice").await;
        for (topic, payload, _) in refusals() {
            alice.send(PublishOut::new(topic, &payload)).await;
        }
        alice.nothing().await;
        // What is right is carried out, though nobody is told.
        alice.send(PublishOut::new("u/bob/send", &says("hello"))).await;
        let mut bob = service.device(version, "bob", "phone").await;
        assert_eq!(text_of(&message(&bob.take().await)), Some("hello"), "{version:?}");
        bob.nothing().await;
    })
    .await;
}

/// The next message is the first one, and bob has nothing else.
async fn assert_nothing_happened(service: &Service, alice: &mut Client) {
    alice.publish_and_take("u/bob/send", &says("the first")).await;
    let mut bob = service.device(Version::V5, "bob", "phone").await;
    let first = message(&bob.take().await);
    assert_eq!((first.seq, text_of(&first)), (1, Some("the first")));
    bob.nothing().await;
    let mut watcher = service.watcher(Version::V5, "bob").await;
    watcher.nothing().await;
}
