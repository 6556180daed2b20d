//! Certificates: taken anew without a restart, and of clients, who are the users that they name.

use super::support::certificates::{Authority, Owner, Pair};
use super::support::transport::{TLS12, TLS13, TlsClient};
use super::support::{Client, Hello, TestClock, both, tcp};
use super::{Everywhere, files, until};
use chasqui_broker::codec::{ReasonCode, Version};
use chasqui_broker::{ClientCertificates, Config, Tls, TlsError, TlsFiles, UserFrom};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

async fn connect(at: &Everywhere, tls: &TlsClient) -> TlsStream<TcpStream> {
    tls.connect(tcp(at.tls_address).await).await.expect("a handshake")
}

/// The certificate that a server showed.
fn shown(stream: &TlsStream<TcpStream>) -> Vec<u8> {
    stream.get_ref().1.peer_certificates().expect("a server shows one")[0].to_vec()
}

#[tokio::test]
async fn new_files_are_taken_without_a_restart_and_open_connections_go_on() {
    let at = Everywhere::start(Config::default()).await;
    // Without sessions of before, so that the certificate is shown each time.
    let fresh = || TlsClient::new(&at.authority, &TLS13, None);
    let stream = connect(&at, &fresh()).await;
    let first = shown(&stream);
    let mut old = Client::over(stream, &Hello::new(Version::V5, "old")).await;
    assert!(!at.tls.reload().expect("nothing has changed"));
    assert_eq!(shown(&connect(&at, &fresh()).await), first);

    let watching = at.server.broker.clone();
    let tls = at.tls.clone();
    let watched = tokio::spawn(async move { watching.watch(tls, Duration::from_millis(5)).await });
    at.authority.server().write(at.folder.path(), "server");
    loop {
        let now = shown(&connect(&at, &fresh()).await);
        if now != first {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    old.nothing().await;
    at.server.broker.stop(Duration::from_secs(1)).await;
    watched.await.expect("it ends with the broker");
}

#[tokio::test]
async fn what_is_wrong_with_new_files_is_said_once_and_the_old_certificate_stays() {
    let at = Everywhere::start(Config::default()).await;
    let fresh = || TlsClient::new(&at.authority, &TLS13, None);
    let first = shown(&connect(&at, &fresh()).await);
    let (pem, key) = (at.folder.path().join("server.pem"), at.folder.path().join("server.key"));
    let good = at.authority.server();
    for (damage, sentence) in [
        (
            &(|| std::fs::write(&pem, "no PEM")) as &dyn Fn() -> std::io::Result<()>,
            "holds no certificate in PEM",
        ),
        (&|| std::fs::write(&pem, "-----BEGIN CERTIFICATE-----\nAAAA\n"), "is damaged"),
        // The key is still the old one.
        (&|| std::fs::write(&pem, &good.certificate), "does not belong to the certificate"),
        (
            &|| std::fs::write(&key, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"),
            "is damaged",
        ),
        (&|| std::fs::remove_file(&key), "cannot be read"),
    ] {
        damage().expect("a folder to write to");
        let error = at.tls.reload().expect_err(sentence).to_string();
        assert!(error.contains(sentence) && error.contains("server."), "{error}");
        assert!(!at.tls.reload().expect("it has been said"), "{sentence}");
        assert_eq!(shown(&connect(&at, &fresh()).await), first);
    }
    good.write(at.folder.path(), "server");
    assert!(at.tls.reload().expect("files in order"));
    assert_ne!(shown(&connect(&at, &fresh()).await), first);
}

#[tokio::test]
async fn authorities_that_are_not_there_are_a_sentence() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    Authority::new().server().write(folder.path(), "server");
    let files = files(&folder, ClientCertificates::Required, UserFrom::CommonName);
    assert!(matches!(Tls::load(files.clone()), Err(TlsError::Unreadable { .. })));
    std::fs::write(folder.path().join("ca.pem"), "").expect("a folder to write to");
    assert!(matches!(Tls::load(files.clone()), Err(TlsError::Empty { .. })));
    let nobody = TlsFiles { client_ca: None, ..files.clone() };
    assert!(matches!(Tls::load(nobody), Err(TlsError::NoAuthorities)));
    let off = TlsFiles { client_certificates: ClientCertificates::Off, ..files };
    assert!(Tls::load(off).is_ok(), "nobody is asked for one");
}

/// Connects with a certificate; who the session belongs to, or how CONNECT was refused.
async fn login(at: &Everywhere, pair: Option<&Pair>, hello: &Hello) -> Result<String, ReasonCode> {
    let tls = TlsClient::new(&at.authority, &TLS13, pair);
    let mut client = Client::over(connect(at, &tls).await, hello).await;
    if client.connack.reason != ReasonCode::Success {
        assert_eq!(client.closed().await, None);
        return Err(client.connack.reason);
    }
    client.disconnect().await;
    let login = at.last_login();
    assert_eq!((&*login.listener, pair.is_some()), ("tls", login.certificate_user.is_some()));
    Ok(login.certificate_user.or(login.user).unwrap_or_default())
}

#[tokio::test]
async fn a_client_certificate_says_who_the_user_is() {
    let (alice, email, dns) = (&["alice"][..], Some("bob@example.org"), Some("carol.example.org"));
    let owner = Owner { common_names: alice, email, dns };
    for (user_from, expected) in [
        (UserFrom::CommonName, "alice"),
        (UserFrom::Email, "bob@example.org"),
        (UserFrom::Dns, "carol.example.org"),
    ] {
        for mode in [ClientCertificates::Optional, ClientCertificates::Required] {
            let at = &Everywhere::asking(Config::default(), mode, user_from).await;
            let pair = &at.authority.client(owner);
            both(|version| async move {
                assert_eq!(login(at, Some(pair), &Hello::new(version, "c")).await, Ok(expected.to_owned()));
            })
            .await;
        }
    }
}

#[tokio::test]
async fn without_a_certificate_nobody_comes_in_where_it_is_required() {
    let at = Everywhere::asking(Config::default(), ClientCertificates::Required, UserFrom::CommonName).await;
    for version in [&TLS12, &TLS13] {
        let tls = TlsClient::new(&at.authority, version, None);
        let before = at.count("tls_failures");
        // With TLS 1.3 the client learns of it when it reads.
        if let Ok(mut stream) = tls.connect(tcp(at.tls_address).await).await {
            let read = tokio::io::AsyncReadExt::read(&mut stream, &mut [0; 1]).await;
            assert!(matches!(read, Err(_) | Ok(0)), "{read:?}");
        }
        at.counted("tls_failures", before + 1).await;
    }
    // Nor with one of an authority that nobody knows.
    let stranger = Authority::new().client(Owner { common_names: &["alice"], ..Owner::default() });
    let tls = TlsClient::new(&at.authority, &TLS12, Some(&stranger));
    tls.connect(tcp(at.tls_address).await).await.expect_err("an unknown authority");
    at.counted("tls_failures", 3).await;
}

#[tokio::test]
async fn where_certificates_are_optional_a_user_name_will_do() {
    let at = &Everywhere::asking(Config::default(), ClientCertificates::Optional, UserFrom::CommonName).await;
    both(|version| async move {
        let hello = Hello::new(version, "c").user("dave", "secret");
        assert_eq!(login(at, None, &hello).await, Ok("dave".to_owned()));
    })
    .await;
}

#[tokio::test]
async fn a_certificate_that_names_nobody_is_refused() {
    let at = &Everywhere::asking(Config::default(), ClientCertificates::Optional, UserFrom::CommonName).await;
    let nobody = &at.authority.client(Owner { email: Some("bob@example.org"), ..Owner::default() });
    let both_names = &at.authority.client(Owner { common_names: &["alice", "bob"], ..Owner::default() });
    both(|version| async move {
        for pair in [nobody, both_names] {
            let refused = login(at, Some(pair), &Hello::new(version, "c")).await;
            assert_eq!(refused, Err(ReasonCode::NotAuthorized));
        }
    })
    .await;
    at.counted("certificates_refused", 4).await;
}

#[tokio::test]
async fn a_certificate_that_has_expired_since_its_session_began_is_refused() {
    let clock = TestClock::new();
    let config = Config { clock: clock.clone(), ..Config::default() };
    let at = Everywhere::asking(config, ClientCertificates::Required, UserFrom::CommonName).await;
    let pair = at.authority.client(Owner { common_names: &["alice"], ..Owner::default() });
    let hello = Hello::new(Version::V5, "c");
    assert_eq!(login(&at, Some(&pair), &hello).await, Ok("alice".to_owned()));
    // It is valid until 2100, and the handshake's clock is the machine's.
    clock.advance(Duration::from_hours(24 * 365 * 100));
    assert_eq!(login(&at, Some(&pair), &hello).await, Err(ReasonCode::NotAuthorized));
    at.counted("certificates_refused", 1).await;
}

#[tokio::test]
async fn when_authorities_change_sessions_of_before_are_forgotten() {
    let at = Everywhere::asking(Config::default(), ClientCertificates::Required, UserFrom::CommonName).await;
    let pair = at.authority.client(Owner { common_names: &["alice"], ..Owner::default() });
    let tls = TlsClient::new(&at.authority, &TLS13, Some(&pair));
    for _ in 0..2 {
        let client = Client::over(connect(&at, &tls).await, &Hello::new(Version::V5, "c")).await;
        client.disconnect().await;
    }
    at.counted("tls_resumptions", 1).await;
    let other = Authority::new();
    std::fs::write(at.folder.path().join("ca.pem"), other.pem()).expect("a folder to write to");
    assert!(at.tls.reload().expect("files in order"));
    if let Ok(mut stream) = tls.connect(tcp(at.tls_address).await).await {
        let read = tokio::io::AsyncReadExt::read(&mut stream, &mut [0; 1]).await;
        assert!(matches!(read, Err(_) | Ok(0)), "{read:?}");
    }
    at.counted("tls_failures", 1).await;
    until(|| at.server.broker.connections() == 0).await;
    assert_eq!(at.count("tls_resumptions"), 1);
}
