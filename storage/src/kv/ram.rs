//! A key-value store in memory with the semantics of one on disk: what was flushed survives a power cut, of what was not any
//! number of the chunks written first may, and faults can be planned. For tests and simulations.

use super::{Chunk, ChunkOp, Direction, FORMAT_VERSION, KeyValue, KvError, Visit};
use crate::{Position, key, record};
use bytes::Bytes;
use parking_lot::Mutex;
use std::{collections::BTreeMap, path::Path, sync::Arc};

/// The store. A clone is another handle on the same one, so that it survives the storage that was opened on it.
#[derive(Debug, Clone, Default)]
pub struct RamKv {
    inner: Arc<Mutex<Inner>>,
    /// Held while a chunk is written.
    gate: Arc<Mutex<()>>,
}

#[derive(Debug, Default)]
struct Inner {
    /// What readers see.
    live: Image,
    /// What a power cut leaves at least.
    durable: Image,
    /// Written and not flushed, oldest first.
    pending: Vec<(Chunk, Position)>,
    faults: Faults,
    counts: RamCounts,
    /// Set by the first failed write or flush: nothing more is written.
    failed: bool,
}

#[derive(Debug, Clone, Default)]
struct Image {
    /// Values in their envelopes.
    values: BTreeMap<Vec<u8>, Bytes>,
    applied: Position,
    format: Option<u32>,
}

#[derive(Debug, Default)]
struct Faults {
    /// Writes that still succeed before one fails.
    writes_left: Option<u64>,
    flushes_left: Option<u64>,
    reads_fail: bool,
}

/// What was done to a [`RamKv`] since it was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RamCounts {
    /// Chunks written.
    pub chunks: u64,
    /// Values put.
    pub puts: u64,
    /// Keys deleted one by one.
    pub deletes: u64,
    /// Ranges deleted.
    pub range_deletes: u64,
    /// Flushes.
    pub flushes: u64,
    /// Keys looked up.
    pub gets: u64,
    /// Scans begun.
    pub scans: u64,
}

impl RamKv {
    /// An empty store.
    pub fn new() -> RamKv {
        RamKv::default()
    }

    /// Cuts the power: of the chunks not flushed, the first few stay, as `seed` has it. Planned faults are forgotten.
    pub fn power_cut(&self, seed: u64) {
        let inner = &mut *self.inner.lock();
        let pending = std::mem::take(&mut inner.pending);
        let kept = usize::try_from(seed % (pending.len() as u64 + 1)).unwrap_or(0);
        for (chunk, applied) in &pending[..kept] {
            inner.durable.write(chunk, *applied);
        }
        inner.live = inner.durable.clone();
        inner.faults = Faults::default();
        inner.failed = false;
    }

    /// Lets `left` more writes succeed; the one behind them, and everything after it, fails.
    pub fn fail_write_after(&self, left: u64) {
        self.inner.lock().faults.writes_left = Some(left);
    }

    /// Lets `left` more flushes succeed; the one behind them, and everything after it, fails.
    pub fn fail_flush_after(&self, left: u64) {
        self.inner.lock().faults.flushes_left = Some(left);
    }

    /// Holds every write of a chunk back until the guard is dropped. Reads go on.
    pub fn hold_writes(&self) -> impl Drop + '_ {
        self.gate.lock()
    }

    /// Makes every read fail, or succeed again.
    pub fn fail_reads(&self, fail: bool) {
        self.inner.lock().faults.reads_fail = fail;
    }

    /// Flips a bit in the stored value of `key`; answers whether there is one.
    pub fn damage(&self, key: &[u8]) -> bool {
        let inner = &mut *self.inner.lock();
        let Some(value) = inner.live.values.get_mut(key) else { return false };
        let mut bytes = value.to_vec();
        if let Some(last) = bytes.last_mut() {
            *last ^= 1;
        }
        *value = bytes.into();
        true
    }

    /// Says that the store was written in format version `version`.
    pub fn set_format_version(&self, version: u32) {
        let inner = &mut *self.inner.lock();
        inner.live.format = Some(version);
        inner.durable.format = Some(version);
    }

    /// What was done so far.
    pub fn counts(&self) -> RamCounts {
        self.inner.lock().counts
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        self.inner.lock().live.values.len()
    }

    /// Whether there is no value.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl KeyValue for RamKv {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, KvError> {
        let inner = &mut *self.inner.lock();
        inner.counts.gets += 1;
        inner.check_reads()?;
        let value = inner.live.values.get(key);
        Ok(value.map(|value| record::open_owned(key, value)).transpose()?)
    }

    fn scan(
        &self,
        from: &[u8],
        to: &[u8],
        direction: Direction,
        visit: &mut Visit<'_>,
    ) -> Result<(), KvError> {
        const PAGE: usize = 64;
        self.inner.lock().counts.scans += 1;
        let (mut from, mut to) = (from.to_vec(), to.to_vec());
        // In pages, so that the visitor runs without the lock.
        while from < to {
            let page: Vec<(Vec<u8>, Bytes)> = {
                let inner = self.inner.lock();
                inner.check_reads()?;
                let range = inner.live.values.range(from.clone()..to.clone());
                let own = |(key, value): (&Vec<u8>, &Bytes)| (key.clone(), value.clone());
                match direction {
                    Direction::Forward => range.take(PAGE).map(own).collect(),
                    Direction::Backward => range.rev().take(PAGE).map(own).collect(),
                }
            };
            for (key, value) in &page {
                if visit(key, record::open(key, value)?).is_break() {
                    return Ok(());
                }
            }
            match page.last() {
                Some((last, _)) if page.len() == PAGE => match direction {
                    Direction::Forward => from = [last, &[0][..]].concat(),
                    Direction::Backward => to.clone_from(last),
                },
                _ => return Ok(()),
            }
        }
        Ok(())
    }

    fn write(&self, chunk: &Chunk, applied: Position) -> Result<(), KvError> {
        let _gate = self.gate.lock();
        let inner = &mut *self.inner.lock();
        inner.check_writes("write")?;
        if spent(&mut inner.faults.writes_left) {
            inner.failed = true;
            return Err(planned("write"));
        }
        inner.live.write(chunk, applied);
        inner.pending.push((chunk.clone(), applied));
        inner.counts.chunks += 1;
        for op in &chunk.ops {
            match op {
                ChunkOp::Put { .. } => inner.counts.puts += 1,
                ChunkOp::Delete { .. } => inner.counts.deletes += 1,
                ChunkOp::DeleteRange { .. } => inner.counts.range_deletes += 1,
            }
        }
        Ok(())
    }

    fn flush(&self) -> Result<(), KvError> {
        let inner = &mut *self.inner.lock();
        inner.check_writes("flush")?;
        if spent(&mut inner.faults.flushes_left) {
            inner.failed = true;
            return Err(planned("flush"));
        }
        for (chunk, applied) in std::mem::take(&mut inner.pending) {
            inner.durable.write(&chunk, applied);
        }
        inner.counts.flushes += 1;
        Ok(())
    }

    fn applied(&self) -> Position {
        self.inner.lock().live.applied
    }

    fn format_version(&self) -> Option<u32> {
        self.inner.lock().live.format
    }

    fn checkpoint(&self, _dir: &Path) -> Result<(), KvError> {
        let why = "a store in memory has no files to copy".to_owned();
        Err(KvError::Failed { doing: "be copied", why })
    }
}

impl Inner {
    fn check_reads(&self) -> Result<(), KvError> {
        if self.faults.reads_fail { Err(planned("read")) } else { Ok(()) }
    }

    fn check_writes(&self, doing: &'static str) -> Result<(), KvError> {
        if self.failed { Err(planned(doing)) } else { Ok(()) }
    }
}

impl Image {
    fn write(&mut self, chunk: &Chunk, applied: Position) {
        let mut sealed = Vec::new();
        for op in &chunk.ops {
            match op {
                ChunkOp::Put { key, value } => {
                    record::seal(key.as_bytes(), value, &mut sealed);
                    self.values.insert(key.as_bytes().to_vec(), Bytes::copy_from_slice(&sealed));
                }
                ChunkOp::Delete { key } => {
                    self.values.remove(key.as_bytes());
                }
                ChunkOp::DeleteRange { from, to } => {
                    debug_assert_eq!(column(from), column(to), "a range lies within a column");
                    self.values
                        .extract_if(from.as_bytes().to_vec()..to.as_bytes().to_vec(), |_, _| true)
                        .for_each(drop);
                }
            }
        }
        self.applied = applied;
        self.format = Some(FORMAT_VERSION);
    }
}

fn column(key: &key::Key) -> Option<key::Column> {
    key.as_bytes().first().and_then(|byte| key::Kind::from_byte(*byte)).map(key::Kind::column)
}

/// Takes one from what is left; whether there was none.
fn spent(left: &mut Option<u64>) -> bool {
    match left {
        None => false,
        Some(0) => true,
        Some(left) => {
            *left -= 1;
            false
        }
    }
}

fn planned(doing: &'static str) -> KvError {
    KvError::Failed { doing, why: "a fault was planned for this test".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{key::RecordKey, kv::suite};

    #[test]
    fn it_passes_the_suite() {
        suite::run(&mut |_| Box::new(RamKv::new()));
    }

    #[test]
    fn a_power_cut_leaves_a_prefix_of_the_chunks_at_or_behind_the_last_flush() {
        let mut ends = std::collections::BTreeSet::new();
        for seed in 0..20 {
            let kv = RamKv::new();
            for at in 1..=6u8 {
                let key = key::record::key(&[at]);
                let ops = vec![ChunkOp::Put { key, value: Bytes::from_static(b"v") }];
                kv.write(&Chunk { ops }, Position::from(u64::from(at))).unwrap();
                if at == 2 {
                    kv.flush().unwrap();
                }
            }
            kv.power_cut(seed);
            let end = u64::from(kv.applied());
            assert!((2..=6).contains(&end));
            for at in 1..=6u8 {
                let there = kv.get(RecordKey::record(&[at]).as_bytes()).unwrap().is_some();
                assert_eq!(there, u64::from(at) <= end);
            }
            ends.insert(end);
        }
        assert_eq!(ends.len(), 5, "every possible end occurs");
    }

    #[test]
    fn after_a_failed_write_nothing_more_is_written() {
        let kv = RamKv::new();
        kv.fail_write_after(1);
        kv.write(&Chunk::default(), Position::from(1)).unwrap();
        assert!(kv.write(&Chunk::default(), Position::from(2)).is_err());
        assert!(kv.write(&Chunk::default(), Position::from(3)).is_err());
        assert!(kv.flush().is_err());
        assert_eq!(kv.applied(), Position::from(1));
    }
}
