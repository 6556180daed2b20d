//! Promises about plain topics: what was acknowledged reaches who reads them, in order, and the last value stays.
//!
//! A message may come more than once: its publisher may have had to send it again.

use super::check::{Findings, Promise};
use super::{Device, Event, MessageId};
use std::collections::{BTreeMap, HashMap, HashSet};

/// What was published on one topic, by its one publisher.
#[derive(Default)]
struct Topic<'a> {
    /// In the order in which each was first written.
    published: Vec<(&'a MessageId, bool)>,
    /// The place of each in that order.
    places: HashMap<&'a MessageId, usize>,
    acknowledged: HashSet<&'a MessageId>,
    retained: Option<&'a MessageId>,
}

/// What one reader had of one topic.
#[derive(Default)]
struct Had<'a> {
    all: HashSet<&'a MessageId>,
    /// The place of the last that came for the first time.
    furthest: usize,
}

pub(super) fn check(events: &[Event], findings: &mut Findings) {
    let mut topics: BTreeMap<&str, Topic<'_>> = BTreeMap::new();
    let mut topic_of: HashMap<&MessageId, &str> = HashMap::new();
    let mut followers: BTreeMap<&Device, BTreeMap<&str, Had<'_>>> = BTreeMap::new();
    let mut at_rest = false;
    for event in events {
        match event {
            Event::Follows { device } => {
                followers.entry(device).or_default();
            }
            Event::Published { topic, id, retain, .. } => {
                topic_of.insert(id, topic);
                let topic = topics.entry(topic).or_default();
                let next = topic.published.len();
                if *topic.places.entry(id).or_insert(next) == next {
                    topic.published.push((id, *retain));
                }
            }
            Event::PublishAcknowledged { id, .. } => {
                if let Some(topic) = topic_of.get(id).and_then(|topic| topics.get_mut(topic)) {
                    topic.acknowledged.insert(id);
                }
            }
            Event::Received { device, topic: name, id, .. } => {
                let place = topics.get(&**name).and_then(|topic| topic.places.get(id)).copied();
                let Some(place) = place else {
                    let what = format!("{device} got {id} on {name}, which nobody had published there");
                    findings.broken(Promise::NothingIsInvented, what);
                    continue;
                };
                let had = followers.entry(device).or_default().entry(name).or_default();
                if had.all.insert(id) {
                    if place < had.furthest {
                        let what = format!(
                            "{device} got {id} on {name} for the first time, behind what was published after it"
                        );
                        findings.broken(Promise::PublishedComesInOrder, what);
                    }
                    had.furthest = had.furthest.max(place);
                }
            }
            Event::Retained { topic, id } => topics.entry(topic).or_default().retained = Some(id),
            Event::Rested => at_rest = true,
            _ => {}
        }
    }
    for (name, topic) in &topics {
        for (device, had) in &followers {
            let has = |id: &MessageId| had.get(name).is_some_and(|had| had.all.contains(id));
            let mut missing =
                topic.published.iter().filter(|(id, _)| topic.acknowledged.contains(id) && !has(id));
            if let Some((id, _)) = missing.next() {
                let more = missing.count();
                let what = format!("{device} never got {id} on {name}, and {more} others there");
                findings.broken(Promise::PublishedReachesEveryFollower, what);
            }
        }
        if at_rest {
            check_retained(name, topic, findings);
        }
    }
}

fn check_retained(name: &str, topic: &Topic<'_>, findings: &mut Findings) {
    let last = topic.published.iter().rev().find(|(_, retain)| *retain).map(|(id, _)| *id);
    if topic.retained != last {
        let what = format!("{name} retains {}, and not {}", named(topic.retained), named(last));
        findings.broken(Promise::NewestIsRetained, what);
    }
}

fn named(id: Option<&MessageId>) -> &str {
    id.map_or("nothing", |id| &**id)
}
