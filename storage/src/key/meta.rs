//! What the store knows about itself: its format version and the log position it stands for.

#[cfg(test)]
use super::part::Parts;
use super::{Key, KeyBuilder, Kind};

/// The log position up to which everything is in the store.
pub(crate) const APPLIED: &[u8] = b"applied";
/// The format version the store was last written in.
pub(crate) const FORMAT: &[u8] = b"format";

/// The key of the number `name`.
pub(crate) fn key(name: &[u8]) -> Key {
    KeyBuilder::new(Kind::Meta).raw(name).finish()
}

/// The name a key names.
#[cfg(test)]
pub(crate) fn parse(key: &[u8]) -> Option<&[u8]> {
    Parts::of(Kind::Meta, key).map(Parts::rest)
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
