//! The change index of a group: `group, position` → topic. In the order of positions, so that a reader with a cursor gets
//! what has changed since, and each topic once.

use super::{Key, KeyBuilder, Kind, part::Parts};

/// The key of the change at `position` in `group`.
#[inline]
pub(crate) fn key(group: &[u8], position: u64) -> Key {
    KeyBuilder::new(Kind::StateChange).part(group).number(position).finish()
}

/// What all changes of `group` start with.
pub(crate) fn prefix(group: &[u8]) -> Key {
    KeyBuilder::new(Kind::StateChange).part(group).finish()
}

/// The group and the position a key names.
pub(crate) fn parse(key: &[u8]) -> Option<(&[u8], u64)> {
    let mut parts = Parts::of(Kind::StateChange, key)?;
    let found = (parts.part()?, parts.number()?);
    parts.end().map(|()| found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn round_trip_and_order(a: Vec<u8>, b: Vec<u8>, m: u64, n: u64) {
            assert_eq!(parse(key(&a, m).as_bytes()), Some((&a[..], m)));
            assert_eq!(key(&a, m).cmp(&key(&a, n)), m.cmp(&n));
            assert_eq!(key(&b, n).as_bytes().starts_with(prefix(&a).as_bytes()), a == b);
        }
    }
}
