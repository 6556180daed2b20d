//! What the tests of the sequencer share.

use super::{Answer, Committed, NewItems, Request, Sink, Unanswered};
use crate::machine::command::{Acknowledged, Attach, CreateUser, Delivered, Heads, Send};
use crate::machine::{Ack, Caller, Command, Outcome};
use bytes::Bytes;
use chasqui_proto::{ChatName, ClientMsgId, ConversationId, DeviceId, Outgoing, Seq, UserId};
use chasqui_storage::Poisoned;
use parking_lot::{Condvar, Mutex};

pub(super) const NOW_MS: u64 = 1_795_000_000_000;

pub(super) fn user(name: &str) -> UserId {
    UserId::parse(name).unwrap()
}

pub(super) fn device(name: &str) -> DeviceId {
    DeviceId::parse(name).unwrap()
}

pub(super) fn direct(one: &str, other: &str) -> ConversationId {
    ConversationId::direct(&user(one), &user(other))
}

pub(super) fn request(origin: u64, token: u64, command: impl Into<Command>) -> Request {
    Request { origin, token, command: command.into(), extra: None, on_success: None }
}

pub(super) fn caller(name: &str) -> Caller {
    Caller { user: user(name), device: Some(device("phone")), ack: Ack::Full, topic: "u/bob/send".into() }
}

/// A text from one user's phone to another, with an id unless it is 0.
pub(super) fn text(from: &str, to: &str, id: u64) -> Send {
    let client_msg_id = (id > 0).then(|| ClientMsgId::from_bytes(&id.to_be_bytes()).unwrap());
    let content = Bytes::from_static(b"\x12\x04\x0a\x02hi");
    Send {
        caller: caller(from),
        to: ChatName::User(user(to)),
        message: Outgoing { client_msg_id, content, expires_in_s: 0 },
    }
}

pub(super) fn create(name: &str) -> CreateUser {
    CreateUser { user: user(name) }
}

pub(super) fn attach(name: &str) -> Attach {
    Attach { user: user(name), device: device("phone") }
}

pub(super) fn heads(name: &str) -> Heads {
    Heads { user: user(name) }
}

/// `name`'s phone has everything up to a position, the last of it a message from `sender`.
pub(super) fn delivered(name: &str, up_to: u64, sender: &str, seq: u64) -> Delivered {
    let conversation = direct(name, sender);
    let message =
        Acknowledged { position: up_to, conversation, sender: user(sender), seq: Seq(seq), time_ms: NOW_MS };
    Delivered { user: user(name), device: device("phone"), up_to, messages: vec![message] }
}

pub(super) fn accepted(outcome: &Outcome) -> u64 {
    match outcome {
        Outcome::Accepted { seq, .. } => seq.0,
        other => panic!("not accepted: {other:?}"),
    }
}

/// A sink that keeps what it is told.
#[derive(Default)]
pub(super) struct Collect {
    told: Mutex<Told>,
    more: Condvar,
}

#[derive(Default)]
struct Told {
    answers: Vec<Answer>,
    tails: Vec<NewItems>,
    unanswered: Vec<Unanswered>,
}

impl Sink for Collect {
    fn committed(&self, committed: Committed) {
        let mut told = self.told.lock();
        told.answers.extend(committed.answers);
        told.tails.extend(committed.tails);
        self.more.notify_all();
    }

    fn poisoned(&self, unanswered: Vec<Unanswered>, _: &Poisoned) {
        self.told.lock().unanswered.extend(unanswered);
        self.more.notify_all();
    }
}

impl Collect {
    pub(super) fn answers(&self) -> Vec<Answer> {
        self.told.lock().answers.clone()
    }

    /// Takes what was said so far, as pairs of origin and outcome.
    pub(super) fn take(&self) -> Vec<(u64, Outcome)> {
        let answers = std::mem::take(&mut self.told.lock().answers);
        answers.into_iter().map(|answer| (answer.origin, answer.outcome)).collect()
    }

    pub(super) fn take_tails(&self) -> Vec<NewItems> {
        std::mem::take(&mut self.told.lock().tails)
    }

    pub(super) fn unanswered(&self) -> Vec<(u64, u64)> {
        self.told.lock().unanswered.iter().map(|one| (one.origin, one.token)).collect()
    }

    /// Waits until so many were answered, or will not be.
    pub(super) fn wait_for(&self, count: usize) {
        let mut told = self.told.lock();
        while told.answers.len() + told.unanswered.len() < count {
            self.more.wait(&mut told);
        }
    }
}
