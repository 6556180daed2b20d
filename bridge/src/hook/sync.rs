//! `do/sync`: a page of a user's conversations, the one with the newest message first.
//!
//! The list is by the hour of the newest message, so that a message moves its conversation at most once an hour for each who sees it; within
//! an hour a page puts them in order itself. What a page costs follows what is on it, and the conversations of the hours it reaches
//! into; never how long somebody was away. Counters are not kept but counted, from the last message read on: so they are right after
//! whatever has happened.

use super::groups;
use super::history::{self, Part};
use super::sight::Sight;
use crate::machine::change::hour_of;
use crate::machine::record::{Receipt, User};
use crate::machine::stored::{StoredMessage, is_change, mentions};
use crate::sequencer::fetch::{self, FetchError};
use crate::sequencer::names;
use crate::session_store::space;
use bytes::Bytes;
use chasqui_proto::limits::{HISTORY_MAX_BYTES, SYNC_MAX_ITEMS, UNREAD_MAX};
use chasqui_proto::wire::put_length;
use chasqui_proto::{ChatName, ConversationId, ErrorCode, Refusal, Seq, UserId, v1};
use chasqui_storage::Reader;
use prost::Message as _;
use std::cmp::Reverse;

/// Places of the list that are read at once.
const LISTED_PAGE: usize = 256;
/// Messages that are read at once to be counted.
const COUNTED_PAGE: usize = 256;
/// The field of a `ChatSummary` that holds the newest message.
const SUMMARY_LAST: u32 = 2;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Query {
    /// Those behind this place; from the first on, without one.
    pub(super) after: Option<Place>,
    /// Conversations at most; 0 for as many as there may be.
    pub(super) limit: u32,
}

/// Where a conversation stands: the newest first, and those of one time by name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    time_ms: Reverse<u64>,
    chat: ChatName,
}

impl Place {
    /// Reads what [`token`](Self::token) gave.
    pub(super) fn parse(token: &[u8]) -> Result<Place, Refusal> {
        let place = token.split_first_chunk().and_then(|(time_ms, chat)| {
            let chat = ChatName::parse(std::str::from_utf8(chat).ok()?).ok()?;
            Some(Place { time_ms: Reverse(u64::from_be_bytes(*time_ms)), chat })
        });
        place.ok_or_else(|| {
            Refusal::because(ErrorCode::InvalidPayload, "after is not what an earlier page gave as next")
        })
    }

    /// Names it to whoever asks for the page behind it.
    pub(super) fn token(&self) -> Bytes {
        [&self.time_ms.0.to_be_bytes()[..], self.chat.to_string().as_bytes()].concat().into()
    }
}

/// A page.
#[derive(Debug, Default)]
pub(super) struct Page {
    /// Each encoded as a `ChatSummary`.
    pub(super) chats: Vec<Bytes>,
    /// The last one on it, where there is more behind it.
    pub(super) next: Option<Place>,
}

/// Reads a page.
pub(super) fn read(reader: &Reader, user: &UserId, query: &Query, now_ms: u64) -> Result<Page, FetchError> {
    let me = fetch::user(reader, user)?;
    let limit = match query.limit as usize {
        0 => SYNC_MAX_ITEMS,
        limit => limit.min(SYNC_MAX_ITEMS),
    };
    let mut filling = Filling {
        reader,
        user,
        me: &me,
        after: query.after.as_ref(),
        limit,
        now_ms,
        bytes: 0,
        page: Page::default(),
        last: None,
    };
    let first_hour = query.after.as_ref().map_or(u32::MAX, |after| hour_of(after.time_ms.0));
    let mut from = names::listed_in(user, first_hour).to_vec();
    let end = names::listed_end(user);
    let (mut hour, mut of_hour) = (first_hour, Vec::new());
    loop {
        let found = reader.ordered_range(space::CHATS, &from, Some(&end), LISTED_PAGE)?;
        for (place, _) in &found {
            let Some((next, chat)) = names::parse_listed(user, place) else { continue };
            if next != hour && filling.take(hour, std::mem::take(&mut of_hour))? {
                return Ok(filling.page);
            }
            hour = next;
            of_hour.push(chat);
        }
        match found.last() {
            Some((last, _)) if found.len() == LISTED_PAGE => from = [last, &[0][..]].concat(),
            _ => break,
        }
    }
    filling.take(hour, of_hour)?;
    Ok(filling.page)
}

/// A conversation that may be on the page.
struct Candidate {
    place: Place,
    sight: Sight,
}

/// A page that is being filled.
struct Filling<'a> {
    reader: &'a Reader,
    user: &'a UserId,
    me: &'a User,
    after: Option<&'a Place>,
    limit: usize,
    now_ms: u64,
    bytes: usize,
    page: Page,
    last: Option<Place>,
}

impl Filling<'_> {
    /// Takes the conversations of an hour; true once the page is known to be full.
    fn take(&mut self, hour: u32, chats: Vec<ChatName>) -> Result<bool, FetchError> {
        let mut candidates = Vec::with_capacity(chats.len());
        for chat in chats {
            candidates.extend(self.candidate(hour, chat)?);
        }
        candidates.sort_unstable_by(|one, other| one.place.cmp(&other.place));
        for Candidate { place, sight } in candidates {
            let full = self.page.chats.len() == self.limit;
            let summary = if full { Vec::new() } else { self.summary(&place.chat, sight)? };
            let too_long = !self.page.chats.is_empty() && self.bytes + summary.len() > HISTORY_MAX_BYTES;
            if full || too_long {
                self.page.next = self.last.take();
                return Ok(true);
            }
            self.bytes += summary.len();
            self.page.chats.push(summary.into());
            self.last = Some(place);
        }
        Ok(false)
    }

    /// A conversation of the list as it stands there; `None` for one that does not stand there any more, or is not the user's to see.
    fn candidate(&self, hour: u32, chat: ChatName) -> Result<Option<Candidate>, FetchError> {
        let sight = Sight::load(self.reader, (self.user, self.me), &chat, self.now_ms)?;
        let Some(newest) = sight.visible.last().map(|range| Seq(*range.end())) else { return Ok(None) };
        let time_ms = match &chat {
            // Who is a member no more sees what was last said to them.
            ChatName::Group(_) if sight.has_ended => {
                let last = self.stored(&chat, newest)?.map(|stored| StoredMessage::decode(&stored));
                last.transpose()?.map_or(0, |message| message.time_ms)
            }
            _ => sight.last_time_ms,
        };
        let place = Place { time_ms: Reverse(time_ms), chat };
        let behind = self.after.is_none_or(|after| *after < place);
        Ok((hour_of(time_ms) == hour && behind).then_some(Candidate { place, sight }))
    }

    fn stored(&self, chat: &ChatName, seq: Seq) -> Result<Option<Bytes>, FetchError> {
        let log = names::conversation(&ConversationId::named_by(self.user, chat));
        let entries = self.reader.read_log(&log, seq.0, 1, usize::MAX)?;
        Ok(entries.into_iter().find(|(found, _)| *found == seq.0).map(|(_, stored)| stored))
    }

    fn summary(&self, chat: &ChatName, sight: Sight) -> Result<Vec<u8>, FetchError> {
        let kept = fetch::kept(self.reader, self.user, chat)?.of_life(self.me.lives);
        let sight = &sight.behind(kept.cleared);
        let (unread, mentions) = self.unread(chat, sight, kept.read)?;
        let receipt = fetch::receipt(self.reader, self.user, chat)?;
        let receipt = receipt.since(self.me.since_ms);
        let none = Receipt { position: receipt.position, ..Receipt::default() };
        let group = match chat {
            ChatName::Group(group) if !sight.has_ended => Some(groups::living(self.reader, group)?.info()),
            _ => None,
        };
        let summary = v1::ChatSummary {
            chat: Some(v1::Chat {
                conversation: chat.to_string(),
                muted_until_ms: (kept.muted_until_ms > 0).then_some(kept.muted_until_ms.cast_signed()),
                pinned: kept.pinned.then_some(true),
                archived: kept.archived.then_some(true),
                draft: Some(kept.draft).filter(|draft| !draft.is_empty()),
                cleared_to_seq: (kept.cleared != Seq::NONE).then_some(kept.cleared.0),
                read_seq: (kept.read != Seq::NONE).then_some(kept.read.0),
                played_seq: (kept.played != Seq::NONE).then_some(kept.played.0),
                request_id: 0,
            }),
            last: None,
            unread,
            mentions,
            receipt: (receipt.position > 0 && *receipt != none).then(|| receipt.shown()),
            group,
            timer_s: if sight.has_ended { 0 } else { sight.timer_s },
        };
        let mut out = summary.encode_to_vec();
        let newest = history::Query { chat: chat.clone(), part: Part::Before(Seq::NONE), limit: 1 };
        for last in history::page(self.reader, self.user, sight, &newest)?.messages {
            put_length(&mut out, SUMMARY_LAST, last.len());
            out.extend_from_slice(&last);
        }
        Ok(out)
    }

    /// How many messages of others are behind the last one read, and how many of these name the user.
    fn unread(&self, chat: &ChatName, sight: &Sight, read: Seq) -> Result<(u32, u32), FetchError> {
        let log = names::conversation(&ConversationId::named_by(self.user, chat));
        let (mut unread, mut named) = (0, 0);
        for range in &sight.visible {
            let mut from = (*range.start()).max(read.0 + 1);
            while from <= *range.end() && unread < UNREAD_MAX {
                let entries = self.reader.read_log(&log, from, COUNTED_PAGE, HISTORY_MAX_BYTES)?;
                let Some((last, _)) = entries.last() else { break };
                let hidden = sight.hidden(self.reader, self.user, chat, from..=*last)?;
                from = last + 1;
                for (seq, stored) in entries.iter().filter(|(seq, _)| seq <= range.end()) {
                    if hidden.contains(&Seq(*seq)) {
                        continue;
                    }
                    let message = StoredMessage::decode(stored)?;
                    let counts = message.sender != *self.user
                        && message.is_for(self.user)
                        && message.time_ms >= sight.since_ms
                        && !message.has_expired(sight.now_ms)
                        && !is_change(&message.content);
                    if counts && unread < UNREAD_MAX {
                        unread += 1;
                        named += u32::from(mentions(&message.content, self.user));
                    }
                }
            }
        }
        Ok((unread, named))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_place_has_a_name(time_ms: u64, group: bool, id in "[A-Za-z0-9_-]{1,64}") {
            let chat = ChatName::parse(&format!("{}/{id}", if group { "g" } else { "u" })).unwrap();
            let place = Place { time_ms: Reverse(time_ms), chat };
            prop_assert_eq!(Place::parse(&place.token()).unwrap(), place);
        }

        #[test]
        fn any_bytes_are_answered(bytes: Vec<u8>) {
            let _ = Place::parse(&bytes);
        }
    }

    #[test]
    fn the_newest_stands_first() {
        let place =
            |time_ms, chat: &str| Place { time_ms: Reverse(time_ms), chat: ChatName::parse(chat).unwrap() };
        let places = [place(9, "u/bob"), place(7, "g/hikers"), place(7, "u/alice"), place(1, "u/carol")];
        let mut sorted = places.clone();
        sorted.reverse();
        sorted.sort();
        assert_eq!(sorted[0], places[0]);
        assert_eq!(sorted[3], places[3]);
    }
}
