//! The pump: from what waits to the connection's buffer, as far as the client's window and the buffer have room.
//!
//! Sources share the window in turn. A feed that is caught up sends what was announced; one that is not reads from the store, in
//! pieces no larger than what there is room for. So a slow client costs its window and one buffer, and nothing
//! is read that cannot be sent.

use super::feed::Feed;
use super::subscribing::Lookup;
use super::window::Origin;
use super::{Close, Context, Session, Turn};
use crate::codec::packet::publish;
use crate::codec::{EncodeError, PacketId, PublishOut, QoS, ReasonCode};
use crate::hook::Client;
use crate::link::Delivery;
use crate::message::Message;
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
            ReasonCode::ServerUnavailable,
            "the server cannot read its store; the reason is in its log",
        )
    }
}

/// All items of a feed from its cursor to a position.
pub(super) fn read_range(
    client: &Client,
    feed: &Feed,
    last: u64,
    cx: &Context<'_>,
) -> Result<Vec<Item>, Close> {
    let mut items = Vec::new();
    let mut after = feed.acked();
    while after < last {
        let limit = ReadLimit { items: TURN_ITEMS, bytes: cx.config.out_high_water };
        let read =
            cx.reader.read(client, &feed.source, feed.kind, after, limit).map_err(|_| Close::store(cx))?;
        let done = read.end || read.next <= after;
        after = read.next;
        items.extend(read.items.into_iter().filter(|item| item.position <= last));
        if done {
            break;
        }
    }
    Ok(items)
}

impl Session {
    /// Whether the connection's buffer has room for more.
    fn has_room(&self, cx: &Context<'_>) -> bool {
        self.out.len() < cx.config.out_high_water
    }

    /// Moves what waits towards the client.
    pub(crate) fn pump(&mut self, cx: &Context<'_>, turn: &mut Turn) -> Result<(), Close> {
        self.pump_plain(cx);
        while !self.lookups.is_empty() && self.has_room(cx) && self.plain.len() < LOOKUP_PAGE {
            self.pump_lookup(cx, turn)?;
        }
        let count = self.feeds.len();
        let mut idle = 0;
        while idle < count && self.has_room(cx) {
            let index = self.first_feed % count;
            self.first_feed = (index + 1) % count;
            if self.pump_feed(index, cx)? { idle = 0 } else { idle += 1 }
        }
        Ok(())
    }

    /// Takes a plain message: sends it, keeps it for the window, or, QoS 0, drops it.
    pub(super) fn deliver(&mut self, delivery: Delivery, cx: &Context<'_>) -> Result<(), Close> {
        if delivery.qos == QoS::AtMostOnce {
            if self.has_room(cx) {
                self.send_plain(&delivery, None, cx);
            } else {
                cx.stats.dropped_buffer_full.count();
            }
            return Ok(());
        }
        if self.plain.is_empty() && self.window.has_room() && self.has_room(cx) {
            let packet_id = self.window.send(Origin::Plain);
            self.send_plain(&delivery, Some(packet_id), cx);
            return Ok(());
        }
        let bounds = self.terms.bounds;
        self.plain_bytes += delivery.message.weight();
        self.plain.push_back(delivery);
        if self.plain.len() > bounds.items || self.plain_bytes > bounds.bytes {
            cx.stats.sessions_overflown.count();
            return Err(Close::server(
                ReasonCode::QuotaExceeded,
                "this client takes its messages too slowly: its queue is full",
            ));
        }
        Ok(())
    }

    fn pump_plain(&mut self, cx: &Context<'_>) {
        while self.window.has_room() && self.has_room(cx) {
            let Some(delivery) = self.plain.pop_front() else { return };
            self.plain_bytes -= delivery.message.weight();
            let packet_id = self.window.send(Origin::Plain);
            self.send_plain(&delivery, Some(packet_id), cx);
        }
    }

    fn send_plain(&mut self, delivery: &Delivery, packet_id: Option<PacketId>, cx: &Context<'_>) {
        let message = &delivery.message;
        let written = if delivery.retain
            || !delivery.identifiers.is_empty()
            || message.expires()
            || Arc::strong_count(message) < 2
        {
            self.write(message, &Manner::of(delivery, packet_id), cx)
        } else {
            match message.form(self.terms.peer.version, delivery.qos) {
                Ok(form) if form.len() <= self.terms.peer.max_packet_size as usize => {
                    form.write(&mut self.out, packet_id)
                }
                _ => self.write(message, &Manner::of(delivery, packet_id), cx),
            }
        };
        self.account(written.is_ok(), packet_id, cx);
    }

    /// Counts what was written; what the client does not take is counted too, and leaves the window [MQTT-3.1.2-25].
    fn account(&mut self, written: bool, packet_id: Option<PacketId>, cx: &Context<'_>) {
        if written {
            cx.stats.publishes_sent.count();
            return;
        }
        cx.stats.dropped_too_large.count();
        if let Some(packet_id) = packet_id {
            self.window.acknowledge(packet_id);
        }
    }

    fn write(
        &mut self,
        message: &Message,
        manner: &Manner<'_>,
        cx: &Context<'_>,
    ) -> Result<usize, EncodeError> {
        let out = PublishOut {
            qos: manner.qos,
            retain: manner.retain,
            dup: manner.dup,
            packet_id: manner.packet_id,
            properties: message.properties.as_deref(),
            waited_seconds: (cx.now_ms.saturating_sub(message.received_ms) / 1000) as u32,
            subscription_ids: manner.identifiers,
            ..PublishOut::new(&message.topic, &message.payload)
        };
        publish::encode(&mut self.out, &self.terms.peer, &out)
    }

    /// One page of retained messages.
    fn pump_lookup(&mut self, cx: &Context<'_>, turn: &mut Turn) -> Result<(), Close> {
        let Some(lookup) = self.lookups.pop_front() else { return Ok(()) };
        let page = cx
            .reader
            .retained(&lookup.filter, lookup.resume.as_ref(), LOOKUP_PAGE)
            .map_err(|_| Close::store(cx))?;
        for mut message in page.messages {
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
                self.deliver(Delivery { message, qos, retain: true, identifiers }, cx)?;
            }
        }
        if page.resume.is_some() {
            self.lookups.push_front(Lookup { resume: page.resume, ..lookup });
        }
        Ok(())
    }

    /// One turn of one feed; whether it did anything.
    fn pump_feed(&mut self, index: usize, cx: &Context<'_>) -> Result<bool, Close> {
        let feed = &mut self.feeds[index];
        let span = self.terms.window * SPAN_WINDOWS;
        if !feed.is_ready(cx.now_ms) || !self.window.has_room() || feed.span() >= span {
            return Ok(false);
        }
        if !feed.must_read() {
            for _ in 0..TURN_ITEMS {
                if !self.window.has_room() || self.out.len() >= cx.config.out_high_water {
                    break;
                }
                let Some(item) = self.feeds[index].next_waiting() else { break };
                self.send_item(index, item, cx);
            }
            return Ok(true);
        }
        let limit = ReadLimit {
            items: TURN_ITEMS.min(self.window.room()),
            bytes: cx.config.out_high_water - self.out.len(),
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
            self.send_item(index, item, cx);
        }
        self.feeds[index].skip_to(read.next);
        Ok(moved && !read.end)
    }

    /// Sends one item of a feed, or moves over it where this client does not get to see it.
    fn send_item(&mut self, index: usize, item: Item, cx: &Context<'_>) {
        let Some((message, manner)) = self.see(index, &item, cx) else {
            self.feeds[index].skip_to(item.position);
            return;
        };
        if let Some(old) = self.feeds[index].superseded(&item.topic) {
            self.window.forget(index as u16, old);
        }
        let packet_id = (manner.qos > QoS::AtMostOnce)
            .then(|| self.window.send(Origin::Feed { feed: index as u16, position: item.position }));
        let written = self.write(&message, &Manner { packet_id, ..manner.borrow() }, cx).is_ok();
        self.account(written, packet_id, cx);
        let done = packet_id.is_none() || !written;
        self.feeds[index].sent_item(item, done, cx.now_ms);
    }

    /// Sends an item again that was in flight when the last connection ended.
    pub(super) fn resend_item(&mut self, index: usize, item: &Item, packet_id: PacketId, cx: &Context<'_>) {
        let seen = self.see(index, item, cx).filter(|(_, manner)| manner.qos > QoS::AtMostOnce);
        let Some((message, manner)) = seen else {
            self.feeds[index].acknowledge(item.position);
            return;
        };
        self.window.resend(packet_id, Origin::Feed { feed: index as u16, position: item.position });
        let manner = Manner { packet_id: Some(packet_id), dup: true, ..manner.borrow() };
        let written = self.write(&message, &manner, cx).is_ok();
        self.account(written, Some(packet_id), cx);
        if !written {
            self.feeds[index].acknowledge(item.position);
        }
    }

    /// What this client sees of an item, and how; `None` for nothing.
    fn see(&self, index: usize, item: &Item, cx: &Context<'_>) -> Option<(Message, OwnedManner)> {
        let manner = self.feeds[index].manner(item)?;
        let message = match (&item.message, manner.grant) {
            (Some(message), _) => message.clone(),
            (None, Some(grant)) => match cx.hook.view(&self.client, grant, item) {
                View::Skip => return None,
                View::Send(message) => message,
            },
            (None, None) => return None,
        };
        if message.expiry_left_s(cx.now_ms) == Some(0) {
            cx.stats.dropped_expired.count();
            return None;
        }
        let qos = manner.qos.min(message.qos);
        Some((message, OwnedManner { qos, retain: manner.retain, identifiers: manner.identifiers }))
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
            dup: false,
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
