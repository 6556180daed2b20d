//! The service over TLS and WebSocket: who a client certificate is, new certificates on SIGHUP, and what an operator can get wrong.

mod program;

use chasqui_bridge::account::Hash;
use chasqui_bridge::server::Server;
use chasqui_bridge::settings::{Addresses, FilePath, Settings};
use chasqui_broker::codec::{QoS, ReasonCode, Version};
use chasqui_broker::{ClientCertificates, Transport};
use chasqui_testkit::certificates::{Authority, Owner, Pair};
use chasqui_testkit::transport::{TLS13, TlsClient, bytes_of, websocket};
use chasqui_testkit::{Client, Hello, both, tcp};
use program::{Program, chasqui, run};
use rustix::process::{Signal, kill_process};
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use tempfile::TempDir;

/// A folder with `server.pem`, `server.key`, `ca.pem`, and the authority that they are from.
fn folder() -> (TempDir, Authority) {
    let (folder, authority) = (tempfile::tempdir().expect("a temporary folder"), Authority::new());
    authority.server().write(folder.path(), "server");
    fs::write(folder.path().join("ca.pem"), authority.pem()).expect("it can be written to");
    (folder, authority)
}

/// `chasqui serve` with this settings file in the folder.
fn serve(folder: &Path, settings: &str) -> std::process::Command {
    let config = folder.join("chasqui.toml");
    fs::write(&config, settings).expect("it can be written to");
    let mut command = chasqui(&["serve", "--config", "chasqui.toml", "--data", "data"]);
    command.current_dir(folder);
    command
}

/// The address in the line that has these words.
fn address(server: &Program, words: &str) -> SocketAddr {
    let line =
        server.lines().iter().find(|line| line.contains(words)).unwrap_or_else(|| panic!("no {words}"));
    let (_, rest) = line.split_once(words).expect("it has them");
    let end = rest.find(['/', ',']).unwrap_or(rest.len());
    rest[..end].parse().expect("an address")
}

const EVERYWHERE: &str = r#"
dev = true
listen = "127.0.0.1:0"
listen_tls = ["127.0.0.1:0", "127.0.0.1:0"]
listen_websocket = "127.0.0.1:0"
listen_secure_websocket = "127.0.0.1:0"
[tls]
certificate = "server.pem"
key = "server.key"
look_every = "1 day"
"#;

/// A message from alice over one transport to bob over another.
#[tokio::test]
async fn a_message_crosses_from_tls_to_websocket_and_a_hangup_brings_a_new_certificate() {
    let (folder, authority) = folder();
    let server = Program::start(serve(folder.path(), EVERYWHERE));
    let (tls, plain_websocket) =
        (address(&server, "with TLS on "), address(&server, "with WebSocket on ws://"));
    let secure_websocket = address(&server, "with WebSocket and TLS on wss://");
    let fresh = || TlsClient::new(&authority, &TLS13, None);
    both(|version| async move {
        let stream = websocket(tcp(plain_websocket).await, "/mqtt", Some("mqtt")).await.expect("an upgrade");
        let mut bob =
            Client::over(bytes_of(stream, 1_000), &Hello::new(version, "phone").user("bob", "bob")).await;
        bob.subscribe(&[("json/u/bob/in", QoS::AtLeastOnce)]).await;
        let stream = fresh().connect(tcp(tls).await).await.expect("a handshake");
        let mut alice = Client::over(stream, &Hello::new(version, "laptop").user("alice", "alice")).await;
        let ack = alice.publish("json/u/bob/send", br#"{"body":{"text":"hello"}}"#).await;
        assert_eq!(ack.reason, ReasonCode::Success);
        let message = bob.take().await;
        assert!(String::from_utf8_lossy(&message.payload).contains("hello"));
        let stream = fresh().connect(tcp(secure_websocket).await).await.expect("a handshake");
        let stream = websocket(stream, "/mqtt", Some("mqtt")).await.expect("an upgrade");
        let mut carol =
            Client::over(bytes_of(stream, 1_000), &Hello::new(version, "web").user("carol", "carol")).await;
        carol.nothing().await;
        bob.disconnect().await;
    })
    .await;

    let shown = async || {
        let stream = fresh().connect(tcp(tls).await).await.expect("a handshake");
        stream.get_ref().1.peer_certificates().expect("a server shows one")[0].to_vec()
    };
    let first = shown().await;
    authority.server().write(folder.path(), "server");
    kill_process(server.pid(), Signal::HUP).expect("it runs");
    while shown().await == first {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    // What is wrong with the next one is a line in the log, and changes nothing.
    let second = shown().await;
    fs::write(folder.path().join("server.pem"), "no certificate").expect("it can be written to");
    kill_process(server.pid(), Signal::HUP).expect("it runs");
    let mut server = server;
    let said = server.wait_for("the certificate loaded before stays in use");
    assert!(said.contains("server.pem holds no certificate in PEM"), "{said}");
    assert_eq!(shown().await, second);
    server.stop();
}

/// A service in this process that asks for client certificates, and where it listens.
async fn asking(folder: &Path, mode: ClientCertificates) -> (Server, SocketAddr) {
    let file = |name: &str| FilePath(Some(folder.join(name)));
    let mut settings = Settings { data: folder.join("data"), ..Settings::default() };
    settings.listen = Addresses(Vec::new());
    settings.listen_tls = Addresses(vec!["127.0.0.1:0".parse().expect("an address")]);
    settings.tls.certificate = file("server.pem");
    settings.tls.key = file("server.key");
    settings.tls.client_ca = file("ca.pem");
    settings.tls.client_certificates = mode;
    let server = Server::start(&settings).await.expect("it starts");
    let [(Transport::Tls(_), address)] = server.listening()[..] else { panic!("one listener, with TLS") };
    (server, address)
}

async fn login(address: SocketAddr, tls: &TlsClient, hello: &Hello) -> ReasonCode {
    let stream = tls.connect(tcp(address).await).await.expect("a handshake");
    Client::over(stream, hello).await.connack.reason
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_certificate_stands_in_for_a_password_of_a_user_who_exists() {
    let (folder, authority) = folder();
    let (server, address) = asking(folder.path(), ClientCertificates::Optional).await;
    let accounts = std::sync::Arc::clone(server.accounts());
    let added = tokio::task::spawn_blocking(move || {
        accounts.add("alice", Hash::new(b"secret").expect("a password"))?;
        accounts.add("bob", Hash::new(b"secret").expect("a password"))
    });
    added.await.expect("no panic").expect("they are new");
    let shows =
        |name: &str| -> Pair { authority.client(Owner { common_names: &[name], ..Owner::default() }) };
    let alice = &TlsClient::new(&authority, &TLS13, Some(&shows("alice")));
    let stranger = &TlsClient::new(&authority, &TLS13, Some(&shows("mallory")));
    let no_name = &TlsClient::new(&authority, &TLS13, Some(&shows("no user: a sentence")));
    let nobody = &TlsClient::new(&authority, &TLS13, None);
    both(|version| async move {
        let hello = |user: Option<&str>| match user {
            None => Hello::new(version, "c"),
            Some(user) => Hello::new(version, "c").user(user, "secret"),
        };
        let not_authorized = ReasonCode::NotAuthorized;
        let bad = ReasonCode::BadUserNameOrPassword;
        for (tls, user, expected) in [
            (alice, None, ReasonCode::Success),
            (alice, Some("alice"), ReasonCode::Success),
            // Somebody else's name, though the password is right.
            (alice, Some("bob"), not_authorized),
            (stranger, None, bad),
            (no_name, None, bad),
            (nobody, Some("bob"), ReasonCode::Success),
            (nobody, None, not_authorized),
        ] {
            assert_eq!(login(address, tls, &hello(user)).await, expected, "{user:?}");
        }
        // Without a password at all: the name alone is no claim that the certificate does not make.
        let mut only_name = hello(Some("alice"));
        only_name.0.password = None;
        assert_eq!(login(address, alice, &only_name).await, ReasonCode::Success);
    })
    .await;
    // What alice may do is what alice with a password may.
    let stream = alice.connect(tcp(address).await).await.expect("a handshake");
    let mut client = Client::over(stream, &Hello::new(Version::V5, "phone").kept()).await;
    assert_eq!(client.subscribe(&[("u/alice/in", QoS::AtLeastOnce)]).await, [ReasonCode::GrantedQoS1]);
    assert_ne!(client.subscribe(&[("u/bob/in", QoS::AtLeastOnce)]).await, [ReasonCode::GrantedQoS1]);
    client.disconnect().await;
    server.stop().await.expect("in order");
}

#[test]
fn what_is_wrong_with_listeners_is_one_sentence() {
    let (folder, _) = folder();
    let other = Authority::new().server();
    fs::write(folder.path().join("other.key"), &other.key).expect("it can be written to");
    fs::write(folder.path().join("empty.pem"), "").expect("it can be written to");
    let with = |certificate: &str, key: &str| {
        format!("listen_tls = \"127.0.0.1:0\"\n[tls]\ncertificate = \"{certificate}\"\nkey = \"{key}\"\n")
    };
    let good = with("server.pem", "server.key");
    for (settings, sentence) in [
        ("listen = []".to_owned(), "there is nowhere to listen"),
        (
            "listen_tls = \"127.0.0.1:0\"".to_owned(),
            "listen_tls needs a certificate: set tls.certificate and tls.key",
        ),
        (
            "listen_secure_websocket = \"127.0.0.1:0\"".to_owned(),
            "listen_secure_websocket needs a certificate",
        ),
        ("[tls]\ncertificate = \"server.pem\"".to_owned(), "tls.certificate needs its key"),
        ("[tls]\nkey = \"server.key\"".to_owned(), "tls.key needs its certificate"),
        (
            format!("{good}client_certificates = \"required\""),
            "tls.client_certificates needs the authorities",
        ),
        (
            format!("{good}client_certificates = \"yes\""),
            "\"yes\" will not do: write \"off\", \"optional\" or \"required\"",
        ),
        (with("nowhere.pem", "server.key"), "the certificate file nowhere.pem cannot be read: No such file"),
        (with("server.pem", "nowhere.key"), "the key file nowhere.key cannot be read"),
        (with("empty.pem", "server.key"), "the certificate file empty.pem holds no certificate in PEM"),
        (with("server.pem", "empty.pem"), "the key file empty.pem holds no private key in PEM"),
        (with("server.pem", "other.key"), "the key other.key does not belong to the certificate server.pem"),
        (
            format!("{good}client_certificates = \"optional\"\nclient_ca = \"empty.pem\""),
            "the file of client certificate authorities empty.pem holds no certificate",
        ),
        (
            "dev = true\nlisten_websocket = \"0.0.0.0:0\"".to_owned(),
            "dev takes any user whose password equals the name",
        ),
        (
            format!("dev = true\nlisten = \"127.0.0.1:0\"\n{}", good.replace("127.0.0.1", "0.0.0.0")),
            "0.0.0.0:0 is not",
        ),
        (
            "listen_websocket = \"192.0.2.1:1\"".to_owned(),
            "cannot listen on 192.0.2.1:1: this machine has no such address",
        ),
    ] {
        let ended = run(serve(folder.path(), &settings));
        assert!(ended.sentence().contains(sentence), "{settings}: {}", ended.sentence());
        assert!(!folder.path().join("data").exists(), "{settings}: nothing is left behind");
    }
    let holder = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = holder.local_addr().expect("bound").port();
    let ended = run(serve(
        folder.path(),
        &format!("listen = \"127.0.0.1:0\"\nlisten_websocket = \"127.0.0.1:{port}\""),
    ));
    assert!(ended.sentence().contains("choose another address in listen_websocket"), "{}", ended.sentence());
}

#[test]
fn check_looks_at_the_certificate_too() {
    let (folder, _) = folder();
    let config = folder.path().join("chasqui.toml");
    fs::write(&config, EVERYWHERE).expect("it can be written to");
    let check = || {
        let mut command = chasqui(&["check", "--config", "chasqui.toml", "--data", "data"]);
        command.current_dir(folder.path());
        run(command)
    };
    assert_eq!(check().code, Some(0));
    fs::remove_file(folder.path().join("server.key")).expect("it was there");
    assert!(check().sentence().contains("the key file server.key cannot be read"));
}
