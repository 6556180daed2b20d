//! Everything: clients, network, server and hardware, and the one who decides what happens next.

mod faults;
mod finale;

use crate::cast::{self, Part};
use crate::device::Client;
use crate::engine::Done;
use crate::hardware::{Hardware, Lie};
use crate::life::{Build, Life};
use crate::notes::Notes;
use crate::pipe::Pipe;
use crate::temper::Temper;
use chasqui_storage::clock::{Clock, ManualClock};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use std::sync::Arc;
use std::time::Duration;

/// When the world begins, in Unix milliseconds.
const BEGIN_MS: u64 = 1_795_000_000_000;
/// Bytes that come or arrive at once, at most.
const GULP: usize = 600;
/// So many things are tried until one of them can be done.
const TRIES: usize = 6;
/// How far the clock steps back, at most.
const BACK_MS: u64 = 3_000;
/// Steps until a server that is gone is started again, at most.
const DOWN: u32 = 40;

pub(crate) type Verdict = Result<(), String>;

/// See the module.
pub(crate) struct World {
    rng: SmallRng,
    pub(crate) notes: Notes,
    clock: Arc<ManualClock>,
    hardware: Hardware,
    build: Build,
    temper: Temper,
    clients: Vec<Client>,
    life: Option<Life>,
    /// Connections that their clients have given up, and the server has not; and whose they were.
    ghosts: Vec<(usize, Pipe)>,
    /// Steps until the server is started, or, where it is up and its disk has failed, until it ends.
    countdown: u32,
    /// Faults that were planned and may not have come to pass.
    planned: u32,
    stopping: bool,
    /// The latest that the clock has shown: what waits for a time waits until it has come again.
    latest_ms: u64,
}

impl World {
    pub(crate) fn new(seed: u64, lie: Lie, traced: bool) -> World {
        let mut rng = SmallRng::seed_from_u64(seed);
        let (temper, build) = (Temper::draw(&mut rng), Build::draw(&mut rng));
        let parts = cast::draw(&mut rng);
        let mut notes = Notes::new(traced);
        notes.say(|| format!("seed {seed}: {temper:?}, {build:?}"));
        for part in &parts {
            notes.say(|| format!("{part:?}"));
        }
        World {
            rng,
            notes,
            clock: Arc::new(ManualClock::new(BEGIN_MS)),
            hardware: Hardware::new(lie),
            build,
            temper,
            clients: parts.into_iter().map(Client::new).collect(),
            life: None,
            ghosts: Vec::new(),
            countdown: 0,
            planned: 0,
            stopping: false,
            latest_ms: BEGIN_MS,
        }
    }

    fn parts(&self) -> Vec<Part> {
        self.clients.iter().map(|client| client.part.clone()).collect()
    }

    /// Lets so many things happen, and then everything come to rest.
    ///
    /// # Errors
    /// What no history may bring about, seen at once; what the history as a whole shows is not judged here.
    pub(crate) async fn run(&mut self, steps: u32) -> Verdict {
        self.rest().await?;
        for _ in 0..steps {
            self.step().await?;
        }
        self.notes.say(|| "nothing goes wrong any more".to_owned());
        self.rest().await?;
        self.finale().await
    }

    async fn step(&mut self) -> Verdict {
        if self.life.is_none() {
            self.while_down()?;
        } else {
            self.go_wrong();
        }
        self.go_on().await?;
        self.look_after().await;
        Ok(())
    }

    /// One thing that happens by itself.
    async fn go_on(&mut self) -> Verdict {
        if self.rng.random_ratio(self.temper.haste, 100) {
            let ms = match self.rng.random_range(0..100) {
                0..70 => self.rng.random_range(1..6),
                70..95 => self.rng.random_range(6..80),
                95..99 => self.rng.random_range(80..2_000),
                _ => self.rng.random_range(2_000..40_000),
            };
            self.pass(ms).await;
            return Ok(());
        }
        for _ in 0..TRIES {
            let done = match self.rng.random_range(0..10) {
                0..3 => self.poll_one(),
                3..6 => self.work(),
                _ => self.act()?,
            };
            if done {
                return Ok(());
            }
        }
        self.pass(1).await;
        Ok(())
    }

    /// The time moves on.
    async fn pass(&mut self, ms: u64) {
        self.clock.advance(ms);
        self.notes.now_ms += ms;
        self.latest_ms = self.latest_ms.max(self.clock.now_ms());
        tokio::time::advance(Duration::from_millis(ms)).await;
        if let Some(life) = &mut self.life {
            let due = self.rng.random_ratio(1, 8);
            life.tend(due);
        }
    }

    /// The machine's clock is set back.
    fn step_back(&mut self) {
        let ms = self.rng.random_range(1..BACK_MS);
        self.notes.seen.steps_back += 1;
        self.notes.say(|| format!("the clock steps back by {ms} ms"));
        self.clock.set(self.clock.now_ms() - ms);
    }

    /// One of the server's connections goes on.
    fn poll_one(&mut self) -> bool {
        let Some(life) = &mut self.life else { return false };
        let woken = life.tasks.woken();
        if woken == 0 {
            return false;
        }
        let which = self.rng.random_range(0..woken);
        if let Some((name, ended)) = life.tasks.poll(which) {
            self.notes.say(|| format!("{name} goes on{}", if ended { " and ends" } else { "" }));
        }
        true
    }

    /// The sequencer or the store goes on.
    fn work(&mut self) -> bool {
        let Some(life) = &mut self.life else { return false };
        let engine = &life.engine;
        let (wanted, steps, durable) = engine.under_way();
        let done = match self.rng.random_range(0..12) {
            0..4 if engine.has_work() => engine.take(self.rng.random_range(1..20)),
            4..6 if wanted > 0 => engine.read(self.rng.random_range(0..wanted)),
            6..9 if steps > 0 => engine.commit(self.rng.random_range(1..=steps)),
            9..11 if durable > 0 => engine.tell(),
            11 => engine.write_down(),
            _ => Done::Nothing,
        };
        self.note(&done);
        done != Done::Nothing
    }

    fn note(&mut self, done: &Done) {
        let seen = &mut self.notes.seen;
        match done {
            Done::Nothing => return,
            Done::Took(_) | Done::Told => {}
            Done::Read => seen.reads += 1,
            Done::Committed(..) => seen.commits += 1,
            Done::WroteDown => seen.chunks += 1,
            Done::Failed => {
                let cut = self.life.as_ref().is_some_and(|life| life.mains.is_off());
                seen.poisoned += u64::from(!cut);
                self.countdown = self.rng.random_range(0..4 * DOWN);
            }
        }
        self.notes.say(|| format!("the store: {done:?}"));
    }

    /// One of the clients, or its network, does something.
    fn act(&mut self) -> Result<bool, String> {
        let which = self.rng.random_range(0..self.clients.len());
        if !self.clients[which].is_connected() {
            return Ok(self.connect(which));
        }
        let count = self.rng.random_range(1..GULP);
        let (client, rng, notes) = (&mut self.clients[which], &mut self.rng, &mut self.notes);
        Ok(match rng.random_range(0..20) {
            0..5 => client.carry(count),
            5..10 => client.receive(count, notes)?,
            10..15 => client.write(true, rng, notes),
            15..19 => client.confirm(rng.random_range(1..5), notes),
            _ => {
                client.look(rng);
                client.say_read(notes)
            }
        })
    }

    /// A client connects, if there is somebody to connect to.
    fn connect(&mut self, which: usize) -> bool {
        let Some(life) = self.life.as_mut().filter(|_| !self.stopping) else { return false };
        let there_still = |(whose, pipe): &(usize, Pipe)| *whose == which && !pipe.is_closed();
        self.notes.seen.take_overs += u64::from(self.ghosts.iter().any(there_still));
        life.accept(self.clients[which].connect(self.temper.room, &mut self.notes));
        true
    }
}
