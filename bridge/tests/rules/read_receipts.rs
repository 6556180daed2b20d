//! `do/read` says how far a user has read; the other side is shown a mark that only grows.

use crate::support::*;
use chasqui_broker::codec::{ReasonCode, Version};
use chasqui_proto::v1;
use prost::Message as _;

/// The next receipt that says `read`.
async fn until_read(watcher: &mut Client, read: u64) -> v1::Receipt {
    loop {
        let receipt = receipt(&watcher.take().await);
        assert!(receipt.read <= read, "{receipt:?}");
        if receipt.read == read {
            return receipt;
        }
    }
}

async fn says_read(bob: &mut Client, up_to: u64) {
    let ack = bob.publish("do/read", &read("u/alice", up_to)).await;
    assert_eq!((ack.reason, seq_of(&ack)), (ReasonCode::Success, None));
}

#[tokio::test]
async fn the_mark_only_grows() {
    both(|version| async move {
        let mut service = Service::start().await;
        let mut alice = service.publisher(version, "alice").await;
        let mut watcher = service.watcher(version, "alice").await;
        for text in ["one", "two", "three"] {
            alice.tell("bob", text).await;
        }
        let mut bob = service.publisher(version, "bob").await;
        says_read(&mut bob, 2).await;
        let shown = until_read(&mut watcher, 2).await;
        assert_eq!((shown.conversation.as_str(), shown.delivered, shown.played), ("u/bob", 0, 0));
        assert!(shown.read_at_ms > 0);
        // The same again, and less, change nothing and are no mistakes.
        for up_to in [2, 1, 0] {
            says_read(&mut bob, up_to).await;
        }
        watcher.nothing().await;
        says_read(&mut bob, 3).await;
        let shown = until_read(&mut watcher, 3).await;
        // It survives what acknowledged things survive.
        service.power_cut(3).await;
        let mut watcher = service.watcher(version, "alice").await;
        assert_eq!(receipt(&watcher.take().await), shown, "{version:?}");
        let mut bob = service.publisher(version, "bob").await;
        says_read(&mut bob, 1).await;
        watcher.nothing().await;
    })
    .await;
}

#[tokio::test]
async fn delivered_and_read_are_marks_of_their_own() {
    both(|version| async move {
        let service = Service::start().await;
        let mut alice = service.publisher(version, "alice").await;
        let mut watcher = service.watcher(version, "alice").await;
        let mut phone = service.device(version, "bob", "phone").await;
        for text in ["one", "two"] {
            alice.tell("bob", text).await;
        }
        let one = phone.message().await;
        let two = phone.message().await;
        phone.publish("do/read", &read("u/alice", 2)).await;
        let shown = until_read(&mut watcher, 2).await;
        assert_eq!(shown.delivered, 0, "{version:?}: reading says nothing about delivery");
        phone.ack(&one).await;
        phone.ack(&two).await;
        loop {
            let shown = receipt(&watcher.take().await);
            assert_eq!(shown.read, 2, "{version:?}");
            if shown.delivered == 2 {
                break;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn json_twins_do_the_same() {
    both(|version| async move {
        let service = Service::start().await;
        let mut alice = service.publisher(version, "alice").await;
        let mut watcher = service.connect(&user(version, "alice", "watcher")).await;
        watcher.subscribe_once("json/u/alice/receipts/#").await;
        let said = br#"{"clientMsgId": "AAEC", "body": {"text": "hello"}, "replyTo": {"seq": "9"}}"#;
        let ack = alice.publish("json/u/bob/send", said).await;
        assert_eq!(ack.reason, ReasonCode::Success, "{version:?}");
        let mut bob = service.kept(version, "bob", "phone").await;
        bob.subscribe_once("json/u/bob/in").await;
        let publish = bob.take().await;
        assert_eq!(&*publish.topic, "json/u/bob/in");
        let json: serde_json::Value = serde_json::from_slice(&publish.payload).expect("JSON");
        assert_eq!(json["position"], "1");
        let message = &json["message"];
        assert_eq!(
            (&message["conversation"], &message["seq"], &message["body"]["text"]),
            (&"u/alice".into(), &"1".into(), &"hello".into())
        );
        assert_eq!(
            (&message["replyTo"]["seq"], &message["clientMsgId"]),
            (&"9".into(), &serde_json::Value::Null)
        );
        // The name as in the schema, and a number as a number, are taken too.
        for said in [
            &br#"{"conversation": "u/alice", "upToSeq": "1"}"#[..],
            br#"{"conversation": "u/alice", "up_to_seq": 1}"#,
        ] {
            assert_eq!(bob.publish("json/do/read", said).await.reason, ReasonCode::Success);
        }
        loop {
            let publish = watcher.take().await;
            assert_eq!(&*publish.topic, "json/u/alice/receipts/u/bob");
            let json: serde_json::Value = serde_json::from_slice(&publish.payload).expect("JSON");
            if json["read"] == "1" && json["delivered"] == "1" {
                break;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn what_is_not_there_cannot_be_read() {
    let version = Version::V5;
    let service = Service::start().await;
    let mut alice = service.publisher(version, "alice").await;
    alice.tell("bob", "one").await;
    let mut watcher = service.watcher(version, "alice").await;
    let mut bob = service.publisher(version, "bob").await;
    for (conversation, up_to) in [("u/alice", 2), ("u/carol", 1), ("u/nobody", 1)] {
        let ack = bob.publish("do/read", &read(conversation, up_to)).await;
        assert_eq!(ack.reason, ReasonCode::ImplementationSpecificError, "{conversation}");
        assert!(reason_of(&ack).expect("a reason").starts_with("NO_SUCH_MESSAGE: "));
    }
    watcher.nothing().await;
    // One's own messages are read by the other side, not by oneself: what alice reads is shown to bob.
    let mut bobs = service.watcher(version, "bob").await;
    alice.publish("do/read", &read("u/bob", 1)).await;
    watcher.nothing().await;
    assert_eq!(receipt(&bobs.take().await).conversation, "u/alice");
}

#[tokio::test]
async fn who_hides_what_they_read_neither_shows_nor_sees_it() {
    both(|version| async move {
        let mut service = Service::start().await;
        let mut alice = service.publisher(version, "alice").await;
        let mut watcher = service.watcher(version, "alice").await;
        let mut phone = service.device(version, "bob", "phone").await;
        let mut bob = service.publisher(version, "bob").await;
        let hide = |hides| v1::Settings { hide_read_receipts: Some(hides), ..v1::Settings::default() };
        for (who, hides) in [("bob", true), ("alice", true)] {
            let client = if who == "bob" { &mut bob } else { &mut alice };
            let ack = client.publish("do/settings", &hide(hides).encode_to_vec()).await;
            assert_eq!(ack.reason, ReasonCode::Success, "{who}");
        }
        // All of one's devices are told.
        let told = event(&phone.take().await).event;
        let all = v1::Settings { presence: Some(0), ..hide(true) };
        assert_eq!(told, Some(v1::event::Event::Settings(all)));
        for (shows, who) in [(false, "nobody"), (false, "bob"), (true, "both")] {
            if who == "bob" {
                bob.publish("do/settings", &hide(false).encode_to_vec()).await;
            }
            if who == "both" {
                service.power_cut(4).await;
                alice = service.publisher(version, "alice").await;
                bob = service.publisher(version, "bob").await;
                watcher = service.watcher(version, "alice").await;
                alice.publish("do/settings", &hide(false).encode_to_vec()).await;
            }
            alice.tell("bob", "hello").await;
            says_read(&mut bob, 1).await;
            if shows {
                until_read(&mut watcher, 1).await;
            } else {
                watcher.nothing().await;
            }
        }
    })
    .await;
}
