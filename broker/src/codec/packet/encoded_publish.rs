//! A PUBLISH encoded once for many receivers: each gets a copy of the bytes with its own packet id in them.
//!
//! Invariant: receivers that share one have the same version, granted QoS, RETAIN flag and subscription identifiers, and no
//! topic alias of their own.

use bytes::Bytes;

use super::publish::{PublishOut, encode_head};
use crate::codec::primitive::Sink;
use crate::codec::{EncodeError, MAX_PACKET_SIZE, PacketId, QoS, Version};

/// A whole PUBLISH, ready but for its packet id. Cloning it is a reference count.
#[derive(Debug, Clone)]
pub struct EncodedPublish {
    bytes: Bytes,
    /// 0 for QoS 0, which has no packet id.
    packet_id_at: u32,
}

impl EncodedPublish {
    /// Encodes the packet. `publish.packet_id` is not used, and `dup` is expected to be false.
    pub fn new(version: Version, publish: &PublishOut<'_>) -> Result<Self, EncodeError> {
        let mut bytes = Vec::new();
        let head = encode_head(&mut bytes, version, MAX_PACKET_SIZE, publish, 0)?;
        bytes.extend_from_slice(publish.payload);
        let packet_id_at = if publish.qos == QoS::AtMostOnce { 0 } else { head.packet_id_at as u32 };
        Ok(Self { bytes: Bytes::from(bytes), packet_id_at })
    }

    /// Bytes of the whole packet, to be compared with the receiver's maximum packet size.
    #[allow(clippy::len_without_is_empty)] // No packet is empty.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Writes the packet with this id, which must be given exactly when the QoS is above 0. Gives the bytes written.
    pub fn write(&self, out: &mut impl Sink, packet_id: Option<PacketId>) -> Result<usize, EncodeError> {
        match (packet_id, self.packet_id_at) {
            (None, 0) => out.put(&self.bytes),
            (Some(id), at) if at != 0 => out.put_patched(&self.bytes, at as usize, id.get()),
            _ => return Err(EncodeError::PacketId),
        }
        Ok(self.bytes.len())
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use proptest::prelude::*;

    use super::*;
    use crate::codec::{Peer, packet::publish, sample};

    proptest! {
        /// The same bytes as encoding for the receiver alone.
        #[test]
        fn patching_equals_encoding(version in sample::version(), publish in sample::publish(), ids in sample::ids()) {
            let out = PublishOut { dup: false, ..sample::publish_out(&publish, &ids) };
            let mut alone = b"before".to_vec();
            publish::encode(&mut alone, &Peer::unlimited(version), &out).expect("no limit");

            let shared = EncodedPublish::new(version, &out).expect("no limit");
            let mut patched = b"before".to_vec();
            let mut in_bytes_mut = BytesMut::from(&b"before"[..]);
            prop_assert_eq!(shared.write(&mut patched, out.packet_id), Ok(shared.len()));
            prop_assert_eq!(shared.write(&mut in_bytes_mut, out.packet_id), Ok(shared.len()));
            prop_assert_eq!(&patched, &alone);
            prop_assert_eq!(&in_bytes_mut[..], &alone[..]);
        }
    }

    #[test]
    fn a_packet_id_goes_with_qos_above_0_only() {
        let plain = PublishOut::new("t", b"x");
        let qos_0 = EncodedPublish::new(Version::V311, &plain).expect("short");
        let qos_1 = PublishOut { qos: QoS::AtLeastOnce, ..plain };
        let qos_1 = EncodedPublish::new(Version::V311, &qos_1).expect("short");
        let mut out = Vec::new();
        assert_eq!(qos_0.write(&mut out, Some(PacketId::MIN)), Err(EncodeError::PacketId));
        assert_eq!(qos_1.write(&mut out, None), Err(EncodeError::PacketId));
        assert!(out.is_empty());
        assert_eq!(qos_1.write(&mut out, Some(PacketId::MIN)), Ok(8));
        assert_eq!(out, [0x32, 6, 0, 1, b't', 0, 1, b'x']);
    }
}
