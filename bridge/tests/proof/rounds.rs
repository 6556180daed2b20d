//! Rounds of one history: the real program serves the players of the crash test until its power is cut, and starts on what is left, which
//! may be cut short too. In the end everybody reads all there is, and the history is checked.

use super::finale;
use super::power::{Class, Cut, Faulty, Keeps, Losses, Power};
use super::process::Process;
use super::world::{Phase, World};
use chasqui_storage::{Options, Storage};
use chasqui_testkit::PATIENCE;
use chasqui_testkit::history::{Broken, Event, Figures};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use std::fmt::Display;
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// Calls of a start, at most: a power cut up to there comes in the middle of one, or a moment later.
const START: u64 = 160;
/// One start in so many is to be cut short.
const CUT_SHORT: u32 = 3;
/// How often one that looks whether a process has ended looks.
const LOOK: Duration = Duration::from_millis(2);

/// What is played.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    /// Power cuts.
    pub(crate) rounds: usize,
    /// So many of them while the store is made.
    pub(crate) newborn: usize,
    /// What is wrong with the disk all the time.
    pub(crate) faulty: Option<Faulty>,
    /// A rule that the server breaks.
    pub(crate) mutation: Option<&'static str>,
    /// How long all may take to come to rest.
    pub(crate) patience: Duration,
}

/// What a history that is in order consists of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Report {
    pub(crate) figures: Figures,
    pub(crate) losses: Losses,
    /// Cuts in the middle of a start.
    pub(crate) starts: usize,
    /// Cuts with publishes unacknowledged.
    pub(crate) hits: usize,
    /// Publishes that were refused.
    pub(crate) refusals: usize,
}

/// How a history failed.
#[derive(Debug)]
#[allow(dead_code, reason = "what is in them is for whoever reads the failure")]
pub(crate) enum Failed {
    /// The server did not start on what was left, and said why; so nothing of what it had acknowledged is there.
    ToStart(String, Broken),
    /// It started, and broke promises.
    Promises(Broken),
    /// It did not come to rest: what was missing.
    ToRest(String),
}

/// Small bounds, so that chunks go down and segments are filled and reused all the time.
pub(crate) fn small_bounds(rng: &mut SmallRng) -> Vec<(&'static str, String)> {
    let age = [50, 150, 400][rng.random_range(0..3)];
    vec![
        ("CHASQUI_STORAGE_SEGMENT_BYTES", "1 MiB".to_owned()),
        ("CHASQUI_STORAGE_OVERLAY_BYTES", "1 MiB".to_owned()),
        ("CHASQUI_STORAGE_OVERLAY_AGE", format!("{age} ms")),
    ]
}

fn any_keeps(rng: &mut SmallRng) -> Keeps {
    [Keeps::Nothing, Keeps::Some, Keeps::Prefix][rng.random_range(0..3)]
}

fn any_cut(rng: &mut SmallRng) -> Cut {
    let (class, at) = match rng.random_range(0..4) {
        0 => (Class::Log, rng.random_range(1..150)),
        1 => (Class::State, rng.random_range(1..100)),
        _ => (Class::Any, rng.random_range(1..400)),
    };
    Cut { at, class, keeps: any_keeps(rng), seed: rng.random() }
}

fn cut_of_a_start(rng: &mut SmallRng) -> Cut {
    let at = rng.random_range(1..START);
    Cut { at, class: Class::Any, keeps: any_keeps(rng), seed: rng.random() }
}

/// Waits until a process has ended.
pub(crate) async fn end_of(server: &mut Process) -> ExitStatus {
    let ended = async {
        loop {
            if let Some(status) = server.ended() {
                return status;
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    let ended = tokio::time::timeout(PATIENCE, ended).await;
    ended.unwrap_or_else(|_| {
        server.kill();
        panic!("the server goes on: {}", server.said_all());
    })
}

/// One history on its way.
pub(crate) struct Rounds {
    plan: Plan,
    rng: SmallRng,
    power: Power,
    losses: Losses,
    starts: usize,
    said: String,
}

impl Rounds {
    pub(crate) fn new(plan: Plan, rng: SmallRng, power: Power) -> Rounds {
        Rounds { plan, rng, power, losses: Losses::default(), starts: 0, said: String::new() }
    }

    fn are_over(&self) -> bool {
        self.losses.cuts >= self.plan.rounds as u64
    }

    fn start(&self, cut: Option<Cut>) -> Process {
        let mutation: Vec<_> = self.plan.mutation.iter().map(|name| ("CHASQUI_MUTATION", *name)).collect();
        self.power.start_with(cut, self.plan.faulty, &mutation)
    }

    /// Counts the power cut that has ended a process. Asserts that this is what has.
    fn was_cut(&mut self, server: &mut Process, status: ExitStatus) {
        let losses = self.power.losses();
        self.said = server.said_all();
        assert_eq!((status.signal(), losses.cuts), (Some(9), 1), "{status}: {}", self.said);
        self.losses += losses;
    }

    /// Starts the server on what is left, again where the power is cut meanwhile; and whether it is to be cut yet. An error is why it
    /// does not start.
    async fn restart(&mut self) -> Result<(Process, SocketAddr, bool), String> {
        loop {
            let cut = (!self.are_over() && self.rng.random_ratio(1, CUT_SHORT))
                .then(|| cut_of_a_start(&mut self.rng));
            let mut server = self.start(cut);
            if let Some(address) = server.address_or_end() {
                return Ok((server, address, cut.is_some()));
            }
            let status = end_of(&mut server).await;
            if status.signal().is_none() {
                return Err(format!("{}{}", self.said, server.said_all()));
            }
            self.was_cut(&mut server, status);
            self.starts += 1;
        }
    }
}

/// The server did not start.
async fn not_started(world: &World, players: JoinSet<()>, why: &impl Display) -> Failed {
    finale::leave(world, players).await;
    Failed::ToStart(why.to_string(), world.history.check().expect_err("nothing was found"))
}

/// Plays a history.
pub(crate) async fn play(plan: Plan) -> Result<Report, Failed> {
    let mut rng = SmallRng::seed_from_u64(plan.seed);
    let power = Power::new(small_bounds(&mut rng));
    let (world, players) = World::begin(plan.seed, false);
    let mut rounds = Rounds::new(plan, rng, power);
    for _ in 0..rounds.plan.newborn {
        let cut = cut_of_a_start(&mut rounds.rng);
        let mut server = rounds.start(Some(cut));
        let listens = server.address_or_end().is_some();
        if listens {
            // It has made all there is to make; nobody comes.
            server.kill();
            continue;
        }
        let status = end_of(&mut server).await;
        if status.signal().is_none() {
            finale::leave(&world, players).await;
            return Err(Failed::ToStart(server.said_all(), Broken(Vec::new())));
        }
        rounds.was_cut(&mut server, status);
        rounds.starts += 1;
    }
    let mut server = rounds.start(None);
    let Some(address) = server.address_or_end() else {
        finale::leave(&world, players).await;
        return Err(Failed::ToStart(server.said_all(), Broken(Vec::new())));
    };
    world.opened(address);
    world.meet().await;
    world.enter(Phase::Traffic);
    let mut armed = false;
    while !rounds.are_over() {
        if !armed {
            let more = rounds.rng.random_range(5..120);
            if !world.acknowledges(more, rounds.plan.patience).await {
                break;
            }
            rounds.power.cut(any_cut(&mut rounds.rng));
        }
        let status = end_of(&mut server).await;
        rounds.was_cut(&mut server, status);
        world.ended(Event::Crashed, || ()).await;
        world.is_deserted().await;
        let address;
        (server, address, armed) = match rounds.restart().await {
            Ok(started) => started,
            Err(why) => return Err(not_started(&world, players, &why).await),
        };
        world.opened(address);
    }
    finish(rounds, server, world, players).await
}

/// Lets everything come to rest, stops the server in good order, and checks what is there when the power is cut after that.
pub(crate) async fn finish(
    rounds: Rounds,
    server: Process,
    world: Arc<World>,
    players: JoinSet<()>,
) -> Result<Report, Failed> {
    let rested = finale::rest(&world, players, rounds.plan.patience).await;
    server.terminate();
    let (status, said) = server.wait();
    assert_eq!((status.code(), rounds.power.losses().cuts), (Some(0), 1), "{said}");
    let storage = match Storage::open(&rounds.power.data(), Options::default()) {
        Ok(storage) => storage,
        Err(error) => {
            let broken = world.history.check().expect_err("nothing was found");
            return Err(Failed::ToStart(format!("{said}{error}"), broken));
        }
    };
    finale::read_all(&world, &storage);
    let figures = world.history.check().map_err(Failed::Promises)?;
    rested.map_err(Failed::ToRest)?;
    Ok(Report {
        figures,
        losses: rounds.losses,
        starts: rounds.starts,
        hits: world.hits(),
        refusals: world.refusals(),
    })
}
