//! Edits, reactions and history over real sockets: what is done to a message is a message too, and what was said can be asked for again.

use crate::support::*;
use chasqui_broker::codec::{ReasonCode, Version};
use chasqui_proto::limits::{EDIT_WINDOW_MS, HISTORY_MAX_ITEMS, REACTION_MAX_BYTES};
use chasqui_proto::v1::{self, ErrorCode};
use prost::Message as _;
use std::sync::Arc;
use std::time::Duration;

fn body(text: &str) -> v1::Body {
    v1::Body { kind: Some(v1::body::Kind::Text(text.to_owned())) }
}

fn edit(conversation: &str, seq: u64, text: &str) -> Vec<u8> {
    v1::Edit { conversation: conversation.to_owned(), seq, body: Some(body(text)), ..v1::Edit::default() }
        .encode_to_vec()
}

fn react(conversation: &str, seq: u64, emoji: &str) -> Vec<u8> {
    v1::React { conversation: conversation.to_owned(), seq, emoji: emoji.to_owned(), request_id: 0 }
        .encode_to_vec()
}

async fn history(client: &mut Client, mut query: v1::History) -> v1::Reply {
    query.request_id = 7;
    let reply = client.ask("do/history", &query.encode_to_vec()).await;
    assert_eq!(reply.request_id, 7);
    reply
}

fn asks(conversation: &str) -> v1::History {
    v1::History { conversation: conversation.to_owned(), ..v1::History::default() }
}

fn numbers(reply: &v1::Reply) -> Vec<u64> {
    reply.messages.iter().map(|message| message.seq).collect()
}

#[tokio::test]
async fn an_edit_and_a_reaction_reach_both_sides_in_order() {
    both(|version| async move {
        let mut service = Service::start().await;
        let mut bob = service.device(version, "bob", "phone").await;
        let mut tablet = service.device(version, "alice", "tablet").await;
        let mut alice = service.publisher(version, "alice").await;
        alice.tell("bob", "helo").await;
        assert_eq!(alice.publish("do/edit", &edit("u/bob", 1, "hello")).await.reason, ReasonCode::Success);
        let mut bobs = service.publisher(version, "bob").await;
        let ack = bobs.publish("do/react", &react("u/alice", 1, "👍")).await;
        assert_eq!(seq_of(&ack), (version == Version::V5).then_some(3));
        service.power_cut(3).await;
        drop((bob, tablet));
        bob = service.kept(version, "bob", "phone").await;
        tablet = service.kept(version, "alice", "tablet").await;
        for (device, conversation) in [(&mut bob, "u/alice"), (&mut tablet, "u/bob")] {
            let said = message(&device.take().await);
            assert_eq!((said.seq, text_of(&said)), (1, Some("helo")));
            let edited = message(&device.take().await);
            assert_eq!(
                (edited.seq, edited.body.is_none(), edited.conversation.as_str()),
                (2, true, conversation)
            );
            assert_eq!(
                edited.edit,
                Some(v1::Edited { seq: 1, body: Some(body("hello")), ..v1::Edited::default() })
            );
            let reaction = message(&device.take().await);
            assert_eq!(reaction.reaction, Some(v1::Reaction { seq: 1, emoji: "👍".to_owned() }));
        }
        assert!(
            !service
                .publisher(version, "bob")
                .await
                .publish("do/react", &react("u/alice", 1, ""))
                .await
                .reason
                .is_error()
        );
        assert_eq!(message(&tablet.take().await).reaction.expect("a reaction").emoji, "");
    })
    .await;
}

#[tokio::test]
async fn what_may_not_be_done_is_refused_with_its_reason() {
    let service = Service::start().await;
    let mut alice = service.publisher(Version::V5, "alice").await;
    let mut bob = service.publisher(Version::V5, "bob").await;
    alice.tell("bob", "hello").await;
    bob.publish("do/react", &react("u/alice", 1, "👍")).await;
    let long = "x".repeat(REACTION_MAX_BYTES + 1);
    let rows = [
        (edit("u/alice", 1, "what he never said"), "do/edit", ErrorCode::Forbidden),
        (edit("u/alice", 2, "a reaction is no message"), "do/edit", ErrorCode::NoSuchMessage),
        (edit("u/alice", 9, "not there yet"), "do/edit", ErrorCode::NoSuchMessage),
        (edit("u/carol", 1, "not there at all"), "do/edit", ErrorCode::NoSuchMessage),
        (edit("g/nobody", 1, "no group of his"), "do/edit", ErrorCode::Forbidden),
        (react("u/alice", 2, "👍"), "do/react", ErrorCode::NoSuchMessage),
        (react("u/alice", 0, "👍"), "do/react", ErrorCode::NoSuchMessage),
        (react("u/alice", 1, &long), "do/react", ErrorCode::TooLarge),
        (react("alice", 1, "👍"), "do/react", ErrorCode::InvalidPayload),
        (
            v1::Edit { conversation: "u/alice".to_owned(), seq: 1, ..v1::Edit::default() }.encode_to_vec(),
            "do/edit",
            ErrorCode::InvalidPayload,
        ),
        (
            v1::History { before_seq: 1, from_seq: 1, ..asks("u/alice") }.encode_to_vec(),
            "do/history",
            ErrorCode::InvalidPayload,
        ),
        (asks("u/carol").encode_to_vec(), "do/history", ErrorCode::NoSuchMessage),
        (asks("g/nobody").encode_to_vec(), "do/history", ErrorCode::NoSuchMessage),
    ];
    for (payload, topic, code) in rows {
        let reason = reason_of(&bob.publish(topic, &payload).await).unwrap_or_default();
        assert!(reason.starts_with(&format!("{}: ", code.name())), "{topic}, {code:?}: {reason}");
    }
    service.clock.advance(Duration::from_millis(EDIT_WINDOW_MS + 1_000));
    let late = alice.publish("do/edit", &edit("u/bob", 1, "too late")).await;
    assert!(
        reason_of(&late).expect("a reason").starts_with("FORBIDDEN: a message can be edited for 15 minutes")
    );
}

#[tokio::test]
async fn a_conversation_is_read_by_page_in_both_directions() {
    both(|version| async move {
        let mut service = Service::start().await;
        let mut alice = service.publisher(version, "alice").await;
        let total = HISTORY_MAX_ITEMS as u64 + 20;
        for number in 1..=total {
            alice.tell("bob", &format!("message {number}")).await;
        }
        service.restart().await;
        let mut bob = service.asker(version, "bob").await;
        let newest = history(&mut bob, asks("u/alice")).await;
        assert_eq!(numbers(&newest), (21..=total).collect::<Vec<_>>());
        assert!(newest.more);
        let first = &newest.messages[0];
        assert_eq!((first.conversation.as_str(), first.sender.as_str()), ("u/alice", "alice"));
        assert_eq!((text_of(first), first.client_msg_id.is_empty()), (Some("message 21"), true));
        let rest = history(&mut bob, v1::History { before_seq: 21, ..asks("u/alice") }).await;
        assert_eq!((numbers(&rest), rest.more), ((1..=20).collect(), false));
        let some = history(&mut bob, v1::History { before_seq: 6, limit: 2, ..asks("u/alice") }).await;
        assert_eq!((numbers(&some), some.more), (vec![4, 5], true));
        let some = history(&mut bob, v1::History { from_seq: 6, limit: 2, ..asks("u/alice") }).await;
        assert_eq!((numbers(&some), some.more), (vec![6, 7], true));
        let last = history(&mut bob, v1::History { from_seq: total, ..asks("u/alice") }).await;
        assert_eq!((numbers(&last), last.more), (vec![total], false));
        let beyond = history(&mut bob, v1::History { from_seq: total + 1, ..asks("u/alice") }).await;
        assert_eq!((numbers(&beyond), beyond.more, beyond.code()), (vec![], false, ErrorCode::Ok));
    })
    .await;
}

#[tokio::test]
async fn a_page_holds_as_much_as_a_packet_and_at_least_one_message() {
    let service = Service::start().await;
    let mut alice = service.publisher(Version::V5, "alice").await;
    let large = "x".repeat(60_000);
    for _ in 0..6 {
        alice.tell("bob", &large).await;
    }
    let mut bob = service.asker(Version::V5, "bob").await;
    let mut seen = Vec::new();
    let mut before_seq = 0;
    loop {
        let page = history(&mut bob, v1::History { before_seq, ..asks("u/alice") }).await;
        assert!(!page.messages.is_empty() && page.messages.len() < 6);
        before_seq = page.messages[0].seq;
        seen.splice(0..0, numbers(&page));
        if !page.more {
            break;
        }
    }
    assert_eq!(seen, (1..=6).collect::<Vec<_>>());
}

#[tokio::test]
async fn of_a_group_one_sees_what_was_said_while_one_was_a_member() {
    both(|version| async move {
        let service = Service::start().await;
        let mut alice = service.asker(version, "alice").await;
        let create = v1::GroupCreate {
            group: "hikers".to_owned(),
            name: "Hikers".to_owned(),
            members: vec!["bob".to_owned()],
            ..v1::GroupCreate::default()
        };
        let users = |name: &str| {
            v1::GroupUsers { group: "hikers".to_owned(), users: vec![name.to_owned()], request_id: 0 }
                .encode_to_vec()
        };
        alice.publish("do/group.create", &create.encode_to_vec()).await; // 1
        alice.publish("g/hikers/send", &says("two")).await;
        alice.publish("do/group.remove", &users("bob")).await; // 3
        alice.publish("g/hikers/send", &says("four")).await;
        alice.publish("do/group.add", &users("carol")).await; // 5
        alice.publish("do/group.add", &users("bob")).await; // 6
        alice.publish("g/hikers/send", &says("seven")).await;
        for (name, expected) in [
            ("alice", vec![1, 2, 3, 4, 5, 6, 7]),
            ("bob", vec![1, 2, 3, 6, 7]),
            ("carol", vec![5, 6, 7]),
            ("dave", vec![]),
        ] {
            let mut client = service.asker(version, name).await;
            let forwards = v1::History { from_seq: 1, ..asks("g/hikers") };
            for query in [asks("g/hikers"), forwards] {
                if name == "dave" && version == Version::V311 {
                    // Who cannot hear a refusal is disconnected instead.
                    continue;
                }
                let page = history(&mut client, query).await;
                assert_eq!(numbers(&page), expected, "{name}");
                assert_eq!(page.code() == ErrorCode::Ok, name != "dave", "{name}");
            }
        }
        let mut bob = service.asker(version, "bob").await;
        let older = history(&mut bob, v1::History { before_seq: 6, limit: 2, ..asks("g/hikers") }).await;
        assert_eq!((numbers(&older), older.more), (vec![2, 3], true), "over what is none of his");
        assert_eq!(text_of(&older.messages[0]), Some("two"));
    })
    .await;
}

#[tokio::test]
async fn who_comes_under_the_name_of_another_sees_nothing_of_that_ones() {
    let service = Service::start_with(with_accounts()).await;
    service.add_users(&["alice", "bob", "carol"]).await;
    let mut alice = service.publisher(Version::V5, "alice").await;
    alice.tell("bob", "for the first bob").await;
    let create = v1::GroupCreate {
        group: "hikers".to_owned(),
        name: "Hikers".to_owned(),
        members: vec!["bob".to_owned(), "carol".to_owned()],
        ..v1::GroupCreate::default()
    };
    alice.publish("do/group.create", &create.encode_to_vec()).await;
    let accounts = Arc::clone(service.server().accounts());
    let removed = tokio::task::spawn_blocking(move || accounts.remove("bob")).await.expect("no panic");
    removed.expect("bob is removed");
    service.clock.advance(Duration::from_mins(1));
    service.add_users(&["bob"]).await;
    let mut bob = service.asker(Version::V5, "bob").await;
    for conversation in ["u/alice", "g/hikers"] {
        let page = history(&mut bob, asks(conversation)).await;
        assert_eq!((page.code(), page.messages.len()), (ErrorCode::NoSuchMessage, 0), "{conversation}");
        let ack = bob.publish("do/read", &read(conversation, 1)).await;
        assert!(reason_of(&ack).expect("a reason").starts_with("NO_SUCH_MESSAGE: "), "{conversation}");
        let ack = bob.publish("do/react", &react(conversation, 1, "👍")).await;
        assert!(ack.reason.is_error(), "{conversation}");
    }
    assert_eq!(bob.publish("g/hikers/send", &says("it is me")).await.reason, ReasonCode::NotAuthorized);
    alice.tell("bob", "for the second bob").await;
    let page = history(&mut bob, asks("u/alice")).await;
    assert_eq!(page.messages.iter().map(text_of).collect::<Vec<_>>(), [Some("for the second bob")]);
    let both = history(&mut service.asker(Version::V5, "alice").await, asks("u/bob")).await;
    assert_eq!(both.messages.len(), 2, "the other side keeps what it had");
}
