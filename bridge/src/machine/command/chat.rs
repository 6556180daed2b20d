//! `SetChat`: what a user keeps about a conversation, for all their devices.

use super::reject::refuse;
use super::{Caller, Decision, Missing, View, own};
use crate::machine::{Change, Env, Outcome};
use chasqui_proto::{ChatName, ErrorCode, Seq, v1};

/// A user keeps something else about a conversation. `None` stays as it is; what is so already changes nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetChat {
    /// Who.
    pub caller: Caller,
    /// The conversation, as they name it.
    pub chat: ChatName,
    /// Until when it makes no sound, in Unix milliseconds; 0 for not muted.
    pub muted_until_ms: Option<u64>,
    /// Whether it is shown above the others.
    pub pinned: Option<bool>,
    /// Whether it is put away.
    pub archived: Option<bool>,
    /// What is written and not sent yet, checked.
    pub draft: Option<String>,
    /// The last of the messages that are no more, for them.
    pub cleared: Option<Seq>,
}

impl SetChat {
    pub(crate) fn decide(&self, view: &impl View, env: &Env) -> Result<Decision, Missing> {
        let me = &self.caller.user;
        let mut missing = Missing::default();
        let user = missing.note(view.user(me));
        let kept = missing.note(view.chat(me, &self.chat));
        let newest = missing.note(own::newest(view, me, &self.chat, env));
        let (Some(user), Some(kept), Some(newest)) = (user, kept, newest) else { return Err(missing) };
        // A conversation that is not there, or not for them to see, looks like a message that is not there.
        if newest == Seq::NONE || self.cleared.is_some_and(|cleared| cleared > newest) {
            return refuse(view, &self.caller, None, ErrorCode::NoSuchMessage.into());
        }
        let before = kept.of_life(user.lives);
        let mut to = before.clone();
        to.muted_until_ms = self.muted_until_ms.unwrap_or(before.muted_until_ms);
        to.pinned = self.pinned.unwrap_or(before.pinned);
        to.archived = self.archived.unwrap_or(before.archived);
        to.draft = self.draft.clone().unwrap_or_else(|| before.draft.clone());
        to.cleared = self.cleared.unwrap_or_default().max(before.cleared);
        if to == before {
            return Ok(Decision::only(Outcome::Done));
        }
        let news = v1::Chat {
            conversation: self.chat.to_string(),
            muted_until_ms: changed(&before.muted_until_ms, &to.muted_until_ms).map(u64::cast_signed),
            pinned: changed(&before.pinned, &to.pinned),
            archived: changed(&before.archived, &to.archived),
            draft: changed(&before.draft, &to.draft),
            cleared_to_seq: changed(&before.cleared, &to.cleared).map(|cleared| cleared.0),
            ..v1::Chat::default()
        };
        let (owner, chat) = (me.clone(), self.chat.clone());
        let mut changes = vec![Change::PutChat { owner, chat, to: Box::new(to) }];
        changes.extend(own::tell_others(&self.caller, user, v1::event::Event::Chat(news)));
        Ok(Decision { changes, outcome: Outcome::Done })
    }
}

fn changed<T: PartialEq + Clone>(before: &T, after: &T) -> Option<T> {
    (before != after).then(|| after.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::{self, Rendered};
    use crate::machine::command::tests::{
        act, caller, chat, device, env, inbox_entries, is_quiet, refused, user,
    };
    use crate::machine::command::{Attach, CreateUser, GroupCreate, GroupLeave, RemoveUser};
    use crate::machine::record::{Conversation, Settings};
    use crate::machine::testing::Memory;
    use bytes::Bytes;
    use chasqui_proto::{ConversationId, GroupId};
    use prost::Message as _;

    fn keep(on: ChatName) -> SetChat {
        SetChat {
            caller: caller("alice", "phone"),
            chat: on,
            muted_until_ms: None,
            pinned: None,
            archived: None,
            draft: None,
            cleared: None,
        }
    }

    /// alice has a phone and a laptop, and has exchanged ten messages with bob.
    fn memory() -> Memory {
        let mut memory = Memory::with_users(&["alice", "bob", "carol"]);
        memory.set_conversation(
            "alice",
            "bob",
            Conversation { head: Seq(10), last_time_ms: 1, ..Conversation::default() },
        );
        for on in ["phone", "laptop"] {
            act(&mut memory, Attach { user: user("alice"), device: device(on) }, &env());
        }
        memory
    }

    fn seen(entry: &Bytes, by: &str) -> Option<v1::Chat> {
        let nothing = |_: &ConversationId, _| Ok::<_, std::convert::Infallible>(None);
        match entry::render(entry, &user("alice"), &device(by), 0, nothing).unwrap() {
            Rendered::Skip => None,
            Rendered::Event(event) => match v1::Event::decode(event).unwrap().event {
                Some(v1::event::Event::Chat(chat)) => Some(chat),
                other => panic!("not what alice keeps: {other:?}"),
            },
        }
    }

    #[test]
    fn the_other_devices_are_told_what_is_new_and_nothing_else() {
        let mut memory = memory();
        let about = || v1::Chat { conversation: "u/bob".to_owned(), ..v1::Chat::default() };
        let rows: [(SetChat, Option<v1::Chat>); 8] = [
            (
                SetChat { muted_until_ms: Some(9), pinned: Some(false), ..keep(chat("bob")) },
                Some(v1::Chat { muted_until_ms: Some(9), ..about() }),
            ),
            (SetChat { muted_until_ms: Some(9), ..keep(chat("bob")) }, None),
            (
                SetChat { muted_until_ms: Some(0), ..keep(chat("bob")) },
                Some(v1::Chat { muted_until_ms: Some(0), ..about() }),
            ),
            (
                SetChat { pinned: Some(true), archived: Some(true), ..keep(chat("bob")) },
                Some(v1::Chat { pinned: Some(true), archived: Some(true), ..about() }),
            ),
            (
                SetChat { draft: Some("dear bob".to_owned()), ..keep(chat("bob")) },
                Some(v1::Chat { draft: Some("dear bob".to_owned()), ..about() }),
            ),
            (
                SetChat { draft: Some(String::new()), ..keep(chat("bob")) },
                Some(v1::Chat { draft: Some(String::new()), ..about() }),
            ),
            (
                SetChat { cleared: Some(Seq(4)), ..keep(chat("bob")) },
                Some(v1::Chat { cleared_to_seq: Some(4), ..about() }),
            ),
            (SetChat { cleared: Some(Seq(3)), ..keep(chat("bob")) }, None),
        ];
        for (command, told) in rows {
            let what = format!("{command:?}");
            let decision = act(&mut memory, command, &env());
            assert_eq!((&decision.outcome, is_quiet(&decision)), (&Outcome::Done, told.is_none()), "{what}");
            let entries = inbox_entries(&decision, "alice");
            assert_eq!(entries.len(), usize::from(told.is_some()), "{what}");
            for entry in entries {
                assert_eq!(seen(entry, "laptop"), told, "{what}");
                assert_eq!(seen(entry, "phone"), None, "{what}: who did it knows");
                assert_eq!(entry::about(&user("alice"), entry), Ok(None), "it is no message");
            }
        }
        let kept = memory.chat("alice", &chat("bob"));
        assert_eq!((kept.pinned, kept.archived, kept.cleared), (true, true, Seq(4)));
        assert_eq!(memory.chat("bob", &chat("alice")), &crate::machine::Chat::default(), "hers alone");
    }

    #[test]
    fn who_has_one_device_is_told_nothing() {
        let mut memory = Memory::with_users(&["alice", "bob"]);
        memory.set_conversation(
            "alice",
            "bob",
            Conversation { head: Seq(1), last_time_ms: 1, ..Conversation::default() },
        );
        act(&mut memory, Attach { user: user("alice"), device: device("phone") }, &env());
        let decision = act(&mut memory, SetChat { pinned: Some(true), ..keep(chat("bob")) }, &env());
        assert!(inbox_entries(&decision, "alice").is_empty());
        assert!(memory.chat("alice", &chat("bob")).pinned);
    }

    #[test]
    fn what_is_not_there_to_see_is_refused() {
        let mut memory = memory();
        let group = || ChatName::Group(GroupId::parse("hikers").unwrap());
        let create = GroupCreate {
            caller: caller("bob", "phone"),
            group: GroupId::parse("hikers").unwrap(),
            name: "Hikers".to_owned(),
            description: String::new(),
            photo: Bytes::new(),
            settings: Settings::default(),
            members: vec![user("alice")],
        };
        act(&mut memory, create, &env());
        let rows = [
            ("a conversation of ten, all of it", chat("bob"), 10, true),
            ("more of it than there is", chat("bob"), 11, false),
            ("a conversation that is not there", chat("carol"), 0, false),
            ("a group", group(), 1, true),
            ("more of it than there is", group(), 2, false),
            ("a group that is not there", ChatName::Group(GroupId::parse("others").unwrap()), 0, false),
        ];
        for (what, on, cleared, expected) in rows {
            let command = SetChat { cleared: Some(Seq(cleared)), pinned: Some(true), ..keep(on) };
            let decision = act(&mut memory, command, &env());
            assert_eq!(decision.outcome == Outcome::Done, expected, "{what}");
            if !expected {
                assert_eq!(refused(&decision.outcome).0.code, ErrorCode::NoSuchMessage, "{what}");
                assert!(is_quiet(&decision), "{what}");
            }
        }
        let leave = GroupLeave { caller: caller("alice", "phone"), group: GroupId::parse("hikers").unwrap() };
        act(&mut memory, leave, &env());
        let last = memory.membership("hikers", "alice").ended().unwrap();
        for (cleared, expected) in [(last, true), (last.next(), false)] {
            let command = SetChat { cleared: Some(cleared), archived: Some(true), ..keep(group()) };
            assert_eq!(act(&mut memory, command, &env()).outcome == Outcome::Done, expected, "{cleared:?}");
        }
    }

    #[test]
    fn who_takes_the_name_later_keeps_nothing_of_it() {
        let mut memory = memory();
        act(&mut memory, SetChat { pinned: Some(true), ..keep(chat("bob")) }, &env());
        act(&mut memory, RemoveUser { user: user("alice") }, &env());
        let command = SetChat { archived: Some(true), ..keep(chat("bob")) };
        assert_eq!(
            refused(&act(&mut memory, command.clone(), &env()).outcome).0.code,
            ErrorCode::NoSuchMessage
        );
        act(&mut memory, CreateUser { user: user("alice") }, &env());
        assert_eq!(
            refused(&act(&mut memory, command.clone(), &env()).outcome).0.code,
            ErrorCode::NoSuchMessage
        );
        let later = Conversation { head: Seq(11), last_time_ms: u64::MAX, ..Conversation::default() };
        memory.set_conversation("alice", "bob", later);
        assert_eq!(act(&mut memory, command, &env()).outcome, Outcome::Done);
        let kept = memory.chat("alice", &chat("bob"));
        assert!(kept.archived && !kept.pinned);
    }
}
