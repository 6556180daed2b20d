//! An offline device costs disk only: the real program on a store with 200,000 of them, each with messages that wait, takes hardly more
//! memory than on an empty one, and starts as fast; also after some of them came back, caught up and left.

#![allow(clippy::print_stdout)] // The figures are what a reader of the log wants.

#[path = "offline/fill.rs"]
mod fill;
mod program;

use chasqui_broker::codec::Version;
use chasqui_proto::v1;
use chasqui_testkit::{Client, Hello};
use fill::{Fill, fill, name_of, sender_of, text_of};
use program::{Program, chasqui, dev};
use prost::Message;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;
use v1::{body, event};

const DEVICES: usize = 200_000;
const WAITING: usize = 10;
const COME_BACK: usize = 10_000;
/// Devices that come back at the same time.
const WAVE: usize = 500;

const MORE_MEMORY: u64 = 20 << 20;
const START: Duration = Duration::from_secs(2);

/// What a start costs.
#[derive(Debug, Clone, Copy)]
struct Cost {
    started_in: Duration,
    /// Memory when it listens, and a second later.
    rss: [u64; 2],
}

/// Starts the program on a store and looks at what it costs.
async fn start(data: &Path) -> (Program, Cost) {
    let program = Program::start(chasqui(&dev(data)));
    let at_once = program.rss();
    // What it does by itself after a start is part of the cost.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let cost = Cost { started_in: program.started_in, rss: [at_once, program.rss()] };
    (program, cost)
}

fn assert_cheap(what: &str, cost: Cost, empty: Cost) {
    let mib = |bytes: u64| f64::from((bytes >> 10) as u32) / 1024.0;
    println!(
        "{what}: started in {:.3} s (empty: {:.3} s), memory {:.1} MiB (empty: {:.1} MiB), a second later {:.1} MiB (empty: {:.1} MiB)",
        cost.started_in.as_secs_f64(),
        empty.started_in.as_secs_f64(),
        mib(cost.rss[0]),
        mib(empty.rss[0]),
        mib(cost.rss[1]),
        mib(empty.rss[1]),
    );
    for (rss, empty) in cost.rss.iter().zip(empty.rss) {
        assert!(*rss < empty + MORE_MEMORY, "{what}: {:.1} MiB more than an empty store", mib(rss - empty));
    }
    assert!(cost.started_in < START, "{what}: started in {:?}", cost.started_in);
}

async fn connect(address: SocketAddr, device: usize) -> Client {
    let version = if device.is_multiple_of(2) { Version::V311 } else { Version::V5 };
    let name = name_of(device);
    let client = Client::connect(address, &Hello::new(version, "phone").user(&name, &name).kept()).await;
    assert!(client.connack.session_present, "{name}");
    client
}

/// A device comes back, gets everything in order without asking, acknowledges it and leaves.
async fn catch_up(address: SocketAddr, device: usize) {
    let mut client = connect(address, device).await;
    for expected in 1..=WAITING {
        let publish = client.take().await;
        assert_eq!(&*publish.topic, format!("u/{}/in", name_of(device)));
        let event = v1::Event::decode(publish.payload).expect("an event");
        let Some(event::Event::Message(message)) = event.event else { panic!("a message: {event:?}") };
        assert_eq!((event.position, message.seq), (expected as u64, expected as u64));
        assert_eq!(message.conversation, format!("u/{}", sender_of(device)));
        let text = message.body.and_then(|body| body.kind);
        assert_eq!(text, Some(body::Kind::Text(text_of(device, expected))));
    }
    client.disconnect().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heavy_offline_devices_cost_disk_only() {
    let (loaded, empty) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let since = Instant::now();
    let path = loaded.path().to_owned();
    tokio::task::spawn_blocking(move || {
        fill(&path, Fill { devices: DEVICES, waiting: WAITING, wills: false });
    })
    .await
    .expect("it loads");
    println!(
        "loaded {DEVICES} devices with {WAITING} messages each in {:.1} s",
        since.elapsed().as_secs_f64()
    );

    let (program, nothing) = start(empty.path()).await;
    program.stop();
    let (program, cost) = start(loaded.path()).await;
    assert_cheap("offline", cost, nothing);

    let since = Instant::now();
    // All over the store, not its first page.
    let apart = DEVICES / COME_BACK;
    for wave in (0..COME_BACK).step_by(WAVE) {
        let mut devices = JoinSet::new();
        for back in wave..wave + WAVE {
            devices.spawn(catch_up(program.address, back * apart));
        }
        while let Some(device) = devices.join_next().await {
            device.expect("it catches up");
        }
    }
    println!(
        "{COME_BACK} came back in {:.1} s, then {} MiB",
        since.elapsed().as_secs_f64(),
        program.rss() >> 20
    );
    program.stop();

    let (program, cost) = start(loaded.path()).await;
    assert_cheap("after some came back", cost, nothing);
    connect(program.address, 0).await.nothing().await;
    catch_up(program.address, 1).await;
    program.stop();
}
