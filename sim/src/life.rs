//! One life of the server, from its start to its end: the production service on the engine, and connections that are polled by hand.

use crate::engine::Engine;
use crate::hardware::{Hardware, Mains};
use crate::pipe::ServerEnd;
use crate::tasks::Tasks;
use chasqui_bridge::hook::ChatHook;
use chasqui_bridge::sequencer;
use chasqui_bridge::service::{self, Service};
use chasqui_bridge::settings::Settings;
use chasqui_broker::link::Bounds;
use chasqui_broker::{Broker, Config};
use chasqui_storage::clock::{Clock, ManualClock};
use chasqui_storage::{Core, Options};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// How long clients may take to go when the server stops.
const DRAIN: Duration = Duration::from_secs(10);
/// How long a client may take nothing of what is written to it, in milliseconds.
pub(crate) const WRITE_STALL_MS: u64 = 60_000;
/// The names of what is no connection.
const DUE: &str = "due";
const STOP: &str = "stop";

/// Bounds of a server, small enough that a short history meets them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Build {
    /// Messages in flight to a client.
    pub(crate) window: u16,
    /// Publishes of a client that may wait for their answer.
    pub(crate) receive_maximum: u16,
    /// Items of a tail that a mailbox holds.
    pub(crate) tail_items: u32,
    /// Bytes beyond which nothing more is put into a connection's buffer.
    pub(crate) out_high_water: usize,
    /// Bytes of records at hand in the sequencer.
    pub(crate) working_set_bytes: usize,
    /// Bytes of a layer of the overlay, and milliseconds after which it goes down.
    pub(crate) overlay_bytes: usize,
    pub(crate) overlay_age_ms: u64,
    /// Bytes of a segment of the commit log.
    pub(crate) segment_bytes: u64,
}

impl Build {
    fn settings() -> Settings {
        let mut settings = Settings { dev: true, ..Settings::default() };
        settings.sys.interval = Duration::ZERO;
        settings.limits.write_stall = Duration::from_millis(WRITE_STALL_MS);
        settings
    }

    fn storage(&self) -> Options {
        Options {
            overlay_bytes: self.overlay_bytes,
            overlay_age: Duration::from_millis(self.overlay_age_ms),
            segment_bytes: self.segment_bytes,
            log_key: Some(*b"the same in each"),
            ..Options::default()
        }
    }

    fn config(&self, settings: &Settings, clock: Arc<dyn Clock>) -> Config {
        Config {
            window_v311: self.window,
            window_v5: self.window,
            receive_maximum: self.receive_maximum,
            mailbox: Bounds { tail_items: self.tail_items, ..Config::default().mailbox },
            out_high_water: self.out_high_water,
            ..service::config(settings, clock)
        }
    }
}

/// See the module.
pub(crate) struct Life {
    pub(crate) engine: Arc<Engine>,
    pub(crate) mains: Mains,
    pub(crate) tasks: Tasks,
    hook: Arc<ChatHook>,
    broker: Broker,
    accepted: u64,
}

impl Life {
    /// Starts the server on what is there. The power may go meanwhile.
    ///
    /// # Errors
    /// Why it does not start, as its operator would read it.
    pub(crate) fn start(
        build: &Build,
        hardware: &Hardware,
        mains: Mains,
        clock: &Arc<ManualClock>,
    ) -> Result<Life, String> {
        let (disk, kv) = hardware.powered_by(&mains);
        let time: Arc<dyn Clock> = Arc::<ManualClock>::clone(clock);
        let storage =
            Core::open(disk, kv, Arc::clone(&time), build.storage()).map_err(|error| error.to_string())?;
        let reader = storage.reader();
        let settings = Build::settings();
        let hook = service::hook(&settings, reader.clone(), Arc::clone(&time));
        let core = sequencer::Core::new(service::sequencing(&settings).dev, build.working_set_bytes);
        let sink = Arc::<ChatHook>::clone(&hook);
        let engine = Engine::new(core, storage, sink, Arc::clone(clock));
        let config = build.config(&settings, Arc::clone(&time));
        let service =
            Service::new(hook, &engine, &reader, time, config).map_err(|error| error.to_string())?;
        let Service { hook, broker, .. } = service;
        let life = Life { engine, mains, tasks: Tasks::default(), hook, broker, accepted: 0 };
        life.broker.start().map_err(|error| error.to_string())?;
        life.engine.started();
        Ok(life)
    }

    /// Accepts a connection.
    pub(crate) fn accept(&mut self, stream: ServerEnd) {
        self.accepted += 1;
        let broker = self.broker.clone();
        let peer = SocketAddr::from(([127, 0, 0, 1], 1));
        let serving = async move { broker.serve_stream(stream, peer).await };
        self.tasks.run(format!("connection {}", self.accepted), serving);
    }

    /// Wakes who has a deadline, and now and then looks for what is due.
    pub(crate) fn tend(&mut self, due: bool) {
        self.broker.tick();
        if due && !self.tasks.has(DUE) {
            let broker = self.broker.clone();
            self.tasks.run(DUE.to_owned(), async move { broker.take_due().await });
        }
    }

    /// Begins to stop in good order: clients are told, sessions are stored.
    pub(crate) fn stop(&mut self) {
        let broker = self.broker.clone();
        self.tasks.run(STOP.to_owned(), async move { broker.stop(DRAIN).await });
    }

    /// Whether everybody has gone, or had time to.
    pub(crate) fn has_stopped(&self) -> bool {
        !self.tasks.has(STOP)
    }
}

impl Drop for Life {
    /// Nobody is told anything, as when a process is killed.
    fn drop(&mut self) {
        self.hook.leave();
    }
}
