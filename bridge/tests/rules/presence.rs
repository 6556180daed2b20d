//! Presence: who watches somebody by name is shown whether they are there, as far as those let them, and is told of it at a bounded pace.

use super::contacts::{contacts, does, one};
use crate::support::*;
use chasqui_broker::codec::client::ServerPacket;
use chasqui_broker::codec::{PublishOut, QoS, ReasonCode, RetainHandling, SubscriptionOptions, Version};
use chasqui_proto::limits::{
    PRESENCE_GRACE_MS, PRESENCE_INTERVAL_MS, PRESENCE_PER_SECOND, PRESENCE_WATCHES_PER_CONNECTION,
};
use chasqui_proto::v1::settings::Audience;
use chasqui_proto::{json, v1};
use chasqui_storage::clock::Clock as _;
use prost::Message as _;
use std::collections::BTreeMap;
use std::time::Duration;

const NOTHING: v1::Presence = v1::Presence { online: false, last_seen_ms: 0 };
const ONLINE: v1::Presence = v1::Presence { online: true, last_seen_ms: 0 };

fn since(at_ms: u64) -> v1::Presence {
    v1::Presence { online: false, last_seen_ms: at_ms.cast_signed() }
}

/// The next value: of whom, what, and whether it is retained.
async fn next(client: &mut Client) -> (String, v1::Presence, bool) {
    let publish = client.message().await;
    assert_eq!(publish.qos, QoS::AtMostOnce);
    let topic = publish.topic.strip_prefix("json/").unwrap_or(&publish.topic);
    let (_, contact) = topic.split_once("/presence/").expect("the topic of a presence");
    let presence = if publish.topic.starts_with("json/") {
        json::decode(&publish.payload).expect("the JSON of a Presence")
    } else {
        v1::Presence::decode(publish.payload.clone()).expect("a Presence")
    };
    (contact.to_owned(), presence, publish.retain)
}

/// What comes next is a live value of this contact.
async fn sees(client: &mut Client, contact: &str, presence: v1::Presence) {
    assert_eq!(next(client).await, (contact.to_owned(), presence, false));
}

/// Begins to watch, and takes the value there is.
async fn watches(client: &mut Client, filter: &str, presence: v1::Presence) {
    assert_eq!(client.subscribe(&[(filter, QoS::AtLeastOnce)]).await, [ReasonCode::GRANTED_QOS_0]);
    let (_, contact) = filter.split_once("/presence/").expect("the topic of a presence");
    assert_eq!(next(client).await, (contact.to_owned(), presence, true));
}

/// Enough time goes by for the next value of a topic.
fn a_second_later(service: &Service) {
    service.clock.advance(Duration::from_millis(PRESENCE_INTERVAL_MS));
}

/// Somebody leaves, and the server has seen to it; when that was.
async fn leaves(service: &Service, client: Client) -> u64 {
    let left = service.server().broker().connections() - 1;
    client.disconnect().await;
    while service.server().broker().connections() > left {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    service.clock.now_ms()
}

async fn shows_to(client: &mut Client, audience: Audience) {
    let settings = v1::Settings { presence: Some(audience.into()), ..v1::Settings::default() };
    does(client, "settings", &settings.encode_to_vec()).await;
}

/// A service whose clock the test has in its hands.
async fn start() -> Service {
    let service = Service::start().await;
    service.clock.stand_still();
    service
}

#[tokio::test]
async fn somebody_comes_and_goes_and_a_moment_away_is_no_change() {
    both(|version| async move {
        let service = start().await;
        // A device, whose subscription is stored before it is acknowledged, and a client that leaves nothing behind.
        let mut phone = service.kept(version, "alice", "phone").await;
        let mut tablet = service.connect(&user(version, "alice", "tablet")).await;
        watches(&mut phone, "u/alice/presence/bob", NOTHING).await;
        watches(&mut tablet, "json/u/alice/presence/bob", NOTHING).await;
        watches(&mut phone, "u/alice/presence/carol", NOTHING).await;
        a_second_later(&service);
        let bob = service.publisher(version, "bob").await;
        sees(&mut phone, "bob", ONLINE).await;
        sees(&mut tablet, "bob", ONLINE).await;
        // Away for less than ten seconds: nothing comes of it before what comes later.
        leaves(&service, bob).await;
        service.clock.advance(Duration::from_millis(PRESENCE_GRACE_MS - 1));
        let bob = service.publisher(version, "bob").await;
        service.clock.advance(Duration::from_millis(PRESENCE_GRACE_MS));
        let carol = service.publisher(version, "carol").await;
        sees(&mut phone, "carol", ONLINE).await;
        let left_ms = leaves(&service, bob).await;
        service.clock.advance(Duration::from_millis(PRESENCE_GRACE_MS));
        sees(&mut phone, "bob", since(left_ms)).await;
        sees(&mut tablet, "bob", since(left_ms)).await;
        // Who begins to watch now is shown the same at once.
        let mut dave = service.connect(&user(version, "dave", "phone")).await;
        watches(&mut dave, "u/dave/presence/bob", since(left_ms)).await;
        watches(&mut dave, "u/dave/presence/carol", ONLINE).await;
        drop(carol);
    })
    .await;
}

#[tokio::test]
async fn who_says_nothing_looks_like_one_who_never_was() {
    both(|version| async move {
        let service = start().await;
        let mut alice = service.connect(&user(version, "alice", "phone")).await;
        let mut bob = service.publisher(version, "bob").await;
        watches(&mut alice, "u/alice/presence/nobody-of-this-name", NOTHING).await;
        watches(&mut alice, "u/alice/presence/bob", ONLINE).await;
        // Each of these takes effect on a watch that lasts.
        for shown in [false, true, false, true, false, true] {
            a_second_later(&service);
            if shown {
                does(&mut bob, "contact.add", &contacts(&["alice"])).await;
            } else {
                shows_to(&mut bob, Audience::Contacts).await;
            }
            sees(&mut alice, "bob", if shown { ONLINE } else { NOTHING }).await;
            if shown {
                shows_to(&mut bob, Audience::Everyone).await;
                does(&mut bob, "contact.remove", &contacts(&["alice"])).await;
            }
        }
        for (verb, payload, shown) in [("block", one("alice"), NOTHING), ("unblock", one("alice"), ONLINE)] {
            a_second_later(&service);
            does(&mut bob, verb, &payload).await;
            sees(&mut alice, "bob", shown).await;
        }
        // Who hides from all sees nobody.
        for (audience, shown) in [(Audience::Nobody, NOTHING), (Audience::Contacts, ONLINE)] {
            a_second_later(&service);
            let mut laptop = service.connect(&user(version, "alice", "laptop")).await;
            shows_to(&mut laptop, audience).await;
            sees(&mut alice, "bob", shown).await;
        }
        // And it is so for watches that begin later.
        shows_to(&mut bob, Audience::Nobody).await;
        let mut carol = service.connect(&user(version, "carol", "phone")).await;
        watches(&mut carol, "u/carol/presence/bob", NOTHING).await;
        watches(&mut carol, "json/u/carol/presence/bob", NOTHING).await;
        shows_to(&mut bob, Audience::Everyone).await;
        does(&mut bob, "block", &one("dave")).await;
        let mut dave = service.connect(&user(version, "dave", "phone")).await;
        watches(&mut dave, "u/dave/presence/bob", NOTHING).await;
    })
    .await;
}

#[tokio::test]
async fn it_is_asked_for_by_name_and_by_nothing_else() {
    both(|version| async move {
        let service = start().await;
        let mut alice = service.connect(&user(version, "alice", "phone")).await;
        let refused = |code| if version == Version::V5 { code } else { ReasonCode::UnspecifiedError };
        let rows = [
            ("u/alice/presence/+", ReasonCode::TopicFilterInvalid),
            ("json/u/alice/presence/#", ReasonCode::TopicFilterInvalid),
            ("u/bob/presence/carol", ReasonCode::NotAuthorized),
        ];
        for (filter, code) in rows {
            assert_eq!(alice.subscribe(&[(filter, QoS::AtMostOnce)]).await, [refused(code)], "{filter}");
        }
        // What covers everything under the user does not cover it.
        let everything = [("u/alice/#", SubscriptionOptions::qos(QoS::AtLeastOnce))];
        alice.subscribe_with(&everything, (version == Version::V5).then_some(1)).await;
        let named = [("u/alice/presence/bob", SubscriptionOptions::qos(QoS::AtLeastOnce))];
        alice.subscribe_with(&named, (version == Version::V5).then_some(2)).await;
        let (_, identifiers) = alice.message_with_ids().await;
        assert_eq!(identifiers, if version == Version::V5 { vec![2] } else { vec![] });
        a_second_later(&service);
        let bob = service.publisher(version, "bob").await;
        sees(&mut alice, "bob", ONLINE).await;
        // A subscription that is repeated goes on; one that is given up brings nothing more.
        assert_eq!(alice.subscribe(&[("u/alice/presence/bob", QoS::AtMostOnce)]).await.len(), 1);
        alice.nothing().await;
        watches(&mut alice, "u/alice/presence/carol", NOTHING).await;
        alice.unsubscribe(&["u/alice/presence/bob"]).await;
        leaves(&service, bob).await;
        service.clock.advance(Duration::from_millis(PRESENCE_GRACE_MS));
        let _carol = service.publisher(version, "carol").await;
        sees(&mut alice, "carol", ONLINE).await;
    })
    .await;
}

#[tokio::test]
async fn a_session_that_is_back_watches_again() {
    both(|version| async move {
        let mut service = start().await;
        let mut phone = service.kept(version, "alice", "phone").await;
        watches(&mut phone, "u/alice/presence/bob", NOTHING).await;
        watches(&mut phone, "json/u/alice/presence/carol", NOTHING).await;
        watches(&mut phone, "u/alice/presence/dave", NOTHING).await;
        phone.unsubscribe(&["u/alice/presence/dave"]).await;
        leaves(&service, phone).await;
        let _bob = service.publisher(version, "bob").await;
        let mut phone = service.kept(version, "alice", "phone").await;
        sees(&mut phone, "bob", ONLINE).await;
        sees(&mut phone, "carol", NOTHING).await;
        // All of it is in memory, and follows from the connections there are.
        service.power_cut(11).await;
        let _carol = service.publisher(version, "carol").await;
        let mut phone = service.kept(version, "alice", "phone").await;
        sees(&mut phone, "bob", NOTHING).await;
        sees(&mut phone, "carol", ONLINE).await;
        a_second_later(&service);
        let _bob = service.publisher(version, "bob").await;
        sees(&mut phone, "bob", ONLINE).await;
    })
    .await;
}

#[tokio::test]
async fn retain_handling_2_asks_for_changes_alone() {
    let service = start().await;
    let mut alice = service.connect(&user(Version::V5, "alice", "phone")).await;
    let bob = service.publisher(Version::V5, "bob").await;
    let quietly = SubscriptionOptions {
        retain_handling: RetainHandling::DoNotSend,
        ..SubscriptionOptions::qos(QoS::AtMostOnce)
    };
    alice.subscribe_with(&[("u/alice/presence/bob", quietly)], None).await;
    watches(&mut alice, "u/alice/presence/carol", NOTHING).await;
    let left_ms = leaves(&service, bob).await;
    service.clock.advance(Duration::from_millis(PRESENCE_GRACE_MS));
    sees(&mut alice, "bob", since(left_ms)).await;
}

#[tokio::test]
async fn who_takes_the_name_of_a_removed_user_was_never_seen() {
    let service = Service::start_with(with_accounts()).await;
    service.clock.stand_still();
    service.add_users(&["alice", "bob"]).await;
    let mut alice = service.connect(&user(Version::V5, "alice", "phone")).await;
    let mut bob = service.publisher(Version::V5, "bob").await;
    does(&mut bob, "contact.add", &contacts(&["alice"])).await;
    watches(&mut alice, "u/alice/presence/bob", ONLINE).await;
    a_second_later(&service);
    let accounts = std::sync::Arc::clone(service.server().accounts());
    let removed = tokio::task::spawn_blocking(move || accounts.remove("bob").expect("the user is removed"));
    removed.await.expect("it does not panic");
    sees(&mut alice, "bob", NOTHING).await;
    service.add_users(&["bob"]).await;
    a_second_later(&service);
    let mut bob = service.connect(&user(Version::V5, "bob", "another")).await;
    sees(&mut alice, "bob", ONLINE).await;
    a_second_later(&service);
    // Alice is no contact of this one's.
    shows_to(&mut bob, Audience::Contacts).await;
    sees(&mut alice, "bob", NOTHING).await;
}

#[tokio::test]
async fn one_watch_too_many_is_refused() {
    let mut settings = dev();
    settings.limits.subscriptions = 2 * PRESENCE_WATCHES_PER_CONNECTION as u32;
    let service = Service::start_with(settings).await;
    service.clock.stand_still();
    let mut alice = service.connect(&user(Version::V5, "alice", "phone")).await;
    let filters: Vec<String> =
        (0..=PRESENCE_WATCHES_PER_CONNECTION).map(|n| format!("u/alice/presence/user-{n}")).collect();
    let filters: Vec<(&str, QoS)> = filters.iter().map(|filter| (filter.as_str(), QoS::AtMostOnce)).collect();
    let codes = alice.subscribe(&filters).await;
    let (last, others) = codes.split_last().expect("a code for each");
    assert!(others.iter().all(|code| *code == ReasonCode::GRANTED_QOS_0));
    assert_eq!(*last, ReasonCode::QuotaExceeded);
}

/// Synapse 14090: many contacts who come online at once were a storm of updates that nothing else got through.
#[tokio::test]
async fn presence_storms_synapse_14090() {
    const CONTACTS: usize = 4 * PRESENCE_PER_SECOND;
    both(|version| async move {
        let service = start().await;
        let mut alice = service.device(version, "alice", "phone").await;
        let filters: Vec<String> = (0..CONTACTS).map(|n| format!("u/alice/presence/contact-{n}")).collect();
        let filters: Vec<(&str, QoS)> =
            filters.iter().map(|filter| (filter.as_str(), QoS::AtMostOnce)).collect();
        alice.subscribe(&filters).await;
        let mut known: BTreeMap<String, v1::Presence> = BTreeMap::new();
        let mut come = Vec::new();
        for round in 0..2 {
            // A second has what a second may have, and a message gets through whatever waits.
            for second in 0..CONTACTS / PRESENCE_PER_SECOND {
                for _ in 0..PRESENCE_PER_SECOND {
                    let (contact, presence, retain) = next(&mut alice).await;
                    assert_eq!(retain, round == 0);
                    known.insert(contact, presence);
                }
                service.publisher(version, "bob").await.tell("alice", "hello").await;
                let message = alice.take().await;
                assert_eq!(
                    &*message.topic, "u/alice/in",
                    "{round}, {second}: more than {PRESENCE_PER_SECOND} in a second"
                );
                a_second_later(&service);
            }
            assert_eq!(known.len(), CONTACTS);
            let expected = if round == 0 { NOTHING } else { ONLINE };
            assert!(known.values().all(|presence| *presence == expected));
            if round == 0 {
                for n in 0..CONTACTS {
                    come.push(service.publisher(version, &format!("contact-{n}")).await);
                }
            }
        }
        alice.nothing().await;
    })
    .await;
}

/// A reader that does not read is told what is true when it reads again; what it missed in between is left out.
#[tokio::test]
async fn a_stuck_reader_is_shown_what_is_true_when_it_reads_again() {
    let service = start().await;
    let mut bob = service.kept(Version::V5, "bob", "phone").await;
    bob.subscribe(&[("u/bob/#", QoS::AtMostOnce)]).await;
    watches(&mut bob, "u/bob/presence/carol", NOTHING).await;
    let mut alice = service.publisher(Version::V5, "alice").await;
    let payload = |state: u8| [&[0x08, state, 0x7a, 0xfa, 0x01][..], &[b'x'; 250]].concat();
    let stats = service.server().broker().stats();
    let mut sent = 0u32;
    while stats.dropped_buffer_full.get() == 0 {
        assert!(sent < 1_000_000, "sockets do not hold so much");
        for turn in 0..1_000u32 {
            alice.send(PublishOut::new("u/bob/typing", &payload(1 + (turn % 2) as u8))).await;
            sent += 1;
        }
        alice.nothing().await;
    }
    let mut left_ms = 0;
    for _ in 0..3 {
        a_second_later(&service);
        let carol = service.publisher(Version::V5, "carol").await;
        left_ms = leaves(&service, carol).await;
        service.clock.advance(Duration::from_millis(PRESENCE_GRACE_MS));
    }
    loop {
        let ServerPacket::Publish(publish, _) = bob.receive().await else { panic!("messages were expected") };
        if publish.topic.contains("/presence/")
            && v1::Presence::decode(publish.payload.clone()).expect("a Presence") == since(left_ms)
        {
            break;
        }
    }
}
