//! The record of a session's cursors: `version, last packet id, how many flights, flights…, (source, position)…`, numbers as varints.
//! Version 1 has no flights.

use crate::machine::codec::{DecodeError, Input, put_bytes, put_number, versioned};
use chasqui_broker::source::SourceId;
use chasqui_broker::store::{Cursors, Flight, FlightStage};

const VERSION: u8 = 2;
const WITHOUT_FLIGHTS: u8 = 1;
const WHAT: &str = "record of cursors";

/// The cursors as bytes.
pub(super) fn encode(cursors: &Cursors) -> Vec<u8> {
    let mut out = Vec::with_capacity(4 + cursors.positions.len() * 24);
    out.push(VERSION);
    put_number(&mut out, u64::from(cursors.last_packet_id));
    put_number(&mut out, cursors.flights.len() as u64);
    for flight in &cursors.flights {
        put_number(&mut out, u64::from(flight.packet_id));
        put_bytes(&mut out, flight.source.0.as_bytes());
        put_number(&mut out, flight.position);
        put_number(&mut out, flight.stage as u64);
    }
    for (source, position) in &cursors.positions {
        put_bytes(&mut out, source.0.as_bytes());
        put_number(&mut out, *position);
    }
    out
}

/// Reads cursors back.
pub(super) fn decode(stored: &[u8]) -> Result<Cursors, DecodeError> {
    let version = if stored.first() == Some(&WITHOUT_FLIGHTS) { WITHOUT_FLIGHTS } else { VERSION };
    versioned(WHAT, version, stored, |input| {
        let last_packet_id = input.number()?.try_into().ok()?;
        let mut flights = Vec::new();
        if version > WITHOUT_FLIGHTS {
            for _ in 0..input.number()? {
                flights.push(flight(input)?);
            }
        }
        let mut positions = Vec::new();
        while input.end().is_none() {
            positions.push((SourceId::new(input.text()?), input.number()?));
        }
        Some(Cursors { positions, last_packet_id, flights })
    })
}

fn flight(input: &mut Input<'_>) -> Option<Flight> {
    Some(Flight {
        packet_id: input.number()?.try_into().ok()?,
        source: SourceId::new(input.text()?),
        position: input.number()?,
        stage: FlightStage::from_u8(input.number()?.try_into().ok()?)?,
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
        fn round_trip(
            positions in prop::collection::vec(("[a-z/$]{0,20}", any::<u64>()), 0..5),
            flights in prop::collection::vec((any::<u16>(), "[a-z/$]{0,20}", any::<u64>(), 0u8..3), 0..5),
            last_packet_id: u16,
        ) {
            let positions = positions.into_iter().map(|(source, at)| (SourceId::new(&source), at)).collect();
            let flight = |(packet_id, source, position, stage): (u16, String, u64, u8)| Flight {
                packet_id,
                source: SourceId::new(&source),
                position,
                stage: FlightStage::from_u8(stage).expect("0 to 2 are stages"),
            };
            let flights = flights.into_iter().map(flight).collect();
            let cursors = Cursors { positions, last_packet_id, flights };
            prop_assert_eq!(decode(&encode(&cursors)), Ok(cursors));
        }

        #[test]
        fn any_bytes_are_answered(bytes: Vec<u8>) {
            let _ = decode(&[&[VERSION][..], &bytes].concat());
        }
    }

    #[test]
    fn a_newer_version_is_refused() {
        assert_eq!(decode(&[3]), Err(DecodeError::Newer { what: WHAT, found: 3, known: 2 }));
        assert_eq!(decode(&[1, 1, 1]), Err(DecodeError::Malformed(WHAT)));
    }

    #[test]
    fn cursors_of_the_version_before_are_read() {
        let positions = vec![(SourceId::new("q"), 9)];
        assert_eq!(
            decode(&[1, 7, 1, b'q', 9]),
            Ok(Cursors { positions, last_packet_id: 7, flights: Vec::new() })
        );
    }

    #[test]
    fn the_queue_is_one_of_the_sources() {
        let mut cursors = Cursors { positions: vec![(SourceId::new("in/bob"), 7)], ..Cursors::default() };
        assert_eq!(queue_position(&cursors), 0);
        cursors.set(vec![(SourceId::new(SourceId::QUEUE), 9)]);
        assert_eq!(queue_position(&cursors), 9);
    }
}
