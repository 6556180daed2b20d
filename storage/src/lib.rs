//! Durable storage for logs, records, rings, states and due times. It knows neither who sends what nor over which protocol.
//!
//! A change is a [`Batch`]; it is durable when the commit log has it, and visible to a [`Reader`] before whoever submitted it
//! is told. The key-value store below is written behind, in sorted chunks, and never on the way of a commit:
//!
//! ```text
//! submit → commit log (one write, one flush) → overlay (two layers in memory) ┄→ key-value store
//!                                                   ↑ Reader looks here first, then ↑ here
//! ```
//!
//! **Invariants.** The log is the truth and everything else a view of it: state changes only by applying a committed batch,
//! by the same function when it is committed and when it is replayed. After the first failed write nothing more is
//! accepted. Memory is bounded: two layers of the overlay, one queue, one cache.
//!
//! ```
//! # use std::sync::Arc;
//! # use chasqui_storage::{Batch, LogId, Options, Storage, clock::SystemClock, disk::RamDisk, kv::ram::RamKv};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // In a folder: Storage::open(path, Options::default())
//! let (disk, kv) = (Arc::new(RamDisk::new()), Arc::new(RamKv::new()));
//! let storage = Storage::open_with(disk, kv, Arc::new(SystemClock), Options::default())?;
//! let inbox = LogId::new("in/alice");
//! let mut batch = Batch::new();
//! batch.append(&inbox, 1, b"hello").ring_push(b"bob/phone", 256, b"message 1");
//! storage.commit_and_wait(batch)?;
//! let (seq, entry) = &storage.reader().read_log(&inbox, 1, 100, 64 << 10)?[0];
//! assert_eq!((*seq, &entry[..]), (1, &b"hello"[..]));
//! storage.close()?;
//! # Ok(())
//! # }
//! ```
//!
//! | room | what for |
//! |---|---|
//! | [`disk`], [`clock`] | the world outside, as traits, each with a twin for tests |
//! | [`commit_log`] | segments, group commit |
//! | [`op`] | changes as bytes |
//! | [`key`] | how things are named |
//! | `overlay` | committed changes on their way down |
//! | [`kv`] | the key-value store: RocksDB, and a twin in memory |
//! | `reader` | all of it merged |
//! | [`Core`], [`Storage`] | the whole, without threads and with |

pub mod clock;
pub mod commit_log;
mod core;
pub mod disk;
mod error;
mod folder;
pub mod key;
pub mod kv;
#[doc(hidden)]
pub mod mutation;
pub mod op;
mod options;
mod overlay;
mod pace;
mod reader;
mod record;
mod store;
mod varint;

pub use commit_log::{Committed, Poisoned, Position, QueueLimits};
pub use core::Core;
pub use error::{CheckpointError, OpenError};
pub use key::{LogId, RecordKey};
pub use kv::KvError;
pub use op::Batch;
pub use options::Options;
pub use reader::{Due, Reader, Session, StateChange};
pub use record::RecordError;
pub use store::{Stats, Storage};
