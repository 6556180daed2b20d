//! Names of people, devices, groups, conversations and messages.
//!
//! Parsing is the only validation: a value of one of these types is well-formed, wherever it came from. Ids up to 38
//! letters (a UUID has 36) are kept inline and cost no allocation; longer ones are shared. All of them are keys of
//! maps on the hot path, so they compare and hash as the text they stand for and can be looked up by `&str`.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::Arc;

use thiserror::Error;

use crate::limits::{CLIENT_MSG_ID_MAX_BYTES, ID_MAX_BYTES};

/// Why a text is not an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum IdError {
    /// There is nothing in it.
    #[error("an id has at least one letter")]
    Empty,
    /// More than [`ID_MAX_BYTES`] letters.
    #[error("an id has at most {ID_MAX_BYTES} letters, this one has {0}")]
    TooLong(usize),
    /// A character outside `[A-Za-z0-9_-]`.
    #[error("an id is made of A-Z, a-z, 0-9, _ and -, and not of {0:?}")]
    Character(char),
}

/// Whether `text` is an id of a user, device or group.
///
/// # Errors
/// Says which rule it breaks.
pub fn check_id(text: &str) -> Result<(), IdError> {
    match text.bytes().position(|b| !(b.is_ascii_alphanumeric() || b == b'_' || b == b'-')) {
        Some(at) => Err(IdError::Character(text[at..].chars().next().unwrap_or_default())),
        None if text.is_empty() => Err(IdError::Empty),
        None if text.len() > ID_MAX_BYTES => Err(IdError::TooLong(text.len())),
        None => Ok(()),
    }
}

const INLINE_BYTES: usize = 38;

/// The text of an id: short ones in place, long ones shared.
#[derive(Clone)]
enum Id {
    Inline { len: u8, buf: [u8; INLINE_BYTES] },
    Shared(Arc<str>),
}

impl Id {
    fn parse(text: &str) -> Result<Self, IdError> {
        check_id(text)?;
        if text.len() > INLINE_BYTES {
            return Ok(Self::Shared(text.into()));
        }
        let mut buf = [0; INLINE_BYTES];
        buf[..text.len()].copy_from_slice(text.as_bytes());
        Ok(Self::Inline { len: text.len() as u8, buf })
    }

    fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Inline { len, buf } => &buf[..usize::from(*len)],
            Self::Shared(text) => text.as_bytes(),
        }
    }

    fn as_str(&self) -> &str {
        match self {
            Self::Inline { len, buf } => std::str::from_utf8(&buf[..usize::from(*len)])
                .expect("an id is checked to be ASCII when parsed"),
            Self::Shared(text) => text,
        }
    }
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        ///
        /// `[A-Za-z0-9_-]{1,64}`, case-sensitive.
        #[derive(Clone)]
        pub struct $name(Id);

        impl $name {
            /// Parses an id.
            ///
            /// # Errors
            /// Says which rule `text` breaks.
            pub fn parse(text: &str) -> Result<Self, IdError> {
                Id::parse(text).map(Self)
            }

            /// The id as text.
            pub fn as_str(&self) -> &str {
                self.0.as_str()
            }

            /// The id as bytes: ASCII, without NUL or `/`.
            pub fn as_bytes(&self) -> &[u8] {
                self.0.as_bytes()
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::parse(text)
            }
        }

        impl TryFrom<&str> for $name {
            type Error = IdError;
            fn try_from(text: &str) -> Result<Self, IdError> {
                Self::parse(text)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                self.as_str()
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                self.as_str()
            }
        }

        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                self.as_bytes() == other.as_bytes()
            }
        }

        impl Eq for $name {}

        impl PartialEq<str> for $name {
            fn eq(&self, other: &str) -> bool {
                self.as_bytes() == other.as_bytes()
            }
        }

        impl PartialEq<&str> for $name {
            fn eq(&self, other: &&str) -> bool {
                self.as_bytes() == other.as_bytes()
            }
        }

        impl PartialOrd for $name {
            fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                Some(self.cmp(other))
            }
        }

        impl Ord for $name {
            fn cmp(&self, other: &Self) -> Ordering {
                self.as_bytes().cmp(other.as_bytes())
            }
        }

        impl Hash for $name {
            /// Hashes as the text does: `Borrow<str>` asks for it.
            fn hash<H: Hasher>(&self, state: &mut H) {
                self.as_str().hash(state);
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

id! {
    /// A person or program that sends and receives: the MQTT user name.
    UserId
}
id! {
    /// A device of a user: the MQTT client id. Unique within its user only.
    DeviceId
}
id! {
    /// A group.
    GroupId
}

/// A message's number in its conversation, from 1 on. `Seq::NONE` stands before the first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seq(pub u64);

impl Seq {
    /// Before the first message.
    pub const NONE: Self = Self(0);

    /// The number after this one.
    ///
    /// # Panics
    /// After 2⁶⁴ − 1 messages in one conversation, which at a million a second takes 584,000 years.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.checked_add(1).expect("a conversation has fewer than 2^64 messages"))
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why bytes are not a `client_msg_id`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ClientMsgIdError {
    /// No bytes: the message has no id, which is not an id of no bytes.
    #[error("a client_msg_id has at least one byte; leave the field out to have none")]
    Empty,
    /// More than [`CLIENT_MSG_ID_MAX_BYTES`].
    #[error("a client_msg_id has at most {CLIENT_MSG_ID_MAX_BYTES} bytes, this one has {0}")]
    TooLong(usize),
}

/// A sending device's own id for a message: 1 to 16 bytes that mean nothing to the server.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientMsgId {
    // Zero behind `len`, so that the derived comparisons are those of the bytes (with the length last).
    buf: [u8; CLIENT_MSG_ID_MAX_BYTES],
    len: u8,
}

impl ClientMsgId {
    /// Takes an id from the wire or from storage.
    ///
    /// # Errors
    /// If `bytes` is empty or longer than [`CLIENT_MSG_ID_MAX_BYTES`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ClientMsgIdError> {
        if bytes.is_empty() {
            return Err(ClientMsgIdError::Empty);
        }
        let mut buf = [0; CLIENT_MSG_ID_MAX_BYTES];
        buf.get_mut(..bytes.len()).ok_or(ClientMsgIdError::TooLong(bytes.len()))?.copy_from_slice(bytes);
        Ok(Self { buf, len: bytes.len() as u8 })
    }

    /// The id's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.buf[..usize::from(self.len)]
    }
}

impl fmt::Debug for ClientMsgId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_bytes().iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

/// Why a text names no conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ConversationError {
    /// Neither `u/{user}` nor `g/{group}`, or, for the canonical name, neither `d/{user}/{user}` nor `g/{group}`.
    #[error("a conversation is named u/ and a user, or g/ and a group")]
    Shape,
    /// The users of a canonical name stand in the wrong order.
    #[error("the users of a direct conversation's canonical name stand in byte order")]
    Order,
    /// One of its ids is none.
    #[error(transparent)]
    Id(#[from] IdError),
}

/// A conversation as one of its readers names it: `u/bob` for a direct chat with bob, `g/x` for a group.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ChatName {
    /// The direct chat with this user.
    User(UserId),
    /// This group.
    Group(GroupId),
}

impl ChatName {
    /// Parses `u/{user}` or `g/{group}`.
    ///
    /// # Errors
    /// Says what is wrong with `text`.
    pub fn parse(text: &str) -> Result<Self, ConversationError> {
        match text.split_once('/') {
            Some(("u", user)) => Ok(Self::User(UserId::parse(user)?)),
            Some(("g", group)) => Ok(Self::Group(GroupId::parse(group)?)),
            _ => Err(ConversationError::Shape),
        }
    }
}

impl FromStr for ChatName {
    type Err = ConversationError;
    fn from_str(text: &str) -> Result<Self, ConversationError> {
        Self::parse(text)
    }
}

impl fmt::Display for ChatName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(user) => write!(f, "u/{user}"),
            Self::Group(group) => write!(f, "g/{group}"),
        }
    }
}

/// A conversation as the server names it: the same for all its readers.
///
/// Its text, `d/{user}/{user}` with the users in byte order or `g/{group}`, is also its form in keys: at most
/// 131 bytes, ASCII, without NUL, so that a NUL behind it ends it and keeps the order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConversationId {
    /// Between two users, or one user's notes to themselves.
    Direct(DirectPair),
    /// A group.
    Group(GroupId),
}

/// The two users of a direct conversation, in byte order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DirectPair {
    low: UserId,
    high: UserId,
}

impl DirectPair {
    /// Both users, in byte order; the same twice for notes to oneself.
    pub fn users(&self) -> (&UserId, &UserId) {
        (&self.low, &self.high)
    }
}

impl ConversationId {
    /// The direct conversation of two users, in whichever order they are given.
    pub fn direct(one: &UserId, other: &UserId) -> Self {
        let (low, high) = if one <= other { (one, other) } else { (other, one) };
        Self::Direct(DirectPair { low: low.clone(), high: high.clone() })
    }

    /// The conversation that `me` calls `name`.
    pub fn named_by(me: &UserId, name: &ChatName) -> Self {
        match name {
            ChatName::User(peer) => Self::direct(me, peer),
            ChatName::Group(group) => Self::Group(group.clone()),
        }
    }

    /// The other side of a direct conversation of `user`; `None` for a group, and for others' conversations.
    pub fn peer_of(&self, user: &UserId) -> Option<&UserId> {
        match self {
            Self::Direct(DirectPair { low, high }) if user == low => Some(high),
            Self::Direct(DirectPair { low, high }) if user == high => Some(low),
            Self::Direct(_) | Self::Group(_) => None,
        }
    }

    /// What `user` calls this conversation; `None` for a direct conversation of others. Of a group it does not ask
    /// whether `user` is a member.
    pub fn name_for(&self, user: &UserId) -> Option<ChatName> {
        match self {
            Self::Direct(_) => self.peer_of(user).cloned().map(ChatName::User),
            Self::Group(group) => Some(ChatName::Group(group.clone())),
        }
    }

    /// Bytes of the canonical text.
    pub fn key_len(&self) -> usize {
        match self {
            Self::Direct(DirectPair { low, high }) => 3 + low.as_bytes().len() + high.as_bytes().len(),
            Self::Group(group) => 2 + group.as_bytes().len(),
        }
    }

    /// Appends the canonical text to a key.
    pub fn write_key(&self, key: &mut Vec<u8>) {
        match self {
            Self::Direct(DirectPair { low, high }) => {
                key.extend_from_slice(b"d/");
                key.extend_from_slice(low.as_bytes());
                key.push(b'/');
                key.extend_from_slice(high.as_bytes());
            }
            Self::Group(group) => {
                key.extend_from_slice(b"g/");
                key.extend_from_slice(group.as_bytes());
            }
        }
    }

    /// Parses the canonical text.
    ///
    /// # Errors
    /// Says what is wrong with `text`; each conversation has exactly one text that parses.
    pub fn parse(text: &str) -> Result<Self, ConversationError> {
        match text.split_once('/') {
            Some(("d", users)) => {
                let (low, high) = users.split_once('/').ok_or(ConversationError::Shape)?;
                let (low, high) = (UserId::parse(low)?, UserId::parse(high)?);
                if low > high {
                    return Err(ConversationError::Order);
                }
                Ok(Self::Direct(DirectPair { low, high }))
            }
            Some(("g", group)) => Ok(Self::Group(GroupId::parse(group)?)),
            _ => Err(ConversationError::Shape),
        }
    }
}

impl FromStr for ConversationId {
    type Err = ConversationError;
    fn from_str(text: &str) -> Result<Self, ConversationError> {
        Self::parse(text)
    }
}

impl fmt::Display for ConversationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Direct(DirectPair { low, high }) => write!(f, "d/{low}/{high}"),
            Self::Group(group) => write!(f, "g/{group}"),
        }
    }
}
