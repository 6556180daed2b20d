//! What each user may do in a time: a little too much is waited for, much too much is refused with how long to wait, and changes nothing.

use crate::support::*;
use chasqui_bridge::settings::Settings;
use chasqui_broker::codec::client::ServerPacket;
use chasqui_broker::codec::{PublishOut, QoS, ReasonCode, Version};
use chasqui_proto::v1::{self, ErrorCode};
use prost::Message as _;
use std::time::Duration;

/// Accounts that are held to these rates, and are never new.
fn rated(set: impl FnOnce(&mut Settings)) -> Settings {
    let mut settings = with_accounts();
    settings.rates.new_account = Duration::ZERO;
    set(&mut settings);
    settings
}

fn makes(group: &str) -> Vec<u8> {
    let (group, name) = (group.to_owned(), "Hikers".to_owned());
    v1::GroupCreate { group, name, request_id: 1, ..v1::GroupCreate::default() }.encode_to_vec()
}

fn adds(users: &[&str]) -> Vec<u8> {
    let users = users.iter().map(|&user| user.to_owned()).collect();
    v1::ContactUsers { users, request_id: 1 }.encode_to_vec()
}

/// Publishes what is refused for its rate; how long to wait.
async fn refused(client: &mut Client, topic: &str, payload: &[u8], sentence: &str) -> u32 {
    let reply = client.ask(topic, payload).await;
    assert_eq!(reply.code(), ErrorCode::RateLimited, "{topic}: {}", reply.reason);
    assert_eq!(reply.reason, format!("RATE_LIMITED: {sentence}"), "{topic}");
    reply.retry_after_ms
}

#[tokio::test]
async fn a_little_too_much_is_waited_for_and_not_refused() {
    both(|version| async move {
        let service = Service::start_with(rated(|settings| settings.rates.messages_per_minute = 60)).await;
        service.clock.stand_still();
        service.add_users(&["alice", "bob"]).await;
        let mut alice = service.publisher(version, "alice").await;
        for _ in 0..61 {
            alice.tell("bob", "hello").await;
        }
        while service.server().broker().stats().publishers_slowed.get() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // She is not read for a second; others are.
        let packet = says("waits");
        let send = PublishOut { qos: QoS::AtLeastOnce, ..PublishOut::new("u/bob/send", &packet) };
        alice.send(send).await;
        service.publisher(version, "bob").await.tell("alice", "I am read").await;
        let history = history(&mut service.asker(version, "bob").await, "u/alice").await;
        assert_eq!(history.iter().filter(|message| message.sender == "alice").count(), 61);
        // A tick more: deadlines are met by the tick.
        service.clock.advance(Duration::from_millis(1_100));
        let ServerPacket::Puback(ack) = alice.receive().await else {
            panic!("it is answered, and nothing else")
        };
        assert_eq!(ack.reason, ReasonCode::Success);
        assert_eq!(service.server().broker().stats().publishes_refused_rate.get(), 0);
    })
    .await;
}

#[tokio::test]
async fn much_too_much_is_refused_says_how_long_to_wait_and_changes_nothing() {
    both(|version| async move {
        let service = Service::start_with(rated(|settings| settings.rates.groups_per_hour = 2)).await;
        service.clock.stand_still();
        service.add_users(&["alice", "bob"]).await;
        let mut alice = service.asker(version, "alice").await;
        alice.subscribe_once("u/alice/in").await;
        for group in ["one", "two"] {
            assert_eq!(alice.ask("do/group.create", &makes(group)).await.code(), ErrorCode::Ok);
        }
        alice.drain_all().await;
        let sentence = "this user makes too many groups; try again in 1800 s";
        for _ in 0..3 {
            // Over 3.1.1 it closes a client that reads no log of its own: the next ones of it are asked by a device.
            let mut phone = service.device(version, "alice", "phone").await;
            phone.drain_all().await;
            let (ack, mut taken) = phone.publish_and_take("do/group.create", &makes("three")).await;
            if version == Version::V5 {
                assert_eq!(ack.reason, ReasonCode::QuotaExceeded);
                assert_eq!(reason_of(&ack), Some(format!("RATE_LIMITED: {sentence}")));
            } else {
                assert_eq!(ack.reason, ReasonCode::Success);
                if taken.is_empty() {
                    taken.push(phone.take().await);
                }
                let rejected = rejected(&taken[0]);
                assert_eq!(rejected.code(), ErrorCode::RateLimited);
                assert_eq!(
                    (rejected.topic.as_str(), rejected.retry_after_ms),
                    ("do/group.create", 1_800_000)
                );
                assert_eq!(rejected.reason, format!("RATE_LIMITED: {sentence}"));
            }
        }
        assert_eq!(service.server().broker().stats().publishes_refused_rate.get(), 3);
        // Others have rates of their own, and the group is not there: who comes first has it.
        let mut bob = service.asker(version, "bob").await;
        assert_eq!(bob.ask("do/group.create", &makes("three")).await.code(), ErrorCode::Ok);
        service.clock.advance(Duration::from_mins(30));
        let mut phone = service.device(version, "alice", "phone").await;
        let (ack, _) = phone.publish_and_take("do/group.create", &makes("four")).await;
        assert_eq!(ack.reason, ReasonCode::Success);
    })
    .await;
}

#[tokio::test]
async fn each_kind_has_a_rate_of_its_own() {
    let settings = rated(|settings| {
        settings.rates.messages_per_minute = 1;
        settings.rates.groups_per_hour = 1;
        settings.rates.invites_per_hour = 1;
        settings.rates.adds_per_hour = 2;
    });
    let service = Service::start_with(settings).await;
    service.clock.stand_still();
    service.add_users(&["alice", "bob", "carol"]).await;
    let mut alice = service.asker(Version::V5, "alice").await;
    let invite = || v1::GroupInvite { group: "one".to_owned(), request_id: 1, ..v1::GroupInvite::default() };
    let invite = invite().encode_to_vec();
    let rows = [
        (
            "do/group.create",
            makes("one"),
            makes("two"),
            "this user makes too many groups; try again in 3600 s",
        ),
        (
            "do/contact.add",
            adds(&["bob", "carol"]),
            adds(&["bob"]),
            "this user adds too many users to groups and contacts; try again in 1800 s",
        ),
        (
            "do/group.invite",
            invite.clone(),
            invite,
            "this user asks for too many invite links, or joins too many groups; try again in 3600 s",
        ),
    ];
    for (topic, first, second, sentence) in rows {
        assert_eq!(alice.ask(topic, &first).await.code(), ErrorCode::Ok, "{topic}");
        assert!(refused(&mut alice, topic, &second, sentence).await >= 1_800_000, "{topic}");
    }
    alice.tell("bob", "hello").await;
    let ack = alice.publish("u/bob/send", &says("and hello again")).await;
    assert_eq!(ack.reason, ReasonCode::QuotaExceeded);
    let expected = "RATE_LIMITED: this user sends too much; try again in 60 s";
    assert_eq!(reason_of(&ack).as_deref(), Some(expected));
    // What is only read, or kept for oneself, has no rate.
    for _ in 0..10 {
        assert_eq!(history(&mut alice, "u/bob").await.len(), 1);
        let read = v1::Read { conversation: "u/bob".to_owned(), up_to_seq: 1, request_id: 1 }.encode_to_vec();
        assert_eq!(alice.ask("do/read", &read).await.code(), ErrorCode::Ok);
    }
}

#[tokio::test]
async fn a_new_account_may_less_until_it_is_a_day_old() {
    let mut settings = with_accounts();
    settings.rates.groups_per_hour = 4;
    let mut service = Service::start_with(settings).await;
    service.clock.stand_still();
    service.add_users(&["alice"]).await;
    // When she came is on the disk.
    service.restart().await;
    let mut alice = service.asker(Version::V5, "alice").await;
    assert_eq!(alice.ask("do/group.create", &makes("one")).await.code(), ErrorCode::Ok);
    let sentence = "this user makes too many groups; try again in 3600 s";
    assert_eq!(refused(&mut alice, "do/group.create", &makes("two"), sentence).await, 3_600_000);
    service.clock.advance(Duration::from_hours(24));
    let mut alice = service.asker(Version::V5, "alice").await;
    for group in ["two", "three", "four", "five"] {
        assert_eq!(alice.ask("do/group.create", &makes(group)).await.code(), ErrorCode::Ok);
    }
    let sentence = "this user makes too many groups; try again in 900 s";
    assert_eq!(refused(&mut alice, "do/group.create", &makes("six"), sentence).await, 900_000);
    // Who comes under the name later is new again.
    let accounts = std::sync::Arc::clone(service.server().accounts());
    tokio::task::spawn_blocking(move || accounts.remove("alice")).await.unwrap().unwrap();
    service.add_users(&["alice"]).await;
    let mut alice = service.asker(Version::V5, "alice").await;
    assert_eq!(alice.ask("do/group.create", &makes("seven")).await.code(), ErrorCode::Ok);
    let sentence = "this user makes too many groups; try again in 3600 s";
    assert_eq!(refused(&mut alice, "do/group.create", &makes("eight"), sentence).await, 3_600_000);
}
