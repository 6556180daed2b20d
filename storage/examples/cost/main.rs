//! What a message's five changes cost the store in CPU, step by step: `cargo run --release --example cost`.
//!
//! Two entries, a dedupe item, a record and a receipt per message, 128 messages to a batch, among 10,000 users; then the
//! messages are delivered: cursors move and the inboxes are trimmed. The disk swallows what it is given, so that what is
//! timed is encoding, checksums and the overlay; the way down goes into RocksDB in a temporary folder.
#![allow(clippy::print_stdout, clippy::disallowed_methods)]

mod nowhere;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use chasqui_storage::{Batch, Core, LogId, Options, RecordKey, clock::SystemClock, kv::rocks::RocksKv};
use nowhere::Nowhere;

const USERS: usize = 10_000;
const MESSAGES: usize = 256_000;
const PER_BATCH: usize = 128;

struct Names {
    inbox: LogId,
    conversation: LogId,
    cursor: RecordKey,
    record: RecordKey,
    ring: Vec<u8>,
    receipts: Vec<u8>,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let names: Vec<Names> = (0..USERS)
        .map(|user| Names {
            inbox: LogId::new(format!("in/user-{user:06}")),
            conversation: LogId::new(format!("c/user-{user:06}/user-{:06}", (user + 1) % USERS)),
            cursor: RecordKey::session(format!("user-{user:06}").as_bytes(), b"phone"),
            record: RecordKey::record(format!("c/user-{user:06}").as_bytes()),
            ring: format!("user-{user:06}/phone").into_bytes(),
            receipts: format!("receipts/user-{user:06}").into_bytes(),
        })
        .collect();
    let dir = tempfile::tempdir()?;
    // Nothing goes down while it is timed.
    let options = Options { overlay_bytes: 1 << 40, block_cache_bytes: 64 << 20, ..Options::default() };
    let sized = Options { overlay_bytes: 64 << 20, ..options.clone() };
    let kv = Arc::new(RocksKv::open(&dir.path().join("state"), &sized)?);
    let mut core = Core::open(Arc::new(Nowhere), kv, Arc::new(SystemClock), options)?;

    let (mut encoding, mut sending, mut delivering) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
    let body = [7u8; 100];
    let user = |message: usize| message.wrapping_mul(7_919) % USERS;
    for first in (0..MESSAGES).step_by(PER_BATCH) {
        let start = Instant::now();
        let mut batch = Batch::with_capacity(64 << 10);
        for message in first..first + PER_BATCH {
            let names = &names[user(message)];
            let seq = (message / USERS) as u64 + 1;
            batch.append(&names.conversation, seq, &body);
            batch.append(&names.inbox, seq, &body);
            batch.ring_push(&names.ring, 256, &seq.to_be_bytes());
            batch.put(&names.record, &seq.to_be_bytes());
            batch.set_state(&names.receipts, b"delivered", seq, b"0123456789", (seq > 1).then(|| seq - 1));
        }
        encoding += start.elapsed();
        let start = Instant::now();
        core.commit(vec![batch])?;
        sending += start.elapsed();
    }
    for first in (0..MESSAGES).step_by(PER_BATCH) {
        let mut batch = Batch::with_capacity(64 << 10);
        for message in first..first + PER_BATCH {
            let names = &names[user(message)];
            let seq = (message / USERS) as u64 + 1;
            batch.put(&names.cursor, &seq.to_be_bytes()).trim(&names.inbox, seq, seq + 1);
        }
        let start = Instant::now();
        core.commit(vec![batch])?;
        delivering += start.elapsed();
    }
    let start = Instant::now();
    core.write_down()?;
    let down = start.elapsed();

    let per = |time: Duration| time.as_nanos() / MESSAGES as u128;
    println!("encoding a message's 5 changes   {:>6} ns", per(encoding));
    println!("committing and applying them     {:>6} ns", per(sending));
    println!("committing a delivery's 2        {:>6} ns", per(delivering));
    println!("writing down what is left        {:>6} ns of the other thread's time", per(down));
    Ok(())
}
