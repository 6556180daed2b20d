//! Section 4.8.2: shared subscriptions, which 5.0 alone has.

use crate::raw::{Hello, PUBACK, PUBREC, Pub, Put, Raw, SUBACK, ack_with, id, subscribe, subscribe_with};
use crate::support::Server;
use chasqui_broker::codec::Version;

const V5: Version = Version::V5;

async fn member(server: &Server, client_id: &str, filter: &str, qos: u8) -> Raw {
    let (mut member, _) = Raw::hello(server.address, &Hello::kept(V5, client_id)).await;
    assert_eq!(member.subscribe(&[(filter, qos)]).await, [qos]);
    member
}

#[tokio::test]
async fn a_share_name_is_one_character_at_least() {
    let server = Server::start().await;
    for filter in ["$share//a", "$share/", "$share//"] {
        let mut client = Raw::connect(server.address, V5, "c").await;
        client.send(&subscribe(V5, 1, &[(filter, 0)])).await;
        client.ended(0x8F).await;
    }
    let mut client = Raw::connect(server.address, V5, "c").await;
    assert_eq!(client.subscribe(&[("$share/g/a", 1), ("$share/group/a/+/#", 1)]).await, [1, 1]);
    // What begins otherwise is a filter like any other: nothing is shared.
    let mut one = member(&server, "one", "$shared/g/a", 1).await;
    let mut two = member(&server, "two", "$shared/g/a", 1).await;
    client.publish(&Pub::new("$shared/g/a", "x").qos(1, 1)).await;
    assert_eq!(one.take().await.topic, "$shared/g/a");
    assert_eq!(two.take().await.topic, "$shared/g/a");
}

#[tokio::test]
async fn a_share_name_has_no_wildcard_and_is_followed_by_a_filter() {
    let server = Server::start().await;
    for filter in
        ["$share/+/a", "$share/#", "$share/g#/a", "$share/a+b/c", "$share/g", "$share/g/", "$share/g/a#"]
    {
        let mut client = Raw::connect(server.address, V5, "c").await;
        client.send(&subscribe(V5, 1, &[(filter, 0)])).await;
        client.ended(0x8F).await;
    }
    let mut client = Raw::connect(server.address, V5, "c").await;
    assert_eq!(client.subscribe(&[("$share/g//", 1)]).await, [1]);
    client.send(&Pub::new("/", "x").bytes(V5)).await;
    assert_eq!(client.take().await.topic, "/");
}

/// One member gets each message, at the QoS that was granted to it.
#[tokio::test]
async fn each_message_goes_to_one_member_at_its_granted_qos() {
    let server = Server::start().await;
    let mut publisher = Raw::connect(server.address, V5, "p").await;
    for (a, b) in [(0, 1), (1, 2), (2, 0)] {
        let mut members =
            [member(&server, "a", "$share/g/t", a).await, member(&server, "b", "$share/g/t", b).await];
        for (member, qos) in members.iter_mut().zip([a, b]) {
            member.subscribe(&[("end", qos)]).await;
        }
        for n in 0..10 {
            publisher.publish(&Pub::new("t", &n.to_string()).qos(2, 1)).await;
        }
        publisher.publish(&Pub::new("end", "x").qos(2, 1)).await;
        let mut seen = Vec::new();
        for (member, qos) in members.iter_mut().zip([a, b]) {
            // One that goes to all comes last.
            loop {
                let message = member.take().await;
                if message.topic == "end" {
                    break;
                }
                assert_eq!(message.qos, qos, "{message:?}");
                seen.push(message.text().parse::<u32>().expect("a number"));
            }
        }
        seen.sort_unstable();
        assert_eq!(seen, (0..10).collect::<Vec<_>>());
        for member in members {
            member.goodbye().await;
        }
        for client_id in ["a", "b"] {
            Raw::connect(server.address, V5, client_id).await.goodbye().await;
        }
    }
}

/// A session that subscribes both ways gets a copy for each, with the identifier of its own subscription alone.
#[tokio::test]
async fn a_copy_for_a_shared_subscription_has_the_identifier_of_that_one() {
    let server = Server::start().await;
    let mut client = Raw::connect(server.address, V5, "c").await;
    for (identifier, filter) in [(7, "$share/g/a"), (9, "a")] {
        let put = Put::new().varint(id::SUBSCRIPTION_ID, identifier);
        client.send(&subscribe_with(V5, 1, &put, &[(filter, 1)])).await;
        assert_eq!(client.codes(SUBACK).await.reasons, [1]);
    }
    let mut publisher = Raw::connect(server.address, V5, "p").await;
    publisher.publish(&Pub::new("a", "x").qos(1, 1)).await;
    let mut seen = [client.take().await, client.take().await].map(|m| m.properties.subscription_ids());
    seen.sort_unstable();
    assert_eq!(seen, [[7], [9]]);
    client.nothing().await;
}

/// What was begun to be sent at QoS 2 is that member's, for as long as its session is.
#[tokio::test]
async fn a_qos_2_message_that_was_begun_is_completed_when_the_member_is_back() {
    let server = Server::start().await;
    let mut a = member(&server, "a", "$share/g/t", 2).await;
    let mut publisher = Raw::connect(server.address, V5, "p").await;
    publisher.publish(&Pub::new("t", "x").qos(2, 1)).await;
    let begun = a.message().await;
    let mut b = member(&server, "b", "$share/g/t", 2).await;
    drop(a);
    b.nothing().await;
    let (mut a, _) = Raw::hello(server.address, &Hello::kept(V5, "a")).await;
    let again = a.take().await;
    assert_eq!((again.packet_id, again.dup, again.text()), (begun.packet_id, true, "x"));
    a.nothing().await;
    b.nothing().await;
}

#[tokio::test]
async fn a_qos_2_message_that_was_begun_goes_to_nobody_else_when_the_session_ends() {
    let server = Server::start().await;
    let mut a = member(&server, "a", "$share/g/t", 2).await;
    let mut publisher = Raw::connect(server.address, V5, "p").await;
    publisher.publish(&Pub::new("t", "x").qos(2, 1)).await;
    a.message().await;
    let mut b = member(&server, "b", "$share/g/t", 2).await;
    drop(a);
    // A clean start ends the session that had it.
    let _a = Raw::connect(server.address, V5, "a").await;
    publisher.publish(&Pub::new("t", "next").qos(2, 1)).await;
    assert_eq!(b.take().await.text(), "next");
    b.nothing().await;
}

#[tokio::test]
async fn a_message_that_a_member_refuses_goes_to_nobody_else() {
    let server = Server::start().await;
    let mut publisher = Raw::connect(server.address, V5, "p").await;
    for (qos, first) in [(1, PUBACK), (2, PUBREC)] {
        let mut a = member(&server, "a", "$share/g/t", 2).await;
        publisher.publish(&Pub::new("t", "refused").qos(qos, 1)).await;
        let refused = a.message().await;
        let mut b = member(&server, "b", "$share/g/t", 2).await;
        a.send(&ack_with(first, refused.packet_id, 0x80)).await;
        a.nothing().await;
        b.nothing().await;
        a.goodbye().await;
        b.nothing().await;
        for client_id in ["a", "b"] {
            Raw::connect(server.address, V5, client_id).await.goodbye().await;
        }
    }
}
