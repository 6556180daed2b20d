//! What can go wrong with the log, as sentences for the operator.

use std::io::{self, ErrorKind};
use std::sync::Arc;

use thiserror::Error;

use super::Position;

/// The log takes no more writes, because one has failed.
#[derive(Clone, Debug, Error)]
#[error("the commit log takes no more writes, restart when the cause is removed: {why}")]
pub struct Poisoned {
    /// The first failure.
    pub why: Arc<str>,
}

impl Poisoned {
    #[allow(clippy::needless_pass_by_value)] // Errors and sentences alike, borrowed or not.
    pub(crate) fn new(why: impl ToString) -> Self {
        Self { why: why.to_string().into() }
    }
}

/// Why a batch was not appended.
#[derive(Debug, Error)]
pub enum AppendError {
    /// The batch is beyond what a record can hold. The log was not touched and goes on.
    #[error("a batch of {bytes} bytes is more than the commit log takes at once, {limit} bytes")]
    TooLarge {
        /// Its length as a record.
        bytes: u64,
        /// [`MAX_BATCH_BYTES`](super::MAX_BATCH_BYTES).
        limit: u64,
    },
    /// The disk failed now. Whether the batch is there will be known after the next start; the log is poisoned.
    #[error(transparent)]
    Failed(#[from] LogError),
    /// The disk failed earlier.
    #[error(transparent)]
    Poisoned(#[from] Poisoned),
}

/// Why a log was not opened.
#[derive(Debug, Error)]
pub enum OpenError<E> {
    /// The log is not as it should be, or the disk failed.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Whoever replays refused a record.
    #[error("the commit log's record at position {position} cannot be replayed: {error}")]
    Replay {
        /// Where the payload ends.
        position: Position,
        /// What was said.
        error: E,
    },
}

/// What is wrong with the files of the log, or with the disk under them.
#[derive(Debug, Error)]
pub enum LogError {
    /// The disk is full.
    #[error(
        "the disk of the commit log is full (file {file}): free some space and start again; nothing acknowledged is lost"
    )]
    Full {
        /// The file that did not find room.
        file: String,
        /// What the system said.
        source: io::Error,
    },
    /// An operation failed.
    #[error("the commit log cannot {what} {file}: {source}")]
    Disk {
        /// A verb.
        what: &'static str,
        /// The file, or the folder.
        file: String,
        /// What the system said.
        source: io::Error,
    },
    /// Something acknowledged is unreadable.
    #[error(
        "the commit log is damaged in {file} at position {position}, and goes on at {next_valid}: \
         acknowledged data between is lost; restore a backup, or a copy of this file"
    )]
    Damaged {
        /// The file with the damage.
        file: String,
        /// Where the first record begins that does not check out.
        position: Position,
        /// Where the next one begins that does.
        next_valid: Position,
    },
    /// The log ends before the state does.
    #[error(
        "the commit log ends at position {end}, but the state next to it stands for {from}: \
         the end of the log is lost or damaged, or the two do not belong together; restore both from one backup"
    )]
    Behind {
        /// What the state stands for.
        from: Position,
        /// Where the log ends.
        end: Position,
    },
    /// The log begins after the state ends.
    #[error(
        "the commit log begins at position {first}, but the state next to it stands for {from}: \
         segments between are missing, or the two do not belong together; restore both from one backup"
    )]
    Gap {
        /// What the state stands for.
        from: Position,
        /// Where the log begins.
        first: Position,
    },
    /// There is no log, but there is state.
    #[error(
        "there is no commit log, but the state stands for position {from} of one: \
         put the log back, or restore a backup"
    )]
    Missing {
        /// What the state stands for.
        from: Position,
    },
    /// There is a log where one should be created.
    #[error("there is a commit log already ({file}): a new one needs an empty folder")]
    Exists {
        /// One of its files.
        file: String,
    },
    /// A segment's header does not check out.
    #[error("{file} is not a segment of this commit log: {reason}; restore it from a copy")]
    BadSegment {
        /// The file.
        file: String,
        /// What about it.
        reason: &'static str,
    },
    /// A newer version wrote this.
    #[error(
        "{file} was written in format {found} by a newer version of this program, which reads up to format {known}: \
         run that version"
    )]
    NewerFormat {
        /// The file.
        file: String,
        /// Its format, or that of a record in it.
        found: u32,
        /// The newest that is known.
        known: u32,
    },
    /// A newer version, or another program, wrote this.
    #[error(
        "{file} holds a record of unknown kind {kind} at position {position}: run the version that wrote it"
    )]
    UnknownRecord {
        /// The file.
        file: String,
        /// Where the record begins.
        position: Position,
        /// Its kind.
        kind: u8,
    },
}

impl LogError {
    /// The error for a failed `what` on `file`.
    pub(crate) fn disk(what: &'static str, file: &str) -> impl FnOnce(io::Error) -> Self + use<> {
        let file = file.to_owned();
        move |source| match source.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Self::Full { file, source },
            _ => Self::Disk { what, file, source },
        }
    }
}
