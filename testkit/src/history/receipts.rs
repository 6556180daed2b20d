//! Promises about receipts: they only grow, say what is so, and in the end say all of it.

use super::check::{Findings, Promise};
use super::facts::Facts;
use super::{Conversation, Device, Event};
use std::collections::{BTreeSet, HashMap, HashSet};

/// Whom the marks beside the members of a group speak of. No user is called so.
const ALL: &str = "*";

/// Who is told of a conversation, and how far whom: the other side, or a member.
type Topic<'a> = (&'a Device, &'a Conversation, &'a str);

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
    let mut last: HashMap<Topic<'_>, (u64, u64)> = HashMap::new();
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
                // Of a group: how far all are.
                let Some(peer) = conversation.peer_of(&device.user) else {
                    let topic = (device, conversation, ALL);
                    told(topic, (*delivered, *read), &mut last, findings);
                    continue;
                };
                let topic = (device, conversation, peer);
                told(topic, (*delivered, *read), &mut last, findings);
                let theirs = reached.entry((peer, conversation)).or_default();
                check_true(topic, (*delivered, *read), theirs, facts, findings);
            }
            Event::MemberReceipt { device, conversation, member, delivered, read } => {
                let topic = (device, conversation, &**member);
                // Who was away begins anew.
                if facts.comes_once(member, conversation) {
                    told(topic, (*delivered, *read), &mut last, findings);
                } else {
                    last.insert(topic, (*delivered, *read));
                }
                let theirs = reached.entry((member, conversation)).or_default();
                check_true(topic, (*delivered, *read), theirs, facts, findings);
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

/// A receipt comes: marks only grow.
fn told<'a>(
    topic: Topic<'a>,
    marks: (u64, u64),
    last: &mut HashMap<Topic<'a>, (u64, u64)>,
    findings: &mut Findings,
) {
    let before = last.entry(topic).or_default();
    if marks.0 < before.0 || marks.1 < before.1 {
        let (device, conversation, of) = topic;
        let what = format!(
            "{device} was told of {of} in {conversation}: delivered {}, read {}, after delivered {}, read {}",
            marks.0, marks.1, before.0, before.1
        );
        findings.broken(Promise::ReceiptsOnlyGrow, what);
    }
    *before = (before.0.max(marks.0), before.1.max(marks.1));
}

/// It says no more than what somebody has acknowledged, and said.
fn check_true(
    (device, conversation, of): Topic<'_>,
    (delivered, read): (u64, u64),
    theirs: &mut Reached,
    facts: &Facts<'_>,
    findings: &mut Findings,
) {
    let is_told_of = |seq: u64| {
        let own = facts.sender(conversation, seq).is_some_and(|sender| *sender.user == *of);
        match conversation {
            Conversation::Direct(..) => !own,
            // Of what they do not see, and of what nobody has said, nothing is told.
            Conversation::Group(_) => {
                !own && facts.is_said(conversation, seq) && facts.sees(of, conversation, seq)
            }
        }
    };
    while theirs.delivered < delivered
        && (theirs.confirmed.contains(&(theirs.delivered + 1)) || !is_told_of(theirs.delivered + 1))
    {
        theirs.delivered += 1;
    }
    if delivered > theirs.delivered {
        let what = format!(
            "{device} was told that {of} has {conversation} up to {delivered}, when no device of theirs had acknowledged number {}",
            theirs.delivered + 1
        );
        findings.broken(Promise::ReceiptsAreTrue, what);
    }
    if read > theirs.read {
        let what = format!(
            "{device} was told that {of} has read {conversation} up to {read}, when they had said {}",
            theirs.read
        );
        findings.broken(Promise::ReceiptsAreTrue, what);
    }
}

/// A device must have been told of each of its user's conversations how far the other side is.
fn check_complete(
    device: &Device,
    facts: &Facts<'_>,
    reached: &HashMap<(&str, &Conversation), Reached>,
    last: &HashMap<Topic<'_>, (u64, u64)>,
    findings: &mut Findings,
) {
    for (conversation, found) in &facts.found {
        let own = |(seq, _): &&(u64, _)| {
            facts.sender(conversation, *seq).is_some_and(|sender| *sender.user == *device.user)
        };
        let newest = found.iter().filter(own).map(|(seq, _)| *seq).max().unwrap_or(0);
        // In a group, of who has been there with this one since; what was said before somebody left may be told to nobody.
        let others: Vec<&str> = match conversation {
            Conversation::Direct(..) => conversation
                .peer_of(&device.user)
                .filter(|_| conversation.has(&device.user))
                .into_iter()
                .collect(),
            Conversation::Group(_) if newest > 0 && facts.stays(&device.user, conversation, newest) => {
                let members = facts.members(conversation).iter().map(|member| &**member);
                let stay =
                    |member: &&str| **member != *device.user && facts.stays(member, conversation, newest);
                members.filter(stay).collect()
            }
            Conversation::Group(_) => Vec::new(),
        };
        for of in others {
            let theirs = reached.get(&(of, *conversation));
            // Where they have no device that reads, nothing was delivered.
            let delivered = theirs.filter(|theirs| theirs.confirmed.contains(&newest)).map_or(0, |_| newest);
            let read = theirs.map_or(0, |theirs| theirs.read);
            // In a group one is told of what newly covers something that one has said.
            let read = match conversation {
                Conversation::Direct(..) => read,
                Conversation::Group(_) if read < newest => 0,
                Conversation::Group(_) => newest,
            };
            let told = last.get(&(device, *conversation, of)).copied().unwrap_or_default();
            if told.0 < delivered || told.1 < read {
                let what = format!(
                    "{device} was told of {of} in {conversation}: delivered {}, read {}; that was to become {delivered} and {read}",
                    told.0, told.1
                );
                findings.broken(Promise::ReceiptsBecomeComplete, what);
            }
        }
    }
}
