//! Messages that a user has marked, to find them again.

use crate::support::*;
use chasqui_proto::v1::{self, ErrorCode};
use prost::Message as _;

fn star(conversation: &str, seq: u64, starred: bool) -> Vec<u8> {
    v1::Star { conversation: conversation.to_owned(), seq, starred, request_id: 0 }.encode_to_vec()
}

/// All marked messages, asked for by pages of `limit`.
async fn starred(client: &mut Client, limit: u32) -> Vec<(String, u64)> {
    let (mut found, mut after) = (Vec::new(), bytes::Bytes::new());
    loop {
        let query = v1::Starred { after: after.clone(), limit, request_id: 1 };
        let reply = client.ask("do/starred", &query.encode_to_vec()).await;
        assert_eq!((reply.code(), reply.more), (ErrorCode::Ok, !reply.next.is_empty()));
        assert!(limit == 0 || reply.messages.len() <= limit as usize);
        assert!(reply.messages.iter().all(|message| text_of(message).is_some()));
        found.extend(reply.messages.into_iter().map(|message| (message.conversation, message.seq)));
        if reply.next.is_empty() {
            return found;
        }
        after = reply.next;
    }
}

#[tokio::test]
async fn what_is_marked_is_found_again_by_page() {
    both(|version| async move {
        let mut service = Service::start().await;
        let mut tablet = service.device(version, "alice", "tablet").await;
        let mut alice = service.asker(version, "alice").await;
        for peer in ["bob", "carol"] {
            for _ in 0..4 {
                alice.tell(peer, "hello").await;
            }
        }
        tablet.drain_all().await;
        for (conversation, seq) in [("u/carol", 2), ("u/bob", 4), ("u/bob", 1), ("u/bob", 3)] {
            does(&mut alice, "do/star", &star(conversation, seq, true)).await;
        }
        does(&mut alice, "do/star", &star("u/bob", 3, false)).await;
        let told: Vec<_> = tablet.drain_all().await.iter().map(|entry| event(entry).event).collect();
        let last = v1::Star { conversation: "u/bob".to_owned(), seq: 3, starred: false, request_id: 0 };
        assert_eq!((told.len(), told[4].clone()), (5, Some(v1::event::Event::Star(last))));
        service.power_cut(2).await;
        alice = service.asker(version, "alice").await;
        let expected = [("u/bob", 1), ("u/bob", 4), ("u/carol", 2)];
        let expected = expected.map(|(conversation, seq)| (conversation.to_owned(), seq));
        for limit in [0, 1, 2, 3, 100] {
            assert_eq!(starred(&mut alice, limit).await, expected, "by {limit}");
        }
        // What one does not see any more is not found, whatever is marked.
        let hide =
            v1::Delete { conversation: "u/bob".to_owned(), seq: 1, for_everyone: false, request_id: 0 };
        does(&mut alice, "do/delete", &hide.encode_to_vec()).await;
        let gone = v1::Delete { seq: 4, for_everyone: true, ..hide };
        does(&mut alice, "do/delete", &gone.encode_to_vec()).await;
        assert_eq!(starred(&mut alice, 1).await, expected[2..]);
        let clear =
            v1::Chat { conversation: "u/carol".to_owned(), cleared_to_seq: Some(2), ..v1::Chat::default() };
        does(&mut alice, "do/chat", &clear.encode_to_vec()).await;
        assert!(starred(&mut alice, 1).await.is_empty());
        assert!(starred(&mut service.asker(version, "bob").await, 0).await.is_empty(), "they are hers");
    })
    .await;
}
