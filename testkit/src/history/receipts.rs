//! Promises about receipts: they only grow, say what is so, and in the end say all of it.

use super::check::{Findings, Promise};
use super::facts::Facts;
use super::{Conversation, Device, Event};
use std::collections::{BTreeSet, HashMap, HashSet};

/// How far the devices of one user are in one conversation.
#[derive(Default)]
struct Reached {
    confirmed: HashSet<u64>,
    /// Everything up to here is on some device, or is their own.
    delivered: u64,
    /// They said that they have read up to here.
    read: u64,
}

pub(super) fn check(events: &[Event], facts: &Facts<'_>, findings: &mut Findings) {
    let mut entries: HashMap<(&Device, u64), (&Conversation, u64)> = HashMap::new();
    let mut reached: HashMap<(&str, &Conversation), Reached> = HashMap::new();
    let mut last: HashMap<(&Device, &Conversation), (u64, u64)> = HashMap::new();
    let mut subscribed: BTreeSet<&Device> = BTreeSet::new();
    for event in events {
        match event {
            Event::Delivered { device, position, conversation, seq, .. } => {
                entries.insert((device, *position), (conversation, *seq));
            }
            Event::Confirmed { device, position } => {
                if let Some((conversation, seq)) = entries.get(&(device, *position)) {
                    reached.entry((&device.user, conversation)).or_default().confirmed.insert(*seq);
                }
            }
            Event::SaidRead { device, conversation, up_to } => {
                let theirs = reached.entry((&device.user, conversation)).or_default();
                theirs.read = theirs.read.max(*up_to);
            }
            Event::Receipt { device, conversation, delivered, read } => {
                let before = last.entry((device, conversation)).or_default();
                if *delivered < before.0 || *read < before.1 {
                    let what = format!(
                        "{device} was told of {conversation}: delivered {delivered}, read {read}, after delivered {}, read {}",
                        before.0, before.1
                    );
                    findings.broken(Promise::ReceiptsOnlyGrow, what);
                }
                *before = (before.0.max(*delivered), before.1.max(*read));

                let peer = conversation.peer_of(&device.user);
                let theirs = reached.entry((peer, conversation)).or_default();
                let is_theirs =
                    |seq| facts.sender(conversation, seq).is_some_and(|sender| *sender.user == *peer);
                while theirs.confirmed.contains(&(theirs.delivered + 1)) || is_theirs(theirs.delivered + 1) {
                    theirs.delivered += 1;
                }
                if *delivered > theirs.delivered {
                    let what = format!(
                        "{device} was told that {peer} has {conversation} up to {delivered}, when no device of theirs had acknowledged number {}",
                        theirs.delivered + 1
                    );
                    findings.broken(Promise::ReceiptsAreTrue, what);
                }
                if *read > theirs.read {
                    let what = format!(
                        "{device} was told that {peer} has read {conversation} up to {read}, when they had said {}",
                        theirs.read
                    );
                    findings.broken(Promise::ReceiptsAreTrue, what);
                }
            }
            Event::Subscribed { device } => {
                subscribed.insert(device);
            }
            Event::Rested => {
                for device in &subscribed {
                    check_complete(device, facts, &reached, &last, findings);
                }
            }
            _ => {}
        }
    }
}

/// A device must have been told of each of its user's conversations how far the other side is.
fn check_complete(
    device: &Device,
    facts: &Facts<'_>,
    reached: &HashMap<(&str, &Conversation), Reached>,
    last: &HashMap<(&Device, &Conversation), (u64, u64)>,
    findings: &mut Findings,
) {
    for (conversation, found) in facts.found.iter().filter(|(named, _)| named.has(&device.user)) {
        let own = |(seq, _): &&(u64, _)| {
            facts.sender(conversation, *seq).is_some_and(|sender| *sender.user == *device.user)
        };
        let newest = found.iter().filter(own).map(|(seq, _)| *seq).max().unwrap_or(0);
        let theirs = reached.get(&(conversation.peer_of(&device.user), *conversation));
        // Where they have no device that reads, nothing was delivered.
        let delivered = theirs.filter(|theirs| theirs.confirmed.contains(&newest)).map_or(0, |_| newest);
        let read = theirs.map_or(0, |theirs| theirs.read);
        let told = last.get(&(device, *conversation)).copied().unwrap_or_default();
        if told.0 < delivered || told.1 < read {
            let what = format!(
                "{device} was told of {conversation}: delivered {}, read {}; that was to become {delivered} and {read}",
                told.0, told.1
            );
            findings.broken(Promise::ReceiptsBecomeComplete, what);
        }
    }
}
