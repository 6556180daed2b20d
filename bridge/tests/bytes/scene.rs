//! The real server, in a folder of its own, with accounts for alice and bob.

use crate::party::{Dialect, PASSWORD, Transport};
use crate::support::certificates::Authority;
use crate::support::transport::{TLS13, TlsClient};
use crate::support::{Client, send, user};
use chasqui_bridge::account::Hash;
use chasqui_bridge::server::Server;
use chasqui_bridge::settings::{Addresses, FilePath, Settings};
use chasqui_broker::codec::client::ServerPacket;
use chasqui_broker::codec::{PublishOut, QoS, ReasonCode, Version};
use std::net::SocketAddr;
use std::sync::Arc;
use tempfile::TempDir;

/// A text of 12 bytes.
pub(crate) const TEXT: &str = "hello, world";
/// Messages whose answers may be waited for at once.
const AT_ONCE: usize = 100;

pub(crate) struct Scene {
    pub(crate) dialect: Dialect,
    pub(crate) transport: Transport,
    /// Resumes what it can.
    pub(crate) tls: TlsClient,
    server: Server,
    _folder: TempDir,
}

impl Scene {
    /// Starts the server.
    pub(crate) async fn set(dialect: Dialect, transport: Transport) -> Scene {
        let folder = TempDir::new().expect("a folder for the test");
        let authority = Authority::of_one_size();
        authority.server().write(folder.path(), "server");
        let mut settings = Settings { data: folder.path().join("data"), ..Settings::default() };
        let any_port = || Addresses(vec!["127.0.0.1:0".parse().expect("an address")]);
        (settings.listen, settings.listen_tls) = (any_port(), any_port());
        // A thousand messages at once are what it counts, and no user sends them like that.
        settings.rates.messages_per_minute = 0;
        settings.tls.certificate = FilePath(Some(folder.path().join("server.pem")));
        settings.tls.key = FilePath(Some(folder.path().join("server.key")));
        let server = Server::start(&settings).await.expect("it starts");
        let accounts = Arc::clone(server.accounts());
        let added = tokio::task::spawn_blocking(move || {
            for name in ["alice", "bob"] {
                accounts.add(name, Hash::new(PASSWORD.as_bytes()).expect("a password")).expect("a new user");
            }
        });
        added.await.expect("the accounts are made");
        let tls = TlsClient::new(&authority, &TLS13, None);
        Scene { dialect, transport, tls, server, _folder: folder }
    }

    /// Where the transport is spoken.
    pub(crate) fn address(&self) -> SocketAddr {
        let wanted = |transport: &chasqui_broker::Transport| match self.transport {
            Transport::Tcp => matches!(transport, chasqui_broker::Transport::Tcp),
            Transport::Tls => matches!(transport, chasqui_broker::Transport::Tls(_)),
        };
        let found = self.server.listening().iter().find(|(transport, _)| wanted(transport));
        found.expect("it listens there").1
    }

    /// Sends bob so many messages from alice's laptop, which has no part in anything else.
    pub(crate) async fn laptop_sends(&self, count: usize) {
        let address = self.server.addresses()[0];
        let mut hello = user(Version::V5, "alice", "laptop");
        hello.0.password = Some(PASSWORD.into());
        let mut laptop = Client::connect(address, &hello).await;
        let payload = send(TEXT, b"");
        let mut left = count;
        while left > 0 {
            let now = left.min(AT_ONCE);
            for _ in 0..now {
                let out = PublishOut { qos: QoS::AtLeastOnce, ..PublishOut::new("u/bob/send", &payload) };
                laptop.send(out).await;
            }
            for _ in 0..now {
                let answer = laptop.receive().await;
                assert!(
                    matches!(&answer, ServerPacket::Puback(ack) if ack.reason == ReasonCode::Success),
                    "{answer:?}"
                );
            }
            left -= now;
        }
        laptop.disconnect().await;
    }

    /// Stops the server.
    pub(crate) async fn end(self) {
        self.server.stop().await.expect("in order");
    }
}
