//! Random histories of a few users and devices, against what must hold of every one of them.

use super::command::tests::{caller, chat, device, user};
use super::command::{
    Acknowledged, Act, Attach, Caller, CreateUser, Deed, Delivered, Detach, Expire, GroupAdd, GroupCreate,
    GroupEdit, GroupJoin, GroupLeave, GroupRemove, GroupRoles, Heads, NewSettings, NewText, Read, RemoveUser,
    Role, Send, SetTies, SetTimer, SetUp, What as Tied,
};
use super::record::{Members, Settings};
use super::stored::{self, StoredMessage};
use super::testing::Memory;
use super::{Ack, Change, Command, Env, Outcome, View, decide};
use crate::entry::{self, Rendered};
use bytes::Bytes;
use chasqui_proto::{ChatName, ClientMsgId, ConversationId, GroupId, Outgoing, Seq, v1};
use proptest::prelude::*;
use prost::Message as _;
use std::collections::{BTreeMap, BTreeSet};

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
    Group(InGroup),
    Act(Deed),
    Hide(bool),
    Timer(u32),
    Expire,
    Tie(Tied),
}

/// What somebody does about the one group there is.
#[derive(Debug, Clone, Copy)]
enum InGroup {
    Create,
    Add,
    Remove,
    Leave,
    Join,
    Promote,
    Demote,
    Post(bool),
    Send(Option<u8>, Ack),
    Read(bool),
    Act(Deed),
    Timer(u32),
}

fn hikers() -> GroupId {
    GroupId::parse("hikers").unwrap()
}

fn deed() -> impl Strategy<Value = Deed> {
    prop::sample::select(vec![Deed::Edit, Deed::React, Deed::Delete, Deed::Delete, Deed::Pin])
}

fn in_group() -> impl Strategy<Value = InGroup> {
    let ack = prop::sample::select(vec![Ack::Full, Ack::CodeOnly, Ack::SuccessOnly, Ack::Nothing]);
    prop_oneof![
        3 => Just(InGroup::Create),
        4 => Just(InGroup::Add),
        2 => Just(InGroup::Remove),
        2 => Just(InGroup::Leave),
        1 => Just(InGroup::Join),
        2 => Just(InGroup::Promote),
        2 => Just(InGroup::Demote),
        1 => any::<bool>().prop_map(InGroup::Post),
        8 => (prop::option::of(0u8..3), ack).prop_map(|(id, ack)| InGroup::Send(id, ack)),
        4 => any::<bool>().prop_map(InGroup::Read),
        4 => deed().prop_map(InGroup::Act),
        1 => prop::sample::select(vec![0, 1]).prop_map(InGroup::Timer),
    ]
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
        12 => in_group().prop_map(What::Group),
        4 => deed().prop_map(What::Act),
        1 => any::<bool>().prop_map(What::Hide),
        1 => prop::sample::select(vec![0, 1]).prop_map(What::Timer),
        4 => Just(What::Expire),
        2 => any::<bool>().prop_map(|is| What::Tie(Tied::Contact(is))),
        2 => any::<bool>().prop_map(|is| What::Tie(Tied::Blocked(is))),
    ];
    let name = || prop::sample::select(&USERS[..]);
    (name(), prop::sample::select(&DEVICES[..]), name(), 0u64..12, 0u64..2_000, what).prop_map(
        |(user, device, peer, number, clock_ms, what)| Step { user, device, peer, number, clock_ms, what },
    )
}

/// What the history so far was, told by the changes alone.
#[derive(Default)]
struct Told {
    /// What each inbox was given, and what became of it since.
    inboxes: BTreeMap<String, Vec<Bytes>>,
    given: BTreeMap<String, Vec<Bytes>>,
    conversations: BTreeMap<String, Vec<u64>>,
    accepted: BTreeMap<(String, String, String, u8), Outcome>,
    /// How many entries users had when they were removed.
    removed: BTreeMap<String, usize>,
    /// Who sent each message of the group.
    senders: Vec<String>,
    /// Each message that is one, by conversation and number.
    said: BTreeMap<(String, u64), StoredMessage>,
    /// The messages whose time will be over.
    expiries: BTreeSet<(u64, ConversationId, Seq)>,
    /// What each message of any kind is.
    kept: BTreeMap<(String, u64), StoredMessage>,
    /// What each message says instead of which.
    edits: BTreeMap<(String, u64), u64>,
}

impl Told {
    fn command(&self, step: &Step) -> Command {
        let on = device(step.device);
        match step.what {
            What::Send(id, ack) => {
                let caller = Caller { ack, ..caller(step.user, step.device) };
                let client_msg_id = id.map(|id| ClientMsgId::from_bytes(&[id + 1]).unwrap());
                let content = Bytes::from_static(b"\x12\x03\x0a\x01x");
                Send {
                    caller,
                    to: chat(step.peer),
                    message: Outgoing { client_msg_id, content, expires_in_s: 0 },
                }
                .into()
            }
            What::Acknowledge => {
                let messages = self.messages(step.user, step.number);
                Delivered { user: user(step.user), device: on, up_to: step.number, messages }.into()
            }
            What::Read => {
                let caller = caller(step.user, step.device);
                Read { caller, chat: chat(step.peer), up_to: Seq(step.number), played: false }.into()
            }
            What::Attach => Attach { user: user(step.user), device: on }.into(),
            What::Detach => Detach { user: user(step.user), device: on }.into(),
            What::Create => CreateUser { user: user(step.user) }.into(),
            What::Remove => RemoveUser { user: user(step.user) }.into(),
            What::Group(what) => self.in_group(step, what),
            What::Hide(hides) => {
                SetUp { caller: caller(step.user, step.device), hide_reads: Some(hides), presence: None }
                    .into()
            }
            What::Act(deed) => self.act(step, chat(step.peer), deed),
            What::Timer(seconds) => {
                let caller = caller(step.user, step.device);
                SetTimer { caller, chat: chat(step.peer), seconds }.into()
            }
            What::Expire => match self.expiries.first().cloned() {
                None => Heads { user: user(step.user) }.into(),
                Some((at_ms, conversation, seq)) => {
                    let message = self.kept.get(&(conversation.to_string(), seq.0)).cloned();
                    Expire { conversation, seq, at_ms, message }.into()
                }
            },
            What::Tie(what) => {
                let others = USERS.iter().filter(|name| **name != step.user).map(|name| user(name));
                let some = others.take(1 + step.number as usize % 2);
                SetTies { caller: caller(step.user, step.device), users: some.collect(), what }.into()
            }
        }
    }

    /// Something done to a message that the step's number is of, if there is one.
    fn act(&self, step: &Step, chat: ChatName, deed: Deed) -> Command {
        let id = ConversationId::named_by(&user(step.user), &chat);
        let original = self.said.get(&(id.to_string(), step.number)).cloned();
        let content = match deed {
            Deed::Delete => stored::deletion_content(Seq(step.number)),
            Deed::Edit => stored::edit_content(&v1::Edited { seq: step.number, ..v1::Edited::default() }),
            Deed::React | Deed::Pin => {
                stored::reaction_content(&v1::Reaction { seq: step.number, emoji: "+".to_owned() })
            }
        };
        let (caller, seq) = (caller(step.user, step.device), Seq(step.number));
        Act { caller, chat, seq, original, deed, content: content.into() }.into()
    }

    fn in_group(&self, step: &Step, what: InGroup) -> Command {
        let (caller, group) = (caller(step.user, step.device), hikers());
        let users = vec![user(step.peer)];
        match what {
            InGroup::Create => GroupCreate {
                caller,
                group,
                name: "Hikers".to_owned(),
                description: String::new(),
                photo: Bytes::new(),
                settings: Settings::default(),
                members: users,
            }
            .into(),
            InGroup::Add => GroupAdd { caller, group, users }.into(),
            InGroup::Remove => GroupRemove { caller, group, users }.into(),
            InGroup::Leave => GroupLeave { caller, group }.into(),
            InGroup::Join => GroupJoin { caller, group, invite: String::new() }.into(),
            InGroup::Promote => GroupRoles { caller, group, users, role: Role::Admin }.into(),
            InGroup::Demote => GroupRoles { caller, group, users, role: Role::Member }.into(),
            InGroup::Post(admins) => {
                let settings = NewSettings { admins_post: Some(admins), ..NewSettings::default() };
                GroupEdit { caller, group, text: NewText::default(), settings }.into()
            }
            InGroup::Send(id, ack) => {
                let client_msg_id = id.map(|id| ClientMsgId::from_bytes(&[id + 1]).unwrap());
                let content = Bytes::from_static(b"\x12\x03\x0a\x01x");
                let (caller, to) = (Caller { ack, ..caller }, ChatName::Group(group));
                Send { caller, to, message: Outgoing { client_msg_id, content, expires_in_s: 0 } }.into()
            }
            InGroup::Act(deed) => self.act(step, ChatName::Group(group), deed),
            InGroup::Timer(seconds) => SetTimer { caller, chat: ChatName::Group(group), seconds }.into(),
            InGroup::Read(played) => {
                Read { caller, chat: ChatName::Group(group), up_to: Seq(step.number), played }.into()
            }
        }
    }

    /// The messages of the group that a user was given; not those of somebody of the same name before.
    fn given(&self, of: &str) -> Vec<u64> {
        let before = self.removed.get(of).copied().unwrap_or(0);
        let inbox = self.inboxes.get(of).map_or(&[][..], |inbox| &inbox[before..]);
        let nowhere = |_: &ConversationId, _| Ok::<_, std::convert::Infallible>(None);
        let seq = |entry: &Bytes| match entry::render(entry, &user(of), &device("other"), 0, nowhere).unwrap()
        {
            Rendered::Skip => None,
            Rendered::Event(event) => match v1::Event::decode(event).unwrap().event? {
                v1::event::Event::Message(message) => {
                    (message.conversation == "g/hikers").then_some(message.seq)
                }
                v1::event::Event::Gone(gone) => (gone.conversation == "g/hikers").then_some(gone.seq),
                _ => None,
            },
        };
        inbox.iter().filter_map(seq).collect()
    }

    /// What a device that acknowledges everything up to a position acknowledges.
    fn messages(&self, of: &str, up_to: u64) -> Vec<Acknowledged> {
        let inbox = self.given.get(of).map_or(&[][..], |inbox| &inbox[..]);
        let about = |(position, entry): (u64, &Bytes)| {
            let about = entry::about(&user(of), entry).unwrap()?;
            let entry::About { conversation, sender, seq, time_ms } = about;
            Some(Acknowledged { position, conversation, sender, seq, time_ms })
        };
        (1..=up_to).zip(inbox).filter_map(about).collect()
    }

    fn take(&mut self, change: &Change) {
        match change {
            Change::AppendMessage { conversation, seq, time_ms, message } => {
                let times = self.conversations.entry(conversation.to_string()).or_default();
                assert_eq!(seq.0, times.len() as u64 + 1, "numbers of a conversation have no gap");
                assert!(times.last().is_none_or(|last| last <= time_ms), "time does not go backwards");
                times.push(*time_ms);
                let stored = StoredMessage::decode(message).unwrap();
                self.kept.insert((conversation.to_string(), seq.0), stored.clone());
                if let Some(about) = edited(&stored) {
                    self.edits.insert((conversation.to_string(), seq.0), about);
                }
                if matches!(conversation, ConversationId::Group(_)) {
                    self.senders.push(stored.sender.to_string());
                }
                if !stored::is_change(&stored.content) {
                    self.said.insert((conversation.to_string(), seq.0), stored);
                }
            }
            Change::AppendInbox { user, position, entry } => {
                let inbox = self.inboxes.entry(user.to_string()).or_default();
                assert_eq!(*position, inbox.len() as u64 + 1, "positions of an inbox have no gap");
                inbox.push(entry.clone());
                self.given.entry(user.to_string()).or_default().push(entry.clone());
            }
            Change::EraseEntry { user, position, entry } => {
                let inbox = self.inboxes.get_mut(user.as_str()).expect("an entry that is there");
                inbox[*position as usize - 1] = entry.clone();
            }
            Change::EraseMessage { message, .. } => {
                let content = StoredMessage::decode(message).unwrap().content;
                assert!(v1::Message::decode(content).unwrap().gone);
            }
            Change::ExpireAt { at_ms, conversation, seq } => {
                assert!(self.expiries.insert((*at_ms, conversation.clone(), *seq)), "once each");
            }
            Change::Expired { at_ms, conversation, seq } => {
                assert!(self.expiries.remove(&(*at_ms, conversation.clone(), *seq)));
            }
            Change::RemoveUser { user } => {
                let entries = self.inboxes.get(user.as_str()).map_or(0, Vec::len);
                self.removed.insert(user.to_string(), entries);
            }
            _ => {}
        }
    }
}

/// The number of the message that another says something else instead of.
fn edited(stored: &StoredMessage) -> Option<u64> {
    v1::Message::decode(&stored.content[..]).ok()?.edit.map(|edit| edit.seq)
}

/// Of what was deleted for everyone, nothing is in an inbox any more, edits included.
fn check_deleted(told: &Told, after: &Memory) {
    let nowhere = |_: &ConversationId, _| Ok::<_, std::convert::Infallible>(None);
    for name in USERS {
        let trimmed = after.user(name).trimmed as usize;
        for entry in told.inboxes.get(name).into_iter().flatten().skip(trimmed) {
            let Rendered::Event(event) =
                entry::render(entry, &user(name), &device("other"), 0, nowhere).unwrap()
            else {
                continue;
            };
            let Some(v1::event::Event::Message(message)) = v1::Event::decode(event).unwrap().event else {
                continue;
            };
            let chat = ChatName::parse(&message.conversation).unwrap();
            let id = ConversationId::named_by(&user(name), &chat);
            let about = told.edits.get(&(id.to_string(), message.seq)).copied().unwrap_or(message.seq);
            assert!(!View::fate(after, &id, Seq(about)).unwrap().gone, "{name} can still read {message:?}");
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

fn check_ties(after: &Memory) {
    for owner in USERS {
        let theirs = after.user(owner);
        let kept = |other: &str| {
            let tie = after.tie(owner, other);
            tie.life == theirs.lives && tie.is_kept()
        };
        assert_eq!(
            USERS.into_iter().filter(|other| kept(other)).count(),
            theirs.ties as usize,
            "{owner}: as many as are kept"
        );
        assert!(!kept(owner), "nobody is anything to themselves");
    }
}

fn check_receipts(told: &Told, before: &Memory, after: &Memory) {
    for owner in USERS {
        let mut positions = Vec::new();
        for peer in USERS {
            let (was, is) = (before.receipt(owner, &chat(peer)), after.receipt(owner, &chat(peer)));
            // What another of the name was told is told no more.
            let kept = was.since(after.user(owner).since_ms);
            assert!(
                kept.delivered.up_to <= is.delivered.up_to && kept.read.up_to <= is.read.up_to,
                "marks only grow"
            );
            assert_eq!(was != is, was.position != is.position, "what changes gets a new position");
            let direct = ConversationId::direct(&user(owner), &user(peer));
            let from_owner = told.messages(peer, after.user(peer).floor).into_iter();
            let from_owner =
                from_owner.filter(|message| message.sender == user(owner) && message.conversation == direct);
            let had = from_owner.map(|message| message.seq).max();
            assert!(is.delivered.up_to <= had.unwrap_or_default(), "no more is delivered than a device has");
            positions.extend(Some(is.position).filter(|position| *position > 0));
        }
        let of_group = after.receipt(owner, &ChatName::Group(hikers())).position;
        positions.extend(Some(of_group).filter(|position| *position > 0));
        positions.sort_unstable();
        assert!(positions.is_sorted_by(|a, b| a < b), "each position is one receipt's");
        assert!(positions.last().is_none_or(|last| *last <= after.user(owner).state_head));
    }
}

fn check_group(told: &Told, before: &Memory, after: &Memory) {
    let (was, is) = (before.group("hikers"), after.group("hikers"));
    let lost = USERS.iter().any(|name| after.user(name).lives > 0);
    let governed = is.members.is_empty() || is.members.iter().any(|member| member.admin);
    assert!(governed || lost, "a group has an admin");
    assert!(!was.exists || is.exists, "an id is used once");
    for name in USERS {
        let membership = after.membership("hikers", name);
        let member = is.member(&user(name));
        let lasts = membership.stays.last().is_some_and(|stay| stay.to == Seq::NONE);
        let theirs = membership.life == after.user(name).lives;
        assert!(member.is_none() || lasts, "{name}: who is a member stays");
        // Of whose account was removed nothing more is written.
        assert!(member.is_some() || !lasts || !theirs, "{name}: who stays is a member");
        let given = told.given(name);
        assert!(given.is_sorted_by(|a, b| a < b), "{name}: each message once, in order: {given:?}");
        let given: BTreeSet<u64> = given.into_iter().collect();
        for seq in &given {
            assert!(
                theirs && membership.covers(Seq(*seq)),
                "{name} was given {seq}, which is none of theirs"
            );
        }
        if theirs {
            for (seq, sender) in (1..).zip(&told.senders).filter(|(_, sender)| *sender != name) {
                let has = given.contains(&seq);
                assert_eq!(has, membership.covers(Seq(seq)), "{name}: message {seq} of {sender}");
            }
        }
        let chat = ChatName::Group(hikers());
        let since_ms = after.user(name).since_ms;
        let (was, is) = (before.receipt(name, &chat).since(since_ms), after.receipt(name, &chat));
        assert!(was.delivered.up_to <= is.delivered.up_to && was.read.up_to <= is.read.up_to);
        if let Some(Members::Named(named)) = is.members.as_deref() {
            for marks in named {
                let theirs = after.membership("hikers", marks.user.as_str());
                assert!(marks.delivered.up_to <= theirs.delivered.up_to, "no more than the truth");
                assert!(marks.read.up_to <= theirs.read.up_to && marks.played.up_to <= theirs.played.up_to);
                let had = told.messages(marks.user.as_str(), after.user(marks.user.as_str()).floor);
                let had =
                    had.iter().filter(|message| message.conversation == ConversationId::Group(hikers()));
                let had = had.map(|message| message.seq).max().unwrap_or_default();
                assert!(marks.delivered.up_to <= had, "no more is delivered than a device has");
            }
        }
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
            let sent = match step.what {
                What::Send(Some(id), _) => Some((id, step.peer)),
                What::Group(InGroup::Send(Some(id), _)) => Some((id, "the group")),
                _ => None,
            };
            if let (Some((id, to)), Outcome::Accepted { .. }) = (sent, &decision.outcome) {
                // Who comes later under the name sends something else.
                let from = format!("{}, {}", step.user, memory.user(step.user).lives);
                let [on, to] = [step.device, to].map(str::to_owned);
                let first = told.accepted.entry((from, on, to, id)).or_insert(decision.outcome.clone());
                prop_assert_eq!(first, &decision.outcome, "a retry gets the first answer");
            }
            let after = warm(&history);
            check_users(&before, &after);
            check_ties(&after);
            check_receipts(&told, &before, &after);
            check_group(&told, &before, &after);
            check_deleted(&told, &after);
            before = after;
        }
    }
}
