//! Opening a log: check all of it, put its tail in order, make it durable, replay it. In this order, so that a damaged
//! log is left as it was found, and nothing is replayed that a power cut could still take back.
//!
//! Segments that lie wholly below the position to replay from are not looked at: a release that a crash interrupted
//! may have removed some of them.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use super::append::Active;
use super::scan::Segment;
use super::spare::{self, Spare};
use super::{CommitLog, LogError, LogOptions, OpenError, Position, segment};
use crate::disk::Disk;

/// Bytes looked at, and zeroed where needed, at a time.
const CHUNK: usize = 64 << 10;

impl CommitLog {
    /// Opens the log on `disk`, or creates it if the folder is empty and `from` is 0.
    ///
    /// Gives every payload that ends behind `from` to `replay`, in order, with the position at which it ends; the last
    /// of a batch ends with the batch. What a crash left of a batch that was never acknowledged is cut off.
    ///
    /// Reads the segments from the one that `from` lies in on, twice; if there is a torn tail, or left-over bytes in a
    /// reused segment, zeroes what is behind the end of the last one.
    pub fn open<E>(
        disk: Arc<dyn Disk>,
        options: LogOptions,
        from: Position,
        mut replay: impl FnMut(Position, Bytes) -> Result<(), E>,
    ) -> Result<Self, OpenError<E>> {
        let mut starts = tidy(&*disk)?;
        if starts.is_empty() {
            if from > Position::default() {
                return Err(LogError::Missing { from }.into());
            }
            return Ok(Self::create(disk, options, from)?);
        }
        let mut chain = Chain::check(&*disk, &starts, from)?;
        if from > chain.end {
            return Err(LogError::Behind { from, end: chain.end }.into());
        }
        chain.settle_tail()?;
        for (segment, end) in &mut chain.segments {
            let mut at = segment.start();
            while at < *end {
                // What the state stands for already is not even read.
                if let Some(behind) = segment.end(at, *end)?.filter(|behind| *behind <= from) {
                    at = behind;
                    continue;
                }
                let Some(record) = segment.record(at, *end)? else {
                    let (file, position) = (segment.name.clone(), at);
                    return Err(LogError::Damaged { file, position, next_valid: *end }.into());
                };
                for (position, payload) in
                    record.payloads.into_iter().filter(|(position, _)| *position > from)
                {
                    replay(position, payload).map_err(|error| OpenError::Replay { position, error })?;
                }
                at = record.end;
            }
        }
        let (last, end) = chain.segments.pop().expect("a chain has at least one segment");
        starts.pop();
        tracing::info!(%from, %end, segments = starts.len() + 1, "commit log open");
        Ok(Self {
            disk,
            options,
            key: last.header.key,
            closed: VecDeque::from(starts),
            active: Active { start: last.start(), file: last.file, len: last.len },
            end,
            spare: Spare::default(),
            reserve: false,
            buffer: Vec::new(),
            poisoned: None,
        })
    }

    /// Creates a log that begins at `start`, to go on from a state that was restored without its log. Fails if there
    /// is one.
    pub fn create(disk: Arc<dyn Disk>, options: LogOptions, start: Position) -> Result<Self, LogError> {
        if let Some(&first) = tidy(&*disk)?.first() {
            return Err(LogError::Exists { file: segment::name(first) });
        }
        let key = super::record::Key(options.key.unwrap_or_else(random_key));
        let mut spare = Spare::default();
        let (file, len) =
            spare.become_segment(&*disk, options.segment_len(), segment::Header { key, start })?;
        Ok(Self {
            disk,
            options,
            key,
            closed: VecDeque::new(),
            active: Active { file, start, len },
            end: start,
            spare,
            reserve: false,
            buffer: Vec::new(),
            poisoned: None,
        })
    }
}

/// Refuses a log of which any part was written by a newer version. Changes nothing.
pub(crate) fn refuse_newer(disk: &dyn Disk) -> Result<(), LogError> {
    let names = disk.list().map_err(LogError::disk("list", "its folder"))?;
    for start in names.iter().filter_map(|name| segment::parse_name(name)) {
        // What else may be wrong with a segment matters only where it is needed.
        if let Err(error @ LogError::NewerFormat { .. }) = Segment::open(disk, start) {
            return Err(error);
        }
    }
    Ok(())
}

/// Where the segments begin, ascending. Removes a spare, whose state nobody knows any more, and makes the names that
/// are seen durable.
fn tidy(disk: &dyn Disk) -> Result<Vec<Position>, LogError> {
    let names = disk.list().map_err(LogError::disk("list", "its folder"))?;
    for spare in [spare::NAME, spare::RESERVE] {
        if names.iter().any(|name| name == spare) {
            disk.remove(spare).map_err(LogError::disk("remove", spare))?;
        }
    }
    disk.sync_dir().map_err(LogError::disk("flush", "its folder"))?;
    let mut starts: Vec<Position> = names.iter().filter_map(|name| segment::parse_name(name)).collect();
    starts.sort_unstable();
    Ok(starts)
}

/// The system's randomness, by way of the standard library's hash seeds.
fn random_key() -> [u8; 16] {
    use std::hash::{BuildHasher, Hasher, RandomState};
    let half = || RandomState::new().build_hasher().finish().to_le_bytes();
    let mut key = [0; 16];
    key[..8].copy_from_slice(&half());
    key[8..].copy_from_slice(&half());
    key
}

/// The segments to replay, each with the end of its last record, where the next one begins.
struct Chain {
    segments: Vec<(Segment, Position)>,
    /// Where the last record of the last segment begins, if that has one.
    last_record: Option<Position>,
    end: Position,
}

impl Chain {
    /// Checks every record from the segment on that `from` lies in. Changes nothing.
    fn check(disk: &dyn Disk, starts: &[Position], from: Position) -> Result<Self, LogError> {
        let below = starts.partition_point(|&start| start <= from);
        let Some(first) = below.checked_sub(1) else {
            return Err(LogError::Gap { from, first: starts[0] });
        };
        let needed = &starts[first..];
        let mut segments: Vec<(Segment, Position)> = Vec::with_capacity(needed.len());
        let mut last_record = None;
        for (i, &start) in needed.iter().enumerate() {
            let mut segment = Segment::open(disk, start)?;
            if let Some((before, _)) = segments.first()
                && before.header.key != segment.header.key
            {
                let reason = "it belongs to another log";
                return Err(LogError::BadSegment { file: segment.name, reason });
            }
            let next = needed.get(i + 1).copied();
            // A next segment is made when everything before it is durable: it proves that the log reached it.
            let limit = next.unwrap_or_else(|| segment.limit());
            let mut at = start;
            last_record = None;
            while let Some(end) = segment.check(at, limit)? {
                last_record = Some(at);
                at = end;
            }
            if next != Some(at) {
                let behind = at.plus(super::record::ALIGN);
                if let Some(next_valid) = segment.search(behind, limit)?.or(next) {
                    return Err(LogError::Damaged { file: segment.name, position: at, next_valid });
                }
            }
            segments.push((segment, at));
        }
        let end = segments.last().map_or(from, |(_, end)| *end);
        Ok(Self { segments, last_record, end })
    }

    /// Makes the log durable as it was read, with nothing but zeros behind its end.
    ///
    /// The process before this one may have been killed between write and flush, or after a flush that failed: then
    /// the last batch is in the system's cache but not on the medium, and the cache may even count it as clean. It
    /// is written again, with the same bytes, and flushed.
    fn settle_tail(&mut self) -> Result<(), LogError> {
        let (segment, end) = self.segments.last_mut().expect("a chain has at least one segment");
        let end = segment.offset(*end);
        let name = segment.name.clone();
        let read = || LogError::disk("read", &name);
        let write = || LogError::disk("write to", &name);
        if let Some(record) = self.last_record {
            let at = segment.offset(record);
            let mut bytes = vec![0; (end.min(segment.len) - at) as usize];
            segment.file.read_at(at, &mut bytes).map_err(read())?;
            segment.file.write_at(at, &bytes).map_err(write())?;
        }
        let mut chunk = vec![0; segment.len.saturating_sub(end).min(CHUNK as u64) as usize];
        let mut cut = 0;
        let mut at = end;
        while at < segment.len {
            let n = (segment.len - at).min(CHUNK as u64) as usize;
            let n = segment.file.read_at(at, &mut chunk[..n]).map_err(read())?;
            if n == 0 {
                break;
            }
            if chunk[..n].iter().any(|&byte| byte != 0) {
                chunk[..n].fill(0);
                segment.file.write_at(at, &chunk[..n]).map_err(write())?;
                cut += n;
            }
            at += n as u64;
        }
        segment.file.sync_data().map_err(LogError::disk("flush", &name))?;
        segment.reread();
        if cut > 0 {
            tracing::info!(file = name, position = %self.end, bytes = cut, "cleared what lay behind the end of the log");
        }
        Ok(())
    }
}
