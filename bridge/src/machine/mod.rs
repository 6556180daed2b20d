//! The machine: everything that is decided about users, conversations and receipts, and nothing that is done.
//!
//! [`decide`] takes a [`Command`], looks at the records it needs through a [`View`] and answers with
//! [`Change`]s and an [`Outcome`]; [`apply`] folds a change into the records. Both are pure: the time comes
//! in with [`Env`], ids with the command, and who is asking from the connection, never from a payload.
//!
//! **Invariants.** A record that is not at hand is an error value ([`Missing`]), after which the same command
//! is decided again from the start once it is; so deciding changes nothing. A change names only records that
//! were read to decide it. Numbers of a conversation and positions of an inbox have no gaps; marks, floors
//! and cursors only grow.

pub mod change;
pub(crate) mod codec;
pub mod command;
#[cfg(test)]
mod history_test;
pub mod outcome;
pub mod places;
pub mod record;
pub mod stored;
#[cfg(test)]
pub(crate) mod testing;

pub use change::{Change, apply};
use chasqui_proto::{ChatName, ConversationId, DeviceId, GroupId, Seq, UserId};
pub use codec::DecodeError;
pub use command::{Ack, Caller, Command};
pub use outcome::{Answered, Outcome, Told};
pub use record::{
    Chat, Conversation, Device, Fate, Group, Key, Mark, Membership, Receipt, Record, Ring, RingItem, Tie,
    User,
};

/// The records that a decision rests on.
pub trait View {
    /// A user.
    fn user(&self, id: &UserId) -> Result<&User, Missing>;
    /// A conversation.
    fn conversation(&self, id: &ConversationId) -> Result<&Conversation, Missing>;
    /// What a device had accepted last.
    fn ring(&self, user: &UserId, device: &DeviceId) -> Result<&Ring, Missing>;
    /// What `owner` is shown about the chat they call `chat`.
    fn receipt(&self, owner: &UserId, chat: &ChatName) -> Result<&Receipt, Missing>;
    /// A group.
    fn group(&self, id: &GroupId) -> Result<&Group, Missing>;
    /// What a user has to do with a group.
    fn membership(&self, group: &GroupId, user: &UserId) -> Result<&Membership, Missing>;
    /// What `owner` keeps about the conversation they call `chat`.
    fn chat(&self, owner: &UserId, chat: &ChatName) -> Result<&Chat, Missing>;
    /// What became of a message.
    fn fate(&self, conversation: &ConversationId, seq: Seq) -> Result<&Fate, Missing>;
    /// What `other` is to `owner`.
    fn tie(&self, owner: &UserId, other: &UserId) -> Result<&Tie, Missing>;
}

/// The records that changes are folded into: all that a [`View`] showed to the decision they come from.
pub trait Records {
    /// A user.
    fn user_mut(&mut self, id: &UserId) -> &mut User;
    /// A conversation.
    fn conversation_mut(&mut self, id: &ConversationId) -> &mut Conversation;
    /// What a device had accepted last.
    fn ring_mut(&mut self, user: &UserId, device: &DeviceId) -> &mut Ring;
    /// What `owner` is shown about the chat they call `chat`.
    fn receipt_mut(&mut self, owner: &UserId, chat: &ChatName) -> &mut Receipt;
    /// A group.
    fn group_mut(&mut self, id: &GroupId) -> &mut Group;
    /// What a user has to do with a group.
    fn membership_mut(&mut self, group: &GroupId, user: &UserId) -> &mut Membership;
    /// What `owner` keeps about the conversation they call `chat`.
    fn chat_mut(&mut self, owner: &UserId, chat: &ChatName) -> &mut Chat;
    /// What became of a message.
    fn fate_mut(&mut self, conversation: &ConversationId, seq: Seq) -> &mut Fate;
    /// What `other` is to `owner`.
    fn tie_mut(&mut self, owner: &UserId, other: &UserId) -> &mut Tie;
}

/// The records that are not at hand: fetch them, then decide again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Missing(pub Vec<Key>);

impl Missing {
    /// One record that is not at hand.
    pub fn one(key: Key) -> Missing {
        Missing(vec![key])
    }

    /// Passes a record on, and notes one that is not at hand.
    fn note<T>(&mut self, found: Result<T, Missing>) -> Option<T> {
        found.map_err(|missing| self.0.extend(missing.0)).ok()
    }
}

/// What a decision rests on besides the records.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Env {
    /// Unix milliseconds. May go backwards; the times of a conversation do not.
    pub now_ms: u64,
    /// Users come into being when first named.
    pub dev: bool,
    /// Set where this caller has named too many unknown users: how long until they may try another, in
    /// milliseconds. Until then they are not told whether a user exists.
    pub guess_wait_ms: Option<u32>,
}

/// What became of a command.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// What changes, in order; to be applied and made durable as a whole.
    pub changes: Vec<Change>,
    /// The answer, true once the changes are durable and everything before them is.
    pub outcome: Outcome,
}

impl Decision {
    /// An answer that changes nothing.
    fn only(outcome: Outcome) -> Decision {
        Decision { changes: Vec::new(), outcome }
    }
}

/// Decides on a command.
///
/// # Errors
/// Names the records that are not at hand.
pub fn decide(view: &impl View, command: &Command, env: &Env) -> Result<Decision, Missing> {
    match command {
        Command::Send(send) => send.decide(view, env),
        Command::Delivered(delivered) => delivered.decide(view, env),
        Command::Read(read) => read.decide(view, env),
        Command::Reject(reject) => reject.decide(view),
        Command::Attach(attach) => attach.decide(view, env),
        Command::Detach(detach) => detach.decide(view),
        Command::Lose(lose) => lose.decide(view, env),
        Command::Heads(heads) => heads.decide(view),
        Command::CreateUser(create) => create.decide(view, env),
        Command::RemoveUser(remove) => remove.decide(view),
        Command::SetUp(set_up) => set_up.decide(view, env),
        Command::SetChat(set_chat) => set_chat.decide(view, env),
        Command::Act(act) => act.decide(view, env),
        Command::SetTimer(timer) => timer.decide(view, env),
        Command::Expire(expire) => expire.decide(view, env),
        Command::Keep(keep) => keep.decide(view, env),
        Command::GroupCreate(create) => create.decide(view, env),
        Command::GroupEdit(edit) => edit.decide(view, env),
        Command::GroupAdd(add) => add.decide(view, env),
        Command::GroupRemove(remove) => remove.decide(view, env),
        Command::GroupRoles(roles) => roles.decide(view, env),
        Command::GroupLeave(leave) => leave.decide(view, env),
        Command::GroupInvite(invite) => invite.decide(view, env),
        Command::GroupJoin(join) => join.decide(view, env),
        Command::GroupGet(get) => get.decide(view, env),
        Command::SetTies(set_ties) => set_ties.decide(view, env),
        Command::MakeReport(make) => Ok(make.decide(env)),
    }
}
