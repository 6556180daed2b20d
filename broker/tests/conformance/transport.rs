//! Chapter 6: MQTT in WebSocket frames, which this client writes and reads by hand.

use crate::raw::{Hello, PINGREQ, PINGRESP, Pub, SUBACK, subscribe};
use crate::support::{PATIENCE, PlainHook, both, ram_store};
use chasqui_broker::{Broker, Config, Listener, ListenerOptions, Transport};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const CONTINUATION: u8 = 0x0;
const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const LAST: u8 = 0x80;

/// A broker that speaks WebSocket.
async fn server() -> SocketAddr {
    let config = Config::default();
    let store = Arc::new(ram_store(&config));
    let broker = Broker::new(config, Arc::new(PlainHook), store);
    broker.start().expect("the store can be read");
    let socket = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = socket.local_addr().expect("a bound listener");
    let options = ListenerOptions::new("ws", Transport::WebSocket);
    tokio::spawn(async move { tokio::join!(broker.serve(Listener { socket, options }), broker.tend()) });
    address
}

/// A WebSocket.
struct Socket {
    stream: TcpStream,
    /// Bytes of MQTT that were read and not looked at.
    incoming: Vec<u8>,
}

/// Asks for an upgrade, offering these subprotocols; the head of the answer in small letters.
async fn ask(address: SocketAddr, offered: Option<&str>) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(address).await.expect("the server listens");
    // The key of RFC 6455, 1.3.
    let mut request =
        "GET /mqtt HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            .to_owned();
    if let Some(offered) = offered {
        for part in ["Sec-WebSocket-Protocol: ", offered, "\r\n"] {
            request.push_str(part);
        }
    }
    request.push_str("\r\n");
    stream.write_all(request.as_bytes()).await.expect("the connection is open");
    let mut head = Vec::new();
    let read = async {
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.expect("the answer has an end"));
        }
    };
    tokio::time::timeout(PATIENCE, read).await.expect("the server answers in time");
    (stream, String::from_utf8(head).expect("a head is text").to_ascii_lowercase())
}

impl Socket {
    async fn open(address: SocketAddr) -> Socket {
        let (stream, head) = ask(address, Some("mqtt")).await;
        assert!(head.starts_with("http/1.1 101 "), "{head}");
        assert!(head.contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo="), "{head}");
        Socket { stream, incoming: Vec::new() }
    }

    /// Sends one frame, masked as a client must.
    async fn frame(&mut self, first: u8, payload: &[u8]) {
        let mask = [0x37, 0xFA, 0x21, 0x3D];
        let mut frame = vec![first];
        if payload.len() < 126 {
            frame.push(0x80 | payload.len() as u8);
        } else {
            frame.push(0x80 | 0x7E);
            frame.extend(u16::try_from(payload.len()).expect("short frames").to_be_bytes());
        }
        frame.extend(mask);
        frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        self.stream.write_all(&frame).await.expect("the connection is open");
    }

    /// The next frame of the server: its first byte and its payload; `None` when the connection has ended.
    async fn next(&mut self) -> Option<(u8, Vec<u8>)> {
        let read = async {
            let first = self.stream.read_u8().await.ok()?;
            let len = self.stream.read_u8().await.expect("a whole frame");
            assert!(len & 0x80 == 0, "a server does not mask");
            let len = match len {
                126 => usize::from(self.stream.read_u16().await.expect("a whole frame")),
                127 => self.stream.read_u64().await.expect("a whole frame") as usize,
                short => usize::from(short),
            };
            let mut payload = vec![0; len];
            self.stream.read_exact(&mut payload).await.expect("a whole frame");
            Some((first, payload))
        };
        tokio::time::timeout(PATIENCE, read).await.expect("the server says something in time")
    }

    /// The next packet of at most 129 bytes, whole.
    async fn packet(&mut self) -> Vec<u8> {
        loop {
            if let [_, len, ..] = self.incoming[..] {
                assert!(len < 0x80, "these tests ask for short packets");
                let len = 2 + usize::from(len);
                if self.incoming.len() >= len {
                    return self.incoming.drain(..len).collect();
                }
            }
            let (first, payload) = self.next().await.expect("the connection is open");
            assert!(matches!(first & 0x0F, BINARY | CONTINUATION), "a server sends MQTT in binary frames");
            self.incoming.extend(payload);
        }
    }

    /// Asserts that the server ends the connection, and sends no MQTT any more.
    async fn closed(&mut self) {
        while let Some((first, _)) = self.next().await {
            assert_eq!(first, LAST | CLOSE, "nothing but the end of the WebSocket");
        }
    }
}

#[tokio::test]
async fn packets_do_not_care_where_frames_begin_and_end() {
    both(|version| async move {
        let address = server().await;
        let connect = Hello::new(version, "c").bytes();
        let subscribe = subscribe(version, 7, &[("t", 0)]);
        let publish = Pub::new("t", "x").bytes(version);
        let all = [&connect[..], &subscribe, &publish, &PINGREQ].concat();
        // Byte by byte; in threes, which no packet is a multiple of; all in one; and one message of two frames.
        for size in [1, 3, all.len(), 0] {
            let mut socket = Socket::open(address).await;
            if size == 0 {
                let (one, other) = all.split_at(connect.len() + 3);
                socket.frame(BINARY, one).await;
                socket.frame(LAST | CONTINUATION, other).await;
            } else {
                for part in all.chunks(size) {
                    socket.frame(LAST | BINARY, part).await;
                }
            }
            let connack = socket.packet().await;
            assert_eq!((connack[0], connack[2], connack[3]), (0x20, 0, 0));
            let suback = socket.packet().await;
            assert_eq!((suback[0], &suback[2..4], suback.last()), (SUBACK, &[0, 7][..], Some(&0)));
            let mut rest = vec![socket.packet().await, socket.packet().await];
            rest.sort();
            assert_eq!(rest, [publish.clone(), PINGRESP.to_vec()]);
        }
    })
    .await;
}

#[tokio::test]
async fn a_text_frame_closes() {
    both(|version| async move {
        let address = server().await;
        let connect = Hello::new(version, "c").bytes();
        let mut socket = Socket::open(address).await;
        socket.frame(LAST | TEXT, &connect).await;
        socket.closed().await;
        let mut socket = Socket::open(address).await;
        socket.frame(LAST | BINARY, &connect).await;
        assert_eq!(socket.packet().await[0], 0x20);
        socket.frame(LAST | TEXT, &PINGREQ).await;
        // A client that can be told on 5.0 may be told before the end.
        while let Some((first, payload)) = socket.next().await {
            assert!(first == LAST | CLOSE || payload[0] == 0xE0, "0x{first:02X} {payload:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn the_subprotocol_is_mqtt() {
    let address = server().await;
    for offered in ["mqtt", "mqttv3.1, mqtt", "mqtt, other"] {
        let (_, head) = ask(address, Some(offered)).await;
        assert!(head.starts_with("http/1.1 101 "), "{head}");
        let chosen: Vec<_> =
            head.lines().filter(|line| line.starts_with("sec-websocket-protocol:")).collect();
        assert_eq!(chosen, ["sec-websocket-protocol: mqtt"]);
    }
    for offered in [None, Some("mqttv3.1"), Some("mqtt2")] {
        let (mut stream, head) = ask(address, offered).await;
        assert!(head.starts_with("http/1.1 400 "), "{head}");
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.expect("the server closes");
    }
}
