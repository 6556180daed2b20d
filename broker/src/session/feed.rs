//! A feed: one source as one session reads it.
//!
//! `sent` is how far the session has read; `acked` is the cursor: everything up to it is done with. Between them are the
//! pending positions, in order, each acknowledged or not; the cursor is the end of the prefix that is. A feed is *caught up* when it has
//! read everything that was committed; only then does it take new items as they are announced, so that there is
//! never a gap between what was read from the store and what was pushed.

use crate::codec::QoS;
use crate::message::Identifiers;
use crate::source::{Item, Read, SourceGrant, SourceId, SourceKind};
use crate::store::CursorMove;
use crate::topic;
use smallvec::SmallVec;
use std::collections::VecDeque;

/// How many announced items wait in memory for the window of a caught-up feed, before the session goes back to
/// reading them from the store.
const MAX_WAITING: usize = 64;
/// And how many bytes of them.
const MAX_WAITING_BYTES: usize = 64 * 1024;
/// Live values of a state go out this far apart, so that what changes often is conflated, milliseconds. A state that catches
/// up is not held back: it reads each topic's latest value once.
const STATE_INTERVAL_MS: u64 = 250;

/// Names a feed within its session.
pub(crate) type FeedIndex = u16;

/// Sources that a session keeps a cursor in, whether it reads them now or not. One more is refused.
pub(crate) const MAX_FEEDS: usize = 4_096;

// A queue may come on top.
const _: () = assert!(MAX_FEEDS < FeedIndex::MAX as usize);

/// Whether a session with these feeds may read these sources as well.
pub(crate) fn has_room(feeds: &[Feed], sources: &[SourceGrant]) -> bool {
    let is_new = |grant: &&SourceGrant| !feeds.iter().any(|feed| feed.source == grant.source);
    feeds.len() + sources.iter().filter(is_new).count() <= MAX_FEEDS
}

/// One subscription that reads the feed's source.
#[derive(Debug, Clone)]
pub(crate) struct Reading {
    pub(crate) grant: SourceGrant,
    /// The QoS granted to the subscription.
    pub(crate) qos: QoS,
    /// The subscription identifier.
    pub(crate) identifier: Option<u32>,
    /// The filter as the client wrote it; names the subscription.
    pub(crate) subscription: std::sync::Arc<str>,
}

#[derive(Debug)]
struct Pending {
    position: u64,
    acked: bool,
    /// What was sent; `None` for what this client does not get to see.
    item: Option<Item>,
}

/// One source as a session reads it.
#[derive(Debug)]
pub(crate) struct Feed {
    pub(crate) source: SourceId,
    pub(crate) kind: SourceKind,
    readings: SmallVec<[Reading; 1]>,
    sent: u64,
    acked: u64,
    retained_up_to: u64,
    pending: VecDeque<Pending>,
    waiting: VecDeque<Item>,
    waiting_bytes: usize,
    caught_up: bool,
    /// Announced items that wait at most, and their bytes.
    max_waiting: (usize, usize),
    not_before_ms: u64,
    /// Positions up to here that are not in flight are done with.
    settled_up_to: u64,
    /// Items the client acknowledged since the last cursor move was taken.
    acknowledged: Vec<Item>,
    /// Where the cursor was when it was last taken, and whether it moved by acknowledgements.
    reported: u64,
    by_client: bool,
}

/// How an item is to be delivered, from all subscriptions that match it.
#[derive(Debug)]
pub(crate) struct Manner<'a> {
    /// The subscription made last among those that match: its encoding counts.
    pub(crate) grant: Option<&'a SourceGrant>,
    pub(crate) qos: QoS,
    pub(crate) identifiers: Identifiers,
    pub(crate) retain: bool,
}

impl Feed {
    /// A feed whose cursor stands at `acked`.
    pub(crate) fn new(source: SourceId, kind: SourceKind, acked: u64) -> Feed {
        Feed {
            source,
            kind,
            readings: SmallVec::new(),
            sent: acked,
            acked,
            retained_up_to: 0,
            pending: VecDeque::new(),
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            caught_up: false,
            max_waiting: (MAX_WAITING, MAX_WAITING_BYTES),
            not_before_ms: 0,
            settled_up_to: 0,
            acknowledged: Vec::new(),
            reported: acked,
            by_client: false,
        }
    }

    /// For a session that does not outlive its connection: what it has not read is not kept for it, so more may wait in memory.
    pub(crate) fn may_wait(&mut self, items: usize, bytes: usize) {
        self.max_waiting = (items, bytes);
    }

    /// Adds a subscription, or replaces the one with the same filter; it counts as the one made last.
    pub(crate) fn read_for(&mut self, reading: Reading) {
        self.readings.retain(|known| known.subscription != reading.subscription);
        self.readings.push(reading);
    }

    /// Takes a subscription away; the cursor stays. True when it was there.
    pub(crate) fn stop_reading_for(&mut self, subscription: &str) -> bool {
        let before = self.readings.len();
        self.readings.retain(|known| &*known.subscription != subscription);
        if self.readings.is_empty() {
            self.forget_waiting();
        }
        before != self.readings.len()
    }

    /// Starts over for a new subscription of a state: all current values, with RETAIN 1 [MQTT-3.3.1-6].
    pub(crate) fn start_over(&mut self, start: u64, retained_up_to: u64) {
        self.sent = start;
        self.acked = start;
        self.reported = start;
        self.retained_up_to = retained_up_to;
        self.pending.clear();
        self.acknowledged.clear();
        self.forget_waiting();
        self.not_before_ms = 0;
        self.settled_up_to = 0;
    }

    /// Whether any subscription reads it.
    pub(crate) fn is_read(&self) -> bool {
        self.kind == SourceKind::Queue || !self.readings.is_empty()
    }

    /// The cursor.
    pub(crate) fn acked(&self) -> u64 {
        self.acked
    }

    /// How far it has read.
    pub(crate) fn sent(&self) -> u64 {
        self.sent
    }

    /// How far it has read, or an earlier connection had that left nothing but what was in flight before it.
    pub(crate) fn sent_or_settled(&self) -> u64 {
        self.sent.max(self.settled_up_to)
    }

    /// How many positions are between the cursor and what was read; bounds memory when an early one stays unacknowledged.
    pub(crate) fn span(&self) -> usize {
        self.pending.len()
    }

    /// Whether there may be something to send now.
    pub(crate) fn is_ready(&self, now_ms: u64) -> bool {
        self.is_read() && (!self.caught_up || (!self.waiting.is_empty() && now_ms >= self.not_before_ms))
    }

    /// When a state that has something may send it, for the timer.
    pub(crate) fn wakes_at(&self) -> Option<u64> {
        (self.is_read() && self.caught_up && !self.waiting.is_empty() && self.not_before_ms > 0)
            .then_some(self.not_before_ms)
    }

    /// New items were committed.
    pub(crate) fn announce(&mut self, items: &[Item]) {
        if !self.caught_up || !self.is_read() {
            self.caught_up = false;
            return;
        }
        for item in items {
            if item.position <= self.sent {
                continue;
            }
            if self.waiting.back().is_some_and(|last| item.position <= last.position) {
                self.replace(item);
                continue;
            }
            if self.kind == SourceKind::State
                && let Some(old) = self.waiting.iter().position(|waiting| waiting.topic == item.topic)
                && let Some(old) = self.waiting.remove(old)
            {
                self.waiting_bytes -= weight(&old);
            }
            self.waiting_bytes += weight(item);
            self.waiting.push_back(item.clone());
            if self.waiting.len() > self.max_waiting.0 || self.waiting_bytes > self.max_waiting.1 {
                self.forget_waiting();
                return;
            }
        }
    }

    /// An item that waits stands otherwise in its log now: what was announced before is not to be sent.
    fn replace(&mut self, item: &Item) {
        if let Ok(at) = self.waiting.binary_search_by_key(&item.position, |waiting| waiting.position) {
            self.waiting_bytes += weight(item);
            self.waiting_bytes -= weight(&self.waiting[at]);
            self.waiting[at] = item.clone();
        }
    }

    /// There is more than what was announced.
    pub(crate) fn fall_behind(&mut self) {
        self.forget_waiting();
    }

    fn forget_waiting(&mut self) {
        self.waiting.clear();
        self.waiting_bytes = 0;
        self.caught_up = false;
    }

    /// The next announced item, for a feed that is caught up.
    pub(crate) fn next_waiting(&mut self) -> Option<Item> {
        let item = self.waiting.pop_front()?;
        self.waiting_bytes -= weight(&item);
        Some(item)
    }

    /// Whether the next items have to be read from the store.
    pub(crate) fn must_read(&self) -> bool {
        !self.caught_up
    }

    /// A read came back: its items are to be sent before anything announced later.
    pub(crate) fn was_read(&mut self, read: &Read) {
        debug_assert!(self.waiting.is_empty());
        if read.end {
            self.caught_up = true;
        }
    }

    /// A stored session comes back that had an orderly end: what it had read up to `last` and what was not in flight then was
    /// acknowledged, or not shown.
    pub(crate) fn resume(&mut self, last: u64) {
        self.settled_up_to = self.settled_up_to.max(last);
    }

    /// Whether an earlier connection is done with a position that was not in flight at its end.
    pub(crate) fn is_settled(&self, position: u64) -> bool {
        position <= self.settled_up_to
    }

    /// An earlier connection sent this item, and the client has taken it.
    pub(crate) fn was_taken(&mut self, item: Item) {
        self.sent = item.position;
        self.by_client = true;
        self.pending.push_back(Pending { position: item.position, acked: true, item: Some(item) });
        self.settle();
    }

    /// Moves on over positions that hold nothing for this client, up to `next`.
    pub(crate) fn skip_to(&mut self, next: u64) {
        if next > self.sent {
            self.sent = next;
            if self.pending.is_empty() {
                self.acked = next;
                // What is not for this client to see needs no acknowledgement of its own.
                self.by_client |= self.readings.iter().any(|reading| reading.qos > QoS::AtMostOnce);
            } else {
                self.pending.push_back(Pending { position: next, acked: true, item: None });
            }
        }
    }

    /// An item went out (or is done with at once, where `acked`).
    pub(crate) fn sent_item(&mut self, item: Item, acked: bool, now_ms: u64) {
        self.sent = item.position;
        if self.kind == SourceKind::State {
            self.not_before_ms = now_ms + STATE_INTERVAL_MS;
        }
        if acked && self.pending.is_empty() {
            self.acked = item.position;
        } else {
            // What is done with at once was not acknowledged by the client: it counts for the cursor alone.
            self.pending.push_back(Pending {
                position: item.position,
                acked,
                item: (!acked).then_some(item),
            });
        }
    }

    /// For a state: the position of a value of the same topic that is still in flight. The newer one takes its place.
    pub(crate) fn superseded(&mut self, topic: &str) -> Option<u64> {
        if self.kind != SourceKind::State {
            return None;
        }
        let old = self.pending.iter_mut().find(|pending| {
            !pending.acked && pending.item.as_ref().is_some_and(|item| *item.topic == *topic)
        })?;
        old.acked = true;
        old.item = None;
        Some(old.position)
    }

    /// The client acknowledged a position; the cursor moves over the acknowledged prefix.
    pub(crate) fn acknowledge(&mut self, position: u64) {
        let Ok(index) = self.pending.binary_search_by_key(&position, |pending| pending.position) else {
            return;
        };
        self.pending[index].acked = true;
        self.by_client = true;
        self.settle();
    }

    /// A position is done with that the client did not get to see: it counts for the cursor alone.
    pub(crate) fn pass(&mut self, position: u64) {
        if let Ok(index) = self.pending.binary_search_by_key(&position, |pending| pending.position) {
            self.pending[index].acked = true;
            self.pending[index].item = None;
            self.settle();
        }
    }

    fn settle(&mut self) {
        while self.pending.front().is_some_and(|first| first.acked) {
            if let Some(first) = self.pending.pop_front() {
                self.acked = first.position;
                self.acknowledged.extend(first.item);
            }
        }
        if self.pending.is_empty() {
            self.acked = self.acked.max(self.sent);
        }
    }

    /// The cursor's move since this was last asked.
    pub(crate) fn take_move(&mut self) -> Option<CursorMove> {
        if self.acked <= self.reported {
            return None;
        }
        self.reported = self.acked;
        Some(CursorMove {
            source: self.source.clone(),
            to: self.acked,
            acknowledged: std::mem::take(&mut self.acknowledged),
            by_client: std::mem::take(&mut self.by_client),
        })
    }

    /// How an item is delivered; `None` when no subscription matches it.
    pub(crate) fn manner(&self, item: &Item) -> Option<Manner<'_>> {
        if let Some(message) = &item.message {
            return Some(Manner {
                grant: None,
                qos: message.qos,
                identifiers: message.identifiers.clone(),
                retain: message.retain,
            });
        }
        let mut manner: Option<Manner<'_>> = None;
        for reading in &self.readings {
            if !topic::matches(&reading.grant.filter, &item.topic) {
                continue;
            }
            let manner = manner.get_or_insert_with(|| Manner {
                grant: None,
                qos: QoS::AtMostOnce,
                identifiers: Identifiers::new(),
                retain: self.kind == SourceKind::State && item.position <= self.retained_up_to,
            });
            manner.grant = Some(&reading.grant);
            manner.qos = manner.qos.max(reading.qos);
            manner.identifiers.extend(reading.identifier);
        }
        manner
    }
}

fn weight(item: &Item) -> usize {
    item.stored.len() + item.message.as_ref().map_or(0, crate::message::Message::weight) + 64
}

#[cfg(test)]
mod tests;
