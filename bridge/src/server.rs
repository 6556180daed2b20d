//! The service on a machine, put together and taken apart: store, sequencer, broker, listeners.
//!
//! It starts from the disk up and stops from the network down. A stop drains: clients are told, sessions are stored, everything handed in is
//! committed and answered, and the store is written down. A kill loses none of what was acknowledged.

use crate::access::live::LiveRules;
use crate::account::{AccountError, Accounts};
use crate::cli::{ControlSocket, ServerControl};
use crate::hook::ChatHook;
use crate::listeners;
use crate::reload::Reload;
use crate::sequencer::Sequencer;
use crate::service::{self, Service};
use crate::settings::{Settings, Sources};
use chasqui_broker::store::StoreError;
use chasqui_broker::{Broker, Listener, TlsError, Transport};
use chasqui_storage::clock::{Clock, SystemClock};
use chasqui_storage::{OpenError, Options, Poisoned, QueueLimits, Storage};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

/// How long clients may take to go when the server stops.
const DRAIN: Duration = Duration::from_secs(10);

/// How often the store is asked whether it has failed.
const LOOK: Duration = Duration::from_millis(200);

/// Why the service does not start or stop as it should.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// A port cannot be listened on.
    #[error("cannot listen on {address}: {why}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why not, and what to do.
        why: String,
    },
    /// The certificate cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The store cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The store cannot be read.
    #[error("{0}")]
    Read(#[from] StoreError),
    /// Signals cannot be waited for.
    #[error("cannot wait for signals: {0}")]
    Signals(std::io::Error),
    /// The runtime cannot be started.
    #[error("cannot start threads: {0}")]
    Runtime(std::io::Error),
    /// The accounts cannot be used.
    #[error(transparent)]
    Accounts(#[from] AccountError),
    /// The store failed, now or while the server ran.
    #[error("the server has stopped because its store takes no more writes; what was acknowledged is in it: {}", .0.why)]
    Poisoned(#[from] Poisoned),
}

/// Serves until SIGTERM or SIGINT, then drains; at SIGHUP the settings are read again from where they came, and the
/// certificate. What the `serve` command does.
pub fn run(settings: Settings, sources: Sources) -> Result<(), ServerError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(ServerError::Runtime)?.block_on(serve(settings, sources))
}

async fn serve(settings: Settings, sources: Sources) -> Result<(), ServerError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(ServerError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(ServerError::Signals)?;
    let mut hangup = signal(SignalKind::hangup()).map_err(ServerError::Signals)?;
    let server = Server::start(&settings).await?;
    let reload = Arc::new(server.reload(sources, settings.clone()));
    let handler = Arc::new(ServerControl::new(Arc::clone(server.accounts()), Arc::clone(&reload)));
    let control = match ControlSocket::bind(&settings.data) {
        Ok(control) => Some(tokio::spawn(control.serve(handler))),
        Err(error) => {
            tracing::warn!(
                "{error}; `chasqui user` works while the server is stopped only, and `chasqui reload` is SIGHUP"
            );
            None
        }
    };
    if settings.dev {
        tracing::warn!(
            "--dev: any user may log in whose password equals the name, users come into being when first named, \
             anonymous clients are let in, generic topics are open as far as no access rule denies them, and all may read $SYS; \
             users are held to no rates; loopback only"
        );
    }
    // Bare TCP last: when it is said, all is.
    for (transport, address) in server.listening().iter().rev() {
        tracing::info!("{}, data in {}", listeners::said(transport, *address), settings.data.display());
    }
    let hangups = tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            // It says in the log how it went.
            let _ = reload.now().await;
        }
    });
    let failed = tokio::select! {
        _ = terminate.recv() => None,
        _ = interrupt.recv() => None,
        why = server.failure() => Some(why),
    };
    for control in control.into_iter().chain([hangups]) {
        control.abort();
        // What it held goes with it, before the server waits to be the last.
        let _ = control.await;
    }
    if let Some(why) = failed {
        // What can be stored no more is not; but everyone is told, and nothing is left that uses the store when the process ends.
        // It fails with the reason that is returned.
        let _ = server.stop().await;
        return Err(why.into());
    }
    tracing::info!("stopping: clients are told, sessions and messages are on disk before the end");
    server.stop().await
}

/// A service that runs.
pub struct Server {
    storage: Arc<Storage>,
    sequencer: Arc<Sequencer>,
    hook: Arc<ChatHook>,
    broker: Broker,
    accounts: Arc<Accounts>,
    listening: Vec<(Transport, SocketAddr)>,
    tasks: JoinSet<()>,
}

impl Server {
    /// Opens the store and listens. What cannot be done is one sentence, and nothing is left behind.
    pub async fn start(settings: &Settings) -> Result<Server, ServerError> {
        let listeners = listeners::open(settings).await?;
        let storage = Storage::open(&settings.data, options(settings))?;
        Server::start_on(settings, storage, Arc::new(SystemClock), listeners).await
    }

    /// Starts on a store and listeners that are open.
    pub async fn start_on(
        settings: &Settings,
        storage: Storage,
        clock: Arc<dyn Clock>,
        listeners: Vec<impl Into<Listener>>,
    ) -> Result<Server, ServerError> {
        let storage = Arc::new(storage);
        let reader = storage.reader();
        let hook = service::hook(settings, reader.clone(), Arc::clone(&clock));
        let sink = Arc::<ChatHook>::clone(&hook);
        let options = service::sequencing(settings);
        let sequencer = Arc::new(Sequencer::start(Arc::clone(&storage), sink, Arc::clone(&clock), options));
        let config = service::config(settings, Arc::clone(&clock));
        let Service { hook, broker, accounts } = Service::new(hook, &sequencer, &reader, clock, config)?;

        let starting = broker.clone();
        let started = tokio::task::spawn_blocking(move || starting.start()).await;
        started.unwrap_or_else(|error| Err(StoreError::new(format!("the start was cut short: {error}"))))?;
        let mut tasks = JoinSet::new();
        let mut listening: Vec<(Transport, SocketAddr)> = Vec::new();
        for listener in listeners {
            let listener: Listener = listener.into();
            let transport = listener.options.transport.clone();
            listening.extend(listener.socket.local_addr().map(|address| (transport, address)));
            let broker = broker.clone();
            tasks.spawn(async move { broker.serve(listener).await });
        }
        // One handle: the listeners of a service share their certificate.
        if let Some(tls) = listening.iter().find_map(|(transport, _)| transport.tls()).cloned() {
            let (broker, every) = (broker.clone(), settings.tls.look_every);
            tasks.spawn(async move { broker.watch(tls, every).await });
        }
        let tending = broker.clone();
        tasks.spawn(async move { tending.tend().await });
        Ok(Server { storage, sequencer, hook, broker, accounts, listening, tasks })
    }

    /// Where it listens, and what is spoken there; bare TCP first.
    pub fn listening(&self) -> &[(Transport, SocketAddr)] {
        &self.listening
    }

    /// Where it listens, in the same order.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.listening.iter().map(|(_, address)| *address).collect()
    }

    /// What reads the settings again, from where they came, and the certificate.
    pub fn reload(&self, sources: Sources, started: Settings) -> Reload {
        let tls = self.listening.iter().find_map(|(transport, _)| transport.tls()).cloned();
        Reload::new(sources, started, Arc::clone(&self.hook), self.broker.clone(), tls)
    }

    /// The access rules in effect.
    pub fn access(&self) -> &LiveRules {
        self.hook.access()
    }

    /// The accounts, for whoever administers them.
    pub fn accounts(&self) -> &Arc<Accounts> {
        &self.accounts
    }

    /// The broker, for figures.
    pub fn broker(&self) -> &Broker {
        &self.broker
    }

    /// The store, for figures.
    pub fn storage(&self) -> &Storage {
        &self.storage
    }

    /// Waits until the store has failed, and says why. Usually for ever.
    pub async fn failure(&self) -> Poisoned {
        loop {
            if let Some(why) = self.storage.poisoned() {
                return why;
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Ends without a word, as a killed process would; for tests of what is left then. Nothing may run any more that it has started on its
    /// runtime.
    pub fn abandon(self) {
        let Server { storage, sequencer, hook, broker, accounts, tasks, .. } = self;
        hook.leave();
        drop((hook, broker, accounts, tasks));
        drop(last_holder(sequencer));
        drop(last_holder(storage));
    }

    /// Stops: nobody new, everyone told, everything stored.
    ///
    /// # Errors
    /// When the store has failed; what was acknowledged is in it.
    pub async fn stop(self) -> Result<(), ServerError> {
        let Server { storage, sequencer, hook, broker, accounts, mut tasks, .. } = self;
        broker.stop(DRAIN).await;
        while tasks.join_next().await.is_some() {}
        hook.leave();
        drop((hook, broker, accounts));
        let stopped = tokio::task::spawn_blocking(move || {
            // Others hold these for the moment of a call at most.
            let sequencer = last_holder(sequencer);
            let answered = sequencer.stop();
            last_holder(storage).close()?;
            answered
        });
        match stopped.await {
            Ok(stopped) => Ok(stopped?),
            Err(error) => Err(StoreError::new(format!("the stop was cut short: {error}")).into()),
        }
    }
}

/// Waits until nobody else holds a thing.
fn last_holder<T>(mut held: Arc<T>) -> T {
    loop {
        match Arc::try_unwrap(held) {
            Ok(thing) => return thing,
            Err(still_held) => held = still_held,
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The storage part of the settings.
pub fn options(settings: &Settings) -> Options {
    let storage = &settings.storage;
    Options {
        overlay_bytes: storage.overlay_bytes.as_usize(),
        overlay_age: storage.overlay_age,
        block_cache_bytes: storage.block_cache_bytes.as_usize(),
        segment_bytes: storage.segment_bytes.0,
        // All that is written comes in steps of the sequencer, which gathers already: a second wait would only be added to its own.
        queue: QueueLimits { min_interval: Duration::ZERO, ..QueueLimits::default() },
        ..Options::default()
    }
}
