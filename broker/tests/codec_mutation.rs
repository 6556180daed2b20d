//! Two million damaged packets: none panics, reads beyond itself, or makes the decoder allocate more than it has bytes.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use bytes::Bytes;
use chasqui_broker::codec::{DecodeError, Limits, Sender, Version};

#[path = "codec/build.rs"]
#[allow(dead_code)]
mod build;
#[path = "codec/corpus.rs"]
mod corpus;
#[path = "../src/codec/sample.rs"]
#[allow(dead_code)]
mod sample;

/// What `sample` knows the codec as.
mod codec {
    pub(crate) use chasqui_broker::codec::*;
}

use corpus::{Any, Case, Random, broken, valid};

/// Counts what this thread allocates.
struct Counting;

thread_local! {
    static ALLOCATED: Cell<usize> = const { Cell::new(0) };
}

#[allow(unsafe_code)]
// SAFETY: every call is passed on to the system's allocator unchanged; the counter is a constant-initialised thread local
// without a destructor, so touching it neither allocates nor fails.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.set(ALLOCATED.get() + layout.size());
        // SAFETY: the caller's promises are ours.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are ours.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Boxes of packets and their properties, and the reference count of a buffer that is shared for the first time.
const FIXED: usize = 768;

const ROUNDS: usize = 2_000_000;
const SMALL: Limits = Limits { max_packet_size: 1024, max_topic_levels: 16 };

#[derive(Default, Debug)]
struct Seen {
    accepted: usize,
    refused: usize,
    incomplete: usize,
}

#[test]
fn two_million_damaged_packets() {
    let cases = valid(40);
    let mut random = Random(1);
    let mut seen = Seen::default();
    for round in 0..ROUNDS {
        let case = &cases[random.below(cases.len())];
        let other = &cases[random.below(cases.len())];
        let case = broken(case, other, &mut random);
        check(&case, round, &mut seen);
    }
    // Damage that never passes, or always does, would test nothing.
    assert!(seen.accepted > ROUNDS / 20, "{seen:?}");
    assert!(seen.refused > ROUNDS / 4, "{seen:?}");
    assert!(seen.incomplete > ROUNDS / 100, "{seen:?}");
}

fn check(case: &Case, round: usize, seen: &mut Seen) {
    let bytes = Bytes::from(case.bytes.clone());
    let before = ALLOCATED.get();
    let result = case.decode_in(&bytes, &SMALL);
    let allocated = ALLOCATED.get() - before;
    // On the client's side a reason code takes as much as on the wire, a subscription identifier twice that.
    let bound = FIXED + bytes.len() * if case.sender == Sender::Server { 4 } else { 1 };
    assert!(
        allocated <= bound,
        "round {round}: {allocated} bytes allocated for {}: {case:02X?}",
        bytes.len()
    );
    match result {
        Ok(Some((packet, len))) => {
            seen.accepted += 1;
            assert!(len <= bytes.len(), "round {round}: {len} of {} consumed: {case:02X?}", bytes.len());
            round_trip(case, round, &packet);
        }
        Ok(None) => seen.incomplete += 1,
        Err(error) => {
            seen.refused += 1;
            assert_ne!(error.reason_code().as_u8() & 0x80, 0, "round {round}: {error}");
        }
    }
}

/// What was accepted can be written, and says the same then.
fn round_trip(case: &Case, round: usize, packet: &Any) {
    let bytes = packet.encode(case.version_of(packet));
    let again = Case { bytes, ..case.clone() };
    let seen = again.decode();
    let expected = Ok(Some((packet.clone(), again.bytes.len())));
    assert_eq!(seen, expected, "round {round}: {case:02X?}");
}

impl Case {
    /// A damaged CONNECT may have become one of the other version.
    fn version_of(&self, packet: &Any) -> Version {
        match packet {
            Any::Client(codec::Packet::Connect(connect)) => connect.version,
            _ => self.version,
        }
    }
}

/// Every packet cut anywhere is incomplete, and the same with any limit that it keeps to.
#[test]
fn cut_packets_are_incomplete() {
    for case in valid(10) {
        for cut in 0..case.bytes.len() {
            let part = Case { bytes: case.bytes[..cut].to_vec(), ..case.clone() };
            let limits = Limits { max_packet_size: case.bytes.len() as u32, ..Limits::UNLIMITED };
            assert_eq!(
                part.decode_in(&Bytes::from(part.bytes.clone()), &limits),
                Ok(None),
                "{cut} of {case:02X?}"
            );
        }
        let limits = Limits { max_packet_size: case.bytes.len() as u32 - 1, ..Limits::UNLIMITED };
        let refused = case.decode_in(&Bytes::from(case.bytes.clone()), &limits);
        assert!(matches!(refused, Err(DecodeError::PacketTooLarge { .. })), "{case:02X?}");
    }
}
