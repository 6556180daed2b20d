//! The key-value store below the overlay: a view of the commit log, written behind in sorted chunks.
//!
//! [`KeyValue`] is all that the rest of the crate knows of it. Two implementations pass the same tests (`kv/suite.rs`): RocksDB
//! ([`rocks`]) and a twin in memory whose power can be cut ([`ram`]).
//!
//! **Invariants.** A chunk is written whole or not at all, together with the log position it brings the store to. After a
//! power cut the store stands at the end of some chunk that was written, at or behind the last flush. After the first
//! failed write nothing more is written.

pub mod ram;
pub mod rocks;
#[cfg(test)]
mod suite;

use crate::{Position, key::Key, record::RecordError};
use bytes::Bytes;
use std::{ops::ControlFlow, path::Path};
use thiserror::Error;

/// Version of the layout of keys and values in the store.
pub const FORMAT_VERSION: u32 = 1;

/// A sorted map of keys to values, durable on flush.
///
/// A key's first byte tells its kind and so its column; a range never spans two columns.
pub trait KeyValue: Send + Sync + 'static {
    /// The value of `key`.
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, KvError>;

    /// The last key in `from..to`, or a later one there that was deleted with a range: what is deleted that way costs nothing to find, and
    /// to step over much of it costs as much as there is.
    fn last_key(&self, from: &[u8], to: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        let mut last = None;
        self.scan(from, to, Direction::Backward, &mut |key, _| {
            last = Some(key.to_vec());
            std::ops::ControlFlow::Break(())
        })?;
        Ok(last)
    }

    /// Shows `visit` the keys in `from..to` and their values, in order, until it breaks.
    fn scan(
        &self,
        from: &[u8],
        to: &[u8],
        direction: Direction,
        visit: &mut Visit<'_>,
    ) -> Result<(), KvError>;

    /// Writes a chunk that brings the store to log position `applied`. Visible at once, durable after a flush.
    fn write(&self, chunk: &Chunk, applied: Position) -> Result<(), KvError>;

    /// Makes everything written durable.
    fn flush(&self) -> Result<(), KvError>;

    /// The log position the store stands for: everything before it is in the store, nothing behind it is.
    fn applied(&self) -> Position;

    /// The format version the store was last written in; `None` if it was never written.
    fn format_version(&self) -> Option<u32>;

    /// Writes a copy of everything that was written into `dir`, which must not exist. The store stays in use.
    fn checkpoint(&self, dir: &Path) -> Result<(), KvError>;
}

/// Takes a key and its value, and says whether it wants more.
pub type Visit<'a> = dyn FnMut(&[u8], &[u8]) -> ControlFlow<()> + 'a;

/// Which way a scan goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Smallest key first.
    Forward,
    /// Largest key first.
    Backward,
}

/// Sorted changes that go down together. A key occurs once; deletions of ranges come before what is put in them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chunk {
    /// In the order of their (first) keys.
    pub ops: Vec<ChunkOp>,
}

/// One change of a [`Chunk`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChunkOp {
    /// Sets a value.
    Put {
        /// What it is set for.
        key: Key,
        /// The bare value: the store adds its envelope.
        value: Bytes,
    },
    /// Removes a value, whether or not it is there.
    Delete {
        /// Whose value goes.
        key: Key,
    },
    /// Removes everything in `from..to`.
    DeleteRange {
        /// The first key that goes.
        from: Key,
        /// The first key behind that stays.
        to: Key,
    },
}

/// What goes wrong with the key-value store.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum KvError {
    /// The disk has no room.
    #[error(
        "the disk is full: the state store cannot {doing}; free some space and start again, nothing acknowledged is lost"
    )]
    DiskFull {
        /// What was to be done.
        doing: &'static str,
    },
    /// Another process has the store open.
    #[error(
        "the state store in {dir} is in use by another process; stop it first, or use another data folder"
    )]
    InUse {
        /// The folder.
        dir: String,
    },
    /// The store could not do what was asked.
    #[error("the state store cannot {doing}: {why}")]
    Failed {
        /// What was to be done.
        doing: &'static str,
        /// What the store says.
        why: String,
    },
    /// A value is there but must not be used.
    #[error(transparent)]
    Record(#[from] RecordError),
}
