//! RocksDB as the key-value store: its own log switched off, atomic flush over all column families, chunks in key order.
//!
//! **Invariants.** Every write carries the log position it brings the store to, and a flush makes all column families
//! durable together, so whatever RocksDB flushes on its own accord between two writes, a crash leaves it at the end of some
//! write. After the first error nothing is written any more, whether or not RocksDB thinks that it has recovered.

use super::{Chunk, ChunkOp, Direction, FORMAT_VERSION, KeyValue, KvError, Visit};
use crate::{
    Options, Position,
    key::{Column, Kind, meta},
    record,
};
use bytes::Bytes;
use parking_lot::Mutex;
use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamily, ColumnFamilyDescriptor, DB, DBCompressionType, FlushOptions,
    ReadOptions, WriteBatch, WriteOptions, checkpoint::Checkpoint,
};
use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

/// Bits of Bloom filter per key: one look-up in a hundred reads a block in vain.
const BLOOM_BITS: f64 = 10.0;
/// Files of RocksDB's own diary that are kept.
const DIARIES: usize = 4;
/// Size at which a diary is put away, in bytes.
const DIARY_BYTES: usize = 4 << 20;
/// Files opened at most to look at the format.
const FILES_TO_LOOK: i32 = 32;

/// The store in a folder.
pub struct RocksKv {
    db: DB,
    dir: PathBuf,
    applied: AtomicU64,
    format: Mutex<Option<u32>>,
    /// The first failed write: nothing is written after it.
    failed: Mutex<Option<KvError>>,
}

impl RocksKv {
    /// Opens the store in `dir`, or creates it.
    pub fn open(dir: &Path, options: &Options) -> Result<RocksKv, KvError> {
        let cache = Cache::new_lru_cache(options.block_cache_bytes);
        let columns = Column::ALL
            .map(|column| ColumnFamilyDescriptor::new(column.name(), column_options(options, &cache)));
        let db = DB::open_cf_descriptors(&database_options(options), dir, columns).map_err(|error| {
            if is_locked(&error) {
                KvError::InUse { dir: dir.display().to_string() }
            } else {
                failed("be opened")(error)
            }
        })?;
        let kv = RocksKv {
            db,
            dir: dir.to_owned(),
            applied: AtomicU64::new(0),
            format: Mutex::new(None),
            failed: Mutex::new(None),
        };
        let number = |name| -> Result<Option<u64>, KvError> {
            let bytes = kv.get(meta::key(name).as_bytes())?;
            Ok(bytes.and_then(|bytes| Some(u64::from_be_bytes(*bytes.first_chunk()?))))
        };
        let format = number(meta::FORMAT)?.and_then(|format| u32::try_from(format).ok());
        let applied = number(meta::APPLIED)?.unwrap_or(0);
        *kv.format.lock() = format;
        kv.applied.store(applied, Ordering::Release);
        Ok(kv)
    }

    /// The format version of the store in `dir`, which looking does not change; `None` if there is none yet.
    pub(crate) fn format_of(dir: &Path) -> Result<Option<u32>, KvError> {
        if !dir.join("CURRENT").exists() {
            return Ok(None);
        }
        let mut options = rocksdb::Options::default();
        options.set_max_open_files(FILES_TO_LOOK);
        // The default column family alone: a newer version may have others.
        let db = DB::open_for_read_only(&options, dir, false).map_err(failed("be opened"))?;
        let key = meta::key(meta::FORMAT);
        let Some(value) = db.get_pinned(&key).map_err(failed("read"))? else { return Ok(None) };
        let number =
            record::open(key.as_bytes(), &value)?.first_chunk().map(|bytes| u64::from_be_bytes(*bytes));
        Ok(number.and_then(|format| u32::try_from(format).ok()))
    }

    /// The folder it is in.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    fn column(&self, key: &[u8]) -> &ColumnFamily {
        let kind = key.first().and_then(|byte| Kind::from_byte(*byte));
        self.family(kind.map_or(Column::Records, Kind::column))
    }

    fn family(&self, column: Column) -> &ColumnFamily {
        self.db.cf_handle(column.name()).expect("every column is opened with the store")
    }

    /// Runs a write unless one has failed before; remembers the first failure.
    fn unless_failed(&self, write: impl FnOnce() -> Result<(), KvError>) -> Result<(), KvError> {
        let mut failed = self.failed.lock();
        if let Some(error) = &*failed {
            return Err(error.clone());
        }
        write().inspect_err(|error| *failed = Some(error.clone()))
    }
}

impl KeyValue for RocksKv {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, KvError> {
        let value = self.db.get_pinned_cf(self.column(key), key).map_err(failed("read"))?;
        let Some(value) = value else { return Ok(None) };
        Ok(Some(Bytes::copy_from_slice(record::open(key, &value)?)))
    }

    fn scan(
        &self,
        from: &[u8],
        to: &[u8],
        direction: Direction,
        visit: &mut Visit<'_>,
    ) -> Result<(), KvError> {
        if from >= to {
            return Ok(());
        }
        let mut options = ReadOptions::default();
        options.set_iterate_lower_bound(from);
        options.set_iterate_upper_bound(to);
        let mut cursor = self.db.raw_iterator_cf_opt(self.column(from), options);
        match direction {
            Direction::Forward => cursor.seek(from),
            Direction::Backward => cursor.seek_to_last(),
        }
        while let Some((key, value)) = cursor.item() {
            if visit(key, record::open(key, value)?).is_break() {
                return Ok(());
            }
            match direction {
                Direction::Forward => cursor.next(),
                Direction::Backward => cursor.prev(),
            }
        }
        cursor.status().map_err(failed("read"))
    }

    fn last_key(&self, from: &[u8], to: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        if from >= to {
            return Ok(None);
        }
        let mut options = ReadOptions::default();
        options.set_iterate_lower_bound(from);
        options.set_iterate_upper_bound(to);
        // A reverse seek that minds range deletions walks through those of all logs before this one.
        #[allow(deprecated)]
        // For whoever deletes no ranges; this one does, and has nothing else that says so.
        options.set_ignore_range_deletions(true);
        let mut cursor = self.db.raw_iterator_cf_opt(self.column(from), options);
        cursor.seek_to_last();
        let last = cursor.key().map(<[u8]>::to_vec);
        cursor.status().map_err(failed("read"))?;
        Ok(last)
    }

    fn write(&self, chunk: &Chunk, applied: Position) -> Result<(), KvError> {
        self.unless_failed(|| {
            let mut batch = WriteBatch::default();
            let mut sealed = Vec::new();
            for op in &chunk.ops {
                match op {
                    ChunkOp::Put { key, value } => {
                        record::seal(key.as_bytes(), value, &mut sealed);
                        batch.put_cf(self.column(key.as_bytes()), key, &sealed);
                    }
                    ChunkOp::Delete { key } => batch.delete_cf(self.column(key.as_bytes()), key),
                    ChunkOp::DeleteRange { from, to } => {
                        batch.delete_range_cf(self.column(from.as_bytes()), from, to);
                    }
                }
            }
            for (name, number) in [(meta::FORMAT, u64::from(FORMAT_VERSION)), (meta::APPLIED, applied.into())]
            {
                let key = meta::key(name);
                record::seal(key.as_bytes(), &number.to_be_bytes(), &mut sealed);
                batch.put_cf(self.family(Column::Meta), key, &sealed);
            }
            let mut options = WriteOptions::default();
            options.disable_wal(true);
            self.db.write_opt(batch, &options).map_err(failed("write"))?;
            self.applied.store(applied.into(), Ordering::Release);
            *self.format.lock() = Some(FORMAT_VERSION);
            Ok(())
        })
    }

    fn flush(&self) -> Result<(), KvError> {
        self.unless_failed(|| {
            let columns = Column::ALL.map(|column| self.family(column));
            let mut options = FlushOptions::default();
            options.set_wait(true);
            self.db.flush_cfs_opt(&columns, &options).map_err(failed("flush"))
        })
    }

    fn applied(&self) -> Position {
        Position::from(self.applied.load(Ordering::Acquire))
    }

    fn format_version(&self) -> Option<u32> {
        *self.format.lock()
    }

    fn checkpoint(&self, dir: &Path) -> Result<(), KvError> {
        Checkpoint::new(&self.db)
            .and_then(|checkpoint| checkpoint.create_checkpoint(dir))
            .map_err(failed("be copied"))
    }
}

fn database_options(options: &Options) -> rocksdb::Options {
    let mut database = rocksdb::Options::default();
    database.create_if_missing(true);
    database.create_missing_column_families(true);
    database.set_atomic_flush(true);
    database.set_max_open_files(i32::from(options.max_open_files));
    database.set_paranoid_checks(true);
    database.set_keep_log_file_num(DIARIES);
    database.set_max_log_file_size(DIARY_BYTES);
    // One flush and one compaction at a time: they share the machine with the commits.
    database.set_max_background_jobs(2);
    // The default, 2 MiB for each file that is read, is more than a server with nothing to do should take after its start.
    database.set_compaction_readahead_size(128 << 10);
    database.set_bytes_per_sync(1 << 20);
    database
}

fn column_options(options: &Options, cache: &Cache) -> rocksdb::Options {
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(cache);
    blocks.set_bloom_filter(BLOOM_BITS, false);
    blocks.set_block_size(16 << 10);
    // Indexes and filters count against the cache too, so that memory is bounded whatever is on disk.
    blocks.set_cache_index_and_filter_blocks(true);
    blocks.set_pin_l0_filter_and_index_blocks_in_cache(true);
    blocks.set_format_version(5);
    let mut column = rocksdb::Options::default();
    column.set_block_based_table_factory(&blocks);
    column.set_compression_type(DBCompressionType::Lz4);
    // A whole chunk fits, with its envelopes and the memtable's own overhead: it is flushed when it is written, as one file.
    column.set_write_buffer_size(options.overlay_bytes.saturating_mul(2).max(8 << 20));
    // What builds a file holds a hash of each of its keys until it is done: smaller files, less memory for a compaction.
    column.set_target_file_size_base(16 << 20);
    column.set_level_compaction_dynamic_level_bytes(true);
    column.set_level_zero_file_num_compaction_trigger(4);
    column
}

/// Whether a store was not opened because another process, or another handle in this one, has it.
fn is_locked(error: &rocksdb::Error) -> bool {
    let why = error.as_ref();
    why.contains("lock hold by current process")
        || (why.contains("While lock file") && why.contains("temporarily unavailable"))
}

fn failed(doing: &'static str) -> impl Fn(rocksdb::Error) -> KvError {
    move |error| {
        let why = error.into_string();
        if why.contains("No space left") || why.contains("NoSpace") {
            KvError::DiskFull { doing }
        } else {
            KvError::Failed { doing, why }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        key::{self, RecordKey},
        kv::suite,
    };

    fn small() -> Options {
        Options { overlay_bytes: 1 << 20, block_cache_bytes: 1 << 20, ..Options::default() }
    }

    fn put(id: &[u8], value: &'static [u8]) -> Chunk {
        Chunk { ops: vec![ChunkOp::Put { key: key::record::key(id), value: Bytes::from_static(value) }] }
    }

    #[test]
    fn it_passes_the_suite() {
        let dir = tempfile::tempdir().unwrap();
        suite::run(&mut |name| Box::new(RocksKv::open(&dir.path().join(name), &small()).unwrap()));
    }

    #[test]
    fn what_was_flushed_is_there_again_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let kv = RocksKv::open(dir.path(), &small()).unwrap();
        kv.write(&put(b"a", b"flushed"), Position::from(5)).unwrap();
        kv.flush().unwrap();
        kv.write(&put(b"b", b"only in memory"), Position::from(9)).unwrap();
        // The files as they are now are what a crash leaves.
        let copy = tempfile::tempdir().unwrap();
        for file in std::fs::read_dir(dir.path()).unwrap() {
            let file = file.unwrap();
            std::fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
        }
        let after = RocksKv::open(copy.path(), &small()).unwrap();
        assert_eq!(after.applied(), Position::from(5));
        assert_eq!(after.format_version(), Some(FORMAT_VERSION));
        let value = after.get(RecordKey::record(b"a").as_bytes()).unwrap();
        assert_eq!(value.as_deref(), Some(&b"flushed"[..]));
        assert_eq!(after.get(RecordKey::record(b"b").as_bytes()).unwrap(), None);
    }

    #[test]
    fn a_store_in_use_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let _kv = RocksKv::open(dir.path(), &small()).unwrap();
        let error = RocksKv::open(dir.path(), &small()).map(|_| ()).unwrap_err();
        assert!(error.to_string().contains("is in use by another process"), "{error}");
    }

    #[test]
    fn a_copy_is_a_store() {
        let dir = tempfile::tempdir().unwrap();
        let kv = RocksKv::open(&dir.path().join("store"), &small()).unwrap();
        kv.write(&put(b"a", b"value"), Position::from(5)).unwrap();
        kv.checkpoint(&dir.path().join("copy")).unwrap();
        kv.write(&put(b"a", b"later"), Position::from(6)).unwrap();
        let copy = RocksKv::open(&dir.path().join("copy"), &small()).unwrap();
        assert_eq!(copy.applied(), Position::from(5));
        let value = copy.get(RecordKey::record(b"a").as_bytes()).unwrap();
        assert_eq!(value.as_deref(), Some(&b"value"[..]));
    }

    #[test]
    fn a_damaged_value_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let kv = RocksKv::open(dir.path(), &small()).unwrap();
        let key = RecordKey::record(b"alice");
        kv.db.put_cf(kv.column(key.as_bytes()), key.as_bytes(), b"\x01\0\0\0\0value").unwrap();
        let error = kv.get(key.as_bytes()).unwrap_err();
        assert!(error.to_string().starts_with("the value of Record \"alice\" is damaged"), "{error}");
    }
}
