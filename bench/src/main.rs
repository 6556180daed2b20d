//! `chasqui-bench`: load for MQTT brokers, and what they make of it.

#![allow(clippy::print_stdout)] // The report goes there.

use chasqui_bench::html;
use chasqui_bench::report::Report;
use chasqui_bench::run::{self, Plan};
use chasqui_bench::scenario::catch_up::CatchUp;
use chasqui_bench::scenario::chat_group::ChatGroup;
use chasqui_bench::scenario::chat_pair::ChatPair;
use chasqui_bench::scenario::chat_receipts::ChatReceipts;
use chasqui_bench::scenario::churn::Churn;
use chasqui_bench::scenario::crash::Crash;
use chasqui_bench::scenario::fanout::Fanout;
use chasqui_bench::scenario::idle::Idle;
use chasqui_bench::scenario::offline::Offline;
use chasqui_bench::scenario::overload::Overload;
use chasqui_bench::scenario::pair::Pair;
use chasqui_bench::scenario::presence::Presence;
use chasqui_bench::scenario::rate::Rate;
use chasqui_bench::scenario::retained::Retained;
use chasqui_bench::scenario::sync::Sync;
use clap::{Parser, Subcommand};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Load for MQTT brokers, and what they make of it.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
struct Cli {
    /// The broker: an IP address and a port.
    #[arg(long, global = true, default_value = "127.0.0.1:1883")]
    broker: SocketAddr,
    /// The broker's process, whose processor time and memory are read; without, the one that listens at that port here.
    #[arg(long, global = true)]
    pid: Option<i32>,
    /// Writes the figures to this file, as JSON.
    #[arg(long, global = true)]
    json: Option<PathBuf>,
    /// Writes the report to this file, as HTML with plots.
    #[arg(long, global = true)]
    html: Option<PathBuf>,
    /// Says nothing while it runs.
    #[arg(long, global = true)]
    quiet: bool,
    #[command(subcommand)]
    scenario: Scenario,
}

#[derive(Debug, Subcommand)]
enum Scenario {
    /// Each client publishes to the next, so many unacknowledged at a time.
    Pair(Pair),
    /// So many messages each second, whatever the broker does.
    Rate(Rate),
    /// One client publishes, all others receive.
    Fanout(Fanout),
    /// Clients that connect and do nothing.
    Idle(Idle),
    /// Clients that connect, subscribe, disconnect, and come again.
    Churn(Churn),
    /// Devices that are away while messages are published for them, and come back.
    Offline(Offline),
    /// More than the broker carries, and then less.
    Overload(Overload),
    /// Retained messages in great number, and clients that look for a few of them.
    Retained(Retained),
    /// A broker that is killed and started again.
    Crash(Crash),
    /// Chasqui's own pair: each user sends to the next.
    ChatPair(ChatPair),
    /// Chasqui's own pair at a rate, with what senders are told: delivered, read.
    ChatReceipts(ChatReceipts),
    /// Chasqui's own fanout: one member of a group writes, all others receive
    ChatGroup(ChatGroup),
    /// Chasqui's own conversations: a user with many, whose devices ask for a page of them.
    Sync(Sync),
    /// Chasqui's own presence: users come and go, and others are shown that they do.
    Presence(Presence),
    /// Chasqui's own offline: users who are written to while they are away.
    CatchUp(CatchUp),
}

impl Scenario {
    fn plan(&self) -> (&'static str, Plan) {
        match self {
            Scenario::Pair(pair) => ("pair", pair.plan()),
            Scenario::Rate(rate) => ("rate", rate.plan()),
            Scenario::Fanout(fanout) => ("fanout", fanout.plan()),
            Scenario::Idle(idle) => ("idle", idle.plan()),
            Scenario::Churn(churn) => ("churn", churn.plan()),
            Scenario::Offline(offline) => ("offline", offline.plan()),
            Scenario::Overload(overload) => ("overload", overload.plan()),
            Scenario::Retained(retained) => ("retained", retained.plan()),
            Scenario::Crash(crash) => ("crash", crash.plan()),
            Scenario::ChatReceipts(receipts) => ("chat-receipts", receipts.plan()),
            Scenario::ChatGroup(group) => ("chat-group", group.plan()),
            Scenario::ChatPair(pair) => ("chat-pair", pair.plan()),
            Scenario::Sync(sync) => ("sync", sync.plan()),
            Scenario::Presence(presence) => ("presence", presence.plan()),
            Scenario::CatchUp(catch_up) => ("catch-up", catch_up.plan()),
        }
    }
}

fn write<'a>(cli: &'a Cli, report: &Report) -> Result<(), (&'a Path, io::Error)> {
    if let Some(path) = &cli.json {
        let json = serde_json::to_vec_pretty(report).map_err(io::Error::from);
        json.and_then(|json| std::fs::write(path, json)).map_err(|error| (path.as_path(), error))?;
    }
    if let Some(path) = &cli.html {
        std::fs::write(path, html::page(report)).map_err(|error| (path.as_path(), error))?;
    }
    Ok(())
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let (name, plan) = cli.scenario.plan();
    let clients = plan.roles.len();
    let say = |line: &str| {
        if !cli.quiet {
            eprintln!("{line}");
        }
    };
    let found = match run::run(plan, cli.broker, cli.pid, &say) {
        Ok(found) => found,
        Err(error) => {
            eprintln!("chasqui-bench: {error}");
            return ExitCode::from(2);
        }
    };
    let report = Report::new(name, clients, &found);
    print!("{report}");
    if let Err((path, error)) = write(&cli, &report) {
        eprintln!("chasqui-bench: {} cannot be written: {error}", path.display());
        return ExitCode::from(2);
    }
    if report.is_sound() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
