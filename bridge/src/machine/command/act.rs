//! `Act`: something is done to a message that was said: it is edited, or somebody reacts to it.
//!
//! Either is a message of the conversation itself, with a number of its own, for all who see the one it is about: nothing that was said is
//! overwritten, and a device that was away learns of it in order. Readers show the newest of each.

use super::group::story::{Said, Story};
use super::group::{Scene, not_a_member};
use super::reject::refuse;
use super::send::append;
use super::{Caller, Decision, Missing, View, own};
use crate::entry::NewMessage;
use crate::machine::stored::StoredMessage;
use crate::machine::{Change, Env, Outcome};
use crate::mutation::{Mutation, mutated};
use bytes::Bytes;
use chasqui_proto::limits::EDIT_WINDOW_MS;
use chasqui_proto::{ChatName, ConversationId, ErrorCode, GroupId, Refusal, Seq, UserId};

/// Something is done to a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Act {
    /// Who does it.
    pub caller: Caller,
    /// The conversation, as they name it.
    pub chat: ChatName,
    /// The message's number.
    pub seq: Seq,
    /// Who sent it and when, as it is stored, which never changes; `None` where no message of that number was ever sent by anybody.
    pub original: Option<Original>,
    /// Whether it is an edit: for its sender alone, and for a while.
    pub edit: bool,
    /// What readers get, encoded as content of a `Message`.
    pub content: Bytes,
}

/// What is known of a message that something is done to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Original {
    /// Who sent it.
    pub sender: UserId,
    /// When, in Unix milliseconds.
    pub time_ms: u64,
}

impl Act {
    pub(crate) fn decide(&self, view: &impl View, env: &Env) -> Result<Decision, Missing> {
        match &self.chat {
            ChatName::User(peer) => self.with_user(peer, view, env),
            ChatName::Group(group) => self.in_group(group, view, env),
        }
    }

    fn with_user(&self, peer_id: &UserId, view: &impl View, env: &Env) -> Result<Decision, Missing> {
        let me = &self.caller.user;
        let conversation_id = ConversationId::direct(me, peer_id);
        let mut missing = Missing::default();
        let user = missing.note(view.user(me));
        let peer = missing.note(view.user(peer_id));
        let conversation = missing.note(view.conversation(&conversation_id));
        let (Some(user), Some(peer), Some(conversation)) = (user, peer, conversation) else {
            return Err(missing);
        };
        if !user.exists && !env.dev {
            return self.refuse(view, super::group::removed());
        }
        // What was said before there was this user of the name is none of theirs.
        let seen = self.original.as_ref().is_some_and(|original| original.time_ms >= user.since_ms);
        let refusal = if seen { self.refusal(env) } else { Some(no_such_message()) };
        if let Some(refusal) = refusal {
            return self.refuse(view, refusal);
        }
        let seq = conversation.head.next();
        let time_ms = env.now_ms.max(conversation.last_time_ms).max(user.since_ms).max(peer.since_ms);
        let to_self = me == peer_id;
        let message = NewMessage {
            chat: &self.chat,
            sender: (!to_self).then_some(me),
            seq,
            prev_seq: None,
            time_ms,
            client_msg_id: None,
            from_device: None,
            content: &self.content,
            whole: false,
        };
        // All of one's own devices see it, the one that did it as well: they have to agree.
        let mut changes = vec![append(me, user, &message)];
        changes.extend(own::list(me, user, &self.chat, conversation, time_ms));
        if !to_self && peer.exists {
            let own_name = ChatName::User(me.clone());
            let theirs = NewMessage { chat: &own_name, sender: None, ..message };
            changes.push(append(peer_id, peer, &theirs));
            changes.extend(own::list(peer_id, peer, &own_name, conversation, time_ms));
        }
        let message = StoredMessage::encode(me, time_ms, None, &self.content);
        changes.push(Change::AppendMessage { conversation: conversation_id, seq, time_ms, message });
        Ok(Decision { changes, outcome: Outcome::Accepted { seq, time_ms } })
    }

    fn in_group(&self, group_id: &GroupId, view: &impl View, env: &Env) -> Result<Decision, Missing> {
        let me = &self.caller.user;
        let mut missing = Missing::default();
        let scene = missing.note(Scene::load(view, &self.caller, group_id));
        let membership = missing.note(view.membership(group_id, me));
        let (Some(scene), Some(membership)) = (scene, membership) else { return Err(missing) };
        if scene.me().is_none() {
            return self.refuse(view, not_a_member());
        }
        let refusal =
            if scene.sees(membership, self.seq) { self.refusal(env) } else { Some(no_such_message()) };
        if let Some(refusal) = refusal {
            return self.refuse(view, refusal);
        }
        let chat = ChatName::Group(group_id.clone());
        let mut story = Story::begin(view, group_id, scene.conversation(), env);
        let time_ms = story.time_ms();
        let said = Said { sender: me, client_msg_id: None, content: &self.content };
        let seq = story.say(&said, &scene.group().members, |_, _, message| Some(message), &chat);
        Ok(Decision { changes: story.end()?, outcome: Outcome::Accepted { seq, time_ms } })
    }

    /// Why it cannot be done, whoever sees the message.
    fn refusal(&self, env: &Env) -> Option<Refusal> {
        let Some(Original { sender, time_ms }) = &self.original else { return Some(no_such_message()) };
        if !self.edit {
            return None;
        }
        if *sender != self.caller.user && !mutated(Mutation::TakesEditsOfOthers) {
            return Some(Refusal::because(ErrorCode::Forbidden, "a message is edited by its sender alone"));
        }
        (env.now_ms.saturating_sub(*time_ms) > EDIT_WINDOW_MS).then(|| {
            let minutes = EDIT_WINDOW_MS / 60_000;
            Refusal::because(ErrorCode::Forbidden, format!("a message can be edited for {minutes} minutes"))
        })
    }

    fn refuse(&self, view: &impl View, refusal: Refusal) -> Result<Decision, Missing> {
        refuse(view, &self.caller, None, refusal)
    }
}

fn no_such_message() -> Refusal {
    ErrorCode::NoSuchMessage.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::{self, Rendered};
    use crate::machine::command::tests::{
        NOW_MS, act, caller, chat, device, env, inbox_entries, is_quiet, old_caller, refused, user,
    };
    use crate::machine::command::{Attach, CreateUser, GroupCreate, GroupLeave, GroupRemove, RemoveUser};
    use crate::machine::record::{Conversation, Settings};
    use crate::machine::testing::Memory;
    use crate::machine::{Told, stored};
    use chasqui_proto::v1;
    use prost::Message as _;

    fn thumbs_up(seq: u64) -> Bytes {
        stored::reaction_content(&v1::Reaction { seq, emoji: "👍".to_owned() }).into()
    }

    fn hikers() -> ChatName {
        ChatName::parse("g/hikers").unwrap()
    }

    /// Something done by `by` to message 3, which alice has sent a minute ago.
    fn acts(by: &str, on: ChatName, edit: bool) -> Act {
        let original = Some(Original { sender: user("alice"), time_ms: NOW_MS - 60_000 });
        Act { caller: caller(by, "phone"), chat: on, seq: Seq(3), original, edit, content: thumbs_up(3) }
    }

    /// alice and bob have exchanged ten messages, and are in a group with carol, of five.
    fn memory() -> Memory {
        let mut memory = Memory::with_users(&["alice", "bob", "carol", "dave"]);
        memory.set_conversation("alice", "bob", Conversation { head: Seq(10), last_time_ms: 1 });
        let create = GroupCreate {
            caller: caller("alice", "phone"),
            group: chasqui_proto::GroupId::parse("hikers").unwrap(),
            name: "Hikers".to_owned(),
            description: String::new(),
            photo: Bytes::new(),
            settings: Settings { admins_post: true, ..Settings::default() },
            members: vec![user("bob"), user("carol")],
        };
        act(&mut memory, create, &env());
        for _ in 0..4 {
            act(&mut memory, acts("alice", hikers(), false).about(1), &env());
        }
        memory
    }

    impl Act {
        fn about(mut self, seq: u64) -> Act {
            self.seq = Seq(seq);
            self
        }
    }

    fn shown(entry: &Bytes, owner: &str) -> v1::Message {
        let nothing = |_: &ConversationId, _| Ok::<_, std::convert::Infallible>(None);
        match entry::render(entry, &user(owner), &device("phone"), nothing).unwrap() {
            Rendered::Event(event) => match v1::Event::decode(event).unwrap().event {
                Some(v1::event::Event::Message(message)) => message,
                other => panic!("not a message: {other:?}"),
            },
            Rendered::Skip => panic!("skipped"),
        }
    }

    #[test]
    fn both_sides_and_all_devices_see_it_with_a_number_of_its_own() {
        let mut memory = memory();
        let decision = act(&mut memory, acts("bob", chat("alice"), false), &env());
        assert_eq!(decision.outcome, Outcome::Accepted { seq: Seq(11), time_ms: NOW_MS });
        for (owner, conversation, sender) in [("alice", "u/bob", ""), ("bob", "u/alice", "bob")] {
            let entries = inbox_entries(&decision, owner);
            assert_eq!(entries.len(), 1, "{owner}");
            let message = shown(entries[0], owner);
            assert_eq!(
                (message.conversation.as_str(), message.sender.as_str(), message.seq),
                (conversation, sender, 11)
            );
            assert_eq!(message.reaction, Some(v1::Reaction { seq: 3, emoji: "👍".to_owned() }));
            assert_eq!(
                entry::about(&user(owner), entries[0]),
                Ok(None),
                "nobody waits to hear of its delivery"
            );
        }
        let own = Act {
            original: Some(Original { sender: user("alice"), time_ms: 1 }),
            ..acts("alice", chat("alice"), false)
        };
        assert_eq!(inbox_entries(&act(&mut memory, own, &env()), "alice").len(), 1, "a note to oneself");
    }

    #[test]
    fn all_members_see_it_even_where_only_admins_post() {
        let mut memory = memory();
        let decision = act(&mut memory, acts("bob", hikers(), false), &env());
        assert_eq!(decision.outcome, Outcome::Accepted { seq: Seq(6), time_ms: NOW_MS });
        for owner in ["alice", "bob", "carol"] {
            let message = shown(inbox_entries(&decision, owner)[0], owner);
            assert_eq!((message.sender.as_str(), message.seq), ("bob", 6), "{owner}");
        }
    }

    #[test]
    fn who_may_not_is_told_why() {
        let late = Env { now_ms: NOW_MS - 60_000 + EDIT_WINDOW_MS + 1, ..env() };
        let in_time = Env { now_ms: NOW_MS - 60_000 + EDIT_WINDOW_MS, ..env() };
        let unknown = |by: &str, on: ChatName| Act { original: None, ..acts(by, on, false) };
        let rows = [
            ("its sender edits it", acts("alice", chat("bob"), true), in_time, None),
            ("somebody else edits it", acts("bob", chat("alice"), true), env(), Some(ErrorCode::Forbidden)),
            ("its sender edits it late", acts("alice", chat("bob"), true), late, Some(ErrorCode::Forbidden)),
            ("a reaction comes late", acts("bob", chat("alice"), false), late, None),
            ("a message that is none", unknown("bob", chat("alice")), env(), Some(ErrorCode::NoSuchMessage)),
            ("its sender edits it in a group", acts("alice", hikers(), true), env(), None),
            ("a member edits another's", acts("bob", hikers(), true), env(), Some(ErrorCode::Forbidden)),
            ("a stranger reacts", acts("dave", hikers(), false), env(), Some(ErrorCode::Forbidden)),
            (
                "a message that is none in a group",
                unknown("bob", hikers()),
                env(),
                Some(ErrorCode::NoSuchMessage),
            ),
        ];
        for (what, command, env, expected) in rows {
            let decision = act(&mut memory(), command, &env);
            match expected {
                None => assert!(matches!(decision.outcome, Outcome::Accepted { .. }), "{what}: {decision:?}"),
                Some(code) => {
                    assert_eq!(refused(&decision.outcome).0.code, code, "{what}");
                    assert!(is_quiet(&decision), "{what}");
                }
            }
        }
    }

    #[test]
    fn what_one_cannot_see_is_not_there() {
        let mut memory = memory();
        let group = chasqui_proto::GroupId::parse("hikers").unwrap();
        let remove =
            GroupRemove { caller: caller("alice", "phone"), group: group.clone(), users: vec![user("bob")] };
        act(&mut memory, remove, &env()); // 6
        let add = super::super::GroupAdd {
            caller: caller("alice", "phone"),
            group: group.clone(),
            users: vec![user("dave")],
        };
        act(&mut memory, add, &env()); // 7
        let before_dave = act(&mut memory, acts("dave", hikers(), false), &env());
        assert_eq!(refused(&before_dave.outcome).0.code, ErrorCode::NoSuchMessage);
        assert!(act(&mut memory, acts("dave", hikers(), false).about(7), &env()).outcome.is_success_code());
        let gone = act(&mut memory, acts("bob", hikers(), false), &env());
        assert_eq!(refused(&gone.outcome).0.code, ErrorCode::Forbidden);
        act(&mut memory, GroupLeave { caller: caller("carol", "phone"), group }, &env());
        assert!(is_quiet(&act(&mut memory, acts("carol", hikers(), false), &env())));
    }

    #[test]
    fn removed_users_do_nothing_and_get_nothing() {
        let mut memory = memory();
        act(&mut memory, RemoveUser { user: user("bob") }, &env());
        let decision = act(&mut memory, acts("alice", chat("bob"), false), &env());
        assert_eq!((inbox_entries(&decision, "alice").len(), inbox_entries(&decision, "bob").len()), (1, 0));
        let decision = act(&mut memory, acts("bob", chat("alice"), false), &env());
        assert_eq!(refused(&decision.outcome).0.code, ErrorCode::Unauthenticated);
    }

    #[test]
    fn who_comes_under_the_name_of_another_does_nothing_to_what_that_one_saw() {
        let mut memory = memory();
        act(&mut memory, RemoveUser { user: user("bob") }, &env());
        act(&mut memory, CreateUser { user: user("bob") }, &env());
        let decision = act(&mut memory, acts("bob", chat("alice"), false), &env());
        assert_eq!(refused(&decision.outcome).0.code, ErrorCode::NoSuchMessage);
        let later = Some(Original { sender: user("alice"), time_ms: NOW_MS });
        let decision = act(&mut memory, Act { original: later, ..acts("bob", chat("alice"), false) }, &env());
        assert!(decision.outcome.is_success_code());
    }

    #[test]
    fn on_3_1_1_a_refusal_is_an_entry() {
        let mut memory = memory();
        act(&mut memory, Attach { user: user("bob"), device: device("phone") }, &env());
        let old = Act { caller: old_caller("bob", "phone"), ..acts("bob", chat("alice"), true) };
        let decision = act(&mut memory, old, &env());
        assert_eq!(refused(&decision.outcome).1, Told::ByEntry);
    }
}
