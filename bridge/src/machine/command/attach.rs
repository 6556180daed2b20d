//! `Attach`, `Detach` and `Lose`: a session becomes a device of its user, and stops being one.

use super::{Decision, Missing, View};
use crate::entry;
use crate::machine::{Change, Env, Outcome, Told};
use chasqui_proto::limits::DEVICES_PER_USER;
use chasqui_proto::{DeviceId, ErrorCode, Refusal, UserId};

/// A persistent session has subscribed to its user's inbox at QoS 1 or 2.
///
/// A new device begins at the undelivered floor; one that is there already keeps its cursor. One whose cursor was forgotten while it was
/// away is new, and told so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attach {
    /// Whose device.
    pub user: UserId,
    /// Which.
    pub device: DeviceId,
}

impl Attach {
    pub(crate) fn decide(&self, view: &impl View, env: &Env) -> Result<Decision, Missing> {
        let user = view.user(&self.user)?;
        let refused = |refusal| Ok(Decision::only(Outcome::Refused { refusal, told: Told::ByAck }));
        if !user.exists && !env.dev {
            return refused(ErrorCode::NoSuchUser.into());
        }
        let attached =
            |start| Outcome::Attached { start, inbox_head: user.inbox_head, state_head: user.state_head };
        if let Some(device) = user.device(&self.device) {
            return Ok(Decision::only(attached(device.acked)));
        }
        if user.devices.len() >= DEVICES_PER_USER {
            let sentence = "the user has as many devices as allowed; end the session of one of them first";
            return refused(Refusal::because(ErrorCode::QuotaExceeded, sentence));
        }
        let mut changes = Vec::with_capacity(2);
        if !user.exists {
            changes.push(Change::CreateUser { user: self.user.clone(), at_ms: env.now_ms });
        }
        let (owner, device, start) = (self.user.clone(), self.device.clone(), user.floor);
        let mut inbox_head = user.inbox_head;
        if let Some(lost) = user.lost(&device) {
            inbox_head += 1;
            let entry = entry::cursor_lost(inbox_head, &device, lost.at_ms);
            changes.push(Change::AppendInbox { user: owner.clone(), position: inbox_head, entry });
        }
        changes.push(Change::AttachDevice { user: owner, device, start });
        Ok(Decision {
            changes,
            outcome: Outcome::Attached { start, inbox_head, state_head: user.state_head },
        })
    }
}

/// A device's session has ended. Its cursor is forgotten; the floor is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Detach {
    /// Whose device.
    pub user: UserId,
    /// Which.
    pub device: DeviceId,
}

impl Detach {
    pub(crate) fn decide(&self, view: &impl View) -> Result<Decision, Missing> {
        let user = view.user(&self.user)?;
        if user.device(&self.device).is_none() {
            return Ok(Decision::only(Outcome::Done));
        }
        let mut changes = vec![Change::DetachDevice { user: self.user.clone(), device: self.device.clone() }];
        let others = user.devices.iter().filter(|device| device.id != self.device);
        let up_to = others.map(|device| device.acked).min().unwrap_or(user.floor);
        if up_to > user.trimmed {
            changes.push(Change::TrimInbox { user: self.user.clone(), up_to });
        }
        Ok(Decision { changes, outcome: Outcome::Done })
    }
}

/// A device's session has ended, and nobody had asked for that. The device is to be told when it comes again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lose {
    /// Whose device.
    pub user: UserId,
    /// Which.
    pub device: DeviceId,
}

impl Lose {
    pub(crate) fn decide(&self, view: &impl View, env: &Env) -> Result<Decision, Missing> {
        let Lose { user, device } = self.clone();
        let mut decision = Detach { user, device }.decide(view)?;
        if !decision.changes.is_empty() {
            let Lose { user, device } = self.clone();
            decision.changes.push(Change::NoteLost { user, device, at_ms: env.now_ms });
        }
        Ok(decision)
    }
}

#[cfg(test)]
#[allow(clippy::type_complexity)] // The types of tables of cases.
mod tests {
    use super::*;
    use crate::machine::command::tests::{act, device, env, inbox_entries, is_quiet, refused, user};
    use crate::machine::testing::Memory;
    use crate::machine::{Device, User};

    /// alice's inbox has ten entries, of which some device had five.
    fn memory(devices: &[(&str, u64)]) -> Memory {
        let mut memory = Memory::default();
        let devices = devices.iter().map(|(id, acked)| Device { id: device(id), acked: *acked }).collect();
        let alice = User {
            exists: true,
            inbox_head: 10,
            trimmed: 2,
            floor: 5,
            state_head: 7,
            devices,
            ..User::default()
        };
        memory.set_user("alice", alice);
        memory
    }

    fn attach(name: &str, on: &str) -> Attach {
        Attach { user: user(name), device: device(on) }
    }

    #[test]
    fn a_new_device_begins_at_the_floor_and_an_old_one_where_it_was() {
        let mut memory = memory(&[("phone", 3)]);
        for (on, start, quiet) in [("phone", 3, true), ("laptop", 5, false), ("laptop", 5, true)] {
            let decision = act(&mut memory, attach("alice", on), &env());
            assert_eq!(decision.outcome, Outcome::Attached { start, inbox_head: 10, state_head: 7 });
            assert_eq!(is_quiet(&decision), quiet, "{on}");
        }
    }

    #[test]
    fn one_device_too_many_is_refused() {
        let names: Vec<String> = (0..DEVICES_PER_USER).map(|n| format!("device-{n}")).collect();
        let devices: Vec<(&str, u64)> = names.iter().map(|name| (&**name, 5)).collect();
        let mut memory = memory(&devices);
        let decision = act(&mut memory, attach("alice", "one-more"), &env());
        assert_eq!(refused(&decision.outcome).0.code, ErrorCode::QuotaExceeded);
        let known = act(&mut memory, attach("alice", "device-0"), &env());
        assert_eq!(known.outcome, Outcome::Attached { start: 5, inbox_head: 10, state_head: 7 });
    }

    #[test]
    fn an_unknown_user_comes_into_being_in_dev_only() {
        let mut memory = memory(&[]);
        let decision = act(&mut memory, attach("nobody", "phone"), &env());
        assert_eq!(refused(&decision.outcome).0.code, ErrorCode::NoSuchUser);
        let dev = Env { dev: true, ..env() };
        let decision = act(&mut memory, attach("nobody", "phone"), &dev);
        assert_eq!(decision.outcome, Outcome::Attached { start: 0, inbox_head: 0, state_head: 0 });
        assert!(memory.user("nobody").exists);
    }

    #[test]
    fn who_leaves_no_longer_holds_the_others_back() {
        let rows: [(&str, &[(&str, u64)], &str, u64); 4] = [
            ("the last one behind", &[("laptop", 5), ("phone", 3)], "phone", 5),
            ("the one ahead", &[("laptop", 5), ("phone", 3)], "laptop", 3),
            ("the only one", &[("phone", 3)], "phone", 5),
            ("one who is not there", &[("phone", 2)], "laptop", 2),
        ];
        for (what, devices, leaves, trimmed) in rows {
            let mut memory = memory(devices);
            let decision = act(&mut memory, Detach { user: user("alice"), device: device(leaves) }, &env());
            assert_eq!(decision.outcome, Outcome::Done);
            let alice = memory.user("alice");
            assert_eq!((alice.trimmed, alice.floor), (trimmed, 5), "{what}");
            assert!(alice.device(&device(leaves)).is_none(), "{what}");
        }
    }

    #[test]
    fn who_comes_back_begins_at_the_floor() {
        let mut memory = memory(&[("phone", 3)]);
        act(&mut memory, Detach { user: user("alice"), device: device("phone") }, &env());
        let decision = act(&mut memory, attach("alice", "phone"), &env());
        assert_eq!(decision.outcome, Outcome::Attached { start: 5, inbox_head: 10, state_head: 7 });
    }

    #[test]
    fn a_device_that_is_lost_is_told_once_when_it_comes_again() {
        let mut memory = memory(&[("phone", 3), ("tablet", 5)]);
        let lose = |on| Lose { user: user("alice"), device: device(on) };
        act(&mut memory, lose("phone"), &env());
        let alice = memory.user("alice");
        assert_eq!((alice.devices.len(), alice.trimmed, alice.lost.len()), (1, 5, 1));
        assert!(is_quiet(&act(&mut memory, lose("laptop"), &env())), "it is no device");
        let decision = act(&mut memory, attach("alice", "phone"), &env());
        assert_eq!(decision.outcome, Outcome::Attached { start: 5, inbox_head: 11, state_head: 7 });
        let told = entry::cursor_lost(11, &device("phone"), env().now_ms);
        assert_eq!(inbox_entries(&decision, "alice"), [&told]);
        assert!(memory.user("alice").lost.is_empty());
        // Whoever goes by themselves, or is sent away, is not told.
        act(&mut memory, Detach { user: user("alice"), device: device("phone") }, &env());
        let decision = act(&mut memory, attach("alice", "phone"), &env());
        assert!(inbox_entries(&decision, "alice").is_empty());
    }

    #[test]
    fn as_many_are_remembered_as_there_can_be_devices() {
        let mut memory = memory(&[]);
        for n in 0..=DEVICES_PER_USER {
            let on = format!("device-{n}");
            act(&mut memory, attach("alice", &on), &env());
            act(&mut memory, Lose { user: user("alice"), device: device(&on) }, &env());
        }
        let alice = memory.user("alice");
        assert_eq!(alice.lost.len(), DEVICES_PER_USER);
        assert!(alice.lost(&device("device-0")).is_none() && alice.lost(&device("device-1")).is_some());
    }
}
