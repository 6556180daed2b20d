//! The settings of the commit log and of its queue.

use std::time::Duration;

use crate::disk::SECTOR;

/// Settings of the files.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// The length of a segment file in bytes, header included. Rounded up to whole sectors. May change from one start
    /// to the next. Space is given back in units of this.
    pub segment_bytes: u64,
    /// The random key of a log that is created now; chosen by the process if there is none. A simulation sets it so
    /// that a seed always gives the same bytes.
    pub key: Option<[u8; 16]>,
}

impl LogOptions {
    pub(crate) fn segment_len(&self) -> u64 {
        self.segment_bytes.next_multiple_of(SECTOR).max(2 * SECTOR)
    }
}

impl Default for LogOptions {
    fn default() -> Self {
        Self { segment_bytes: 64 << 20, key: None }
    }
}

/// The bounds of the queue in front of the log.
///
/// At a bound, whoever submits waits until the writer has taken what is there. As much again may be on its way to
/// the disk.
#[derive(Clone, Debug)]
pub struct QueueLimits {
    /// Submissions that wait at most; at least 1, at most 2^24.
    pub max_items: usize,
    /// Bytes of payload from which on the queue counts as full; one payload may go beyond. At most 256 MiB.
    pub max_bytes: usize,
    /// The least time between the beginnings of two batches; a batch begins earlier if the queue is full. When the log
    /// has been idle for that long, the next batch begins at once.
    pub min_interval: Duration,
}

impl Default for QueueLimits {
    fn default() -> Self {
        Self { max_items: 65_536, max_bytes: 32 << 20, min_interval: Duration::from_millis(1) }
    }
}
