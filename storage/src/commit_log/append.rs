//! The log while it is in use: append, roll over to the next segment, release the oldest.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use bytes::Bytes;

use super::record::{self, Key};
use super::segment::{self, HEADER};
use super::spare::{self, Spare};
use super::{AppendError, LogError, LogOptions, MAX_BATCH_BYTES, Poisoned, Position};
use crate::disk::{Disk, DiskFile};
use crate::mutation::{Mutation, mutated};

/// A larger buffer than this is given back after the batch that needed it.
const BUFFER_KEPT: usize = 8 << 20;

/// The commit log. It has one owner, and does its work on that owner's thread.
pub struct CommitLog {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) options: LogOptions,
    pub(super) key: Key,
    /// Where the segments before the active one begin, ascending. Those that were released long ago may be missing
    /// in between.
    pub(super) closed: VecDeque<Position>,
    pub(super) active: Active,
    /// Everything below is durable.
    pub(super) end: Position,
    pub(super) spare: Spare,
    /// A second released segment waits as [`spare::RESERVE`], durably: whoever writes faster than the overlay goes down needs more than
    /// one at a time, gets several back at once, and would otherwise fill with zeros what he has just removed.
    pub(super) reserve: bool,
    pub(super) buffer: Vec<u8>,
    pub(super) poisoned: Option<Poisoned>,
}

/// The segment that is appended to.
pub(super) struct Active {
    pub(super) file: Box<dyn DiskFile>,
    pub(super) start: Position,
    /// The length of the file in bytes.
    pub(super) len: u64,
}

impl CommitLog {
    /// Appends all payloads as one batch: one write, one flush. After a crash all of them are there, or none.
    ///
    /// Returns the end of the batch when it is durable. Empty payloads write nothing; if there is nothing else, nothing
    /// is touched and the end of the log is returned.
    ///
    /// After [`AppendError::Failed`] the log is poisoned for good.
    pub fn append(&mut self, payloads: &[Bytes]) -> Result<Position, AppendError> {
        if let Some(poisoned) = &self.poisoned {
            return Err(poisoned.clone().into());
        }
        let span = record::span(payloads);
        if span == 0 {
            return Ok(self.end);
        }
        if span > MAX_BATCH_BYTES {
            return Err(AppendError::TooLarge { bytes: span, limit: MAX_BATCH_BYTES });
        }
        match self.write(span, payloads) {
            Ok(()) => Ok(self.end),
            Err(error) => {
                tracing::error!(%error, position = %self.end, "the commit log takes no more writes");
                if !mutated(Mutation::GoesOnAfterFailure) {
                    self.poisoned = Some(Poisoned::new(&error));
                }
                Err(error.into())
            }
        }
    }

    fn write(&mut self, span: u64, payloads: &[Bytes]) -> Result<(), LogError> {
        let fits = self.offset() + span <= self.active.len;
        // In an empty segment it is written anyway: then it is too large for any, and the file grows.
        if !fits && self.end > self.active.start {
            self.roll_over()?;
        }
        record::encode(&mut self.buffer, self.key, self.end, payloads);
        let offset = self.offset();
        let Active { file, start, .. } = &mut self.active;
        let failed = |what, error| LogError::disk(what, &segment::name(*start))(error);
        file.write_at(offset, &self.buffer).map_err(|error| failed("write to", error))?;
        if !mutated(Mutation::SkipsFlush) {
            file.sync_data().map_err(|error| failed("flush", error))?;
        }
        self.end = self.end.plus(span);
        self.active.len = self.active.len.max(offset + span);
        if self.buffer.capacity() > BUFFER_KEPT {
            self.buffer = Vec::new();
        }
        Ok(())
    }

    /// Everything before is durable, as is the new segment when this returns; only then is it written to.
    fn roll_over(&mut self) -> Result<(), LogError> {
        let header = segment::Header { key: self.key, start: self.end };
        let (file, len) = self.spare.become_segment(&*self.disk, self.options.segment_len(), header)?;
        let full = std::mem::replace(&mut self.active, Active { file, start: self.end, len });
        self.closed.push_back(full.start);
        // Not yet durable under that name, which it leaves for a durable one before anything rests on it.
        if std::mem::take(&mut self.reserve) && self.disk.rename(spare::RESERVE, spare::NAME).is_ok() {
            self.spare = Spare::Recycled;
        }
        Ok(())
    }

    fn offset(&self) -> u64 {
        HEADER + self.end.since(self.active.start)
    }

    /// Makes the next segment ready, a step at a time; to be called between batches, when nobody waits.
    ///
    /// It begins when a quarter of the active segment is used, so that a released one may come first, and keeps pace
    /// with use so as to be done at three quarters. Without it a rollover does all of the work at once.
    pub fn prepare(&mut self) {
        if self.poisoned.is_some() {
            return;
        }
        let used = self.offset();
        let quarter = self.active.len / 4;
        if used < quarter {
            return;
        }
        let len = self.options.segment_len();
        let share = u128::from(used - quarter) * 2 + 1;
        let target = u128::from(len) * share / u128::from(self.active.len.max(1));
        self.spare.prepare(&*self.disk, len, u64::try_from(target).unwrap_or(u64::MAX));
    }

    /// Gives up the segments that lie wholly below `upto`; to be called when something else holds all that is in them,
    /// durably. Two of them may be kept for reuse.
    ///
    /// An error leaves the log as it is; what could not be removed is tried again with the next call.
    pub fn release(&mut self, upto: Position) -> io::Result<()> {
        let mut kept = Vec::new();
        let mut changed = false;
        let result = loop {
            let Some(&oldest) = self.closed.front() else { break Ok(()) };
            let ends = self.closed.get(1).copied().unwrap_or(self.active.start);
            if ends > upto {
                break Ok(());
            }
            match self.give_up(oldest, &kept) {
                Ok(name) => kept.extend(name),
                Err(error) => break Err(error),
            }
            changed = true;
            self.closed.pop_front();
        };
        if changed {
            self.disk.sync_dir()?;
        }
        // Not earlier: while the old name can come back, the file must keep what belongs to it.
        if kept.contains(&spare::NAME) {
            self.spare = Spare::Recycled;
        }
        self.reserve |= kept.contains(&spare::RESERVE);
        result
    }

    /// Under which name the segment was kept for reuse, if it was.
    fn give_up(&mut self, start: Position, kept: &[&'static str]) -> io::Result<Option<&'static str>> {
        let name = segment::name(start);
        let place = if self.spare.is_unfinished() && !kept.contains(&spare::NAME) {
            Some(spare::NAME)
        } else if !self.reserve && !kept.contains(&spare::RESERVE) {
            Some(spare::RESERVE)
        } else {
            None
        };
        if let Some(place) = place.filter(|_| self.poisoned.is_none()) {
            let len = self.disk.open(&name)?.len()?;
            if len == self.options.segment_len() {
                if place == spare::NAME {
                    // It takes the name of a file that is still being filled, which nobody may write to any more.
                    self.spare = Spare::GivenUp;
                }
                self.disk.rename(&name, place)?;
                return Ok(Some(place));
            }
        }
        self.disk.remove(&name)?;
        Ok(None)
    }

    /// The end of the last batch. Everything below is durable.
    pub fn end(&self) -> Position {
        self.end
    }

    /// Where the oldest segment begins that was not released.
    pub fn start(&self) -> Position {
        self.closed.front().copied().unwrap_or(self.active.start)
    }

    /// How many segments there are, the active one included.
    pub fn segments(&self) -> usize {
        self.closed.len() + 1
    }

    /// Whether the log takes no more writes.
    pub fn is_poisoned(&self) -> bool {
        self.poisoned.is_some()
    }

    /// The failure after which the log takes no more writes.
    pub fn poisoned(&self) -> Option<&Poisoned> {
        self.poisoned.as_ref()
    }
}
