//! Faults that a test plans for a [`RamDisk`](super::RamDisk), and the count of what was done to it.

use std::io;

/// What was done to a disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Calls of `write_at`.
    pub writes: u64,
    /// Bytes these wrote.
    pub bytes: u64,
    /// Calls of `sync_data`.
    pub syncs: u64,
    /// Calls of `sync_dir`.
    pub dir_syncs: u64,
}

/// Something that goes wrong once.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// Which operation.
    pub operation: Operation,
    /// How many of these succeed first.
    pub after: u64,
    /// What happens then.
    pub effect: Effect,
}

/// The operations that can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// `Disk::create`; no file comes into being.
    Create,
    /// `DiskFile::read_at`.
    Read,
    /// `DiskFile::write_at`.
    Write,
    /// `DiskFile::sync_data`. As in Linux, what it should have made durable counts as clean afterwards: a later flush
    /// does not write it, and a power cut may lose it.
    Sync,
    /// `Disk::rename`; nothing changes.
    Rename,
    /// `Disk::remove`; nothing changes.
    Remove,
    /// `Disk::sync_dir`.
    SyncDir,
}

/// How an operation fails.
#[derive(Clone, Copy, Debug)]
pub enum Effect {
    /// EIO.
    Broken,
    /// ENOSPC.
    Full,
    /// A write that puts this many bytes down and then ends with ENOSPC. Other operations just end so.
    Short(usize),
}

#[derive(Default)]
pub(super) struct Faults(Vec<Fault>);

impl Faults {
    pub(super) fn plan(&mut self, fault: Fault) {
        self.0.push(fault);
    }

    pub(super) fn check(&mut self, operation: Operation) -> io::Result<()> {
        self.due(operation).map_or(Ok(()), |effect| Err(effect.error()))
    }

    /// How much of a write of `len` bytes reaches the file, and what the caller is told.
    pub(super) fn check_write(&mut self, len: usize) -> (usize, io::Result<()>) {
        match self.due(Operation::Write) {
            None => (len, Ok(())),
            Some(effect @ Effect::Short(taken)) => (taken.min(len), Err(effect.error())),
            Some(effect) => (0, Err(effect.error())),
        }
    }

    fn due(&mut self, operation: Operation) -> Option<Effect> {
        let mut due = None;
        for (at, fault) in self.0.iter_mut().enumerate().filter(|(_, fault)| fault.operation == operation) {
            if fault.after > 0 {
                fault.after -= 1;
            } else if due.is_none() {
                due = Some(at);
            }
        }
        due.map(|at| self.0.swap_remove(at).effect)
    }
}

impl Effect {
    fn error(self) -> io::Error {
        let code = match self {
            Self::Broken => rustix::io::Errno::IO,
            Self::Full | Self::Short(_) => rustix::io::Errno::NOSPC,
        };
        code.into()
    }
}
