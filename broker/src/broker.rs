//! The broker: what connections share, and what the application holds on to.

mod due;

use crate::codec::{QoS, ReasonCode, Version};
use crate::config::Config;
use crate::groups::Groups;
use crate::hook::{Client, Hook, Roles, Route};
use crate::link::Pushed;
use crate::message::Message;
use crate::net::{self, Listener, Stream, Tls, UnderWay};
use crate::plain::Subscriber;
use crate::quota::{Allowance, Places};
use crate::registry::Registry;
use crate::retention::Retention;
use crate::router::{Router, SubscriptionOptions};
use crate::shared::SharedMessage;
use crate::sharing::Leaving;
use crate::source::Tail;
use crate::sources::Sources;
use crate::stats::Stats;
use crate::store::{RetainedTotals, SessionKey, Store, StoreError, StoredSession, StoredSubscription};
use crate::sys::{Reading, Sys};
use crate::timers::{TICK_MS, Timers};
use crate::topic::is_shared;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

/// How often deadlines are looked at.
const TICK: Duration = Duration::from_millis(TICK_MS);
/// How often what is due is looked for.
const DUE_INTERVAL: Duration = Duration::from_millis(500);
/// How many due entries are taken at once.
const DUE_PAGE: usize = 256;
/// Where in the index of due times connected sessions stand; what falls due comes later.
const CONNECTED_MS: u64 = 0;
/// Where sessions stand that are to end because of their queue.
const OUTGROWN_MS: u64 = 1;

/// A broker. Clones are handles to the same one.
#[derive(Clone)]
pub struct Broker {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) config: Config,
    pub(crate) hook: Arc<dyn Hook>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) router: Router<Subscriber>,
    pub(crate) groups: Groups,
    pub(crate) registry: Arc<Registry>,
    pub(crate) sources: Sources,
    pub(crate) timers: Timers,
    pub(crate) stats: Stats,
    pub(crate) under_way: Arc<UnderWay>,
    /// Connections by address, and by owner.
    pub(crate) addresses: Arc<Places<IpAddr>>,
    pub(crate) owners: Arc<Places<Arc<str>>>,
    pub(crate) retention: Arc<Retention>,
    pub(crate) sys: Sys,
    next_connection: AtomicU64,
    connections: AtomicUsize,
    stopping: watch::Sender<bool>,
}

impl Broker {
    /// A broker that serves nobody yet.
    pub fn new(config: Config, hook: Arc<dyn Hook>, store: Arc<dyn Store>) -> Broker {
        let registry = Registry::new(config.mailbox);
        let under_way = UnderWay::new(config.max_handshakes);
        let addresses = Places::new(Allowance {
            most: config.max_connections_per_address,
            rate: config.connect_rate_per_address,
            publishes: config.publish_rates_per_address,
        });
        let owners = Places::new(Allowance {
            most: config.max_connections_per_owner,
            rate: config.connect_rate_per_owner,
            publishes: config.publish_rates_per_owner,
        });
        let most = RetainedTotals { messages: config.max_retained, bytes: config.max_retained_bytes };
        // Begun anew with the time, so that no number comes again after a restart.
        let now_ms = config.clock.now_ms();
        let next_connection = AtomicU64::new((now_ms << 16) + 1);
        let sys = Sys::new(config.sys_interval, now_ms);
        Broker {
            inner: Arc::new(Inner {
                config,
                hook,
                store,
                router: Router::new(),
                groups: Groups::default(),
                registry,
                sources: Sources::default(),
                timers: Timers::default(),
                stats: Stats::default(),
                under_way,
                addresses,
                owners,
                retention: Retention::new(most),
                sys,
                next_connection,
                connections: AtomicUsize::new(0),
                stopping: watch::Sender::new(false),
            }),
        }
    }

    /// Takes up what an earlier process left: sessions that were connected when it died count as disconnected now, and offline sessions
    /// with plain filters go into the index, as far as the application still allows them.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn start(&self) -> Result<(), StoreError> {
        let inner = &self.inner;
        loop {
            let crashed = inner.store.due(CONNECTED_MS, CONNECTED_MS, DUE_PAGE)?;
            if crashed.is_empty() {
                break;
            }
            inner.were_connected(crashed)?;
        }
        let mut failed = None;
        inner.store.plain_sessions(&mut |key, session| {
            if let Err(error) = inner.index_offline(&key, session) {
                failed = Some(error);
            }
        })?;
        failed.map_or(Ok(()), Err)?;
        inner.end_outgrown()?;
        inner.count_retained()?;
        inner.tell_system();
        Ok(())
    }

    /// Serves the connections of a listener until [`Broker::stop`]. Run by as many tasks as there are listeners.
    pub async fn serve(&self, listener: impl Into<Listener>) {
        net::accept(Arc::clone(&self.inner), listener.into()).await;
    }

    /// Serves one connection from its first byte to its last, over whatever carries its bytes: for who accepts connections on their own.
    pub async fn serve_stream<S: Stream>(&self, stream: S, peer: SocketAddr) {
        net::serve_one(Arc::clone(&self.inner), stream, peer).await;
    }

    /// Looks after deadlines, wills, expiries and what members of groups left behind until [`Broker::stop`]. Run it once, beside the listeners.
    pub async fn tend(&self) {
        let mut stopping = self.inner.stopping.subscribe();
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        let ticks_per_due = DUE_INTERVAL.as_millis() as u64 / TICK_MS;
        let mut ticks = 0u64;
        let mut due: Option<JoinHandle<()>> = None;
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                _ = stopping.wait_for(|stopping| *stopping) => return,
            }
            self.tick();
            ticks += 1;
            if ticks.is_multiple_of(ticks_per_due) {
                // Beside this loop, which others' deadlines wait for.
                if due.as_ref().is_none_or(JoinHandle::is_finished) {
                    let broker = self.clone();
                    due = Some(tokio::spawn(async move { broker.take_due().await }));
                }
            }
        }
    }

    /// What [`Broker::tend`] does often: wakes who has a deadline. For who keeps the time on their own.
    pub fn tick(&self) {
        let inner = &self.inner;
        let now_ms = inner.config.clock.now_ms();
        inner.timers.tick(now_ms);
        if inner.sys.is_due(now_ms) {
            inner.tell_system();
        }
        inner.offer_parked();
        inner.hook.tick(now_ms);
    }

    /// What [`Broker::tend`] does now and then, and once at a time: wills, ends of sessions, retained messages that expire, and what
    /// the application does.
    pub async fn take_due(&self) {
        let now_ms = self.inner.config.clock.now_ms();
        self.inner.take_due().await;
        self.inner.remove_expired(now_ms).await;
        self.inner.hook.tend();
    }

    /// Loads certificate files again when they change, looking at them every so often, until [`Broker::stop`]. Run it once for each
    /// [`Tls`], beside the listeners.
    pub async fn watch(&self, tls: Tls, every: Duration) {
        let mut stopping = self.inner.stopping.subscribe();
        loop {
            tokio::select! {
                () = tokio::time::sleep(every) => {}
                _ = stopping.wait_for(|stopping| *stopping) => return,
            }
            let tls = tls.clone();
            // It reads files; a thread that may block does that.
            if let Err(error) = tokio::task::spawn_blocking(move || tls.reload_and_log()).await {
                tracing::error!("the certificate could not be looked at: {error}");
            }
        }
    }

    /// New items were committed. To be called in the order of commits.
    pub fn committed(&self, tails: impl IntoIterator<Item = Tail>) {
        for tail in tails {
            self.inner.sources.announce(tail);
        }
    }

    /// Publishes a plain message of the server itself; nobody waits for it.
    pub fn publish(&self, message: Message) {
        self.inner.publish_quietly(None, message);
    }

    /// Gives a message to one session alone, if it is connected and a subscription of it matches.
    pub fn send(&self, session: &SessionKey, message: Message) {
        if let Some(link) = self.inner.registry.link(session) {
            link.push(crate::link::Event::Direct(SharedMessage::new(message)));
        }
    }

    /// Gives a message that may be lost to each of these clients that has a subscription of its own that matches. Where one takes
    /// its messages too slowly it is left out, and counted as dropped.
    pub fn signal<'a>(&self, clients: impl IntoIterator<Item = &'a Client>, message: Message) {
        let message = SharedMessage::new(Message { qos: QoS::AtMostOnce, ..message });
        for client in clients {
            if client.link.signal(Arc::clone(&message)) == Pushed::Dropped {
                self.inner.stats.dropped_mailbox_full.count();
            }
        }
    }

    /// Ends a session's connection, if it has one.
    pub fn disconnect(&self, session: &SessionKey, code: ReasonCode, sentence: &'static str) {
        if let Some(link) = self.inner.registry.link(session) {
            link.push(crate::link::Event::Close(code, sentence));
        }
    }

    /// Ends all connections of an owner; how many there were.
    pub fn disconnect_owner(&self, owner: &str, code: ReasonCode, sentence: &'static str) -> usize {
        let links = self.inner.registry.connected();
        let own = links.iter().filter(|link| &*link.key.owner == owner);
        own.filter(|link| link.push(crate::link::Event::Close(code, sentence))).count()
    }

    /// Ends a session for good, with its subscriptions, cursors and queue. A connection that it has is told to go first, and the
    /// answer is false: ask again when it has gone. Waits for the store where others share what it leaves behind: call it where
    /// blocking is allowed.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn end_session(&self, session: &SessionKey) -> Result<bool, StoreError> {
        let inner = &self.inner;
        let Some(hold) = inner.registry.hold(session) else {
            self.disconnect(
                session,
                ReasonCode::AdministrativeAction,
                "this session was ended by the operator",
            );
            return Ok(false);
        };
        if let Some(stored) = inner.store.session(session)? {
            inner.leave_index(session, &stored.record);
            inner.hand_on_left_blocking(Leaving::session(
                session.clone(),
                &stored.record,
                &stored.cursors,
            ))?;
            inner.end_held(hold, session, &stored.record, Vec::new());
            inner.hook.ended(session);
        }
        Ok(true)
    }

    /// Subscriptions in the index, and how many of them are shared.
    pub fn subscriptions(&self) -> (usize, usize) {
        self.inner.subscriptions()
    }

    /// How much is retained, `$SYS` aside.
    pub fn retained(&self) -> RetainedTotals {
        self.inner.retention.totals()
    }

    /// The counters.
    pub fn stats(&self) -> &Stats {
        &self.inner.stats
    }

    /// Connections that are open.
    pub fn connections(&self) -> usize {
        self.inner.connections.load(Ordering::Relaxed)
    }

    /// Connections whose CONNECT is not there yet.
    pub fn handshakes(&self) -> usize {
        self.inner.under_way.len()
    }

    /// Stops accepting, tells all clients, stores all sessions, and waits for that, at most as long as `patience`.
    pub async fn stop(&self, patience: Duration) {
        self.inner.stopping.send_replace(true);
        for link in self.inner.registry.connected() {
            Inner::tell_to_go(&link);
        }
        let drained = async {
            while self.connections() > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        if tokio::time::timeout(patience, drained).await.is_err() {
            tracing::warn!(left = self.connections(), "some connections did not end in time");
        }
    }
}

/// Counts an open connection while it lives.
pub(crate) struct Open(Arc<Inner>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Inner {
    /// A place for one more connection; `None` when there is none, not even that of somebody who has said nothing yet.
    pub(crate) fn open(self: &Arc<Self>) -> Option<Open> {
        let before = self.connections.fetch_add(1, Ordering::Relaxed);
        let open = Open(Arc::clone(self));
        (before < self.config.max_connections || self.make_place()).then_some(open)
    }

    /// Ends the connection that has said nothing for the longest time; whether there was one.
    pub(crate) fn make_place(&self) -> bool {
        let made = self.under_way.make_place();
        if made {
            self.stats.handshakes_displaced.count();
        }
        made
    }

    pub(crate) fn next_connection(&self) -> u64 {
        self.next_connection.fetch_add(1, Ordering::Relaxed)
    }

    /// Ends a connection because the server stops.
    pub(crate) fn tell_to_go(link: &crate::link::Link) {
        link.push(crate::link::Event::Close(ReasonCode::ServerShuttingDown, "the server is shutting down"));
    }

    pub(crate) fn stopping(&self) -> watch::Receiver<bool> {
        self.stopping.subscribe()
    }

    /// See [`Broker::subscriptions`].
    fn subscriptions(&self) -> (usize, usize) {
        let shared = self.groups.members();
        // A group stands in the index once.
        ((self.router.len() + shared).saturating_sub(self.groups.len()), shared)
    }

    /// Publishes what has changed under `$SYS/`.
    fn tell_system(self: &Arc<Self>) {
        let (subscriptions, shared) = self.subscriptions();
        let reading = Reading {
            stats: &self.stats,
            sessions: self.registry.len() as u64,
            connected: self.registry.connected_count() as u64,
            subscriptions: subscriptions as u64,
            shared_subscriptions: shared as u64,
            retained: self.retention.totals(),
            held: self.store.held(),
        };
        for message in self.sys.changed(self.config.clock.now_ms(), &reading) {
            self.publish_quietly(None, message);
        }
    }

    /// Puts a plain filter of a session into the index.
    pub(crate) fn route(&self, link: &Arc<crate::link::Link>, subscription: &StoredSubscription) {
        let options = SubscriptionOptions {
            qos: subscription.qos.as_u8(),
            no_local: subscription.no_local,
            retain_as_published: subscription.retain_as_published,
            id: subscription.identifier.and_then(NonZeroU32::new),
        };
        if is_shared(&subscription.filter) {
            self.groups.join(&self.router, &subscription.filter, link, options);
        } else {
            self.router.subscribe(&subscription.filter, Subscriber::Session(Arc::clone(link)), options);
        }
    }

    /// Takes a plain filter of a session out of the index.
    pub(crate) fn unroute_one(&self, link: &Arc<crate::link::Link>, filter: &str) {
        if is_shared(filter) {
            self.groups.leave(&self.router, filter, link);
        } else {
            self.router.unsubscribe(filter, &Subscriber::Session(Arc::clone(link)));
        }
    }

    /// Puts an offline session into the index, as far as the application still allows its filters.
    fn index_offline(&self, key: &SessionKey, session: StoredSession) -> Result<(), StoreError> {
        let StoredSession { mut record, cursors, .. } = session;
        let end = self.store.queue_end(key)?;
        self.recheck_at_start(key, &mut record, end)?;
        let mut plain = record.subscriptions.iter().filter(|subscription| subscription.plain).peekable();
        if plain.peek().is_some() {
            let link = self.registry.keep(key);
            link.begin_queue(end, cursors.queue().unwrap_or(end));
            for subscription in plain {
                self.route(&link, subscription);
            }
        }
        Ok(())
    }

    /// Takes the plain filters of a session out of the index.
    pub(crate) fn unroute(&self, link: &Arc<crate::link::Link>, subscriptions: &[StoredSubscription]) {
        for subscription in subscriptions.iter().filter(|subscription| subscription.plain) {
            self.unroute_one(link, &subscription.filter);
        }
    }

    /// The connection of a session that is kept is over: its groups turn to others first.
    pub(crate) fn step_back(&self, link: &Arc<crate::link::Link>, subscriptions: &[StoredSubscription]) {
        for subscription in subscriptions.iter().filter(|subscription| subscription.plain) {
            if is_shared(&subscription.filter) {
                self.groups.away(&subscription.filter, link);
            }
        }
    }

    /// Publishes a will: authorised now, as whoever left it. Returns when what it does is durable, so that the session may forget
    /// it: a crash in between publishes it again, and does not lose it.
    pub(crate) async fn publish_will(self: &Arc<Self>, client: &Arc<Client>, mut message: Message) {
        message.received_ms = self.config.clock.now_ms();
        match Route::of(&*self.hook, client, &message.topic) {
            // What it queues and retains is committed before whatever is handed over later.
            Route::Plain => {
                // The session's own, which No Local keeps away from it [MQTT-3.8.3-3]: by the link that the index knows it by.
                let from = self.registry.link(&client.session);
                self.publish_quietly(from.as_ref(), message);
            }
            Route::Command => {
                let (sender, receiver) = oneshot::channel();
                let then = Box::new(move || {
                    // Nobody waits any more when the server is going down.
                    let _ = sender.send(());
                });
                self.hook.submit_will(client, message, then);
                // Dropped unanswered only by an application that is going down.
                let _ = receiver.await;
            }
            Route::Refused(_, sentence) => {
                self.stats.publishes_refused.count();
                tracing::info!(
                    owner = &*client.session.owner,
                    client_id = &*client.session.client_id,
                    "a will was refused: {sentence}"
                );
            }
        }
    }

    /// A session's owner as a client, when the connection that it had is over.
    pub(crate) fn absent(&self, key: &SessionKey, connection: u64) -> Arc<Client> {
        Arc::new(Client {
            session: key.clone(),
            version: Version::V5,
            persistent: true,
            connection,
            roles: Roles::default(),
            problem_information: false,
            link: crate::link::Link::new(key.clone(), self.config.mailbox),
        })
    }
}
