//! What the tables of the group commands share, and what holds of all of them.

use super::*;
use crate::entry::{self, Rendered};
use crate::machine::command::tests::{
    NOW_MS, act, caller, device, env, is_for_oneself, is_quiet, old_caller, refused, user,
};
use crate::machine::command::{
    Ack, Acknowledged, Attach, Command, CreateUser, Delivered, Read, RemoveUser, Send,
};
use crate::machine::record::{Mark, Members, Settings};
use crate::machine::testing::Memory;
use crate::machine::{Change, Decision, Env, Key, Outcome, Told, decide};
use bytes::Bytes;
use chasqui_proto::limits::{GROUP_MAX_MEMBERS, RECEIPT_MAX_MEMBERS};
use chasqui_proto::v1::group_change::Change as Happened;
use chasqui_proto::{ChatName, ClientMsgId, Outgoing, Seq, v1};
use prost::Message as _;
use std::collections::BTreeMap;

mod events;
mod marks;
mod messages;
mod rights;

fn hikers() -> GroupId {
    GroupId::parse("hikers").unwrap()
}

fn ids(names: &[&str]) -> Vec<UserId> {
    names.iter().map(|name| user(name)).collect()
}

fn create(by: &str, members: &[&str]) -> Command {
    GroupCreate {
        caller: caller(by, "phone"),
        group: hikers(),
        name: "Hikers".to_owned(),
        description: String::new(),
        photo: Bytes::new(),
        settings: Settings::default(),
        members: ids(members),
    }
    .into()
}

fn add(by: &str, users: &[&str]) -> Command {
    GroupAdd { caller: caller(by, "phone"), group: hikers(), users: ids(users) }.into()
}

fn remove(by: &str, users: &[&str]) -> Command {
    GroupRemove { caller: caller(by, "phone"), group: hikers(), users: ids(users) }.into()
}

fn leave(by: &str) -> Command {
    GroupLeave { caller: caller(by, "phone"), group: hikers() }.into()
}

fn roles(by: &str, users: &[&str], role: Role) -> Command {
    GroupRoles { caller: caller(by, "phone"), group: hikers(), users: ids(users), role }.into()
}

fn rename(by: &str, name: &str) -> Command {
    let text = NewText { name: Some(name.to_owned()), ..NewText::default() };
    GroupEdit { caller: caller(by, "phone"), group: hikers(), text, settings: NewSettings::default() }.into()
}

fn configure(by: &str, settings: NewSettings) -> Command {
    GroupEdit { caller: caller(by, "phone"), group: hikers(), text: NewText::default(), settings }.into()
}

fn invite(by: &str, action: InviteAction, fresh: &str) -> Command {
    GroupInvite { caller: caller(by, "phone"), group: hikers(), action, fresh: fresh.to_owned() }.into()
}

fn join(by: &str, invite: &str) -> Command {
    GroupJoin { caller: caller(by, "phone"), group: hikers(), invite: invite.to_owned() }.into()
}

fn get(by: &str) -> Command {
    GroupGet { caller: caller(by, "phone"), group: hikers() }.into()
}

fn says(caller: Caller, text: &str, id: Option<&[u8]>) -> Command {
    let body = v1::Body { kind: Some(v1::body::Kind::Text(text.to_owned())) };
    let content = v1::Send { body: Some(body), ..v1::Send::default() }.encode_to_vec().into();
    let client_msg_id = id.map(|id| ClientMsgId::from_bytes(id).unwrap());
    Send {
        caller,
        to: ChatName::Group(hikers()),
        message: Outgoing { client_msg_id, content, expires_in_s: 0 },
    }
    .into()
}

fn post(by: &str) -> Command {
    says(caller(by, "phone"), "hello", None)
}

fn read(by: &str, up_to: u64) -> Command {
    let chat = ChatName::Group(hikers());
    Read { caller: caller(by, "phone"), chat, up_to: Seq(up_to), played: false }.into()
}

/// Users alice to erin, of whom alice made the group with bob and carol.
fn memory() -> Memory {
    let mut memory = Memory::with_users(&["alice", "bob", "carol", "dave", "erin"]);
    let decision = act(&mut memory, create("alice", &["bob", "carol"]), &env());
    assert!(matches!(decision.outcome, Outcome::Answered(_)));
    memory
}

fn members(memory: &Memory) -> Vec<(String, bool)> {
    memory.group("hikers").members.iter().map(|member| (member.user.to_string(), member.admin)).collect()
}

fn names_of(memory: &Memory) -> Vec<String> {
    members(memory).into_iter().map(|(name, _)| name).collect()
}

fn content_in(decision: &Decision, seq: Seq) -> Option<Bytes> {
    decision.changes.iter().find_map(|change| match change {
        Change::AppendMessage { seq: found, message, .. } if *found == seq => Some(message.clone()),
        _ => None,
    })
}

/// What each user is shown of a decision, in the order of their inbox.
fn shown(decision: &Decision) -> BTreeMap<String, Vec<v1::Message>> {
    let mut shown: BTreeMap<String, Vec<v1::Message>> = BTreeMap::new();
    for change in &decision.changes {
        if let Change::AppendInbox { user, entry, .. } = change {
            let fetch =
                |_: &ConversationId, seq| Ok::<_, std::convert::Infallible>(content_in(decision, seq));
            if let Rendered::Event(event) = entry::render(entry, user, &device("tablet"), 0, fetch).unwrap() {
                match v1::Event::decode(event).unwrap().event {
                    Some(v1::event::Event::Message(message)) => {
                        shown.entry(user.to_string()).or_default().push(message);
                    }
                    other => panic!("not a message: {other:?}"),
                }
            }
        }
    }
    shown
}

fn happened(message: &v1::Message) -> Happened {
    message.change.as_ref().and_then(|change| change.change.clone()).expect("something happened")
}

fn users(names: &[&str]) -> v1::Users {
    v1::Users { users: names.iter().map(|name| (*name).to_owned()).collect() }
}

fn number(decision: &Decision) -> u64 {
    match &decision.outcome {
        Outcome::Accepted { seq, .. } => seq.0,
        Outcome::Answered(answered) => answered.seq.0,
        other => panic!("not accepted: {other:?}"),
    }
}

fn code(decision: &Decision) -> ErrorCode {
    refused(&decision.outcome).0.code
}
