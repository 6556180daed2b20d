//! User properties: pairs of strings that the protocol carries and does not read.
//!
//! They are kept as the bytes they have on the wire, in their order [MQTT-3.3.2-18], so that forwarding them is a copy and a
//! packet of many small pairs takes no more memory than it had bytes.
//!
//! Invariant: the bytes are a sequence of whole, checked user properties and nothing else.

use std::fmt;
use std::ops::Range;

use bytes::{Bytes, BytesMut};

use super::TextError;
use super::primitive::Sink;
use super::property::PropertyId;
use super::text::{check_text, trusted_str};

const ID: u8 = PropertyId::UserProperty as u8;

/// User properties in their order; the same name may be there more than once.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct UserProperties {
    wire: Bytes,
}

impl UserProperties {
    /// No properties; allocates nothing.
    pub const fn new() -> Self {
        Self { wire: Bytes::new() }
    }

    /// Makes them from pairs.
    pub fn from_pairs<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, TextError> {
        let mut wire = Vec::new();
        for (name, value) in pairs {
            check_text(name.as_bytes())?;
            check_text(value.as_bytes())?;
            write_pair(&mut wire, name, value);
        }
        Ok(Self { wire: Bytes::from(wire) })
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.wire.is_empty()
    }

    /// The pairs, in order.
    pub fn iter(&self) -> Iter<'_> {
        Iter { rest: &self.wire }
    }

    /// The first value with this name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(found, _)| *found == name).map(|(_, value)| value)
    }

    /// Their bytes on the wire, identifiers included.
    pub fn as_wire(&self) -> &[u8] {
        &self.wire
    }

    /// A copy that owns its memory and no longer keeps the packet it came from.
    #[must_use]
    pub fn detached(&self) -> Self {
        Self { wire: Bytes::copy_from_slice(&self.wire) }
    }
}

impl<'a> IntoIterator for &'a UserProperties {
    type Item = (&'a str, &'a str);
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

impl fmt::Debug for UserProperties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self).finish()
    }
}

/// The pairs of [`UserProperties`], in order.
#[derive(Debug, Clone)]
pub struct Iter<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Iter<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        let (_, pair) = self.rest.split_first()?;
        let (name, pair) = split_field(pair);
        let (value, rest) = split_field(pair);
        self.rest = rest;
        Some((trusted_str(name), trusted_str(value)))
    }
}

/// The field at the start of checked bytes, and what follows it.
fn split_field(bytes: &[u8]) -> (&[u8], &[u8]) {
    let (len, rest) = bytes.split_at(2);
    rest.split_at(usize::from(u16::from_be_bytes([len[0], len[1]])))
}

/// Writes one user property. Both texts are at most 65,535 bytes long.
pub(crate) fn write_pair(out: &mut impl Sink, name: &str, value: &str) {
    out.put_u8(ID);
    out.put_field(name.as_bytes());
    out.put_field(value.as_bytes());
}

/// Gathers user properties while a block is walked: a range of the packet while they follow each other, a copy of them as
/// soon as something stands in between.
#[derive(Debug, Default)]
pub(crate) enum Collector {
    #[default]
    None,
    Range(Range<usize>),
    Copied(BytesMut),
}

impl Collector {
    /// Takes the property in this range of the packet, whose block ends at `block_end`.
    pub(crate) fn add(&mut self, buf: &Bytes, next: Range<usize>, block_end: usize) {
        match self {
            Self::None => *self = Self::Range(next),
            Self::Range(range) if range.end == next.start => range.end = next.end,
            Self::Range(range) => {
                let mut copied = BytesMut::with_capacity(block_end - range.start);
                copied.extend_from_slice(&buf[range.clone()]);
                copied.extend_from_slice(&buf[next]);
                *self = Self::Copied(copied);
            }
            Self::Copied(copied) => copied.extend_from_slice(&buf[next]),
        }
    }

    pub(crate) fn finish(self, buf: &Bytes) -> UserProperties {
        let wire = match self {
            Self::None => Bytes::new(),
            Self::Range(range) => buf.slice(range),
            Self::Copied(copied) => copied.freeze(),
        };
        UserProperties { wire }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_keep_order_and_repetition() {
        let pairs = [("b", "1"), ("a", ""), ("b", "2"), ("", "ü")];
        let properties = UserProperties::from_pairs(pairs).expect("valid strings");
        assert!(properties.iter().eq(pairs));
        assert_eq!(properties.get("b"), Some("1"));
        assert_eq!(properties.get("c"), None);
        assert_eq!(format!("{properties:?}"), r#"[("b", "1"), ("a", ""), ("b", "2"), ("", "ü")]"#);
        assert_eq!(UserProperties::from_pairs([("a\0", "")]), Err(TextError::Nul));
        assert!(UserProperties::new().is_empty());
    }

    #[test]
    fn scattered_pairs_are_gathered_in_a_buffer_no_larger_than_their_block() {
        let first = UserProperties::from_pairs([("a", "1"), ("b", "2")]).expect("valid strings");
        let second = UserProperties::from_pairs([("c", "3")]).expect("valid strings");
        let mut bytes = first.as_wire().to_vec();
        bytes.extend([0x01, 0x00]);
        let gap = bytes.len();
        bytes.extend(second.as_wire());
        let bytes = Bytes::from(bytes);

        let mut collector = Collector::default();
        collector.add(&bytes, 0..7, bytes.len());
        collector.add(&bytes, 7..14, bytes.len());
        assert!(matches!(collector, Collector::Range(_)));
        collector.add(&bytes, gap..bytes.len(), bytes.len());
        let Collector::Copied(copied) = &collector else { panic!("a gap needs a copy") };
        assert!(copied.capacity() <= bytes.len());
        let all = collector.finish(&bytes);
        assert!(all.iter().eq([("a", "1"), ("b", "2"), ("c", "3")]));
    }
}
