//! How fast one connection is told: so many updates in any second, and not one more.

use chasqui_proto::limits::{PRESENCE_INTERVAL_MS, PRESENCE_PER_SECOND};
use std::collections::VecDeque;

/// The updates of the last second, by when they were sent.
#[derive(Default)]
pub(super) struct Pace(VecDeque<u64>);

impl Pace {
    /// When there is room for another update: now, or later.
    pub(super) fn free_at(&mut self, now_ms: u64) -> u64 {
        // A time to come is one from before the clock was set back.
        while self.0.front().is_some_and(|at_ms| now_ms.abs_diff(*at_ms) >= PRESENCE_INTERVAL_MS) {
            self.0.pop_front();
        }
        match self.0.front() {
            Some(oldest) if self.0.len() >= PRESENCE_PER_SECOND => oldest + PRESENCE_INTERVAL_MS,
            _ => now_ms,
        }
    }

    /// An update is sent.
    pub(super) fn note(&mut self, now_ms: u64) {
        self.0.push_back(now_ms);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_second_has_more_and_none_that_has_less_waits(pauses in prop::collection::vec(0u64..60, 0..600)) {
            let (mut pace, mut now_ms, mut sent) = (Pace::default(), 0, Vec::new());
            for pause in pauses {
                now_ms += pause;
                let lately = |sent: &[u64]| sent.iter().filter(|at_ms| now_ms - **at_ms < 1_000).count();
                let free = pace.free_at(now_ms) <= now_ms;
                prop_assert_eq!(free, lately(&sent) < PRESENCE_PER_SECOND);
                if free {
                    pace.note(now_ms);
                    sent.push(now_ms);
                }
                prop_assert!(lately(&sent) <= PRESENCE_PER_SECOND);
            }
        }
    }

    #[test]
    fn a_clock_set_back_stops_nobody() {
        let mut pace = Pace::default();
        (0..PRESENCE_PER_SECOND).for_each(|_| pace.note(1_000_000));
        assert_eq!(pace.free_at(1_000_400), 1_001_000);
        assert_eq!(pace.free_at(5_000), 5_000);
    }
}
