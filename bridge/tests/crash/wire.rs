//! A connection that may break at any moment: what it says of that is an error, and never a panic.

use bytes::{Buf, Bytes, BytesMut};
use chasqui_broker::codec::client::{self, ServerPacket};
use chasqui_broker::codec::packet::{ack, connect, disconnect, publish, subscribe};
use chasqui_broker::codec::{
    AckOut, Connack, Disconnect, Filters, Limits, PacketId, PacketType, Peer, PublishOut, QoS, ReasonCode,
    Subscribe, SubscriptionOptions, UserProperties,
};
use chasqui_testkit::{Hello, PATIENCE};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A client's end. Packets gather in `out` and go with [`Wire::flush`].
pub(crate) struct Wire {
    stream: TcpStream,
    peer: Peer,
    incoming: BytesMut,
    out: Vec<u8>,
    next_id: u16,
}

impl Wire {
    /// Connects and waits for CONNACK.
    pub(crate) async fn connect(address: SocketAddr, hello: &Hello) -> io::Result<(Wire, Connack)> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let peer = Peer::unlimited(hello.0.version);
        let mut wire = Wire { stream, peer, incoming: BytesMut::new(), out: Vec::new(), next_id: 0 };
        connect::encode(&mut wire.out, &hello.0).expect("valid");
        wire.flush().await?;
        let mut first =
            tokio::time::timeout(PATIENCE, wire.read_some(1)).await.map_err(|_| ErrorKind::TimedOut)??;
        match first.pop() {
            Some(ServerPacket::Connack(connack)) => Ok((wire, *connack)),
            other => panic!("CONNACK expected: {other:?}"),
        }
    }

    /// All packets that are there, at least one. Losing this future loses nothing.
    pub(crate) async fn read(&mut self) -> io::Result<Vec<ServerPacket>> {
        self.read_some(usize::MAX).await
    }

    async fn read_some(&mut self, at_most: usize) -> io::Result<Vec<ServerPacket>> {
        loop {
            let packets = self.decode(at_most);
            if !packets.is_empty() {
                return Ok(packets);
            }
            if self.stream.read_buf(&mut self.incoming).await? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
    }

    fn decode(&mut self, at_most: usize) -> Vec<ServerPacket> {
        let buffered: Bytes = self.incoming.split().freeze();
        let (mut packets, mut at) = (Vec::new(), 0);
        while packets.len() < at_most
            && let Some((packet, len)) = client::decode(self.peer.version, &buffered, at, &Limits::UNLIMITED)
                .unwrap_or_else(|error| panic!("the server sent something malformed: {error}"))
        {
            packets.push(packet);
            at += len;
        }
        self.incoming.extend_from_slice(&buffered[at..]);
        packets
    }

    fn packet_id(&mut self) -> PacketId {
        self.next_id = self.next_id % 60_000 + 1;
        PacketId::new(self.next_id).expect("never 0")
    }

    /// A SUBSCRIBE at QoS 1.
    pub(crate) fn subscribe(&mut self, filter: &str) {
        let packet = Subscribe {
            packet_id: self.packet_id(),
            subscription_id: None,
            user_properties: UserProperties::new(),
            filters: Filters::<SubscriptionOptions>::new([(
                filter,
                SubscriptionOptions::qos(QoS::AtLeastOnce),
            )])
            .expect("a filter"),
        };
        subscribe::encode(&mut self.out, &self.peer, &packet).expect("valid");
    }

    /// A PUBLISH at QoS 1.
    pub(crate) fn publish(&mut self, topic: &str, payload: &[u8], dup: bool) -> PacketId {
        let packet_id = self.packet_id();
        let out = PublishOut {
            qos: QoS::AtLeastOnce,
            packet_id: Some(packet_id),
            dup,
            ..PublishOut::new(topic, payload)
        };
        publish::encode(&mut self.out, &self.peer, &out).expect("valid");
        packet_id
    }

    /// A PUBACK.
    pub(crate) fn ack(&mut self, packet_id: PacketId) {
        ack::encode(&mut self.out, &self.peer, PacketType::Puback, &AckOut::success(packet_id))
            .expect("valid");
    }

    /// Whether something waits for [`Wire::flush`].
    pub(crate) fn has_output(&self) -> bool {
        !self.out.is_empty()
    }

    /// Writes what has gathered.
    pub(crate) async fn flush(&mut self) -> io::Result<()> {
        let mut out: &[u8] = &self.out;
        while out.has_remaining() {
            self.stream.write_all_buf(&mut out).await?;
        }
        self.out.clear();
        Ok(())
    }

    /// Says DISCONNECT and waits until the server has closed. What still comes on the way is answered with nothing.
    pub(crate) async fn leave(mut self) -> io::Result<Vec<ServerPacket>> {
        disconnect::encode_from_client(&mut self.out, &self.peer, &Disconnect::new(ReasonCode::Success))
            .expect("valid");
        self.flush().await?;
        let mut late = Vec::new();
        loop {
            match self.read().await {
                Ok(packets) => late.extend(packets),
                Err(_) => return Ok(late),
            }
        }
    }
}
