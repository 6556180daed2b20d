//! Batches as bytes, and back. Pure.
//!
//! The layout of the 16-byte header and what the checksums cover are the segment format's and hold for every kind and
//! version; these only say how the body reads. So a record that is too new is recognised as intact, and refused.

use bytes::Bytes;

use super::Position;

/// The most that one batch may take as a record.
pub const MAX_BATCH_BYTES: u64 = 1 << 30;
/// The most that one payload may take, so that it fits in a batch behind a full queue.
pub const MAX_PAYLOAD_BYTES: usize = 512 << 20;

pub(crate) const HEADER: usize = 16;
/// Records begin at multiples of this.
pub(crate) const ALIGN: u64 = 8;
const BATCH: u8 = 1;
const BATCH_VERSION: u8 = 1;
const LENGTH: usize = 4;

/// The random bytes that make this log's checksums its own. Whoever does not know them forges a record with a chance
/// of 2^-64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key(pub(crate) [u8; 16]);

impl Key {
    fn header_seed(self, at: Position) -> u32 {
        crc32c::crc32c_append(crc32c::crc32c(&self.0[..8]), &at.get().to_le_bytes())
    }

    fn body_seed(self, at: Position) -> u32 {
        crc32c::crc32c_append(crc32c::crc32c(&self.0[8..]), &at.get().to_le_bytes())
    }
}

/// The header of a record that checks out at its position.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Header {
    pub(crate) length: u32,
    kind: u8,
    version: u8,
    body_crc: u32,
    body_seed: u32,
}

/// Why an intact record cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unreadable {
    Kind(u8),
    Version { found: u8, known: u8 },
}

impl Header {
    /// The header in `bytes`, if it is one and belongs at `at`.
    pub(crate) fn parse(bytes: &[u8; HEADER], key: Key, at: Position) -> Option<Self> {
        let word = |i: usize| u32::from_le_bytes([bytes[i], bytes[i + 1], bytes[i + 2], bytes[i + 3]]);
        // Most of what is not a header ends here, without a checksum: zeros, to begin with.
        if bytes[4] == 0 || bytes[6] != 0 || bytes[7] != 0 || word(0) == 0 {
            return None;
        }
        if crc32c::crc32c_append(key.header_seed(at), &bytes[..12]) != word(12) {
            return None;
        }
        Some(Self {
            length: word(0),
            kind: bytes[4],
            version: bytes[5],
            body_crc: word(8),
            body_seed: crc32c::crc32c_append(key.body_seed(at), &bytes[..8]),
        })
    }

    /// Bytes of the whole record, up to where the next one begins.
    pub(crate) fn span(&self) -> u64 {
        (HEADER as u64 + u64::from(self.length)).next_multiple_of(ALIGN)
    }

    /// Whether `body` is what was written.
    pub(crate) fn checks(&self, body: &[u8]) -> bool {
        body.len() == self.length as usize && self.sums_up_to(self.sum(None, body))
    }

    /// The checksum of a body that is read piece by piece: of the pieces so far, and this one.
    pub(crate) fn sum(&self, so_far: Option<u32>, piece: &[u8]) -> u32 {
        crc32c::crc32c_append(so_far.unwrap_or(self.body_seed), piece)
    }

    /// Whether a whole body with this checksum is what was written.
    pub(crate) fn sums_up_to(&self, sum: u32) -> bool {
        sum == self.body_crc
    }

    /// Whether this program knows how to read an intact body.
    pub(crate) fn readable(&self) -> Result<(), Unreadable> {
        match (self.kind, self.version) {
            (BATCH, BATCH_VERSION) => Ok(()),
            (BATCH, found) => Err(Unreadable::Version { found, known: BATCH_VERSION }),
            (kind, _) => Err(Unreadable::Kind(kind)),
        }
    }
}

/// Bytes that the non-empty ones of `payloads` take as one record; 0 if there are none.
pub(crate) fn span(payloads: &[Bytes]) -> u64 {
    let body: u64 = payloads
        .iter()
        .filter(|payload| !payload.is_empty())
        .map(|payload| (LENGTH + payload.len()) as u64)
        .sum();
    if body == 0 { 0 } else { (HEADER as u64 + body).next_multiple_of(ALIGN) }
}

/// Puts the non-empty ones of `payloads` into `out` as the record that begins at `at`.
///
/// # Panics
/// If they take more than [`MAX_BATCH_BYTES`].
pub(crate) fn encode(out: &mut Vec<u8>, key: Key, at: Position, payloads: &[Bytes]) {
    let span = span(payloads);
    assert!(span <= MAX_BATCH_BYTES, "the caller keeps a batch within bounds");
    out.clear();
    out.reserve(span as usize);
    out.resize(HEADER, 0);
    for payload in payloads.iter().filter(|payload| !payload.is_empty()) {
        out.extend_from_slice(&(payload.len() as u32).to_le_bytes());
        out.extend_from_slice(payload);
    }
    let length = (out.len() - HEADER) as u32;
    out[..4].copy_from_slice(&length.to_le_bytes());
    out[4] = BATCH;
    out[5] = BATCH_VERSION;
    seal(out, key, at);
    out.resize(span as usize, 0);
}

/// Fills in the checksums of a record without its padding.
fn seal(record: &mut [u8], key: Key, at: Position) {
    let body = crc32c::crc32c_append(key.body_seed(at), &record[..8]);
    let body = crc32c::crc32c_append(body, &record[HEADER..]);
    record[8..12].copy_from_slice(&body.to_le_bytes());
    let header = crc32c::crc32c_append(key.header_seed(at), &record[..12]);
    record[12..16].copy_from_slice(&header.to_le_bytes());
}

/// The payloads in the body of a batch, each with the offset in the body at which it ends. `None` if the lengths do
/// not add up, which in a body that checks out would mean another layout.
pub(crate) fn payloads(body: &Bytes) -> Option<Vec<(usize, Bytes)>> {
    let mut out = Vec::new();
    let mut at = 0;
    while at < body.len() {
        let length = body.get(at..at + LENGTH)?;
        let length = u32::from_le_bytes(length.try_into().ok()?) as usize;
        let begin = at + LENGTH;
        at = begin.checked_add(length).filter(|&end| end <= body.len())?;
        out.push((at, body.slice(begin..at)));
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEY: Key = Key(*b"0123456789abcdef");

    fn decode(bytes: &[u8], key: Key, at: Position) -> Option<Vec<Bytes>> {
        let header = Header::parse(bytes.get(..HEADER)?.try_into().ok()?, key, at)?;
        let body = bytes.get(HEADER..HEADER + header.length as usize)?;
        assert_eq!(header.readable(), Ok(()));
        let body = header.checks(body).then(|| Bytes::copy_from_slice(body))?;
        Some(payloads(&body)?.into_iter().map(|(_, payload)| payload).collect())
    }

    fn batch() -> impl Strategy<Value = Vec<Bytes>> {
        prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from), 1..8)
            .prop_filter("something to write", |batch| batch.iter().any(|payload| !payload.is_empty()))
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out(batch in batch(), at in any::<u64>()) {
            let at = Position::new(at);
            let mut bytes = Vec::new();
            encode(&mut bytes, KEY, at, &batch);
            prop_assert_eq!(bytes.len() as u64, span(&batch));
            prop_assert_eq!(bytes.len() as u64 % ALIGN, 0);
            let full: Vec<Bytes> = batch.into_iter().filter(|payload| !payload.is_empty()).collect();
            prop_assert_eq!(decode(&bytes, KEY, at), Some(full));
        }

        #[test]
        fn it_counts_only_where_and_for_whom_it_was_written(batch in batch(), at in any::<u64>(), by in 1u64..) {
            let mut bytes = Vec::new();
            encode(&mut bytes, KEY, Position::new(at), &batch);
            prop_assert_eq!(decode(&bytes, KEY, Position::new(at.wrapping_add(by))), None);
            for half in [0, 8] {
                let mut other = KEY;
                other.0[half] ^= 1;
                prop_assert_eq!(decode(&bytes, other, Position::new(at)), None);
            }
        }

        #[test]
        fn no_flipped_bit_passes(batch in batch(), at in any::<prop::sample::Index>(), bit in 0u32..8) {
            let mut bytes = Vec::new();
            encode(&mut bytes, KEY, Position::new(64), &batch);
            let body: usize = batch.iter().filter(|p| !p.is_empty()).map(|p| LENGTH + p.len()).sum();
            bytes[at.index(HEADER + body)] ^= 1 << bit;
            prop_assert_eq!(decode(&bytes, KEY, Position::new(64)), None);
        }

        #[test]
        fn arbitrary_bodies_never_panic(body in prop::collection::vec(any::<u8>(), 0..64)) {
            let body = Bytes::from(body);
            if let Some(found) = payloads(&body) {
                let taken: usize = found.iter().map(|(_, payload)| LENGTH + payload.len()).sum();
                prop_assert_eq!(taken, body.len());
            }
        }
    }

    #[test]
    fn a_newer_batch_and_another_kind_are_intact_but_unreadable() {
        for (offset, expected) in [(5, Unreadable::Version { found: 9, known: 1 }), (4, Unreadable::Kind(9))]
        {
            let mut bytes = Vec::new();
            encode(&mut bytes, KEY, Position::default(), &[Bytes::from_static(b"four")]);
            bytes[offset] = 9;
            seal(&mut bytes, KEY, Position::default());
            let header =
                Header::parse(bytes[..HEADER].try_into().unwrap(), KEY, Position::default()).unwrap();
            assert!(header.checks(&bytes[HEADER..]));
            assert_eq!(header.readable(), Err(expected));
        }
    }
}
