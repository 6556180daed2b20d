//! Sections 3.4 to 3.7 and 4.3.1, 4.3.2: acknowledgements as packets, and QoS 0 and 1 in both directions.

use crate::raw::{
    Hello, PINGREQ, PINGRESP, PUBACK, PUBCOMP, PUBREC, PUBREL, Pub, Put, Raw, Reasoned, ack, ack_with, id,
    packet,
};
use crate::support::{PlainHook, Server, both};
use chasqui_broker::Config;
use chasqui_broker::codec::{ReasonCode, Version};
use chasqui_broker::hook::{
    Admission, Ask, Client, Command, Done, Granted, Hook, Login, Occasion, Outcome, Route,
};
use chasqui_broker::source::{Item, Read, ReadLimit, SourceGrant, SourceId, View};
use chasqui_broker::store::StoreError;
use chasqui_broker::store::ram::RamStore;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The sentence that comes with a refusal of [`Talkative`].
const SENTENCE: &str = "this is not done here, and never was";

/// Plain topics, and commands below `do/` whose acknowledgement says all that one can say. They are answered in the reverse of their order.
struct Talkative;

impl Hook for Talkative {
    fn authenticate(&self, login: &Login) -> Admission {
        PlainHook.authenticate(login)
    }

    fn is_quick(&self, _login: &Login) -> bool {
        true
    }

    fn route(&self, _client: &Client, topic: &str) -> Route {
        if topic.starts_with("do/") { Route::Command } else { Route::Plain }
    }

    fn submit(&self, client: &Arc<Client>, commands: Vec<Command>) {
        let outcome = |command: &Command| Outcome {
            code: if command.message.topic.ends_with("/well") {
                ReasonCode::Success
            } else {
                ReasonCode::QuotaExceeded
            },
            reason: Some(SENTENCE.to_owned()),
            number: Some(("number", 4_711)),
            disconnect: false,
        };
        for command in commands.iter().rev() {
            client.answer(vec![Done { token: command.token, outcome: outcome(command) }]);
        }
    }

    fn subscribe(&self, client: &Arc<Client>, occasion: Occasion, asks: Vec<Ask>, granted: Granted) {
        PlainHook.subscribe(client, occasion, asks, granted);
    }

    fn read(&self, _: &Client, _: &SourceId, _: u64, _: ReadLimit) -> Result<Read, StoreError> {
        Err(StoreError::new("there are no sources here"))
    }

    fn view(&self, _: &Client, _: &SourceGrant, _: &Item) -> View {
        View::Skip
    }
}

async fn talkative() -> Server {
    Server::start_on(Config::default(), Arc::new(Talkative), Arc::new(RamStore::default())).await
}

/// The answer to a command that is refused, for a client that takes packets of this size.
async fn refusal(server: &Server, qos: u8, max_packet_size: u32) -> Reasoned {
    let put = Put::new().four(id::MAXIMUM_PACKET_SIZE, max_packet_size);
    let (mut client, _) = Raw::hello(server.address, &Hello::new(Version::V5, "c").properties(put)).await;
    client.send(&Pub::new("do/it", "x").qos(qos, 9).bytes(Version::V5)).await;
    let answer = client.reasoned(if qos == 1 { PUBACK } else { PUBREC }).await;
    client.nothing().await;
    assert_eq!((answer.packet_id, answer.code), (9, 0x97));
    answer
}

/// The size of the acknowledgement with a reason string, and with the user property too.
const WITH_REASON: u32 = 2 + 2 + 1 + 1 + 3 + SENTENCE.len() as u32;
const WITH_BOTH: u32 = WITH_REASON + 5 + 6 + 4;

#[tokio::test]
async fn a_reason_string_that_makes_an_acknowledgement_too_large_is_left_out() {
    let server = talkative().await;
    for qos in 1..=2 {
        let fits = refusal(&server, qos, WITH_REASON).await;
        assert_eq!(fits.properties.text(id::REASON_STRING), Some(SENTENCE));
        let does_not = refusal(&server, qos, WITH_REASON - 1).await;
        assert!(!does_not.properties.has(id::REASON_STRING), "{does_not:?}");
    }
}

#[tokio::test]
async fn a_user_property_that_makes_an_acknowledgement_too_large_is_left_out() {
    let server = talkative().await;
    for qos in 1..=2 {
        let fits = refusal(&server, qos, WITH_BOTH).await;
        assert_eq!(fits.properties.users(), [("number", "4711")]);
        let does_not = refusal(&server, qos, WITH_BOTH - 1).await;
        assert!(does_not.properties.users().is_empty(), "{does_not:?}");
    }
}

/// Every way a PUBACK and a PUBREC of this server may come out.
#[tokio::test]
async fn puback_and_pubrec_have_a_code_of_theirs() {
    let server = Server::start().await;
    let mut watcher = Raw::connect(server.address, Version::V5, "w").await;
    watcher.subscribe(&[("heard", 0)]).await;
    let mut client = Raw::connect(server.address, Version::V5, "c").await;
    for (first, qos) in [(PUBACK, 1), (PUBREC, 2)] {
        for (topic, code) in [("heard", 0x00), ("unheard", 0x10), ("no/a", 0x87)] {
            client.send(&Pub::new(topic, "x").qos(qos, 5).bytes(Version::V5)).await;
            assert_eq!(client.reasoned(first).await.code, code, "{topic}");
            if qos == 2 && code < 0x80 {
                client.send(&ack(PUBREL, 5)).await;
                assert_eq!(client.reasoned(PUBCOMP).await.code, 0);
            }
        }
    }
}

/// A code that the packet cannot have closes, whatever it means elsewhere.
#[tokio::test]
async fn an_acknowledgement_with_a_code_of_another_packet_closes() {
    let server = Server::start().await;
    for (first, codes) in [
        (PUBACK, &[0x01, 0x92, 0x9B][..]),
        (PUBREC, &[0x02, 0x92, 0x8D]),
        (PUBREL, &[0x10, 0x80, 0x97]),
        (PUBCOMP, &[0x10, 0x83, 0xFF]),
    ] {
        for code in codes {
            let mut client = Raw::connect(server.address, Version::V5, "c").await;
            client.send(&ack_with(first, 1, *code)).await;
            client.ended(0x82).await;
        }
    }
}

#[tokio::test]
async fn pubrel_with_other_flags_closes() {
    both(|version| async move {
        let server = Server::start().await;
        for flags in (0..16).filter(|flags| *flags != 0b0010) {
            let mut client = Raw::connect(server.address, version, "c").await;
            client.send(&packet(0x60 | flags, &[0, 1])).await;
            client.ended(0x81).await;
        }
    })
    .await;
}

#[tokio::test]
async fn qos_0_goes_out_without_dup_and_is_never_repeated() {
    both(|version| async move {
        let server = Server::start().await;
        let kept = Hello::kept(version, "c");
        let (mut client, _) = Raw::hello(server.address, &kept).await;
        client.subscribe(&[("a", 0)]).await;
        let mut publisher = Raw::connect(server.address, version, "p").await;
        for qos in 0..=2 {
            publisher.publish(&Pub { dup: qos > 0, ..Pub::new("a", "x").qos(qos, 1) }).await;
            let message = client.message().await;
            assert_eq!((message.qos, message.dup, message.packet_id), (0, false, 0));
        }
        drop(client);
        let (mut client, _) = Raw::hello(server.address, &kept).await;
        client.nothing().await;
    })
    .await;
}

#[tokio::test]
async fn qos_1_goes_out_with_an_unused_id_and_without_dup() {
    both(|version| async move {
        let server = Server::start().await;
        let mut client = Raw::connect(server.address, version, "c").await;
        client.subscribe(&[("a", 1)]).await;
        let mut publisher = Raw::connect(server.address, version, "p").await;
        let mut in_flight = BTreeSet::new();
        for n in 0..60 {
            publisher.publish(&Pub::new("a", "x").qos(1, 1)).await;
            let message = client.message().await;
            assert_eq!((message.qos, message.dup), (1, false));
            assert!(message.packet_id != 0 && in_flight.insert(message.packet_id), "{message:?}");
            // All but every third are acknowledged, at once or later.
            if n % 3 != 0 {
                client.send(&ack(PUBACK, message.packet_id)).await;
                in_flight.remove(&message.packet_id);
            }
        }
        assert_eq!(in_flight.len(), 20);
    })
    .await;
}

/// Until its PUBACK comes a message counts as in flight, whatever else is acknowledged.
#[tokio::test]
async fn qos_1_is_unacknowledged_until_its_puback_comes() {
    both(|version| async move {
        let server = Server::start().await;
        let kept = Hello::kept(version, "c");
        let (mut client, _) = Raw::hello(server.address, &kept).await;
        client.subscribe(&[("a", 1)]).await;
        let mut publisher = Raw::connect(server.address, version, "p").await;
        let mut sent = Vec::new();
        for payload in ["1", "2", "3"] {
            publisher.publish(&Pub::new("a", payload).qos(1, 1)).await;
            sent.push(client.message().await);
        }
        client.send(&ack(PUBACK, sent[1].packet_id)).await;
        // One that nothing waits for changes nothing.
        client.send(&ack(PUBACK, sent[2].packet_id + 100)).await;
        client.nothing().await;
        drop(client);
        let (mut client, _) = Raw::hello(server.address, &kept).await;
        for again in [client.take().await, client.take().await] {
            assert!(again.text() != "2" && again.dup, "{again:?}");
        }
        client.nothing().await;
        client.goodbye().await;
        let (mut client, _) = Raw::hello(server.address, &kept).await;
        client.nothing().await;
    })
    .await;
}

#[tokio::test]
async fn a_qos_1_publish_is_answered_with_its_packet_id() {
    both(|version| async move {
        let server = Server::start().await;
        let mut watcher = Raw::connect(server.address, version, "w").await;
        watcher.subscribe(&[("a", 1)]).await;
        let mut client = Raw::connect(server.address, version, "c").await;
        for packet_id in [1, 65_535, 256, 2] {
            client.send(&Pub::new("a", "x").qos(1, packet_id).bytes(version)).await;
            let ack = client.reasoned(PUBACK).await;
            assert_eq!((ack.packet_id, ack.code), (packet_id, 0));
            // It has taken the message over.
            watcher.take().await;
        }
    })
    .await;
}

#[tokio::test]
async fn after_its_puback_a_packet_id_is_a_new_publication() {
    both(|version| async move {
        let server = Server::start().await;
        let mut watcher = Raw::connect(server.address, version, "w").await;
        watcher.subscribe(&[("a", 1)]).await;
        let mut client = Raw::connect(server.address, version, "c").await;
        for (n, dup) in [false, true, true, false].into_iter().enumerate() {
            let payload = n.to_string();
            client.publish(&Pub { dup, ..Pub::new("a", &payload).qos(1, 7) }).await;
            assert_eq!(watcher.take().await.text(), payload);
        }
        watcher.nothing().await;
    })
    .await;
}

/// Answers of the application come in any order; acknowledgements leave in that of the publishes.
#[tokio::test]
async fn acknowledgements_leave_in_the_order_of_the_publishes() {
    both(|version| async move {
        let server = talkative().await;
        let mut client = Raw::connect(server.address, version, "c").await;
        for qos in 1..=2 {
            let mut bytes = Vec::new();
            for n in 1..=20 {
                let topic = if n % 4 == 0 { "plain" } else { "do/it/well" };
                bytes.extend(Pub::new(topic, "x").qos(qos, n).bytes(version));
            }
            bytes.extend(PINGREQ);
            client.send(&bytes).await;
            let mut order = Vec::new();
            while order.len() < 20 {
                let (first, body) = client.packet().await;
                if first != PINGRESP[0] {
                    assert_eq!(first, if qos == 1 { PUBACK } else { PUBREC });
                    order.push(u16::from_be_bytes([body[0], body[1]]));
                }
            }
            assert_eq!(order, (1..=20).collect::<Vec<_>>());
        }
    })
    .await;
}
