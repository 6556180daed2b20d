//! Who sees what of a group: its log says who was a member when.

use super::facts::Facts;
use super::{Conversation, MessageId};
use std::sync::Arc;

impl Facts<'_> {
    /// Whether a user sees a number of a conversation: in a group, as a member of then, or as one who goes or comes with it.
    pub(super) fn sees(&self, user: &str, conversation: &Conversation, seq: u64) -> bool {
        match conversation {
            Conversation::Direct(..) => conversation.has(user),
            Conversation::Group(_) => {
                let has = |members: &[Arc<str>]| members.iter().any(|member| **member == *user);
                let (before, change) = self.around(conversation, seq);
                has(before) || change.is_some_and(has)
            }
        }
    }

    /// The members before a number, and, if it is a change, behind it.
    fn around(&self, conversation: &Conversation, seq: u64) -> (&[Arc<str>], Option<&[Arc<str>]>) {
        let changes = self.changes.get(conversation).map_or(&[][..], Vec::as_slice);
        let next = changes.partition_point(|(at, _)| *at < seq);
        let before = next.checked_sub(1).map_or(&[][..], |last| changes[last].1);
        let change = changes.get(next).filter(|(at, _)| *at == seq).map(|(_, members)| *members);
        (before, change)
    }

    /// Whether a number is a change of a group.
    pub(super) fn is_change(&self, conversation: &Conversation, seq: u64) -> bool {
        self.around(conversation, seq).1.is_some()
    }

    /// Whether a number is something that was said: no change, and nothing that was done to a message.
    pub(super) fn is_said(&self, conversation: &Conversation, seq: u64) -> bool {
        let id: Option<&&MessageId> = self.by_seq.get(&(conversation, seq));
        id.is_some_and(|id| self.sent.contains_key(*id))
    }

    /// The number before another that a user can see; 0 for none.
    pub(super) fn seen_before(&self, user: &str, conversation: &Conversation, seq: u64) -> u64 {
        (1..seq).rev().find(|before| self.sees(user, conversation, *before)).unwrap_or(0)
    }

    /// Who is a member of a group at the end.
    pub(super) fn members(&self, conversation: &Conversation) -> &[Arc<str>] {
        self.changes.get(conversation).and_then(|changes| changes.last()).map_or(&[], |(_, members)| members)
    }

    /// Whether a user has been a member of a group from a number on to the end.
    pub(super) fn stays(&self, user: &str, conversation: &Conversation, from: u64) -> bool {
        let changes = self.changes.get(conversation).map_or(&[][..], Vec::as_slice);
        let since = changes.iter().filter(|(at, _)| *at > from);
        self.sees(user, conversation, from)
            && self.members(conversation).iter().any(|member| **member == *user)
            && since.into_iter().all(|(_, members)| members.iter().any(|member| **member == *user))
    }

    /// Whether a user came into a group once and no more.
    pub(super) fn comes_once(&self, user: &str, conversation: &Conversation) -> bool {
        let changes = self.changes.get(conversation).map_or(&[][..], Vec::as_slice);
        let there = changes.iter().map(|(_, members)| members.iter().any(|member| **member == *user));
        let mut was_there = false;
        there
            .filter(|is_there| std::mem::replace(&mut was_there, *is_there) != *is_there && *is_there)
            .count()
            <= 1
    }
}
