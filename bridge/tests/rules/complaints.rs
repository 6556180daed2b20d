//! What users of other brokers lost messages to, on the store that keeps them: stops, SIGKILL and power cuts in between. The same
//! reports without a restart are in `broker/tests/complaints.rs`.

use crate::support::*;
use chasqui_broker::codec::{QoS, ReasonCode, Version};
use std::time::Duration;

/// The texts of what comes, until nothing more does.
async fn texts(device: &mut Client) -> Vec<String> {
    let mut texts = Vec::new();
    loop {
        let taken = device.drain().await;
        if taken.is_empty() {
            return texts;
        }
        texts.extend(taken.iter().map(|publish| {
            if &*publish.topic == "u/bob/in" {
                text_of(&message(publish)).expect("a text").to_owned()
            } else {
                String::from_utf8(publish.payload.to_vec()).expect("a text")
            }
        }));
    }
}

/// What was acknowledged for an offline subscriber was dropped when its queue was full, and what had not been saved was lost with the
/// process. Here what was acknowledged is there, on generic topics and in an inbox, whatever the process and the power did.
#[tokio::test]
async fn acknowledged_then_silently_dropped_mosquitto_3687() {
    const MESSAGES: usize = 300;
    both(|version| async move {
        let mut service = Service::start().await;
        let mut phone = service.device(version, "bob", "phone").await;
        phone.subscribe_once("garden/#").await;
        phone.disconnect().await;
        for part in 0..3 {
            let mut alice = service.publisher(version, "alice").await;
            for n in part * MESSAGES / 3..(part + 1) * MESSAGES / 3 {
                alice.tell("bob", &format!("chat {n}")).await;
                let reason = alice.publish("garden/light", format!("garden {n}").as_bytes()).await.reason;
                assert_eq!(reason, ReasonCode::Success);
            }
            match part {
                0 => service.kill().await,
                1 => service.cut_power(7).await,
                _ => service.stop().await,
            }
            service.resume().await;
        }
        let mut phone = service.kept(version, "bob", "phone").await;
        assert!(phone.connack.session_present);
        let (chat, garden): (Vec<String>, Vec<String>) =
            texts(&mut phone).await.into_iter().partition(|text| text.starts_with("chat"));
        assert_eq!(chat, (0..MESSAGES).map(|n| format!("chat {n}")).collect::<Vec<_>>());
        assert_eq!(garden, (0..MESSAGES).map(|n| format!("garden {n}")).collect::<Vec<_>>());
    })
    .await;
}

/// A subscriber that had been away for long got what was published in the last seconds before it came back, and nothing of the
/// rest, although it had been stored.
#[tokio::test]
async fn only_the_last_seconds_of_a_long_absence_delivered_tbmq_320() {
    const DAYS: usize = 25;
    both(|version| async move {
        let mut service = Service::start().await;
        let mut phone = service.device(version, "bob", "phone").await;
        let mut alice = service.publisher(version, "alice").await;
        alice.tell("bob", "day 0").await;
        // In flight when the link breaks.
        assert!(!phone.message().await.dup);
        drop(phone);
        for day in 1..=DAYS {
            service.clock.advance(Duration::from_hours(24));
            if day % 10 == 0 {
                service.kill().await;
                service.resume().await;
            }
            service.publisher(version, "alice").await.tell("bob", &format!("day {day}")).await;
        }
        let mut phone = service.kept(version, "bob", "phone").await;
        assert!(phone.connack.session_present);
        assert_eq!(texts(&mut phone).await, (0..=DAYS).map(|day| format!("day {day}")).collect::<Vec<_>>());
        phone.disconnect().await;
        service.kept(version, "bob", "phone").await.nothing().await;
    })
    .await;
}

/// A wildcard got the first hundred retained messages, or the first 1,000 or 2,000.
#[tokio::test]
async fn retained_wildcards_stop_at_some_number_rumqttd_emqx_15605_flashmq_64() {
    const TOPICS: usize = 2_500;
    let mut service = Service::start().await;
    let mut publisher = service.publisher(Version::V5, "alice").await;
    for n in 0..TOPICS {
        let topic = format!("client/{n:04}/online");
        let out = chasqui_broker::codec::PublishOut {
            retain: true,
            ..chasqui_broker::codec::PublishOut::new(&topic, b"yes")
        };
        publisher.send(out).await;
    }
    publisher.nothing().await;
    for restarted in [false, true] {
        if restarted {
            service.restart().await;
        }
        for version in [Version::V311, Version::V5] {
            let mut client = service.kept(version, "bob", "dashboard").await;
            client.subscribe(&[("client/+/online", QoS::AtMostOnce)]).await;
            for n in 0..TOPICS {
                let message = client.message().await;
                assert_eq!((&*message.topic, message.retain), (&*format!("client/{n:04}/online"), true));
            }
            client.nothing().await;
            client.unsubscribe(&["client/+/online"]).await;
            client.disconnect().await;
        }
    }
}
