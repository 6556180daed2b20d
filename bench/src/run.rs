//! A run from its first connect to what it found.

use crate::client::{Client, Manner, Role};
use crate::process::{Usage, Watched};
use crate::tally::Tally;
use crate::worker::{Outcome, Phase, Progress, Shared, Worker};
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use thiserror::Error;

/// File descriptors that a run needs beside its connections.
const OTHER_FILES: u64 = 32;
/// How long clients may take to connect without one more of them getting there.
const CONNECT_PATIENCE: Duration = Duration::from_secs(20);
/// How long nothing may arrive until what has not is taken for lost.
const DRAIN_PATIENCE: Duration = Duration::from_secs(3);

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
    pub warm_up: Duration,
    /// How long it counts.
    pub measure: Duration,
    /// Threads that drive the clients.
    pub threads: usize,
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
}

/// Says how a run goes, once a second.
pub type Say<'a> = &'a dyn Fn(&str);

/// Carries out a plan against a broker.
pub fn run(plan: Plan, address: SocketAddr, pid: Option<i32>, say: Say<'_>) -> Result<Findings, RunError> {
    let clients = plan.roles.len();
    check_files(clients as u64 + OTHER_FILES)?;
    std::net::TcpStream::connect(address).map_err(|error| RunError::NoBroker(address, error))?;
    let watched = pid.map_or_else(|| Watched::listening_at(address), Watched::by_id);
    let usage = || watched.as_ref().and_then(Watched::usage);
    let before = usage();
    let threads = plan.threads.clamp(1, clients.max(1));
    let shared = Shared::new();
    let progress: Vec<Progress> = (0..threads).map(|_| Progress::default()).collect();
    let mut shares: Vec<Vec<Client>> = (0..threads).map(|_| Vec::new()).collect();
    for (at, role) in plan.roles.into_iter().enumerate() {
        shares[at % threads].push(Client::new(role));
    }
    let publishers: Vec<usize> = shares
        .iter()
        .map(|share| share.iter().filter(|client| client.role.publishes_to.is_some()).count())
        .collect();
    let all: usize = publishers.iter().sum();
    std::thread::scope(|scope| {
        let mut running = Vec::new();
        for ((share, progress), publishers) in shares.into_iter().zip(&progress).zip(publishers) {
            let rate = plan.rate.filter(|_| publishers > 0).map(|rate| rate * ratio(publishers, all));
            let worker = Worker::new(&shared, progress, address, plan.manner, rate, share)?;
            running.push(scope.spawn(move || worker.run()));
        }
        let conductor = Conductor { shared: &shared, progress: &progress, say };
        let conducted = conductor.conduct(clients, plan.warm_up, plan.measure, &usage);
        shared.enter(Phase::Stop);
        let mut outcomes = Vec::new();
        for worker in running {
            let outcome = worker.join().map_err(|_| io::Error::other("a thread of the tool panicked"))?;
            outcomes.push(outcome.map_err(|error| RunError::NoBroker(address, error))?);
        }
        let Conducted { lasted, used, seconds, connecting } = conducted?;
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

struct Conductor<'a> {
    shared: &'a Shared,
    progress: &'a [Progress],
    say: Say<'a>,
}

struct Conducted {
    lasted: Duration,
    used: Option<(Usage, Usage)>,
    seconds: Vec<u64>,
    connecting: Duration,
}

impl Conductor<'_> {
    fn sum(&self, of: impl Fn(&Progress) -> &AtomicU64) -> u64 {
        self.progress.iter().map(|progress| of(progress).load(Ordering::Relaxed)).sum()
    }

    fn now(&self) -> Duration {
        Duration::from_nanos(self.shared.now_ns())
    }

    fn done(&self) -> u64 {
        self.sum(|progress| &progress.delivered) + self.sum(|progress| &progress.cycles)
    }

    fn conduct(
        &self,
        clients: usize,
        warm_up: Duration,
        measure: Duration,
        usage: &dyn Fn() -> Option<Usage>,
    ) -> Result<Conducted, RunError> {
        self.connect(clients)?;
        let connecting = self.now();
        (self.say)(&format!("{clients} clients are ready after {:.1} s", connecting.as_secs_f64()));
        self.shared.enter(Phase::WarmUp);
        std::thread::sleep(warm_up);
        let (from, used_from) = (self.now(), usage());
        self.shared.enter(Phase::Measure);
        let seconds = self.watch(from, measure);
        let (to, used_to) = (self.now(), usage());
        self.shared.enter(Phase::Drain);
        self.drain();
        Ok(Conducted { lasted: to.saturating_sub(from), used: used_from.zip(used_to), seconds, connecting })
    }

    fn connect(&self, clients: usize) -> Result<(), RunError> {
        let (mut ready, mut since) = (0, self.now());
        loop {
            let now_ready = self.sum(|progress| &progress.ready);
            if now_ready >= clients as u64 {
                return Ok(());
            }
            if now_ready > ready {
                (ready, since) = (now_ready, self.now());
            }
            let trouble =
                self.shared.trouble.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
            if trouble.is_some() || self.now().saturating_sub(since) > CONNECT_PATIENCE {
                let reason = trouble.unwrap_or_else(|| "the broker says nothing".to_owned());
                return Err(RunError::NotReady { ready, clients, reason });
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Waits for the end of the measurement; what was done in each second of it.
    fn watch(&self, from: Duration, measure: Duration) -> Vec<u64> {
        let (mut seconds, mut done) = (Vec::new(), self.done());
        let mut next = from + Duration::from_secs(1);
        while next <= from + measure {
            std::thread::sleep(next.saturating_sub(self.now()));
            let now_done = self.done();
            seconds.push(now_done - done);
            (self.say)(&format!("{:>4} s  {:>9} /s", seconds.len(), now_done - done));
            done = now_done;
            next += Duration::from_secs(1);
        }
        std::thread::sleep((from + measure).saturating_sub(self.now()));
        seconds
    }

    /// Waits until everything has arrived, or nothing does any more.
    fn drain(&self) {
        let (mut done, mut since) = (u64::MAX, self.now());
        while self.now().saturating_sub(since) < DRAIN_PATIENCE {
            let now_done = self.done() + self.sum(|progress| &progress.acked);
            if now_done != done {
                (done, since) = (now_done, self.now());
            }
            let quiet = self.now().saturating_sub(since) > DRAIN_PATIENCE / 6;
            if quiet && self.sum(|progress| &progress.in_flight) == 0 {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
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
