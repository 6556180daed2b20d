//! Outside `--dev`: to send to a user who does not exist is refused, and who tries too often is no longer told who exists.

use crate::support::*;
use chasqui_broker::codec::{ReasonCode, Version};
use chasqui_proto::ErrorCode;
use std::time::Duration;

/// Names of users one may try at once.
const TRIES: usize = 10;

/// Publishes what is refused; code and reason, on 5.0 from the PUBACK and on 3.1.1 from the entry.
async fn refusal(alice: &mut Client, version: Version, to: &str) -> (ErrorCode, String, u32) {
    let (ack, mut taken) = alice.publish_and_take(&format!("u/{to}/send"), &says("who are you?")).await;
    if version == Version::V5 {
        let reason = reason_of(&ack).unwrap_or_else(|| panic!("{to} is refused: {ack:?}"));
        let code = [ErrorCode::NoSuchUser, ErrorCode::RateLimited]
            .into_iter()
            .find(|code| reason.starts_with(code.name()))
            .unwrap_or_else(|| panic!("{to}: {reason}"));
        assert_eq!(ack.reason.as_u8(), code.puback());
        return (code, reason, 0);
    }
    assert_eq!(ack.reason, ReasonCode::Success);
    if taken.is_empty() {
        taken.push(alice.take().await);
    }
    let rejected = rejected(&taken[0]);
    let code = ErrorCode::try_from(rejected.code).expect("a known code");
    (code, rejected.reason, rejected.retry_after_ms)
}

#[tokio::test]
async fn users_cannot_be_listed_by_sending_to_them() {
    both(|version| async move {
        let service = Service::start_with(with_accounts()).await;
        service.clock.stand_still();
        service.add_users(&["alice", "bob", "carol", "dave"]).await;
        let mut alice = service.device(version, "alice", "phone").await;
        alice.publish_and_take("u/carol/send", &says("hello")).await;
        alice.drain().await;
        for number in 0..TRIES {
            let (code, ..) = refusal(&mut alice, version, &format!("nobody{number}")).await;
            assert_eq!(code, ErrorCode::NoSuchUser, "{version:?}: try {number}");
        }
        // From here on first contacts are refused alike, whether there is such a user or not.
        let (code, reason, _) = refusal(&mut alice, version, "somebody").await;
        assert_eq!(code, ErrorCode::RateLimited, "{version:?}");
        let (of_bob, bobs_reason, wait_ms) = refusal(&mut alice, version, "bob").await;
        assert_eq!((of_bob, &bobs_reason), (code, &reason), "{version:?}");
        if version == Version::V311 {
            assert!(wait_ms > 0 && wait_ms <= 10_000, "{wait_ms}");
        }
        // With whom she talks already she goes on talking, and nobody else is concerned.
        let (ack, _) = alice.publish_and_take("u/carol/send", &says("hello again")).await;
        assert_eq!(ack.reason, ReasonCode::Success);
        service.publisher(version, "dave").await.tell("bob", "hello").await;
        // One more try every ten seconds.
        service.clock.advance(Duration::from_secs(10));
        let (ack, _) = alice.publish_and_take("u/bob/send", &says("at last")).await;
        assert_eq!(ack.reason, ReasonCode::Success, "{version:?}: {ack:?}");
        alice.drain().await;
        let (code, ..) = refusal(&mut alice, version, "nobody").await;
        assert_eq!(code, ErrorCode::NoSuchUser, "{version:?}");
        let (code, ..) = refusal(&mut alice, version, "nobody").await;
        assert_eq!(code, ErrorCode::RateLimited, "{version:?}");
        let mut bob = service.device(version, "bob", "phone").await;
        for text in ["hello", "at last"] {
            assert_eq!(text_of(&message(&bob.take().await)), Some(text));
        }
        bob.nothing().await;
    })
    .await;
}

#[tokio::test]
async fn in_dev_a_user_comes_into_being_when_first_named() {
    both(|version| async move {
        let service = Service::start().await;
        service.publisher(version, "alice").await.tell("newcomer", "welcome").await;
        let mut phone = service.device(version, "newcomer", "phone").await;
        assert_eq!(text_of(&message(&phone.take().await)), Some("welcome"));
    })
    .await;
}
