//! A conversation: its newest number and the time of it.

use crate::machine::codec::{self, DecodeError, put_number};
use chasqui_proto::Seq;

const VERSION: u8 = 1;

/// A conversation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Conversation {
    /// The newest message; [`Seq::NONE`] where nothing was said yet, so that the conversation does not exist.
    pub head: Seq,
    /// Its time in Unix milliseconds, below which none of the next may be.
    pub last_time_ms: u64,
}

impl Conversation {
    /// The record as stored.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        put_number(out, self.head.0);
        put_number(out, self.last_time_ms);
    }

    /// Reads a stored record.
    ///
    /// # Errors
    /// If it is of a newer version, or no conversation.
    pub fn decode(stored: &[u8]) -> Result<Conversation, DecodeError> {
        codec::versioned("conversation", VERSION, stored, |input| {
            Some(Conversation { head: Seq(input.number()?), last_time_ms: input.number()? })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn round_trip(head: u64, last_time_ms: u64) {
            let conversation = Conversation { head: Seq(head), last_time_ms };
            let mut stored = Vec::new();
            conversation.encode(&mut stored);
            prop_assert_eq!(Conversation::decode(&stored), Ok(conversation));
            prop_assert!(Conversation::decode(&stored[..stored.len() - 1]).is_err());
        }

        #[test]
        fn any_bytes_are_answered(bytes: Vec<u8>) {
            let _ = Conversation::decode(&[&[VERSION][..], &bytes].concat());
        }
    }

    #[test]
    fn a_newer_version_is_refused() {
        assert_eq!(
            Conversation::decode(&[2, 0, 0]),
            Err(DecodeError::Newer { what: "conversation", found: 2, known: 1 })
        );
    }
}
