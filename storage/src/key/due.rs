//! Something that falls due: `time, id`, in the order of time (Unix milliseconds).

use super::{Key, KeyBuilder, Kind, part::Parts};

/// The key of `id`, due at `at_ms`.
#[inline]
pub(crate) fn key(at_ms: u64, id: &[u8]) -> Key {
    KeyBuilder::new(Kind::Due).number(at_ms).raw(id).finish()
}

/// The time and the id a key names.
pub(crate) fn parse(key: &[u8]) -> Option<(u64, &[u8])> {
    let mut parts = Parts::of(Kind::Due, key)?;
    Some((parts.number()?, parts.rest()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn round_trip_and_order(a: Vec<u8>, b: Vec<u8>, m: u64, n: u64) {
            assert_eq!(parse(key(m, &a).as_bytes()), Some((m, &a[..])));
            assert_eq!(key(m, &a).cmp(&key(n, &b)), (m, &a).cmp(&(n, &b)));
        }
    }
}
