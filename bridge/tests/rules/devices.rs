//! A user's devices, as they ask for them: which there are, and the end of one.

use crate::support::*;
use chasqui_broker::codec::{Publish, ReasonCode, Version};
use chasqui_proto::v1::{self, ErrorCode};
use prost::Message as _;
use std::time::Duration;

async fn devices(client: &mut Client) -> Vec<(String, bool, u64)> {
    let reply = client.ask("do/devices", &v1::Devices { request_id: 1 }.encode_to_vec()).await;
    assert_eq!(reply.code(), ErrorCode::Ok);
    reply.devices.into_iter().map(|device| (device.device, device.connected, device.waiting)).collect()
}

fn remove(device: &str) -> Vec<u8> {
    v1::DeviceRemove { device: device.to_owned(), request_id: 1 }.encode_to_vec()
}

#[tokio::test]
async fn a_device_that_is_removed_has_no_session_any_more() {
    both(|version| async move {
        let mut service = Service::start().await;
        let mut asker = service.asker(version, "alice").await;
        let mut phone = service.device(version, "alice", "phone").await;
        service.device(version, "alice", "tablet").await.disconnect().await;
        let mut bob = service.publisher(version, "bob").await;
        bob.tell("alice", "one").await;
        phone.take().await;
        let expected = [("phone".to_owned(), true, 0), ("tablet".to_owned(), false, 1)];
        while devices(&mut asker).await != expected {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        for device in ["phone", "tablet"] {
            assert_eq!(asker.ask("do/device.remove", &remove(device)).await.code(), ErrorCode::Ok);
        }
        // Whoever was connected is told to go, at once.
        let code = phone.closed().await;
        assert_eq!(code, (version == Version::V5).then_some(ReasonCode::AdministrativeAction));
        assert!(devices(&mut asker).await.is_empty());
        service.power_cut(9).await;
        asker = service.asker(version, "alice").await;
        assert!(devices(&mut asker).await.is_empty());
        bob = service.publisher(version, "bob").await;
        bob.tell("alice", "two").await;
        // Who comes back is new: behind what some device had.
        let mut tablet = service.kept(version, "alice", "tablet").await;
        tablet.subscribe_once("u/alice/in").await;
        assert_eq!(text_of(&message(&tablet.take().await)), Some("two"));
    })
    .await;
}

#[tokio::test]
async fn only_devices_of_ones_own_are_removed() {
    let service = Service::start().await;
    let mut phone = service.device(Version::V5, "bob", "phone").await;
    let mut alice = service.publisher(Version::V5, "alice").await;
    for (device, expected) in
        [("phone", "INVALID_DEVICE: "), ("publisher", "INVALID_DEVICE: "), ("a b", "INVALID_PAYLOAD: ")]
    {
        let reason = reason_of(&alice.publish("do/device.remove", &remove(device)).await).unwrap_or_default();
        assert!(reason.starts_with(expected), "{device}: {reason}");
    }
    phone.nothing().await;
}

/// A device can remove itself: it is told to go, and is not there any more.
#[tokio::test]
async fn a_device_removes_itself() {
    let service = Service::start().await;
    let mut phone = service.device(Version::V5, "alice", "phone").await;
    let mut asker = service.asker(Version::V5, "alice").await;
    let payload = remove("phone");
    let out = chasqui_broker::codec::PublishOut {
        qos: chasqui_broker::codec::QoS::AtLeastOnce,
        ..chasqui_broker::codec::PublishOut::new("do/device.remove", &payload)
    };
    phone.send(out).await;
    assert_eq!(phone.closed().await, Some(ReasonCode::AdministrativeAction));
    while !devices(&mut asker).await.is_empty() {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

/// Puts the clock so far forward that sessions end which nobody is connected to, and waits for it.
async fn all_sessions_end(service: &Service, ended: u64) {
    service.clock.advance(Duration::from_hours(31 * 24));
    while service.server().broker().stats().sessions_expired.get() < ended {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The entry that says that a device's place in its log is forgotten.
fn is_cursor_lost(publish: &Publish) -> bool {
    matches!(event(publish).event, Some(v1::event::Event::CursorLost(lost)) if lost.at_ms > 0)
}

#[tokio::test]
async fn a_device_unseen_for_thirty_days_loses_its_cursor_and_is_told_so_on_return() {
    both(|version| async move {
        let mut service = Service::start().await;
        let mut phone = service.device(version, "alice", "phone").await;
        service.publisher(version, "bob").await.tell("alice", "one").await;
        phone.take().await;
        phone.disconnect().await;
        // The tablet is there all the time, and has what comes meanwhile.
        service.device(version, "alice", "tablet").await.disconnect().await;
        let mut asker = service.asker(version, "alice").await;
        all_sessions_end(&service, 2).await;
        while !devices(&mut asker).await.is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        service.publisher(version, "bob").await.tell("alice", "two").await;
        // It is remembered on the disk.
        service.power_cut(7).await;
        let mut phone = service.kept(version, "alice", "phone").await;
        assert!(!phone.connack.session_present);
        phone.subscribe_once("u/alice/in").await;
        assert_eq!(text_of(&message(&phone.take().await)), Some("two"), "nobody has it yet");
        assert!(is_cursor_lost(&phone.take().await));
        let reply = phone.publish("do/sync", &v1::Sync::default().encode_to_vec()).await;
        assert_eq!(reply.reason, ReasonCode::Success);
        phone.nothing().await;
        // It is said once: not to this one again, and to no other device.
        phone.disconnect().await;
        let mut phone = service.kept(version, "alice", "phone").await;
        assert!(phone.connack.session_present);
        phone.nothing().await;
        let mut laptop = service.device(version, "alice", "laptop").await;
        laptop.nothing().await;
        // The tablet was lost, too.
        let mut tablet = service.device(version, "alice", "tablet").await;
        assert!(is_cursor_lost(&tablet.take().await));
    })
    .await;
}

#[tokio::test]
async fn who_ends_a_session_themselves_is_told_nothing() {
    both(|version| async move {
        let service = Service::start().await;
        let mut asker = service.asker(version, "alice").await;
        for device in ["phone", "tablet"] {
            service.device(version, "alice", device).await.disconnect().await;
        }
        assert_eq!(asker.ask("do/device.remove", &remove("phone")).await.code(), ErrorCode::Ok);
        // A clean start ends the session that there was.
        service.connect(&user(version, "alice", "tablet")).await.disconnect().await;
        for device in ["phone", "tablet"] {
            service.device(version, "alice", device).await.nothing().await;
        }
        assert_eq!(service.server().broker().stats().sessions_expired.get(), 0);
    })
    .await;
}
