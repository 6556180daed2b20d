//! Promises about readers: each gets everything, in order, and nothing twice in effect.

use super::check::{Findings, Promise};
use super::facts::Facts;
use super::{Conversation, Device, Event, MessageId};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::rc::Rc;

type Named<'a> = (&'a Conversation, u64);

/// An entry of an inbox as a device got it.
#[derive(Clone, Copy)]
struct Entry<'a> {
    position: u64,
    named: Named<'a>,
    id: &'a MessageId,
}

/// What one device has seen.
#[derive(Default)]
struct Reader<'a> {
    subscribed: bool,
    resumed: bool,
    /// The last position in this connection.
    last: u64,
    /// The furthest position ever, and the furthest number of each conversation.
    furthest: u64,
    furthest_of: HashMap<&'a Conversation, u64>,
    seen: HashMap<u64, (Named<'a>, &'a MessageId)>,
    numbers: HashSet<Named<'a>>,
    /// What it confirmed since the server last started or its connection last broke, and has not got again since. What was said before may
    /// have been lost.
    confirmed: Rc<HashSet<u64>>,
    /// The server was killed or told to stop in this connection, or the connection broke.
    cut: bool,
    /// What it had confirmed when it left in good order; until a crash.
    left_with: Option<Rc<HashSet<u64>>>,
    /// What may not come again in this connection.
    done: Option<Rc<HashSet<u64>>>,
}

/// Checks all readers; how many first deliveries there were.
pub(super) fn check(events: &[Event], facts: &Facts<'_>, findings: &mut Findings) -> usize {
    let mut readers: BTreeMap<&Device, Reader<'_>> = BTreeMap::new();
    // Which devices had confirmed a message, and how far receipts have spoken of a user's devices.
    let mut confirmed_by: HashMap<(&str, Named<'_>), Vec<&Device>> = HashMap::new();
    let mut shown: HashMap<(&str, &Conversation), u64> = HashMap::new();
    let mut sole: HashMap<(&str, Named<'_>), &Device> = HashMap::new();
    for event in events {
        match event {
            Event::Subscribed { device } => readers.entry(device).or_default().subscribed = true,
            Event::Connected { device, resumed } => {
                readers.entry(device).or_default().connected(device, *resumed, findings);
            }
            Event::Left { device } => {
                let reader = readers.entry(device).or_default();
                if !reader.cut {
                    reader.left_with = Some(Rc::clone(&reader.confirmed));
                }
            }
            Event::Crashed | Event::Stopped => readers.values_mut().for_each(Reader::cut_off),
            Event::Severed { device } => readers.entry(device).or_default().cut_off(),
            Event::Confirmed { device, position } => {
                let reader = readers.entry(device).or_default();
                if !reader.cut {
                    Rc::make_mut(&mut reader.confirmed).insert(*position);
                }
                if let Some((named, _)) = reader.seen.get(position) {
                    let by = confirmed_by.entry((&device.user, *named)).or_default();
                    if !by.contains(&device) {
                        by.push(device);
                    }
                }
            }
            Event::Receipt { device, conversation, delivered, .. } => {
                // The mark is durable, and it rests on the cursor of a device that had confirmed: if there is one such device only,
                // on that one's.
                let Some(peer) = conversation.peer_of(&device.user) else { continue };
                let up_to = shown.entry((peer, conversation)).or_default();
                for seq in *up_to + 1..=*delivered {
                    let key = (peer, (conversation, seq));
                    // Their own messages are not what it speaks of.
                    let own = facts.sender(conversation, seq).is_some_and(|sender| *sender.user == *peer);
                    if !own && let Some([only]) = confirmed_by.get(&key).map(Vec::as_slice) {
                        sole.insert(key, only);
                    }
                }
                *up_to = (*up_to).max(*delivered);
            }
            Event::Delivered { device, position, conversation, seq, id, dup } => {
                let named = (conversation, *seq);
                let reader = readers.entry(device).or_default();
                let again = reader.seen.contains_key(position);
                if again && sole.get(&(&*device.user, named)) == Some(&device) {
                    let what = format!(
                        "{device} got number {seq} of {conversation} again after the receipt that it has it"
                    );
                    findings.broken(Promise::NotTwiceInEffect, what);
                }
                if *dup && !reader.resumed {
                    let what = format!(
                        "{device} got number {seq} of {conversation} marked as sent before, in a new session"
                    );
                    findings.broken(Promise::NotTwiceInEffect, what);
                }
                let entry = Entry { position: *position, named, id };
                reader.delivered(device, entry, facts, findings);
            }
            Event::Previous { device, conversation, seq, previous } => {
                let expected = facts.seen_before(&device.user, conversation, *seq);
                // Who sees a conversation for the first time has no number before.
                if expected != 0 && *previous != expected {
                    let what = format!(
                        "{device} got number {seq} of {conversation} as the one behind {previous}, and could see {expected}"
                    );
                    findings.broken(Promise::SaysWhatCameBefore, what);
                }
            }
            _ => {}
        }
    }
    check_that_all_came(facts, &readers, findings);
    readers.values().map(|reader| reader.seen.len()).sum()
}

impl<'a> Reader<'a> {
    fn connected(&mut self, device: &Device, resumed: bool, findings: &mut Findings) {
        if self.subscribed && !resumed {
            let what =
                format!("{device} was subscribed, connected again, and was told that there is no session");
            findings.broken(Promise::SessionIsKept, what);
        }
        self.resumed = resumed;
        self.last = 0;
        self.cut = false;
        self.done = self.left_with.take();
    }

    /// What it said last may be lost.
    fn cut_off(&mut self) {
        self.cut = true;
        self.left_with = None;
        self.confirmed = Rc::default();
    }

    fn delivered(&mut self, device: &Device, entry: Entry<'a>, facts: &Facts<'_>, findings: &mut Findings) {
        let Entry { position, named, id } = entry;
        let (conversation, seq) = named;
        let what = format!("number {seq} of {conversation}, entry {position}");
        match facts.by_seq.get(&named) {
            Some(found) if *found == id => {}
            Some(found) => findings.broken(
                Promise::OneMessagePerNumber,
                format!("{device} got {id} as {what}; at the end that is {found}"),
            ),
            None => findings.broken(
                Promise::OneMessagePerNumber,
                format!("{device} got {id} as {what}; at the end there is none such"),
            ),
        }
        if !facts.sees(&device.user, conversation, seq) {
            let what = format!("{device} got {what}, when {} was no member", device.user);
            findings.broken(Promise::NothingAfterLeaving, what);
        }
        let in_connection = position > self.last;
        self.last = self.last.max(position);
        if let Some((before, earlier)) = self.seen.get(&position) {
            if (*before, *earlier) != (named, id) {
                let (conversation, seq) = before;
                let before = format!("number {seq} of {conversation}");
                findings.broken(
                    Promise::OneMessagePerNumber,
                    format!("{device} got {id} as {what}, where {earlier} was before, {before}"),
                );
            }
            if !in_connection {
                let what = format!("{device} got {what}, again in the same connection or behind a later one");
                findings.broken(Promise::NotTwiceInEffect, what);
            } else if self.done.as_ref().is_some_and(|done| done.contains(&position)) {
                let what =
                    format!("{device} got {what}, again after it had acknowledged it and left in good order");
                findings.broken(Promise::NotTwiceInEffect, what);
            }
            Rc::make_mut(&mut self.confirmed).remove(&position);
            return;
        }
        if !in_connection || position < self.furthest {
            let furthest = self.furthest;
            let what =
                format!("{device} got {what}, for the first time when it already had entry {furthest}");
            findings.broken(Promise::FirstDeliveriesInOrder, what);
        }
        self.furthest = self.furthest.max(position);
        self.seen.insert(position, (named, id));
        if !self.numbers.insert(named) {
            let what = format!("{device} got {what}, which it had as another entry");
            findings.broken(Promise::NotTwiceInEffect, what);
        }
        let furthest = self.furthest_of.entry(conversation).or_default();
        if seq < *furthest {
            let what = format!("{device} got {what}, when it already had number {furthest}");
            findings.broken(Promise::FirstDeliveriesInOrder, what);
        }
        // It knows what it sent itself.
        let is_for_it = |seq: &u64| {
            facts.sender(conversation, *seq) != Some(device) && facts.sees(&device.user, conversation, *seq)
        };
        let missing = (*furthest + 1..seq).find(is_for_it);
        if let Some(missing) = missing {
            let what = format!("{device} got {what}, and not number {missing} before");
            findings.broken(Promise::FirstDeliveriesInOrder, what);
        }
        *furthest = (*furthest).max(seq);
    }
}

fn check_that_all_came(facts: &Facts<'_>, readers: &BTreeMap<&Device, Reader<'_>>, findings: &mut Findings) {
    for (device, reader) in readers.iter().filter(|(_, reader)| reader.subscribed) {
        for (conversation, found) in &facts.found {
            let missing: Vec<_> = found
                .iter()
                .filter(|(seq, _)| !reader.numbers.contains(&(*conversation, *seq)))
                .filter(|(seq, _)| facts.sees(&device.user, conversation, *seq))
                .filter(|(seq, _)| facts.sender(conversation, *seq) != Some(*device))
                .collect();
            if let Some((seq, id)) = missing.first() {
                let more = missing.len() - 1;
                let what = format!(
                    "{device} never got {id}, number {seq} of {conversation}, and {more} others of it"
                );
                findings.broken(Promise::ReachesEveryReader, what);
            }
        }
    }
}
