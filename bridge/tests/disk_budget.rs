//! The disk budget: what is written for each byte that is said. Direct chats with bodies of 1 KiB, each message received and
//! acknowledged, all of it written down into RocksDB while more comes.
//!
//! Counted is what the threads of the store pass to the kernel, as Linux counts it for each of them: the commit log, and the flushes of
//! RocksDB with their manifests. Compactions are shown and not judged: how often data is moved depends on how much there is.

mod support;

use chasqui_broker::codec::client::ServerPacket;
use chasqui_broker::codec::{PublishOut, QoS, ReasonCode, Version};
use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;
use support::*;

/// Bytes of a body.
const BODY: usize = 1_024;
/// Pairs of users who talk.
const PAIRS: usize = 4;
/// Messages that one says to the other in a round.
const AT_ONCE: usize = 50;
/// Rounds before anything is counted: the first segments of the log are written with zeros before they are used, later ones are those that
/// were given up.
const WARM: usize = 45;
/// Rounds that are counted. After each all of it goes down, so that a segment is given up before the next one has to be made.
const COUNTED: usize = 60;

/// Bytes written by log and flushes for 1,000 bytes of body, at most.
const CEILING: u64 = 2_500;

/// Bytes that each kind of thread has written so far.
fn written() -> BTreeMap<String, u64> {
    let mut by_name = BTreeMap::new();
    for task in fs::read_dir("/proc/self/task").expect("Linux shows threads") {
        let task = task.expect("a thread").path();
        // A thread may end meanwhile; those of the store do not.
        let (Ok(name), Ok(io)) = (fs::read_to_string(task.join("comm")), fs::read_to_string(task.join("io")))
        else {
            continue;
        };
        let line = io.lines().find_map(|line| line.strip_prefix("wchar: ")).expect("Linux counts");
        *by_name.entry(name.trim().to_owned()).or_default() += line.parse::<u64>().expect("a number");
    }
    by_name
}

/// A text that no compressor makes shorter, another one for each `n`.
fn text(n: u64) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut state = n;
    let letter = |_| {
        // SplitMix64.
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        char::from(LETTERS[(z >> 58) as usize])
    };
    (0..BODY).map(letter).collect()
}

/// One who speaks and one who listens, each with a phone.
struct Pair {
    sender: Client,
    reader: Client,
    topic: String,
    said: u64,
}

impl Pair {
    async fn meet(service: &Service, number: usize) -> Pair {
        let (from, to) = (format!("anna-{number}"), format!("bert-{number}"));
        let reader = service.device(Version::V5, &to, "phone").await;
        let sender = service.device(Version::V5, &from, "phone").await;
        Pair { sender, reader, topic: format!("u/{to}/send"), said: (number as u64) << 32 }
    }

    async fn talk(&mut self) {
        for _ in 0..AT_ONCE {
            self.said += 1;
            let payload = send(&text(self.said), &self.said.to_be_bytes());
            let out = PublishOut { qos: QoS::AtLeastOnce, ..PublishOut::new(&self.topic, &payload) };
            self.sender.send(out).await;
        }
        for _ in 0..AT_ONCE {
            let answer = self.sender.receive().await;
            let is_accepted =
                matches!(&answer, ServerPacket::Puback(ack) if ack.reason == ReasonCode::Success);
            assert!(is_accepted, "{answer:?}");
            self.reader.take().await;
        }
    }
}

/// Lets everybody talk, and all of it go down; so many times. How many chunks it took.
async fn rounds(service: &Service, pairs: &mut [Pair], count: usize) -> u64 {
    let before = service.server().storage().stats().chunks;
    for _ in 0..count {
        for pair in &mut *pairs {
            pair.talk().await;
        }
        while {
            let stats = service.server().storage().stats();
            stats.durable != stats.applied
        } {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    service.server().storage().stats().chunks - before
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heavy_a_byte_of_body_is_written_two_and_a_half_times_at_most() {
    let mut settings = dev();
    settings.storage.overlay_age = Duration::from_millis(50);
    let service = Service::in_folder(settings).await;
    let mut pairs = Vec::new();
    for number in 0..PAIRS {
        pairs.push(Pair::meet(&service, number).await);
    }
    rounds(&service, &mut pairs, WARM).await;
    let before = written();
    let chunks = rounds(&service, &mut pairs, COUNTED).await;
    let after = written();
    let by = |names: &[&str]| -> u64 {
        let of = |threads: &BTreeMap<String, u64>| -> u64 {
            names.iter().filter_map(|name| threads.get(*name)).sum()
        };
        of(&after) - of(&before)
    };
    let body = (PAIRS * COUNTED * AT_ONCE * BODY) as u64;
    let per_mille = |bytes: u64| bytes * 1_000 / body;
    let log = per_mille(by(&["commit-log"]));
    let flushes = per_mille(by(&["rocksdb:high", "write-down"]));
    let compactions = per_mille(by(&["rocksdb:low"]));
    println!(
        "for 1,000 bytes of body: {log} into the log, {flushes} by flushes of {chunks} chunks, {compactions} by compactions"
    );
    // Both have everything that was said, so nothing was missed.
    assert!(log > 1_000 && flushes > 1_000, "{log} and {flushes}: some thread was not counted");
    assert!(chunks >= COUNTED as u64, "{chunks} chunks: not everything went down");
    assert!(
        log + flushes <= CEILING,
        "{log} + {flushes} bytes are written for 1,000 bytes of body, {CEILING} are allowed"
    );
}
