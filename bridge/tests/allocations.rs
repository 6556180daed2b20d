//! What a message between users costs the whole server in allocations: sent, flushed, delivered and acknowledged, over real sockets, with the
//! sequencer, the commit log and the overlay in it. The disk swallows what it is given, and nothing goes down meanwhile.

#[path = "../../storage/examples/cost/nowhere.rs"]
mod nowhere;
mod support;

use chasqui_bridge::server::Server;
use chasqui_broker::codec::packet::publish;
use chasqui_broker::codec::{PacketId, Peer, PublishOut, QoS, Version};
use chasqui_storage::clock::SystemClock;
use chasqui_storage::kv::ram::RamKv;
use chasqui_storage::{Options, Storage};
use chasqui_testkit::allocations::{Allocated, Counting, least_of};
use chasqui_testkit::blocking::Blocking;
use nowhere::Nowhere;
use std::sync::Arc;
use std::time::Duration;
use support::*;
use tokio::net::TcpListener;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Messages in a round.
const MESSAGES: usize = 100;
const ROUNDS: usize = 30;

/// How many messages are on their way at once, and what [`MESSAGES`] of them may allocate at most. Threads meet by chance: how many messages
/// a batch has differs, and so do the allocations that are made once for each batch; the ceilings are what was counted, and a tenth.
const CEILINGS: [(usize, Allocated); 2] = [
    (1, Allocated { calls: 6_050, bytes: 1_000_000 }),
    (MESSAGES, Allocated { calls: 1_190, bytes: 560_000 }),
];

fn packets(version: Version, count: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for n in 1..=count {
        let packet_id = PacketId::new(n as u16);
        let payload = says("hello, world");
        let out = PublishOut { qos: QoS::AtLeastOnce, packet_id, ..PublishOut::new("u/bob/send", &payload) };
        publish::encode(&mut bytes, &Peer::unlimited(version), &out).expect("valid");
    }
    bytes
}

/// The service as with `--dev`, on a disk that forgets.
async fn forgetful() -> Server {
    let mut settings = dev();
    // Nothing is published behind the measurement's back, and nothing goes down.
    settings.sys.interval = Duration::ZERO;
    let options = Options {
        overlay_bytes: 1 << 40,
        overlay_age: Duration::from_hours(1),
        segment_bytes: 1 << 40,
        ..Options::default()
    };
    let (kv, clock) = (Arc::new(RamKv::new()), Arc::new(SystemClock));
    let storage = Storage::open_with(Arc::new(Nowhere), kv, Arc::new(SystemClock), options);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let server = Server::start_on(&settings, storage.expect("the store opens"), clock, vec![listener]).await;
    server.expect("the service starts")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_between_users_allocates_no_more_than_it_did() {
    let server = forgetful().await;
    let address = server.addresses()[0];
    let measured = tokio::task::spawn_blocking(move || {
        let mut excess = Vec::new();
        for version in [Version::V311, Version::V5] {
            let mut alice = Blocking::connect(address, &user(version, "alice", "publisher"));
            let mut bob = Blocking::connect(address, &user(version, "bob", "phone").kept());
            bob.subscribe("u/bob/in");
            for (at_once, ceiling) in CEILINGS {
                let packets = packets(version, at_once);
                let least = least_of(ROUNDS, || {
                    for _ in 0..MESSAGES / at_once {
                        alice.write(&packets);
                        alice.acknowledged(at_once);
                        bob.take(at_once);
                    }
                });
                println!("{version:?}, {at_once} at once: {MESSAGES} messages took {least:?}");
                if least.calls > ceiling.calls || least.bytes > ceiling.bytes {
                    excess.push((version, at_once, least, ceiling));
                }
            }
        }
        excess
    });
    let excess = measured.await.expect("no panic");
    assert!(
        excess.is_empty(),
        "more allocations than allowed (version, at once, counted, ceiling): {excess:?}"
    );
}
