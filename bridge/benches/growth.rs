//! What a client's operations take among many others' things on disk: 10, 1,000 and 100,000 offline sessions with filters and retained
//! messages, put there by clients; and how long a start among them takes.
//!
//! `cargo bench -p chasqui-bridge --bench growth` prints medians in microseconds and the ratio to the fewest. All but `publish` and the
//! lookups wait for the disk.

#![allow(clippy::print_stdout)] // It is a bench: printing is what it is for.

#[path = "../../broker/tests/growth/operations.rs"]
mod operations;
#[path = "../tests/support/mod.rs"]
mod support;
#[path = "../../broker/benches/growth/table.rs"]
mod table;

use chasqui_broker::codec::{PublishOut, QoS, Version};
use chasqui_testkit::{Client, Hello};
use std::net::SocketAddr;
use std::time::Duration;
use support::{Service, dev};
use table::{measured, print};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Clients at once that put others' things there.
const AT_ONCE: usize = 64;

/// Leaves an offline session of two filters and a retained message behind.
async fn leave(address: SocketAddr, n: usize) {
    let mut client = Client::connect(address, &Hello::new(Version::V5, &format!("other-{n}")).kept()).await;
    let (door, alarm) = (format!("fleet/{n}/door"), format!("fleet/{n}/+/alarm"));
    client.subscribe(&[(&door, QoS::AtLeastOnce), (&alarm, QoS::AtLeastOnce)]).await;
    let topic = format!("kept/{}/{n}/temperature", n % 100);
    let retained = PublishOut { qos: QoS::AtLeastOnce, retain: true, ..PublishOut::new(&topic, b"21.5") };
    client.publish_with(retained).await;
    client.disconnect().await;
}

async fn leave_all(address: SocketAddr, range: std::ops::Range<usize>) {
    let mut leaving = JoinSet::new();
    for n in range {
        if leaving.len() == AT_ONCE {
            leaving.join_next().await;
        }
        leaving.spawn(leave(address, n));
    }
    leaving.join_all().await;
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let counts = [10, 1_000, 100_000];
    let mut settings = dev();
    settings.sys.interval = Duration::ZERO;
    settings.storage = chasqui_bridge::settings::Settings::default().storage;
    let mut service = Service::in_folder(settings).await;
    let (mut medians, mut starts, mut there) = (Vec::new(), Vec::new(), 0);
    for others in counts {
        leave_all(service.address(), there..others).await;
        there = others;
        service.stop().await;
        let begun = Instant::now();
        service.resume().await;
        starts.push(begun.elapsed());
        medians.push(measured(service.address()).await);
    }
    print("On disk, among offline sessions, filters and retained messages:", &counts, &medians);
    for (others, start) in counts.iter().zip(starts) {
        println!("a start among {others:>7}: {:6.1} ms", start.as_secs_f64() * 1e3);
    }
    service.stop().await;
}
