//! What one user keeps about one conversation, for all their devices.

use crate::machine::codec::{self, DecodeError, put_bytes, put_number};
use chasqui_proto::Seq;

const VERSION: u8 = 1;
const PINNED: u8 = 1;
const ARCHIVED: u8 = 2;

/// What one user keeps about one conversation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chat {
    /// Which of the users of this name it is of: a number of [`User::lives`](super::User::lives). For another it says nothing.
    pub life: u32,
    /// The last message they have read, whether others may know or not.
    pub read: Seq,
    /// The last voice note they have played.
    pub played: Seq,
    /// Messages up to here are no more, for them.
    pub cleared: Seq,
    /// It makes no sound until then, in Unix milliseconds.
    pub muted_until_ms: u64,
    /// It is shown above the others.
    pub pinned: bool,
    /// It is put away.
    pub archived: bool,
    /// What is written and not sent yet.
    pub draft: String,
}

impl Chat {
    /// What a user of this life keeps: nothing of what one of another life did.
    #[must_use]
    pub fn of_life(&self, life: u32) -> Chat {
        if self.life == life { self.clone() } else { Chat { life, ..Chat::default() } }
    }

    /// The record as stored.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let flags = u8::from(self.pinned) * PINNED + u8::from(self.archived) * ARCHIVED;
        out.extend_from_slice(&[VERSION, flags]);
        for number in [u64::from(self.life), self.read.0, self.played.0, self.cleared.0, self.muted_until_ms]
        {
            put_number(out, number);
        }
        put_bytes(out, self.draft.as_bytes());
    }

    /// Reads a stored record.
    ///
    /// # Errors
    /// If it is of a newer version, or no such record.
    pub fn decode(stored: &[u8]) -> Result<Chat, DecodeError> {
        codec::versioned("chat", VERSION, stored, |input| {
            let flags = input.byte()?;
            let chat = Chat {
                pinned: flags & PINNED != 0,
                archived: flags & ARCHIVED != 0,
                life: u32::try_from(input.number()?).ok()?,
                read: Seq(input.number()?),
                played: Seq(input.number()?),
                cleared: Seq(input.number()?),
                muted_until_ms: input.number()?,
                draft: input.text()?.to_owned(),
            };
            (flags & !(PINNED | ARCHIVED) == 0).then_some(chat)
        })
    }

    /// Bytes on the heap.
    pub fn weight(&self) -> usize {
        self.draft.capacity()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(crate) fn arbitrary() -> impl Strategy<Value = Chat> {
        any::<(u32, [u64; 4], bool, bool, String)>().prop_map(|(life, numbers, pinned, archived, draft)| {
            let [read, played, cleared, muted_until_ms] = numbers;
            let (read, played, cleared) = (Seq(read), Seq(played), Seq(cleared));
            Chat { life, read, played, cleared, muted_until_ms, pinned, archived, draft }
        })
    }

    proptest! {
        #[test]
        fn round_trip(chat in arbitrary()) {
            let mut stored = Vec::new();
            chat.encode(&mut stored);
            prop_assert_eq!(Chat::decode(&stored), Ok(chat));
            prop_assert!(Chat::decode(&stored[..stored.len() - 1]).is_err());
        }

        #[test]
        fn any_bytes_are_answered(bytes: Vec<u8>) {
            let _ = Chat::decode(&[&[VERSION][..], &bytes].concat());
        }
    }

    #[test]
    fn who_has_the_name_later_keeps_nothing_of_it() {
        let chat = Chat { life: 1, pinned: true, read: Seq(7), ..Chat::default() };
        assert_eq!(chat.of_life(1), chat);
        assert_eq!(chat.of_life(2), Chat { life: 2, ..Chat::default() });
    }

    #[test]
    fn a_newer_version_is_refused() {
        assert_eq!(Chat::decode(&[9]), Err(DecodeError::Newer { what: "chat", found: 9, known: 1 }));
    }
}
