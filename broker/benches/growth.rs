//! What a client's operations take among many others' things: 10, 1,000 and 100,000 offline sessions with filters and retained messages,
//! and beside as many idle connections as files allow.
//!
//! `cargo bench -p chasqui-broker --bench growth` prints medians in microseconds and the ratio to the fewest. Both ends are in this process, on
//! loopback: a round trip costs more than what the broker does.

#![allow(clippy::print_stdout)] // It is a bench: printing is what it is for.

#[path = "../tests/support/mod.rs"]
mod support;
#[path = "../tests/growth/world.rs"]
mod world;

use chasqui_broker::codec::Version;
use std::time::Duration;
use support::Server;
use tokio::time::Instant;
use world::OPERATIONS;

const ROUNDS: usize = 400;

/// Medians of each operation.
async fn measured(server: &Server) -> [Duration; OPERATIONS.len()] {
    let mut listener = world::listener(server).await;
    let mut times: [Vec<Duration>; OPERATIONS.len()] = std::array::from_fn(|_| Vec::with_capacity(ROUNDS));
    for _ in 0..ROUNDS {
        let mut begun = Instant::now();
        world::once(server, &mut listener, |operation, over| {
            if over {
                times[operation].push(begun.elapsed());
            } else {
                begun = Instant::now();
            }
        })
        .await;
    }
    times.map(|mut times| {
        times.sort_unstable();
        times[times.len() / 2]
    })
}

fn print(title: &str, counts: &[usize], medians: &[[Duration; OPERATIONS.len()]]) {
    println!("\n{title}");
    print!("{:24}", "");
    for count in counts {
        print!("{count:>16}");
    }
    println!();
    for (operation, name) in OPERATIONS.iter().enumerate() {
        print!("{name:24}");
        let first = medians[0][operation].as_secs_f64();
        for medians in medians {
            let median = medians[operation].as_secs_f64();
            print!("{:>8.1} µs {:4.2}", median * 1e6, median / first);
        }
        println!();
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let counts = [10, 1_000, 100_000];
    let mut medians = Vec::new();
    for others in counts {
        medians.push(measured(&world::among(others).await).await);
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
        medians.push(measured(&server).await);
    }
    print("Beside idle connections:", &counts, &medians);
}
