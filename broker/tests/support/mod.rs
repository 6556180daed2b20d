//! A broker for tests to speak to, with a hook that knows plain topics only, and a clock that they move.

#![allow(dead_code, unreachable_pub)] // Each test binary uses its own part.

pub use chasqui_testkit::*;

use chasqui_broker::codec::{QoS, ReasonCode, Version};
use chasqui_broker::config::Clock;
use chasqui_broker::hook::{
    Admission, Ask, Client as Connected, Command, Grant, Granted, Hook, Login, Occasion, Roles, Route,
};
use chasqui_broker::source::{Item, Read, ReadLimit, SourceGrant, SourceId, View};
use chasqui_broker::store::ram::RamStore;
use chasqui_broker::store::{Store, StoreError};
use chasqui_broker::topic::selector;
use chasqui_broker::{Broker, Config};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::net::TcpListener;

/// A clock that a test moves.
#[derive(Default)]
pub struct TestClock(AtomicU64);

impl TestClock {
    pub fn new() -> Arc<TestClock> {
        Arc::new(TestClock(AtomicU64::new(1_700_000_000_000)))
    }

    pub fn advance(&self, time: Duration) {
        self.0.fetch_add(time.as_millis() as u64, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now_ms(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

/// An application that has no topics of its own: everyone may do everything with plain ones, except under
/// `no/`. The user `ops` is an operator.
pub struct PlainHook;

impl Hook for PlainHook {
    fn authenticate(&self, login: &Login) -> Admission {
        if login.user.as_deref() == Some("nobody") {
            return Admission::Refused(ReasonCode::BadUserNameOrPassword, "nobody is let in".to_owned());
        }
        Admission::Admitted {
            owner: Arc::from(login.user.as_deref().unwrap_or_default()),
            roles: Roles { operator: login.user.as_deref() == Some("ops") },
        }
    }

    fn is_quick(&self, _login: &Login) -> bool {
        true
    }

    fn route(&self, _client: &Connected, topic: &str) -> Route {
        if topic.starts_with("no/") {
            Route::Refused(ReasonCode::NotAuthorized, "topics under no/ are not for clients")
        } else {
            Route::Plain
        }
    }

    fn submit(&self, _client: &Arc<Connected>, commands: Vec<Command>) {
        panic!("no topic is a command here: {commands:?}");
    }

    fn subscribe(&self, _client: &Arc<Connected>, _occasion: Occasion, asks: Vec<Ask>, granted: Granted) {
        let grants = asks.iter().map(|ask| {
            if selector(&ask.filter).starts_with("no/") {
                Grant::Refused(ReasonCode::NotAuthorized, "topics under no/ are not for clients")
            } else {
                Grant::Granted { qos: QoS::ExactlyOnce, plain: true, sources: Vec::new() }
            }
        });
        granted(Ok(grants.collect()));
    }

    fn read(
        &self,
        _client: &Connected,
        source: &SourceId,
        _after: u64,
        _limit: ReadLimit,
    ) -> Result<Read, StoreError> {
        panic!("there are no sources here: {source:?}");
    }

    fn view(&self, _client: &Connected, _grant: &SourceGrant, _item: &Item) -> View {
        View::Skip
    }
}

/// A store in memory that has the broker's clock.
pub fn ram_store(config: &Config) -> RamStore {
    RamStore::new(Arc::clone(&config.clock))
}

/// A broker on a port of its own, in this process.
pub struct Server {
    pub broker: Broker,
    pub address: SocketAddr,
    pub store: Arc<dyn Store>,
}

impl Server {
    pub async fn start() -> Server {
        Server::start_with(Config::default()).await
    }

    pub async fn start_with(config: Config) -> Server {
        let store = Arc::new(ram_store(&config));
        Server::start_on(config, Arc::new(PlainHook), store).await
    }

    pub async fn start_on(config: Config, hook: Arc<dyn Hook>, store: Arc<dyn Store>) -> Server {
        let broker = Broker::new(config, hook, Arc::clone(&store));
        broker.start().expect("the store can be read");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound listener");
        tokio::spawn({
            let broker = broker.clone();
            async move {
                tokio::join!(broker.serve(listener), broker.tend());
            }
        });
        Server { broker, address, store }
    }

    /// Listens at another address too.
    pub async fn listen_too(&self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound listener");
        let broker = self.broker.clone();
        tokio::spawn(async move { broker.serve(listener).await });
        address
    }

    pub async fn client(&self, version: Version, client_id: &str) -> Client {
        Client::connect(self.address, &Hello::new(version, client_id)).await
    }
}
