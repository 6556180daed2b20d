//! The bytes of one file of a [`RamDisk`](super::RamDisk): what a reader sees, and what a power cut may leave of it.
//!
//! A sector that was never written reads as zeros and takes no memory, so that large preallocated files cost nothing.

use std::collections::{BTreeMap, BTreeSet};

use crate::disk::SECTOR;

type Bytes512 = [u8; SECTOR as usize];

#[derive(Default)]
pub(super) struct Content {
    len: u64,
    synced_len: u64,
    sectors: BTreeMap<u64, Sector>,
    /// Sectors that the next successful flush makes durable. A sector whose flush failed is not among them until it
    /// is written again, but keeps its `before`.
    dirty: BTreeSet<u64>,
}

struct Sector {
    live: Bytes512,
    /// What is on the medium for certain, where that differs.
    before: Option<Box<Bytes512>>,
}

impl Content {
    pub(super) fn new(len: u64) -> Self {
        Self { len, ..Self::default() }
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    pub(super) fn read(&self, offset: u64, buf: &mut [u8]) -> usize {
        let n = self.len.saturating_sub(offset).min(buf.len() as u64) as usize;
        for (index, within, part) in pieces(offset, n) {
            match self.sectors.get(&index) {
                Some(sector) => buf[part.clone()].copy_from_slice(&sector.live[within..within + part.len()]),
                None => buf[part].fill(0),
            }
        }
        n
    }

    pub(super) fn write(&mut self, offset: u64, data: &[u8]) {
        for (index, within, part) in pieces(offset, data.len()) {
            let data = &data[part];
            if !self.sectors.contains_key(&index) && data.iter().all(|&b| b == 0) {
                continue;
            }
            let sector = self.sectors.entry(index).or_insert_with(Sector::zeros);
            if sector.before.is_none() {
                sector.before = Some(Box::new(sector.live));
            }
            sector.live[within..within + data.len()].copy_from_slice(data);
            self.dirty.insert(index);
        }
        self.len = self.len.max(offset + data.len() as u64);
    }

    pub(super) fn set_len(&mut self, len: u64) {
        if len < self.len {
            // What lies behind must read as zeros if the file grows again.
            let zeros = vec![0; (self.len - len) as usize];
            self.write(len, &zeros);
        }
        self.len = len;
    }

    /// Drops what lies behind the end.
    fn cut(&mut self) {
        let within = (self.len % SECTOR) as usize;
        let mut behind = self.sectors.split_off(&(self.len / SECTOR));
        if let (1.., Some(mut last)) = (within, behind.remove(&(self.len / SECTOR))) {
            last.live[within..].fill(0);
            self.sectors.insert(self.len / SECTOR, last);
        }
    }

    pub(super) fn sync(&mut self) {
        for index in std::mem::take(&mut self.dirty) {
            if let Some(sector) = self.sectors.get_mut(&index) {
                sector.before = None;
            }
        }
        self.synced_len = self.len;
    }

    pub(super) fn sync_failed(&mut self) {
        self.dirty.clear();
    }

    /// `keep` decides for each thing that is not durable whether it survives.
    pub(super) fn power_cut(&mut self, mut keep: impl FnMut() -> bool) {
        for sector in self.sectors.values_mut() {
            if let Some(before) = sector.before.take()
                && !keep()
            {
                sector.live = *before;
            }
        }
        self.dirty.clear();
        if self.len != self.synced_len && !keep() {
            self.len = self.synced_len;
            self.cut();
        }
        self.synced_len = self.len;
    }

    pub(super) fn flip_bit(&mut self, offset: u64, bit: u32) {
        assert!(offset < self.len, "offset {offset} is beyond the end, {}", self.len);
        let sector = self.sectors.entry(offset / SECTOR).or_insert_with(Sector::zeros);
        sector.live[(offset % SECTOR) as usize] ^= 1 << (bit % 8);
    }

    /// Nobody can reach this file any more.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }
}

impl Sector {
    fn zeros() -> Self {
        Self { live: [0; SECTOR as usize], before: None }
    }
}

/// The sectors that `len` bytes from `offset` on lie in: sector, offset within it, and which of the bytes.
fn pieces(offset: u64, len: usize) -> impl Iterator<Item = (u64, usize, std::ops::Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        if done == len {
            return None;
        }
        let at = offset + done as u64;
        let within = (at % SECTOR) as usize;
        let n = (SECTOR as usize - within).min(len - done);
        let part = done..done + n;
        done += n;
        Some((at / SECTOR, within, part))
    })
}
