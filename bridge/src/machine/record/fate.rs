//! What became of a message after it was said. Most have no such record.

use crate::machine::codec::{self, DecodeError, put_bytes, put_number};
use crate::machine::places::Places;
use bytes::Bytes;
use chasqui_proto::Seq;

const VERSION: u8 = 1;

/// What became of a message after it was said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fate {
    /// What was said is no more.
    pub gone: bool,
    /// What was said instead, in order; nothing of it is left where all is gone.
    pub edits: Vec<Edition>,
}

/// A message that says something else instead of an earlier one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edition {
    /// Its number.
    pub seq: Seq,
    /// When it was said, in Unix milliseconds.
    pub time_ms: u64,
    /// Where it stands in inboxes, as [`Places`](crate::machine::places::Places) encode it.
    pub places: Bytes,
}

impl Edition {
    pub(in crate::machine) fn new(seq: Seq, time_ms: u64, places: &Places) -> Edition {
        Edition { seq, time_ms, places: Bytes::copy_from_slice(places.as_bytes()) }
    }
}

impl Fate {
    /// The record as stored.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[VERSION, u8::from(self.gone)]);
        put_number(out, self.edits.len() as u64);
        for Edition { seq, time_ms, places } in &self.edits {
            put_number(out, seq.0);
            put_number(out, *time_ms);
            put_bytes(out, places);
        }
    }

    /// Reads a stored record.
    ///
    /// # Errors
    /// If it is of a newer version, or no such record.
    pub fn decode(stored: &[u8]) -> Result<Fate, DecodeError> {
        codec::versioned("fate", VERSION, stored, |input| {
            let gone = input.byte().filter(|gone| *gone <= 1)? == 1;
            let mut fate = Fate { gone, edits: Vec::new() };
            for _ in 0..input.number()? {
                let (seq, time_ms) = (Seq(input.number()?), input.number()?);
                fate.edits.push(Edition { seq, time_ms, places: Bytes::copy_from_slice(input.bytes()?) });
            }
            Some(fate)
        })
    }

    /// Bytes on the heap.
    pub fn weight(&self) -> usize {
        self.edits.iter().map(|edition| size_of::<Edition>() + edition.places.len()).sum()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(crate) fn arbitrary() -> impl Strategy<Value = Fate> {
        let edits = prop::collection::vec(any::<(u64, u64, Vec<u8>)>(), 0..3);
        (any::<bool>(), edits).prop_map(|(gone, edits)| {
            let edition = |(seq, time_ms, places): (u64, u64, Vec<u8>)| Edition {
                seq: Seq(seq),
                time_ms,
                places: places.into(),
            };
            Fate { gone, edits: edits.into_iter().map(edition).collect() }
        })
    }

    proptest! {
        #[test]
        fn round_trip(fate in arbitrary()) {
            let mut stored = Vec::new();
            fate.encode(&mut stored);
            prop_assert_eq!(Fate::decode(&stored), Ok(fate));
            prop_assert!(Fate::decode(&stored[..stored.len() - 1]).is_err());
        }

        #[test]
        fn any_bytes_are_answered(bytes: Vec<u8>) {
            let _ = Fate::decode(&[&[VERSION][..], &bytes].concat());
        }
    }

    #[test]
    fn a_newer_version_is_refused() {
        assert_eq!(Fate::decode(&[9]), Err(DecodeError::Newer { what: "fate", found: 9, known: 1 }));
    }
}
