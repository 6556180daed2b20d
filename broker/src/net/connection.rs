//! One connection: a loop around its session. Take events, take packets, do what they ask, pump, write; then wait.
//!
//! One read and one write each turn, from and into buffers that connections share: an idle connection holds none.

mod end;

use super::count;
use super::handshake::{commit, welcome};
use super::input::Input;
use super::login::take_step;
use super::under_way::Newcomer;
use super::{Origin, Stream};
use crate::broker::Inner;
use crate::codec::{Limits, ReasonCode};
use crate::hook::{Client, Occasion};
use crate::link::{Event, Link};
use crate::plain::Subscriber;
use crate::registry::Claim;
use crate::retained::Resume;
use crate::router::MatchCache;
use crate::session::{AuthWork, Close, Context, RouteChange, Session, SourceReader, Turn};
use crate::source::{Read, ReadLimit, SourceId, SourceKind};
use crate::stats::Traffic;
use crate::store::{RetainedPage, StoreError, StoreOp};
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

/// Serves a connection from its first byte to its last.
pub(crate) async fn serve<S: Stream>(inner: Arc<Inner>, stream: S, origin: Origin, newcomer: Newcomer) {
    // Boxed: what it takes to become known is given back, and an idle connection is as small as it can be.
    let welcomed = Box::pin(welcome(&inner, stream, origin, newcomer)).await;
    let Some(mut connection) = welcomed else { return };
    if *inner.stopping().borrow() {
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
    cache: MatchCache<Subscriber>,
    /// How much of the session's `out` is written.
    written: usize,
    /// How much of it is counted: whole packets.
    counted: usize,
    /// Since when the socket has taken nothing of what there is to write, Unix milliseconds; `u64::MAX` while it takes everything.
    stalled_ms: u64,
    /// What waits in the session, as the link knows it.
    waiting: (usize, usize),
    turn: Turn,
}

impl<S: Stream> Connection<S> {
    pub(super) fn new(
        inner: Arc<Inner>,
        stream: S,
        input: Input,
        session: Session,
        claim: Claim,
    ) -> Connection<S> {
        let cache = MatchCache::default();
        Connection {
            inner,
            stream,
            input,
            session,
            claim,
            cache,
            written: 0,
            counted: 0,
            stalled_ms: u64::MAX,
            waiting: (0, 0),
            turn: Turn::default(),
        }
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
            scratch.events.clear();
            self.claim.link.take(&mut scratch.events, cx.waker());
            let mut busy = !scratch.events.is_empty();
            if scratch.events.iter().any(|event| matches!(event, Event::Close(..))) {
                // What the client has said until now still counts; how its connection goes on does not.
                let _ = self.poll_read(scratch, cx);
            }
            if let Err(close) = self.step(&mut scratch.events) {
                return Poll::Ready(close);
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
            match self.poll_read(scratch, cx) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Close::Network),
                Poll::Ready(Err(error)) => {
                    self.tell_of(&error);
                    return Poll::Ready(Close::Network);
                }
                Poll::Ready(Ok(_)) => busy = true,
                Poll::Pending => {}
            }
            if !busy {
                if let Err(close) = self.inner.with_context(|cx| self.session.check_keep_alive(cx)) {
                    return Poll::Ready(close);
                }
                let now_ms = self.inner.config.clock.now_ms();
                // Nobody tells when the application has less to do: it is looked at again a tick later.
                let again = if self.inner.hook.is_busy() { now_ms + 1 } else { u64::MAX };
                let deadline =
                    self.inner.with_context(|cx| self.session.deadline(cx)).min(again).min(self.stalls_at());
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
        let stepped = inner.with_context(|cx| {
            let (mut goodbye, mut failed) = (None, Ok(()));
            let mut events = events.drain(..);
            for event in events.by_ref() {
                if let Event::Close(code, sentence) = event {
                    goodbye = Some(Close::server(code, sentence));
                    break;
                }
                failed = self.session.event(event, cx, &mut self.turn);
                if failed.is_err() {
                    break;
                }
            }
            for behind in events {
                if failed.is_ok() && matches!(behind, Event::Done(..)) {
                    // It is written before the last words: what is answered from here on would overtake it [MQTT-4.6.0-2].
                    failed = self.session.event(behind, cx, &mut self.turn);
                } else {
                    self.session.event_at_the_end(behind);
                }
            }
            failed?;
            while self.session.takes_packets(cx) {
                match self.input.next(Some(version), &limits) {
                    Ok(Some(packet)) => {
                        count::taken(&packet, &mut received);
                        self.session.handle(packet, cx, &mut self.turn)?;
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
        let carried = self.carry_out();
        self.hand_over_moves();
        carried?;
        stepped?;
        inner.with_context(|cx| self.session.pump(cx, &mut self.turn))?;
        self.carry_out()?;
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

    /// Cursors that moved go to the store; they ride on its next commit.
    fn hand_over_moves(&mut self) {
        let moves = self.session.take_moves();
        if let Some(queue) = moves.iter().find(|moved| &*moved.source.0 == SourceId::QUEUE) {
            self.claim.link.set_done(queue.to);
        }
        if !moves.is_empty() && self.session.client.persistent {
            let session = &self.session;
            self.inner.store.cursors_moved(&session.client.session, moves, session.last_packet_id());
        }
    }

    /// Does what the session asks for.
    fn carry_out(&mut self) -> Result<(), Close> {
        if self.turn.is_empty() {
            return Ok(());
        }
        let turn = std::mem::take(&mut self.turn);
        if turn.save || turn.store_flights {
            // Cursors are written down no earlier than what they say is handed over.
            self.hand_over_moves();
        }
        let inner = Arc::clone(&self.inner);
        let client = Arc::clone(&self.session.client);
        inner.change_index(&self.claim.link, &turn, &mut self.session);
        if !turn.plains.is_empty() {
            let answered = inner.publish_all(&client, &mut self.cache, turn.plains);
            if !answered.is_empty() {
                let event = Event::Done(client.connection, answered);
                inner.with_context(|cx| self.session.event(event, cx, &mut self.turn))?;
            }
        }
        if !turn.commands.is_empty() {
            inner.hook.submit(&client, turn.commands);
        }
        if !turn.enqueue.is_empty() {
            inner.enqueue(&self.claim.link, turn.enqueue);
        }
        if !turn.unsubscribed.is_empty() {
            inner.hook.unsubscribed(&client, &turn.unsubscribed);
        }
        if let Some(asked) = turn.asked {
            let link = Arc::clone(&self.claim.link);
            let connection = client.connection;
            let granted = Box::new(move |grants| {
                link.push(Event::Granted(connection, grants));
            });
            inner.hook.subscribe(&client, Occasion::Subscribe, asked.asks, granted);
        }
        if let Some(filters) = turn.recheck {
            let link = Arc::clone(&self.claim.link);
            let connection = client.connection;
            let rechecked = Box::new(move |standings| {
                link.push(Event::Rechecked(connection, standings));
            });
            inner.hook.recheck(&client, filters, rechecked);
        }
        if let Some(AuthWork { exchange, method, login, data }) = turn.authenticate {
            let (inner, link, connection) =
                (Arc::clone(&inner), Arc::clone(&self.claim.link), client.connection);
            tokio::spawn(async move {
                let (exchange, step) = take_step(&inner, exchange, &method, login, data).await;
                link.push(Event::Authenticated(connection, exchange, step));
            });
        }
        if !turn.release.is_empty() {
            let key = client.session.clone();
            let ids = turn.release.iter().map(|id| id.get()).collect();
            let (link, connection) = (Arc::clone(&self.claim.link), client.connection);
            let then = move || link.push(Event::Released(connection, turn.release));
            self.commit_then(vec![StoreOp::Release(key, ids)], then);
        }
        if turn.store_flights {
            let ops = vec![StoreOp::PutCursors(client.session.clone(), self.session.cursors())];
            let (link, connection) = (Arc::clone(&self.claim.link), client.connection);
            self.commit_then(ops, move || link.push(Event::FlightsStored(connection)));
        }
        if turn.save {
            let record = Box::new(self.session.record(0));
            let key = client.session.clone();
            let ops = vec![
                StoreOp::PutSession(key.clone(), record),
                StoreOp::PutCursors(key, self.session.cursors()),
            ];
            let link = Arc::clone(&self.claim.link);
            let done = Box::new(move |result| {
                link.push(Event::Stored(client.connection, result));
            });
            inner.store.commit(ops, Some(done));
        }
        Ok(())
    }

    /// Commits, and goes on when it is durable; the connection ends if it never will be.
    fn commit_then(&self, ops: Vec<StoreOp>, then: impl FnOnce() -> bool + Send + 'static) {
        let link = Arc::clone(&self.claim.link);
        let done = move |result: Result<(), StoreError>| {
            if result.is_ok() {
                then();
            } else {
                link.push(Event::Close(
                    ReasonCode::ImplementationSpecificError,
                    "the server cannot write to its store; nothing more is acknowledged",
                ));
            }
        };
        self.inner.store.commit(ops, Some(Box::new(done)));
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
        let now_ms = self.inner.config.clock.now_ms();
        if self.stalled_ms == u64::MAX {
            self.stalled_ms = now_ms;
        }
        let stalled = now_ms >= self.stalls_at();
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

    /// How much was read; pending while there is nothing, or nothing is wanted.
    fn poll_read(
        &mut self,
        scratch: &mut Scratch,
        cx: &mut std::task::Context<'_>,
    ) -> Poll<std::io::Result<usize>> {
        let wanted = self.inner.with_context(|cx| self.session.takes_packets(cx));
        if !wanted || self.input.has_more() {
            return Poll::Pending;
        }
        let mut buffer = ReadBuf::new(&mut scratch.read);
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
        step(&Context {
            hook: &*self.hook,
            reader: self,
            config: &self.config,
            stats: &self.stats,
            now_ms: self.config.clock.now_ms(),
        })
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
