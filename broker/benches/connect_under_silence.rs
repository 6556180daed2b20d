//! What a connect takes beside a thousand connections that say nothing, or only a part, and what each of them costs.
//!
//! `cargo bench -p chasqui-broker --bench connect_under_silence` prints medians, and the ratio to no silence at all. Both ends are in this process, on
//! loopback; so are the clients whose connects are timed, one after the other.

#![allow(clippy::print_stdout)] // It is a bench: printing is what it is for.

#[path = "../tests/support/counting.rs"]
#[allow(dead_code)]
mod counting;
#[path = "../tests/support/mod.rs"]
mod support;

use chasqui_broker::codec::Version;
use chasqui_broker::{Config, Listener, ListenerOptions, Tls, TlsFiles, Transport};
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::Duration;
use support::certificates::Authority;
use support::transport::{TLS13, TlsClient, websocket};
use support::{Client, Hello, Server, tcp};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

const SILENT: usize = 1_000;
const CONNECTS: usize = 400;

struct At {
    server: Server,
    tls: SocketAddr,
    websocket: SocketAddr,
    secure_websocket: SocketAddr,
    client: TlsClient,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Nothing,
    HalfConnect,
    TlsNothing,
    TlsHello,
    AfterTls,
    WebSocketNothing,
    HalfRequest,
    AfterUpgrade,
}

impl At {
    async fn start() -> At {
        let (authority, folder) = (Authority::new(), tempfile::tempdir().expect("a temporary folder"));
        authority.server().write(folder.path(), "server");
        let tls = Tls::load(TlsFiles {
            certificate: folder.path().join("server.pem"),
            key: folder.path().join("server.key"),
            ..TlsFiles::default()
        })
        .expect("files in order");
        let hour = Duration::from_hours(1);
        let server = Server::start_with(Config { connect_timeout: hour, ..Config::default() }).await;
        let listen = async |transport: Transport| {
            let socket = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
            let address = socket.local_addr().expect("bound");
            let (broker, options) = (server.broker.clone(), ListenerOptions::new("bench", transport));
            tokio::spawn(async move { broker.serve(Listener { socket, options }).await });
            address
        };
        let websocket = listen(Transport::WebSocket).await;
        let secure_websocket = listen(Transport::SecureWebSocket(tls.clone())).await;
        let tls = listen(Transport::Tls(tls)).await;
        At { server, tls, websocket, secure_websocket, client: TlsClient::new(&authority, &TLS13, None) }
    }

    async fn secured(&self, address: SocketAddr) -> tokio_rustls::client::TlsStream<TcpStream> {
        self.client.connect(tcp(address).await).await.expect("a handshake")
    }

    /// One connection that says no more than this; of the client, the socket alone is kept.
    async fn silent(&self, kind: Kind, hello: &[u8]) -> TcpStream {
        let address = match kind {
            Kind::Nothing | Kind::HalfConnect => self.server.address,
            Kind::TlsNothing | Kind::TlsHello | Kind::AfterTls => self.tls,
            Kind::WebSocketNothing | Kind::HalfRequest | Kind::AfterUpgrade => self.websocket,
        };
        let mut stream = tcp(address).await;
        let part: &[u8] = match kind {
            Kind::HalfConnect => b"\x10\x20\x00\x04MQTT\x05",
            Kind::TlsHello => hello,
            Kind::HalfRequest => b"GET /mqtt HTTP/1.1\r\nHost: localhost\r\nUpgrade: web",
            Kind::AfterTls => return self.client.connect(stream).await.expect("a handshake").into_inner().0,
            Kind::AfterUpgrade => {
                websocket(&mut stream, "/mqtt", Some("mqtt")).await.expect("an upgrade");
                return stream;
            }
            _ => b"",
        };
        stream.write_all(part).await.expect("open");
        stream
    }

    /// Medians of a connect over each transport, microseconds: from the first SYN to CONNACK.
    async fn connects(&self) -> [f64; 4] {
        let hello = Hello::new(Version::V5, "timed");
        let mut times: [Vec<f64>; 4] = Default::default();
        for _ in 0..CONNECTS {
            for (n, times) in times.iter_mut().enumerate() {
                let begin = Instant::now();
                match n {
                    0 => drop(Client::over(tcp(self.server.address).await, &hello).await),
                    1 => drop(Client::over(self.secured(self.tls).await, &hello).await),
                    2 => drop(
                        websocket(tcp(self.websocket).await, "/mqtt", Some("mqtt"))
                            .await
                            .expect("an upgrade"),
                    ),
                    _ => drop(
                        websocket(self.secured(self.secure_websocket).await, "/mqtt", Some("mqtt"))
                            .await
                            .expect("an upgrade"),
                    ),
                }
                times.push(begin.elapsed().as_secs_f64() * 1e6);
            }
        }
        times.map(|mut times| {
            times.sort_by(f64::total_cmp);
            times[times.len() / 2]
        })
    }
}

/// The first thing that a TLS client says.
async fn client_hello(client: &TlsClient) -> Vec<u8> {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let stream = tcp(listener.local_addr().expect("bound")).await;
    let (mut other, _) = listener.accept().await.expect("a connection");
    let mut hello = vec![0; 4096];
    let said = async {
        let count = tokio::io::AsyncReadExt::read(&mut other, &mut hello).await.expect("a hello");
        drop(other);
        count
    };
    let (count, _) = tokio::join!(said, client.connect(stream));
    hello.truncate(count);
    hello
}

/// Bytes that the broker holds for an idle client that is connected, by transport.
async fn idle_memory(at: &At) -> [isize; 4] {
    let mut held = [0; 4];
    for (n, held) in held.iter_mut().enumerate() {
        let mut kept: Vec<TcpStream> = Vec::with_capacity(SILENT);
        let before = counting::LIVE.load(Ordering::Relaxed);
        for id in 0..SILENT {
            let hello = Hello::new(Version::V5, &format!("idle-{n}-{id}"));
            kept.push(match n {
                0 => Client::over(tcp(at.server.address).await, &hello).await.stream,
                1 => Client::over(at.secured(at.tls).await, &hello).await.stream.into_inner().0,
                2 => framed(tcp(at.websocket).await, &hello).await,
                _ => framed(at.secured(at.secure_websocket).await, &hello).await.into_inner().0,
            });
        }
        *held = (counting::LIVE.load(Ordering::Relaxed) - before) / SILENT.cast_signed();
        drop(kept);
        while at.server.broker.connections() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    held
}

/// Connects in one frame and waits for the answer; the layer of WebSocket is given back.
async fn framed<S>(stream: S, hello: &Hello) -> S
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    use futures_util::{SinkExt, StreamExt};
    let mut socket = websocket(stream, "/mqtt", Some("mqtt")).await.expect("an upgrade");
    let mut connect = Vec::new();
    chasqui_broker::codec::packet::connect::encode(&mut connect, &hello.0).expect("valid");
    socket.send(tokio_tungstenite::tungstenite::Message::Binary(connect.into())).await.expect("open");
    socket.next().await.expect("CONNACK").expect("in order");
    socket.into_inner()
}

async fn run() {
    let at = At::start().await;
    let hello = client_hello(&at.client).await;
    let warm_up = at.connects().await;
    let calm = at.connects().await;
    let show = |what: &str, times: [f64; 4], bytes: isize| {
        let shown: Vec<String> = times
            .iter()
            .zip(calm)
            .map(|(time, calm)| format!("{:>7.0} µs ({:>4.2}×)", time, time / calm))
            .collect();
        println!("{what:<18} {}  {bytes:>6} bytes each", shown.join("  "));
    };
    println!(
        "median of {CONNECTS} connects beside {SILENT} silent connections: TCP, TLS, WebSocket (upgrade), both"
    );
    show("nobody, first", warm_up, 0);
    show("nobody", calm, 0);
    for kind in [
        Kind::Nothing,
        Kind::HalfConnect,
        Kind::TlsNothing,
        Kind::TlsHello,
        Kind::AfterTls,
        Kind::WebSocketNothing,
        Kind::HalfRequest,
        Kind::AfterUpgrade,
    ] {
        let mut silent = Vec::with_capacity(SILENT);
        let before = counting::LIVE.load(Ordering::Relaxed);
        for _ in 0..SILENT {
            silent.push(at.silent(kind, &hello).await);
        }
        while at.server.broker.handshakes() < SILENT {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let bytes = (counting::LIVE.load(Ordering::Relaxed) - before) / SILENT.cast_signed();
        show(&format!("{kind:?}"), at.connects().await, bytes);
        drop(silent);
        while at.server.broker.connections() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    let [tcp, tls, websocket, both] = idle_memory(&at).await;
    println!(
        "an idle client, with its socket on the other side: TCP {tcp}, TLS {tls}, WebSocket {websocket}, both {both} bytes"
    );
}

fn main() {
    // Both ends of all connections are in this process.
    let (limit, ours) = (rustix::process::Resource::Nofile, 4 * SILENT as u64);
    let mut files = rustix::process::getrlimit(limit);
    if files.current.is_some_and(|now| now < ours) {
        files.current = Some(files.maximum.map_or(ours, |most| most.min(ours)));
        rustix::process::setrlimit(limit, files).expect("up to the hard limit everybody may");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("threads").block_on(run());
}
