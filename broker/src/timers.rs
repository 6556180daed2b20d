//! One clock hand for all connections: who wants to be woken, by the tick in which it is due.
//!
//! A connection costs an entry only while it has a deadline, and moving a deadline later costs nothing: when the old one passes, the
//! entry moves on to the new one.

use crate::link::{Event, Link};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

/// How exact deadlines are, milliseconds.
pub(crate) const TICK_MS: u64 = 50;

#[derive(Default)]
pub(crate) struct Timers {
    buckets: Mutex<BTreeMap<u64, Vec<Weak<Link>>>>,
}

impl Timers {
    /// Wakes the link's task with [`Event::Timer`] at a time, or up to a tick later. Replaces what was set before.
    pub(crate) fn set(&self, link: &Arc<Link>, at_ms: u64) {
        link.set_deadline(at_ms);
        if at_ms < link.scheduled() {
            self.insert(link, at_ms);
        }
    }

    fn insert(&self, link: &Arc<Link>, at_ms: u64) {
        link.set_scheduled(at_ms);
        let mut buckets = self.buckets.lock();
        buckets.entry(at_ms.div_ceil(TICK_MS)).or_default().push(Arc::downgrade(link));
    }

    /// Wakes what is due.
    pub(crate) fn tick(&self, now_ms: u64) {
        let due = {
            let mut buckets = self.buckets.lock();
            let later = buckets.split_off(&(now_ms / TICK_MS + 1));
            std::mem::replace(&mut *buckets, later)
        };
        for (bucket, links) in due {
            for link in links.iter().filter_map(Weak::upgrade) {
                let scheduled = link.scheduled();
                if scheduled.div_ceil(TICK_MS) != bucket {
                    continue; // An earlier entry took its place.
                }
                link.set_scheduled(u64::MAX);
                let deadline = link.deadline();
                if deadline <= now_ms {
                    link.set_deadline(u64::MAX);
                    link.push(Event::Timer);
                } else if deadline != u64::MAX {
                    self.insert(&link, deadline);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::Bounds;
    use crate::store::SessionKey;
    use std::task::Waker;

    fn link() -> Arc<Link> {
        let key = SessionKey { owner: Arc::from(""), client_id: Arc::from("c") };
        let link = Link::new(key, Bounds { items: 1, bytes: 1, tail_items: 1 });
        link.connect();
        link
    }

    fn woken(link: &Link) -> usize {
        let mut events = Vec::new();
        link.take(&mut events, Waker::noop());
        events.len()
    }

    #[test]
    fn a_deadline_wakes_once_and_not_before_its_time() {
        let (timers, link) = (Timers::default(), link());
        timers.set(&link, 1_000);
        timers.tick(999);
        assert_eq!(woken(&link), 0);
        timers.tick(1_000);
        timers.tick(2_000);
        assert_eq!(woken(&link), 1);
    }

    #[test]
    fn a_deadline_that_moved_later_is_met_at_its_new_time() {
        let (timers, link) = (Timers::default(), link());
        timers.set(&link, 1_000);
        timers.set(&link, 3_000);
        timers.tick(1_000);
        assert_eq!(woken(&link), 0);
        timers.tick(3_000);
        assert_eq!(woken(&link), 1);
    }

    #[test]
    fn a_deadline_that_moved_earlier_is_met_at_its_new_time_only() {
        let (timers, link) = (Timers::default(), link());
        timers.set(&link, 3_000);
        timers.set(&link, 1_000);
        timers.tick(1_000);
        timers.tick(3_000);
        assert_eq!(woken(&link), 1);
    }

    #[test]
    fn who_is_gone_costs_nothing_after_its_tick() {
        let timers = Timers::default();
        timers.set(&link(), 1_000);
        timers.tick(1_000);
        assert!(timers.buckets.lock().is_empty());
    }
}
