//! QoS 2 over a real socket, for both versions from one body: each message once, across repeated packets, lost connections,
//! take-over and a restart that nobody announced.

mod support;

use bytes::Bytes;
use chasqui_broker::Config;
use chasqui_broker::codec::client::ServerPacket;
use chasqui_broker::codec::{
    Ack, PacketId, PacketType, Publish, PublishOut, PublishProperties, QoS, ReasonCode, Version,
};
use chasqui_broker::config::Clock as _;
use chasqui_broker::message::{Identifiers, Message};
use chasqui_broker::store::ram::RamStore;
use chasqui_broker::store::{FlightStage, SessionKey, Store};
use std::sync::Arc;
use support::{Client, Hello, PlainHook, Server, TestClock, both, text};

const Q0: QoS = QoS::AtMostOnce;
const Q1: QoS = QoS::AtLeastOnce;
const Q2: QoS = QoS::ExactlyOnce;

fn once<'a>(topic: &'a str, payload: &'a [u8]) -> PublishOut<'a> {
    PublishOut { qos: Q2, ..PublishOut::new(topic, payload) }
}

/// A PUBLISH of this packet id, as a client repeats it.
async fn repeat(client: &mut Client, id: PacketId, dup: bool, payload: &[u8]) {
    let out = PublishOut { packet_id: Some(id), dup, ..once("a", payload) };
    let mut bytes = Vec::new();
    chasqui_broker::codec::packet::publish::encode(&mut bytes, &client.peer, &out).expect("valid");
    client.write(&bytes).await;
}

async fn pubrec(client: &mut Client) -> Ack {
    match client.receive().await {
        ServerPacket::Pubrec(ack) => ack,
        other => panic!("PUBREC expected: {other:?}"),
    }
}

async fn pubcomp(client: &mut Client) -> Ack {
    match client.receive().await {
        ServerPacket::Pubcomp(ack) => ack,
        other => panic!("PUBCOMP expected: {other:?}"),
    }
}

fn key(client_id: &str) -> SessionKey {
    SessionKey { owner: Arc::from(""), client_id: Arc::from(client_id) }
}

fn id(publish: &Publish) -> PacketId {
    publish.packet_id.expect("QoS above 0")
}

#[tokio::test]
async fn a_message_goes_through_the_whole_exchange_at_the_lower_qos() {
    both(|version| async move {
        let server = Server::start().await;
        let mut all = Vec::new();
        for (name, qos) in [("0", Q0), ("1", Q1), ("2", Q2)] {
            let mut client = server.client(version, name).await;
            assert_eq!(client.subscribe(&[("a", qos)]).await, [qos.granted()]);
            all.push((client, qos));
        }
        let mut publisher = server.client(version, "p").await;
        assert_eq!(publisher.publish_with(once("a", b"x")).await.reason, ReasonCode::Success);
        publisher.publish("a", b"y").await;
        for (client, qos) in &mut all {
            assert_eq!(client.take().await.qos, *qos);
            assert_eq!(client.take().await.qos, (*qos).min(Q1));
            client.nothing().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_repeated_publish_is_acknowledged_again_and_not_carried_out_again() {
    both(|version| async move {
        for kept in [false, true] {
            let server = Server::start().await;
            let mut listener = server.client(version, "l").await;
            listener.subscribe(&[("a", Q0)]).await;
            let hello = Hello::new(version, "p");
            let hello = if kept { hello.kept() } else { hello };
            let mut publisher = Client::connect(server.address, &hello).await;
            let id = PacketId::new(7).unwrap();
            for (dup, payload) in [(false, b"1"), (true, b"1"), (false, b"2")] {
                repeat(&mut publisher, id, dup, payload).await;
                assert_eq!(pubrec(&mut publisher).await.packet_id, id);
            }
            publisher.send_ack(PacketType::Pubrel, id).await;
            assert_eq!(pubcomp(&mut publisher).await.reason, ReasonCode::Success);
            // Released: the same packet id is a new message.
            repeat(&mut publisher, id, false, b"3").await;
            pubrec(&mut publisher).await;
            assert_eq!(&listener.take().await.payload[..], b"1");
            assert_eq!(&listener.take().await.payload[..], b"3");
            listener.nothing().await;
        }
    })
    .await;
}

/// What a client may repeat after its connection was lost, and after the server was: the whole table of places.
#[tokio::test]
async fn a_publish_is_carried_out_once_across_take_over_and_restart() {
    both(|version| async move {
        let store: Arc<dyn Store> = Arc::new(RamStore::default());
        let hello = Hello::new(version, "p").kept();
        let reader = Hello::new(version, "reader").kept();
        let server = Server::start_on(Config::default(), Arc::new(PlainHook), Arc::clone(&store)).await;
        Client::connect(server.address, &reader).await.subscribe(&[("a", Q2)]).await;
        let id = PacketId::new(9).unwrap();
        let mut first = Client::connect(server.address, &hello).await;
        repeat(&mut first, id, false, b"1").await;
        pubrec(&mut first).await;
        let mut second = Client::connect(server.address, &hello).await;
        assert!(second.connack.session_present);
        repeat(&mut second, id, true, b"1").await;
        pubrec(&mut second).await;

        // Another process on the same store; the old one says nothing to it.
        let server = Server::start_on(Config::default(), Arc::new(PlainHook), Arc::clone(&store)).await;
        let mut third = Client::connect(server.address, &hello).await;
        assert!(third.connack.session_present);
        repeat(&mut third, id, true, b"1").await;
        pubrec(&mut third).await;
        third.send_ack(PacketType::Pubrel, id).await;
        pubcomp(&mut third).await;

        let server = Server::start_on(Config::default(), Arc::new(PlainHook), Arc::clone(&store)).await;
        let mut fourth = Client::connect(server.address, &hello).await;
        // PUBCOMP may have been lost: PUBREL comes again, and is answered.
        fourth.send_ack(PacketType::Pubrel, id).await;
        let code =
            if version == Version::V5 { ReasonCode::PacketIdentifierNotFound } else { ReasonCode::Success };
        assert_eq!(pubcomp(&mut fourth).await.reason, code);
        repeat(&mut fourth, id, false, b"2").await;
        pubrec(&mut fourth).await;
        let mut reader = Client::connect(server.address, &reader).await;
        assert_eq!(&reader.take().await.payload[..], b"1");
        assert_eq!(&reader.take().await.payload[..], b"2");
        reader.nothing().await;
    })
    .await;
}

#[tokio::test]
async fn a_session_that_begins_anew_has_received_nothing() {
    both(|version| async move {
        let server = Server::start().await;
        let mut listener = server.client(version, "l").await;
        listener.subscribe(&[("a", Q0)]).await;
        let id = PacketId::new(5).unwrap();
        let kept = Hello::new(version, "p").kept();
        let mut publisher = Client::connect(server.address, &kept).await;
        repeat(&mut publisher, id, false, b"1").await;
        pubrec(&mut publisher).await;
        let mut clean = kept.clone();
        clean.0.clean_start = true;
        let mut publisher = Client::connect(server.address, &clean).await;
        assert!(!publisher.connack.session_present);
        repeat(&mut publisher, id, true, b"2").await;
        pubrec(&mut publisher).await;
        assert_eq!(&listener.take().await.payload[..], b"1");
        assert_eq!(&listener.take().await.payload[..], b"2");
    })
    .await;
}

#[tokio::test]
async fn a_refused_publish_leaves_its_packet_id_free() {
    let server = Server::start().await;
    let mut client = Client::connect(server.address, &Hello::new(Version::V5, "p").kept()).await;
    assert_eq!(client.publish_with(once("no/x", b"1")).await.reason, ReasonCode::NotAuthorized);
    assert_eq!(server.store.session(&key("p")).unwrap().unwrap().received, [] as [u16; 0]);
    let id = PacketId::MIN;
    repeat(&mut client, id, false, b"2").await;
    assert_eq!(pubrec(&mut client).await.reason, ReasonCode::NoMatchingSubscribers);
    assert_eq!(server.store.session(&key("p")).unwrap().unwrap().received, [1]);
}

#[tokio::test]
async fn what_was_not_received_comes_again_with_its_packet_id_and_what_was_is_released_again() {
    both(|version| async move {
        for orderly in [true, false] {
            let store: Arc<dyn Store> = Arc::new(RamStore::default());
            let server = Server::start_on(Config::default(), Arc::new(PlainHook), Arc::clone(&store)).await;
            let hello = Hello::new(version, "phone").kept();
            let mut phone = Client::connect(server.address, &hello).await;
            phone.subscribe(&[("a", Q2)]).await;
            let mut publisher = server.client(version, "p").await;
            for n in 0..4u8 {
                publisher.publish_with(once("a", &[n])).await;
            }
            let mut sent = Vec::new();
            for _ in 0..4 {
                sent.push(phone.message().await);
            }
            // The second one is done, the third one received, the others are not.
            phone.ack(&sent[1]).await;
            phone.send_ack(PacketType::Pubrec, id(&sent[2])).await;
            assert_eq!(phone.pubrel().await.packet_id, id(&sent[2]));
            phone.nothing().await;
            let server = if orderly {
                drop(phone);
                server
            } else {
                Server::start_on(Config::default(), Arc::new(PlainHook), Arc::clone(&store)).await
            };
            let mut phone = Client::connect(server.address, &hello).await;
            assert_eq!(phone.pubrel().await.packet_id, id(&sent[2]));
            for original in [&sent[0], &sent[3]] {
                let again = phone.message().await;
                assert_eq!(
                    (again.packet_id, &again.payload, again.dup, again.qos),
                    (original.packet_id, &original.payload, true, Q2),
                    "orderly: {orderly}"
                );
            }
            phone.send_ack(PacketType::Pubcomp, id(&sent[2])).await;
            phone.ack(&sent[0]).await;
            phone.ack(&sent[3]).await;
            phone.nothing().await;
            phone.disconnect().await;
            let stored = server.store.session(&key("phone")).unwrap().unwrap();
            assert_eq!(stored.cursors.flights, []);
            let mut phone = Client::connect(server.address, &hello).await;
            let mut publisher = server.client(version, "p").await;
            publisher.publish_with(once("a", b"new")).await;
            let new = phone.take().await;
            assert!(!new.dup && &new.payload[..] == b"new");
            phone.nothing().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_message_is_stored_before_it_is_sent_and_before_it_is_released() {
    both(|version| async move {
        let server = Server::start().await;
        let mut phone = Client::connect(server.address, &Hello::new(version, "phone").kept()).await;
        phone.subscribe(&[("a", Q2)]).await;
        server.client(version, "p").await.publish_with(once("a", b"x")).await;
        let message = phone.message().await;
        let stage = || {
            let flights = server.store.session(&key("phone")).unwrap().unwrap().cursors.flights;
            flights.iter().map(|flight| (flight.packet_id, flight.stage)).collect::<Vec<_>>()
        };
        assert_eq!(stage(), [(id(&message).get(), FlightStage::Sent)]);
        phone.send_ack(PacketType::Pubrec, id(&message)).await;
        phone.pubrel().await;
        assert_eq!(stage(), [(id(&message).get(), FlightStage::Released)]);
    })
    .await;
}

#[tokio::test]
async fn a_message_counts_against_the_window_until_pubcomp() {
    both(|version| async move {
        let config = Config { window_v311: 2, window_v5: 2, ..Config::default() };
        let server = Server::start_with(config).await;
        let mut client = server.client(version, "c").await;
        client.subscribe(&[("a", Q2)]).await;
        let mut publisher = server.client(version, "p").await;
        for n in 0..4u8 {
            publisher.publish_with(once("a", &[n])).await;
        }
        let (first, _second) = (client.message().await, client.message().await);
        client.send_ack(PacketType::Pubrec, id(&first)).await;
        client.pubrel().await;
        client.nothing().await;
        client.send_ack(PacketType::Pubcomp, id(&first)).await;
        assert_eq!(client.message().await.payload[0], 2);
        client.nothing().await;
    })
    .await;
}

#[tokio::test]
async fn a_client_that_takes_fewer_at_once_gets_all_under_their_packet_ids() {
    let server = Server::start().await;
    let hello = Hello::new(Version::V5, "phone").kept();
    let mut phone = Client::connect(server.address, &hello).await;
    phone.subscribe(&[("a", Q2)]).await;
    let mut publisher = server.client(Version::V5, "p").await;
    let mut sent = Vec::new();
    for n in 0..9u8 {
        let qos = if n % 2 == 0 { Q2 } else { Q1 };
        publisher.publish_with(PublishOut { qos, ..PublishOut::new("a", &[n]) }).await;
        sent.push(phone.message().await);
    }
    drop(phone);
    let mut narrow = hello.clone();
    narrow.0.properties.receive_maximum = Some(1);
    let mut phone = Client::connect(server.address, &narrow).await;
    // Two come, and the connection is lost again.
    for original in &sent[..2] {
        assert_eq!(phone.take().await.packet_id, original.packet_id);
    }
    phone.message().await;
    drop(phone);
    let mut phone = Client::connect(server.address, &narrow).await;
    for original in &sent[2..] {
        let again = phone.take().await;
        assert_eq!(
            (again.packet_id, &again.payload, again.dup),
            (original.packet_id, &original.payload, true)
        );
    }
    phone.nothing().await;
}

#[tokio::test]
async fn packets_out_of_turn_are_answered_or_refused() {
    both(|version| async move {
        let server = Server::start().await;
        let mut client = server.client(version, "c").await;
        let unknown = PacketId::new(77).unwrap();
        client.send_ack(PacketType::Pubrec, unknown).await;
        let code =
            if version == Version::V5 { ReasonCode::PacketIdentifierNotFound } else { ReasonCode::Success };
        assert_eq!(client.pubrel().await.reason, code);
        client.send_ack(PacketType::Pubrel, unknown).await;
        assert_eq!(pubcomp(&mut client).await.reason, code);
        client.send_ack(PacketType::Pubcomp, unknown).await;
        client.nothing().await;
        client.subscribe(&[("a", Q2)]).await;
        server.client(version, "p").await.publish_with(once("a", b"x")).await;
        let message = client.message().await;
        client.send_ack(PacketType::Puback, id(&message)).await;
        let code = (version == Version::V5).then_some(ReasonCode::ProtocolError);
        assert_eq!(client.closed().await, code);
    })
    .await;
}

#[tokio::test]
async fn publishes_that_are_not_released_count_against_the_servers_receive_maximum() {
    let server = Server::start_with(Config { receive_maximum: 2, ..Config::default() }).await;
    let mut client = server.client(Version::V5, "c").await;
    for n in 1..=2 {
        repeat(&mut client, PacketId::new(n).unwrap(), false, b"x").await;
        pubrec(&mut client).await;
    }
    repeat(&mut client, PacketId::new(3).unwrap(), false, b"x").await;
    assert_eq!(client.closed().await, Some(ReasonCode::ReceiveMaximumExceeded));
}

#[tokio::test]
async fn what_an_earlier_connection_published_does_not_count_on_a_later_one() {
    let server = Server::start_with(Config { receive_maximum: 2, ..Config::default() }).await;
    let hello = Hello::new(Version::V5, "c").kept();
    let mut client = Client::connect(server.address, &hello).await;
    for n in 1..=2 {
        repeat(&mut client, PacketId::new(n).unwrap(), false, b"x").await;
        pubrec(&mut client).await;
    }
    let mut client = Client::connect(server.address, &hello).await;
    for n in 3..=4 {
        repeat(&mut client, PacketId::new(n).unwrap(), false, b"x").await;
        pubrec(&mut client).await;
    }
    // One that is repeated on this connection counts on it.
    repeat(&mut client, PacketId::new(1).unwrap(), true, b"x").await;
    pubrec(&mut client).await;
    repeat(&mut client, PacketId::new(5).unwrap(), false, b"x").await;
    assert_eq!(client.closed().await, Some(ReasonCode::ReceiveMaximumExceeded));
}

#[tokio::test]
async fn repeated_packets_of_one_publish_count_once() {
    let server = Server::start_with(Config { receive_maximum: 2, ..Config::default() }).await;
    let mut client = server.client(Version::V5, "c").await;
    for _ in 0..5 {
        repeat(&mut client, PacketId::MIN, true, b"x").await;
        pubrec(&mut client).await;
    }
    repeat(&mut client, PacketId::new(2).unwrap(), false, b"x").await;
    pubrec(&mut client).await;
}

#[tokio::test]
async fn an_orderly_end_after_a_crash_takes_nothing_for_sent_that_was_not() {
    let store: Arc<dyn Store> = Arc::new(RamStore::default());
    let server = Server::start_on(Config::default(), Arc::new(PlainHook), Arc::clone(&store)).await;
    let hello = Hello::new(Version::V5, "phone").kept();
    let mut phone = Client::connect(server.address, &hello).await;
    phone.subscribe(&[("a", Q2)]).await;
    let mut publisher = server.client(Version::V5, "p").await;
    for (payload, qos) in [(b"1", Q1), (b"2", Q1), (b"3", Q2)] {
        publisher.publish_with(PublishOut { qos, ..PublishOut::new("a", payload) }).await;
        phone.message().await;
    }
    // Of what was in flight a crash leaves the third one, whose packet id is stored.
    let server = Server::start_on(Config::default(), Arc::new(PlainHook), Arc::clone(&store)).await;
    let mut narrow = hello.clone();
    narrow.0.properties.receive_maximum = Some(1);
    let mut phone = Client::connect(server.address, &narrow).await;
    assert_eq!(&phone.message().await.payload[..], b"1");
    phone.disconnect().await;
    let mut phone = Client::connect(server.address, &hello).await;
    for payload in [b"1", b"2", b"3"] {
        assert_eq!(&phone.take().await.payload[..], payload);
    }
    phone.nothing().await;
}

#[tokio::test]
async fn what_expired_in_the_mailbox_of_a_session_that_comes_back_is_not_sent() {
    // A session that comes back waits for the application, and what is published meanwhile waits for it.
    let clock = TestClock::new();
    let config = Config { clock: Arc::<TestClock>::clone(&clock), ..Config::default() };
    let server = Server::start_with(config).await;
    let mut client = server.client(Version::V5, "c").await;
    client.subscribe(&[("a", Q0)]).await;
    let properties = PublishProperties { message_expiry_interval: Some(1), ..PublishProperties::default() };
    let mut publisher = server.client(Version::V5, "p").await;
    let expiring = PublishOut { properties: Some(&properties), ..PublishOut::new("a", b"late") };
    // Received in the past: what is given to a session then has expired.
    let message = Message {
        topic: text("a"),
        payload: Bytes::from_static(b"late"),
        qos: Q0,
        retain: false,
        properties: Some(Arc::new(properties.clone())),
        received_ms: clock.now_ms() - 1_000,
        identifiers: Identifiers::new(),
        share: None,
    };
    server.broker.publish(message);
    client.nothing().await;
    assert_eq!(server.broker.stats().dropped_expired.get(), 1);
    publisher.send(expiring).await;
    assert_eq!(&client.take().await.payload[..], b"late");
}
