//! A will may be a `Send`: it fires when the connection is lost, also by a crash of the server, once in effect.

use crate::support::*;
use chasqui_broker::codec::{QoS, Version, Will};
use std::time::Duration;

/// A CONNECT of alice's phone whose will tells bob something.
fn with_will(version: Version, text: &str) -> Hello {
    let mut hello = user(version, "alice", "phone");
    hello.0.will = Some(Will {
        topic: chasqui_testkit::text("u/bob/send"),
        payload: says(text).into(),
        qos: QoS::AtLeastOnce,
        retain: false,
        delay_interval: None,
        properties: None,
    });
    hello
}

/// The session of alice's phone is let in: whatever the connection before it left to be done is done.
async fn settle(service: &Service, version: Version) {
    service.connect(&user(version, "alice", "phone")).await.disconnect().await;
}

async fn expect(bob: &mut Client, texts: &[&str]) {
    for text in texts {
        let message = message(&bob.take().await);
        assert_eq!((message.conversation.as_str(), text_of(&message)), ("u/alice", Some(*text)));
    }
    bob.nothing().await;
}

#[tokio::test]
async fn it_fires_when_the_connection_is_lost() {
    both(|version| async move {
        let service = Service::start().await;
        let mut bob = service.device(version, "bob", "phone").await;
        drop(service.connect(&with_will(version, "lost")).await);
        expect(&mut bob, &["lost"]).await;
        // The same as JSON.
        let mut hello = with_will(version, "");
        let will = hello.0.will.as_mut().expect("a will");
        will.topic = chasqui_testkit::text("json/u/bob/send");
        will.payload = br#"{"body": {"text": "lost again"}}"#.to_vec().into();
        drop(service.connect(&hello).await);
        expect(&mut bob, &["lost again"]).await;
    })
    .await;
}

#[tokio::test]
async fn it_does_not_fire_after_disconnect() {
    both(|version| async move {
        let mut service = Service::start().await;
        let mut bob = service.device(version, "bob", "phone").await;
        service.connect(&with_will(version, "clean")).await.disconnect().await;
        service.connect(&with_will(version, "kept").kept()).await.disconnect().await;
        settle(&service, version).await;
        service.publisher(version, "alice").await.tell("bob", "no will").await;
        expect(&mut bob, &["no will"]).await;
        service.connect(&with_will(version, "kept").kept()).await.disconnect().await;
        service.power_cut(1).await;
        service.publisher(version, "alice").await.tell("bob", "nor after a crash").await;
        let mut bob = service.kept(version, "bob", "phone").await;
        let mut received = Vec::new();
        while received.last().is_none_or(|text| text != "nor after a crash") {
            received.push(text_of(&message(&bob.take().await)).unwrap_or_default().to_owned());
        }
        // The cursor may have been on its way: what was acknowledged last may come again.
        received.retain(|text| text != "no will");
        assert_eq!(received, ["nor after a crash"], "{version:?}");
    })
    .await;
}

#[tokio::test]
async fn it_is_fired_by_a_power_cut_once_in_effect() {
    both(|version| async move {
        let mut service = Service::start().await;
        service.device(version, "bob", "phone").await.disconnect().await;
        let _alice = service.connect(&with_will(version, "first").kept()).await;
        service.power_cut(1).await;
        let mut bob = service.kept(version, "bob", "phone").await;
        expect(&mut bob, &["first"]).await;
        drop(bob);

        // Again, with another session's will to tell when those that are due have been looked at.
        let control = |version| {
            let mut hello = with_will(version, "control").kept();
            hello.0.client_id = chasqui_testkit::text("tablet");
            hello
        };
        let _tablet = service.connect(&control(version)).await;
        service.power_cut(2).await;
        let mut bob = service.kept(version, "bob", "phone").await;
        let mut received = Vec::new();
        while received.last().is_none_or(|seq| *seq < 2) {
            let message = message(&bob.take().await);
            assert_eq!(
                text_of(&message),
                Some(["first", "control"][message.seq as usize - 1]),
                "{version:?}"
            );
            received.push(message.seq);
        }
        bob.nothing().await;
    })
    .await;
}

#[tokio::test]
async fn each_connections_will_is_its_own() {
    both(|version| async move {
        let mut service = Service::start().await;
        service.device(version, "bob", "phone").await.disconnect().await;
        for seed in 0..3 {
            // The same steps in each process, so that whatever counts from its start counts the same.
            drop(service.connect(&with_will(version, "lost")).await);
            settle(&service, version).await;
            let _alice = service.connect(&with_will(version, "crashed").kept()).await;
            service.power_cut(seed).await;
        }
        let mut bob = service.kept(version, "bob", "phone").await;
        for seq in 1..=6 {
            let message = message(&bob.take().await);
            let text = if seq % 2 == 1 { "lost" } else { "crashed" };
            assert_eq!((message.seq, text_of(&message)), (seq, Some(text)), "{version:?}");
        }
        bob.nothing().await;
    })
    .await;
}

#[tokio::test]
async fn a_power_cut_between_firing_and_forgetting_it_does_not_repeat_it() {
    both(|version| async move {
        for seed in 0..8 {
            let mut service = Service::start().await;
            service.device(version, "bob", "phone").await.disconnect().await;
            let alice = service.connect(&with_will(version, "once").kept()).await;
            let held = service.hold_flushes();
            drop(alice);
            held.wait_for_one();
            service.cut_power(seed).await;
            drop(held);
            service.resume().await;
            let mut bob = service.kept(version, "bob", "phone").await;
            expect(&mut bob, &["once"]).await;
            // Were it still to come, it would be before what comes now.
            settle(&service, version).await;
            service.publisher(version, "alice").await.tell("bob", "behind").await;
            expect(&mut bob, &["behind"]).await;
        }
    })
    .await;
}

#[tokio::test]
async fn it_waits_for_its_delay_and_is_called_off_by_coming_back() {
    let version = Version::V5;
    let mut service = Service::start().await;
    let mut bob = service.device(version, "bob", "phone").await;
    let delayed = |text: &str| {
        let mut hello = with_will(version, text).kept();
        hello.0.will.as_mut().expect("a will").delay_interval = Some(3_600);
        hello
    };
    // Back before it is due: the new connection has no will.
    drop(service.connect(&delayed("called off")).await);
    service.kept(version, "alice", "phone").await.disconnect().await;
    service.clock.advance(Duration::from_hours(2));
    // Another session's will shows that what is due has been looked at.
    let mut control = with_will(version, "at once");
    control.0.client_id = chasqui_testkit::text("tablet");
    drop(service.connect(&control).await);
    expect(&mut bob, &["at once"]).await;

    // Not before it is due, and the restart of the server changes nothing about when that is.
    drop(service.connect(&delayed("due")).await);
    service.restart().await;
    let mut bob = service.kept(version, "bob", "phone").await;
    service.clock.advance(Duration::from_mins(50));
    drop(service.connect(&control).await);
    expect(&mut bob, &["at once"]).await;
    service.clock.advance(Duration::from_mins(11));
    expect(&mut bob, &["due"]).await;
}

#[tokio::test]
async fn it_fires_when_its_session_ends_before_its_delay() {
    let version = Version::V5;
    let service = Service::start().await;
    let mut bob = service.device(version, "bob", "phone").await;
    let mut hello = with_will(version, "ended").kept();
    hello.0.will.as_mut().expect("a will").delay_interval = Some(3_600);
    drop(service.connect(&hello).await);
    // A clean start ends the session, and with it the wait [MQTT-3.1.3-9].
    let mut clean = user(version, "alice", "phone");
    clean.0.clean_start = true;
    let _alice = service.connect(&clean).await;
    expect(&mut bob, &["ended"]).await;
}
