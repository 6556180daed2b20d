//! Sections 3.12 to 3.14 and 4.13 (4.8 in 3.1.1): pings, goodbyes and errors.

use crate::door::Door;
use crate::raw::{
    CONNACK, DISCONNECT, GOODBYE, Hello, PINGREQ, PINGRESP, Pub, Put, Raw, SUBACK, UNSUBACK, ack, id, packet,
    reasoned, subscribe, subscribe_with,
};
use crate::support::{Server, both};
use crate::wills::settled;
use chasqui_broker::Config;
use chasqui_broker::codec::Version;

#[tokio::test]
async fn a_pingreq_is_answered() {
    both(|version| async move {
        let server = Server::start().await;
        let mut client = Raw::connect(server.address, version, "c").await;
        client.send(&PINGREQ.repeat(3)).await;
        client.expect(&PINGRESP.repeat(3)).await;
    })
    .await;
}

#[tokio::test]
async fn no_disconnect_is_sent_before_connack() {
    let (server, _) = Door::open().await;
    let hello = Hello::new(Version::V5, "c");
    let long = hello.clone().properties(Put::new().user("n", &"x".repeat(20_000)));
    let refused = Hello { password: Some(b"banned".to_vec()), ..hello.clone() };
    let malformed = Hello { flip: 1, ..hello };
    for bytes in [long.bytes(), refused.bytes(), malformed.bytes()] {
        let mut client = Raw::open(server.address, Version::V5).await;
        client.send_in_vain(&bytes).await;
        assert!(client.connack().await.code >= 0x80);
        client.closed().await;
    }
    // Nothing at all where no CONNECT was seen, nor when the server goes while it waits for one.
    let mut client = Raw::open(server.address, Version::V5).await;
    client.send(&Pub::new("t", "x").bytes(Version::V5)).await;
    client.closed().await;
    let mut silent = Raw::open(server.address, Version::V5).await;
    // Accepted for certain once a later one is through.
    Raw::connect(server.address, Version::V5, "c").await.goodbye().await;
    server.broker.stop(crate::support::PATIENCE).await;
    silent.closed().await;
}

#[tokio::test]
async fn a_server_that_stops_says_so() {
    both(|version| async move {
        let server = Server::start().await;
        let mut client = Raw::connect(server.address, version, "c").await;
        server.broker.stop(crate::support::PATIENCE).await;
        client.ended(0x8B).await;
    })
    .await;
}

#[tokio::test]
async fn a_disconnect_of_another_reason_code_closes() {
    let server = Server::start().await;
    // Not a code at all; a code of other packets; codes that only a server may send.
    for code in [0x01, 0x05, 0x7F, 0x10, 0x85, 0x87, 0x8B, 0x8D, 0x8E, 0xA2] {
        let mut client = Raw::connect(server.address, Version::V5, "c").await;
        client.send(&reasoned(DISCONNECT, code, &Put::new())).await;
        client.ended(0x82).await;
    }
    for code in [0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99] {
        let mut client = Raw::connect(server.address, Version::V5, "c").await;
        client.send(&reasoned(DISCONNECT, code, &Put::new())).await;
        client.closed().await;
    }
}

#[tokio::test]
async fn the_words_of_a_disconnect_are_left_out_where_they_do_not_fit() {
    let server = Server::start().await;
    // As large as the CONNACK, which has to fit.
    let (_, connack) = Raw::hello(server.address, &Hello::new(Version::V5, "c")).await;
    let max = 5 + connack.properties.0.iter().map(|(_, value)| 1 + value.len() as u32).sum::<u32>();
    for (max, has) in [(max, false), (1000, true)] {
        let put = Put::new().four(id::MAXIMUM_PACKET_SIZE, max);
        let (mut client, _) = Raw::hello(server.address, &Hello::new(Version::V5, "c").properties(put)).await;
        client.send(&Hello::new(Version::V5, "c").bytes()).await;
        let said = client.reasoned(DISCONNECT).await;
        assert_eq!((said.code, said.properties.has(id::REASON_STRING)), (0x82, has));
        assert!(said.properties.users().is_empty());
        client.closed().await;
    }
}

#[tokio::test]
async fn disconnect_is_the_last_packet_and_closes() {
    let server = Server::start().await;
    let version = Version::V5;
    let hello = Hello::kept(version, "c").properties(Put::new().four(id::SESSION_EXPIRY, 100));
    let (mut client, _) = Raw::hello(server.address, &hello).await;
    client.subscribe(&[("t", 0)]).await;
    // Everything around the packet that is wrong: what came before it counts, and what comes behind it does not.
    let bytes = [
        Pub::new("t", "before").bytes(version),
        ack(0x40, 0),
        Pub::new("t", "after").bytes(version),
        PINGREQ.to_vec(),
    ];
    client.send(&bytes.concat()).await;
    let mut last = 0;
    while let Some((first, body)) = client.next().await {
        assert_ne!(last, DISCONNECT, "nothing comes behind DISCONNECT");
        assert_ne!(first, PINGRESP[0]);
        assert!(!body.ends_with(b"after"));
        if first == DISCONNECT {
            assert_eq!(body[0], 0x82);
            // Nor does it say when the session ends: that is the client's word alone.
            assert!(!crate::raw::Body(&body[1..]).properties(version).has(id::SESSION_EXPIRY));
        }
        last = first;
    }
    assert_eq!(last, DISCONNECT);
}

#[tokio::test]
async fn what_follows_the_clients_disconnect_is_not_processed() {
    both(|version| async move {
        let server = Server::start().await;
        let mut watcher = Raw::connect(server.address, version, "w").await;
        watcher.subscribe(&[("t", 0)]).await;
        let mut client = Raw::connect(server.address, version, "c").await;
        client.send(&[&GOODBYE[..], &Pub::new("t", "x").bytes(version)].concat()).await;
        client.closed().await;
        settled(&server, 1).await;
        watcher.nothing().await;
    })
    .await;
}

#[tokio::test]
async fn every_protocol_error_closes_with_its_code() {
    both(|version| async move {
        let config = Config { max_packet_size: 1000, receive_maximum: 2, ..Config::default() };
        let server = Server::start_with(config).await;
        let publish = |put| Pub::new("t", "").properties(put).bytes(version);
        let mut bad = vec![
            (0x82, Hello::new(version, "c").bytes()),
            (0x82, subscribe(version, 1, &[])),
            (0x82, packet(CONNACK, &[0, 0])),
            (0x82, packet(SUBACK, &[0, 1, 0])),
            (0x82, packet(UNSUBACK, &[0, 1])),
            (0x82, PINGRESP.to_vec()),
            (0x81, packet(PINGREQ[0], &[0])),
            (0x81, packet(0x40, &[1])),
            (0x81, Pub { dup: true, ..Pub::new("t", "") }.bytes(version)),
            (0x81, Pub::new("t", "").qos(3, 1).bytes(version)),
            (0x90, Pub::new("t/#", "").bytes(version)),
            (0x8F, subscribe(version, 1, &[("a#", 0)])),
            (0x95, Pub::new("t", &"x".repeat(1000)).bytes(version)),
            // It is refused by its header, before the rest is there.
            (0x95, vec![0x30, 0xFF, 0xFF, 0xFF, 0x7F]),
        ];
        if version == Version::V5 {
            bad.extend([
                (0x82, publish(Put::new().varint(id::SUBSCRIPTION_ID, 1))),
                (0x82, publish(Put::new().byte(id::PAYLOAD_FORMAT, 2))),
                (0x82, publish(Put::new().text(id::CONTENT_TYPE, "a").text(id::CONTENT_TYPE, "a"))),
                (0x81, publish(Put::new().byte(id::RETAIN_AVAILABLE, 1))),
                (0x94, publish(Put::new().two(id::TOPIC_ALIAS, 0))),
                (0x82, Pub::new("", "").bytes(version)),
                (0x82, subscribe_with(version, 1, &Put::new().varint(id::SUBSCRIPTION_ID, 0), &[("a", 0)])),
                (0x82, reasoned(DISCONNECT, 0, &Put::new().four(id::SESSION_EXPIRY, 1))),
            ]);
        } else {
            bad.push((0x82, Pub::new("", "").bytes(version)));
        }
        for (code, bytes) in bad {
            let mut client = Raw::connect(server.address, version, "c").await;
            client.send_in_vain(&bytes).await;
            client.ended(code).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_connection_that_cannot_be_told_is_closed_all_the_same() {
    let server = Server::start().await;
    let put = Put::new().four(id::MAXIMUM_PACKET_SIZE, 3);
    let mut client = Raw::open(server.address, Version::V5).await;
    client.send(&Hello { flip: 1, ..Hello::new(Version::V5, "c").properties(put.clone()) }.bytes()).await;
    // What is malformed is not believed about what it takes either.
    assert_eq!(client.connack().await.code, 0x81);
    client.closed().await;
    let refused = Hello { user: Some(b"nobody".to_vec()), ..Hello::new(Version::V5, "c") };
    for hello in [refused, Hello::new(Version::V5, "c")] {
        let mut client = Raw::open(server.address, Version::V5).await;
        client.send(&hello.properties(put.clone()).bytes()).await;
        client.closed().await;
    }
}

#[tokio::test]
async fn a_passing_failure_closes_the_connection_it_came_on_and_no_other() {
    both(|version| async move {
        let (server, _) = Door::open().await;
        let mut other = Raw::connect(server.address, version, "o").await;
        let mut client = Raw::connect(server.address, version, "c").await;
        client.send(&subscribe(version, 1, &[("fails", 0)])).await;
        client.ended(0x83).await;
        other.nothing().await;
    })
    .await;
}
