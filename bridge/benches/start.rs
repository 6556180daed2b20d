//! What a start takes and what memory it leaves, with nobody there and with a million offline devices, each with a will and an expiry
//! that are not due yet.
//!
//! `cargo bench -p chasqui-bridge --bench start` prints both. `DEVICES=…` for another number of them.

#![allow(clippy::print_stdout)] // It is a bench: printing is what it is for.

#[path = "../tests/offline/fill.rs"]
mod fill;
#[path = "../tests/program/mod.rs"]
mod program;

use fill::{Fill, fill};
use program::{Program, chasqui, dev};
use std::path::Path;
use std::time::Duration;
use tokio::time::Instant;

/// Starts on one store; the first reads what a kernel that has just filled it knows anyway.
const STARTS: usize = 3;
/// What the program does by itself after a start belongs to it.
const SETTLE: Duration = Duration::from_secs(2);

/// Memory after the last of some starts, bytes.
fn measure(what: &str, data: &Path) -> u64 {
    let mut rss = 0;
    for _ in 0..STARTS {
        let program = Program::start(chasqui(&dev(data)));
        std::thread::sleep(SETTLE);
        rss = program.rss();
        println!("{what}: started in {:.3} s, {} MiB", program.started_in.as_secs_f64(), rss >> 20);
        program.stop();
    }
    rss
}

fn main() {
    let devices = std::env::var("DEVICES").ok().and_then(|number| number.parse().ok()).unwrap_or(1_000_000);
    let (loaded, empty) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let since = Instant::now();
    fill(loaded.path(), Fill { devices, waiting: 0, wills: true });
    println!("{devices} devices put there in {:.1} s", since.elapsed().as_secs_f64());
    let nobody = measure("empty", empty.path());
    let all = measure(&format!("{devices} offline devices"), loaded.path());
    println!("{} KiB more memory for all of them", all.saturating_sub(nobody) >> 10);
}
