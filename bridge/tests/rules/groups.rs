//! Groups over real sockets: who gets what, and what stops when somebody goes; on both versions, across restarts and power cuts.

use crate::support::*;
use chasqui_broker::codec::{QoS, ReasonCode, Version};
use chasqui_proto::v1::group_change::Change;
use chasqui_proto::v1::{self, ErrorCode};
use prost::Message as _;

const GROUP: &str = "g/hikers/send";

fn ids(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn about(users: &[&str]) -> Vec<u8> {
    v1::GroupUsers { group: "hikers".to_owned(), users: ids(users), request_id: 0 }.encode_to_vec()
}

fn named(request_id: u64) -> Vec<u8> {
    v1::GroupNamed { group: "hikers".to_owned(), request_id }.encode_to_vec()
}

fn creates(members: &[&str]) -> Vec<u8> {
    let (group, name) = ("hikers".to_owned(), "Hikers".to_owned());
    v1::GroupCreate { group, name, members: ids(members), ..v1::GroupCreate::default() }.encode_to_vec()
}

/// A group of alice with others; by a client of hers that is not used otherwise.
async fn group(service: &Service, version: Version, members: &[&str]) -> Client {
    let mut alice = service.publisher(version, "alice").await;
    assert_eq!(alice.publish("do/group.create", &creates(members)).await.reason, ReasonCode::Success);
    alice
}

async fn does(client: &mut Client, verb: &str, payload: &[u8]) {
    let ack = client.publish(&format!("do/{verb}"), payload).await;
    assert_eq!(ack.reason, ReasonCode::Success, "{verb}: {:?}", reason_of(&ack));
}

fn happened(message: &v1::Message) -> &Change {
    let change = message.change.as_ref().and_then(|change| change.change.as_ref());
    change.unwrap_or_else(|| panic!("a change was expected: {message:?}"))
}

/// What the next entry says, which is then acknowledged: its number, and its text or that it is a change.
async fn next(device: &mut Client) -> (u64, String) {
    let message = message(&device.take().await);
    assert_eq!(message.conversation, "g/hikers");
    let said = match text_of(&message) {
        Some(text) => text.to_owned(),
        None => match happened(&message) {
            Change::Created(_) => "created".to_owned(),
            Change::Updated(_) => "updated".to_owned(),
            Change::Added(users) => format!("added {}", users.users.join(" ")),
            Change::Removed(users) => format!("removed {}", users.users.join(" ")),
            Change::Left(users) => format!("left {}", users.users.join(" ")),
            Change::Promoted(users) => format!("promoted {}", users.users.join(" ")),
            Change::Demoted(users) => format!("demoted {}", users.users.join(" ")),
            Change::Joined(users) => format!("joined {}", users.users.join(" ")),
        },
    };
    (message.seq, said)
}

fn is(seq: u64, said: &str) -> (u64, String) {
    (seq, said.to_owned())
}

#[tokio::test]
async fn a_message_reaches_all_members_and_nobody_else() {
    both(|version| async move {
        let service = Service::start().await;
        let mut alice = group(&service, version, &["bob", "carol"]).await;
        let mut bob = service.device(version, "bob", "phone").await;
        let mut carol = service.device(version, "carol", "phone").await;
        let mut dave = service.device(version, "dave", "phone").await;
        let ack = alice.publish(GROUP, &says("hello")).await;
        assert_eq!(seq_of(&ack), (version == Version::V5).then_some(2));
        for device in [&mut bob, &mut carol] {
            assert_eq!(next(device).await, is(1, "created"));
            assert_eq!(next(device).await, is(2, "hello"));
        }
        let mut bobs = service.publisher(version, "bob").await;
        bobs.publish(GROUP, &says("hello alice")).await;
        for device in [&mut bob, &mut carol] {
            assert_eq!(next(device).await, is(3, "hello alice"));
        }
        dave.nothing().await;
    })
    .await;
}

#[tokio::test]
async fn who_is_removed_gets_that_and_nothing_after_it_on_a_live_subscription_and_offline() {
    both(|version| async move {
        let mut service = Service::start().await;
        // One device that is away meanwhile.
        service.device(version, "bob", "laptop").await.disconnect().await;
        let mut alice = group(&service, version, &["bob", "carol"]).await;
        let mut bob = service.device(version, "bob", "phone").await;
        alice.publish(GROUP, &says("before")).await;
        does(&mut alice, "group.remove", &about(&["bob"])).await;
        alice.publish(GROUP, &says("after")).await;
        for expected in [is(1, "created"), is(2, "before"), is(3, "removed bob")] {
            assert_eq!(next(&mut bob).await, expected);
        }
        bob.nothing().await;
        // It holds after whatever happens to the server.
        service.power_cut(5).await;
        let mut alice = service.publisher(version, "alice").await;
        alice.publish(GROUP, &says("later")).await;
        let mut laptop = service.kept(version, "bob", "laptop").await;
        for expected in [is(1, "created"), is(2, "before"), is(3, "removed bob")] {
            assert_eq!(next(&mut laptop).await, expected);
        }
        laptop.nothing().await;
        let mut carol = service.device(version, "carol", "phone").await;
        for expected in
            [is(1, "created"), is(2, "before"), is(3, "removed bob"), is(4, "after"), is(5, "later")]
        {
            assert_eq!(next(&mut carol).await, expected);
        }
    })
    .await;
}

#[tokio::test]
async fn who_may_not_is_refused_and_nothing_happens() {
    let service = Service::start().await;
    let mut alice = group(&service, Version::V5, &["bob"]).await;
    let mut bob = service.device(Version::V5, "bob", "phone").await;
    assert_eq!(next(&mut bob).await, is(1, "created"));
    let mut dave = service.publisher(Version::V5, "dave").await;
    for (topic, payload) in [
        (GROUP, says("let me in")),
        ("g/nobody/send", says("is there anybody")),
        ("do/group.get", named(0)),
        ("do/group.add", about(&["dave"])),
        ("do/group.leave", named(0)),
    ] {
        let ack = dave.publish(topic, &payload).await;
        assert_eq!(ack.reason, ReasonCode::NotAuthorized, "{topic}");
        assert!(reason_of(&ack).expect("a reason").starts_with("FORBIDDEN: "), "{topic}");
    }
    bob.nothing().await;
    // On 3.1.1 it comes as an entry.
    let mut old = service.device(Version::V311, "dave", "old").await;
    let (_, taken) = old.publish_and_take(GROUP, &send("let me in", b"id")).await;
    let entry = match taken.into_iter().next() {
        Some(entry) => entry,
        None => old.take().await,
    };
    let refused = rejected(&entry);
    assert_eq!((refused.code(), refused.topic.as_str()), (ErrorCode::Forbidden, GROUP));
    // The last admin stays one.
    let ack = alice.publish("do/group.demote", &about(&["alice"])).await;
    assert_eq!(ack.reason, ReasonCode::NotAuthorized);
}

#[tokio::test]
async fn members_are_shown_how_far_the_others_are() {
    both(|version| async move {
        let mut service = Service::start().await;
        let mut alice = group(&service, version, &["bob", "carol"]).await;
        let mut watcher = service.watcher(version, "alice").await;
        alice.publish(GROUP, &says("one")).await;
        alice.publish(GROUP, &says("two")).await;
        for (name, until) in [("bob", 3), ("carol", 2)] {
            let mut device = service.device(version, name, "phone").await;
            while next(&mut device).await.0 < until {}
            device.drain().await;
            device.disconnect().await;
        }
        let mut bob = service.publisher(version, "bob").await;
        does(&mut bob, "read", &read("g/hikers", 2)).await;
        let far = |receipt: &v1::Receipt, name: &str| {
            let member = receipt.members.iter().find(|member| member.user == name);
            member.map_or((0, 0), |member| (member.delivered, member.read))
        };
        let last = loop {
            let shown = receipt(&watcher.take().await);
            assert_eq!(shown.conversation, "g/hikers");
            if far(&shown, "bob") == (3, 2) && far(&shown, "carol").0 == 3 {
                break shown;
            }
        };
        assert_eq!((last.delivered, last.read), (3, 0), "what all of them have");
        service.power_cut(9).await;
        let mut watcher = service.watcher(version, "alice").await;
        assert_eq!(receipt(&watcher.take().await), last);
    })
    .await;
}

#[tokio::test]
async fn a_device_that_was_away_gets_everything_in_order() {
    both(|version| async move {
        let mut service = Service::start().await;
        service.device(version, "bob", "phone").await.disconnect().await;
        let mut alice = group(&service, version, &[]).await;
        does(&mut alice, "group.add", &about(&["bob"])).await;
        let text = "x".repeat(3_000);
        alice.publish(GROUP, &says(&text)).await;
        does(&mut alice, "group.promote", &about(&["bob"])).await;
        does(&mut alice, "group.leave", &named(0)).await;
        service.restart().await;
        let mut bob = service.kept(version, "bob", "phone").await;
        let welcome = message(&bob.take().await);
        let group =
            welcome.change.as_ref().and_then(|change| change.group.clone()).expect("the group as it is");
        assert_eq!(
            (welcome.seq, group.members.len(), group.info.expect("info").name.as_str()),
            (2, 2, "Hikers")
        );
        for expected in [is(3, &text), is(4, "promoted bob"), is(5, "left alice")] {
            assert_eq!(next(&mut bob).await, expected);
        }
        bob.nothing().await;
    })
    .await;
}

#[tokio::test]
async fn a_reply_says_what_a_command_came_to() {
    both(|version| async move {
        let service = Service::start().await;
        let mut alice = service.publisher(version, "alice").await;
        alice.subscribe(&[("json/u/alice/d/publisher/reply", QoS::AtMostOnce)]).await;
        let create =
            br#"{"name": "Hikers", "members": ["bob"], "settings": {"adminsPost": true}, "requestId": "1"}"#;
        let reply = ask(&mut alice, "json/do/group.create", create).await;
        let group = reply.group.clone().expect("the group");
        assert_eq!((reply.request_id, reply.code(), reply.seq, group.group.len()), (1, ErrorCode::Ok, 1, 11));
        assert!(group.info.expect("info").admins_post);
        assert_eq!(group.members.iter().map(|member| member.admin).collect::<Vec<_>>(), [true, false]);

        let payload = format!(r#"{{"group": "{}", "requestId": "2"}}"#, group.group);
        let reply = ask(&mut alice, "json/do/group.invite", payload.as_bytes()).await;
        assert_eq!((reply.request_id, reply.invite.len()), (2, 21));
        let mut carol = service.publisher(version, "carol").await;
        carol.subscribe(&[("json/u/carol/d/publisher/reply", QoS::AtMostOnce)]).await;
        let payload =
            format!(r#"{{"group": "{}", "invite": "{}", "requestId": "3"}}"#, group.group, reply.invite);
        let reply = ask(&mut carol, "json/do/group.join", payload.as_bytes()).await;
        assert_eq!(
            (reply.code(), reply.seq, reply.group.expect("the group").members.len()),
            (ErrorCode::Ok, 2, 3)
        );
    })
    .await;
}

/// Asks, and takes the reply; the acknowledgement and it come in either order.
async fn ask(client: &mut Client, topic: &str, payload: &[u8]) -> v1::Reply {
    let (ack, taken) = client.publish_and_take(topic, payload).await;
    assert_eq!(ack.reason, ReasonCode::Success, "{topic}");
    let reply = match taken.into_iter().next() {
        Some(reply) => reply,
        None => client.take().await,
    };
    chasqui_proto::json::decode(&reply.payload).expect("the JSON of a Reply")
}

#[tokio::test]
async fn members_who_are_there_see_who_is_typing() {
    both(|version| async move {
        let service = Service::start().await;
        let _alice = group(&service, version, &["bob"]).await;
        let mut bob = service.connect(&user(version, "bob", "watch")).await;
        bob.subscribe(&[("u/bob/typing/#", QoS::AtMostOnce)]).await;
        let mut carol = service.connect(&user(version, "carol", "watch")).await;
        carol.subscribe(&[("u/carol/typing/#", QoS::AtMostOnce)]).await;
        let typing = v1::Typing { state: v1::typing::State::Typing.into() }.encode_to_vec();
        let mut alice = service.publisher(version, "alice").await;
        alice.publish("g/hikers/typing", &typing).await;
        assert_eq!(&*bob.take().await.topic, "u/bob/typing/g/hikers/alice");
        carol.nothing().await;
        // Who is no member says nothing to anybody, and is not told so.
        assert_eq!(carol.publish("g/hikers/typing", &typing).await.reason, ReasonCode::Success);
        bob.nothing().await;
    })
    .await;
}
