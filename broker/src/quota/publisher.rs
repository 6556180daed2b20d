//! What the publishes of a connection are held to: rates of its own, and rates that it shares with others of its owner and its address.
//!
//! A publish that is owed for keeps its publisher waiting until it is paid, and nobody else: who shares the rate and publishes nothing is
//! read as ever, and who does comes after it.

use super::rate::{PublishRates, Used};
use parking_lot::{Mutex, MutexGuard};
use smallvec::SmallVec;
use std::sync::Arc;

/// Rates that several connections use up together.
#[derive(Debug)]
pub(crate) struct SharedRates {
    rates: PublishRates,
    used: Mutex<Used>,
}

impl SharedRates {
    pub(crate) fn new(rates: PublishRates) -> SharedRates {
        SharedRates { rates, used: Mutex::default() }
    }

    /// Whether nothing is used at present.
    pub(crate) fn is_full(&self, now_ms: u64) -> bool {
        self.used.lock().is_full(now_ms)
    }
}

/// One connection.
#[derive(Debug, Default)]
pub(crate) struct Publisher {
    rates: PublishRates,
    used: Used,
    /// Those of its listener, its address, and its owner, as in every other connection: in this order they are locked.
    shared: SmallVec<[Arc<SharedRates>; 1]>,
    /// When what it has published is paid for.
    ready_ms: u64,
    /// Until when the application has it wait, Unix milliseconds.
    held_ms: u64,
}

impl Publisher {
    /// Held to these rates of its own, and to those that it shares: with its listener, its address, and its owner, in this order.
    pub(crate) fn new(rates: PublishRates, shared: impl IntoIterator<Item = Arc<SharedRates>>) -> Publisher {
        Publisher {
            rates,
            used: Used::default(),
            shared: shared.into_iter().collect(),
            ..Publisher::default()
        }
    }

    /// Whether it is held to anything.
    pub(crate) fn is_limited(&self) -> bool {
        self.rates.is_limited() || !self.shared.is_empty()
    }

    /// Takes a message of so many bytes; false, and nothing is taken, where it would have to be waited for longer than `most_ms`.
    pub(crate) fn take(&mut self, bytes: usize, now_ms: u64, most_ms: u64) -> bool {
        let Some(own) = self.used.with(self.rates, bytes, now_ms, most_ms) else { return false };
        let mut taken: SmallVec<[(MutexGuard<'_, Used>, Used); 2]> = SmallVec::new();
        for shared in &self.shared {
            let used = shared.used.lock();
            let Some(more) = used.with(shared.rates, bytes, now_ms, most_ms) else { return false };
            taken.push((used, more));
        }
        self.used = own;
        self.ready_ms = own.ready_ms(self.rates);
        for (shared, (mut used, more)) in self.shared.iter().zip(taken) {
            *used = more;
            self.ready_ms = self.ready_ms.max(more.ready_ms(shared.rates));
        }
        true
    }

    /// It is not to go on before this time, in Unix milliseconds.
    pub(crate) fn hold(&mut self, until_ms: u64) {
        self.held_ms = self.held_ms.max(until_ms);
    }

    /// When it may go on, Unix milliseconds.
    pub(crate) fn ready_ms(&self) -> u64 {
        self.ready_ms.max(self.held_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Rate;
    use super::*;

    fn shared(per_second: u32) -> Arc<SharedRates> {
        let rates = PublishRates { messages: Rate::per_second(per_second), ..PublishRates::UNLIMITED };
        Arc::new(SharedRates::new(rates))
    }

    #[test]
    fn what_is_shared_is_used_up_together() {
        let (address, owner) = (shared(10), shared(2));
        let publisher = |owner: &Arc<SharedRates>| {
            Publisher::new(PublishRates::UNLIMITED, [Arc::clone(&address), Arc::clone(owner)])
        };
        let (mut one, mut two, mut other) = (publisher(&owner), publisher(&owner), publisher(&shared(2)));
        assert!(one.take(1, 1_000, 0) && two.take(1, 1_000, 0));
        assert!(!one.take(1, 1_000, 0) && !two.take(1, 1_000, 0));
        assert!(other.take(1, 1_000, 0));
        assert!(two.take(1, 1_000, 500));
        assert_eq!(two.ready_ms(), 1_500);
        assert!(one.ready_ms() <= 1_000, "it has nothing to wait for");
        assert!(!one.take(1, 1_000, 500) && one.take(1, 1_000, 1_000));
        assert_eq!((one.ready_ms(), two.ready_ms()), (2_000, 1_500), "one after the other");
        assert!(other.ready_ms() <= 1_000, "the address has not used up what it has");
    }

    #[test]
    fn what_one_of_them_refuses_none_has_taken() {
        let (address, owner) = (shared(10), shared(1));
        let mut publisher = Publisher::new(PublishRates::UNLIMITED, [Arc::clone(&address), owner]);
        let taken = (0..100).filter(|_| publisher.take(1, 1_000, 0)).count();
        assert_eq!(taken, 1);
        let mut neighbour = Publisher::new(PublishRates::UNLIMITED, [address]);
        assert_eq!((0..100).filter(|_| neighbour.take(1, 1_000, 0)).count(), 9);
    }
}
