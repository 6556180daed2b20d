//! Plain publishes: from a publisher through the router to the sessions that match, durable first where a promise hangs on it.
//!
//! A session that outlives its connection gets QoS 1 through its stored queue: the message is appended there, committed, and only
//! then acknowledged to the publisher and announced to the session. So is a retained message. Everyone else gets
//! the message at once, from memory.

use crate::broker::Inner;
use crate::codec::{QoS, ReasonCode, Version};
use crate::groups::{Group, Reach};
use crate::hook::{Client, Done, Outcome};
use crate::link::{Delivery, Link, Pushed};
use crate::message::{Message, Share};
use crate::mutation::{Mutation, mutated};
use crate::retention::{Change, Unplanned, Wish};
use crate::router::MatchCache;
use crate::session::{Plain, queue_source};
use crate::shared::SharedMessage;
use crate::source::{Item, Tail};
use crate::store::{Committed, Due, StoreError, StoreOp};
use crate::topic::is_system;
use bytes::Bytes;
use std::sync::Arc;

/// Who gets a message, in the router.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Subscriber {
    /// A session.
    Session(Arc<Link>),
    /// A shared subscription: one of its members.
    Group(Arc<Group>),
}

/// What is to be durable before publishers are told so.
#[derive(Default)]
pub(crate) struct Durable {
    /// Messages for sessions' queues.
    pub(crate) queued: Vec<(Arc<Link>, Message)>,
    /// Changes of what is retained.
    pub(crate) retained: Vec<Change>,
    /// What else is to be in the commit.
    pub(crate) ops: Vec<StoreOp>,
    /// What the publisher is told then.
    pub(crate) answers: Vec<Done>,
    /// Called then.
    pub(crate) then: Option<Committed>,
}

/// What became of a publish that was carried out.
struct Published {
    /// Its acknowledgement has to wait for the commit.
    waits: bool,
    /// Somebody had a matching subscription.
    matched: bool,
}

/// Why a publish was not carried out: what its publisher is told.
struct Refused(ReasonCode, &'static str);

impl Inner {
    /// Carries out the plain publishes of one turn. What can be answered at once is in the result; the rest is answered after
    /// its commit.
    pub(crate) fn publish_all(
        self: &Arc<Self>,
        from: &Arc<Client>,
        cache: &mut MatchCache<Subscriber>,
        plains: Vec<Plain>,
    ) -> Vec<Done> {
        let mut durable = Durable::default();
        let mut answered = Vec::new();
        for Plain { token, message, received } in plains {
            let once = received.is_some();
            let published = self.publish(Some(&from.link), cache, message, &mut durable);
            let (waits, outcome) = match published {
                Ok(Published { waits, matched }) => {
                    durable.ops.extend(received.map(StoreOp::Receive));
                    let tells = !matched && from.version == Version::V5;
                    let code = if tells { ReasonCode::NoMatchingSubscribers } else { ReasonCode::Success };
                    (waits || once, Outcome { code, ..Outcome::SUCCESS })
                }
                Err(Refused(code, sentence)) => {
                    (false, Outcome { code, reason: Some(sentence.to_owned()), ..Outcome::SUCCESS })
                }
            };
            if token != 0 {
                let done = Done { token, outcome };
                if waits { durable.answers.push(done) } else { answered.push(done) }
            }
        }
        self.commit_durable(durable, Some(Arc::clone(from)));
        answered
    }

    /// Publishes a message for which nobody waits, such as a will; `from` is the session it comes from, where it comes from one.
    pub(crate) fn publish_quietly(self: &Arc<Self>, from: Option<&Arc<Link>>, message: Message) {
        let mut durable = Durable::default();
        let topic = message.topic.clone();
        if let Err(Refused(_, sentence)) =
            self.publish(from, &mut MatchCache::new(0, 0), message, &mut durable)
        {
            tracing::warn!(topic = &*topic, "a message that nobody waits for was not published: {sentence}");
        }
        self.commit_durable(durable, None);
    }

    /// Gives a message to all who match, and retains it if it asks for that.
    fn publish(
        &self,
        from: Option<&Arc<Link>>,
        cache: &mut MatchCache<Subscriber>,
        message: Message,
        durable: &mut Durable,
    ) -> Result<Published, Refused> {
        let mut waits = false;
        if message.retain && is_system(&message.topic) {
            self.sys.keep(&message);
        } else if message.retain || mutated(Mutation::KeepsWithoutRetain) {
            durable.retained.push(self.plan_to_retain(&message)?);
            waits = message.qos > QoS::AtMostOnce;
        }
        let publisher = from.map(|link| Subscriber::Session(Arc::clone(link)));
        let matches = self.router.matches_cached(cache, &message.topic);
        let message = SharedMessage::new(message);
        let mut matched = false;
        for found in matches.iter() {
            let Some(grant) = found.grant(publisher.as_ref()) else { continue };
            matched = true;
            let link = match &found.subscriber {
                Subscriber::Session(link) => link,
                Subscriber::Group(group) => {
                    let queued = durable.queued.len();
                    self.give_to_group(group, &message, durable);
                    waits |= durable.queued.len() > queued;
                    continue;
                }
            };
            let granted = QoS::from_u8(grant.qos).unwrap_or(QoS::AtMostOnce);
            let delivery = Delivery {
                qos: if mutated(Mutation::DeliversAsPublished) {
                    message.qos
                } else {
                    message.qos.min(granted)
                },
                retain: message.retain && passes_retain_on(grant.retain_as_published),
                identifiers: grant.ids.iter().copied().collect(),
                share: None,
                message: Arc::clone(&message),
            };
            if delivery.qos > QoS::AtMostOnce && link.is_persistent() {
                waits = true;
                durable.queued.push((Arc::clone(link), queued(delivery)));
                continue;
            }
            match link.deliver(delivery) {
                Pushed::Dropped => self.stats.dropped_mailbox_full.count(),
                Pushed::Overflow => self.stats.sessions_overflown.count(),
                Pushed::Taken | Pushed::Offline => {}
            }
        }
        Ok(Published { waits, matched })
    }

    fn plan_to_retain(&self, message: &Message) -> Result<Change, Refused> {
        let wish = if message.payload.is_empty() && !mutated(Mutation::KeepsEmpty) {
            Wish::Forget(message.topic.clone()) // [MQTT-3.3.1-6]
        } else if mutated(Mutation::KeepsAtQoS0) {
            Wish::Keep(Message { qos: QoS::AtMostOnce, ..message.clone() })
        } else {
            Wish::Keep(message.clone())
        };
        self.retention.plan(wish, &*self.store).map_err(|unplanned| {
            self.stats.publishes_refused.count();
            match unplanned {
                Unplanned::Full => {
                    self.stats.publishes_refused_retained.count();
                    Refused(ReasonCode::QuotaExceeded, "the server retains as much as it may")
                }
                Unplanned::Store(error) => {
                    self.stats.store_errors.count();
                    tracing::error!(topic = &*message.topic, "a retained message could not be read: {error}");
                    Refused(ReasonCode::ImplementationSpecificError, "the server cannot read its store")
                }
            }
        })
    }

    /// Puts messages into a session's own queue: retained ones it has asked for.
    pub(crate) fn enqueue(self: &Arc<Self>, link: &Arc<Link>, messages: Vec<Message>) {
        let queued = messages.into_iter().map(|message| (Arc::clone(link), message)).collect();
        self.commit_durable(Durable { queued, ..Durable::default() }, None);
    }

    /// Appends to queues and commits. Positions are given under each queue's lock, which is held until the commit is handed
    /// over: their order is the order of commits, and a session never sees a later one first.
    pub(crate) fn commit_durable(self: &Arc<Self>, durable: Durable, from: Option<Arc<Client>>) {
        let Durable { mut queued, retained, mut ops, mut answers, mut then } = durable;
        let does_nothing = queued.is_empty() && retained.is_empty() && ops.is_empty();
        if does_nothing && answers.is_empty() && then.is_none() {
            return;
        }
        // One lock order for all, so that two commits cannot wait for each other.
        queued.sort_by_key(|(link, _)| Arc::as_ptr(link) as usize);
        let mut queues = Vec::new();
        let mut tails = Vec::new();
        let mut homeless = Vec::new();
        let mut rest = &queued[..];
        while let Some((link, _)) = rest.first() {
            let count = rest.iter().take_while(|(other, _)| Arc::ptr_eq(other, link)).count();
            let (mine, others) = rest.split_at(count);
            rest = others;
            let mut queue = link.queue();
            if !link.is_persistent() {
                // The session ended meanwhile; what it shares is another's.
                homeless.extend(mine.iter().filter(|(_, message)| message.share.is_some()).cloned());
                continue;
            }
            let bytes = mine.iter().map(|(_, message)| message.queue_bytes()).sum();
            if link.waiting_with(*queue, bytes) > self.config.max_queue_bytes {
                // Its end is as durable as what is acknowledged here; who ends it finds the mark.
                link.outgrow();
                self.stats.sessions_outgrown.count();
                ops.push(StoreOp::PutDue(Due::outgrown(link.key.clone())));
                homeless.extend(mine.iter().filter(|(_, message)| message.share.is_some()).cloned());
                queues.push(queue);
                continue;
            }
            let mut items = Vec::with_capacity(count);
            for (_, message) in mine {
                *queue += message.queue_bytes();
                ops.push(StoreOp::Enqueue(link.key.clone(), *queue, message.clone()));
                items.push(Item {
                    position: *queue,
                    topic: message.topic.clone(),
                    stored: Bytes::new(),
                    message: Some(message.clone()),
                });
            }
            queues.push(queue);
            tails.push((Arc::clone(link), Arc::new(Tail { source: queue_source(), items })));
        }
        let later = (!homeless.is_empty()).then(|| {
            // They are committed behind this: whoever waits for all of it waits for them.
            Durable { answers: std::mem::take(&mut answers), then: then.take(), ..Durable::default() }
        });
        let (order, under_way) = if retained.is_empty() {
            (None, Vec::new())
        } else {
            let (order, under_way) = self.retention.hand_over(retained, &mut ops);
            (Some(order), under_way)
        };
        let inner = Arc::clone(self);
        let client = from.clone();
        let done = move |result: Result<(), StoreError>| {
            drop(under_way);
            if result.is_ok() {
                for (link, tail) in &tails {
                    link.push_tail(tail);
                }
                if let Some(client) = client.filter(|_| !answers.is_empty()) {
                    client.answer(answers);
                }
            } else {
                inner.stats.store_errors.count();
                if let Some(client) = client {
                    client.close(
                        ReasonCode::ImplementationSpecificError,
                        "the server cannot write to its store",
                    );
                }
            }
            if let Some(then) = then {
                then(result);
            }
        };
        self.store.commit(ops, Some(Box::new(done)));
        drop((order, queues));
        if let Some(mut later) = later {
            let messages = homeless.into_iter().map(|(_, message)| message);
            messages.for_each(|message| _ = self.hand_on_queued(&message, Reach::All, &mut later));
            self.commit_durable(later, from);
        }
    }
}

/// Whether RETAIN goes on with a message to an established subscription [MQTT-3.3.1-12], [MQTT-3.3.1-13].
fn passes_retain_on(as_published: bool) -> bool {
    as_published && !mutated(Mutation::IgnoresRetainAsPublished) || mutated(Mutation::PassesRetainOn)
}

/// The message as it stands in a session's queue: with the flags and identifiers it is to be delivered with.
pub(crate) fn queued(delivery: Delivery) -> Message {
    Message {
        qos: delivery.qos,
        retain: delivery.retain,
        identifiers: delivery.identifiers,
        share: delivery.share.map(|filter| Share {
            filter,
            qos: delivery.message.qos,
            retain: delivery.message.retain,
        }),
        ..(**delivery.message).clone()
    }
}
