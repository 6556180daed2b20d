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
