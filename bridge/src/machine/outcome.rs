//! What is answered to a command.

use bytes::Bytes;
use chasqui_proto::{Refusal, Seq, v1};
use prost::Message as _;
use std::sync::Arc;

/// The answer to a command. It is given only after everything that it says, and everything it rests on, is
/// durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is done, or was already.
    Done,
    /// A message has its place.
    Accepted {
        /// Its number in the conversation; of a retry, the number of the first attempt.
        seq: Seq,
        /// Its time in Unix milliseconds; of a retry, that of the first attempt.
        time_ms: u64,
    },
    /// A session is a device now.
    Attached {
        /// Its cursor in the inbox: it reads what is behind.
        start: u64,
        /// Position of the newest inbox entry.
        inbox_head: u64,
        /// Position of the newest receipt.
        state_head: u64,
    },
    /// Where a user's logs end.
    Heads {
        /// Position of the newest inbox entry.
        inbox_head: u64,
        /// Position of the newest receipt.
        state_head: u64,
    },
    /// It is done, or was already, and there is something to say about it.
    Answered(Box<Answered>),
    /// It was refused, and nothing of it happened.
    Refused {
        /// Why.
        refusal: Refusal,
        /// How the sender hears of it.
        told: Told,
    },
    /// The store could not be read, so that nothing was decided; the sentence is for the log. The connection
    /// should end: whoever asked may ask again.
    Failed(Arc<str>),
}

impl Outcome {
    /// Whether the sender is told a success code.
    pub fn is_success_code(&self) -> bool {
        match self {
            Outcome::Done
            | Outcome::Accepted { .. }
            | Outcome::Attached { .. }
            | Outcome::Heads { .. }
            | Outcome::Answered(_) => true,
            Outcome::Refused { told, .. } => *told == Told::ByEntry,
            Outcome::Failed(_) => false,
        }
    }
}

/// What is said about a command that is done, to who asked for a reply.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answered {
    /// The number of what it became in a conversation; [`Seq::NONE`] where it became nothing.
    pub seq: Seq,
    /// A group as it is: an encoded [`Group`](chasqui_proto::v1::Group).
    pub group: Option<Bytes>,
    /// The secret of a group's invite link; empty where there is none.
    pub invite: Option<String>,
}

impl Answered {
    pub(super) fn group(seq: Seq, group: &v1::Group) -> Answered {
        Answered { seq, group: Some(group.encode_to_vec().into()), invite: None }
    }

    pub(super) fn invite(invite: String) -> Answered {
        Answered { invite: Some(invite), ..Answered::default() }
    }
}

impl From<Answered> for Outcome {
    fn from(answered: Answered) -> Outcome {
        Outcome::Answered(Box::new(answered))
    }
}

/// How the sender of a refused command hears of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// The acknowledgement says it.
    ByAck,
    /// An entry in the inbox for the sending device says it; the acknowledgement says no more than that the
    /// command was taken.
    ByEntry,
    /// There is no way to say it: the connection ends instead.
    NoWay,
}
