//! A cursor belongs to the session and the log, never to a filter: overlapping subscriptions deliver once, and UNSUBSCRIBE keeps it.

use crate::support::*;
use chasqui_broker::codec::{QoS, SubscriptionOptions, Version};

fn at(qos: QoS) -> SubscriptionOptions {
    SubscriptionOptions::qos(qos)
}

#[tokio::test]
async fn overlapping_subscriptions_deliver_once() {
    both(|version| async move {
        let service = Service::start().await;
        let mut alice = service.publisher(version, "alice").await;
        let mut phone = service.kept(version, "bob", "phone").await;
        let identifier = |number| (version == Version::V5).then_some(number);
        let all = |numbers: &[u32]| if version == Version::V5 { numbers.to_vec() } else { Vec::new() };
        let (low, high) = (QoS::AtMostOnce, QoS::AtLeastOnce);

        phone.subscribe_with(&[("u/bob/in", at(low))], identifier(7)).await;
        phone.subscribe_with(&[("json/u/bob/#", at(high))], identifier(9)).await;
        alice.tell("bob", "one").await;
        let (one, identifiers) = phone.message_with_ids().await;
        assert_eq!((&*one.topic, one.qos), ("json/u/bob/in", high), "{version:?}");
        assert_eq!((text_of(&message(&one)), identifiers), (Some("one"), all(&[7, 9])));
        phone.ack(&one).await;
        phone.nothing().await;

        // The encoding is that of the one subscribed last, which this now is; its QoS is not the highest.
        phone.subscribe_with(&[("u/bob/in", at(low))], identifier(8)).await;
        alice.tell("bob", "two").await;
        let (two, mut identifiers) = phone.message_with_ids().await;
        identifiers.sort_unstable();
        assert_eq!((&*two.topic, two.qos), ("u/bob/in", high), "{version:?}");
        assert_eq!((text_of(&message(&two)), identifiers), (Some("two"), all(&[8, 9])));
        phone.ack(&two).await;

        // A third one, and the first taken away.
        phone.subscribe_with(&[("u/bob/#", at(high))], identifier(11)).await;
        phone.unsubscribe(&["u/bob/in"]).await;
        alice.tell("bob", "three").await;
        let (three, mut identifiers) = phone.message_with_ids().await;
        identifiers.sort_unstable();
        assert_eq!((&*three.topic, three.qos), ("u/bob/in", high), "{version:?}");
        assert_eq!((text_of(&message(&three)), identifiers), (Some("three"), all(&[9, 11])));
        phone.ack(&three).await;
        phone.nothing().await;

        // The same after coming back.
        phone.disconnect().await;
        alice.tell("bob", "four").await;
        let mut phone = service.kept(version, "bob", "phone").await;
        let (four, mut identifiers) = phone.message_with_ids().await;
        identifiers.sort_unstable();
        assert_eq!((&*four.topic, four.qos), ("u/bob/in", high), "{version:?}");
        assert_eq!((text_of(&message(&four)), identifiers), (Some("four"), all(&[9, 11])));
        phone.nothing().await;
    })
    .await;
}

#[tokio::test]
async fn unsubscribing_keeps_the_cursor() {
    both(|version| async move {
        let mut service = Service::start().await;
        let mut phone = service.device(version, "bob", "phone").await;
        let mut alice = service.publisher(version, "alice").await;
        alice.tell("bob", "one").await;
        assert_eq!(text_of(&message(&phone.take().await)), Some("one"));
        phone.unsubscribe(&["u/bob/in"]).await;
        alice.tell("bob", "two").await;
        phone.nothing().await;
        // With another filter that covers it, too.
        phone.subscribe_once("u/bob/#").await;
        assert_eq!(text_of(&message(&phone.take().await)), Some("two"), "{version:?}");
        phone.nothing().await;
        phone.unsubscribe(&["u/bob/#"]).await;
        alice.tell("bob", "three").await;
        phone.disconnect().await;
        alice.tell("bob", "four").await;
        service.restart().await;
        let mut phone = service.kept(version, "bob", "phone").await;
        assert!(phone.connack.session_present);
        phone.nothing().await;
        phone.subscribe_once("u/bob/in").await;
        for text in ["three", "four"] {
            assert_eq!(text_of(&message(&phone.take().await)), Some(text), "{version:?}");
        }
        phone.nothing().await;
    })
    .await;
}

#[tokio::test]
async fn subscribing_again_repeats_nothing() {
    both(|version| async move {
        let service = Service::start().await;
        let mut alice = service.publisher(version, "alice").await;
        let mut phone = service.device(version, "bob", "phone").await;
        alice.tell("bob", "one").await;
        let one = phone.message().await;
        phone.subscribe_once("u/bob/in").await;
        phone.subscribe_once("json/u/bob/in").await;
        // It is in flight and stays so.
        phone.nothing().await;
        phone.ack(&one).await;
        alice.tell("bob", "two").await;
        assert_eq!(&*phone.take().await.topic, "json/u/bob/in");
        phone.nothing().await;
    })
    .await;
}
