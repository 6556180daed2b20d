//! MQTT over TCP, TLS and WebSocket on real sockets, against clients' libraries of others: both versions, and whoever says nothing.

#[path = "../support/mod.rs"]
mod support;

mod certificates;
mod silence;
mod transports;
mod websocket;

use chasqui_broker::hook::{
    Admission, Ask, Client as Connected, Command, Granted, Hook, Login, Occasion, Route,
};
use chasqui_broker::source::{Item, Read, ReadLimit, SourceGrant, SourceId, View};
use chasqui_broker::store::StoreError;
use chasqui_broker::{
    ClientCertificates, Config, Listener, ListenerOptions, Tls, TlsFiles, Transport, UserFrom,
};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::certificates::Authority;
use support::{PATIENCE, PlainHook, Server};
use tempfile::TempDir;
use tokio::net::TcpListener;

/// A broker with one listener of each kind, and the authority that its certificate is from.
struct Everywhere {
    server: Server,
    authority: Authority,
    /// Where certificate and key are: `server.pem`, `server.key`, `ca.pem`.
    folder: TempDir,
    tls: Tls,
    tls_address: SocketAddr,
    websocket: SocketAddr,
    secure_websocket: SocketAddr,
    door: Arc<Door>,
}

/// [`PlainHook`] with a certificate's user in front of the user name. Remembers who came.
#[derive(Default)]
struct Door(Mutex<Vec<Login>>);

impl Hook for Door {
    fn authenticate(&self, login: &Login) -> Admission {
        self.0.lock().expect("no test fails with it").push(login.clone());
        let user = login.certificate_user.clone().or(login.user.clone());
        PlainHook.authenticate(&Login { user, ..login.clone() })
    }

    fn is_quick(&self, login: &Login) -> bool {
        PlainHook.is_quick(login)
    }

    fn route(&self, client: &Connected, topic: &str) -> Route {
        PlainHook.route(client, topic)
    }

    fn submit(&self, client: &Arc<Connected>, commands: Vec<Command>) {
        PlainHook.submit(client, commands);
    }

    fn subscribe(&self, client: &Arc<Connected>, occasion: Occasion, asks: Vec<Ask>, granted: Granted) {
        PlainHook.subscribe(client, occasion, asks, granted);
    }

    fn read(
        &self,
        client: &Connected,
        source: &SourceId,
        after: u64,
        limit: ReadLimit,
    ) -> Result<Read, StoreError> {
        PlainHook.read(client, source, after, limit)
    }

    fn view(&self, client: &Connected, grant: &SourceGrant, item: &Item) -> View {
        PlainHook.view(client, grant, item)
    }
}

/// The files of [`Everywhere`].
fn files(folder: &TempDir, client_certificates: ClientCertificates, user_from: UserFrom) -> TlsFiles {
    TlsFiles {
        certificate: folder.path().join("server.pem"),
        key: folder.path().join("server.key"),
        client_ca: Some(folder.path().join("ca.pem")),
        client_certificates,
        user_from,
    }
}

impl Everywhere {
    async fn start(config: Config) -> Everywhere {
        Everywhere::asking(config, ClientCertificates::Off, UserFrom::CommonName).await
    }

    async fn asking(
        config: Config,
        client_certificates: ClientCertificates,
        user_from: UserFrom,
    ) -> Everywhere {
        let (authority, folder) = (Authority::new(), tempfile::tempdir().expect("a temporary folder"));
        authority.server().write(folder.path(), "server");
        std::fs::write(folder.path().join("ca.pem"), authority.pem()).expect("it can be written to");
        let tls = Tls::load(files(&folder, client_certificates, user_from)).expect("files in order");
        let store = Arc::new(support::ram_store(&config));
        let door = Arc::new(Door::default());
        let server = Server::start_on(config, Arc::<Door>::clone(&door), store).await;
        let listen = async |transport: Transport, name: &str| {
            let socket = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
            let address = socket.local_addr().expect("a bound listener");
            let (broker, options) = (server.broker.clone(), ListenerOptions::new(name, transport));
            tokio::spawn(async move { broker.serve(Listener { socket, options }).await });
            address
        };
        let tls_address = listen(Transport::Tls(tls.clone()), "tls").await;
        let websocket = listen(Transport::WebSocket, "websocket").await;
        let secure_websocket = listen(Transport::SecureWebSocket(tls.clone()), "secure websocket").await;
        Everywhere { server, authority, folder, tls, tls_address, websocket, secure_websocket, door }
    }

    /// The login that came last.
    fn last_login(&self) -> Login {
        self.door.0.lock().expect("no test fails with it").last().expect("somebody came").clone()
    }

    fn count(&self, name: &str) -> u64 {
        let all = self.server.broker.stats().all();
        all.iter().find(|(known, _)| *known == name).expect("a counter").1
    }

    /// Waits until a counter has a value, and asserts that it has not passed it.
    async fn counted(&self, name: &str, value: u64) {
        until(|| self.count(name) >= value).await;
        assert_eq!(self.count(name), value, "{name}");
    }
}

/// Waits until something is so.
async fn until(is_so: impl Fn() -> bool) {
    let waiting = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("it comes to that");
}
