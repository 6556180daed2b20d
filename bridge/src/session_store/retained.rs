//! Retained messages in the store, as [`match_retained`](chasqui_broker::retained::match_retained) goes through them.
//!
//! A seek reads a few records ahead and a walk reads more and more of them, so that `+` over scattered topics stays
//! cheap and `#` over many takes few reads.

use super::{message, space};
use bytes::Bytes;
use chasqui_broker::message::Message;
use chasqui_broker::retained::TopicCursor;
use chasqui_broker::store::StoreError;
use chasqui_storage::Reader;
use std::collections::VecDeque;

/// Records read by a seek.
const FIRST_READ: usize = 4;
/// Records read at once by a long walk.
const LONGEST_READ: usize = 64;

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
