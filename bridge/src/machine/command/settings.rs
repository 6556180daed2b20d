//! `SetUp`: what a user wants for all their devices.

use super::reject::refuse;
use super::{Caller, Decision, Missing, View, group, own};
use crate::machine::{Change, Env, Outcome};
use chasqui_proto::v1;

/// A user's own settings are to be these. What they are told to begin with changes nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetUp {
    /// Who.
    pub caller: Caller,
    /// Whether what they read and play is told to nobody, and they are told of nobody's; `None` stays.
    pub hide_reads: Option<bool>,
}

impl SetUp {
    pub(crate) fn decide(&self, view: &impl View, env: &Env) -> Result<Decision, Missing> {
        let me = &self.caller.user;
        let user = view.user(me)?;
        if !user.exists && !env.dev {
            return refuse(view, &self.caller, None, group::removed());
        }
        let hides = self.hide_reads.unwrap_or(user.hides_reads);
        if hides == user.hides_reads {
            return Ok(Decision::only(Outcome::Done));
        }
        let mut changes = Vec::with_capacity(3);
        if !user.exists {
            changes.push(Change::CreateUser { user: me.clone(), at_ms: env.now_ms });
        }
        changes.push(Change::HideReads { user: me.clone(), hides });
        let settings = v1::Settings { hide_read_receipts: Some(hides), request_id: 0 };
        changes.push(own::tell_all(me, user, v1::event::Event::Settings(settings)));
        Ok(Decision { changes, outcome: Outcome::Done })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::{self, Rendered};
    use crate::machine::command::tests::{act, caller, device, env, inbox_entries, is_quiet, refused, user};
    use crate::machine::testing::Memory;
    use chasqui_proto::{ConversationId, ErrorCode};
    use prost::Message as _;

    fn hide(hides: Option<bool>) -> SetUp {
        SetUp { caller: caller("alice", "phone"), hide_reads: hides }
    }

    #[test]
    fn all_devices_are_told_what_changes_and_nothing_else() {
        let mut memory = Memory::with_users(&["alice"]);
        for (hides, is, quiet) in [
            (None, false, true),
            (Some(false), false, true),
            (Some(true), true, false),
            (Some(true), true, true),
            (None, true, true),
            (Some(false), false, false),
        ] {
            let decision = act(&mut memory, hide(hides), &env());
            assert_eq!((decision.outcome.clone(), is_quiet(&decision)), (Outcome::Done, quiet), "{hides:?}");
            assert_eq!(memory.user("alice").hides_reads, is);
            for entry in inbox_entries(&decision, "alice") {
                let nothing = |_: &ConversationId, _| Ok::<_, std::convert::Infallible>(None);
                let Rendered::Event(event) =
                    entry::render(entry, &user("alice"), &device("phone"), 0, nothing).unwrap()
                else {
                    panic!("skipped")
                };
                let settings = v1::Settings { hide_read_receipts: Some(is), request_id: 0 };
                let event = v1::Event::decode(event).unwrap();
                assert_eq!(event.event, Some(v1::event::Event::Settings(settings)));
                assert_eq!(entry::about(&user("alice"), entry), Ok(None));
            }
        }
    }

    #[test]
    fn who_is_removed_has_none() {
        let mut memory = Memory::default();
        let decision = act(&mut memory, hide(Some(true)), &env());
        assert_eq!(refused(&decision.outcome).0.code, ErrorCode::Unauthenticated);
        let dev = Env { dev: true, ..env() };
        act(&mut memory, hide(Some(true)), &dev);
        assert!(memory.user("alice").exists && memory.user("alice").hides_reads);
    }
}
