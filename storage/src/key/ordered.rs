//! An ordered record: `space, bytes`, in the byte order the caller gave. For lookups that seek, such as by level of a tree.

use super::{Key, KeyBuilder, Kind, part::Parts};

/// The key of `id` in `space`.
#[inline]
pub(crate) fn key(space: u8, id: &[u8]) -> Key {
    KeyBuilder::new(Kind::Ordered).raw(&[space]).raw(id).finish()
}

/// What all records of `space` start with.
pub(crate) fn prefix(space: u8) -> Key {
    key(space, &[])
}

/// The space and the id a key names.
pub(crate) fn parse(key: &[u8]) -> Option<(u8, &[u8])> {
    let mut parts = Parts::of(Kind::Ordered, key)?;
    Some((parts.byte()?, parts.rest()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn round_trip_and_order(a: Vec<u8>, b: Vec<u8>, m: u8, n: u8) {
            assert_eq!(parse(key(m, &a).as_bytes()), Some((m, &a[..])));
            assert_eq!(key(m, &a).cmp(&key(n, &b)), (m, &a).cmp(&(n, &b)));
            assert_eq!(key(n, &b).as_bytes().starts_with(prefix(m).as_bytes()), m == n);
        }
    }
}
