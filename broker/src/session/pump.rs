//! The pump: from what waits to the connection's buffer, as far as the client's window and the buffer have room.
//!
//! Sources share the window in turn. A feed that is caught up sends what was announced; one that is not reads from the store, in
//! pieces no larger than what there is room for. So a slow client costs its window and one buffer, and nothing
//! is read that cannot be sent.

use super::in_flight::EarlierState;
use super::subscribing::Pending;
use super::window::{Awaits, Origin};
use super::{Close, Context, Session, Turn};
use crate::codec::packet::publish;
use crate::codec::{EncodeError, PacketId, PublishOut, QoS, ReasonCode};
use crate::hook::Client;
use crate::link::Delivery;
use crate::message::Message;
use crate::mutation::{Mutation, mutated};
use crate::retained::Resume;
use crate::shared::SharedMessage;
use crate::source::{Item, Read, ReadLimit, SourceId, SourceKind, View};
use crate::store::{RetainedPage, StoreError};
use std::sync::Arc;

/// Items one feed may send before the next has its turn.
const TURN_ITEMS: usize = 32;
/// How many windows of positions may be between a cursor and what was sent, when an early message stays unacknowledged.
const SPAN_WINDOWS: usize = 4;
/// Retained messages looked up at once.
const LOOKUP_PAGE: usize = 64;

/// Where a session reads from.
pub(crate) trait SourceReader {
    /// Items of a source after a position.
    fn read(
        &self,
        client: &Client,
        source: &SourceId,
        kind: SourceKind,
        after: u64,
        limit: ReadLimit,
    ) -> Result<Read, StoreError>;

    /// The last position of the session's own queue.
    fn queue_end(&self, client: &Client) -> Result<u64, StoreError>;

    /// Retained messages that match a filter.
    fn retained(
        &self,
        filter: &str,
        resume: Option<&Resume>,
        max_items: usize,
    ) -> Result<RetainedPage, StoreError>;
}

impl Close {
    pub(super) fn store(cx: &Context<'_>) -> Close {
        cx.stats.store_errors.count();
        Close::server(
            ReasonCode::ImplementationSpecificError,
            "the server cannot read its store; the reason is in its log",
        )
    }
}

impl Session {
    /// Whether the connection's buffer has room for more.
    pub(super) fn has_room(&self, cx: &Context<'_>) -> bool {
        self.unsent() < cx.config.out_high_water
    }

    /// Moves what waits towards the client.
    pub(crate) fn pump(&mut self, cx: &Context<'_>, turn: &mut Turn) -> Result<(), Close> {
        self.begin_recheck(turn);
        self.pump_plain(cx);
        while !self.lookups.is_empty() && self.takes_retained(cx, turn) {
            self.pump_lookup(cx, turn)?;
        }
        if matches!(self.pending.as_deref(), Some(Pending::Saving(_))) {
            // What a subscription brings comes behind its SUBACK.
            return Ok(());
        }
        self.pump_latest(cx);
        let count = self.feeds.len();
        let mut idle = 0;
        while idle < count && self.has_room(cx) {
            let index = self.first_feed % count;
            self.first_feed = (index + 1) % count;
            if self.pump_feed(index, cx)? { idle = 0 } else { idle += 1 }
        }
        turn.store_flights = self.exactly_once.as_mut().is_some_and(|state| state.begin_storing());
        Ok(())
    }

    /// Takes a plain message: sends it, keeps it for the window, or, QoS 0, drops it.
    pub(super) fn deliver(&mut self, delivery: Delivery, cx: &Context<'_>) -> Result<(), Close> {
        if delivery.message.expiry_left_s(cx.now_ms) == Some(0) {
            // It waited in the mailbox, as while a session comes back.
            cx.stats.dropped_expired.count();
            return Ok(());
        }
        if delivery.qos == QoS::AtMostOnce {
            // What came at once may be more than the high-water mark, and is bounded by the mailbox: it is dropped only for a
            // reader that does not read.
            if self.has_room(cx) || !self.blocked {
                self.send_plain(&delivery, None, cx);
            } else {
                cx.stats.dropped_buffer_full.count();
            }
            return Ok(());
        }
        if self.plain.is_empty() && self.may_send(&delivery) && self.has_room(cx) {
            let packet_id = self.window.send(Awaits::first(delivery.qos), Origin::of(&delivery));
            self.send_plain(&delivery, Some(packet_id), cx);
            return Ok(());
        }
        let bounds = self.terms.bounds;
        self.plain_bytes += delivery.message.weight();
        self.plain.push_back(delivery.detached());
        if self.plain.len() > bounds.items as usize || self.plain_bytes > bounds.bytes as usize {
            cx.stats.sessions_overflown.count();
            return Err(Close::server(
                ReasonCode::QuotaExceeded,
                "this client takes its messages too slowly: its queue is full",
            ));
        }
        Ok(())
    }

    /// Whether the window takes a plain message. What is kept while it is in flight may take as much memory as what waits.
    fn may_send(&self, delivery: &Delivery) -> bool {
        let most = self.terms.bounds.bytes as usize;
        self.window.has_room() && (delivery.share.is_none() || self.window.held() < most)
    }

    fn pump_plain(&mut self, cx: &Context<'_>) {
        while self.has_room(cx) && self.plain.front().is_some_and(|delivery| self.may_send(delivery)) {
            let Some(delivery) = self.plain.pop_front() else { return };
            self.plain_bytes -= delivery.message.weight();
            if delivery.message.expiry_left_s(cx.now_ms) == Some(0) && !mutated(Mutation::SendsExpired) {
                cx.stats.dropped_expired.count();
                continue;
            }
            let packet_id = self.window.send(Awaits::first(delivery.qos), Origin::of(&delivery));
            self.send_plain(&delivery, Some(packet_id), cx);
        }
    }

    pub(super) fn send_plain(&mut self, delivery: &Delivery, packet_id: Option<PacketId>, cx: &Context<'_>) {
        let message = &delivery.message;
        let written = if delivery.retain
            || !delivery.identifiers.is_empty()
            || message.expires()
            || self.aliases_out.is_some()
            || mutated(Mutation::SetsDupOnNew)
            || Arc::strong_count(message) < 2
        {
            self.write(message, &Manner::of(delivery, packet_id), cx)
        } else {
            match message.form(self.terms.peer.version, delivery.qos) {
                Ok(form) if form.len() <= self.terms.peer.max_packet_size as usize => {
                    form.write(self.outgoing(), packet_id)
                }
                _ => self.write(message, &Manner::of(delivery, packet_id), cx),
            }
        };
        self.account(written.is_ok(), packet_id, cx);
    }

    /// Counts what was written; what the client does not take is counted too, and leaves the window [MQTT-3.1.2-25].
    fn account(&mut self, written: bool, packet_id: Option<PacketId>, cx: &Context<'_>) {
        if written {
            return;
        }
        cx.stats.dropped_too_large.count();
        if let Some(packet_id) = packet_id {
            self.window.acknowledge(packet_id);
            if let Some(state) = &mut self.exactly_once {
                state.dropped(packet_id);
            }
        }
    }

    fn write(
        &mut self,
        message: &Message,
        manner: &Manner<'_>,
        cx: &Context<'_>,
    ) -> Result<usize, EncodeError> {
        let alias = self.aliases_out.as_mut().and_then(|aliases| aliases.alias(&message.topic));
        let topic = if alias.is_some_and(|alias| alias.is_known) { "" } else { &*message.topic };
        let out = PublishOut {
            qos: manner.qos,
            retain: manner.retain,
            dup: manner.dup,
            packet_id: manner.packet_id,
            properties: message.properties.as_deref(),
            waited_seconds: (cx.now_ms.saturating_sub(message.received_ms) / 1000) as u32,
            subscription_ids: manner.identifiers,
            topic_alias: alias.map(|alias| alias.number),
            ..PublishOut::new(topic, &message.payload)
        };
        let peer = self.terms.peer;
        let written = publish::encode(self.outgoing(), &peer, &out)?;
        if let (Some(alias), Some(aliases)) = (alias.filter(|alias| !alias.is_known), &mut self.aliases_out) {
            aliases.learned(alias, &message.topic);
        }
        Ok(written)
    }

    /// Whether retained messages may go on: they wait for room like everything else, and none of them is dropped for want of it.
    fn takes_retained(&self, cx: &Context<'_>, turn: &Turn) -> bool {
        self.has_room(cx) && self.plain.is_empty() && turn.enqueue.len() < LOOKUP_PAGE
    }

    /// Retained messages from one page, as far as there is room.
    fn pump_lookup(&mut self, cx: &Context<'_>, turn: &mut Turn) -> Result<(), Close> {
        let Some(mut lookup) = self.lookups.pop_front() else { return Ok(()) };
        if lookup.found.is_empty() {
            let page = cx
                .reader
                .retained(&lookup.filter, lookup.resume.as_ref(), LOOKUP_PAGE)
                .map_err(|_| Close::store(cx))?;
            lookup.found = page.messages.into();
            lookup.resume = page.resume;
        }
        while self.takes_retained(cx, turn) {
            let Some(mut message) = lookup.found.pop_front() else { break };
            if message.expiry_left_s(cx.now_ms) == Some(0) {
                cx.stats.dropped_expired.count();
                continue;
            }
            let qos = message.qos.min(lookup.qos);
            let identifiers = lookup.identifier.into_iter().collect();
            if qos > QoS::AtMostOnce && self.client.persistent {
                message.qos = qos;
                message.retain = true;
                message.identifiers = identifiers;
                turn.enqueue.push(message);
            } else {
                let message = SharedMessage::new(message);
                self.deliver(
                    Delivery {
                        message,
                        qos,
                        retain: !mutated(Mutation::SendsKeptWithoutRetain),
                        identifiers,
                        share: None,
                    },
                    cx,
                )?;
            }
        }
        if !lookup.found.is_empty() || lookup.resume.is_some() {
            self.lookups.push_front(lookup);
        } else if self.lookups.is_empty() {
            // Most sessions subscribe once: nothing is held for a next time.
            self.lookups.shrink_to_fit();
        }
        Ok(())
    }

    /// One turn of one feed; whether it did anything.
    fn pump_feed(&mut self, index: usize, cx: &Context<'_>) -> Result<bool, Close> {
        let unsent = self.unsent();
        let feed = &mut self.feeds[index];
        let span = self.terms.window * SPAN_WINDOWS;
        if !feed.is_ready(cx.now_ms) || !self.window.has_room() || feed.span() >= span {
            return Ok(false);
        }
        if !feed.must_read() {
            for _ in 0..TURN_ITEMS {
                if !self.window.has_room() || !self.has_room(cx) {
                    break;
                }
                let Some(item) = self.feeds[index].next_waiting() else { break };
                self.send_item(index, item, cx)?;
            }
            return Ok(true);
        }
        let limit = ReadLimit {
            items: TURN_ITEMS.min(self.window.room()),
            bytes: cx.config.out_high_water.saturating_sub(unsent),
        };
        let read = cx
            .reader
            .read(&self.client, &feed.source, feed.kind, feed.sent(), limit)
            .map_err(|_| Close::store(cx))?;
        if read.gap && !self.client.persistent {
            cx.stats.sessions_overflown.count();
            return Err(Close::server(
                ReasonCode::QuotaExceeded,
                "this clean session fell behind what is kept for it; a session that is kept loses nothing",
            ));
        }
        feed.was_read(&read);
        let moved = read.next > feed.sent();
        for item in read.items {
            if !self.has_room(cx) {
                // What is shown of an item may be far larger than the item. The rest is read again when there is room.
                self.feeds[index].fall_behind();
                return Ok(true);
            }
            self.send_item(index, item, cx)?;
        }
        self.feeds[index].skip_to(read.next);
        self.forget_earlier(index);
        Ok(moved && !read.end)
    }

    /// Sends one item of a feed, or moves over it where this client does not get to see it.
    fn send_item(&mut self, index: usize, item: Item, cx: &Context<'_>) -> Result<(), Close> {
        if let Some(state) = self.take_earlier(index, item.position) {
            return match state {
                EarlierState::Taken => {
                    self.feeds[index].was_taken(item);
                    Ok(())
                }
                EarlierState::InFlight(packet_id, qos) => self.send_again(index, item, (packet_id, qos), cx),
            };
        }
        let settled = self.feeds[index].is_settled(item.position);
        // Whoever hears of deliveries on a log is to hear of what the client acknowledged there before what was sent earlier.
        let heard_of = self.feeds[index].kind == SourceKind::Log;
        let passed = (settled && !heard_of) || self.was_revoked(index, &item, cx);
        let seen = if passed { None } else { self.see(index, &item, cx)? };
        if settled {
            match seen {
                Some((_, manner)) if manner.qos > QoS::AtMostOnce => self.feeds[index].was_taken(item),
                _ => self.feeds[index].skip_to(item.position),
            }
            return Ok(());
        }
        let seen = seen.filter(|(message, _)| {
            let expired = message.expiry_left_s(cx.now_ms) == Some(0);
            if expired {
                cx.stats.dropped_expired.count();
            }
            !expired
        });
        let Some((message, manner)) = seen else {
            self.feeds[index].skip_to(item.position);
            return Ok(());
        };
        if let Some(old) = self.feeds[index].superseded(&item.topic) {
            self.window.forget(index as u16, old);
        }
        let packet_id = (manner.qos > QoS::AtMostOnce).then(|| {
            let origin = Origin::Feed { feed: index as u16, position: item.position };
            self.window.send(Awaits::first(manner.qos), origin)
        });
        // Stored before it is sent.
        let stored = packet_id.filter(|_| manner.qos == QoS::ExactlyOnce && self.client.persistent);
        let was_dirty = stored.map(|packet_id| {
            let source = self.feeds[index].source.clone();
            self.exactly_once().sent(packet_id, source, item.position)
        });
        let written = self.write(&message, &Manner { packet_id, ..manner.borrow() }, cx).is_ok();
        if let Some(was_dirty) = was_dirty.filter(|_| !written) {
            self.exactly_once().unsent(was_dirty);
        }
        self.account(written, packet_id, cx);
        let done = packet_id.is_none() || !written;
        self.feeds[index].sent_item(item, done, cx.now_ms);
        Ok(())
    }

    /// Sends an item again that was in flight when an earlier connection ended: with its old packet id and QoS, whatever the
    /// subscription says by now, and even if it has expired since, because its delivery had begun [MQTT-3.3.2-5].
    fn send_again(
        &mut self,
        index: usize,
        item: Item,
        (packet_id, qos): (PacketId, QoS),
        cx: &Context<'_>,
    ) -> Result<(), Close> {
        let Some((message, manner)) = self.see(index, &item, cx)? else {
            self.window.unreserve(packet_id);
            if let Some(state) = &mut self.exactly_once {
                state.dropped(packet_id);
            }
            self.feeds[index].skip_to(item.position);
            return Ok(());
        };
        let origin = Origin::Feed { feed: index as u16, position: item.position };
        self.window.resend(packet_id, Awaits::first(qos), origin);
        let manner = Manner {
            packet_id: Some(packet_id),
            dup: !mutated(Mutation::RepeatsWithoutDup),
            qos,
            ..manner.borrow()
        };
        let written = self.write(&message, &manner, cx).is_ok();
        self.account(written, Some(packet_id), cx);
        self.feeds[index].sent_item(item, !written, cx.now_ms);
        Ok(())
    }

    /// What this client sees of an item, and how; `None` for nothing.
    fn see(
        &self,
        index: usize,
        item: &Item,
        cx: &Context<'_>,
    ) -> Result<Option<(Message, OwnedManner)>, Close> {
        let Some(manner) = self.feeds[index].manner(item) else { return Ok(None) };
        let message = match (&item.message, manner.grant) {
            (Some(message), _) => message.clone(),
            (None, Some(grant)) => match cx.hook.view(&self.client, grant, item) {
                View::Skip => return Ok(None),
                View::Send(message) => message,
                View::Failed(error) => {
                    tracing::error!(
                        source = &*grant.source.0,
                        position = item.position,
                        "an item cannot be shown, and its reader waits before it: {error}"
                    );
                    return Err(Close::store(cx));
                }
            },
            (None, None) => return Ok(None),
        };
        let qos = manner.qos.min(message.qos);
        Ok(Some((message, OwnedManner { qos, retain: manner.retain, identifiers: manner.identifiers })))
    }
}

/// How a message goes out.
struct Manner<'a> {
    qos: QoS,
    retain: bool,
    dup: bool,
    packet_id: Option<PacketId>,
    identifiers: &'a [u32],
}

impl<'a> Manner<'a> {
    fn of(delivery: &'a Delivery, packet_id: Option<PacketId>) -> Manner<'a> {
        Manner {
            qos: delivery.qos,
            retain: delivery.retain,
            dup: packet_id.is_some() && mutated(Mutation::SetsDupOnNew),
            packet_id,
            identifiers: &delivery.identifiers,
        }
    }
}

struct OwnedManner {
    qos: QoS,
    retain: bool,
    identifiers: crate::message::Identifiers,
}

impl OwnedManner {
    fn borrow(&self) -> Manner<'_> {
        Manner {
            qos: self.qos,
            retain: self.retain,
            dup: false,
            packet_id: None,
            identifiers: &self.identifiers,
        }
    }
}

#[cfg(test)]
mod tests;
