//! Keys: how every kind of thing is named in the overlay and in the key-value store.
//!
//! A key is a kind byte, then its parts. Numbers are big-endian, so that byte order is the order of the numbers; a
//! variable part that is followed by another has its length in front, so that no id is the prefix of another. One file
//! per kind, each with the same verbs: `key(parts)`, `parse(key)` and, where things are scanned, `prefix(…)`.
//!
//! To add a kind: one file, one line in [`Kind`], one in [`Kind::from_byte`], and its place in [`Kind::column`].

pub(crate) mod due;
mod inline;
pub(crate) mod log_entry;
pub(crate) mod meta;
pub(crate) mod ordered;
mod part;
pub(crate) mod record;
pub(crate) mod ring;
pub(crate) mod session;
pub(crate) mod state_change;
pub(crate) mod state_value;

pub use inline::Key;
pub(crate) use inline::KeyBuilder;
pub use record::RecordKey;

/// The column family a key lives in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Column {
    /// The store's own numbers: format version, applied position.
    Meta,
    /// Entries of logs: written once in ascending order, trimmed in ranges.
    Logs,
    /// Everything else: rewritten in place.
    Records,
}

impl Column {
    /// Every column, in the order of their indexes.
    pub const ALL: [Column; 3] = [Column::Meta, Column::Logs, Column::Records];

    /// The name of the column family on disk.
    pub fn name(self) -> &'static str {
        match self {
            Column::Meta => "default",
            Column::Logs => "logs",
            Column::Records => "records",
        }
    }
}

/// The first byte of every key. The numbers are on disk: they are never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// What the store knows about itself.
    Meta = 0,
    /// An entry of a log.
    LogEntry = 1,
    /// A value looked up by its id.
    Record = 2,
    /// The latest value of a topic.
    StateValue = 3,
    /// A place in the change index of a group.
    StateChange = 4,
    /// The last items pushed under an id.
    Ring = 5,
    /// Something that falls due.
    Due = 6,
    /// A session of an owner.
    Session = 7,
    /// A record that keeps its place in byte order.
    Ordered = 8,
}

impl Kind {
    /// The kind a key's first byte stands for.
    pub fn from_byte(byte: u8) -> Option<Kind> {
        Some(match byte {
            0 => Kind::Meta,
            1 => Kind::LogEntry,
            2 => Kind::Record,
            3 => Kind::StateValue,
            4 => Kind::StateChange,
            5 => Kind::Ring,
            6 => Kind::Due,
            7 => Kind::Session,
            8 => Kind::Ordered,
            _ => return None,
        })
    }

    /// Where keys of this kind live.
    pub fn column(self) -> Column {
        match self {
            Kind::Meta => Column::Meta,
            Kind::LogEntry => Column::Logs,
            _ => Column::Records,
        }
    }
}

/// The first key behind every key that starts with `prefix`.
///
/// Every prefix starts with a kind byte below 0xff, so there always is one.
pub(crate) fn behind(prefix: &[u8]) -> Key {
    let last = prefix.iter().rposition(|byte| *byte != 0xff).expect("a kind byte is never 0xff");
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Key::from(&end[..])
}

/// A key as an operator may read it in an error: the kind, then the rest with what is not printable escaped.
pub(crate) fn describe(key: &[u8]) -> String {
    match key.split_first() {
        None => "an empty key".to_owned(),
        Some((kind, rest)) => match Kind::from_byte(*kind) {
            Some(kind) => format!("{kind:?} \"{}\"", rest.escape_ascii()),
            None => format!("kind {kind} \"{}\"", rest.escape_ascii()),
        },
    }
}

/// The name of a log: any bytes that tell it from every other log. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LogId(Key);

impl LogId {
    /// Names the log `id`.
    pub fn new(id: impl AsRef<[u8]>) -> LogId {
        LogId(Key::from(id.as_ref()))
    }

    /// The bytes it was named by.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn behind_is_the_first_key_without_the_prefix(
            rest in prop::collection::vec(prop_oneof![Just(0xffu8), any::<u8>()], 0..6),
            more: Vec<u8>,
        ) {
            let mut prefix = vec![Kind::Record as u8];
            prefix.extend_from_slice(&rest);
            let end = behind(&prefix);
            let mut inside = prefix.clone();
            inside.extend_from_slice(&more);
            prop_assert!(&inside[..] < end.as_bytes());
            prop_assert!(!end.as_bytes().starts_with(&prefix));
            // Nothing sorts between the keys with the prefix and `end`.
            prop_assert!(prefix.starts_with(&end.as_bytes()[..end.as_bytes().len() - 1]));
        }
    }

    #[test]
    fn a_kind_is_its_byte() {
        for byte in 0..=u8::MAX {
            if let Some(kind) = Kind::from_byte(byte) {
                assert_eq!(kind as u8, byte);
            }
        }
        assert_eq!(Kind::from_byte(9), None);
    }

    #[test]
    fn a_key_is_described_for_people() {
        assert_eq!(describe(&[2, b'a', 0]), "Record \"a\\x00\"");
        assert_eq!(describe(&[77, b'a']), "kind 77 \"a\"");
    }
}
