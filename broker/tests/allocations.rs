//! What a message costs the broker in allocations: published with QoS 1 on one connection, delivered on another, acknowledged on both,
//! over real sockets. Whatever else is in this process has allocated before and does not while it is counted.

mod support;

use chasqui_broker::Config;
use chasqui_broker::codec::packet::publish;
use chasqui_broker::codec::{PacketId, Peer, PublishOut, QoS, Version};
use chasqui_testkit::allocations::{Allocated, Counting, least_of};
use chasqui_testkit::blocking::Blocking;
use std::time::Duration;
use support::{Hello, Server};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Messages in a round.
const MESSAGES: usize = 100;
const ROUNDS: usize = 30;

/// How many messages are on their way at once, and what [`MESSAGES`] of them may allocate at most. On 3.1.1 a burst is taken in windows of 32.
///
/// Each thread does the same for each message, so the figures are the same every time but for a few; of a burst the kernel decides how many
/// packets a read brings, and the ceilings have room for a few reads more.
const CEILINGS: [(Version, usize, Allocated); 4] = [
    (Version::V311, 1, Allocated { calls: 610, bytes: 156_000 }),
    (Version::V311, MESSAGES, Allocated { calls: 350, bytes: 160_000 }),
    (Version::V5, 1, Allocated { calls: 610, bytes: 156_000 }),
    (Version::V5, MESSAGES, Allocated { calls: 140, bytes: 125_000 }),
];

/// The bytes of so many PUBLISH packets.
fn packets(version: Version, topic: &str, payload: &[u8], count: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for n in 1..=count {
        let packet_id = PacketId::new(n as u16);
        let out = PublishOut { qos: QoS::AtLeastOnce, packet_id, ..PublishOut::new(topic, payload) };
        publish::encode(&mut bytes, &Peer::unlimited(version), &out).expect("valid");
    }
    bytes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_allocates_no_more_than_it_did() {
    // Nothing is published behind the measurement's back.
    let server = Server::start_with(Config { sys_interval: Duration::ZERO, ..Config::default() }).await;
    let address = server.address;
    let measured = tokio::task::spawn_blocking(move || {
        let mut excess = Vec::new();
        for (version, at_once, ceiling) in CEILINGS {
            let mut publisher = Blocking::connect(address, &Hello::new(version, "publisher"));
            let mut subscriber = Blocking::connect(address, &Hello::new(version, "subscriber"));
            subscriber.subscribe("rooms/+/temperature");
            let packets = packets(version, "rooms/kitchen/temperature", b"hello, world", at_once);
            let least = least_of(ROUNDS, || {
                for _ in 0..MESSAGES / at_once {
                    publisher.write(&packets);
                    publisher.acknowledged(at_once);
                    subscriber.take(at_once);
                }
            });
            println!("{version:?}, {at_once} at once: {MESSAGES} messages took {least:?}");
            if least.calls > ceiling.calls || least.bytes > ceiling.bytes {
                excess.push((version, at_once, least, ceiling));
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
