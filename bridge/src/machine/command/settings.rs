//! `SetUp`: what a user wants for all their devices.

use super::reject::refuse;
use super::{Caller, Decision, Missing, View, group, own};
use crate::machine::record::Audience;
use crate::machine::{Change, Env, Outcome};
use chasqui_proto::v1;

/// A user's own settings are to be these. What they are told to begin with changes nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetUp {
    /// Who.
    pub caller: Caller,
    /// Whether what they read and play is told to nobody, and they are told of nobody's; `None` stays.
    pub hide_reads: Option<bool>,
    /// Who sees whether they are there; `None` stays.
    pub presence: Option<Audience>,
}

impl SetUp {
    pub(crate) fn decide(&self, view: &impl View, env: &Env) -> Result<Decision, Missing> {
        let me = &self.caller.user;
        let user = view.user(me)?;
        if !user.exists && !env.dev {
            return refuse(view, &self.caller, None, group::removed());
        }
        let hides = self.hide_reads.unwrap_or(user.hides_reads);
        let presence = self.presence.unwrap_or(user.presence);
        if (hides, presence) == (user.hides_reads, user.presence) {
            return Ok(Decision::only(Outcome::Done));
        }
        let mut changes = Vec::with_capacity(4);
        if !user.exists {
            changes.push(Change::CreateUser { user: me.clone(), at_ms: env.now_ms });
        }
        if hides != user.hides_reads {
            changes.push(Change::HideReads { user: me.clone(), hides });
        }
        if presence != user.presence {
            changes.push(Change::ShowPresence { user: me.clone(), to: presence });
        }
        let settings = v1::Settings {
            hide_read_receipts: Some(hides),
            presence: Some(presence.number().into()),
            request_id: 0,
        };
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
        SetUp { caller: caller("alice", "phone"), hide_reads: hides, presence: None }
    }

    fn show(to: Audience) -> SetUp {
        SetUp { presence: Some(to), ..hide(None) }
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
                let settings =
                    v1::Settings { hide_read_receipts: Some(is), presence: Some(0), request_id: 0 };
                let event = v1::Event::decode(event).unwrap();
                assert_eq!(event.event, Some(v1::event::Event::Settings(settings)));
                assert_eq!(entry::about(&user("alice"), entry), Ok(None));
            }
        }
    }

    #[test]
    fn each_of_them_is_changed_on_its_own() {
        let mut memory = Memory::with_users(&["alice"]);
        let hides_contacts = SetUp { presence: Some(Audience::Contacts), ..hide(Some(true)) };
        let rows = [
            (show(Audience::Everyone), 0, (false, Audience::Everyone)),
            (show(Audience::Nobody), 2, (false, Audience::Nobody)),
            (show(Audience::Nobody), 0, (false, Audience::Nobody)),
            (hide(Some(true)), 2, (true, Audience::Nobody)),
            (hides_contacts, 2, (true, Audience::Contacts)),
            (
                SetUp { presence: Some(Audience::Everyone), ..hide(Some(false)) },
                3,
                (false, Audience::Everyone),
            ),
        ];
        for (set_up, changes, expected) in rows {
            let decision = act(&mut memory, set_up.clone(), &env());
            let alice = memory.user("alice");
            assert_eq!((alice.hides_reads, alice.presence), expected, "{set_up:?}");
            assert_eq!(decision.changes.len(), changes, "{set_up:?}: with one event for all of it");
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
