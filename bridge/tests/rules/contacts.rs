//! Contacts and blocks: two lists of a user's own, the same on all their devices, across restarts.

use crate::support::*;
use chasqui_broker::codec::{QoS, ReasonCode, Version};
use chasqui_proto::limits::CONTACTS_PER_COMMAND;
use chasqui_proto::v1;
use prost::Message as _;

pub(crate) fn contacts(users: &[&str]) -> Vec<u8> {
    let users = users.iter().map(|user| (*user).to_owned()).collect();
    v1::ContactUsers { users, request_id: 0 }.encode_to_vec()
}

pub(crate) fn one(user: &str) -> Vec<u8> {
    v1::BlockUser { user: user.to_owned(), request_id: 0 }.encode_to_vec()
}

/// Asks for something that must be done.
pub(crate) async fn does(client: &mut Client, verb: &str, payload: &[u8]) {
    let ack = client.publish(&format!("do/{verb}"), payload).await;
    assert_eq!(ack.reason, ReasonCode::Success, "{verb}: {:?}", reason_of(&ack));
}

fn tie(user: &str, contact: bool, blocked: bool) -> v1::Tie {
    v1::Tie { user: user.to_owned(), contact, blocked }
}

/// The next entry of an inbox, which says what somebody is.
async fn told(device: &mut Client) -> v1::Tie {
    match event(&device.take().await).event {
        Some(v1::event::Event::Tie(tie)) => tie,
        other => panic!("a tie was expected: {other:?}"),
    }
}

/// All that is on the lists, read in pages of this many.
async fn listed(asks: &mut Client, limit: u32) -> Vec<v1::Tie> {
    let (mut all, mut after) = (Vec::new(), String::new());
    loop {
        let payload = v1::ContactList { after, limit, request_id: 3 }.encode_to_vec();
        let (_, taken) = asks.publish_and_take("do/contacts", &payload).await;
        let reply = match taken.into_iter().next() {
            Some(reply) => reply,
            None => asks.take().await,
        };
        let reply = v1::Reply::decode(reply.payload).expect("a Reply");
        assert_eq!((reply.request_id, reply.code()), (3, v1::ErrorCode::Ok));
        assert!(reply.ties.len() <= limit as usize);
        after = reply.ties.last().map(|tie| tie.user.clone()).unwrap_or_default();
        all.extend(reply.ties);
        if !reply.more {
            return all;
        }
    }
}

/// A client of alice's that asks and is answered.
async fn asking(service: &Service, version: Version) -> Client {
    let mut client = service.connect(&user(version, "alice", "asks")).await;
    client.subscribe(&[("u/alice/d/asks/reply", QoS::AtMostOnce)]).await;
    client
}

#[tokio::test]
async fn all_devices_are_told_and_the_lists_are_there_after_a_power_cut() {
    both(|version| async move {
        let mut service = Service::start().await;
        let mut phone = service.device(version, "alice", "phone").await;
        let mut asks = asking(&service, version).await;
        does(&mut asks, "contact.add", &contacts(&["bob", "carol"])).await;
        does(&mut asks, "block", &one("dave")).await;
        does(&mut asks, "block", &one("carol")).await;
        // What is so already is told to nobody.
        does(&mut asks, "contact.add", &contacts(&["carol"])).await;
        does(&mut asks, "unblock", &one("erin")).await;
        does(&mut asks, "contact.remove", &contacts(&["bob", "erin"])).await;
        let expected = [
            tie("bob", true, false),
            tie("carol", true, false),
            tie("dave", false, true),
            tie("carol", true, true),
            tie("bob", false, false),
        ];
        for tie in expected {
            assert_eq!(told(&mut phone).await, tie, "{version:?}");
        }
        phone.nothing().await;
        service.power_cut(7).await;
        let mut asks = asking(&service, version).await;
        for limit in 1..4 {
            let all = [tie("carol", true, true), tie("dave", false, true)];
            assert_eq!(listed(&mut asks, limit).await, all, "{version:?}");
        }
        // Nobody else has any of it.
        let mut carol = service.device(version, "carol", "phone").await;
        carol.nothing().await;
    })
    .await;
}

#[tokio::test]
async fn who_is_not_there_is_refused_and_who_guesses_is_slowed_down() {
    let service = Service::start_with(with_accounts()).await;
    service.add_users(&["alice", "bob"]).await;
    let mut asks = asking(&service, Version::V5).await;
    let mut refused = Vec::new();
    for n in 0..12 {
        let verb = if n % 2 == 0 { "do/contact.add" } else { "do/block" };
        let name = format!("nobody-{n}");
        let payload = if n % 2 == 0 { contacts(&["bob", &name]) } else { one(&name) };
        let reason = reason_of(&asks.publish(verb, &payload).await).unwrap_or_default();
        refused.push(reason.split(':').next().unwrap_or_default().to_owned());
    }
    assert_eq!(refused[..10], ["NO_SUCH_USER"; 10]);
    assert_eq!(refused[10..], ["RATE_LIMITED"; 2]);
    // Who exists is not told then either, but what is taken away needs nobody to be there.
    let ack = asks.publish("do/contact.add", &contacts(&["bob"])).await;
    assert!(reason_of(&ack).unwrap_or_default().starts_with("RATE_LIMITED: "));
    does(&mut asks, "contact.remove", &contacts(&["nobody"])).await;
    does(&mut asks, "unblock", &one("nobody")).await;
    assert_eq!(listed(&mut asks, 10).await, []);
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_with_a_sentence() {
    let service = Service::start().await;
    let mut alice = service.publisher(Version::V5, "alice").await;
    let many: Vec<String> = (0..=CONTACTS_PER_COMMAND).map(|n| format!("user-{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let friends = v1::Settings { presence: Some(7), ..v1::Settings::default() }.encode_to_vec();
    let after = v1::ContactList { after: "b b".to_owned(), ..v1::ContactList::default() }.encode_to_vec();
    let rows = [
        ("contact.add", contacts(&[]), "INVALID_PAYLOAD: users has nobody in it"),
        ("contact.remove", contacts(&[]), "INVALID_PAYLOAD: users has nobody in it"),
        ("contact.add", contacts(&["alice"]), "INVALID_PAYLOAD: nobody stands on"),
        ("block", one("alice"), "INVALID_PAYLOAD: nobody stands on"),
        ("block", one(""), "INVALID_PAYLOAD: \"\" is no user"),
        ("contact.add", contacts(&["b b"]), "INVALID_PAYLOAD: \"b b\" is no user"),
        ("contact.add", contacts(&many), "TOO_LARGE: users has 257 in it"),
        ("contacts", after, "INVALID_PAYLOAD: \"b b\" is no user"),
        ("settings", friends, "INVALID_PAYLOAD: presence is an audience"),
    ];
    for (verb, payload, expected) in rows {
        let reason = reason_of(&alice.publish(&format!("do/{verb}"), &payload).await).unwrap_or_default();
        assert!(reason.starts_with(expected), "{verb}: {reason}");
    }
    does(&mut alice, "contact.add", &contacts(&many[..CONTACTS_PER_COMMAND])).await;
}

#[tokio::test]
async fn who_takes_the_name_of_a_removed_user_is_on_nobodys_lists_and_has_none() {
    let service = Service::start_with(with_accounts()).await;
    service.add_users(&["alice", "bob", "carol"]).await;
    let mut asks = asking(&service, Version::V5).await;
    does(&mut asks, "contact.add", &contacts(&["bob", "carol"])).await;
    does(&mut asks, "block", &one("bob")).await;
    let again = |name: &'static str| {
        let accounts = std::sync::Arc::clone(service.server().accounts());
        tokio::task::spawn_blocking(move || accounts.remove(name).expect("the user is removed"))
    };
    again("bob").await.expect("it does not panic");
    service.add_users(&["bob"]).await;
    let nothing = [tie("bob", false, false), tie("carol", true, false)];
    assert_eq!(listed(&mut asks, 10).await, nothing, "a place that is taken is shown");
    does(&mut asks, "contact.remove", &contacts(&["bob"])).await;
    assert_eq!(listed(&mut asks, 10).await, [tie("carol", true, false)]);
    again("alice").await.expect("it does not panic");
    service.add_users(&["alice"]).await;
    let mut asks = asking(&service, Version::V5).await;
    assert_eq!(listed(&mut asks, 10).await, []);
}
