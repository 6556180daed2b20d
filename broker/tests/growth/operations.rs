//! What a client does among many others' things, whoever serves it.

use chasqui_broker::codec::{QoS, Version};
use chasqui_testkit::{Client, Hello};
use std::net::SocketAddr;

const Q0: QoS = QoS::AtMostOnce;
const Q1: QoS = QoS::AtLeastOnce;

/// What is measured.
pub(crate) const OPERATIONS: [&str; 7] =
    ["connect", "subscribe", "publish", "publish to one offline", "retained", "retained below", "disconnect"];

/// Does everything once; `measure` is told when each of [`OPERATIONS`] begins (`false`) and when it is over (`true`).
pub(crate) async fn once(address: SocketAddr, listener: &mut Client, mut measure: impl FnMut(usize, bool)) {
    let hello = Hello::new(Version::V5, "measured").kept();
    measure(0, false);
    let mut client = Client::connect(address, &hello).await;
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
pub(crate) async fn listener(address: SocketAddr) -> Client {
    let mut listener = Client::connect(address, &Hello::new(Version::V311, "listener")).await;
    listener.subscribe(&[("live/+", Q1)]).await;
    listener
}
