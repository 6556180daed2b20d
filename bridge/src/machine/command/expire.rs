//! `Expire`: the time of a message is over. Nobody asks for it: the server does, when the time has come, or as soon as it can after that. Until then
//! readers see to it themselves.

use super::act::erase::erase;
use super::{Decision, Missing, View};
use crate::machine::record::Fate;
use crate::machine::stored::StoredMessage;
use crate::machine::{Change, Env, Outcome};
use chasqui_proto::{ConversationId, Seq};

/// The time of a message is over: what was said is no more, for anybody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expire {
    /// Its conversation.
    pub conversation: ConversationId,
    /// Its number.
    pub seq: Seq,
    /// When its time was to be over, in Unix milliseconds.
    pub at_ms: u64,
    /// The message as it is stored, but for what it says, unless that is about another message; `None` where there is none.
    pub message: Option<StoredMessage>,
}

impl Expire {
    pub(crate) fn decide(&self, view: &impl View, env: &Env) -> Result<Decision, Missing> {
        let fate = view.fate(&self.conversation, self.seq)?;
        if self.at_ms > env.now_ms {
            return Ok(Decision::only(Outcome::Done));
        }
        let mut changes = match &self.message {
            Some(message) if !fate.gone => erase(view, &self.conversation, self.seq, message, fate)?,
            _ => Vec::new(),
        };
        let (conversation, seq) = (self.conversation.clone(), self.seq);
        if !changes.is_empty() {
            let (conversation, to) = (conversation.clone(), Fate { gone: true, edits: Vec::new() });
            changes.push(Change::PutFate { conversation, seq, to });
        }
        changes.push(Change::Expired { at_ms: self.at_ms, conversation, seq });
        Ok(Decision { changes, outcome: Outcome::Done })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::command::tests::{NOW_MS, act, caller, chat, device, env, is_quiet, user};
    use crate::machine::command::{Act, Attach, Deed, Send};
    use crate::machine::stored;
    use crate::machine::testing::Memory;
    use bytes::Bytes;
    use chasqui_proto::{Outgoing, v1};
    use prost::Message as _;

    fn stored_of(decision: &Decision) -> StoredMessage {
        let message = decision.changes.iter().find_map(|change| match change {
            Change::AppendMessage { message, .. } => Some(StoredMessage::decode(message).unwrap()),
            _ => None,
        });
        message.expect("something was said")
    }

    fn expiries(decision: &Decision) -> Vec<(u64, u64)> {
        let expiry = |change: &Change| match change {
            Change::ExpireAt { at_ms, seq, .. } => Some((*at_ms, seq.0)),
            _ => None,
        };
        decision.changes.iter().filter_map(expiry).collect()
    }

    #[test]
    fn what_is_over_is_erased_with_what_was_said_about_it() {
        let mut memory = Memory::with_users(&["alice", "bob"]);
        act(&mut memory, Attach { user: user("bob"), device: device("phone") }, &env());
        let content = Bytes::from_static(b"\x12\x03\x0a\x01x");
        let send = Send {
            caller: caller("alice", "phone"),
            to: chat("bob"),
            message: Outgoing { client_msg_id: None, content, expires_in_s: 60 },
        };
        let sent = act(&mut memory, send, &env());
        let at_ms = NOW_MS + 60_000;
        assert_eq!(expiries(&sent), [(at_ms, 1)]);
        let original = stored_of(&sent);
        assert_eq!(original.expires_at_ms, at_ms);
        for (deed, content, expected) in [
            (Deed::Edit, stored::edit_content(&v1::Edited { seq: 1, ..v1::Edited::default() }), vec![]),
            (
                Deed::React,
                stored::reaction_content(&v1::Reaction { seq: 1, ..v1::Reaction::default() }),
                vec![(at_ms, 3)],
            ),
            (Deed::Pin, stored::pin_content(&v1::Pin { seq: 1, pinned: true }), vec![]),
        ] {
            let act_on = Act {
                caller: caller("alice", "phone"),
                chat: chat("bob"),
                seq: Seq(1),
                original: Some(original.clone()),
                deed,
                content: content.into(),
            };
            let decision = act(&mut memory, act_on, &env());
            assert_eq!(expiries(&decision), expected, "{deed:?}");
            let expected = if deed == Deed::Pin { 0 } else { at_ms };
            assert_eq!(stored_of(&decision).expires_at_ms, expected, "{deed:?}");
        }
        let conversation = ConversationId::direct(&user("alice"), &user("bob"));
        let expire = Expire { conversation, seq: Seq(1), at_ms, message: Some(original) };
        assert!(is_quiet(&act(&mut memory, expire.clone(), &env())), "not yet");
        let then = Env { now_ms: at_ms, ..env() };
        let decision = act(&mut memory, expire.clone(), &then);
        let entries = |change: &&Change| matches!(change, Change::EraseEntry { .. });
        assert_eq!(decision.changes.iter().filter(entries).count(), 3, "bob's two, and alice's own edit");
        let messages = |change: &&Change| matches!(change, Change::EraseMessage { .. });
        assert_eq!(decision.changes.iter().filter(messages).count(), 2, "the message and its edit");
        let again = act(&mut memory, expire, &then);
        assert!(matches!(&again.changes[..], [Change::Expired { .. }]), "it is over once");
    }

    #[test]
    fn a_sign_that_is_over_is_one_still() {
        let mut memory = Memory::with_users(&["alice", "bob"]);
        let sign = stored::reaction_content(&v1::Reaction { seq: 1, emoji: "+".to_owned() });
        let react = StoredMessage {
            sender: user("alice"),
            time_ms: NOW_MS,
            client_msg_id: None,
            expires_at_ms: NOW_MS + 5,
            alone: false,
            places: Bytes::new(),
            content: sign.into(),
        };
        let conversation = ConversationId::direct(&user("alice"), &user("bob"));
        let expire = Expire { conversation, seq: Seq(2), at_ms: NOW_MS + 5, message: Some(react) };
        let decision = act(&mut memory, expire, &Env { now_ms: NOW_MS + 5, ..env() });
        let left = decision.changes.iter().find_map(|change| match change {
            Change::EraseMessage { message, .. } => Some(StoredMessage::decode(message).unwrap().content),
            _ => None,
        });
        let left = left.expect("it is erased");
        assert!(!stored::was_message(&left), "no message of its own, that something could be done to");
        let left = v1::Message::decode(left).unwrap();
        assert_eq!((left.gone, left.reaction), (true, Some(v1::Reaction { seq: 1, emoji: String::new() })));
    }
}
