//! Unsigned LEB128 numbers: how lengths and sequence numbers are written in batches, keys and rings.
//!
//! The encoding is prefix-free, so a length in front of a part of a key keeps one key from being the prefix of another.

/// Longest encoding of a `u64`, in bytes.
pub(crate) const MAX_LEN: usize = 10;

/// Appends `value` to `out`.
#[inline]
pub(crate) fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Writes `value` into a buffer on the stack; answers the buffer and how many of its bytes count.
#[inline]
pub(crate) fn array(mut value: u64) -> ([u8; MAX_LEN], usize) {
    let mut out = [0; MAX_LEN];
    let mut at = 0;
    while value >= 0x80 {
        out[at] = value as u8 | 0x80;
        value >>= 7;
        at += 1;
    }
    out[at] = value as u8;
    (out, at + 1)
}

/// Takes a number off the front of `input`; `None` if it is cut off or does not fit 64 bits.
#[inline]
pub(crate) fn take(input: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for at in 0..MAX_LEN.min(input.len()) {
        let byte = input[at];
        if at == MAX_LEN - 1 && byte > 1 {
            return None;
        }
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte < 0x80 {
            *input = &input[at + 1..];
            return Some(value);
        }
    }
    None
}

/// Takes a length and that many bytes off the front of `input`.
#[inline]
pub(crate) fn take_bytes<'a>(input: &mut &'a [u8]) -> Option<&'a [u8]> {
    let len = usize::try_from(take(input)?).ok()?;
    let (bytes, rest) = input.split_at_checked(len)?;
    *input = rest;
    Some(bytes)
}

/// Appends the length of `bytes`, then the bytes.
#[inline]
pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_put_is_taken(value: u64, shift in 0u32..64, rest: Vec<u8>) {
            let value = value >> shift;
            let mut out = Vec::new();
            put(&mut out, value);
            let (array, len) = array(value);
            prop_assert_eq!(&out[..], &array[..len]);
            out.extend_from_slice(&rest);
            let mut input = &out[..];
            prop_assert_eq!(take(&mut input), Some(value));
            prop_assert_eq!(input, &rest[..]);
        }

        #[test]
        fn any_input_is_answered(input: Vec<u8>) {
            let mut rest = &input[..];
            while take_bytes(&mut rest).is_some() {}
        }
    }

    #[test]
    fn what_is_cut_off_or_too_large_is_refused() {
        assert_eq!(take(&mut &[0x80][..]), None);
        assert_eq!(take(&mut &[][..]), None);
        assert_eq!(take(&mut &[0xff; 10][..]), None, "more than 64 bits");
        assert_eq!(take_bytes(&mut &[3, 1, 2][..]), None);
    }
}
