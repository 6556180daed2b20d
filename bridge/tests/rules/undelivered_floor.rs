//! The undelivered floor: the end of what some device of a user has. New devices and clean starts begin there, and it outlives devices.

use crate::support::*;
use chasqui_broker::codec::{QoS, Version};

/// Starts with a session of one's own, and leaves nothing behind of the one that was there.
async fn start_clean(service: &Service, version: Version, client_id: &str) -> Client {
    if version == Version::V5 {
        let mut hello = user(version, "bob", client_id).kept();
        hello.0.clean_start = true;
        return service.connect(&hello).await;
    }
    // 3.1.1 ends a session only by connecting without one.
    service.connect(&user(version, "bob", client_id)).await.disconnect().await;
    service.kept(version, "bob", client_id).await
}

async fn expect(device: &mut Client, texts: &[&str]) {
    for text in texts {
        assert_eq!(text_of(&message(&device.take().await)), Some(*text));
    }
    device.nothing().await;
}

/// Takes so many messages and acknowledges the first of them.
async fn acknowledge(device: &mut Client, first: usize, of: usize) {
    for number in 0..of {
        let publish = device.message().await;
        if number < first {
            device.ack(&publish).await;
        }
    }
    // The answer to PINGREQ comes behind all that PUBACKs did.
    device.nothing().await;
}

async fn tell(alice: &mut Client, texts: &[&str]) {
    for text in texts {
        alice.tell("bob", text).await;
    }
}

#[tokio::test]
async fn passing_clients_are_no_devices() {
    both(|version| async move {
        let service = Service::start().await;
        let mut alice = service.publisher(version, "alice").await;
        let mut watcher = service.watcher(version, "alice").await;
        tell(&mut alice, &["one"]).await;
        // Publishes, without a session and with one.
        let mut passing = service.publisher(version, "bob").await;
        passing.tell("dave", "hello").await;
        passing.disconnect().await;
        let mut passing = service.kept(version, "bob", "sensor").await;
        passing.tell("dave", "hello").await;
        passing.disconnect().await;
        // Reads, with a session that ends with the connection: from the newest entry on.
        let mut reading = service.connect(&user(version, "bob", "reader")).await;
        reading.subscribe_once("u/bob/in").await;
        tell(&mut alice, &["two"]).await;
        let two = reading.take().await;
        assert_eq!((two.qos, text_of(&message(&two))), (QoS::AtLeastOnce, Some("two")), "{version:?}");
        reading.nothing().await;
        reading.disconnect().await;

        // Nobody has anything yet: the first device gets all of it, and only that tells alice so.
        let mut phone = service.device(version, "bob", "phone").await;
        for text in ["one", "two"] {
            let publish = phone.message().await;
            assert_eq!(text_of(&message(&publish)), Some(text), "{version:?}");
            watcher.nothing().await;
            phone.ack(&publish).await;
        }
        let told = receipt(&watcher.take().await);
        assert_eq!(told.conversation, "u/bob");
    })
    .await;
}

#[tokio::test]
async fn a_new_device_begins_at_the_floor() {
    both(|version| async move {
        let service = Service::start().await;
        let mut alice = service.publisher(version, "alice").await;
        let mut phone = service.device(version, "bob", "phone").await;
        tell(&mut alice, &["one", "two", "three"]).await;
        acknowledge(&mut phone, 2, 3).await;
        let mut tablet = service.device(version, "bob", "tablet").await;
        expect(&mut tablet, &["three"]).await;
        tell(&mut alice, &["four"]).await;
        expect(&mut tablet, &["four"]).await;
    })
    .await;
}

#[tokio::test]
async fn a_clean_start_begins_at_the_floor() {
    both(|version| async move {
        let service = Service::start().await;
        let mut alice = service.publisher(version, "alice").await;
        let mut phone = service.device(version, "bob", "phone").await;
        let mut tablet = service.device(version, "bob", "tablet").await;
        tell(&mut alice, &["one", "two", "three"]).await;
        acknowledge(&mut phone, 1, 3).await;
        acknowledge(&mut tablet, 2, 3).await;
        drop(phone);
        // The phone had one and the tablet two: a clean start goes on where the tablet is.
        let mut phone = start_clean(&service, version, "phone").await;
        assert!(!phone.connack.session_present);
        phone.subscribe_once("u/bob/in").await;
        expect(&mut phone, &["three"]).await;
        // And with a session the phone goes on where itself was.
        phone.disconnect().await;
        tell(&mut alice, &["four"]).await;
        let mut phone = service.kept(version, "bob", "phone").await;
        assert!(phone.connack.session_present);
        expect(&mut phone, &["four"]).await;
    })
    .await;
}

#[tokio::test]
async fn the_floor_outlives_devices() {
    both(|version| async move {
        let mut service = Service::start().await;
        let mut alice = service.publisher(version, "alice").await;
        let mut phone = service.device(version, "bob", "phone").await;
        tell(&mut alice, &["one", "two"]).await;
        expect(&mut phone, &["one", "two"]).await;
        phone.disconnect().await;
        start_clean(&service, version, "phone").await.disconnect().await;
        tell(&mut alice, &["three"]).await;
        let mut tablet = service.device(version, "bob", "tablet").await;
        expect(&mut tablet, &["three"]).await;
        tablet.disconnect().await;
        start_clean(&service, version, "tablet").await.disconnect().await;
        for seed in [1, 2] {
            service.restart().await;
            service.power_cut(seed).await;
        }
        let mut alice = service.publisher(version, "alice").await;
        tell(&mut alice, &["four"]).await;
        let mut laptop = service.device(version, "bob", "laptop").await;
        expect(&mut laptop, &["four"]).await;
    })
    .await;
}
