//! The parts a key is made of: numbers in big-endian, and bytes with their length in front.

use super::{Kind, inline::KeyBuilder};
use crate::varint;

impl KeyBuilder {
    /// A number that sorts as a number.
    #[inline]
    pub(crate) fn number(self, value: u64) -> KeyBuilder {
        self.raw(&value.to_be_bytes())
    }

    /// Bytes with their length in front: for every variable part but the last.
    #[inline]
    pub(crate) fn part(self, bytes: &[u8]) -> KeyBuilder {
        let (array, len) = varint::array(bytes.len() as u64);
        self.raw(&array[..len]).raw(bytes)
    }
}

/// Reads the parts of a key in the order they were written.
pub(crate) struct Parts<'a>(&'a [u8]);

impl<'a> Parts<'a> {
    /// Starts behind the kind byte; `None` if `key` is of another kind.
    #[inline]
    pub(crate) fn of(kind: Kind, key: &'a [u8]) -> Option<Parts<'a>> {
        let (first, rest) = key.split_first()?;
        (*first == kind as u8).then_some(Parts(rest))
    }

    #[inline]
    pub(crate) fn number(&mut self) -> Option<u64> {
        let (bytes, rest) = self.0.split_first_chunk::<8>()?;
        self.0 = rest;
        Some(u64::from_be_bytes(*bytes))
    }

    #[inline]
    pub(crate) fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }

    #[inline]
    pub(crate) fn part(&mut self) -> Option<&'a [u8]> {
        varint::take_bytes(&mut self.0)
    }

    /// All that is left.
    #[inline]
    pub(crate) fn rest(self) -> &'a [u8] {
        self.0
    }

    /// Checks that nothing is left.
    #[inline]
    pub(crate) fn end(self) -> Option<()> {
        self.0.is_empty().then_some(())
    }
}
