//! What a command costs the sequencer's thread: deciding, applying and encoding, without the disk.
//!
//! `cargo run --release --example sequencer_cost`

use chasqui_bridge::entry;
use chasqui_bridge::machine::command::{Acknowledged, Attach, CreateUser, Delivered, Send};
use chasqui_bridge::machine::{
    Ack, Caller, Chat, Command, Conversation, Fate, Group, Key, Membership, Receipt, Record, Ring, Tie, User,
};
use chasqui_bridge::sequencer::{Committed, Core, NewItem, Request, Sink, Source, Unanswered};
use chasqui_proto::{ChatName, ClientMsgId, DeviceId, Outgoing, UserId};
use chasqui_storage::Poisoned;
use std::hint::black_box;
use std::io::Write;
use std::sync::Mutex;
use std::time::{Duration, Instant};

const USERS: u64 = 10_000;
const BATCH: u64 = 128;
const ROUNDS: u64 = 4_000;
const NOW_MS: u64 = 1_795_000_000_000;

/// Keeps the tails, from which the acknowledgements are made.
#[derive(Default)]
struct Tails(Mutex<Vec<(UserId, NewItem)>>);

impl Sink for Tails {
    fn committed(&self, committed: Committed) {
        let mut tails = self.0.lock().expect("one thread");
        for new in committed.tails {
            if let Source::Inbox(user) = new.source {
                tails.extend(new.items.into_iter().map(|item| (user.clone(), item)));
            }
        }
    }

    fn poisoned(&self, _: Vec<Unanswered>, why: &Poisoned) {
        unreachable!("nothing is written that could fail: {why}")
    }
}

fn user(n: u64) -> UserId {
    UserId::parse(&format!("user-{}", n % USERS)).expect("an id")
}

fn phone() -> DeviceId {
    DeviceId::parse("phone").expect("an id")
}

fn send(n: u64) -> Command {
    // A sender has few others to talk to.
    let from = n.wrapping_mul(0x9E37_79B9_7F4A_7C15) % USERS;
    let caller =
        Caller { user: user(from), device: Some(phone()), ack: Ack::Full, topic: "u/bob/send".into() };
    let client_msg_id = ClientMsgId::from_bytes(&n.to_be_bytes()).ok();
    let content = bytes::Bytes::from_static(b"\x12\x0e\x0a\x0chello, world");
    Send {
        caller,
        to: ChatName::User(user(from + 1 + n % 3)),
        message: Outgoing { client_msg_id, content, expires_in_s: 0 },
    }
    .into()
}

fn delivered((owner, item): &(UserId, NewItem)) -> Command {
    let about = entry::about(owner, &item.stored).expect("an entry").expect("a message");
    let entry::About { conversation, sender, seq, time_ms } = about;
    let messages = vec![Acknowledged { position: item.position, conversation, sender, seq, time_ms }];
    Delivered { user: owner.clone(), device: phone(), up_to: item.position, messages }.into()
}

/// Answers what a step asks for with records that were never written.
fn never_written(key: &Key) -> Record {
    match key {
        Key::User(_) => Record::User(User::default()),
        Key::Conversation(_) => Record::Conversation(Conversation::default()),
        Key::Ring(..) => Record::Ring(Ring::default()),
        Key::Receipt { .. } => Record::Receipt(Receipt::default()),
        Key::Group(_) => Record::Group(Group::default()),
        Key::Membership(..) => Record::Membership(Membership::default()),
        Key::Chat { .. } => Record::Chat(Chat::default()),
        Key::Fate(..) => Record::Fate(Fate::default()),
        Key::Tie(..) => Record::Tie(Tie::default()),
    }
}

fn carry_out(core: &mut Core, sink: &Tails, commands: Vec<Command>) -> (Duration, usize) {
    let requests = commands.into_iter().map(|command| Request {
        origin: 0,
        token: 1,
        command,
        extra: None,
        on_success: None,
    });
    let requests: Vec<Request> = requests.collect();
    #[allow(clippy::disallowed_methods)] // Time is what is measured here.
    let start = Instant::now();
    for request in requests {
        core.request(request, NOW_MS);
    }
    let mut step = core.step();
    let spent = start.elapsed();
    let mut bytes = 0;
    loop {
        let fetches = std::mem::take(&mut step.fetches);
        bytes += black_box(&step.batch).payload_len();
        core.durable(step.number);
        step.release.committed(sink);
        if fetches.is_empty() {
            return (spent, bytes);
        }
        for key in fetches {
            core.fetched(&key, Ok(never_written(&key)), NOW_MS);
        }
        step = core.step();
    }
}

fn main() {
    let mut core = Core::new(false, 1 << 30);
    let sink = Tails::default();
    let setup = |n| [CreateUser { user: user(n) }.into(), Attach { user: user(n), device: phone() }.into()];
    carry_out(&mut core, &sink, (0..USERS).flat_map(setup).collect());
    let (mut sending, mut delivering) = ((Duration::ZERO, 0), (Duration::ZERO, 0));
    for round in 0..ROUNDS {
        let sends = carry_out(&mut core, &sink, (round * BATCH..(round + 1) * BATCH).map(send).collect());
        let new = std::mem::take(&mut *sink.0.lock().expect("one thread"));
        let marks = carry_out(&mut core, &sink, new.iter().map(delivered).collect());
        // The first half puts the records at hand.
        if round >= ROUNDS / 2 {
            sending = (sending.0 + sends.0, sending.1 + sends.1);
            delivering = (delivering.0 + marks.0, delivering.1 + marks.1);
        }
    }
    let measured = ROUNDS / 2 * BATCH;
    let mut out = std::io::stdout().lock();
    for (what, (spent, bytes)) in [("send", sending), ("delivered", delivering)] {
        let ns = spent.as_nanos() / u128::from(measured);
        // A closed pipe is the reader's wish.
        let _ = writeln!(
            out,
            "{what}: {ns} ns and {} bytes of the commit log each, {BATCH} at once",
            bytes as u64 / measured
        );
    }
    let (records, bytes) = core.at_hand();
    let _ = writeln!(out, "{records} records at hand, {bytes} bytes");
}
