//! The name and the header of a segment file. Pure.

use super::record::Key;
use super::{LogError, Position};
use crate::disk::SECTOR;

/// The header has a sector to itself, so that no batch is ever written over it.
pub(crate) const HEADER: u64 = SECTOR;
/// The newest format this program reads, and the one it writes.
pub(crate) const FORMAT: u32 = 1;

const MAGIC: &[u8; 8] = b"CHASQLOG";
const USED: usize = 64;

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) key: Key,
    pub(crate) start: Position,
}

/// The name of the segment that begins at `start`.
pub(crate) fn name(start: Position) -> String {
    format!("{:016x}.log", start.get())
}

/// Where the segment of that name begins; `None` if it is not the name of a segment.
pub(crate) fn parse_name(name: &str) -> Option<Position> {
    let digits = name.strip_suffix(".log")?;
    let start = Position::new(u64::from_str_radix(digits, 16).ok()?);
    // One name for one position: no other number of digits, no capitals, no sign.
    (self::name(start) == name).then_some(start)
}

impl Header {
    /// The whole first sector.
    pub(crate) fn encode(&self) -> [u8; HEADER as usize] {
        let mut out = [0; HEADER as usize];
        out[..8].copy_from_slice(MAGIC);
        out[8..12].copy_from_slice(&FORMAT.to_le_bytes());
        out[16..32].copy_from_slice(&self.key.0);
        out[32..40].copy_from_slice(&self.start.get().to_le_bytes());
        seal(&mut out);
        out
    }

    /// Reads the first sector of `file`. Magic, version and checksum stand in the same places in every format.
    pub(crate) fn parse(bytes: &[u8], file: &str) -> Result<Self, LogError> {
        let bad = |reason| LogError::BadSegment { file: file.to_owned(), reason };
        let bytes: &[u8; USED] = bytes.first_chunk().ok_or_else(|| bad("it is too short"))?;
        if &bytes[..8] != MAGIC {
            return Err(bad("it does not begin like one"));
        }
        if crc32c::crc32c(&bytes[..60]) != u32::from_le_bytes(array(bytes, 60)) {
            return Err(bad("its header is damaged"));
        }
        let found = u32::from_le_bytes(array(bytes, 8));
        if found > FORMAT {
            return Err(LogError::NewerFormat { file: file.to_owned(), found, known: FORMAT });
        }
        let header =
            Self { key: Key(array(bytes, 16)), start: Position::new(u64::from_le_bytes(array(bytes, 32))) };
        if name(header.start) == file { Ok(header) } else { Err(bad("it was written under another name")) }
    }
}

fn array<const N: usize>(bytes: &[u8; USED], at: usize) -> [u8; N] {
    *bytes[at..].first_chunk().expect("a field lies within the header")
}

fn seal(header: &mut [u8]) {
    let crc = crc32c::crc32c(&header[..60]);
    header[60..USED].copy_from_slice(&crc.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn names_and_headers_round_trip(start in any::<u64>(), key in any::<[u8; 16]>()) {
            let header = Header { key: Key(key), start: Position::new(start) };
            let file = name(header.start);
            prop_assert_eq!(parse_name(&file), Some(header.start));
            prop_assert_eq!(Header::parse(&header.encode(), &file).unwrap(), header);
        }

        #[test]
        fn no_flipped_bit_passes(at in 0usize..USED, bit in 0u32..8) {
            let header = Header { key: Key([7; 16]), start: Position::new(4096) };
            let mut bytes = header.encode();
            bytes[at] ^= 1 << bit;
            prop_assert!(Header::parse(&bytes, &name(header.start)).is_err());
        }

        #[test]
        fn names_sort_like_positions(a in any::<u64>(), b in any::<u64>()) {
            prop_assert_eq!(name(Position::new(a)).cmp(&name(Position::new(b))), a.cmp(&b));
        }
    }

    #[test]
    fn other_names_are_none_of_ours() {
        for other in
            ["spare", "0.log", "00000000000000ZZ.log", "00000000000000AA.log", "+000000000000000.log", ".log"]
        {
            assert_eq!(parse_name(other), None, "{other}");
        }
    }

    #[test]
    fn a_newer_format_is_refused_with_both_numbers() {
        let header = Header { key: Key([7; 16]), start: Position::new(0) };
        let mut bytes = header.encode();
        bytes[8] = 2;
        seal(&mut bytes);
        let error = Header::parse(&bytes, &name(header.start)).unwrap_err();
        assert!(matches!(error, LogError::NewerFormat { found: 2, known: 1, .. }), "{error}");
        assert!(error.to_string().contains("written in format 2 by a newer version"), "{error}");
    }

    #[test]
    fn a_segment_under_another_name_is_refused() {
        let header = Header { key: Key([7; 16]), start: Position::new(512) };
        assert!(matches!(
            Header::parse(&header.encode(), &name(Position::new(0))),
            Err(LogError::BadSegment { reason: "it was written under another name", .. })
        ));
    }
}
