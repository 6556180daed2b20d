//! Power cuts and broken disks under the real program: what was acknowledged is there, in order, once, and reaches everybody.
//!
//! A shim between the program and the C library (`proof/shim`) knows what was flushed. At a call that a seed chooses it takes back all that
//! was not, or leaves any part of it, and kills the process; the program starts on what is left. What the players of the crash test did and
//! saw is one history for `chasqui_testkit::history`, which knows the promises only.
//!
//! `make test` plays a few rounds, `make proof` many. Each history says its seed: `PROOF_SEED` sets it and `PROOF_ROUNDS` the number of power
//! cuts. A seed repeats the cuts and the choices of the clients, not the scheduling.

#[path = "proof/faults.rs"]
mod faults;
#[path = "crash/finale.rs"]
mod finale;
#[path = "crash/player.rs"]
mod player;
#[path = "proof/power.rs"]
mod power;
#[path = "crash/process.rs"]
mod process;
#[path = "proof/rounds.rs"]
mod rounds;
#[path = "crash/wire.rs"]
mod wire;
#[path = "crash/world.rs"]
mod world;

use chasqui_testkit::PATIENCE;
use chasqui_testkit::history::Promise;
use power::{Class, Fault, Faulty, Losses};
use rounds::{Failed, Plan};
use std::time::Duration;

/// Power cuts in one history.
const PER_HISTORY: usize = 12;
/// Of these, while the store is made.
const NEWBORN: usize = 2;
/// Histories after which cuts that tell nothing are a fault of the proof.
const MOST_HISTORIES: u64 = 12;
/// Power cuts, or broken disks, where `make test` has a few.
const A_FEW: usize = 4;
/// How long the players wait on a disk that lies for what will never come.
const LITTLE_PATIENCE: Duration = Duration::from_millis(500);

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|number| number.parse().expect("it is a number"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heavy_power_cuts_lose_nothing_that_was_acknowledged() {
    let rounds = number("PROOF_ROUNDS").map_or(PER_HISTORY, |rounds| rounds as usize);
    let seed = number("PROOF_SEED").unwrap_or_else(rand::random);
    let mut losses = Losses::default();
    let (mut starts, mut hits, mut acknowledged, mut history) = (0, 0, 0, 0);
    let is_telling = |losses: &Losses, hits: usize| {
        let lost = losses.log_writes > 0 && losses.state_writes > 0 && losses.names > 0;
        lost && losses.survived > 0 && losses.torn > 0 && hits > 0
    };
    // A dozen cuts may all fall where little is lost, or where all of it is: then there are more.
    while losses.cuts < rounds as u64 || (!is_telling(&losses, hits) && history < MOST_HISTORIES) {
        let seed = seed.wrapping_add(history);
        eprintln!("PROOF_SEED={seed}");
        let left = rounds.checked_sub(losses.cuts as usize).filter(|left| *left > 0).unwrap_or(PER_HISTORY);
        let report = rounds::play(Plan {
            // In every other history the first life of the store has traffic.
            newborn: if history % 2 == 0 { 0 } else { NEWBORN.min(left) },
            ..plan(seed, left.min(PER_HISTORY), None)
        })
        .await;
        let report = report.unwrap_or_else(|failed| panic!("PROOF_SEED={seed}: {failed:#?}"));
        eprintln!("{:?}", report.figures);
        assert_eq!(report.refusals, 0);
        losses += report.losses;
        starts += report.starts;
        hits += report.hits;
        acknowledged += report.figures.acknowledged;
        history += 1;
    }
    eprintln!(
        "{acknowledged} messages acknowledged, none lost; {starts} of the cuts in the middle of a start, {hits} with publishes \
         unacknowledged\n{losses:#?}"
    );
    assert!(is_telling(&losses, hits), "the cuts tell nothing: {losses:?}, {hits} hits");
}

/// A disk that breaks, in all the ways there are; in `make test` some of them, others every time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heavy_a_broken_disk_stops_the_server_and_loses_nothing() {
    let seed = number("PROOF_SEED").unwrap_or_else(rand::random);
    eprintln!("PROOF_SEED={seed}");
    let breaks = faults::all_breaks();
    let some = if number("PROOF_ROUNDS").is_some() { breaks.len() } else { A_FEW };
    let from = seed as usize % breaks.len();
    for broken in breaks.iter().cycle().skip(from).step_by(breaks.len() / some).take(some) {
        let report = faults::breaks(seed, *broken).await;
        eprintln!("{:?}: {:?}", broken.faulty, report.figures);
    }
}

/// Acknowledgements come late from a disk that is slow, and are true. In `make test` a log or a state that is slow, in turn.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heavy_a_slow_disk_is_waited_for() {
    let seed = number("PROOF_SEED").unwrap_or_else(rand::random);
    eprintln!("PROOF_SEED={seed}");
    let classes = [Class::Log, Class::State];
    let some = if number("PROOF_ROUNDS").is_some() { classes.len() } else { 1 };
    for class in classes.into_iter().cycle().skip(seed as usize % classes.len()).take(some) {
        eprintln!("{class:?}: {:?}", faults::slow(seed, class).await.figures);
    }
}

fn plan(seed: u64, rounds: usize, faulty: Option<Faulty>) -> Plan {
    Plan { seed, rounds, newborn: NEWBORN.min(rounds), faulty, mutation: None, patience: PATIENCE }
}

fn always(fault: Fault, class: Class) -> Faulty {
    Faulty { fault, class, after: 0, times: 0, error: rustix::io::Errno::IO, takes: Duration::ZERO }
}

/// A write that takes a part of its bytes is completed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heavy_short_writes_are_completed() {
    let seed = number("PROOF_SEED").unwrap_or_else(rand::random);
    eprintln!("PROOF_SEED={seed}");
    let report = rounds::play(plan(seed, A_FEW, Some(always(Fault::Short, Class::Any)))).await;
    let report = report.unwrap_or_else(|failed| panic!("PROOF_SEED={seed}: {failed:#?}"));
    eprintln!("{:?}", report.figures);
}

/// A disk that says it has flushed and has not: no server can keep its promises on it, and the proof must notice.
async fn is_caught(class: Class) {
    let seed = number("PROOF_SEED").unwrap_or_else(rand::random);
    let mut kept = 0;
    for history in 0..A_FEW as u64 {
        let seed = seed.wrapping_add(history);
        let mut plan = plan(seed, A_FEW, Some(always(Fault::Lie, class)));
        plan.patience = LITTLE_PATIENCE;
        match rounds::play(plan).await {
            Ok(_) | Err(Failed::ToRest(_)) => kept += 1,
            Err(Failed::Promises(broken)) if !broken.promises().contains(&Promise::AcknowledgedIsKept) => {
                kept += 1;
            }
            Err(failed) => {
                eprintln!("PROOF_SEED={seed}: {failed:?}");
                return;
            }
        }
    }
    panic!("PROOF_SEED={seed}: {kept} histories without flushes of {class:?} have lost nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heavy_a_disk_that_skips_the_flush_of_the_log_is_caught() {
    is_caught(Class::Log).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heavy_a_disk_that_skips_the_flush_of_the_state_is_caught() {
    is_caught(Class::State).await;
}

/// Promises that the server itself breaks, one at a time: `make mutations`.
#[cfg(feature = "mutations")]
mod mutants {
    use super::{A_FEW, LITTLE_PATIENCE, PER_HISTORY, number, plan, rounds};
    use crate::rounds::Failed;

    /// Histories within which each must be noticed.
    const WITHIN: u64 = 6;

    async fn is_caught(mutation: &'static str) {
        let seed = number("PROOF_SEED").unwrap_or_else(rand::random);
        let mut others = Vec::new();
        for history in 0..WITHIN {
            let seed = seed.wrapping_add(history);
            let cuts = if history == 0 { A_FEW } else { PER_HISTORY };
            let mut plan = plan(seed, cuts, None);
            (plan.mutation, plan.patience) = (Some(mutation), LITTLE_PATIENCE);
            match rounds::play(plan).await {
                Ok(_) => {}
                Err(failed @ Failed::ToRest(_)) => others.push(failed),
                // The checker says so, or the store itself when it is opened again: either is the end of the pretence.
                Err(failed) => {
                    eprintln!("PROOF_SEED={seed}: {mutation}: {failed:?}");
                    return;
                }
            }
        }
        panic!("PROOF_SEED={seed}: {mutation} breaks no promise in {WITHIN} histories: {others:#?}");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn heavy_an_acknowledgement_before_the_flush() {
        is_caught("SkipsFlush").await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn heavy_a_log_given_up_before_the_state_is_flushed() {
        is_caught("SkipsStateFlush").await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn heavy_a_duplicate_after_a_restart() {
        is_caught("ForgetsAcceptedIds").await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn heavy_a_cursor_ahead_of_what_was_acknowledged() {
        is_caught("WritesCursorsAhead").await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn heavy_a_receipt_ahead_of_the_truth() {
        is_caught("TellsAheadOfDelivery").await;
    }
}
