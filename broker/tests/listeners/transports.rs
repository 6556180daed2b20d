//! The same conversation over everything there is.

use super::Everywhere;
use super::support::certificates::Authority;
use super::support::transport::{TLS12, TLS13, TlsClient, bytes_of, websocket};
use super::support::{Client, Hello, both, tcp};
use chasqui_broker::Config;
use chasqui_broker::codec::{PublishOut, QoS, ReasonCode, Version};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::rustls::SupportedProtocolVersion;

/// Subscribes, sends itself small and large messages, and goes in order.
async fn conversation<S: AsyncRead + AsyncWrite + Unpin>(stream: S, version: Version) {
    let mut client = Client::over(stream, &Hello::new(version, "c").user("alice", "x")).await;
    assert_eq!(client.connack.reason, ReasonCode::Success);
    assert_eq!(client.subscribe(&[("t/#", QoS::AtLeastOnce)]).await, [ReasonCode::GrantedQoS1]);
    for bytes in [0usize, 1, 120, 300, 17_000, 70_000, 400_000] {
        let payload: Vec<u8> = (0..bytes).map(|n| (n * 7 + n / 250) as u8).collect();
        client.send(PublishOut { qos: QoS::AtLeastOnce, ..PublishOut::new("t/a", &payload) }).await;
        let (mut acknowledged, mut message) = (false, None);
        while !acknowledged || message.is_none() {
            match client.receive().await {
                chasqui_broker::codec::client::ServerPacket::Puback(_) => acknowledged = true,
                chasqui_broker::codec::client::ServerPacket::Publish(publish, _) => message = Some(publish),
                other => panic!("{other:?}"),
            }
        }
        let message = message.expect("it came");
        assert!(message.payload == payload, "{bytes} bytes came back changed");
        client.ack(&message).await;
    }
    client.nothing().await;
    client.disconnect().await;
}

#[tokio::test]
async fn both_versions_speak_over_everything_there_is() {
    let at = &Everywhere::start(Config::default()).await;
    both(|version| async move {
        conversation(tcp(at.server.address).await, version).await;
        for tls in [&TLS12, &TLS13] {
            let tls = TlsClient::new(&at.authority, tls, None);
            let stream = tls.connect(tcp(at.tls_address).await).await.expect("a handshake");
            conversation(stream, version).await;
            let stream = tls.connect(tcp(at.secure_websocket).await).await.expect("a handshake");
            let socket = websocket(stream, "/mqtt", Some("mqtt")).await.expect("an upgrade");
            conversation(bytes_of(socket, 30_000), version).await;
        }
        for frame in [7, 125, 64 * 1024] {
            let socket = websocket(tcp(at.websocket).await, "/mqtt", Some("mqtt")).await;
            conversation(bytes_of(socket.expect("an upgrade"), frame), version).await;
        }
    })
    .await;
    for quiet in ["transport_errors", "tls_failures", "websocket_refused", "protocol_errors"] {
        assert_eq!(at.count(quiet), 0, "{quiet}");
    }
    assert_eq!(at.count("tls_handshakes"), 8);
}

#[tokio::test]
async fn a_client_that_does_not_trust_the_certificate_goes_and_is_counted() {
    let at = Everywhere::start(Config::default()).await;
    let stranger = TlsClient::new(&Authority::new(), &TLS13, None);
    stranger.connect(tcp(at.tls_address).await).await.expect_err("another authority");
    at.counted("tls_failures", 1).await;
    // Plain MQTT on the TLS port, and TLS on the plain one.
    let mut plain = tcp(at.tls_address).await;
    tokio::io::AsyncWriteExt::write_all(&mut plain, b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x00\x00\x00")
        .await
        .expect("open");
    at.counted("tls_failures", 2).await;
    let trusting = TlsClient::new(&at.authority, &TLS13, None);
    trusting.connect(tcp(at.server.address).await).await.expect_err("no TLS there");
    at.counted("protocol_errors", 1).await;
}

#[tokio::test]
async fn a_session_is_resumed_by_either_version_of_tls() {
    let versions: [&'static SupportedProtocolVersion; 2] = [&TLS12, &TLS13];
    for (n, version) in versions.into_iter().enumerate() {
        let at = Everywhere::start(Config::default()).await;
        let tls = TlsClient::new(&at.authority, version, None);
        for resumed in [0, 1, 2] {
            let stream = tls.connect(tcp(at.tls_address).await).await.expect("a handshake");
            conversation(stream, Version::V5).await;
            at.counted("tls_handshakes", resumed + 1).await;
            at.counted("tls_resumptions", resumed).await;
        }
        // A new certificate changes nothing for who knows the server already.
        at.authority.server().write(at.folder.path(), "server");
        assert!(at.tls.reload().expect("files in order"), "{n}");
        let stream = tls.connect(tcp(at.tls_address).await).await.expect("a handshake");
        conversation(stream, Version::V311).await;
        at.counted("tls_resumptions", 3).await;
    }
}
