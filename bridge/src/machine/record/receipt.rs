//! A receipt: how far the other side of a conversation is with its owner's messages.
//!
//! It is stored as the value of its topic in the owner's receipts: a version byte, then the `Receipt` message
//! that readers get, so that it is delivered as a slice of what is stored. The conversation is left out: the
//! topic says it.

use crate::machine::codec::DecodeError;
use bytes::Bytes;
use chasqui_proto::{Seq, UserId, v1};
use prost::Message;
use std::borrow::Cow;

const VERSION: u8 = 1;

/// A watermark and when it was set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mark {
    /// Covers every message up to this one.
    pub up_to: Seq,
    /// When it was set, in Unix milliseconds.
    pub at_ms: u64,
}

/// How far the members of a group are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Members {
    /// Each of those who are anywhere yet, in the order of their ids.
    Named(Vec<MemberMarks>),
    /// How many there are, of a larger group.
    Counted(Counts),
}

/// How far one member is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberMarks {
    /// Who.
    pub user: UserId,
    /// On a device of theirs.
    pub delivered: Mark,
    /// Read by them.
    pub read: Mark,
    /// Played by them.
    pub played: Mark,
}

/// How many members are as far as one message.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// The newest message of the owner that anybody has.
    pub seq: Seq,
    /// Members besides the owner.
    pub members: u32,
    /// How many of them have it on a device.
    pub delivered: u32,
    /// How many have read it.
    pub read: u32,
    /// How many have played it.
    pub played: u32,
    /// When one of them was counted last, in Unix milliseconds.
    pub at_ms: u64,
}

/// The marks of one conversation. They only grow.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Receipt {
    /// Where it stands among the owner's receipts: grows with each change; 0 where there never was one.
    pub position: u64,
    /// On a device of the other side.
    pub delivered: Mark,
    /// Read by the other side.
    pub read: Mark,
    /// Played by the other side.
    pub played: Mark,
    /// In a group, whose other side are many: how far they are, instead of the three.
    pub members: Option<Box<Members>>,
}

impl Receipt {
    /// The value as stored; its position is kept by the store.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        self.shown().encode(out).expect("a Vec grows as needed");
    }

    /// What its owner is shown.
    pub fn shown(&self) -> v1::Receipt {
        let (members, counts) = match self.members.as_deref() {
            None => (Vec::new(), None),
            Some(Members::Named(members)) => (members.iter().map(MemberMarks::shown).collect(), None),
            Some(Members::Counted(counts)) => (Vec::new(), Some(counts.shown())),
        };
        v1::Receipt {
            members,
            counts,
            delivered: self.delivered.up_to.0,
            delivered_at_ms: self.delivered.at_ms.cast_signed(),
            read: self.read.up_to.0,
            read_at_ms: self.read.at_ms.cast_signed(),
            played: self.played.up_to.0,
            played_at_ms: self.played.at_ms.cast_signed(),
            // The topic says it.
            conversation: String::new(),
        }
    }

    /// Reads a stored value, which was set at `position`.
    ///
    /// # Errors
    /// If it is of a newer version, or no receipt.
    pub fn decode(position: u64, stored: &[u8]) -> Result<Receipt, DecodeError> {
        let message = v1::Receipt::decode(body(stored)?).map_err(|_| DecodeError::Malformed("receipt"))?;
        let members = match message.counts {
            Some(counts) => Some(Members::Counted(Counts::of(counts))),
            None if message.members.is_empty() => None,
            None => {
                let members = message.members.iter().map(MemberMarks::of);
                Some(Members::Named(members.collect::<Option<_>>().ok_or(DecodeError::Malformed("receipt"))?))
            }
        };
        Ok(Receipt {
            position,
            delivered: mark(message.delivered, message.delivered_at_ms),
            read: mark(message.read, message.read_at_ms),
            played: mark(message.played, message.played_at_ms),
            members: members.map(Box::new),
        })
    }

    /// What it says to an owner who came then, in Unix milliseconds: nothing, if all of it was said to another of the name before.
    #[must_use]
    pub fn since(&self, since_ms: u64) -> Cow<'_, Receipt> {
        let is_since = |mark: &Mark| mark.at_ms >= since_ms;
        let is_theirs = match self.members.as_deref() {
            Some(Members::Named(named)) => {
                let mut marks = named.iter().flat_map(|marks| [marks.delivered, marks.read, marks.played]);
                marks.any(|mark| is_since(&mark))
            }
            Some(Members::Counted(counts)) => counts.at_ms >= since_ms,
            None => [self.delivered, self.read, self.played].iter().any(is_since),
        };
        if is_theirs {
            Cow::Borrowed(self)
        } else {
            Cow::Owned(Receipt { position: self.position, ..Receipt::default() })
        }
    }

    /// Whether a stored value says something to an owner who came then. One that cannot be read does: whoever shows it finds that out.
    pub fn is_since(stored: &[u8], since_ms: u64) -> bool {
        Receipt::decode(0, stored).map_or(true, |receipt| *receipt.since(since_ms) != Receipt::default())
    }

    /// Bytes on the heap.
    pub fn weight(&self) -> usize {
        self.members.as_deref().map_or(0, |members| {
            let named = match members {
                Members::Named(named) => named.capacity() * size_of::<MemberMarks>(),
                Members::Counted(_) => 0,
            };
            size_of::<Members>() + named
        })
    }

    /// What a reader gets of a stored value: an encoded `Receipt`, a slice of `stored`.
    ///
    /// # Errors
    /// If it is of a newer version, or empty.
    pub fn payload(stored: &Bytes) -> Result<Bytes, DecodeError> {
        body(stored).map(|body| stored.slice_ref(body))
    }
}

fn mark(up_to: u64, at_ms: i64) -> Mark {
    Mark { up_to: Seq(up_to), at_ms: at_ms.cast_unsigned() }
}

impl MemberMarks {
    fn shown(&self) -> v1::MemberReceipt {
        v1::MemberReceipt {
            user: self.user.to_string(),
            delivered: self.delivered.up_to.0,
            delivered_at_ms: self.delivered.at_ms.cast_signed(),
            read: self.read.up_to.0,
            read_at_ms: self.read.at_ms.cast_signed(),
            played: self.played.up_to.0,
            played_at_ms: self.played.at_ms.cast_signed(),
        }
    }

    fn of(shown: &v1::MemberReceipt) -> Option<MemberMarks> {
        Some(MemberMarks {
            user: UserId::parse(&shown.user).ok()?,
            delivered: mark(shown.delivered, shown.delivered_at_ms),
            read: mark(shown.read, shown.read_at_ms),
            played: mark(shown.played, shown.played_at_ms),
        })
    }
}

impl Counts {
    fn shown(self) -> v1::ReceiptCounts {
        let Counts { seq, members, delivered, read, played, at_ms } = self;
        v1::ReceiptCounts { seq: seq.0, members, delivered, read, played, at_ms: at_ms.cast_signed() }
    }

    fn of(shown: v1::ReceiptCounts) -> Counts {
        let v1::ReceiptCounts { seq, members, delivered, read, played, at_ms } = shown;
        Counts { seq: Seq(seq), members, delivered, read, played, at_ms: at_ms.cast_unsigned() }
    }
}

fn body(stored: &[u8]) -> Result<&[u8], DecodeError> {
    match stored.split_first() {
        Some((&VERSION, body)) => Ok(body),
        Some((&found, _)) if found > VERSION => {
            Err(DecodeError::Newer { what: "receipt", found, known: VERSION })
        }
        _ => Err(DecodeError::Malformed("receipt")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW_MS: u64 = 1_795_000_000_000;

    fn stored(receipt: &Receipt) -> Bytes {
        let mut stored = Vec::new();
        receipt.encode(&mut stored);
        stored.into()
    }

    fn members() -> impl Strategy<Value = Option<Box<Members>>> {
        let named = ("[A-Za-z0-9_-]{1,64}", any::<[(u64, u64); 3]>()).prop_map(|(user, marks)| {
            let [delivered, read, played] = marks.map(|(up_to, at_ms)| Mark { up_to: Seq(up_to), at_ms });
            MemberMarks { user: UserId::parse(&user).unwrap(), delivered, read, played }
        });
        let counted = any::<(u64, [u32; 4], u64)>().prop_map(|(seq, numbers, at_ms)| {
            let [members, delivered, read, played] = numbers;
            Counts { seq: Seq(seq), members, delivered, read, played, at_ms }
        });
        let members = prop_oneof![
            prop::collection::vec(named, 1..4).prop_map(Members::Named),
            counted.prop_map(Members::Counted),
        ];
        prop::option::of(members.prop_map(Box::new))
    }

    proptest! {
        #[test]
        fn round_trip(position: u64, marks: [(u64, u64); 3], members in members()) {
            let [delivered, read, played] = marks.map(|(up_to, at_ms)| Mark { up_to: Seq(up_to), at_ms });
            let receipt = Receipt { position, delivered, read, played, members };
            prop_assert_eq!(Receipt::decode(position, &stored(&receipt)), Ok(receipt));
        }

        #[test]
        fn any_bytes_are_answered(bytes: Vec<u8>) {
            let _ = Receipt::decode(1, &[&[VERSION][..], &bytes].concat());
        }
    }

    #[test]
    fn a_newer_version_is_refused() {
        assert_eq!(Receipt::decode(1, &[2]), Err(DecodeError::Newer { what: "receipt", found: 2, known: 1 }));
        assert_eq!(Receipt::decode(1, &[]), Err(DecodeError::Malformed("receipt")));
    }

    #[test]
    fn it_is_small_on_the_wire() {
        let mark = |up_to| Mark { up_to: Seq(up_to), at_ms: NOW_MS };
        let size = |receipt: &Receipt| Receipt::payload(&stored(receipt)).unwrap().len();
        assert_eq!(size(&Receipt { position: 9, delivered: mark(100), ..Receipt::default() }), 9);
        assert_eq!(size(&Receipt { position: 9, delivered: mark(10_000), ..Receipt::default() }), 10);
        assert_eq!(
            size(&Receipt { position: 9, delivered: mark(100), read: mark(100), ..Receipt::default() }),
            18
        );
    }

    #[test]
    fn who_comes_later_under_a_name_is_told_nothing_that_was_counted_before() {
        let counts = Counts { seq: Seq(9), members: 40, delivered: 1, at_ms: NOW_MS, ..Counts::default() };
        let members = Some(Box::new(Members::Counted(counts)));
        let receipt = Receipt { position: 9, members, ..Receipt::default() };
        assert_eq!(*receipt.since(NOW_MS), receipt);
        assert_eq!(*receipt.since(NOW_MS + 1), Receipt { position: 9, ..Receipt::default() });
    }
}
