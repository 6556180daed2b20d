//! The packets that a load tool sends and understands, as bytes, in both versions.
//!
//! Less than a codec: what a broker sends is taken apart as far as a measurement needs it, and properties are stepped over. The tool has
//! to be far cheaper for each message than any broker, so that it is not what is measured.

use thiserror::Error;

/// The version of MQTT that is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// 3.1.1.
    V311,
    /// 5.0.
    V5,
}

/// What came cannot be an MQTT packet of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the broker sent what is no MQTT packet, or none that a server sends")]
pub struct Malformed;

/// What CONNECT says.
#[derive(Debug, Clone, Copy)]
pub struct Hello<'a> {
    /// The client id.
    pub client_id: &'a str,
    /// Clean Session, or Clean Start with a session that ends with the connection.
    pub clean: bool,
    /// User name, which is the password too.
    pub user: Option<&'a str>,
    /// Seconds; 0 for none.
    pub keep_alive: u16,
    /// Receive Maximum, where the version has one: publishes of QoS 1 and 2 that the broker may have unacknowledged.
    pub receive_maximum: Option<u16>,
}

/// A packet of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Incoming<'a> {
    /// CONNACK: whether there was a session, the code, which is 0 for success, and the server's Receive Maximum.
    Connack(bool, u8, u16),
    /// PUBLISH.
    Publish {
        /// The topic name.
        topic: &'a [u8],
        /// The payload.
        payload: &'a [u8],
        /// The packet id; 0 at QoS 0.
        id: u16,
        /// 0, 1 or 2.
        qos: u8,
        /// Whether it was there before the subscription.
        retain: bool,
    },
    /// PUBACK: packet id and code.
    Puback(u16, u8),
    /// PUBREC: packet id and code.
    Pubrec(u16, u8),
    /// PUBREL.
    Pubrel(u16),
    /// PUBCOMP.
    Pubcomp(u16),
    /// SUBACK: whether every filter was granted.
    Suback(bool),
    /// DISCONNECT with its code.
    Disconnect(u8),
    /// UNSUBACK or PINGRESP.
    Other,
}

fn put_remaining(out: &mut Vec<u8>, mut length: usize) {
    loop {
        let byte = (length % 128) as u8;
        length /= 128;
        out.push(if length > 0 { byte | 0x80 } else { byte });
        if length == 0 {
            return;
        }
    }
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(&(text.len() as u16).to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

/// Appends CONNECT.
pub fn connect(out: &mut Vec<u8>, version: Version, hello: &Hello<'_>) {
    let mut body = Vec::with_capacity(64);
    put_text(&mut body, "MQTT");
    let mut properties = Vec::new();
    let level: u8 = match version {
        Version::V311 => 4,
        Version::V5 => {
            properties.push(0);
            if !hello.clean {
                // Session Expiry Interval: an hour.
                properties.extend_from_slice(&[0x11, 0, 0, 0x0E, 0x10]);
            }
            if let Some(maximum) = hello.receive_maximum {
                properties.push(0x21);
                properties.extend_from_slice(&maximum.to_be_bytes());
            }
            properties[0] = properties.len() as u8 - 1;
            5
        }
    };
    let user = if hello.user.is_some() { 0xC0 } else { 0 };
    body.extend_from_slice(&[level, user | if hello.clean { 2 } else { 0 }]);
    body.extend_from_slice(&hello.keep_alive.to_be_bytes());
    body.extend_from_slice(&properties);
    put_text(&mut body, hello.client_id);
    if let Some(user) = hello.user {
        put_text(&mut body, user);
        put_text(&mut body, user);
    }
    out.push(0x10);
    put_remaining(out, body.len());
    out.extend_from_slice(&body);
}

/// Appends SUBSCRIBE for one filter.
pub fn subscribe(out: &mut Vec<u8>, version: Version, id: u16, filter: &str, qos: u8) {
    subscribe_all(out, version, id, &[filter], qos);
}

/// Appends SUBSCRIBE for several.
pub fn subscribe_all<S: AsRef<str>>(out: &mut Vec<u8>, version: Version, id: u16, filters: &[S], qos: u8) {
    let properties = usize::from(version == Version::V5);
    let len: usize = filters.iter().map(|filter| 2 + filter.as_ref().len() + 1).sum();
    out.push(0x82);
    put_remaining(out, 2 + properties + len);
    out.extend_from_slice(&id.to_be_bytes());
    out.extend_from_slice(&[0][..properties]);
    for filter in filters {
        put_text(out, filter.as_ref());
        out.push(qos);
    }
}

/// Appends UNSUBSCRIBE for one filter.
pub fn unsubscribe(out: &mut Vec<u8>, version: Version, id: u16, filter: &str) {
    let properties = usize::from(version == Version::V5);
    out.push(0xA2);
    put_remaining(out, 2 + properties + 2 + filter.len());
    out.extend_from_slice(&id.to_be_bytes());
    out.extend_from_slice(&[0][..properties]);
    put_text(out, filter);
}

/// Appends PUBLISH; `id` is 0 at QoS 0.
pub fn publish(out: &mut Vec<u8>, version: Version, topic: &str, qos: u8, id: u16, payload: &[u8]) {
    let id_len = if qos > 0 { 2 } else { 0 };
    let properties = usize::from(version == Version::V5);
    out.push(0x30 | qos << 1);
    put_remaining(out, 2 + topic.len() + id_len + properties + payload.len());
    put_text(out, topic);
    if qos > 0 {
        out.extend_from_slice(&id.to_be_bytes());
    }
    out.extend_from_slice(&[0][..properties]);
    out.extend_from_slice(payload);
}

/// Says of the PUBLISH that begins at `at` that it is to be retained.
pub fn set_retain(out: &mut [u8], at: usize) {
    out[at] |= 0x01;
}

/// Says of the PUBLISH that begins at `at` that it was sent before.
pub fn set_dup(out: &mut [u8], at: usize) {
    out[at] |= 0x08;
}

/// Appends PUBACK.
pub fn puback(out: &mut Vec<u8>, id: u16) {
    ack(out, 0x40, id);
}

/// Appends PUBREC.
pub fn pubrec(out: &mut Vec<u8>, id: u16) {
    ack(out, 0x50, id);
}

/// Appends PUBREL.
pub fn pubrel(out: &mut Vec<u8>, id: u16) {
    ack(out, 0x62, id);
}

/// Appends PUBCOMP.
pub fn pubcomp(out: &mut Vec<u8>, id: u16) {
    ack(out, 0x70, id);
}

fn ack(out: &mut Vec<u8>, first: u8, id: u16) {
    let [high, low] = id.to_be_bytes();
    out.extend_from_slice(&[first, 2, high, low]);
}

/// Appends DISCONNECT.
pub fn disconnect(out: &mut Vec<u8>) {
    out.extend_from_slice(&[0xE0, 0]);
}

fn varint(bytes: &[u8]) -> Result<Option<(usize, usize)>, Malformed> {
    let mut value = 0;
    for (at, byte) in bytes.iter().enumerate().take(4) {
        value |= usize::from(byte & 0x7F) << (7 * at);
        if byte & 0x80 == 0 {
            return Ok(Some((value, at + 1)));
        }
    }
    if bytes.len() >= 4 { Err(Malformed) } else { Ok(None) }
}

fn number(bytes: &[u8]) -> Result<u16, Malformed> {
    bytes.first_chunk().map(|bytes| u16::from_be_bytes(*bytes)).ok_or(Malformed)
}

/// Steps over the properties that stand at the beginning.
fn behind_properties(bytes: &[u8], version: Version) -> Result<&[u8], Malformed> {
    if version == Version::V311 {
        return Ok(bytes);
    }
    let (length, at) = varint(bytes)?.ok_or(Malformed)?;
    bytes.get(at + length..).ok_or(Malformed)
}

/// What the properties of a CONNACK say about how many publishes may be unacknowledged [MQTT-3.2.2.3.3].
fn receive_maximum(properties: &[u8], version: Version) -> Result<u16, Malformed> {
    if version == Version::V311 || properties.is_empty() {
        return Ok(u16::MAX);
    }
    let (length, at) = varint(properties)?.ok_or(Malformed)?;
    let mut rest = properties.get(at..at + length).ok_or(Malformed)?;
    while let Some((name, value)) = rest.split_first() {
        if *name == 0x21 {
            return number(value);
        }
        let text = || number(value).map(|length| 2 + usize::from(length));
        let length = match name {
            0x24 | 0x25 | 0x28..=0x2A => 1,
            0x13 | 0x22 => 2,
            0x11 | 0x27 => 4,
            0x12 | 0x15 | 0x16 | 0x1A | 0x1C | 0x1F => text()?,
            0x26 => text()? + 2 + usize::from(number(value.get(text()?..).ok_or(Malformed)?)?),
            _ => return Err(Malformed),
        };
        rest = value.get(length..).ok_or(Malformed)?;
    }
    Ok(u16::MAX)
}

/// The first packet of the buffer and its length; `None` while it is not all there.
pub fn next(buffer: &[u8], version: Version) -> Result<Option<(Incoming<'_>, usize)>, Malformed> {
    let Some(&first) = buffer.first() else { return Ok(None) };
    let Some((remaining, header)) = varint(&buffer[1..])? else { return Ok(None) };
    let end = 1 + header + remaining;
    let Some(body) = buffer.get(1 + header..end) else { return Ok(None) };
    let code = || body.get(2).copied().unwrap_or(0);
    let packet = match first >> 4 {
        2 => match body {
            [flags, code, properties @ ..] => {
                Incoming::Connack(flags & 1 == 1, *code, receive_maximum(properties, version)?)
            }
            _ => return Err(Malformed),
        },
        3 => {
            let topic_end = 2 + usize::from(number(body)?);
            let topic = body.get(2..topic_end).ok_or(Malformed)?;
            let qos = first >> 1 & 3;
            let (id, id_len) = if qos > 0 { (number(&body[topic_end..])?, 2) } else { (0, 0) };
            let payload = behind_properties(&body[topic_end + id_len..], version)?;
            Incoming::Publish { topic, payload, id, qos, retain: first & 1 == 1 }
        }
        4 => Incoming::Puback(number(body)?, code()),
        5 => Incoming::Pubrec(number(body)?, code()),
        6 => Incoming::Pubrel(number(body)?),
        7 => Incoming::Pubcomp(number(body)?),
        9 => {
            let codes = behind_properties(body.get(2..).ok_or(Malformed)?, version)?;
            Incoming::Suback(codes.iter().all(|code| *code < 0x80))
        }
        11 | 13 => Incoming::Other,
        14 => Incoming::Disconnect(body.first().copied().unwrap_or(0)),
        _ => return Err(Malformed),
    };
    Ok(Some((packet, end)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn packets_are_as_long_as_the_standard_has_them() {
        let mut out = Vec::new();
        connect(
            &mut out,
            Version::V311,
            &Hello { client_id: "c", clean: true, user: None, keep_alive: 0, receive_maximum: Some(128) },
        );
        assert_eq!(out, b"\x10\x0d\0\x04MQTT\x04\x02\0\0\0\x01c");
        out.clear();
        connect(
            &mut out,
            Version::V5,
            &Hello { client_id: "c", clean: false, user: None, keep_alive: 0, receive_maximum: Some(128) },
        );
        assert_eq!(out, b"\x10\x16\0\x04MQTT\x05\0\0\0\x08\x11\0\0\x0e\x10\x21\0\x80\0\x01c");
        out.clear();
        subscribe(&mut out, Version::V5, 1, "a/b", 1);
        assert_eq!(out, b"\x82\x09\0\x01\0\0\x03a/b\x01");
        out.clear();
        subscribe_all(&mut out, Version::V311, 1, &["a", "bc"], 0);
        assert_eq!(out, b"\x82\x0b\0\x01\0\x01a\0\0\x02bc\0");
        out.clear();
        publish(&mut out, Version::V311, "t", 0, 0, b"x");
        assert_eq!(out, b"\x30\x04\0\x01tx");
        publish(&mut out, Version::V311, "t", 1, 7, b"x");
        set_dup(&mut out, 6);
        set_retain(&mut out, 6);
        assert_eq!(out[6..], *b"\x3b\x06\0\x01t\0\x07x");
        out.clear();
        unsubscribe(&mut out, Version::V5, 2, "a");
        assert_eq!(out, b"\xa2\x06\0\x02\0\0\x01a");
    }

    #[test]
    fn answers_are_understood() {
        let v5 = |bytes| next(bytes, Version::V5);
        assert_eq!(v5(b"\x20\x06\x01\0\x03\x21\0\x0a"), Ok(Some((Incoming::Connack(true, 0, 10), 8))));
        assert_eq!(
            v5(b"\x20\x12\0\0\x0f\x24\x01\x26\0\x01a\0\x01b\x13\0\x05\x21\0\x80"),
            Ok(Some((Incoming::Connack(false, 0, 128), 20)))
        );
        assert_eq!(v5(b"\x20\x03\0\x87\0"), Ok(Some((Incoming::Connack(false, 0x87, u16::MAX), 5))));
        assert_eq!(
            next(b"\x20\x02\0\0", Version::V311),
            Ok(Some((Incoming::Connack(false, 0, u16::MAX), 4)))
        );
        assert_eq!(v5(b"\x20\x06\x01\0\x03\x7f\0\x0a"), Err(Malformed), "no such property");
        assert_eq!(v5(b"\x40\x03\0\x07\x10"), Ok(Some((Incoming::Puback(7, 0x10), 5))));
        assert_eq!(v5(b"\x90\x05\0\x01\0\x01\x80"), Ok(Some((Incoming::Suback(false), 7))));
        assert_eq!(next(b"\x90\x03\0\x01\x01", Version::V311), Ok(Some((Incoming::Suback(true), 5))));
        assert_eq!(v5(b"\xe0\x01\x8e"), Ok(Some((Incoming::Disconnect(0x8E), 3))));
        for bytes in [&b"\x30\x01\0"[..], b"\x20\x00", b"\x10\x00", b"\x30\xff\xff\xff\xff\x01"] {
            assert_eq!(v5(bytes), Err(Malformed));
        }
    }

    proptest! {
        #[test]
        fn what_is_published_is_understood(
            v5: bool, topic in "[a-z/]{1,40}", qos in 0u8..3, id in 1u16.., payload in prop::collection::vec(any::<u8>(), 0..300),
            cut in 0usize..400,
        ) {
            let version = if v5 { Version::V5 } else { Version::V311 };
            let mut out = Vec::new();
            let id = if qos == 0 { 0 } else { id };
            publish(&mut out, version, &topic, qos, id, &payload);
            let expected = Incoming::Publish { topic: topic.as_bytes(), payload: &payload, id, qos, retain: false };
            prop_assert_eq!(next(&out, version), Ok(Some((expected, out.len()))));
            let cut = cut.min(out.len() - 1);
            prop_assert_eq!(next(&out[..cut], version), Ok(None));
        }

        #[test]
        fn nothing_makes_it_panic(v5: bool, bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = next(&bytes, if v5 { Version::V5 } else { Version::V311 });
        }
    }
}
