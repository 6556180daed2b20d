//! Disks that break under a server that has traffic: it takes no more writes, says why and ends; what it had acknowledged is there when it is
//! started on a disk that works.

use super::power::{Class, Cut, Fault, Faulty, Keeps, Power};
use super::process::Process;
use super::rounds::{Failed, Plan, Report, Rounds, end_of, finish, small_bounds};
use super::world::{Phase, World};
use chasqui_testkit::PATIENCE;
use chasqui_testkit::history::Event;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use rustix::io::Errno;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// What the program says when its store has failed.
const STOPPED: &str = "the server has stopped because its store takes no more writes";
/// What a flush takes on a disk that is slow: long enough for anything that does not wait for it.
const SLOW: Duration = Duration::from_millis(1_500);
/// Slow flushes until the power is cut in the middle of one.
const SLOW_FLUSHES: u64 = 2;

/// A disk that breaks, and what is to be heard of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Break {
    pub(crate) faulty: Faulty,
    /// The words of the system's error that the sentence of the program has.
    pub(crate) words: &'static str,
}

/// All ways in which calls fail.
pub(crate) fn all_breaks() -> Vec<Break> {
    let mut breaks = Vec::new();
    for class in [Class::Log, Class::State] {
        for (error, words) in [(Errno::IO, "Input/output error"), (Errno::NOSPC, "full")] {
            for fault in [Fault::Write, Fault::Flush, Fault::FlushFolder, Fault::Make] {
                let faulty = Faulty { fault, class, after: 0, times: 0, error, takes: Duration::ZERO };
                breaks.push(Break { faulty, words });
                // A disk that fails once and then says that all is well. Where a new file cannot be made it may be made later, and a compaction
                // that fails is begun again: there the server may go on.
                if class == Class::Log && matches!(fault, Fault::Write | Fault::Flush) {
                    // The first write that meets it takes half of its bytes; the second fails.
                    let times = if fault == Fault::Write { 2 } else { 1 };
                    breaks.push(Break { faulty: Faulty { times, ..faulty }, words });
                }
            }
        }
    }
    breaks
}

/// A server with traffic.
struct Serving {
    rng: SmallRng,
    power: Power,
    world: Arc<World>,
    players: JoinSet<()>,
    server: Process,
}

impl Serving {
    async fn begin(seed: u64, more: &[(&'static str, &str)]) -> Serving {
        let mut rng = SmallRng::seed_from_u64(seed);
        let mut variables = small_bounds(&mut rng);
        variables.extend(more.iter().map(|(name, value)| (*name, (*value).to_owned())));
        let power = Power::new(variables);
        let (world, players) = World::begin(seed, false);
        let mut server = power.start(None, None);
        world.opened(server.address());
        world.meet().await;
        world.enter(Phase::Traffic);
        let mut serving = Serving { rng, power, world, players, server };
        serving.goes_on().await;
        serving
    }

    /// Waits until more is acknowledged.
    async fn goes_on(&mut self) {
        let more = self.rng.random_range(20..100);
        assert!(self.world.acknowledges(more, PATIENCE).await, "nothing is acknowledged");
    }

    /// Starts the server again, on a disk that works.
    async fn restart(&mut self) {
        self.world.ended(Event::Crashed, || ()).await;
        self.world.is_deserted().await;
        self.server = self.power.start(None, None);
        self.world.opened(self.server.address());
        self.goes_on().await;
    }

    /// Everybody reads all there is, and the history is checked.
    async fn finish(self, seed: u64) -> Result<Report, Failed> {
        let plan = Plan { seed, rounds: 0, newborn: 0, faulty: None, mutation: None, patience: PATIENCE };
        let Serving { rng, power, world, players, server } = self;
        finish(Rounds::new(plan, rng, power), server, world, players).await
    }
}

/// Breaks a disk for good under a server, which must end by itself; then starts it on what was flushed.
pub(crate) async fn breaks(seed: u64, broken: Break) -> Report {
    let Break { faulty, words } = broken;
    let what = format!("PROOF_SEED={seed}, {faulty:?}");
    // Where segments are reused no new ones are made.
    let kept = [("CHASQUI_STORAGE_OVERLAY_BYTES", "64 MiB"), ("CHASQUI_STORAGE_OVERLAY_AGE", "10 min")];
    // What fails once has to meet the log, and not the segment that is prepared behind it: that is tried again.
    let ample = [("CHASQUI_STORAGE_SEGMENT_BYTES", "64 MiB")];
    let more = match faulty.fault {
        Fault::Make if faulty.class == Class::Log => &kept[..],
        _ if faulty.times > 0 => &ample[..],
        _ => &[],
    };
    let mut serving = Serving::begin(seed, more).await;
    let after =
        if matches!(faulty.fault, Fault::Write | Fault::Flush) { serving.rng.random_range(0..20) } else { 0 };
    serving.power.break_disk(Faulty { after, ..faulty });
    let status = end_of(&mut serving.server).await;
    let said = serving.server.said_all();
    assert_eq!(status.code(), Some(1), "{what}: {said}");
    let sentence = said.lines().find(|line| line.contains(STOPPED));
    let sentence = sentence.unwrap_or_else(|| panic!("{what}: it does not say why it ends: {said}"));
    assert!(sentence.contains(words), "{what}: {sentence}");
    let (met, good_after) = serving.power.faults();
    assert!(met > 0, "{what}");
    if faulty.class == Class::Log && faulty.fault != Fault::Make && faulty.fault != Fault::FlushFolder {
        assert_eq!(good_after, 0, "{what}: the commit log was written to after a failure: {said}");
    }
    serving.restart().await;
    let report = serving.finish(seed).await;
    report.unwrap_or_else(|failed| panic!("{what}: {failed:#?}"))
}

/// Flushes take long, and the power is cut in the middle of one; then they take long and end well.
pub(crate) async fn slow(seed: u64, class: Class) -> Report {
    let what = format!("PROOF_SEED={seed}, slow flushes of {class:?}");
    let mut serving = Serving::begin(seed, &[]).await;
    let faulty = Faulty { fault: Fault::Slow, class, after: 0, times: 0, error: Errno::IO, takes: SLOW };
    for cut in [true, false] {
        serving.power.break_disk(faulty);
        let power = &serving.power;
        let met = async {
            while power.faults().0 < SLOW_FLUSHES {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, met).await.unwrap_or_else(|_| panic!("{what}: nothing is flushed"));
        if cut {
            // Somewhere in the second half: whoever does not wait has answered by now.
            tokio::time::sleep(SLOW / 2).await;
            let seed = serving.rng.random();
            serving.power.cut(Cut { at: 0, class: Class::Any, keeps: Keeps::Nothing, seed });
            end_of(&mut serving.server).await;
            let (losses, said) = (serving.power.losses(), serving.server.said_all());
            assert_eq!(losses.cuts, 1, "{what}: {said}");
            let lost = if class == Class::Log { losses.log_writes } else { losses.state_writes };
            assert!(lost > 0, "{what}: nothing was on its way: {said}");
            serving.restart().await;
        } else {
            serving.goes_on().await;
            serving.power.mend_disk();
        }
    }
    let report = serving.finish(seed).await;
    report.unwrap_or_else(|failed| panic!("{what}: {failed:#?}"))
}
