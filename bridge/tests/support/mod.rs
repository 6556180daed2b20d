//! The service for tests to speak to: in this process, over real sockets, on a store whose flushes can be held back, whose power can be
//! cut, and on which it can be started again. Clients are those of the testkit; [`chat`] knows what they say to each other.

#![allow(dead_code, unused_imports, unreachable_pub)] // Each test binary uses its own part.

pub mod chat;

pub use chasqui_testkit::*;
pub use chat::*;

use chasqui_bridge::access::Rules;
use chasqui_bridge::server::{self, Server};
use chasqui_bridge::settings::{ByteSize, Settings, Sources};
use chasqui_storage::Storage;
use chasqui_storage::clock::{Clock, SystemClock};
use chasqui_storage::disk::RamDisk;
use chasqui_storage::disk::ram::HeldSyncs;
use chasqui_storage::kv::ram::RamKv;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

/// The machine's clock, which a test can put forward, and stop. Starting the service again changes nothing about it.
#[derive(Default)]
pub struct TestClock {
    put_forward_ms: AtomicU64,
    /// What it shows while it stands still; 0 while it goes.
    stands_at_ms: AtomicU64,
}

impl TestClock {
    /// Puts it forward.
    pub fn advance(&self, by: Duration) {
        self.put_forward_ms.fetch_add(by.as_millis() as u64, Ordering::SeqCst);
    }

    /// Stops it: from here on it only moves when it is put forward. Live values of a state then come once, since they are apart in time.
    pub fn stand_still(&self) {
        self.stands_at_ms.store(SystemClock.now_ms(), Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now_ms(&self) -> u64 {
        let shown = match self.stands_at_ms.load(Ordering::SeqCst) {
            0 => SystemClock.now_ms(),
            stands_at => stands_at,
        };
        shown + self.put_forward_ms.load(Ordering::SeqCst)
    }
}

/// What a service keeps its store on.
enum Ground {
    /// In memory, with power-cut semantics.
    Twins { disk: RamDisk, kv: RamKv },
    /// In a folder of its own, gone with it.
    Folder(TempDir),
}

struct Running {
    server: Server,
    /// Of its own, so that everything the service does ends with it.
    runtime: Runtime,
}

/// A service on a port of its own, in this process.
pub struct Service {
    /// The settings it is started with, also the next time.
    pub settings: Settings,
    /// Its clock.
    pub clock: Arc<TestClock>,
    ground: Ground,
    running: Option<Running>,
}

/// The settings of `--dev`, with a store that suits a test.
pub fn dev() -> Settings {
    let mut settings = Settings { dev: true, ..Settings::default() };
    settings.storage.segment_bytes = ByteSize(4 << 20);
    settings
}

/// The settings of a server that has accounts, with a store that suits a test.
pub fn with_accounts() -> Settings {
    Settings { dev: false, ..dev() }
}

/// Access rules as they are written in a settings file.
pub fn rules(toml: &str) -> Rules {
    let folder = TempDir::new().expect("a folder for the test");
    let path = folder.path().join("chasqui.toml");
    std::fs::write(&path, toml).expect("the folder can be written to");
    let sources = Sources { config: Some(path), ..Sources::default() };
    Settings::load(&sources).expect("rules of tests are valid").access
}

impl Service {
    /// A service as with `--dev`, on a store in memory.
    pub async fn start() -> Service {
        Service::start_with(dev()).await
    }

    /// A service with these settings, on a store in memory.
    pub async fn start_with(settings: Settings) -> Service {
        Service::on(settings, Ground::Twins { disk: RamDisk::new(), kv: RamKv::new() }).await
    }

    /// A service with these settings, in a folder.
    pub async fn in_folder(settings: Settings) -> Service {
        Service::on(settings, Ground::Folder(TempDir::new().expect("a folder for the test"))).await
    }

    async fn on(settings: Settings, ground: Ground) -> Service {
        let mut service = Service { settings, clock: Arc::default(), ground, running: None };
        service.resume().await;
        service
    }

    /// Starts it again, on what it had; on another port.
    pub async fn resume(&mut self) {
        assert!(self.running.is_none(), "it runs already");
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.expect("threads");
        let clock: Arc<dyn Clock> = Arc::<TestClock>::clone(&self.clock);
        let options = server::options(&self.settings);
        let storage = match &self.ground {
            Ground::Twins { disk, kv } => {
                let (disk, kv) = (Arc::new(disk.clone()), Arc::new(kv.clone()));
                Storage::open_with(disk, kv, Arc::clone(&clock), options)
            }
            Ground::Folder(folder) => Storage::open(folder.path(), options),
        };
        let storage = storage.expect("the store opens");
        let settings = self.settings.clone();
        let started = runtime.spawn(async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
            Server::start_on(&settings, storage, clock, vec![listener]).await
        });
        let server = started.await.expect("the start does not panic").expect("the service starts");
        self.running = Some(Running { server, runtime });
    }

    fn running(&self) -> &Running {
        self.running.as_ref().expect("it runs")
    }

    /// The service itself.
    pub fn server(&self) -> &Server {
        &self.running().server
    }

    /// Puts other access rules into effect, as a reload does; how many subscriptions ended.
    pub async fn change_rules(&self, toml: &str) -> usize {
        self.server().access().replace(rules(toml));
        self.server().broker().recheck(None).await.expect("the store can be read")
    }

    /// Where it listens now.
    pub fn address(&self) -> SocketAddr {
        self.server().addresses()[0]
    }

    /// The folder of its store.
    pub fn folder(&self) -> &Path {
        match &self.ground {
            Ground::Folder(folder) => folder.path(),
            Ground::Twins { .. } => panic!("its store is in memory"),
        }
    }

    /// The disk of its commit log.
    pub fn disk(&self) -> &RamDisk {
        match &self.ground {
            Ground::Twins { disk, .. } => disk,
            Ground::Folder(_) => panic!("its store is in a folder"),
        }
    }

    /// The store below the overlay.
    pub fn kv(&self) -> &RamKv {
        match &self.ground {
            Ground::Twins { kv, .. } => kv,
            Ground::Folder(_) => panic!("its store is in a folder"),
        }
    }

    /// Holds every flush of the commit log back until the guard is dropped: nothing becomes durable meanwhile.
    pub fn hold_flushes(&self) -> HeldSyncs {
        self.disk().hold_syncs()
    }

    /// Stops it as SIGTERM does.
    pub async fn stop(&mut self) {
        let Running { server, runtime } = self.running.take().expect("it runs");
        let stopped = runtime.spawn(server.stop()).await.expect("the stop does not panic");
        stopped.expect("everything is stored");
        end(runtime).await;
    }

    /// Stops it as SIGTERM does, and starts it again.
    pub async fn restart(&mut self) {
        self.stop().await;
        self.resume().await;
    }

    /// Ends it without a word, as SIGKILL does: what it has written stays, what it has in memory is gone, its connections break.
    pub async fn kill(&mut self) {
        let Running { server, runtime } = self.running.take().expect("it runs");
        // Its connections first, so that none of them stores how it ended.
        end(runtime).await;
        tokio::task::spawn_blocking(move || server.abandon()).await.expect("the service goes");
    }

    /// Cuts the power: of what was not flushed any part stays, as `seed` has it.
    pub async fn cut_power(&mut self, seed: u64) {
        // From here on nothing reaches the disk; so whatever the service does while it ends was never done.
        self.disk().power_cut(seed);
        self.kill().await;
        self.kv().power_cut(seed);
    }

    /// Cuts the power, and starts it again.
    pub async fn power_cut(&mut self, seed: u64) {
        self.cut_power(seed).await;
        self.resume().await;
    }

    /// Connects and is let in.
    pub async fn connect(&self, hello: &Hello) -> Client {
        Client::connect(self.address(), hello).await
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if let Some(Running { server, runtime }) = self.running.take() {
            runtime.shutdown_background();
            let gone = std::thread::spawn(move || server.abandon());
            // On twins it is not waited for: a test that fails while it holds flushes back must still end. RocksDB must be closed
            // before the process ends.
            if matches!(self.ground, Ground::Folder(_)) {
                let gone = gone.join().is_ok();
                assert!(gone || std::thread::panicking(), "the service does not let go of its store");
            }
        }
    }
}

/// Ends all that runs there.
async fn end(runtime: Runtime) {
    let ended = tokio::task::spawn_blocking(move || runtime.shutdown_timeout(PATIENCE));
    ended.await.expect("the service's threads end");
}
