//! What is said in a group: it gets the next number, is kept in the group's conversation, and goes into the inbox of each who may see it.

use super::is_alive;
use crate::entry::NewMessage;
use crate::machine::change::hour_of;
use crate::machine::command::own::list;
use crate::machine::command::{Missing, View};
use crate::machine::places::Places;
use crate::machine::record::{Conversation, Group, Member, Membership, User};
use crate::machine::stored::{self, NewStored};
use crate::machine::{Change, Env};
use chasqui_proto::{ChatName, ClientMsgId, ConversationId, GroupId, Seq, UserId, v1};

/// What happens in a group in one command: one thing after the other, all of it or nothing.
pub(in super::super) struct Story<'a, V> {
    view: &'a V,
    id: &'a GroupId,
    dev: bool,
    now_ms: u64,
    head: Seq,
    last_time_ms: u64,
    /// How many entries each reader has got already.
    told: u64,
    missing: Missing,
    changes: Vec<Change>,
    /// Where what was said last stands.
    places: Places,
    /// Whether a reader's account was removed.
    missed: bool,
}

/// Something said.
pub(in super::super) struct Said<'a> {
    /// By whom.
    pub(in super::super) sender: &'a UserId,
    /// The sending device's id for it.
    pub(in super::super) client_msg_id: Option<&'a ClientMsgId>,
    /// When it is gone for everyone, in Unix milliseconds; 0 for never.
    pub(in super::super) expires_at_ms: u64,
    /// What.
    pub(in super::super) content: &'a [u8],
}

impl<'a, V: View> Story<'a, V> {
    pub(in super::super) fn begin(
        view: &'a V,
        id: &'a GroupId,
        conversation: &Conversation,
        env: &Env,
    ) -> Story<'a, V> {
        Story {
            view,
            id,
            dev: env.dev,
            now_ms: env.now_ms,
            head: conversation.head,
            last_time_ms: conversation.last_time_ms,
            told: 0,
            missing: Missing::default(),
            changes: Vec::new(),
            places: Places::default(),
            missed: false,
        }
    }

    /// The number of what is said next.
    pub(in super::super) fn next(&self) -> Seq {
        self.head.next()
    }

    /// The time of what is said next.
    pub(in super::super) fn time_ms(&self) -> u64 {
        self.now_ms.max(self.last_time_ms)
    }

    /// Changes something besides.
    pub(in super::super) fn change(&mut self, change: Change) {
        self.changes.push(change);
    }

    /// The group is another from here on.
    pub(in super::super) fn becomes(&mut self, group: Group) {
        self.changes.push(Change::PutGroup { group: self.id.clone(), to: Box::new(group) });
    }

    /// Changes what a user has to do with the group.
    pub(in super::super) fn of(&mut self, user: &UserId, change: impl FnOnce(&mut Membership)) {
        if let Some(before) = self.missing.note(self.view.membership(self.id, user)) {
            let mut membership = before.clone();
            change(&mut membership);
            let (group, user) = (self.id.clone(), user.clone());
            self.changes.push(Change::PutMembership { group, user, to: membership });
        }
    }

    /// Says something to `readers`. What each of them gets of it may be changed; `None` is nothing. Whoever is told something in a story
    /// is told what was said before in it, too.
    pub(in super::super) fn say<'m>(
        &mut self,
        said: &Said<'m>,
        readers: &[Member],
        mut entry: impl FnMut(&Member, &User, NewMessage<'m>) -> Option<NewMessage<'m>>,
        chat: &'m ChatName,
    ) -> Seq {
        let (seq, time_ms) = (self.next(), self.time_ms());
        // An entry for each, the message, and what becomes of its sender.
        self.changes.reserve(readers.len() + 3);
        let mut places = Places::default();
        let said_last = (self.head, self.last_time_ms);
        for reader in readers {
            let Some(user) = self.missing.note(self.view.user(&reader.user)) else { continue };
            if !is_alive(reader, user, self.dev) {
                self.missed = true;
                continue;
            }
            let message = NewMessage {
                chat,
                sender: Some(said.sender),
                seq,
                prev_seq: None,
                time_ms,
                expires_at_ms: said.expires_at_ms,
                client_msg_id: None,
                from_device: None,
                content: said.content,
                whole: false,
            };
            // In the list of whoever stays, it moves with the conversation.
            self.changes.extend(list(&reader.user, user, chat, said_last, time_ms));
            if let Some(message) = entry(reader, user, message) {
                let position = user.inbox_head + 1 + self.told;
                places.put(&reader.user, position);
                let entry = message.encode(position);
                self.changes.push(Change::AppendInbox { user: reader.user.clone(), position, entry });
            }
        }
        let message = NewStored {
            sender: said.sender,
            time_ms,
            client_msg_id: said.client_msg_id,
            expires_at_ms: said.expires_at_ms,
            alone: false,
            places: places.as_bytes(),
            content: said.content,
        };
        let message = message.encode();
        self.places = places;
        let conversation = ConversationId::Group(self.id.clone());
        self.changes.push(Change::AppendMessage { conversation, seq, time_ms, message });
        (self.head, self.last_time_ms) = (seq, time_ms);
        self.told += 1;
        seq
    }

    /// Where what was said last stands in inboxes.
    pub(in super::super) fn places(&self) -> &Places {
        &self.places
    }

    /// Whether the account of somebody to whom something was said was removed.
    pub(in super::super) fn missed_somebody(&self) -> bool {
        self.missed
    }

    /// Something has happened, and all `readers` are told.
    pub(in super::super) fn tell(
        &mut self,
        sender: &UserId,
        change: v1::group_change::Change,
        readers: &[Member],
    ) -> Seq {
        let content = content(change, None);
        let chat = ChatName::Group(self.id.clone());
        self.say(
            &Said { sender, client_msg_id: None, expires_at_ms: 0, content: &content },
            readers,
            |_, _, all| Some(all),
            &chat,
        )
    }

    /// Users have become members of what is `group` now, as `change` says, and all its members are told. These see from here on, beginning
    /// with the group as it is.
    pub(in super::super) fn welcome(
        &mut self,
        sender: &UserId,
        change: v1::group_change::Change,
        group: &Group,
        newcomers: &[&UserId],
    ) -> Seq {
        let seq = self.next();
        let mut last_seen = Vec::with_capacity(newcomers.len());
        for user in newcomers {
            let life = group.member(user).map_or(0, |member| member.life);
            self.of(user, |membership| {
                let ended = membership.ended().filter(|_| membership.life == life);
                last_seen.push((*user, ended));
                membership.begin(seq, life);
            });
            let (user, chat) = ((*user).clone(), ChatName::Group(self.id.clone()));
            self.change(Change::ListChat { user, chat, from: None, to: hour_of(self.time_ms()) });
        }
        let for_all = content(change.clone(), None);
        let for_newcomers = content(change, Some(group.snapshot(self.id)));
        let chat = ChatName::Group(self.id.clone());
        let entry = |member: &Member, _: &User, message| match last_seen
            .iter()
            .find(|(user, _)| **user == member.user)
        {
            None => Some(message),
            Some((_, prev_seq)) => {
                Some(NewMessage { prev_seq: *prev_seq, content: &for_newcomers, whole: true, ..message })
            }
        };
        self.say(
            &Said { sender, client_msg_id: None, expires_at_ms: 0, content: &for_all },
            &group.members,
            entry,
            &chat,
        )
    }

    /// All of it.
    ///
    /// # Errors
    /// Names the records that are not at hand.
    pub(in super::super) fn end(self) -> Result<Vec<Change>, Missing> {
        if self.missing.0.is_empty() { Ok(self.changes) } else { Err(self.missing) }
    }
}

/// What is kept, and told, of a change.
fn content(change: v1::group_change::Change, group: Option<v1::Group>) -> Vec<u8> {
    stored::change_content(&v1::GroupChange { change: Some(change), group })
}

/// Some users, as they are told.
pub(in super::super) fn names<'u>(users: impl IntoIterator<Item = &'u UserId>) -> v1::Users {
    v1::Users { users: users.into_iter().map(ToString::to_string).collect() }
}
