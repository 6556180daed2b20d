//! What is answered to a command.

use chasqui_proto::{Refusal, Seq};
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
            Outcome::Done | Outcome::Accepted { .. } | Outcome::Attached { .. } | Outcome::Heads { .. } => {
                true
            }
            Outcome::Refused { told, .. } => *told == Told::ByEntry,
            Outcome::Failed(_) => false,
        }
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
