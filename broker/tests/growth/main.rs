//! What others have costs nobody anything: with 10, 1,000 and 100,000 offline sessions, filters and retained messages, what a client does
//! takes the same, counted in allocations and their bytes. `benches/growth.rs` measures the time.

mod operations;
#[path = "../support/mod.rs"]
mod support;
mod world;

use chasqui_broker::codec::client::ServerPacket;
use chasqui_broker::codec::{QoS, Version};
use operations::OPERATIONS;
use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Counts what is allocated.
struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);
static BYTES: AtomicUsize = AtomicUsize::new(0);

#[allow(unsafe_code)]
// SAFETY: every call is passed on to the system's allocator unchanged; counting touches two atomics and allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        BYTES.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promises are ours.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are ours.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Each operation is done so often, and counts as what it took at least: now and then a table grows for all that come later.
const ROUNDS: usize = 20;
/// What may differ, in allocations and bytes: how the other end's reads are cut.
const SLACK: (usize, usize) = (8, 4 * 1024);

fn now() -> (usize, usize) {
    (ALLOCATIONS.load(Ordering::Relaxed), BYTES.load(Ordering::Relaxed))
}

/// Allocations and bytes of each operation.
async fn counted(others: usize) -> [(usize, usize); OPERATIONS.len()] {
    let server = world::among(others).await;
    let mut listener = operations::listener(server.address).await;
    let mut least = [(usize::MAX, usize::MAX); OPERATIONS.len()];
    for _ in 0..ROUNDS {
        let mut begun = (0, 0);
        operations::once(server.address, &mut listener, |operation, over| {
            if over {
                let (allocations, bytes) = now();
                let least = &mut least[operation];
                *least = (least.0.min(allocations - begun.0), least.1.min(bytes - begun.1));
            } else {
                begun = now();
            }
        })
        .await;
    }
    least
}

/// One at a time: allocations are counted for the whole process.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

#[tokio::test]
async fn heavy_what_others_have_costs_nobody_anything() {
    let _alone = ALONE.lock().await;
    let few = counted(10).await;
    for others in [1_000, 100_000] {
        let many = counted(others).await;
        for (operation, (few, many)) in OPERATIONS.iter().zip(few.iter().zip(&many)) {
            println!("{operation}: {few:?} allocations and bytes among 10 others, {many:?} among {others}");
            assert!(
                many.0 <= few.0 + SLACK.0 && many.1 <= few.1 + SLACK.1,
                "{operation}: {few:?} allocations and bytes among 10 others, {many:?} among {others}"
            );
        }
    }
}

#[tokio::test]
async fn heavy_a_wildcard_gets_all_of_100_000_retained_messages_and_holds_up_nobody() {
    const RETAINED: usize = 100_000;
    let _alone = ALONE.lock().await;
    let server = world::among(RETAINED).await;
    let over = AtomicBool::new(false);
    let reading = async {
        let mut client = server.client(Version::V5, "all").await;
        client.subscribe(&[("kept/#", QoS::AtMostOnce)]).await;
        let mut topics = HashSet::new();
        while topics.len() < RETAINED {
            match client.receive().await {
                ServerPacket::Publish(publish, _) => {
                    assert!(
                        publish.retain && topics.insert(publish.topic.to_string()),
                        "{}",
                        &*publish.topic
                    );
                }
                other => panic!("PUBLISH expected: {other:?}"),
            }
        }
        client.nothing().await;
        over.store(true, Ordering::Relaxed);
    };
    // Each of these waits for its answer: many of them come before the last retained message does.
    let others = async {
        let mut client = server.client(Version::V311, "others").await;
        let mut rounds = 0;
        while !over.load(Ordering::Relaxed) {
            client.publish("live/speed", b"88").await;
            rounds += 1;
        }
        rounds
    };
    let ((), rounds) = tokio::join!(reading, others);
    println!("{rounds} publishes of another client were answered meanwhile");
    assert!(rounds > 20, "{rounds} publishes of another client were answered meanwhile");
}
