//! Promises about receipts: they only grow, and say what is so.

use super::check::{Findings, Promise};
use super::facts::Facts;
use super::{Conversation, Device, Event};
use std::collections::{HashMap, HashSet};

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
            _ => {}
        }
    }
}
