//! The sequencer: the one owner of all heads. It puts commands in order, has the machine decide on them, and
//! turns what changes into batches for the commit log.
//!
//! ```text
//! submit ┐                 ┌ decide → apply to the working set → operations ┐
//! lazy   ┼→ queue → core ──┤                                                ├→ storage.submit → Sink::committed
//! ops    ┘            ↑    └ a record is not at hand: parked                ┘
//!                     └────────── fetch threads ←┘
//! ```
//!
//! [`Core`] is synchronous and deterministic; [`Sequencer`] is a thread around it. Neither reads from disk.
//!
//! **Invariants.**
//! - Commands of one origin are decided, and answered, in the order they came. One that waits for a record
//!   holds up the later ones of its origin and nobody else's.
//! - An answer is given after the batch that it rests on is durable: what changes nothing (a retry, a
//!   refusal, a question) has its turn in the same order. So a retry may be decided on what its first attempt
//!   changed before that is durable.
//! - A record that changed is at hand until the batch that holds the change is durable, and each record is
//!   fetched at most once at a time. So what a fetch reads is the newest: while a record is not at hand,
//!   nothing can change it (`set.rs`).
//! - What a connection sent behind a command that could not be decided is not decided either (`broken.rs`).
//! - After a failed commit nothing is answered but that.

mod broken;
mod core;
mod driver;
pub mod fetch;
mod guess;
pub mod names;
mod notice;
mod ops;
mod parked;
mod queue;
mod set;
mod table;
mod tails;
#[cfg(test)]
mod testing;

pub use self::core::{Core, Release, Step};
use crate::machine::{Command, Outcome};
pub use broken::CONNECTIONS_END;
use bytes::Bytes;
use chasqui_proto::{ChatName, GroupId, UserId};
use chasqui_storage::{Batch, Poisoned};
pub use driver::{Options, Sequencer, Stats};
pub use fetch::{FetchError, read};
pub use notice::Notice;

/// A command, and what is to be committed with it.
#[derive(Debug, Clone)]
pub struct Request {
    /// Whose commands are kept in order: the connection's number. 0 asks for no order.
    pub origin: u64,
    /// Comes back with the answer.
    pub token: u64,
    /// What is asked.
    pub command: Command,
    /// Effects on the session that are true once the command is taken, whatever its outcome: they are in its
    /// batch.
    pub extra: Option<Batch>,
    /// Effects that are true only if its sender is told a success code.
    pub on_success: Option<Batch>,
}

/// Called once when what it stands for is durable, or never will be.
pub type Done = Box<dyn FnOnce(Result<(), Poisoned>) + Send>;

/// Operations that need no decision: what belongs to sessions and accounts.
pub struct Ops {
    /// Behind whose commands they come: the connection's number. 0 asks for no order.
    pub origin: u64,
    /// The operations.
    pub fill: Batch,
    /// Whom to tell. Told in order, and after the sink.
    pub done: Option<Done>,
}

/// Who takes what the sequencer has done. Called on the commit thread, in the order of the batches: it must
/// be quick and must not wait.
pub trait Sink: Send + Sync + 'static {
    /// A batch is durable, and readers see it.
    fn committed(&self, committed: Committed);

    /// These will not be answered, for the store has failed; nor will anything else be. May be called from
    /// any thread.
    fn poisoned(&self, unanswered: Vec<Unanswered>, why: &Poisoned);
}

/// Where work is handed in. [`Sequencer`] does it on a thread of its own; who drives a [`Core`] step by step has another.
pub trait Intake: Send + Sync + 'static {
    /// Hands in requests of one connection, in order. Each is answered once. Waits while too much waits
    /// already.
    fn submit(&self, requests: Vec<Request>);

    /// Hands in a request that rides on the next batch, and waits for one at most
    /// [`CURSOR_DELAY_MS`](chasqui_proto::limits::CURSOR_DELAY_MS): a cursor that moved.
    fn lazy(&self, request: Request);

    /// Hands in operations that need no decision.
    fn ops(&self, ops: Ops);

    /// The same, to ride on the next batch as [`Intake::lazy`] does.
    fn lazy_ops(&self, ops: Ops);

    /// Whether so much waits that connections should leave what comes in their sockets for a while.
    fn is_crowded(&self) -> bool;
}

/// What is true since a batch is durable.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Committed {
    /// The answers, in the order in which they were decided.
    pub answers: Vec<Answer>,
    /// What is new for readers.
    pub tails: Vec<NewItems>,
    /// What holds from now on for who shows users to each other.
    pub notices: Vec<Notice>,
}

/// The answer to a [`Request`].
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// As in the request.
    pub origin: u64,
    /// As in the request.
    pub token: u64,
    /// What became of it.
    pub outcome: Outcome,
}

/// A [`Request`] without an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unanswered {
    /// As in the request.
    pub origin: u64,
    /// As in the request.
    pub token: u64,
}

/// Something that is read with a cursor.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Source {
    /// A user's inbox: the log [`names::inbox`].
    Inbox(UserId),
    /// A user's receipts: the group of states [`names::receipts`].
    Receipts(UserId),
    /// What is said in a group: the log [`names::conversation`].
    Group(GroupId),
}

/// What is new in a source, in order of position and, in a log, without a gap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewItems {
    /// Where.
    pub source: Source,
    /// What.
    pub items: Vec<NewItem>,
}

/// One new item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewItem {
    /// Its position in the source.
    pub position: u64,
    /// Of a receipt: the chat it is about, as the source's owner names it.
    pub chat: Option<ChatName>,
    /// The value as stored.
    pub stored: Bytes,
}
