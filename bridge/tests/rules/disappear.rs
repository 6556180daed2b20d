//! Messages that disappear: at their time they are not to be read any more, by anybody, and after that there is nothing of them.

use crate::support::*;
use chasqui_broker::codec::Version;
use chasqui_proto::limits::TIMER_MAX_S;
use chasqui_proto::v1;
use chasqui_storage::LogId;
use prost::Message as _;
use std::time::Duration;

fn for_a_while(text: &str, seconds: u32) -> Vec<u8> {
    let body = Some(v1::Body { kind: Some(v1::body::Kind::Text(text.to_owned())) });
    v1::Send { body, expires_in_s: seconds, ..v1::Send::default() }.encode_to_vec()
}

fn timer(conversation: &str, seconds: u32) -> Vec<u8> {
    v1::SetTimer { conversation: conversation.to_owned(), seconds, request_id: 0 }.encode_to_vec()
}

/// Whether a text stands anywhere in a log of the store.
fn stands_in(service: &Service, log: &str, text: &str) -> bool {
    let entries = service.server().storage().reader().read_log(&LogId::new(log), 0, 1_000, usize::MAX);
    entries.unwrap().iter().any(|(_, entry)| entry.windows(text.len()).any(|part| part == text.as_bytes()))
}

#[tokio::test]
async fn at_its_time_a_message_is_gone_for_all() {
    both(|version| async move {
        for long in [false, true] {
            let mut service = Service::start().await;
            let secret = if long { "the secret ".repeat(50) } else { "the secret".to_owned() };
            let away = service.device(version, "bob", "phone").await;
            away.disconnect().await;
            let tablet = service.device(version, "alice", "tablet").await;
            tablet.disconnect().await;
            let mut alice = service.asker(version, "alice").await;
            let mut bob = service.asker(version, "bob").await;
            does(&mut alice, "u/bob/send", &for_a_while(&secret, 60)).await;
            let body = Some(v1::Body { kind: Some(v1::body::Kind::Text(format!("{secret}!"))) });
            let edit = v1::Edit { conversation: "u/bob".to_owned(), seq: 1, body, ..v1::Edit::default() };
            does(&mut alice, "do/edit", &edit.encode_to_vec()).await;
            alice.tell("bob", "for ever").await;
            let shown = history(&mut bob, "u/alice").await;
            assert_eq!(text_of(&shown[0]), Some(&*secret));
            let lives_ms = shown[0].expires_at_ms - shown[0].time_ms;
            assert_eq!((lives_ms, shown[1].expires_at_ms - shown[0].time_ms), (60_000, 60_000));
            assert_eq!(shown[2].expires_at_ms, 0);
            // The time passes while the server is off, as well.
            service.stop().await;
            service.clock.advance(Duration::from_secs(61));
            service.resume().await;
            (alice, bob) = (service.asker(version, "alice").await, service.asker(version, "bob").await);
            for (client, conversation) in [(&mut alice, "u/bob"), (&mut bob, "u/alice")] {
                let shown = history(client, conversation).await;
                assert_eq!(shown.iter().map(|message| message.gone).collect::<Vec<_>>(), [true, true, false]);
                assert!(
                    shown[0].body.is_none() && shown[1].edit.as_ref().is_none_or(|edit| edit.body.is_none())
                );
            }
            let sync = v1::Sync { request_id: 1, ..v1::Sync::default() };
            assert_eq!(bob.ask("do/sync", &sync.encode_to_vec()).await.chats[0].unread, 1);
            let mut taken = service.kept(version, "bob", "phone").await.drain_all().await;
            taken.extend(service.kept(version, "alice", "tablet").await.drain_all().await);
            let gone = taken.iter().filter(
                |publish| matches!(event(publish).event, Some(v1::event::Event::Gone(gone)) if gone.seq < 3),
            );
            assert_eq!((taken.len(), gone.count()), (6, 4), "both of it, for both");
            // Before long there is nothing of it.
            let logs = ["c/d/alice/bob", "in/alice", "in/bob"];
            while logs.iter().any(|log| stands_in(&service, log, "the secret")) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            assert!(stands_in(&service, "c/d/alice/bob", "for ever"));
        }
    })
    .await;
}

/// A device that is connected, and has not taken it, is not given it any more.
#[tokio::test]
async fn what_waits_for_a_device_past_its_time_is_not_given_to_it() {
    both(|version| async move {
        let service = Service::start().await;
        let away = service.device(version, "bob", "phone").await;
        away.disconnect().await;
        let mut alice = service.publisher(version, "alice").await;
        service.clock.stand_still();
        does(&mut alice, "u/bob/send", &for_a_while("the secret", 5)).await;
        service.clock.advance(Duration::from_millis(4_999));
        let mut phone = service.kept(version, "bob", "phone").await;
        let in_time = message(&phone.message().await);
        assert_eq!(text_of(&in_time), Some("the secret"));
        drop(phone);
        service.clock.advance(Duration::from_millis(1));
        let mut phone = service.kept(version, "bob", "phone").await;
        let gone = event(&phone.take().await).event;
        assert_eq!(
            gone,
            Some(v1::event::Event::Gone(v1::Gone { conversation: "u/alice".to_owned(), seq: 1 }))
        );
    })
    .await;
}

#[tokio::test]
async fn a_conversation_has_a_timer_that_both_sides_know() {
    both(|version| async move {
        let service = Service::start().await;
        let mut alice = service.asker(version, "alice").await;
        let mut bob = service.device(version, "bob", "phone").await;
        alice.tell("bob", "before").await;
        does(&mut alice, "do/timer", &timer("u/bob", 3_600)).await;
        alice.tell("bob", "after").await;
        does(&mut alice, "u/bob/send", &for_a_while("shorter", 60)).await;
        does(&mut alice, "u/bob/send", &for_a_while("not longer", 7_200)).await;
        does(&mut alice, "do/timer", &timer("u/bob", 3_600)).await;
        does(&mut alice, "do/timer", &timer("u/bob", 0)).await;
        let taken: Vec<v1::Message> = bob.drain_all().await.iter().map(message).collect();
        let lives = |message: &v1::Message| match message.expires_at_ms {
            0 => 0,
            at_ms => (at_ms - message.time_ms) / 1_000,
        };
        assert_eq!(taken.iter().map(lives).collect::<Vec<_>>(), [0, 0, 3_600, 60, 3_600, 0]);
        assert_eq!(taken[1].timer, Some(v1::Timer { seconds: 3_600 }));
        assert_eq!(taken[5].timer, Some(v1::Timer { seconds: 0 }));
        does(&mut alice, "do/timer", &timer("u/bob", 7)).await;
        let sync = v1::Sync { request_id: 1, ..v1::Sync::default() };
        assert_eq!(alice.ask("do/sync", &sync.encode_to_vec()).await.chats[0].timer_s, 7);
    })
    .await;
}

/// Who is blocked does not know it: they are answered as ever, and what they said of themselves holds for them.
#[tokio::test]
async fn a_timer_that_a_blocked_user_sets_holds_for_what_they_say_alone() {
    both(|version| async move {
        let service = Service::start().await;
        let mut alice = service.asker(version, "alice").await;
        let mut bob = service.asker(version, "bob").await;
        alice.tell("bob", "one").await;
        let who = v1::BlockUser { user: "alice".to_owned(), request_id: 0 }.encode_to_vec();
        does(&mut bob, "do/block", &who).await;
        does(&mut alice, "do/timer", &timer("u/bob", 60)).await;
        alice.tell("bob", "three, unseen").await;
        does(&mut bob, "do/unblock", &who).await;
        bob.tell("alice", "four").await;
        alice.tell("bob", "five").await;
        let lives = |page: Vec<v1::Message>| -> Vec<(u64, i64)> {
            let life = |message: &v1::Message| match message.expires_at_ms {
                0 => 0,
                at_ms => (at_ms - message.time_ms) / 1_000,
            };
            page.iter().map(|message| (message.seq, life(message))).collect()
        };
        let seen = lives(history(&mut bob, "u/alice").await);
        assert_eq!(seen, [(1, 0), (4, 0), (5, 60)], "bob's own stay, whatever alice wants of hers");
        let sync = v1::Sync { request_id: 1, ..v1::Sync::default() }.encode_to_vec();
        assert_eq!(alice.ask("do/sync", &sync).await.chats[0].timer_s, 60);
        assert_eq!(bob.ask("do/sync", &sync).await.chats[0].timer_s, 0);
        // The next one that both are told of holds for both.
        does(&mut bob, "do/timer", &timer("u/alice", 9)).await;
        for client in [&mut alice, &mut bob] {
            assert_eq!(client.ask("do/sync", &sync).await.chats[0].timer_s, 9);
        }
        alice.tell("bob", "seven").await;
        assert_eq!(lives(history(&mut bob, "u/alice").await).last(), Some(&(7, 9)));
    })
    .await;
}

/// That its time is over does not make a message of its own of what somebody said about another one.
#[tokio::test]
async fn a_sign_that_is_over_is_no_message_before_it_is_erased_nor_after_that() {
    let service = Service::start().await;
    let mut alice = service.asker(Version::V5, "alice").await;
    does(&mut alice, "u/bob/send", &for_a_while("the secret", 60)).await;
    let emoji = "the sign".to_owned();
    let react = v1::React { conversation: "u/bob".to_owned(), seq: 1, emoji, request_id: 0 };
    does(&mut alice, "do/react", &react.encode_to_vec()).await;
    let delete = v1::Delete { conversation: "u/bob".to_owned(), seq: 2, for_everyone: true, request_id: 0 };
    let delete = delete.encode_to_vec();
    for when in ["there", "over", "erased"] {
        if when == "over" {
            service.clock.advance(Duration::from_secs(61));
        }
        while when == "erased" && stands_in(&service, "c/d/alice/bob", "the sign") {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let reason = reason_of(&alice.publish("do/delete", &delete).await).unwrap_or_default();
        assert!(reason.starts_with("NO_SUCH_MESSAGE: "), "{when}: {reason}");
    }
    let shown = history(&mut alice, "u/bob").await;
    assert!(shown[1].gone, "{shown:?}");
    assert_eq!(shown[1].reaction, Some(v1::Reaction { seq: 1, emoji: String::new() }));
}

#[tokio::test]
async fn a_time_that_is_too_long_is_refused() {
    let service = Service::start().await;
    let mut alice = service.publisher(Version::V5, "alice").await;
    alice.tell("bob", "hello").await;
    for (topic, payload) in
        [("u/bob/send", for_a_while("hello", TIMER_MAX_S + 1)), ("do/timer", timer("u/bob", TIMER_MAX_S + 1))]
    {
        let ack = alice.publish(topic, &payload).await;
        let reason = reason_of(&ack).unwrap_or_default();
        assert!(reason.starts_with("INVALID_PAYLOAD: ") && reason.contains("seconds"), "{topic}: {reason}");
    }
}
