//! Enhanced authentication over a real socket: a method of the application's, in several steps, at CONNECT and again later.

mod support;

use bytes::Bytes;
use chasqui_broker::codec::client::ServerPacket;
use chasqui_broker::codec::packet::auth;
use chasqui_broker::codec::{Auth, AuthProperties, ReasonCode, Version};
use chasqui_broker::hook::{
    Admission, Ask, AuthStep, Client as Connected, Command, Exchange, Granted, Hook, Login, Occasion, Roles,
    Route,
};
use chasqui_broker::source::{Item, Read, ReadLimit, SourceGrant, SourceId, View};
use chasqui_broker::store::StoreError;
use chasqui_broker::store::ram::RamStore;
use chasqui_broker::{Broker, Config, Stream};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Wakes, Poll};
use std::time::Duration;
use support::{Client, Hello, PlainHook, Server, text};
use tokio::io::{AsyncRead, AsyncWrite, BufWriter, DuplexStream, ReadBuf, duplex};

/// Knows the method `riddle`: the client says who it is, is asked something, and answers with that and its own name.
struct Riddler;

struct Riddle {
    who: Option<String>,
}

impl Exchange for Riddle {
    fn step(&mut self, data: Option<&[u8]>) -> AuthStep {
        let said = String::from_utf8_lossy(data.unwrap_or_default()).into_owned();
        match self.who.take() {
            None => {
                self.who = Some(said);
                AuthStep::Continue(Some(Bytes::from_static(b"what is it?")))
            }
            Some(who) if said == format!("{who} knows") => AuthStep::Admitted {
                owner: Arc::from(who.as_str()),
                roles: Roles::default(),
                data: Some(Bytes::from_static(b"right")),
            },
            Some(_) => AuthStep::Refused(ReasonCode::NotAuthorized, "wrong answer".to_owned()),
        }
    }
}

impl Hook for Riddler {
    fn authenticate(&self, login: &Login) -> Admission {
        PlainHook.authenticate(login)
    }
    fn is_quick(&self, _: &Login) -> bool {
        true
    }
    fn begin_authentication(&self, method: &str, _: &Login) -> Option<Box<dyn Exchange>> {
        (method == "riddle").then(|| Box::new(Riddle { who: None }) as Box<dyn Exchange>)
    }
    fn response_information(&self, client: &Connected) -> Option<String> {
        client.user().map(|user| format!("answers/{user}"))
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
    fn read(&self, _: &Connected, _: &SourceId, _: u64, _: ReadLimit) -> Result<Read, StoreError> {
        Ok(Read::default())
    }
    fn view(&self, _: &Connected, _: &SourceGrant, _: &Item) -> View {
        View::Skip
    }
}

/// Sends what it was given when it is flushed, and not before.
struct Hoarder(BufWriter<DuplexStream>);

impl AsyncRead for Hoarder {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Wakes<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, into)
    }
}

impl AsyncWrite for Hoarder {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Wakes<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Wakes<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Wakes<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

impl Stream for Hoarder {}

async fn server() -> Server {
    server_with(Config::default()).await
}

async fn server_with(config: Config) -> Server {
    Server::start_on(config, Arc::new(Riddler), Arc::new(RamStore::default())).await
}

fn hello(method: &str, data: &'static [u8]) -> Hello {
    let mut hello = Hello::new(Version::V5, "c");
    hello.0.properties.authentication_method = Some(text(method));
    hello.0.properties.authentication_data = Some(Bytes::from_static(data));
    hello
}

async fn say(
    client: &mut Client<impl AsyncRead + AsyncWrite + Unpin>,
    reason: ReasonCode,
    method: &str,
    data: &'static [u8],
) {
    let properties = AuthProperties {
        authentication_method: Some(text(method)),
        authentication_data: Some(Bytes::from_static(data)),
        ..AuthProperties::default()
    };
    let mut out = Vec::new();
    auth::encode(&mut out, &client.peer, &Auth { reason, properties }).expect("valid");
    client.write(&out).await;
}

/// The AUTH that comes next: its code and data.
async fn heard(client: &mut Client<impl AsyncRead + AsyncWrite + Unpin>) -> (ReasonCode, Bytes) {
    match client.receive().await {
        ServerPacket::Auth(packet) => {
            assert_eq!(packet.properties.authentication_method, Some(text("riddle")));
            (packet.reason, packet.properties.authentication_data.unwrap_or_default())
        }
        other => panic!("AUTH expected: {other:?}"),
    }
}

/// A client that came in by its answer.
async fn let_in(server: &Server) -> Client {
    come_in(Client::open(server.address, &hello("riddle", b"alice")).await).await
}

/// Answers what is asked, and is let in.
async fn come_in<S: AsyncRead + AsyncWrite + Unpin>(mut client: Client<S>) -> Client<S> {
    let asked = (ReasonCode::ContinueAuthentication, Bytes::from_static(b"what is it?"));
    assert_eq!(heard(&mut client).await, asked);
    say(&mut client, ReasonCode::ContinueAuthentication, "riddle", b"alice knows").await;
    match client.receive().await {
        ServerPacket::Connack(connack) => {
            assert_eq!(connack.reason, ReasonCode::Success);
            assert_eq!(connack.properties.authentication_method, Some(text("riddle")));
            assert_eq!(connack.properties.authentication_data, Some(Bytes::from_static(b"right")));
        }
        other => panic!("CONNACK expected: {other:?}"),
    }
    client
}

/// What a client that is not let in is told.
async fn turned_away(client: &mut Client) -> ReasonCode {
    match client.receive().await {
        ServerPacket::Connack(connack) => {
            assert!(client.next().await.is_none());
            connack.reason
        }
        other => panic!("CONNACK expected: {other:?}"),
    }
}

#[tokio::test]
async fn a_client_comes_in_by_the_steps_of_a_method_and_again_later() {
    let server = server().await;
    let mut client = let_in(&server).await;
    client.nothing().await;
    for _ in 0..2 {
        say(&mut client, ReasonCode::ReAuthenticate, "riddle", b"alice").await;
        assert_eq!(heard(&mut client).await.0, ReasonCode::ContinueAuthentication);
        // Everything else goes on meanwhile.
        assert_eq!(client.publish("a", b"x").await.reason, ReasonCode::NoMatchingSubscribers);
        say(&mut client, ReasonCode::ContinueAuthentication, "riddle", b"alice knows").await;
        assert_eq!(heard(&mut client).await, (ReasonCode::Success, Bytes::from_static(b"right")));
    }
    client.nothing().await;
}

/// A stream may keep what it has taken until it is flushed, as TLS does when its socket takes nothing at that moment.
#[tokio::test]
async fn nothing_that_is_said_stays_in_a_stream_that_waits_to_be_flushed() {
    let broker = Broker::new(Config::default(), Arc::new(Riddler), Arc::new(RamStore::default()));
    let (near, far) = duplex(64 * 1024);
    let serving = broker.clone();
    let peer = SocketAddr::from(([127, 0, 0, 1], 1));
    tokio::spawn(async move { serving.serve_stream(Hoarder(BufWriter::new(far)), peer).await });
    let mut client = come_in(Client::open_over(near, &hello("riddle", b"alice")).await).await;
    client.nothing().await;
    say(&mut client, ReasonCode::ReAuthenticate, "riddle", b"alice").await;
    assert_eq!(heard(&mut client).await.0, ReasonCode::ContinueAuthentication);
    broker.disconnect_owner("alice", ReasonCode::AdministrativeAction, "enough");
    assert_eq!(client.closed().await, Some(ReasonCode::AdministrativeAction));
}

#[tokio::test]
async fn who_fails_or_speaks_out_of_turn_is_not_let_in() {
    let server = server().await;
    let mut unknown = Client::open(server.address, &hello("SCRAM-SHA-1", b"")).await;
    assert_eq!(turned_away(&mut unknown).await, ReasonCode::BadAuthenticationMethod);
    for (reason, method, answer, code) in [
        (ReasonCode::ContinueAuthentication, "riddle", &b"bob knows"[..], ReasonCode::NotAuthorized),
        (ReasonCode::ContinueAuthentication, "other", b"alice knows", ReasonCode::ProtocolError),
        (ReasonCode::ReAuthenticate, "riddle", b"alice knows", ReasonCode::ProtocolError),
    ] {
        let mut client = Client::open(server.address, &hello("riddle", b"alice")).await;
        heard(&mut client).await;
        say(&mut client, reason, method, answer).await;
        assert_eq!(turned_away(&mut client).await, code);
    }
    let mut impatient = Client::open(server.address, &hello("riddle", b"alice")).await;
    heard(&mut impatient).await;
    impatient.write(&[0xC0, 0]).await;
    assert_eq!(turned_away(&mut impatient).await, ReasonCode::ProtocolError);
    assert_eq!(server.broker.stats().logins_refused.get(), 5);
}

#[tokio::test]
async fn who_does_not_answer_is_closed_in_its_time() {
    let config = Config { connect_timeout: Duration::from_millis(50), ..Config::default() };
    let server = server_with(config).await;
    let mut client = Client::open(server.address, &hello("riddle", b"alice")).await;
    heard(&mut client).await;
    assert_eq!(client.closed().await, None);
    assert_eq!(server.broker.stats().connect_timeouts.get(), 1);
}

#[tokio::test]
async fn a_connection_ends_that_authenticates_again_as_somebody_else_or_out_of_turn() {
    let server = server().await;
    let mut other = let_in(&server).await;
    say(&mut other, ReasonCode::ReAuthenticate, "riddle", b"bob").await;
    heard(&mut other).await;
    say(&mut other, ReasonCode::ContinueAuthentication, "riddle", b"bob knows").await;
    assert_eq!(other.closed().await, Some(ReasonCode::NotAuthorized));
    for (reason, method) in
        [(ReasonCode::ReAuthenticate, "other"), (ReasonCode::ContinueAuthentication, "riddle")]
    {
        let mut client = let_in(&server).await;
        say(&mut client, reason, method, b"alice").await;
        assert_eq!(client.closed().await, Some(ReasonCode::ProtocolError));
    }
    // Without a method in CONNECT there is nothing to do again.
    let mut plain = server.client(Version::V5, "plain").await;
    say(&mut plain, ReasonCode::ReAuthenticate, "riddle", b"alice").await;
    assert_eq!(plain.closed().await, Some(ReasonCode::ProtocolError));
}

#[tokio::test]
async fn response_information_is_for_those_who_ask() {
    let server = server().await;
    let mut asks = Hello::new(Version::V5, "c").user("alice", "alice");
    let client = Client::connect(server.address, &asks).await;
    assert_eq!(client.connack.properties.response_information, None);
    asks.0.properties.request_response_information = Some(true);
    let client = Client::connect(server.address, &asks).await;
    assert_eq!(client.connack.properties.response_information, Some(text("answers/alice")));
}
