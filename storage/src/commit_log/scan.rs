//! Reading a segment: record by record, and, behind a record that does not check out, in search of one that does.
//!
//! The search tries every multiple of 8 up to the end of the file. A candidate costs a few compared bytes, one that
//! looks like a header a checksum of 20 bytes, and only one whose header checks out has its body read. So the search
//! is bounded by one pass over one segment, about 0.1 s for 64 MiB of left-over bytes, less for zeros.

use bytes::Bytes;

use super::record::{self, ALIGN, Unreadable};
use super::segment::{self, HEADER};
use super::{LogError, Position};
use crate::disk::{Disk, DiskFile};

/// Bytes read at a time.
const WINDOW: u64 = 1 << 20;
/// Bytes of a body checked at a time.
const PIECE: usize = 64 << 10;

/// A segment that is open for reading, and for being put in order.
pub(crate) struct Segment {
    pub(crate) file: Box<dyn DiskFile>,
    pub(crate) name: String,
    pub(crate) header: segment::Header,
    /// The length of the file in bytes.
    pub(crate) len: u64,
    window: Vec<u8>,
    window_at: u64,
    piece: Vec<u8>,
}

/// A record that checks out.
pub(crate) struct Record {
    pub(crate) end: Position,
    /// The payloads, each with the position at which it ends; the last ends with the record.
    pub(crate) payloads: Vec<(Position, Bytes)>,
}

impl Segment {
    pub(crate) fn open(disk: &dyn Disk, start: Position) -> Result<Self, LogError> {
        let name = segment::name(start);
        let file = disk.open(&name).map_err(LogError::disk("open", &name))?;
        let len = file.len().map_err(LogError::disk("read the length of", &name))?;
        let mut first = [0; HEADER as usize];
        let n = file.read_at(0, &mut first).map_err(LogError::disk("read", &name))?;
        let header = segment::Header::parse(&first[..n], &name)?;
        Ok(Self { file, name, header, len, window: Vec::new(), window_at: 0, piece: Vec::new() })
    }

    pub(crate) fn start(&self) -> Position {
        self.header.start
    }

    /// Where the file ends.
    pub(crate) fn limit(&self) -> Position {
        self.start().plus(self.len.saturating_sub(HEADER))
    }

    /// The place of `position` in the file.
    pub(crate) fn offset(&self, position: Position) -> u64 {
        HEADER + position.since(self.start())
    }

    /// Where the record ends that begins at `at`; `None` if none does that checks out and ends by `limit`. Whatever its
    /// size, it takes no more memory than a piece of it.
    pub(crate) fn check(&mut self, at: Position, limit: Position) -> Result<Option<Position>, LogError> {
        let Some(header) = self.intact(at, limit)? else { return Ok(None) };
        self.readable(&header, at)?;
        Ok(Some(at.plus(header.span())))
    }

    /// Where a record that has been checked ends; `None` if none begins at `at` that ends by `limit`.
    pub(crate) fn end(&mut self, at: Position, limit: Position) -> Result<Option<Position>, LogError> {
        Ok(self.header(at, limit)?.map(|header| at.plus(header.span())))
    }

    /// The record that begins at `at`; `None` if none does that checks out and ends by `limit`.
    pub(crate) fn record(&mut self, at: Position, limit: Position) -> Result<Option<Record>, LogError> {
        let Some(header) = self.header(at, limit)? else { return Ok(None) };
        let mut body = vec![0; header.length as usize];
        let read = self.file.read_at(self.offset(at) + record::HEADER as u64, &mut body);
        let n = read.map_err(LogError::disk("read", &self.name))?;
        if n < body.len() || !header.checks(&body) {
            return Ok(None);
        }
        self.readable(&header, at)?;
        let body = Bytes::from(body);
        let Some(payloads) = record::payloads(&body) else { return Ok(None) };
        let end = at.plus(header.span());
        let position = |ends: usize| {
            if ends == body.len() { end } else { at.plus((record::HEADER + ends) as u64) }
        };
        let payloads = payloads.into_iter().map(|(ends, payload)| (position(ends), payload)).collect();
        Ok(Some(Record { end, payloads }))
    }

    /// The first position from `from` on at which any intact record begins that ends by `limit`.
    pub(crate) fn search(&mut self, from: Position, limit: Position) -> Result<Option<Position>, LogError> {
        let mut at = Position::new(from.get().next_multiple_of(ALIGN));
        while at.plus(record::HEADER as u64) <= limit {
            if self.intact(at, limit)?.is_some() {
                return Ok(Some(at));
            }
            at = at.plus(self.zeros(self.offset(at)).max(ALIGN));
        }
        Ok(None)
    }

    /// How many bytes from `offset` on are zeros, of which none begins a record: a whole page, or 0 if that is not known.
    /// Looked at once per page, so that the search stays linear.
    fn zeros(&self, offset: u64) -> u64 {
        const RUN: usize = 4096;
        if !offset.is_multiple_of(RUN as u64) {
            return 0;
        }
        let within = offset.wrapping_sub(self.window_at) as usize;
        let run = self.window.get(within..).and_then(<[u8]>::first_chunk::<RUN>);
        if run.is_some_and(|run| run.iter().all(|&byte| byte == 0)) { RUN as u64 } else { 0 }
    }

    /// Whether this program knows how to read an intact record.
    fn readable(&self, header: &record::Header, at: Position) -> Result<(), LogError> {
        header.readable().map_err(|why| match why {
            Unreadable::Kind(kind) => LogError::UnknownRecord { file: self.name.clone(), position: at, kind },
            Unreadable::Version { found, known } => {
                let (found, known) = (found.into(), known.into());
                LogError::NewerFormat { file: self.name.clone(), found, known }
            }
        })
    }

    /// The header at `at`, if one is there that belongs there and whose record ends by `limit`.
    fn header(&mut self, at: Position, limit: Position) -> Result<Option<record::Header>, LogError> {
        let Some(bytes) = self.peek(self.offset(at))? else { return Ok(None) };
        let header = record::Header::parse(&bytes, self.header.key, at);
        Ok(header.filter(|header| at.plus(header.span()) <= limit))
    }

    /// The same, if the body behind it checks out too. It is read in pieces: nobody needs it yet.
    fn intact(&mut self, at: Position, limit: Position) -> Result<Option<record::Header>, LogError> {
        let Some(header) = self.header(at, limit)? else { return Ok(None) };
        let mut from = self.offset(at) + record::HEADER as u64;
        let end = from + u64::from(header.length);
        self.piece.resize(PIECE, 0);
        let mut sum = None;
        while from < end {
            let piece = &mut self.piece[..(end - from).min(PIECE as u64) as usize];
            let n = self.file.read_at(from, piece).map_err(LogError::disk("read", &self.name))?;
            if n < piece.len() {
                return Ok(None);
            }
            sum = Some(header.sum(sum, piece));
            from += n as u64;
        }
        Ok(sum.is_some_and(|sum| header.sums_up_to(sum)).then_some(header))
    }

    /// The 16 bytes at `offset`, by way of the window.
    fn peek(&mut self, offset: u64) -> Result<Option<[u8; record::HEADER]>, LogError> {
        let within = offset.wrapping_sub(self.window_at) as usize;
        if let Some(bytes) = self.window.get(within..).and_then(<[u8]>::first_chunk) {
            return Ok(Some(*bytes));
        }
        self.window.resize(self.len.saturating_sub(offset).min(WINDOW) as usize, 0);
        let read = self.file.read_at(offset, &mut self.window);
        let n = read.map_err(LogError::disk("read", &self.name))?;
        self.window.truncate(n);
        self.window_at = offset;
        Ok(self.window.first_chunk().copied())
    }

    /// Forgets what was read ahead, after the file was written to.
    pub(crate) fn reread(&mut self) {
        self.window.clear();
    }
}
