//! One client id, the real broker, and everything around it that a history decides: network, store, application, time.
//!
//! Every connection is a future that is polled here by hand, so that nothing happens but what the history says, and the same history
//! always happens in the same way.

mod acts;
mod ends;
mod others;

use super::application::Application;
use super::client::{Client, Connection, Sent};
use super::ledger::Stream;
use super::operation::{AckKind, Expiry, Hello, Level, Operation, Topic};
use super::pipe::Pipe;
use super::seen::Seen;
use super::store::{HeldStore, Noted};
use crate::Broker;
use crate::broker::Inner;
use crate::codec::client::{self, ServerPacket};
use crate::codec::packet::{connect, ping};
use crate::codec::{ByteStr, Connack, Connect, ConnectProperties, Limits, Peer, QoS, ReasonCode, Version};
use crate::config::{Clock, Config};
use crate::link::Bounds;
use crate::store::ram::RamStore;
use acts::{encode_ack, encode_publish};
use bytes::Bytes;
use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

/// The largest packet that a client takes that said so.
const SMALL_PACKET: u32 = 200;
/// The payload of a large message.
const LARGE_PAYLOAD: usize = 300;
/// Polls of one operation, at most: a connection that goes on is one that spins.
const POLLS: usize = 10_000;
/// Rounds until everything has come to rest.
const ROUNDS: usize = 300;

type Verdict = Result<(), String>;

#[derive(Default)]
struct ManualClock(AtomicU64);

impl Clock for ManualClock {
    fn now_ms(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

struct Task {
    future: Pin<Box<dyn Future<Output = ()>>>,
    woken: Arc<Flag>,
}

/// What is known of the stored session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stored {
    No,
    /// Until then.
    Yes(Option<u64>),
    /// A CONNECT was not answered, or it expires about now.
    Unsure,
}

pub(super) struct World {
    clock: Arc<ManualClock>,
    store: Arc<HeldStore>,
    application: Arc<Application>,
    broker: Broker,
    tasks: Vec<Task>,
    version: Version,
    client: Client,
    stored: Stored,
    connection: Option<(Pipe, Connection)>,
    /// The beginning of a packet.
    incoming: Vec<u8>,
    /// Publishes of the client that the broker has carried out.
    carried_out: BTreeSet<u64>,
    next_request: u16,
    /// The client has let go of its session, and the server may not know: it starts clean.
    forgot: bool,
}

fn config(clock: &Arc<ManualClock>) -> Config {
    Config {
        clock: Arc::clone(clock) as Arc<dyn Clock>,
        window_v311: 4,
        window_v5: 6,
        receive_maximum: 4,
        max_subscriptions: 16,
        mailbox: Bounds { items: 12, bytes: 1 << 20, tail_items: 4 },
        out_high_water: 400,
        ..Config::default()
    }
}

fn start(clock: &Arc<ManualClock>, application: &Arc<Application>, store: &Arc<HeldStore>) -> Broker {
    let hook = Arc::clone(application) as Arc<dyn crate::hook::Hook>;
    let broker = Broker::new(config(clock), hook, Arc::clone(store) as Arc<dyn crate::store::Store>);
    broker.start().expect("a store in memory can be read");
    store.hold();
    broker
}

impl World {
    pub(super) fn new(v5: bool) -> World {
        let version = if v5 { Version::V5 } else { Version::V311 };
        let clock = Arc::new(ManualClock(AtomicU64::new(1_000_000)));
        let application = Arc::new(Application::default());
        let store = Arc::new(HeldStore::on(Arc::new(RamStore::new(Arc::clone(&clock) as Arc<dyn Clock>))));
        let broker = start(&clock, &application, &store);
        World {
            clock,
            store,
            application,
            broker,
            tasks: Vec::new(),
            version,
            client: Client::new(version),
            stored: Stored::No,
            connection: None,
            incoming: Vec::new(),
            carried_out: BTreeSet::new(),
            forgot: false,
            next_request: 0,
        }
    }

    fn now_ms(&self) -> u64 {
        self.clock.now_ms()
    }

    fn inner(&self) -> &Arc<Inner> {
        &self.broker.inner
    }

    fn peer(&self) -> Peer {
        Peer::unlimited(self.version)
    }

    /// The connection, where the client may say something on it.
    fn up(&mut self) -> Option<&mut Connection> {
        self.connection.as_mut().map(|(_, connection)| connection).filter(|connection| connection.is_up())
    }

    fn say(&self, bytes: &[u8]) {
        if let Some((pipe, _)) = &self.connection {
            pipe.send(bytes);
        }
    }

    /// Carries out one operation, and judges what comes of it.
    pub(super) async fn carry_out(&mut self, operation: Operation) -> Verdict {
        match operation {
            Operation::Connect(hello) => self.connect(hello)?,
            Operation::Disconnect(expiry) => self.disconnect(expiry)?,
            Operation::Break => {
                if let Some((pipe, connection)) = self.connection.take() {
                    pipe.break_off();
                    self.leave(&connection);
                }
            }
            Operation::Restart => self.restart().await?,
            Operation::Crash => self.crash(),
            Operation::Publish(topic, manner, id) => self.publish(topic, manner, id),
            Operation::PublishOver(topic, qos, id) => self.publish_over(topic, qos, id),
            Operation::Release(which) => self.release(usize::from(which)),
            Operation::Receive(count) => self.receive(usize::from(count))?,
            Operation::Acknowledge { which, refuse } => {
                self.acknowledge(usize::from(which), refuse);
            }
            Operation::Stray(kind, id) => self.stray(kind, id),
            Operation::Subscribe { filter, qos, handling, no_local } => {
                self.subscribe(filter, qos, handling, no_local);
            }
            Operation::Unsubscribe(filter) => self.unsubscribe(filter),
            Operation::Ping => {
                if let Some(connection) = self.up() {
                    connection.pings += 1;
                    let mut out = Vec::new();
                    ping::encode_request(&mut out);
                    self.say(&out);
                }
            }
            Operation::Grant => {
                self.application.grant();
            }
            Operation::Answer(which, refuse) => self.answer(usize::from(which), refuse),
            Operation::Deliver(topic, manner) => self.deliver(topic, manner)?,
            Operation::Append { qos, second, hidden, announce } => self.append(qos, second, hidden, announce),
            Operation::Set(second) => self.set(second),
            Operation::Commit(count) => self.store.carry_out(usize::from(count).max(1)),
            Operation::Room(bytes) => {
                if let Some((pipe, connection)) = &mut self.connection {
                    connection.narrow |= bytes != u8::MAX;
                    pipe.set_room(if bytes == u8::MAX { usize::MAX } else { usize::from(bytes) });
                }
            }
            Operation::Wait(tenths) => self.wait(Duration::from_millis(u64::from(tenths) * 100)).await,
        }
        self.settle()
    }

    /// Polls what is woken until nothing is, and judges what the broker did meanwhile.
    fn settle(&mut self) -> Verdict {
        for _ in 0..POLLS {
            self.judge()?;
            let woken = self.tasks.iter().position(|task| task.woken.0.swap(false, Ordering::Relaxed));
            let Some(index) = woken else { return Ok(()) };
            let task = &mut self.tasks[index];
            let waker = Waker::from(Arc::clone(&task.woken));
            if let Poll::Ready(()) = task.future.as_mut().poll(&mut Context::from_waker(&waker)) {
                self.tasks.swap_remove(index);
            }
        }
        Err("a connection, or the removal of what has expired, spins".to_owned())
    }

    fn judge(&mut self) -> Verdict {
        let now_ms = self.now_ms();
        for number in self.application.taken() {
            self.carried_out(number)?;
        }
        for noted in self.store.noted() {
            match noted {
                Noted::Queued { position, number, retained } => {
                    if !retained {
                        self.carried_out(number)?;
                    }
                    self.client.ledger.queued(position, number, retained);
                }
                Noted::Durable { position, number } => self.client.ledger.durable(position, number),
                Noted::Retained { number } => self.client.ledger.retained(number, false),
                Noted::Kept { number } => self.client.ledger.retained(number, true),
                Noted::Cursor { source, to } => self.client.ledger.check_cursor(&source, to, now_ms)?,
            }
        }
        let Some((pipe, mut connection)) = self.connection.take() else { return Ok(()) };
        self.incoming.extend(pipe.take());
        let bytes = Bytes::from(std::mem::take(&mut self.incoming));
        let mut at = 0;
        loop {
            let decoded = client::decode(self.version, &bytes, at, &Limits::UNLIMITED)
                .map_err(|error| format!("the server wrote what cannot be read: {error}: {bytes:02X?}"))?;
            let Some((packet, len)) = decoded else { break };
            at += len;
            if connection.hello.small && self.version == Version::V5 && len > SMALL_PACKET as usize {
                return Err(format!("a packet of {len} bytes [MQTT-3.1.2-24]: {packet:?}"));
            }
            match packet {
                ServerPacket::Connack(connack) if !connection.open => {
                    self.welcomed(&pipe, &mut connection, &connack)?;
                }
                packet if connection.open => self.client.written(&mut connection, packet, now_ms)?,
                packet => return Err(format!("before CONNACK [MQTT-3.2.0-1]: {packet:?}")),
            }
        }
        self.incoming = bytes[at..].to_vec();
        if pipe.is_closed() {
            // What it wrote last may still be received.
            while self.client.receive(&mut connection)? {}
            self.leave(&connection);
        } else {
            self.connection = Some((pipe, connection));
        }
        Ok(())
    }

    /// The broker carries out a publish of the client, or queues somebody's for it.
    fn carried_out(&mut self, number: u64) -> Verdict {
        let Some(entry) = self.client.ledger.get(number) else { return Ok(()) };
        let again = !self.carried_out.insert(number);
        if again && entry.stream == Stream::Own && entry.qos == Level::Q2 && !entry.repeated {
            return Err(format!("publish {number} of QoS 2 is carried out twice"));
        }
        Ok(())
    }

    fn connect(&mut self, mut hello: Hello) -> Verdict {
        if let Some((pipe, connection)) = self.connection.take() {
            // Half open: the server does not know that the client has gone, and tells it to go.
            drop(pipe);
            self.leave(&connection);
        }
        // [MQTT-3.2.2-4]: it could not go on with a session that it knows nothing of.
        hello.clean |= self.forgot;
        let (pipe, end) = Pipe::new();
        let receive_maximum = hello.receive_maximum % 8 + 1;
        let mut properties = ConnectProperties::default();
        if self.version == Version::V5 {
            properties.session_expiry_interval = match hello.expiry {
                Expiry::Never => None,
                Expiry::Soon => Some(2),
                Expiry::Kept => Some(u32::MAX),
            };
            properties.receive_maximum = Some(u16::from(receive_maximum));
            properties.maximum_packet_size = hello.small.then_some(SMALL_PACKET);
            self.client.ledger.small |= hello.small;
        }
        let packet = Connect {
            version: self.version,
            clean_start: hello.clean,
            keep_alive: 0,
            client_id: ByteStr::from_static("phone"),
            username: None,
            password: None,
            will: None,
            properties,
        };
        let mut out = Vec::new();
        connect::encode(&mut out, &packet).map_err(|error| error.to_string())?;
        pipe.send(&out);
        self.incoming.clear();
        self.connection = Some((pipe, Connection::new(hello, usize::from(receive_maximum))));
        let peer = std::net::SocketAddr::from(([127, 0, 0, 1], 1));
        self.run(crate::net::serve_one(Arc::clone(self.inner()), end, peer));
        Ok(())
    }

    /// Polls a future with the others from now on.
    fn run(&mut self, future: impl Future<Output = ()> + 'static) {
        let woken = Arc::new(Flag(AtomicBool::new(true)));
        self.tasks.push(Task { future: Box::pin(tokio::task::unconstrained(future)), woken });
    }

    /// CONNACK is here.
    fn welcomed(&mut self, pipe: &Pipe, connection: &mut Connection, connack: &Connack) -> Verdict {
        if connack.reason != ReasonCode::Success {
            return Err(format!("a client that may come in is turned away: {connack:?}"));
        }
        let present = connack.session_present;
        let expected = match self.stored {
            _ if connection.hello.clean => Some(false),
            Stored::No => Some(false),
            Stored::Yes(at_ms) if at_ms.is_none_or(|at_ms| self.now_ms() < at_ms) => Some(true),
            Stored::Yes(_) | Stored::Unsure => None,
        };
        if expected.is_some_and(|expected| expected != present) {
            return Err(format!(
                "Session Present is {present}, and {:?} is stored [MQTT-3.2.2-3]",
                self.stored
            ));
        }
        connection.open = true;
        self.forgot = false;
        connection.resumed = present;
        self.client.seen.resumed += usize::from(present);
        connection.persistent = present || self.outlives(connection.hello);
        if let Some(window) = connack.properties.receive_maximum {
            connection.window = usize::from(window);
        }
        connection.max_qos = connack.properties.maximum_qos.unwrap_or(QoS::ExactlyOnce);
        if !present {
            self.client.forget_session();
            self.carried_out.clear();
        }
        self.stored = Stored::Yes(None);
        for index in 0..self.client.outgoing.len() {
            let open = self.client.outgoing[index];
            let mut out = Vec::new();
            if open.stage == Sent::Published {
                if let Some(entry) = self.client.ledger.get(open.number) {
                    entry.repeated |= open.qos < Level::Q2;
                    // The copy does not expire, and nobody knows whether the server has the original.
                    entry.excused |= entry.expires_ms.take().is_some();
                }
                encode_publish(&mut out, self.peer(), &open, true, false);
                connection.published(open);
            } else {
                self.client.outgoing[index].stage = Sent::Released;
                encode_ack(&mut out, self.peer(), AckKind::Pubrel, open.id, ReasonCode::Success);
            }
            pipe.send(&out);
        }
        Ok(())
    }

    async fn wait(&mut self, time: Duration) {
        self.clock.0.fetch_add(time.as_millis() as u64, Ordering::Relaxed);
        tokio::time::advance(time).await;
        let inner = Arc::clone(self.inner());
        inner.timers.tick(self.now_ms());
        inner.take_due().await;
        let now_ms = self.now_ms();
        self.run(async move { inner.remove_expired(now_ms).await });
        if let Stored::Yes(Some(at_ms)) = self.stored
            && self.now_ms() >= at_ms
        {
            self.stored = Stored::Unsure;
        }
    }

    /// What came to pass so far.
    pub(super) fn seen(&self) -> Seen {
        self.client.seen
    }

    /// Nothing more happens but what has to: the client receives and answers everything, the store commits, the application answers. Then
    /// everything that is owed must have come.
    pub(super) async fn come_to_rest(&mut self) -> Verdict {
        let stray = self.connection.as_ref().is_some_and(|(_, connection)| connection.stray);
        if stray {
            self.carry_out(Operation::Break).await?;
        }
        let mut still = 0;
        for _ in 0..ROUNDS {
            if self.connection.is_none() {
                let hello = Hello { clean: false, expiry: Expiry::Kept, receive_maximum: 7, small: false };
                self.carry_out(Operation::Connect(hello)).await?;
            }
            if let Some((pipe, _)) = &self.connection {
                pipe.set_room(usize::MAX);
            }
            while self.application.grant() {}
            self.settle()?;
            self.receive(usize::MAX)?;
            while self.acknowledge(0, false) {}
            for _ in 0..self.client.outgoing.len() {
                self.release(0);
            }
            for _ in 0..16 {
                self.answer(0, false);
            }
            self.broker.committed([self.application.announcement()]);
            self.store.carry_out(usize::MAX);
            self.settle()?;
            self.carry_out(Operation::Wait(20)).await?;
            let settled = self.up().is_some_and(|connection| connection.is_settled());
            let resting = settled && self.client.outgoing.is_empty() && self.store.is_idle();
            still = if resting { still + 1 } else { 0 };
            if still == 4 {
                return self.client.check_finished(self.now_ms());
            }
        }
        let ends = self.connection.as_ref().map(|(_, connection)| connection.open_ends());
        Err(format!("it does not come to rest: {ends:?}, outgoing {:?}", self.client.outgoing))
    }
}

impl Topic {
    fn as_str(self) -> &'static str {
        match self {
            Topic::A => "p/a",
            Topic::B => "p/b",
            Topic::Command => "cmd",
            Topic::Refused => "no/x",
            Topic::Nobody => "q",
        }
    }
}
