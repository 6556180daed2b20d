//! QoS 2 with the real store: a message to somebody is carried out once, without any `client_msg_id`, and a message on a generic topic
//! arrives once, whatever is repeated after a crash.

use crate::support::*;
use chasqui_broker::codec::client::ServerPacket;
use chasqui_broker::codec::packet::publish;
use chasqui_broker::codec::{Ack, PacketId, PacketType, PublishOut, QoS, ReasonCode, Version};

fn id(n: u16) -> PacketId {
    PacketId::new(n).expect("not 0")
}

async fn repeat(client: &mut Client, topic: &str, packet_id: PacketId, payload: &[u8]) {
    let out = PublishOut {
        qos: QoS::ExactlyOnce,
        packet_id: Some(packet_id),
        dup: true,
        ..PublishOut::new(topic, payload)
    };
    let mut bytes = Vec::new();
    publish::encode(&mut bytes, &client.peer, &out).expect("valid");
    client.write(&bytes).await;
}

async fn pubrec(client: &mut Client) -> Ack {
    match client.receive().await {
        ServerPacket::Pubrec(ack) => ack,
        other => panic!("PUBREC expected: {other:?}"),
    }
}

#[tokio::test]
async fn a_message_to_somebody_is_sent_once_across_a_crash() {
    both(|version| async move {
        let mut service = Service::start().await;
        let mut bob = service.device(version, "bob", "phone").await;
        let mut alice = service.kept(version, "alice", "laptop").await;
        repeat(&mut alice, "u/bob/send", id(3), &says("one")).await;
        let first = pubrec(&mut alice).await;
        assert_eq!(seq_of(&first), (version == Version::V5).then_some(1));
        assert_eq!(text_of(&message(&bob.take().await)), Some("one"));
        drop(bob);
        service.kill().await;
        service.resume().await;
        let mut alice = service.kept(version, "alice", "laptop").await;
        assert!(alice.connack.session_present);
        repeat(&mut alice, "u/bob/send", id(3), &says("one")).await;
        pubrec(&mut alice).await;
        alice.send_ack(PacketType::Pubrel, id(3)).await;
        match alice.receive().await {
            ServerPacket::Pubcomp(ack) => assert_eq!(ack.reason, ReasonCode::Success),
            other => panic!("PUBCOMP expected: {other:?}"),
        }
        // The id is free, and that is as durable.
        service.kill().await;
        service.resume().await;
        let mut alice = service.kept(version, "alice", "laptop").await;
        repeat(&mut alice, "u/bob/send", id(3), &says("two")).await;
        pubrec(&mut alice).await;
        let mut reader = service.device(version, "bob", "reader").await;
        let mut texts = Vec::new();
        while texts.last().is_none_or(|text| text != "two") {
            texts.push(text_of(&message(&reader.take().await)).unwrap_or_default().to_owned());
        }
        assert!(texts.iter().filter(|text| *text == "one").count() <= 1, "{texts:?}");
        reader.nothing().await;
    })
    .await;
}

#[tokio::test]
async fn a_refused_message_does_not_take_its_packet_id() {
    let service = Service::start().await;
    let mut alice = service.kept(Version::V5, "alice", "laptop").await;
    repeat(&mut alice, "u/bob/send", id(3), b"\xff").await;
    assert_eq!(pubrec(&mut alice).await.reason, ReasonCode::PayloadFormatInvalid);
    repeat(&mut alice, "u/bob/send", id(3), &says("one")).await;
    assert_eq!(seq_of(&pubrec(&mut alice).await), Some(1));
}

#[tokio::test]
async fn a_message_on_a_generic_topic_arrives_once_across_a_crash() {
    both(|version| async move {
        let mut service = Service::start().await;
        let mut phone = service.kept(version, "bob", "phone").await;
        phone.subscribe(&[("t", QoS::ExactlyOnce)]).await;
        let mut alice = service.publisher(version, "alice").await;
        for text in [b"1", b"2", b"3"] {
            alice.publish_with(PublishOut { qos: QoS::ExactlyOnce, ..PublishOut::new("t", text) }).await;
        }
        let sent = [phone.message().await, phone.message().await, phone.message().await];
        // The second one is received, and nobody knows whether its PUBREL came.
        phone.send_ack(PacketType::Pubrec, sent[1].packet_id.expect("QoS 2")).await;
        assert_eq!(Some(phone.pubrel().await.packet_id), sent[1].packet_id);
        service.kill().await;
        service.resume().await;
        let mut phone = service.kept(version, "bob", "phone").await;
        assert_eq!(Some(phone.pubrel().await.packet_id), sent[1].packet_id);
        for before in [&sent[0], &sent[2]] {
            let again = phone.message().await;
            assert_eq!(
                (again.packet_id, &again.payload, again.dup),
                (before.packet_id, &before.payload, true)
            );
        }
        phone.nothing().await;
    })
    .await;
}
