//! What a user keeps about their conversations, on all their devices; and the list of these, with what is unread.

use crate::support::*;
use chasqui_broker::codec::Version;
use chasqui_proto::limits::{DRAFT_MAX_BYTES, UNREAD_MAX};
use chasqui_proto::v1::{self, ErrorCode};
use prost::Message as _;
use std::time::Duration;

fn about(conversation: &str) -> v1::Chat {
    v1::Chat { conversation: conversation.to_owned(), ..v1::Chat::default() }
}

/// The page of conversations behind `after`.
async fn page(client: &mut Client, after: &[u8], limit: u32) -> v1::Reply {
    let query = v1::Sync { after: after.to_vec().into(), limit, request_id: 7 };
    let reply = client.ask("do/sync", &query.encode_to_vec()).await;
    assert_eq!((reply.request_id, reply.code(), reply.more), (7, ErrorCode::Ok, !reply.next.is_empty()));
    reply
}

/// All conversations, asked for by pages of `limit`.
async fn all(client: &mut Client, limit: u32) -> Vec<v1::ChatSummary> {
    let (mut chats, mut after) = (Vec::new(), Vec::new());
    loop {
        let reply = page(client, &after, limit).await;
        chats.extend(reply.chats);
        if reply.next.is_empty() {
            return chats;
        }
        after = reply.next.to_vec();
    }
}

fn name(summary: &v1::ChatSummary) -> &str {
    &summary.chat.as_ref().expect("it says which").conversation
}

/// Each conversation with what is unread and what of it names the user.
fn unread(chats: &[v1::ChatSummary]) -> Vec<(&str, u32, u32)> {
    chats.iter().map(|chat| (name(chat), chat.unread, chat.mentions)).collect()
}

async fn make_group(client: &mut Client, group: &str, members: &[&str]) {
    let create = v1::GroupCreate {
        group: group.to_owned(),
        name: group.to_uppercase(),
        members: members.iter().map(|member| (*member).to_owned()).collect(),
        ..v1::GroupCreate::default()
    };
    does(client, "do/group.create", &create.encode_to_vec()).await;
}

fn naming(user: &str) -> Vec<u8> {
    let body = v1::Body { kind: Some(v1::body::Kind::Text(format!("@{user} look"))) };
    let mentions = vec![v1::Mention { user: user.to_owned(), start: 0, length: 5 }];
    v1::Send { body: Some(body), mentions, ..v1::Send::default() }.encode_to_vec()
}

#[tokio::test]
async fn the_list_shows_the_newest_first_with_what_is_unread() {
    both(|version| async move {
        let mut service = Service::start().await;
        let mut alice = service.asker(version, "alice").await;
        assert!(all(&mut alice, 0).await.is_empty(), "nothing yet");
        let mut bob = service.publisher(version, "bob").await;
        let mut carol = service.publisher(version, "carol").await;
        make_group(&mut bob, "hikers", &["alice"]).await;
        service.clock.advance(Duration::from_mins(1));
        for _ in 0..3 {
            bob.tell("alice", "hello").await;
        }
        service.clock.advance(Duration::from_hours(30));
        carol.tell("alice", "hi").await;
        service.clock.advance(Duration::from_mins(1));
        does(&mut bob, "g/hikers/send", &says("here")).await;
        does(&mut bob, "g/hikers/send", &naming("alice")).await;
        does(&mut bob, "g/hikers/send", &naming("bob")).await;
        service.clock.advance(Duration::from_secs(1));
        does(&mut alice, "u/alice/send", &says("a note")).await;
        let expected = [("u/alice", 0, 0), ("g/hikers", 3, 1), ("u/carol", 1, 0), ("u/bob", 3, 0)];
        for limit in [0, 1, 2, 3, 4, 99] {
            let chats = all(&mut alice, limit).await;
            assert_eq!(unread(&chats), expected, "by {limit}");
            let last: Vec<u64> = chats.iter().map(|chat| chat.last.as_ref().unwrap().seq).collect();
            assert_eq!(last, [1, 4, 1, 3]);
            let group = chats[1].group.as_ref().expect("what the group is");
            assert_eq!((group.name.as_str(), group.members), ("HIKERS", 2));
        }
        // What is read is not counted, in whatever order it is said; one's own messages never are.
        does(&mut alice, "do/read", &read("u/bob", 2)).await;
        does(&mut alice, "do/read", &read("u/bob", 1)).await;
        does(&mut alice, "do/read", &read("g/hikers", 4)).await;
        does(&mut alice, "g/hikers/send", &says("I am coming")).await;
        does(&mut bob, "g/hikers/send", &says("good")).await;
        service.power_cut(1).await;
        alice = service.asker(version, "alice").await;
        let chats = all(&mut alice, 3).await;
        let expected = [("g/hikers", 1, 0), ("u/alice", 0, 0), ("u/carol", 1, 0), ("u/bob", 1, 0)];
        assert_eq!(unread(&chats), expected);
        let keeps: Vec<_> = chats.iter().map(|chat| chat.chat.clone().unwrap().read_seq).collect();
        assert_eq!(keeps, [Some(4), None, None, Some(2)]);
        let text = chats[0].last.as_ref().unwrap();
        assert_eq!((text.seq, text.sender.as_str(), text_of(text)), (6, "bob", Some("good")));
    })
    .await;
}

#[tokio::test]
async fn how_far_others_are_stands_in_the_list() {
    let service = Service::start().await;
    let mut alice = service.asker(Version::V5, "alice").await;
    let mut bob = service.device(Version::V5, "bob", "phone").await;
    alice.tell("bob", "hello").await;
    bob.take().await;
    does(&mut bob, "do/read", &read("u/alice", 1)).await;
    let receipt = all(&mut alice, 0).await.remove(0).receipt.expect("a receipt");
    assert_eq!((receipt.delivered, receipt.read), (1, 1));
}

#[tokio::test]
async fn who_left_a_group_has_it_in_the_list_as_it_was_then() {
    both(|version| async move {
        let service = Service::start().await;
        let mut bob = service.asker(version, "bob").await;
        let mut alice = service.publisher(version, "alice").await;
        make_group(&mut alice, "hikers", &["bob"]).await;
        let named = v1::GroupNamed { group: "hikers".to_owned(), request_id: 0 };
        does(&mut bob, "do/group.leave", &named.encode_to_vec()).await;
        assert_eq!(all(&mut bob, 1).await[0].group, None, "though nothing has been said since");
        service.clock.advance(Duration::from_hours(2));
        alice.tell("bob", "come back").await;
        service.clock.advance(Duration::from_hours(2));
        does(&mut alice, "g/hikers/send", &says("he is gone")).await;
        let chats = all(&mut bob, 1).await;
        assert_eq!(unread(&chats), [("u/alice", 1, 0), ("g/hikers", 0, 0)]);
        assert_eq!((chats[1].last.as_ref().unwrap().seq, &chats[1].group), (2, &None));
        let users =
            v1::GroupUsers { group: "hikers".to_owned(), users: vec!["bob".to_owned()], request_id: 0 };
        does(&mut alice, "do/group.add", &users.encode_to_vec()).await;
        let chats = all(&mut bob, 1).await;
        assert_eq!(unread(&chats), [("g/hikers", 0, 0), ("u/alice", 1, 0)]);
        assert!(chats[0].group.is_some());
    })
    .await;
}

#[tokio::test]
async fn what_one_device_keeps_the_others_hear_of() {
    both(|version| async move {
        let service = Service::start().await;
        let mut phone = service.device(version, "alice", "phone").await;
        let mut tablet = service.device(version, "alice", "tablet").await;
        service.publisher(version, "bob").await.tell("alice", "hello").await;
        for device in [&mut phone, &mut tablet] {
            assert_eq!(message(&device.take().await).seq, 1);
        }
        let keeps = v1::Chat {
            muted_until_ms: Some(1_900_000_000_000),
            pinned: Some(true),
            draft: Some("dear bob".to_owned()),
            ..about("u/bob")
        };
        let rows = [
            ("do/chat", keeps.encode_to_vec(), Some(keeps)),
            ("do/read", read("u/bob", 1), Some(v1::Chat { read_seq: Some(1), ..about("u/bob") })),
            ("do/read", read("u/bob", 1), None),
            (
                "do/chat",
                v1::Chat { cleared_to_seq: Some(1), draft: Some(String::new()), ..about("u/bob") }
                    .encode_to_vec(),
                Some(v1::Chat { cleared_to_seq: Some(1), draft: Some(String::new()), ..about("u/bob") }),
            ),
        ];
        for (verb, payload, told) in rows {
            does(&mut phone, verb, &payload).await;
            match told {
                Some(told) => {
                    let event = event(&tablet.take().await).event;
                    assert_eq!(event, Some(v1::event::Event::Chat(told)), "{verb}");
                }
                None => tablet.nothing().await,
            }
            phone.nothing().await;
        }
        let mut asker = service.asker(version, "alice").await;
        let chats = all(&mut asker, 0).await;
        let kept = v1::Chat {
            muted_until_ms: Some(1_900_000_000_000),
            pinned: Some(true),
            cleared_to_seq: Some(1),
            read_seq: Some(1),
            ..about("u/bob")
        };
        assert_eq!((&chats[0].chat, &chats[0].last), (&Some(kept), &None), "what is cleared is not shown");
        let history =
            v1::History { conversation: "u/bob".to_owned(), request_id: 1, ..v1::History::default() };
        let history = asker.ask("do/history", &history.encode_to_vec()).await;
        assert_eq!((history.code(), history.messages.len()), (ErrorCode::Ok, 0));
        // It is hers: bob's side has all of it.
        let history =
            v1::History { conversation: "u/alice".to_owned(), request_id: 1, ..v1::History::default() };
        let mut bob = service.asker(version, "bob").await;
        assert_eq!(bob.ask("do/history", &history.encode_to_vec()).await.messages.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_kept_is_refused() {
    let service = Service::start().await;
    let mut alice = service.publisher(Version::V5, "alice").await;
    alice.tell("bob", "hello").await;
    let long = "x".repeat(DRAFT_MAX_BYTES + 1);
    let rows: [(&str, v1::Chat, &str); 7] = [
        ("nothing", about("u/bob"), "INVALID_PAYLOAD: "),
        ("no conversation", v1::Chat { pinned: Some(true), ..about("bob") }, "INVALID_PAYLOAD: "),
        ("what do/read says", v1::Chat { read_seq: Some(1), ..about("u/bob") }, "INVALID_PAYLOAD: "),
        ("a long draft", v1::Chat { draft: Some(long), ..about("u/bob") }, "TOO_LARGE: "),
        ("a message to come", v1::Chat { cleared_to_seq: Some(2), ..about("u/bob") }, "NO_SUCH_MESSAGE: "),
        ("a conversation to come", v1::Chat { pinned: Some(true), ..about("u/carol") }, "NO_SUCH_MESSAGE: "),
        ("somebody's group", v1::Chat { pinned: Some(true), ..about("g/hikers") }, "NO_SUCH_MESSAGE: "),
    ];
    make_group(&mut service.publisher(Version::V5, "bob").await, "hikers", &[]).await;
    for (what, chat, expected) in rows {
        let ack = alice.publish("do/chat", &chat.encode_to_vec()).await;
        let reason = reason_of(&ack).unwrap_or_default();
        assert!(reason.starts_with(expected), "{what}: {reason}");
    }
    let query = v1::Sync { after: b"nonsense".to_vec().into(), ..v1::Sync::default() };
    let ack = alice.publish("do/sync", &query.encode_to_vec()).await;
    assert!(reason_of(&ack).unwrap_or_default().starts_with("INVALID_PAYLOAD: after "));
}

#[tokio::test]
async fn counting_ends_somewhere() {
    let service = Service::start().await;
    let mut alice = service.asker(Version::V5, "alice").await;
    let mut bob = service.publisher(Version::V5, "bob").await;
    for _ in 0..UNREAD_MAX + 5 {
        bob.tell("alice", "again").await;
    }
    assert_eq!(unread(&all(&mut alice, 0).await), [("u/bob", UNREAD_MAX, 0)]);
    does(&mut alice, "do/read", &read("u/bob", 6)).await;
    assert_eq!(unread(&all(&mut alice, 0).await), [("u/bob", UNREAD_MAX - 1, 0)]);
}
