//! The disk and the key-value store, which outlive the server: their power can go at any operation, they fail, and they can be made to lie.

use bytes::Bytes;
use chasqui_storage::Position;
use chasqui_storage::disk::{Disk, DiskFile, RamDisk};
use chasqui_storage::kv::ram::RamKv;
use chasqui_storage::kv::{Chunk, Direction, KeyValue, KvError, Visit};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What is wrong with the hardware for as long as a run takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lie {
    /// Nothing.
    #[default]
    None,
    /// A flush of the commit log does nothing, but for the one that a new segment begins with.
    FlushSkipped,
    /// A flush of the commit log keeps all but the last write.
    LastWriteLeftOut,
    /// A flush of the key-value store does nothing.
    StateFlushSkipped,
}

impl Lie {
    /// All of them, with the names that a command line knows them by.
    pub const ALL: &[(&str, Lie)] = &[
        ("none", Lie::None),
        ("flush-skipped", Lie::FlushSkipped),
        ("last-write-left-out", Lie::LastWriteLeftOut),
        ("state-flush-skipped", Lie::StateFlushSkipped),
    ];
}

/// What is left when the server is not.
pub(crate) struct Hardware {
    pub(crate) disk: RamDisk,
    pub(crate) kv: RamKv,
    lie: Lie,
}

impl Hardware {
    pub(crate) fn new(lie: Lie) -> Hardware {
        Hardware { disk: RamDisk::new(), kv: RamKv::new(), lie }
    }

    /// Both, as long as this power lasts.
    pub(crate) fn powered_by(&self, mains: &Mains) -> (Arc<dyn Disk>, Arc<dyn KeyValue>) {
        let disk = PoweredDisk { disk: self.disk.clone(), mains: mains.clone(), lie: self.lie };
        let kv = PoweredKv { kv: self.kv.clone(), mains: mains.clone(), lie: self.lie };
        (Arc::new(disk), Arc::new(kv))
    }

    /// The process ends: the kernel keeps what it wrote; what the key-value store held in its memory is lost.
    pub(crate) fn process_ended(&self, seed: u64) {
        self.kv.power_cut(seed);
    }

    /// The power is cut: of what was not flushed any part may be there.
    pub(crate) fn power_cut(&self, seed: u64) {
        self.disk.power_cut(seed);
        self.kv.power_cut(seed / 7);
    }
}

/// The power of one life of the server. It can be made to go at an operation to come.
#[derive(Clone)]
pub(crate) struct Mains(Arc<Fuse>);

struct Fuse {
    /// Operations until it blows; `u64::MAX` for never.
    left: AtomicU64,
    blown: AtomicBool,
}

impl Mains {
    pub(crate) fn new() -> Mains {
        Mains(Arc::new(Fuse { left: AtomicU64::new(u64::MAX), blown: AtomicBool::new(false) }))
    }

    /// The power goes when so many more operations are done.
    pub(crate) fn go_after(&self, operations: u64) {
        self.0.left.store(operations, Ordering::Relaxed);
    }

    /// Whether it is going to go.
    pub(crate) fn is_failing(&self) -> bool {
        self.0.left.load(Ordering::Relaxed) != u64::MAX
    }

    /// Whether it has gone.
    pub(crate) fn is_off(&self) -> bool {
        self.0.blown.load(Ordering::Relaxed)
    }

    fn spend(&self) -> io::Result<()> {
        let left = self.0.left.load(Ordering::Relaxed);
        if left == 0 {
            self.0.blown.store(true, Ordering::Relaxed);
            return Err(io::Error::other("the power was cut"));
        }
        if left != u64::MAX {
            self.0.left.store(left - 1, Ordering::Relaxed);
        }
        Ok(())
    }

    fn spend_on_kv(&self) -> Result<(), KvError> {
        self.spend().map_err(|error| KvError::Failed { doing: "be reached", why: error.to_string() })
    }
}

struct PoweredDisk {
    disk: RamDisk,
    mains: Mains,
    lie: Lie,
}

impl PoweredDisk {
    fn file(&self, inner: Box<dyn DiskFile>, new: bool) -> Box<dyn DiskFile> {
        Box::new(PoweredFile { inner, mains: self.mains.clone(), lie: self.lie, new })
    }
}

impl Disk for PoweredDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        self.mains.spend()?;
        self.disk.list()
    }

    fn create(&self, name: &str, len: u64) -> io::Result<Box<dyn DiskFile>> {
        self.mains.spend()?;
        Ok(self.file(self.disk.create(name, len)?, true))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        self.mains.spend()?;
        Ok(self.file(self.disk.open(name)?, false))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.mains.spend()?;
        self.disk.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.mains.spend()?;
        self.disk.remove(name)
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.mains.spend()?;
        self.disk.sync_dir()
    }
}

struct PoweredFile {
    inner: Box<dyn DiskFile>,
    mains: Mains,
    lie: Lie,
    /// It was never flushed.
    new: bool,
}

impl DiskFile for PoweredFile {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        self.mains.spend()?;
        self.inner.read_at(offset, buf)
    }

    fn write_at(&mut self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.mains.spend()?;
        if self.lie == Lie::LastWriteLeftOut {
            // Now that it is the last no more.
            self.inner.sync_data()?;
        }
        self.inner.write_at(offset, data)
    }

    fn sync_data(&mut self) -> io::Result<()> {
        self.mains.spend()?;
        match self.lie {
            Lie::FlushSkipped if std::mem::take(&mut self.new) => self.inner.sync_data(),
            Lie::FlushSkipped | Lie::LastWriteLeftOut => Ok(()),
            Lie::None | Lie::StateFlushSkipped => self.inner.sync_data(),
        }
    }

    fn len(&self) -> io::Result<u64> {
        self.mains.spend()?;
        self.inner.len()
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        self.mains.spend()?;
        self.inner.set_len(len)
    }
}

struct PoweredKv {
    kv: RamKv,
    mains: Mains,
    lie: Lie,
}

impl KeyValue for PoweredKv {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, KvError> {
        self.mains.spend_on_kv()?;
        self.kv.get(key)
    }

    fn scan(
        &self,
        from: &[u8],
        to: &[u8],
        direction: Direction,
        visit: &mut Visit<'_>,
    ) -> Result<(), KvError> {
        self.mains.spend_on_kv()?;
        self.kv.scan(from, to, direction, visit)
    }

    fn write(&self, chunk: &Chunk, applied: Position) -> Result<(), KvError> {
        self.mains.spend_on_kv()?;
        self.kv.write(chunk, applied)
    }

    fn flush(&self) -> Result<(), KvError> {
        self.mains.spend_on_kv()?;
        if self.lie == Lie::StateFlushSkipped { Ok(()) } else { self.kv.flush() }
    }

    fn applied(&self) -> Position {
        self.kv.applied()
    }

    fn format_version(&self) -> Option<u32> {
        self.kv.format_version()
    }

    fn checkpoint(&self, dir: &Path) -> Result<(), KvError> {
        self.mains.spend_on_kv()?;
        self.kv.checkpoint(dir)
    }
}
