//! [`Key`]: a byte string that keeps short keys in place and long ones on the heap.
//!
//! A key of up to [`INLINE`] bytes costs no allocation. Equality, order and hash are those of the bytes, so a map of keys
//! is looked up with a plain `&[u8]`.

use std::{
    borrow::Borrow,
    cmp::Ordering,
    fmt,
    hash::{Hash, Hasher},
};

/// Longest key that needs no allocation, in bytes: chosen so that a [`Key`] takes 48.
pub(crate) const INLINE: usize = 46;

/// A key, or a part of one: owned bytes.
#[derive(Clone)]
pub struct Key(Repr);

#[derive(Clone)]
enum Repr {
    Inline { len: u8, bytes: [u8; INLINE] },
    Heap(Box<[u8]>),
}

impl Key {
    /// The bytes.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Repr::Inline { len, bytes } => &bytes[..usize::from(*len)],
            Repr::Heap(bytes) => bytes,
        }
    }

    /// Bytes this key takes on the heap, for the accounting of memory.
    #[inline]
    pub(crate) fn heap_bytes(&self) -> usize {
        match &self.0 {
            Repr::Inline { .. } => 0,
            Repr::Heap(bytes) => bytes.len(),
        }
    }
}

impl From<&[u8]> for Key {
    #[inline]
    fn from(from: &[u8]) -> Key {
        if from.len() <= INLINE {
            let mut bytes = [0; INLINE];
            bytes[..from.len()].copy_from_slice(from);
            Key(Repr::Inline { len: from.len() as u8, bytes })
        } else {
            Key(Repr::Heap(from.into()))
        }
    }
}

impl AsRef<[u8]> for Key {
    #[inline]
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl Borrow<[u8]> for Key {
    #[inline]
    fn borrow(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl PartialEq for Key {
    #[inline]
    fn eq(&self, other: &Key) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Key {}

impl PartialOrd for Key {
    #[inline]
    fn partial_cmp(&self, other: &Key) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Key {
    #[inline]
    fn cmp(&self, other: &Key) -> Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl Hash for Key {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.as_bytes().escape_ascii())
    }
}

/// Builds a [`Key`] from parts without an allocation while it is short.
pub(crate) struct KeyBuilder {
    len: usize,
    bytes: [u8; INLINE],
    /// Holds all of the key once it has outgrown `bytes`.
    long: Vec<u8>,
}

impl KeyBuilder {
    #[inline]
    pub(crate) fn new(kind: super::Kind) -> KeyBuilder {
        let mut bytes = [0; INLINE];
        bytes[0] = kind as u8;
        KeyBuilder { len: 1, bytes, long: Vec::new() }
    }

    /// The bytes as they are: only for the last part of a key, or one of fixed length.
    #[inline]
    pub(crate) fn raw(mut self, part: &[u8]) -> KeyBuilder {
        let end = self.len + part.len();
        if end <= INLINE {
            self.bytes[self.len..end].copy_from_slice(part);
        } else {
            if self.len <= INLINE {
                self.long.reserve_exact(end + 16);
                self.long.extend_from_slice(&self.bytes[..self.len]);
            }
            self.long.extend_from_slice(part);
        }
        self.len = end;
        self
    }

    #[inline]
    pub(crate) fn finish(self) -> Key {
        if self.len <= INLINE {
            Key(Repr::Inline { len: self.len as u8, bytes: self.bytes })
        } else {
            Key(Repr::Heap(self.long.into_boxed_slice()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::Kind;
    use proptest::prelude::*;

    #[test]
    fn a_key_takes_48_bytes() {
        assert_eq!(size_of::<Key>(), 48);
    }

    proptest! {
        #[test]
        fn it_is_its_bytes(a in prop::collection::vec(0u8..3, 0..100), b in prop::collection::vec(0u8..3, 0..100)) {
            let (x, y) = (Key::from(&a[..]), Key::from(&b[..]));
            prop_assert_eq!(x.as_bytes(), &a[..]);
            prop_assert_eq!(x.cmp(&y), a.cmp(&b));
            prop_assert_eq!(x == y, a == b);
            prop_assert_eq!(x.heap_bytes(), if a.len() > INLINE { a.len() } else { 0 });
        }

        #[test]
        fn a_built_key_is_its_parts(parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..5)) {
            let mut builder = KeyBuilder::new(Kind::Record);
            let mut whole = vec![Kind::Record as u8];
            for part in &parts {
                builder = builder.raw(part);
                whole.extend_from_slice(part);
            }
            assert_eq!(builder.finish().as_bytes(), &whole[..]);
        }
    }
}
