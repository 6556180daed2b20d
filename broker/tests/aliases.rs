//! Topic aliases over a real socket: numbers that stand for topic names, in both directions.

mod support;

use chasqui_broker::Config;
use chasqui_broker::codec::{PublishOut, QoS, ReasonCode, Version};
use std::num::NonZeroU16;
use support::{Client, Hello, Server};

const Q1: QoS = QoS::AtLeastOnce;

fn with_alias<'a>(topic: &'a str, alias: u16, payload: &'a [u8]) -> PublishOut<'a> {
    PublishOut { qos: Q1, topic_alias: NonZeroU16::new(alias), ..PublishOut::new(topic, payload) }
}

/// A client that takes so many aliases.
async fn taking(server: &Server, name: &str, aliases: u16) -> Client {
    let mut hello = Hello::new(Version::V5, name).kept();
    hello.0.properties.topic_alias_maximum = Some(aliases);
    Client::connect(server.address, &hello).await
}

#[tokio::test]
async fn a_clients_alias_stands_for_the_topic_it_named() {
    let server = Server::start().await;
    let mut listener = server.client(Version::V311, "l").await;
    listener.subscribe(&[("#", Q1)]).await;
    let mut client = server.client(Version::V5, "c").await;
    let maximum = client.connack.properties.topic_alias_maximum.expect("announced");
    for (topic, alias, expected) in
        [("a", 1, "a"), ("", 1, "a"), ("b", maximum, "b"), ("c", 1, "c"), ("", maximum, "b"), ("", 1, "c")]
    {
        assert_eq!(client.publish_with(with_alias(topic, alias, b"x")).await.reason, ReasonCode::Success);
        assert_eq!(&*listener.take().await.topic, expected);
    }
    // They end with the connection.
    let mut again = server.client(Version::V5, "c").await;
    again.send(with_alias("", 1, b"x")).await;
    assert_eq!(again.closed().await, Some(ReasonCode::ProtocolError));
}

#[tokio::test]
async fn an_alias_beyond_the_maximum_ends_the_connection() {
    let server = Server::start_with(Config { topic_alias_maximum: 3, ..Config::default() }).await;
    let mut client = server.client(Version::V5, "c").await;
    assert_eq!(client.connack.properties.topic_alias_maximum, Some(3));
    client.send(with_alias("a", 4, b"x")).await;
    assert_eq!(client.closed().await, Some(ReasonCode::TopicAliasInvalid));
    let server = Server::start_with(Config { topic_alias_maximum: 0, ..Config::default() }).await;
    let mut client = server.client(Version::V5, "c").await;
    assert_eq!(client.connack.properties.topic_alias_maximum, None);
    client.send(with_alias("a", 1, b"x")).await;
    assert_eq!(client.closed().await, Some(ReasonCode::TopicAliasInvalid));
}

#[tokio::test]
async fn the_server_leaves_a_name_out_once_the_client_knows_it() {
    let server = Server::start().await;
    for qos in [QoS::AtMostOnce, Q1, QoS::ExactlyOnce] {
        let mut client = taking(&server, "c", 2).await;
        client.subscribe(&[("topic/#", qos)]).await;
        let mut publisher = server.client(Version::V5, "p").await;
        let mut known = [String::new(), String::new()];
        let mut left_out = 0;
        for n in 0..40 {
            let topic = format!("topic/{}", n % 3);
            publisher
                .publish_with(PublishOut { qos: QoS::ExactlyOnce, ..PublishOut::new(&topic, b"x") })
                .await;
            let message = client.take().await;
            assert_eq!(message.qos, qos);
            let Some(alias) = message.topic_alias else {
                assert_eq!(&*message.topic, topic);
                continue;
            };
            let known = &mut known[usize::from(alias.get()) - 1];
            if message.topic.is_empty() {
                left_out += 1;
            } else {
                *known = message.topic.to_string();
            }
            assert_eq!(*known, topic);
        }
        assert!(left_out > 20, "{left_out}");
        client.unsubscribe(&["topic/#"]).await;
        client.disconnect().await;
    }
}

#[tokio::test]
async fn a_client_that_takes_no_alias_gets_none_and_a_connection_begins_without() {
    let server = Server::start().await;
    let mut client = taking(&server, "c", 1).await;
    client.subscribe(&[("topic/a", Q1)]).await;
    let mut publisher = server.client(Version::V5, "p").await;
    publisher.publish("topic/a", b"1").await;
    assert!(client.message().await.topic_alias.is_some());
    // What was not acknowledged comes again, with its name.
    let mut client = taking(&server, "c", 1).await;
    let again = client.take().await;
    assert_eq!((&*again.topic, again.dup, again.topic_alias), ("topic/a", true, NonZeroU16::new(1)));
    drop(client);
    let mut client = taking(&server, "c", 0).await;
    publisher.publish("topic/a", b"2").await;
    let message = client.take().await;
    assert_eq!((&*message.topic, message.topic_alias), ("topic/a", None));
}
