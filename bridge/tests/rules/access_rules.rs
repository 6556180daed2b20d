//! Access rules for generic topics: who may what, and that a change holds for those who are there.

use crate::support::*;
use chasqui_bridge::settings::{Settings, Users};
use chasqui_broker::codec::{PublishOut, QoS, ReasonCode, Version};

const Q1: QoS = QoS::AtLeastOnce;
const GRANTED: ReasonCode = ReasonCode::GrantedQoS1;

/// What a house could have: everyone has a part of their own, displays only look, alarms are for users.
const HOUSE: &str = r#"
[[access]]
deny = "publish"
topics = ["alarms/#"]
clients = ["display-*"]

[[access]]
allow = "all"
topics = ["alarms/#"]
users = ["*"]

[[access]]
allow = "all"
topics = ["home/%u/#", "dev/%c"]

[[access]]
deny = "subscribe"
topics = ["weather/secret/#"]

[[access]]
allow = "subscribe"
topics = ["weather/#"]
"#;

/// A server that is not for trying out, with anonymous clients let in, and these rules.
fn ruled(toml: &str) -> Settings {
    Settings {
        users: Users { anonymous: true, ..Settings::default().users },
        access: rules(toml),
        ..with_accounts()
    }
}

/// What 3.1.1 can say of it.
fn said(version: Version, code: ReasonCode) -> ReasonCode {
    if version == Version::V311 && code.is_error() { ReasonCode::UnspecifiedError } else { code }
}

/// Whether a publish is taken. On 3.1.1 one that is not ends the connection.
async fn may_publish(client: &mut Client, topic: &str) -> bool {
    match client.peer.version {
        Version::V5 => {
            let ack = client.publish(topic, b"x").await;
            if ack.reason.is_error() {
                assert_eq!(ack.reason, ReasonCode::NotAuthorized);
                assert!(reason_of(&ack).is_some_and(|reason| reason.contains("access rules")));
            }
            !ack.reason.is_error()
        }
        Version::V311 => {
            client.send(PublishOut { qos: Q1, ..PublishOut::new(topic, b"x") }).await;
            client.next().await.is_some()
        }
    }
}

#[tokio::test]
async fn without_rules_generic_topics_are_closed_outside_dev() {
    both(|version| async move {
        let service = Service::start_with(ruled("")).await;
        service.add_users(&["alice"]).await;
        for hello in [user(version, "alice", "phone"), Hello::new(version, "c")] {
            let mut client = service.connect(&hello).await;
            let codes = client.subscribe(&[("a", Q1), ("#", Q1)]).await;
            assert_eq!(codes, [said(version, ReasonCode::NotAuthorized); 2]);
            assert!(!may_publish(&mut client, "a").await, "{version:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn rules_say_who_may_what() {
    both(|version| async move {
        let service = Service::start_with(ruled(HOUSE)).await;
        service.add_users(&["alice", "bob"]).await;
        let alice = user(version, "alice", "phone");
        let display = user(version, "alice", "display-1");
        let nobody = Hello::new(version, "sensor");
        let odd = Hello::new(version, "+");
        for (hello, topic, expected) in [
            (&alice, "home/alice/light", true),
            (&alice, "home/bob/light", false),
            (&alice, "home/alice", true),
            (&alice, "dev/phone", true),
            (&alice, "dev/other", false),
            (&alice, "alarms/fire", true),
            (&alice, "weather/now", false),
            (&display, "alarms/fire", false),
            (&display, "home/alice/light", true),
            (&nobody, "alarms/fire", false),
            (&nobody, "home//light", false),
            (&nobody, "dev/sensor", true),
            (&odd, "dev/sensor", false),
        ] {
            let mut client = service.connect(hello).await;
            let may = may_publish(&mut client, topic).await;
            assert_eq!(may, expected, "{version:?}: {} to {topic}", &*hello.0.client_id);
        }
        let no = said(version, ReasonCode::NotAuthorized);
        for (hello, filter, expected) in [
            (&alice, "home/alice/#", GRANTED),
            (&alice, "home/+/light", no),
            (&alice, "home/#", no),
            (&alice, "#", no),
            (&alice, "weather/now", GRANTED),
            (&alice, "weather/#", no),
            (&alice, "weather/+", no),
            (&alice, "weather/now/#", GRANTED),
            (&alice, "u/alice/#", GRANTED),
            (&alice, "u/bob/#", no),
            (&display, "alarms/+", GRANTED),
            (&nobody, "alarms/+", no),
            (&nobody, "weather/now", GRANTED),
            (&nobody, "dev/+", no),
            (&odd, "dev/+", no),
        ] {
            let mut client = service.connect(hello).await;
            let codes = client.subscribe(&[(filter, Q1)]).await;
            assert_eq!(codes, [expected], "{version:?}: {} to {filter}", &*hello.0.client_id);
        }
    })
    .await;
}

#[tokio::test]
async fn in_dev_rules_only_take_away() {
    both(|version| async move {
        let settings =
            Settings { access: rules("[[access]]\ndeny = \"all\"\ntopics = [\"no/#\"]\n"), ..dev() };
        let service = Service::start_with(settings).await;
        let mut client = service.connect(&user(version, "alice", "phone")).await;
        let no = said(version, ReasonCode::NotAuthorized);
        assert_eq!(client.subscribe(&[("a/#", Q1), ("no", Q1), ("+/x", Q1)]).await, [GRANTED, no, no]);
        client.unsubscribe(&["a/#"]).await;
        client.publish("a/b", b"x").await;
        assert!(!may_publish(&mut client, "no/b").await);
    })
    .await;
}

/// Elsewhere, revoking access leaves live subscriptions (emqx 3487).
#[tokio::test]
async fn a_change_of_rules_holds_for_those_who_are_there() {
    const BEFORE: &str = "[[access]]\nallow = \"all\"\ntopics = [\"a/#\", \"b\"]\n";
    const AFTER: &str = "[[access]]\nallow = \"all\"\ntopics = [\"a/#\"]\nusers = [\"bob\"]\n\n\
                         [[access]]\nallow = \"all\"\ntopics = [\"b\"]\n";
    both(|version| async move {
        let service = Service::start_with(ruled(BEFORE)).await;
        service.add_users(&["alice", "bob"]).await;
        let mut alice = service.kept(version, "alice", "phone").await;
        let mut bob = service.kept(version, "bob", "phone").await;
        let away = user(version, "alice", "tablet").kept();
        let mut tablet = service.connect(&away).await;
        let mut nobody = service.connect(&Hello::new(version, "c")).await;
        for client in [&mut alice, &mut bob, &mut tablet, &mut nobody] {
            assert_eq!(client.subscribe(&[("a/#", Q1), ("b", Q1)]).await, [GRANTED; 2]);
        }
        alice.subscribe(&[("u/alice/#", Q1)]).await;
        tablet.disconnect().await;
        let mut publisher = service.connect(&user(version, "bob", "p")).await;
        publisher.publish("a/1", b"x").await;
        for client in [&mut alice, &mut bob, &mut nobody] {
            assert_eq!(&*client.take().await.topic, "a/1");
        }

        assert_eq!(service.change_rules(AFTER).await, 3, "{version:?}");
        publisher.publish("a/2", b"x").await;
        publisher.publish("b", b"x").await;
        assert_eq!(&*bob.take().await.topic, "a/2");
        assert_eq!(&*bob.take().await.topic, "b");
        for client in [&mut alice, &mut nobody] {
            assert_eq!(&*client.take().await.topic, "b", "{version:?}");
            client.nothing().await;
        }
        // What the contract grants is no business of the rules.
        publisher.tell("alice", "hello").await;
        assert_eq!(text_of(&message(&alice.take().await)), Some("hello"));
        // Who was away finds neither what came since nor what waited.
        let mut tablet = service.connect(&away).await;
        assert_eq!(&*tablet.take().await.topic, "b");
        tablet.nothing().await;
        assert!(!may_publish(&mut nobody, "a/3").await, "and who may publish no more, may not");

        // It is stored, and holds after a start with the old rules.
        let mut service = service;
        drop((alice, bob, tablet, nobody, publisher));
        service.restart().await;
        let mut alice = service.kept(version, "alice", "phone").await;
        let mut publisher = service.connect(&user(version, "bob", "p")).await;
        publisher.publish("a/4", b"x").await;
        publisher.publish("b", b"x").await;
        assert_eq!(&*alice.take().await.topic, "b");
        alice.nothing().await;
    })
    .await;
}

#[tokio::test]
async fn rules_that_changed_while_the_server_was_down_hold_for_sessions_that_were_away() {
    both(|version| async move {
        let all = "[[access]]\nallow = \"all\"\ntopics = [\"#\"]\n";
        let mut service = Service::start_with(ruled(all)).await;
        service.add_users(&["alice"]).await;
        let hello = user(version, "alice", "phone").kept();
        let mut phone = service.connect(&hello).await;
        phone.subscribe(&[("a", Q1), ("b", Q1)]).await;
        phone.disconnect().await;
        let mut publisher = service.connect(&Hello::new(version, "p")).await;
        publisher.publish("a", b"x").await;
        publisher.publish("b", b"x").await;
        drop(publisher);
        service.stop().await;
        service.settings.access = rules("[[access]]\nallow = \"all\"\ntopics = [\"b\"]\n");
        service.resume().await;
        let mut phone = service.connect(&hello).await;
        assert!(phone.connack.session_present);
        assert_eq!(&*phone.take().await.topic, "b", "{version:?}");
        phone.nothing().await;
    })
    .await;
}

#[tokio::test]
async fn rules_are_gone_through_once_per_topic_and_connection() {
    both(|version| async move {
        let service = Service::start_with(ruled(HOUSE)).await;
        service.add_users(&["alice"]).await;
        let mut alice = service.connect(&user(version, "alice", "phone")).await;
        let before = service.server().access().asked();
        for _ in 0..100 {
            alice.publish("home/alice/light", b"on").await;
            alice.publish("dev/phone", b"on").await;
        }
        assert_eq!(service.server().access().asked() - before, 2);
    })
    .await;
}

#[tokio::test]
async fn a_will_is_held_against_the_rules_when_it_fires() {
    both(|version| async move {
        let all = "[[access]]\nallow = \"all\"\ntopics = [\"#\"]\n";
        let service = Service::start_with(ruled(all)).await;
        service.add_users(&["alice"]).await;
        let mut watcher = service.connect(&user(version, "alice", "w")).await;
        watcher.subscribe(&[("#", Q1)]).await;
        let mut gone = Vec::new();
        for topic in ["no", "yes"] {
            gone.push(service.connect(&Hello::new(version, topic).will(topic, b"gone", Q1, false)).await);
        }
        let only_yes = "[[access]]\ndeny = \"publish\"\ntopics = [\"no\"]\n".to_owned() + all;
        service.change_rules(&only_yes).await;
        for client in gone {
            drop(client);
        }
        assert_eq!(&*watcher.take().await.topic, "yes");
        while service.server().broker().stats().publishes_refused.get() == 0 {
            tokio::task::yield_now().await;
        }
        watcher.nothing().await;
    })
    .await;
}
