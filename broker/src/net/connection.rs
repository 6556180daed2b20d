//! One connection: a loop around its session. Take events, take packets, do what they ask, pump, write; then wait.
//!
//! One read and one write each turn, from and into buffers that connections share: an idle connection holds none.

mod carry_out;
mod end;

use super::count;
use super::handshake::{commit, welcome};
use super::input::Input;
use super::under_way::Newcomer;
use super::{HeldPlaces, Origin, Stream};
use crate::broker::Inner;
use crate::codec::Limits;
use crate::hook::Client;
use crate::link::{Event, Link};
use crate::plain::Subscriber;
use crate::registry::Claim;
use crate::retained::Resume;
use crate::router::MatchCache;
use crate::session::{Close, Context, RouteChange, Session, SourceReader, Turn};
use crate::source::{Read, ReadLimit, SourceId, SourceKind};
use crate::stats::Traffic;
use crate::store::{RetainedPage, StoreError};
use crate::topic::is_system;
use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;
use tokio::io::ReadBuf;

/// Bytes taken from a socket at once.
const READ_BYTES: usize = 64 * 1024;
/// Rounds of a connection that always has something to do, before others have their turn.
const ROUNDS: usize = 8;
/// How long a client that is told to go may take to take its last packet.
pub(super) const GOODBYE: Duration = Duration::from_secs(1);
/// Buffers each thread keeps for connections that have something to write.
const SPARE_BUFFERS: usize = 64;

/// What the connections of a thread share, one at a time.
struct Scratch {
    read: Box<[u8]>,
    events: Vec<Event>,
    buffers: Vec<Vec<u8>>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch {
        read: vec![0; READ_BYTES].into_boxed_slice(),
        events: Vec::new(),
        buffers: Vec::new(),
    });
}

/// A connection that has said nothing yet.
pub(super) struct Accepted<S> {
    pub(super) inner: Arc<Inner>,
    pub(super) stream: S,
    pub(super) origin: Origin,
    pub(super) newcomer: Newcomer,
    pub(super) places: HeldPlaces,
}

/// Serves a connection from its first byte to its last.
///
/// Everything it needs is behind a pointer, what it takes to become known apart from what stays: the compiler gives a future room for
/// each of its variables, whether they live at the same time or not, and most connections are idle most of the time.
pub(super) async fn serve<S: Stream>(accepted: Box<Accepted<S>>) {
    let Some(mut connection) = Box::pin(welcome(accepted)).await else { return };
    if *connection.inner.stopping().borrow() {
        // It came in while everyone was told.
        Inner::tell_to_go(&connection.claim.link);
    }
    let close = poll_fn(|cx| connection.poll(cx)).await;
    Box::pin(connection.finish(close)).await;
}

pub(super) struct Connection<S> {
    inner: Arc<Inner>,
    stream: S,
    input: Input,
    session: Session,
    claim: Claim,
    /// Only there for those who publish.
    cache: Option<Box<MatchCache<Subscriber>>>,
    /// When this round began, Unix milliseconds: the clock is read once for all that is done in it.
    now_ms: u64,
    /// Whether the application had too much to do when this round began. Asked once for all that is done in it: a round that took no packets
    /// because of it, and then found that it is over, would wait for a socket that nobody listens to.
    is_busy: bool,
    /// How much of the session's `out` is written.
    written: usize,
    /// How much of it is counted: whole packets.
    counted: usize,
    /// Since when the socket has taken nothing of what there is to write, Unix milliseconds; `u64::MAX` while it takes everything.
    stalled_ms: u64,
    /// What waits in the session, as the link knows it.
    waiting: (usize, usize),
    places: HeldPlaces,
}

impl<S: Stream> Connection<S> {
    pub(super) fn new(
        inner: Arc<Inner>,
        stream: S,
        input: Input,
        session: Session,
        claim: Claim,
        places: HeldPlaces,
    ) -> Box<Connection<S>> {
        Box::new(Connection {
            inner,
            stream,
            input,
            session,
            claim,
            cache: None,
            now_ms: 0,
            is_busy: false,
            written: 0,
            counted: 0,
            stalled_ms: u64::MAX,
            waiting: (0, 0),
            places,
        })
    }

    pub(super) fn out(&mut self) -> &mut Vec<u8> {
        &mut self.session.out
    }

    fn poll(&mut self, cx: &mut std::task::Context<'_>) -> Poll<Close> {
        SCRATCH.with_borrow_mut(|scratch| {
            if self.session.out.capacity() == 0 {
                self.session.out = scratch.buffers.pop().unwrap_or_default();
            }
            let polled = self.poll_rounds(scratch, cx);
            scratch.events.clear();
            if self.session.out.is_empty() {
                let buffer = std::mem::take(&mut self.session.out);
                if scratch.buffers.len() < SPARE_BUFFERS && buffer.capacity() <= 2 * READ_BYTES {
                    scratch.buffers.push(buffer);
                }
            }
            polled
        })
    }

    fn poll_rounds(&mut self, scratch: &mut Scratch, cx: &mut std::task::Context<'_>) -> Poll<Close> {
        for _ in 0..ROUNDS {
            self.now_ms = self.inner.config.clock.now_ms();
            self.is_busy = self.inner.hook.is_busy();
            scratch.events.clear();
            self.claim.link.take(&mut scratch.events, cx.waker());
            let mut busy = !scratch.events.is_empty();
            // Before anything is written: what answers it goes out with what others sent.
            let asked = self.wants_bytes();
            let mut ended = false;
            if asked {
                match self.poll_read(&mut scratch.read, cx) {
                    Poll::Ready(Ok(0)) => ended = true,
                    Poll::Ready(Err(error)) => {
                        self.tell_of(&error);
                        ended = true;
                    }
                    Poll::Ready(Ok(_)) => busy = true,
                    Poll::Pending => {}
                }
            }
            if let Err(close) = self.step(&mut scratch.events) {
                return Poll::Ready(close);
            }
            if ended {
                return Poll::Ready(Close::Network);
            }
            match self.poll_write(cx) {
                Poll::Ready(Ok(wrote)) => {
                    busy |= wrote;
                    self.session.blocked = false;
                    self.stalled_ms = u64::MAX;
                }
                Poll::Ready(Err(_)) => return Poll::Ready(Close::Network),
                Poll::Pending => {
                    self.session.blocked = true;
                    if self.is_stalled() {
                        return Poll::Ready(Close::Network);
                    }
                }
            }
            // Whether it takes packets may have changed, and then nobody wakes it but the socket.
            busy |= !asked && self.wants_bytes();
            if !busy {
                let (now_ms, is_busy) = (self.now_ms, self.is_busy);
                if let Err(close) =
                    self.inner.context_at(now_ms, is_busy, |cx| self.session.check_keep_alive(cx))
                {
                    return Poll::Ready(close);
                }
                // Nobody tells when the application has less to do: it is looked at again a tick later.
                let again = if is_busy { now_ms + 1 } else { u64::MAX };
                let deadline = self.inner.context_at(now_ms, is_busy, |cx| self.session.deadline(cx));
                let deadline = deadline.min(again).min(self.stalls_at());
                self.inner.timers.set(&self.claim.link, deadline, now_ms);
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Everything that needs no socket.
    fn step(&mut self, events: &mut Vec<Event>) -> Result<(), Close> {
        let inner = Arc::clone(&self.inner);
        let limits = Limits {
            max_packet_size: inner.config.max_packet_size,
            max_topic_levels: inner.config.max_topic_levels,
        };
        let version = self.session.client.version;
        let mut received = Traffic::default();
        let mut turn = Turn::default();
        let (now_ms, is_busy) = (self.now_ms, self.is_busy);
        let stepped = inner.context_at(now_ms, is_busy, |cx| {
            let (mut goodbye, mut failed) = (None, Ok(()));
            let mut events = events.drain(..);
            for event in events.by_ref() {
                if let Event::Close(code, sentence) = event {
                    goodbye = Some(Close::server(code, sentence));
                    break;
                }
                failed = self.session.event(event, cx, &mut turn);
                if failed.is_err() {
                    break;
                }
            }
            for behind in events {
                if failed.is_ok() && matches!(behind, Event::Done(..)) {
                    // It is written before the last words: what is answered from here on would overtake it [MQTT-4.6.0-2].
                    failed = self.session.event(behind, cx, &mut turn);
                } else {
                    self.session.event_at_the_end(behind);
                }
            }
            failed?;
            while self.session.takes_packets(cx) {
                match self.input.next(Some(version), &limits) {
                    Ok(Some(packet)) => {
                        count::taken(&packet, &mut received);
                        self.session.handle(packet, cx, &mut turn)?;
                    }
                    Ok(None) => break,
                    Err(error) => {
                        inner.stats.protocol_errors.count();
                        tracing::debug!(client_id = &*self.session.client.session.client_id, "{error}");
                        self.session.say_goodbye(error.reason_code(), &error.to_string());
                        return Err(Close::Said);
                    }
                }
            }
            goodbye.map_or(Ok(()), Err)
        });
        inner.stats.received(received);
        // What came before a packet that ends the connection counts: its publishes, and its acknowledgements.
        let carried = self.carry_out(&mut turn);
        self.hand_over_moves();
        carried?;
        stepped?;
        inner.context_at(now_ms, is_busy, |cx| self.session.pump(cx, &mut turn))?;
        // What is answered at once may ask for more.
        while !turn.is_empty() {
            self.carry_out(&mut turn)?;
        }
        if !self.session.given_up.is_empty() {
            inner.hand_on(std::mem::take(&mut self.session.given_up));
        }
        self.hand_over_moves();
        let waiting = self.session.waiting();
        if waiting != self.waiting {
            self.waiting = waiting;
            self.claim.link.set_waiting(waiting);
        }
        Ok(())
    }

    /// Whether anything was written; pending while the socket takes no more.
    fn poll_write(&mut self, cx: &mut std::task::Context<'_>) -> Poll<std::io::Result<bool>> {
        self.count_out();
        let out = &mut self.session.out;
        let mut wrote = false;
        while self.written < out.len() {
            let count = ready!(Pin::new(&mut self.stream).poll_write(cx, &out[self.written..]))?;
            if count == 0 {
                return Poll::Ready(Err(std::io::ErrorKind::WriteZero.into()));
            }
            self.inner.stats.bytes_sent.add(count as u64);
            self.written += count;
            // However little: the peer takes something.
            self.stalled_ms = u64::MAX;
            wrote = true;
        }
        out.clear();
        self.written = 0;
        self.counted = 0;
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        Poll::Ready(Ok(wrote))
    }

    /// Counts what was put into `out` since this was last asked.
    fn count_out(&mut self) {
        let out = &self.session.out;
        if self.counted < out.len() {
            let version = self.session.client.version;
            self.inner.stats.sent(count::put(version, &out[self.counted..]));
            self.counted = out.len();
        }
    }

    /// The socket takes no more: has it taken nothing for too long?
    fn is_stalled(&mut self) -> bool {
        if self.stalled_ms == u64::MAX {
            self.stalled_ms = self.now_ms;
        }
        let stalled = self.now_ms >= self.stalls_at();
        if stalled {
            self.inner.stats.write_stalls.count();
            let client_id = &*self.session.client.session.client_id;
            tracing::debug!(client_id, "closing: the client has taken nothing for too long");
        }
        stalled
    }

    /// When the socket will have taken nothing for too long, Unix milliseconds.
    fn stalls_at(&self) -> u64 {
        match self.inner.config.write_stall.as_millis() as u64 {
            0 => u64::MAX,
            patience_ms => self.stalled_ms.saturating_add(patience_ms),
        }
    }

    /// Counts what a layer below MQTT could not understand; that a peer is gone is no news.
    fn tell_of(&self, error: &std::io::Error) {
        if error.kind() == std::io::ErrorKind::InvalidData {
            self.inner.stats.transport_errors.count();
            tracing::debug!(client_id = &*self.session.client.session.client_id, "closing: {error}");
        }
    }

    fn wants_bytes(&self) -> bool {
        !self.input.has_more()
            && self.inner.context_at(self.now_ms, self.is_busy, |cx| self.session.takes_packets(cx))
    }

    /// How much was read; pending while there is nothing.
    fn poll_read(
        &mut self,
        room: &mut [u8],
        cx: &mut std::task::Context<'_>,
    ) -> Poll<std::io::Result<usize>> {
        let mut buffer = ReadBuf::new(room);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
        let bytes = buffer.filled();
        self.inner.stats.bytes_received.add(bytes.len() as u64);
        self.input.take(bytes);
        Poll::Ready(Ok(bytes.len()))
    }
}

impl Inner {
    /// Gives a step of a session what it needs.
    pub(super) fn with_context<T>(&self, step: impl FnOnce(&Context<'_>) -> T) -> T {
        self.context_at(self.config.clock.now_ms(), self.hook.is_busy(), step)
    }

    /// The same where it is known what time it is, and whether the application has too much to do.
    fn context_at<T>(&self, now_ms: u64, is_busy: bool, step: impl FnOnce(&Context<'_>) -> T) -> T {
        let config = &self.config;
        step(&Context { hook: &*self.hook, reader: self, config, stats: &self.stats, now_ms, is_busy })
    }

    /// Brings the indexes up to date with what a session subscribed and gave up.
    pub(super) fn change_index(&self, link: &Arc<Link>, turn: &Turn, session: &mut Session) {
        for change in &turn.routes {
            match change {
                RouteChange::Add(subscription) => self.route(link, subscription),
                RouteChange::Remove(filter) => self.unroute_one(link, filter),
            }
        }
        for source in &turn.attach {
            self.sources.attach(source, link);
        }
        for source in &turn.detach {
            self.sources.detach(source, link);
        }
        if turn.revoked {
            // Nothing is given out for what was revoked from here on.
            session.swept_up_to(*link.queue());
            link.push(Event::Swept);
        }
    }
}

impl SourceReader for Inner {
    fn read(
        &self,
        client: &Client,
        source: &SourceId,
        kind: SourceKind,
        after: u64,
        limit: ReadLimit,
    ) -> Result<Read, StoreError> {
        let read = match kind {
            SourceKind::Queue => self.store.read_queue(&client.session, after, limit),
            SourceKind::Log | SourceKind::State => self.hook.read(client, source, after, limit),
        };
        if let Err(error) = &read {
            tracing::error!(source = &*source.0, "a source could not be read: {error}");
        }
        read
    }

    fn queue_end(&self, client: &Client) -> Result<u64, StoreError> {
        Ok(*client.link.queue())
    }

    fn retained(
        &self,
        filter: &str,
        resume: Option<&Resume>,
        max_items: usize,
    ) -> Result<RetainedPage, StoreError> {
        if is_system(filter) {
            return self.sys.retained(filter, resume, max_items);
        }
        self.store.retained(filter, resume, max_items)
    }
}
