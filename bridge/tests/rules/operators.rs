//! `$SYS` is for the operators that the settings name, and with `dev` for everyone.

use crate::support::*;
use chasqui_bridge::settings::Names;
use chasqui_broker::codec::{QoS, ReasonCode, Version};
use std::time::Duration;

const SYS: [(&str, QoS); 1] = [("$SYS/#", QoS::AtLeastOnce)];
/// What changes last, each time the server looks at itself.
const UPTIME: [(&str, QoS); 1] = [("$SYS/broker/uptime", QoS::AtLeastOnce)];

fn refused(version: Version) -> ReasonCode {
    match version {
        Version::V5 => ReasonCode::NotAuthorized,
        Version::V311 => ReasonCode::UnspecifiedError,
    }
}

/// What the server says its version is, to a client that has just subscribed.
async fn version_shown(client: &mut Client) -> String {
    loop {
        let message = client.take().await;
        assert!(message.retain);
        if &*message.topic == "$SYS/broker/version" {
            return String::from_utf8(message.payload.to_vec()).expect("text");
        }
    }
}

#[tokio::test]
async fn operators_read_what_the_server_says_about_itself_and_nobody_else_does() {
    both(|version| async move {
        let mut settings = with_accounts();
        settings.users.operators = Names(vec!["olga".to_owned()]);
        let service = Service::start_with(settings).await;
        service.add_users(&["olga", "alice"]).await;
        let mut olga = service.kept(version, "olga", "desk").await;
        assert_eq!(olga.subscribe(&SYS).await, [QoS::AtMostOnce.granted()]);
        assert!(version_shown(&mut olga).await.starts_with("chasqui version "));
        let mut alice = service.kept(version, "alice", "desk").await;
        assert_eq!(alice.subscribe(&SYS).await, [refused(version)]);
        alice.nothing().await;
    })
    .await;
}

#[tokio::test]
async fn who_is_an_operator_no_more_reads_no_more() {
    both(|version| async move {
        let mut settings = with_accounts();
        settings.users.operators = Names(vec!["olga".to_owned(), "otto".to_owned()]);
        let mut service = Service::start_with(settings).await;
        service.add_users(&["olga", "otto"]).await;
        let mut olga = service.kept(version, "olga", "desk").await;
        olga.subscribe(&UPTIME).await;
        assert!(olga.take().await.retain);
        olga.disconnect().await;

        service.settings.users.operators = Names(vec!["otto".to_owned()]);
        service.restart().await;
        let mut olga = service.kept(version, "olga", "desk").await;
        assert!(olga.connack.session_present);
        assert_eq!(olga.subscribe(&UPTIME).await, [refused(version)]);
        let mut otto = service.kept(version, "otto", "desk").await;
        otto.subscribe(&UPTIME).await;
        assert!(otto.take().await.retain);
        service.clock.advance(Duration::from_secs(10));
        assert!(!otto.take().await.retain);
        olga.nothing().await;
    })
    .await;
}

#[tokio::test]
async fn with_dev_everyone_is_an_operator() {
    both(|version| async move {
        let service = Service::start().await;
        let mut nobody = service.connect(&Hello::new(version, "dashboard")).await;
        assert_eq!(nobody.subscribe(&SYS).await, [QoS::AtMostOnce.granted()]);
        assert!(version_shown(&mut nobody).await.starts_with("chasqui version "));
    })
    .await;
}
