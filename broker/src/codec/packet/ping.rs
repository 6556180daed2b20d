//! PINGREQ and PINGRESP (sections 3.12 and 3.13): two bytes each.

use crate::codec::PacketType;
use crate::codec::primitive::Sink;

/// Writes PINGREQ, the client's.
pub fn encode_request(out: &mut impl Sink) -> usize {
    out.put(&[PacketType::Pingreq.first_byte(), 0]);
    2
}

/// Writes PINGRESP, the server's.
pub fn encode(out: &mut impl Sink) -> usize {
    out.put(&[PacketType::Pingresp.first_byte(), 0]);
    2
}
