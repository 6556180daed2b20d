//! `Read`: a user says how far they have read, or played, a conversation.

use super::group::Scene;
use super::group::receipts::{self, Moved, Which};
use super::reject::refuse;
use super::{Caller, Decision, Missing, View, own};
use crate::machine::record::{Chat, User};
use crate::machine::{Change, Env, Mark, Outcome, Receipt};
use crate::mutation::{Mutation, mutated};
use chasqui_proto::{ChatName, ConversationId, ErrorCode, GroupId, Seq, UserId, v1};

/// A user has read, or played, a conversation up to a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// Who.
    pub caller: Caller,
    /// The conversation, as they name it.
    pub chat: ChatName,
    /// The last message they read. Less than was said before changes nothing.
    pub up_to: Seq,
    /// Whether it is voice notes that were played.
    pub played: bool,
}

impl Read {
    pub(crate) fn decide(&self, view: &impl View, env: &Env) -> Result<Decision, Missing> {
        match &self.chat {
            ChatName::User(peer) => self.of_user(peer, view, env),
            ChatName::Group(group) => self.in_group(group, view, env),
        }
    }

    fn of_user(&self, peer_id: &UserId, view: &impl View, env: &Env) -> Result<Decision, Missing> {
        let me = &self.caller.user;
        let own_name = ChatName::User(me.clone());
        let mut missing = Missing::default();
        let user = missing.note(view.user(me));
        let peer = missing.note(view.user(peer_id));
        let id = ConversationId::direct(me, peer_id);
        let conversation = missing.note(view.conversation(&id));
        let receipt = missing.note(view.receipt(peer_id, &own_name));
        let kept = missing.note(view.chat(me, &self.chat));
        let (Some(user), Some(peer), Some(conversation), Some(receipt), Some(kept)) =
            (user, peer, conversation, receipt, kept)
        else {
            return Err(missing);
        };
        // What was said before there was this user of the name is none of theirs.
        let (shown, shown_ms) = conversation.shown(&id, me);
        if self.up_to > shown || shown_ms < user.since_ms {
            return refuse(view, &self.caller, None, ErrorCode::NoSuchMessage.into());
        }
        let receipt = receipt.since(peer.since_ms);
        let mut changes = self.own(user, kept);
        // While either side hides its reading nothing is remembered either for the other, so that switching on later does not show it.
        let hidden = user.hides_reads || peer.hides_reads;
        let before = if self.played { receipt.played } else { receipt.read };
        let said = self.up_to <= before.up_to && !mutated(Mutation::TellsOlderReads);
        // Notes to oneself have no other side.
        if hidden || me == peer_id || !peer.exists || said {
            return Ok(Decision { changes, outcome: Outcome::Done });
        }
        let mut receipt = Receipt { position: peer.state_head + 1, ..receipt.into_owned() };
        *(if self.played { &mut receipt.played } else { &mut receipt.read }) = self.mark(env);
        changes.push(Change::PutReceipt { owner: peer_id.clone(), chat: own_name, receipt });
        Ok(Decision { changes, outcome: Outcome::Done })
    }

    /// What becomes of it for the user's own devices, whoever else may know.
    fn own(&self, user: &User, kept: &Chat) -> Vec<Change> {
        let mut to = kept.of_life(user.lives);
        let mark = if self.played { &mut to.played } else { &mut to.read };
        if self.up_to <= *mark {
            return Vec::new();
        }
        *mark = self.up_to;
        let up_to = Some(self.up_to.0);
        let news = v1::Chat { conversation: self.chat.to_string(), ..v1::Chat::default() };
        let news = if self.played {
            v1::Chat { played_seq: up_to, ..news }
        } else {
            v1::Chat { read_seq: up_to, ..news }
        };
        let (owner, chat) = (self.caller.user.clone(), self.chat.clone());
        let mut changes = vec![Change::PutChat { owner, chat, to: Box::new(to) }];
        changes.extend(own::tell_others(&self.caller, user, v1::event::Event::Chat(news)));
        changes
    }

    fn in_group(&self, group_id: &GroupId, view: &impl View, env: &Env) -> Result<Decision, Missing> {
        let mut missing = Missing::default();
        let scene = missing.note(Scene::load(view, &self.caller, group_id));
        let membership = missing.note(view.membership(group_id, &self.caller.user));
        let kept = missing.note(view.chat(&self.caller.user, &self.chat));
        let (Some(scene), Some(membership), Some(kept)) = (scene, membership, kept) else {
            return Err(missing);
        };
        let seen = if scene.me().is_some() {
            self.up_to <= scene.head()
        } else {
            scene.sees(membership, self.up_to)
        };
        if !seen {
            return refuse(view, &self.caller, None, ErrorCode::NoSuchMessage.into());
        }
        let own = self.own(scene.user(), kept);
        let before = if self.played { membership.played } else { membership.read };
        if scene.me().is_none() || scene.hides_reads() || self.up_to <= before.up_to {
            return Ok(Decision { changes: own, outcome: Outcome::Done });
        }
        let moved = Moved {
            group: group_id,
            member: &self.caller.user,
            which: if self.played { Which::Played } else { Which::Read },
            before: before.up_to,
            mark: self.mark(env),
        };
        let mut changes = receipts::said(view, scene.group(), &moved, env)?;
        let mut membership = membership.clone();
        *(if self.played { &mut membership.played } else { &mut membership.read }) = self.mark(env);
        changes.extend(own);
        changes.push(Change::PutMembership {
            group: group_id.clone(),
            user: self.caller.user.clone(),
            to: membership,
        });
        Ok(Decision { changes, outcome: Outcome::Done })
    }

    fn mark(&self, env: &Env) -> Mark {
        Mark { up_to: self.up_to, at_ms: env.now_ms }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::command::Attach;
    use crate::machine::command::tests::{
        NOW_MS, act, caller, chat, device, env, inbox_entries, is_for_oneself, is_quiet, refused, user,
    };
    use crate::machine::testing::Memory;
    use crate::machine::{Conversation, Told, User};
    use chasqui_proto::GroupId;

    /// alice and bob have exchanged ten messages.
    fn memory() -> Memory {
        let mut memory = Memory::with_users(&["alice", "bob"]);
        memory.set_conversation(
            "alice",
            "bob",
            Conversation { head: Seq(10), last_time_ms: 1, ..Conversation::default() },
        );
        memory.set_conversation(
            "alice",
            "alice",
            Conversation { head: Seq(10), last_time_ms: 1, ..Conversation::default() },
        );
        memory
    }

    fn read(chat: ChatName, up_to: u64) -> Read {
        Read { caller: caller("bob", "phone"), chat, up_to: Seq(up_to), played: false }
    }

    #[test]
    fn the_other_side_is_shown_a_mark_that_only_grows() {
        let mut memory = memory();
        for (up_to, mark, position) in [(3, 3, 1), (3, 3, 1), (2, 3, 1), (10, 10, 2), (0, 10, 2)] {
            let before = memory.receipt("alice", &chat("bob")).clone();
            let decision = act(&mut memory, read(chat("alice"), up_to), &env());
            assert_eq!(decision.outcome, Outcome::Done);
            let receipt = memory.receipt("alice", &chat("bob"));
            assert_eq!(receipt.read, Mark { up_to: Seq(mark), at_ms: NOW_MS });
            assert_eq!((receipt.position, memory.user("alice").state_head), (position, position));
            assert_eq!(is_quiet(&decision), before == *receipt);
            assert_eq!(receipt.delivered, Mark::default(), "reading says nothing about delivery");
        }
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        let group = ChatName::Group(GroupId::parse("hikers").unwrap());
        let rows = [
            ("a message not there yet", chat("alice"), 11, ErrorCode::NoSuchMessage),
            ("a conversation not there", chat("carol"), 1, ErrorCode::NoSuchMessage),
            ("a group one is no member of", group, 1, ErrorCode::NoSuchMessage),
        ];
        for (what, chat, up_to, code) in rows {
            let decision = act(&mut memory(), read(chat, up_to), &env());
            let (refusal, told) = refused(&decision.outcome);
            assert_eq!((refusal.code, told), (code, Told::ByAck), "{what}");
            assert!(is_quiet(&decision), "{what}");
        }
    }

    #[test]
    fn who_hides_reading_neither_shows_nor_sees_it() {
        let hides = || User { exists: true, hides_reads: true, ..User::default() };
        for who in ["alice", "bob"] {
            let mut memory = memory();
            memory.set_user(who, hides());
            let decision = act(&mut memory, read(chat("alice"), 5), &env());
            assert_eq!(decision.outcome, Outcome::Done);
            memory.set_user(who, User { exists: true, ..User::default() });
            assert_eq!(
                memory.receipt("alice", &chat("bob")),
                &Receipt::default(),
                "{who} hides, and later does not"
            );
        }
    }

    #[test]
    fn ones_own_devices_agree_on_what_is_read_whoever_hides_it() {
        for (hides, played) in [(false, false), (true, false), (true, true)] {
            let mut memory = memory();
            memory.set_user("bob", User { exists: true, hides_reads: hides, ..User::default() });
            for on in ["laptop", "phone"] {
                act(&mut memory, Attach { user: user("bob"), device: device(on) }, &env());
            }
            for (up_to, mark, told) in [(3, 3, true), (2, 3, false), (3, 3, false), (4, 4, true)] {
                let read = Read { played, ..read(chat("alice"), up_to) };
                let decision = act(&mut memory, read, &env());
                let kept = memory.chat("bob", &chat("alice"));
                let (own, other) = if played { (kept.played, kept.read) } else { (kept.read, kept.played) };
                assert_eq!((own, other), (Seq(mark), Seq::NONE));
                assert_eq!(inbox_entries(&decision, "bob").len(), usize::from(told));
                assert!(inbox_entries(&decision, "alice").is_empty());
            }
        }
    }

    #[test]
    fn notes_to_oneself_and_removed_users_have_nobody_to_show_it_to() {
        let mut memory = memory();
        let own =
            Read { caller: caller("alice", "phone"), chat: chat("alice"), up_to: Seq(5), played: false };
        assert!(is_for_oneself(&act(&mut memory, own, &env())));
        memory.set_user("alice", User::default());
        assert!(is_for_oneself(&act(&mut memory, read(chat("alice"), 5), &env())));
        assert_eq!(memory.receipt("alice", &ChatName::User(user("bob"))), &Receipt::default());
    }
}
