//! What the tool knows of Chasqui's presence: the topics of whom one watches, and what is shown there.

use chasqui_proto::v1;
use prost::Message as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// When users began to connect last, by their number: said by those who come, looked at by those who watch.
#[derive(Debug)]
pub struct Arrivals(Vec<AtomicU64>);

impl Arrivals {
    /// Of so many users, none of whom has come.
    pub fn new(users: u32) -> Arc<Arrivals> {
        Arc::new(Arrivals((0..users).map(|_| AtomicU64::new(0)).collect()))
    }

    /// A user begins to connect, so many nanoseconds after the run began.
    pub fn comes(&self, number: u32, now_ns: u64) {
        if let Some(at_ns) = self.0.get(number as usize) {
            at_ns.store(now_ns, Ordering::Relaxed);
        }
    }

    /// When a user did, if ever.
    pub fn when(&self, number: u32) -> Option<u64> {
        let at_ns = self.0.get(number as usize)?.load(Ordering::Relaxed);
        (at_ns > 0).then_some(at_ns)
    }
}

/// Whom somebody watches.
#[derive(Debug, Clone)]
pub struct Watches {
    /// What names of users begin with, before their number.
    pub prefix: String,
    /// Their numbers.
    pub contacts: Vec<u32>,
    /// When they came.
    pub arrivals: Arc<Arrivals>,
}

impl Watches {
    /// The filters of a user who watches them.
    pub(crate) fn filters(&self, user: &str) -> Vec<String> {
        self.contacts.iter().map(|number| format!("u/{user}/presence/{}{number}", self.prefix)).collect()
    }

    /// The number of the user whose presence a topic is.
    pub(crate) fn number(&self, topic: &[u8]) -> Option<u32> {
        let contact = std::str::from_utf8(topic).ok()?.rsplit('/').next()?;
        contact.strip_prefix(self.prefix.as_str())?.parse().ok()
    }
}

/// Whether somebody is shown as there.
pub(crate) fn is_online(payload: &[u8]) -> bool {
    v1::Presence::decode(payload).is_ok_and(|presence| presence.online)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_and_values_are_those_of_the_contract() {
        let watches =
            Watches { prefix: "bench-7-".to_owned(), contacts: vec![3, 40], arrivals: Arrivals::new(41) };
        let filters = watches.filters("alice");
        assert_eq!(filters, ["u/alice/presence/bench-7-3", "u/alice/presence/bench-7-40"]);
        assert_eq!(watches.number(filters[1].as_bytes()), Some(40));
        assert_eq!(watches.number(b"u/alice/presence/bob"), None);
        let online = v1::Presence { online: true, ..v1::Presence::default() }.encode_to_vec();
        let gone = v1::Presence { last_seen_ms: 7, ..v1::Presence::default() }.encode_to_vec();
        assert_eq!([&online[..], &gone, b"", b"\xff"].map(is_online), [true, false, false, false]);
        watches.arrivals.comes(40, 9);
        assert_eq!([3, 40, 41].map(|number| watches.arrivals.when(number)), [None, Some(9), None]);
    }
}
