//! `do/history`: a page of what was said in a conversation, as far as who asks may see it.
//!
//! It changes nothing and is not decided by the machine: what is durable is read on the connection's thread, at a cost that follows
//! what is asked for.

use crate::machine::command::Original;
use crate::machine::record::{Stay, User};
use crate::machine::stored::{StoredMessage, is_change};
use crate::mutation::{Mutation, mutated};
use crate::sequencer::fetch::{self, FetchError};
use crate::sequencer::names;
use bytes::Bytes;
use chasqui_proto::limits::{HISTORY_MAX_BYTES, HISTORY_MAX_ITEMS};
use chasqui_proto::{ChatName, ConversationId, ErrorCode, MessageEntry, Refusal, Seq, UserId};
use chasqui_storage::{LogId, Reader};
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

/// How far somebody sees a conversation.
pub(super) struct Sight {
    /// The numbers that they may see, in order.
    pub(super) visible: Vec<RangeInclusive<u64>>,
    /// What was said before, in Unix milliseconds, is not shown.
    pub(super) since_ms: u64,
    /// The time of the conversation's newest message.
    pub(super) last_time_ms: u64,
    /// Whether they see no more of what is said from now on.
    pub(super) has_ended: bool,
}

impl Sight {
    /// How far `user` sees the conversation that they call `chat`.
    pub(super) fn load(
        reader: &Reader,
        (user, me): (&UserId, &User),
        chat: &ChatName,
    ) -> Result<Sight, FetchError> {
        let conversation = fetch::conversation(reader, &ConversationId::named_by(user, chat))?;
        let head = conversation.head.0;
        let mut has_ended = false;
        let visible: Vec<_> = match chat {
            ChatName::User(_) if head == 0 || conversation.last_time_ms < me.since_ms => Vec::new(),
            ChatName::User(_) => vec![1..=head],
            ChatName::Group(group) => {
                let membership = fetch::membership(reader, group, user)?;
                // What a user of the same name saw before is none of theirs.
                let stays = if membership.life == me.lives { &membership.stays[..] } else { &[] };
                // Whoever goes sees what says so, which may be the newest that there is.
                has_ended = stays.last().is_some_and(|stay| stay.to != Seq::NONE);
                let last = |stay: &Stay| {
                    let lasts = stay.to == Seq::NONE || mutated(Mutation::ShowsLaterHistory);
                    if lasts { head } else { stay.to.0 }
                };
                stays.iter().map(|stay| stay.from.0..=last(stay)).collect()
            }
        };
        Ok(Sight { visible, since_ms: me.since_ms, last_time_ms: conversation.last_time_ms, has_ended })
    }

    /// The same without what they have cleared away.
    pub(super) fn behind(mut self, cleared: Seq) -> Sight {
        for range in &mut self.visible {
            *range = (*range.start()).max(cleared.0 + 1)..=*range.end();
        }
        self
    }

    /// Whether there is such a conversation, for them.
    pub(super) fn is_there(&self) -> bool {
        !self.visible.is_empty()
    }
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
) -> Result<Result<Page, Refusal>, FetchError> {
    let id = ConversationId::named_by(user, &query.chat);
    let me = fetch::user(reader, user)?;
    let Sight { visible, since_ms, .. } = match Sight::load(reader, (user, &me), &query.chat)? {
        sight if sight.is_there() => {
            sight.behind(fetch::kept(reader, user, &query.chat)?.of_life(me.lives).cleared)
        }
        _ => return Ok(Err(ErrorCode::NoSuchMessage.into())),
    };
    let limit = match query.limit as usize {
        0 => HISTORY_MAX_ITEMS,
        limit => limit.min(HISTORY_MAX_ITEMS),
    };
    let mut filling = Filling {
        reader,
        log: names::conversation(&id),
        user,
        query,
        limit,
        bytes: 0,
        page: Page::default(),
        since_ms,
    };
    match query.part {
        Part::From(from) => {
            for stay in visible {
                filling.forwards((*stay.start()).max(from.0)..=*stay.end())?;
            }
        }
        Part::Before(before) => {
            let last = if before == Seq::NONE { u64::MAX } else { before.0 - 1 };
            for stay in visible.into_iter().rev() {
                filling.backwards(*stay.start()..=(*stay.end()).min(last))?;
            }
            filling.page.messages.reverse();
        }
    }
    Ok(Ok(filling.page))
}

/// A page that is being filled. What is read is what is looked at: what somebody may not see is not read.
struct Filling<'a> {
    reader: &'a Reader,
    log: LogId,
    user: &'a UserId,
    query: &'a Query,
    limit: usize,
    bytes: usize,
    page: Page,
    /// What was said before, in Unix milliseconds, is not shown.
    since_ms: u64,
}

impl Filling<'_> {
    fn forwards(&mut self, range: RangeInclusive<u64>) -> Result<(), FetchError> {
        let mut from = *range.start();
        while from <= *range.end() && !self.page.more {
            let entries = self.reader.read_log(&self.log, from, self.limit + 1, HISTORY_MAX_BYTES)?;
            let Some((last, _)) = entries.last() else { return Ok(()) };
            from = last + 1;
            for (seq, stored) in entries.into_iter().filter(|(seq, _)| range.contains(seq)) {
                self.put(Seq(seq), &stored)?;
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
            for (seq, stored) in entries.into_iter().rev() {
                self.put(Seq(seq), &stored)?;
            }
            end = from - 1;
        }
        Ok(())
    }

    /// Puts a message on the page, or notes that there is more than it has room for.
    fn put(&mut self, seq: Seq, stored: &Bytes) -> Result<(), FetchError> {
        if self.page.more {
            return Ok(());
        }
        let Some(message) = shown(&self.query.chat, self.user, seq, stored, self.since_ms)? else {
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

/// Who sent a message that something can be done to, and when; `None` where there is none of this number.
pub(super) fn original(
    reader: &Reader,
    id: &ConversationId,
    seq: Seq,
) -> Result<Option<Original>, FetchError> {
    let entries = reader.read_log(&names::conversation(id), seq.0, 1, usize::MAX)?;
    let Some((_, stored)) = entries.into_iter().find(|(found, _)| *found == seq.0) else { return Ok(None) };
    let StoredMessage { sender, time_ms, content, .. } = StoredMessage::decode(&stored)?;
    Ok((!is_change(&content)).then_some(Original { sender, time_ms }))
}

/// A message as its reader gets it, encoded; nothing of one that was said before there was this reader.
pub(super) fn shown(
    chat: &ChatName,
    reader: &UserId,
    seq: Seq,
    stored: &Bytes,
    since_ms: u64,
) -> Result<Option<Bytes>, FetchError> {
    let StoredMessage { sender, time_ms, client_msg_id, content } = StoredMessage::decode(stored)?;
    if time_ms < since_ms {
        return Ok(None);
    }
    let mut out = Vec::new();
    MessageEntry {
        conversation: chat,
        sender: &sender,
        seq,
        prev_seq: Seq::NONE,
        time_ms: time_ms.cast_signed(),
        client_msg_id: client_msg_id.filter(|_| sender == *reader),
        content: &content,
    }
    .encode_message(&mut out);
    Ok(Some(out.into()))
}
