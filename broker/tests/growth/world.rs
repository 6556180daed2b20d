//! A broker among many others' things: offline sessions with filters, and retained messages.

use super::support::{PlainHook, Server, text};
use bytes::Bytes;
use chasqui_broker::Config;
use chasqui_broker::codec::QoS;
use chasqui_broker::message::{Identifiers, Message};
use chasqui_broker::store::ram::RamStore;
use chasqui_broker::store::{SessionKey, SessionRecord, Store, StoreOp, StoredSubscription};
use std::sync::Arc;
use std::time::Duration;

const Q1: QoS = QoS::AtLeastOnce;

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
