//! What a client's operations take among many others' things: 10, 1,000 and 100,000 offline sessions with filters and retained messages,
//! and beside as many idle connections as files allow.
//!
//! `cargo bench -p chasqui-broker --bench growth` prints medians in microseconds and the ratio to the fewest. Both ends are in this process, on
//! loopback: a round trip costs more than what the broker does.

#![allow(clippy::print_stdout)] // It is a bench: printing is what it is for.

#[path = "../../tests/growth/operations.rs"]
mod operations;
#[path = "../../tests/support/mod.rs"]
mod support;
mod table;
#[path = "../../tests/growth/world.rs"]
mod world;

use chasqui_broker::codec::Version;
use table::{measured, print};

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let counts = [10, 1_000, 100_000];
    let mut medians = Vec::new();
    for others in counts {
        let server = world::among(others).await;
        medians.push(measured(server.address).await);
    }
    print("Among offline sessions, filters and retained messages:", &counts, &medians);

    let counts = [10, 1_000, 8_000];
    let mut medians = Vec::new();
    let server = world::among(1_000).await;
    let mut idle = Vec::new();
    for live in counts {
        while idle.len() < live {
            let mut client = server.client(Version::V5, &format!("idle-{}", idle.len())).await;
            let topic = format!("idle/{}", idle.len());
            client.subscribe(&[(&topic, chasqui_broker::codec::QoS::AtLeastOnce)]).await;
            idle.push(client);
        }
        medians.push(measured(server.address).await);
    }
    print("Beside idle connections:", &counts, &medians);
}
