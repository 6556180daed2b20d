//! `do/history`: a page of what was said in a conversation, as far as who asks may see it.
//!
//! It changes nothing and is not decided by the machine: what is durable is read on the connection's thread, at a cost that follows
//! what is asked for.

use super::sight::Sight;
use crate::machine::stored::{StoredMessage, Was, gone_content, is_change, is_gone, was_message};
use crate::sequencer::fetch::{self, FetchError};
use crate::sequencer::names;
use bytes::Bytes;
use chasqui_proto::limits::{HISTORY_MAX_BYTES, HISTORY_MAX_ITEMS};
use chasqui_proto::{ChatName, ConversationId, ErrorCode, MessageEntry, Refusal, Seq, UserId};
use chasqui_storage::{LogId, Reader};
use std::collections::HashSet;
use std::ops::RangeInclusive;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Query {
    /// The conversation, as who asks names it.
    pub(super) chat: ChatName,
    /// Which part of it.
    pub(super) part: Part,
    /// Messages at most; 0 for as many as there may be.
    pub(super) limit: u32,
}

/// A part of a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// The newest before this one, which is not among them; [`Seq::NONE`] for the newest of all.
    Before(Seq),
    /// The oldest from this one on.
    From(Seq),
}

/// A page: messages in the order of their numbers, each encoded as a `Message`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) messages: Vec<Bytes>,
    /// Whether there is more in the direction that was asked for.
    pub(super) more: bool,
}

/// Reads a page.
///
/// # Errors
/// A conversation that is not there, or not for `user` to see: they look the same.
pub(super) fn read(
    reader: &Reader,
    user: &UserId,
    query: &Query,
    now_ms: u64,
) -> Result<Result<Page, Refusal>, FetchError> {
    let me = fetch::user(reader, user)?;
    let sight = Sight::load(reader, (user, &me), &query.chat, now_ms)?;
    if !sight.is_there() {
        return Ok(Err(ErrorCode::NoSuchMessage.into()));
    }
    let kept = fetch::kept(reader, user, &query.chat)?.of_life(me.lives);
    page(reader, user, &sight.behind(kept.cleared), query).map(Ok)
}

/// Reads a page of what `sight` reaches.
pub(super) fn page(reader: &Reader, user: &UserId, sight: &Sight, query: &Query) -> Result<Page, FetchError> {
    let limit = match query.limit as usize {
        0 => HISTORY_MAX_ITEMS,
        limit => limit.min(HISTORY_MAX_ITEMS),
    };
    let log = names::conversation(&ConversationId::named_by(user, &query.chat));
    let mut filling = Filling { reader, log, user, sight, query, limit, bytes: 0, page: Page::default() };
    match query.part {
        Part::From(from) => {
            for stay in &sight.visible {
                filling.forwards((*stay.start()).max(from.0)..=*stay.end())?;
            }
        }
        Part::Before(before) => {
            let last = if before == Seq::NONE { u64::MAX } else { before.0 - 1 };
            for stay in sight.visible.iter().rev() {
                filling.backwards(*stay.start()..=(*stay.end()).min(last))?;
            }
            filling.page.messages.reverse();
        }
    }
    Ok(filling.page)
}

/// A page that is being filled. What is read is what is looked at: what somebody may not see is not read.
struct Filling<'a> {
    reader: &'a Reader,
    log: LogId,
    user: &'a UserId,
    sight: &'a Sight,
    query: &'a Query,
    limit: usize,
    bytes: usize,
    page: Page,
}

impl Filling<'_> {
    fn forwards(&mut self, range: RangeInclusive<u64>) -> Result<(), FetchError> {
        let mut from = *range.start();
        while from <= *range.end() && !self.page.more {
            let entries = self.reader.read_log(&self.log, from, self.limit + 1, HISTORY_MAX_BYTES)?;
            let Some(&(last, _)) = entries.last() else { return Ok(()) };
            let hidden = self.hidden(from, last)?;
            from = last + 1;
            for (seq, stored) in entries.into_iter().filter(|(seq, _)| range.contains(seq)) {
                self.put(Seq(seq), &stored, &hidden)?;
            }
        }
        Ok(())
    }

    fn backwards(&mut self, range: RangeInclusive<u64>) -> Result<(), FetchError> {
        let mut end = *range.end();
        while end >= *range.start() && !self.page.more {
            // The pieces are as long as the page: numbers have few gaps.
            let from = (end.saturating_sub(self.limit as u64)).max(*range.start());
            let mut entries = self.reader.read_log(&self.log, from, (end - from + 1) as usize, usize::MAX)?;
            entries.retain(|(seq, _)| *seq <= end);
            let hidden = self.hidden(from, end)?;
            for (seq, stored) in entries.into_iter().rev() {
                self.put(Seq(seq), &stored, &hidden)?;
            }
            end = from - 1;
        }
        Ok(())
    }

    fn hidden(&self, from: u64, to: u64) -> Result<HashSet<Seq>, FetchError> {
        self.sight.hidden(self.reader, self.user, &self.query.chat, from..=to)
    }

    /// Puts a message on the page, or notes that there is more than it has room for.
    fn put(&mut self, seq: Seq, stored: &Bytes, hidden: &HashSet<Seq>) -> Result<(), FetchError> {
        if self.page.more || hidden.contains(&seq) {
            return Ok(());
        }
        let Some(message) = shown(&self.query.chat, self.user, seq, stored, self.sight)? else {
            return Ok(());
        };
        let full = !self.page.messages.is_empty() && self.bytes + message.len() > HISTORY_MAX_BYTES;
        if full || self.page.messages.len() == self.limit {
            self.page.more = true;
        } else {
            self.bytes += message.len();
            self.page.messages.push(message);
        }
        Ok(())
    }
}

/// One message, as its reader gets it; `None` where they do not see it, or it is no more.
pub(super) fn one(
    reader: &Reader,
    user: &UserId,
    sight: &Sight,
    chat: &ChatName,
    seq: Seq,
) -> Result<Option<Bytes>, FetchError> {
    let seen = sight.visible.iter().any(|range| range.contains(&seq.0));
    if !seen || !sight.hidden(reader, user, chat, seq.0..=seq.0)?.is_empty() {
        return Ok(None);
    }
    let log = names::conversation(&ConversationId::named_by(user, chat));
    let entries = reader.read_log(&log, seq.0, 1, usize::MAX)?;
    let Some((_, stored)) = entries.into_iter().find(|(found, _)| *found == seq.0) else { return Ok(None) };
    let message = StoredMessage::decode(&stored)?;
    if is_gone(&message.content) || message.has_expired(sight.now_ms) {
        return Ok(None);
    }
    shown(chat, user, seq, &stored, sight)
}

/// A message that something can be done to, without what it says; `None` where there is none of this number. One that is no more is one still.
pub(super) fn original(
    reader: &Reader,
    id: &ConversationId,
    seq: Seq,
) -> Result<Option<StoredMessage>, FetchError> {
    let entries = reader.read_log(&names::conversation(id), seq.0, 1, usize::MAX)?;
    let Some((_, stored)) = entries.into_iter().find(|(found, _)| *found == seq.0) else { return Ok(None) };
    let message = StoredMessage::decode(&stored)?;
    let is_message = !is_change(&message.content) || was_message(&message.content);
    Ok(is_message.then(|| StoredMessage { content: Bytes::new(), ..message }))
}

/// A message as its reader gets it, encoded; nothing of one that was said before there was this reader, nor what
/// it says where its time is over.
pub(super) fn shown(
    chat: &ChatName,
    reader: &UserId,
    seq: Seq,
    stored: &Bytes,
    sight: &Sight,
) -> Result<Option<Bytes>, FetchError> {
    let message = StoredMessage::decode(stored)?;
    if !message.is_for(reader) {
        return Ok(None);
    }
    let has_expired = message.has_expired(sight.now_ms);
    let StoredMessage { sender, time_ms, client_msg_id, expires_at_ms, content, .. } = message;
    if time_ms < sight.since_ms {
        return Ok(None);
    }
    let content = if has_expired { gone_content(Was::of(&content)).into() } else { content };
    let mut out = Vec::new();
    MessageEntry {
        conversation: chat,
        sender: &sender,
        seq,
        prev_seq: Seq::NONE,
        time_ms: time_ms.cast_signed(),
        expires_at_ms: if has_expired { 0 } else { expires_at_ms.cast_signed() },
        client_msg_id: client_msg_id.filter(|_| sender == *reader),
        content: &content,
    }
    .encode_message(&mut out);
    Ok(Some(out.into()))
}
