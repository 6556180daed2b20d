//! Reading a log across the layers.
//!
//! Where a layer holds fresh entries of a log, nothing below has them (see [`crate::overlay::log_part`]): the log is the
//! store's entries, then the sealed layer's, then the active one's, with what was rewritten and trimmed since laid over.
//! A reader at the tail needs the active layer alone.

use super::Reader;
use crate::{
    key::{LogId, log_entry},
    kv::{Direction, KvError},
    overlay::{layers::Layer, log_part::LogPart, ranges::Ranges},
};
use bytes::Bytes;
use std::{
    collections::{BTreeMap, btree_map},
    iter::Peekable,
    ops::ControlFlow,
};

/// What a layer holds of a log at or above a sequence number, copied out.
struct Part {
    fresh_from: u64,
    /// Ascending; no more of them than a page takes. To clone one is to count it, so bytes do not matter here.
    fresh: Vec<(u64, Bytes)>,
    rewritten: Vec<(u64, Bytes)>,
    trimmed: Ranges,
}

/// Entries as they are collected, bounded in number and bytes.
struct Page {
    entries: Vec<(u64, Bytes)>,
    max_items: usize,
    bytes_left: usize,
}

/// Entries of the lower layers with what newer layers say laid over them.
struct Merge<'a> {
    page: &'a mut Page,
    /// Rewritten entries that count, ascending.
    over: Peekable<btree_map::IntoIter<u64, Bytes>>,
    hidden: [&'a Ranges; 2],
}

impl Reader {
    /// Entries of `log` at or above `from`, ascending: at most `max_items`, and at most `max_bytes` of values unless the
    /// first alone is larger. Trimmed entries are not there.
    pub fn read_log(
        &self,
        log: &LogId,
        from: u64,
        max_items: usize,
        max_bytes: usize,
    ) -> Result<Vec<(u64, Bytes)>, KvError> {
        let layers = self.stack.layers();
        let mut page = Page { entries: Vec::new(), max_items, bytes_left: max_bytes };
        if max_items == 0 {
            return Ok(page.entries);
        }
        let active = Part::copy(&layers.active, log, from, max_items, |_| true);
        if from < active.fresh_from {
            // Counted without what the active layer hides: what is left out behind the last one would be a hole.
            let seen = |seq| seq < active.fresh_from && !active.trimmed.contains(seq);
            let sealed = match &layers.sealed {
                Some(sealed) => Part::copy(&sealed.layer, log, from, max_items, seen),
                None => Part::empty(),
            };
            let hidden = [&active.trimmed, &sealed.trimmed];
            let over = overrides(&active, &sealed).into_iter().peekable();
            let mut merge = Merge { page: &mut page, over, hidden };
            let store_end = active.fresh_from.min(sealed.fresh_from);
            let flow = if from < store_end {
                self.merge_store(log, from, store_end, &mut merge)?
            } else {
                ControlFlow::Continue(())
            };
            if flow.is_break() || merge.offer_all(&sealed.fresh).is_break() || merge.finish().is_break() {
                return Ok(page.entries);
            }
        }
        for (seq, value) in active.fresh {
            if page.push(seq, value).is_break() {
                break;
            }
        }
        Ok(page.entries)
    }

    /// The number of the last entry that is there. A log whose entries are all trimmed has none: its head belongs in a
    /// record.
    pub fn last_seq(&self, log: &LogId) -> Result<Option<u64>, KvError> {
        let layers = self.stack.layers();
        let last_fresh = layers.active.read().log_part(log.as_bytes()).and_then(LogPart::last_fresh);
        if last_fresh.is_some() {
            return Ok(last_fresh);
        }
        let active = Part::copy(&layers.active, log, 0, 0, |_| true);
        let seen = |seq| seq < active.fresh_from && !active.trimmed.contains(seq);
        let sealed = match &layers.sealed {
            Some(sealed) => Part::copy(&sealed.layer, log, 0, usize::MAX, seen),
            None => Part::empty(),
        };
        let rewritten = overrides(&active, &sealed).last_key_value().map(|(seq, _)| *seq);
        let fresh = sealed.fresh.last().map(|(seq, _)| *seq);
        let store_end = active.fresh_from.min(sealed.fresh_from);
        let stored = self.last_stored(log.as_bytes(), store_end, [&active.trimmed, &sealed.trimmed])?;
        Ok(rewritten.max(fresh).max(stored))
    }

    /// A number that no entry of `log` is behind: that of its last one, or of a later one that was trimmed. Costs one seek, whatever was
    /// trimmed.
    pub fn seq_bound(&self, log: &LogId) -> Result<Option<u64>, KvError> {
        let layers = self.stack.layers();
        let last_fresh = |layer: &Layer| layer.read().log_part(log.as_bytes()).and_then(LogPart::last_fresh);
        let sealed = || layers.sealed.as_ref().and_then(|sealed| last_fresh(&sealed.layer));
        if let Some(fresh) = last_fresh(&layers.active).or_else(sealed) {
            return Ok(Some(fresh));
        }
        let (first, end) = (log_entry::prefix(log.as_bytes()), log_entry::key(log.as_bytes(), u64::MAX));
        let last = self.stack.kv().last_key(first.as_bytes(), end.as_bytes())?;
        Ok(last.and_then(|key| log_entry::parse(&key).map(|(_, seq)| seq)))
    }

    fn merge_store(
        &self,
        log: &LogId,
        from: u64,
        to: u64,
        merge: &mut Merge<'_>,
    ) -> Result<ControlFlow<()>, KvError> {
        // Starts behind what is trimmed: the store may still hold a long stretch of it.
        let mut start = from;
        while let Some(end) = merge.hidden.iter().find_map(|ranges| ranges.end_around(start)) {
            start = end;
        }
        let mut flow = ControlFlow::Continue(());
        if start < to {
            let key = |seq| log_entry::key(log.as_bytes(), seq);
            self.stack.kv().scan(
                key(start).as_bytes(),
                key(to).as_bytes(),
                Direction::Forward,
                &mut |key, value| {
                    if let Some((_, seq)) = log_entry::parse(key) {
                        flow = merge.offer(seq, || Bytes::copy_from_slice(value));
                    }
                    flow
                },
            )?;
        }
        Ok(flow)
    }

    /// The last entry below `end` in the store that no layer hides.
    fn last_stored(&self, log: &[u8], mut end: u64, hidden: [&Ranges; 2]) -> Result<Option<u64>, KvError> {
        let first = log_entry::prefix(log);
        loop {
            let mut last = None;
            let to = log_entry::key(log, end);
            self.stack.kv().scan(first.as_bytes(), to.as_bytes(), Direction::Backward, &mut |key, _| {
                last = log_entry::parse(key).map(|(_, seq)| seq);
                ControlFlow::Break(())
            })?;
            let Some(last) = last else { return Ok(None) };
            match hidden.iter().find_map(|ranges| ranges.start_around(last)) {
                None => return Ok(Some(last)),
                Some(start) => end = start,
            }
        }
    }
}

impl Part {
    fn empty() -> Part {
        Part { fresh_from: u64::MAX, fresh: Vec::new(), rewritten: Vec::new(), trimmed: Ranges::default() }
    }

    /// Copies what a layer holds of `log` from `from` on; of the fresh entries the first `max` that are `seen`.
    fn copy(layer: &Layer, log: &LogId, from: u64, max: usize, seen: impl Fn(u64) -> bool) -> Part {
        let layer = layer.read();
        let Some(part) = layer.log_part(log.as_bytes()) else { return Part::empty() };
        let own = |(seq, value): (u64, &Bytes)| (seq, value.clone());
        Part {
            fresh_from: part.fresh_from(),
            fresh: part.fresh(from).filter(|entry| seen(entry.0)).take(max).map(own).collect(),
            rewritten: part.rewritten(from).map(own).collect(),
            trimmed: part.trimmed().clone(),
        }
    }
}

/// The rewritten entries of both layers that count: the active one's, and of the sealed one's those it does not hide.
fn overrides(active: &Part, sealed: &Part) -> BTreeMap<u64, Bytes> {
    let mut over: BTreeMap<u64, Bytes> = sealed
        .rewritten
        .iter()
        .filter(|(seq, _)| *seq < active.fresh_from && !active.trimmed.contains(*seq))
        .cloned()
        .collect();
    over.extend(active.rewritten.iter().cloned());
    over
}

impl Page {
    fn push(&mut self, seq: u64, value: Bytes) -> ControlFlow<()> {
        if self.entries.len() == self.max_items || (value.len() > self.bytes_left && !self.entries.is_empty())
        {
            return ControlFlow::Break(());
        }
        self.bytes_left = self.bytes_left.saturating_sub(value.len());
        self.entries.push((seq, value));
        ControlFlow::Continue(())
    }
}

impl Merge<'_> {
    /// Takes an entry of a lower layer, behind the rewritten ones before it and unless it is rewritten or hidden.
    fn offer(&mut self, seq: u64, value: impl FnOnce() -> Bytes) -> ControlFlow<()> {
        while let Some((at, rewritten)) = self.over.next_if(|(at, _)| *at <= seq) {
            self.page.push(at, rewritten)?;
            if at == seq {
                return ControlFlow::Continue(());
            }
        }
        if self.hidden.iter().any(|ranges| ranges.contains(seq)) {
            return ControlFlow::Continue(());
        }
        self.page.push(seq, value())
    }

    /// Takes the sealed layer's fresh entries. Its own trims are older than they are, and the active one's are left out already.
    fn offer_all(&mut self, entries: &[(u64, Bytes)]) -> ControlFlow<()> {
        self.hidden = [self.hidden[0]; 2];
        entries.iter().try_for_each(|(seq, value)| self.offer(*seq, || value.clone()))
    }

    fn finish(&mut self) -> ControlFlow<()> {
        for (seq, value) in self.over.by_ref() {
            self.page.push(seq, value)?;
        }
        ControlFlow::Continue(())
    }
}
