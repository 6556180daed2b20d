//! A folder in memory that behaves at a power cut as badly as the contract of [`Disk`] allows.
//!
//! Clones share one disk. [`RamDisk::power_cut`] keeps what was synced; of the rest, each sector and each change of a
//! name survives or not as a seed decides. Handles from before the cut answer with an error from then on: the process
//! that had them is dead. Faults can be planned, flushes held back, and all operations are counted.

mod content;
mod faults;

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};

pub use faults::{Counts, Effect, Fault, Operation};

use super::{Disk, DiskFile};
use content::Content;
use faults::Faults;

/// A disk in memory. See the [module's](self) head.
#[derive(Clone, Default)]
pub struct RamDisk {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// Signalled when flushes are let go, and when one more is held.
    held: Condvar,
}

#[derive(Default)]
struct State {
    files: Vec<File>,
    /// What `list` and `open` see: name to index in `files`.
    names: BTreeMap<String, usize>,
    /// What a power cut leaves for certain.
    synced_names: BTreeMap<String, usize>,
    /// Changes of names since the folder was synced, oldest first.
    unsynced: Vec<NameChange>,
    /// Power cuts so far.
    epoch: u64,
    faults: Faults,
    counts: Counts,
    /// How many guards hold flushes back, and how many flushes wait for them.
    holds: usize,
    waiting: usize,
}

struct File {
    content: Content,
    /// Open handles; a file without a name lives on while there is one.
    handles: usize,
}

#[derive(Clone)]
enum NameChange {
    Create { name: String, file: usize },
    Rename { from: String, to: String },
    Remove { name: String },
}

impl RamDisk {
    /// An empty disk.
    pub fn new() -> Self {
        Self::default()
    }

    /// Cuts the power: what was synced stays, of the rest any part, chosen by `seed`.
    pub fn power_cut(&self, seed: u64) {
        let mut state = self.shared.state.lock();
        let state = &mut *state;
        let mut dice = Dice(seed);
        let mut names = std::mem::take(&mut state.synced_names);
        // A journalling file system keeps a prefix of the changes, others any subset.
        let journal = dice.chance(1, 2);
        for change in state.unsynced.drain(..) {
            if dice.chance(1, 2) {
                change.apply(&mut names);
            } else if journal {
                break;
            }
        }
        // Nothing, everything, and all that lies between must each come up often.
        let keep = [0, 4, 1, 2, 3][dice.below(5) as usize];
        for file in &mut state.files {
            file.content.power_cut(|| dice.chance(keep, 4));
            file.handles = 0;
        }
        state.synced_names.clone_from(&names);
        state.names = names;
        state.epoch += 1;
        state.forget_the_unreachable();
        self.shared.held.notify_all();
    }

    /// Plans a fault. Several can be planned; each happens once.
    pub fn plan(&self, fault: Fault) {
        self.shared.state.lock().faults.plan(fault);
    }

    /// Holds every flush of a file back, before it takes effect, until the guard is dropped.
    pub fn hold_syncs(&self) -> HeldSyncs {
        self.shared.state.lock().holds += 1;
        HeldSyncs { shared: self.shared.clone() }
    }

    /// What was done to this disk so far.
    pub fn counts(&self) -> Counts {
        self.shared.state.lock().counts
    }

    /// Turns over one bit of a file, on the medium itself: bit rot.
    ///
    /// # Panics
    /// If there is no such file, or `offset` is beyond its end.
    pub fn flip_bit(&self, name: &str, offset: u64, bit: u32) {
        let mut state = self.shared.state.lock();
        let file = state.names[name];
        state.files[file].content.flip_bit(offset, bit);
    }
}

impl NameChange {
    fn apply(self, names: &mut BTreeMap<String, usize>) {
        match self {
            Self::Create { name, file } => {
                names.insert(name, file);
            }
            Self::Rename { from, to } => {
                if let Some(file) = names.remove(&from) {
                    names.insert(to, file);
                }
            }
            Self::Remove { name } => {
                names.remove(&name);
            }
        }
    }
}

impl State {
    fn change(&mut self, change: NameChange) {
        change.clone().apply(&mut self.names);
        self.unsynced.push(change);
    }

    /// Frees files that neither a name, now or after a power cut, nor a handle leads to.
    fn forget_the_unreachable(&mut self) {
        let mut named = vec![false; self.files.len()];
        for &file in self.synced_names.values().chain(self.names.values()) {
            named[file] = true;
        }
        for (file, named) in self.files.iter_mut().zip(named) {
            if !named && file.handles == 0 {
                file.content.forget();
            }
        }
    }

    fn find(&self, name: &str) -> io::Result<usize> {
        self.names
            .get(name)
            .copied()
            .ok_or_else(|| io::Error::new(ErrorKind::NotFound, format!("no file {name}")))
    }
}

impl Disk for RamDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.shared.state.lock().names.keys().cloned().collect())
    }

    fn create(&self, name: &str, len: u64) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.shared.state.lock();
        state.faults.check(Operation::Create)?;
        if state.names.contains_key(name) {
            return Err(io::Error::new(ErrorKind::AlreadyExists, format!("there is a file {name}")));
        }
        let file = state.files.len();
        state.files.push(File { content: Content::new(len), handles: 0 });
        state.change(NameChange::Create { name: name.to_owned(), file });
        Ok(Box::new(RamFile::new(&self.shared, &mut state, file)))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.shared.state.lock();
        let file = state.find(name)?;
        Ok(Box::new(RamFile::new(&self.shared, &mut state, file)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.shared.state.lock();
        state.faults.check(Operation::Rename)?;
        state.find(from)?;
        state.change(NameChange::Rename { from: from.to_owned(), to: to.to_owned() });
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.shared.state.lock();
        state.faults.check(Operation::Remove)?;
        state.find(name)?;
        state.change(NameChange::Remove { name: name.to_owned() });
        Ok(())
    }

    fn sync_dir(&self) -> io::Result<()> {
        let mut state = self.shared.state.lock();
        state.counts.dir_syncs += 1;
        state.faults.check(Operation::SyncDir)?;
        state.synced_names = state.names.clone();
        state.unsynced.clear();
        state.forget_the_unreachable();
        Ok(())
    }
}

struct RamFile {
    shared: Arc<Shared>,
    file: usize,
    epoch: u64,
}

impl RamFile {
    fn new(shared: &Arc<Shared>, state: &mut State, file: usize) -> Self {
        state.files[file].handles += 1;
        Self { shared: shared.clone(), file, epoch: state.epoch }
    }

    fn with<T>(&self, work: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.shared.state.lock();
        self.alive(&state)?;
        work(&mut state)
    }

    fn alive(&self, state: &State) -> io::Result<()> {
        if state.epoch == self.epoch {
            Ok(())
        } else {
            Err(io::Error::other("the power was cut since this file was opened"))
        }
    }
}

impl Drop for RamFile {
    fn drop(&mut self) {
        let mut state = self.shared.state.lock();
        if state.epoch == self.epoch {
            state.files[self.file].handles -= 1;
        }
    }
}

impl DiskFile for RamFile {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        self.with(|state| {
            state.faults.check(Operation::Read)?;
            Ok(state.files[self.file].content.read(offset, buf))
        })
    }

    fn write_at(&mut self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.with(|state| {
            state.counts.writes += 1;
            let (taken, result) = state.faults.check_write(data.len());
            state.counts.bytes += taken as u64;
            state.files[self.file].content.write(offset, &data[..taken]);
            result
        })
    }

    fn sync_data(&mut self) -> io::Result<()> {
        let mut state = self.shared.state.lock();
        self.alive(&state)?;
        state.waiting += 1;
        self.shared.held.notify_all();
        while state.holds > 0 && state.epoch == self.epoch {
            self.shared.held.wait(&mut state);
        }
        state.waiting -= 1;
        self.alive(&state)?;
        state.counts.syncs += 1;
        let result = state.faults.check(Operation::Sync);
        match result {
            Ok(()) => state.files[self.file].content.sync(),
            Err(_) => state.files[self.file].content.sync_failed(),
        }
        result
    }

    fn len(&self) -> io::Result<u64> {
        self.with(|state| Ok(state.files[self.file].content.len()))
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        self.with(|state| {
            state.files[self.file].content.set_len(len);
            Ok(())
        })
    }
}

/// While this lives, no flush takes effect or returns.
pub struct HeldSyncs {
    shared: Arc<Shared>,
}

impl HeldSyncs {
    /// Waits until a flush is being held back.
    pub fn wait_for_one(&self) {
        let mut state = self.shared.state.lock();
        while state.waiting == 0 {
            self.shared.held.wait(&mut state);
        }
    }
}

impl Drop for HeldSyncs {
    fn drop(&mut self) {
        self.shared.state.lock().holds -= 1;
        self.shared.held.notify_all();
    }
}

/// A small generator (`SplitMix64`), so that a seed gives the same power cut for ever.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn chance(&mut self, part: u64, of: u64) -> bool {
        self.below(of) < part
    }
}
