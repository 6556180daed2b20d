//! A record: one value by an id of the caller's, looked up and never scanned. And [`RecordKey`], which names any value that
//! is put and deleted as a whole: a record, a session, or an ordered record.

use super::{Key, KeyBuilder, Kind, ordered, part::Parts, session};

/// The key of the record `id`.
#[inline]
pub(crate) fn key(id: &[u8]) -> Key {
    KeyBuilder::new(Kind::Record).raw(id).finish()
}

/// The id a key names.
pub(crate) fn parse(key: &[u8]) -> Option<&[u8]> {
    Parts::of(Kind::Record, key).map(Parts::rest)
}

/// Names a value that is put, read and deleted as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RecordKey(Key);

impl RecordKey {
    /// A record by its id. Ids share one space: give each kind of record a first byte or a prefix of its own.
    pub fn record(id: &[u8]) -> RecordKey {
        RecordKey(key(id))
    }

    /// The session `name` of `owner`; all sessions of an owner can be scanned.
    pub fn session(owner: &[u8], name: &[u8]) -> RecordKey {
        RecordKey(session::key(owner, name))
    }

    /// A record that keeps its place in byte order within `space`, for seeks and scans.
    pub fn ordered(space: u8, id: &[u8]) -> RecordKey {
        RecordKey(ordered::key(space, id))
    }

    /// The id this record was named by, if it is a plain record.
    pub fn record_id(&self) -> Option<&[u8]> {
        parse(self.as_bytes())
    }

    /// The bytes under which it is stored: a kind byte, then its parts.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// Whether the first byte of a stored key is one of the kinds a `RecordKey` names.
    pub(crate) fn names(kind: Kind) -> bool {
        matches!(kind, Kind::Record | Kind::Session | Kind::Ordered)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn round_trip_and_order(a: Vec<u8>, b: Vec<u8>) {
            assert_eq!(parse(key(&a).as_bytes()), Some(&a[..]));
            assert_eq!(RecordKey::record(&a).record_id(), Some(&a[..]));
            assert_eq!(RecordKey::session(&a, &b).record_id(), None);
            assert_eq!(key(&a).cmp(&key(&b)), a.cmp(&b));
        }
    }
}
