//! Thousands of worlds, the same ones every time and others whose seeds are printed: none breaks a promise, and in all of them together
//! everything happened that can go wrong.
//!
//! `SIM_SEED=… cargo test -p chasqui-sim --test seeds` begins the others there; `SIM_SEEDS=…` runs so many of each.

use chasqui_sim::{Options, Seen, run};
use std::hash::{BuildHasher, Hasher};

/// Seeds of each half.
const SEEDS: u64 = 1_500;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

#[test]
fn heavy_no_seed_breaks_a_promise() {
    let seeds = number("SIM_SEEDS").unwrap_or(SEEDS);
    let random = std::hash::RandomState::new().build_hasher().finish() >> 16;
    let other = number("SIM_SEED").unwrap_or(random);
    println!("SIM_SEED={other}");
    let mut seen = Seen::default();
    for seed in (1..=seeds).chain((0..seeds).map(|more| other.wrapping_add(more))) {
        match run(seed, &Options::default()).verdict {
            Ok(counts) => seen += counts,
            Err(failure) => {
                panic!("seed {seed} fails: {failure}\ncargo run -p chasqui-sim -- --seed {seed} --trace")
            }
        }
    }
    println!("{} seeds: {seen}", 2 * seeds);
    for (name, count) in seen.counts() {
        assert!(count >= seeds / 20, "of {} seeds only {count} had {name}: {seen}", 2 * seeds);
    }
}
