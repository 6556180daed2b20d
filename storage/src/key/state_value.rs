//! The latest value of a topic in a group: `group, topic`. The value carries the position it was set at.

#[cfg(test)]
use super::part::Parts;
use super::{Key, KeyBuilder, Kind};

/// The key of `topic` in `group`.
#[inline]
pub(crate) fn key(group: &[u8], topic: &[u8]) -> Key {
    KeyBuilder::new(Kind::StateValue).part(group).raw(topic).finish()
}

/// The group and the topic a key names.
#[cfg(test)]
pub(crate) fn parse(key: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut parts = Parts::of(Kind::StateValue, key)?;
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
            assert_eq!(key(&a, &x) == key(&b, &y), a == b && x == y);
        }
    }
}
