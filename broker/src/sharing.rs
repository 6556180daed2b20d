//! Messages of shared subscriptions: to one member of the group, and on to another when that one goes away.
//!
//! A member that goes away hands on what it has not been sent. What is in flight to it stays with its session, since it may have
//! it; when the session ends, QoS 1 goes on to another, and QoS 2 goes with the session [MQTT-4.8.2-5]. What a client has
//! refused is done with [MQTT-4.8.2-6].
//!
//! Where it waits, there it is found: in the memory of a connection ([`Inner::hand_on`]), or in the stored queue of a session, page by page,
//! each taken from one queue and put into the others in one commit ([`Leaving`]).

use crate::broker::Inner;
use crate::codec::QoS;
use crate::groups::{Group, Offered, Reach};
use crate::link::{Delivery, Event, Link, Pushed};
use crate::message::Message;
use crate::mutation::{Mutation, mutated};
use crate::plain::{Durable, queued};
use crate::registry::Claim;
use crate::router::SubscriptionOptions;
use crate::session::Session;
use crate::shared::SharedMessage;
use crate::source::{ReadLimit, SourceId};
use crate::store::{Committed, Cursors, SessionKey, SessionRecord, StoreError, StoreOp};
use crate::topic::is_shared;
use std::sync::Arc;
use std::task::Waker;
use tokio::sync::oneshot;

/// How much of a queue is handed on in one commit.
const PAGE: ReadLimit = ReadLimit { items: 64, bytes: 256 * 1024 };

/// Why no member of a group took a message.
enum Missed {
    /// There is nobody that it could go to.
    Nobody,
    /// It was QoS 0, and there was no room for it.
    Full,
    /// It was QoS 1 or 2, and there was no room for it, here for one.
    Overflow(Arc<Link>, SubscriptionOptions),
}

/// The stored queue of a session that goes away.
pub(crate) struct Leaving {
    session: SessionKey,
    /// Looked at up to here.
    after: u64,
    reach: Reach,
    /// Up to here, what is not in flight has been acknowledged.
    settled_up_to: u64,
    /// QoS 1 that was in flight, by position, ascending.
    in_flight: Vec<u64>,
    /// QoS 2 that the client has, or may have, seen; by position, ascending.
    flights: Vec<u64>,
}

impl Leaving {
    /// A session whose connection is over: what it was not sent, everything after `sent`, for whoever is connected.
    pub(crate) fn connection(session: SessionKey, sent: u64, cursors: &Cursors) -> Leaving {
        let flights = flights(cursors);
        Leaving {
            session,
            after: sent,
            reach: Reach::Connected,
            settled_up_to: 0,
            in_flight: Vec::new(),
            flights,
        }
    }

    /// A session that ends: all that it has not acknowledged, for whoever there is. Without a shared subscription there is nothing to
    /// look for: what came by one that was given up goes with the session.
    pub(crate) fn session(session: SessionKey, record: &SessionRecord, cursors: &Cursors) -> Leaving {
        let cursor = cursors.positions.iter().find(|(source, _)| is_queue(source)).map_or(0, |(_, at)| *at);
        let shares = record.subscriptions.iter().any(|subscription| is_shared(&subscription.filter));
        let mut in_flight = Vec::new();
        let flights = flights(cursors);
        let mut settled_up_to = 0;
        // After an unclean stop it is not known what was in flight of QoS 1: everything may have been.
        if record.clean_stop {
            let sent = record.in_flight.iter().filter(|sent| is_queue(&sent.source));
            in_flight.extend(sent.map(|sent| sent.position));
            in_flight.sort_unstable();
            let read = record.read.iter().find(|(source, _)| is_queue(source));
            settled_up_to = read.map_or(0, |(_, at)| *at);
        }
        let after = if shares { cursor } else { u64::MAX };
        Leaving { session, after, reach: Reach::All, settled_up_to, in_flight, flights }
    }

    /// Whether an item of the queue goes to another: not what the client has acknowledged, and no QoS 2 that it may have seen.
    fn goes_on(&self, position: u64) -> bool {
        if mutated(Mutation::HandsOnWhatWasBegun) {
            return true;
        }
        let in_flight = || self.in_flight.binary_search(&position).is_ok();
        self.flights.binary_search(&position).is_err() && (position > self.settled_up_to || in_flight())
    }
}

fn is_queue(source: &SourceId) -> bool {
    &*source.0 == SourceId::QUEUE
}

fn flights(cursors: &Cursors) -> Vec<u64> {
    let flights = cursors.flights.iter().filter(|flight| is_queue(&flight.source));
    let mut positions: Vec<u64> = flights.map(|flight| flight.position).collect();
    positions.sort_unstable();
    positions
}

impl Inner {
    /// Gives a message to one member of a group. One that nobody has room for ends the connection of someone who should have had, as it
    /// would that of any clean session.
    pub(crate) fn give_to_group(
        &self,
        group: &Arc<Group>,
        message: &Arc<SharedMessage>,
        durable: &mut Durable,
    ) {
        match offer_to_group(group, message, Reach::All, durable) {
            Ok(()) | Err(Missed::Nobody) => {}
            Err(Missed::Full) => self.stats.dropped_mailbox_full.count(),
            // As if it were its alone: in where the mailbox has room, or the end of a connection that is too slow.
            Err(Missed::Overflow(link, options)) => match link.deliver(delivery(group, message, options)) {
                Pushed::Taken => {}
                Pushed::Dropped | Pushed::Offline => self.stats.dropped_shared.count(),
                Pushed::Overflow => {
                    self.stats.dropped_shared.count();
                    self.stats.sessions_overflown.count();
                }
            },
        }
    }

    /// Whether a filter is a shared one with somebody connected.
    pub(crate) fn has_others(&self, filter: &str) -> bool {
        is_shared(filter) && self.groups.get(filter).is_some_and(|group| group.members.lock().has_connected())
    }

    /// Hands on what waited in the memory of a connection that is over, or was in flight to a session that ends with it.
    pub(crate) fn hand_on(self: &Arc<Self>, deliveries: Vec<Delivery>) {
        let mut durable = Durable::default();
        for delivery in deliveries {
            let Some(filter) = delivery.share else { continue };
            self.hand_on_one(&filter, &delivery.message, Reach::All, &mut durable);
        }
        self.commit_durable(durable, None);
    }

    /// Hands on a message of a queue; whether a member took it.
    pub(crate) fn hand_on_queued(&self, message: &Message, reach: Reach, durable: &mut Durable) -> bool {
        let shared = Delivery::shared(message);
        let shared = shared.and_then(|delivery| Some((delivery.share?, delivery.message)));
        shared.is_some_and(|(filter, message)| self.hand_on_one(&filter, &message, reach, durable))
    }

    fn hand_on_one(
        &self,
        filter: &Arc<str>,
        message: &Arc<SharedMessage>,
        reach: Reach,
        durable: &mut Durable,
    ) -> bool {
        let offered = match self.groups.get(filter) {
            Some(group) => offer_to_group(&group, message, reach, durable),
            None => Err(Missed::Nobody),
        };
        match offered {
            Ok(()) => {
                self.stats.shared_handed_on.count();
                return true;
            }
            // It is in a queue, and stays there.
            Err(_) if reach == Reach::Connected => return false,
            Err(Missed::Overflow(..)) => {
                // They may have room in a moment: it is a whole session's messages that came at once.
                self.park(filter, SharedMessage::new(message.detached()));
                return false;
            }
            Err(_) => self.stats.dropped_shared.count(),
        }
        false
    }

    fn park(&self, filter: &Arc<str>, message: Arc<SharedMessage>) {
        if !self.groups.parked.park(filter, message, &self.config.mailbox) {
            self.stats.dropped_shared.count();
        }
    }

    /// Offers again what waits for room in some group. Called every tick.
    pub(crate) fn offer_parked(self: &Arc<Self>) {
        let mut durable = Durable::default();
        for (filter, queue) in self.groups.parked.take() {
            let group = self.groups.get(&filter);
            let mut messages = queue.messages.into_iter();
            for message in messages.by_ref() {
                let offered = match &group {
                    Some(group) => offer_to_group(group, &message, Reach::All, &mut durable),
                    None => Err(Missed::Nobody),
                };
                match offered {
                    Ok(()) => self.stats.shared_handed_on.count(),
                    Err(Missed::Overflow(..)) => {
                        self.park(&filter, message);
                        break;
                    }
                    Err(Missed::Nobody | Missed::Full) => self.stats.dropped_shared.count(),
                }
            }
            // Nor is there room for the rest, then.
            messages.for_each(|message| self.park(&filter, message));
        }
        self.commit_durable(durable, None);
    }

    /// Hands on what the end of a connection leaves behind, when its session has left its groups, or, where it is kept, stepped
    /// back.
    pub(crate) async fn hand_on_end(
        self: &Arc<Self>,
        session: &mut Session,
        claim: &Claim,
        kept: bool,
    ) -> Result<(), StoreError> {
        let mut left = session.take_shared();
        let mut events = Vec::new();
        claim.link.take(&mut events, Waker::noop());
        left.extend(events.into_iter().filter_map(|event| match event {
            Event::Deliver(delivery) if delivery.is_shared() => Some(delivery),
            _ => None,
        }));
        if !left.is_empty() {
            self.hand_on(left);
        }
        let Some(sent) = session.queue_sent().filter(|_| session.client.persistent) else { return Ok(()) };
        let key = session.client.session.clone();
        if !kept {
            let record = session.record(self.config.clock.now_ms());
            return self.hand_on_left(Leaving::session(key, &record, &session.cursors()), || false).await;
        }
        // When the server stops, everyone keeps what is stored for them.
        if sent >= *claim.link.queue()
            || *self.stopping().borrow()
            || !session.subscriptions().iter().any(|subscription| self.has_others(&subscription.filter))
        {
            return Ok(());
        }
        let leaving = Leaving::connection(key, sent, &session.cursors());
        self.hand_on_left(leaving, || claim.is_wanted()).await
    }

    /// Hands on the next page of a queue; false at its end, with nothing done. `then` is called when it is durable.
    fn hand_on_page(self: &Arc<Self>, leaving: &mut Leaving, then: Committed) -> Result<bool, StoreError> {
        if leaving.after == u64::MAX {
            return Ok(false);
        }
        let read = self.store.read_queue(&leaving.session, leaving.after, PAGE)?;
        if read.items.is_empty() {
            return Ok(false);
        }
        leaving.after = read.next;
        let mut durable = Durable { then: Some(then), ..Durable::default() };
        for item in read.items {
            let Some(message) = item.message.filter(|message| message.share.is_some()) else { continue };
            if leaving.goes_on(item.position) && self.hand_on_queued(&message, leaving.reach, &mut durable) {
                durable.ops.push(StoreOp::Dequeue(leaving.session.clone(), item.position));
            }
        }
        if durable.ops.is_empty() {
            // Nothing here was shared, or nobody takes it.
            durable.then.take().into_iter().for_each(|then| then(Ok(())));
        }
        self.commit_durable(durable, None);
        Ok(true)
    }

    /// Hands on what is left in the queue of a session that goes away, until `enough` says that it is back. Returns when that is durable.
    pub(crate) async fn hand_on_left(
        self: &Arc<Self>,
        mut leaving: Leaving,
        enough: impl Fn() -> bool,
    ) -> Result<(), StoreError> {
        while !enough() {
            let (sender, receiver) = oneshot::channel();
            let then = Box::new(move |result| {
                // Nobody waits any more when the server is going down.
                let _ = sender.send(result);
            });
            if !self.hand_on_page(&mut leaving, then)? {
                return Ok(());
            }
            receiver.await.map_err(|_| no_answer())??;
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// The same, where blocking is allowed.
    pub(crate) fn hand_on_left_blocking(self: &Arc<Self>, mut leaving: Leaving) -> Result<(), StoreError> {
        loop {
            let (sender, receiver) = std::sync::mpsc::channel();
            let then = Box::new(move |result| {
                let _ = sender.send(result);
            });
            if !self.hand_on_page(&mut leaving, then)? {
                return Ok(());
            }
            receiver.recv().map_err(|_| no_answer())??;
        }
    }
}

fn no_answer() -> StoreError {
    StoreError::new("the store gave no answer while messages were handed on")
}

/// Offers a message to the members of a group until one takes it.
fn offer_to_group(
    group: &Arc<Group>,
    message: &Arc<SharedMessage>,
    reach: Reach,
    durable: &mut Durable,
) -> Result<(), Missed> {
    // Nothing of QoS 0 waits for anybody.
    let reach = if message.qos == QoS::AtMostOnce { Reach::Connected } else { reach };
    let mut missed = Missed::Nobody;
    let taken = group.members.lock().offer(reach, |link: &Arc<Link>, options, connected| {
        let delivery = delivery(group, message, options);
        let qos = delivery.qos;
        if qos > QoS::AtMostOnce && link.is_persistent() {
            if connected && !link.is_connected() {
                return Offered::Away;
            }
            durable.queued.push((Arc::clone(link), queued(delivery)));
            return Offered::Taken;
        }
        if !connected {
            return Offered::Away;
        }
        match link.offer(delivery) {
            Pushed::Taken => Offered::Taken,
            Pushed::Offline => Offered::Away,
            Pushed::Dropped | Pushed::Overflow => {
                if qos > QoS::AtMostOnce {
                    missed = Missed::Overflow(Arc::clone(link), options);
                } else if matches!(missed, Missed::Nobody) {
                    missed = Missed::Full;
                }
                Offered::Full
            }
        }
    });
    if taken { Ok(()) } else { Err(missed) }
}

/// A message as one member of a group gets it [MQTT-4.8.2-3].
fn delivery(group: &Group, message: &Arc<SharedMessage>, options: SubscriptionOptions) -> Delivery {
    let granted = QoS::from_u8(options.qos).unwrap_or(QoS::AtMostOnce);
    Delivery {
        qos: if mutated(Mutation::SharesAsPublished) { message.qos } else { message.qos.min(granted) },
        retain: message.retain && options.retain_as_published,
        identifiers: options.id.map(std::num::NonZeroU32::get).into_iter().collect(),
        share: Some(Arc::clone(&group.filter)),
        message: Arc::clone(message),
    }
}
