//! What a run is like: how often which thing goes wrong, and how tight the bounds of the server are. Drawn from the seed, so that
//! some runs are all about one thing and others about everything at once.

use crate::life::Build;
use rand::RngExt;
use rand::rngs::SmallRng;

/// Chances of each step, in a hundred thousand.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Temper {
    /// A connection breaks.
    pub(crate) breaks: u32,
    /// A client gives its connection up, and the server knows nothing of it.
    pub(crate) half_open: u32,
    /// A client dies.
    pub(crate) client_crashes: u32,
    /// A client receives nothing for a while.
    pub(crate) pauses: u32,
    /// A client leaves in good order.
    pub(crate) leaves: u32,
    /// The server is killed.
    pub(crate) kills: u32,
    /// The power is cut between two steps.
    pub(crate) cuts: u32,
    /// The power is cut at an operation of the disk to come.
    pub(crate) cuts_within: u32,
    /// An operation of the disk to come fails.
    pub(crate) faults: u32,
    /// The server is stopped in good order.
    pub(crate) stops: u32,
    /// The clock is set back.
    pub(crate) steps_back: u32,
    /// Bytes that a socket holds.
    pub(crate) room: usize,
    /// Of a hundred steps in which nothing goes wrong, in how many the time moves on.
    pub(crate) haste: u32,
}

/// Nothing, or something up to a most: half of the runs do without.
fn chance(rng: &mut SmallRng, most: u32) -> u32 {
    if rng.random() { rng.random_range(1..=most) } else { 0 }
}

impl Temper {
    pub(crate) fn draw(rng: &mut SmallRng) -> Temper {
        Temper {
            breaks: chance(rng, 600),
            half_open: chance(rng, 400),
            client_crashes: chance(rng, 300),
            pauses: chance(rng, 600),
            leaves: chance(rng, 600),
            kills: chance(rng, 200),
            cuts: chance(rng, 200),
            cuts_within: chance(rng, 250),
            faults: chance(rng, 150),
            stops: chance(rng, 150),
            steps_back: chance(rng, 150),
            room: [200, 1_000, 4_000, 1 << 20][rng.random_range(0..4)],
            haste: rng.random_range(2..=15),
        }
    }
}

impl Build {
    pub(crate) fn draw(rng: &mut SmallRng) -> Build {
        Build {
            window: rng.random_range(1..=10),
            receive_maximum: rng.random_range(1..=10),
            tail_items: [1, 4, 64][rng.random_range(0..3)],
            out_high_water: [100, 1_000, 64 << 10][rng.random_range(0..3)],
            working_set_bytes: [0, 1_000, 1 << 20][rng.random_range(0..3)],
            overlay_bytes: [2_000, 20_000, 1 << 20][rng.random_range(0..3)],
            overlay_age_ms: rng.random_range(20..2_000),
            segment_bytes: [8 << 10, 32 << 10, 1 << 20][rng.random_range(0..3)],
        }
    }
}
