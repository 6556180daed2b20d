//! Section 3.3.2.3.4: topic aliases in both directions.

use crate::raw::{Body, CONNACK, Hello, PINGREQ, Pub, Put, Raw, id};
use crate::support::Server;
use chasqui_broker::codec::Version;
use std::collections::BTreeMap;

const V5: Version = Version::V5;

/// A publish with an alias, and a topic or none.
fn aliased(topic: &str, payload: &str, alias: u16) -> Pub {
    Pub::new(topic, payload).properties(Put::new().two(id::TOPIC_ALIAS, alias))
}

/// A client, and how many aliases the server takes from it.
async fn connected(server: &Server) -> (Raw, u16) {
    let (client, connack) = Raw::hello(server.address, &Hello::new(V5, "c")).await;
    let maximum = connack.properties.number(id::TOPIC_ALIAS_MAXIMUM).unwrap_or(0);
    (client, u16::try_from(maximum).expect("two bytes"))
}

async fn watcher(server: &Server) -> Raw {
    let mut watcher = Raw::connect(server.address, V5, "w").await;
    watcher.subscribe(&[("#", 1)]).await;
    watcher
}

#[tokio::test]
async fn every_alias_up_to_the_maximum_is_taken() {
    let server = Server::start().await;
    let mut watcher = watcher(&server).await;
    let (mut client, maximum) = connected(&server).await;
    assert!(maximum > 0);
    for alias in 1..=maximum {
        client.send(&aliased(&format!("t/{alias}"), "set", alias).bytes(V5)).await;
        assert_eq!(watcher.take().await.topic, format!("t/{alias}"));
    }
    for alias in [maximum, 1] {
        client.publish(&aliased("", "used", alias).qos(1, 1)).await;
        let message = watcher.take().await;
        assert_eq!((message.topic, message.payload), (format!("t/{alias}"), b"used".to_vec()));
        // It is said with its name: this watcher takes no aliases, and the publisher's are not for it.
        assert!(!message.properties.has(id::TOPIC_ALIAS));
    }
    // A new topic takes the place of the one before.
    client.send(&aliased("new", "set", 1).bytes(V5)).await;
    assert_eq!(watcher.take().await.topic, "new");
    client.send(&aliased("", "used", 1).bytes(V5)).await;
    assert_eq!(watcher.take().await.topic, "new");
}

#[tokio::test]
async fn an_alias_ends_with_its_connection() {
    let server = Server::start().await;
    let mut watcher = watcher(&server).await;
    let kept = Hello::kept(V5, "c");
    let (mut client, _) = Raw::hello(server.address, &kept).await;
    client.send(&aliased("t", "set", 1).bytes(V5)).await;
    assert_eq!(watcher.take().await.topic, "t");
    drop(client);
    let (mut client, connack) = Raw::hello(server.address, &kept).await;
    assert!(connack.session_present());
    client.send(&aliased("", "used", 1).bytes(V5)).await;
    client.ended(0x82).await;
    watcher.nothing().await;
}

#[tokio::test]
async fn alias_0_closes() {
    let server = Server::start().await;
    let (mut client, _) = connected(&server).await;
    client.send(&aliased("t", "x", 0).bytes(V5)).await;
    client.ended(0x94).await;
}

#[tokio::test]
async fn an_alias_above_the_maximum_closes() {
    let server = Server::start().await;
    for above in [1, 7] {
        let (mut client, maximum) = connected(&server).await;
        client.send(&aliased("t", "x", maximum + above).bytes(V5)).await;
        client.send_in_vain(&PINGREQ).await;
        client.ended(0x94).await;
    }
}

/// The server's own aliases: never 0, never above what the client takes, never one that was not said before with its topic, and
/// with none where the client takes none. What a client works out from them are the topics that were published.
#[tokio::test]
async fn aliases_of_the_server_stay_within_the_maximum_of_the_client() {
    let server = Server::start().await;
    let mut publisher = Raw::connect(server.address, V5, "p").await;
    for maximum in [0, 1, 3, 65_535] {
        let hello = Hello::new(V5, "c").properties(Put::new().two(id::TOPIC_ALIAS_MAXIMUM, maximum));
        let mut client = Raw::open(server.address, V5).await;
        client.send(&hello.bytes()).await;
        assert_eq!(client.packet().await.0, CONNACK);
        client.subscribe(&[("some/longer/topic/+", 1)]).await;
        let mut known = BTreeMap::new();
        let mut used = 0;
        for n in 0..40 {
            // Each comes again at once, and later.
            let topic = format!("some/longer/topic/{}", n / 4 % 5);
            publisher.publish(&Pub::new(&topic, "x").qos(1, 1)).await;
            let mut message = client.take().await;
            if let Some(alias) = message.properties.raw(id::TOPIC_ALIAS) {
                let alias = Body(alias).two();
                assert!((1..=maximum).contains(&alias), "{alias} of {maximum}");
                if message.topic.is_empty() {
                    message.topic = String::clone(&known[&alias]);
                    used += 1;
                } else {
                    known.insert(alias, message.topic.clone());
                }
            }
            assert_eq!(message.topic, topic);
        }
        assert_eq!(used > 0, maximum > 0, "of {maximum}, {used} times");
        client.goodbye().await;
    }
}
