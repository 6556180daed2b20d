//! `Keep`: a user notes something about a message for themselves: that they do not want to see it any more, or that they want to find it again.

use super::group::Scene;
use super::reject::refuse;
use super::{Caller, Decision, Missing, View, own};
use crate::machine::{Change, Env, Outcome};
use chasqui_proto::{ChatName, ErrorCode, Seq, v1};

/// A user notes something about a message, for all their devices. Nobody else learns of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keep {
    /// Who.
    pub caller: Caller,
    /// The conversation, as they name it.
    pub chat: ChatName,
    /// The message's number.
    pub seq: Seq,
    /// What.
    pub note: Note,
}

/// What a user notes about a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Note {
    /// They do not want to see it any more.
    Hidden {
        /// Who had said so before this was asked for, where one of the name had: a number of [`User::lives`](crate::machine::User::lives).
        /// It is never taken back.
        already_by: Option<u32>,
    },
    /// They want to find it again, or no more.
    Starred(bool),
}

impl Keep {
    pub(crate) fn decide(&self, view: &impl View, env: &Env) -> Result<Decision, Missing> {
        let me = &self.caller.user;
        let mut missing = Missing::default();
        let user = missing.note(view.user(me));
        let newest = missing.note(own::newest(view, me, &self.chat, env));
        let seen = match &self.chat {
            ChatName::User(_) => Some(true),
            ChatName::Group(group) => {
                let scene = missing.note(Scene::load(view, &self.caller, group));
                let membership = missing.note(view.membership(group, me));
                scene.zip(membership).map(|(scene, membership)| scene.sees(membership, self.seq))
            }
        };
        let (Some(user), Some(newest), Some(seen)) = (user, newest, seen) else { return Err(missing) };
        if !seen || self.seq == Seq::NONE || self.seq > newest {
            return refuse(view, &self.caller, None, ErrorCode::NoSuchMessage.into());
        }
        if matches!(self.note, Note::Hidden { already_by: Some(life) } if life == user.lives) {
            return Ok(Decision::only(Outcome::Done));
        }
        let (owner, life, chat, seq) = (me.clone(), user.lives, self.chat.clone(), self.seq);
        let (conversation, number) = (self.chat.to_string(), self.seq.0);
        let (change, news) = match self.note {
            Note::Hidden { .. } => {
                let news = v1::Delete { conversation, seq: number, for_everyone: false, request_id: 0 };
                (Change::HideMessage { owner, life, chat, seq }, v1::event::Event::Delete(news))
            }
            Note::Starred(starred) => {
                let news = v1::Star { conversation, seq: number, starred, request_id: 0 };
                (Change::StarMessage { owner, life, chat, seq, starred }, v1::event::Event::Star(news))
            }
        };
        let mut changes = vec![change];
        changes.extend(own::tell_others(&self.caller, user, news));
        Ok(Decision { changes, outcome: Outcome::Done })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::command::tests::{
        act, caller, chat, device, env, inbox_entries, is_quiet, refused, user,
    };
    use crate::machine::command::{Attach, GroupCreate, GroupLeave};
    use crate::machine::record::{Conversation, Settings};
    use crate::machine::testing::Memory;
    use bytes::Bytes;
    use chasqui_proto::GroupId;

    const HIDDEN: Note = Note::Hidden { already_by: None };

    fn hide(by: &str, on: ChatName, seq: u64) -> Keep {
        Keep { caller: caller(by, "phone"), chat: on, seq: Seq(seq), note: HIDDEN }
    }

    /// alice has two devices, has exchanged ten messages with bob, and was in a group of his.
    fn memory() -> Memory {
        let mut memory = Memory::with_users(&["alice", "bob", "carol"]);
        memory.set_conversation(
            "alice",
            "bob",
            Conversation { head: Seq(10), last_time_ms: 1, ..Conversation::default() },
        );
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
        let leave = GroupLeave { caller: caller("alice", "phone"), group: GroupId::parse("hikers").unwrap() };
        act(&mut memory, leave, &env());
        for on in ["phone", "laptop"] {
            act(&mut memory, Attach { user: user("alice"), device: device(on) }, &env());
        }
        memory
    }

    #[test]
    fn what_is_hers_to_see_is_hers_to_take_away_or_to_mark() {
        let group = || ChatName::Group(GroupId::parse("hikers").unwrap());
        let rows = [
            ("the first", hide("alice", chat("bob"), 1), true),
            ("the last", hide("alice", chat("bob"), 10), true),
            ("none", hide("alice", chat("bob"), 0), false),
            ("one to come", hide("alice", chat("bob"), 11), false),
            ("one of a conversation that is not there", hide("alice", chat("carol"), 1), false),
            ("the last one of a group she was in", hide("alice", group(), 2), true),
            ("one of a group somebody else is in", hide("carol", group(), 1), false),
        ];
        for (what, command, expected) in rows {
            for note in [HIDDEN, Note::Starred(true), Note::Starred(false)] {
                let mut memory = memory();
                let decision = act(&mut memory, Keep { note, ..command.clone() }, &env());
                assert_eq!(decision.outcome == Outcome::Done, expected, "{what}");
                if expected {
                    assert_eq!(inbox_entries(&decision, "alice").len(), 1, "{what}: her laptop is told");
                    assert!(inbox_entries(&decision, "bob").is_empty(), "{what}: nobody else");
                } else {
                    assert_eq!(refused(&decision.outcome).0.code, ErrorCode::NoSuchMessage, "{what}");
                    assert!(is_quiet(&decision), "{what}");
                }
            }
        }
    }

    #[test]
    fn what_is_away_already_is_told_to_nobody_again() {
        // (what, who had taken it away before, which message, whether her laptop is told)
        let rows = [
            ("nobody", None, 1, true),
            ("she", Some(0), 1, false),
            ("who had her name before", Some(1), 1, true),
            ("she, of what is not there", Some(0), 11, false),
        ];
        for (what, already_by, seq, told) in rows {
            let mut memory = memory();
            let note = Note::Hidden { already_by };
            let decision = act(&mut memory, Keep { note, ..hide("alice", chat("bob"), seq) }, &env());
            assert_eq!(!inbox_entries(&decision, "alice").is_empty(), told, "{what}");
            assert_eq!(is_quiet(&decision), !told, "{what}");
            assert_eq!(decision.outcome == Outcome::Done, seq <= 10, "{what}");
        }
    }
}
