//! `Heads`: where a user's logs end, for a session that begins at the tail.

use super::{Decision, Missing, View};
use crate::machine::Outcome;
use chasqui_proto::UserId;

/// Asks where a user's logs end. Changes nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heads {
    /// Whose.
    pub user: UserId,
}

impl Heads {
    pub(crate) fn decide(&self, view: &impl View) -> Result<Decision, Missing> {
        let user = view.user(&self.user)?;
        Ok(Decision::only(Outcome::Heads { inbox_head: user.inbox_head, state_head: user.state_head }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::User;
    use crate::machine::command::tests::{act, env, is_quiet, user};
    use crate::machine::testing::Memory;

    #[test]
    fn it_says_where_the_logs_end() {
        let mut memory = Memory::with_users(&["alice"]);
        memory.set_user("alice", User { exists: true, inbox_head: 7, state_head: 3, ..User::default() });
        for (name, inbox_head, state_head) in [("alice", 7, 3), ("nobody", 0, 0)] {
            let decision = act(&mut memory, Heads { user: user(name) }, &env());
            assert_eq!(decision.outcome, Outcome::Heads { inbox_head, state_head });
            assert!(is_quiet(&decision));
        }
    }
}
