//! What the client subscribes to, and what it gets for it.
//!
//! A SUBSCRIBE is decided by the application, then stored where the session outlives its connection, then acknowledged. Meanwhile no
//! further packet of the client is taken, so that what it sends after a SUBSCRIBE comes after it.

use super::feed::{Feed, Reading, has_room};
use super::{Asked, Close, Context, RouteChange, Session, Turn};
use crate::codec::packet::{suback, unsuback};
use crate::codec::{
    ByteStr, PacketId, QoS, ReasonCode, RetainHandling, Suback, Subscribe, Unsuback, Unsubscribe, Version,
};
use crate::hook::{Ask, Grant};
use crate::message::Message;
use crate::mutation::{Mutation, mutated};
use crate::retained::Resume;
use crate::source::{SourceGrant, SourceId, SourceKind};
use crate::store::{StoreError, StoredSession, StoredSubscription};
use crate::topic::{SharedFilter, is_shared, is_system, selector};
use smallvec::SmallVec;
use std::collections::VecDeque;
use std::sync::{Arc, LazyLock};
use tokio::sync::oneshot;

/// The name of a session's own queue.
static QUEUE: LazyLock<SourceId> = LazyLock::new(|| SourceId::new(SourceId::QUEUE));

/// A name for a session's own queue.
pub(crate) fn queue_source() -> SourceId {
    QUEUE.clone()
}

/// Retained messages that are to be looked up and sent, page by page.
#[derive(Debug)]
pub(crate) struct Lookup {
    pub(crate) filter: Arc<str>,
    pub(crate) qos: QoS,
    pub(crate) identifier: Option<u32>,
    /// A page that was read and not sent.
    pub(crate) found: VecDeque<Message>,
    pub(crate) resume: Option<Resume>,
}

/// A SUBSCRIBE or UNSUBSCRIBE on its way.
#[derive(Debug)]
pub(crate) enum Pending {
    /// The application decides.
    Granting { packet_id: PacketId, wanted: Vec<Wanted> },
    /// The application looks at these filters again, and whoever asked for it waits.
    Rechecking { filters: Vec<Arc<str>>, told: Vec<oneshot::Sender<usize>> },
    /// The store writes.
    Saving(Reply),
}

#[derive(Debug)]
pub(crate) struct Wanted {
    subscription: StoredSubscription,
    retain_handling: RetainHandling,
    /// Decided without the application.
    refused: Option<ReasonCode>,
}

#[derive(Debug)]
pub(crate) enum Reply {
    Suback {
        packet_id: PacketId,
        codes: SmallVec<[ReasonCode; 4]>,
        reason: String,
        lookups: Vec<Lookup>,
    },
    Unsuback {
        packet_id: PacketId,
        codes: SmallVec<[ReasonCode; 4]>,
    },
    /// So many subscriptions were revoked.
    Rechecked {
        revoked: usize,
        told: Vec<oneshot::Sender<usize>>,
    },
}

/// Where a subscription begins to read a source.
#[derive(Debug, Clone, Copy)]
struct From {
    /// Where a stored session stands in it.
    cursor: Option<u64>,
    /// Whether the subscription was not there before.
    new: bool,
    /// Whether it is to get the values that are there already.
    send_retained: bool,
}

impl Session {
    pub(super) fn subscribe(
        &mut self,
        subscribe: &Subscribe,
        cx: &Context<'_>,
        turn: &mut Turn,
    ) -> Result<(), Close> {
        let mut new = 0;
        let wanted: Vec<Wanted> = subscribe
            .filters
            .iter()
            .map(|asked| {
                let filter: Arc<str> = Arc::from(asked.filter.as_str());
                let is_new = !self.is_subscribed(&filter);
                let refused = if SharedFilter::parse(&filter).is_err() {
                    // The codec knows the form on 5.0 only; it means the same here on 3.1.1.
                    Some(ReasonCode::TopicFilterInvalid)
                } else if is_system(selector(&filter)) && !self.client.roles.operator {
                    Some(ReasonCode::NotAuthorized)
                } else if is_new && self.subscriptions.len() + new >= cx.config.max_subscriptions {
                    Some(ReasonCode::QuotaExceeded)
                } else {
                    new += usize::from(is_new);
                    None
                };
                let subscription = StoredSubscription {
                    filter,
                    qos: asked.options.qos,
                    no_local: asked.options.no_local,
                    retain_as_published: asked.options.retain_as_published,
                    identifier: subscribe.subscription_id,
                    plain: false,
                };
                Wanted { subscription, retain_handling: asked.options.retain_handling, refused }
            })
            .collect();
        let asks: Vec<Ask> = wanted
            .iter()
            .filter(|wanted| wanted.refused.is_none())
            .map(|wanted| Ask {
                filter: Arc::clone(&wanted.subscription.filter),
                qos: wanted.subscription.qos,
                retain_handling: wanted.retain_handling,
            })
            .collect();
        self.pending = Some(Box::new(Pending::Granting { packet_id: subscribe.packet_id, wanted }));
        if asks.is_empty() {
            return self.granted(Ok(Vec::new()), cx, turn);
        }
        turn.asked = Some(Asked { asks });
        Ok(())
    }

    pub(super) fn is_subscribed(&self, filter: &str) -> bool {
        self.subscriptions.iter().any(|subscription| &*subscription.filter == filter)
    }

    /// The application decided.
    pub(super) fn granted(
        &mut self,
        grants: Result<Vec<Grant>, StoreError>,
        cx: &Context<'_>,
        turn: &mut Turn,
    ) -> Result<(), Close> {
        let (packet_id, wanted) = match self.pending.take().map(|pending| *pending) {
            Some(Pending::Granting { packet_id, wanted }) => (packet_id, wanted),
            other => {
                self.pending = other.map(Box::new);
                return Ok(());
            }
        };
        let Ok(grants) = grants else {
            cx.stats.store_errors.count();
            return Err(Close::server(
                ReasonCode::ImplementationSpecificError,
                "the server cannot store subscriptions now; connect again later",
            ));
        };
        let mut grants = grants.into_iter();
        let mut codes = SmallVec::new();
        let mut lookups = Vec::new();
        let mut reason = String::new();
        let mut changed = false;
        for wanted in wanted {
            let grant = match wanted.refused {
                Some(code) => Grant::Refused(code, own_refusal(code)),
                None => grants.next().unwrap_or(Grant::Refused(ReasonCode::UnspecifiedError, "")),
            };
            let grant = match grant {
                Grant::Granted { sources, .. } if !has_room(&self.feeds, &sources) => Grant::Refused(
                    ReasonCode::QuotaExceeded,
                    "this session has a place in as many logs as it may; a clean start gives them up",
                ),
                grant => grant,
            };
            match grant {
                Grant::Refused(code, sentence) => {
                    codes.push(code);
                    // One reason string for the packet: each different sentence once.
                    if !sentence.is_empty() && !reason.contains(sentence) {
                        reason.push_str(if reason.is_empty() { "" } else { "; " });
                        reason.push_str(sentence);
                    }
                }
                Grant::Granted { plain: false, .. } if is_shared(&wanted.subscription.filter) => {
                    // A source has one reader for each session: there is nothing to share.
                    codes.push(ReasonCode::SharedSubscriptionsNotSupported);
                }
                Grant::Granted { qos, plain, sources } => {
                    let mut subscription = wanted.subscription;
                    subscription.qos = subscription.qos.min(qos);
                    codes.push(subscription.qos.granted());
                    changed = true;
                    let new = !self.is_subscribed(&subscription.filter);
                    let send_retained = match wanted.retain_handling {
                        RetainHandling::Send => true,
                        RetainHandling::SendIfNew => new || mutated(Mutation::IgnoresRetainHandling1),
                        RetainHandling::DoNotSend => mutated(Mutation::IgnoresRetainHandling2),
                    };
                    subscription.plain = plain;
                    if plain {
                        self.read_queue(None, cx)?;
                        if new || !mutated(Mutation::KeepsFirstSubscription) {
                            turn.routes.push(RouteChange::Add(subscription.clone()));
                        }
                        // No retained messages for a shared subscription (section 4.8.2).
                        if send_retained && !is_shared(&subscription.filter) {
                            lookups.push(Lookup {
                                filter: Arc::clone(&subscription.filter),
                                qos: subscription.qos,
                                identifier: subscription.identifier,
                                found: VecDeque::new(),
                                resume: None,
                            });
                        }
                    }
                    for source in sources {
                        let from = From { cursor: None, new, send_retained };
                        self.read_source(source, &subscription, from, turn);
                    }
                    self.subscriptions.retain(|known| known.filter != subscription.filter);
                    // Most sessions have one.
                    if self.subscriptions.is_empty() {
                        self.subscriptions.reserve_exact(1);
                    }
                    self.subscriptions.push(subscription);
                }
            }
        }
        self.reply_after_saving(Reply::Suback { packet_id, codes, reason, lookups }, changed, turn);
        Ok(())
    }

    /// A persistent session gets plain QoS 1 through its stored queue, from its end on (or from a stored cursor).
    fn read_queue(&mut self, cursor: Option<u64>, cx: &Context<'_>) -> Result<(), Close> {
        if !self.client.persistent || self.feed_index(&QUEUE).is_some() {
            return Ok(());
        }
        let start = match cursor {
            None => cx.reader.queue_end(&self.client).map_err(|_| Close::store(cx))?,
            Some(cursor) => cursor,
        };
        // Its tails come to the link itself.
        self.feeds.push(Feed::new(queue_source(), SourceKind::Queue, start));
        Ok(())
    }

    /// Lets a subscription read a source.
    fn read_source(
        &mut self,
        grant: SourceGrant,
        subscription: &StoredSubscription,
        from: From,
        turn: &mut Turn,
    ) {
        let From { cursor, new, send_retained } = from;
        let (kind, start, retained_up_to) = (grant.kind, grant.start, grant.retained_up_to);
        let all_values = kind == SourceKind::State && new && cursor.is_none();
        let index = if let Some(index) = self.feed_index(&grant.source) {
            usize::from(index)
        } else {
            let start = match (cursor, kind) {
                (Some(cursor), _) => cursor,
                (None, SourceKind::State) => retained_up_to,
                (None, _) => start,
            };
            let mut feed = Feed::new(grant.source.clone(), kind, start);
            if !self.client.persistent {
                feed.may_wait(self.terms.bounds.items as usize, self.terms.bounds.bytes as usize);
            }
            self.feeds.push(feed);
            self.feeds.len() - 1
        };
        let feed = &mut self.feeds[index];
        // Of a stored cursor that nothing reads only the name is known.
        feed.kind = kind;
        if !feed.is_read() {
            turn.attach.push(grant.source.clone());
        }
        feed.read_for(Reading {
            grant,
            qos: subscription.qos,
            identifier: subscription.identifier,
            subscription: Arc::clone(&subscription.filter),
        });
        if all_values && send_retained {
            feed.start_over(start, retained_up_to);
        }
    }

    pub(super) fn unsubscribe(&mut self, unsubscribe: &Unsubscribe, turn: &mut Turn) {
        let mut changed = false;
        let codes = unsubscribe
            .filters
            .iter()
            .map(|filter| {
                let before = self.subscriptions.len();
                self.subscriptions.retain(|subscription| {
                    *subscription.filter != *filter.as_str()
                        && !(mutated(Mutation::UnsubscribesWhatIsCovered)
                            && crate::topic::matches(filter.as_str(), &subscription.filter))
                });
                if before == self.subscriptions.len() {
                    return ReasonCode::NoSubscriptionExisted;
                }
                changed = true;
                let filter: Arc<str> = Arc::from(filter.as_str());
                if !mutated(Mutation::DeliversAfterUnsubscribe) {
                    self.end_subscription(&filter, turn);
                }
                turn.unsubscribed.push(filter);
                ReasonCode::Success
            })
            .collect();
        self.reply_after_saving(Reply::Unsuback { packet_id: unsubscribe.packet_id, codes }, changed, turn);
    }

    /// A filter brings nothing more; cursors stay.
    pub(super) fn end_subscription(&mut self, filter: &Arc<str>, turn: &mut Turn) {
        for feed in &mut self.feeds {
            if feed.stop_reading_for(filter) && !feed.is_read() {
                turn.detach.push(feed.source.clone());
            }
        }
        self.lookups.retain(|lookup| lookup.filter != *filter);
        turn.routes.push(RouteChange::Remove(Arc::clone(filter)));
    }

    pub(super) fn reply_after_saving(&mut self, reply: Reply, changed: bool, turn: &mut Turn) {
        if changed && self.client.persistent {
            turn.save = true;
            self.pending = Some(Box::new(Pending::Saving(reply)));
        } else {
            self.reply(reply);
        }
    }

    /// The record is stored.
    pub(super) fn stored(&mut self, result: &Result<(), StoreError>) -> Result<(), Close> {
        if result.is_err() {
            return Err(Close::server(
                ReasonCode::ImplementationSpecificError,
                "the server cannot write to its store; nothing more is acknowledged",
            ));
        }
        match self.pending.take().map(|pending| *pending) {
            Some(Pending::Saving(reply)) => self.reply(reply),
            other => self.pending = other.map(Box::new),
        }
        Ok(())
    }

    fn reply(&mut self, reply: Reply) {
        let peer = self.terms.peer;
        match reply {
            Reply::Suback { packet_id, codes, reason, lookups } => {
                let codes: SmallVec<[ReasonCode; 4]> = match peer.version {
                    Version::V5 => codes,
                    // 3.1.1 knows one failure [MQTT-3.9.3-2].
                    Version::V311 => codes
                        .into_iter()
                        .map(|code| if code.is_error() { ReasonCode::UnspecifiedError } else { code })
                        .collect(),
                };
                // A SUBACK that does not fit what the client takes cannot be said at all; the client sees no answer.
                let packet_id = if mutated(Mutation::MixesUpSuback) { PacketId::MAX } else { packet_id };
                let turned = mutated(Mutation::TurnsSubackAround);
                let codes = if turned { codes.into_iter().rev().collect() } else { codes };
                let mut suback = Suback::new(packet_id, codes);
                suback.reason_string =
                    Some(reason).filter(|r| !r.is_empty()).and_then(|r| ByteStr::try_from(r).ok());
                let _ = suback::encode(&mut self.out, &peer, &suback);
                self.lookups.extend(lookups);
            }
            Reply::Unsuback { packet_id, codes } => {
                let _ = unsuback::encode(&mut self.out, &peer, &Unsuback::new(packet_id, codes));
            }
            Reply::Rechecked { revoked, told } => {
                for told in told {
                    // Whoever asked need not wait for it.
                    let _ = told.send(revoked);
                }
            }
        }
    }

    /// A stored session comes back: its subscriptions with what the application grants them now, its cursors, and what was in flight.
    pub(crate) fn resume(
        &mut self,
        stored: &StoredSession,
        grants: Vec<Grant>,
        cx: &Context<'_>,
        turn: &mut Turn,
    ) -> Result<(), Close> {
        let StoredSession { record, cursors, received } = stored;
        let cursor = |source: &SourceId| {
            cursors.positions.iter().find(|(known, _)| known == source).map(|(_, at)| *at)
        };
        let queue_cursor = cursor(&QUEUE);
        if queue_cursor.is_some() {
            self.read_queue(queue_cursor, cx)?;
        }
        self.born = record.born;
        for id in received.iter().filter_map(|id| PacketId::new(*id)) {
            self.exactly_once().received_before(id);
        }
        self.recheck.revoked_up_to = record.revoked_up_to;
        for (subscription, grant) in record.subscriptions.iter().zip(grants) {
            let Grant::Granted { qos, plain, sources } = grant else {
                self.revoke(subscription, cx, turn);
                continue;
            };
            if is_system(&subscription.filter) && !self.client.roles.operator {
                self.revoke(subscription, cx, turn);
                continue;
            }
            let mut subscription = subscription.clone();
            subscription.qos = subscription.qos.min(qos);
            subscription.plain = plain;
            if plain {
                self.read_queue(None, cx)?;
                turn.routes.push(RouteChange::Add(subscription.clone()));
            }
            for source in sources {
                let at = cursor(&source.source);
                let from = From { cursor: at, new: at.is_none(), send_retained: true };
                self.read_source(source, &subscription, from, turn);
            }
            self.subscriptions.push(subscription);
        }
        // Cursors of what is not subscribed now are kept, so that subscribing again continues them.
        for (source, at) in &cursors.positions {
            if self.feed_index(source).is_none() {
                self.feeds.push(Feed::new(source.clone(), SourceKind::Log, *at));
            }
        }
        self.resume_in_flight(record, cursors);
        Ok(())
    }
}

/// Why the broker itself refuses a filter.
fn own_refusal(code: ReasonCode) -> &'static str {
    match code {
        ReasonCode::TopicFilterInvalid => {
            "a shared subscription is $share/, a name without wildcards, / and a topic filter"
        }
        ReasonCode::NotAuthorized => "what the server says about itself is for operators",
        _ => "this session holds as many filters as it may",
    }
}
