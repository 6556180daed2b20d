//! Typing: who is there sees that somebody writes to them, and nobody else does, ever.

use crate::support::*;
use chasqui_broker::codec::client::ServerPacket;
use chasqui_broker::codec::{Publish, PublishOut, QoS, ReasonCode, Version};
use chasqui_proto::limits::{TYPING_MAX_BYTES, TYPING_REPEAT_MS};
use chasqui_proto::v1::typing::State;
use chasqui_proto::v1::{self, ErrorCode};
use prost::Message as _;
use std::time::Duration;

const TOPIC: &str = "u/bob/typing/u/alice";

fn typing(state: State) -> Vec<u8> {
    v1::Typing { state: state.into() }.encode_to_vec()
}

/// A device with the one subscription that it needs.
async fn device(service: &Service, version: Version, name: &str, client_id: &str) -> Client {
    let mut device = service.kept(version, name, client_id).await;
    device.subscribe_once(&format!("u/{name}/#")).await;
    device
}

/// Says it with QoS 0, and knows that the server has it.
async fn says(alice: &mut Client, state: State) {
    alice.send(PublishOut::new("u/bob/typing", &typing(state))).await;
    alice.nothing().await;
}

/// What comes next is that alice does this.
async fn sees(client: &mut Client, state: State) -> Publish {
    match client.receive().await {
        ServerPacket::Publish(publish, _) => {
            assert_eq!((&*publish.topic, publish.qos, publish.retain), (TOPIC, QoS::AtMostOnce, false));
            assert_eq!(v1::Typing::decode(publish.payload.clone()).unwrap().state(), state);
            publish
        }
        other => panic!("a message was expected: {other:?}"),
    }
}

#[tokio::test]
async fn all_devices_of_the_other_side_see_it_and_nobody_else() {
    both(|version| async move {
        let service = Service::start().await;
        let mut alice = device(&service, version, "alice", "phone").await;
        let mut laptop = device(&service, version, "alice", "laptop").await;
        let mut carol = device(&service, version, "carol", "phone").await;
        let mut bobs = [
            device(&service, version, "bob", "phone").await,
            device(&service, version, "bob", "laptop").await,
            service.connect(&user(version, "bob", "watch")).await,
        ];
        assert_eq!(
            bobs[2].subscribe(&[("u/bob/typing/#", QoS::AtMostOnce)]).await,
            [ReasonCode::GRANTED_QOS_0]
        );
        for state in [State::Typing, State::Recording, State::Idle] {
            says(&mut alice, state).await;
            for bob in &mut bobs {
                sees(bob, state).await;
            }
        }
        for other in bobs.iter_mut().chain([&mut laptop, &mut carol]) {
            other.nothing().await;
        }
        // Who gives the filter up sees it no more.
        bobs[2].unsubscribe(&["u/bob/typing/#"]).await;
        says(&mut alice, State::Typing).await;
        sees(&mut bobs[0], State::Typing).await;
        bobs[2].nothing().await;
    })
    .await;
}

#[tokio::test]
async fn who_is_blocked_is_not_seen_writing_and_is_not_told() {
    both(|version| async move {
        let service = Service::start().await;
        service.clock.stand_still();
        let mut alice = device(&service, version, "alice", "phone").await;
        let mut bob = device(&service, version, "bob", "phone").await;
        for (verb, is_seen) in [("do/block", false), ("do/unblock", true)] {
            let payload = v1::BlockUser { user: "alice".to_owned(), request_id: 0 }.encode_to_vec();
            let (ack, _) = bob.publish_and_take(verb, &payload).await;
            assert_eq!(ack.reason, ReasonCode::Success);
            // His devices are told of it.
            bob.drain().await;
            service.clock.advance(Duration::from_millis(TYPING_REPEAT_MS));
            let ack = alice.publish("u/bob/typing", &typing(State::Typing)).await;
            assert_eq!((ack.reason, reason_of(&ack)), (ReasonCode::Success, None), "{verb}");
            if is_seen {
                sees(&mut bob, State::Typing).await;
            } else {
                bob.nothing().await;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn with_an_acknowledgement_it_is_the_same_whether_anybody_is_there_or_exists() {
    both(|version| async move {
        let service = Service::start().await;
        let mut alice = device(&service, version, "alice", "phone").await;
        for topic in ["u/bob/typing", "u/nobody-of-this-name/typing"] {
            let ack = alice.publish(topic, &typing(State::Typing)).await;
            assert_eq!((ack.reason, reason_of(&ack)), (ReasonCode::Success, None), "{topic}");
        }
        let idle = typing(State::Idle);
        let twice = PublishOut { qos: QoS::ExactlyOnce, ..PublishOut::new("u/bob/typing", &idle) };
        assert_eq!(alice.publish_with(twice).await.reason, ReasonCode::Success);
        alice.nothing().await;
    })
    .await;
}

#[tokio::test]
async fn it_waits_for_nobody_and_is_not_retained() {
    both(|version| async move {
        let service = Service::start().await;
        let mut alice = device(&service, version, "alice", "phone").await;
        device(&service, version, "bob", "phone").await.disconnect().await;
        alice
            .send(PublishOut { retain: true, ..PublishOut::new("u/bob/typing", &typing(State::Typing)) })
            .await;
        alice.nothing().await;
        let mut bob = service.connect(&user(version, "bob", "phone").kept()).await;
        bob.subscribe(&[(TOPIC, QoS::AtLeastOnce)]).await;
        bob.nothing().await;
    })
    .await;
}

#[tokio::test]
async fn a_repetition_within_a_second_is_not_passed_on() {
    let service = Service::start().await;
    service.clock.stand_still();
    let mut alice = device(&service, Version::V5, "alice", "phone").await;
    let mut bob = device(&service, Version::V5, "bob", "phone").await;
    for _ in 0..5 {
        says(&mut alice, State::Typing).await;
    }
    sees(&mut bob, State::Typing).await;
    bob.nothing().await;
    service.clock.advance(Duration::from_millis(TYPING_REPEAT_MS));
    says(&mut alice, State::Typing).await;
    sees(&mut bob, State::Typing).await;
}

#[tokio::test]
async fn what_this_version_does_not_know_is_passed_on_as_it_came() {
    let service = Service::start().await;
    let mut alice = device(&service, Version::V5, "alice", "phone").await;
    let mut bob = device(&service, Version::V5, "bob", "phone").await;
    // State 9, and a field 15 that there is not.
    let payload = b"\x08\x09\x7a\x03abc";
    alice.publish("u/bob/typing", payload).await;
    match bob.receive().await {
        ServerPacket::Publish(publish, _) => assert_eq!(&publish.payload[..], payload),
        other => panic!("a message was expected: {other:?}"),
    }
}

#[tokio::test]
async fn what_is_none_is_refused() {
    let service = Service::start().await;
    let mut alice = device(&service, Version::V5, "alice", "phone").await;
    let mut bob = device(&service, Version::V5, "bob", "phone").await;
    let long = [&[0x7a, 0x80, 0x02][..], &[b'x'; TYPING_MAX_BYTES]].concat();
    for (payload, code) in [(&b"\xff"[..], ErrorCode::InvalidPayload), (&long, ErrorCode::TooLarge)] {
        let ack = alice.publish("u/bob/typing", payload).await;
        assert_eq!(ack.reason.as_u8(), code.puback(), "{ack:?}");
    }
    bob.nothing().await;
}

/// What a reader that does not read is not sent is dropped and counted; what was promised to it is not.
#[tokio::test]
async fn a_stuck_reader_loses_signals_and_no_message() {
    let service = Service::start().await;
    let mut bob = device(&service, Version::V5, "bob", "phone").await;
    let mut alice = device(&service, Version::V5, "alice", "phone").await;
    // Bob reads nothing: what the sockets hold between them, and then the mailbox, fill up with what many write to him.
    let payload = |state: u8| [&[0x08, state, 0x7a, 0xfa, 0x01][..], &[b'x'; 250]].concat();
    let stats = service.server().broker().stats();
    let mut sent = 0u32;
    while stats.dropped_buffer_full.get() + stats.dropped_mailbox_full.get() == 0 {
        assert!(sent < 1_000_000, "sockets do not hold so much");
        for turn in 0..1_000u32 {
            alice.send(PublishOut::new("u/bob/typing", &payload(1 + (turn % 2) as u8))).await;
            sent += 1;
        }
        alice.nothing().await;
    }
    alice.tell("bob", "this one is kept").await;
    let mut seen = 0;
    loop {
        match bob.receive().await {
            ServerPacket::Publish(publish, _) if publish.qos == QoS::AtMostOnce => seen += 1,
            ServerPacket::Publish(publish, _) => {
                assert_eq!(text_of(&message(&publish)), Some("this one is kept"));
                break;
            }
            other => panic!("messages were expected: {other:?}"),
        }
    }
    assert!(seen < sent, "{seen} of {sent}");
}
