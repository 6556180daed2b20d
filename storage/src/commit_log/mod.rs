//! The commit log: the truth that everything else in the store is a view of.
//!
//! An endless row of bytes, kept in segment files, to which batches are appended. A batch is durable as a whole or not
//! there at all; [`CommitLog::append`] returns when it is durable, after one write and one flush.
//!
//! # Invariants
//! - **Acknowledged means flushed.** No position is returned before everything below it is durable, the names of the
//!   files included. What [`CommitLog::open`] replays is durable before it is handed out.
//! - **At most one batch is in doubt.** A batch is written only after the one before it was flushed, into a file whose
//!   header and name are durable. So a crash can leave at most one torn record, at the very end, and the end is where
//!   the first record does not check out. A record that does check out *behind* such a place proves that the log has
//!   been further: that is damage, and it is reported, never skipped and never cut off.
//! - **Bytes count only where they were written.** Checksums cover the position and a random key of the log, so what
//!   is left over in a recycled file, comes from another log, or was made up by a client inside a payload, is never
//!   taken for a record.
//! - **The first failure is final.** After a failed write or flush nobody knows what is on the medium; the log takes
//!   nothing more ([`Poisoned`]), and the next start finds out.
//!
//! # Format, version 1 (integers are little-endian)
//! A segment is a file `{start as 16 hex digits}.log`: a header of one sector, then records from `start` on. Positions
//! run on without a gap from one segment to the next; the room at the end of a segment that the next batch did not fit
//! in has none.
//!
//! | header | | record | |
//! |---|---|---|---|
//! | 0 | magic `CHASQLOG` | 0 | length of the body, u32 |
//! | 8 | format version, u32 | 4 | kind, u8: 1 = batch |
//! | 12 | zero | 5 | version of the kind, u8 |
//! | 16 | key of the log, 16 bytes | 6 | zero, u16 |
//! | 32 | start, u64 | 8 | CRC-32C of second key half, position, bytes 0–7, body |
//! | 40 | zeros | 12 | CRC-32C of first key half, position, bytes 0–11 |
//! | 60 | CRC-32C of bytes 0–59 | 16 | body, then zeros up to a multiple of 8 |
//!
//! The body of a batch is its payloads, each behind its length (u32). A batch never spans two segments: one that is
//! larger than a segment gets a segment as long as it needs.
//!
//! # Files
//! Space is reserved and written with zeros before it is used, because a flush then has no metadata to write: on ext4
//! (2 cores, a virtual disk) append + `fdatasync` take 48–57 µs for 4 KiB and 72–87 µs for 64 KiB, against 63–79 µs and
//! 115–127 µs in space that was only reserved. Zeroing 64 MiB costs 40–60 ms; [`CommitLog::prepare`] does it in steps
//! of a fraction of a millisecond between batches, and a released segment is reused without any. The next segment
//! waits under the name `spare`, and a released one that comes back meanwhile as `spare-2`, so that a log in a hurry is not written twice; the
//! header is durable before the file gets the name of a segment.
//!
//! Segments change under their name when they are reused: a backup must copy them, not link them.

mod append;
mod error;
mod group;
mod open;
mod options;
mod position;
mod queue;
mod record;
mod scan;
mod segment;
mod spare;

pub use append::CommitLog;
pub use error::{AppendError, LogError, OpenError, Poisoned};
pub use group::{Committer, GroupCommit};
pub(crate) use open::refuse_newer;
pub use options::{LogOptions, QueueLimits};
pub use position::Position;
pub use queue::{Committed, Submission};
pub use record::{MAX_BATCH_BYTES, MAX_PAYLOAD_BYTES};
