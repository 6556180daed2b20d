//! `$SYS`: what the broker says about itself, at an interval, to operators.
//!
//! A value that has changed is published with QoS 0; all of them are kept here, so that a new subscription gets them at once, like any
//! retained message. They are in memory only: an interval costs no write to the store, and a restart begins anew.
//!
//! What is published with RETAIN under `$SYS/` stays here, whoever of the server publishes it; clients cannot.

mod load;
mod tree;

use crate::codec::{ByteStr, QoS};
use crate::message::{Identifiers, Message};
use crate::retained::{PageLimits, RamTopics, Resume, match_retained};
use crate::store::{RetainedPage, StoreError};
use parking_lot::{Mutex, RwLock};
use std::time::Duration;
pub(crate) use tree::Reading;
use tree::Tree;

/// See the module.
pub(crate) struct Sys {
    interval_ms: u64,
    board: RwLock<RamTopics<Message>>,
    pace: Mutex<Pace>,
}

struct Pace {
    tree: Tree,
    started_ms: u64,
    last_ms: u64,
}

impl Sys {
    /// Publishes at this interval; never, where it is zero.
    pub(crate) fn new(interval: Duration, now_ms: u64) -> Sys {
        Sys {
            interval_ms: interval.as_millis() as u64,
            board: RwLock::new(RamTopics::new(Message::weight)),
            pace: Mutex::new(Pace { tree: Tree::default(), started_ms: now_ms, last_ms: now_ms }),
        }
    }

    /// Whether it is time to look again.
    pub(crate) fn is_due(&self, now_ms: u64) -> bool {
        let last_ms = &mut self.pace.lock().last_ms;
        // A clock that was set back begins a new interval.
        *last_ms = now_ms.min(*last_ms);
        self.interval_ms > 0 && now_ms - *last_ms >= self.interval_ms
    }

    /// The values that are not what was published last.
    pub(crate) fn changed(&self, now_ms: u64, reading: &Reading<'_>) -> Vec<Message> {
        if self.interval_ms == 0 {
            return Vec::new();
        }
        let mut pace = self.pace.lock();
        let elapsed_s = load::as_f64(now_ms.saturating_sub(pace.last_ms)) / 1000.0;
        pace.last_ms = now_ms;
        let uptime_s = now_ms.saturating_sub(pace.started_ms) / 1000;
        let values = pace.tree.values(reading, elapsed_s, uptime_s);
        let board = self.board.read();
        let changed = values.into_iter().filter(|(topic, value)| {
            board.get(topic).is_none_or(|message| *message.payload != *value.as_bytes())
        });
        changed
            .filter_map(|(topic, value)| {
                Some(Message {
                    topic: ByteStr::try_from(topic).ok()?,
                    payload: value.into(),
                    qos: QoS::AtMostOnce,
                    retain: true,
                    properties: None,
                    received_ms: now_ms,
                    identifiers: Identifiers::new(),
                    share: None,
                })
            })
            .collect()
    }

    /// Keeps a message for those who subscribe later, or, empty, forgets what was kept.
    pub(crate) fn keep(&self, message: &Message) {
        let mut board = self.board.write();
        if message.payload.is_empty() {
            board.remove(&message.topic);
        } else {
            board.insert(&message.topic, message.clone());
        }
    }

    /// What is kept that matches a filter.
    pub(crate) fn retained(
        &self,
        filter: &str,
        resume: Option<&Resume>,
        max_items: usize,
    ) -> Result<RetainedPage, StoreError> {
        let limits = PageLimits { items: max_items, ..PageLimits::default() };
        let page = match_retained(&mut self.board.read().cursor(), filter, resume, limits)
            .map_err(|error| StoreError::new(error.to_string()))?;
        let messages = page.items.into_iter().map(|(_, message)| message).collect();
        Ok(RetainedPage { messages, resume: page.resume })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::Stats;
    use crate::store::{Held, RetainedTotals};

    fn reading(stats: &Stats) -> Reading<'_> {
        let (retained, held) = (RetainedTotals::default(), Held::default());
        Reading {
            stats,
            sessions: 0,
            connected: 0,
            subscriptions: 0,
            shared_subscriptions: 0,
            retained,
            held,
        }
    }

    fn topics(messages: &[Message]) -> Vec<&str> {
        messages.iter().map(|message| &*message.topic).collect()
    }

    #[test]
    fn only_what_changed_is_said_again() {
        let (sys, stats) = (Sys::new(Duration::from_secs(10), 5_000), Stats::default());
        let tell = |now_ms| {
            let changed = sys.changed(now_ms, &reading(&stats));
            for message in &changed {
                sys.keep(message);
            }
            changed
        };
        assert!(tell(5_000).len() > 60);
        assert_eq!(topics(&tell(15_000)), ["$SYS/broker/uptime"]);
        assert!(tell(15_000).is_empty());
        stats.take_overs.count();
        assert_eq!(topics(&tell(25_000)), ["$SYS/chasqui/take_overs", "$SYS/broker/uptime"]);
        let uptime = sys.retained("$SYS/broker/uptime", None, 10).unwrap().messages;
        assert_eq!(&uptime[0].payload[..], b"20 seconds");
    }

    #[test]
    fn an_interval_begins_anew_when_the_clock_is_set_back() {
        let (sys, stats) = (Sys::new(Duration::from_secs(10), 50_000), Stats::default());
        assert!(!sys.is_due(59_999));
        assert!(sys.is_due(60_000));
        sys.changed(60_000, &reading(&stats));
        assert!(!sys.is_due(20_000));
        assert!(!sys.is_due(29_999));
        assert!(sys.is_due(30_000));
    }

    #[test]
    fn without_an_interval_nothing_is_said() {
        let (sys, stats) = (Sys::new(Duration::ZERO, 0), Stats::default());
        assert!(!sys.is_due(u64::MAX));
        assert!(sys.changed(1_000_000, &reading(&stats)).is_empty());
    }
}
