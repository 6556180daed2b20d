//! A run from its first connect to what it found.

use crate::client::Client;
use crate::conductor::{Conducted, Conductor};
use crate::crash::{Crash, Return, Victim};
use crate::process::{Usage, Watched};
use crate::role::{Manner, Role};
use crate::shared::{Phase, Progress, Shared};
use crate::tally::Tally;
use crate::worker::{Outcome, Worker};
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use thiserror::Error;

/// File descriptors that a run needs beside its connections.
const OTHER_FILES: u64 = 32;

/// What a run does.
#[derive(Debug)]
pub struct Plan {
    /// The clients.
    pub roles: Vec<Role>,
    /// What they have in common.
    pub manner: Manner,
    /// Messages published each second, all together; `None` where windows say when.
    pub rate: Option<f64>,
    /// Before anything counts.
    pub warm_up: Until,
    /// What counts.
    pub measure: Until,
    /// Whether what the broker carries in the warm-up is exceeded in the measurement.
    pub overload: Option<Overload>,
    /// Whether the broker is killed while it is measured.
    pub crash: Option<Crash>,
    /// Whether what is on its way in the end is waited for: not where there is no end to it.
    pub drains: bool,
    /// Threads that drive the clients.
    pub threads: usize,
}

/// More than a broker carries, and then less.
#[derive(Debug, Clone, Copy)]
pub struct Overload {
    /// The rate of the measurement, of what was carried in the warm-up.
    pub factor: f64,
    /// The rate behind it, of the same.
    pub relief: f64,
}

/// When a stretch of a run is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// When it has lasted so long.
    Elapsed(Duration),
    /// When so many publishes are acknowledged, in all.
    Acked(u64),
    /// When so many messages are received, in all.
    Delivered(u64),
}

/// Why there is nothing to report.
#[derive(Debug, Error)]
pub enum RunError {
    /// The broker cannot be reached.
    #[error("there is no broker at {0}: {1}")]
    NoBroker(SocketAddr, io::Error),
    /// Too few file descriptors.
    #[error(
        "{needed} files must be open at once and {allowed} may be: run `ulimit -n {needed}` first, or use fewer clients"
    )]
    TooFewFiles {
        /// What the run needs.
        needed: u64,
        /// What the system allows.
        allowed: u64,
    },
    /// Clients could not connect.
    #[error("{ready} of {clients} clients were connected and subscribed, and then no more: {reason}")]
    NotReady {
        /// Those that were.
        ready: u64,
        /// All of them.
        clients: usize,
        /// What went wrong first.
        reason: String,
    },
    /// Nobody knows what to kill.
    #[error("the process that listens at {0} is not seen, so it cannot be killed: give its id with --pid")]
    NoProcess(SocketAddr),
    /// The broker did not come back.
    #[error("the broker was killed and did not come back: {0}")]
    NotBack(String),
    /// The system refused something.
    #[error("the system refused something: {0}")]
    System(#[from] io::Error),
}

/// What a run found.
#[derive(Debug)]
pub struct Findings {
    /// What happened while it counted.
    pub measured: Tally,
    /// How long it counted.
    pub lasted: Duration,
    /// Messages acknowledged in the whole run that did not reach somebody who was to have them.
    pub lost: u64,
    /// Connections that ended and were not to.
    pub dead: u64,
    /// What went wrong first, where something did.
    pub trouble: Option<String>,
    /// What the broker used while it counted: processor time.
    pub cpu: Option<Duration>,
    /// Its memory before the first client, and at the end of the measurement, bytes.
    pub resident: Option<(u64, u64)>,
    /// Its processes' name.
    pub broker: Option<String>,
    /// Deliveries (or cycles) of each second.
    pub seconds: Vec<u64>,
    /// From the first connect until all were ready.
    pub connecting: Duration,
    /// What was published before it counted, for those who were away.
    pub backlog: Option<Backlog>,
    /// What more than it carries did to the broker.
    pub overload: Option<Overloaded>,
    /// How it came back, each time that it was killed.
    pub returns: Vec<Return>,
}

/// What more than it carries did to a broker.
#[derive(Debug, Clone, Copy)]
pub struct Overloaded {
    /// Acknowledgements each second in the warm-up, when as much was published as the windows allow.
    pub carried_per_s: f64,
    /// Messages that were due each second in the measurement.
    pub offered_per_s: f64,
    /// The broker's memory at its highest, bytes.
    pub peak: Option<u64>,
    /// From the end of the measurement until acknowledgements were as fast as is normal; `None` when they never were.
    pub normal_after: Option<Duration>,
    /// Connections that read nothing, and which the broker has closed.
    pub stuck_closed: u64,
}

/// Messages published for those who are away.
#[derive(Debug, Clone, Copy)]
pub struct Backlog {
    /// How many were acknowledged.
    pub acked: u64,
    /// How long that took.
    pub lasted: Duration,
    /// What the broker had used before, and after.
    pub used: Option<(Usage, Usage)>,
}

/// Says how a run goes, once a second.
pub type Say<'a> = &'a dyn Fn(&str);

/// Carries out a plan against a broker.
pub fn run(
    mut plan: Plan,
    address: SocketAddr,
    pid: Option<i32>,
    say: Say<'_>,
) -> Result<Findings, RunError> {
    let clients = plan.roles.len();
    check_files(clients as u64 + OTHER_FILES)?;
    std::net::TcpStream::connect(address).map_err(|error| RunError::NoBroker(address, error))?;
    let watched = pid.map_or_else(|| Watched::listening_at(address), Watched::by_id);
    let mut victim = match (&plan.crash, &watched) {
        (None, _) => None,
        (Some(crash), Some(watched)) => Some(Victim::new(watched.pid(), &crash.restart)),
        (Some(_), None) => return Err(RunError::NoProcess(address)),
    };
    let usage = || watched.as_ref().and_then(Watched::usage);
    let before = usage();
    let threads = plan.threads.clamp(1, clients.max(1));
    let shared = Shared::new();
    shared.set_rate(plan.rate);
    let progress: Vec<Progress> = (0..threads).map(|_| Progress::default()).collect();
    let mut shares: Vec<Vec<Client>> = (0..threads).map(|_| Vec::new()).collect();
    for (at, role) in std::mem::take(&mut plan.roles).into_iter().enumerate() {
        shares[at % threads].push(Client::new(role));
    }
    let publishers: Vec<usize> =
        shares.iter().map(|share| share.iter().filter(|client| client.role.publishes()).count()).collect();
    let all: usize = publishers.iter().sum();
    std::thread::scope(|scope| {
        let mut running = Vec::new();
        for ((share, progress), publishers) in shares.into_iter().zip(&progress).zip(publishers) {
            let part = if all == 0 { 0.0 } else { ratio(publishers, all) };
            let worker = Worker::new(&shared, progress, address, plan.manner, part, share)?;
            running.push(scope.spawn(move || worker.run()));
        }
        let conductor = Conductor { shared: &shared, progress: &progress, say, address };
        let conducted = conductor.conduct(clients, &plan, &usage, victim.as_mut());
        shared.enter(Phase::Stop);
        let mut outcomes = Vec::new();
        for worker in running {
            let outcome = worker.join().map_err(|_| io::Error::other("a thread of the tool panicked"))?;
            outcomes.push(outcome.map_err(|error| RunError::NoBroker(address, error))?);
        }
        let Conducted { lasted, used, seconds, connecting, backlog, overload, returns } = conducted?;
        let mut measured = Tally::default();
        for outcome in &outcomes {
            measured.add(&outcome.measured);
        }
        let trouble = shared.trouble.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        Ok(Findings {
            measured,
            lasted,
            lost: lost(&outcomes),
            dead: conductor.sum(|progress| &progress.dead),
            trouble,
            cpu: used.map(|(from, to)| to.cpu.saturating_sub(from.cpu)),
            resident: before.zip(used).map(|(before, (_, to))| (before.resident, to.resident)),
            broker: watched.as_ref().map(Watched::name),
            seconds,
            connecting,
            backlog,
            overload,
            returns,
        })
    })
}

/// What was acknowledged and not received by somebody who was to have it.
fn lost(outcomes: &[Outcome]) -> u64 {
    let clients = || outcomes.iter().flat_map(|outcome| &outcome.clients);
    let acked: HashMap<u32, u64> = clients().map(|client| (client.role.number, client.acked())).collect();
    let missed = |client: &Client| -> u64 {
        let of = |source: &u32| {
            acked.get(source).copied().unwrap_or(0).saturating_sub(client.received_from(*source))
        };
        client.role.hears.iter().map(of).sum()
    };
    clients().map(missed).sum()
}

/// Makes sure that so many files may be open at once.
fn check_files(needed: u64) -> Result<(), RunError> {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    limit.current = limit.maximum;
    // What may be had is looked at below.
    let _ = setrlimit(Resource::Nofile, limit);
    match getrlimit(Resource::Nofile).current {
        Some(allowed) if allowed < needed => Err(RunError::TooFewFiles { needed, allowed }),
        _ => Ok(()),
    }
}

#[allow(clippy::cast_precision_loss)] // Clients are far fewer than 2^52.
fn ratio(part: usize, whole: usize) -> f64 {
    part as f64 / whole as f64
}
