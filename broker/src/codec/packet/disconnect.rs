//! DISCONNECT (section 3.14): the last packet, from either side on 5.0, from the client on 3.1.1.

use super::ack::read_reason;
use super::outline::{Diagnostics, Outline, put_text, put_u32};
use crate::codec::primitive::{Block, Reader, Sink};
use crate::codec::property::{Place, Properties, PropertyId};
use crate::codec::{
    ByteStr, DecodeError, EncodeError, PacketType, Peer, ReasonCode, Sender, UserProperties, Version,
};

/// A DISCONNECT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disconnect {
    /// Why; always normal on 3.1.1.
    pub reason: ReasonCode,
    /// `None` when there are none, and on 3.1.1.
    pub properties: Option<Box<DisconnectProperties>>,
}

/// The properties of a DISCONNECT.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DisconnectProperties {
    /// Seconds that the session outlives the connection, instead of what CONNECT said; the client's only
    /// [MQTT-3.14.2-2].
    pub session_expiry_interval: Option<u32>,
    /// For people and logs; left out where it does not fit [MQTT-3.14.2-3].
    pub reason_string: Option<ByteStr>,
    /// Another server to use; the server's.
    pub server_reference: Option<ByteStr>,
    /// Whatever the sender adds; left out where it does not fit [MQTT-3.14.2-4].
    pub user_properties: UserProperties,
}

impl Disconnect {
    /// A reason without words.
    pub const fn new(reason: ReasonCode) -> Self {
        Self { reason, properties: None }
    }
}

pub(crate) fn decode(
    version: Version,
    sender: Sender,
    mut body: Reader<'_>,
) -> Result<Disconnect, DecodeError> {
    let mut disconnect = Disconnect::new(ReasonCode::NORMAL_DISCONNECTION);
    if version == Version::V5 && !body.is_empty() {
        disconnect.reason = read_reason(&mut body, PacketType::Disconnect, sender)?;
        if !body.is_empty() {
            let properties = decode_properties(sender, &mut body)?;
            disconnect.properties =
                (properties != DisconnectProperties::default()).then(|| Box::new(properties));
        }
    }
    body.finish()?;
    Ok(disconnect)
}

fn decode_properties(sender: Sender, body: &mut Reader<'_>) -> Result<DisconnectProperties, DecodeError> {
    let mut walk = Properties::open(body, Place::Disconnect)?;
    let mut into = DisconnectProperties::default();
    while let Some(property) = walk.next()? {
        match property {
            PropertyId::SessionExpiryInterval if sender == Sender::Client => {
                into.session_expiry_interval = Some(walk.u32()?);
            }
            PropertyId::ReasonString => into.reason_string = Some(walk.text()?),
            PropertyId::ServerReference => into.server_reference = Some(walk.text()?),
            _ => return Err(DecodeError::PropertyNotAllowed { property }),
        }
    }
    into.user_properties = walk.into_user();
    Ok(into)
}

/// Writes the server's DISCONNECT. 3.1.1 has none: nothing is written and the result is 0.
pub fn encode(out: &mut impl Sink, peer: &Peer, disconnect: &Disconnect) -> Result<usize, EncodeError> {
    encode_from(Sender::Server, out, *peer, disconnect)
}

/// Writes the client's DISCONNECT; on 3.1.1 without reason and properties.
pub fn encode_from_client(
    out: &mut impl Sink,
    peer: &Peer,
    disconnect: &Disconnect,
) -> Result<usize, EncodeError> {
    encode_from(Sender::Client, out, *peer, disconnect)
}

fn encode_from(
    sender: Sender,
    out: &mut impl Sink,
    peer: Peer,
    disconnect: &Disconnect,
) -> Result<usize, EncodeError> {
    let first = PacketType::Disconnect.first_byte();
    if peer.version == Version::V311 {
        if sender == Sender::Server {
            return Ok(0);
        }
        out.put(&[first, 0]);
        return Ok(2);
    }
    debug_assert!(disconnect.reason.allowed_in(PacketType::Disconnect, sender));
    let properties = disconnect.properties.as_deref();
    let diagnostics = properties.map_or_else(Diagnostics::default, |properties| {
        Diagnostics::of(properties.reason_string.as_ref(), &properties.user_properties)
    });
    let short = usize::from(disconnect.reason != ReasonCode::NORMAL_DISCONNECTION);
    Outline {
        first,
        head: &[disconnect.reason.as_u8()],
        properties: DisconnectBlock { sender, properties },
        diagnostics,
        always_diagnostics: true,
        short: Some(short),
        tail: &[],
    }
    .encode(out, peer)
}

struct DisconnectBlock<'a> {
    sender: Sender,
    properties: Option<&'a DisconnectProperties>,
}

impl Block for DisconnectBlock<'_> {
    fn write<S: Sink>(&self, out: &mut S) {
        let Some(properties) = self.properties else { return };
        if self.sender == Sender::Client {
            put_u32(out, PropertyId::SessionExpiryInterval, properties.session_expiry_interval);
        }
        put_text(out, PropertyId::ServerReference, properties.server_reference.as_deref());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::codec::Packet;
    use crate::codec::client::ServerPacket;
    use crate::codec::sample::{self, both_ways};

    proptest! {
        #[test]
        fn the_clients_comes_back(version in sample::version(), disconnect in sample::disconnect(Sender::Client)) {
            let mut bytes = Vec::new();
            let len = encode_from_client(&mut bytes, &Peer::unlimited(version), &disconnect).expect("no limit");
            prop_assert_eq!(len, bytes.len());
            let expected = match version {
                Version::V5 => disconnect,
                Version::V311 => Disconnect::new(ReasonCode::NORMAL_DISCONNECTION),
            };
            let [_, from_client] = both_ways(version, &bytes);
            prop_assert_eq!(from_client.packet(), Some(&Packet::Disconnect(expected)));
        }

        #[test]
        fn the_servers_comes_back(disconnect in sample::disconnect(Sender::Server)) {
            let mut bytes = Vec::new();
            let len = encode(&mut bytes, &Peer::unlimited(Version::V5), &disconnect).expect("no limit");
            prop_assert_eq!(len, bytes.len());
            let [from_server, _] = both_ways(Version::V5, &bytes);
            prop_assert_eq!(from_server.server_packet(), Some(&ServerPacket::Disconnect(disconnect.clone())));
            prop_assert_eq!(encode(&mut bytes, &Peer::unlimited(Version::V311), &disconnect), Ok(0));
            prop_assert_eq!(len, bytes.len());
        }
    }

    #[test]
    fn the_shortest_form_is_written() {
        let peer = Peer::unlimited(Version::V5);
        let mut bytes = Vec::new();
        encode(&mut bytes, &peer, &Disconnect::new(ReasonCode::NORMAL_DISCONNECTION)).expect("short");
        encode(&mut bytes, &peer, &Disconnect::new(ReasonCode::SessionTakenOver)).expect("short");
        assert_eq!(bytes, [0xE0, 0, 0xE0, 1, 0x8E]);
    }
}
