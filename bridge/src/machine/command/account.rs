//! `CreateUser` and `RemoveUser`: who there is.

use super::{Decision, Missing, View};
use crate::machine::{Change, Env, Outcome};
use chasqui_proto::UserId;

/// Lets a user be. One who is there already stays as they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateUser {
    /// Their name.
    pub user: UserId,
}

impl CreateUser {
    pub(crate) fn decide(&self, view: &impl View, env: &Env) -> Result<Decision, Missing> {
        let exists = view.user(&self.user)?.exists;
        let changes = if exists {
            Vec::new()
        } else {
            vec![Change::CreateUser { user: self.user.clone(), at_ms: env.now_ms }]
        };
        Ok(Decision { changes, outcome: Outcome::Done })
    }
}

/// Takes a user away, with their devices and what waits in their inbox. Conversations stay with the other
/// side. Positions go on where they were if the name is used again; in groups, who comes under it is somebody else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoveUser {
    /// Their name.
    pub user: UserId,
}

impl RemoveUser {
    pub(crate) fn decide(&self, view: &impl View) -> Result<Decision, Missing> {
        let exists = view.user(&self.user)?.exists;
        let changes = if exists { vec![Change::RemoveUser { user: self.user.clone() }] } else { Vec::new() };
        Ok(Decision { changes, outcome: Outcome::Done })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::command::tests::{NOW_MS, act, caller, chat, device, env, is_quiet, user};
    use crate::machine::command::{Acknowledged, Attach, Delivered, Send};
    use crate::machine::testing::Memory;
    use crate::machine::{Device, User};
    use chasqui_proto::{ClientMsgId, ConversationId, Outgoing, Seq};
    use smallvec::smallvec;

    #[test]
    fn users_come_and_go() {
        let mut memory = Memory::default();
        let create = || CreateUser { user: user("alice") };
        let remove = || RemoveUser { user: user("alice") };
        assert!(is_quiet(&act(&mut memory, remove(), &env())), "there is nobody to remove");
        assert!(!is_quiet(&act(&mut memory, create(), &env())));
        assert!(memory.user("alice").exists);
        assert!(is_quiet(&act(&mut memory, create(), &env())), "once is enough");
        assert!(!is_quiet(&act(&mut memory, remove(), &env())));
        assert!(!memory.user("alice").exists);
    }

    #[test]
    fn who_takes_a_name_has_nothing_of_who_had_it() {
        let mut memory = Memory::with_users(&["alice", "bob"]);
        act(&mut memory, Attach { user: user("bob"), device: device("phone") }, &env());
        let id = ClientMsgId::from_bytes(b"one").unwrap();
        let content = bytes::Bytes::from_static(b"\x12\x04\x0a\x02hi");
        let hello = || Send {
            caller: caller("alice", "phone"),
            to: chat("bob"),
            message: Outgoing { client_msg_id: Some(id), content: content.clone(), expires_in_s: 0 },
        };
        let at = |ms| Env { now_ms: NOW_MS + ms, ..env() };
        let delivered = |seq, ms| {
            let conversation = ConversationId::direct(&user("alice"), &user("bob"));
            let time_ms = NOW_MS + ms;
            let message =
                Acknowledged { position: seq, conversation, sender: user("alice"), seq: Seq(seq), time_ms };
            Delivered { user: user("bob"), device: device("phone"), up_to: seq, messages: vec![message] }
        };
        act(&mut memory, hello(), &at(1));
        act(&mut memory, hello(), &at(1)); // a retry
        act(&mut memory, delivered(1, 1), &at(2));
        let marks = |memory: &Memory| {
            let receipt = memory.receipt("alice", &chat("bob"));
            receipt.since(memory.user("alice").since_ms).delivered.up_to
        };
        assert_eq!(marks(&memory), Seq(1));
        act(&mut memory, RemoveUser { user: user("alice") }, &at(3));
        act(&mut memory, CreateUser { user: user("alice") }, &at(4));
        assert_eq!(marks(&memory), Seq::NONE, "another's receipt");
        let decision = act(&mut memory, hello(), &at(3_600_000));
        assert_eq!(
            decision.outcome,
            Outcome::Accepted { seq: Seq(2), time_ms: NOW_MS + 3_600_000 },
            "another's id"
        );
        let listed = |change: &Change| matches!(change, Change::ListChat { from: None, user: of, .. } if *of == user("alice"));
        assert!(decision.changes.iter().any(listed), "where it stood for another, it stands no more");
        act(&mut memory, delivered(2, 1), &at(3_600_001));
        assert_eq!(marks(&memory), Seq::NONE, "another's message");
        act(&mut memory, hello(), &at(3_600_002));
        act(
            &mut memory,
            Send {
                message: Outgoing { client_msg_id: None, content: content.clone(), expires_in_s: 0 },
                ..hello()
            },
            &at(3_600_003),
        );
        act(&mut memory, delivered(3, 3_600_003), &at(3_600_004));
        assert_eq!(marks(&memory), Seq(3));
        // Theirs is theirs when the clock is set back, too.
        act(&mut memory, RemoveUser { user: user("alice") }, &at(7_200_000));
        act(&mut memory, CreateUser { user: user("alice") }, &at(7_200_001));
        let first = act(&mut memory, hello(), &at(3)).outcome;
        assert_eq!(first, Outcome::Accepted { seq: Seq(4), time_ms: NOW_MS + 7_200_001 });
        assert_eq!(act(&mut memory, hello(), &at(4)).outcome, first);
    }

    #[test]
    fn a_name_that_is_used_again_begins_behind_what_was() {
        let mut memory = Memory::default();
        let devices = smallvec![Device { id: device("phone"), acked: 4 }];
        let alice = User {
            exists: true,
            inbox_head: 9,
            trimmed: 4,
            floor: 4,
            state_head: 5,
            hides_reads: true,
            presence: crate::machine::record::Audience::Nobody,
            ties: 7,
            devices,
            ..User::default()
        };
        memory.set_user("alice", alice);
        act(&mut memory, RemoveUser { user: user("alice") }, &env());
        act(&mut memory, CreateUser { user: user("alice") }, &env());
        let expected = User {
            exists: true,
            inbox_head: 9,
            trimmed: 9,
            floor: 9,
            state_head: 5,
            lives: 1,
            since_ms: NOW_MS,
            ..User::default()
        };
        assert_eq!(memory.user("alice"), &expected);
    }
}
