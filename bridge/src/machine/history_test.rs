//! Random histories of a few users and devices, against what must hold of every one of them.

use super::command::tests::{caller, chat, device, user};
use super::command::{Acknowledged, Attach, Caller, CreateUser, Delivered, Detach, Read, RemoveUser, Send};
use super::testing::Memory;
use super::{Ack, Change, Command, Env, Outcome, decide};
use crate::entry;
use bytes::Bytes;
use chasqui_proto::{ClientMsgId, Outgoing, Seq};
use proptest::prelude::*;
use std::collections::BTreeMap;

const USERS: [&str; 3] = ["alice", "bob", "carol"];
const DEVICES: [&str; 2] = ["laptop", "phone"];

#[derive(Debug, Clone)]
struct Step {
    user: &'static str,
    device: &'static str,
    peer: &'static str,
    number: u64,
    clock_ms: u64,
    what: What,
}

#[derive(Debug, Clone, Copy)]
enum What {
    Send(Option<u8>, Ack),
    Acknowledge,
    Read,
    Attach,
    Detach,
    Create,
    Remove,
}

fn step() -> impl Strategy<Value = Step> {
    let ack = prop::sample::select(vec![Ack::Full, Ack::CodeOnly, Ack::SuccessOnly, Ack::Nothing]);
    let what = prop_oneof![
        10 => (prop::option::of(0u8..3), ack).prop_map(|(id, ack)| What::Send(id, ack)),
        8 => Just(What::Acknowledge),
        3 => Just(What::Read),
        3 => Just(What::Attach),
        1 => Just(What::Detach),
        2 => Just(What::Create),
        1 => Just(What::Remove),
    ];
    let name = || prop::sample::select(&USERS[..]);
    (name(), prop::sample::select(&DEVICES[..]), name(), 0u64..12, 0u64..2_000, what).prop_map(
        |(user, device, peer, number, clock_ms, what)| Step { user, device, peer, number, clock_ms, what },
    )
}

/// What the history so far was, told by the changes alone.
#[derive(Default)]
struct Told {
    inboxes: BTreeMap<String, Vec<Bytes>>,
    conversations: BTreeMap<String, Vec<u64>>,
    accepted: BTreeMap<(String, String, String, u8), Outcome>,
}

impl Told {
    fn command(&self, step: &Step) -> Command {
        let on = device(step.device);
        match step.what {
            What::Send(id, ack) => {
                let caller = Caller { ack, ..caller(step.user, step.device) };
                let client_msg_id = id.map(|id| ClientMsgId::from_bytes(&[id + 1]).unwrap());
                let content = Bytes::from_static(b"\x12\x03\x0a\x01x");
                Send { caller, to: user(step.peer), message: Outgoing { client_msg_id, content } }.into()
            }
            What::Acknowledge => {
                let messages = self.messages(step.user, step.number);
                Delivered { user: user(step.user), device: on, up_to: step.number, messages }.into()
            }
            What::Read => {
                let caller = caller(step.user, step.device);
                Read { caller, chat: chat(step.peer), up_to: Seq(step.number) }.into()
            }
            What::Attach => Attach { user: user(step.user), device: on }.into(),
            What::Detach => Detach { user: user(step.user), device: on }.into(),
            What::Create => CreateUser { user: user(step.user) }.into(),
            What::Remove => RemoveUser { user: user(step.user) }.into(),
        }
    }

    /// What a device that acknowledges everything up to a position acknowledges.
    fn messages(&self, of: &str, up_to: u64) -> Vec<Acknowledged> {
        let inbox = self.inboxes.get(of).map_or(&[][..], |inbox| &inbox[..]);
        let about = |(position, entry): (u64, &Bytes)| {
            let about = entry::about(&user(of), entry).unwrap()?;
            let entry::About { conversation, sender, seq } = about;
            Some(Acknowledged { position, conversation, sender, seq })
        };
        (1..=up_to).zip(inbox).filter_map(about).collect()
    }

    fn take(&mut self, change: &Change) {
        match change {
            Change::AppendMessage { conversation, seq, time_ms, .. } => {
                let times = self.conversations.entry(conversation.to_string()).or_default();
                assert_eq!(seq.0, times.len() as u64 + 1, "numbers of a conversation have no gap");
                assert!(times.last().is_none_or(|last| last <= time_ms), "time does not go backwards");
                times.push(*time_ms);
            }
            Change::AppendInbox { user, position, entry } => {
                let inbox = self.inboxes.entry(user.to_string()).or_default();
                assert_eq!(*position, inbox.len() as u64 + 1, "positions of an inbox have no gap");
                inbox.push(entry.clone());
            }
            _ => {}
        }
    }
}

fn check_users(before: &Memory, after: &Memory) {
    for name in USERS {
        let (was, is) = (before.user(name), after.user(name));
        assert!(was.floor <= is.floor && was.trimmed <= is.trimmed, "floor and trim only grow");
        assert!(was.inbox_head <= is.inbox_head && was.state_head <= is.state_head, "heads only grow");
        assert!(is.floor <= is.inbox_head, "nobody has what is not there");
        assert!(is.trimmed <= is.floor, "what no device had is kept");
        assert!(is.devices.is_sorted_by(|a, b| a.id < b.id), "each device once, in order");
        for device in &is.devices {
            assert!(is.trimmed <= device.acked && device.acked <= is.floor, "{name}'s {:?}", device.id);
        }
    }
}

fn check_receipts(told: &Told, before: &Memory, after: &Memory) {
    for owner in USERS {
        let mut positions = Vec::new();
        for peer in USERS {
            let (was, is) = (before.receipt(owner, &chat(peer)), after.receipt(owner, &chat(peer)));
            assert!(
                was.delivered.up_to <= is.delivered.up_to && was.read.up_to <= is.read.up_to,
                "marks only grow"
            );
            assert_eq!(was != is, was.position != is.position, "what changes gets a new position");
            let from_owner = told.messages(peer, after.user(peer).floor).into_iter();
            let had =
                from_owner.filter(|message| message.sender == user(owner)).map(|message| message.seq).max();
            assert!(is.delivered.up_to <= had.unwrap_or_default(), "no more is delivered than a device has");
            positions.extend(Some(is.position).filter(|position| *position > 0));
        }
        positions.sort_unstable();
        assert!(positions.is_sorted_by(|a, b| a < b), "each position is one receipt's");
        assert!(positions.last().is_none_or(|last| *last <= after.user(owner).state_head));
    }
}

/// Decides with nothing at hand but what is asked for, so that a change to a record nobody read is caught.
fn decide_cold(memory: &mut Memory, command: &Command, env: &Env) -> super::Decision {
    loop {
        match decide(memory, command, env) {
            Ok(decision) => return decision,
            Err(missing) => {
                assert!(!missing.0.is_empty());
                missing.0.into_iter().for_each(|key| memory.fetch(key));
            }
        }
    }
}

fn warm(changes: &[Change]) -> Memory {
    let mut memory = Memory::default();
    memory.apply(changes);
    memory
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn every_history_keeps_the_invariants(steps in prop::collection::vec(step(), 1..60), dev: bool) {
        let mut told = Told::default();
        let mut memory = Memory::cold();
        let mut history = Vec::new();
        let mut before = warm(&history);
        for step in steps {
            let command = told.command(&step);
            let env = Env { now_ms: 1_000 + step.clock_ms, dev, guess_wait_ms: None };
            let decision = decide_cold(&mut memory, &command, &env);
            prop_assert_eq!(&decide(&memory, &command, &env).unwrap(), &decision, "deciding is pure");
            memory.apply(&decision.changes);
            for change in &decision.changes {
                told.take(change);
                let mut bytes = Vec::new();
                change.encode(&mut bytes);
                history.push(Change::decode(&bytes).unwrap());
            }
            if let (What::Send(Some(id), _), Outcome::Accepted { .. }) = (step.what, &decision.outcome) {
                let names = [step.user, step.device, step.peer].map(str::to_owned);
                let [from, on, to] = names;
                let first = told.accepted.entry((from, on, to, id)).or_insert(decision.outcome.clone());
                prop_assert_eq!(first, &decision.outcome, "a retry gets the first answer");
            }
            let after = warm(&history);
            check_users(&before, &after);
            check_receipts(&told, &before, &after);
            before = after;
        }
    }
}
