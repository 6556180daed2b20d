//! Reading topic names and filters from packets.
//!
//! A topic name is on the path of every PUBLISH: one pass over its bytes decides whether it is plain ASCII without
//! anything special, which is nearly always so; the rest is looked at again, slowly.

use super::primitive::Reader;
use super::text::{check_text, trusted_str};
use super::{ByteStr, DecodeError, TextError, Version};
use crate::mutation::{Mutation, mutated};
use crate::topic::{self, TopicError};

const WILDCARD: u8 = 1;
const NUL: u8 = 2;
const NOT_ASCII: u8 = 4;

/// What each byte means for a topic name.
static CLASS: [u8; 256] = {
    let mut class = [0; 256];
    class[0] = NUL;
    class[b'#' as usize] = WILDCARD;
    class[b'+' as usize] = WILDCARD;
    let mut byte = 0x80;
    while byte < 256 {
        class[byte] = NOT_ASCII;
        byte += 1;
    }
    class
};

impl Reader<'_> {
    /// A topic name that can be published to: of a message, a will or a response.
    pub(crate) fn topic_name(&mut self, max_levels: usize) -> Result<ByteStr, DecodeError> {
        let name = self.topic_name_or_empty(max_levels)?;
        if name.is_empty() {
            return Err(DecodeError::TopicName(TopicError::Empty));
        }
        Ok(name)
    }

    /// As `topic_name`, and the empty one, which stands for a topic alias.
    #[inline]
    pub(crate) fn topic_name_or_empty(&mut self, max_levels: usize) -> Result<ByteStr, DecodeError> {
        let range = self.field()?;
        check_name(&self.buf()[range.clone()], max_levels)?;
        let mut name = self.buf().slice(range);
        if mutated(Mutation::SkipsByteOrderMark) && name.starts_with("\u{FEFF}".as_bytes()) {
            name = name.slice(3..);
        }
        Ok(ByteStr::trusted(name))
    }

    /// Steps over a topic filter, checking it, and tells whether it is a shared one (5.0 alone has these).
    pub(crate) fn skip_filter(&mut self, version: Version, max_levels: usize) -> Result<bool, DecodeError> {
        let range = self.field()?;
        let bytes = &self.buf()[range];
        check_text(bytes)?;
        let filter = trusted_str(bytes);
        match version {
            Version::V311 => topic::validate_filter(filter, max_levels).map(|()| false),
            Version::V5 => topic::validate_subscription(filter, max_levels).map(|shared| shared.is_some()),
        }
        .map_err(DecodeError::TopicFilter)
    }
}

#[inline]
fn check_name(name: &[u8], max_levels: usize) -> Result<(), DecodeError> {
    let mut seen = 0;
    let mut slashes = 0;
    for &byte in name {
        seen |= CLASS[usize::from(byte)];
        slashes += usize::from(byte == b'/');
    }
    if seen != 0 {
        if seen & NOT_ASCII != 0 {
            check_text(name)?;
        }
        if seen & NUL != 0 {
            return Err(DecodeError::Text(TextError::Nul));
        }
        if seen & WILDCARD != 0 && !mutated(Mutation::TakesWildcardInName) {
            return Err(DecodeError::TopicName(TopicError::Wildcard));
        }
    }
    if slashes >= max_levels {
        return Err(DecodeError::TopicName(TopicError::TooManyLevels));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The one pass agrees with the grammar in `topic`, for texts near its rules.
        #[test]
        fn the_fast_check_agrees_with_the_grammar(name in "[a/+#\u{0}é$]{1,12}", max_levels in 1_usize..6) {
            let fast = check_name(name.as_bytes(), max_levels);
            let slow = topic::validate_name(&name, max_levels);
            prop_assert_eq!(fast.is_ok(), slow.is_ok(), "{:?} {:?}", fast, slow);
        }

        #[test]
        fn the_fast_check_agrees_about_bytes(name in prop::collection::vec(any::<u8>(), 1..8)) {
            let slow = check_text(&name).is_ok() && !name.contains(&b'#') && !name.contains(&b'+');
            prop_assert_eq!(check_name(&name, usize::MAX).is_ok(), slow);
        }
    }
}
