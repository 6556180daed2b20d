//! The settings of a store.

use crate::commit_log::{LogOptions, QueueLimits};
use std::time::Duration;

/// Settings of a [`crate::Storage`]. All bounds; the defaults suit a machine with a gigabyte of memory or more.
#[derive(Debug, Clone)]
pub struct Options {
    /// Size at which a layer of the overlay goes down, in bytes of memory or of payloads. There are up to two layers, so up
    /// to twice this is held, and up to twice this is replayed at start.
    pub overlay_bytes: usize,
    /// Age at which a layer of the overlay goes down.
    pub overlay_age: Duration,
    /// Size of a segment file of the commit log, in bytes.
    pub segment_bytes: u64,
    /// Memory for blocks read from the key-value store, in bytes.
    pub block_cache_bytes: usize,
    /// Files the key-value store keeps open at most.
    pub max_open_files: u16,
    /// What may wait for the commit log.
    pub queue: QueueLimits,
    /// The random key of a commit log that is created now; see [`LogOptions::key`].
    pub log_key: Option<[u8; 16]>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            overlay_bytes: 64 << 20,
            overlay_age: Duration::from_secs(5),
            segment_bytes: 64 << 20,
            block_cache_bytes: 64 << 20,
            max_open_files: 512,
            queue: QueueLimits::default(),
            log_key: None,
        }
    }
}

impl Options {
    pub(crate) fn log(&self) -> LogOptions {
        LogOptions { segment_bytes: self.segment_bytes, key: self.log_key }
    }
}
