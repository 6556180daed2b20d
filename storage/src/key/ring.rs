//! A ring: the last items pushed under an id, in one record.

#[cfg(test)]
use super::part::Parts;
use super::{Key, KeyBuilder, Kind};

/// The key of the ring `id`.
#[inline]
pub(crate) fn key(id: &[u8]) -> Key {
    KeyBuilder::new(Kind::Ring).raw(id).finish()
}

/// The id a key names.
#[cfg(test)]
pub(crate) fn parse(key: &[u8]) -> Option<&[u8]> {
    Parts::of(Kind::Ring, key).map(Parts::rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn round_trip_and_order(a: Vec<u8>, b: Vec<u8>) {
            assert_eq!(parse(key(&a).as_bytes()), Some(&a[..]));
            assert_eq!(key(&a).cmp(&key(&b)), a.cmp(&b));
        }
    }
}
