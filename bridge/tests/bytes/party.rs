//! Who takes part: a client that counts its packets and, below them, what crosses its socket.

use crate::scene::Scene;
use crate::support::meter::{Meter, Metered, Traffic};
use crate::support::transport::HandshakeKind;
use crate::support::{Client, Hello, tcp};
use chasqui_broker::codec::client::ServerPacket;
use chasqui_broker::codec::{Publish, PublishOut, QoS, Version};
use std::collections::HashMap;
use std::num::NonZeroU16;
use tokio::io::{AsyncRead, AsyncWrite};

/// What a record of TLS 1.3 adds: its header, the type of what is in it, and the tag.
const RECORD_BYTES: u64 = 5 + 1 + 16;
/// As long as 128 random bits in base64.
pub(crate) const PASSWORD: &str = "q83vASNFZ4mrze8BI0VniQ";

/// A column of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    V311,
    V5,
    /// 5.0 where both sides use topic aliases.
    V5Aliases,
}

impl Dialect {
    pub(crate) const ALL: [Dialect; 3] = [Dialect::V311, Dialect::V5, Dialect::V5Aliases];

    pub(crate) fn version(self) -> Version {
        if self == Dialect::V311 { Version::V311 } else { Version::V5 }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Dialect::V311 => "3.1.1",
            Dialect::V5 => "5.0",
            Dialect::V5Aliases => "5.0, aliases",
        }
    }
}

/// What carries the packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    Tcp,
    Tls,
}

impl Transport {
    /// What it adds to each piece that it carries.
    pub(crate) fn record_bytes(self) -> u64 {
        if self == Transport::Tls { RECORD_BYTES } else { 0 }
    }
}

pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// The records of CONNECT and CONNACK. What else crosses until then is the handshake, tickets included.
fn said_hello(transport: Transport) -> Traffic {
    Traffic { up: transport.record_bytes(), down: transport.record_bytes() }
}

/// A user's phone.
pub(crate) struct Party {
    pub(crate) client: Client<Box<dyn Stream>>,
    dialect: Dialect,
    transport: Transport,
    meter: Meter,
    /// What was accounted for when the socket was last looked at.
    settled: [Traffic; 2],
    /// The handshake of TLS, and its kind.
    pub(crate) handshake: Option<(Traffic, HandshakeKind)>,
    /// Aliases that it chose.
    aliases: HashMap<String, NonZeroU16>,
    /// Aliases that the server chose.
    names: HashMap<NonZeroU16, String>,
}

impl Party {
    /// Connects a phone whose session is kept.
    pub(crate) async fn connect(scene: &Scene, user: &str) -> Party {
        let Scene { dialect, transport, .. } = *scene;
        let mut hello = Hello::new(dialect.version(), "phone").user(user, PASSWORD).kept();
        if dialect == Dialect::V5Aliases {
            hello.0.properties.topic_alias_maximum = Some(16);
        }
        let (stream, meter) = Metered::new(tcp(scene.address()).await);
        let mut kind = None;
        let stream: Box<dyn Stream> = match transport {
            Transport::Tcp => Box::new(stream),
            Transport::Tls => {
                let stream = scene.tls.connect(stream).await.expect("a handshake");
                kind = stream.get_ref().1.handshake_kind();
                Box::new(stream)
            }
        };
        let client = Client::over(stream, &hello).await;
        let handshake = meter.traffic() - client.traffic() - said_hello(transport);
        let (aliases, names) = (HashMap::new(), HashMap::new());
        let settled = [Traffic::default(); 2];
        let mut party = Party { client, dialect, transport, meter, settled, handshake: None, aliases, names };
        party.shook_hands(handshake);
        party.handshake = kind.map(|kind| (handshake, kind));
        party
    }

    /// Accounts for the handshake, where CONNACK may have come together with what is behind it.
    pub(crate) fn shook_hands(&mut self, handshake: Traffic) {
        let packets = self.client.traffic();
        self.settled = [packets, handshake + packets + said_hello(self.transport)];
    }

    /// Looks at the socket: what has crossed it since the last time is the packets, and over TLS at most one record for each of
    /// `packets`. Answers the records.
    pub(crate) fn settle(&mut self, packets: Traffic) -> Traffic {
        let now = [self.client.traffic(), self.meter.traffic()];
        let [said, crossed] = [now[0] - self.settled[0], now[1] - self.settled[1]];
        self.settled = now;
        let around = crossed - said;
        let record = self.transport.record_bytes();
        if record == 0 {
            assert_eq!(around, Traffic::default(), "nothing but packets crosses a bare socket");
            return around;
        }
        let records = Traffic { up: around.up / record, down: around.down / record };
        assert_eq!((around.up % record, around.down % record), (0, 0), "records add {record} bytes each");
        for (records, packets) in [(records.up, packets.up), (records.down, packets.down)] {
            assert!(records <= packets, "{records} records for {packets} packets");
        }
        records
    }

    /// Publishes with QoS 1; the bytes it took.
    pub(crate) async fn publish(&mut self, topic: &str, payload: &[u8]) -> u64 {
        self.publish_with(QoS::AtLeastOnce, topic, payload).await
    }

    /// Publishes; the bytes it took.
    pub(crate) async fn publish_with(&mut self, qos: QoS, topic: &str, payload: &[u8]) -> u64 {
        let (mut name, mut topic_alias) = (topic, None);
        if self.dialect == Dialect::V5Aliases {
            let next = NonZeroU16::new(self.aliases.len() as u16 + 1).expect("above 0");
            let known = self.aliases.insert(topic.to_owned(), next);
            if let Some(known) = known {
                self.aliases.insert(topic.to_owned(), known);
                name = "";
            }
            topic_alias = known.or(Some(next));
        }
        let before = self.client.traffic();
        let out = PublishOut { qos, topic_alias, ..PublishOut::new(name, payload) };
        self.client.send(out).await;
        (self.client.traffic() - before).up
    }

    /// The next packet, and the bytes it took.
    pub(crate) async fn hear(&mut self) -> (ServerPacket, u64) {
        let before = self.client.traffic();
        let packet = self.client.receive().await;
        (packet, (self.client.traffic() - before).down)
    }

    /// The next packet, which must be a message with this topic; and the bytes it took.
    pub(crate) async fn hear_from(&mut self, topic: &str) -> (Publish, u64) {
        match self.hear().await {
            (ServerPacket::Publish(publish, _), bytes) => {
                assert_eq!(self.topic_of(&publish), topic);
                (publish, bytes)
            }
            other => panic!("a message of {topic} was expected: {other:?}"),
        }
    }

    /// The topic of a message, which may be left out where there is an alias.
    pub(crate) fn topic_of(&mut self, publish: &Publish) -> String {
        match publish.topic_alias {
            Some(alias) if publish.topic.is_empty() => self.names[&alias].clone(),
            Some(alias) => {
                self.names.insert(alias, publish.topic.to_string());
                publish.topic.to_string()
            }
            None => publish.topic.to_string(),
        }
    }

    /// Acknowledges a message; the bytes it took.
    pub(crate) async fn ack(&mut self, publish: &Publish) -> u64 {
        let before = self.client.traffic();
        self.client.ack(publish).await;
        (self.client.traffic() - before).up
    }

    /// Shows that nothing more is on its way, and forgets what that took.
    pub(crate) async fn nothing(&mut self) {
        self.client.nothing().await;
        self.settle(Traffic { up: 2, down: 2 });
    }
}
