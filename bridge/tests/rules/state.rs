//! State with a cursor, shown on receipts: a new subscription gets all values with RETAIN 1; live and resumed ones what changed, with
//! RETAIN 0, the latest value of each topic once.

use crate::support::*;
use chasqui_broker::codec::{Publish, Version};

const RECEIPTS: &str = "u/alice/receipts/#";

/// So many messages from alice to `name`, each acknowledged by their device.
async fn deliver(alice: &mut Client, device: &mut Client, name: &str, count: usize) {
    for _ in 0..count {
        alice.tell(name, "hello").await;
        device.take().await;
    }
    device.nothing().await;
}

/// Topic, how far delivered, and RETAIN.
fn seen(publish: &Publish) -> (String, u64, bool) {
    (publish.topic.as_str().to_owned(), receipt(publish).delivered, publish.retain)
}

fn of(name: &str, delivered: u64, retain: bool) -> (String, u64, bool) {
    (format!("u/alice/receipts/u/{name}"), delivered, retain)
}

/// The value that says `delivered` of this user; values may be conflated on the way there.
async fn until(watcher: &mut Client, name: &str, delivered: u64) -> Publish {
    loop {
        let publish = watcher.take().await;
        if seen(&publish).1 == delivered && publish.topic.ends_with(name) {
            return publish;
        }
    }
}

#[tokio::test]
async fn retain_is_1_for_new_subscriptions_only() {
    both(|version| async move {
        let service = Service::start().await;
        let mut alice = service.publisher(version, "alice").await;
        let mut bob = service.device(version, "bob", "phone").await;
        let mut carol = service.device(version, "carol", "phone").await;
        let mut first = service.watcher(version, "alice").await;
        deliver(&mut alice, &mut bob, "bob", 2).await;
        deliver(&mut alice, &mut carol, "carol", 1).await;
        assert_eq!(seen(&until(&mut first, "carol", 1).await), of("carol", 1, false), "{version:?}: live");

        // New: all there is.
        let mut phone = service.kept(version, "alice", "phone").await;
        phone.subscribe_once(RECEIPTS).await;
        let mut all = [seen(&phone.take().await), seen(&phone.take().await)];
        all.sort();
        assert_eq!(all, [of("bob", 2, true), of("carol", 1, true)], "{version:?}");
        phone.nothing().await;

        // Live.
        deliver(&mut alice, &mut bob, "bob", 1).await;
        assert_eq!(seen(&phone.take().await), of("bob", 3, false), "{version:?}");

        // A subscription that is there is not a new one: its cursor goes on.
        phone.subscribe_once(RECEIPTS).await;
        phone.nothing().await;

        // Resumed: what changed meanwhile, once, whether or not it is repeated.
        phone.disconnect().await;
        deliver(&mut alice, &mut bob, "bob", 3).await;
        until(&mut first, "bob", 6).await;
        let mut phone = service.kept(version, "alice", "phone").await;
        assert_eq!(seen(&phone.take().await), of("bob", 6, false), "{version:?}");
        phone.subscribe_once(RECEIPTS).await;
        phone.nothing().await;

        // Taken away and made again it is new.
        phone.unsubscribe(&[RECEIPTS]).await;
        phone.subscribe_once(RECEIPTS).await;
        let mut all = [seen(&phone.take().await), seen(&phone.take().await)];
        all.sort();
        assert_eq!(all, [of("bob", 6, true), of("carol", 1, true)], "{version:?}");
        phone.nothing().await;
    })
    .await;
}

#[tokio::test]
async fn after_an_absence_there_is_one_value_for_each_topic() {
    both(|version| async move {
        let mut service = Service::start().await;
        let mut alice = service.publisher(version, "alice").await;
        let mut phone = service.kept(version, "alice", "phone").await;
        phone.subscribe_once(RECEIPTS).await;
        phone.disconnect().await;
        let mut watcher = service.watcher(version, "alice").await;
        let mut bob = service.device(version, "bob", "phone").await;
        let mut carol = service.device(version, "carol", "phone").await;
        for _ in 0..3 {
            deliver(&mut alice, &mut bob, "bob", 2).await;
            deliver(&mut alice, &mut carol, "carol", 1).await;
        }
        until(&mut watcher, "carol", 3).await;
        service.restart().await;
        let mut phone = service.kept(version, "alice", "phone").await;
        assert_eq!(seen(&phone.take().await), of("bob", 6, false), "{version:?}");
        assert_eq!(seen(&phone.take().await), of("carol", 3, false), "{version:?}");
        phone.nothing().await;
        // And once only.
        phone.disconnect().await;
        let mut phone = service.kept(version, "alice", "phone").await;
        phone.nothing().await;
    })
    .await;
}

#[tokio::test]
async fn a_value_in_flight_is_replaced_by_a_newer_one_under_a_new_packet_id() {
    both(|version| async move {
        let service = Service::start().await;
        let mut alice = service.publisher(version, "alice").await;
        let mut bob = service.device(version, "bob", "phone").await;
        let mut hello = user(version, "alice", "phone").kept();
        hello.0.properties.receive_maximum = (version == Version::V5).then_some(2);
        let mut phone = service.connect(&hello).await;
        phone.subscribe_once(RECEIPTS).await;
        let mut in_flight: Vec<Publish> = Vec::new();
        // Each takes the place of the one before, and counts against the window until it is acknowledged all the same: a client that
        // takes two at once gets no third one [MQTT-3.3.4-9].
        let room = if version == Version::V5 { 2 } else { 4 };
        for delivered in 1..=4 {
            deliver(&mut alice, &mut bob, "bob", 1).await;
            if delivered > room {
                phone.nothing().await;
                continue;
            }
            let publish = phone.message().await;
            assert_eq!(seen(&publish), of("bob", delivered, false), "{version:?}");
            assert!(!publish.dup && in_flight.iter().all(|before| before.packet_id != publish.packet_id));
            in_flight.push(publish);
        }
        // A PUBACK for a value that was replaced makes room and is for nothing else; the last one counts.
        let mut acknowledged = 0;
        while seen(&in_flight[in_flight.len() - 1]) != of("bob", 4, false) {
            phone.ack(&in_flight[acknowledged]).await;
            acknowledged += 1;
            in_flight.push(phone.message().await);
        }
        let last = in_flight.len() - 1;
        for publish in &in_flight[acknowledged..last] {
            phone.ack(publish).await;
        }
        phone.nothing().await;
        phone.disconnect().await;
        let mut phone = service.connect(&hello).await;
        let again = phone.message().await;
        assert_eq!((seen(&again), again.dup), (of("bob", 4, false), true), "{version:?}");
        assert_eq!(again.packet_id, in_flight[last].packet_id);
        phone.ack(&again).await;
        phone.nothing().await;
        phone.disconnect().await;
        service.connect(&hello).await.nothing().await;
    })
    .await;
}

#[tokio::test]
async fn the_json_twin_carries_the_same_values() {
    both(|version| async move {
        let service = Service::start().await;
        let mut alice = service.publisher(version, "alice").await;
        let mut bob = service.device(version, "bob", "phone").await;
        deliver(&mut alice, &mut bob, "bob", 1).await;
        let mut watcher = service.watcher(version, "alice").await;
        let mut value = receipt(&watcher.take().await);
        while value.delivered == 0 {
            value = receipt(&watcher.take().await);
        }
        let mut phone = service.kept(version, "alice", "phone").await;
        phone.subscribe_once("json/u/alice/receipts/u/bob").await;
        let publish = phone.take().await;
        assert_eq!((&*publish.topic, publish.retain), ("json/u/alice/receipts/u/bob", true));
        assert_eq!(receipt(&publish), value, "{version:?}");
        phone.nothing().await;
    })
    .await;
}
