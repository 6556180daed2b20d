//! The checker: all promises over one history.

use super::facts::Facts;
use super::{Device, Event, MessageId, deliveries, plain, receipts, stored};
use std::collections::{HashMap, HashSet};
use std::fmt;

/// What a server promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Promise {
    /// What was acknowledged is in its conversation, whatever happened since.
    AcknowledgedIsKept,
    /// A message is in its conversation at most once, however often it was sent.
    Once,
    /// Messages of one device stand in the order it sent them, and what is sent after an acknowledgement stands behind what was
    /// acknowledged.
    InOrder,
    /// Numbers go from 1 on without a gap.
    NoGaps,
    /// A message sent again gets its first number again.
    SameNumber,
    /// A number names one message, for every reader and for ever; what a reader was shown is there.
    OneMessagePerNumber,
    /// Every reader gets every message.
    ReachesEveryReader,
    /// What a reader gets for the first time comes in order and leaves out nothing.
    FirstDeliveriesInOrder,
    /// Who is no member of a group gets nothing of it.
    NothingAfterLeaving,
    /// What is said to be the number before is the one that the reader could see.
    SaysWhatCameBefore,
    /// A reader gets something again only where its acknowledgement may have been lost.
    NotTwiceInEffect,
    /// A subscription that was acknowledged is there after every reconnect.
    SessionIsKept,
    /// Receipts only grow.
    ReceiptsOnlyGrow,
    /// A receipt says no more than what a device has acknowledged, or its user has said.
    ReceiptsAreTrue,
    /// When everything has come to rest, receipts say all of that.
    ReceiptsBecomeComplete,
    /// What was published on a plain topic and acknowledged reaches everybody who reads it.
    PublishedReachesEveryFollower,
    /// What comes for the first time on a plain topic comes in the order in which it was published.
    PublishedComesInOrder,
    /// What comes on a plain topic was published there.
    NothingIsInvented,
    /// A plain topic retains what was published last with RETAIN.
    NewestIsRetained,
}

impl Promise {
    /// The promise in words.
    pub fn words(self) -> &'static str {
        match self {
            Promise::AcknowledgedIsKept => "what was acknowledged is kept",
            Promise::Once => "a message is in its conversation once",
            Promise::InOrder => "messages stand in order",
            Promise::NoGaps => "numbers have no gaps",
            Promise::SameNumber => "a message sent again gets the same number",
            Promise::OneMessagePerNumber => "a number names one message for ever",
            Promise::ReachesEveryReader => "every reader gets every message",
            Promise::FirstDeliveriesInOrder => "first deliveries come in order and without a gap",
            Promise::NothingAfterLeaving => "who is no member gets nothing",
            Promise::SaysWhatCameBefore => "the number before is the one that the reader could see",
            Promise::NotTwiceInEffect => "nothing comes twice in effect",
            Promise::SessionIsKept => "a session is kept",
            Promise::ReceiptsOnlyGrow => "receipts only grow",
            Promise::ReceiptsAreTrue => "receipts are true",
            Promise::ReceiptsBecomeComplete => "receipts become complete",
            Promise::PublishedReachesEveryFollower => {
                "what was published reaches everybody who reads the topic"
            }
            Promise::PublishedComesInOrder => "what was published comes in order",
            Promise::NothingIsInvented => "nothing comes that was not published",
            Promise::NewestIsRetained => "a topic retains what was published last",
        }
    }
}

/// One broken promise, as a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which promise.
    pub promise: Promise,
    /// What happened.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.promise.words(), self.what)
    }
}

/// All that was broken.
#[derive(Clone, PartialEq, Eq)]
pub struct Broken(pub Vec<Violation>);

/// So many sentences are shown.
const SHOWN: usize = 12;

impl Broken {
    /// The promises that were broken, each once.
    pub fn promises(&self) -> Vec<Promise> {
        let mut promises: Vec<Promise> = self.0.iter().map(|violation| violation.promise).collect();
        promises.sort_unstable();
        promises.dedup();
        promises
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for violation in self.0.iter().take(SHOWN) {
            writeln!(f, "{violation}")?;
        }
        match self.0.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => writeln!(f, "and {more} more"),
        }
    }
}

impl fmt::Debug for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "promises were broken:\n{self}")
    }
}

/// What a history that is in order consists of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Messages.
    pub messages: usize,
    /// How often one was sent again.
    pub resent: usize,
    /// Messages that were acknowledged.
    pub acknowledged: usize,
    /// First deliveries.
    pub delivered: usize,
    /// Deliveries of what the device had got before.
    pub delivered_again: usize,
    /// Receipts.
    pub receipts: usize,
    /// Connections.
    pub connections: usize,
    /// Crashes.
    pub crashes: usize,
}

/// What the rooms of the checker write into.
#[derive(Default)]
pub(super) struct Findings {
    violations: Vec<Violation>,
}

impl Findings {
    pub(super) fn broken(&mut self, promise: Promise, what: String) {
        self.violations.push(Violation { promise, what });
    }
}

/// Checks a history against all promises.
///
/// # Errors
/// What was broken.
pub fn check(events: &[Event]) -> Result<Figures, Broken> {
    let mut findings = Findings::default();
    let facts = Facts::gather(events, &mut findings);
    stored::check(events, &facts, &mut findings);
    let delivered = deliveries::check(events, &facts, &mut findings);
    receipts::check(events, &facts, &mut findings);
    plain::check(events, &mut findings);
    if !findings.violations.is_empty() {
        return Err(Broken(findings.violations));
    }
    let count = |wanted: fn(&Event) -> bool| events.iter().filter(|event| wanted(event)).count();
    let sent = count(|event| matches!(event, Event::Sent { .. }));
    let all = count(|event| matches!(event, Event::Delivered { .. }));
    Ok(Figures {
        messages: facts.sent.len(),
        resent: sent - facts.sent.len(),
        acknowledged: facts.acknowledged.len(),
        delivered,
        delivered_again: all - delivered,
        receipts: count(|event| matches!(event, Event::Receipt { .. } | Event::MemberReceipt { .. })),
        connections: count(|event| matches!(event, Event::Connected { .. })),
        crashes: count(|event| matches!(event, Event::Crashed)),
    })
}

/// For each crash, how many messages had been sent and were not acknowledged before their device connected again.
pub fn unacknowledged_at_crashes(events: &[Event]) -> Vec<usize> {
    // Sent in the life of the server that has not ended yet; and for each crash what was open then.
    let mut open: HashSet<(&Device, &MessageId)> = HashSet::new();
    let mut crashes: Vec<HashSet<(&Device, &MessageId)>> = Vec::new();
    let mut lives: HashMap<&Device, usize> = HashMap::new();
    for event in events {
        match event {
            Event::Connected { device, .. } => {
                lives.insert(device, crashes.len());
            }
            Event::Sent { device, id, .. } => {
                open.insert((device, id));
            }
            Event::Acknowledged { device, id, .. } => {
                open.remove(&(device, id));
                // What is read from a connection that was cut may still be an acknowledgement from before.
                let life = lives.get(device).copied().unwrap_or(0);
                if let Some(crash) = crashes.get_mut(life) {
                    crash.remove(&(device, id));
                }
            }
            Event::Crashed => crashes.push(std::mem::take(&mut open)),
            Event::Stopped => open.clear(),
            _ => {}
        }
    }
    crashes.iter().map(HashSet::len).collect()
}
