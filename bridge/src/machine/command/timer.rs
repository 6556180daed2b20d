//! `SetTimer`: how long what is said in a conversation is there for.

use super::group::story::{Said, Story};
use super::group::{Scene, not_a_member, not_an_admin, removed};
use super::pair::{Pair, Told};
use super::reject::refuse;
use super::{Caller, Decision, Missing, View};
use crate::machine::{Change, Env, Outcome, stored};
use chasqui_proto::{ChatName, ConversationId, ErrorCode, GroupId, Refusal, Seq, UserId};

/// What is said in a conversation from now on is there for so long. It is a message of the conversation itself: who sees it knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetTimer {
    /// Who asks.
    pub caller: Caller,
    /// The conversation, as they name it.
    pub chat: ChatName,
    /// Seconds, checked; 0 for ever.
    pub seconds: u32,
}

impl SetTimer {
    pub(crate) fn decide(&self, view: &impl View, env: &Env) -> Result<Decision, Missing> {
        match &self.chat {
            ChatName::User(peer) => self.with_user(peer, view, env),
            ChatName::Group(group) => self.in_group(group, view, env),
        }
    }

    fn with_user(&self, peer_id: &UserId, view: &impl View, env: &Env) -> Result<Decision, Missing> {
        let pair = Pair::load(view, &self.caller.user, peer_id)?;
        if !pair.user.exists && !env.dev {
            return self.refuse(view, removed());
        }
        let conversation = pair.conversation;
        let (shown, shown_ms) = conversation.shown(&pair.id, pair.me);
        if shown == Seq::NONE || shown_ms < pair.user.since_ms {
            return self.refuse(view, ErrorCode::NoSuchMessage.into());
        }
        if let Some(refusal) = pair.refusal() {
            return self.refuse(view, refusal);
        }
        let (is_blocked, me) = (pair.is_blocked(), (pair.me, pair.user));
        let knows_alone = |side| conversation.own_timer(&pair.id, side).is_some();
        let is_same = if is_blocked {
            conversation.timer_of(&pair.id, me) == self.seconds
        } else {
            // Where one side knows of a timer alone, the two of them have yet to agree.
            conversation.timer_s == self.seconds
                && !knows_alone(me)
                && !knows_alone((pair.peer_id, pair.peer))
        };
        if is_same {
            return Ok(Decision::only(Outcome::Done));
        }
        let mut changes = Vec::with_capacity(7);
        let Told { seq, time_ms, .. } = pair.tell(&self.content(), 0, false, env, &mut changes);
        let shade = conversation.shade_after(&pair.id, pair.me, (seq, time_ms), is_blocked);
        let shade = if is_blocked {
            // What the other side is not told does not hold for them.
            shade.map(|shade| shade.with_timer(&pair.id, me, self.seconds))
        } else {
            changes.push(self.change(pair.id.clone()));
            shade.and_then(|shade| shade.without_timers())
        };
        let put = |shade| Change::PutShade { conversation: pair.id, to: Some(Box::new(shade)) };
        changes.extend(shade.map(put));
        Ok(Decision { changes, outcome: Outcome::Accepted { seq, time_ms } })
    }

    fn in_group(&self, group_id: &GroupId, view: &impl View, env: &Env) -> Result<Decision, Missing> {
        let scene = Scene::load(view, &self.caller, group_id)?;
        if scene.me().is_none() {
            return self.refuse(view, not_a_member());
        }
        if scene.group().settings.admins_edit && !scene.governs(view, env)? {
            return self.refuse(view, not_an_admin());
        }
        if scene.conversation().timer_s == self.seconds {
            return Ok(Decision::only(Outcome::Done));
        }
        let mut story = Story::begin(view, group_id, scene.conversation(), env);
        let time_ms = story.time_ms();
        let content = self.content();
        let (sender, members) = (&self.caller.user, &scene.group().members);
        let said = Said { sender, client_msg_id: None, expires_at_ms: 0, content: &content };
        let seq = story.say(&said, members, |_, _, message| Some(message), &self.chat);
        story.change(self.change(ConversationId::Group(group_id.clone())));
        Ok(Decision { changes: story.end()?, outcome: Outcome::Accepted { seq, time_ms } })
    }

    fn content(&self) -> Vec<u8> {
        stored::timer_content(self.seconds)
    }

    fn change(&self, conversation: ConversationId) -> Change {
        Change::SetTimer { conversation, seconds: self.seconds }
    }

    fn refuse(&self, view: &impl View, refusal: Refusal) -> Result<Decision, Missing> {
        refuse(view, &self.caller, None, refusal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::command::tests::{
        NOW_MS, act, caller, chat, env, inbox_entries, is_quiet, refused, user,
    };
    use crate::machine::command::{CreateUser, GroupCreate, RemoveUser, Send, SetTies, What as Tied};
    use crate::machine::record::{Conversation, Settings};
    use crate::machine::stored::StoredMessage;
    use crate::machine::testing::Memory;
    use bytes::Bytes;
    use chasqui_proto::Outgoing;

    fn timer(by: &str, on: ChatName, seconds: u32) -> SetTimer {
        SetTimer { caller: caller(by, "phone"), chat: on, seconds }
    }

    fn hikers() -> GroupId {
        GroupId::parse("hikers").unwrap()
    }

    /// alice and bob have exchanged ten messages, and are in a group where only alice, its admin, may change what it shows.
    fn memory() -> Memory {
        let mut memory = Memory::with_users(&["alice", "bob", "carol"]);
        let ten = Conversation { head: Seq(10), last_time_ms: 1, ..Conversation::default() };
        memory.set_conversation("alice", "bob", ten);
        let create = GroupCreate {
            caller: caller("alice", "phone"),
            group: hikers(),
            name: "Hikers".to_owned(),
            description: String::new(),
            photo: Bytes::new(),
            settings: Settings { admins_edit: true, ..Settings::default() },
            members: vec![user("bob")],
        };
        act(&mut memory, create, &env());
        memory
    }

    #[test]
    fn who_sets_it_is_who_may() {
        let group = || ChatName::Group(hikers());
        let rows = [
            ("one side", timer("alice", chat("bob"), 60), None),
            ("the other side", timer("bob", chat("alice"), 60), None),
            (
                "a conversation that is not there",
                timer("bob", chat("carol"), 60),
                Some(ErrorCode::NoSuchMessage),
            ),
            ("an admin", timer("alice", group(), 60), None),
            ("a member", timer("bob", group(), 60), Some(ErrorCode::Forbidden)),
            ("a stranger", timer("carol", group(), 60), Some(ErrorCode::Forbidden)),
        ];
        for (what, command, expected) in rows {
            let mut memory = memory();
            let decision = act(&mut memory, command.clone(), &env());
            if let Some(code) = expected {
                assert_eq!(refused(&decision.outcome).0.code, code, "{what}");
                assert!(is_quiet(&decision), "{what}");
                continue;
            }
            for owner in ["alice", "bob"] {
                assert_eq!(inbox_entries(&decision, owner).len(), 1, "{what}: {owner} is told");
            }
            assert!(is_quiet(&act(&mut memory, command, &env())), "{what}: again is once");
        }
    }

    #[test]
    fn what_is_said_from_then_on_has_it() {
        for on in [chat("bob"), ChatName::Group(hikers())] {
            let mut memory = memory();
            for (seconds, expected) in [(60, NOW_MS + 60_000), (5, NOW_MS + 5_000), (0, 0)] {
                act(&mut memory, timer("alice", on.clone(), seconds), &env());
                let content = Bytes::from_static(b"\x12\x03\x0a\x01x");
                let send = Send {
                    caller: caller("alice", "phone"),
                    to: on.clone(),
                    message: Outgoing { client_msg_id: None, content, expires_in_s: 0 },
                };
                let decision = act(&mut memory, send, &env());
                let found = decision.changes.iter().find_map(|change| match change {
                    Change::AppendMessage { message, .. } => StoredMessage::decode(message).ok(),
                    _ => None,
                });
                assert_eq!(found.unwrap().expires_at_ms, expected, "{on}");
                let index = decision.changes.iter().any(|change| matches!(change, Change::ExpireAt { .. }));
                assert_eq!(index, expected > 0, "{on}");
            }
        }
    }

    #[test]
    fn one_that_a_blocked_side_sets_holds_for_what_they_say_alone_until_both_know_of_one() {
        let mut memory = memory();
        let ties = |blocked| SetTies {
            caller: caller("bob", "phone"),
            users: vec![user("alice")],
            what: Tied::Blocked(blocked),
        };
        let says = |memory: &mut Memory, by: &str, to: &str| {
            let content = Bytes::from_static(b"\x12\x03\x0a\x01x");
            let message = Outgoing { client_msg_id: None, content, expires_in_s: 0 };
            let send = Send { caller: caller(by, "phone"), to: chat(to), message };
            let decision = act(memory, send, &env());
            let stored = decision.changes.iter().find_map(|change| match change {
                Change::AppendMessage { message, .. } => StoredMessage::decode(message).ok(),
                _ => None,
            });
            stored.expect("it is said").expires_at_ms
        };
        act(&mut memory, timer("alice", chat("bob"), 9), &env());
        act(&mut memory, ties(true), &env());
        let set = act(&mut memory, timer("alice", chat("bob"), 60), &env());
        assert!(matches!(set.outcome, Outcome::Accepted { .. }), "she is answered as ever");
        assert!(inbox_entries(&set, "bob").is_empty(), "he is not told");
        assert!(is_quiet(&act(&mut memory, timer("alice", chat("bob"), 60), &env())), "again is once");
        assert_eq!(says(&mut memory, "alice", "bob"), NOW_MS + 60_000);
        act(&mut memory, ties(false), &env());
        assert_eq!(says(&mut memory, "bob", "alice"), NOW_MS + 9_000, "he was told of the first one alone");
        assert_eq!(says(&mut memory, "alice", "bob"), NOW_MS + 60_000, "she knows of nothing else");
        for (by, to, seconds) in [("alice", "bob", 60), ("bob", "alice", 9)] {
            let mut memory = Memory::clone(&memory);
            let set = act(&mut memory, timer(by, chat(to), seconds), &env());
            assert_eq!(inbox_entries(&set, to).len(), 1, "they agree from here on");
            let at_ms = NOW_MS + u64::from(seconds) * 1_000;
            for (by, to) in [("alice", "bob"), ("bob", "alice")] {
                assert_eq!(says(&mut memory, by, to), at_ms, "{by}");
            }
            assert!(is_quiet(&act(&mut memory, timer(by, chat(to), seconds), &env())));
        }
        // Who takes the name later has set nothing.
        act(&mut memory, RemoveUser { user: user("alice") }, &env());
        act(&mut memory, CreateUser { user: user("alice") }, &env());
        assert_eq!(says(&mut memory, "alice", "bob"), NOW_MS + 9_000);
    }
}
