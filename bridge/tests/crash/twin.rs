//! The service in this process, on twins of disk and key-value store whose power can be cut, and that can be made to lie.

use bytes::Bytes;
use chasqui_bridge::server::{Server, ServerError};
use chasqui_bridge::settings::Settings;
use chasqui_storage::clock::SystemClock;
use chasqui_storage::disk::ram::HeldSyncs;
use chasqui_storage::disk::{Disk, DiskFile, RamDisk};
use chasqui_storage::kv::ram::RamKv;
use chasqui_storage::kv::{Chunk, Direction, KeyValue, KvError, Visit};
use chasqui_storage::{OpenError, Options, Position, Storage};
use chasqui_testkit::PATIENCE;
use parking_lot::{RwLock, RwLockReadGuard};
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;

/// What is wrong with the hardware, or with a build that uses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lie {
    /// Nothing.
    None,
    /// A flush of the commit log does nothing, but for the one that a new segment begins with.
    FlushSkipped,
    /// A flush of the commit log keeps all but the last write.
    LastWriteLeftOut,
    /// A flush of the key-value store does nothing.
    StateFlushSkipped,
}

/// Disk and key-value store, which outlive the service.
#[derive(Clone)]
pub(crate) struct Twins {
    disk: RamDisk,
    kv: RamKv,
    lie: Lie,
}

/// The service on twins, until its power is cut.
pub(crate) struct Life {
    server: Server,
    mains: Mains,
}

impl Twins {
    pub(crate) fn new(lie: Lie) -> Twins {
        Twins { disk: RamDisk::new(), kv: RamKv::new(), lie }
    }

    /// Opens the store. Small bounds, so that chunks go down and segments go all the time; large ones where neither is to give a lie
    /// away.
    pub(crate) fn open(&self) -> Result<(Storage, Mains), OpenError> {
        let mains = Mains::default();
        let lie = self.lie;
        let disk = Powered { disk: self.disk.clone(), mains: mains.clone(), lie };
        let kv = PoweredKv { kv: self.kv.clone(), mains: mains.clone(), lie };
        let options = if lie == Lie::LastWriteLeftOut {
            Options { overlay_age: Duration::from_hours(1), ..Options::default() }
        } else {
            let overlay_age = Duration::from_millis(20);
            Options { overlay_bytes: 128 << 10, overlay_age, segment_bytes: 64 << 10, ..Options::default() }
        };
        let storage = Storage::open_with(Arc::new(disk), Arc::new(kv), Arc::new(SystemClock), options)?;
        Ok((storage, mains))
    }

    /// Starts the service on a free port.
    pub(crate) async fn start(&self) -> Result<Life, ServerError> {
        let (storage, mains) = self.open()?;
        let settings = Settings { dev: true, ..Settings::default() };
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let server = Server::start_on(&settings, storage, Arc::new(SystemClock), vec![listener]).await?;
        Ok(Life { server, mains })
    }

    /// Waits for a flush of the commit log, which is held until the answer is dropped.
    pub(crate) async fn hold_a_flush(&self) -> HeldSyncs {
        let disk = self.disk.clone();
        let held = tokio::task::spawn_blocking(move || {
            let held = disk.hold_syncs();
            held.wait_for_one();
            held
        });
        tokio::time::timeout(PATIENCE, held).await.expect("there is traffic").expect("it only waits")
    }

    /// Cuts the power under a life: whatever it does from now on reaches nothing.
    pub(crate) fn power_cut(&self, life: &Life, seed: u64) {
        let mut on = life.mains.cut.write();
        *on = true;
        self.disk.power_cut(seed);
        self.kv.power_cut(seed / 7);
    }
}

impl Life {
    pub(crate) fn address(&self) -> SocketAddr {
        self.server.addresses()[0]
    }

    /// Stops the service in good order; after a power cut, what is left of it.
    pub(crate) async fn stop(self) -> Result<(), ServerError> {
        self.server.stop().await
    }
}

/// The power of one life.
#[derive(Clone, Default)]
pub(crate) struct Mains {
    cut: Arc<RwLock<bool>>,
}

impl Mains {
    /// Keeps the power on for one operation.
    fn on(&self) -> io::Result<RwLockReadGuard<'_, bool>> {
        let cut = self.cut.read();
        if *cut { Err(io::Error::other("the power was cut")) } else { Ok(cut) }
    }

    fn on_kv(&self) -> Result<RwLockReadGuard<'_, bool>, KvError> {
        self.on().map_err(|error| KvError::Failed { doing: "be reached", why: error.to_string() })
    }
}

struct Powered {
    disk: RamDisk,
    mains: Mains,
    lie: Lie,
}

impl Powered {
    fn file(&self, inner: Box<dyn DiskFile>, new: bool) -> Box<dyn DiskFile> {
        Box::new(PoweredFile { inner, mains: self.mains.clone(), lie: self.lie, new })
    }
}

impl Disk for Powered {
    fn list(&self) -> io::Result<Vec<String>> {
        let _on = self.mains.on()?;
        self.disk.list()
    }

    fn create(&self, name: &str, len: u64) -> io::Result<Box<dyn DiskFile>> {
        let _on = self.mains.on()?;
        Ok(self.file(self.disk.create(name, len)?, true))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let _on = self.mains.on()?;
        Ok(self.file(self.disk.open(name)?, false))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let _on = self.mains.on()?;
        self.disk.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let _on = self.mains.on()?;
        self.disk.remove(name)
    }

    fn sync_dir(&self) -> io::Result<()> {
        let _on = self.mains.on()?;
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
        let _on = self.mains.on()?;
        self.inner.read_at(offset, buf)
    }

    fn write_at(&mut self, offset: u64, data: &[u8]) -> io::Result<()> {
        let _on = self.mains.on()?;
        if self.lie == Lie::LastWriteLeftOut {
            // Now that it is the last no more.
            self.inner.sync_data()?;
        }
        self.inner.write_at(offset, data)
    }

    fn sync_data(&mut self) -> io::Result<()> {
        // The power may be cut while this waits. The file knows.
        drop(self.mains.on()?);
        match self.lie {
            Lie::FlushSkipped if std::mem::take(&mut self.new) => self.inner.sync_data(),
            Lie::FlushSkipped | Lie::LastWriteLeftOut => Ok(()),
            Lie::None | Lie::StateFlushSkipped => self.inner.sync_data(),
        }
    }

    fn len(&self) -> io::Result<u64> {
        let _on = self.mains.on()?;
        self.inner.len()
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        let _on = self.mains.on()?;
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
        let _on = self.mains.on_kv()?;
        self.kv.get(key)
    }

    fn scan(
        &self,
        from: &[u8],
        to: &[u8],
        direction: Direction,
        visit: &mut Visit<'_>,
    ) -> Result<(), KvError> {
        let _on = self.mains.on_kv()?;
        self.kv.scan(from, to, direction, visit)
    }

    fn write(&self, chunk: &Chunk, applied: Position) -> Result<(), KvError> {
        let _on = self.mains.on_kv()?;
        self.kv.write(chunk, applied)
    }

    fn flush(&self) -> Result<(), KvError> {
        let _on = self.mains.on_kv()?;
        if self.lie == Lie::StateFlushSkipped { Ok(()) } else { self.kv.flush() }
    }

    fn applied(&self) -> Position {
        self.kv.applied()
    }

    fn format_version(&self) -> Option<u32> {
        self.kv.format_version()
    }

    fn checkpoint(&self, dir: &Path) -> Result<(), KvError> {
        let _on = self.mains.on_kv()?;
        self.kv.checkpoint(dir)
    }
}
