//! What a subscription takes that brings three retained messages of a million, through the real service with its store on disk: from
//! SUBSCRIBE to the last of the three, over loopback.
//!
//! `cargo bench -p chasqui-bridge --bench retained` prints percentiles, just after a start and when it has run for a while. `TOPICS=…` for
//! another number.

#![allow(clippy::print_stdout)] // It is a bench: printing is what it is for.

#[path = "../tests/support/mod.rs"]
mod support;

use chasqui_broker::codec::{PublishOut, QoS, Version};
use chasqui_testkit::{Client, Hello};
use std::net::SocketAddr;
use std::time::Duration;
use support::{Service, dev};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Messages that one subscription brings.
const MATCHES: usize = 3;
/// Clients at once that put them there.
const AT_ONCE: usize = 64;
const LOOKUPS: usize = 1_000;

async fn put(address: SocketAddr, publisher: usize, groups: usize) {
    let mut client = Client::connect(address, &Hello::new(Version::V5, &format!("put-{publisher}"))).await;
    for group in (publisher..groups).step_by(AT_ONCE) {
        for one in 0..MATCHES {
            let topic = format!("a/{group}/{one}");
            let out = PublishOut { qos: QoS::AtLeastOnce, retain: true, ..PublishOut::new(&topic, b"21.5") };
            client.publish_with(out).await;
        }
    }
    client.disconnect().await;
}

/// Percentiles, which a lookup takes.
async fn look_up(what: &str, address: SocketAddr, groups: usize) {
    let mut client = Client::connect(address, &Hello::new(Version::V5, "reader")).await;
    let mut times = Vec::with_capacity(LOOKUPS);
    for lookup in 0..LOOKUPS {
        // All over the store.
        let filter = format!("a/{}/+", lookup * 7_919 % groups);
        let begun = Instant::now();
        client.subscribe(&[(&filter, QoS::AtMostOnce)]).await;
        for _ in 0..MATCHES {
            client.message().await;
        }
        times.push(begun.elapsed());
        client.unsubscribe(&[&filter]).await;
    }
    times.sort_unstable();
    let at = |permille: usize| times[times.len() * permille / 1_000].as_micros();
    println!("{what}: {} µs p50, {} p99, {} max", at(500), at(990), times[times.len() - 1].as_micros());
    client.disconnect().await;
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let topics: usize =
        std::env::var("TOPICS").ok().and_then(|number| number.parse().ok()).unwrap_or(1_000_000);
    let groups = topics.div_ceil(MATCHES);
    let mut settings = dev();
    settings.sys.interval = Duration::ZERO;
    settings.storage = chasqui_bridge::settings::Settings::default().storage;
    let mut service = Service::in_folder(settings).await;
    let begun = Instant::now();
    let address = service.address();
    let mut putting: JoinSet<()> = (0..AT_ONCE).map(|publisher| put(address, publisher, groups)).collect();
    while let Some(done) = putting.join_next().await {
        done.expect("it publishes");
    }
    println!("{} retained messages put there in {:.1} s", groups * MATCHES, begun.elapsed().as_secs_f64());
    service.stop().await;
    service.resume().await;
    look_up("after a start", service.address(), groups).await;
    look_up("after that", service.address(), groups).await;
    service.stop().await;
}
