//! Who blocks whom: what the blocked one says is answered as ever, has its place, and is theirs alone to see.

use crate::support::*;
use chasqui_broker::codec::{ReasonCode, Version};
use chasqui_proto::v1::{self, ErrorCode};
use prost::Message as _;

fn who(user: &str) -> Vec<u8> {
    v1::BlockUser { user: user.to_owned(), request_id: 0 }.encode_to_vec()
}

async fn history(client: &mut Client, conversation: &str) -> Vec<(u64, Option<String>)> {
    let query =
        v1::History { conversation: conversation.to_owned(), request_id: 1, ..v1::History::default() };
    let reply = client.ask("do/history", &query.encode_to_vec()).await;
    assert_eq!(reply.code(), ErrorCode::Ok);
    let text =
        |message: &v1::Message| message.body.as_ref().and_then(|_| text_of(message)).map(str::to_owned);
    reply.messages.iter().map(|message| (message.seq, text(message))).collect()
}

async fn summary(client: &mut Client) -> (u32, u64) {
    let sync = v1::Sync { request_id: 1, ..v1::Sync::default() };
    let chats = client.ask("do/sync", &sync.encode_to_vec()).await.chats;
    (chats[0].unread, chats[0].last.as_ref().map_or(0, |last| last.seq))
}

fn said(texts: &[(u64, &str)]) -> Vec<(u64, Option<String>)> {
    texts.iter().map(|(seq, text)| (*seq, Some((*text).to_owned()))).collect()
}

#[tokio::test]
async fn what_a_blocked_user_says_is_theirs_alone_to_see() {
    both(|version| async move {
        let mut service = Service::start().await;
        let mut alice = service.device(version, "alice", "phone").await;
        let mut alice_asks = service.asker(version, "alice").await;
        let mut bob = service.asker(version, "bob").await;
        let mut tablet = service.device(version, "bob", "tablet").await;
        bob.tell("alice", "one").await;
        alice.take().await;
        does(&mut alice_asks, "do/block", &who("bob")).await;
        assert!(matches!(event(&alice.take().await).event, Some(v1::event::Event::Tie(_))));
        service.clock.advance(std::time::Duration::from_hours(3));
        bob.tell("alice", "two, unseen").await;
        let react =
            v1::React { conversation: "u/alice".to_owned(), seq: 1, emoji: "+".to_owned(), request_id: 0 };
        does(&mut bob, "do/react", &react.encode_to_vec()).await;
        does(&mut bob, "u/alice/typing", &v1::Typing::default().encode_to_vec()).await;
        alice.nothing().await;
        service.power_cut(5).await;
        alice = service.kept(version, "alice", "phone").await;
        (alice_asks, bob) = (service.asker(version, "alice").await, service.asker(version, "bob").await);
        alice.nothing().await;
        assert_eq!(history(&mut alice_asks, "u/bob").await, said(&[(1, "one")]));
        assert_eq!(summary(&mut alice_asks).await, (1, 1));
        let mine = history(&mut bob, "u/alice").await;
        assert_eq!(mine.iter().map(|(seq, _)| *seq).collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(summary(&mut bob).await, (0, 3));
        // His own devices have it.
        tablet = {
            drop(tablet);
            service.kept(version, "bob", "tablet").await
        };
        let seen: Vec<u64> = tablet.drain_all().await.iter().map(|entry| message(entry).seq).collect();
        assert_eq!(seen, [1, 2, 3]);
        // From where she sees him again on, she does, and knows that she missed nothing.
        does(&mut alice_asks, "do/unblock", &who("bob")).await;
        alice.take().await;
        bob.tell("alice", "four").await;
        let four = message(&alice.take().await);
        assert_eq!((four.seq, four.prev_seq, text_of(&four)), (4, 1, Some("four")));
        assert_eq!(history(&mut alice_asks, "u/bob").await, said(&[(1, "one"), (4, "four")]));
        assert_eq!(summary(&mut alice_asks).await, (2, 4));
        bob.tell("alice", "five").await;
        assert_eq!(message(&alice.take().await).prev_seq, 0, "the one before");
    })
    .await;
}

#[tokio::test]
async fn who_blocks_says_nothing_to_the_one_they_block() {
    let service = Service::start().await;
    let mut alice = service.publisher(Version::V5, "alice").await;
    let mut bob = service.publisher(Version::V5, "bob").await;
    alice.tell("bob", "one").await;
    bob.tell("alice", "two").await;
    does(&mut alice, "do/block", &who("bob")).await;
    bob.tell("alice", "unseen").await;
    let react = v1::React { conversation: "u/bob".to_owned(), seq: 2, emoji: "+".to_owned(), request_id: 0 };
    let timer = v1::SetTimer { conversation: "u/bob".to_owned(), seconds: 9, request_id: 0 };
    for (topic, payload) in [
        ("u/bob/send", says("hello")),
        ("do/react", react.encode_to_vec()),
        ("do/timer", timer.encode_to_vec()),
    ] {
        let reason = reason_of(&alice.publish(topic, &payload).await).unwrap_or_default();
        assert!(reason.starts_with("FORBIDDEN: this user blocks the other one"), "{topic}: {reason}");
    }
    // What she does not see is not there.
    let reason = reason_of(&alice.publish("do/read", &read("u/bob", 3)).await).unwrap_or_default();
    assert!(reason.starts_with("NO_SUCH_MESSAGE: "), "{reason}");
    does(&mut alice, "do/unblock", &who("bob")).await;
    does(&mut alice, "u/bob/send", &says("hello")).await;
    let ack = alice.publish("do/react", &v1::React { seq: 3, ..react }.encode_to_vec()).await;
    assert!(reason_of(&ack).unwrap_or_default().starts_with("NO_SUCH_MESSAGE: "));
}

/// Whatever a blocked user asks, the answer is the one that somebody gets who is not blocked.
#[tokio::test]
async fn a_blocked_user_is_answered_like_any_other() {
    let service = Service::start().await;
    let mut alice = service.publisher(Version::V5, "alice").await;
    let mut answers = Vec::new();
    for blocked in [false, true] {
        let name = if blocked { "bob" } else { "carol" };
        let mut client = service.asker(Version::V5, name).await;
        client.tell("alice", "one").await;
        alice.tell(name, "two").await;
        if blocked {
            does(&mut alice, "do/block", &who(name)).await;
        }
        let chat = || "u/alice".to_owned();
        let body = Some(v1::Body { kind: Some(v1::body::Kind::Text("one!".to_owned())) });
        let asks: [(&str, Vec<u8>); 12] = [
            ("u/alice/send", says("three")),
            ("u/alice/typing", v1::Typing::default().encode_to_vec()),
            ("do/read", read("u/alice", 2)),
            ("do/read", read("u/alice", 99)),
            (
                "do/edit",
                v1::Edit { conversation: chat(), seq: 1, body, ..v1::Edit::default() }.encode_to_vec(),
            ),
            ("do/react", v1::React { conversation: chat(), seq: 2, ..v1::React::default() }.encode_to_vec()),
            (
                "do/delete",
                v1::Delete { conversation: chat(), seq: 3, for_everyone: true, request_id: 0 }
                    .encode_to_vec(),
            ),
            (
                "do/delete",
                v1::Delete { conversation: chat(), seq: 2, for_everyone: true, request_id: 0 }
                    .encode_to_vec(),
            ),
            (
                "do/pin",
                v1::PinMessage { conversation: chat(), seq: 2, pinned: true, request_id: 0 }.encode_to_vec(),
            ),
            ("do/timer", v1::SetTimer { conversation: chat(), seconds: 60, request_id: 0 }.encode_to_vec()),
            (
                "do/contact.add",
                v1::ContactUsers { users: vec!["alice".to_owned()], request_id: 0 }.encode_to_vec(),
            ),
            ("do/block", who("alice")),
        ];
        let mut heard = Vec::new();
        for (topic, payload) in asks {
            let ack = client.publish(topic, &payload).await;
            heard.push((topic, ack.reason, seq_of(&ack), reason_of(&ack)));
        }
        does(&mut client, "do/unblock", &who("alice")).await;
        heard.push((
            "history",
            ReasonCode::Success,
            Some(history(&mut client, "u/alice").await.len() as u64),
            None,
        ));
        answers.push(heard);
    }
    assert_eq!(answers[0], answers[1]);
}

#[tokio::test]
async fn in_a_group_everybody_sees_everybody() {
    let service = Service::start().await;
    let mut alice = service.device(Version::V5, "alice", "phone").await;
    let mut publisher = service.publisher(Version::V5, "alice").await;
    does(&mut publisher, "do/block", &who("bob")).await;
    let create = v1::GroupCreate {
        group: "hikers".to_owned(),
        name: "Hikers".to_owned(),
        members: vec!["bob".to_owned()],
        ..v1::GroupCreate::default()
    };
    does(&mut publisher, "do/group.create", &create.encode_to_vec()).await;
    does(&mut service.publisher(Version::V5, "bob").await, "g/hikers/send", &says("here")).await;
    let taken = alice.drain_all().await;
    assert_eq!(text_of(&message(taken.last().unwrap())), Some("here"));
}
