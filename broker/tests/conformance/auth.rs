//! Sections 3.15 and 4.12: enhanced authentication, by the method that the application of [`crate::door`] knows.

use crate::door::{Door, METHOD};
use crate::raw::{AUTH, GOODBYE, Hello, PINGREQ, Pub, Put, Raw, Reasoned, id, reasoned};
use crate::support::Server;
use chasqui_broker::codec::Version;

const V5: Version = Version::V5;
const CONTINUE: u8 = 0x18;
const AGAIN: u8 = 0x19;

/// A method and its data, as properties.
fn step(method: &str, data: &str) -> Put {
    Put::new().text(id::AUTH_METHOD, method).text(id::AUTH_DATA, data)
}

/// An AUTH with a step of the method that is known.
fn auth(code: u8, data: &str) -> Vec<u8> {
    reasoned(AUTH, code, &step(METHOD, data))
}

/// A client that has begun and is asked for more.
async fn begun(server: &Server) -> Raw {
    let mut client = Raw::open(server.address, V5).await;
    client.send(&Hello::new(V5, "c").properties(step(METHOD, "begin")).bytes()).await;
    asked(&mut client).await;
    client
}

/// What the server says in AUTH: the method of CONNECT, data, and nothing else.
fn check(said: &Reasoned, code: u8, data: &str) {
    assert_eq!(said.code, code);
    assert_eq!(said.properties.text(id::AUTH_METHOD), Some(METHOD));
    assert_eq!(said.properties.data(id::AUTH_DATA), Some(data.as_bytes()));
    assert_eq!(said.properties.0.len(), 2, "{said:?}");
}

async fn asked(client: &mut Raw) {
    check(&client.reasoned(AUTH).await, CONTINUE, "more");
}

/// A client that came in by its answer.
async fn let_in(server: &Server) -> Raw {
    let mut client = begun(server).await;
    client.send(&auth(CONTINUE, "answer")).await;
    let connack = client.connack().await;
    assert_eq!(connack.code, 0);
    assert_eq!(connack.properties.text(id::AUTH_METHOD), Some(METHOD));
    assert_eq!(connack.properties.data(id::AUTH_DATA), Some(&b"done"[..]));
    client
}

/// A client that is not let in: CONNACK says why, and the connection closes.
async fn refused(mut client: Raw, code: u8) {
    assert_eq!(client.connack().await.code, code);
    client.closed().await;
}

#[tokio::test]
async fn a_method_that_is_not_known_is_refused() {
    let (server, _) = Door::open().await;
    for hello in [step("OTHER", "begin"), step("", "begin"), Put::new().text(id::AUTH_METHOD, "steps")] {
        let mut client = Raw::open(server.address, V5).await;
        client.send(&Hello::new(V5, "c").properties(hello).bytes()).await;
        refused(client, 0x8C).await;
    }
}

#[tokio::test]
async fn the_server_asks_and_says_the_method_of_connect() {
    let (server, door) = Door::open().await;
    let mut client = let_in(&server).await;
    client.nothing().await;
    assert!(door.0.lock().unwrap().is_empty(), "it was the method that let it in");
}

#[tokio::test]
async fn a_wrong_answer_is_refused_at_any_step() {
    let (server, _) = Door::open().await;
    let mut client = Raw::open(server.address, V5).await;
    client.send(&Hello::new(V5, "c").properties(step(METHOD, "what?")).bytes()).await;
    refused(client, 0x87).await;
    let mut client = begun(&server).await;
    client.send(&auth(CONTINUE, "no answer")).await;
    refused(client, 0x87).await;
}

#[tokio::test]
async fn an_answer_of_another_method_or_code_is_refused() {
    let (server, _) = Door::open().await;
    let bad = [
        reasoned(AUTH, CONTINUE, &step("OTHER", "answer")),
        reasoned(AUTH, CONTINUE, &Put::new()),
        auth(AGAIN, "answer"),
    ];
    for bytes in bad {
        let mut client = begun(&server).await;
        client.send(&bytes).await;
        refused(client, 0x82).await;
    }
}

#[tokio::test]
async fn nothing_but_auth_and_disconnect_comes_before_connack() {
    let (server, _) = Door::open().await;
    let mut watcher = Raw::connect(server.address, V5, "w").await;
    watcher.subscribe(&[("t", 0)]).await;
    for bytes in [PINGREQ.to_vec(), Pub::new("t", "x").bytes(V5), Hello::new(V5, "c").bytes()] {
        let mut client = begun(&server).await;
        client.send(&[bytes, auth(CONTINUE, "answer")].concat()).await;
        refused(client, 0x82).await;
    }
    let mut client = begun(&server).await;
    client.send(&GOODBYE).await;
    client.closed().await;
    watcher.nothing().await;
}

#[tokio::test]
async fn an_auth_of_another_reason_code_closes() {
    let (server, _) = Door::open().await;
    // Success is the server's to say; the others are no codes of AUTH.
    for code in [0x00, 0x01, 0x10, 0x1A, 0x80, 0x87] {
        let mut client = let_in(&server).await;
        client.send(&auth(code, "begin")).await;
        client.ended(0x82).await;
    }
}

#[tokio::test]
async fn without_a_method_in_connect_there_is_no_auth() {
    let (server, door) = Door::open().await;
    for bytes in [auth(AGAIN, "begin"), auth(CONTINUE, "begin")] {
        let (mut client, connack) = Raw::hello(server.address, &Hello::new(V5, "c")).await;
        assert!(!connack.properties.has(id::AUTH_METHOD) && !connack.properties.has(id::AUTH_DATA));
        client.nothing().await;
        client.send(&bytes).await;
        client.ended(0x82).await;
    }
    assert_eq!(door.0.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn a_client_authenticates_again_with_its_method() {
    let (server, _) = Door::open().await;
    let mut client = let_in(&server).await;
    for _ in 0..2 {
        client.send(&auth(AGAIN, "begin")).await;
        asked(&mut client).await;
        // Everything else goes on meanwhile.
        client.nothing().await;
        client.send(&auth(CONTINUE, "answer")).await;
        check(&client.reasoned(AUTH).await, 0x00, "done");
    }
    client.send(&reasoned(AUTH, AGAIN, &step("OTHER", "begin"))).await;
    client.ended(0x82).await;
}

#[tokio::test]
async fn who_fails_to_authenticate_again_is_closed() {
    let (server, _) = Door::open().await;
    let mut client = let_in(&server).await;
    client.send(&auth(AGAIN, "what?")).await;
    client.ended(0x87).await;
    let mut client = let_in(&server).await;
    client.send(&auth(AGAIN, "begin")).await;
    asked(&mut client).await;
    client.send(&auth(CONTINUE, "no answer")).await;
    client.ended(0x87).await;
}

#[tokio::test]
async fn an_auth_larger_than_the_client_takes_is_not_sent() {
    let (server, _) = Door::open().await;
    let put = Put(step(METHOD, "begin").0).four(id::MAXIMUM_PACKET_SIZE, 10);
    let mut client = Raw::open(server.address, V5).await;
    client.send(&Hello::new(V5, "c").properties(put).bytes()).await;
    client.closed().await;
}
