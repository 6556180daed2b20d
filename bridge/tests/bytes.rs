//! The byte budget: what a message, a receipt, an idle hour and a reconnect cost on the socket, as `bench/bytes.md` has it.
//!
//! Everything is counted on the sockets of clients of the real server, in both versions of MQTT, over TCP and over TLS 1.3. The table is
//! the truth or the test fails, whether a figure has grown or shrunk; `UPDATE=1` writes it anew.

mod support;

#[path = "bytes/document.rs"]
mod document;
#[path = "bytes/exchanges.rs"]
mod exchanges;
#[path = "bytes/party.rs"]
mod party;
#[path = "bytes/reconnects.rs"]
mod reconnects;
#[path = "bytes/row.rs"]
mod row;
#[path = "bytes/scene.rs"]
mod scene;

use party::{Dialect, Transport};
use row::{Costs, Row};
use scene::Scene;

/// What each may cost on 3.1.1 over TCP at most, in bytes, whatever the table says.
const CEILINGS: [(&[Row], u64); 7] = [
    (&[Row::Sent], 40),
    (&[Row::Acknowledged], 4),
    (&[Row::Received], 60),
    (&[Row::Delivered], 4),
    (&[Row::DeliveredReceipt], 45),
    (&[Row::IdleHour300], 48),
    (&[Row::Connect, Row::Connack, Row::Subscribe, Row::Suback], 120),
];

/// Everything, for one dialect over one transport.
async fn costs(dialect: Dialect, transport: Transport) -> Costs {
    let scene = Scene::set(dialect, transport).await;
    let mut costs = Costs::new(transport);
    let (mut alice, mut bob) = exchanges::acquainted(&scene).await;
    // Once before, so that topic aliases are known and something was read.
    let mut first = Costs::new(transport);
    exchanges::one_message(&mut alice, &mut bob, *b"first!", &mut first).await;
    costs.take(Row::DeliveredReceipt, &first);
    exchanges::one_message(&mut alice, &mut bob, *b"second", &mut costs).await;
    exchanges::typing(&mut alice, &mut bob, &mut costs).await;
    exchanges::idle(&mut alice, &mut costs).await;
    reconnects::all(&scene, &alice, bob, &mut costs).await;
    scene.end().await;
    costs
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_byte_budget_is_what_the_document_says() {
    let mut columns = Vec::new();
    for dialect in Dialect::ALL {
        let tcp = costs(dialect, Transport::Tcp).await;
        let tls = costs(dialect, Transport::Tls).await;
        assert_eq!(tcp.packets(), tls.packets(), "{dialect:?}: the transport changes nothing about packets");
        columns.push(document::Column { dialect, tcp, tls });
    }
    let old = &columns[0].tcp;
    for (rows, ceiling) in CEILINGS {
        let bytes: u64 = rows.iter().map(|row| old.bytes(*row).expect("3.1.1 has it")).sum();
        assert!(bytes <= ceiling, "{rows:?}: {bytes} bytes on 3.1.1 over TCP, {ceiling} are allowed");
    }
    document::compare(&document::render(&columns));
}
