//! An entry of a log: `log id, sequence number`, in the order of the numbers within a log.

use super::{Key, KeyBuilder, Kind, part::Parts};

/// The key of entry `seq` of log `log`.
#[inline]
pub(crate) fn key(log: &[u8], seq: u64) -> Key {
    KeyBuilder::new(Kind::LogEntry).part(log).number(seq).finish()
}

/// What all entries of `log` start with.
pub(crate) fn prefix(log: &[u8]) -> Key {
    KeyBuilder::new(Kind::LogEntry).part(log).finish()
}

/// The log and the sequence number a key names.
#[inline]
pub(crate) fn parse(key: &[u8]) -> Option<(&[u8], u64)> {
    let mut parts = Parts::of(Kind::LogEntry, key)?;
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
            let starts = key(&b, n).as_bytes().starts_with(prefix(&a).as_bytes());
            prop_assert_eq!(starts, a == b, "a log's entries lie together, and none of another between them");
        }

        #[test]
        fn any_key_is_answered(bytes: Vec<u8>) {
            if let Some((log, seq)) = parse(&bytes) {
                assert!(key(log, seq).as_bytes().len() <= bytes.len());
            }
        }
    }
}
