//! What one peer may ask for, as the settings say: the broker's own tests show each limit, and these that the settings reach it.

use crate::support::*;
use chasqui_broker::codec::{PublishOut, QoS, ReasonCode, Version};

#[tokio::test]
async fn a_user_has_as_many_connections_as_the_settings_say() {
    both(|version| async move {
        let mut settings = dev();
        settings.limits.connections_per_user = 1;
        let service = Service::start_with(settings).await;
        let _phone = service.connect(&user(version, "alice", "phone")).await;
        let refused = Client::try_connect(service.address(), &user(version, "alice", "tablet")).await;
        let code =
            if version == Version::V5 { ReasonCode::QuotaExceeded } else { ReasonCode::ServerUnavailable };
        assert_eq!(refused.connack.reason, code);
        service.connect(&user(version, "bob", "phone")).await.nothing().await;
    })
    .await;
}

#[tokio::test]
async fn the_devices_of_a_user_send_at_one_rate() {
    let mut settings = dev();
    settings.limits.publish_bytes_per_second_per_user = chasqui_bridge::settings::ByteSize(1_000);
    let service = Service::start_with(settings).await;
    service.clock.stand_still();
    let _bob = service.device(Version::V5, "bob", "phone").await;
    let mut refused = Vec::new();
    // What the first one has used, the second would have to wait for: longer than anybody may.
    for (device, bytes) in [("phone", 900), ("tablet", 5_200)] {
        let mut alice = service.connect(&user(Version::V5, "alice", device)).await;
        let text = says(&"x".repeat(bytes));
        let send = PublishOut { qos: QoS::AtLeastOnce, ..PublishOut::new("u/bob/send", &text) };
        refused.push(alice.publish_with(send).await.reason == ReasonCode::QuotaExceeded);
    }
    assert_eq!(refused, [false, true]);
    let mut carol = service.connect(&user(Version::V5, "carol", "phone")).await;
    let text = says(&"x".repeat(5_200));
    let send = PublishOut { qos: QoS::AtLeastOnce, ..PublishOut::new("u/bob/send", &text) };
    assert!(!carol.publish_with(send).await.reason.is_error());
}

#[tokio::test]
async fn more_than_may_be_retained_is_refused() {
    let mut settings = dev();
    settings.limits.retained_messages = 1;
    let service = Service::start_with(settings).await;
    let mut client = service.connect(&user(Version::V5, "alice", "phone")).await;
    let mut retain = async |topic: &str| {
        let publish = PublishOut { qos: QoS::AtLeastOnce, retain: true, ..PublishOut::new(topic, b"x") };
        client.publish_with(publish).await.reason
    };
    assert!(!retain("a").await.is_error());
    assert_eq!(retain("b").await, ReasonCode::QuotaExceeded);
}

#[tokio::test]
async fn a_topic_has_as_many_levels_as_the_settings_say() {
    let mut settings = dev();
    settings.limits.topic_levels = 7;
    let service = Service::start_with(settings).await;
    let mut client = service.connect(&user(Version::V5, "alice", "phone")).await;
    client.publish("1/2/3/4/5/6/7", b"x").await;
    client.send(PublishOut::new("1/2/3/4/5/6/7/8", b"x")).await;
    assert_eq!(client.closed().await, Some(ReasonCode::TopicNameInvalid));
}

#[tokio::test]
async fn a_message_beyond_its_senders_rate_is_refused_and_not_sent() {
    let mut settings = dev();
    settings.limits.publish_bytes_per_second = chasqui_bridge::settings::ByteSize(1_000);
    let service = Service::start_with(settings).await;
    let mut bob = service.device(Version::V5, "bob", "phone").await;
    let mut alice = service.publisher(Version::V5, "alice").await;
    let long = says(&"x".repeat(20_000));
    let ack = alice
        .publish_with(PublishOut { qos: QoS::AtLeastOnce, ..PublishOut::new("u/bob/send", &long) })
        .await;
    assert_eq!(ack.reason, ReasonCode::QuotaExceeded);
    bob.nothing().await;
    alice.tell("bob", "short").await;
    assert_eq!(text_of(&message(&bob.take().await)), Some("short"));
}
