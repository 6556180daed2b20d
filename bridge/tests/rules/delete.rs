//! Deleting: for everyone, so that nothing of it is to be read any more, and for oneself, on all one's devices.

use crate::support::*;
use chasqui_broker::codec::Version;
use chasqui_proto::limits::DELETE_WINDOW_MS;
use chasqui_proto::v1;
use prost::Message as _;
use std::time::Duration;

fn delete(conversation: &str, seq: u64, for_everyone: bool) -> Vec<u8> {
    v1::Delete { conversation: conversation.to_owned(), seq, for_everyone, request_id: 0 }.encode_to_vec()
}

fn edit(conversation: &str, seq: u64, text: &str) -> Vec<u8> {
    let body = Some(v1::Body { kind: Some(v1::body::Kind::Text(text.to_owned())) });
    v1::Edit { conversation: conversation.to_owned(), seq, body, ..v1::Edit::default() }.encode_to_vec()
}

/// The number of the message that an entry says is gone.
fn gone(publish: &chasqui_broker::codec::Publish) -> u64 {
    match event(publish).event {
        Some(v1::event::Event::Gone(gone)) => gone.seq,
        other => panic!("it is to be gone: {other:?}"),
    }
}

#[tokio::test]
async fn nobody_reads_what_was_deleted_for_everyone() {
    both(|version| async move {
        let mut service = Service::start().await;
        let secret = "the secret ".repeat(50);
        // Four messages of the conversation in each round.
        for (first, text) in [(1, "the secret"), (5, &*secret)] {
            service.device(version, "bob", "away").await.disconnect().await;
            let mut alice = service.asker(version, "alice").await;
            alice.tell("bob", text).await;
            does(&mut alice, "do/edit", &edit("u/bob", first, &format!("{text}!"))).await;
            alice.tell("bob", "harmless").await;
            does(&mut alice, "do/delete", &delete("u/bob", first, true)).await;
            service.power_cut(7).await;
            alice = service.asker(version, "alice").await;
            let mut bob = service.asker(version, "bob").await;
            let mut away = service.kept(version, "bob", "away").await;
            assert_eq!(gone(&away.take().await), first);
            assert_eq!(gone(&away.take().await), first + 1, "its edit, too");
            assert_eq!(text_of(&message(&away.take().await)), Some("harmless"));
            assert_eq!(message(&away.take().await).deletion, Some(v1::Deletion { seq: first }));
            away.nothing().await;
            away.disconnect().await;
            for (client, conversation) in [(&mut alice, "u/bob"), (&mut bob, "u/alice")] {
                let page = history(client, conversation).await;
                let page = &page[first as usize - 1..];
                assert!(page[0].gone && page[0].body.is_none() && page[0].sender == "alice");
                assert!(page[1].gone && page[1].edit.as_ref().is_some_and(|edit| edit.body.is_none()));
                assert_eq!((text_of(&page[2]), page[2].gone), (Some("harmless"), false));
                assert_eq!(page[3].deletion, Some(v1::Deletion { seq: first }));
            }
            // What is gone is not counted, and nothing can be done to it.
            let sync = v1::Sync { request_id: 1, ..v1::Sync::default() };
            let chats = bob.ask("do/sync", &sync.encode_to_vec()).await.chats;
            assert_eq!(chats[0].unread, u32::try_from(first).unwrap().div_ceil(4));
            if version == Version::V5 {
                let conversation = "u/alice".to_owned();
                let react = v1::React { conversation, seq: first, ..v1::React::default() };
                let ack = bob.publish("do/react", &react.encode_to_vec()).await;
                assert!(reason_of(&ack).unwrap_or_default().starts_with("NO_SUCH_MESSAGE: "));
            }
            // A retry is answered as the first.
            does(&mut alice, "do/delete", &delete("u/bob", first, true)).await;
        }
    })
    .await;
}

/// What waits in the server for a connection that takes no more is taken back as well.
#[tokio::test]
async fn what_waits_for_the_window_of_a_live_connection_is_taken_back() {
    both(|version| async move {
        let service = Service::start().await;
        let mut alice = service.publisher(version, "alice").await;
        let mut bob = service.device(version, "bob", "phone").await;
        let window = 140;
        for number in 1..=window {
            alice.tell("bob", &format!("secret {number}")).await;
        }
        does(&mut alice, "do/delete", &delete("u/bob", window, true)).await;
        let taken = bob.drain_all().await;
        let shown: Vec<String> = taken.iter().map(|publish| format!("{:?}", event(publish))).collect();
        assert_eq!(shown.len() as u64, window + 1);
        assert!(shown[window as usize - 1].contains("Gone"), "{}", shown[window as usize - 1]);
        assert!(!shown.iter().any(|event| event.contains(&format!("\"secret {window}\""))));
    })
    .await;
}

#[tokio::test]
async fn an_admin_deletes_what_members_say_in_a_group() {
    both(|version| async move {
        let service = Service::start().await;
        let mut away = service.device(version, "carol", "phone").await;
        away.disconnect().await;
        let mut alice = service.publisher(version, "alice").await;
        let mut bob = service.publisher(version, "bob").await;
        let create = v1::GroupCreate {
            group: "hikers".to_owned(),
            name: "Hikers".to_owned(),
            members: vec!["bob".to_owned(), "carol".to_owned()],
            ..v1::GroupCreate::default()
        };
        does(&mut alice, "do/group.create", &create.encode_to_vec()).await;
        does(&mut bob, "g/hikers/send", &says("rude")).await;
        does(&mut alice, "g/hikers/send", &says("well")).await;
        if version == Version::V5 {
            let ack = bob.publish("do/delete", &delete("g/hikers", 3, true)).await;
            assert!(reason_of(&ack).unwrap_or_default().starts_with("FORBIDDEN: "));
        }
        does(&mut alice, "do/delete", &delete("g/hikers", 2, true)).await;
        away = service.kept(version, "carol", "phone").await;
        assert!(message(&away.take().await).change.is_some());
        assert_eq!(gone(&away.take().await), 2);
        assert_eq!(text_of(&message(&away.take().await)), Some("well"));
        let deleted = message(&away.take().await);
        assert_eq!((deleted.sender.as_str(), deleted.deletion), ("alice", Some(v1::Deletion { seq: 2 })));
    })
    .await;
}

#[tokio::test]
async fn after_two_days_it_stays() {
    let service = Service::start().await;
    let mut alice = service.publisher(Version::V5, "alice").await;
    alice.tell("bob", "for ever").await;
    service.clock.advance(Duration::from_millis(DELETE_WINDOW_MS + 1_000));
    let ack = alice.publish("do/delete", &delete("u/bob", 1, true)).await;
    assert!(reason_of(&ack).unwrap_or_default().starts_with("FORBIDDEN: a message can be deleted"));
    does(&mut alice, "do/delete", &delete("u/bob", 1, false)).await;
}

#[tokio::test]
async fn what_one_deletes_for_oneself_the_other_side_keeps() {
    both(|version| async move {
        let service = Service::start().await;
        let mut phone = service.device(version, "alice", "phone").await;
        let mut tablet = service.device(version, "alice", "tablet").await;
        let mut bob = service.asker(version, "bob").await;
        for text in ["one", "two", "three"] {
            bob.tell("alice", text).await;
            phone.take().await;
            tablet.take().await;
        }
        for seq in [3, 1] {
            does(&mut phone, "do/delete", &delete("u/bob", seq, false)).await;
            let told =
                v1::Delete { conversation: "u/bob".to_owned(), seq, for_everyone: false, request_id: 0 };
            assert_eq!(event(&tablet.take().await).event, Some(v1::event::Event::Delete(told)));
            phone.nothing().await;
        }
        // What is away is away: again is success, and news to nobody.
        does(&mut phone, "do/delete", &delete("u/bob", 1, false)).await;
        tablet.nothing().await;
        let mut alice = service.asker(version, "alice").await;
        let page = history(&mut alice, "u/bob").await;
        assert_eq!(page.iter().map(|message| message.seq).collect::<Vec<_>>(), [2]);
        assert_eq!(history(&mut bob, "u/alice").await.len(), 3);
        let sync = v1::Sync { request_id: 1, ..v1::Sync::default() };
        let chats = alice.ask("do/sync", &sync.encode_to_vec()).await.chats;
        assert_eq!((chats[0].unread, chats[0].last.as_ref().unwrap().seq), (1, 2));
    })
    .await;
}

#[tokio::test]
async fn a_pinned_message_is_told_to_both_sides() {
    both(|version| async move {
        let service = Service::start().await;
        let mut alice = service.publisher(version, "alice").await;
        let mut bob = service.device(version, "bob", "phone").await;
        alice.tell("bob", "our address").await;
        let pin = v1::PinMessage { conversation: "u/bob".to_owned(), seq: 1, pinned: true, request_id: 0 };
        does(&mut alice, "do/pin", &pin.encode_to_vec()).await;
        assert_eq!(text_of(&message(&bob.take().await)), Some("our address"));
        let pinned = message(&bob.take().await);
        assert_eq!((pinned.seq, pinned.pin), (2, Some(v1::Pin { seq: 1, pinned: true })));
    })
    .await;
}
