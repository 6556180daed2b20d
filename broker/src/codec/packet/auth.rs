//! AUTH (section 3.15): one step of an extended authentication; 5.0 only.

use bytes::Bytes;

use super::ack::read_reason;
use super::outline::{Diagnostics, Outline, check_field, put_binary, put_text};
use crate::codec::primitive::{Block, Reader, Sink};
use crate::codec::property::{Place, Properties, PropertyId};
use crate::codec::{
    ByteStr, DecodeError, EncodeError, PacketType, Peer, ReasonCode, Sender, UserProperties, Version,
};

/// An AUTH.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Auth {
    /// Success (the server's), continue, or re-authenticate (the client's).
    pub reason: ReasonCode,
    /// The properties.
    pub properties: AuthProperties,
}

/// The properties of an AUTH.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuthProperties {
    /// The name of the authentication; always there but in the short form of success.
    pub authentication_method: Option<ByteStr>,
    /// Its data.
    pub authentication_data: Option<Bytes>,
    /// For people and logs; left out where it does not fit or is not wanted [MQTT-3.15.2-2].
    pub reason_string: Option<ByteStr>,
    /// Whatever the sender adds; left out in the same cases [MQTT-3.15.2-3].
    pub user_properties: UserProperties,
}

pub(crate) fn decode(sender: Sender, mut body: Reader<'_>) -> Result<Auth, DecodeError> {
    let packet = PacketType::Auth;
    if body.is_empty() {
        // The short form means success, which a client cannot say.
        let reason = ReasonCode::Success;
        return match sender {
            Sender::Server => Ok(Auth { reason, properties: AuthProperties::default() }),
            Sender::Client => Err(DecodeError::ReasonCode { packet, code: reason.as_u8() }),
        };
    }
    let reason = read_reason(&mut body, packet, sender)?;
    let properties = decode_properties(&mut body)?;
    body.finish()?;
    Ok(Auth { reason, properties })
}

fn decode_properties(body: &mut Reader<'_>) -> Result<AuthProperties, DecodeError> {
    let mut walk = Properties::open(body, Place::Auth)?;
    let mut into = AuthProperties::default();
    while let Some(property) = walk.next()? {
        match property {
            PropertyId::AuthenticationMethod => into.authentication_method = Some(walk.text()?),
            PropertyId::AuthenticationData => into.authentication_data = Some(walk.binary()?),
            PropertyId::ReasonString => into.reason_string = Some(walk.text()?),
            _ => return Err(DecodeError::PropertyNotAllowed { property }),
        }
    }
    into.user_properties = walk.into_user();
    if into.authentication_method.is_none() {
        return Err(DecodeError::AuthMethodMissing);
    }
    Ok(into)
}

/// Writes an AUTH, of either side. 3.1.1 has none: nothing is written and the result is 0.
pub fn encode(out: &mut impl Sink, peer: &Peer, auth: &Auth) -> Result<usize, EncodeError> {
    if peer.version == Version::V311 {
        return Ok(0);
    }
    let properties = &auth.properties;
    check_field("authentication data", properties.authentication_data.as_deref().unwrap_or_default())?;
    Outline {
        first: PacketType::Auth.first_byte(),
        head: &[auth.reason.as_u8()],
        properties: AuthBlock(properties),
        diagnostics: Diagnostics::of(properties.reason_string.as_ref(), &properties.user_properties),
        always_diagnostics: false,
        short: (auth.reason == ReasonCode::Success).then_some(0),
        tail: &[],
    }
    .encode(out, *peer)
}

struct AuthBlock<'a>(&'a AuthProperties);

impl Block for AuthBlock<'_> {
    fn write<S: Sink>(&self, out: &mut S) {
        put_text(out, PropertyId::AuthenticationMethod, self.0.authentication_method.as_deref());
        put_binary(out, PropertyId::AuthenticationData, self.0.authentication_data.as_deref());
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
        fn what_is_encoded_is_decoded(auth in sample::auth()) {
            let mut bytes = Vec::new();
            let len = encode(&mut bytes, &Peer::unlimited(Version::V5), &auth).expect("no limit");
            prop_assert_eq!(len, bytes.len());
            let [from_server, from_client] = both_ways(Version::V5, &bytes);
            let wrong = DecodeError::ReasonCode { packet: PacketType::Auth, code: auth.reason.as_u8() };
            if auth.reason == ReasonCode::ReAuthenticate {
                prop_assert_eq!(from_server.error(), Some(wrong));
            } else {
                prop_assert_eq!(from_server.server_packet(), Some(&ServerPacket::Auth(Box::new(auth.clone()))));
            }
            if auth.reason == ReasonCode::Success {
                prop_assert_eq!(from_client.error(), Some(wrong));
            } else {
                prop_assert_eq!(from_client.packet(), Some(&Packet::Auth(Box::new(auth.clone()))));
            }
            prop_assert_eq!(encode(&mut bytes, &Peer::unlimited(Version::V311), &auth), Ok(0));
        }
    }
}
