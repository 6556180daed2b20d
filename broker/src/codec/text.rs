//! UTF-8 strings of the protocol, kept as slices of the packet they came in.
//!
//! Invariant: a [`ByteStr`] holds at most 65,535 bytes of well-formed UTF-8 [MQTT-1.5.4-1] without U+0000
//! [MQTT-1.5.4-2], so it can always be written to any client again and is never checked twice.

use std::borrow::Borrow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;

use bytes::Bytes;
use thiserror::Error;

use crate::mutation::{Mutation, mutated};

/// The longest string or binary field that the protocol can carry, in bytes.
pub const MAX_FIELD_LEN: usize = u16::MAX as usize;

/// Why bytes are not a string of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TextError {
    /// Not well-formed UTF-8 [MQTT-1.5.4-1].
    #[error("a string is not well-formed UTF-8")]
    NotUtf8,
    /// Contains U+0000 [MQTT-1.5.4-2].
    #[error("a string contains the character U+0000")]
    Nul,
    /// Longer than [`MAX_FIELD_LEN`].
    #[error("a string is longer than 65,535 bytes")]
    TooLong,
}

/// A string of the protocol, sharing the memory of the packet it was read from.
///
/// Cloning it is a reference count; keeping it keeps the whole buffer it was cut from, so what is stored for long
/// should be copied with [`ByteStr::detached`].
#[derive(Clone, Default)]
pub struct ByteStr(Bytes);

impl ByteStr {
    /// A string from a constant.
    ///
    /// # Panics
    /// If the constant contains U+0000 or is too long; never on input.
    pub fn from_static(text: &'static str) -> Self {
        Self::try_from(Bytes::from_static(text.as_bytes()))
            .expect("constants of this program are valid strings")
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        trusted_str(&self.0)
    }

    /// The bytes it consists of; sharing, not copying.
    pub fn into_bytes(self) -> Bytes {
        self.0
    }

    /// A copy that owns its memory and no longer keeps the packet it came from.
    #[must_use]
    pub fn detached(&self) -> Self {
        Self(Bytes::copy_from_slice(&self.0))
    }

    /// Wraps bytes that [`check_text`] or a topic check has just accepted.
    pub(crate) fn trusted(bytes: Bytes) -> Self {
        debug_assert_eq!(check_text(&bytes), Ok(()));
        Self(bytes)
    }
}

/// Checks everything that makes bytes a string of the protocol.
pub fn check_text(bytes: &[u8]) -> Result<(), TextError> {
    if bytes.len() > MAX_FIELD_LEN {
        return Err(TextError::TooLong);
    }
    if std::str::from_utf8(bytes).is_err() {
        return Err(TextError::NotUtf8);
    }
    if memchr::memchr(0, bytes).is_some() && !mutated(Mutation::TakesNul) {
        return Err(TextError::Nul);
    }
    Ok(())
}

/// Views bytes as text without looking at them again: the check on the way in is the only one.
#[allow(unsafe_code)]
pub(crate) fn trusted_str(bytes: &[u8]) -> &str {
    debug_assert!(std::str::from_utf8(bytes).is_ok());
    // SAFETY: called only on the content of a `ByteStr` and on the strings inside `UserProperties` and filter lists.
    // Their fields are private, they are only made from bytes that `check_text` or the topic scan accepted, and `Bytes`
    // is immutable.
    unsafe { std::str::from_utf8_unchecked(bytes) }
}

impl Deref for ByteStr {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<str> for ByteStr {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl Borrow<str> for ByteStr {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl TryFrom<Bytes> for ByteStr {
    type Error = TextError;

    fn try_from(bytes: Bytes) -> Result<Self, TextError> {
        check_text(&bytes)?;
        Ok(Self(bytes))
    }
}

impl TryFrom<&str> for ByteStr {
    type Error = TextError;

    fn try_from(text: &str) -> Result<Self, TextError> {
        check_text(text.as_bytes())?;
        Ok(Self(Bytes::copy_from_slice(text.as_bytes())))
    }
}

impl TryFrom<String> for ByteStr {
    type Error = TextError;

    fn try_from(text: String) -> Result<Self, TextError> {
        Self::try_from(Bytes::from(text))
    }
}

impl PartialEq for ByteStr {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for ByteStr {}

impl PartialEq<str> for ByteStr {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for ByteStr {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl PartialOrd for ByteStr {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ByteStr {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.cmp(&other.0)
    }
}

/// Hashes as the `str` does, so that a map keyed by `ByteStr` can be asked with a `&str`.
impl Hash for ByteStr {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl fmt::Display for ByteStr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

impl fmt::Debug for ByteStr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_and_what_is_not_a_string() {
        let cases: &[(&[u8], Result<(), TextError>)] = &[
            (b"", Ok(())),
            (b"plain", Ok(())),
            ("καλημέρα 🙂".as_bytes(), Ok(())),
            (b"\xEF\xBB\xBFbom stays [MQTT-1.5.4-3]", Ok(())),
            (b"\x01control characters are only discouraged\x7f", Ok(())),
            (b"a\0b", Err(TextError::Nul)),
            (b"\0", Err(TextError::Nul)),
            (b"\xC0\x80", Err(TextError::NotUtf8)),
            (b"\xED\xA0\x80", Err(TextError::NotUtf8)),
            (b"\xED\xBF\xBF", Err(TextError::NotUtf8)),
            (b"\xF4\x90\x80\x80", Err(TextError::NotUtf8)),
            (b"\xE2\x82", Err(TextError::NotUtf8)),
            (b"\x80", Err(TextError::NotUtf8)),
            (b"\xFF", Err(TextError::NotUtf8)),
        ];
        for (bytes, expected) in cases {
            assert_eq!(check_text(bytes), *expected, "{bytes:?}");
            let made = ByteStr::try_from(Bytes::copy_from_slice(bytes));
            assert_eq!(made.is_ok(), expected.is_ok(), "{bytes:?}");
        }
        assert_eq!(check_text(&vec![b'a'; MAX_FIELD_LEN]), Ok(()));
        assert_eq!(check_text(&vec![b'a'; MAX_FIELD_LEN + 1]), Err(TextError::TooLong));
    }

    #[test]
    fn a_map_keyed_by_byte_str_answers_to_str() {
        let mut map = std::collections::HashMap::new();
        map.insert(ByteStr::from_static("u/alice/in"), 7);
        assert_eq!(map.get("u/alice/in"), Some(&7));
        assert_eq!(map.get("u/alice"), None);
    }
}
