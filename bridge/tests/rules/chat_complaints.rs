//! What users of other chat systems complained about, each under its name and number: the same must not happen here.

use crate::support::*;
use chasqui_broker::codec::Version;
use chasqui_proto::v1;
use prost::Message as _;

/// A group of alice with these.
async fn group(alice: &mut Client, name: &str, members: &[&str]) {
    let create = v1::GroupCreate {
        group: name.to_owned(),
        name: name.to_owned(),
        members: members.iter().map(|member| (*member).to_owned()).collect(),
        ..v1::GroupCreate::default()
    };
    does(alice, "do/group.create", &create.encode_to_vec()).await;
}

/// What a client was not allowed to read any more kept coming on the subscriptions that it had. Here who is removed from a group gets
/// nothing after it, on connections that are open, on a session that is away, and on one that reads everything of its user.
#[tokio::test]
async fn revoking_access_leaves_live_subscriptions_emqx_3487() {
    both(|version| async move {
        let service = Service::start().await;
        let mut away = service.device(version, "bob", "tablet").await;
        away.disconnect().await;
        let mut live = service.kept(version, "bob", "phone").await;
        live.subscribe_once("u/bob/#").await;
        let mut clean = service.connect(&user(version, "bob", "web")).await;
        clean.subscribe_once("u/bob/in").await;
        let mut alice = service.publisher(version, "alice").await;
        group(&mut alice, "hikers", &["bob"]).await;
        let users =
            v1::GroupUsers { group: "hikers".to_owned(), users: vec!["bob".to_owned()], request_id: 0 };
        does(&mut alice, "do/group.remove", &users.encode_to_vec()).await;
        for number in 0..20 {
            does(&mut alice, "g/hikers/send", &says(&format!("secret {number}"))).await;
        }
        away = service.kept(version, "bob", "tablet").await;
        for device in [&mut live, &mut clean, &mut away] {
            let taken = device.drain_all().await;
            let numbers: Vec<u64> = taken.iter().map(|publish| message(publish).seq).collect();
            assert_eq!(numbers, [1, 2], "the group, and that he is no member");
        }
    })
    .await;
}

/// A device that came for the first time was sent every receipt there had ever been, 16,000 of them. Here it gets one for each conversation,
/// whatever happened there; and so does one that was away.
#[tokio::test]
async fn sixteen_thousand_receipts_in_a_first_sync_matrix_1319() {
    const MESSAGES: u64 = 60;
    both(|version| async move {
        let service = Service::start().await;
        let mut away = service.kept(version, "alice", "tablet").await;
        away.subscribe_once("u/alice/receipts/#").await;
        away.disconnect().await;
        let mut alice = service.publisher(version, "alice").await;
        group(&mut alice, "hikers", &["bob", "carol"]).await;
        let mut bob = service.device(version, "bob", "phone").await;
        let mut carol = service.device(version, "carol", "phone").await;
        for number in 1..=MESSAGES {
            alice.tell("bob", "hello").await;
            does(&mut alice, "g/hikers/send", &says("hello")).await;
            for device in [&mut bob, &mut carol] {
                device.drain().await;
                does(device, "do/read", &read("g/hikers", number + 1)).await;
            }
            does(&mut bob, "do/read", &read("u/alice", number)).await;
        }
        let mut new = service.connect(&user(version, "alice", "new")).await;
        new.subscribe_once("u/alice/receipts/#").await;
        away = service.kept(version, "alice", "tablet").await;
        for device in [&mut new, &mut away] {
            let mut read_up_to = Vec::new();
            for _ in 0..2 {
                let shown = receipt(&device.take().await);
                read_up_to.push((shown.conversation, shown.read));
            }
            read_up_to.sort();
            assert_eq!(read_up_to, [("g/hikers".to_owned(), MESSAGES + 1), ("u/bob".to_owned(), MESSAGES)]);
            device.nothing().await;
        }
    })
    .await;
}

/// What it took to be up to date grew with the time that a device was away. Here a device that comes back asks for the newest conversations,
/// and what the server reads for them is the same after ten messages and after a thousand, an hour later and a month.
#[tokio::test]
async fn sync_cost_grows_with_time_offline_element_x_3223() {
    const CHATS: usize = 12;
    let service = Service::start().await;
    let mut alice = service.asker(Version::V5, "alice").await;
    let mut reads = Vec::new();
    for (messages, days) in [(1, 0), (80, 29)] {
        service.clock.advance(std::time::Duration::from_hours(24 * days + 1));
        for chat in 0..CHATS {
            let mut peer = service.publisher(Version::V5, &format!("peer-{chat}")).await;
            for _ in 0..messages {
                peer.tell("alice", "are you there?").await;
            }
        }
        let counts = || {
            let counts = service.kv().counts();
            counts.gets + counts.scans
        };
        let before = counts();
        let query = v1::Sync { limit: 5, request_id: 1, ..v1::Sync::default() };
        let reply = alice.ask("do/sync", &query.encode_to_vec()).await;
        assert_eq!((reply.chats.len(), reply.more), (5, true));
        reads.push(counts() - before);
    }
    assert!(reads[0] > 0, "what is counted is counted");
    // Eighty times as much was said: what is unread is looked at, in one piece for each conversation of the page.
    assert!(reads[1] <= 2 * reads[0], "the store was read {reads:?} times");
}
