//! Retained messages in the store: as [`match_retained`](chasqui_broker::retained::match_retained) goes through them, one by one, and in all.
//!
//! A seek reads a few records ahead and a walk reads more and more of them, so that `+` over scattered topics stays
//! cheap and `#` over many takes few reads.

use super::{message, space, store_error};
use bytes::Bytes;
use chasqui_broker::codec::ByteStr;
use chasqui_broker::message::Message;
use chasqui_broker::retained::{TopicCursor, key_of_topic};
use chasqui_broker::store::{RetainedTotals, StoreError};
use chasqui_storage::{Batch, Reader, RecordKey};
use std::collections::VecDeque;

/// Records read at once where all are.
const ALL_READ: usize = 256;

/// Records read by a seek.
const FIRST_READ: usize = 4;
/// Records read at once by a long walk.
const LONGEST_READ: usize = 64;

/// The retained message of a topic.
pub(super) fn at(reader: &Reader, topic: &str) -> Result<Option<Message>, StoreError> {
    let stored =
        reader.get(&RecordKey::ordered(space::RETAINED, &key_of_topic(topic))).map_err(store_error)?;
    stored.map(|stored| message::decode(&stored)).transpose().map_err(store_error)
}

/// All of them.
pub(super) fn each(reader: &Reader, visit: &mut dyn FnMut(Message)) -> Result<(), StoreError> {
    let mut from = Vec::new();
    loop {
        let page = reader.ordered_range(space::RETAINED, &from, None, ALL_READ).map_err(store_error)?;
        for (_, stored) in &page {
            visit(message::decode(stored).map_err(store_error)?);
        }
        match page.last() {
            // The first key behind another is that key and a zero byte.
            Some((last, _)) if page.len() == ALL_READ => from = [&last[..], &[0]].concat(),
            _ => return Ok(()),
        }
    }
}

/// How much there is, as written last.
pub(super) fn totals(reader: &Reader) -> Result<Option<RetainedTotals>, StoreError> {
    let stored = reader.get(&RecordKey::ordered(space::RETAINED_TOTALS, &[])).map_err(store_error)?;
    let totals = stored.map(|stored| {
        let (messages, bytes) = stored.split_at_checked(8)?;
        let number = |bytes: &[u8]| bytes.try_into().ok().map(u64::from_be_bytes);
        Some(RetainedTotals { messages: number(messages)?, bytes: number(bytes)? })
    });
    match totals {
        Some(None) => Err(StoreError::new("the count of retained messages is not 16 bytes")),
        totals => Ok(totals.flatten()),
    }
}

/// Writes how much there is.
pub(super) fn put_totals(batch: &mut Batch, totals: RetainedTotals) {
    let value = [totals.messages.to_be_bytes(), totals.bytes.to_be_bytes()].concat();
    batch.ordered_put(space::RETAINED_TOTALS, &[], &value);
}

/// What expires at this time or before, soonest first.
pub(super) fn expired(
    reader: &Reader,
    to_ms: u64,
    max_items: usize,
) -> Result<Vec<(u64, ByteStr)>, StoreError> {
    let end = to_ms.checked_add(1).map(u64::to_be_bytes);
    let end = end.as_ref().map(|end| &end[..]);
    let found = reader.ordered_range(space::RETAINED_EXPIRIES, &[], end, max_items).map_err(store_error)?;
    let expired = found.iter().map(|(key, _)| {
        parse_expiry(key).ok_or_else(|| {
            StoreError::new(format!(
                "a retained message expires under a key that is none: {}",
                key.escape_ascii()
            ))
        })
    });
    expired.collect()
}

/// The key of an expiry.
pub(super) fn expiry(at_ms: u64, topic: &str) -> Vec<u8> {
    [&at_ms.to_be_bytes()[..], topic.as_bytes()].concat()
}

fn parse_expiry(key: &[u8]) -> Option<(u64, ByteStr)> {
    let (at_ms, topic) = key.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*at_ms), ByteStr::try_from(std::str::from_utf8(topic).ok()?).ok()?))
}

/// A position among the retained messages.
pub(super) struct RetainedCursor<'a> {
    reader: &'a Reader,
    /// The record at hand, then those behind it.
    ahead: VecDeque<(Bytes, Bytes)>,
    /// How many records to read next; 0 when there are none behind `ahead`.
    next_read: usize,
}

impl<'a> RetainedCursor<'a> {
    /// At no topic until the first seek.
    pub(super) fn new(reader: &'a Reader) -> RetainedCursor<'a> {
        RetainedCursor { reader, ahead: VecDeque::new(), next_read: 0 }
    }

    fn read(&mut self, from: &[u8], count: usize) -> Result<(), StoreError> {
        let records =
            self.reader.ordered_range(space::RETAINED, from, None, count).map_err(super::store_error)?;
        self.next_read = if records.len() < count { 0 } else { (count * 2).min(LONGEST_READ) };
        self.ahead = records.into();
        Ok(())
    }
}

impl TopicCursor for RetainedCursor<'_> {
    type Value = Message;
    type Error = StoreError;

    fn seek(&mut self, from: &[u8]) -> Result<(), StoreError> {
        while self.ahead.front().is_some_and(|(key, _)| &**key < from) {
            if self.ahead.len() == 1 {
                break;
            }
            self.ahead.pop_front();
        }
        match self.ahead.front() {
            Some((key, _)) if &**key >= from => Ok(()),
            _ => self.read(from, FIRST_READ),
        }
    }

    fn advance(&mut self) -> Result<(), StoreError> {
        let Some((last, _)) = self.ahead.pop_front() else { return Ok(()) };
        if self.ahead.is_empty() && self.next_read > 0 {
            // The first key behind another is that key and a zero byte.
            self.read(&[&last[..], &[0]].concat(), self.next_read)?;
        }
        Ok(())
    }

    fn key(&self) -> Option<&[u8]> {
        self.ahead.front().map(|(key, _)| &**key)
    }

    fn value(&self) -> Result<Message, StoreError> {
        let (_, stored) = self.ahead.front().expect("a value is asked for only where there is a key");
        message::decode(stored).map_err(super::store_error)
    }

    fn weight(&self, message: &Message) -> usize {
        message.weight()
    }
}
