//! `do/starred`: a page of the messages that a user has marked, conversation by conversation, as far as they may see them still.

use super::history;
use super::sight::Sight;
use crate::sequencer::fetch::{self, FetchError};
use crate::sequencer::names;
use crate::session_store::space;
use bytes::Bytes;
use chasqui_proto::limits::{HISTORY_MAX_BYTES, HISTORY_MAX_ITEMS};
use chasqui_proto::{ChatName, UserId};
use chasqui_storage::Reader;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Query {
    /// Those behind this place, which an earlier page gave; empty for the first page.
    pub(super) after: Bytes,
    /// Messages at most; 0 for as many as there may be.
    pub(super) limit: u32,
}

/// A page.
#[derive(Debug, Default)]
pub(super) struct Page {
    /// Each encoded as a `Message`.
    pub(super) messages: Vec<Bytes>,
    /// Where the next page begins; empty where there is none.
    pub(super) next: Bytes,
}

/// Reads a page.
pub(super) fn read(reader: &Reader, user: &UserId, query: &Query, now_ms: u64) -> Result<Page, FetchError> {
    let me = fetch::user(reader, user)?;
    let limit = match query.limit as usize {
        0 => HISTORY_MAX_ITEMS,
        limit => limit.min(HISTORY_MAX_ITEMS),
    };
    let prefix = names::hidden_of(user, me.lives);
    let end = [&prefix[..], &[u8::MAX]].concat();
    // A place is what stands behind the prefix: nobody reaches another's.
    let mut from = [&prefix[..], &query.after[..]].concat();
    if !query.after.is_empty() {
        from.push(0);
    }
    let (mut page, mut bytes) = (Page::default(), 0);
    let mut last: Option<Bytes> = None;
    let mut sight: Option<(ChatName, Sight)> = None;
    loop {
        let found = reader.ordered_range(space::STARRED, &from, Some(&end), limit + 1)?;
        for (name, _) in &found {
            let Some((chat, seq)) = names::parse_hidden(user, name) else { continue };
            if sight.as_ref().is_none_or(|(known, _)| *known != chat) {
                let kept = fetch::kept(reader, user, &chat)?.of_life(me.lives);
                let loaded = Sight::load(reader, (user, &me), &chat, now_ms)?.behind(kept.cleared);
                sight = Some((chat.clone(), loaded));
            }
            let Some((_, sight)) = &sight else { continue };
            let Some(message) = history::one(reader, user, sight, &chat, seq)? else { continue };
            let full = page.messages.len() == limit
                || (!page.messages.is_empty() && bytes + message.len() > HISTORY_MAX_BYTES);
            if full {
                page.next = last.unwrap_or_default();
                return Ok(page);
            }
            bytes += message.len();
            page.messages.push(message);
            last = Some(name.slice(prefix.len()..));
        }
        match found.last() {
            Some((name, _)) if found.len() > limit => from = [&name[..], &[0]].concat(),
            _ => return Ok(page),
        }
    }
}
