//! *Delivered* is a contiguous prefix: of what each device acknowledged, and of it all, the furthest that one device is.
//!
//! What did not happen is shown by what comes behind it: a third user's receipt, caused later, arrives first.

use crate::support::*;
use chasqui_broker::codec::{Publish, QoS, ReasonCode, Version};
use chasqui_proto::v1;

/// alice, who sends and watches her receipts, and carol, whose receipts show that all before them have been sent.
struct Stage {
    service: Service,
    alice: Client,
    watcher: Client,
    carol: Client,
    carols: u64,
}

impl Stage {
    async fn set(version: Version) -> Stage {
        let service = Service::start().await;
        let alice = service.publisher(version, "alice").await;
        let watcher = service.watcher(version, "alice").await;
        let carol = service.device(version, "carol", "phone").await;
        Stage { service, alice, watcher, carol, carols: 0 }
    }

    /// bob's device with all it is sent of `texts`, none acknowledged.
    async fn receives(device: &mut Client, texts: &[&str]) -> Vec<Publish> {
        let mut received = Vec::new();
        for text in texts {
            let publish = device.message().await;
            assert_eq!(text_of(&message(&publish)), Some(*text));
            received.push(publish);
        }
        received
    }

    /// The receipts that what was acknowledged so far on `devices` has caused.
    async fn receipts(&mut self, devices: &mut [&mut Client]) -> Vec<v1::Receipt> {
        for device in devices {
            // The answer to PINGREQ comes behind all that PUBACKs did.
            device.nothing().await;
        }
        self.alice.tell("carol", "and you?").await;
        self.carol.take().await;
        self.carols += 1;
        let mut receipts = Vec::new();
        loop {
            let receipt = receipt(&self.watcher.take().await);
            if receipt.conversation == "u/carol" && receipt.delivered == self.carols {
                return receipts;
            }
            receipts.push(receipt);
        }
    }

    /// How far bob is by the receipts since last asked, if there were any.
    async fn delivered(&mut self, devices: &mut [&mut Client]) -> Option<u64> {
        let receipts = self.receipts(devices).await;
        assert!(receipts.iter().all(|receipt| receipt.conversation == "u/bob"), "{receipts:?}");
        assert!(receipts.is_sorted_by_key(|receipt| receipt.delivered), "{receipts:?}");
        receipts.last().map(|receipt| receipt.delivered)
    }
}

#[tokio::test]
async fn nothing_is_delivered_while_a_puback_is_withheld() {
    both(|version| async move {
        let mut stage = Stage::set(version).await;
        let mut phone = stage.service.device(version, "bob", "phone").await;
        stage.alice.tell("bob", "one").await;
        let one = phone.message().await;
        assert_eq!(stage.delivered(&mut [&mut phone]).await, None, "{version:?}");
        phone.ack(&one).await;
        assert_eq!(stage.delivered(&mut [&mut phone]).await, Some(1), "{version:?}");
    })
    .await;
}

#[tokio::test]
async fn a_device_delivers_what_it_acknowledged_without_a_hole() {
    both(|version| async move {
        let mut stage = Stage::set(version).await;
        let mut phone = stage.service.device(version, "bob", "phone").await;
        for text in ["one", "two", "three"] {
            stage.alice.tell("bob", text).await;
        }
        let received = Stage::receives(&mut phone, &["one", "two", "three"]).await;
        phone.ack(&received[0]).await;
        phone.ack(&received[2]).await;
        assert_eq!(stage.delivered(&mut [&mut phone]).await, Some(1), "{version:?}: two is missing");
        phone.ack(&received[1]).await;
        assert_eq!(stage.delivered(&mut [&mut phone]).await, Some(3), "{version:?}");
    })
    .await;
}

#[tokio::test]
async fn what_was_acknowledged_behind_a_hole_counts_when_a_later_connection_fills_it() {
    both(|version| async move {
        let mut stage = Stage::set(version).await;
        let mut phone = stage.service.device(version, "bob", "phone").await;
        for text in ["one", "two", "three"] {
            stage.alice.tell("bob", text).await;
        }
        let received = Stage::receives(&mut phone, &["one", "two", "three"]).await;
        phone.ack(&received[2]).await;
        assert_eq!(stage.delivered(&mut [&mut phone]).await, None, "{version:?}: one and two are missing");
        phone.disconnect().await;
        let mut phone = stage.service.kept(version, "bob", "phone").await;
        for publish in Stage::receives(&mut phone, &["one", "two"]).await {
            phone.ack(&publish).await;
        }
        assert_eq!(stage.delivered(&mut [&mut phone]).await, Some(3), "{version:?}");
    })
    .await;
}

#[tokio::test]
async fn devices_do_not_fill_each_others_holes() {
    both(|version| async move {
        let mut stage = Stage::set(version).await;
        let mut phone = stage.service.device(version, "bob", "phone").await;
        let mut tablet = stage.service.device(version, "bob", "tablet").await;
        for text in ["one", "two", "three"] {
            stage.alice.tell("bob", text).await;
        }
        let on_phone = Stage::receives(&mut phone, &["one", "two", "three"]).await;
        let on_tablet = Stage::receives(&mut tablet, &["one", "two", "three"]).await;
        phone.ack(&on_phone[0]).await;
        phone.ack(&on_phone[2]).await;
        assert_eq!(stage.delivered(&mut [&mut phone, &mut tablet]).await, Some(1), "{version:?}");
        // Two is on the tablet now, but the tablet's own prefix is empty and the phone's ends at one.
        tablet.ack(&on_tablet[1]).await;
        assert_eq!(stage.delivered(&mut [&mut phone, &mut tablet]).await, None, "{version:?}");
        tablet.ack(&on_tablet[0]).await;
        assert_eq!(stage.delivered(&mut [&mut phone, &mut tablet]).await, Some(2), "{version:?}");
        phone.ack(&on_phone[1]).await;
        assert_eq!(stage.delivered(&mut [&mut phone, &mut tablet]).await, Some(3), "{version:?}");
        tablet.ack(&on_tablet[2]).await;
        assert_eq!(stage.delivered(&mut [&mut phone, &mut tablet]).await, None, "{version:?}: nothing new");
    })
    .await;
}

#[tokio::test]
async fn a_subscription_with_qos_0_delivers_nothing() {
    both(|version| async move {
        let mut stage = Stage::set(version).await;
        let mut phone = stage.service.kept(version, "bob", "phone").await;
        assert_eq!(phone.subscribe(&[("u/bob/in", QoS::AtMostOnce)]).await, [ReasonCode::Success]);
        stage.alice.tell("bob", "one").await;
        let one = phone.take().await;
        assert_eq!((one.qos, text_of(&message(&one))), (QoS::AtMostOnce, Some("one")));
        assert_eq!(stage.delivered(&mut [&mut phone]).await, None, "{version:?}");
        // Nobody has it, so whoever becomes a device gets it.
        let mut tablet = stage.service.device(version, "bob", "tablet").await;
        assert_eq!(text_of(&message(&tablet.take().await)), Some("one"));
        assert_eq!(stage.delivered(&mut [&mut phone, &mut tablet]).await, Some(1), "{version:?}");
    })
    .await;
}

#[tokio::test]
async fn each_sender_is_told_of_their_own_messages() {
    both(|version| async move {
        let mut stage = Stage::set(version).await;
        let mut dave = stage.service.publisher(version, "dave").await;
        let mut daves = stage.service.watcher(version, "dave").await;
        let mut phone = stage.service.device(version, "bob", "phone").await;
        stage.alice.tell("bob", "from alice").await;
        dave.tell("bob", "from dave").await;
        stage.alice.tell("bob", "again").await;
        let received = Stage::receives(&mut phone, &["from alice", "from dave", "again"]).await;
        phone.ack(&received[0]).await;
        phone.ack(&received[1]).await;
        let told = receipt(&daves.take().await);
        assert_eq!((told.conversation.as_str(), told.delivered), ("u/bob", 1), "{version:?}");
        assert_eq!(stage.delivered(&mut [&mut phone]).await, Some(1), "{version:?}");
        phone.ack(&received[2]).await;
        assert_eq!(stage.delivered(&mut [&mut phone]).await, Some(2), "{version:?}");
        daves.nothing().await;
    })
    .await;
}
