//! What is a user's own: how their devices are told of it, where their conversations stand in the list, and how far they can see.

use super::{Caller, Missing, View};
use crate::entry;
use crate::machine::change::hour_of;
use crate::machine::record::User;
use crate::machine::{Change, Env};
use chasqui_proto::{ChatName, ConversationId, Seq, UserId, v1};

/// Tells all devices of a user.
pub(super) fn tell_all(id: &UserId, user: &User, event: v1::event::Event) -> Change {
    let position = user.inbox_head + 1;
    Change::AppendInbox { user: id.clone(), position, entry: entry::own(position, event, None) }
}

/// Tells the other devices of the user of something that one of them did; nothing where there is no other.
pub(super) fn tell_others(caller: &Caller, user: &User, event: v1::event::Event) -> Option<Change> {
    let device = caller.device.as_ref();
    let others = user.devices.iter().any(|other| Some(&other.id) != device);
    let position = user.inbox_head + 1;
    others.then(|| {
        let entry = entry::own(position, event, device);
        Change::AppendInbox { user: caller.user.clone(), position, entry }
    })
}

/// A conversation has a message of this time now, where the newest that a user could see was another: it moves in the list of a user's, where
/// that is by another hour.
pub(super) fn list(
    id: &UserId,
    user: &User,
    chat: &ChatName,
    (shown, shown_ms): (Seq, u64),
    time_ms: u64,
) -> Option<Change> {
    // What was said before there was this user of the name has not moved it: it may stand where it stood for another, or nowhere.
    let was_theirs = shown != Seq::NONE && shown_ms >= user.since_ms;
    let from = was_theirs.then(|| hour_of(shown_ms));
    let to = hour_of(time_ms);
    (from != Some(to)).then(|| Change::ListChat { user: id.clone(), chat: chat.clone(), from, to })
}

/// The newest message before this one that a reader can see, where that is another than the one before it. What was said before there was
/// this user of the name is none of theirs.
pub(super) fn prev_seq(user: &User, (shown, shown_ms): (Seq, u64), seq: Seq) -> Option<Seq> {
    let is_theirs = shown != Seq::NONE && shown_ms >= user.since_ms;
    (is_theirs && shown.next() != seq).then_some(shown)
}

/// The newest message of a conversation that a user can see; [`Seq::NONE`] where they see nothing of it.
pub(super) fn newest(view: &impl View, id: &UserId, chat: &ChatName, env: &Env) -> Result<Seq, Missing> {
    let mut missing = Missing::default();
    let user = missing.note(view.user(id));
    let conversation_id = ConversationId::named_by(id, chat);
    let conversation = missing.note(view.conversation(&conversation_id));
    let membership = match chat {
        ChatName::User(_) => None,
        ChatName::Group(group) => missing.note(view.membership(group, id)),
    };
    let (Some(user), Some(conversation), []) = (user, conversation, &missing.0[..]) else {
        return Err(missing);
    };
    let there = user.exists || env.dev;
    let (shown, shown_ms) = conversation.shown(&conversation_id, id);
    Ok(match membership {
        _ if !there => Seq::NONE,
        // What was said before there was this user of the name is none of theirs.
        None if shown_ms < user.since_ms => Seq::NONE,
        None => shown,
        Some(membership) if membership.life != user.lives => Seq::NONE,
        Some(membership) => match membership.stays.last() {
            Some(stay) if stay.to == Seq::NONE => conversation.head,
            Some(stay) => stay.to,
            None => Seq::NONE,
        },
    })
}
