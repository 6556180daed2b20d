//! A session: `owner, name`. All sessions of an owner lie together, in the order of their names.

use super::{Key, KeyBuilder, Kind, part::Parts};

/// The key of the session `name` of `owner`.
#[inline]
pub(crate) fn key(owner: &[u8], name: &[u8]) -> Key {
    KeyBuilder::new(Kind::Session).part(owner).raw(name).finish()
}

/// What all sessions of `owner` start with.
pub(crate) fn prefix(owner: &[u8]) -> Key {
    KeyBuilder::new(Kind::Session).part(owner).finish()
}

/// The owner and the name a key names.
pub(crate) fn parse(key: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut parts = Parts::of(Kind::Session, key)?;
    Some((parts.part()?, parts.rest()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn round_trip_and_order(a: Vec<u8>, b: Vec<u8>, x: Vec<u8>, y: Vec<u8>) {
            assert_eq!(parse(key(&a, &x).as_bytes()), Some((&a[..], &x[..])));
            assert_eq!(key(&a, &x).cmp(&key(&a, &y)), x.cmp(&y));
            assert_eq!(key(&b, &y).as_bytes().starts_with(prefix(&a).as_bytes()), a == b);
        }
    }
}
