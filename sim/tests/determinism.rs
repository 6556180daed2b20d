//! A seed is all there is to a run: it comes out the same byte for byte, in this process and in another.

use chasqui_sim::{Options, run};
use std::process::Command;

#[test]
fn a_seed_gives_the_same_trace_in_one_process() {
    let options = Options { trace: true, ..Options::default() };
    let mut traces = Vec::new();
    for seed in 1..=40 {
        let (first, second) = (run(seed, &options), run(seed, &options));
        assert!(first.verdict.is_ok(), "seed {seed}: {:?}", first.verdict);
        // In the middle, so that what differs is shown and not all of it.
        let differ =
            first.trace.lines().zip(second.trace.lines()).enumerate().find(|(_, (one, other))| one != other);
        assert_eq!(differ, None, "seed {seed} comes out in two ways");
        assert_eq!(first.trace.len(), second.trace.len(), "seed {seed} ends in two ways");
        traces.push(first.trace);
    }
    traces.sort_unstable();
    traces.dedup();
    assert_eq!(traces.len(), 40, "seeds differ");
}

#[test]
fn a_seed_gives_the_same_trace_in_two_processes() {
    let told = || {
        let mut program = Command::new(env!("CARGO_BIN_EXE_chasqui-sim"));
        let output = program.args(["--seed", "100", "--seeds", "10", "--trace"]).output().expect("it runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        output.stdout
    };
    let (first, second) = (told(), told());
    assert!(first.len() > 100_000, "a trace tells what happens: {} bytes", first.len());
    assert!(first == second, "seeds 100 to 109 come out in two ways");
}
