//! What one user has to do with one group: when they were a member, and how far they are with it.

use super::Mark;
use crate::machine::codec::{self, DecodeError, put_number};
use chasqui_proto::Seq;
use smallvec::SmallVec;

const VERSION: u8 = 1;

/// What one user has to do with one group. Outlives their being a member.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Membership {
    /// Which of the users of this name it is of: a number of [`User::lives`](super::User::lives). For another it says nothing.
    pub life: u32,
    /// What they may see of the group, oldest first.
    pub stays: SmallVec<[Stay; 1]>,
    /// The newest message that they sent to it.
    pub sent: Seq,
    /// On a device of theirs.
    pub delivered: Mark,
    /// Read by them, as far as others may know.
    pub read: Mark,
    /// Played by them, as far as others may know.
    pub played: Mark,
}

/// A time as a member: everything from the one event to the other, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stay {
    /// The event that made them a member.
    pub from: Seq,
    /// The event by which they were one no more; [`Seq::NONE`] while they are.
    pub to: Seq,
}

impl Membership {
    /// The last message that they may see, where they are a member no more.
    pub fn ended(&self) -> Option<Seq> {
        self.stays.last().map(|stay| stay.to).filter(|to| *to != Seq::NONE)
    }

    /// Whether they may see a message.
    pub fn covers(&self, seq: Seq) -> bool {
        self.stays.iter().any(|stay| stay.from <= seq && (stay.to == Seq::NONE || seq <= stay.to))
    }

    /// Begins a stay of a user of this life. What one of another life saw is none of theirs.
    pub fn begin(&mut self, from: Seq, life: u32) {
        if self.life != life {
            *self = Membership { life, ..Membership::default() };
        }
        self.end(Seq(from.0 - 1));
        self.stays.push(Stay { from, to: Seq::NONE });
    }

    /// Ends a stay that lasts.
    pub fn end(&mut self, to: Seq) {
        if let Some(stay) = self.stays.last_mut().filter(|stay| stay.to == Seq::NONE) {
            stay.to = to;
        }
    }

    /// The record as stored.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        for number in [u64::from(self.life), self.sent.0, self.stays.len() as u64] {
            put_number(out, number);
        }
        for Stay { from, to } in &self.stays {
            put_number(out, from.0);
            put_number(out, to.0);
        }
        for mark in [self.delivered, self.read, self.played] {
            put_number(out, mark.up_to.0);
            put_number(out, mark.at_ms);
        }
    }

    /// Reads a stored record.
    ///
    /// # Errors
    /// If it is of a newer version, or no membership.
    pub fn decode(stored: &[u8]) -> Result<Membership, DecodeError> {
        codec::versioned("membership", VERSION, stored, |input| {
            let life = u32::try_from(input.number()?).ok()?;
            let mut membership = Membership { life, sent: Seq(input.number()?), ..Membership::default() };
            for _ in 0..input.number()? {
                membership.stays.push(Stay { from: Seq(input.number()?), to: Seq(input.number()?) });
            }
            for mark in [&mut membership.delivered, &mut membership.read, &mut membership.played] {
                *mark = Mark { up_to: Seq(input.number()?), at_ms: input.number()? };
            }
            Some(membership)
        })
    }

    /// Bytes on the heap.
    pub fn weight(&self) -> usize {
        if self.stays.spilled() { self.stays.capacity() * size_of::<Stay>() } else { 0 }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(crate) fn arbitrary() -> impl Strategy<Value = Membership> {
        let stays = prop::collection::vec(any::<(u64, u64)>(), 0..4);
        (any::<u32>(), stays, any::<u64>(), any::<[(u64, u64); 3]>()).prop_map(
            |(life, stays, sent, marks)| {
                let [delivered, read, played] = marks.map(|(up_to, at_ms)| Mark { up_to: Seq(up_to), at_ms });
                let stays =
                    stays.into_iter().map(|(from, to)| Stay { from: Seq(from), to: Seq(to) }).collect();
                Membership { life, stays, sent: Seq(sent), delivered, read, played }
            },
        )
    }

    proptest! {
        #[test]
        fn round_trip(membership in arbitrary()) {
            let mut stored = Vec::new();
            membership.encode(&mut stored);
            prop_assert_eq!(Membership::decode(&stored), Ok(membership));
            prop_assert!(Membership::decode(&stored[..stored.len() - 1]).is_err());
        }

        #[test]
        fn any_bytes_are_answered(bytes: Vec<u8>) {
            let _ = Membership::decode(&[&[VERSION][..], &bytes].concat());
        }
    }

    #[test]
    fn what_was_said_while_one_was_away_is_not_seen() {
        let mut membership = Membership::default();
        assert_eq!(membership.ended(), None, "never a member");
        membership.begin(Seq(3), 0);
        assert_eq!(membership.ended(), None);
        membership.end(Seq(5));
        membership.end(Seq(6));
        assert_eq!(membership.ended(), Some(Seq(5)), "a stay ends once");
        membership.begin(Seq(9), 0);
        let seen: Vec<u64> = (1..12).filter(|seq| membership.covers(Seq(*seq))).collect();
        assert_eq!(seen, [3, 4, 5, 9, 10, 11]);
        membership.begin(Seq(12), 1);
        assert!(!membership.covers(Seq(4)) && membership.covers(Seq(12)), "somebody else of the name");
    }

    #[test]
    fn a_newer_version_is_refused() {
        assert_eq!(
            Membership::decode(&[2]),
            Err(DecodeError::Newer { what: "membership", found: 2, known: 1 })
        );
    }
}
