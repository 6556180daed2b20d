//! What goes wrong: with the network, with clients, with the server, and with the hardware below it.

use super::{DOWN, Verdict, World};
use crate::hardware::Mains;
use crate::life::Life;
use chasqui_storage::disk::ram::{Effect, Fault, Operation};
use chasqui_testkit::history::Event;
use rand::RngExt;

/// Operations of the disk, from now on, within which one fails or the power goes.
const SOON: u64 = 25;

/// How a server ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// SIGKILL, or its own: the kernel goes on.
    Killed,
    /// The machine ends too.
    PowerCut,
}

impl World {
    fn chance(&mut self, of: u32) -> bool {
        of > 0 && self.rng.random_ratio(of, 100_000)
    }

    /// Perhaps something goes wrong.
    pub(super) fn go_wrong(&mut self) {
        self.network();
        let temper = self.temper;
        if self.chance(temper.kills) {
            self.notes.seen.kills += 1;
            self.end(End::Killed);
        } else if self.chance(temper.cuts) {
            self.notes.seen.power_cuts += 1;
            self.end(End::PowerCut);
        } else if self.chance(temper.cuts_within) {
            let operations = self.rng.random_range(0..SOON);
            if let Some(life) = self.life.as_ref().filter(|life| !life.mains.is_failing()) {
                self.notes.say(|| format!("the power goes after {operations} operations"));
                life.mains.go_after(operations);
            }
        } else if self.chance(temper.faults) {
            self.plan_a_fault();
        } else if self.chance(temper.steps_back) {
            self.step_back();
        } else if self.chance(temper.stops) && !self.stopping {
            self.stop();
        }
    }

    fn network(&mut self) {
        let temper = self.temper;
        let which = self.rng.random_range(0..self.clients.len());
        if self.chance(temper.breaks) && self.clients[which].is_connected() {
            self.notes.seen.breaks += 1;
            let pipe = self.clients[which].sever(&mut self.notes);
            pipe.inspect(crate::pipe::Pipe::break_off);
        } else if self.chance(temper.half_open) && self.clients[which].is_connected() {
            self.notes.seen.half_open += 1;
            let pipe = self.clients[which].sever(&mut self.notes);
            self.ghosts.extend(pipe.map(|pipe| (which, pipe)));
        } else if self.chance(temper.client_crashes) && self.clients[which].is_connected() {
            self.notes.seen.client_crashes += 1;
            let pipe = self.clients[which].sever(&mut self.notes);
            // Its kernel says so, or is gone too.
            match pipe {
                Some(pipe) if self.rng.random() => pipe.break_off(),
                pipe => self.ghosts.extend(pipe.map(|pipe| (which, pipe))),
            }
        } else if self.chance(temper.pauses) {
            self.notes.seen.pauses += 1;
            let turns = self.rng.random_range(1..60);
            self.clients[which].pause(turns);
        } else if self.chance(temper.leaves) {
            self.clients[which].leave(&mut self.notes);
        }
        if !self.ghosts.is_empty() && self.rng.random_ratio(1, 100) {
            // At last the network tells.
            let ghost = self.rng.random_range(0..self.ghosts.len());
            self.ghosts.swap_remove(ghost).1.break_off();
        }
    }

    fn plan_a_fault(&mut self) {
        let after = self.rng.random_range(0..SOON);
        self.planned += 1;
        if self.rng.random_ratio(1, 4) {
            self.notes.say(|| "the key-value store is going to fail".to_owned());
            if self.rng.random() {
                self.hardware.kv.fail_write_after(after % 3);
            } else {
                self.hardware.kv.fail_flush_after(after % 3);
            }
            return;
        }
        let operation = [
            Operation::Write,
            Operation::Write,
            Operation::Sync,
            Operation::Sync,
            Operation::Create,
            Operation::Rename,
            Operation::SyncDir,
        ];
        let operation = operation[self.rng.random_range(0..operation.len())];
        let effect = match self.rng.random_range(0..3) {
            0 => Effect::Broken,
            1 => Effect::Full,
            _ => Effect::Short(self.rng.random_range(0..2_000)),
        };
        let fault = Fault { operation, after, effect };
        self.notes.say(|| format!("the disk is going to fail: {fault:?}"));
        self.hardware.disk.plan(fault);
    }

    /// The server is told to stop in good order.
    fn stop(&mut self) {
        let Some(life) = &mut self.life else { return };
        self.notes.seen.stops += 1;
        self.notes.event(Event::Stopped);
        life.stop();
        self.stopping = true;
    }

    /// The server is no more.
    pub(super) fn end(&mut self, how: End) {
        self.notes.say(|| format!("the server ends: {how:?}"));
        self.notes.event(Event::Crashed);
        self.bury(how);
    }

    fn bury(&mut self, how: End) {
        self.life = None;
        self.stopping = false;
        self.ghosts.clear();
        for client in &mut self.clients {
            client.server_died();
        }
        let seed = self.rng.random();
        match how {
            End::Killed => self.hardware.process_ended(seed),
            End::PowerCut => self.hardware.power_cut(seed),
        }
        self.countdown = self.rng.random_range(0..DOWN);
    }

    /// The server is down; when its time has come it is started.
    pub(super) fn while_down(&mut self) -> Verdict {
        if self.countdown > 0 {
            self.countdown -= 1;
            return Ok(());
        }
        let mains = Mains::new();
        let temper = self.temper;
        if self.chance(temper.cuts_within * 40) {
            let operations = self.rng.random_range(0..4 * SOON);
            mains.go_after(operations);
        }
        self.start(&mains)
    }

    /// Starts the server. It may fail for want of power, or because of a fault that was planned, and is started again then.
    pub(super) fn start(&mut self, mains: &Mains) -> Verdict {
        match Life::start(&self.build, &self.hardware, mains.clone(), &self.clock) {
            Ok(life) if !mains.is_off() => {
                self.notes.say(|| "the server starts".to_owned());
                self.life = Some(life);
                Ok(())
            }
            started => {
                let why = started.err().unwrap_or_default();
                self.notes.say(|| format!("the server does not start: {why}"));
                if mains.is_off() {
                    self.notes.seen.starts_cut += 1;
                    self.end(End::PowerCut);
                } else if self.planned > 0 {
                    self.planned -= 1;
                    self.end(End::Killed);
                } else {
                    return Err(format!("the server does not start: {why}"));
                }
                Ok(())
            }
        }
    }

    /// Ends a server whose power has gone, whose disk has failed, or which has stopped.
    pub(super) async fn look_after(&mut self) {
        let Some(life) = &mut self.life else { return };
        if life.mains.is_off() {
            self.notes.seen.power_cuts += 1;
            self.notes.seen.cuts_within += 1;
            self.end(End::PowerCut);
        } else if life.engine.is_poisoned() {
            if self.countdown == 0 {
                self.planned = self.planned.saturating_sub(1);
                let how = if self.rng.random() { End::Killed } else { End::PowerCut };
                self.end(how);
            } else {
                self.countdown -= 1;
            }
        } else if self.stopping && life.has_stopped() {
            life.engine.run_dry();
            let closed = life.engine.close();
            let how = if closed { "all is written down" } else { "its disk has failed" };
            self.notes.say(|| format!("the server has stopped, and {how}"));
            for client in &mut self.clients {
                // Who came while it stopped, and was not served to the end.
                client.sever(&mut self.notes);
            }
            self.bury(if closed { End::Killed } else { End::PowerCut });
        }
        // What was spawned on the runtime gets its turn, or its end.
        tokio::task::yield_now().await;
    }
}
