//! Hardware that lies is found out: the simulation notices what it is there to notice.

use chasqui_sim::{Lie, Options, run};
use chasqui_testkit::history::Promise;

/// Seeds within which each lie must be found.
const WITHIN: u64 = 200;

/// The first seed that fails for the lie, and how.
fn first(lie: Lie, wanted: impl Fn(&chasqui_sim::Failure) -> bool) -> (u64, String) {
    let options = Options { lie, ..Options::default() };
    for seed in 1..=WITHIN {
        if let Err(failure) = run(seed, &options).verdict
            && wanted(&failure)
        {
            return (seed, failure.what);
        }
    }
    panic!("{lie:?} is not found within {WITHIN} seeds");
}

#[test]
fn a_flush_that_does_nothing() {
    let (seed, what) = first(Lie::FlushSkipped, |_| true);
    println!("seed {seed}: {what}");
}

#[test]
fn a_flush_that_leaves_the_last_write_out() {
    // The log ends in good order, one batch early: only the promises show it.
    let (seed, what) =
        first(Lie::LastWriteLeftOut, |failure| failure.promises.contains(&Promise::AcknowledgedIsKept));
    println!("seed {seed}: {what}");
}

#[test]
fn a_state_store_whose_flush_does_nothing() {
    let (seed, what) = first(Lie::StateFlushSkipped, |_| true);
    println!("seed {seed}: {what}");
}
