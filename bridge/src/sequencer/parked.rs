//! Commands that wait for a record, and the later ones of the same order behind them. An order is an origin,
//! or stands for one command that asked for none.

use super::core::Work;
use crate::machine::Key;
use hashbrown::HashMap;
use std::collections::VecDeque;

type Map<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

/// What waits in one order.
pub(super) struct Waiting {
    /// The batch during which the first began to wait for records.
    pub(super) since: u64,
    /// The first waits for records, the others for it.
    pub(super) works: VecDeque<Work>,
}

/// What waits.
#[derive(Default)]
pub(super) struct Parked {
    orders: Map<u64, Waiting>,
    /// The records that are being fetched, and the orders whose first command waits for them.
    wanted: Map<Key, Vec<u64>>,
    items: usize,
    bytes: usize,
}

impl Parked {
    /// How many commands wait, and how many bytes they take.
    pub(super) fn load(&self) -> (usize, usize) {
        (self.items, self.bytes)
    }

    /// The batch during which the oldest began to wait for records, if any waits.
    pub(super) fn since(&self) -> Option<u64> {
        self.orders.values().map(|waiting| waiting.since).min()
    }

    /// Keeps `work` if others of its order wait already.
    pub(super) fn behind(&mut self, work: Work) -> Option<Work> {
        if self.orders.is_empty() {
            return Some(work);
        }
        match self.orders.get_mut(&work.order) {
            None => Some(work),
            Some(waiting) => {
                self.items += 1;
                self.bytes += work.bytes();
                waiting.works.push_back(work);
                None
            }
        }
    }

    /// Keeps `work` as the first of its order, before those in `behind`, until `missing` are at hand; answers
    /// which of these have to be fetched.
    pub(super) fn park(&mut self, work: Work, missing: Vec<Key>, mut behind: Waiting) -> Vec<Key> {
        let order = work.order;
        self.items += 1;
        self.bytes += work.bytes();
        behind.works.push_front(work);
        self.orders.insert(order, behind);
        missing.into_iter().filter(|key| self.want(key, order)).collect()
    }

    /// Whether the record was not being fetched yet.
    fn want(&mut self, key: &Key, order: u64) -> bool {
        match self.wanted.get_mut(key) {
            Some(orders) => {
                if !orders.contains(&order) {
                    orders.push(order);
                }
                false
            }
            None => self.wanted.insert(key.clone(), vec![order]).is_none(),
        }
    }

    /// A record was fetched: the orders to go on with, in the order they came to wait for it.
    pub(super) fn arrived(&mut self, key: &Key) -> Vec<u64> {
        self.wanted.remove(key).unwrap_or_default()
    }

    /// Takes all that waits in an order.
    pub(super) fn take(&mut self, order: u64) -> Option<Waiting> {
        self.orders.remove(&order)
    }

    /// Notes that `work` waits no more.
    pub(super) fn forget(&mut self, work: &Work) {
        self.items -= 1;
        self.bytes -= work.bytes();
    }

    /// Takes everything.
    pub(super) fn drain(&mut self) -> Vec<Work> {
        (self.items, self.bytes) = (0, 0);
        self.wanted.clear();
        self.orders.drain().flat_map(|(_, waiting)| waiting.works).collect()
    }
}
