//! `chasqui-sim`: the world of one seed, told line by line, or the worlds of many.

use chasqui_sim::{Lie, Options, STEPS, Seen, run};
use clap::Parser;
use std::io::{self, Write};
use std::process::ExitCode;

/// Runs the service in a simulated world, and judges what its clients saw.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
struct Cli {
    /// The seed to run, or the first of many.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many seeds to run, one after the other.
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// How many things happen in each before everything is to come to rest.
    #[arg(long, default_value_t = STEPS)]
    steps: u32,
    /// Prints all that happens.
    #[arg(long)]
    trace: bool,
    /// What is wrong with the hardware: such a run is to fail.
    #[arg(long, default_value = "none", value_parser = lie)]
    lie: Lie,
}

fn lie(name: &str) -> Result<Lie, String> {
    let found = Lie::ALL.iter().find(|(known, _)| *known == name).map(|(_, lie)| *lie);
    found.ok_or_else(|| {
        let names: Vec<&str> = Lie::ALL.iter().map(|(name, _)| *name).collect();
        format!("this is one of {}", names.join(", "))
    })
}

fn main() -> ExitCode {
    match told(&Cli::parse(), &mut io::stdout().lock()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        // Whoever listened has heard enough.
        Err(_) => ExitCode::from(2),
    }
}

/// Runs, and says how it went; whether it went well.
fn told(cli: &Cli, out: &mut impl Write) -> io::Result<bool> {
    let options = Options { steps: cli.steps, lie: cli.lie, trace: cli.trace };
    let mut seen = Seen::default();
    for seed in cli.seed..cli.seed.saturating_add(cli.seeds) {
        let one = run(seed, &options);
        write!(out, "{}", one.trace)?;
        match one.verdict {
            Ok(counts) => seen += counts,
            Err(failure) => {
                writeln!(out, "seed {seed} fails: {failure}")?;
                let steps = cli.steps;
                writeln!(out, "again: cargo run -p chasqui-sim -- --seed {seed} --steps {steps} --trace")?;
                return Ok(false);
            }
        }
    }
    writeln!(out, "{} seeds: {seen}", cli.seeds)?;
    Ok(true)
}
