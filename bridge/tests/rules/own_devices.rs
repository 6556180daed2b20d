//! One's own messages: other devices get them like everyone's, with `client_msg_id`; the sending device hears its number in the PUBACK on
//! 5.0, and where that cannot carry it in an entry without the body.

use crate::support::*;
use chasqui_broker::codec::Version;
use chasqui_proto::v1;

const SEND: &str = "u/bob/send";

/// What alice's devices get of a message of her own.
fn assert_own(message: &v1::Message, text: Option<&str>, id: &[u8], seq: u64) {
    assert_eq!((message.conversation.as_str(), message.sender.as_str()), ("u/bob", "alice"));
    assert_eq!((message.seq, &*message.client_msg_id, text_of(message)), (seq, id, text));
    assert!(message.time_ms > 0);
}

#[tokio::test]
async fn other_devices_get_what_one_sent() {
    both(|version| async move {
        let service = Service::start().await;
        let mut phone = service.device(version, "alice", "phone").await;
        let mut tablet = service.device(version, "alice", "tablet").await;
        let mut bob = service.device(version, "bob", "phone").await;
        let (ack, mut echo) = phone.publish_and_take(SEND, &send("hello", b"my id")).await;
        echo.extend(phone.drain().await);
        assert_own(&message(&tablet.take().await), Some("hello"), b"my id", 1);
        tablet.nothing().await;
        // bob is not told alice's id for it.
        let received = message(&bob.take().await);
        assert_eq!((received.conversation.as_str(), text_of(&received)), ("u/alice", Some("hello")));
        assert!(received.client_msg_id.is_empty());
        match version {
            Version::V5 => {
                assert_eq!(seq_of(&ack), Some(1));
                assert!(echo.is_empty(), "{echo:?}");
            }
            Version::V311 => {
                let [echo] = &echo[..] else { panic!("one entry: {echo:?}") };
                assert_own(&message(echo), None, b"my id", 1);
            }
        }
    })
    .await;
}

#[tokio::test]
async fn with_one_device_on_5_0_there_is_no_entry() {
    let service = Service::start().await;
    let mut phone = service.device(Version::V5, "alice", "phone").await;
    assert_eq!(seq_of(&phone.publish(SEND, &send("hello", b"id")).await), Some(1));
    phone.nothing().await;
    // Positions show it: the next entry of the inbox is the first.
    service.publisher(Version::V5, "bob").await.tell("alice", "hello yourself").await;
    let entry = event(&phone.take().await);
    assert_eq!(entry.position, 1);
}

#[tokio::test]
async fn without_problem_information_the_device_gets_the_echo() {
    let service = Service::start().await;
    let mut hello = user(Version::V5, "alice", "phone").kept();
    hello.0.properties.request_problem_information = Some(false);
    let mut phone = service.connect(&hello).await;
    phone.subscribe_once("u/alice/in").await;
    for (text, seq) in [("hello", 1), (&*"a large one ".repeat(100), 2)] {
        let (ack, mut echo) = phone.publish_and_take(SEND, &send(text, &[seq as u8])).await;
        assert_eq!(ack.properties, None);
        echo.extend(phone.drain().await);
        let [echo] = &echo[..] else { panic!("one entry: {echo:?}") };
        assert_own(&message(echo), None, &[seq as u8], seq);
    }
}

#[tokio::test]
async fn a_device_that_only_sends_has_no_echo() {
    both(|version| async move {
        let service = Service::start().await;
        let mut tablet = service.device(version, "alice", "tablet").await;
        let mut sender = service.publisher(version, "alice").await;
        sender.publish(SEND, &send("hello", b"id")).await;
        sender.nothing().await;
        assert_own(&message(&tablet.take().await), Some("hello"), b"id", 1);
    })
    .await;
}

#[tokio::test]
async fn large_own_messages_come_with_their_id_too() {
    both(|version| async move {
        let service = Service::start().await;
        let mut tablet = service.device(version, "alice", "tablet").await;
        let mut phone = service.publisher(version, "alice").await;
        let text = "large ".repeat(1_000);
        phone.publish(SEND, &send(&text, b"id")).await;
        assert_own(&message(&tablet.take().await), Some(&text), b"id", 1);
    })
    .await;
}

#[tokio::test]
async fn notes_to_oneself_reach_all_ones_devices() {
    both(|version| async move {
        let service = Service::start().await;
        let mut phone = service.device(version, "alice", "phone").await;
        let mut watcher = service.watcher(version, "alice").await;
        let (ack, mut echo) = phone.publish_and_take("u/alice/send", &send("buy milk", b"id")).await;
        echo.extend(phone.drain().await);
        assert_eq!(echo.len(), usize::from(version == Version::V311), "{version:?}");
        if version == Version::V5 {
            assert_eq!(seq_of(&ack), Some(1));
        }
        let mut tablet = service.device(version, "alice", "tablet").await;
        service.publisher(version, "alice").await.publish("u/alice/send", &send("and bread", b"2")).await;
        // The tablet begins at the floor, behind the first note: the phone has it, by its echo or because it sent it.
        let note = message(&tablet.take().await);
        assert_eq!((note.seq, text_of(&note), &*note.client_msg_id), (2, Some("and bread"), &b"2"[..]));
        // Nobody is told that one has read or got one's own notes.
        tablet.nothing().await;
        watcher.nothing().await;
    })
    .await;
}
