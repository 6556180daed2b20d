//! Who says when a run goes from one phase to the next, and looks at it meanwhile.

use crate::crash::{Crash, Return, Victim, accepts};
use crate::process::Usage;
use crate::run::{Backlog, Overload, Overloaded, Plan, RunError, Say, Until};
use crate::shared::{Phase, Progress, Shared};
use std::net::SocketAddr;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How long clients may take to connect without one more of them getting there, and a count may stand still that is waited for.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long nothing may arrive until what has not is taken for lost.
const DRAIN_PATIENCE: Duration = Duration::from_secs(3);
/// How often a count that is waited for is looked at.
const LOOK: Duration = Duration::from_millis(2);

/// A stretch whose acknowledgements are judged together.
const SLICE: Duration = Duration::from_millis(250);
/// Slices one behind the other that are normal before it is taken to last.
const NORMAL_SLICES: u32 = 4;
/// Slices to wait for that at most: a minute.
const SLICES: u32 = 240;

/// How long a broker that was killed may take to serve as before.
const BACK_PATIENCE: Duration = Duration::from_mins(1);

/// See the module.
pub(crate) struct Conductor<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) progress: &'a [Progress],
    pub(crate) say: Say<'a>,
    pub(crate) address: SocketAddr,
}

/// What it has seen.
pub(crate) struct Conducted {
    pub(crate) lasted: Duration,
    pub(crate) used: Option<(Usage, Usage)>,
    pub(crate) seconds: Vec<u64>,
    pub(crate) connecting: Duration,
    pub(crate) backlog: Option<Backlog>,
    pub(crate) overload: Option<Overloaded>,
    pub(crate) returns: Vec<Return>,
}

impl Conductor<'_> {
    pub(crate) fn sum(&self, of: impl Fn(&Progress) -> &AtomicU64) -> u64 {
        self.progress.iter().map(|progress| of(progress).load(Ordering::Relaxed)).sum()
    }

    fn now(&self) -> Duration {
        Duration::from_nanos(self.shared.now_ns())
    }

    fn done(&self) -> u64 {
        self.sum(|progress| &progress.delivered) + self.sum(|progress| &progress.cycles)
    }

    fn acked(&self) -> u64 {
        self.sum(|progress| &progress.acked)
    }

    pub(crate) fn conduct(
        &self,
        clients: usize,
        plan: &Plan,
        usage: &dyn Fn() -> Option<Usage>,
        victim: Option<&mut Victim>,
    ) -> Result<Conducted, RunError> {
        self.connect(clients)?;
        let connecting = self.now();
        (self.say)(&format!("{clients} clients are ready after {:.1} s", connecting.as_secs_f64()));
        let (began, before) = (self.now(), usage());
        self.shared.enter(Phase::WarmUp);
        self.watch(plan.warm_up, &mut || {});
        let (from, used_from) = (self.now(), usage());
        let carried_per_s = precise(self.acked()) / from.saturating_sub(began).as_secs_f64();
        let backlog = matches!(plan.warm_up, Until::Acked(_)).then(|| Backlog {
            acked: self.acked(),
            lasted: from.saturating_sub(began),
            used: before.zip(used_from),
        });
        if let Some(Overload { factor, .. }) = plan.overload {
            let offered_per_s = carried_per_s * factor;
            (self.say)(&format!("it carries {carried_per_s:.0} /s; now {offered_per_s:.0} /s are due"));
            self.shared.set_rate(Some(offered_per_s));
        }
        self.shared.enter(Phase::Measure);
        let mut returns = Vec::new();
        if let (Some(victim), Some(Crash { kills, .. }), Until::Elapsed(length)) =
            (victim, &plan.crash, plan.measure)
        {
            for _ in 0..*kills {
                // A good while before, and the rest of the measurement behind the last.
                self.watch(Until::Elapsed(length / (kills + 1)), &mut || {});
                returns.push(self.kill(victim, clients)?);
            }
        }
        let mut peak = None;
        let seconds = self.watch(plan.measure, &mut || {
            if plan.overload.is_some() {
                peak = peak.max(usage().map(|usage| usage.resident));
            }
        });
        let (to, used_to) = (self.now(), usage());
        let overload = plan.overload.map(|Overload { factor, relief }| {
            self.shared.set_rate(Some(carried_per_s * relief));
            self.shared.enter(Phase::Relief);
            let normal_after = self.relax();
            let stuck_closed = self.sum(|progress| &progress.stuck_closed);
            Overloaded {
                carried_per_s,
                offered_per_s: carried_per_s * factor,
                peak,
                normal_after,
                stuck_closed,
            }
        });
        self.shared.enter(Phase::Drain);
        if plan.drains {
            self.drain();
        }
        let used = used_from.zip(used_to);
        Ok(Conducted {
            lasted: to.saturating_sub(from),
            used,
            seconds,
            connecting,
            backlog,
            overload,
            returns,
        })
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
            let trouble = self.shared.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone();
            if trouble.is_some() || self.now().saturating_sub(since) > PATIENCE {
                let reason = trouble.unwrap_or_else(|| "the broker says nothing".to_owned());
                return Err(RunError::NotReady { ready, clients, reason });
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Kills the broker, starts it again, and waits until all is as before.
    fn kill(&self, victim: &mut Victim, clients: usize) -> Result<Return, RunError> {
        let delivered = || self.sum(|progress| &progress.delivered);
        let before = delivered();
        std::thread::sleep(SLICE);
        let half = (delivered() - before) / 2;
        let killed = self.now();
        let since = || self.now().saturating_sub(killed);
        victim.kill()?;
        victim.start()?;
        let mut wait_until = |what: &str, is_so: &mut dyn FnMut() -> bool| {
            while !is_so() {
                if victim.has_ended() {
                    return Err(RunError::NotBack("what was to start it has ended".to_owned()));
                }
                let trouble = self.shared.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone();
                if let Some(trouble) = trouble {
                    return Err(RunError::NotBack(trouble));
                }
                if since() > BACK_PATIENCE {
                    return Err(RunError::NotBack(format!("{what} for {} s", BACK_PATIENCE.as_secs())));
                }
                std::thread::sleep(LOOK);
            }
            Ok(since())
        };
        let accepting = wait_until("it has accepted no connection", &mut || accepts(self.address))?;
        // Those who have not noticed yet are still counted.
        std::thread::sleep(SLICE / 5);
        let here = || self.sum(|progress| &progress.here) == clients as u64;
        let all_back = wait_until("clients have been missing", &mut { here })?;
        let (mut slice, mut count) = (self.now(), delivered());
        let flowing = wait_until("fewer than half as many messages have been delivered", &mut || {
            let now = self.now();
            if now < slice + SLICE {
                return false;
            }
            let more = delivered() - count;
            (slice, count) = (now, count + more);
            more >= half
        })?;
        (self.say)(&format!("killed; accepting after {accepting:.0?}, all back after {all_back:.0?}"));
        Ok(Return { accepting, all_back, flowing })
    }

    /// Waits until acknowledgements are as fast as is normal, and stay so for as long as it takes to believe it: how long it was until
    /// they began to be.
    fn relax(&self) -> Option<Duration> {
        let from = self.now();
        let (mut acked, mut slow) = (self.acked(), self.sum(|progress| &progress.slow));
        let mut normal = 0;
        for slice in 1..=SLICES {
            std::thread::sleep((from + slice * SLICE).saturating_sub(self.now()));
            let (now_acked, now_slow) = (self.acked(), self.sum(|progress| &progress.slow));
            let (more, slower) = (now_acked - acked, now_slow - slow);
            (acked, slow) = (now_acked, now_slow);
            if slice % 4 == 0 {
                let delivered = self.sum(|progress| &progress.delivered);
                (self.say)(&format!(
                    "{:>4} s  {more:>9} acknowledged in the last quarter, {slower} of them late; {delivered} delivered in all",
                    slice / 4
                ));
            }
            // 99 of 100.
            normal = if more > 0 && slower * 100 <= more { normal + 1 } else { 0 };
            if normal == NORMAL_SLICES {
                return Some((slice - NORMAL_SLICES) * SLICE);
            }
        }
        None
    }

    /// Waits for the end of a stretch, with a look four times a second; what was done in each second of it.
    fn watch(&self, until: Until, look: &mut dyn FnMut()) -> Vec<u64> {
        let from = self.now();
        let (mut seconds, mut last) = (Vec::new(), self.done() + self.acked());
        let (mut before, mut moved) = (self.done(), from);
        let (mut next, mut next_look) = (from + Duration::from_secs(1), from);
        while !self.is_over(until, from) {
            let now = self.now();
            let all = self.done() + self.acked();
            if all != last {
                (last, moved) = (all, now);
            } else if !matches!(until, Until::Elapsed(_)) && now.saturating_sub(moved) > self.patience() {
                // What is missing is told as lost.
                break;
            }
            if now >= next {
                let done = self.done();
                seconds.push(done - before);
                let acked = self.acked();
                (self.say)(&format!(
                    "{:>4} s  {:>9} /s  {acked:>11} acknowledged",
                    seconds.len(),
                    done - before
                ));
                before = done;
                next += Duration::from_secs(1);
            }
            if now >= next_look {
                look();
                next_look = now + SLICE;
            }
            let left = match until {
                Until::Elapsed(length) => (from + length).min(next).min(next_look).saturating_sub(now),
                Until::Acked(_) | Until::Delivered(_) => LOOK,
            };
            std::thread::sleep(left);
        }
        seconds
    }

    /// Nobody waits long for what dead connections were to bring.
    fn patience(&self) -> Duration {
        if self.sum(|progress| &progress.dead) > 0 { DRAIN_PATIENCE } else { PATIENCE }
    }

    fn is_over(&self, until: Until, from: Duration) -> bool {
        match until {
            Until::Elapsed(length) => self.now() >= from + length,
            Until::Acked(count) => self.acked() >= count,
            Until::Delivered(count) => self.sum(|progress| &progress.delivered) >= count,
        }
    }

    /// Waits until everything has arrived, or nothing does any more.
    fn drain(&self) {
        let (mut done, mut since) = (u64::MAX, self.now());
        while self.now().saturating_sub(since) < DRAIN_PATIENCE {
            let now_done = self.done() + self.acked();
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

/// Counts of a run are far below 2^52.
#[allow(clippy::cast_precision_loss)]
fn precise(count: u64) -> f64 {
    count as f64
}
