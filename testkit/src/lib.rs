//! What tests of several crates share: a client that speaks raw packets over a real socket, [`certificates`] and [`transport`] for
//! TLS and WebSocket, [`meter`], which counts what crosses a socket, and [`history`], which knows what a server promises and checks
//! what clients saw against it.
//!
//! The client says exactly what a test wants said, in either version of MQTT, and hides nothing of what comes back. It panics where a server does
//! what no test expects: a test that goes on after that would show nothing.

#![allow(clippy::missing_panics_doc)] // It is for tests: panicking is how it reports.

pub mod allocations;
pub mod blocking;
pub mod certificates;
pub mod history;
pub mod meter;
pub mod transport;

use bytes::{Bytes, BytesMut};
use chasqui_broker::codec::client::{self, ServerPacket};
use chasqui_broker::codec::packet::{ack, connect, disconnect, ping, publish, subscribe, unsubscribe};
use chasqui_broker::codec::{
    Ack, AckOut, ByteStr, Connack, Connect, ConnectProperties, Disconnect, Filters, Limits, PacketId,
    PacketType, Peer, Publish, PublishOut, QoS, ReasonCode, Subscribe, SubscriptionOptions, Unsubscribe,
    UserProperties, Version, Will,
};
use meter::Traffic;
use std::collections::VecDeque;
use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

/// Longer than anything takes that works; only a test that fails waits so long.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Runs a test body for 3.1.1 and for 5.0.
pub async fn both<F: Future<Output = ()>>(body: impl Fn(Version) -> F) {
    for version in [Version::V311, Version::V5] {
        body(version).await;
    }
}

/// A CONNECT to be.
#[derive(Clone)]
pub struct Hello(pub Connect);

impl Hello {
    /// Clean start, no keep-alive.
    pub fn new(version: Version, client_id: &str) -> Hello {
        Hello(Connect {
            version,
            clean_start: true,
            keep_alive: 0,
            client_id: text(client_id),
            username: None,
            password: None,
            will: None,
            properties: ConnectProperties::default(),
        })
    }

    /// With a user name and a password.
    #[must_use]
    pub fn user(mut self, user: &str, password: &str) -> Hello {
        self.0.username = Some(text(user));
        self.0.password = Some(Bytes::copy_from_slice(password.as_bytes()));
        self
    }

    /// A session that outlives the connection, on either version.
    #[must_use]
    pub fn kept(mut self) -> Hello {
        self.0.clean_start = false;
        if self.0.version == Version::V5 {
            self.0.properties.session_expiry_interval = Some(u32::MAX);
        }
        self
    }

    /// With a keep-alive, seconds.
    #[must_use]
    pub fn keep_alive(mut self, seconds: u16) -> Hello {
        self.0.keep_alive = seconds;
        self
    }

    /// With a will.
    #[must_use]
    pub fn will(mut self, topic: &str, payload: &'static [u8], qos: QoS, retain: bool) -> Hello {
        self.0.will = Some(Will {
            topic: text(topic),
            payload: Bytes::from_static(payload),
            qos,
            retain,
            delay_interval: None,
            properties: None,
        });
        self
    }
}

/// A string of the protocol.
pub fn text(text: &str) -> ByteStr {
    ByteStr::try_from(text).expect("texts of tests are valid")
}

/// A client on a raw socket, or on whatever carries its bytes.
pub struct Client<S = TcpStream> {
    /// The socket.
    pub stream: S,
    /// What encoders are to obey.
    pub peer: Peer,
    /// What the server said to CONNECT.
    pub connack: Connack,
    incoming: BytesMut,
    traffic: Traffic,
    /// Messages that came while something else was waited for.
    early: VecDeque<ServerPacket>,
    next_id: u16,
}

impl Client {
    /// Connects and is let in.
    pub async fn connect(address: SocketAddr, hello: &Hello) -> Client {
        let client = Client::try_connect(address, hello).await;
        assert_eq!(client.connack.reason, ReasonCode::Success, "{:?}", client.connack);
        client
    }

    /// Connects; the CONNACK says how it went.
    pub async fn try_connect(address: SocketAddr, hello: &Hello) -> Client {
        Client::over(tcp(address).await, hello).await
    }

    /// Sends CONNECT, and waits for nothing.
    pub async fn open(address: SocketAddr, hello: &Hello) -> Client {
        Client::open_over(tcp(address).await, hello).await
    }
}

/// Opens a connection.
pub async fn tcp(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).await.expect("the server listens");
    stream.set_nodelay(true).expect("a TCP socket");
    stream
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    /// Says CONNECT on a connection that is open; the CONNACK says how it went.
    pub async fn over(stream: S, hello: &Hello) -> Client<S> {
        let mut client = Client::open_over(stream, hello).await;
        match client.receive().await {
            ServerPacket::Connack(connack) => client.connack = *connack,
            other => panic!("CONNACK expected: {other:?}"),
        }
        client
    }

    /// Sends CONNECT on a connection that is open, and waits for nothing.
    pub async fn open_over(stream: S, hello: &Hello) -> Client<S> {
        let peer = Peer::unlimited(hello.0.version);
        let mut client = Client {
            stream,
            peer,
            connack: Connack::refused(ReasonCode::UnspecifiedError),
            incoming: BytesMut::new(),
            traffic: Traffic::default(),
            early: VecDeque::new(),
            next_id: 0,
        };
        let mut out = Vec::new();
        connect::encode(&mut out, &hello.0).expect("valid");
        client.write(&out).await;
        client
    }

    /// Sends bytes as they are.
    pub async fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("the connection is open");
        // A layer such as TLS may have taken them and sent nothing.
        self.stream.flush().await.expect("the connection is open");
        self.traffic.up += bytes.len() as u64;
    }

    /// The next packet, or `None` when the server has closed the connection.
    pub async fn next(&mut self) -> Option<ServerPacket> {
        match self.early.pop_front() {
            Some(packet) => Some(packet),
            None => self.read().await,
        }
    }

    async fn read(&mut self) -> Option<ServerPacket> {
        tokio::time::timeout(PATIENCE, async {
            loop {
                let buffered = Bytes::copy_from_slice(&self.incoming);
                let decoded = client::decode(self.peer.version, &buffered, 0, &Limits::UNLIMITED)
                    .unwrap_or_else(|error| {
                        panic!("the server sent something malformed: {error}: {buffered:?}")
                    });
                if let Some((packet, len)) = decoded {
                    let _ = self.incoming.split_to(len);
                    self.traffic.down += len as u64;
                    return Some(packet);
                }
                match self.stream.read_buf(&mut self.incoming).await {
                    Ok(0) | Err(_) => {
                        assert!(self.incoming.is_empty(), "the server closed in the middle of a packet");
                        return None;
                    }
                    Ok(_) => {}
                }
            }
        })
        .await
        .expect("the server says something in time")
    }

    /// Bytes of all packets so far, without what the transport puts around them.
    pub fn traffic(&self) -> Traffic {
        self.traffic
    }

    /// The next packet.
    pub async fn receive(&mut self) -> ServerPacket {
        self.next().await.expect("the connection is open")
    }

    /// Asserts that the server closes the connection; the code of its DISCONNECT, where it says one.
    pub async fn closed(&mut self) -> Option<ReasonCode> {
        let mut said = None;
        while let Some(packet) = self.next().await {
            match packet {
                ServerPacket::Disconnect(disconnect) => said = Some(disconnect.reason),
                other => panic!("the connection was to be closed: {other:?}"),
            }
        }
        said
    }

    /// Asserts that nothing is on its way: what the server sends next are the answers to two PINGREQ, one after the other. Two, because
    /// what a server has to send when the first one comes may leave behind its answer.
    pub async fn nothing(&mut self) {
        let mut out = Vec::new();
        ping::encode_request(&mut out);
        for _ in 0..2 {
            self.write(&out).await;
            let answer = self.receive().await;
            assert!(matches!(answer, ServerPacket::Pingresp), "nothing was expected: {answer:?}");
        }
    }

    fn packet_id(&mut self) -> PacketId {
        self.next_id = self.next_id % 60_000 + 1;
        PacketId::new(self.next_id).expect("never 0")
    }

    /// Subscribes and waits for the SUBACK; its codes.
    pub async fn subscribe(&mut self, filters: &[(&str, QoS)]) -> Vec<ReasonCode> {
        let filters: Vec<_> =
            filters.iter().map(|(filter, qos)| (*filter, SubscriptionOptions::qos(*qos))).collect();
        self.subscribe_with(&filters, None).await
    }

    /// The same with options, and with a subscription identifier.
    pub async fn subscribe_with(
        &mut self,
        filters: &[(&str, SubscriptionOptions)],
        identifier: Option<u32>,
    ) -> Vec<ReasonCode> {
        let packet_id = self.packet_id();
        let packet = Subscribe {
            packet_id,
            subscription_id: identifier,
            user_properties: UserProperties::new(),
            filters: Filters::<SubscriptionOptions>::new(filters.iter().copied())
                .expect("at least one filter"),
        };
        let mut out = Vec::new();
        subscribe::encode(&mut out, &self.peer, &packet).expect("valid");
        self.write(&out).await;
        match self.receive().await {
            ServerPacket::Suback(suback) => {
                assert_eq!(suback.packet_id, packet_id);
                suback.codes.to_vec()
            }
            other => panic!("SUBACK expected: {other:?}"),
        }
    }

    /// Unsubscribes and waits for the UNSUBACK; its codes.
    pub async fn unsubscribe(&mut self, filters: &[&str]) -> Vec<ReasonCode> {
        let packet_id = self.packet_id();
        let packet = Unsubscribe {
            packet_id,
            user_properties: UserProperties::new(),
            filters: Filters::<()>::new(filters.iter().copied()).expect("at least one filter"),
        };
        let mut out = Vec::new();
        unsubscribe::encode(&mut out, &self.peer, &packet).expect("valid");
        self.write(&out).await;
        match self.receive().await {
            ServerPacket::Unsuback(unsuback) => {
                assert_eq!(unsuback.packet_id, packet_id);
                unsuback.codes.to_vec()
            }
            other => panic!("UNSUBACK expected: {other:?}"),
        }
    }

    /// Publishes without waiting.
    pub async fn send(&mut self, out: PublishOut<'_>) -> Option<PacketId> {
        let packet_id = (out.qos > QoS::AtMostOnce).then(|| self.packet_id());
        let out = PublishOut { packet_id, ..out };
        let mut bytes = Vec::new();
        publish::encode(&mut bytes, &self.peer, &out).expect("valid");
        self.write(&bytes).await;
        packet_id
    }

    /// Publishes with QoS 1 and waits for the PUBACK.
    pub async fn publish(&mut self, topic: &str, payload: &[u8]) -> Ack {
        self.publish_with(PublishOut { qos: QoS::AtLeastOnce, ..PublishOut::new(topic, payload) }).await
    }

    /// Publishes with QoS above 0 and waits for the PUBACK, or goes through the exchange of QoS 2; the PUBACK or PUBREC.
    pub async fn publish_with(&mut self, out: PublishOut<'_>) -> Ack {
        let packet_id = self.send(out).await;
        match self.receive().await {
            ServerPacket::Puback(ack) if out.qos == QoS::AtLeastOnce => {
                assert_eq!(Some(ack.packet_id), packet_id);
                ack
            }
            ServerPacket::Pubrec(ack) if out.qos == QoS::ExactlyOnce => {
                assert_eq!(Some(ack.packet_id), packet_id);
                if !ack.reason.is_error() {
                    self.send_ack(PacketType::Pubrel, ack.packet_id).await;
                    let answer = self.receive().await;
                    let ServerPacket::Pubcomp(done) = &answer else { panic!("PUBCOMP expected: {answer:?}") };
                    assert_eq!((done.packet_id, done.reason), (ack.packet_id, ReasonCode::Success));
                }
                ack
            }
            other => panic!("PUBACK or PUBREC expected: {other:?}"),
        }
    }

    /// Sends PUBACK, PUBREC, PUBREL or PUBCOMP.
    pub async fn send_ack(&mut self, kind: PacketType, packet_id: PacketId) {
        let mut out = Vec::new();
        ack::encode(&mut out, &self.peer, kind, &AckOut::success(packet_id)).expect("valid");
        self.write(&out).await;
    }

    /// Waits for PUBREL; messages that come before it are taken afterwards.
    pub async fn pubrel(&mut self) -> Ack {
        loop {
            match self.read().await.expect("the connection is open") {
                ServerPacket::Pubrel(ack) => return ack,
                message @ ServerPacket::Publish(..) => self.early.push_back(message),
                other => panic!("PUBREL expected: {other:?}"),
            }
        }
    }

    /// The next PUBLISH, unacknowledged.
    pub async fn message(&mut self) -> Publish {
        self.message_with_ids().await.0
    }

    /// The next PUBLISH with its subscription identifiers, unacknowledged.
    pub async fn message_with_ids(&mut self) -> (Publish, Vec<u32>) {
        match self.receive().await {
            ServerPacket::Publish(publish, ids) => (publish, ids.to_vec()),
            other => panic!("PUBLISH expected: {other:?}"),
        }
    }

    /// Acknowledges a message; for QoS 2 the whole exchange.
    pub async fn ack(&mut self, publish: &Publish) {
        let packet_id = publish.packet_id.expect("a message with QoS above 0");
        if publish.qos == QoS::AtLeastOnce {
            return self.send_ack(PacketType::Puback, packet_id).await;
        }
        self.send_ack(PacketType::Pubrec, packet_id).await;
        assert_eq!(self.pubrel().await.packet_id, packet_id);
        self.send_ack(PacketType::Pubcomp, packet_id).await;
    }

    /// The next PUBLISH, acknowledged where it has to be.
    pub async fn take(&mut self) -> Publish {
        let publish = self.message().await;
        if publish.packet_id.is_some() {
            self.ack(&publish).await;
        }
        publish
    }

    /// Says DISCONNECT and waits until the server has closed.
    pub async fn disconnect(mut self) {
        let mut out = Vec::new();
        disconnect::encode_from_client(&mut out, &self.peer, &Disconnect::new(ReasonCode::Success))
            .expect("valid");
        self.write(&out).await;
        assert_eq!(self.closed().await, None);
    }
}
