//! Shared subscriptions with the real store: members that are away are members after a crash, and a session that ends hands on what it has
//! not acknowledged, once, whenever the server is killed. A log has one reader per session: there is nothing to share.

use crate::support::*;
use chasqui_broker::codec::{QoS, ReasonCode, Version};

const GROUP: &str = "$share/workers/jobs/+";

async fn worker(service: &Service, version: Version, user: &str) -> Client {
    let hello = Hello::new(version, "worker").user(user, user).kept();
    Client::connect(service.address(), &hello).await
}

#[tokio::test]
async fn topics_of_the_contract_are_not_shared() {
    both(|version| async move {
        let service = Service::start().await;
        let mut alice = service.kept(version, "alice", "laptop").await;
        let filters = ["$share/g/u/alice/in", "$share/g/json/u/alice/#", "$share/g/g/climbers/in", GROUP];
        let codes = alice.subscribe(&filters.map(|filter| (filter, QoS::AtLeastOnce))).await;
        let refused = match version {
            Version::V5 => ReasonCode::SharedSubscriptionsNotSupported,
            Version::V311 => ReasonCode::UnspecifiedError,
        };
        assert_eq!(codes, [refused, refused, refused, QoS::AtLeastOnce.granted()]);
        // A wildcard in the first level reaches generic topics only, shared or not.
        alice.subscribe(&[("$share/g/#", QoS::AtLeastOnce)]).await;
        let mut bob = service.kept(version, "bob", "laptop").await;
        bob.publish("u/alice/send", &says("hello")).await;
        bob.publish("jobs/1", b"x").await;
        let topics = [alice.take().await.topic, alice.take().await.topic];
        assert!(topics.iter().all(|topic| &**topic == "jobs/1"), "{topics:?}");
        alice.nothing().await;
    })
    .await;
}

#[tokio::test]
async fn what_waits_for_a_member_is_handed_on_once_across_crashes() {
    both(|version| async move {
        let mut service = Service::start().await;
        for user in ["alice", "bob"] {
            let mut member = worker(&service, version, user).await;
            assert_eq!(member.subscribe(&[(GROUP, QoS::AtLeastOnce)]).await, [QoS::AtLeastOnce.granted()]);
            member.disconnect().await;
        }
        let mut publisher = service.kept(version, "carol", "laptop").await;
        for n in 0..4 {
            publisher.publish("jobs/1", &[n]).await;
        }
        service.kill().await;
        service.resume().await;
        let mut publisher = service.kept(version, "carol", "laptop").await;
        for n in 4..8 {
            publisher.publish("jobs/1", &[n]).await;
        }
        // Alice's session ends: Bob is to get everything.
        drop(Client::connect(service.address(), &Hello::new(version, "worker").user("alice", "alice")).await);
        service.kill().await;
        service.resume().await;
        let mut bob = worker(&service, version, "bob").await;
        assert!(bob.connack.session_present);
        let mut got = Vec::new();
        for _ in 0..8 {
            got.push(bob.take().await.payload[0]);
        }
        bob.nothing().await;
        got.sort_unstable();
        assert_eq!(got, [0, 1, 2, 3, 4, 5, 6, 7]);
        // Nothing is left where it came from.
        let mut alice = worker(&service, version, "alice").await;
        assert!(!alice.connack.session_present);
        alice.nothing().await;
    })
    .await;
}
