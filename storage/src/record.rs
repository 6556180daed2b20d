//! The envelope a value wears in the key-value store: `version, CRC32C of key and body, body`.
//!
//! The checksum covers the key, so that a value found under another's key is as damaged as one with a flipped bit. It is
//! put on when a value goes down and checked each time one comes up; in the overlay values are bare.

use crate::key;
use bytes::Bytes;
use thiserror::Error;

/// Version of the envelope.
const VERSION: u8 = 1;
/// Bytes the envelope adds to a value.
pub(crate) const OVERHEAD: usize = 5;

/// A value in the key-value store that must not be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RecordError {
    /// The bytes are not the ones that were written under this key.
    #[error(
        "the value of {key} is damaged: its checksum does not match; restore the data folder from a backup, or remove the record"
    )]
    Damaged {
        /// The key, for people to read.
        key: String,
    },
    /// The value was written by a newer version of this program.
    #[error(
        "the value of {key} has format version {version}, newer than the {VERSION} this program reads; use the program that wrote it, or a newer one"
    )]
    Newer {
        /// The key, for people to read.
        key: String,
        /// The version the value has.
        version: u8,
    },
}

/// Puts `body` into an envelope for `key`, replacing what is in `out`.
pub(crate) fn seal(key: &[u8], body: &[u8], out: &mut Vec<u8>) {
    out.clear();
    out.reserve(OVERHEAD + body.len());
    out.push(VERSION);
    out.extend_from_slice(&checksum(key, body).to_le_bytes());
    out.extend_from_slice(body);
}

/// The body of a value found under `key`, as a slice of it.
pub(crate) fn open<'a>(key: &[u8], value: &'a [u8]) -> Result<&'a [u8], RecordError> {
    let damaged = || RecordError::Damaged { key: key::describe(key) };
    let (version, rest) = value.split_first().ok_or_else(damaged)?;
    if *version > VERSION {
        return Err(RecordError::Newer { key: key::describe(key), version: *version });
    }
    let (stored, body) = rest.split_first_chunk::<4>().ok_or_else(damaged)?;
    if *version != VERSION || u32::from_le_bytes(*stored) != checksum(key, body) {
        return Err(damaged());
    }
    Ok(body)
}

/// As [`open`], for a value that is owned.
pub(crate) fn open_owned(key: &[u8], value: &Bytes) -> Result<Bytes, RecordError> {
    open(key, value).map(|body| value.slice_ref(body))
}

fn checksum(key: &[u8], body: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c_append(crc32c::crc32c(&[VERSION]), key), body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::RecordKey;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_sealed_opens(id: Vec<u8>, body: Vec<u8>) {
            let key = RecordKey::record(&id);
            let mut out = vec![9; 3];
            seal(key.as_bytes(), &body, &mut out);
            prop_assert_eq!(out.len(), body.len() + OVERHEAD);
            prop_assert_eq!(open(key.as_bytes(), &out), Ok(&body[..]));
        }

        #[test]
        fn a_flipped_bit_is_seen(id: Vec<u8>, body: Vec<u8>, at: prop::sample::Index, bit in 0u8..8) {
            let key = RecordKey::record(&id);
            let mut out = Vec::new();
            seal(key.as_bytes(), &body, &mut out);
            let at = at.index(out.len());
            out[at] ^= 1 << bit;
            prop_assert!(open(key.as_bytes(), &out).is_err());
        }

        #[test]
        fn any_input_is_answered(key: Vec<u8>, value: Vec<u8>) {
            prop_assert!(open(&key, &value).is_err() || value.len() >= OVERHEAD);
        }
    }

    #[test]
    fn a_value_under_anothers_key_is_damaged() {
        let mut out = Vec::new();
        seal(RecordKey::record(b"alice").as_bytes(), b"value", &mut out);
        let error = open(RecordKey::record(b"bob").as_bytes(), &out).unwrap_err();
        assert!(error.to_string().starts_with("the value of Record \"bob\" is damaged"), "{error}");
    }

    #[test]
    fn a_newer_version_is_named() {
        let error = open(RecordKey::record(b"alice").as_bytes(), &[2, 0, 0, 0, 0]).unwrap_err();
        assert!(error.to_string().contains("format version 2, newer than the 1"), "{error}");
    }
}
