//! A thread that drives its share of the clients: readiness, reads, writes, and the clock of an open loop.

use crate::client::{Broken, Client, Context};
use crate::role::{Coming, Manner, Stay};
use crate::shared::{Phase, Progress, Shared};
use crate::tally::Tally;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use socket2::{Domain, Socket, Type};
use std::collections::{BTreeSet, VecDeque};
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;

/// Bytes read at once.
const READ_BYTES: usize = 256 * 1024;
/// Readiness taken at once.
const EVENTS: usize = 256;
/// Connections of a worker that are being opened at once.
const OPENING: usize = 128;
/// Between two tries to connect again, nanoseconds.
const RETRY_NS: u64 = 20_000_000;
/// How long a worker waits when nothing happens, nanoseconds: how late it may notice another phase.
const PATIENCE_NS: u64 = 20_000_000;

/// What a worker leaves behind.
pub struct Outcome {
    /// What happened while it counted.
    pub measured: Tally,
    /// What happened in all.
    pub whole: Tally,
    /// The clients, who know what they received.
    pub clients: Vec<Client>,
}

struct Slot {
    client: Client,
    socket: Option<Socket>,
    /// How much of the client's `out` is written.
    written: usize,
    /// It waits until the socket takes more.
    blocked: bool,
    /// It is on its way to being connected and subscribed.
    opening: bool,
    /// It was there once.
    was_ready: bool,
}

/// See the module.
pub struct Worker<'a> {
    shared: &'a Shared,
    progress: &'a Progress,
    address: SocketAddr,
    manner: Manner,
    /// This worker's part of what is published.
    part: f64,
    /// Between two publishes of this worker, nanoseconds; `None` where the window says when to publish.
    interval_ns: Option<f64>,
    slots: Vec<Slot>,
    epoll: OwnedFd,
    phase: Phase,
    /// Slots that were opened for the first time: those before this one.
    begun: usize,
    opening: usize,
    /// Slots to be opened again.
    again: VecDeque<usize>,
    /// Slots to be opened again from a time on.
    later: BTreeSet<(u64, usize)>,
    /// Slots that are to go at a time, in the order in which they came.
    leaving: VecDeque<(u64, usize)>,
    /// Slots that publish, for an open loop.
    publishers: Vec<usize>,
    rate_began_ns: u64,
    rate_done: u64,
    tally: Tally,
    before: Tally,
    measured: Option<Tally>,
    payload: Vec<u8>,
}

impl<'a> Worker<'a> {
    /// Drives these clients, who are this part of those who publish.
    pub fn new(
        shared: &'a Shared,
        progress: &'a Progress,
        address: SocketAddr,
        manner: Manner,
        part: f64,
        clients: Vec<Client>,
    ) -> io::Result<Worker<'a>> {
        let slots: Vec<Slot> = clients
            .into_iter()
            .map(|client| Slot {
                client,
                socket: None,
                written: 0,
                blocked: false,
                opening: false,
                was_ready: false,
            })
            .collect();
        let publishers = (0..slots.len()).filter(|at| slots[*at].client.role.publishes()).collect();
        Ok(Worker {
            shared,
            progress,
            address,
            manner,
            part,
            interval_ns: None,
            slots,
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            phase: Phase::Connect,
            begun: 0,
            opening: 0,
            again: VecDeque::new(),
            later: BTreeSet::new(),
            leaving: VecDeque::new(),
            publishers,
            rate_began_ns: 0,
            rate_done: 0,
            tally: Tally::default(),
            before: Tally::default(),
            measured: None,
            payload: Vec::new(),
        })
    }

    /// Runs until the run is over.
    pub fn run(mut self) -> io::Result<Outcome> {
        let mut buffer = vec![0; READ_BYTES];
        let mut events = Vec::with_capacity(EVENTS);
        loop {
            let phase = self.shared.phase();
            while self.phase < phase {
                self.enter(self.phase.next());
            }
            if phase == Phase::Stop {
                break;
            }
            self.open_some()?;
            self.leave_some();
            self.wait(&mut events)?;
            let now_ns = self.shared.now_ns();
            for event in events.drain(..) {
                self.happened(event, now_ns, &mut buffer)?;
            }
            if self.is_running() && self.interval_ns.is_some() {
                self.publish_what_is_due();
            }
            self.tell();
        }
        let mut whole = self.before;
        whole.add(&self.tally);
        Ok(Outcome {
            measured: self.measured.unwrap_or_default(),
            whole,
            clients: self.slots.into_iter().map(|slot| slot.client).collect(),
        })
    }

    /// Whether messages are published.
    fn is_running(&self) -> bool {
        matches!(self.phase, Phase::WarmUp | Phase::Measure | Phase::Relief)
    }

    /// Goes over to another rate, if there is one.
    fn keep_up(&mut self) {
        let rate = self.shared.rate() * self.part;
        let interval_ns = (rate > 0.0).then(|| 1e9 / rate);
        if interval_ns != self.interval_ns {
            self.interval_ns = interval_ns;
            self.rate_began_ns = self.shared.now_ns();
            self.rate_done = 0;
        }
    }

    fn forgive(&mut self) {
        let withheld: u64 = self.slots.iter_mut().map(|slot| slot.client.forgive()).sum();
        self.tally.withheld += withheld;
    }

    fn enter(&mut self, phase: Phase) {
        match phase {
            Phase::WarmUp => {
                self.keep_up();
                let now_ns = self.shared.now_ns();
                for (at, slot) in self.slots.iter().enumerate() {
                    if let Stay::Coming(Coming { first_ns, .. }) = slot.client.role.stay {
                        self.later.insert((now_ns + first_ns, at));
                    }
                }
                if self.interval_ns.is_none() {
                    for at in self.publishers.clone() {
                        self.step(at, true, Client::fill_window);
                    }
                }
            }
            Phase::Measure => {
                self.keep_up();
                let before = std::mem::take(&mut self.tally);
                self.before.add(&before);
                let away = |at: &usize| self.slots[*at].client.role.stay == Stay::Away;
                self.again.extend((0..self.slots.len()).filter(away));
                let looking = |at: &usize| self.slots[*at].client.role.looks.is_some();
                let looking: Vec<usize> = (0..self.slots.len()).filter(looking).collect();
                for at in looking {
                    self.step(at, true, Client::look);
                }
                let asking = |at: &usize| self.slots[*at].client.role.asks.is_some();
                let asking: Vec<usize> = (0..self.slots.len()).filter(asking).collect();
                for at in asking {
                    self.step(at, true, Client::ask);
                }
            }
            Phase::Relief => {
                self.forgive();
                let measured = std::mem::take(&mut self.tally);
                self.before.add(&measured);
                self.measured = Some(measured);
                self.keep_up();
            }
            Phase::Drain => {
                self.forgive();
                for at in self.publishers.clone() {
                    self.step(at, false, Client::remove_retained);
                }
            }
            Phase::Connect | Phase::Stop => {}
        }
        self.phase = phase;
    }

    /// Lets a client take a step, and writes what it says.
    fn step(&mut self, at: usize, publishing: bool, step: impl FnOnce(&mut Client, &mut Context<'_>)) {
        let mut cx = Context {
            manner: self.manner,
            tally: &mut self.tally,
            now_ns: self.shared.now_ns(),
            publishing,
            payload: &mut self.payload,
        };
        step(&mut self.slots[at].client, &mut cx);
        self.flush(at);
    }

    fn open_some(&mut self) -> io::Result<()> {
        let now_ns = self.shared.now_ns();
        while self.later.first().is_some_and(|(from_ns, _)| *from_ns <= now_ns) {
            self.again.extend(self.later.pop_first().map(|(_, at)| at));
        }
        while self.opening < OPENING {
            let at = if self.begun < self.slots.len() {
                self.begun += 1;
                if matches!(self.slots[self.begun - 1].client.role.stay, Stay::Coming(_)) {
                    // It is not there yet, which is as it is to be.
                    self.slots[self.begun - 1].was_ready = true;
                    self.progress.ready.fetch_add(1, Ordering::Relaxed);
                    continue;
                }
                self.begun - 1
            } else if let Some(at) = self.again.pop_front() {
                at
            } else {
                return Ok(());
            };
            let socket = Socket::new(Domain::for_address(self.address), Type::STREAM, None)?;
            socket.set_nonblocking(true)?;
            socket.set_tcp_nodelay(true)?;
            match socket.connect(&self.address.into()) {
                Ok(()) => {}
                Err(error) if error.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => {}
                Err(_) if self.slots[at].was_ready && self.manner.resilient => {
                    self.later.insert((now_ns + RETRY_NS, at));
                    continue;
                }
                Err(error) => return Err(error),
            }
            let wanted = EventFlags::IN | EventFlags::OUT;
            epoll::add(&self.epoll, &socket, EventData::new_u64(at as u64), wanted)?;
            let slot = &mut self.slots[at];
            slot.client.connect(self.manner, self.shared.now_ns());
            slot.socket = Some(socket);
            slot.written = 0;
            slot.blocked = true;
            slot.opening = true;
            self.opening += 1;
        }
        Ok(())
    }

    /// Those who have stayed as long as they were to.
    fn leave_some(&mut self) {
        let now_ns = self.shared.now_ns();
        while let Some((_, at)) = self.leaving.pop_front_if(|(at_ns, _)| *at_ns <= now_ns) {
            if self.slots[at].client.is_ready() && self.slots[at].socket.is_some() {
                self.slots[at].client.leave();
                self.flush(at);
            }
        }
    }

    fn wait(&mut self, events: &mut Vec<Event>) -> io::Result<()> {
        let now_ns = self.shared.now_ns();
        let wait_ns = match self.interval_ns {
            Some(_) if self.is_running() => self.next_due_ns().saturating_sub(now_ns).min(PATIENCE_NS),
            _ => PATIENCE_NS,
        };
        let timeout = Timespec { tv_sec: 0, tv_nsec: wait_ns.cast_signed() };
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(events), Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn happened(&mut self, event: Event, now_ns: u64, buffer: &mut [u8]) -> io::Result<()> {
        let (at, flags) = (event.data.u64() as usize, event.flags);
        let Some(socket) = &self.slots[at].socket else { return Ok(()) };
        if let Some(error) = socket.take_error()? {
            if self.phase == Phase::Connect && !self.slots[at].was_ready {
                return Err(error);
            }
            self.broken(at, &Broken::Closed);
            return Ok(());
        }
        if flags.contains(EventFlags::OUT) && self.slots[at].blocked {
            self.flush(at);
        }
        if flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR) {
            self.read(at, now_ns, buffer);
        }
        Ok(())
    }

    fn read(&mut self, at: usize, now_ns: u64, buffer: &mut [u8]) {
        let publishing = self.interval_ns.is_none() && self.is_running();
        let slot = &mut self.slots[at];
        let Some(socket) = &mut slot.socket else { return };
        let count = match socket.read(buffer) {
            Ok(0) => return self.broken(at, &Broken::Closed),
            Ok(count) => count,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => return,
            Err(_) => return self.broken(at, &Broken::Closed),
        };
        let mut cx = Context {
            manner: self.manner,
            tally: &mut self.tally,
            now_ns,
            publishing,
            payload: &mut self.payload,
        };
        if let Err(broken) = slot.client.take(&buffer[..count], &mut cx) {
            return self.broken(at, &broken);
        }
        if slot.client.is_ready() || slot.client.is_over() {
            self.opened(at);
        }
        self.flush(at);
    }

    /// A client is connected and subscribed.
    fn opened(&mut self, at: usize) {
        let slot = &mut self.slots[at];
        if std::mem::take(&mut slot.opening) {
            self.opening -= 1;
            if let Stay::Coming(Coming { stay_ns, .. }) = slot.client.role.stay {
                self.leaving.push_back((self.shared.now_ns() + stay_ns, at));
            }
        }
        if !slot.was_ready {
            if slot.client.role.stay == Stay::Stuck
                && let Some(socket) = &slot.socket
            {
                // It was added, and is open. That it is closed is told in any case.
                let _ =
                    epoll::modify(&self.epoll, socket, EventData::new_u64(at as u64), EventFlags::empty());
            }
            slot.was_ready = true;
            self.progress.ready.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn flush(&mut self, at: usize) {
        let slot = &mut self.slots[at];
        let Some(socket) = &mut slot.socket else { return };
        let mut blocked = false;
        while slot.written < slot.client.out.len() {
            match socket.write(&slot.client.out[slot.written..]) {
                Ok(count) => {
                    slot.written += count;
                    self.tally.bytes_out += count as u64;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    blocked = true;
                    break;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // The read that follows says what there is to say.
                Err(_) => return,
            }
        }
        if !blocked {
            slot.client.out.clear();
            slot.written = 0;
        }
        if blocked != slot.blocked {
            slot.blocked = blocked;
            let is_stuck = slot.client.role.stay == Stay::Stuck && slot.client.is_ready();
            let mut wanted = if is_stuck { EventFlags::empty() } else { EventFlags::IN };
            wanted.set(EventFlags::OUT, blocked);
            // It was added, and is open.
            let _ = epoll::modify(&self.epoll, &*socket, EventData::new_u64(at as u64), wanted);
        }
        if !blocked && slot.client.is_over() {
            slot.socket = None;
            match slot.client.role.stay {
                _ if self.phase >= Phase::Drain => {}
                Stay::Churning => self.again.push_back(at),
                Stay::Coming(Coming { away_ns, .. }) => {
                    self.later.insert((self.shared.now_ns() + away_ns, at));
                }
                _ => {}
            }
        }
    }

    /// A connection has ended that was not to.
    fn broken(&mut self, at: usize, broken: &Broken) {
        let slot = &mut self.slots[at];
        slot.socket = None;
        if std::mem::take(&mut slot.opening) {
            self.opening -= 1;
        }
        if slot.client.role.stay == Stay::Stuck && slot.was_ready {
            self.progress.stuck_closed.fetch_add(1, Ordering::Relaxed);
            return;
        }
        if self.manner.resilient && slot.was_ready && *broken == Broken::Closed {
            self.later.insert((self.shared.now_ns() + RETRY_NS, at));
            return;
        }
        self.progress.dead.fetch_add(1, Ordering::Relaxed);
        let client_id = &slot.client.role.client_id;
        self.shared.note(|| format!("{broken} ({client_id})"));
    }

    fn next_due_ns(&self) -> u64 {
        let interval_ns = self.interval_ns.unwrap_or(0.0);
        self.rate_began_ns + nth(self.rate_done, interval_ns)
    }

    /// Every message that is due, each with the time it was due at, however late it is.
    fn publish_what_is_due(&mut self) {
        while !self.publishers.is_empty() {
            let due_ns = self.next_due_ns();
            if due_ns > self.shared.now_ns() {
                break;
            }
            let at = self.publishers[self.rate_done as usize % self.publishers.len()];
            self.rate_done += 1;
            self.step(at, false, |client, cx| client.publish_due(due_ns, cx));
        }
    }

    fn tell(&self) {
        let Progress { delivered, acked, slow, cycles, in_flight, .. } = self.progress;
        delivered.store(self.before.delivered + self.tally.delivered, Ordering::Relaxed);
        acked.store(self.before.acked + self.tally.acked, Ordering::Relaxed);
        slow.store(self.before.slow + self.tally.slow, Ordering::Relaxed);
        cycles.store(self.before.cycles + self.tally.cycles, Ordering::Relaxed);
        if self.manner.resilient {
            let here =
                self.slots.iter().filter(|slot| slot.socket.is_some() && slot.client.is_ready()).count();
            self.progress.here.store(here as u64, Ordering::Relaxed);
        }
        if self.phase == Phase::Drain {
            let open = self.slots.iter().filter(|slot| slot.socket.is_some());
            let flights: usize = open.map(|slot| slot.client.in_flight()).sum();
            in_flight.store(flights as u64, Ordering::Relaxed);
        }
    }
}

#[allow(clippy::cast_precision_loss, clippy::cast_sign_loss)] // Below 2^52, and never negative.
fn nth(count: u64, interval_ns: f64) -> u64 {
    (count as f64 * interval_ns) as u64
}
