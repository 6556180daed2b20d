//! What the threads of a run share: where it is, and how it goes.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Instant;

/// Where a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Phase {
    /// Clients connect and subscribe.
    Connect,
    /// Everything runs, and nothing counts yet.
    WarmUp,
    /// What happens counts.
    Measure,
    /// Less is published, after more than could be carried.
    Relief,
    /// Nothing more is published; what is on its way arrives.
    Drain,
    /// It is over.
    Stop,
}

/// What a worker tells while it runs.
#[derive(Debug, Default)]
pub struct Progress {
    /// Clients that are connected and subscribed.
    pub ready: AtomicU64,
    /// Clients that are connected and subscribed now; counted where they come again.
    pub here: AtomicU64,
    /// Messages received, in all.
    pub delivered: AtomicU64,
    /// Publishes acknowledged, in all.
    pub acked: AtomicU64,
    /// Of these, later than is normal.
    pub slow: AtomicU64,
    /// Publishes that are not, now.
    pub in_flight: AtomicU64,
    /// Cycles of churn, in all.
    pub cycles: AtomicU64,
    /// Connections that ended and were not to.
    pub dead: AtomicU64,
    /// Connections that read nothing, and ended.
    pub stuck_closed: AtomicU64,
}

/// What the workers of a run share.
#[derive(Debug)]
pub struct Shared {
    phase: AtomicU8,
    /// Messages each second, all together, as the bits of an `f64`; 0 where windows say when.
    rate: AtomicU64,
    began: Instant,
    /// What went wrong first.
    pub trouble: Mutex<Option<String>>,
}

impl Phase {
    pub(crate) fn next(self) -> Phase {
        match self {
            Phase::Connect => Phase::WarmUp,
            Phase::WarmUp => Phase::Measure,
            Phase::Measure => Phase::Relief,
            Phase::Relief => Phase::Drain,
            Phase::Drain | Phase::Stop => Phase::Stop,
        }
    }
}

impl Shared {
    /// A run that begins now.
    #[allow(clippy::disallowed_methods)] // A load tool measures real time; this is the one place that reads it.
    pub fn new() -> Shared {
        let phase = AtomicU8::new(Phase::Connect as u8);
        Shared { phase, rate: AtomicU64::new(0), began: Instant::now(), trouble: Mutex::new(None) }
    }

    /// Nanoseconds since the run began.
    pub fn now_ns(&self) -> u64 {
        self.began.elapsed().as_nanos() as u64
    }

    /// Goes on to another phase.
    pub fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::SeqCst);
    }

    /// How much is published each second from the next phase on; `None` where windows say when.
    pub fn set_rate(&self, rate: Option<f64>) {
        self.rate.store(rate.unwrap_or(0.0).to_bits(), Ordering::SeqCst);
    }

    pub(crate) fn rate(&self) -> f64 {
        f64::from_bits(self.rate.load(Ordering::SeqCst))
    }

    pub(crate) fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Relaxed) {
            0 => Phase::Connect,
            1 => Phase::WarmUp,
            2 => Phase::Measure,
            3 => Phase::Relief,
            4 => Phase::Drain,
            _ => Phase::Stop,
        }
    }

    pub(crate) fn note(&self, trouble: impl FnOnce() -> String) {
        let mut first = self.trouble.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        first.get_or_insert_with(trouble);
    }
}

impl Default for Shared {
    fn default() -> Shared {
        Shared::new()
    }
}
