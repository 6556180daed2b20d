//! A conversation: its newest number and the time of it, how long what is said there lasts, and who of two does not see
//! the other.

use super::{Shade, User};
use crate::machine::codec::{self, DecodeError, put_number};
use chasqui_proto::{ConversationId, Seq, UserId};

const VERSION: u8 = 1;
/// There is a timer.
const TIMER: u8 = 1;
/// There is a shade.
const SHADE: u8 = 2;

/// A conversation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Conversation {
    /// The newest message; [`Seq::NONE`] where nothing was said yet, so that the conversation does not exist.
    pub head: Seq,
    /// Its time in Unix milliseconds, below which none of the next may be.
    pub last_time_ms: u64,
    /// What is said is gone for everyone after so many seconds; 0 for never.
    pub timer_s: u32,
    /// What one side does not see of the other, where one blocks the other, or once did.
    pub shade: Option<Box<Shade>>,
}

impl Conversation {
    /// When what is said at a time is gone, in Unix milliseconds, where it is to be after so many seconds if not 0; 0 for never.
    pub fn deadline_ms(&self, time_ms: u64, expires_in_s: u32) -> u64 {
        deadline_ms(self.timer_s, time_ms, expires_in_s)
    }

    /// The same of what a user says, for whom a [timer of their own](Conversation::timer_of) may hold.
    pub fn deadline_ms_of(
        &self,
        id: &ConversationId,
        owner: (&UserId, &User),
        time_ms: u64,
        expires_in_s: u32,
    ) -> u64 {
        deadline_ms(self.timer_of(id, owner), time_ms, expires_in_s)
    }

    /// How long what a user says is there for, in seconds; 0 for ever.
    pub fn timer_of(&self, id: &ConversationId, owner: (&UserId, &User)) -> u32 {
        self.own_timer(id, owner).unwrap_or(self.timer_s)
    }

    /// What a user said of that while the other side blocked them: it holds for what they say alone.
    pub fn own_timer(&self, id: &ConversationId, owner: (&UserId, &User)) -> Option<u32> {
        self.shade.as_ref().and_then(|shade| shade.timer(id, owner))
    }

    /// The newest message that a user can see, and its time.
    pub fn shown(&self, id: &ConversationId, user: &UserId) -> (Seq, u64) {
        match &self.shade {
            None => (self.head, self.last_time_ms),
            Some(shade) => shade.shown(id, user),
        }
    }

    /// Whether a user blocks the other side of their conversation.
    pub fn blocks(&self, id: &ConversationId, owner: (&UserId, &User), other: &User) -> bool {
        self.shade.as_ref().is_some_and(|shade| shade.blocks(id, owner, other))
    }

    /// The shade where a user blocks the other side, or does no more.
    pub fn with_block(
        &self,
        id: &ConversationId,
        owner: (&UserId, &User),
        other: &User,
        blocks: bool,
    ) -> Box<Shade> {
        let now = self.shade.as_deref().copied();
        let now = now.unwrap_or_else(|| Shade::none(self.head, self.last_time_ms));
        Box::new(now.with_block(id, owner, other, blocks))
    }

    /// The shade after a message, where there is one.
    pub fn shade_after(
        &self,
        id: &ConversationId,
        sender: &UserId,
        message: (Seq, u64),
        hidden: bool,
    ) -> Option<Box<Shade>> {
        self.shade.as_ref().map(|shade| Box::new(shade.after(id, sender, message, hidden)))
    }

    /// Bytes on the heap.
    pub fn weight(&self) -> usize {
        self.shade.as_ref().map_or(0, |_| size_of::<Shade>())
    }

    /// The record as stored.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        put_number(out, self.head.0);
        put_number(out, self.last_time_ms);
        // Most have nothing more to say.
        let flags = u8::from(self.timer_s > 0) * TIMER + u8::from(self.shade.is_some()) * SHADE;
        if flags == 0 {
            return;
        }
        out.push(flags);
        if self.timer_s > 0 {
            put_number(out, u64::from(self.timer_s));
        }
        if let Some(shade) = &self.shade {
            shade.encode(out);
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
            let shade = if flags & SHADE == 0 { None } else { Some(Box::new(Shade::read(input)?)) };
            (flags & !(TIMER | SHADE) == 0).then_some(Conversation { head, last_time_ms, timer_s, shade })
        })
    }
}

fn deadline_ms(timer_s: u32, time_ms: u64, expires_in_s: u32) -> u64 {
    let seconds = [timer_s, expires_in_s].into_iter().filter(|seconds| *seconds > 0).min();
    seconds.map_or(0, |seconds| time_ms + u64::from(seconds) * 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::record::arbitrary_shade;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn round_trip(head: u64, last_time_ms: u64, timer_s in prop_oneof![Just(0), any::<u32>()],
            shade in prop::option::of(arbitrary_shade().prop_map(Box::new))) {
            let conversation = Conversation { head: Seq(head), last_time_ms, timer_s, shade };
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
