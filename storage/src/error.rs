//! Why a store was not opened or copied, as sentences for the operator.

use crate::{
    commit_log::{self, LogError},
    kv::KvError,
    op::OpError,
};
use std::io;
use thiserror::Error;

/// Why a store was not opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error("the data folder {dir} is in use by another process; stop it first, or use another folder")]
    InUse {
        /// The folder.
        dir: String,
    },
    /// The folder cannot be used.
    #[error("the data folder {dir} cannot be {what}: {source}")]
    Folder {
        /// The folder.
        dir: String,
        /// A participle.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// A newer version wrote the state.
    #[error(
        "the state store was written in format {found} by a newer version of this program, which reads up to format {known}: run that version"
    )]
    NewerFormat {
        /// The format of the store.
        found: u32,
        /// The newest that is known.
        known: u32,
    },
    /// The commit log is not as it should be.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The key-value store is not as it should be.
    #[error(transparent)]
    State(#[from] KvError),
    /// The commit log holds what this version cannot apply.
    #[error("the commit log cannot be replayed at position {position}: {error}")]
    Replay {
        /// Where the payload ends.
        position: commit_log::Position,
        /// What is wrong with it.
        error: OpError,
    },
}

/// Why replay stopped.
#[derive(Debug, Error)]
pub(crate) enum ReplayError {
    #[error(transparent)]
    Op(#[from] OpError),
    #[error(transparent)]
    State(#[from] KvError),
}

impl From<commit_log::OpenError<ReplayError>> for OpenError {
    fn from(error: commit_log::OpenError<ReplayError>) -> OpenError {
        match error {
            commit_log::OpenError::Log(error) => OpenError::Log(error),
            commit_log::OpenError::Replay { error: ReplayError::State(error), .. } => OpenError::State(error),
            commit_log::OpenError::Replay { error: ReplayError::Op(error), position } => {
                OpenError::Replay { position, error }
            }
        }
    }
}

/// Why a copy of a store was not made.
#[derive(Debug, Error)]
pub enum CheckpointError {
    /// The store takes no more writes.
    #[error(transparent)]
    Poisoned(#[from] commit_log::Poisoned),
    /// The folder for the copy is there already.
    #[error("{dir} exists already; a copy needs a folder of its own")]
    Exists {
        /// The folder.
        dir: String,
    },
    /// The folder for the copy cannot be made.
    #[error("the folder {dir} for the copy cannot be made: {source}")]
    Folder {
        /// The folder.
        dir: String,
        /// What the system said.
        source: io::Error,
    },
    /// The state could not be copied.
    #[error(transparent)]
    State(#[from] KvError),
    /// The copy's log could not be made.
    #[error(transparent)]
    Log(#[from] LogError),
}
