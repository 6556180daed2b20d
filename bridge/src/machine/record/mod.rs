//! What the machine remembers, one record per thing, each fetched on its own by its [`Key`].
//!
//! A thing that was never written is its record's default: a user who does not exist, a conversation without
//! messages, an empty ring, a receipt without marks. To add a kind: one file here with `encode`, `decode` and
//! `weight`, one line in [`Key`], one method in [`View`](super::View) and [`Records`](super::Records), and
//! its place in the sequencer's working set.

mod chat;
mod conversation;
mod fate;
mod group;
mod membership;
mod receipt;
pub(crate) mod report;
mod ring;
mod shade;
mod tie;
mod user;

use chasqui_proto::{ChatName, ConversationId, DeviceId, GroupId, Seq, UserId};
pub use chat::Chat;
#[cfg(test)]
pub(crate) use chat::tests::arbitrary as arbitrary_chat;
pub use conversation::Conversation;
#[cfg(test)]
pub(crate) use fate::tests::arbitrary as arbitrary_fate;
pub use fate::{Edition, Fate};
#[cfg(test)]
pub(crate) use group::tests::arbitrary as arbitrary_group;
pub use group::{Group, Member, Settings};
#[cfg(test)]
pub(crate) use membership::tests::arbitrary as arbitrary_membership;
pub use membership::{Membership, Stay};
pub use receipt::{Counts, Mark, MemberMarks, Members, Receipt};
pub use report::{Report, ReportId};
pub use ring::{Ring, RingItem};
pub use shade::Shade;
#[cfg(test)]
pub(crate) use shade::tests::arbitrary as arbitrary_shade;
pub use tie::Tie;
#[cfg(test)]
pub(crate) use tie::tests::arbitrary as arbitrary_tie;
pub use user::{Audience, Device, LostDevice, User};

/// Names a record.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Key {
    /// A [`User`].
    User(UserId),
    /// A [`Conversation`].
    Conversation(ConversationId),
    /// The [`Ring`] of a user's device.
    Ring(UserId, DeviceId),
    /// A [`Group`].
    Group(GroupId),
    /// The [`Membership`] of a user in a group.
    Membership(GroupId, UserId),
    /// The [`Fate`] of a message.
    Fate(ConversationId, Seq),
    /// The [`Chat`] that `owner` keeps about the conversation they call `chat`.
    Chat {
        /// Who keeps it.
        owner: UserId,
        /// The conversation, as the owner names it.
        chat: ChatName,
    },
    /// The [`Tie`] of the first user, its owner, to the second.
    Tie(UserId, UserId),
    /// The [`Receipt`] that `owner` sees for the chat they call `chat`.
    Receipt {
        /// Whose messages it is about.
        owner: UserId,
        /// The chat, as the owner names it.
        chat: ChatName,
    },
}

/// A record of any kind, as it comes from the store.
#[derive(Debug, Clone, PartialEq)]
pub enum Record {
    /// See [`User`].
    User(User),
    /// See [`Conversation`].
    Conversation(Conversation),
    /// See [`Ring`].
    Ring(Ring),
    /// See [`Group`].
    Group(Group),
    /// See [`Membership`].
    Membership(Membership),
    /// See [`Fate`].
    Fate(Fate),
    /// See [`Chat`].
    Chat(Chat),
    /// See [`Tie`].
    Tie(Tie),
    /// See [`Receipt`].
    Receipt(Receipt),
}
