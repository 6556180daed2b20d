//! `Reject`: tells a device that what it published was refused, where the acknowledgement cannot.

use super::{Caller, Decision, Missing, View};
use crate::entry;
use crate::machine::{Change, Outcome, Told};
use chasqui_proto::{ClientMsgId, Refusal};

/// A publish that was refused before it became a command: a payload that could not be read, a topic not
/// served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reject {
    /// Who published it.
    pub caller: Caller,
    /// The message's id, where it could be read.
    pub client_msg_id: Option<ClientMsgId>,
    /// Why it was refused.
    pub refusal: Refusal,
}

impl Reject {
    pub(crate) fn decide(&self, view: &impl View) -> Result<Decision, Missing> {
        refuse(view, &self.caller, self.client_msg_id.as_ref(), self.refusal.clone())
    }
}

/// Refuses a command, in whichever way its sender can hear it.
pub(super) fn refuse(
    view: &impl View,
    caller: &Caller,
    client_msg_id: Option<&ClientMsgId>,
    refusal: Refusal,
) -> Result<Decision, Missing> {
    if caller.ack.has_refusal() {
        return Ok(Decision::only(Outcome::Refused { refusal, told: Told::ByAck }));
    }
    let user = view.user(&caller.user)?;
    let Some(device) = caller.device.as_ref().filter(|device| user.device(device).is_some()) else {
        return Ok(Decision::only(Outcome::Refused { refusal, told: Told::NoWay }));
    };
    let position = user.inbox_head + 1;
    let entry = entry::rejected(position, device, &caller.topic, client_msg_id, &refusal);
    Ok(Decision {
        changes: vec![Change::AppendInbox { user: caller.user.clone(), position, entry }],
        outcome: Outcome::Refused { refusal, told: Told::ByEntry },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::command::Attach;
    use crate::machine::command::tests::{
        act, caller, device, env, inbox_entries, old_caller, refused, user,
    };
    use crate::machine::testing::Memory;
    use chasqui_proto::ErrorCode;

    #[test]
    fn a_refusal_finds_its_device_or_nobody() {
        let nameless = Caller { device: None, ..old_caller("alice", "phone") };
        let rows = [
            ("5.0", caller("alice", "phone"), Told::ByAck),
            ("3.1.1, a device", old_caller("alice", "phone"), Told::ByEntry),
            ("3.1.1, another client", old_caller("alice", "laptop"), Told::NoWay),
            ("3.1.1, no device id", nameless, Told::NoWay),
        ];
        for (what, caller, expected) in rows {
            let mut memory = Memory::with_users(&["alice"]);
            act(&mut memory, Attach { user: user("alice"), device: device("phone") }, &env());
            let reject = Reject { caller, client_msg_id: None, refusal: ErrorCode::InvalidPayload.into() };
            let decision = act(&mut memory, reject, &env());
            let (refusal, told) = refused(&decision.outcome);
            assert_eq!((refusal.code, told), (ErrorCode::InvalidPayload, expected), "{what}");
            assert_eq!(
                inbox_entries(&decision, "alice").len(),
                usize::from(expected == Told::ByEntry),
                "{what}"
            );
        }
    }
}
