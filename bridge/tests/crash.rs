//! Crashes in the middle of traffic: what was acknowledged is kept, in order, once, and reaches everybody.
//!
//! Several writers and readers, on both versions of MQTT, go on while the server is killed, stopped, or loses its power, again and again.
//! What they did and saw is one history, checked by `chasqui_testkit::history`, which knows the promises only. SIGKILL leaves
//! the page cache, so it cannot show that anything was flushed: the power cut over the twins does, and builds that skip a flush are shown
//! to fail it.
//!
//! Each history says its seed; `CHASQUI_SEED` sets it. A seed repeats the power cuts and the choices of the clients, not the scheduling.

#[path = "crash/finale.rs"]
mod finale;
#[path = "crash/player.rs"]
mod player;
#[path = "crash/process.rs"]
mod process;
#[path = "crash/twin.rs"]
mod twin;
#[path = "crash/wire.rs"]
mod wire;
#[path = "crash/world.rs"]
mod world;

use chasqui_storage::{Options, Storage};
use chasqui_testkit::PATIENCE;
use chasqui_testkit::history::{Broken, Event, Figures, Promise, unacknowledged_at_crashes};
use process::Process;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use std::fmt::Display;
use std::time::Duration;
use twin::{Lie, Twins};
use world::{Phase, World};

/// Kills that hit with publishes unacknowledged.
const KILLS: usize = 20;
/// Graceful stops in one history.
const STOPS: usize = 4;
/// Power cuts: histories, and how many in each.
const HISTORIES: u64 = 6;
const CUTS: usize = 10;
/// Histories for each lie, and how many power cuts in each.
const LIES: u64 = 10;
const CUTS_PER_LIE: usize = 5;
/// How long the players of a server that lies wait for what will never come.
const LITTLE_PATIENCE: Duration = Duration::from_millis(500);

fn seed() -> u64 {
    let seed = std::env::var("CHASQUI_SEED").ok().map(|seed| seed.parse().expect("CHASQUI_SEED is a number"));
    seed.unwrap_or_else(rand::random)
}

/// A moment that nothing announces.
async fn a_moment(rng: &mut SmallRng) {
    tokio::time::sleep(Duration::from_micros(rng.random_range(0..15_000))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heavy_sigkill_histories() {
    let seed = seed();
    eprintln!("CHASQUI_SEED={seed}");
    let mut rng = SmallRng::seed_from_u64(seed);
    let folder = tempfile::tempdir().unwrap();
    let (world, players) = World::begin(seed, false);
    let mut server = Process::start(folder.path());
    world.opened(server.address());
    world.meet().await;
    world.enter(Phase::Traffic);
    let mut kills = 0;
    while world.hits() < KILLS {
        assert!(world.acknowledges(rng.random_range(20..250), PATIENCE).await, "nothing is acknowledged");
        assert!(
            kills < 3 * KILLS,
            "kills that hit nothing: {:?}",
            unacknowledged_at_crashes(&world.history.events())
        );
        a_moment(&mut rng).await;
        world.ended(Event::Crashed, || server.kill()).await;
        kills += 1;
        world.is_deserted().await;
        server = Process::start(folder.path());
        while rng.random_ratio(1, 5) {
            // In the middle of a start; nobody is connected, so these do not count.
            a_moment(&mut rng).await;
            a_moment(&mut rng).await;
            world.ended(Event::Crashed, || server.kill()).await;
            server = Process::start(folder.path());
        }
        world.opened(server.address());
    }
    let rested = finale::rest(&world, players, PATIENCE).await;
    server.terminate();
    let (status, said) = server.wait();
    let storage = Storage::open(folder.path(), Options::default()).unwrap();
    finale::read_all(&world, &storage);
    let figures = world.history.check().unwrap();
    rested.unwrap();
    assert_eq!((status.code(), world.refusals()), (Some(0), 0), "{said}");
    let hits = unacknowledged_at_crashes(&world.history.events());
    assert!(world.hits() >= KILLS, "{hits:?}");
    assert!(figures.delivered_again > 0 && figures.resent > 0 && figures.receipts > 0, "{figures:?}");
    eprintln!("unacknowledged at each kill: {hits:?}\n{figures:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heavy_graceful_stops_in_the_middle_of_traffic() {
    let seed = seed();
    eprintln!("CHASQUI_SEED={seed}");
    let mut rng = SmallRng::seed_from_u64(seed);
    let folder = tempfile::tempdir().unwrap();
    let (world, players) = World::begin(seed, false);
    let mut server = Process::start(folder.path());
    world.opened(server.address());
    world.meet().await;
    world.enter(Phase::Traffic);
    for _ in 0..STOPS {
        assert!(world.acknowledges(rng.random_range(50..400), PATIENCE).await, "nothing is acknowledged");
        a_moment(&mut rng).await;
        world.ended(Event::Stopped, || server.terminate()).await;
        let (status, said) = server.wait();
        assert_eq!(status.code(), Some(0), "{said}");
        world.is_deserted().await;
        server = Process::start(folder.path());
        world.opened(server.address());
    }
    let rested = finale::rest(&world, players, PATIENCE).await;
    server.terminate();
    let (status, said) = server.wait();
    assert_eq!(status.code(), Some(0), "{said}");
    let storage = Storage::open(folder.path(), Options::default()).unwrap();
    finale::read_all(&world, &storage);
    let figures = world.history.check().unwrap();
    rested.unwrap();
    assert_eq!(world.refusals(), 0);
    eprintln!("{figures:?}");
}

/// How a history over the twins failed.
#[derive(Debug)]
enum Failed {
    /// The server did not start on what the power cut had left, and said why; so nothing of what it had acknowledged is there.
    ToStart(String, Broken),
    /// It started, and broke promises.
    Promises(Broken),
    /// It did not come to rest: what was missing.
    ToRest(String),
}

fn not_started(world: &World, why: &impl Display) -> Failed {
    Failed::ToStart(why.to_string(), world.history.check().expect_err("nothing was found"))
}

/// One history: `cuts` power cuts in the middle of traffic.
async fn power_cuts(seed: u64, lie: Lie, cuts: usize, patience: Duration) -> Result<Figures, Failed> {
    let mut rng = SmallRng::seed_from_u64(seed);
    let twins = Twins::new(lie);
    let (world, players) = World::begin(seed, true);
    let mut life = twins.start().await.unwrap();
    world.opened(life.address());
    world.meet().await;
    world.enter(Phase::Traffic);
    let mut rounds = 0;
    while world.hits() < cuts {
        assert!(
            rounds < 3 * cuts,
            "cuts that hit nothing: {:?}",
            unacknowledged_at_crashes(&world.history.events())
        );
        rounds += 1;
        if !world.acknowledges(rng.random_range(10..150), PATIENCE).await {
            break;
        }
        a_moment(&mut rng).await;
        // Every other cut comes between a write and the end of its flush, which takes no time on these disks.
        let held = if lie == Lie::None && rng.random() { Some(twins.hold_a_flush().await) } else { None };
        world.ended(Event::Crashed, || twins.power_cut(&life, rng.random())).await;
        drop(held);
        assert!(life.stop().await.is_err(), "without power nothing is stopped in good order");
        world.is_deserted().await;
        life = match twins.start().await {
            Ok(life) => life,
            Err(error) => {
                finale::leave(&world, players).await;
                return Err(not_started(&world, &error));
            }
        };
        world.opened(life.address());
    }
    let rested = finale::rest(&world, players, patience).await;
    let stopped = life.stop().await;
    if lie == Lie::None {
        stopped.unwrap();
        assert_eq!(world.refusals(), 0);
        assert_eq!(world.hits(), cuts);
    }
    let (storage, _mains) = twins.open().map_err(|error| not_started(&world, &error))?;
    finale::read_all(&world, &storage);
    let figures = world.history.check().map_err(Failed::Promises)?;
    rested.map(|()| figures).map_err(Failed::ToRest)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heavy_power_cut_histories() {
    let seed = seed();
    eprintln!("CHASQUI_SEED={seed}");
    for history in 0..HISTORIES {
        let seed = seed.wrapping_add(history);
        let figures = power_cuts(seed, Lie::None, CUTS, PATIENCE).await;
        let figures = figures.unwrap_or_else(|failed| panic!("CHASQUI_SEED={seed}: {failed:?}"));
        assert!(figures.crashes >= CUTS && figures.resent > 0 && figures.receipts > 0, "{figures:?}");
        eprintln!("{figures:?}");
    }
}

/// How many of some histories fail with a lie because acknowledged messages are gone, and in how many of these the server had started and
/// only the promises show it.
async fn caught(lie: Lie) -> (u64, u64) {
    let seed = seed();
    eprintln!("CHASQUI_SEED={seed}");
    let (mut lost, mut unnoticed) = (0, 0);
    for history in 0..LIES {
        let failed = power_cuts(seed.wrapping_add(history), lie, CUTS_PER_LIE, LITTLE_PATIENCE).await;
        let (why, broken, started) = match failed {
            Ok(_) => continue,
            Err(Failed::ToStart(why, broken)) => (why, broken, false),
            Err(Failed::Promises(broken)) => ("it started".to_owned(), broken, true),
            Err(Failed::ToRest(why)) => (why, Broken(Vec::new()), true),
        };
        let is_lost = broken.promises().contains(&Promise::AcknowledgedIsKept);
        lost += u64::from(is_lost);
        unnoticed += u64::from(is_lost && started);
        eprintln!("{why}; broken: {:?}", broken.promises());
    }
    eprintln!("{lie:?}: {lost} of {LIES} lost what was acknowledged, {unnoticed} of them unnoticed");
    (lost, unnoticed)
}

/// The commit log is not flushed: what a power cut leaves has holes that the log itself reports, or ends early.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heavy_a_build_that_skips_the_flush_fails() {
    let (lost, _) = caught(Lie::FlushSkipped).await;
    assert!(lost * 2 > LIES, "{lost} of {LIES}");
}

/// The last write is not on the medium: the log ends in good order, one batch early, and only the promises show it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heavy_a_disk_that_leaves_out_the_last_write_fails() {
    let (lost, unnoticed) = caught(Lie::LastWriteLeftOut).await;
    assert!(unnoticed * 2 > LIES, "{lost} of {LIES}, {unnoticed} unnoticed");
}

/// Segments of the log go when the key-value store says that it has flushed what they hold.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heavy_a_state_store_that_skips_the_flush_fails() {
    let (lost, _) = caught(Lie::StateFlushSkipped).await;
    assert!(lost * 2 > LIES, "{lost} of {LIES}");
}
