//! Histories: append, release, fail, crash, cut the power, start again, thousands of times from seeds.
//!
//! After every start the log must give back everything that was acknowledged, in order, at its position, and besides
//! that at most the one batch that was in doubt, whole. A disk that lies must be caught by the same check.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use chasqui_storage::commit_log::{CommitLog, LogError, Position};
use chasqui_storage::disk::ram::{Effect, Fault, Operation};
use chasqui_storage::disk::{Disk, DiskFile, RamDisk};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::support::{open, payload};

#[derive(Debug, Default)]
struct Tally {
    starts: usize,
    failed_starts: usize,
    acknowledged: usize,
    failures: usize,
    power_cuts: usize,
    kept_in_doubt: usize,
    lost_in_doubt: usize,
    releases: usize,
}

struct History {
    ram: RamDisk,
    disk: Arc<dyn Disk>,
    rng: SmallRng,
    segment_bytes: u64,
    /// Each payload that must be there, and where it ends.
    known: Vec<(Position, Bytes)>,
    /// The batch whose append failed, or was cut short.
    doubt: Vec<Bytes>,
    /// What the key-value store would hold, durably.
    from: Position,
    next: usize,
    tally: Tally,
}

impl History {
    fn new(seed: u64, wrap: fn(RamDisk) -> Arc<dyn Disk>) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed);
        let ram = RamDisk::new();
        Self {
            disk: wrap(ram.clone()),
            ram,
            segment_bytes: [1024, 2048, 4096, 16_384][rng.random_range(0..4)],
            rng,
            known: Vec::new(),
            doubt: Vec::new(),
            from: Position::default(),
            next: 0,
            tally: Tally::default(),
        }
    }

    fn run(mut self, lives: usize) -> Result<Tally, String> {
        for _ in 0..lives {
            self.live()?;
            if self.rng.random_bool(0.7) {
                self.tally.power_cuts += 1;
                self.ram.power_cut(self.rng.random());
            }
        }
        Ok(self.tally)
    }

    /// One process: from its start until it fails or stops.
    fn live(&mut self) -> Result<(), String> {
        if self.rng.random_bool(0.8) {
            self.plan_fault();
        }
        let (mut log, replayed) = match open(&self.disk, self.segment_bytes, self.from) {
            Ok(opened) => opened,
            // Only a planned fault may keep it from starting; damage there must not be.
            Err(LogError::Disk { .. } | LogError::Full { .. }) => {
                self.tally.failed_starts += 1;
                return Ok(());
            }
            Err(error) => return Err(error.to_string()),
        };
        self.tally.starts += 1;
        self.check(&replayed)?;
        if log.end() != self.known.last().map_or(self.from, |(end, _)| *end) {
            return Err(format!("the log ends at {}", log.end()));
        }
        for _ in 0..self.rng.random_range(0..25) {
            match self.rng.random_range(0..10) {
                0..7 => {
                    let batch = self.batch();
                    let Ok(end) = log.append(&batch) else {
                        self.tally.failures += 1;
                        self.doubt = batch;
                        return Ok(());
                    };
                    self.acknowledged(batch, end);
                }
                7..9 => log.prepare(),
                _ => self.release(&mut log),
            }
        }
        Ok(())
    }

    fn plan_fault(&mut self) {
        use Operation::{Create, Remove, Rename, Sync, SyncDir, Write};
        let operation =
            [Write, Write, Sync, Sync, Sync, SyncDir, Rename, Create, Remove][self.rng.random_range(0..9)];
        let after = self.rng.random_range(0..if matches!(operation, Write | Sync) { 30 } else { 6 });
        let effect = match self.rng.random_range(0..3) {
            0 => Effect::Broken,
            1 => Effect::Full,
            _ => Effect::Short(self.rng.random_range(0..3000)),
        };
        self.ram.plan(Fault { operation, after, effect });
    }

    fn batch(&mut self) -> Vec<Bytes> {
        let sizes = [1..30, 1..30, 30..600, 600..5000][self.rng.random_range(0..4)].clone();
        (0..self.rng.random_range(1..5))
            .map(|_| {
                self.next += 1;
                payload(self.next, self.rng.random_range(sizes.clone()))
            })
            .collect()
    }

    fn acknowledged(&mut self, batch: Vec<Bytes>, end: Position) {
        self.tally.acknowledged += 1;
        // Only the position of the last is told; those between are learned from a replay.
        let unknown = Position::new(u64::MAX);
        self.known.extend(batch.into_iter().map(|payload| (unknown, payload)));
        self.known.last_mut().expect("a batch is not empty").0 = end;
    }

    fn release(&mut self, log: &mut CommitLog) {
        let ends: Vec<Position> =
            self.known.iter().map(|(end, _)| *end).filter(|end| end.get() < u64::MAX).collect();
        if ends.is_empty() {
            return;
        }
        self.from = self.from.max(ends[self.rng.random_range(0..ends.len())]);
        self.tally.releases += 1;
        // A failure is repeated some other time.
        let _ = log.release(self.from);
    }

    fn check(&mut self, replayed: &[(Position, Bytes)]) -> Result<(), String> {
        let unknown = Position::new(u64::MAX);
        let done = self.known.iter().rposition(|(end, _)| *end <= self.from).map_or(0, |i| i + 1);
        let expected = &mut self.known[done..];
        if replayed.len() < expected.len() {
            return Err(format!(
                "{} of {} acknowledged payloads are lost",
                expected.len() - replayed.len(),
                expected.len()
            ));
        }
        let (kept, more) = replayed.split_at(expected.len());
        for (expected, found) in expected.iter_mut().zip(kept) {
            if expected.1 != found.1 || (expected.0 != found.0 && expected.0 != unknown) {
                return Err(format!("another payload at {} than was acknowledged", found.0));
            }
            expected.0 = found.0;
        }
        if more.windows(2).any(|two| two[0].0 >= two[1].0) {
            return Err("positions do not grow".to_owned());
        }
        let doubt = std::mem::take(&mut self.doubt);
        if more.is_empty() {
            self.tally.lost_in_doubt += usize::from(!doubt.is_empty());
        } else if more.iter().map(|(_, payload)| payload).eq(&doubt) {
            self.tally.kept_in_doubt += 1;
            // What was replayed once must stay.
            self.known.extend_from_slice(more);
        } else {
            return Err(format!(
                "{} payloads came up that nobody appended, or a part of a batch",
                more.len()
            ));
        }
        Ok(())
    }
}

#[test]
fn everything_acknowledged_survives_and_nothing_torn_is_replayed() {
    let mut sum = Tally::default();
    for seed in 0..3000 {
        let honest: fn(RamDisk) -> Arc<dyn Disk> = |ram| Arc::new(ram);
        let tally = History::new(seed, honest).run(12).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        sum.starts += tally.starts;
        sum.failed_starts += tally.failed_starts;
        sum.acknowledged += tally.acknowledged;
        sum.failures += tally.failures;
        sum.power_cuts += tally.power_cuts;
        sum.kept_in_doubt += tally.kept_in_doubt;
        sum.lost_in_doubt += tally.lost_in_doubt;
        sum.releases += tally.releases;
    }
    // A history in which nothing happens proves nothing.
    let enough = sum.starts > 20_000
        && sum.failed_starts > 500
        && sum.acknowledged > 100_000
        && sum.failures > 5_000
        && sum.power_cuts > 20_000
        && sum.kept_in_doubt > 500
        && sum.lost_in_doubt > 500
        && sum.releases > 10_000;
    assert!(enough, "{sum:?}");
}

/// A disk whose files, or whose folder, say that they flush and do not.
struct Liar {
    ram: RamDisk,
    about_files: bool,
}

struct LyingFile(Box<dyn DiskFile>);

impl Liar {
    fn file(&self, file: Box<dyn DiskFile>) -> Box<dyn DiskFile> {
        if self.about_files { Box::new(LyingFile(file)) } else { file }
    }
}

impl Disk for Liar {
    fn list(&self) -> io::Result<Vec<String>> {
        self.ram.list()
    }
    fn create(&self, name: &str, len: u64) -> io::Result<Box<dyn DiskFile>> {
        Ok(self.file(self.ram.create(name, len)?))
    }
    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        Ok(self.file(self.ram.open(name)?))
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.ram.rename(from, to)
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.ram.remove(name)
    }
    fn sync_dir(&self) -> io::Result<()> {
        if self.about_files { self.ram.sync_dir() } else { Ok(()) }
    }
}

impl DiskFile for LyingFile {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read_at(offset, buf)
    }
    fn write_at(&mut self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write_at(offset, data)
    }
    fn sync_data(&mut self) -> io::Result<()> {
        Ok(())
    }
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
    fn set_len(&mut self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }
}

#[test]
fn a_disk_that_lies_about_flushes_is_caught() {
    let about_files: fn(RamDisk) -> Arc<dyn Disk> = |ram| Arc::new(Liar { ram, about_files: true });
    let about_names: fn(RamDisk) -> Arc<dyn Disk> = |ram| Arc::new(Liar { ram, about_files: false });
    for liar in [about_files, about_names] {
        let caught = (0..100).filter(|&seed| History::new(seed, liar).run(12).is_err()).count();
        assert!(caught > 90, "only {caught} of 100 histories noticed");
    }
}
