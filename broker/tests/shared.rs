//! Shared subscriptions over a real socket (section 4.8.2 of the standard): one copy for each group, and on to another member when
//! one goes away. 3.1.1 has them too here, in the same words.

mod support;

use bytes::Bytes;
use chasqui_broker::Config;
use chasqui_broker::codec::packet::{ack, disconnect};
use chasqui_broker::codec::{
    AckOut, Disconnect, PacketType, Publish, PublishOut, QoS, ReasonCode, SubscriptionOptions, Version,
};
use chasqui_broker::link::Bounds;
use chasqui_broker::message::{Identifiers, Message};
use chasqui_broker::store::SessionKey;
use chasqui_broker::store::ram::RamStore;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use support::{Client, Hello, PlainHook, Server, TestClock, both, text};

const Q0: QoS = QoS::AtMostOnce;
const Q1: QoS = QoS::AtLeastOnce;

/// What a client gets until nothing more is on its way, acknowledged.
async fn take(client: &mut Client, count: usize) -> Vec<u8> {
    let mut payloads = Vec::new();
    for _ in 0..count {
        payloads.push(client.take().await.payload[0]);
    }
    client.nothing().await;
    payloads
}

fn kept(version: Version, client_id: &str) -> Hello {
    Hello::new(version, client_id).kept()
}

/// A client that takes three at once.
fn narrow(mut hello: Hello) -> Hello {
    if hello.0.version == Version::V5 {
        hello.0.properties.receive_maximum = Some(3);
    }
    hello
}

fn narrow_config() -> Config {
    Config { window_v311: 3, ..Config::default() }
}

/// Waits until the server has done all there is to do about connections that are over.
async fn only(server: &Server, connections: usize) {
    while server.broker.connections() > connections {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn counter(server: &Server, name: &str) -> u64 {
    let all = server.broker.stats().all();
    all.into_iter().find(|(known, _)| *known == name).expect("a counter of this name").1
}

#[tokio::test]
async fn one_member_of_each_group_gets_a_message() {
    both(|version| async move {
        let server = Server::start().await;
        let mut first = server.client(version, "first").await;
        let mut second = server.client(version, "second").await;
        let mut alone = server.client(version, "alone").await;
        let granted = first.subscribe(&[("$share/g/a/+", Q1)]).await;
        assert_eq!(granted, [Q1.granted()]);
        second.subscribe(&[("$share/g/a/+", Q1), ("a/#", Q1)]).await;
        // The same filter under another name, and another filter under the same, are groups of their own.
        alone.subscribe(&[("$share/h/a/+", Q1), ("$share/g/a/b", Q1)]).await;
        assert_eq!(server.broker.subscriptions(), (5, 4));
        let mut publisher = server.client(version, "p").await;
        for n in 0..10 {
            assert_eq!(publisher.publish("a/b", &[n]).await.reason, ReasonCode::Success);
        }
        let one = take(&mut first, 5).await;
        let mut rest = take(&mut second, 15).await;
        rest.extend(one);
        rest.sort_unstable();
        let twice: Vec<u8> = (0..10).flat_map(|n| [n, n]).collect();
        assert_eq!(rest, twice, "one copy for the group, one for the subscription of its own");
        assert_eq!(take(&mut alone, 20).await.len(), 20);
    })
    .await;
}

#[tokio::test]
async fn each_member_gets_the_qos_granted_to_it() {
    // [MQTT-4.8.2-3]
    both(|version| async move {
        let server = Server::start().await;
        let mut at_0 = server.client(version, "at-0").await;
        let mut at_1 = server.client(version, "at-1").await;
        at_0.subscribe(&[("$share/g/a", Q0)]).await;
        at_1.subscribe(&[("$share/g/a", Q1)]).await;
        let mut publisher = server.client(version, "p").await;
        for _ in 0..2 {
            publisher.publish("a", b"x").await;
            publisher.publish("a", b"x").await;
            assert_eq!(at_0.take().await.qos, Q0);
            assert_eq!(at_1.take().await.qos, Q1);
        }
    })
    .await;
}

#[tokio::test]
async fn retained_messages_are_not_sent_and_options_are_obeyed() {
    both(|version| async move {
        let server = Server::start().await;
        let mut publisher = server.client(version, "p").await;
        let retained = |payload| PublishOut { qos: Q1, retain: true, ..PublishOut::new("r", payload) };
        publisher.publish_with(retained(b"old")).await;
        let mut member = server.client(version, "m").await;
        let as_published = SubscriptionOptions { retain_as_published: true, ..SubscriptionOptions::qos(Q1) };
        let identifier = (version == Version::V5).then_some(7);
        member.subscribe_with(&[("$share/g/r", as_published)], identifier).await;
        member.nothing().await;
        publisher.publish_with(retained(b"new")).await;
        let (message, ids) = member.message_with_ids().await;
        member.ack(&message).await;
        assert_eq!(&message.payload[..], b"new");
        if version == Version::V5 {
            assert_eq!((message.retain, ids), (true, vec![7]));
        }
        // Subscribing again replaces, and is no second membership.
        let identifier = (version == Version::V5).then_some(8);
        member.subscribe_with(&[("$share/g/r", SubscriptionOptions::qos(Q0))], identifier).await;
        assert_eq!(server.broker.subscriptions(), (1, 1));
        publisher.publish_with(retained(b"newest")).await;
        let (message, ids) = member.message_with_ids().await;
        assert_eq!((message.qos, message.retain), (Q0, false));
        assert_eq!(ids, identifier.into_iter().collect::<Vec<_>>());
        member.nothing().await;
    })
    .await;
}

#[tokio::test]
async fn who_unsubscribes_gets_nothing_more() {
    both(|version| async move {
        let server = Server::start().await;
        let mut first = server.client(version, "first").await;
        let mut second = server.client(version, "second").await;
        first.subscribe(&[("$share/g/a", Q1)]).await;
        second.subscribe(&[("$share/g/a", Q1)]).await;
        let codes = first.unsubscribe(&["$share/g/a", "a", "$share/h/a"]).await;
        if version == Version::V5 {
            let none = ReasonCode::NoSubscriptionExisted;
            assert_eq!(codes, [ReasonCode::Success, none, none]);
        }
        let mut publisher = server.client(version, "p").await;
        for n in 0..4 {
            publisher.publish("a", &[n]).await;
        }
        assert_eq!(take(&mut second, 4).await, [0, 1, 2, 3]);
        first.nothing().await;
        second.unsubscribe(&["$share/g/a"]).await;
        assert_eq!(server.broker.subscriptions(), (0, 0));
        let nobody = publisher.publish("a", b"x").await.reason;
        let expected =
            if version == Version::V5 { ReasonCode::NoMatchingSubscribers } else { ReasonCode::Success };
        assert_eq!(nobody, expected);
    })
    .await;
}

#[tokio::test]
async fn a_share_that_is_none_is_refused() {
    // On 5.0 it is malformed, and the codec's tables have it.
    let server = Server::start().await;
    let mut client = server.client(Version::V311, "c").await;
    let refused = ReasonCode::UnspecifiedError;
    let filters = ["$share/g", "$share//a", "$share/+/a", "$share/#", "$share/g/"];
    for filter in filters {
        assert_eq!(client.subscribe(&[(filter, Q1), ("b", Q1)]).await, [refused, Q1.granted()], "{filter}");
    }
    assert_eq!(client.subscribe(&[("$share", Q1), ("$shared/g/a", Q1)]).await, [Q1.granted(); 2]);
    let five = server.client(Version::V5, "five").await;
    // Absent means that there are shared subscriptions.
    assert_ne!(five.connack.properties.shared_subscription_available, Some(false));
}

#[tokio::test]
async fn groups_are_of_all_users() {
    both(|version| async move {
        let server = Server::start().await;
        let mut members = Vec::new();
        for user in ["alice", "bob"] {
            let hello = Hello::new(version, "worker").user(user, user);
            let mut member = Client::connect(server.address, &hello).await;
            member.subscribe(&[("$share/g/a", Q1)]).await;
            members.push(member);
        }
        let mut publisher = server.client(version, "p").await;
        for n in 0..4 {
            publisher.publish("a", &[n]).await;
        }
        for member in &mut members {
            take(member, 2).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_clean_member_that_goes_hands_on_what_it_has_not_acknowledged() {
    both(|version| async move {
        for polite in [true, false] {
            let server = Server::start_with(narrow_config()).await;
            let mut going = Client::connect(server.address, &narrow(Hello::new(version, "going"))).await;
            going.subscribe(&[("$share/g/a", Q1)]).await;
            let mut publisher = server.client(version, "p").await;
            for n in 0..10 {
                publisher.publish("a", &[n]).await;
            }
            let acknowledged = going.message().await;
            let in_flight = (going.message().await, going.message().await);
            going.nothing().await;
            going.ack(&acknowledged).await;
            going.message().await;
            going.nothing().await;
            let mut staying = server.client(version, "staying").await;
            staying.subscribe(&[("$share/g/a", Q1)]).await;
            staying.nothing().await;
            if polite {
                going.disconnect().await;
            } else {
                drop(going);
            }
            let mut handed_on = Vec::new();
            for _ in 0..9 {
                let message = staying.take().await;
                assert!(!message.dup, "it is new to this one");
                handed_on.push(message.payload[0]);
            }
            assert_eq!(handed_on, (1..10).collect::<Vec<u8>>());
            assert_eq!((in_flight.0.payload[0], in_flight.1.payload[0]), (1, 2));
            only(&server, 2).await;
            assert_eq!(counter(&server, "shared_handed_on"), 9);
            assert_eq!(counter(&server, "dropped_shared"), 0);
            staying.nothing().await;
        }
    })
    .await;
}

#[tokio::test]
async fn what_a_member_refuses_goes_to_nobody_else() {
    // [MQTT-4.8.2-6]
    for persistent in [false, true] {
        let server = Server::start().await;
        let mut hello = Hello::new(Version::V5, "refusing");
        if persistent {
            hello = hello.kept();
        }
        let mut refusing = Client::connect(server.address, &hello).await;
        refusing.subscribe(&[("$share/g/a", Q1)]).await;
        let mut publisher = server.client(Version::V5, "p").await;
        for n in 0..3 {
            publisher.publish("a", &[n]).await;
        }
        let mut sent = Vec::new();
        for _ in 0..3 {
            sent.push(refusing.message().await);
        }
        let mut other = server.client(Version::V5, "other").await;
        other.subscribe(&[("$share/g/a", Q1)]).await;
        let mut out = Vec::new();
        let refusal = AckOut::reason(sent[1].packet_id.unwrap(), ReasonCode::QuotaExceeded);
        ack::encode(&mut out, &refusing.peer, PacketType::Puback, &refusal).unwrap();
        refusing.write(&out).await;
        refusing.nothing().await;
        drop(refusing);
        only(&server, 2).await;
        if persistent {
            // A clean start ends the session.
            drop(server.client(Version::V5, "refusing").await);
        }
        assert_eq!(take(&mut other, 2).await, [0, 2]);
    }
}

#[tokio::test]
async fn qos_2_that_is_in_flight_is_completed_with_its_member_or_with_nobody() {
    // [MQTT-4.8.2-4], [MQTT-4.8.2-5]
    both(|version| async move {
        for persistent in [false, true] {
            let server = Server::start_with(narrow_config()).await;
            let hello = Hello::new(version, "going");
            let hello = narrow(if persistent { hello.kept() } else { hello });
            let mut going = Client::connect(server.address, &hello).await;
            going.subscribe(&[("$share/g/a", QoS::ExactlyOnce)]).await;
            let mut publisher = server.client(version, "p").await;
            for n in 0..6 {
                let qos = if n == 1 { Q1 } else { QoS::ExactlyOnce };
                publisher.publish_with(PublishOut { qos, ..PublishOut::new("a", &[n]) }).await;
            }
            let mut in_flight = Vec::new();
            for _ in 0..3 {
                in_flight.push(going.message().await);
            }
            going.nothing().await;
            let mut other = server.client(version, "other").await;
            other.subscribe(&[("$share/g/a", QoS::ExactlyOnce)]).await;
            drop(going);
            only(&server, 2).await;
            let mut handed_on = Vec::new();
            let expected = if persistent { 3 } else { 4 };
            for _ in 0..expected {
                let message = other.take().await;
                handed_on.push((message.payload[0], message.qos));
            }
            let unsent = [3, 4, 5].map(|n| (n, QoS::ExactlyOnce));
            assert_eq!(handed_on[expected - 3..], unsent);
            other.nothing().await;
            if !persistent {
                // QoS 1 that was in flight goes on, QoS 2 does not.
                assert_eq!(handed_on[0], (1, Q1));
                continue;
            }
            let mut back = Client::connect(server.address, &hello).await;
            for original in &in_flight {
                let again = back.message().await;
                assert_eq!(
                    (again.packet_id, &again.payload, again.qos, again.dup),
                    (original.packet_id, &original.payload, original.qos, true)
                );
            }
            back.nothing().await;
            drop(back);
            only(&server, 2).await;
            // Its session ends first: what is QoS 2 goes with it.
            drop(server.client(version, "going").await);
            assert_eq!(take(&mut other, 1).await, [1]);
        }
    })
    .await;
}

/// A persistent member with `0..3` in flight and `3..10` unsent.
async fn member_with_a_backlog(server: &Server, hello: &Hello) -> (Client, Vec<Publish>) {
    let mut going = Client::connect(server.address, hello).await;
    going.subscribe(&[("$share/g/a", Q1), ("own", Q1)]).await;
    let mut publisher = server.client(hello.0.version, "p").await;
    for n in 0..10 {
        publisher.publish("a", &[n]).await;
        if n == 5 {
            publisher.publish("own", &[100]).await;
        }
    }
    let mut in_flight = Vec::new();
    for _ in 0..3 {
        in_flight.push(going.message().await);
    }
    going.nothing().await;
    (going, in_flight)
}

#[tokio::test]
async fn a_kept_member_that_is_gone_hands_on_what_it_was_not_sent() {
    both(|version| async move {
        let server = Server::start_with(narrow_config()).await;
        let hello = narrow(kept(version, "going"));
        let (going, in_flight) = member_with_a_backlog(&server, &hello).await;
        let mut clean = server.client(version, "clean").await;
        let mut persistent = Client::connect(server.address, &kept(version, "persistent")).await;
        for member in [&mut clean, &mut persistent] {
            member.subscribe(&[("$share/g/a", Q1)]).await;
        }
        drop(going);
        only(&server, 2).await;
        let mut handed_on = take(&mut clean, 4).await;
        handed_on.extend(take(&mut persistent, 3).await);
        handed_on.sort_unstable();
        assert_eq!(handed_on, (3..10).collect::<Vec<u8>>());

        // What may have been delivered stays, and so does what is not shared.
        let mut back = Client::connect(server.address, &hello).await;
        assert!(back.connack.session_present);
        for original in &in_flight {
            let again = back.take().await;
            assert_eq!(
                (again.packet_id, &again.payload, again.dup),
                (original.packet_id, &original.payload, true)
            );
        }
        assert_eq!(take(&mut back, 1).await, [100]);
        // It is a member as before.
        let mut publisher = server.client(version, "p").await;
        for n in 10..13 {
            publisher.publish("a", &[n]).await;
        }
        for member in [&mut clean, &mut persistent, &mut back] {
            take(member, 1).await;
        }
    })
    .await;
}

#[tokio::test]
async fn nothing_moves_while_nobody_else_is_there() {
    both(|version| async move {
        let server = Server::start_with(narrow_config()).await;
        let hello = narrow(kept(version, "going"));
        let offline = kept(version, "offline");
        let mut other = Client::connect(server.address, &offline).await;
        other.subscribe(&[("$share/g/a", Q1)]).await;
        other.disconnect().await;
        let (going, _) = member_with_a_backlog(&server, &hello).await;
        drop(going);
        only(&server, 0).await;
        assert_eq!(counter(&server, "shared_handed_on"), 0);
        let mut other = Client::connect(server.address, &offline).await;
        other.nothing().await;
        let mut back = Client::connect(server.address, &hello).await;
        assert_eq!(take(&mut back, 11).await, [0, 1, 2, 3, 4, 5, 100, 6, 7, 8, 9]);
    })
    .await;
}

/// How a session ends.
#[derive(Clone, Copy, Debug)]
enum End {
    CleanStart,
    Expiry,
    Operator,
    /// It goes on as a stored one, and ends with its connection.
    LastConnection,
}

#[tokio::test]
async fn a_session_that_ends_hands_on_what_it_has_not_acknowledged() {
    both(|version| async move {
        for end in [End::CleanStart, End::Expiry, End::Operator, End::LastConnection] {
            let clock = TestClock::new();
            let config = Config {
                clock: Arc::<TestClock>::clone(&clock),
                max_session_expiry_s: 3600,
                ..narrow_config()
            };
            let server = Server::start_with(config).await;
            // Offline, and of the group: it is waited for.
            let offline = {
                let mut hello = Hello::new(version, "offline").kept();
                hello.0.properties.session_expiry_interval = (version == Version::V5).then_some(10_000);
                hello
            };
            let mut other = Client::connect(server.address, &offline).await;
            other.subscribe(&[("$share/g/a", Q1)]).await;
            let hello = narrow(kept(version, "going"));
            let (going, in_flight) = {
                // Alone in the group while it gets its backlog.
                other.unsubscribe(&["$share/g/a"]).await;
                member_with_a_backlog(&server, &hello).await
            };
            other.subscribe(&[("$share/g/a", Q1)]).await;
            other.disconnect().await;
            only(&server, 1).await;
            let mut going = going;
            going.ack(&in_flight[0]).await;
            going.message().await;
            going.nothing().await;
            match end {
                End::CleanStart => {
                    drop(going);
                    drop(server.client(version, "going").await);
                }
                End::Expiry => {
                    drop(going);
                    only(&server, 0).await;
                    // The other one's time begins anew, so that only one of them ends.
                    clock.advance(Duration::from_mins(30));
                    Client::connect(server.address, &offline).await.disconnect().await;
                    only(&server, 0).await;
                    clock.advance(Duration::from_mins(31));
                    while counter(&server, "shared_handed_on") < 9 {
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                }
                End::Operator => {
                    drop(going);
                    only(&server, 0).await;
                    let key = SessionKey { owner: Arc::from(""), client_id: Arc::from("going") };
                    assert!(server.broker.end_session(&key).unwrap());
                }
                End::LastConnection => {
                    let mut out = Vec::new();
                    let mut goodbye = Disconnect::new(ReasonCode::Success);
                    if version == Version::V311 {
                        // 3.1.1 has no word for it.
                        drop(going);
                        continue;
                    }
                    goodbye.properties = Some(Box::default());
                    goodbye.properties.as_mut().unwrap().session_expiry_interval = Some(0);
                    disconnect::encode_from_client(&mut out, &going.peer, &goodbye).unwrap();
                    going.write(&out).await;
                    assert_eq!(going.closed().await, None);
                }
            }
            only(&server, 0).await;
            let mut other = Client::connect(server.address, &offline).await;
            assert!(other.connack.session_present, "{end:?}");
            assert_eq!(take(&mut other, 9).await, (1..10).collect::<Vec<u8>>(), "{end:?}");
            assert_eq!(server.broker.subscriptions(), (1, 1), "{end:?}");
            assert_eq!(counter(&server, "dropped_shared"), 0, "{end:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn messages_wait_for_offline_members_in_turn_and_go_to_connected_ones_first() {
    both(|version| async move {
        let server = Server::start().await;
        for name in ["one", "two"] {
            let mut member = Client::connect(server.address, &kept(version, name)).await;
            member.subscribe(&[("$share/g/a", Q1)]).await;
            member.disconnect().await;
        }
        // Nothing waits for QoS 0.
        let mut member = Client::connect(server.address, &kept(version, "zero")).await;
        member.subscribe(&[("$share/g/a", Q0)]).await;
        member.disconnect().await;
        only(&server, 0).await;
        let mut publisher = server.client(version, "p").await;
        for n in 0..6 {
            publisher.publish("a", &[n]).await;
            publisher.send(PublishOut::new("a", b"z")).await;
        }
        let mut live = server.client(version, "live").await;
        live.subscribe(&[("$share/g/a", Q1)]).await;
        for n in 6..9 {
            publisher.publish("a", &[n]).await;
        }
        assert_eq!(take(&mut live, 3).await, [6, 7, 8]);
        live.disconnect().await;
        let mut got = Vec::new();
        for name in ["one", "two"] {
            let mut member = Client::connect(server.address, &kept(version, name)).await;
            got.extend(take(&mut member, 3).await);
        }
        got.sort_unstable();
        assert_eq!(got, [0, 1, 2, 3, 4, 5]);
        let mut member = Client::connect(server.address, &kept(version, "zero")).await;
        member.nothing().await;
    })
    .await;
}

#[tokio::test]
async fn offline_members_are_members_after_a_restart() {
    both(|version| async move {
        let store = Arc::new(RamStore::default());
        let start =
            || Server::start_on(Config::default(), Arc::new(PlainHook), Arc::<RamStore>::clone(&store));
        let server = start().await;
        let mut publisher = server.client(version, "p").await;
        for name in ["one", "two"] {
            let mut member = Client::connect(server.address, &kept(version, name)).await;
            member.subscribe(&[("$share/g/a", Q1)]).await;
        }
        only(&server, 1).await;
        for n in 0..4 {
            publisher.publish("a", &[n]).await;
        }
        server.broker.stop(support::PATIENCE).await;

        let server = start().await;
        assert_eq!(server.broker.subscriptions(), (2, 2));
        let mut publisher = server.client(version, "p").await;
        for n in 4..8 {
            publisher.publish("a", &[n]).await;
        }
        // One of them is ended: what it was to get goes to the other one, from before the restart too.
        drop(server.client(version, "one").await);
        let mut two = Client::connect(server.address, &kept(version, "two")).await;
        assert!(two.connack.session_present);
        let mut got = take(&mut two, 8).await;
        got.sort_unstable();
        assert_eq!(got, (0..8).collect::<Vec<u8>>());
    })
    .await;
}

#[tokio::test]
async fn a_member_that_takes_nothing_is_passed_over() {
    both(|version| async move {
        let mailbox = Bounds { items: 20, bytes: 1 << 20, tail_items: 64 };
        let server = Server::start_with(Config { mailbox, ..narrow_config() }).await;
        let mut stuck = Client::connect(server.address, &narrow(Hello::new(version, "stuck"))).await;
        let mut quick = server.client(version, "quick").await;
        for member in [&mut stuck, &mut quick] {
            member.subscribe(&[("$share/g/a", Q1)]).await;
        }
        let mut publisher = server.client(version, "p").await;
        let mut got: BTreeMap<u8, usize> = BTreeMap::new();
        for n in 0..100 {
            assert_eq!(publisher.publish("a", &[n]).await.reason, ReasonCode::Success);
            quick.nothing_or_messages(&mut got).await;
        }
        // It holds what it has room for, and is not ended for it.
        assert!(got.len() >= 77, "{}", got.len());
        assert_eq!(counter(&server, "sessions_overflown"), 0);
        drop(stuck);
        while got.len() < 100 {
            *got.entry(quick.take().await.payload[0]).or_default() += 1;
        }
        assert!(got.values().all(|times| *times == 1));
        quick.nothing().await;
        assert_eq!(counter(&server, "dropped_shared"), 0);
    })
    .await;
}

#[tokio::test]
async fn a_group_in_which_nobody_keeps_up_loses_its_members_and_slows_nobody() {
    both(|version| async move {
        let mailbox = Bounds { items: 20, bytes: 1 << 20, tail_items: 64 };
        let server = Server::start_with(Config { mailbox, ..narrow_config() }).await;
        let mut stuck = Client::connect(server.address, &narrow(Hello::new(version, "stuck"))).await;
        stuck.subscribe(&[("$share/g/a", Q1)]).await;
        let mut publisher = server.client(version, "p").await;
        for n in 0..200 {
            assert_eq!(publisher.publish("b", &[n]).await.reason, unheard(version));
            publisher.publish("a", &[n]).await;
        }
        assert!(counter(&server, "dropped_shared") > 0);
        only(&server, 1).await;
        assert_eq!(counter(&server, "sessions_overflown"), 1);
        assert_eq!(server.broker.subscriptions(), (0, 0));
    })
    .await;
}

fn unheard(version: Version) -> ReasonCode {
    if version == Version::V5 { ReasonCode::NoMatchingSubscribers } else { ReasonCode::Success }
}

#[tokio::test]
async fn members_that_come_and_go_lose_nothing_and_get_nothing_twice() {
    both(|version| async move {
        let server = Server::start().await;
        let mut steady = server.client(version, "steady").await;
        steady.subscribe(&[("$share/g/a", Q1)]).await;
        let publishing = tokio::spawn({
            let mut publisher = server.client(version, "p").await;
            async move {
                for n in 0..250u8 {
                    publisher.publish("a", &[n]).await;
                }
            }
        });
        let mut seen: BTreeMap<u8, usize> = BTreeMap::new();
        for round in 0..20 {
            // Never acknowledges, so all that it was given is another's when it goes.
            let mut passing = server.client(version, &format!("passing-{round}")).await;
            passing.subscribe(&[("$share/g/a", Q1)]).await;
            passing.message().await;
            drop(passing);
            steady.nothing_or_messages(&mut seen).await;
            if publishing.is_finished() {
                break;
            }
        }
        publishing.await.unwrap();
        while seen.len() < 250 {
            *seen.entry(steady.take().await.payload[0]).or_default() += 1;
        }
        only(&server, 1).await;
        steady.nothing().await;
        assert!(seen.values().all(|times| *times == 1), "{seen:?}");
        assert_eq!(counter(&server, "dropped_shared"), 0);
    })
    .await;
}

/// Reading whatever has come so far.
trait TakeAll {
    async fn nothing_or_messages(&mut self, into: &mut BTreeMap<u8, usize>);
}

impl TakeAll for Client {
    async fn nothing_or_messages(&mut self, into: &mut BTreeMap<u8, usize>) {
        use chasqui_broker::codec::client::ServerPacket;
        use chasqui_broker::codec::packet::ping;
        let mut out = Vec::new();
        ping::encode_request(&mut out);
        self.write(&out).await;
        loop {
            match self.receive().await {
                ServerPacket::Pingresp => return,
                ServerPacket::Publish(publish, _) => {
                    self.ack(&publish).await;
                    *into.entry(publish.payload[0]).or_default() += 1;
                }
                other => panic!("unexpected: {other:?}"),
            }
        }
    }
}

#[tokio::test]
async fn what_comes_behind_the_end_of_a_members_connection_goes_to_another() {
    both(|version| async move {
        let server = Server::start().await;
        let mut first = server.client(version, "first").await;
        let mut second = server.client(version, "second").await;
        first.subscribe(&[("$share/g/a", Q1)]).await;
        second.subscribe(&[("$share/g/a", Q1)]).await;
        // All of it before a connection's task has its turn.
        let key = SessionKey { owner: Arc::from(""), client_id: Arc::from("first") };
        assert_eq!(server.broker.end_session(&key), Ok(false));
        for n in 0..4 {
            server.broker.publish(Message {
                topic: text("a"),
                payload: Bytes::copy_from_slice(&[n]),
                qos: Q1,
                retain: false,
                properties: None,
                received_ms: 0,
                identifiers: Identifiers::new(),
                share: None,
            });
        }
        let mut taken = take(&mut second, 4).await;
        taken.sort_unstable();
        assert_eq!(taken, [0, 1, 2, 3]);
    })
    .await;
}
