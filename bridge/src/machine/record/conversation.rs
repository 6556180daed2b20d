//! A conversation: its newest number and the time of it, and how long what is said there lasts.

use crate::machine::codec::{self, DecodeError, put_number};
use chasqui_proto::Seq;

const VERSION: u8 = 1;
/// There is a timer.
const TIMER: u8 = 1;

/// A conversation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Conversation {
    /// The newest message; [`Seq::NONE`] where nothing was said yet, so that the conversation does not exist.
    pub head: Seq,
    /// Its time in Unix milliseconds, below which none of the next may be.
    pub last_time_ms: u64,
    /// What is said is gone for everyone after so many seconds; 0 for never.
    pub timer_s: u32,
}

impl Conversation {
    /// When what is said at a time is gone, in Unix milliseconds, where it is to be after so many seconds if not 0; 0 for never.
    pub fn deadline_ms(&self, time_ms: u64, expires_in_s: u32) -> u64 {
        let seconds = [self.timer_s, expires_in_s].into_iter().filter(|seconds| *seconds > 0).min();
        seconds.map_or(0, |seconds| time_ms + u64::from(seconds) * 1_000)
    }

    /// The record as stored.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        put_number(out, self.head.0);
        put_number(out, self.last_time_ms);
        // Most have nothing more to say.
        if self.timer_s > 0 {
            out.push(TIMER);
            put_number(out, u64::from(self.timer_s));
        }
    }

    /// Reads a stored record.
    ///
    /// # Errors
    /// If it is of a newer version, or no conversation.
    pub fn decode(stored: &[u8]) -> Result<Conversation, DecodeError> {
        codec::versioned("conversation", VERSION, stored, |input| {
            let (head, last_time_ms) = (Seq(input.number()?), input.number()?);
            let flags = if input.0.is_empty() { 0 } else { input.byte()? };
            let timer_s = if flags & TIMER == 0 { 0 } else { u32::try_from(input.number()?).ok()? };
            (flags & !TIMER == 0).then_some(Conversation { head, last_time_ms, timer_s })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn round_trip(head: u64, last_time_ms: u64, timer_s in prop_oneof![Just(0), any::<u32>()]) {
            let conversation = Conversation { head: Seq(head), last_time_ms, timer_s };
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
    fn of_two_times_the_shorter_counts() {
        for (timer_s, expires_in_s, expected) in
            [(0, 0, 0), (5, 0, 5_100), (0, 7, 7_100), (5, 7, 5_100), (7, 5, 5_100)]
        {
            let conversation = Conversation { timer_s, ..Conversation::default() };
            assert_eq!(conversation.deadline_ms(100, expires_in_s), expected, "{timer_s}, {expires_in_s}");
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
