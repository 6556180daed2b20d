//! The names under `$SYS`, and what stands there.
//!
//! `$SYS/broker/` has the names of mosquitto 2.0, letter for letter, because dashboards look for them. `$SYS/chasqui/` has every counter of
//! [`Stats`] under its own name.

use super::load::{Load, SPANS};
use crate::stats::Stats;
use crate::store::{Held, RetainedTotals};

/// What there is to say, at one moment.
pub(crate) struct Reading<'a> {
    pub(crate) stats: &'a Stats,
    /// Sessions that are connected, or offline and in the index.
    pub(crate) sessions: u64,
    /// Those of them that are connected.
    pub(crate) connected: u64,
    /// Subscriptions in the index.
    pub(crate) subscriptions: u64,
    /// Shared ones among them.
    pub(crate) shared_subscriptions: u64,
    /// What is retained.
    pub(crate) retained: RetainedTotals,
    /// What the store holds.
    pub(crate) held: Held,
}

/// A counter as `$SYS` shows it.
type Count = fn(&Stats) -> u64;

/// Counters by mosquitto's names, below `$SYS/broker/`.
const COUNTERS: [(&str, Count); 10] = [
    ("clients/expired", |stats| stats.sessions_expired.get()),
    ("messages/received", |stats| stats.packets_received.get()),
    ("messages/sent", |stats| stats.packets_sent.get()),
    ("bytes/received", |stats| stats.bytes_received.get()),
    ("bytes/sent", |stats| stats.bytes_sent.get()),
    ("publish/messages/received", |stats| stats.publishes_received.get()),
    ("publish/messages/sent", |stats| stats.publishes_sent.get()),
    ("publish/messages/dropped", Stats::dropped),
    ("publish/bytes/received", |stats| stats.publish_bytes_received.get()),
    ("publish/bytes/sent", |stats| stats.publish_bytes_sent.get()),
];

/// What has load averages, below `$SYS/broker/load/`.
const LOADS: [(&str, Count); 9] = [
    ("messages/received", |stats| stats.packets_received.get()),
    ("messages/sent", |stats| stats.packets_sent.get()),
    ("publish/received", |stats| stats.publishes_received.get()),
    ("publish/sent", |stats| stats.publishes_sent.get()),
    ("publish/dropped", Stats::dropped),
    ("bytes/received", |stats| stats.bytes_received.get()),
    ("bytes/sent", |stats| stats.bytes_sent.get()),
    ("sockets", |stats| stats.connections_accepted.get()),
    ("connections", |stats| stats.connects_received.get()),
];

/// What the values of one moment take from those before.
#[derive(Debug, Default)]
pub(super) struct Tree {
    loads: [Load; LOADS.len()],
    most_sessions: u64,
}

impl Tree {
    /// All topics with their values, this long after the last time and after the start.
    pub(super) fn values(
        &mut self,
        reading: &Reading<'_>,
        elapsed_s: f64,
        uptime_s: u64,
    ) -> Vec<(String, String)> {
        let mut values = Vec::with_capacity(128);
        let mut say = |name: &str, value: String| values.push((format!("$SYS/broker/{name}"), value));
        say("version", concat!("chasqui version ", env!("CARGO_PKG_VERSION")).to_owned());
        self.most_sessions = self.most_sessions.max(reading.sessions);
        let offline = reading.sessions.saturating_sub(reading.connected);
        for (name, count) in [
            ("clients/total", reading.sessions),
            ("clients/maximum", self.most_sessions),
            ("clients/connected", reading.connected),
            ("clients/active", reading.connected),
            ("clients/disconnected", offline),
            ("clients/inactive", offline),
            ("subscriptions/count", reading.subscriptions),
            ("shared_subscriptions/count", reading.shared_subscriptions),
        ] {
            say(name, count.to_string());
        }
        say("retained messages/count", reading.retained.messages.to_string());
        let Held { stored, stored_bytes } = reading.held;
        for (name, count) in [
            ("messages/stored", stored),
            ("store/messages/count", stored),
            ("store/messages/bytes", stored_bytes),
        ] {
            if let Some(count) = count {
                say(name, count.to_string());
            }
        }
        for (name, count) in COUNTERS {
            say(name, count(reading.stats).to_string());
        }
        for ((name, count), load) in LOADS.iter().zip(&mut self.loads) {
            let averages = load.pass(count(reading.stats), elapsed_s);
            for ((span, _), average) in SPANS.iter().zip(averages) {
                say(&format!("load/{name}/{span}"), format!("{average:.2}"));
            }
        }
        let retained_bytes = ("retained_bytes", reading.retained.bytes);
        let own = reading.stats.all().into_iter().chain([retained_bytes]);
        values.extend(own.map(|(name, count)| (format!("$SYS/chasqui/{name}"), count.to_string())));
        // The last one, and different each time: who sees it has seen all the others.
        values.push(("$SYS/broker/uptime".to_owned(), format!("{uptime_s} seconds")));
        values
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn reading(stats: &Stats) -> Reading<'_> {
        Reading {
            stats,
            sessions: 5,
            connected: 2,
            subscriptions: 7,
            shared_subscriptions: 0,
            retained: RetainedTotals { messages: 3, bytes: 400 },
            held: Held { stored: Some(9), stored_bytes: Some(900) },
        }
    }

    /// What a mosquitto 2.0 publishes without memory tracking and bridges.
    const MOSQUITTO: &str = "bytes/received bytes/sent clients/active clients/connected clients/disconnected
        clients/expired clients/inactive clients/maximum clients/total messages/received messages/sent messages/stored
        publish/bytes/received publish/bytes/sent publish/messages/dropped publish/messages/received publish/messages/sent
        retained_messages/count shared_subscriptions/count store/messages/bytes store/messages/count subscriptions/count
        uptime version";

    #[test]
    fn every_name_of_mosquitto_is_there_once() {
        let stats = Stats::default();
        let values = Tree::default().values(&reading(&stats), 0.0, 0);
        let by_topic: BTreeMap<_, _> = values.iter().cloned().collect();
        assert_eq!(by_topic.len(), values.len());
        let mut names: Vec<String> =
            MOSQUITTO.split_whitespace().map(|name| name.replace("retained_", "retained ")).collect();
        for load in [
            "messages/received",
            "messages/sent",
            "publish/dropped",
            "publish/received",
            "publish/sent",
            "bytes/received",
            "bytes/sent",
            "sockets",
            "connections",
        ] {
            names.extend(["1min", "5min", "15min"].map(|span| format!("load/{load}/{span}")));
        }
        for name in names {
            assert!(by_topic.contains_key(&format!("$SYS/broker/{name}")), "{name}");
        }
        for (name, _) in stats.all() {
            assert!(by_topic.contains_key(&format!("$SYS/chasqui/{name}")), "{name}");
        }
    }

    #[test]
    fn the_most_sessions_are_remembered() {
        let stats = Stats::default();
        let mut tree = Tree::default();
        let most = |tree: &mut Tree, sessions| {
            let values = tree.values(&Reading { sessions, ..reading(&stats) }, 1.0, 1);
            let found = values.into_iter().find(|(topic, _)| topic == "$SYS/broker/clients/maximum");
            found.expect("it is there").1
        };
        assert_eq!([5, 9, 4].map(|sessions| most(&mut tree, sessions)), ["5", "9", "9"]);
    }

    #[test]
    fn what_the_store_does_not_know_is_not_said() {
        let stats = Stats::default();
        let values = Tree::default().values(&Reading { held: Held::default(), ..reading(&stats) }, 1.0, 1);
        let unknown = ["$SYS/broker/store", "$SYS/broker/messages/stored"];
        assert!(values.iter().all(|(topic, _)| unknown.iter().all(|prefix| !topic.starts_with(prefix))));
    }
}
