//! `Send`: a message to another user or to a group, or a note to oneself.

use super::reject::refuse;
use super::{Caller, Decision, Missing, View, group, own, pair};
use crate::entry::NewMessage;
use crate::machine::places::Places;
use crate::machine::record::{Conversation, RingItem, User};
use crate::machine::stored::NewStored;
use crate::machine::{Change, Env, Outcome};
use chasqui_proto::{ChatName, ConversationId, ErrorCode, Outgoing, Refusal, UserId};

/// A message to another user or to a group, or a note to oneself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Send {
    /// Who sends it.
    pub caller: Caller,
    /// For whom.
    pub to: ChatName,
    /// What is said, and the device's id for it.
    pub message: Outgoing,
}

impl Send {
    pub(crate) fn decide(&self, view: &impl View, env: &Env) -> Result<Decision, Missing> {
        match &self.to {
            ChatName::User(to) => self.to_user(to, view, env),
            ChatName::Group(group) => group::send::decide(self, group, view, env),
        }
    }

    fn to_user(&self, to: &UserId, view: &impl View, env: &Env) -> Result<Decision, Missing> {
        let from = &self.caller.user;
        let to_self = from == to;
        let conversation_id = ConversationId::direct(from, to);
        // A retry is recognised by its device and its id; without either there is nothing to recognise it by.
        let named = self.caller.device.as_ref().zip(self.message.client_msg_id.as_ref());

        let mut missing = Missing::default();
        let sender = missing.note(view.user(from));
        let recipient = missing.note(view.user(to));
        let conversation = missing.note(view.conversation(&conversation_id));
        let ring = named
            .and_then(|(device, id)| missing.note(view.ring(from, device)).map(|ring| (ring, device, id)));
        let (Some(sender), Some(recipient), Some(conversation)) = (sender, recipient, conversation) else {
            return Err(missing);
        };
        if !missing.0.is_empty() {
            return Err(missing);
        }

        if let Some((ring, _, id)) = ring
            && let Some((seq, time_ms)) = ring.find(&conversation_id, id, sender.since_ms)
        {
            return Ok(Decision::only(Outcome::Accepted { seq, time_ms }));
        }
        let blocks_them = || {
            let blocks = conversation.blocks(&conversation_id, (from, sender), recipient);
            (blocks && !to_self).then(pair::blocks_them)
        };
        if let Some(refusal) = Self::refusal(sender, recipient, conversation, env).or_else(blocks_them) {
            return refuse(view, &self.caller, self.message.client_msg_id.as_ref(), refusal);
        }

        let seq = conversation.head.next();
        // Nothing is said to somebody, or by them, before they came: not even when the clock is set back.
        let time_ms = env.now_ms.max(conversation.last_time_ms).max(sender.since_ms).max(recipient.since_ms);
        let id = self.message.client_msg_id.as_ref();
        let content = &self.message.content;
        // Who is blocked is answered as if not, and alone sees what they say.
        let alone = !to_self && conversation.blocks(&conversation_id, (to, recipient), sender);
        let my_shown = conversation.shown(&conversation_id, from);
        let expires_at_ms =
            conversation.deadline_ms_of(&conversation_id, (from, sender), time_ms, self.message.expires_in_s);
        let mut changes = Vec::with_capacity(5);
        changes.extend(own::list(from, sender, &self.to, my_shown, time_ms));
        if !sender.exists {
            changes.push(Change::CreateUser { user: from.clone(), at_ms: env.now_ms });
        }
        if !recipient.exists && !to_self {
            changes.push(Change::CreateUser { user: to.clone(), at_ms: env.now_ms });
        }
        let mine = NewMessage {
            chat: &self.to,
            sender: (!to_self).then_some(from),
            seq,
            prev_seq: own::prev_seq(sender, my_shown, seq),
            time_ms,
            expires_at_ms,
            client_msg_id: id,
            from_device: self.caller.device.as_ref().map(|device| (device, !self.caller.ack.has_number())),
            content,
            whole: false,
        };
        let gets_own = to_self || self.sender_needs_entry(sender);
        if to_self {
            // There is one inbox, and other devices of its owner may yet come: the note is always in it.
            changes.push(append(from, recipient, &mine));
        } else {
            if !alone {
                let chat = ChatName::User(from.clone());
                let their_shown = conversation.shown(&conversation_id, to);
                changes.extend(own::list(to, recipient, &chat, their_shown, time_ms));
                let received = NewMessage {
                    chat: &chat,
                    sender: None,
                    prev_seq: own::prev_seq(recipient, their_shown, seq),
                    client_msg_id: None,
                    from_device: None,
                    ..mine
                };
                changes.push(append(to, recipient, &received));
            }
            if gets_own {
                changes.push(append(from, sender, &mine));
            }
        }
        if let Some((_, device, id)) = ring {
            let item = RingItem { conversation: conversation_id.clone(), id: *id, seq, time_ms };
            changes.push(Change::PushRing { user: from.clone(), device: device.clone(), item });
        }
        let places = Places::direct(&conversation_id, |who| match who {
            who if who == to => {
                if alone {
                    0
                } else {
                    recipient.inbox_head + 1
                }
            }
            _ if gets_own => sender.inbox_head + 1,
            _ => 0,
        });
        if expires_at_ms > 0 {
            let conversation = conversation_id.clone();
            changes.push(Change::ExpireAt { at_ms: expires_at_ms, conversation, seq });
        }
        let places = places.as_bytes();
        let message =
            NewStored { sender: from, time_ms, client_msg_id: id, expires_at_ms, alone, places, content };
        let message = message.encode();
        let shade = conversation.shade_after(&conversation_id, from, (seq, time_ms), alone);
        let shade = shade.map(|to| Change::PutShade { conversation: conversation_id.clone(), to: Some(to) });
        changes.push(Change::AppendMessage { conversation: conversation_id, seq, time_ms, message });
        changes.extend(shade);
        Ok(Decision { changes, outcome: Outcome::Accepted { seq, time_ms } })
    }

    /// Why it cannot be sent.
    fn refusal(sender: &User, recipient: &User, conversation: &Conversation, env: &Env) -> Option<Refusal> {
        if !sender.exists && !env.dev {
            return Some(Refusal::because(
                ErrorCode::Unauthenticated,
                "the user this connection is for was removed",
            ));
        }
        // Before it says whether the recipient exists. Who has a conversation with them knows that already.
        if let Some(wait_ms) = env.guess_wait_ms
            && conversation.head.0 == 0
        {
            return Some(Refusal::retry_after(ErrorCode::RateLimited, wait_ms));
        }
        (!recipient.exists && !env.dev).then(|| ErrorCode::NoSuchUser.into())
    }

    /// Whether some device of the sender is to see the message: another one, or the sending one, whose
    /// acknowledgement cannot carry the number.
    pub(super) fn sender_needs_entry(&self, sender: &User) -> bool {
        sender.devices.iter().any(|device| match &self.caller.device {
            Some(sending) if *sending == device.id => !self.caller.ack.has_number(),
            _ => true,
        })
    }
}

pub(super) fn append(owner: &UserId, user: &User, message: &NewMessage<'_>) -> Change {
    let position = user.inbox_head + 1;
    Change::AppendInbox { user: owner.clone(), position, entry: message.encode(position) }
}

#[cfg(test)]
#[allow(clippy::type_complexity)] // The types of tables of cases.
mod tests {
    use super::*;
    use crate::entry::{self, Rendered};
    use crate::machine::command::tests::{
        NOW_MS, act, caller, chat, device, env, inbox_entries, is_quiet, old_caller, refused, user,
    };
    use crate::machine::command::{Ack, Attach, Read};
    use crate::machine::stored::StoredMessage;
    use crate::machine::testing::Memory;
    use crate::machine::{Key, Told, decide};
    use bytes::Bytes;
    use chasqui_proto::{ClientMsgId, Seq, v1};
    use prost::Message as _;

    fn says(text: &str, id: Option<&[u8]>) -> Outgoing {
        let body = v1::Body { kind: Some(v1::body::Kind::Text(text.to_owned())) };
        let content = v1::Send { body: Some(body), ..v1::Send::default() }.encode_to_vec().into();
        let client_msg_id = id.map(|id| ClientMsgId::from_bytes(id).unwrap());
        Outgoing { client_msg_id, content, expires_in_s: 0 }
    }

    fn send(caller: Caller, to: &str, id: Option<&[u8]>) -> Send {
        Send { caller, to: chat(to), message: says("hello", id) }
    }

    /// alice and bob exist; bob's phone is attached.
    fn memory() -> Memory {
        let mut memory = Memory::with_users(&["alice", "bob"]);
        act(&mut memory, Attach { user: user("bob"), device: device("phone") }, &env());
        memory
    }

    fn attach(memory: &mut Memory, name: &str, on: &str) {
        act(memory, Attach { user: user(name), device: device(on) }, &env());
    }

    fn seen(entry: &Bytes, owner: &str, by: &str) -> Option<v1::Message> {
        let nothing = |_: &ConversationId, _| Ok::<_, std::convert::Infallible>(None);
        match entry::render(entry, &user(owner), &device(by), 0, nothing).unwrap() {
            Rendered::Skip => None,
            Rendered::Event(event) => match v1::Event::decode(event).unwrap().event {
                Some(v1::event::Event::Message(message)) => Some(message),
                other => panic!("not a message: {other:?}"),
            },
        }
    }

    #[test]
    fn messages_are_numbered_per_conversation_from_one() {
        let mut memory = memory();
        for expected in 1..=3 {
            let decision = act(&mut memory, send(caller("alice", "phone"), "bob", None), &env());
            assert_eq!(decision.outcome, Outcome::Accepted { seq: Seq(expected), time_ms: NOW_MS });
            let entries = inbox_entries(&decision, "bob");
            assert_eq!(entries.len(), 1);
            let message = seen(entries[0], "bob", "phone").unwrap();
            assert_eq!((message.seq, message.conversation.as_str()), (expected, "u/alice"));
        }
        let decision = act(&mut memory, send(caller("bob", "phone"), "alice", None), &env());
        assert_eq!(
            decision.outcome,
            Outcome::Accepted { seq: Seq(4), time_ms: NOW_MS },
            "one log for both sides"
        );
        assert_eq!((memory.user("alice").inbox_head, memory.user("bob").inbox_head), (1, 3));
    }

    #[test]
    fn the_conversation_keeps_what_was_said() {
        let mut memory = memory();
        let decision = act(&mut memory, send(caller("alice", "phone"), "bob", Some(b"id")), &env());
        let message = decision.changes.iter().find_map(|change| match change {
            Change::AppendMessage { message, .. } => Some(message),
            _ => None,
        });
        let stored = StoredMessage::decode(message.unwrap()).unwrap();
        assert_eq!((stored.sender, stored.time_ms), (user("alice"), NOW_MS));
        assert_eq!(stored.client_msg_id, Some(ClientMsgId::from_bytes(b"id").unwrap()));
        assert_eq!(stored.content, says("hello", None).content);
    }

    #[test]
    fn time_never_goes_backwards_in_a_conversation() {
        let mut memory = Memory::with_users(&["alice", "bob", "carol"]);
        for (to, now_ms, expected) in [("bob", 1_000, 1_000), ("bob", 400, 1_000), ("carol", 400, 400)] {
            let env = Env { now_ms, ..env() };
            let decision = act(&mut memory, send(caller("alice", "phone"), to, None), &env);
            let Outcome::Accepted { time_ms, .. } = decision.outcome else { panic!("refused") };
            assert_eq!(time_ms, expected);
        }
    }

    #[test]
    fn a_retry_gets_the_first_answer() {
        let mut memory = memory();
        let first = act(&mut memory, send(caller("alice", "phone"), "bob", Some(b"one")), &env());
        let later = Env { now_ms: NOW_MS + 5_000, ..env() };
        let rows: [(&str, &str, &str, Option<&[u8]>, bool); 6] = [
            ("the same again", "phone", "bob", Some(b"one"), true),
            ("another id", "phone", "bob", Some(b"two"), false),
            ("another device", "laptop", "bob", Some(b"one"), false),
            ("another conversation", "phone", "alice", Some(b"one"), false),
            ("no id", "phone", "bob", None, false),
            ("the same at last", "phone", "bob", Some(b"one"), true),
        ];
        for (what, from, to, id, is_retry) in rows {
            let decision = act(&mut memory, send(caller("alice", from), to, id), &later);
            assert_eq!(is_quiet(&decision), is_retry, "{what}");
            assert_eq!(decision.outcome == first.outcome, is_retry, "{what}");
        }
    }

    #[test]
    fn a_session_that_is_no_device_has_no_retries() {
        let mut memory = memory();
        let nameless = Caller { device: None, ..caller("alice", "phone") };
        for expected in 1..=2 {
            let decision = act(&mut memory, send(nameless.clone(), "bob", Some(b"one")), &env());
            assert_eq!(decision.outcome, Outcome::Accepted { seq: Seq(expected), time_ms: NOW_MS });
        }
    }

    #[test]
    fn the_sender_gets_an_entry_only_where_a_device_needs_it() {
        let new = |on| caller("alice", on);
        let old = |on| old_caller("alice", on);
        let code_only = Caller { ack: Ack::CodeOnly, ..new("phone") };
        // (what, alice's attached devices, the caller, entries, seen by the phone with body or without, seen
        // by the laptop)
        let rows: [(&str, &[&str], Caller, usize, Option<bool>, bool); 7] = [
            ("one device on 5.0", &["phone"], new("phone"), 0, None, false),
            ("no device at all", &[], new("phone"), 0, None, false),
            ("not attached, on 3.1.1", &[], old("phone"), 0, None, false),
            ("two devices on 5.0", &["phone", "laptop"], new("phone"), 1, None, true),
            ("one device on 3.1.1", &["phone"], old("phone"), 1, Some(false), true),
            ("one device, no number in its acknowledgement", &["phone"], code_only, 1, Some(false), true),
            ("sent from a third", &["phone", "laptop"], old("tablet"), 1, Some(true), true),
        ];
        for (what, attached, caller, entries, on_phone, on_laptop) in rows {
            let mut memory = memory();
            for on in attached {
                attach(&mut memory, "alice", on);
            }
            let decision = act(&mut memory, send(caller, "bob", Some(b"id")), &env());
            let own = inbox_entries(&decision, "alice");
            assert_eq!(own.len(), entries, "{what}");
            assert_eq!(inbox_entries(&decision, "bob").len(), 1, "{what}");
            let Some(entry) = own.first() else { continue };
            let phone = seen(entry, "alice", "phone");
            assert_eq!(phone.as_ref().map(|message| message.body.is_some()), on_phone, "{what}");
            assert!(phone.is_none_or(|message| &message.client_msg_id[..] == b"id"), "{what}");
            let laptop = seen(entry, "alice", "laptop").unwrap();
            assert_eq!(laptop.body.is_some(), on_laptop, "{what}");
            assert_eq!((laptop.sender.as_str(), laptop.conversation.as_str()), ("alice", "u/bob"), "{what}");
        }
    }

    #[test]
    fn a_note_to_oneself_is_in_the_inbox_once() {
        let mut memory = Memory::with_users(&["alice"]);
        for on in ["phone", "laptop"] {
            attach(&mut memory, "alice", on);
        }
        let decision = act(&mut memory, send(caller("alice", "phone"), "alice", Some(b"id")), &env());
        assert_eq!(decision.outcome, Outcome::Accepted { seq: Seq(1), time_ms: NOW_MS });
        let entries = inbox_entries(&decision, "alice");
        assert_eq!(entries.len(), 1);
        assert_eq!(seen(entries[0], "alice", "phone"), None, "the sending device has it");
        let laptop = seen(entries[0], "alice", "laptop").unwrap();
        assert_eq!((laptop.conversation.as_str(), laptop.body.is_some()), ("u/alice", true));
    }

    #[test]
    fn who_is_unknown_is_refused_or_comes_into_being() {
        let dev = Env { dev: true, ..env() };
        let guessed = Env { guess_wait_ms: Some(9_000), ..env() };
        let rows = [
            ("an unknown user", "alice", "nobody", env(), Some((ErrorCode::NoSuchUser, 0))),
            ("a removed sender", "nobody", "bob", env(), Some((ErrorCode::Unauthenticated, 0))),
            (
                "an unknown user, guessed too often",
                "alice",
                "nobody",
                guessed,
                Some((ErrorCode::RateLimited, 9_000)),
            ),
            (
                "a known user, guessed too often",
                "alice",
                "carol",
                guessed,
                Some((ErrorCode::RateLimited, 9_000)),
            ),
            ("a known conversation, guessed too often", "alice", "bob", guessed, None),
            ("an unknown user in dev", "alice", "nobody", dev, None),
            ("an unknown sender in dev", "nobody", "bob", dev, None),
            ("an unknown note-taker in dev", "nobody", "nobody", dev, None),
        ];
        for (what, from, to, env, expected) in rows {
            let mut memory = Memory::with_users(&["alice", "bob", "carol"]);
            act(&mut memory, send(caller("bob", "phone"), "alice", None), &super::super::tests::env());
            let decision = act(&mut memory, send(caller(from, "phone"), to, None), &env);
            if let Some((code, retry_after_ms)) = expected {
                let (refusal, told) = refused(&decision.outcome);
                let found = (refusal.code, refusal.retry_after_ms, told);
                assert_eq!(found, (code, retry_after_ms, Told::ByAck), "{what}");
                assert!(is_quiet(&decision), "{what}");
            } else {
                assert!(matches!(decision.outcome, Outcome::Accepted { .. }), "{what}");
                assert!(memory.user(from).exists && memory.user(to).exists, "{what}");
            }
        }
    }

    #[test]
    fn a_refusal_that_the_acknowledgement_cannot_say_is_an_entry() {
        let rows = [
            ("5.0", caller("alice", "phone"), true, Told::ByAck),
            ("3.1.1, attached", old_caller("alice", "phone"), true, Told::ByEntry),
            ("3.1.1, not attached", old_caller("alice", "phone"), false, Told::NoWay),
            (
                "QoS 0, attached",
                Caller { ack: Ack::Nothing, ..caller("alice", "phone") },
                true,
                Told::ByEntry,
            ),
        ];
        for (what, caller, attached, expected) in rows {
            let mut memory = memory();
            if attached {
                attach(&mut memory, "alice", "phone");
            }
            let decision = act(&mut memory, send(caller, "nobody", Some(b"id")), &env());
            let (refusal, told) = refused(&decision.outcome);
            assert_eq!((refusal.code, told), (ErrorCode::NoSuchUser, expected), "{what}");
            assert_eq!(decision.changes.len(), usize::from(expected == Told::ByEntry), "{what}");
            assert_eq!(inbox_entries(&decision, "alice").len(), decision.changes.len(), "{what}");
        }
    }

    #[test]
    fn all_that_is_missing_is_named_at_once() {
        let memory = Memory::cold();
        let sent = send(caller("alice", "phone"), "bob", Some(b"id"));
        let missing = decide(&memory, &sent.into(), &env()).unwrap_err();
        let conversation = ConversationId::direct(&user("alice"), &user("bob"));
        let expected = [
            Key::User(user("alice")),
            Key::User(user("bob")),
            Key::Conversation(conversation),
            Key::Ring(user("alice"), device("phone")),
        ];
        assert_eq!(missing.0, expected);
        let read = Read { caller: caller("alice", "phone"), chat: chat("bob"), up_to: Seq(1), played: false };
        assert!(!decide(&memory, &read.into(), &env()).unwrap_err().0.is_empty());
    }
}
