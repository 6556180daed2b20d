//! What WebSocket adds to MQTT, by the sixth chapter of the standard.

use super::Everywhere;
use super::support::transport::websocket;
use super::support::{both, tcp};
use chasqui_broker::Config;
use chasqui_broker::codec::Version;
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Error, Message};

/// CONNECT of a clean session without a name.
fn connect(version: Version) -> Vec<u8> {
    match version {
        Version::V311 => b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x00\x00\x00".to_vec(),
        Version::V5 => b"\x10\x0d\x00\x04MQTT\x05\x02\x00\x00\x00\x00\x00".to_vec(),
    }
}

const PINGREQ: [u8; 2] = [0xC0, 0];
const PINGRESP: [u8; 2] = [0xD0, 0];

async fn open(at: &Everywhere) -> WebSocketStream<TcpStream> {
    websocket(tcp(at.websocket).await, "/mqtt", Some("mqtt")).await.expect("an upgrade")
}

fn binary(bytes: &[u8]) -> Message {
    Message::Binary(bytes.to_vec().into())
}

/// The bytes of the next frame that is no pong.
async fn next(socket: &mut WebSocketStream<TcpStream>) -> Message {
    loop {
        match socket.next().await.expect("it goes on").expect("frames in order") {
            Message::Pong(_) => {}
            message => return message,
        }
    }
}

async fn next_bytes(socket: &mut WebSocketStream<TcpStream>) -> Vec<u8> {
    match next(socket).await {
        Message::Binary(bytes) => bytes.to_vec(),
        other => panic!("a binary frame expected: {other:?}"),
    }
}

/// Packets may share frames and be cut by them [MQTT-6.0.0-2], and pings come between.
#[tokio::test]
async fn packets_do_not_care_where_frames_begin_and_end() {
    let at = &Everywhere::start(Config::default()).await;
    both(|version| async move {
        let mut socket = open(at).await;
        let wire = [&connect(version)[..], &PINGREQ, &PINGREQ].concat();
        let (one, rest) = wire.split_at(3);
        socket.send(binary(one)).await.expect("open");
        socket.send(Message::Ping(b"p"[..].to_vec().into())).await.expect("open");
        socket.send(binary(b"")).await.expect("open");
        socket.send(binary(rest)).await.expect("open");
        let mut said = Vec::new();
        while !said.ends_with(&[PINGRESP, PINGRESP].concat()) {
            said.extend(next_bytes(&mut socket).await);
        }
        assert_eq!(said[0], 0x20, "CONNACK comes first");
        // One byte in each frame.
        for byte in PINGREQ {
            socket.send(binary(&[byte])).await.expect("open");
        }
        assert_eq!(next_bytes(&mut socket).await, PINGRESP);
    })
    .await;
}

/// [MQTT-6.0.0-1]
#[tokio::test]
async fn a_text_frame_closes_the_connection() {
    let at = &Everywhere::start(Config::default()).await;
    both(|version| async move {
        let mut socket = open(at).await;
        socket.send(binary(&connect(version))).await.expect("open");
        assert_eq!(next_bytes(&mut socket).await[0], 0x20);
        let before = at.count("transport_errors");
        socket.send(Message::Text("\u{10}\u{c}".into())).await.expect("open");
        let Message::Close(Some(close)) = next(&mut socket).await else { panic!("a close expected") };
        assert_eq!(u16::from(close.code), 1003);
        assert!(socket.next().await.is_none(), "nothing comes after it");
        at.counted("transport_errors", before + 1).await;
    })
    .await;
    // Before CONNECT too.
    let mut socket = open(at).await;
    socket.send(Message::Text("CONNECT".into())).await.expect("open");
    assert!(matches!(next(&mut socket).await, Message::Close(Some(_))));
}

/// [MQTT-6.0.0-3]: [MQTT-6.0.0-4] is asserted by every upgrade of these tests.
#[tokio::test]
async fn who_does_not_offer_mqtt_is_told_to() {
    let at = Everywhere::start(Config::default()).await;
    for (path, subprotocol, status, sentence) in [
        ("/mqtt", None, 400, "subprotocol mqtt"),
        ("/mqtt", Some("chat"), 400, "subprotocol mqtt"),
        ("/", Some("mqtt"), 404, "/mqtt"),
    ] {
        match websocket(tcp(at.websocket).await, path, subprotocol).await {
            Err(Error::Http(response)) => {
                assert_eq!(response.status(), status);
                let body = response.body().as_deref().unwrap_or_default();
                assert!(String::from_utf8_lossy(body).contains(sentence), "{body:?}");
            }
            other => panic!("a refusal was expected: {other:?}"),
        }
    }
    at.counted("websocket_refused", 3).await;
}

#[tokio::test]
async fn a_request_that_is_none_is_answered_and_closed() {
    let at = Everywhere::start(Config::default()).await;
    for (request, status) in [
        (&b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..], "404"),
        (b"GET /mqtt HTTP/1.1\r\nHost: x\r\n\r\n", "426"),
        (b"\x10\x0c\x00\x04MQTT\r\n\r\n", "400"),
        (&vec![b'x'; 20_000], "431"),
    ] {
        let mut stream = tcp(at.websocket).await;
        stream.write_all(request).await.expect("open");
        let mut answer = Vec::new();
        // What it did not read resets the connection; the answer has come by then.
        let _ = stream.read_to_end(&mut answer).await;
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    }
    at.counted("websocket_refused", 4).await;
}

#[tokio::test]
async fn both_sides_say_that_it_is_over() {
    let at = &Everywhere::start(Config::default()).await;
    both(|version| async move {
        // The client by DISCONNECT, then by a close without one.
        let mut socket = open(at).await;
        socket.send(binary(&connect(version))).await.expect("open");
        assert_eq!(next_bytes(&mut socket).await[0], 0x20);
        socket.send(binary(&[0xE0, 0])).await.expect("open");
        let Message::Close(Some(close)) = next(&mut socket).await else { panic!("a close expected") };
        assert_eq!(u16::from(close.code), 1000);
        let mut socket = open(at).await;
        socket.send(binary(&connect(version))).await.expect("open");
        assert_eq!(next_bytes(&mut socket).await[0], 0x20);
        socket.close(None).await.expect("open");
        assert!(matches!(next(&mut socket).await, Message::Close(_)));
    })
    .await;
    super::until(|| at.server.broker.connections() == 0).await;
    assert_eq!(at.count("transport_errors"), 0);
}
