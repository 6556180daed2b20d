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

/// How far ahead a link is looked at again. An entry stays until its tick even when an earlier one takes its place, so this bounds
/// how many a link leaves behind that is woken often.
const HORIZON_MS: u64 = 30_000;

#[derive(Default)]
pub(crate) struct Timers {
    buckets: Mutex<Buckets>,
}

type Buckets = BTreeMap<u64, Vec<Weak<Link>>>;

impl Timers {
    /// Wakes the link's task with [`Event::Timer`] at a time, or up to a tick later; `u64::MAX` for never. Replaces what was set
    /// before.
    pub(crate) fn set(&self, link: &Arc<Link>, at_ms: u64, now_ms: u64) {
        link.set_deadline(at_ms);
        let look_ms = at_ms.min(now_ms.saturating_add(HORIZON_MS));
        if at_ms != u64::MAX && look_ms < link.scheduled() {
            Self::insert(&mut self.buckets.lock(), link, look_ms);
        }
    }

    /// Where a link is scheduled changes under the lock only, so that a deadline set during a tick is not lost.
    fn insert(buckets: &mut Buckets, link: &Arc<Link>, at_ms: u64) {
        if at_ms < link.scheduled() {
            link.set_scheduled(at_ms);
            buckets.entry(at_ms.div_ceil(TICK_MS)).or_default().push(Arc::downgrade(link));
        }
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
                let mut buckets = self.buckets.lock();
                if link.scheduled().div_ceil(TICK_MS) != bucket {
                    continue; // An earlier entry took its place.
                }
                link.set_scheduled(u64::MAX);
                let deadline = link.deadline();
                if deadline <= now_ms {
                    drop(buckets);
                    // The task sets the next one when it has been woken.
                    link.push(Event::Timer);
                } else if deadline != u64::MAX {
                    Self::insert(&mut buckets, &link, deadline.min(now_ms + HORIZON_MS));
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
        timers.set(&link, 1_000, 0);
        timers.tick(999);
        assert_eq!(woken(&link), 0);
        timers.tick(1_000);
        timers.tick(2_000);
        assert_eq!(woken(&link), 1);
    }

    #[test]
    fn a_deadline_that_moved_later_is_met_at_its_new_time() {
        let (timers, link) = (Timers::default(), link());
        timers.set(&link, 1_000, 0);
        timers.set(&link, 3_000, 0);
        timers.tick(1_000);
        assert_eq!(woken(&link), 0);
        timers.tick(3_000);
        assert_eq!(woken(&link), 1);
    }

    #[test]
    fn a_deadline_that_moved_earlier_is_met_at_its_new_time_only() {
        let (timers, link) = (Timers::default(), link());
        timers.set(&link, 3_000, 0);
        timers.set(&link, 1_000, 0);
        timers.tick(1_000);
        timers.tick(3_000);
        assert_eq!(woken(&link), 1);
    }

    #[test]
    fn who_is_woken_often_leaves_few_entries() {
        let (timers, link) = (Timers::default(), link());
        let far = 10 * HORIZON_MS;
        for at_ms in (TICK_MS..far).step_by(TICK_MS as usize) {
            timers.set(&link, at_ms, at_ms - TICK_MS);
            timers.tick(at_ms);
            assert_eq!(woken(&link), 1);
            timers.set(&link, at_ms + far, at_ms);
        }
        let entries: usize = timers.buckets.lock().values().map(Vec::len).sum();
        assert!(entries as u64 <= 2 + HORIZON_MS / TICK_MS, "{entries}");
    }

    #[test]
    fn who_is_gone_costs_nothing_after_its_tick() {
        let timers = Timers::default();
        timers.set(&link(), 1_000, 0);
        timers.tick(1_000);
        assert!(timers.buckets.lock().is_empty());
    }
}
