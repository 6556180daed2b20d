//! What one user is to another: on their contact list, on their block list, or both.

use super::User;
use crate::machine::codec::{self, DecodeError, put_number};

const VERSION: u8 = 1;
const CONTACT: u8 = 1;
const BLOCKED: u8 = 2;

/// What one user is to another, its owner. Of one that says nothing there is no record.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tie {
    /// Which of the users of the owner's name it is of: a number of [`User::lives`]. For another it says nothing.
    pub life: u32,
    /// Which of the users of the other's name it is about, in the same way.
    pub other_life: u32,
    /// The other stands on the owner's contact list.
    pub contact: bool,
    /// The other stands on the owner's block list.
    pub blocked: bool,
}

impl Tie {
    /// Whether it says anything; if not, there is nothing to keep.
    pub fn is_kept(&self) -> bool {
        self.contact || self.blocked
    }

    /// What it says between these two: nothing, where it is of or about somebody else who had the name before.
    #[must_use]
    pub fn between(self, owner: &User, other: &User) -> Tie {
        let new = Tie { life: owner.lives, other_life: other.lives, ..Tie::default() };
        if (self.life, self.other_life) == (new.life, new.other_life) { self } else { new }
    }

    /// The record as stored.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[
            VERSION,
            u8::from(self.contact) * CONTACT + u8::from(self.blocked) * BLOCKED,
        ]);
        put_number(out, u64::from(self.life));
        put_number(out, u64::from(self.other_life));
    }

    /// Reads a stored record.
    ///
    /// # Errors
    /// If it is of a newer version, or no tie.
    pub fn decode(stored: &[u8]) -> Result<Tie, DecodeError> {
        codec::versioned("tie", VERSION, stored, |input| {
            let flags = input.byte()?;
            let tie = Tie {
                contact: flags & CONTACT != 0,
                blocked: flags & BLOCKED != 0,
                life: u32::try_from(input.number()?).ok()?,
                other_life: u32::try_from(input.number()?).ok()?,
            };
            (flags & !(CONTACT | BLOCKED) == 0).then_some(tie)
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(crate) fn arbitrary() -> impl Strategy<Value = Tie> {
        any::<(u32, u32, bool, bool)>().prop_map(|(life, other_life, contact, blocked)| Tie {
            life,
            other_life,
            contact,
            blocked,
        })
    }

    proptest! {
        #[test]
        fn round_trip(tie in arbitrary()) {
            let mut stored = Vec::new();
            tie.encode(&mut stored);
            prop_assert_eq!(Tie::decode(&stored), Ok(tie));
            prop_assert!(Tie::decode(&stored[..stored.len() - 1]).is_err());
        }

        #[test]
        fn any_bytes_are_answered(bytes: Vec<u8>) {
            let _ = Tie::decode(&[&[VERSION][..], &bytes].concat());
        }
    }

    #[test]
    fn what_was_between_others_of_these_names_says_nothing() {
        let lived = |lives| User { exists: true, lives, ..User::default() };
        let tie = Tie { life: 1, other_life: 2, contact: true, blocked: true };
        assert_eq!(tie.between(&lived(1), &lived(2)), tie);
        for (owner, other) in [(0, 2), (2, 2), (1, 1), (1, 3)] {
            let between = tie.between(&lived(owner), &lived(other));
            assert_eq!(between, Tie { life: owner, other_life: other, ..Tie::default() });
            assert!(!between.is_kept());
        }
    }

    #[test]
    fn what_is_no_tie_is_refused() {
        assert_eq!(Tie::decode(&[2]), Err(DecodeError::Newer { what: "tie", found: 2, known: 1 }));
        assert_eq!(Tie::decode(&[1, 4, 0, 0]), Err(DecodeError::Malformed("tie")));
    }
}
