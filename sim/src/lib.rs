//! The production service in a world without threads, sockets, disks and clocks of its own: everything that happens is drawn from one
//! seed, so that a run that goes wrong goes wrong again.
//!
//! What is real: sessions and connections, hook, sequencer, machine, session store, and the store without its threads. What is not: the
//! clock, the disk and the key-value store (twins that know what a power cut does), the sockets, and the clients. Clients write what they do
//! and see into one history, which `chasqui_testkit::history` judges at the end: it knows the promises and nothing of the server.
//!
//! ```text
//! clients ⇄ pipes ⇄ connections (polled by hand) ⇄ hook, session store ⇄ engine (sequencer and store, in steps) ⇄ twins
//!    └───────┴──────────────┴──────────── the world chooses what goes on next ─────────────┴──────────────────┘
//! ```

mod cast;
mod device;
mod engine;
mod hardware;
mod life;
mod notes;
mod pipe;
mod seen;
mod tasks;
mod temper;
mod world;

pub use hardware::Lie;
pub use seen::Seen;

use chasqui_testkit::history::{Figures, Promise, check};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use world::World;

/// Steps of a run, where nobody says otherwise.
pub const STEPS: u32 = 1_500;

/// What is asked of a run, beside its seed.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How many things happen before everything comes to rest.
    pub steps: u32,
    /// What is wrong with the hardware.
    pub lie: Lie,
    /// Whether the trace is kept.
    pub trace: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options { steps: STEPS, lie: Lie::None, trace: false }
    }
}

/// What is wrong with a run.
#[derive(Clone, Debug)]
pub struct Failure {
    /// In words.
    pub what: String,
    /// The promises that the history shows to be broken.
    pub promises: Vec<Promise>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

/// A run.
#[derive(Debug)]
pub struct Run {
    /// What happened, or what went wrong.
    pub verdict: Result<Seen, Failure>,
    /// All that happened, a line each, if it was asked for.
    pub trace: String,
}

/// Lets the world of a seed happen, and judges it.
///
/// # Panics
/// If the system has no resources for a runtime without threads.
pub fn run(seed: u64, options: &Options) -> Run {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime without threads can be made");
    let mut world = World::new(seed, options.lie, options.trace);
    let happened = catch_unwind(AssertUnwindSafe(|| runtime.block_on(world.run(options.steps))));
    let happened = happened.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        Err(text.or_else(|| panic.downcast_ref().copied()).unwrap_or("it panics").to_owned())
    });
    let mut notes = std::mem::take(&mut world.notes);
    // What the world holds may want to tell the runtime that it goes.
    runtime.block_on(async move { drop(world) });
    let judged = check(&notes.events);
    let verdict = match (happened, judged) {
        (Ok(()), Ok(figures)) => {
            count(&mut notes.seen, &figures);
            Ok(notes.seen)
        }
        (Ok(()), Err(broken)) => Err(Failure { promises: broken.promises(), what: broken.to_string() }),
        // A run that was cut short has promises that were not kept yet.
        (Err(what), _) => Err(Failure { what, promises: Vec::new() }),
    };
    Run { verdict, trace: notes.into_trace() }
}

fn count(seen: &mut Seen, figures: &Figures) {
    seen.messages = figures.messages as u64;
    seen.resent = figures.resent as u64;
    seen.acknowledged = figures.acknowledged as u64;
    seen.delivered = figures.delivered as u64;
    seen.delivered_again = figures.delivered_again as u64;
    seen.receipts = figures.receipts as u64;
}
