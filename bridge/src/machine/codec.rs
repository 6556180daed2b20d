//! How records, changes and entries are written: a version byte, then numbers as varints and byte strings
//! with their length in front.
//!
//! Reading answers any input: what was cut off, is left over or makes no sense is an error, never a panic.

pub(crate) use chasqui_proto::wire::put_varint as put_number;
use thiserror::Error;

/// Why stored bytes cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// A newer program wrote it.
    #[error(
        "a stored {what} has format version {found}, newer than the {known} this program reads; \
         use the program that wrote it, or a newer one"
    )]
    Newer {
        /// What kind of thing.
        what: &'static str,
        /// The version it has.
        found: u8,
        /// The newest version this program knows.
        known: u8,
    },
    /// It is not what its kind looks like.
    #[error("a stored {0} does not make sense, although its checksum matches; please report this")]
    Malformed(&'static str),
}

/// Appends a byte string with its length in front.
#[inline]
pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// What is left to read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Input<'a>(pub(crate) &'a [u8]);

impl<'a> Input<'a> {
    #[inline]
    pub(crate) fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }

    #[inline]
    pub(crate) fn number(&mut self) -> Option<u64> {
        let mut value = 0;
        for at in 0..10 {
            let byte = *self.0.get(at)?;
            if at == 9 && byte > 1 {
                return None;
            }
            value |= u64::from(byte & 0x7f) << (7 * at);
            if byte < 0x80 {
                self.0 = &self.0[at + 1..];
                return Some(value);
            }
        }
        None
    }

    #[inline]
    pub(crate) fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    #[inline]
    pub(crate) fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = usize::try_from(self.number()?).ok()?;
        self.take(len)
    }

    /// Text of an id or a name, to be parsed.
    #[inline]
    pub(crate) fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()?).ok()
    }

    /// Checks that nothing is left.
    #[inline]
    pub(crate) fn end(self) -> Option<()> {
        self.0.is_empty().then_some(())
    }
}

/// Takes the version off the front of `stored` and reads the rest with `read`, all of it.
pub(crate) fn versioned<'a, T>(
    what: &'static str,
    known: u8,
    stored: &'a [u8],
    read: impl FnOnce(&mut Input<'a>) -> Option<T>,
) -> Result<T, DecodeError> {
    let mut input = Input(stored);
    match input.byte() {
        Some(version) if version == known => {}
        Some(found) if found > known => return Err(DecodeError::Newer { what, found, known }),
        _ => return Err(DecodeError::Malformed(what)),
    }
    let value = read(&mut input);
    value.filter(|_| input.end().is_some()).ok_or(DecodeError::Malformed(what))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_put_is_taken(value: u64, shift in 0u32..64, bytes: Vec<u8>) {
            let value = value >> shift;
            let mut out = Vec::new();
            put_number(&mut out, value);
            put_bytes(&mut out, &bytes);
            let mut input = Input(&out);
            prop_assert_eq!(input.number(), Some(value));
            prop_assert_eq!(input.bytes(), Some(&bytes[..]));
            prop_assert_eq!(input.end(), Some(()));
        }

        #[test]
        fn any_input_is_answered(bytes: Vec<u8>) {
            let mut input = Input(&bytes);
            while input.bytes().is_some() {}
        }
    }

    #[test]
    fn versions_are_told_apart() {
        let read = |stored: &[u8]| versioned("thing", 2, stored, Input::number);
        assert_eq!(read(&[2, 5]), Ok(5));
        assert_eq!(read(&[3, 5]), Err(DecodeError::Newer { what: "thing", found: 3, known: 2 }));
        assert_eq!(read(&[0, 5]), Err(DecodeError::Malformed("thing")));
        assert_eq!(read(&[]), Err(DecodeError::Malformed("thing")));
        assert_eq!(read(&[2, 5, 5]), Err(DecodeError::Malformed("thing")), "something is left over");
        assert_eq!(
            read(&[3, 5]).unwrap_err().to_string(),
            "a stored thing has format version 3, newer than the 2 this program reads; \
             use the program that wrote it, or a newer one"
        );
    }
}
