//! Replies: the answer to a command in words, for the connection that asked, on the topic it asked for.

use crate::support::*;
use bytes::Bytes;
use chasqui_broker::codec::client::ServerPacket;
use chasqui_broker::codec::{Ack, Publish, PublishOut, PublishProperties, QoS, ReasonCode, Version};
use chasqui_proto::v1::{self, ErrorCode};
use prost::Message as _;

fn read_command(conversation: &str, up_to_seq: u64, request_id: u64) -> v1::Read {
    v1::Read { conversation: conversation.to_owned(), up_to_seq, request_id }
}

/// The reply and the acknowledgement to a command, in whichever order they come.
async fn ask(client: &mut Client, out: PublishOut<'_>) -> (Publish, Ack) {
    client.send(out).await;
    let (mut reply, mut ack) = (None, None);
    while reply.is_none() || ack.is_none() {
        match client.receive().await {
            ServerPacket::Publish(publish, _) if reply.is_none() => {
                if publish.packet_id.is_some() {
                    client.ack(&publish).await;
                }
                reply = Some(publish);
            }
            ServerPacket::Puback(answer) if ack.is_none() => ack = Some(answer),
            other => panic!("one reply and one PUBACK are expected: {other:?}"),
        }
    }
    (reply.expect("just seen"), ack.expect("just seen"))
}

fn at_least_once<'a>(topic: &'a str, payload: &'a [u8]) -> PublishOut<'a> {
    PublishOut { qos: QoS::AtLeastOnce, ..PublishOut::new(topic, payload) }
}

#[tokio::test]
async fn a_request_id_is_answered_on_the_devices_own_topic() {
    both(|version| async move {
        let service = Service::start().await;
        service.publisher(version, "alice").await.tell("bob", "hello").await;
        let mut bob = service.publisher(version, "bob").await;
        let device = "publisher";
        let mut other = service.connect(&user(version, "bob", "other")).await;
        assert_eq!(other.subscribe(&[("u/bob/#", QoS::AtMostOnce)]).await, [ReasonCode::GRANTED_QOS_0]);
        bob.subscribe(&[(&*format!("u/bob/d/{device}/reply"), QoS::AtLeastOnce)]).await;

        let command = read_command("u/alice", 1, 7).encode_to_vec();
        let (reply, ack) = ask(&mut bob, at_least_once("do/read", &command)).await;
        assert_eq!(ack.reason, ReasonCode::Success);
        assert_eq!(*reply.topic, *format!("u/bob/d/{device}/reply"));
        let reply = v1::Reply::decode(reply.payload).unwrap();
        assert_eq!((reply.request_id, reply.code()), (7, ErrorCode::Ok));
        other.nothing().await;

        // Who asks for none gets none.
        let command = read_command("u/alice", 1, 0).encode_to_vec();
        bob.publish("do/read", &command).await;
        bob.nothing().await;
    })
    .await;
}

#[tokio::test]
async fn a_refusal_is_a_reply_too_and_json_is_answered_in_json() {
    let service = Service::start().await;
    let mut bob = service.publisher(Version::V5, "bob").await;
    bob.subscribe(&[("json/u/bob/#", QoS::AtLeastOnce)]).await;
    let command = br#"{"conversation":"u/alice","upToSeq":"9","requestId":"8"}"#;
    let (reply, ack) = ask(&mut bob, at_least_once("json/do/read", command)).await;
    assert!(ack.reason.is_error());
    assert!(reply.topic.starts_with("json/u/bob/d/"), "{}", &*reply.topic);
    let reply: v1::Reply = chasqui_proto::json::decode(&reply.payload).unwrap();
    assert_eq!((reply.request_id, reply.code()), (8, ErrorCode::NoSuchMessage));
    assert!(reply.reason.starts_with("NO_SUCH_MESSAGE: "), "{}", reply.reason);
}

#[tokio::test]
async fn a_response_topic_is_answered_with_its_correlation_data_and_must_be_ones_own() {
    let service = Service::start().await;
    service.publisher(Version::V5, "alice").await.tell("bob", "hello").await;
    let mut bob = service.publisher(Version::V5, "bob").await;
    bob.subscribe(&[("u/bob/#", QoS::AtLeastOnce)]).await;
    let command = read_command("u/alice", 1, 0).encode_to_vec();
    let properties = |topic: &str| PublishProperties {
        response_topic: Some(text(topic)),
        correlation_data: Some(Bytes::from_static(b"mine")),
        ..PublishProperties::default()
    };
    let own = properties("u/bob/d/app/answers");
    let out = PublishOut { properties: Some(&own), ..at_least_once("do/read", &command) };
    let (reply, ack) = ask(&mut bob, out).await;
    assert_eq!(ack.reason, ReasonCode::Success);
    assert_eq!(&*reply.topic, "u/bob/d/app/answers");
    assert_eq!(reply.properties.and_then(|p| p.correlation_data.clone()), Some(Bytes::from_static(b"mine")));

    for stranger in ["u/alice/in", "u/bobby/in", "u/bob", "anything", "json/u/alice/in", "do/read"] {
        let properties = properties(stranger);
        let out = PublishOut { properties: Some(&properties), ..at_least_once("do/read", &command) };
        let ack = bob.publish_with(out).await;
        assert!(
            reason_of(&ack).is_some_and(|reason| reason.starts_with("INVALID_RESPONSE_TOPIC")),
            "{stranger}"
        );
    }
    bob.nothing().await;
}

#[tokio::test]
async fn a_device_that_asks_is_told_where_its_replies_come() {
    let service = Service::start().await;
    let mut hello = user(Version::V5, "alice", "phone");
    hello.0.properties.request_response_information = Some(true);
    let client = service.connect(&hello).await;
    let told = client.connack.properties.response_information.clone();
    assert_eq!(told.as_deref(), Some("u/alice/d/phone/reply"));
    hello.0.client_id = text("no device id");
    assert_eq!(service.connect(&hello).await.connack.properties.response_information, None);
}
