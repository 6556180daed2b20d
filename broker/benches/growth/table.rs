//! Medians of what a client does, and how they compare.

use super::operations::{self, OPERATIONS};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::time::Instant;

const ROUNDS: usize = 400;

/// Medians of each operation.
pub(crate) async fn measured(address: SocketAddr) -> [Duration; OPERATIONS.len()] {
    let mut listener = operations::listener(address).await;
    let mut times: [Vec<Duration>; OPERATIONS.len()] = std::array::from_fn(|_| Vec::with_capacity(ROUNDS));
    for _ in 0..ROUNDS {
        let mut begun = Instant::now();
        operations::once(address, &mut listener, |operation, over| {
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

/// Prints them, with the ratio to the first.
pub(crate) fn print(title: &str, counts: &[usize], medians: &[[Duration; OPERATIONS.len()]]) {
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
