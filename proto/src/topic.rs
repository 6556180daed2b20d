//! The topic grammar: every topic of the contract as a value, parsed and printed.
//!
//! A topic name is generic (plain MQTT, under the configured rules), one of ours, or an error: a name under our roots
//! `u/`, `g/`, `do/`, `json/` and `$SYS/` that matches no row of the table. [`ROWS`] is that table; `topics.md`
//! explains it, and a test holds the two together. Whether a user *may* use a topic is not asked here.

pub use crate::verb::Verb;
use std::fmt;
use std::sync::Arc;

use thiserror::Error;

use crate::ids::{ChatName, DeviceId, GroupId, IdError, UserId};

/// What kind of thing goes over a topic, and so what is promised for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// Append-only, a cursor per session, QoS 1.
    Log,
    /// Latest value per topic; retained.
    State,
    /// QoS 0, not stored, dropped first under load.
    Signal,
    /// From a device to the server; QoS 1, and 0 or 2 accepted.
    Command,
    /// From the server to one session, kept with the session only.
    Session,
}

impl Class {
    /// The word for it in `topics.md`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::State => "state",
            Self::Signal => "signal",
            Self::Command => "command",
            Self::Session => "session only",
        }
    }
}

/// Who uses a topic how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Clients publish to it; nobody subscribes.
    Publish,
    /// Clients subscribe to it; only the server publishes.
    Subscribe,
}

/// The rows of the topic table. The number of a kind is its place in [`ROWS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RowKind {
    /// `u/{peer}/send`
    UserSend,
    /// `g/{group}/send`
    GroupSend,
    /// `u/{peer}/typing`
    UserTyping,
    /// `g/{group}/typing`
    GroupTyping,
    /// `do/{verb}`
    Do,
    /// `u/{me}/in`
    Inbox,
    /// `u/{me}/g/{group}/in`
    MirroredInbox,
    /// `g/{group}/in`
    GroupLog,
    /// `u/{me}/d/{device}/reply`
    Reply,
    /// `u/{me}/receipts/u/{peer}`
    UserReceipts,
    /// `u/{me}/receipts/g/{group}`
    GroupReceipts,
    /// `u/{me}/typing/u/{peer}`
    TypingUser,
    /// `u/{me}/typing/g/{group}/{member}`
    TypingMember,
    /// `u/{me}/presence/{contact}`
    Presence,
    /// `u/{user}/profile`
    Profile,
    /// `g/{group}/info`
    GroupInfo,
    /// `$SYS/#`
    Sys,
}

/// One row of the topic table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// Which one.
    pub kind: RowKind,
    /// The topic with `{name}` for each variable level.
    pub pattern: &'static str,
    /// What is promised for it.
    pub class: Class,
    /// Whether clients publish or subscribe.
    pub direction: Direction,
    /// Whether it also exists under `json/`.
    pub json: bool,
    /// Whether this version serves it. One that it does not is refused as `NOT_SUPPORTED`.
    pub built: bool,
    /// The payload's message in `chasqui.v1`, empty where it is something else.
    pub payload: &'static str,
}

const fn row(
    kind: RowKind,
    pattern: &'static str,
    class: Class,
    direction: Direction,
    payload: &'static str,
) -> Row {
    Row { kind, pattern, class, direction, json: false, built: false, payload }
}

impl Row {
    const fn json(mut self) -> Self {
        self.json = true;
        self
    }

    const fn built(mut self) -> Self {
        self.built = true;
        self
    }
}

/// The topic table.
pub const ROWS: [Row; 17] = {
    use Class::{Command, Log, Session, Signal, State};
    use Direction::{Publish, Subscribe};
    [
        row(RowKind::UserSend, "u/{peer}/send", Command, Publish, "Send").json().built(),
        row(RowKind::GroupSend, "g/{group}/send", Command, Publish, "Send").json().built(),
        row(RowKind::UserTyping, "u/{peer}/typing", Signal, Publish, "Typing").built(),
        row(RowKind::GroupTyping, "g/{group}/typing", Signal, Publish, "Typing").built(),
        row(RowKind::Do, "do/{verb}", Command, Publish, "").json().built(),
        row(RowKind::Inbox, "u/{me}/in", Log, Subscribe, "Event").json().built(),
        row(RowKind::MirroredInbox, "u/{me}/g/{group}/in", Log, Subscribe, "Event").json(),
        row(RowKind::GroupLog, "g/{group}/in", Log, Subscribe, "Event").json().built(),
        row(RowKind::Reply, "u/{me}/d/{device}/reply", Session, Subscribe, "Reply").json().built(),
        row(RowKind::UserReceipts, "u/{me}/receipts/u/{peer}", State, Subscribe, "Receipt").json().built(),
        row(RowKind::GroupReceipts, "u/{me}/receipts/g/{group}", State, Subscribe, "Receipt").json().built(),
        row(RowKind::TypingUser, "u/{me}/typing/u/{peer}", Signal, Subscribe, "Typing").built(),
        row(RowKind::TypingMember, "u/{me}/typing/g/{group}/{member}", Signal, Subscribe, "Typing").built(),
        row(RowKind::Presence, "u/{me}/presence/{contact}", State, Subscribe, "Presence").json().built(),
        row(RowKind::Profile, "u/{user}/profile", State, Subscribe, "Profile"),
        row(RowKind::GroupInfo, "g/{group}/info", State, Subscribe, "GroupInfo"),
        row(RowKind::Sys, "$SYS/#", State, Subscribe, "").built(),
    ]
};

const _: () = assert!(RowKind::Sys as usize + 1 == ROWS.len(), "every kind has a row");

impl RowKind {
    /// The row.
    pub const fn row(self) -> &'static Row {
        &ROWS[self as usize]
    }
}

/// A topic of the contract, without the `json/` that may stand before it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Topic {
    /// `u/{peer}/send`, `g/{group}/send`: say something there.
    Send {
        /// The chat it goes to.
        to: ChatName,
    },
    /// `u/{peer}/typing`, `g/{group}/typing`: say that one is writing there.
    Typing {
        /// The chat it is about.
        to: ChatName,
    },
    /// `do/{verb}`: ask for anything else.
    Do(Verb),
    /// `u/{me}/in`: the user's log.
    Inbox {
        /// Whose.
        user: UserId,
    },
    /// `u/{me}/g/{group}/in`: a large group's log, for one member.
    MirroredInbox {
        /// The member.
        user: UserId,
        /// The group.
        group: GroupId,
    },
    /// `g/{group}/in`: a group's log alone.
    GroupLog {
        /// The group.
        group: GroupId,
    },
    /// `u/{me}/d/{device}/reply`: answers to a device's commands.
    Reply {
        /// Whose device.
        user: UserId,
        /// The device.
        device: DeviceId,
    },
    /// `u/{me}/receipts/u/{peer}`, `u/{me}/receipts/g/{group}`: how far the others are with this user's messages.
    Receipts {
        /// The sender of the messages, who sees the receipts.
        user: UserId,
        /// The conversation, as that user names it.
        chat: ChatName,
    },
    /// `u/{me}/typing/u/{peer}`: the peer is writing.
    TypingUser {
        /// Who sees it.
        user: UserId,
        /// Who is writing.
        peer: UserId,
    },
    /// `u/{me}/typing/g/{group}/{member}`: a member is writing in a group.
    TypingMember {
        /// Who sees it.
        user: UserId,
        /// In which group.
        group: GroupId,
        /// Who is writing.
        member: UserId,
    },
    /// `u/{me}/presence/{contact}`: whether a contact is there.
    Presence {
        /// Who sees it.
        user: UserId,
        /// Whose presence.
        contact: UserId,
    },
    /// `u/{user}/profile`: what a user shows of themselves.
    Profile {
        /// Whose.
        user: UserId,
    },
    /// `g/{group}/info`: what a group shows of itself.
    GroupInfo {
        /// Which.
        group: GroupId,
    },
    /// `$SYS/…`: what follows `$SYS/`, not empty.
    Sys(Arc<str>),
}

/// Why a topic under our roots is none of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TopicError {
    /// It has the shape of no row.
    #[error("no topic of the contract has this shape; see topics.md")]
    NoRow,
    /// `do/` and something we do not know.
    #[error("there is no such verb under do/; see topics.md")]
    UnknownVerb,
    /// It exists, but not as JSON.
    #[error("this topic has no json/ twin: only commands, in, receipts, presence and replies do")]
    NoJson,
    /// A level that stands for an id is none.
    #[error("a level of this topic is not an id: {0}")]
    Id(#[from] IdError),
}

/// A topic name of the contract, taken apart.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ParsedTopic {
    /// Whether it stands under `json/`: its payload is proto3 JSON instead of protobuf.
    pub json: bool,
    /// The topic.
    pub topic: Topic,
}

/// What stands before a topic whose payload is JSON.
pub const JSON_ROOT: &str = "json/";

/// Whether the first level of a topic name or filter is a root of the contract.
pub(crate) fn is_ours(first_level: &str) -> bool {
    matches!(first_level, "u" | "g" | "do" | "json" | "$SYS")
}

/// The levels of a name, as many as fit; `None` if there are more than any row has.
fn split(name: &str) -> Option<([&str; 6], usize)> {
    let mut levels = [""; 6];
    let mut count = 0;
    for level in name.split('/') {
        *levels.get_mut(count)? = level;
        count += 1;
    }
    Some((levels, count))
}

impl ParsedTopic {
    /// Parses a topic name. `Ok(None)` is a generic topic, which the contract says nothing about.
    ///
    /// # Errors
    /// If `name` is under our roots and no topic of ours.
    pub fn parse(name: &str) -> Result<Option<Self>, TopicError> {
        let first = name.split('/').next().unwrap_or_default();
        if !is_ours(first) {
            return Ok(None);
        }
        match name.strip_prefix(JSON_ROOT) {
            None => Ok(Some(Self { json: false, topic: Topic::parse(name)? })),
            Some(rest) => match Topic::parse(rest)? {
                topic if topic.row().json => Ok(Some(Self { json: true, topic })),
                _ => Err(TopicError::NoJson),
            },
        }
    }
}

impl fmt::Display for ParsedTopic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.json {
            f.write_str(JSON_ROOT)?;
        }
        self.topic.fmt(f)
    }
}

impl Topic {
    /// Parses a topic of the contract, without `json/`.
    ///
    /// # Errors
    /// If it is none; a generic topic is [`TopicError::NoRow`] here.
    pub fn parse(name: &str) -> Result<Self, TopicError> {
        if let Some(rest) = name.strip_prefix("$SYS/") {
            return if rest.is_empty() { Err(TopicError::NoRow) } else { Ok(Self::Sys(rest.into())) };
        }
        let (levels, count) = split(name).ok_or(TopicError::NoRow)?;
        let user = |text| UserId::parse(text).map_err(TopicError::Id);
        let group = |text| GroupId::parse(text).map_err(TopicError::Id);
        Ok(match levels[..count] {
            ["u", peer, "send"] => Self::Send { to: ChatName::User(user(peer)?) },
            ["g", name, "send"] => Self::Send { to: ChatName::Group(group(name)?) },
            ["u", peer, "typing"] => Self::Typing { to: ChatName::User(user(peer)?) },
            ["g", name, "typing"] => Self::Typing { to: ChatName::Group(group(name)?) },
            ["do", verb] => Self::Do(Verb::parse(verb).ok_or(TopicError::UnknownVerb)?),
            ["u", me, "in"] => Self::Inbox { user: user(me)? },
            ["u", me, "g", name, "in"] => Self::MirroredInbox { user: user(me)?, group: group(name)? },
            ["g", name, "in"] => Self::GroupLog { group: group(name)? },
            ["u", me, "d", device, "reply"] => {
                Self::Reply { user: user(me)?, device: DeviceId::parse(device)? }
            }
            ["u", me, "receipts", "u", peer] => {
                Self::Receipts { user: user(me)?, chat: ChatName::User(user(peer)?) }
            }
            ["u", me, "receipts", "g", name] => {
                Self::Receipts { user: user(me)?, chat: ChatName::Group(group(name)?) }
            }
            ["u", me, "typing", "u", peer] => Self::TypingUser { user: user(me)?, peer: user(peer)? },
            ["u", me, "typing", "g", name, member] => {
                Self::TypingMember { user: user(me)?, group: group(name)?, member: user(member)? }
            }
            ["u", me, "presence", contact] => Self::Presence { user: user(me)?, contact: user(contact)? },
            ["u", name, "profile"] => Self::Profile { user: user(name)? },
            ["g", name, "info"] => Self::GroupInfo { group: group(name)? },
            _ => return Err(TopicError::NoRow),
        })
    }

    /// Which row of the table it matches.
    pub fn kind(&self) -> RowKind {
        match self {
            Self::Send { to: ChatName::User(_) } => RowKind::UserSend,
            Self::Send { to: ChatName::Group(_) } => RowKind::GroupSend,
            Self::Typing { to: ChatName::User(_) } => RowKind::UserTyping,
            Self::Typing { to: ChatName::Group(_) } => RowKind::GroupTyping,
            Self::Do(_) => RowKind::Do,
            Self::Inbox { .. } => RowKind::Inbox,
            Self::MirroredInbox { .. } => RowKind::MirroredInbox,
            Self::GroupLog { .. } => RowKind::GroupLog,
            Self::Reply { .. } => RowKind::Reply,
            Self::Receipts { chat: ChatName::User(_), .. } => RowKind::UserReceipts,
            Self::Receipts { chat: ChatName::Group(_), .. } => RowKind::GroupReceipts,
            Self::TypingUser { .. } => RowKind::TypingUser,
            Self::TypingMember { .. } => RowKind::TypingMember,
            Self::Presence { .. } => RowKind::Presence,
            Self::Profile { .. } => RowKind::Profile,
            Self::GroupInfo { .. } => RowKind::GroupInfo,
            Self::Sys(_) => RowKind::Sys,
        }
    }

    /// Its row of the table.
    pub fn row(&self) -> &'static Row {
        self.kind().row()
    }

    /// What is promised for it.
    pub fn class(&self) -> Class {
        self.row().class
    }

    /// Whether clients publish to it or subscribe to it.
    pub fn direction(&self) -> Direction {
        self.row().direction
    }

    /// Whether this version serves it.
    pub fn built(&self) -> bool {
        self.row().built
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Send { to } => write!(f, "{to}/send"),
            Self::Typing { to } => write!(f, "{to}/typing"),
            Self::Do(verb) => write!(f, "do/{}", verb.name()),
            Self::Inbox { user } => write!(f, "u/{user}/in"),
            Self::MirroredInbox { user, group } => write!(f, "u/{user}/g/{group}/in"),
            Self::GroupLog { group } => write!(f, "g/{group}/in"),
            Self::Reply { user, device } => write!(f, "u/{user}/d/{device}/reply"),
            Self::Receipts { user, chat } => write!(f, "u/{user}/receipts/{chat}"),
            Self::TypingUser { user, peer } => write!(f, "u/{user}/typing/u/{peer}"),
            Self::TypingMember { user, group, member } => write!(f, "u/{user}/typing/g/{group}/{member}"),
            Self::Presence { user, contact } => write!(f, "u/{user}/presence/{contact}"),
            Self::Profile { user } => write!(f, "u/{user}/profile"),
            Self::GroupInfo { group } => write!(f, "g/{group}/info"),
            Self::Sys(rest) => write!(f, "$SYS/{rest}"),
        }
    }
}
