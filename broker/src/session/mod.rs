//! A session: what MQTT says about one client, as a plain state machine.
//!
//! Packets and events go in with the time; what is to be done comes out in a [`Turn`], and what is to be written in `out`. It owns no
//! socket, no clock, no lock and nothing `async`. Both versions of MQTT are this one machine: the difference is in the codec
//! and in a [`Version`] value.
//!
//! Invariants: acknowledgements leave in the order of the publishes, and only when they were answered; never more than the
//! client's Receive Maximum is in flight to it [MQTT-3.3.4-9]; a cursor never passes a position that the client has not
//! acknowledged; a QoS 2 message arrives once (`exactly_once`). What no history of a session may bring about is listed and tried in
//! `fuzzing`.

mod acks;
mod aliases;
mod authentication;
mod exactly_once;
mod feed;
mod in_flight;
mod latest;
mod publishing;
mod pump;
mod recheck;
mod routes;
mod subscribing;
mod turn;
mod window;

pub(crate) use authentication::{AuthWork, Authentication, step_packet};
pub(crate) use pump::SourceReader;
pub(crate) use subscribing::queue_source;
pub(crate) use turn::{Asked, Close, Plain, RouteChange, Turn};
pub(crate) use window::PACKET_ID_DISTANCE;

use crate::codec::packet::{disconnect, ping};
use crate::codec::{
    ByteStr, Disconnect, DisconnectProperties, Packet, PacketType, Peer, QoS, ReasonCode, Sender, Version,
};
use crate::config::Config;
use crate::hook::{Client, Hook};
use crate::link::{Bounds, Delivery, Event};
use crate::quota::Publisher;
use crate::shared::SharedMessage;
use crate::source::SourceId;
use crate::stats::Stats;
use crate::store::{Cursors, SessionRecord, StoredSubscription, StoredWill};
use acks::Acks;
use exactly_once::ExactlyOnce;
use feed::{Feed, FeedIndex};
use in_flight::Earlier;
use recheck::Recheck;
use routes::RouteCache;
use std::collections::VecDeque;
use std::sync::Arc;
use subscribing::{Lookup, Pending};
use window::Window;

/// What a session is given for each step: it keeps none of it.
pub(crate) struct Context<'a> {
    pub(crate) hook: &'a dyn Hook,
    pub(crate) reader: &'a dyn SourceReader,
    pub(crate) config: &'a Config,
    pub(crate) stats: &'a Stats,
    pub(crate) now_ms: u64,
    /// Whether the application has too much to do to take packets for.
    pub(crate) is_busy: bool,
}

/// What CONNECT settled, beside who the client is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms {
    /// What the client can take.
    pub(crate) peer: Peer,
    /// Messages in flight to it at most.
    pub(crate) window: usize,
    /// Seconds that the session outlives the connection.
    pub(crate) expiry_s: u32,
    /// Seconds between packets at most; 0 for no limit.
    pub(crate) keep_alive_s: u16,
    /// What may wait in memory for the window.
    pub(crate) bounds: Bounds,
    /// Topic aliases that may be sent to it.
    pub(crate) aliases: u16,
}

/// The session of one connected client.
pub(crate) struct Session {
    pub(crate) client: Arc<Client>,
    terms: Terms,
    acks: Acks,
    window: Window,
    /// Only there while it has to do with QoS 2.
    exactly_once: Option<Box<ExactlyOnce>>,
    /// Messages that an earlier connection sent, until their positions are read again.
    earlier: Vec<Earlier>,
    feeds: Vec<Feed>,
    /// Which feed has its turn first.
    first_feed: usize,
    subscriptions: Vec<StoredSubscription>,
    /// Plain messages that wait for the window.
    plain: VecDeque<Delivery>,
    plain_bytes: usize,
    /// Messages of shared subscriptions that are not for this client any more, for another member.
    pub(crate) given_up: Vec<Delivery>,
    /// Retained messages that are to be looked up.
    lookups: VecDeque<Lookup>,
    /// A SUBSCRIBE or UNSUBSCRIBE that waits; no packet is taken until it is done.
    /// Boxed, as what follows: an idle client has nothing of it.
    pending: Option<Box<Pending>>,
    /// What was revoked, and is asked to be looked at.
    recheck: Recheck,
    latest: Option<Box<latest::Latest>>,
    routes: Option<Box<RouteCache>>,
    aliases_in: Option<Box<aliases::Incoming>>,
    /// What it publishes is held to, if anything.
    publisher: Option<Box<Publisher>>,
    aliases_out: Option<Box<aliases::Outgoing>>,
    authentication: Option<Box<Authentication>>,
    /// Boxed: most clients have none.
    will: Option<Box<StoredWill>>,
    /// See [`SessionRecord::born`].
    born: u64,
    last_packet_ms: u64,
    /// Bytes to write.
    pub(crate) out: Vec<u8>,
    /// The socket takes no more at present.
    pub(crate) blocked: bool,
}

impl Session {
    /// A session with nothing in it.
    pub(crate) fn new(
        client: Arc<Client>,
        terms: Terms,
        will: Option<StoredWill>,
        last_packet_id: u16,
        now_ms: u64,
    ) -> Session {
        let window = Window::new(terms.window, last_packet_id);
        let born = client.connection;
        Session {
            client,
            terms,
            acks: Acks::default(),
            window,
            exactly_once: None,
            earlier: Vec::new(),
            feeds: Vec::new(),
            first_feed: 0,
            subscriptions: Vec::new(),
            plain: VecDeque::new(),
            plain_bytes: 0,
            given_up: Vec::new(),
            lookups: VecDeque::new(),
            pending: None,
            recheck: Recheck::default(),
            latest: None,
            routes: None,
            aliases_in: None,
            publisher: None,
            aliases_out: aliases::Outgoing::new(terms.aliases).map(Box::new),
            authentication: None,
            will: will.map(Box::new),
            born,
            last_packet_ms: now_ms,
            out: Vec::new(),
            blocked: false,
        }
    }

    /// A packet came.
    pub(crate) fn handle(&mut self, packet: Packet, cx: &Context<'_>, turn: &mut Turn) -> Result<(), Close> {
        self.last_packet_ms = cx.now_ms;
        match packet {
            Packet::Publish(publish) => self.publish(publish, cx, turn),
            Packet::Puback(ack) => self.acknowledged(&ack),
            Packet::Pubrec(ack) => self.received(&ack),
            Packet::Pubrel(ack) => self.release(&ack, turn),
            Packet::Pubcomp(ack) => self.completed(&ack),
            Packet::Subscribe(subscribe) => self.subscribe(&subscribe, cx, turn),
            Packet::Unsubscribe(unsubscribe) => {
                self.unsubscribe(&unsubscribe, turn);
                Ok(())
            }
            Packet::Pingreq => {
                ping::encode(&mut self.out);
                Ok(())
            }
            Packet::Disconnect(packet) => Err(self.disconnect(&packet, cx)),
            Packet::Connect(_) => Err(Close::server(
                ReasonCode::ProtocolError,
                "a connection sends CONNECT once [MQTT-3.1.0-2]",
            )),
            Packet::Auth(packet) => self.authenticate(*packet, turn),
        }
    }

    /// Takes an event that finds the connection over: what was answered is known to the next one, what is shared goes to another
    /// member. The rest is for nobody.
    pub(crate) fn event_at_the_end(&mut self, event: Event) {
        match event {
            Event::Done(connection, done) if connection == self.client.connection => {
                self.answered_at_the_end(done);
            }
            Event::Deliver(delivery) if delivery.is_shared() => self.given_up.push(delivery),
            _ => {}
        }
    }

    /// Something happened elsewhere.
    pub(crate) fn event(&mut self, event: Event, cx: &Context<'_>, turn: &mut Turn) -> Result<(), Close> {
        match event {
            Event::Deliver(delivery) => {
                if self.may_have(&delivery) {
                    return self.deliver(delivery, cx);
                }
                self.give_up(delivery, cx);
            }
            Event::Tail(tail) => {
                if let Some(feed) = self.feeds.iter_mut().find(|feed| feed.source == tail.source) {
                    feed.announce(&tail.items);
                }
            }
            Event::Behind(source) => {
                if let Some(feed) = self.feeds.iter_mut().find(|feed| feed.source == source) {
                    feed.fall_behind();
                }
            }
            Event::Done(connection, answers) => {
                if connection == self.client.connection {
                    for done in answers {
                        self.answer(done.token, done.outcome);
                    }
                    return self.release_acks(cx);
                }
            }
            Event::Granted(connection, grants) => {
                if connection == self.client.connection {
                    return self.granted(grants, cx, turn);
                }
            }
            Event::Stored(connection, result) => {
                if connection == self.client.connection {
                    return self.stored(&result);
                }
            }
            Event::Released(connection, ids) => {
                if connection == self.client.connection {
                    self.ended(&ids);
                }
            }
            Event::FlightsStored(connection) => {
                if connection == self.client.connection
                    && let Some(state) = &mut self.exactly_once
                {
                    state.stored(&mut self.out);
                }
            }
            Event::Authenticated(connection, exchange, step) => {
                if connection == self.client.connection {
                    return self.stepped(exchange, step);
                }
            }
            Event::Recheck(told) => self.recheck.asked.push(told),
            Event::Rechecked(connection, standings) => {
                if connection == self.client.connection {
                    return self.rechecked(standings, cx, turn);
                }
            }
            Event::Swept => self.recheck.sweeping -= 1,
            Event::Direct(message) => return self.direct(message, cx),
            Event::Latest(message) => self.latest(message, cx),
            // To be woken is all: what is due is looked for when nothing is left to read.
            Event::Timer => {}
            Event::Hold(until_ms) => self.hold(until_ms, cx),
            Event::Close(code, sentence) => return Err(Close::server(code, sentence)),
        }
        Ok(())
    }

    /// Whether packets may be taken: not while a SUBSCRIBE waits or filters are looked at again, not while too many publishes wait for their answer, and not while
    /// the application has too much to do.
    pub(crate) fn takes_packets(&self, cx: &Context<'_>) -> bool {
        self.pending.is_none()
            && self.recheck.asked.is_empty()
            && (self.terms.peer.version == Version::V5
                || self.acks.len() < usize::from(cx.config.receive_maximum))
            && self.out.len() < cx.config.out_high_water.saturating_mul(4)
            && self.is_in_time(cx)
            && !cx.is_busy
    }

    fn disconnect(&mut self, packet: &Disconnect, cx: &Context<'_>) -> Close {
        if let Some(expiry_s) = packet.properties.as_ref().and_then(|p| p.session_expiry_interval) {
            if self.terms.expiry_s == 0 && expiry_s != 0 {
                return Close::server(
                    ReasonCode::ProtocolError,
                    "a session that ends with its connection cannot be kept at DISCONNECT [MQTT-3.14.2-2]",
                );
            }
            self.terms.expiry_s = expiry_s.min(cx.config.max_session_expiry_s);
        }
        // [MQTT-3.14.4-3], [MQTT-3.1.2-10]
        if packet.reason == ReasonCode::Success {
            self.will = None;
        }
        Close::Client
    }

    /// Writes the packet that ends the connection, where there is one: 5.0 only [MQTT-3.14.0-1].
    pub(crate) fn say_goodbye(&mut self, code: ReasonCode, sentence: &str) {
        let properties = DisconnectProperties {
            reason_string: ByteStr::try_from(sentence).ok().filter(|_| self.terms.peer.problem_information),
            ..DisconnectProperties::default()
        };
        // An application may name a code that another packet could carry.
        let is_legal = code.allowed_in(PacketType::Disconnect, Sender::Server);
        let reason = if is_legal { code } else { ReasonCode::UnspecifiedError };
        let goodbye = Disconnect { reason, properties: Some(Box::new(properties)) };
        // A DISCONNECT that does not fit what the client takes is left out: the connection closes all the same.
        let _ = disconnect::encode(&mut self.out, &self.terms.peer, &goodbye);
    }

    /// Unix milliseconds at which nothing will have come for one and a half times the keep-alive [MQTT-3.1.2-22].
    fn silent_at(&self) -> Option<u64> {
        let keep_alive_ms = u64::from(self.terms.keep_alive_s) * 1000;
        (keep_alive_ms > 0).then(|| self.last_packet_ms + keep_alive_ms * 3 / 2)
    }

    /// Nothing is left to read: has there been nothing for too long? The clock stands still while it is the server that does not
    /// read.
    pub(crate) fn check_keep_alive(&mut self, cx: &Context<'_>) -> Result<(), Close> {
        if !self.takes_packets(cx) {
            self.last_packet_ms = cx.now_ms;
        }
        if self.silent_at().is_some_and(|at| at <= cx.now_ms) {
            cx.stats.keep_alive_timeouts.count();
            return Err(Close::server(
                ReasonCode::KeepAliveTimeout,
                "nothing came for one and a half times the keep-alive",
            ));
        }
        Ok(())
    }

    /// When the session next wants [`Event::Timer`], Unix milliseconds.
    pub(crate) fn deadline(&self, cx: &Context<'_>) -> u64 {
        let feeds = self.feeds.iter().filter_map(Feed::wakes_at).min();
        let rates =
            self.publisher.as_ref().map(|publisher| publisher.ready_ms()).filter(|at| *at > cx.now_ms);
        self.silent_at().into_iter().chain(feeds).chain(rates).min().unwrap_or(u64::MAX)
    }

    /// Cursor moves since this was last asked.
    pub(crate) fn take_moves(&mut self) -> Vec<crate::store::CursorMove> {
        self.feeds.iter_mut().filter_map(Feed::take_move).collect()
    }

    /// The packet id used last.
    pub(crate) fn last_packet_id(&self) -> u16 {
        self.window.last_id()
    }

    /// The session ends with its connection, whatever the client asked for.
    pub(crate) fn end_with_connection(&mut self) {
        self.terms.expiry_s = 0;
    }

    /// The will, which then belongs to the caller.
    pub(crate) fn take_will(&mut self) -> Option<StoredWill> {
        self.will.take().map(|will| *will)
    }

    /// The subscriptions.
    pub(crate) fn subscriptions(&self) -> &[StoredSubscription] {
        &self.subscriptions
    }

    /// The sources that are read.
    pub(crate) fn sources(&self) -> impl Iterator<Item = &crate::source::SourceId> {
        self.feeds
            .iter()
            .filter(|feed| feed.kind != crate::source::SourceKind::Queue)
            .map(|feed| &feed.source)
    }

    /// The record to store: `disconnected_ms` is 0 while the connection is open.
    pub(crate) fn record(&self, disconnected_ms: u64) -> SessionRecord {
        let in_flight = self
            .window
            .feeds_in_flight()
            .chain(self.not_sent_again())
            .map(|(packet_id, feed, position)| crate::store::InFlight {
                packet_id: packet_id.get(),
                source: self.feeds[usize::from(feed)].source.clone(),
                position,
            })
            .collect();
        SessionRecord {
            expiry_s: self.terms.expiry_s,
            disconnected_ms,
            clean_stop: disconnected_ms != 0,
            subscriptions: self.subscriptions.clone(),
            will: self.will.as_deref().cloned(),
            in_flight: if disconnected_ms == 0 { Vec::new() } else { in_flight },
            read: if disconnected_ms == 0 { Vec::new() } else { self.read() },
            last_packet_id: self.window.last_id(),
            born: self.born,
            revoked_up_to: self.recheck.revoked_up_to,
        }
    }

    /// Plain messages that wait for the window, and their bytes.
    pub(crate) fn waiting(&self) -> (usize, usize) {
        (self.plain.len(), self.plain_bytes)
    }

    /// What is left in memory of shared subscriptions when the connection is over: in flight, then waiting.
    pub(crate) fn take_shared(&mut self) -> Vec<Delivery> {
        let waiting = self.plain.drain(..).filter(|delivery| delivery.share.is_some());
        let given_up = std::mem::take(&mut self.given_up);
        self.window.take_shared().into_iter().chain(given_up).chain(waiting).collect()
    }

    /// How far the session's own queue was sent; `None` when it has none.
    pub(crate) fn queue_sent(&self) -> Option<u64> {
        let queue = self.feeds.iter().find(|feed| feed.kind == crate::source::SourceKind::Queue);
        queue.map(Feed::sent_or_settled)
    }

    /// How far the sources were read whose cursor stands further back.
    fn read(&self) -> Vec<(SourceId, u64)> {
        let behind = self.feeds.iter().filter(|feed| feed.sent_or_settled() > feed.acked());
        behind.map(|feed| (feed.source.clone(), feed.sent_or_settled())).collect()
    }

    /// All cursors, to be stored.
    pub(crate) fn cursors(&mut self) -> Cursors {
        let cursor =
            |source: &SourceId| self.feeds.iter().find(|feed| feed.source == *source).map(Feed::acked);
        Cursors {
            flights: self.exactly_once.as_mut().map_or_else(Vec::new, |state| state.flights(cursor)),
            positions: self.feeds.iter().map(|feed| (feed.source.clone(), feed.acked())).collect(),
            last_packet_id: self.window.last_id(),
        }
    }

    fn feed_index(&self, source: &crate::source::SourceId) -> Option<FeedIndex> {
        self.feeds.iter().position(|feed| feed.source == *source).map(|index| index as FeedIndex)
    }

    /// A message for this session alone, where a subscription of it matches.
    fn direct(&mut self, message: Arc<SharedMessage>, cx: &Context<'_>) -> Result<(), Close> {
        // A filter in the router's index is for what goes through the router.
        let matching = self
            .subscriptions
            .iter()
            .filter(|s| !s.plain && crate::topic::matches(&s.filter, &message.topic));
        let (mut qos, mut identifiers) = (None, crate::message::Identifiers::new());
        for subscription in matching {
            qos = qos.max(Some(subscription.qos));
            identifiers.extend(subscription.identifier);
        }
        let Some(granted) = qos else { return Ok(()) };
        let qos: QoS = granted.min(message.qos);
        self.deliver(Delivery { message, qos, retain: false, identifiers, share: None }, cx)
    }
}
