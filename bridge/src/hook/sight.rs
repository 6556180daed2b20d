//! How far somebody sees a conversation: what was said while they were there, and they have not taken away for themselves.

use crate::machine::record::{Stay, User};
use crate::mutation::{Mutation, mutated};
use crate::sequencer::fetch::{self, FetchError};
use crate::sequencer::names;
use crate::session_store::space;
use chasqui_proto::{ChatName, ConversationId, Seq, UserId};
use chasqui_storage::Reader;
use std::collections::HashSet;
use std::ops::RangeInclusive;

/// How far somebody sees a conversation.
pub(super) struct Sight {
    /// The numbers that they may see, in order.
    pub(super) visible: Vec<RangeInclusive<u64>>,
    /// What was said before, in Unix milliseconds, is not shown.
    pub(super) since_ms: u64,
    /// When they look, in Unix milliseconds: what is over by then is not shown.
    pub(super) now_ms: u64,
    /// Which of the users of this name sees it.
    life: u32,
    /// The time of the conversation's newest message.
    pub(super) last_time_ms: u64,
    /// How long what they say there is there for, in seconds; 0 for ever.
    pub(super) timer_s: u32,
    /// Whether they see no more of what is said from now on.
    pub(super) has_ended: bool,
}

impl Sight {
    /// How far `user` sees the conversation that they call `chat`.
    pub(super) fn load(
        reader: &Reader,
        (user, me): (&UserId, &User),
        chat: &ChatName,
        now_ms: u64,
    ) -> Result<Sight, FetchError> {
        let id = ConversationId::named_by(user, chat);
        let conversation = fetch::conversation(reader, &id)?;
        let (shown, last_time_ms) = conversation.shown(&id, user);
        let head = shown.0;
        let mut has_ended = false;
        let visible: Vec<_> = match chat {
            ChatName::User(_) if head == 0 || last_time_ms < me.since_ms => Vec::new(),
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
        let timer_s = conversation.timer_of(&id, (user, me));
        let (since_ms, life) = (me.since_ms, me.lives);
        Ok(Sight { visible, since_ms, now_ms, life, last_time_ms, timer_s, has_ended })
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

    /// Which of these messages they have taken away for themselves.
    pub(super) fn hidden(
        &self,
        reader: &Reader,
        user: &UserId,
        chat: &ChatName,
        range: RangeInclusive<u64>,
    ) -> Result<HashSet<Seq>, FetchError> {
        hidden(reader, (user, self.life), chat, range)
    }
}

/// Which of these messages a user of this life has taken away for themselves.
fn hidden(
    reader: &Reader,
    (user, life): (&UserId, u32),
    chat: &ChatName,
    range: RangeInclusive<u64>,
) -> Result<HashSet<Seq>, FetchError> {
    let (from, to) = (Seq(*range.start()), Seq(range.end().saturating_add(1)));
    let name = |seq| names::hidden(user, life, chat, seq);
    let found = reader.ordered_range(space::HIDDEN, &name(from), Some(&name(to)), usize::MAX)?;
    Ok(found.iter().filter_map(|(name, _)| names::hidden_seq(name)).collect())
}

/// Which of the users of a name, a number of [`User::lives`], has taken a message away for themselves, where the one who is there now has.
pub(super) fn hidden_by(
    reader: &Reader,
    user: &UserId,
    chat: &ChatName,
    seq: Seq,
) -> Result<Option<u32>, FetchError> {
    let life = fetch::user(reader, user)?.lives;
    let found = hidden(reader, (user, life), chat, seq.0..=seq.0)?;
    Ok((!found.is_empty()).then_some(life))
}
