//! Packet ids of messages in flight: repeated after a clean stop, continued at a distance after an unclean one, so that a PUBACK for a
//! message from before is never taken for one from after.

use crate::support::*;
use chasqui_broker::codec::{Publish, Version};

const DISTANCE: u16 = 32_768;

fn id(publish: &Publish) -> u16 {
    publish.packet_id.expect("a message with QoS 1").get()
}

/// bob's phone has acknowledged the first of three messages, which is stored; the others are in flight.
async fn in_flight(service: &Service, version: Version) -> (Client, [Publish; 3]) {
    let mut alice = service.publisher(version, "alice").await;
    let mut watcher = service.watcher(version, "alice").await;
    let mut phone = service.device(version, "bob", "phone").await;
    for text in ["one", "two", "three"] {
        alice.tell("bob", text).await;
    }
    let sent = [phone.message().await, phone.message().await, phone.message().await];
    phone.ack(&sent[0]).await;
    // The receipt comes after the flush that holds the cursor.
    assert_eq!(receipt(&watcher.take().await).delivered, 1);
    (phone, sent)
}

/// The phone connects again.
async fn back(service: &Service, version: Version) -> Client {
    let phone = service.kept(version, "bob", "phone").await;
    assert!(phone.connack.session_present);
    phone
}

async fn assert_repeated(phone: &mut Client, sent: &[Publish; 3]) {
    for before in &sent[1..] {
        let again = phone.message().await;
        assert_eq!((id(&again), again.dup), (id(before), true));
        assert_eq!((&again.topic, &again.payload), (&before.topic, &before.payload));
    }
    phone.nothing().await;
}

#[tokio::test]
async fn after_a_lost_connection_ids_repeat() {
    both(|version| async move {
        let service = Service::start().await;
        let (phone, sent) = in_flight(&service, version).await;
        drop(phone);
        for _ in 0..2 {
            let mut phone = back(&service, version).await;
            assert_repeated(&mut phone, &sent).await;
        }
    })
    .await;
}

#[tokio::test]
async fn after_a_clean_stop_ids_repeat() {
    both(|version| async move {
        let mut service = Service::start().await;
        let (_phone, sent) = in_flight(&service, version).await;
        service.restart().await;
        let mut phone = back(&service, version).await;
        assert_repeated(&mut phone, &sent).await;
        // New messages go on behind them.
        service.publisher(version, "alice").await.tell("bob", "four").await;
        let four = phone.message().await;
        assert_eq!((id(&four), four.dup), (id(&sent[2]) + 1, false));
        for publish in sent[1..].iter().chain([&four]) {
            phone.ack(publish).await;
        }
        phone.nothing().await;
        phone.disconnect().await;
        back(&service, version).await.nothing().await;
    })
    .await;
}

#[tokio::test]
async fn after_a_power_cut_ids_continue_at_a_distance() {
    both(|version| async move {
        for seed in 0..4 {
            let mut service = Service::start().await;
            let (_phone, sent) = in_flight(&service, version).await;
            service.power_cut(seed).await;
            assert_at_a_distance(&service, version, &sent).await;
        }
    })
    .await;
}

#[tokio::test]
async fn after_a_kill_ids_continue_at_a_distance() {
    both(|version| async move {
        let mut service = Service::in_folder(dev()).await;
        let (_phone, sent) = in_flight(&service, version).await;
        service.kill().await;
        service.resume().await;
        assert_at_a_distance(&service, version, &sent).await;
    })
    .await;
}

async fn assert_at_a_distance(service: &Service, version: Version, sent: &[Publish; 3]) {
    let mut watcher = service.watcher(version, "alice").await;
    assert_eq!(receipt(&watcher.take().await).delivered, 1, "as a new subscription it gets what there is");
    let mut phone = back(service, version).await;
    let mut again = Vec::new();
    for (before, count) in sent[1..].iter().zip(1..) {
        let publish = phone.message().await;
        // The id stored with the cursor is the last that had been given out by then.
        assert_eq!((id(&publish), publish.dup), (id(&sent[2]) + DISTANCE + count, false));
        assert_eq!((&publish.topic, &publish.payload), (&before.topic, &before.payload));
        again.push(publish);
    }
    // A PUBACK that was on its way when the power went is for no message of now.
    phone.ack(&sent[1]).await;
    phone.ack(&sent[2]).await;
    phone.nothing().await;
    phone.disconnect().await;
    let mut phone = back(service, version).await;
    for before in &again {
        let publish = phone.message().await;
        assert_eq!((id(&publish), publish.dup), (id(before), true));
        phone.ack(&publish).await;
    }
    phone.nothing().await;
    while receipt(&watcher.take().await).delivered < 3 {}
}
