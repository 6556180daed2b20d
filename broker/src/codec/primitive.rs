//! Reading and writing the data types of section 1.5: integers, strings, binary data, variable byte integers.
//!
//! Invariant: a reader never leaves the range it was opened on. A writer's fields are known to fit (at most 65,535
//! bytes) before they are written.

use std::ops::Range;

use bytes::{Bytes, BytesMut};

use super::text::check_text;
use super::{ByteStr, DecodeError, MAX_FIELD_LEN, PacketId};
use crate::mutation::{Mutation, mutated};

/// The largest value of a variable byte integer.
pub const MAX_VARINT: u32 = 268_435_455;

/// Where encoded bytes go: a `Vec<u8>`, a `BytesMut`, or a counter that only measures.
pub trait Sink {
    /// Appends these bytes.
    fn put(&mut self, bytes: &[u8]);

    /// Makes room for so many bytes more, if that means anything here.
    fn reserve(&mut self, _additional: usize) {}

    /// Appends these bytes with the two at `at` replaced by a number.
    fn put_patched(&mut self, bytes: &[u8], at: usize, value: u16) {
        self.put(&bytes[..at]);
        self.put_u16(value);
        self.put(&bytes[at + 2..]);
    }

    /// Appends one byte.
    fn put_u8(&mut self, value: u8) {
        self.put(&[value]);
    }

    /// Appends two bytes, big-endian.
    fn put_u16(&mut self, value: u16) {
        self.put(&value.to_be_bytes());
    }

    /// Appends four bytes, big-endian.
    fn put_u32(&mut self, value: u32) {
        self.put(&value.to_be_bytes());
    }

    /// Appends a variable byte integer in its shortest form [MQTT-1.5.5-1].
    fn put_varint(&mut self, value: u32) {
        debug_assert!(value <= MAX_VARINT);
        if value < 0x80 {
            return self.put_u8(value as u8);
        }
        let (bytes, len) = varint(value);
        self.put(&bytes[..len]);
    }

    /// Appends a string or binary field with its two length bytes. The caller has checked the length.
    fn put_field(&mut self, bytes: &[u8]) {
        debug_assert!(bytes.len() <= MAX_FIELD_LEN);
        self.put_u16(bytes.len() as u16);
        self.put(bytes);
    }
}

impl Sink for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }

    fn reserve(&mut self, additional: usize) {
        Vec::reserve(self, additional);
    }

    fn put_patched(&mut self, bytes: &[u8], at: usize, value: u16) {
        let at = self.len() + at;
        self.extend_from_slice(bytes);
        self[at..at + 2].copy_from_slice(&value.to_be_bytes());
    }

    fn put_u8(&mut self, value: u8) {
        self.push(value);
    }
}

impl Sink for BytesMut {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }

    fn reserve(&mut self, additional: usize) {
        BytesMut::reserve(self, additional);
    }

    fn put_patched(&mut self, bytes: &[u8], at: usize, value: u16) {
        let at = self.len() + at;
        self.extend_from_slice(bytes);
        self[at..at + 2].copy_from_slice(&value.to_be_bytes());
    }
}

/// Measures what would be written.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Counter(pub(crate) usize);

impl Sink for Counter {
    fn put(&mut self, bytes: &[u8]) {
        self.0 += bytes.len();
    }
}

/// A part of a packet that is measured first and written after.
pub(crate) trait Block {
    /// Writes it; every time the same bytes.
    fn write<S: Sink>(&self, out: &mut S);

    /// How many bytes `write` writes.
    fn len(&self) -> usize {
        let mut counter = Counter::default();
        self.write(&mut counter);
        counter.0
    }
}

/// A variable byte integer in its shortest form: the bytes, and how many of them count.
const fn varint(mut value: u32) -> ([u8; 4], usize) {
    let mut bytes = [0; 4];
    let mut at = 0;
    loop {
        let low = (value & 0x7F) as u8;
        value >>= 7;
        if value == 0 || at == 3 {
            bytes[at] = low;
            return (bytes, at + 1);
        }
        bytes[at] = low | 0x80;
        at += 1;
    }
}

/// How many bytes a variable byte integer takes.
pub const fn varint_len(value: u32) -> usize {
    match value {
        0..=127 => 1,
        128..=16_383 => 2,
        16_384..=2_097_151 => 3,
        _ => 4,
    }
}

/// Reads a variable byte integer at the start of the bytes: its value and length, or `None` if the bytes end before it
/// does.
pub(crate) fn read_varint(bytes: &[u8]) -> Result<Option<(u32, usize)>, DecodeError> {
    let mut value = 0;
    for at in 0..4 {
        let Some(&byte) = bytes.get(at) else { return Ok(None) };
        value |= u32::from(byte & 0x7F) << (7 * at);
        if byte & 0x80 == 0 {
            if byte == 0 && at > 0 && !mutated(Mutation::TakesLongIntegers) {
                return Err(DecodeError::VarintNotMinimal);
            }
            return Ok(Some((value, at + 1)));
        }
    }
    Err(DecodeError::VarintTooLong)
}

/// A position in a range of a packet.
#[derive(Debug, Clone)]
pub(crate) struct Reader<'a> {
    buf: &'a Bytes,
    at: usize,
    end: usize,
}

impl<'a> Reader<'a> {
    /// A reader of a range that lies within the buffer.
    pub(crate) fn new(buf: &'a Bytes, range: Range<usize>) -> Self {
        debug_assert!(range.start <= range.end && range.end <= buf.len());
        Self { buf, at: range.start, end: range.end }
    }

    pub(crate) fn buf(&self) -> &'a Bytes {
        self.buf
    }

    pub(crate) fn position(&self) -> usize {
        self.at
    }

    pub(crate) fn end(&self) -> usize {
        self.end
    }

    pub(crate) fn remaining(&self) -> usize {
        self.end - self.at
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.at == self.end
    }

    /// The bytes not yet read.
    pub(crate) fn rest(&self) -> &'a [u8] {
        &self.buf[self.at..self.end]
    }

    /// Everything not yet read, as a slice of the buffer.
    #[inline]
    pub(crate) fn take_rest(&mut self) -> Bytes {
        let rest = self.buf.slice(self.at..self.end);
        self.at = self.end;
        rest
    }

    /// The next `len` bytes, as a range of the buffer.
    #[inline]
    pub(crate) fn range(&mut self, len: usize) -> Result<Range<usize>, DecodeError> {
        if len > self.remaining() {
            return Err(DecodeError::Truncated);
        }
        let range = self.at..self.at + len;
        self.at += len;
        Ok(range)
    }

    /// A reader of the next `len` bytes.
    pub(crate) fn sub(&mut self, len: usize) -> Result<Reader<'a>, DecodeError> {
        let range = self.range(len)?;
        Ok(Reader::new(self.buf, range))
    }

    #[inline]
    pub(crate) fn u8(&mut self) -> Result<u8, DecodeError> {
        let range = self.range(1)?;
        Ok(self.buf[range.start])
    }

    #[inline]
    pub(crate) fn u16(&mut self) -> Result<u16, DecodeError> {
        let range = self.range(2)?;
        Ok(u16::from_be_bytes([self.buf[range.start], self.buf[range.start + 1]]))
    }

    pub(crate) fn u32(&mut self) -> Result<u32, DecodeError> {
        let high = self.u16()?;
        let low = self.u16()?;
        Ok(u32::from(high) << 16 | u32::from(low))
    }

    pub(crate) fn varint(&mut self) -> Result<u32, DecodeError> {
        let (value, len) = read_varint(self.rest())?.ok_or(DecodeError::Truncated)?;
        self.at += len;
        Ok(value)
    }

    /// A packet id, which is not 0 [MQTT-2.2.1-3].
    #[inline]
    pub(crate) fn packet_id(&mut self) -> Result<PacketId, DecodeError> {
        let instead = mutated(Mutation::TakesPacketIdZero).then_some(PacketId::MIN);
        PacketId::new(self.u16()?).or(instead).ok_or(DecodeError::PacketIdZero)
    }

    /// A string or binary field without its length bytes, as a range of the buffer.
    #[inline]
    pub(crate) fn field(&mut self) -> Result<Range<usize>, DecodeError> {
        let len = self.u16()?;
        self.range(usize::from(len))
    }

    /// Binary data.
    pub(crate) fn binary(&mut self) -> Result<Bytes, DecodeError> {
        let range = self.field()?;
        Ok(self.buf.slice(range))
    }

    /// A string, checked.
    pub(crate) fn text(&mut self) -> Result<ByteStr, DecodeError> {
        let range = self.field()?;
        check_text(&self.buf[range.clone()])?;
        Ok(ByteStr::trusted(self.buf.slice(range)))
    }

    /// Steps over a string, checking it.
    pub(crate) fn skip_text(&mut self) -> Result<(), DecodeError> {
        let range = self.field()?;
        check_text(&self.buf[range])?;
        Ok(())
    }

    /// The packet must end here.
    #[inline]
    pub(crate) fn finish(&self) -> Result<(), DecodeError> {
        if self.is_empty() || mutated(Mutation::TakesTrailingBytes) {
            Ok(())
        } else {
            Err(DecodeError::TrailingBytes)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn variable_byte_integers_at_their_borders() {
        let cases: &[(u32, &[u8])] = &[
            (0, &[0x00]),
            (127, &[0x7F]),
            (128, &[0x80, 0x01]),
            (16_383, &[0xFF, 0x7F]),
            (16_384, &[0x80, 0x80, 0x01]),
            (2_097_151, &[0xFF, 0xFF, 0x7F]),
            (2_097_152, &[0x80, 0x80, 0x80, 0x01]),
            (MAX_VARINT, &[0xFF, 0xFF, 0xFF, 0x7F]),
        ];
        for (value, bytes) in cases {
            let mut out = Vec::new();
            out.put_varint(*value);
            assert_eq!(&out, bytes);
            assert_eq!(varint_len(*value), bytes.len());
            assert_eq!(read_varint(bytes), Ok(Some((*value, bytes.len()))));
            assert_eq!(read_varint(&bytes[..bytes.len() - 1]), Ok(None));
        }
        assert_eq!(read_varint(&[0x80, 0x00]), Err(DecodeError::VarintNotMinimal));
        assert_eq!(read_varint(&[0xFF, 0x80, 0x80, 0x00]), Err(DecodeError::VarintNotMinimal));
        assert_eq!(read_varint(&[0x80, 0x80, 0x80, 0x80, 0x01]), Err(DecodeError::VarintTooLong));
        assert_eq!(read_varint(&[0xFF, 0xFF, 0xFF, 0xFF]), Err(DecodeError::VarintTooLong));
    }

    proptest! {
        #[test]
        fn variable_byte_integers_come_back(value in 0..=MAX_VARINT) {
            let mut out = Vec::new();
            out.put_varint(value);
            prop_assert_eq!(out.len(), varint_len(value));
            prop_assert_eq!(read_varint(&out), Ok(Some((value, out.len()))));
        }
    }
}
