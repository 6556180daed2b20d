//! A broker among many others' things: offline sessions with filters, and retained messages; and what a client does there.

use super::support::{Client, Hello, PlainHook, Server, text};
use bytes::Bytes;
use chasqui_broker::Config;
use chasqui_broker::codec::{QoS, Version};
use chasqui_broker::message::{Identifiers, Message};
use chasqui_broker::store::ram::RamStore;
use chasqui_broker::store::{SessionKey, SessionRecord, Store, StoreOp, StoredSubscription};
use std::sync::Arc;
use std::time::Duration;

const Q0: QoS = QoS::AtMostOnce;
const Q1: QoS = QoS::AtLeastOnce;

/// What is measured.
pub(crate) const OPERATIONS: [&str; 7] =
    ["connect", "subscribe", "publish", "publish to one offline", "retained", "retained below", "disconnect"];

fn message(topic: &str) -> Message {
    Message {
        topic: text(topic),
        payload: Bytes::from_static(b"21.5"),
        qos: Q1,
        retain: true,
        properties: None,
        received_ms: 0,
        identifiers: Identifiers::new(),
        share: None,
    }
}

fn subscription(filter: String) -> StoredSubscription {
    StoredSubscription {
        filter: Arc::from(filter),
        qos: Q1,
        no_local: false,
        retain_as_published: false,
        identifier: None,
        plain: true,
    }
}

/// A broker with so many offline sessions of two filters each, and so many retained messages.
pub(crate) async fn among(others: usize) -> Server {
    let store = RamStore::default();
    for n in 0..others {
        let key = SessionKey { owner: Arc::from(""), client_id: Arc::from(format!("other-{n}")) };
        let subscriptions =
            vec![subscription(format!("fleet/{n}/door")), subscription(format!("fleet/{n}/+/alarm"))];
        let record = SessionRecord {
            expiry_s: u32::MAX,
            disconnected_ms: 1,
            subscriptions,
            ..SessionRecord::default()
        };
        let retained = message(&format!("kept/{}/{n}/temperature", n % 100));
        store.commit(vec![StoreOp::PutSession(key, Box::new(record)), StoreOp::Retain(retained)], None);
    }
    // Nothing is published behind the measurement's back.
    let config = Config { sys_interval: Duration::ZERO, ..Config::default() };
    Server::start_on(config, Arc::new(PlainHook), Arc::new(store)).await
}

/// Does everything once; `measure` is told when each of [`OPERATIONS`] begins (`false`) and when it is over (`true`).
pub(crate) async fn once(server: &Server, listener: &mut Client, mut measure: impl FnMut(usize, bool)) {
    let hello = Hello::new(Version::V5, "measured").kept();
    measure(0, false);
    let mut client = Client::connect(server.address, &hello).await;
    measure(0, true);
    measure(1, false);
    client.subscribe(&[("mine/+/speed", Q1)]).await;
    measure(1, true);
    measure(2, false);
    client.publish("live/speed", b"88").await;
    listener.take().await;
    measure(2, true);
    measure(3, false);
    client.publish("fleet/7/door", b"open").await;
    measure(3, true);
    for (operation, filter) in [(4, "kept/7/7/temperature"), (5, "kept/7/7/#")] {
        measure(operation, false);
        client.subscribe(&[(filter, Q0)]).await;
        client.take().await;
        measure(operation, true);
    }
    client.unsubscribe(&["mine/+/speed", "kept/7/7/temperature", "kept/7/7/#"]).await;
    measure(6, false);
    client.disconnect().await;
    measure(6, true);
}

/// A client that hears what is published to `live/speed`.
pub(crate) async fn listener(server: &Server) -> Client {
    let mut listener = server.client(Version::V311, "listener").await;
    listener.subscribe(&[("live/+", Q1)]).await;
    listener
}
