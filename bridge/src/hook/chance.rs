//! What nobody can guess, of random bits. Drawn where a command comes in, so that what decides on it is pure.

use chasqui_proto::GroupId;

const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Letters of a group's id that the server chooses: 66 bits, so that two are never the same.
const GROUP_LETTERS: usize = 11;

/// Letters of the secret in an invite link: 126 bits.
const SECRET_LETTERS: usize = 21;

fn letters(random: u128, count: usize) -> String {
    (0..count).map(|at| char::from(LETTERS[(random >> (6 * at)) as usize % LETTERS.len()])).collect()
}

/// An id for a group.
pub(super) fn group(random: u128) -> GroupId {
    GroupId::parse(&letters(random, GROUP_LETTERS)).expect("the letters are those of ids")
}

/// A secret for an invite link.
pub(super) fn secret(random: u128) -> String {
    letters(random, SECRET_LETTERS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bit_counts() {
        for bit in 0..6 * SECRET_LETTERS {
            let (one, other) = (letters(0, SECRET_LETTERS), letters(1 << bit, SECRET_LETTERS));
            assert_ne!(one, other, "bit {bit}");
            assert_eq!(other.len(), SECRET_LETTERS);
        }
        assert_eq!(letters(63, 3), "_AA");
        assert_ne!(group(1), group(2));
    }
}
