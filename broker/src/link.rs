//! A link: the mailbox between everything that has something for a session and the one task that owns it.
//!
//! Others push events under a short lock and wake the task at most once per batch; the task takes all events at once. A link
//! outlives its connection while an offline session holds plain filters: the router then still points at it, and it costs what
//! [`Link`] takes (see `memory` below) and no queue in memory.
//!
//! Bounds: plain deliveries by items and bytes ([`Bounds`]); QoS 0 beyond them is dropped and counted, QoS 1 and 2 beyond
//! them end the connection. Tails beyond theirs are forgotten: the session reads the source from the store instead.

use crate::codec::{PacketId, QoS, ReasonCode};
use crate::hook::{AuthStep, Done, Exchange, Grant, Standing};
use crate::message::{Identifiers, Message, Share};
use crate::shared::SharedMessage;
use crate::source::Tail;
use crate::store::{SessionKey, StoreError};
use parking_lot::Mutex;
use std::cell::RefCell;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Waker;
use tokio::sync::oneshot;

/// How much may wait in a mailbox.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Plain deliveries.
    pub items: u32,
    /// Bytes of plain deliveries.
    pub bytes: u32,
    /// Items of tails.
    pub tail_items: u32,
}

/// A plain message for a session.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// The message, shared by all who get it.
    pub message: Arc<SharedMessage>,
    /// The QoS to deliver with.
    pub qos: QoS,
    /// The RETAIN flag to deliver with.
    pub retain: bool,
    /// The identifiers of the subscriptions that matched.
    pub identifiers: Identifiers,
    /// The shared filter that brought it, if one did: who goes away before it is done hands it on.
    pub share: Option<Arc<str>>,
}

impl Delivery {
    /// Whether a shared subscription brought it.
    pub fn is_shared(&self) -> bool {
        self.share.is_some()
    }

    /// A message of a stored queue that a shared subscription brought, as it was published; `None` for any other.
    pub fn shared(queued: &Message) -> Option<Delivery> {
        let Share { filter, qos, retain } = queued.share.clone()?;
        let identifiers = queued.identifiers.clone();
        let (delivered, retained) = (queued.qos, queued.retain);
        let published =
            Message { qos, retain, identifiers: Identifiers::new(), share: None, ..queued.clone() };
        let message = SharedMessage::new(published);
        Some(Delivery { message, qos: delivered, retain: retained, identifiers, share: Some(filter) })
    }

    /// The same, without keeping alive what else was read with the message: for one that may wait long.
    #[must_use]
    pub fn detached(self) -> Delivery {
        Delivery { message: SharedMessage::new(self.message.detached()), ..self }
    }
}

/// Something that a session's task has to look at.
pub enum Event {
    /// A plain message.
    Deliver(Delivery),
    /// New items of a source the session reads.
    Tail(Arc<Tail>),
    /// A source has more than what was pushed.
    Behind(crate::source::SourceId),
    /// Commands of this connection that were answered.
    Done(u64, Vec<Done>),
    /// The application granted filters that this connection asked for, or could not.
    Granted(u64, Result<Vec<Grant>, StoreError>),
    /// A commit of this session is durable, or never will be.
    Stored(u64, Result<(), StoreError>),
    /// The application took a step of an authentication.
    Authenticated(u64, Option<Box<dyn Exchange>>, AuthStep),
    /// The end of these QoS 2 publishes is durable.
    Released(u64, Vec<PacketId>),
    /// The QoS 2 messages to this client are durable as they were handed over last.
    FlightsStored(u64),
    /// What the application allows has changed: the session is to ask again about its filters, and to say how many were
    /// revoked when that is in effect and stored. Dropped unanswered by a connection that ends before it has asked.
    Recheck(oneshot::Sender<usize>),
    /// The application looked again at the filters of this connection, or could not.
    Rechecked(u64, Result<Vec<Standing>, StoreError>),
    /// What stands in the mailbox before this may have been put there for a filter that was revoked; what stands behind it
    /// was not.
    Swept,
    /// A message for this session alone, if a subscription of it matches.
    Direct(Arc<SharedMessage>),
    /// The value that a topic has now, for this session alone, if it has subscribed to that topic by name.
    Latest(Arc<SharedMessage>),
    /// Nothing is to be read from the connection before this time, in Unix milliseconds.
    Hold(u64),
    /// Something is due.
    Timer,
    /// The connection is to end, with this reason.
    Close(ReasonCode, &'static str),
}

/// What became of a plain delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushed {
    /// It is in the mailbox.
    Taken,
    /// The mailbox is full, and the message is QoS 0 or was only offered.
    Dropped,
    /// Nobody is connected.
    Offline,
    /// QoS 1 or 2, and the mailbox is full: the connection ends.
    Overflow,
}

#[derive(Default)]
struct Mailbox {
    connected: bool,
    events: Vec<Event>,
    plain_items: usize,
    plain_bytes: usize,
    /// Items and bytes that the task took last; some of them may wait in the session.
    taken: (usize, usize),
    /// What waits in the session, as it said last.
    waiting: (usize, usize),
    tail_items: usize,
    overflown: bool,
    waker: Option<Waker>,
}

/// Memory of empty mailboxes that a thread keeps for others: an idle one holds none. A thread that only pushes, as that of the commit log,
/// has none to spare and asks the allocator, once for each mailbox that it finds empty.
const SPARE_EVENTS: usize = 64;
/// More events than this are not kept room for.
const SPARE_LEN: usize = 1_024;

thread_local! {
    static SPARE: RefCell<Vec<Vec<Event>>> = const { RefCell::new(Vec::new()) };
}

/// Gives back the memory of events that were taken and looked at.
fn give_back(events: &mut Vec<Event>) {
    if events.capacity() == 0 || events.capacity() > SPARE_LEN {
        *events = Vec::new();
        return;
    }
    SPARE.with_borrow_mut(|spare| {
        if spare.len() < SPARE_EVENTS {
            spare.push(std::mem::take(events));
        } else {
            *events = Vec::new();
        }
    });
}

impl Mailbox {
    fn put(&mut self, event: Event) {
        if self.events.capacity() == 0 {
            self.events = SPARE.with_borrow_mut(|spare| spare.pop().unwrap_or_default());
        }
        self.events.push(event);
    }

    fn wake(&mut self) -> Option<Waker> {
        self.waker.take()
    }

    fn overflow(&mut self) -> Option<Waker> {
        if !self.overflown {
            self.overflown = true;
            self.put(Event::Close(
                ReasonCode::QuotaExceeded,
                "this client takes its messages too slowly: its queue is full",
            ));
        }
        self.wake()
    }
}

/// The way to a session. See the module's text.
pub struct Link {
    /// Whose it is.
    pub key: SessionKey,
    bounds: Bounds,
    mailbox: Mutex<Mailbox>,
    /// Whether the session outlives its connection: plain QoS 1 then goes through its stored queue.
    persistent: AtomicBool,
    /// The last position given out in the session's stored queue. Held while a commit is handed over, so that
    /// the order of positions is the order of commits. A message moves it by the bytes it counts.
    queue: Mutex<u64>,
    /// How far the session has acknowledged its queue: what lies between this and the last position waits, in bytes.
    done: AtomicU64,
    /// The queue has outgrown its limit: the session ends, and gets nothing more until it has.
    outgrown: AtomicBool,
    /// Unix milliseconds at which the task wants to be woken; `u64::MAX` for never.
    deadline: AtomicU64,
    /// When the timers will look at this link; `u64::MAX` for never. The task sets the deadline and looks at this, the timers do the
    /// reverse: with it, sequentially consistent, so that one of them sees the other.
    scheduled: AtomicU64,
}

/// Equal only to itself.
impl PartialEq for Link {
    fn eq(&self, other: &Link) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Eq for Link {}

impl Hash for Link {
    fn hash<H: Hasher>(&self, state: &mut H) {
        std::ptr::from_ref(self).hash(state);
    }
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").field("key", &self.key).finish_non_exhaustive()
    }
}

impl Link {
    /// A link that nobody is connected to yet.
    pub fn new(key: SessionKey, bounds: Bounds) -> Arc<Link> {
        Arc::new(Link {
            key,
            bounds,
            mailbox: Mutex::default(),
            persistent: AtomicBool::new(false),
            queue: Mutex::new(0),
            done: AtomicU64::new(0),
            outgrown: AtomicBool::new(false),
            deadline: AtomicU64::new(u64::MAX),
            scheduled: AtomicU64::new(u64::MAX),
        })
    }

    /// Whether the session outlives its connection.
    pub fn set_persistent(&self, persistent: bool) {
        self.persistent.store(persistent, Ordering::Release);
    }

    /// The session's queue begins, or goes on behind `end`; it is acknowledged up to `done`.
    pub(crate) fn begin_queue(&self, end: u64, done: u64) {
        let mut queue = self.queue.lock();
        *queue = end.max(*queue);
        self.set_done(done);
        self.set_persistent(true);
    }

    /// The end of the session's queue, where it has had one since it was indexed: what the store knows of it comes from here.
    pub(crate) fn queue_end(&self) -> Option<u64> {
        let queue = self.queue.lock();
        Some(*queue).filter(|end| self.is_persistent() && *end > 0)
    }

    /// The session has acknowledged its queue up to here.
    pub(crate) fn set_done(&self, position: u64) {
        self.done.store(position, Ordering::Relaxed);
    }

    /// Bytes that would wait with another message behind the queue's end.
    pub(crate) fn waiting_with(&self, end: u64, bytes: u64) -> u64 {
        (end + bytes).saturating_sub(self.done.load(Ordering::Relaxed))
    }

    /// The queue is too long: the connection, if there is one, is told, and from then on nothing more is queued. Called under the
    /// queue's lock: what is delivered behind a message that was left out comes behind the end of the connection too.
    pub(crate) fn outgrow(&self) {
        self.push(Event::Close(
            ReasonCode::QuotaExceeded,
            "more waits for this session than it may keep: it has ended, and with it all that waited",
        ));
        self.outgrown.store(true, Ordering::Release);
        self.set_persistent(false);
    }

    /// Whether the session is to end because its queue was too long.
    pub(crate) fn is_outgrown(&self) -> bool {
        self.outgrown.load(Ordering::Acquire)
    }

    /// The session that had outgrown its queue is no more.
    pub(crate) fn forget_outgrown(&self) {
        self.outgrown.store(false, Ordering::Release);
    }

    /// The session ends: nothing is queued for it from now on.
    pub fn end_queue(&self) {
        // Under the queue's lock, so that nothing is queued behind the session's removal.
        let _queue = self.queue.lock();
        self.set_persistent(false);
    }

    /// Marks a task as the owner of the session, with an empty mailbox.
    pub fn connect(&self) {
        let mut mailbox = self.mailbox.lock();
        *mailbox = Mailbox { connected: true, ..Mailbox::default() };
    }

    /// The task is gone; what waited is dropped, since it is either in the store or was promised to nobody.
    pub fn disconnect(&self) {
        self.deadline.store(u64::MAX, Ordering::SeqCst);
        *self.mailbox.lock() = Mailbox::default();
    }

    /// Whether a task owns the session.
    pub fn is_connected(&self) -> bool {
        self.mailbox.lock().connected
    }

    /// Whether plain QoS 1 and 2 go through the session's stored queue.
    pub fn is_persistent(&self) -> bool {
        self.persistent.load(Ordering::Acquire)
    }

    /// The last position of the stored queue, under its lock.
    pub fn queue(&self) -> parking_lot::MutexGuard<'_, u64> {
        self.queue.lock()
    }

    /// Pushes an event that is never dropped. False when nobody is connected.
    pub fn push(&self, event: Event) -> bool {
        let waker = {
            let mut mailbox = self.mailbox.lock();
            if !mailbox.connected {
                return false;
            }
            mailbox.put(event);
            mailbox.wake()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        true
    }

    /// Pushes new items of a source; too many of them become a note that there is more to read.
    pub fn push_tail(&self, tail: &Arc<Tail>) {
        let waker = {
            let mut mailbox = self.mailbox.lock();
            if !mailbox.connected {
                return;
            }
            if mailbox.tail_items >= self.bounds.tail_items as usize {
                if mailbox.tail_items != usize::MAX {
                    mailbox.tail_items = usize::MAX;
                }
                let known = mailbox
                    .events
                    .iter()
                    .any(|event| matches!(event, Event::Behind(source) if *source == tail.source));
                if !known {
                    mailbox.put(Event::Behind(tail.source.clone()));
                }
            } else {
                mailbox.tail_items += tail.items.len();
                mailbox.put(Event::Tail(Arc::clone(tail)));
            }
            mailbox.wake()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Pushes a plain message, within the bounds.
    pub fn deliver(&self, delivery: Delivery) -> Pushed {
        self.push_plain(delivery, true)
    }

    /// The same for a message that someone else can take: it is left out where there is no room, here or in the session, and the
    /// connection goes on.
    pub fn offer(&self, delivery: Delivery) -> Pushed {
        self.push_plain(delivery, false)
    }

    fn push_plain(&self, delivery: Delivery, must: bool) -> Pushed {
        let waker = {
            let mut mailbox = self.mailbox.lock();
            if !mailbox.connected {
                return Pushed::Offline;
            }
            let weight = delivery.message.weight();
            let (mut items, mut bytes) = (mailbox.plain_items, mailbox.plain_bytes + weight);
            if !must {
                items += mailbox.taken.0 + mailbox.waiting.0;
                bytes += mailbox.taken.1 + mailbox.waiting.1;
            }
            if items >= self.bounds.items as usize || bytes > self.bounds.bytes as usize {
                if !must || delivery.qos == QoS::AtMostOnce {
                    return Pushed::Dropped;
                }
                let waker = mailbox.overflow();
                drop(mailbox);
                if let Some(waker) = waker {
                    waker.wake();
                }
                return Pushed::Overflow;
            }
            mailbox.plain_items += 1;
            mailbox.plain_bytes += weight;
            mailbox.put(Event::Deliver(delivery));
            mailbox.wake()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        Pushed::Taken
    }

    /// Pushes a message that may be lost, for this session alone if a subscription of it matches. It counts as a plain one, and is left
    /// out where there is no room.
    pub fn signal(&self, message: Arc<SharedMessage>) -> Pushed {
        let weight = message.weight();
        self.push_if_room(Event::Direct(message), weight)
    }

    /// The same for the value that a topic has now.
    pub fn latest(&self, message: Arc<SharedMessage>) -> Pushed {
        let weight = message.weight();
        self.push_if_room(Event::Latest(message), weight)
    }

    fn push_if_room(&self, event: Event, weight: usize) -> Pushed {
        let waker = {
            let mut mailbox = self.mailbox.lock();
            if !mailbox.connected {
                return Pushed::Offline;
            }
            let bytes = mailbox.plain_bytes + weight;
            if mailbox.plain_items >= self.bounds.items as usize || bytes > self.bounds.bytes as usize {
                return Pushed::Dropped;
            }
            mailbox.plain_items += 1;
            mailbox.plain_bytes = bytes;
            mailbox.put(event);
            mailbox.wake()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        Pushed::Taken
    }

    /// Takes all events, and registers who is to be woken for the next. `into` is empty; its memory goes to whoever needs some next.
    pub fn take(&self, into: &mut Vec<Event>, waker: &Waker) {
        debug_assert!(into.is_empty(), "events that nobody looked at");
        give_back(into);
        let mut mailbox = self.mailbox.lock();
        *into = std::mem::take(&mut mailbox.events);
        mailbox.taken = (mailbox.plain_items, mailbox.plain_bytes);
        mailbox.plain_items = 0;
        mailbox.plain_bytes = 0;
        mailbox.tail_items = 0;
        match &mut mailbox.waker {
            Some(known) if known.will_wake(waker) => {}
            slot => *slot = Some(waker.clone()),
        }
    }

    /// What waits in the session for its window, items and bytes.
    pub(crate) fn set_waiting(&self, waiting: (usize, usize)) {
        let mut mailbox = self.mailbox.lock();
        mailbox.waiting = waiting;
        mailbox.taken = (0, 0);
    }

    /// When the task wants to be woken, Unix milliseconds.
    pub fn deadline(&self) -> u64 {
        self.deadline.load(Ordering::SeqCst)
    }

    /// Sets when the task wants to be woken.
    pub(crate) fn set_deadline(&self, at_ms: u64) {
        self.deadline.store(at_ms, Ordering::SeqCst);
    }

    /// When the timers will look at this link, Unix milliseconds.
    pub(crate) fn scheduled(&self) -> u64 {
        self.scheduled.load(Ordering::SeqCst)
    }

    /// Notes when the timers will look at this link.
    pub(crate) fn set_scheduled(&self, at_ms: u64) {
        self.scheduled.store(at_ms, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests;
