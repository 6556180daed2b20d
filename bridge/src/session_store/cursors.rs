//! The record of a session's cursors: `version, last packet id, (source, position)…`, numbers as varints.

use crate::machine::codec::{DecodeError, put_bytes, put_number, versioned};
use chasqui_broker::source::SourceId;
use chasqui_broker::store::Cursors;

const VERSION: u8 = 1;
const WHAT: &str = "record of cursors";

/// The cursors as bytes.
pub(super) fn encode(cursors: &Cursors) -> Vec<u8> {
    let mut out = Vec::with_capacity(4 + cursors.positions.len() * 24);
    out.push(VERSION);
    put_number(&mut out, u64::from(cursors.last_packet_id));
    for (source, position) in &cursors.positions {
        put_bytes(&mut out, source.0.as_bytes());
        put_number(&mut out, *position);
    }
    out
}

/// Reads cursors back.
pub(super) fn decode(stored: &[u8]) -> Result<Cursors, DecodeError> {
    versioned(WHAT, VERSION, stored, |input| {
        let last_packet_id = input.number()?.try_into().ok()?;
        let mut positions = Vec::new();
        while input.end().is_none() {
            positions.push((SourceId::new(input.text()?), input.number()?));
        }
        Some(Cursors { positions, last_packet_id })
    })
}

/// How far the session is in its own queue; 0 where it has none.
pub(super) fn queue_position(cursors: &Cursors) -> u64 {
    let queue = cursors.positions.iter().find(|(source, _)| &*source.0 == SourceId::QUEUE);
    queue.map_or(0, |(_, position)| *position)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn round_trip(positions in prop::collection::vec(("[a-z/$]{0,20}", any::<u64>()), 0..5), last_packet_id: u16) {
            let positions = positions.into_iter().map(|(source, at)| (SourceId::new(&source), at)).collect();
            let cursors = Cursors { positions, last_packet_id };
            prop_assert_eq!(decode(&encode(&cursors)), Ok(cursors));
        }

        #[test]
        fn any_bytes_are_answered(bytes: Vec<u8>) {
            let _ = decode(&[&[VERSION][..], &bytes].concat());
        }
    }

    #[test]
    fn a_newer_version_is_refused() {
        assert_eq!(decode(&[2]), Err(DecodeError::Newer { what: WHAT, found: 2, known: 1 }));
        assert_eq!(decode(&[1, 1, 1]), Err(DecodeError::Malformed(WHAT)));
    }

    #[test]
    fn the_queue_is_one_of_the_sources() {
        let mut cursors = Cursors { positions: vec![(SourceId::new("in/bob"), 7)], last_packet_id: 0 };
        assert_eq!(queue_position(&cursors), 0);
        cursors.set(vec![(SourceId::new(SourceId::QUEUE), 9)]);
        assert_eq!(queue_position(&cursors), 9);
    }
}
