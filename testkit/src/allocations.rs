//! Counts what a process allocates. A test binary that wants to know says
//! `#[global_allocator] static ALLOCATOR: Counting = Counting;` and runs one measurement at a time.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering};

/// The system's allocator, counted.
pub struct Counting;

static CALLS: AtomicU64 = AtomicU64::new(0);
static BYTES: AtomicU64 = AtomicU64::new(0);

#[allow(unsafe_code)]
// SAFETY: every call is passed on to the system's allocator unchanged; counting touches two atomics and allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        CALLS.fetch_add(1, Ordering::Relaxed);
        BYTES.fetch_add(layout.size() as u64, Ordering::Relaxed);
        // SAFETY: the caller's promises are ours.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are ours.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// What was allocated, and given back or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Allocated {
    /// Calls of the allocator; one that makes something larger counts as well.
    pub calls: u64,
    /// Bytes they asked for.
    pub bytes: u64,
}

/// What this process has allocated so far.
pub fn so_far() -> Allocated {
    Allocated { calls: CALLS.load(Ordering::Relaxed), bytes: BYTES.load(Ordering::Relaxed) }
}

/// What a round allocates at least, of so many: now and then a table grows for all that come later, or a timer is due.
pub fn least_of(rounds: usize, mut round: impl FnMut()) -> Allocated {
    let mut least = Allocated { calls: u64::MAX, bytes: u64::MAX };
    for _ in 0..rounds {
        let before = so_far();
        round();
        let after = so_far();
        least.calls = least.calls.min(after.calls - before.calls);
        least.bytes = least.bytes.min(after.bytes - before.bytes);
    }
    least
}
