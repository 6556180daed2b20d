//! What retained messages come to: how many there are and how many bytes, held to a limit, and when they expire.
//!
//! The store is asked what one topic holds, never what there is in all: the totals are kept here, and written in the commit of every
//! change. A change that is on its way cannot be read yet, so its topic is remembered here until it can.
//!
//! A change is planned, which is where the limit may refuse it, and handed over with a commit. Invariants: the totals are those of the
//! changes handed over, in that order, so that what a crash leaves and the totals it leaves agree; when an expiry is in the index, a
//! message with that expiry is retained at that topic. Publishers who change one topic at the same time may pass the limit by a
//! message each.

use crate::broker::Inner;
use crate::codec::ByteStr;
use crate::message::Message;
use crate::plain::Durable;
use crate::store::{RetainedTotals, Store, StoreError, StoreOp};
use hashbrown::HashMap;
use parking_lot::{Mutex, MutexGuard};
use std::sync::Arc;
use tokio::sync::oneshot;

/// How many expired messages are removed in one commit,
const EXPIRED_AT_ONCE: usize = 256;
/// and bytes of their topics beyond which no more are.
const EXPIRED_BYTES_AT_ONCE: usize = 64 * 1024;

/// What a topic is to hold from now on.
#[derive(Debug, Clone)]
pub(crate) enum Wish {
    /// This message.
    Keep(Message),
    /// None.
    Forget(ByteStr),
    /// None, if what it holds expires at this time, Unix milliseconds: what was published meanwhile stays.
    Expire(ByteStr, u64),
}

/// Why a change is not to be made.
#[derive(Debug)]
pub(crate) enum Unplanned {
    /// It would go beyond what may be retained.
    Full,
    /// The store cannot say what the topic holds.
    Store(StoreError),
}

/// A change that is planned; dropped, it is given up.
pub(crate) struct Change {
    wish: Wish,
    under_way: UnderWay,
}

/// A topic with a change on its way, until this is dropped: when the change can be read.
pub(crate) struct UnderWay {
    retention: Arc<Retention>,
    topic: ByteStr,
    reserved: RetainedTotals,
}

/// See the module.
pub(crate) struct Retention {
    most: RetainedTotals,
    ledger: Mutex<Ledger>,
    /// Held while changes are handed over.
    order: Mutex<()>,
}

#[derive(Default)]
struct Ledger {
    topics: HashMap<ByteStr, Topic, foldhash::fast::RandomState>,
    totals: RetainedTotals,
    /// What changes that are planned may add.
    reserved: RetainedTotals,
}

/// A topic with changes on their way.
#[derive(Default)]
struct Topic {
    changes: usize,
    holds: Holds,
}

/// What a topic holds when everything handed over is carried out.
#[derive(Debug, Clone, Copy, Default)]
enum Holds {
    /// What the store says, which has not been asked.
    #[default]
    Unread,
    /// This message, or none.
    Known(Option<Kept>),
}

/// What has to be known of a retained message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Kept {
    bytes: u64,
    expires_ms: Option<u64>,
}

impl Kept {
    fn of(message: &Message) -> Kept {
        Kept { bytes: message.weight() as u64, expires_ms: message.expires_ms() }
    }
}

impl Wish {
    fn topic(&self) -> &ByteStr {
        match self {
            Wish::Keep(message) => &message.topic,
            Wish::Forget(topic) | Wish::Expire(topic, _) => topic,
        }
    }
}

impl Retention {
    /// Nothing, until [`Retention::start`].
    pub(crate) fn new(most: RetainedTotals) -> Arc<Retention> {
        Arc::new(Retention { most, ledger: Mutex::default(), order: Mutex::new(()) })
    }

    /// These are retained.
    pub(crate) fn start(&self, totals: RetainedTotals) {
        self.ledger.lock().totals = totals;
    }

    /// How much is retained.
    pub(crate) fn totals(&self) -> RetainedTotals {
        self.ledger.lock().totals
    }

    /// Plans a change; reads from the store what the topic holds, if that is not known.
    pub(crate) fn plan(self: &Arc<Self>, wish: Wish, store: &dyn Store) -> Result<Change, Unplanned> {
        let topic = wish.topic().clone();
        let known = {
            let mut ledger = self.ledger.lock();
            let entry = ledger.topics.entry(topic.clone()).or_default();
            entry.changes += 1;
            entry.holds
        };
        // From here on the topic is remembered: what others change while it is read is known.
        let mut under_way =
            UnderWay { retention: Arc::clone(self), topic, reserved: RetainedTotals::default() };
        let found = match known {
            Holds::Known(kept) => kept,
            Holds::Unread => {
                let stored = store.retained_at(&under_way.topic).map_err(Unplanned::Store)?;
                stored.as_ref().map(Kept::of)
            }
        };
        let mut ledger = self.ledger.lock();
        let kept = ledger.at(&under_way.topic).known_or(found);
        if let Wish::Keep(message) = &wish {
            let growth = growth(kept, Kept::of(message));
            if !ledger.has_room(growth, self.most) {
                drop(ledger);
                return Err(Unplanned::Full);
            }
            ledger.reserved = sum(ledger.reserved, growth);
            under_way.reserved = growth;
        }
        drop(ledger);
        Ok(Change { wish, under_way })
    }

    /// Adds to a commit what the changes do. The commit is to be handed over while the guard is held, and what is under way dropped when
    /// the commit can be read.
    pub(crate) fn hand_over(
        &self,
        changes: Vec<Change>,
        ops: &mut Vec<StoreOp>,
    ) -> (MutexGuard<'_, ()>, Vec<UnderWay>) {
        let order = self.order.lock();
        let mut ledger = self.ledger.lock();
        let mut under_way = Vec::with_capacity(changes.len());
        for Change { wish, under_way: mut change } in changes {
            ledger.unreserve(std::mem::take(&mut change.reserved));
            let topic = ledger.at(&change.topic);
            let old = topic.known_or(None);
            let new = match &wish {
                Wish::Keep(message) => Some(Kept::of(message)),
                Wish::Forget(_) => None,
                Wish::Expire(_, at_ms) => old.filter(|old| old.expires_ms != Some(*at_ms)),
            };
            topic.holds = Holds::Known(new);
            ledger.totals = replaced(ledger.totals, old, new);
            let expiry = |kept: Option<Kept>| kept.and_then(|kept| kept.expires_ms);
            if expiry(old) != expiry(new) {
                ops.extend(expiry(old).map(|at_ms| StoreOp::RemoveExpiry(at_ms, change.topic.clone())));
                ops.extend(expiry(new).map(|at_ms| StoreOp::PutExpiry(at_ms, change.topic.clone())));
            }
            match wish {
                Wish::Keep(message) => ops.push(StoreOp::Retain(message)),
                Wish::Forget(topic) => ops.push(StoreOp::Unretain(topic)),
                Wish::Expire(topic, _) if new.is_none() => ops.push(StoreOp::Unretain(topic)),
                // Nothing holds on to it: an entry like that must not come up again and again.
                Wish::Expire(topic, at_ms) => ops.push(StoreOp::RemoveExpiry(at_ms, topic)),
            }
            under_way.push(change);
        }
        ops.push(StoreOp::PutRetainedTotals(ledger.totals));
        drop(ledger);
        (order, under_way)
    }
}

impl Topic {
    /// What it holds; what was read, where nobody has changed it meanwhile.
    fn known_or(&mut self, read: Option<Kept>) -> Option<Kept> {
        if let Holds::Known(kept) = self.holds {
            return kept;
        }
        self.holds = Holds::Known(read);
        read
    }
}

impl Inner {
    /// Removes retained messages that have expired. Nobody is sent one that has, removed or not: this gives their room back.
    pub(crate) async fn remove_expired(self: &Arc<Self>, now_ms: u64) {
        loop {
            match self.remove_some_expired(now_ms).await {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    self.stats.store_errors.count();
                    tracing::error!("expired retained messages could not be removed: {error}");
                    return;
                }
            }
        }
    }

    /// Removes one commit's worth; whether there may be more.
    async fn remove_some_expired(self: &Arc<Self>, now_ms: u64) -> Result<bool, StoreError> {
        let expired = self.store.expired(now_ms, EXPIRED_AT_ONCE)?;
        let found = expired.len();
        let (mut durable, mut bytes) = (Durable::default(), 0);
        for (at_ms, topic) in expired {
            bytes += topic.len();
            match self.retention.plan(Wish::Expire(topic, at_ms), &*self.store) {
                Ok(change) => durable.retained.push(change),
                Err(Unplanned::Store(error)) => return Err(error),
                // What takes no room is refused none.
                Err(Unplanned::Full) => {}
            }
            if bytes >= EXPIRED_BYTES_AT_ONCE {
                break;
            }
        }
        let removed = durable.retained.len();
        if removed == 0 {
            return Ok(false);
        }
        self.stats.retained_expired.add(removed as u64);
        let (sender, receiver) = oneshot::channel();
        durable.then = Some(Box::new(move |result| {
            // Nobody waits any more when the server is going down.
            let _ = sender.send(result);
        }));
        self.commit_durable(durable, None);
        // Unanswered only by a store that is going down.
        let Ok(result) = receiver.await else { return Ok(false) };
        result?;
        Ok(removed < found || found == EXPIRED_AT_ONCE)
    }
}

impl Ledger {
    fn at(&mut self, topic: &ByteStr) -> &mut Topic {
        self.topics.get_mut(topic).expect("a topic is remembered while a change of it is under way")
    }

    fn has_room(&self, growth: RetainedTotals, most: RetainedTotals) -> bool {
        let would_be = sum(sum(self.totals, self.reserved), growth);
        // What does not grow is taken, even where the limit was lowered meanwhile.
        (growth.messages == 0 || would_be.messages <= most.messages)
            && (growth.bytes == 0 || would_be.bytes <= most.bytes)
    }

    fn unreserve(&mut self, reserved: RetainedTotals) {
        self.reserved.messages -= reserved.messages;
        self.reserved.bytes -= reserved.bytes;
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut ledger = self.retention.ledger.lock();
        ledger.unreserve(self.reserved);
        let topic = ledger.at(&self.topic);
        topic.changes -= 1;
        if topic.changes == 0 {
            ledger.topics.remove(&self.topic);
        }
    }
}

fn sum(one: RetainedTotals, other: RetainedTotals) -> RetainedTotals {
    RetainedTotals { messages: one.messages + other.messages, bytes: one.bytes + other.bytes }
}

/// What a message adds at most, in the place of another one.
fn growth(old: Option<Kept>, new: Kept) -> RetainedTotals {
    let old_bytes = old.map_or(0, |old| old.bytes);
    RetainedTotals { messages: u64::from(old.is_none()), bytes: new.bytes.saturating_sub(old_bytes) }
}

fn replaced(totals: RetainedTotals, old: Option<Kept>, new: Option<Kept>) -> RetainedTotals {
    let of = |kept: Option<Kept>| {
        kept.map_or(RetainedTotals::default(), |kept| RetainedTotals { messages: 1, bytes: kept.bytes })
    };
    let (old, added) = (of(old), sum(totals, of(new)));
    // Totals that somebody else wrote wrong are no reason to fail.
    RetainedTotals {
        messages: added.messages.saturating_sub(old.messages),
        bytes: added.bytes.saturating_sub(old.bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{PublishProperties, QoS};
    use crate::message::Identifiers;
    use crate::store::ram::RamStore;
    use bytes::Bytes;
    use proptest::prelude::*;
    use std::collections::{BTreeSet, VecDeque};

    const NO_LIMIT: RetainedTotals = RetainedTotals { messages: u64::MAX, bytes: u64::MAX };

    fn message(topic: &str, length: usize, expiry_s: Option<u32>) -> Message {
        let properties = PublishProperties { message_expiry_interval: expiry_s, ..Default::default() };
        Message {
            topic: ByteStr::try_from(topic).expect("a topic"),
            payload: Bytes::from(vec![b'x'; length]),
            qos: QoS::AtLeastOnce,
            retain: true,
            properties: expiry_s.map(|_| Arc::new(properties)),
            received_ms: 5_000,
            identifiers: Identifiers::new(),
            share: None,
        }
    }

    fn keep(topic: &str, length: usize) -> Wish {
        Wish::Keep(message(topic, length, None))
    }

    /// A store, and what was handed over to it and cannot be read yet.
    struct Disk {
        store: RamStore,
        commits: VecDeque<(Vec<StoreOp>, Vec<UnderWay>)>,
    }

    impl Disk {
        fn new() -> Disk {
            Disk { store: RamStore::default(), commits: VecDeque::new() }
        }

        fn hand_over(&mut self, retention: &Retention, changes: Vec<Change>) {
            let mut ops = Vec::new();
            let (_order, under_way) = retention.hand_over(changes, &mut ops);
            self.commits.push_back((ops, under_way));
        }

        fn carry_out(&mut self) {
            if let Some((ops, _under_way)) = self.commits.pop_front() {
                self.store.commit(ops, None);
            }
        }

        /// What is there agrees with the totals and the index of expiries that are there.
        fn check(&self) -> RetainedTotals {
            let (mut totals, mut expiries) = (RetainedTotals::default(), BTreeSet::new());
            self.store
                .each_retained(&mut |message| {
                    totals.messages += 1;
                    totals.bytes += message.weight() as u64;
                    expiries.extend(message.expires_ms().map(|at_ms| (at_ms, message.topic.clone())));
                })
                .expect("RAM does not fail");
            assert_eq!(self.store.retained_totals().expect("RAM does not fail").unwrap_or_default(), totals);
            let indexed = self.store.expired(u64::MAX, usize::MAX).expect("RAM does not fail");
            assert_eq!(indexed.into_iter().collect::<BTreeSet<_>>(), expiries);
            totals
        }
    }

    #[test]
    fn what_goes_beyond_is_refused_and_what_replaces_is_not() {
        let weight = message("a", 10, None).weight() as u64;
        let retention = Retention::new(RetainedTotals { messages: 2, bytes: 2 * weight });
        let mut disk = Disk::new();
        let take = |disk: &mut Disk, wish| {
            let planned = retention.plan(wish, &disk.store);
            let change = planned.map_err(|refused| assert!(matches!(refused, Unplanned::Full)))?;
            disk.hand_over(&retention, vec![change]);
            Ok::<(), ()>(())
        };
        assert!(take(&mut disk, keep("a", 10)).is_ok() && take(&mut disk, keep("b", 10)).is_ok());
        assert!(take(&mut disk, keep("c", 0)).is_err(), "a third message");
        assert!(take(&mut disk, keep("a", 11)).is_err(), "a byte more");
        assert!(take(&mut disk, keep("a", 9)).is_ok());
        assert!(take(&mut disk, keep("b", 11)).is_ok(), "a byte was given back");
        assert!(take(&mut disk, Wish::Forget("b".try_into().expect("a topic"))).is_ok());
        assert!(take(&mut disk, keep("c", 10)).is_ok());
        while !disk.commits.is_empty() {
            disk.carry_out();
        }
        assert_eq!(disk.check(), retention.totals());
    }

    #[test]
    fn room_is_reserved_from_the_plan_on_and_given_back_with_it() {
        let retention = Retention::new(RetainedTotals { messages: 1, bytes: u64::MAX });
        let disk = Disk::new();
        let first = retention.plan(keep("a", 1), &disk.store).map_err(|_| "full").expect("room for one");
        assert!(retention.plan(keep("b", 1), &disk.store).is_err());
        assert!(retention.ledger.lock().topics.len() == 1, "who was refused is forgotten");
        drop(first);
        assert!(retention.plan(keep("b", 1), &disk.store).is_ok());
        assert!(retention.ledger.lock().topics.is_empty());
        assert_eq!(retention.ledger.lock().reserved, RetainedTotals::default());
    }

    #[test]
    fn what_was_published_meanwhile_does_not_expire() {
        let retention = Retention::new(NO_LIMIT);
        let mut disk = Disk::new();
        let plan = |disk: &Disk, wish| retention.plan(wish, &disk.store).map_err(|_| ()).expect("no limit");
        let old = message("a", 1, Some(1));
        let expires_ms = old.expires_ms().expect("it expires");
        let first = plan(&disk, Wish::Keep(old));
        disk.hand_over(&retention, vec![first]);
        disk.carry_out();
        let newer = plan(&disk, Wish::Keep(message("a", 2, Some(60))));
        let expiry = plan(&disk, Wish::Expire("a".try_into().expect("a topic"), expires_ms));
        disk.hand_over(&retention, vec![newer]);
        disk.hand_over(&retention, vec![expiry]);
        disk.carry_out();
        disk.carry_out();
        assert_eq!(disk.check().messages, 1);
        let last = plan(&disk, Wish::Expire("a".try_into().expect("a topic"), 65_000));
        disk.hand_over(&retention, vec![last]);
        disk.carry_out();
        assert_eq!(disk.check(), RetainedTotals::default());
    }

    #[derive(Debug, Clone)]
    enum Step {
        Plan(Wish),
        HandOver(Vec<usize>),
        GiveUp(usize),
        CarryOut,
        /// What was not carried out is lost.
        Crash,
    }

    fn step() -> impl Strategy<Value = Step> {
        let topic = || prop::sample::select(vec!["a", "b", "c"]);
        let expiry = || prop::option::of(1u32..3);
        let topic_of = |topic: &str| ByteStr::try_from(topic).expect("a topic");
        prop_oneof![
            6 => (topic(), 0usize..30, expiry()).prop_map(|(topic, length, expiry_s)| Step::Plan(Wish::Keep(message(topic, length, expiry_s)))),
            2 => topic().prop_map(move |topic| Step::Plan(Wish::Forget(topic_of(topic)))),
            2 => (topic(), 1u64..3).prop_map(move |(topic, s)| Step::Plan(Wish::Expire(topic_of(topic), 5_000 + s * 1_000))),
            6 => prop::collection::vec(0usize..8, 1..4).prop_map(Step::HandOver),
            1 => (0usize..8).prop_map(Step::GiveUp),
            4 => Just(Step::CarryOut),
            1 => Just(Step::Crash),
        ]
    }

    proptest! {
        /// In whatever order changes are planned, handed over and carried out, what can be read and what a crash leaves agree with the
        /// totals; and nothing is remembered when nothing is under way.
        #[test]
        fn the_totals_are_those_of_what_is_there(steps in prop::collection::vec(step(), 0..80)) {
            let (mut retention, mut disk, mut planned) = (Retention::new(NO_LIMIT), Disk::new(), Vec::new());
            for step in steps {
                match step {
                    Step::Plan(wish) => planned.extend(retention.plan(wish, &disk.store).ok()),
                    Step::HandOver(which) => {
                        let mut changes = Vec::new();
                        for at in which {
                            if !planned.is_empty() {
                                changes.push(planned.swap_remove(at % planned.len()));
                            }
                        }
                        disk.hand_over(&retention, changes);
                    }
                    Step::GiveUp(at) => drop((!planned.is_empty()).then(|| planned.swap_remove(at % planned.len()))),
                    Step::CarryOut => disk.carry_out(),
                    Step::Crash => {
                        planned.clear();
                        disk.commits.clear();
                        retention = Retention::new(NO_LIMIT);
                        retention.start(disk.check());
                    }
                }
                disk.check();
            }
            while !disk.commits.is_empty() {
                disk.carry_out();
                disk.check();
            }
            drop(planned);
            prop_assert_eq!(disk.check(), retention.totals());
            let ledger = retention.ledger.lock();
            prop_assert!(ledger.topics.is_empty() && ledger.reserved == RetainedTotals::default());
        }
    }
}
