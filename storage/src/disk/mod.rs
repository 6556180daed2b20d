//! The folder in which the commit log keeps its files, as a trait.
//!
//! Two implementations pass one test suite: [`Dir`], a real folder, and [`RamDisk`], a twin in memory that knows what
//! a power cut does. The contract is POSIX without its favours:
//!
//! - what was written is durable after [`DiskFile::sync_data`], and not before; of what was not synced any subset of
//!   512-byte sectors may survive;
//! - a sector that is written again with partly equal content keeps the equal part, whatever happens ("power-safe
//!   overwrite", as `SQLite` calls it);
//! - a name made, changed or removed is durable after [`Disk::sync_dir`]; before that each such change may survive or
//!   not, on its own;
//! - a rename is atomic, and replaces a file of the new name.

mod dir;
pub mod ram;

use std::io;

pub use dir::Dir;
pub(crate) use dir::make_durably;
pub use ram::RamDisk;

/// Bytes that a disk writes as a whole or not at all.
pub const SECTOR: u64 = 512;

/// A flat folder of files.
pub trait Disk: Send + Sync + 'static {
    /// The names of all files, in no particular order.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Makes a file of `len` bytes that reads as zeros, with its space reserved where the file system can.
    ///
    /// Fails with `AlreadyExists` if the name is taken, and with `StorageFull` if there is no room; then no file is
    /// left behind. Neither name nor length is durable yet.
    fn create(&self, name: &str, len: u64) -> io::Result<Box<dyn DiskFile>>;

    /// Opens a file for reading and writing. Fails with `NotFound` if there is none.
    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;

    /// Gives `from` the name `to`, in place of a file that had it.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a name.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes all changes of names durable.
    fn sync_dir(&self) -> io::Result<()>;
}

/// An open file.
pub trait DiskFile: Send {
    /// Reads at `offset` until `buf` is full or the file ends; the number of bytes read.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize>;

    /// Writes all of `data` at `offset`, with one system call unless the kernel takes less than all of it. Writing
    /// past the end makes the file longer; a gap reads as zeros.
    fn write_at(&mut self, offset: u64, data: &[u8]) -> io::Result<()>;

    /// Makes all that was written to this file durable, and its length.
    ///
    /// After an error nothing is known about what is on disk, and a second call that succeeds proves nothing: the
    /// kernel may have dropped what it could not write.
    fn sync_data(&mut self) -> io::Result<()>;

    /// The length in bytes.
    fn len(&self) -> io::Result<u64>;

    /// Whether there is nothing in it.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Cuts the file off at `len`, or makes it longer with zeros.
    fn set_len(&mut self, len: u64) -> io::Result<()>;
}
