//! What a message costs the commit log: bytes, writes and flushes. Counted on a disk in memory, with the production sequencer and store
//! driven step by step, so that the figures are the same on every machine.

#[path = "costs/drive.rs"]
mod drive;
mod support;

use chasqui_broker::codec::client::ServerPacket;
use chasqui_broker::codec::{PublishOut, QoS, ReasonCode, Version};
use drive::{Drive, Step};
use support::*;

/// Bytes of the commit log for the life of one message, as the only one in its batch: body, and what it may take to be sent, delivered and
/// read (which is kept twice: for the other side, and for the reader's own devices). A record of the log begins at a multiple of 8, and 16 of them
/// are its header.
const LIVES: [(usize, [u64; 3]); 2] = [(12, [240, 144, 144]), (1_024, [1_240, 144, 144])];

#[test]
fn a_message_takes_no_more_of_the_commit_log_than_it_did() {
    for (body, ceilings) in LIVES {
        let mut drive = Drive::new();
        // Warm: everybody is known, and the ids of accepted messages are as many as are remembered.
        for _ in 0..300 {
            drive.carry_out(vec![Step::Sent(body)]);
        }
        let seq = drive.seq();
        let send = drive.carry_out(vec![Step::Sent(body)]);
        let delivered = drive.carry_out(vec![Step::Delivered(seq + 1)]);
        let read = drive.carry_out(vec![Step::Read(seq + 1)]);
        let costs = [send, delivered, read].map(|cost| {
            assert_eq!((cost.writes, cost.syncs), (1, 1), "one write and one flush each");
            cost.bytes
        });
        println!("{body} bytes of body: {costs:?} bytes to be sent, delivered and read");
        for (what, (cost, ceiling)) in
            ["sent", "delivered", "read"].into_iter().zip(costs.into_iter().zip(ceilings))
        {
            assert!(cost <= ceiling, "{body} bytes of body, {what}: {cost} bytes, {ceiling} are allowed");
        }
    }
}

/// Bytes of the commit log for each of so many messages in one batch.
const BATCHES: [(usize, u64); 3] = [(1, 232), (16, 164), (256, 163)];

#[test]
fn a_batch_of_messages_is_one_write_and_one_flush() {
    for (count, ceiling) in BATCHES {
        let mut drive = Drive::new();
        drive.carry_out(vec![Step::Sent(12)]);
        let cost = drive.carry_out((0..count).map(|_| Step::Sent(12)).collect());
        assert_eq!((cost.writes, cost.syncs, cost.dir_syncs), (1, 1, 0), "{count} messages");
        let each = cost.bytes.div_ceil(count as u64);
        println!("{count} messages at once: {each} bytes each");
        assert!(each <= ceiling, "{count} messages at once: {each} bytes each, {ceiling} are allowed");
    }
}

/// The whole server: a burst that waits for a flush shares the next one.
#[tokio::test]
async fn a_burst_shares_its_flushes() {
    const BURST: u64 = 100;
    let service = Service::start().await;
    let mut alice = service.publisher(Version::V5, "alice").await;
    alice.tell("bob", "the first makes the two known").await;
    let before = service.disk().counts();
    let held = service.hold_flushes();
    let payload = says("hello, world");
    for _ in 0..BURST {
        alice.send(PublishOut { qos: QoS::AtLeastOnce, ..PublishOut::new("u/bob/send", &payload) }).await;
    }
    // The answer to PINGREQ comes behind everything: all are with the sequencer.
    alice.nothing().await;
    drop(held);
    for _ in 0..BURST {
        let answer = alice.receive().await;
        assert!(
            matches!(&answer, ServerPacket::Puback(ack) if ack.reason == ReasonCode::Success),
            "{answer:?}"
        );
    }
    let flushes = service.disk().counts().syncs - before.syncs;
    println!("{BURST} messages took {flushes} flushes");
    // One that was held, with whatever came first, and one for the rest; which the sequencer may hand over in two steps.
    assert!(flushes <= 3, "{BURST} messages took {flushes} flushes");
}
