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
    use crate::machine::command::tests::{NOW_MS, act, device, env, is_quiet, user};
    use crate::machine::testing::Memory;
    use crate::machine::{Device, User};
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
