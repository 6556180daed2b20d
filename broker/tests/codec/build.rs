//! Building packets by hand, legal or not.

/// A packet: its first byte, and a body whose length is written in the shortest form.
pub(crate) fn packet(first: u8, body: &[&[u8]]) -> Vec<u8> {
    let body = body.concat();
    let mut bytes = vec![first];
    bytes.extend(varint(body.len()));
    bytes.extend(body);
    bytes
}

/// A variable byte integer in its shortest form.
pub(crate) fn varint(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = (value % 128) as u8;
        value /= 128;
        if value == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

/// A string or binary field.
pub(crate) fn field(content: impl AsRef<[u8]>) -> Vec<u8> {
    let content = content.as_ref();
    let mut bytes = (content.len() as u16).to_be_bytes().to_vec();
    bytes.extend(content);
    bytes
}

/// A block of properties with its length.
pub(crate) fn props(properties: &[&[u8]]) -> Vec<u8> {
    let content = properties.concat();
    let mut bytes = varint(content.len());
    bytes.extend(content);
    bytes
}

/// A property whose value is a string or binary field.
pub(crate) fn prop(id: u8, content: impl AsRef<[u8]>) -> Vec<u8> {
    let mut bytes = vec![id];
    bytes.extend(field(content));
    bytes
}

/// A user property.
pub(crate) fn user(name: &str, value: &str) -> Vec<u8> {
    let mut bytes = prop(0x26, name);
    bytes.extend(field(value));
    bytes
}

/// A 3.1.1 CONNECT with these flags and payload, and a keep-alive of 60 s.
pub(crate) fn connect_311(flags: u8, payload: &[&[u8]]) -> Vec<u8> {
    let payload = payload.concat();
    packet(0x10, &[b"\0\x04MQTT\x04", &[flags, 0, 60], &payload])
}

/// A 5.0 CONNECT with these flags, properties and payload, and a keep-alive of 60 s.
pub(crate) fn connect_5(flags: u8, properties: &[&[u8]], payload: &[&[u8]]) -> Vec<u8> {
    let payload = payload.concat();
    packet(0x10, &[b"\0\x04MQTT\x05", &[flags, 0, 60], &props(properties), &payload])
}

/// A 5.0 PUBLISH at QoS 0 to `t` with these properties and the payload `x`.
pub(crate) fn publish_5(properties: &[&[u8]]) -> Vec<u8> {
    packet(0x30, &[&field("t"), &props(properties), b"x"])
}

/// A 3.1.1 SUBSCRIBE with packet id 1 for one filter.
pub(crate) fn subscribe_311(filter: impl AsRef<[u8]>, options: u8) -> Vec<u8> {
    packet(0x82, &[b"\0\x01", &field(filter), &[options]])
}

/// A 5.0 SUBSCRIBE with packet id 1 for one filter.
pub(crate) fn subscribe_5(properties: &[&[u8]], filter: impl AsRef<[u8]>, options: u8) -> Vec<u8> {
    packet(0x82, &[b"\0\x01", &props(properties), &field(filter), &[options]])
}
