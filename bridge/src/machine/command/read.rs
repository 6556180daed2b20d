//! `Read`: a user says how far they have read a conversation.

use super::reject::refuse;
use super::{Caller, Decision, Missing, View};
use crate::machine::{Change, Env, Mark, Outcome, Receipt};
use crate::mutation::{Mutation, mutated};
use chasqui_proto::{ChatName, ConversationId, ErrorCode, Refusal, Seq};

/// A user has read a conversation up to a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// Who.
    pub caller: Caller,
    /// The conversation, as they name it.
    pub chat: ChatName,
    /// The last message they read. Less than was said before changes nothing.
    pub up_to: Seq,
}

impl Read {
    pub(crate) fn decide(&self, view: &impl View, env: &Env) -> Result<Decision, Missing> {
        let me = &self.caller.user;
        let ChatName::User(peer_id) = &self.chat else {
            return refuse(view, &self.caller, None, ErrorCode::NotSupported.into());
        };
        let own_name = ChatName::User(me.clone());
        let mut missing = Missing::default();
        let user = missing.note(view.user(me));
        let peer = missing.note(view.user(peer_id));
        let conversation = missing.note(view.conversation(&ConversationId::direct(me, peer_id)));
        let receipt = missing.note(view.receipt(peer_id, &own_name));
        let (Some(user), Some(peer), Some(conversation), Some(receipt)) = (user, peer, conversation, receipt)
        else {
            return Err(missing);
        };

        if self.up_to > conversation.head {
            let refusal = Refusal::from(ErrorCode::NoSuchMessage);
            return refuse(view, &self.caller, None, refusal);
        }
        // While either side hides its reading nothing is remembered either, so that switching on later does
        // not show it.
        let hidden = user.hides_reads || peer.hides_reads;
        // Notes to oneself have no other side.
        let said = self.up_to <= receipt.read.up_to && !mutated(Mutation::TellsOlderReads);
        if hidden || me == peer_id || !peer.exists || said {
            return Ok(Decision::only(Outcome::Done));
        }
        let read = Mark { up_to: self.up_to, at_ms: env.now_ms };
        let receipt = Receipt { position: peer.state_head + 1, read, ..receipt.clone() };
        Ok(Decision {
            changes: vec![Change::PutReceipt { owner: peer_id.clone(), chat: own_name, receipt }],
            outcome: Outcome::Done,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::command::tests::{NOW_MS, act, caller, chat, env, is_quiet, refused, user};
    use crate::machine::testing::Memory;
    use crate::machine::{Conversation, Told, User};
    use chasqui_proto::GroupId;

    /// alice and bob have exchanged ten messages.
    fn memory() -> Memory {
        let mut memory = Memory::with_users(&["alice", "bob"]);
        memory.set_conversation("alice", "bob", Conversation { head: Seq(10), last_time_ms: 1 });
        memory.set_conversation("alice", "alice", Conversation { head: Seq(10), last_time_ms: 1 });
        memory
    }

    fn read(chat: ChatName, up_to: u64) -> Read {
        Read { caller: caller("bob", "phone"), chat, up_to: Seq(up_to) }
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
            ("a group", group, 1, ErrorCode::NotSupported),
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
    fn notes_to_oneself_and_removed_users_have_nobody_to_show_it_to() {
        let mut memory = memory();
        let own = Read { caller: caller("alice", "phone"), chat: chat("alice"), up_to: Seq(5) };
        assert!(is_quiet(&act(&mut memory, own, &env())));
        memory.set_user("alice", User::default());
        assert!(is_quiet(&act(&mut memory, read(chat("alice"), 5), &env())));
        assert_eq!(memory.receipt("alice", &ChatName::User(user("bob"))), &Receipt::default());
    }
}
