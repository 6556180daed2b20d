//! Commands: what the connections ask for. One file each, with a `decide` that is pure.
//!
//! To add one: a file here with its struct, `decide` and a table of tests, a line in [`Command`], and a line
//! in [`decide`](super::decide).

mod account;
mod act;
mod attach;
mod chat;
mod delivered;
mod expire;
mod group;
mod heads;
mod keep;
mod own;
mod pair;
mod read;
mod reject;
mod report;
mod send;
mod settings;
mod tie;
mod timer;

use super::{Decision, Missing, View};
pub use account::{CreateUser, RemoveUser};
pub use act::{Act, Deed};
pub use attach::{Attach, Detach, Lose};
use chasqui_proto::{ChatName, DeviceId, UserId};
pub use chat::SetChat;
pub use delivered::{Acknowledged, Delivered};
pub use expire::Expire;
pub use group::{
    GroupAdd, GroupCreate, GroupEdit, GroupGet, GroupInvite, GroupJoin, GroupLeave, GroupRemove, GroupRoles,
    InviteAction, NewSettings, NewText, Role,
};
pub use heads::Heads;
pub use keep::{Keep, Note};
pub use read::Read;
pub use reject::Reject;
pub use report::MakeReport;
pub use send::Send;
pub use settings::SetUp;
use std::sync::Arc;
pub use tie::{SetTies, What};
pub use timer::SetTimer;

/// A command, with who asks for it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Command {
    Send(Send),
    Delivered(Delivered),
    Read(Read),
    Reject(Reject),
    Attach(Attach),
    Detach(Detach),
    Lose(Lose),
    Heads(Heads),
    CreateUser(CreateUser),
    RemoveUser(RemoveUser),
    Act(Box<Act>),
    Keep(Keep),
    SetTimer(SetTimer),
    Expire(Box<Expire>),
    SetUp(SetUp),
    SetChat(Box<SetChat>),
    GroupCreate(Box<GroupCreate>),
    GroupEdit(Box<GroupEdit>),
    GroupAdd(GroupAdd),
    GroupRemove(GroupRemove),
    GroupRoles(GroupRoles),
    GroupLeave(GroupLeave),
    GroupInvite(GroupInvite),
    GroupJoin(GroupJoin),
    GroupGet(GroupGet),
    SetTies(SetTies),
    MakeReport(MakeReport),
}

/// Who published a command: known from the connection, never from the payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The user.
    pub user: UserId,
    /// The device, where the client id is one.
    pub device: Option<DeviceId>,
    /// What the acknowledgement can say.
    pub ack: Ack,
    /// The topic that the command was published to, as published.
    pub topic: Arc<str>,
}

/// What the acknowledgement of a publish can say to its sender. What it cannot goes into the sender's inbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ack {
    /// Code, reason and number: MQTT 5.0.
    Full,
    /// The code alone: a 5.0 client that asked for no problem information, or has no room for it.
    CodeOnly,
    /// Only that the publish was taken: MQTT 3.1.1.
    SuccessOnly,
    /// Nothing, for there is none: QoS 0, and wills.
    Nothing,
}

impl Command {
    /// Who asks, if the command names users who may not be there: asking for many of them is how one would list users.
    pub fn guesses(&self) -> Option<&UserId> {
        match self {
            Command::Send(Send { caller, to: ChatName::User(_), .. })
            | Command::GroupAdd(GroupAdd { caller, .. }) => Some(&caller.user),
            Command::GroupCreate(create) => Some(&create.caller.user),
            Command::SetTies(SetTies { caller, what: What::Contact(true) | What::Blocked(true), .. }) => {
                Some(&caller.user)
            }
            _ => None,
        }
    }
}

impl Ack {
    /// Whether it can carry the number of a message.
    fn has_number(self) -> bool {
        self == Ack::Full
    }

    /// Whether it can say that the command was refused.
    fn has_refusal(self) -> bool {
        matches!(self, Ack::Full | Ack::CodeOnly)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    //! What the tables of the commands share.

    use super::super::testing::Memory;
    use super::super::{Change, Decision, Env, Outcome};
    use super::*;
    use chasqui_proto::Refusal;

    pub(crate) const NOW_MS: u64 = 1_795_000_000_000;

    pub(crate) fn user(name: &str) -> UserId {
        UserId::parse(name).unwrap()
    }

    pub(crate) fn device(name: &str) -> DeviceId {
        DeviceId::parse(name).unwrap()
    }

    pub(crate) fn chat(peer: &str) -> ChatName {
        ChatName::User(user(peer))
    }

    pub(crate) fn env() -> Env {
        Env { now_ms: NOW_MS, ..Env::default() }
    }

    /// `user` on `device` over MQTT 5.0.
    pub(crate) fn caller(name: &str, on: &str) -> Caller {
        Caller { user: user(name), device: Some(device(on)), ack: Ack::Full, topic: "u/bob/send".into() }
    }

    /// The same over MQTT 3.1.1.
    pub(crate) fn old_caller(name: &str, on: &str) -> Caller {
        Caller { ack: Ack::SuccessOnly, ..caller(name, on) }
    }

    pub(crate) fn refused(outcome: &Outcome) -> (&Refusal, super::super::Told) {
        match outcome {
            Outcome::Refused { refusal, told } => (refusal, *told),
            other => panic!("not refused: {other:?}"),
        }
    }

    /// Decides and carries out.
    pub(crate) fn act(memory: &mut Memory, command: impl Into<Command>, env: &Env) -> Decision {
        let decision = super::super::decide(memory, &command.into(), env).unwrap();
        memory.apply(&decision.changes);
        decision
    }

    /// Whether deciding changes nothing.
    pub(crate) fn is_quiet(decision: &Decision) -> bool {
        decision.changes.is_empty()
    }

    /// Whether it changes nothing but what its user keeps for themselves.
    pub(crate) fn is_for_oneself(decision: &Decision) -> bool {
        decision.changes.iter().all(|change| matches!(change, Change::PutChat { .. }))
    }

    pub(crate) fn inbox_entries<'a>(decision: &'a Decision, of: &str) -> Vec<&'a bytes::Bytes> {
        let of = user(of);
        let entry = |change: &'a Change| match change {
            Change::AppendInbox { user, entry, .. } if *user == of => Some(entry),
            _ => None,
        };
        decision.changes.iter().filter_map(entry).collect()
    }
}

macro_rules! into_command {
    ($($name:ident),+) => {
        $(impl From<$name> for Command {
            fn from(command: $name) -> Command {
                Command::$name(command)
            }
        })+
    };
}

into_command!(Send, Delivered, Read, Reject, Attach, Detach, Lose, Heads, CreateUser, RemoveUser);
into_command!(
    SetUp,
    Keep,
    SetTimer,
    GroupAdd,
    GroupRemove,
    GroupRoles,
    GroupLeave,
    GroupInvite,
    GroupJoin,
    GroupGet,
    SetTies,
    MakeReport
);

impl From<Act> for Command {
    fn from(command: Act) -> Command {
        Command::Act(Box::new(command))
    }
}

impl From<SetChat> for Command {
    fn from(command: SetChat) -> Command {
        Command::SetChat(Box::new(command))
    }
}

impl From<Expire> for Command {
    fn from(command: Expire) -> Command {
        Command::Expire(Box::new(command))
    }
}

impl From<GroupCreate> for Command {
    fn from(command: GroupCreate) -> Command {
        Command::GroupCreate(Box::new(command))
    }
}

impl From<GroupEdit> for Command {
    fn from(command: GroupEdit) -> Command {
        Command::GroupEdit(Box::new(command))
    }
}

// It waits in queues by the thousand: what is rare and large is boxed.
const _: () = assert!(size_of::<Command>() <= 232);
