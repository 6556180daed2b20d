//! What whoever shows users to each other has to know as soon as it holds.

use crate::machine::Change;
use crate::machine::record::Audience;
use chasqui_proto::UserId;

/// Something that decides who sees whom, and holds from a batch on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// Who sees whether a user is there.
    Audience {
        /// The user.
        user: UserId,
        /// Who sees it.
        to: Audience,
    },
    /// What somebody is to a user.
    Tie {
        /// The user.
        owner: UserId,
        /// The other.
        other: UserId,
        /// On the contact list of the owner.
        contact: bool,
        /// On the block list of the owner.
        blocked: bool,
    },
    /// There is no such user any more; who comes under the name is somebody else.
    Removed {
        /// The name.
        user: UserId,
    },
}

impl Notice {
    /// What a change says about it, if anything.
    pub(super) fn of(change: &Change) -> Option<Notice> {
        match change {
            Change::ShowPresence { user, to } => Some(Notice::Audience { user: user.clone(), to: *to }),
            Change::PutTie { owner, other, to, .. } => Some(Notice::Tie {
                owner: owner.clone(),
                other: other.clone(),
                contact: to.contact,
                blocked: to.blocked,
            }),
            Change::RemoveUser { user } => Some(Notice::Removed { user: user.clone() }),
            _ => None,
        }
    }
}
