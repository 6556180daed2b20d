//! Whoever says nothing, or only a part, costs others nothing, and is closed when the time is up.

use super::support::transport::{TLS13, TlsClient, websocket};
use super::support::{Client, Hello, both, tcp};
use super::{Everywhere, until};
use chasqui_broker::Config;
use chasqui_broker::codec::{ReasonCode, Version};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::task::JoinSet;

/// Connections of each kind of silence.
const SILENT: usize = 1_000;

/// The ways to say nothing more.
#[derive(Debug, Clone, Copy)]
enum Silence {
    /// Nothing at all, over TCP.
    Tcp,
    /// Half of a CONNECT.
    HalfConnect,
    /// Nothing, where TLS is expected.
    Tls,
    /// The hello of a TLS client, and no answer to the server's.
    TlsHello,
    /// A TLS handshake, and no CONNECT.
    AfterTls,
    /// Nothing, where a request is expected.
    WebSocket,
    /// Half of a request.
    HalfRequest,
    /// An upgrade, and no CONNECT.
    AfterUpgrade,
    /// A TLS handshake, and half of a request.
    SecureHalfRequest,
}

const ALL: [(Silence, &str); 9] = [
    (Silence::Tcp, "connect_timeouts"),
    (Silence::HalfConnect, "connect_timeouts"),
    (Silence::Tls, "tls_timeouts"),
    (Silence::TlsHello, "tls_timeouts"),
    (Silence::AfterTls, "connect_timeouts"),
    (Silence::WebSocket, "websocket_timeouts"),
    (Silence::HalfRequest, "websocket_timeouts"),
    (Silence::AfterUpgrade, "connect_timeouts"),
    (Silence::SecureHalfRequest, "websocket_timeouts"),
];

/// Any stream.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// What a TLS client says first.
async fn client_hello(tls: &TlsClient) -> Vec<u8> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let stream = tcp(listener.local_addr().expect("bound")).await;
    let (mut other, _) = listener.accept().await.expect("a connection");
    let mut hello = vec![0; 4096];
    let said = async {
        let count = other.read(&mut hello).await.expect("a hello");
        drop(other);
        count
    };
    let (count, failed) = tokio::join!(said, tls.connect(stream));
    failed.expect_err("nobody answered");
    hello.truncate(count);
    hello
}

async fn silent(at: &Everywhere, kind: Silence, tls: &TlsClient, hello: &[u8]) -> Box<dyn Stream> {
    const HALF: &[u8] = b"GET /mqtt HTTP/1.1\r\nHost: localhost\r\nUpgrade: web";
    let address = match kind {
        Silence::Tcp | Silence::HalfConnect => at.server.address,
        Silence::Tls | Silence::TlsHello | Silence::AfterTls => at.tls_address,
        Silence::WebSocket | Silence::HalfRequest | Silence::AfterUpgrade => at.websocket,
        Silence::SecureHalfRequest => at.secure_websocket,
    };
    let mut stream = tcp(address).await;
    match kind {
        Silence::Tcp | Silence::Tls | Silence::WebSocket => {}
        Silence::HalfConnect => stream.write_all(b"\x10\x20\x00\x04MQTT\x05").await.expect("open"),
        Silence::TlsHello => stream.write_all(hello).await.expect("open"),
        Silence::HalfRequest => stream.write_all(HALF).await.expect("open"),
        Silence::AfterUpgrade => {
            websocket(&mut stream, "/mqtt", Some("mqtt")).await.expect("an upgrade");
        }
        Silence::AfterTls => return Box::new(tls.connect(stream).await.expect("a handshake")),
        Silence::SecureHalfRequest => {
            let mut stream = tls.connect(stream).await.expect("a handshake");
            stream.write_all(HALF).await.expect("open");
            stream.flush().await.expect("open");
            return Box::new(stream);
        }
    }
    Box::new(stream)
}

/// Room for both ends of all connections in this process.
fn raise_file_limit(files: u64) {
    let limit = rustix::process::Resource::Nofile;
    let mut now = rustix::process::getrlimit(limit);
    if now.current.is_some_and(|current| current < files) {
        now.current = Some(now.maximum.map_or(files, |most| most.min(files)));
        rustix::process::setrlimit(limit, now).expect("up to the hard limit everybody may");
    }
}

/// Counted, not timed: others come in while all of them are there, and all of them are gone when their hour is over.
#[tokio::test]
async fn a_thousand_of_each_kind_of_silence_lock_nobody_out_and_end_in_their_time() {
    raise_file_limit(4 * SILENT as u64);
    let hour = Duration::from_hours(1);
    for (kind, counter) in ALL {
        let at = Everywhere::start(Config { connect_timeout: hour, ..Config::default() }).await;
        let tls = TlsClient::new(&at.authority, &TLS13, None);
        let hello = client_hello(&tls).await;
        let mut waiting = Vec::new();
        for n in 0..SILENT {
            waiting.push(silent(&at, kind, &tls, &hello).await);
            if n % 250 == 0 {
                let client = at.server.client(Version::V5, "between").await;
                client.disconnect().await;
            }
        }
        until(|| at.server.broker.handshakes() == SILENT).await;
        // Through every door.
        let known = at.server.client(Version::V311, "plain").await;
        let stream = tls.connect(tcp(at.tls_address).await).await.expect("a handshake");
        let secure = Client::over(stream, &Hello::new(Version::V5, "secure")).await;
        let socket = websocket(tcp(at.websocket).await, "/mqtt", Some("mqtt")).await.expect("an upgrade");
        let framed = super::support::transport::bytes_of(socket, 1024);
        let framed = Client::over(framed, &Hello::new(Version::V5, "framed")).await;
        assert_eq!(at.server.broker.handshakes(), SILENT, "{kind:?}: they are all there still");
        assert_eq!(at.count(counter), 0);

        tokio::time::pause();
        tokio::time::advance(hour + Duration::from_secs(1)).await;
        tokio::time::resume();
        at.counted(counter, SILENT as u64).await;
        let mut ended = JoinSet::new();
        for mut stream in waiting {
            ended.spawn(async move {
                let mut rest = Vec::new();
                // An end, or what the broker did not read resets it.
                let _ = stream.read_to_end(&mut rest).await;
            });
        }
        while let Some(end) = ended.join_next().await {
            end.expect("no test code fails here");
        }
        until(|| at.server.broker.connections() == 3).await;
        assert_eq!(at.server.broker.handshakes(), 0, "{kind:?}");
        // Who is known stays.
        let (mut known, mut secure, mut framed) = (known, secure, framed);
        tokio::join!(known.nothing(), secure.nothing(), framed.nothing());
        assert_eq!(at.count("handshakes_displaced"), 0);
    }
}

/// The bound is reached: whoever has been silent for the longest time goes, and whoever comes with a CONNECT comes in.
#[tokio::test]
async fn the_oldest_silence_makes_place_for_the_newest() {
    const MOST: usize = 20;
    let config =
        Config { max_handshakes: MOST, connect_timeout: Duration::from_hours(1), ..Config::default() };
    let at = &Everywhere::start(config).await;
    let mut silent = Vec::new();
    for _ in 0..3 * MOST {
        silent.push(tcp(at.server.address).await);
    }
    at.counted("handshakes_displaced", 2 * MOST as u64).await;
    both(|version| async move {
        let client = at.server.client(version, "honest").await;
        client.disconnect().await;
    })
    .await;
    // The first of the two needed a place; it gave it back when its CONNECT was there.
    at.counted("handshakes_displaced", 2 * MOST as u64 + 1).await;
    let (gone, left) = silent.split_at_mut(2 * MOST + 1);
    for stream in gone {
        assert_eq!(stream.read(&mut [0; 1]).await.unwrap_or(0), 0);
    }
    until(|| at.server.broker.connections() == left.len()).await;
    assert_eq!(at.count("connect_timeouts"), 0);
}

/// Where there is no place for another connection, silence gives up its own first; who is known keeps it.
#[tokio::test]
async fn silence_takes_no_place_from_those_who_speak() {
    const MOST: usize = 10;
    let config =
        Config { max_connections: MOST, connect_timeout: Duration::from_hours(1), ..Config::default() };
    let at = Everywhere::start(config).await;
    let mut silent = Vec::new();
    for _ in 0..MOST {
        silent.push(tcp(at.server.address).await);
    }
    until(|| at.server.broker.handshakes() == MOST).await;
    let mut known = Vec::new();
    for n in 0..MOST {
        let hello = Hello::new(Version::V5, &format!("c{n}"));
        let client = Client::try_connect(at.server.address, &hello).await;
        assert_eq!(client.connack.reason, ReasonCode::Success);
        known.push(client);
    }
    at.counted("handshakes_displaced", MOST as u64).await;
    // All places are taken by those who are known now.
    let mut late = tcp(at.server.address).await;
    assert_eq!(late.read(&mut [0; 1]).await.unwrap_or(0), 0);
    at.counted("connections_refused_full", 1).await;
    for client in &mut known {
        client.nothing().await;
    }
}
