//! Connections that nobody knows yet: accepted, and their CONNECT not there.
//!
//! There are at most so many. One more is let in and the oldest has to go, so that whoever says nothing locks nobody out: an honest
//! client is done long before it is the oldest. Each has one deadline, from accept to CONNECT, whatever handshakes lie between.

use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

/// All of a broker. Costs an entry for each connection until its CONNECT is there.
#[derive(Debug)]
pub(crate) struct UnderWay {
    most: usize,
    waiting: Mutex<Waiting>,
}

/// By the order in which they came.
#[derive(Debug, Default)]
struct Waiting {
    next: u64,
    entries: BTreeMap<u64, oneshot::Sender<()>>,
}

/// One of them, until this is dropped.
#[derive(Debug)]
pub(crate) struct Newcomer {
    all: Arc<UnderWay>,
    number: u64,
    told: oneshot::Receiver<()>,
    deadline: Instant,
}

/// Why a connection was given up before anybody knew it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GivenUp {
    /// Its time was up.
    Late,
    /// It had to make place, or the broker stops.
    Unwanted,
}

impl UnderWay {
    pub(crate) fn new(most: usize) -> Arc<UnderWay> {
        Arc::new(UnderWay { most: most.max(1), waiting: Mutex::default() })
    }

    /// One more, which has so much time. Where there were as many as may be, the oldest is told to go, and the second answer says so.
    pub(crate) fn enter(self: &Arc<Self>, time: Duration) -> (Newcomer, bool) {
        let (tell, told) = oneshot::channel();
        let (number, oldest) = {
            let mut waiting = self.waiting.lock();
            let number = waiting.next;
            waiting.next += 1;
            waiting.entries.insert(number, tell);
            let oldest = (waiting.entries.len() > self.most).then(|| waiting.entries.pop_first());
            (number, oldest.flatten())
        };
        // It may just have become known; then it stays.
        let displaced = oldest.is_some_and(|(_, tell)| tell.send(()).is_ok());
        let deadline = Instant::now() + time;
        (Newcomer { all: Arc::clone(self), number, told, deadline }, displaced)
    }

    /// Tells the oldest to go, so that there is a place; whether there was one.
    pub(crate) fn make_place(&self) -> bool {
        let oldest = self.waiting.lock().entries.pop_first();
        oldest.is_some_and(|(_, tell)| tell.send(()).is_ok())
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.waiting.lock().entries.len()
    }
}

impl Newcomer {
    /// Waits for a part of its handshake, as long as it may.
    pub(crate) async fn wait_for<T>(
        &mut self,
        stopping: &mut watch::Receiver<bool>,
        part: impl Future<Output = T>,
    ) -> Result<T, GivenUp> {
        tokio::select! {
            // In this order, not in one of chance: who is done is not told to go.
            biased;
            done = tokio::time::timeout_at(self.deadline, part) => done.map_err(|_| GivenUp::Late),
            _ = &mut self.told => Err(GivenUp::Unwanted),
            _ = stopping.wait_for(|stopping| *stopping) => Err(GivenUp::Unwanted),
        }
    }
}

impl Drop for Newcomer {
    fn drop(&mut self) {
        self.all.waiting.lock().entries.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_hours(1);

    fn told(newcomer: &mut Newcomer) -> bool {
        newcomer.told.try_recv().is_ok()
    }

    #[test]
    fn the_oldest_makes_place_and_nobody_else() {
        let all = UnderWay::new(2);
        let mut newcomers: Vec<Newcomer> = (0..5).map(|_| all.enter(LONG).0).collect();
        let told: Vec<bool> = newcomers.iter_mut().map(told).collect();
        assert_eq!((told, all.len()), (vec![true, true, true, false, false], 2));
    }

    #[test]
    fn who_is_known_counts_no_more() {
        let all = UnderWay::new(2);
        let mut silent = all.enter(LONG).0;
        for _ in 0..10 {
            drop(all.enter(LONG));
        }
        assert!(!told(&mut silent));
        assert_eq!(all.len(), 1);
    }

    #[test]
    fn a_place_is_made_where_somebody_is_left() {
        let all = UnderWay::new(10);
        assert!(!all.make_place());
        let (mut first, mut second) = (all.enter(LONG).0, all.enter(LONG).0);
        assert!(all.make_place());
        assert!(told(&mut first) && !told(&mut second));
        assert_eq!(all.len(), 1);
    }
}
