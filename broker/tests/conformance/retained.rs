//! Section 3.3.1.3: RETAIN, what is kept for a topic and who gets it.

use crate::raw::{Message, Pub, Raw};
use crate::support::{Server, both};
use chasqui_broker::codec::Version;

/// Bits of the subscription options beside the QoS.
const RETAIN_AS_PUBLISHED: u8 = 0x08;
const SEND_IF_NEW: u8 = 0x10;
const DO_NOT_SEND: u8 = 0x20;

/// A retained message with QoS 1.
fn kept(topic: &str, payload: &str) -> Pub {
    Pub::new(topic, payload).qos(1, 1).retained()
}

/// What a new subscription with QoS 2 gets of what is kept, as topic and payload, sorted.
async fn found(server: &Server, version: Version, filter: &str) -> Vec<(String, String)> {
    let mut client = Raw::connect(server.address, version, "finder").await;
    // What comes for this one, published when all the others are there, ends the list.
    client.subscribe(&[(filter, 0), ("end/of/list", 0)]).await;
    client.send(&Pub::new("end/of/list", "").bytes(version)).await;
    let mut found = Vec::new();
    loop {
        let message = client.message().await;
        if message.topic == "end/of/list" {
            break;
        }
        assert!(message.retain, "what is there already comes with RETAIN: {message:?}");
        found.push((message.topic.clone(), message.text().to_owned()));
    }
    client.goodbye().await;
    found.sort_unstable();
    found
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(topic, payload)| ((*topic).to_owned(), (*payload).to_owned())).collect()
}

#[tokio::test]
async fn a_retained_message_is_kept_with_its_qos() {
    both(|version| async move {
        let server = Server::start().await;
        let mut publisher = Raw::connect(server.address, version, "p").await;
        for qos in 0..=2 {
            let publish = Pub::new(&format!("r/{qos}"), "x").qos(qos, 9).retained();
            publisher.publish(&publish).await;
        }
        let mut client = Raw::connect(server.address, version, "c").await;
        client.subscribe(&[("r/+", 2)]).await;
        let mut seen = Vec::new();
        for _ in 0..=2 {
            let message = client.take().await;
            seen.push((message.topic, message.qos));
        }
        seen.sort_unstable();
        assert_eq!(seen, [("r/0".to_owned(), 0), ("r/1".to_owned(), 1), ("r/2".to_owned(), 2)]);
    })
    .await;
}

#[tokio::test]
async fn a_new_subscription_gets_the_last_retained_message_of_each_topic() {
    both(|version| async move {
        let server = Server::start().await;
        let mut publisher = Raw::connect(server.address, version, "p").await;
        for (topic, payload) in [("r/a", "old"), ("r/b", "b"), ("r/a", "new"), ("s", "other")] {
            publisher.publish(&kept(topic, payload)).await;
        }
        assert_eq!(found(&server, version, "r/#").await, pairs(&[("r/a", "new"), ("r/b", "b")]));
        assert_eq!(found(&server, version, "s").await, pairs(&[("s", "other")]));
        assert_eq!(found(&server, version, "nothing/#").await, pairs(&[]));
    })
    .await;
}

#[tokio::test]
async fn a_message_for_a_new_subscription_has_retain() {
    both(|version| async move {
        let server = Server::start().await;
        let mut client = Raw::connect(server.address, version, "c").await;
        client.publish(&kept("r", "x")).await;
        for qos in 0..=1 {
            client.subscribe(&[("r", qos)]).await;
            let Message { retain, dup, qos: sent, .. } = client.take().await;
            assert_eq!((retain, dup, sent), (true, false, qos));
        }
        client.nothing().await;
    })
    .await;
}

#[tokio::test]
async fn a_retained_message_of_qos_0_takes_the_place_of_the_one_before() {
    both(|version| async move {
        let server = Server::start().await;
        let mut publisher = Raw::connect(server.address, version, "p").await;
        publisher.publish(&kept("r", "old")).await;
        publisher.publish(&Pub::new("r", "new").retained()).await;
        assert_eq!(found(&server, version, "r").await, pairs(&[("r", "new")]));
    })
    .await;
}

#[tokio::test]
async fn retain_is_not_passed_on_to_an_established_subscription() {
    both(|version| async move {
        let server = Server::start().await;
        let mut client = Raw::connect(server.address, version, "c").await;
        client.subscribe(&[("r", 1)]).await;
        let mut publisher = Raw::connect(server.address, version, "p").await;
        for retain in [true, false, true] {
            publisher.publish(&Pub { retain, ..Pub::new("r", "x").qos(1, 1) }).await;
            assert!(!client.take().await.retain);
        }
    })
    .await;
}

#[tokio::test]
async fn retain_as_published_passes_the_flag_on() {
    let version = Version::V5;
    let server = Server::start().await;
    let mut client = Raw::connect(server.address, version, "c").await;
    client.subscribe(&[("r", 1 | RETAIN_AS_PUBLISHED)]).await;
    let mut publisher = Raw::connect(server.address, version, "p").await;
    for retain in [true, false, true] {
        publisher.publish(&Pub { retain, ..Pub::new("r", "x").qos(1, 1) }).await;
        assert_eq!(client.take().await.retain, retain);
    }
}

#[tokio::test]
async fn an_empty_retained_message_is_delivered_and_removes_the_one_before() {
    both(|version| async move {
        let server = Server::start().await;
        let mut client = Raw::connect(server.address, version, "c").await;
        client.publish(&kept("r", "x")).await;
        client.publish(&kept("other", "y")).await;
        client.subscribe(&[("r", 1)]).await;
        assert_eq!(client.take().await.text(), "x");
        let mut publisher = Raw::connect(server.address, version, "p").await;
        publisher.publish(&kept("r", "")).await;
        let message = client.take().await;
        assert_eq!((message.text(), message.retain), ("", false));
        assert_eq!(found(&server, version, "#").await, pairs(&[("other", "y")]));
    })
    .await;
}

#[tokio::test]
async fn an_empty_retained_message_is_not_kept() {
    both(|version| async move {
        let server = Server::start().await;
        let mut publisher = Raw::connect(server.address, version, "p").await;
        publisher.publish(&kept("r/1", "")).await;
        publisher.publish(&Pub::new("r/0", "").retained()).await;
        assert_eq!(found(&server, version, "r/+").await, pairs(&[]));
    })
    .await;
}

#[tokio::test]
async fn without_retain_nothing_is_kept_replaced_or_removed() {
    both(|version| async move {
        let server = Server::start().await;
        let mut publisher = Raw::connect(server.address, version, "p").await;
        publisher.publish(&kept("r", "kept")).await;
        for payload in ["other", ""] {
            publisher.publish(&Pub::new("r", payload).qos(1, 1)).await;
            publisher.publish(&Pub::new("new", payload).qos(1, 1)).await;
        }
        assert_eq!(found(&server, version, "#").await, pairs(&[("r", "kept")]));
    })
    .await;
}

/// Retain Handling 0 and a filter that is there already: they are sent again.
#[tokio::test]
async fn retain_handling_0_sends_what_is_kept_every_time() {
    both(|version| async move {
        let server = Server::start().await;
        let mut client = Raw::connect(server.address, version, "c").await;
        client.publish(&kept("r/a", "1")).await;
        client.publish(&kept("r/b", "2")).await;
        for _ in 0..3 {
            client.subscribe(&[("r/+", 1)]).await;
            let mut seen = [client.take().await.topic, client.take().await.topic];
            seen.sort_unstable();
            assert_eq!(seen, ["r/a", "r/b"]);
            client.nothing().await;
        }
    })
    .await;
}

#[tokio::test]
async fn retain_handling_1_sends_what_is_kept_to_a_new_subscription_alone() {
    let version = Version::V5;
    let server = Server::start().await;
    let mut client = Raw::connect(server.address, version, "c").await;
    client.publish(&kept("r", "x")).await;
    client.subscribe(&[("r", 1 | SEND_IF_NEW)]).await;
    assert!(client.take().await.retain);
    client.subscribe(&[("r", 1 | SEND_IF_NEW)]).await;
    client.nothing().await;
    // Another filter for the same topic is another subscription.
    client.subscribe(&[("+", 1 | SEND_IF_NEW)]).await;
    assert!(client.take().await.retain);
    client.nothing().await;
}

#[tokio::test]
async fn retain_handling_2_sends_nothing_that_is_kept() {
    let version = Version::V5;
    let server = Server::start().await;
    let mut client = Raw::connect(server.address, version, "c").await;
    client.publish(&kept("r", "x")).await;
    client.subscribe(&[("r", 1 | DO_NOT_SEND)]).await;
    client.nothing().await;
    // It is subscribed all the same.
    let mut publisher = Raw::connect(server.address, version, "p").await;
    publisher.publish(&kept("r", "live")).await;
    assert_eq!(client.take().await.text(), "live");
}
