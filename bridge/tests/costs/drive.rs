//! The production sequencer and store without their threads: alice's messages to bob, each on bob's phone and read there.

use chasqui_bridge::machine::command::{Acknowledged, Attach, CreateUser, Delivered, Read, Send};
use chasqui_bridge::machine::{
    Ack, Caller, Chat, Command, Conversation, Fate, Group, Key, Membership, Receipt, Record, Ring, Tie, User,
};
use chasqui_bridge::sequencer::{Committed, Core, Request, Sink, Unanswered};
use chasqui_proto::{ChatName, ClientMsgId, ConversationId, DeviceId, Outgoing, Seq, UserId, v1};
use chasqui_storage::clock::Clock;
use chasqui_storage::disk::RamDisk;
use chasqui_storage::disk::ram::Counts;
use chasqui_storage::kv::ram::RamKv;
use chasqui_storage::{Options, Poisoned};
use prost::Message as _;
use std::sync::Arc;

/// What the clock shows.
const NOW_MS: u64 = 1_795_000_000_000;

struct Stopped;

impl Clock for Stopped {
    fn now_ms(&self) -> u64 {
        NOW_MS
    }
}

/// Nobody waits.
struct Nobody;

impl Sink for Nobody {
    fn committed(&self, _: Committed) {}

    fn poisoned(&self, _: Vec<Unanswered>, why: &Poisoned) {
        panic!("the disk does not fail: {why}");
    }
}

/// What may be asked for; [`Drive`] fills in what is new each time.
#[derive(Clone, Copy)]
pub(crate) enum Step {
    /// alice sends a text of so many bytes.
    Sent(usize),
    /// bob's phone has it.
    Delivered(u64),
    /// bob has read it.
    Read(u64),
}

pub(crate) struct Drive {
    core: Core,
    store: chasqui_storage::Core,
    disk: RamDisk,
    sent: u64,
}

fn user(name: &str) -> UserId {
    UserId::parse(name).expect("an id")
}

fn phone() -> DeviceId {
    DeviceId::parse("phone").expect("an id")
}

fn caller(name: &str, topic: &str) -> Caller {
    Caller { user: user(name), device: Some(phone()), ack: Ack::Full, topic: topic.into() }
}

/// Nothing was stored before: what is not at hand is new.
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

impl Drive {
    /// alice and bob, a phone each.
    pub(crate) fn new() -> Drive {
        let disk = RamDisk::new();
        let (theirs, kv) = (Arc::new(disk.clone()), Arc::new(RamKv::new()));
        let store = chasqui_storage::Core::open(theirs, kv, Arc::new(Stopped), Options::default());
        let store = store.expect("the store opens");
        let mut drive = Drive { core: Core::new(false, 1 << 30), store, disk, sent: 0 };
        let new = |name| -> [Command; 2] {
            let (user, device) = (user(name), phone());
            [CreateUser { user: user.clone() }.into(), Attach { user, device }.into()]
        };
        drive.commit(["alice", "bob"].into_iter().flat_map(new).collect());
        drive
    }

    /// Carries out steps in one batch, and says what the disk was asked for.
    pub(crate) fn carry_out(&mut self, steps: Vec<Step>) -> Counts {
        let commands = steps.into_iter().map(|step| self.command(step)).collect();
        self.commit(commands)
    }

    /// The number of the last message.
    pub(crate) fn seq(&self) -> u64 {
        self.sent
    }

    fn command(&mut self, step: Step) -> Command {
        match step {
            Step::Sent(body) => {
                self.sent += 1;
                let kind = Some(v1::body::Kind::Text("x".repeat(body)));
                let content = v1::Send { body: Some(v1::Body { kind }), ..v1::Send::default() };
                let client_msg_id = ClientMsgId::from_bytes(&self.sent.to_be_bytes()[2..]).ok();
                let message =
                    Outgoing { client_msg_id, content: content.encode_to_vec().into(), expires_in_s: 0 };
                Send { caller: caller("alice", "u/bob/send"), to: ChatName::User(user("bob")), message }
                    .into()
            }
            Step::Delivered(position) => {
                let conversation = ConversationId::direct(&user("alice"), &user("bob"));
                let (sender, seq) = (user("alice"), Seq(position));
                let messages = vec![Acknowledged { position, conversation, sender, seq, time_ms: 1 }];
                Delivered { user: user("bob"), device: phone(), up_to: position, messages }.into()
            }
            Step::Read(seq) => {
                let chat = ChatName::User(user("alice"));
                Read { caller: caller("bob", "do/read"), chat, up_to: Seq(seq), played: false }.into()
            }
        }
    }

    fn commit(&mut self, commands: Vec<Command>) -> Counts {
        let before = self.disk.counts();
        for command in commands {
            let request = Request { origin: 1, token: 1, command, extra: None, on_success: None };
            self.core.request(request, NOW_MS);
        }
        loop {
            let step = self.core.step();
            self.store.commit(vec![step.batch]).expect("the disk does not fail");
            self.core.durable(step.number);
            step.release.committed(&Nobody);
            if step.fetches.is_empty() {
                break;
            }
            for key in step.fetches {
                self.core.fetched(&key, Ok(never_written(&key)), NOW_MS);
            }
        }
        let after = self.disk.counts();
        Counts {
            writes: after.writes - before.writes,
            bytes: after.bytes - before.bytes,
            syncs: after.syncs - before.syncs,
            dir_syncs: after.dir_syncs - before.dir_syncs,
        }
    }
}
